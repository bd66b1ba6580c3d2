/** Offline-first documents in the browser. */
export { openDocument } from "./open.js";
export { SyncError } from "./errors.js";
export { counter, latest, nested } from "./fields.js";
export type { Counter, Latest, Nested } from "./fields.js";
export type {
  Collection,
  ConflictEntry,
  Connection,
  Field,
  OpenOptions,
  Peer,
  Read,
  ReadFields,
  Shape,
  Status,
  Stored,
  SyncDocument,
  SyncFailure,
  Value,
  Version,
  Write,
} from "./types.js";
