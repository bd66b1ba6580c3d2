/** The lease of a slot: a place with a replica of its own, for one tab as long as it lives. */
import type { Environment, Release } from "./environment.js";
import { SyncError } from "./errors.js";
import type { SlotRow, Tables } from "./store.js";

/** How long a reloaded tab waits for the page before it to give its slot back. Arbitrary. */
const HANDOVER_MS = 500;

/** The most tabs of one document in one profile. The hub takes 256 replicas from a connection. */
export const SLOTS_MAX = 200;

/** What a tab remembers across reloads. */
interface Remembered {
  readonly slot: number;
  readonly offline: boolean;
}

export function slotLock(doc: string, slot: number): string {
  return `sync-sdk/slot/${doc}/${slot}`;
}

/** Who leads: tabs without a hub among themselves, so that none of them keeps the others from theirs. */
export function leaderLock(doc: string, hasHub: boolean): string {
  return `sync-sdk/${hasHub ? "hub" : "local"}/${doc}`;
}

export function recall(environment: Environment, doc: string): Remembered | undefined {
  try {
    const text = environment.recall(`sync-sdk/${doc}`);
    return text === undefined ? undefined : (JSON.parse(text) as Remembered);
  } catch {
    return undefined;
  }
}

export function remember(environment: Environment, doc: string, remembered: Remembered): void {
  environment.remember(`sync-sdk/${doc}`, JSON.stringify(remembered));
}

/** Takes the slot that this tab had before, or the lowest that is free and not an isolated tab's. */
export async function lease(
  environment: Environment,
  doc: string,
  slots: readonly SlotRow[],
): Promise<{ readonly slot: number; readonly release: Release }> {
  const { locks } = environment;
  const own = recall(environment, doc)?.slot;
  if (own !== undefined) {
    const release = await takeSoon(environment, slotLock(doc, own));
    if (release) return { slot: own, release };
  }
  for (let slot = 0; slot < SLOTS_MAX; slot += 1) {
    // The tab may just be reloading, and will want its changes back.
    if (slots.some((row) => row.slot === slot && row.base !== undefined)) continue;
    const release = await locks.tryTake(slotLock(doc, slot));
    if (release) return { slot, release };
  }
  throw new SyncError("too-many-tabs", "This document is open in too many tabs. Close some, then reload the page.");
}

/** Takes a lock, with some patience. */
export async function takeSoon(environment: Environment, name: string): Promise<Release | undefined> {
  const { locks } = environment;
  const release = await locks.tryTake(name);
  if (release) return release;
  const patience = new AbortController();
  const stop = environment.after(HANDOVER_MS, () => patience.abort());
  try {
    return await locks.take(name, patience.signal);
  } catch {
    return undefined;
  } finally {
    stop();
  }
}

/** Notes the lease in the slot's row: a fresh opening, and a fresh replica where there is none. */
export function renewed(
  environment: Environment,
  row: SlotRow | undefined,
  { doc, slot, name }: Pick<SlotRow, "doc" | "slot" | "name">,
): SlotRow {
  const opening = new DataView(environment.random(8).buffer).getBigUint64(0);
  const fresh = { doc, slot, replica: freshReplica(environment), opening, name };
  return row ? { ...row, opening, name } : fresh;
}

/** A replica's first incarnation: 96 random bits, then 32 of zero. */
export function freshReplica(environment: Environment): string {
  const digits = [...environment.random(12)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${digits.join("")}00000000`;
}

/** Fails where another tab has leased this slot, or the row is gone: nothing more may be written then. */
export async function check(tables: Tables, slot: SlotRow): Promise<SlotRow> {
  const row = await tables.slot(slot.doc, slot.slot);
  if (row === undefined) {
    throw new SyncError("wiped", "This app's data was removed from this device. Reload the page.");
  }
  if (row.opening !== slot.opening) {
    throw new SyncError("taken-over", "This page was put aside, and another tab took its place. Reload the page.");
  }
  return row;
}
