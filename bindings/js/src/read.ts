/** Reads what is stored: all of it for opening, and what is new since. */
import type { Saved } from "./kernel.js";
import type { HeadRow, LogRow, OutboxRow, SlotRow, Tables } from "./store.js";

/** A document as it was stored, and up to which row of the log. */
export interface Opened {
  readonly saved: Saved;
  readonly seen: number;
}

/**
 * Reads a document for the tab of a slot. An isolated tab sees what was there when it was isolated, and
 * what it wrote itself.
 */
export async function readAll(tables: Tables, doc: string, slot: number, base: number | undefined): Promise<Opened> {
  const [head, snapshot, rows, outbox, cursor, conflicts] = await Promise.all([
    tables.head(doc),
    tables.snapshot(doc),
    tables.log(doc, 0),
    tables.outbox(doc),
    tables.cursor(doc),
    tables.conflicts(doc),
  ]);
  const isSeen = (row: LogRow & { readonly id: number }): boolean => base === undefined || row.id <= base;
  const own = rows.filter((row) => row.slot === slot || (!row.held && isSeen(row)));
  return {
    saved: {
      state: snapshot?.pieces ?? [],
      rows: own.flatMap((row) => row.pieces),
      outbox: outbox.filter((row) => isVisible(row, slot)),
      cursor,
      conflicts: conflicts.map((row) => row.entry),
    },
    seen: base ?? Math.max(head?.upto ?? 0, rows.at(-1)?.id ?? 0),
  };
}

/** What other tabs have stored since. */
export interface News {
  /** What stands under other replicas now; what is known here must do so before the rest is joined. */
  readonly renamings: readonly Uint8Array[];
  readonly pieces: readonly Uint8Array[];
  readonly outbox: readonly OutboxRow[];
  readonly slots: readonly SlotRow[];
  readonly cursor: Uint8Array | undefined;
  readonly seen: number;
  /** Whether some of it came from a file. */
  readonly isImported: boolean;
  /** How many rows of the log could be folded into the snapshot. */
  readonly rowCount: number;
  readonly snapshotPieceCount: number;
}

/** Reads what other tabs have stored after a row of the log. */
export async function readNews(tables: Tables, doc: string, slot: number, seen: number): Promise<News> {
  const [head, outbox, slots, cursor] = await Promise.all([
    tables.head(doc),
    tables.outbox(doc),
    tables.slots(doc),
    tables.cursor(doc),
  ]);
  const pieces: Uint8Array[] = [];
  let from = seen;
  if (head && head.upto > seen) {
    // Rows that were not read here are folded already.
    pieces.push(...((await tables.snapshot(doc))?.pieces ?? []));
    from = head.upto;
  }
  const rows = await tables.log(doc, from);
  pieces.push(...rows.filter((row) => !row.held && row.slot !== slot).flatMap((row) => row.pieces));
  return {
    renamings: laterRenamings(head, slot, seen),
    pieces,
    outbox: outbox.filter((row) => isVisible(row, slot)),
    slots,
    cursor,
    seen: rows.at(-1)?.id ?? from,
    isImported: (head?.importedUpto ?? 0) > seen || rows.some((row) => row.imported && !row.held),
    rowCount: await tables.logCount(doc),
    snapshotPieceCount: head?.pieceCount ?? 0,
  };
}

/** What other tabs than that of a slot have put under other replicas since a row of the log. */
export function laterRenamings(head: HeadRow | undefined, slot: number, seen: number): Uint8Array[] {
  const later = head?.renamings?.filter((row) => row.id > seen && row.slot !== slot) ?? [];
  return later.map((row) => row.renaming);
}

function isVisible(row: OutboxRow, slot: number): boolean {
  return !row.held || row.slot === slot;
}
