import assert from "node:assert/strict";
import { test } from "node:test";
import { writes } from "./support/fake.mjs";
import { Profile, plain, settle, until } from "./support/profile.mjs";
import { openDocument } from "../dist/index.js";
import { NAME_BYTES_MAX } from "../dist/open.js";
import { SLOTS_MAX, lease } from "../dist/slot.js";

test("without a browser, opening is refused with the reason", async () => {
  await assert.rejects(openDocument("a"), (error) => {
    assert.equal(error.name, "SyncError");
    assert.equal(error.code, "unsupported");
    assert.match(error.message, /IndexedDB/);
    return true;
  });
});

test("names and addresses are checked before anything is opened", async () => {
  const tab = new Profile().tab();
  await assert.rejects(tab.open(""), { code: "bad-name" });
  await assert.rejects(tab.open("a\nb"), { code: "bad-name" });
  await assert.rejects(tab.open("a", { hub: "nowhere" }), { code: "bad-hub" });
  await assert.rejects(tab.open("a", { hub: "ftp://x" }), { code: "bad-hub" });
});

test("the bytes of names are limited", async () => {
  const profile = new Profile();
  for (const bytes of [NAME_BYTES_MAX - 1, NAME_BYTES_MAX]) {
    await profile.tab().open("x".repeat(bytes), { name: "x".repeat(bytes) });
  }
  for (const long of ["x".repeat(NAME_BYTES_MAX + 1), `${"é".repeat(NAME_BYTES_MAX / 2)}x`]) {
    await assert.rejects(profile.tab().open(long), { code: "bad-name" });
    await assert.rejects(profile.tab().open("a", { name: long }), { code: "bad-name" });
  }
});

test("the tabs of a document are limited, and one more is told so", async () => {
  const opened = async (others) => {
    let free = others;
    const tryTake = async () => (free-- > 0 ? undefined : () => {});
    const { slot } = await lease({ locks: { tryTake }, recall: () => undefined }, "a", []);
    return slot;
  };
  assert.equal(await opened(SLOTS_MAX - 2), SLOTS_MAX - 2);
  assert.equal(await opened(SLOTS_MAX - 1), SLOTS_MAX - 1);
  await assert.rejects(opened(SLOTS_MAX), { code: "too-many-tabs" });
});

test("a transaction that aborts ends writing, loudly, and loses nothing that was saved", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  const a = await tab.open("a");
  const notes = a.collection("notes");
  await notes.insert({ title: "saved" }).disk;
  const stop = writes.failWith(new DOMException("full", "QuotaExceededError"));
  const lost = notes.insert({ title: "lost" });
  await assert.rejects(lost.disk, { code: "quota" });
  stop();
  await assert.rejects(lost.hub, { code: "quota" });
  assert.equal(a.status().failure.code, "quota");
  assert.equal(a.status().connection, "offline");
  assert.throws(() => notes.insert({ title: "more" }), { code: "quota" });
  assert.equal(notes.list().length, 2, "reading goes on");
  await settle();
  const b = await profile.tab().open("a");
  assert.deepEqual(plain(b.collection("notes")), [{ title: "saved" }]);
  await b.collection("notes").insert({ title: "next" }).disk;
});

test("an abort at any step of a comeback leaves it to be done again", async () => {
  let isDone = false;
  let steps = 0;
  for (; !isDone; steps += 1) {
    const profile = new Profile();
    const tab = profile.tab();
    const a = await tab.open("a");
    const b = await profile.tab().open("a");
    const { id } = a.collection("notes").insert({ title: "one", body: "" });
    await until(() => b.collection("notes").get(id));
    await a.setOffline(true);
    await a.collection("notes").update(id, { title: "two" }).disk;
    await b.collection("notes").remove(id).disk;
    await settle();
    const stop = writes.failWith(new DOMException("x", "UnknownError"), steps);
    const switched = await a.setOffline(false).catch((error) => error);
    isDone = !stop();
    if (!isDone) {
      assert.equal(switched?.code, "storage", `step ${steps}`);
      assert.equal(a.status().failure.code, "storage");
      const again = await tab.reload("a");
      assert.equal(again.isOffline(), true);
      assert.equal(again.collection("notes").get(id).title, "two");
      await again.setOffline(false);
    }
    await until(() => b.collection("notes").get(id)?.title === "two", "b has it");
  }
  assert.ok(steps >= 6, `only ${steps} writes were tried`);
});

