import assert from "node:assert/strict";
import { test } from "node:test";
import { CONFLICTS_MAX, RENAMINGS_MAX, write } from "../dist/commit.js";
import { fold, instantiate } from "../dist/kernel.js";
import { Store } from "../dist/store.js";
import { Profile, plain, settle, until } from "./support/profile.mjs";

/** That what a replica wrote from a counter on stands under another one, as the core writes it. */
function renamingOf(from, first, to, mark) {
  const id = (replica) => [0xc4, 16, ...Buffer.from(replica, "hex")];
  const last = [0xcf, 0x7f, ...new Array(7).fill(0xff)];
  return Uint8Array.from([0x95, ...id(from), first, ...last, ...id(to), ...(mark === undefined ? [0xc0] : [mark])]);
}

test("what a copy wrote stands under another replica, in all that is stored and in every tab", async () => {
  const profile = new Profile();
  const writer = profile.tab();
  const a = await writer.open("a", { name: "writer" });
  const b = await profile.tab().open("a", { name: "reader" });
  const older = a.collection("notes").insert({ title: "older" });
  await older.disk;
  const newer = a.collection("notes").insert({ title: "newer" });
  await newer.disk;
  await until(() => b.collection("notes").list().length === 2, "the other tab has both");
  const from = a.replica;
  const to = `${from.slice(0, 24)}0000002a`;
  await a.close();

  // The mark and the older note are the counters 1 to 3, the newer one is 4 and 5.
  const store = await Store.open(profile.databases, () => {});
  const slot = await store.transact("readonly", async (tables) => (await tables.slots("a")).find((row) => row.replica === from));
  const renaming = renamingOf(from, 4, to, 7);
  const steps = [{ type: "rename", renaming }, { type: "renew", replica: to }];
  await store.transact("readwrite", (tables) => write(tables, slot, { steps, held: false, repeated: false }, []));
  const rows = await store.transact("readonly", (tables) => tables.outbox("a"));
  assert.deepEqual(rows.map((row) => [row.replica, row.first, row.last, row.state]), [[to, 1, 3, "pending"]]);
  assert.equal(await store.transact("readonly", (tables) => tables.cursor("a")), undefined);

  // A tab that has not heard of it writes over what was there before.
  const edited = b.collection("notes").update(newer.id, { title: "edited" });
  await edited.disk;
  await settle();
  const titles = (document) => plain(document.collection("notes")).map((note) => note.title).sort();
  assert.deepEqual(titles(b), ["edited", "older"]);

  const again = await writer.open("a", { name: "writer" });
  assert.deepEqual(titles(again), ["edited", "older"]);
  assert.deepEqual(again.conflicts(), [], "the old title is gone, under either name");
  assert.equal(again.replica, to);
  await again.collection("notes").update(older.id, { title: "again" }).disk;
  await until(() => titles(b).includes("again"), "the tabs go on together");
  assert.deepEqual(titles(b), titles(again));
  store.close();
});

test("a file that is imported by a tab that has not heard of a renaming stands under the new replica", async () => {
  const profile = new Profile();
  const writer = profile.tab();
  const a = await writer.open("a", { name: "writer" });
  const b = await profile.tab().open("a", { name: "reader" });
  await a.collection("notes").insert({ title: "older" }).disk;
  await a.collection("notes").insert({ title: "newer" }).disk;
  await until(() => b.collection("notes").list().length === 2, "the other tab has both");
  const file = await b.export();
  const from = a.replica;
  await a.close();
  await settle();
  const store = await Store.open(profile.databases, () => {});
  const slot = await store.transact("readonly", async (tables) => (await tables.slots("a")).find((row) => row.replica === from));
  const to = `${from.slice(0, 24)}0000002a`;
  const steps = [{ type: "rename", renaming: renamingOf(from, 4, to, 7) }];
  await store.transact("readwrite", (tables) => write(tables, slot, { steps, held: false, repeated: false }, []));
  const stored = () =>
    store.transact("readonly", async (tables) => {
      const rows = await tables.log("a", 0);
      return fold(rows.flatMap((row) => row.pieces)).map((piece) => Buffer.from(piece).toString("hex"));
    });
  const before = await stored();
  await b.import(file);
  assert.deepEqual(await stored(), before, "it brings nothing");
  assert.deepEqual(plain(b.collection("notes")).map((note) => note.title).sort(), ["newer", "older"]);
  store.close();
});

test("the renamings that are kept for tabs that were away are limited, and the oldest go", async () => {
  instantiate();
  const store = await Store.open(new Profile().databases, () => {});
  const slot = { doc: "a", slot: 0 };
  const kept = [];
  for (let number = 1; number <= RENAMINGS_MAX + 1; number += 1) {
    const steps = [{ type: "rename", renaming: renamingOf("11".repeat(16), 1, "22".repeat(16), number) }];
    await store.transact("readwrite", async (tables) => {
      await write(tables, slot, { steps, held: false, repeated: false }, []);
    });
    const { renamings } = await store.transact("readonly", (tables) => tables.head("a"));
    kept.push([renamings.length, renamings[0].renaming.at(-1)]);
  }
  assert.deepEqual(kept.slice(-3), [[RENAMINGS_MAX - 1, 1], [RENAMINGS_MAX, 1], [RENAMINGS_MAX, 2]]);
  store.close();
});

test("the conflicts on disk are limited, and the oldest go", async () => {
  const store = await Store.open(new Profile().databases, () => {});
  const slot = { doc: "a", slot: 0 };
  const log = (seenMs, key) => ({ type: "log", key, clash: true, seenMs, entry: new Uint8Array() });
  const put = (doc, steps) =>
    store.transact("readwrite", (tables) => write(tables, { ...slot, doc }, { steps, held: false, repeated: false }, []));
  const rows = (doc) => store.transact("readonly", (tables) => tables.conflicts(doc));
  await put("b", [log(0, "of another document")]);
  // The oldest is not the first by its key; of those of one time the first by its key goes.
  const many = Array.from({ length: CONFLICTS_MAX - 1 }, (_, at) => log(7, `m${String(at).padStart(4, "0")}`));
  await put("a", many);
  assert.equal((await rows("a")).length, CONFLICTS_MAX - 1);
  await put("a", [log(6, "z")]);
  assert.equal((await rows("a")).length, CONFLICTS_MAX);
  await put("a", [log(8, "a")]);
  let keys = (await rows("a")).map(({ key }) => key);
  assert.equal(keys.length, CONFLICTS_MAX);
  assert.deepEqual([keys[0], keys.at(-1)], ["a", many.at(-1).key]);
  await put("a", [log(8, "b")]);
  keys = (await rows("a")).map(({ key }) => key);
  assert.equal(keys.length, CONFLICTS_MAX);
  assert.deepEqual(keys.slice(0, 3), ["a", "b", "m0001"]);
  assert.equal((await rows("b")).length, 1);
  store.close();
});
