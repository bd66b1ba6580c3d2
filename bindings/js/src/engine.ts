/**
 * Drives the core of one document in one tab: what it wants stored is stored in order, one task after
 * the other; what it wants sent and tells goes to the tasks' owners. It knows no socket and no channel.
 */
import { write, type Batch } from "./commit.js";
import { comeBack } from "./comeback.js";
import type { Environment } from "./environment.js";
import { SyncError, storageError } from "./errors.js";
import { foldLog, isDue } from "./fold.js";
import { renamed, type Handle, type Kernel, type Now, type Output } from "./kernel.js";
import { laterRenamings, readAll, readNews, type News } from "./read.js";
import { Deferred, Receipts } from "./receipts.js";
import { check } from "./slot.js";
import type { SlotRow, Store } from "./store.js";
import { checkJoined } from "./transfer.js";
import type { Write } from "./types.js";

/** What others do about what the core tells. */
export interface EngineEvents {
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** The core wants the connection ended. */
  disconnect(reason: string): void;
  welcomed(): void;
  /** The hub refuses the claim of another tab's replica. */
  inUse(replica: string): void;
  /** Rows that other tabs should read were stored. */
  stored(): void;
  /** What is stored was read, before the core is given the outbox. Says which rows it may have. */
  read(news: News): readonly News["outbox"][number][];
  /** Records at these places may read differently. */
  changed(places: readonly (readonly [collection: string, id: string])[]): void;
  /** Anything may be shown differently. */
  shown(): void;
  /** Nothing more can be written. */
  failed(): void;
}

interface Pending extends Batch {
  readonly id: number;
  /** Up to which row of the log was known when it was made. */
  readonly seen: number;
  readonly done: Deferred;
  /** How many changes of this tab it holds. */
  changes: number;
}

export class Engine {
  readonly receipts = new Receipts();
  /** How many changes of this tab are not on disk yet. */
  unsaved = 0;
  failure: SyncError | undefined;
  /** Whether what is written is held back from the other tabs. */
  isHeld: boolean;
  #idMs = 0;
  #pending: Pending[] = [];
  #latest: Promise<void> = Promise.resolve();
  #tail: Promise<unknown> = Promise.resolve();
  #isRefreshing = false;
  #isRepeating = false;

  constructor(
    readonly kernel: Kernel,
    readonly environment: Environment,
    readonly store: Store,
    public slot: SlotRow,
    /** Up to which row of the log the other tabs' rows are joined. */
    public seen: number,
    readonly events: EngineEvents,
  ) {
    this.isHeld = slot.base !== undefined;
  }

  now(): Now {
    return { monotonic: this.environment.monotonicMs(), unix: this.environment.unixMs() };
  }

  /** A fresh record id. Later ones are ordered after it. */
  nextId(make: (unix: number, random: Uint8Array) => string): string {
    this.#idMs = Math.max(this.environment.unixMs(), this.#idMs + 1);
    return this.#guard(() => make(this.#idMs, this.environment.random(10)));
  }

