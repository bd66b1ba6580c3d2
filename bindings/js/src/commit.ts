/** Writes what the core wants stored, within a transaction. */
import { renamed, renamedItem, renamingMark, type Item, type Step } from "./kernel.js";
import { answer, type ConflictRow, type OutboxRow, type SlotRow, type Tables } from "./store.js";

/** Steps that are stored together or not at all. */
export interface Batch {
  readonly steps: readonly Step[];
  /** Whether the tab was isolated when the batch was made. */
  readonly held: boolean;
  /** Whether it follows from what another tab has stored, and may know less than that tab. */
  readonly repeated: boolean;
}

/**
 * Writes a batch and gives the ids of its rows in the log. `renamings` are those that other tabs have
 * stored and this one does not know yet: what it writes speaks of the dots as they were.
 */
export async function write(
  tables: Tables,
  slot: SlotRow,
  batch: Batch,
  renamings: readonly Uint8Array[],
): Promise<number[]> {
  const { doc } = slot;
  const ids: number[] = [];
  for (const step of batch.steps) {
    switch (step.type) {
      case "join": {
        const pieces = renamings.reduce((all: Uint8Array[], one) => renamed(all, one), step.pieces);
        ids.push(await tables.addLog({ doc, slot: slot.slot, held: batch.held, pieces }));
        break;
      }
      case "enqueue": {
        const item = renamings.reduce((row: Item, one) => renamedItem(row, one) ?? row, step.item);
        // The delta of the item is the row of the log just before.
        await enqueue(tables, slot, batch.held, { ...step, item }, ids.at(-1) ?? 0);
        break;
      }
      case "freeze":
        await change(tables, doc, step.key, (row) => (row.state === "pending" ? { ...row, state: "frozen" } : row));
        break;
      case "settle":
        tables.table("outbox").delete([doc, step.key.replica, step.key.counter]);
        break;
      case "park":
        await change(tables, doc, step.key, (row) => ({ ...row, state: "parked", reason: step.reason }));
        break;
      case "follow":
        tables.table("cursors").put({ doc, cursor: step.cursor });
        break;
      case "log":
        if (!batch.repeated || step.clash || !(await hasConflict(tables, doc, step.key))) {
          await logConflict(tables, { doc, key: step.key, seenMs: step.seenMs, entry: step.entry });
        }
        break;
      case "renew":
        tables.table("slots").put({ ...slot, replica: step.replica });
        break;
      case "rename":
        ids.push(await rename(tables, slot, step.renaming));
        break;
    }
  }
  return ids;
}

/** How many renamings are kept for tabs that were away. Arbitrary; there is one for each copy that was found. */
export const RENAMINGS_MAX = 64;

/** Puts a part of a replica's history under another one, in all that is stored. Gives the row that it is known by. */
async function rename(tables: Tables, { doc, slot }: SlotRow, renaming: Uint8Array): Promise<number> {
  for (const row of await tables.log(doc, 0)) {
    tables.table("log").put({ ...row, pieces: renamed(row.pieces, renaming) });
  }
  const snapshot = await tables.snapshot(doc);
  if (snapshot) tables.table("snapshots").put({ doc, pieces: renamed(snapshot.pieces, renaming) });
  for (const row of await tables.outbox(doc)) {
    const item = renamedItem(row, renaming);
    if (!item) continue;
    const { reason: _, ...rest } = row;
    tables.table("outbox").delete([doc, row.replica, row.last]);
    tables.table("outbox").put({ ...rest, ...item });
  }
  tables.table("cursors").delete(doc);
  const id = await tables.addLog({ doc, slot, held: false, pieces: renamingMark(renaming) });
  const head = (await tables.head(doc)) ?? { doc, upto: 0, pieceCount: 0 };
  const renamings = [...(head.renamings ?? []), { id, slot, renaming }].slice(-RENAMINGS_MAX);
  tables.table("heads").put({ ...head, renamings });
  return id;
}

/**
 * Puts an item into the outbox. The one that it takes the place of stays where another tab has frozen
 * it, or where it is for the hub already and the new one is held: the new one holds all of it.
 */
async function enqueue(
  tables: Tables,
  slot: SlotRow,
  held: boolean,
  { item, replaces }: Extract<Step, { type: "enqueue" }>,
  id: number,
): Promise<void> {
  let order = id;
  const old = replaces && (await tables.item(slot.doc, replaces.replica, replaces.counter));
  if (old?.state === "pending" && old.held === held) {
    // What was joined depends on nothing that came after the old one.
    order = old.order;
    tables.table("outbox").delete([old.doc, old.replica, old.last]);
  }
  const { doc, opening } = slot;
  const row: OutboxRow = { ...item, doc, slot: slot.slot, held, opening, order };
  tables.table("outbox").put(row);
}

/** Changes a row of the outbox, if it is there. */
async function change(
  tables: Tables,
  doc: string,
  key: { readonly replica: string; readonly counter: number },
  changed: (row: OutboxRow) => OutboxRow,
): Promise<void> {
  const row = await tables.item(doc, key.replica, key.counter);
  if (row) tables.table("outbox").put(changed(row));
}

async function hasConflict(tables: Tables, doc: string, key: string): Promise<boolean> {
  return (await answer(tables.table("conflicts").count([doc, key]))) > 0;
}

/** How many conflicts of a document are kept, the oldest go first: as many as the core keeps. */
export const CONFLICTS_MAX = 1_000;

async function logConflict(tables: Tables, row: ConflictRow): Promise<void> {
  tables.table("conflicts").put(row);
  if ((await tables.conflictCount(row.doc)) <= CONFLICTS_MAX) return;
  const rows = await tables.conflicts(row.doc);
  rows.sort((a, b) => a.seenMs - b.seenMs || (a.key < b.key ? -1 : 1));
  for (const { doc, key } of rows.slice(0, -CONFLICTS_MAX)) tables.table("conflicts").delete([doc, key]);
}
