/** The database of this origin: one for all documents, with every row under its document's name. */
import { SyncError, storageError } from "./errors.js";
import type { Item } from "./kernel.js";

const DATABASE = "sync-sdk";
const VERSION = 1;

/** A place that a tab leases for as long as it lives. It keeps its replica from tab to tab. */
export interface SlotRow {
  readonly doc: string;
  readonly slot: number;
  readonly replica: string;
  /** Drawn at random by each lease, so that the hub tells a clone from a reconnect. */
  readonly opening: bigint;
  /** What the others are shown. */
  readonly name: string;
  /** Up to which row of the log an isolated tab has seen what others wrote; absent where it is not isolated. */
  readonly base?: number;
}

/** A delta, in the order in which it was stored. */
export interface LogRow {
  /** Given by the database. */
  readonly id?: number;
  readonly doc: string;
  readonly slot: number;
  /** True while the tab of this slot is isolated: for no other tab yet. */
  readonly held: boolean;
  readonly pieces: readonly Uint8Array[];
  /** True where it came from a file: the hub hears what it lacks of it once the document is opened there anew. */
  readonly imported?: true;
}

/** The joined state of all rows of the log up to one of them. */
export interface SnapshotRow {
  readonly doc: string;
  readonly pieces: readonly Uint8Array[];
}

/** What is said of a snapshot, so that a look need not read it. */
export interface HeadRow {
  readonly doc: string;
  readonly upto: number;
  readonly pieceCount: number;
  /** The last row of the log that came from a file and was folded since; absent where none was. */
  readonly importedUpto?: number;
  /** The last of what was stored as a fresh replica; absent where there is nothing. */
  readonly renamings?: readonly RenamingRow[];
}

/** That a part of a replica's history stands under another one: what is stored does, in one go. */
export interface RenamingRow {
  /** The row of the log behind which everything is written so. */
  readonly id: number;
  /** Of the tab that found it. */
  readonly slot: number;
  readonly renaming: Uint8Array;
}

/** What the hub has not acknowledged. */
export interface OutboxRow extends Item {
  readonly doc: string;
  readonly slot: number;
  readonly held: boolean;
  /** Of the lease that wrote it. */
  readonly opening: bigint;
  /** Rows go out in this order: a delta may speak of what one before it brought. */
  readonly order: number;
}

export interface CursorRow {
  readonly doc: string;
  readonly cursor: Uint8Array;
}

export interface ConflictRow {
  readonly doc: string;
  readonly key: string;
  /** When it was first seen, in milliseconds since 1970. */
  readonly seenMs: number;
  readonly entry: Uint8Array;
}

export const TABLES = ["slots", "log", "snapshots", "heads", "outbox", "cursors", "conflicts"] as const;

/** The database, open. It tells once, by `lost`, when it can no longer be used. */
export class Store {
  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  static open(databases: IDBFactory, lost: (error: SyncError) => void): Promise<Store> {
    return new Promise((resolve, reject) => {
      const request = databases.open(DATABASE, VERSION);
      request.onupgradeneeded = () => create(request.result);
      request.onblocked = () =>
        reject(
          new SyncError(
            "blocked",
            "Another tab keeps an older version of this app's data open. Close the other tabs and reload the page.",
          ),
        );
      request.onerror = () => reject(storageError(request.error));
      request.onsuccess = () => {
        const database = request.result;
        database.onversionchange = () => {
          database.close();
          lost(
            new SyncError(
              "replaced",
              "This app's data on this device was deleted, or opened by a newer version of the app. Reload the page.",
            ),
          );
        };
        database.onclose = () =>
          lost(new SyncError("wiped", "The browser removed this app's data from this device. Reload the page."));
        resolve(new Store(database));
      };
    });
  }