  /** Makes a change; `change` gives its dot. */
  change(change: (handle: Handle, unix: number) => string): Write {
    if (this.failure) throw this.failure;
    const before = this.#pending.length;
    const dot = this.#guard(() => this.kernel.call((handle) => change(handle, this.environment.unixMs())));
    const hub = this.receipts.follow(dot);
    this.drain((pending) => {
      if (pending.length > before) this.#count(pending);
    });
    return { disk: this.#latest, hub };
  }

  /** Lets the core do something, and does what it wants then. */
  drive(run: (kernel: Kernel, now: Now) => void): void {
    if (this.failure) return;
    try {
      this.#guard(() => run(this.kernel, this.now()));
      this.drain();
    } catch (error) {
      this.fail(storageError(error));
    }
  }

  /** Does what the core wants. */
  drain(queued?: (pending: Pending[]) => void): void {
    const outputs = this.#guard(() => this.kernel.drain());
    for (const output of outputs) {
      if (output.type === "persist") this.#queue(output.id, output.steps);
    }
    queued?.(this.#pending);
    if (this.#pending.length > 0) void this.run(() => this.#flush());
    this.#tell(outputs);
  }

  /** Runs a task after those before it. A task that fails ends the document's writing. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(() => {
      if (this.failure) throw this.failure;
      return task();
    });
    this.#tail = result.catch((error: unknown) => this.fail(storageError(error)));
    result.catch(() => {});
    return result;
  }

  /** Reads what other tabs have stored, soon. Several wishes are one. */
  refresh(): void {
    if (this.#isRefreshing || this.isHeld || this.failure) return;
    this.#isRefreshing = true;
    void this.run(() => this.refreshNow());
  }

  /** Reads what other tabs have stored; within a task. */
  async refreshNow(): Promise<News | undefined> {
    this.#isRefreshing = false;
    if (this.isHeld) return undefined;
    const { doc, slot } = this.slot;
    const news = await this.store.transact("readonly", (tables) => readNews(tables, doc, slot, this.seen));
    // The tab may have been isolated while it read.
    if (this.isHeld || this.failure) return undefined;
    this.take(news, () => {
      for (const renaming of news.renamings) this.kernel.call((handle) => handle.rename(renaming));
      this.kernel.rejoin(this.now(), news.pieces);
    });
    if (isDue(news)) await foldLog(this.store, doc);
    return news;
  }

  /** Takes what was read: the rows, then the outbox. */
  take(news: News, join: () => void): void {
    this.#isRepeating = true;
    try {
      this.#guard(join);
      this.seen = Math.max(this.seen, news.seen);
      this.drain();
    } finally {
      this.#isRepeating = false;
    }
    const rows = this.events.read(news);
    this.#guard(() => this.kernel.replaceOutbox(rows));
    this.drain();
  }

  /** Stores what came from a file, and takes it. Resolves once it is on disk. */
  async import(pieces: readonly Uint8Array[]): Promise<void> {
    const held = this.isHeld;
    const refused = await this.run(async () => {
      try {
        const stored = await this.store.transact("readwrite", async (tables) => {
          this.slot = await check(tables, this.slot);
          const { doc, slot } = this.slot;
          // What other tabs have put under other replicas stands so in the file's pieces too.
          const renamings = laterRenamings(await tables.head(doc), slot, this.seen);
          const parted = renamings.reduce((all: readonly Uint8Array[], one) => renamed(all, one), pieces);
          const { saved } = await readAll(tables, doc, slot, this.slot.base);
          checkJoined([...saved.state, ...saved.rows], parted);
          await tables.addLog({ doc, slot, held, pieces: parted, imported: true });
          return { pieces: parted, renamings };
        });
        this.drive((kernel, now) => {
          for (const renaming of stored.renamings) kernel.call((handle) => handle.rename(renaming));
          kernel.rejoin(now, stored.pieces);
        });
        return undefined;
      } catch (error) {
        const reason = storageError(error);
        // A file that there is no room for leaves everything as it was.
        if (reason.code !== "quota" && reason.code !== "too-large") throw reason;
        return reason;
      }
    });
    if (refused) throw refused;
    if (!held) this.events.stored();
    this.refresh();
  }

  /** Notes what was seen until here, and holds back what is written from here on. */
  async isolate(): Promise<void> {
    this.isHeld = true;
    await this.run(async () => {
      this.slot = await this.store.transact("readwrite", async (tables) => {
        const row = { ...(await check(tables, this.slot)), base: this.seen };
        tables.table("slots").put(row);
        return row;
      });
    });
  }

  /** Gives the others what was held back, and takes what they wrote meanwhile. */
  async comeBack(): Promise<void> {
    // What is written from here on is stored after that.
    this.isHeld = false;
    await this.run(async () => {
      const { slot, news, outputs } = await comeBack(this.store, this.kernel, this.slot, this.seen, this.now());
      this.slot = slot;
      this.take(news, () => {
        for (const output of outputs) {
          if (output.type === "persist") {
            const { id } = output;
            const { monotonic, unix } = this.now();
            this.kernel.call((handle) => handle.persisted(monotonic, unix, id));
          }
        }
        this.#tell(outputs);
      });
    });
  }

  /** Ends all writing. What is on disk stays. */
  fail(error: SyncError): void {
    if (this.failure) return;
    this.failure = error;
    for (const batch of this.#pending.splice(0)) batch.done.reject(error);
    this.receipts.fail(error);
    this.events.failed();
  }

  /** Resolves once everything that was begun is done. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  #queue(id: number, steps: Batch["steps"]): void {
    const done = new Deferred();
    const { isHeld: held, seen } = this;
    this.#pending.push({ id, steps, held, repeated: this.#isRepeating, seen, done, changes: 0 });
    this.#latest = done.promise;
  }

  #count(pending: Pending[]): void {
    const last = pending.at(-1);
    if (last) last.changes += 1;
    this.unsaved += 1;
  }

  /** Stores all batches that wait, in one transaction. */
  async #flush(): Promise<void> {
    const batches = this.#pending.splice(0);
    if (batches.length === 0) return;
    try {
      const ids = await this.store.transact("readwrite", async (tables) => {
        this.slot = await check(tables, this.slot);
        const { doc, slot } = this.slot;
        const head = await tables.head(doc);
        const ids: number[] = [];
        for (const batch of batches) {
          const renamings = laterRenamings(head, slot, batch.seen);
          ids.push(...(await write(tables, this.slot, batch, renamings)));
          if (batch.steps.some((step) => step.type === "renew")) this.slot = await check(tables, this.slot);
        }
        return ids;
      });
      // Where no other tab wrote in between, there is nothing to be read again.
      if (!this.isHeld && ids[0] === this.seen + 1) this.seen += ids.length;
    } catch (error) {
      const reason = storageError(error);
      for (const batch of batches) batch.done.reject(reason);
      throw reason;
    }
    for (const batch of batches) {
      this.unsaved -= batch.changes;
      batch.done.resolve();
    }
    if (batches.some((batch) => !batch.held && batch.steps.some((step) => step.type !== "log"))) {
      this.events.stored();
    }
    this.drive((kernel, { monotonic, unix }) => {
      for (const { id } of batches) kernel.call((handle) => handle.persisted(monotonic, unix, id));
    });
    this.events.shown();
  }

  /** Passes on what the core tells. */
  #tell(outputs: readonly Output[]): void {
    let isShown = false;
    for (const output of outputs) {
      switch (output.type) {
        case "persist":
          break;
        case "send":
          this.events.send(output.frame);
          break;
        case "disconnect":
          this.events.disconnect(output.reason);
          break;
        case "welcomed":
          this.events.welcomed();
          break;
        case "in-use":
          this.events.inUse(output.replica);
          break;
        case "changed":
          this.events.changed(output.places);
          isShown = true;
          break;
        default:
          isShown = true;
      }
    }
    if (!isShown) return;
    this.#guard(() => this.receipts.check(this.kernel));
    this.events.shown();
  }

  /** A crash of the core ends this document; a caller's mistake does not. */
  #guard<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof SyncError && error.code === "crashed") this.fail(error);
      throw error;
    }
  }
}