test("a page that is killed after a write has it, or never promised it", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  for (let round = 0; round < 10; round += 1) {
    const document = await tab.open("a");
    const notes = document.collection("notes");
    let promised = 0;
    for (let i = 0; i < 5; i += 1) void notes.insert({ title: `${round}` }).disk.then(() => (promised += 1), () => {});
    for (let i = 0; i < round; i += 1) await new Promise(setImmediate);
    tab.kill();
    const atKill = promised;
    await settle(5);
    const after = await profile.tab().open("a");
    const found = after.collection("notes").list().filter(({ title }) => title === `${round}`).length;
    assert.ok(found >= atKill, `round ${round}: ${found} of ${atKill}`);
    await after.close();
  }
});

test("a store that is wiped or replaced while it is open is noticed", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a");
  await a.collection("notes").insert({ title: "x" }).disk;
  await new Promise((resolve) => (profile.databases.deleteDatabase("sync-sdk").onsuccess = resolve));
  assert.equal(a.status().failure.code, "replaced");
  assert.throws(() => a.collection("notes").insert({}), { code: "replaced" });
});

test("a slot that another tab has leased is not written any more", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  const a = await tab.open("a");
  tab.page.events.hidden();
  const b = await profile.tab().open("a");
  assert.equal(b.replica, a.replica);
  const write = a.collection("notes").insert({ title: "x" });
  await assert.rejects(write.disk, { code: "taken-over" });
  tab.page.events?.shown();
  await settle();
  assert.equal(a.status().failure.code, "taken-over");
  await b.collection("notes").insert({ title: "y" }).disk;
});

test("a page that comes back from being put aside goes on", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  const a = await tab.open("a");
  tab.page.events.hidden();
  await settle();
  assert.equal(profile.locks.size, 0, "it holds nothing while it is away");
  tab.page.events.shown();
  await until(() => profile.locks.size === 2, "it has its slot and leads");
  await a.collection("notes").insert({ title: "x" }).disk;
});

test("damaged rows are left out, and the counters they may have used are not used again", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  const a = await tab.open("a");
  await a.collection("notes").insert({ title: "whole" }).disk;
  await a.collection("notes").insert({ title: "damaged" }).disk;
  const { replica } = a;
  await a.close();
  await new Promise((resolve) => {
    profile.databases.open("sync-sdk").onsuccess = ({ target: { result } }) => {
      const table = result.transaction("log", "readwrite").objectStore("log");
      table.openCursor(null, "prev").onsuccess = ({ target }) => {
        const row = target.result.value;
        row.pieces[0][10] ^= 1;
        target.result.update(row).onsuccess = () => {
          result.close();
          resolve();
        };
      };
    };
  });
  const b = await tab.open("a");
  assert.deepEqual(plain(b.collection("notes")), [{ title: "whole" }]);
  assert.notEqual(b.replica, replica);
});

test("a closed document is of no use, and harms no other", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a");
  const b = await profile.tab().open("a");
  const notes = a.collection("notes");
  await notes.insert({ title: "x" }).disk;
  const list = notes.list();
  await a.close();
  await a.close();
  assert.equal(notes.list(), list);
  assert.deepEqual(a.collection("others").list(), []);
  assert.deepEqual(notes.versions("x"), []);
  assert.deepEqual(a.conflicts(), []);
  assert.equal(a.status().failure.code, "closed");
  assert.throws(() => notes.insert({}), { code: "closed" });
  await assert.rejects(a.setOffline(true), { code: "closed" });
  await b.collection("notes").insert({ title: "y" }).disk;
});

test("a getter among the fields may read the document", async () => {
  const a = await new Profile().tab().open("a");
  const notes = a.collection("notes");
  const { id } = notes.insert({ get title() { return `${notes.list().length} before`; } });
  assert.equal(notes.get(id).title, "0 before");
});
