/** Opens a document from what is on this disk; the network is not asked. */
import { browser } from "./browser.js";
import { comeBack } from "./comeback.js";
import { OpenDocument } from "./document.js";
import type { Environment } from "./environment.js";
import { SyncError, storageError } from "./errors.js";
import { instantiate, Kernel } from "./kernel.js";
import { socketAddress } from "./line.js";
import { readAll } from "./read.js";
import { freshReplica, lease, recall, remember, renewed } from "./slot.js";
import { Store } from "./store.js";
import type { OpenOptions, SyncDocument } from "./types.js";

/** The most bytes of a name; the hub takes no longer one. */
export const NAME_BYTES_MAX = 128;

/**
 * Opens a document by its name. Resolves once what is on this device is here, without waiting for the
 * hub. Rejects with a `SyncError` where the page has no storage, no locks or no WebAssembly.
 */
export async function openDocument(name: string, options: OpenOptions = {}): Promise<SyncDocument> {
  return openIn(browser(), name, options);
}

/** Opens a document in the surroundings given. */
export async function openIn(
  environment: Environment,
  doc: string,
  { hub, name = "", token }: OpenOptions,
): Promise<SyncDocument> {
  checkName("The document's name", doc);
  if (name !== "") checkName("The name shown to others", name);
  const address = hub === undefined ? undefined : socketAddress(hub);
  instantiate();
  let document: OpenDocument | undefined;
  let lost: SyncError | undefined;
  const store = await Store.open(environment.databases, (error) => {
    lost = error;
    document?.lost(error);
  });
  try {
    const slots = await store.transact("readonly", (tables) => tables.slots(doc));
    const { slot, release } = await lease(environment, doc, slots);
    try {
      const opened = await load(environment, store, doc, slot, { name, token });
      document = new OpenDocument({ environment, store, release, address, ...opened });
    } catch (error) {
      release();
      throw error;
    }
  } catch (error) {
    store.close();
    throw storageError(error);
  }
  if (lost) document.lost(lost);
  document.start();
  return document;
}

/** Leases the slot's row and loads the document as the tab of this slot may see it. */
async function load(
  environment: Environment,
  store: Store,
  doc: string,
  slot: number,
  { name, token }: { readonly name: string; readonly token: string | undefined },
) {
  const isOffline = recall(environment, doc)?.offline === true;
  const { row, saved, seen } = await store.transact("readwrite", async (tables) => {
    const row = renewed(environment, await tables.slot(doc, slot), { doc, slot, name });
    tables.table("slots").put(row);
    return { row, ...(await readAll(tables, doc, slot, row.base)) };
  });
  const unix = environment.unixMs();
  const config = { replica: row.replica, spare: freshReplica(environment), opening: row.opening, agent: name, token, now: unix };
  const kernel = new Kernel(doc, config, saved);
  let leased = { ...row, replica: kernel.replica };
  if (isOffline && leased.base === undefined) leased = { ...leased, base: seen };
  if (leased.replica !== row.replica || leased.base !== row.base) {
    await store.transact("readwrite", async (tables) => {
      tables.table("slots").put(leased);
    });
  }
  remember(environment, doc, { slot, offline: isOffline });
  if (isOffline || leased.base === undefined) return { kernel, slot: leased, seen };
  // An isolated tab had this slot and is gone: what it kept to itself comes back by this one.
  const now = { monotonic: environment.monotonicMs(), unix };
  const back = await comeBack(store, kernel, leased, seen, now);
  kernel.call((handle) => {
    for (const output of back.outputs) {
      if (output.type === "persist") handle.persisted(now.monotonic, now.unix, output.id);
    }
  });
  kernel.replaceOutbox(back.news.outbox);
  return { kernel, slot: back.slot, seen: back.news.seen };
}

function checkName(what: string, name: string): void {
  const { length } = new TextEncoder().encode(name);
  if (length === 0 || length > NAME_BYTES_MAX || /\p{Cc}/u.test(name)) {
    throw new SyncError("bad-name", `${what} must have 1 to ${NAME_BYTES_MAX} bytes and no control characters.`);
  }
}
