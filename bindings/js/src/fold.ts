/** Folds old rows of the log into the snapshot, so that opening stays quick. */
import { fold } from "./kernel.js";
import type { HeadRow, SnapshotRow, Store } from "./store.js";
import type { News } from "./read.js";

/** From how many rows on it is worth it. Arbitrary. */
const ROWS_MIN = 256;

/** How many rows for each piece of the snapshot, which is read and written whole. Arbitrary. */
const ROWS_PER_PIECE = 32;

/** The newest rows stay, so that other tabs need not read the snapshot. Arbitrary. */
const ROWS_KEPT = 64;

/** Whether there are so many rows that they should be folded. */
export function isDue(news: News): boolean {
  return news.rowCount > Math.max(ROWS_MIN, news.snapshotPieceCount * ROWS_PER_PIECE);
}

/** Folds what every tab may see: no held row, and nothing that an isolated tab must not see yet. */
export async function foldLog(store: Store, doc: string): Promise<void> {
  await store.transact("readwrite", async (tables) => {
    const [head, snapshot, slots, log] = await Promise.all([
      tables.head(doc),
      tables.snapshot(doc),
      tables.slots(doc),
      tables.log(doc, 0),
    ]);
    const bases = slots.flatMap((slot) => slot.base ?? []);
    const upto = Math.min(...bases, log.at(-ROWS_KEPT)?.id ?? 0);
    const rows = log.filter((row) => row.id <= upto && !row.held);
    if (rows.length === 0 || upto <= (head?.upto ?? 0)) return;
    const pieces = fold([...(snapshot?.pieces ?? []), ...rows.flatMap((row) => row.pieces)]);
    if (pieces === undefined) return;
    const newSnapshot: SnapshotRow = { doc, pieces };
    const imported = rows.filter((row) => row.imported).at(-1);
    const newHead: HeadRow = { ...head, doc, upto, pieceCount: pieces.length, ...(imported && { importedUpto: imported.id }) };
    tables.table("snapshots").put(newSnapshot);
    tables.table("heads").put(newHead);
    for (const row of rows) tables.table("log").delete(row.id);
  });
}