  /**
   * Runs `work` in one transaction and resolves once it is on disk. `work` may await nothing but the
   * requests that it makes. Where it throws, nothing is written.
   */
  transact<T>(mode: IDBTransactionMode, work: (tables: Tables) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let cause: unknown;
      let result: { value: T } | undefined;
      const transaction = this.#database.transaction([...TABLES], mode, { durability: "strict" });
      transaction.oncomplete = () => {
        if (result) resolve(result.value);
        else reject(storageError(cause ?? new Error("the transaction ended before its work")));
      };
      // A request that was under way says no more than that it was aborted.
      transaction.onabort = () => reject(storageError(transaction.error ?? cause ?? new Error("it was aborted")));
      work(new Tables(transaction)).then(
        (value) => {
          result = { value };
        },
        (error: unknown) => {
          cause = error;
          try {
            transaction.abort();
          } catch {
            // It has ended already, and has said so.
          }
        },
      );
    });
  }

  close(): void {
    this.#database.onclose = this.#database.onversionchange = null;
    this.#database.close();
  }
}

/** The tables within one transaction. */
export class Tables {
  readonly #transaction: IDBTransaction;

  constructor(transaction: IDBTransaction) {
    this.#transaction = transaction;
  }

  table(name: (typeof TABLES)[number]): IDBObjectStore {
    return this.#transaction.objectStore(name);
  }

  slot(doc: string, slot: number): Promise<SlotRow | undefined> {
    return answer(this.table("slots").get([doc, slot]));
  }

  slots(doc: string): Promise<SlotRow[]> {
    return answer(this.table("slots").getAll(all(doc)));
  }

  snapshot(doc: string): Promise<SnapshotRow | undefined> {
    return answer(this.table("snapshots").get(doc));
  }

  head(doc: string): Promise<HeadRow | undefined> {
    return answer(this.table("heads").get(doc));
  }

  logCount(doc: string): Promise<number> {
    return answer(this.table("log").index("doc").count(all(doc)));
  }

  /** The rows of the log after the one with this id. */
  log(doc: string, after: number): Promise<(LogRow & { readonly id: number })[]> {
    const range = IDBKeyRange.bound([doc, after], [doc, []], true, true);
    return answer(this.table("log").index("doc").getAll(range));
  }

  addLog(row: LogRow): Promise<number> {
    return answer(this.table("log").add(row)) as Promise<number>;
  }

  /** The rows of the outbox in their order. */
  async outbox(doc: string): Promise<OutboxRow[]> {
    const rows: OutboxRow[] = await answer(this.table("outbox").getAll(all(doc)));
    return rows.sort((a, b) => a.order - b.order || a.last - b.last);
  }

  item(doc: string, replica: string, last: number): Promise<OutboxRow | undefined> {
    return answer(this.table("outbox").get([doc, replica, last]));
  }

  async cursor(doc: string): Promise<Uint8Array | undefined> {
    const row: CursorRow | undefined = await answer(this.table("cursors").get(doc));
    return row?.cursor;
  }

  conflictCount(doc: string): Promise<number> {
    return answer(this.table("conflicts").count(all(doc)));
  }

  conflicts(doc: string): Promise<ConflictRow[]> {
    return answer(this.table("conflicts").getAll(all(doc)));
  }
}

/** The result of a request. */
export function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Every key of a document: an array sorts after all text and numbers. */
function all(doc: string): IDBKeyRange {
  return IDBKeyRange.bound([doc], [doc, []]);
}

function create(database: IDBDatabase): void {
  database.createObjectStore("slots", { keyPath: ["doc", "slot"] });
  const log = database.createObjectStore("log", { keyPath: "id", autoIncrement: true });
  log.createIndex("doc", ["doc", "id"]);
  database.createObjectStore("snapshots", { keyPath: "doc" });
  database.createObjectStore("heads", { keyPath: "doc" });
  database.createObjectStore("outbox", { keyPath: ["doc", "replica", "last"] });
  database.createObjectStore("cursors", { keyPath: "doc" });
  database.createObjectStore("conflicts", { keyPath: ["doc", "key"] });
}
