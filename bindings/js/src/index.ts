/** Offline-first documents in the browser. */
export { openDocument } from "./open.js";
export { SyncError } from "./errors.js";
export type {
  Collection,
  ConflictEntry,
  Connection,
  Field,
  OpenOptions,
  Peer,
  Shape,
  Status,
  Stored,
  SyncDocument,
  SyncFailure,
  Value,
  Version,
  Write,
} from "./types.js";
