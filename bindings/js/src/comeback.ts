/** The way back of an isolated tab: everything it kept to itself becomes part of the log, at its end. */
import { write } from "./commit.js";
import type { Environment } from "./environment.js";
import { Kernel, type Now, type Output } from "./kernel.js";
import { readAll, readNews, type News } from "./read.js";
import { check, freshReplica } from "./slot.js";
import type { SlotRow, Store, Tables } from "./store.js";

/** What came of it. */
export interface Comeback {
  readonly slot: SlotRow;
  readonly news: News;
  /** What the core gave out within the transaction; its batches are on disk. */
  readonly outputs: readonly Output[];
}

/**
 * Reads what others wrote after `seen`, joins it, and in the same transaction moves the slot's held rows
 * to the end of the log, where the others will find them, and adds what the join asserted.
 */
export function comeBack(store: Store, kernel: Kernel, slot: SlotRow, seen: number, now: Now): Promise<Comeback> {
  return store.transact("readwrite", async (tables) => {
    const row = await check(tables, slot);
    const missed = await readNews(tables, slot.doc, slot.slot, seen);
    for (const renaming of missed.renamings) kernel.call((handle) => handle.rename(renaming));
    kernel.rejoin(now, missed.pieces);
    await release(tables, row);
    const { base: _, ...online } = row;
    tables.table("slots").put(online);
    const outputs = kernel.drain();
    for (const output of outputs) {
      if (output.type === "persist") {
        await write(tables, online, { steps: output.steps, held: false, repeated: true }, []);
      }
    }
    const news = await readNews(tables, slot.doc, slot.slot, missed.seen);
    return { slot: online, news, outputs };
  });
}

/** Moves a slot's held rows to the end of the log, and its outbox with them. */
async function release(tables: Tables, { doc, slot }: SlotRow): Promise<void> {
  const held = (await tables.log(doc, 0)).filter((row) => row.held && row.slot === slot);
  let last = 0;
  for (const { id, ...row } of held) {
    tables.table("log").delete(id);
    last = await tables.addLog({ ...row, held: false });
  }
  const outbox = (await tables.outbox(doc)).filter((row) => row.held && row.slot === slot);
  outbox.forEach((row, i) => {
    // Between whole numbers, so that they keep their order among themselves.
    tables.table("outbox").put({ ...row, held: false, order: last + i / (outbox.length + 1) });
  });
}

/** Brings back what an isolated tab has left that is gone for good. Needs the lock of its slot. */
export async function bringBack(
  store: Store,
  environment: Environment,
  doc: string,
  slot: number,
): Promise<void> {
  const found = await store.transact("readonly", async (tables) => {
    const row = await tables.slot(doc, slot);
    if (row?.base === undefined) return undefined;
    return { row, ...(await readAll(tables, doc, slot, row.base)) };
  });
  if (!found) return;
  const { row, saved, seen } = found;
  const unix = environment.unixMs();
  const spare = freshReplica(environment);
  const config = { replica: row.replica, spare, opening: row.opening, agent: "", token: undefined, now: unix };
  const kernel = new Kernel(doc, config, saved);
  try {
    await comeBack(store, kernel, row, seen, { monotonic: environment.monotonicMs(), unix });
  } finally {
    kernel.free();
  }
}
