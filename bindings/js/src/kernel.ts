/**
 * The core, compiled to WASM: one handle for each document. The instance is made when it is first
 * needed, and shared; after a crash of one document none of them is used any more.
 */
import { SyncError } from "./errors.js";
import * as wasm from "./wasm/inline.js";
import type { ConflictEntry, Version } from "./types.js";

/** What the core offers for one document. */
export type Handle = wasm.Kernel;

/** A row of the outbox as the core gives and takes it. */
export interface Item {
  readonly replica: string;
  readonly first: number;
  readonly last: number;
  readonly changes: number;
  readonly state: "pending" | "frozen" | "parked";
  readonly reason?: string;
  readonly delta: Uint8Array;
}

/** Names an item of the outbox: its last dot. */
export interface ItemKey {
  readonly replica: string;
  readonly counter: number;
}

/** One thing to store. */
export type Step =
  | { readonly type: "join"; readonly pieces: Uint8Array[] }
  | { readonly type: "enqueue"; readonly item: Item; readonly replaces?: ItemKey }
  | { readonly type: "freeze"; readonly key: ItemKey }
  | { readonly type: "settle"; readonly key: ItemKey }
  | { readonly type: "park"; readonly key: ItemKey; readonly reason: string }
  | { readonly type: "follow"; readonly cursor: Uint8Array }
  | {
      readonly type: "log";
      readonly key: string;
      readonly clash: boolean;
      readonly seenMs: number;
      readonly entry: Uint8Array;
    }
  | { readonly type: "renew"; readonly replica: string }
  | { readonly type: "rename"; readonly renaming: Uint8Array };

/** What the core wants done, and what it tells. */
export type Output =
  | { readonly type: "send"; readonly frame: Uint8Array<ArrayBuffer> }
  | { readonly type: "persist"; readonly id: number; readonly steps: Step[] }
  | { readonly type: "disconnect"; readonly reason: string }
  | { readonly type: "changed"; readonly places: readonly (readonly [collection: string, id: string])[] }
  | { readonly type: "status" | "peers" | "conflict" }
  | { readonly type: "renewed" | "in-use"; readonly replica: string }
  | { readonly type: "welcomed"; readonly hub_ms: number };

/** How a document is opened. */
export interface KernelConfig {
  readonly replica: string;
  /** Takes the place of `replica` where something stored is damaged. */
  readonly spare: string;
  readonly opening: bigint;
  readonly agent: string;
  readonly token: string | undefined;
  readonly now: number;
}

/** What was stored of a document. */
export interface Saved {
  readonly state: readonly Uint8Array[];
  readonly rows: readonly Uint8Array[];
  readonly outbox: readonly Item[];
  readonly cursor: Uint8Array | undefined;
  readonly conflicts: readonly Uint8Array[];
}

/** Two times: one that never goes back, one since 1970, both in milliseconds. */
export interface Now {
  readonly monotonic: number;
  readonly unix: number;
}

/** A record as the core reads it. */
export type RawRecord = { readonly id: string; readonly [field: string]: unknown };

let instance: "none" | "ready" | "crashed" = "none";

/** Makes the instance. Fails where the page does not allow it. */
export function instantiate(): void {
  if (instance !== "none") return;
  try {
    wasm.instantiate();
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new SyncError(
      "wasm",
      `This page may not run WebAssembly: add 'wasm-unsafe-eval' to script-src of its content security policy. (${detail})`,
      { cause },
    );
  }
  instance = "ready";
}

/** Runs code of the core, and tells a caller's mistake from a crash. */
function guarded<T>(run: () => T): T {
  if (instance === "crashed") throw crashed();
  try {
    return run();
  } catch (error) {
    if (error instanceof Error && error.name === "Misuse" && "code" in error) {
      throw new SyncError(String(error.code), error.message);
    }
    instance = "crashed";
    throw crashed(error);
  }
}

function crashed(cause?: unknown): SyncError {
  return new SyncError(
    "crashed",
    "The sync engine of this page has crashed. What was saved is safe; reload the page.",
    { cause },
  );
}

/** A fresh record id, ordered by time. */
export function freshId(unix: number, random: Uint8Array): string {
  return guarded(() => wasm.record_id(unix, random));
}

/** Joins pieces of a state into fewer; nothing where one of them is damaged. */
export function fold(pieces: readonly Uint8Array[]): Uint8Array[] | undefined {
  return guarded(() => wasm.fold([...pieces]));
}

/** Pieces once a part of a replica's history stands under another one. */
export function renamed(pieces: readonly Uint8Array[], renaming: Uint8Array): Uint8Array[] {
  return guarded(() => wasm.renamed([...pieces], renaming));
}

/** An item of the outbox then; nothing where it is damaged. */
export function renamedItem(item: Item, renaming: Uint8Array): Item | undefined {
  return guarded(() => wasm.renamed_item(item, renaming));
}

/** What begins the replica under which it stands. */
export function renamingMark(renaming: Uint8Array): Uint8Array[] {
  return guarded(() => wasm.renaming_mark(renaming));
}

/** One document of one tab. */
export class Kernel {
  readonly #handle: wasm.Kernel;
  #isFree = false;

  constructor(document: string, config: KernelConfig, saved: Saved) {
    this.#handle = guarded(() => new wasm.Kernel(document, config, saved));
  }

  /** Runs a call of the core. Throws a `SyncError` for a mistake of the caller, and after a crash. */
  call<T>(run: (handle: wasm.Kernel) => T): T {
    if (this.#isFree) throw new SyncError("closed", "The document was closed.");
    return guarded(() => run(this.#handle));
  }

  get replica(): string {
    return this.call((handle) => handle.replica);
  }

  /** How many stored pieces could not be read. */
  get damaged(): number {
    return this.call((handle) => handle.damaged);
  }

  drain(): Output[] {
    return this.call((handle) => handle.drain());
  }

  records(collection: string): RawRecord[] {
    return this.call((handle) => handle.records(collection));
  }

  record(collection: string, id: string): RawRecord | undefined {
    return this.call((handle) => handle.record(collection, id));
  }

  versions(collection: string, id: string): Version<never>[] {
    return this.call((handle) => handle.versions(collection, id));
  }

  conflicts(): ConflictEntry[] {
    return this.call((handle) => handle.conflicts());
  }

  receipt(dot: string): { hub: boolean; parked: boolean; reason?: string } {
    return this.call((handle) => handle.receipt(dot));
  }

  waiting(): { pending: number; parked: number } {
    return this.call((handle) => handle.waiting());
  }

  peers(): { replica: string; name: string }[] {
    return this.call((handle) => handle.peers());
  }

  isLive(): boolean {
    return this.call((handle) => handle.phase()) === "live";
  }

  rejoin(now: Now, pieces: readonly Uint8Array[]): void {
    if (pieces.length > 0) this.call((handle) => handle.rejoin(now.monotonic, now.unix, [...pieces]));
  }

  replaceOutbox(rows: readonly Item[]): void {
    this.call((handle) => handle.replace_outbox([...rows]));
  }

  /** Gives the memory back. Does nothing after a crash. */
  free(): void {
    if (instance === "ready" && !this.#isFree) this.#handle.free();
    this.#isFree = true;
  }
}
