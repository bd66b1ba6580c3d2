/** The public types of the package. Everything here is part of its promise. */
import type { Counter, Latest, Nested } from "./fields.js";

/** What a field may hold. `bigint` is read back as `number` where it fits exactly. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value };

/**
 * A field of a record: a `Value` is a register (concurrent writes are all kept and show as a
 * conflict), a `Set` merges member by member (an add wins over a concurrent remove). `latest`,
 * `counter` and `nested` make the other kinds.
 */
export type Field = Value | ReadonlySet<Value> | Latest | Counter | Nested;

/** The shape of a record, without its id. Every field may be absent. */
export type Shape = { readonly [field: string]: Field | undefined };

/** How a field reads. */
export type Read<F> = F extends Counter
  ? number
  : F extends Latest<infer V>
    ? V
    : F extends Nested<infer T>
      ? ReadFields<T>
      : F;

/** How fields read, each of which may be absent. */
export type ReadFields<T extends Shape> = { readonly [K in keyof T]?: Read<T[K]> };

/** A record as read: its fields and its id. The same object until the record changes. */
export type Stored<T extends Shape> = ReadFields<T> & { readonly id: string };

/**
 * One accepted change. The change is visible in this tab at once; the promises say how safe it is.
 * Neither promise is ever resolved early; both reject with a `SyncError` if the change can never
 * reach that place.
 */
export interface Write {
  /** Resolves when the change is on this device's disk. */
  readonly disk: Promise<void>;
  /** Resolves when the hub has the change on its disk. */
  readonly hub: Promise<void>;
}

/** One side of a conflict: what one author wrote into the fields that clash. */
export interface Version<T extends Shape> {
  /** Names this version in `keep`. */
  readonly key: string;
  /** The replica that wrote it, as 32 hexadecimal digits. */
  readonly author: string;
  /** When it was written, in milliseconds since 1970, by the author's clock. */
  readonly at: number;
  /** The clashing fields only, as this author wrote them. */
  readonly fields: ReadFields<T>;
  /** True for the version that reading shows. */
  readonly shown: boolean;
}

export interface Collection<T extends Shape> {
  readonly name: string;
  /** All records, ordered by id (ids made by `insert` are ordered by time). Stable until a change. */
  list(): readonly Stored<T>[];
  get(id: string): Stored<T> | undefined;
  insert(fields: T): Write & { readonly id: string };
  /**
   * Writes the fields given and leaves the others. A `Set` and a `nested` object are compared with what
   * is there, and only the difference is written.
   */
  update(id: string, fields: Partial<T>): Write;
  /** Adds to a counter; a negative amount takes away. A path leads through nested fields. */
  count(id: string, path: string | readonly string[], amount: number): Write;
  remove(id: string): Write;
  /** The versions of a record in conflict, the shown one first; empty where nothing clashes. */
  versions(id: string): readonly Version<T>[];
  /** Resolves the conflict of a record by keeping one version, everywhere. */
  keep(id: string, version: string): Write;
}

/** One entry of the conflict log. */
export interface ConflictEntry {
  readonly key: string;
  /** `fields`: concurrent writes; `edit-delete`: edited here and deleted there. */
  readonly kind: "fields" | "edit-delete";
  readonly collection: string;
  readonly record: string;
  /** The clashing field, for `fields`; of a nested one the path, with dots. */
  readonly field?: string;
  /** Every side that is known: who, when, and what. */
  readonly sides: readonly {
    readonly author: string;
    readonly at: number;
    readonly deleted: boolean;
    readonly value?: Value;
  }[];
  /** When this device saw it, in milliseconds since 1970. */
  readonly seen: number;
  readonly open: boolean;
}

/** A replica that is online in this document. */
export interface Peer {
  readonly replica: string;
  readonly name: string;
  /** True for this tab. */
  readonly self: boolean;
}

export type Connection = "online" | "offline" | "connecting";

/** Where this document stands. The same object until something changes. */
export interface Status {
  readonly connection: Connection;
  /** Why it is not online, in words for a person. */
  readonly reason?: string;
  /** Changes of this profile that the hub has not confirmed. */
  readonly pending: number;
  /** Changes that the hub refused; kept here. */
  readonly parked: number;
  /** True once the hub's state is here, until the connection ends. */
  readonly caughtUp: boolean;
  /** Changes of this tab that are not on this disk yet. */
  readonly unsaved: number;
  /** Whether the browser promised not to evict this data; `undefined` until known. */
  readonly persistent?: boolean;
  /** Set when nothing more can be written; says what to do. */
  readonly failure?: SyncFailure;
}

export interface SyncFailure {
  readonly code: string;
  readonly message: string;
}

export interface OpenOptions {
  /** Address of the hub, `ws://` or `wss://` (`http` and `https` are taken too). None: local only. */
  readonly hub?: string;
  /** Shown to the others as who is online. */
  readonly name?: string;
  /** Sent to the hub as who this is. */
  readonly token?: string;
}

export interface SyncDocument {
  readonly name: string;
  /** This tab's replica, as 32 hexadecimal digits. */
  readonly replica: string;
  collection<T extends Shape>(name: string): Collection<T>;
  status(): Status;
  /** Who is online, this tab first. Stable until a change. */
  online(): readonly Peer[];
  conflicts(): readonly ConflictEntry[];
  /** Calls `listener` after any change of records, status, peers or conflicts. Returns the way out. */
  subscribe(listener: () => void): () => void;
  /**
   * The document as it is on this device's disk, also what the hub has not acknowledged, as one file for
   * `import` on any device and for the native client's. It has nothing of this device, and none of the
   * conflict log. It is held in memory; at most 256 MiB.
   */
  export(): Promise<Blob>;
  /**
   * Joins an exported document into this one, as if another device had sent it: what was deleted here
   * stays deleted, and what clashes is a conflict. Resolves once all of it is on this device's disk. The
   * hub is given what it lacks of it; that does not count as pending. A file that is damaged, of a later
   * version or too large is refused with a `SyncError`, and changes nothing.
   */
  import(file: Blob): Promise<void>;
  /** Isolates this tab: no socket, nothing told to other tabs, nothing taken from them. */
  setOffline(offline: boolean): Promise<void>;
  isOffline(): boolean;
  close(): Promise<void>;
}
