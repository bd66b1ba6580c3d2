import assert from "node:assert/strict";
import { test } from "node:test";
import { Profile, plain, settle, until } from "./support/profile.mjs";

test("a document is opened from local data, written, and opened again", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  const first = await tab.open("a");
  const notes = first.collection("notes");
  const write = notes.insert({ title: "one", tags: new Set(["x"]) });
  assert.equal(notes.get(write.id).title, "one");
  assert.equal(first.status().unsaved, 1);
  await write.disk;
  assert.equal(first.status().unsaved, 0);
  assert.equal(first.status().pending, 1);
  await first.close();
  assert.throws(() => notes.insert({}), { code: "closed" });

  const second = await tab.open("a");
  assert.deepEqual(plain(second.collection("notes")), [{ title: "one", tags: ["x"] }]);
  assert.equal(second.replica, first.replica, "the slot keeps its replica");
  assert.equal(second.collection("notes").insert({ title: "two" }).id > write.id, true);
});

test("two tabs of a profile converge, and show each other", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a", { name: "left" });
  const b = await profile.tab().open("a", { name: "right" });
  assert.notEqual(a.replica, b.replica);
  const { id } = a.collection("notes").insert({ title: "one", body: "" });
  await until(() => b.collection("notes").get(id), "the other tab has the record");
  b.collection("notes").update(id, { body: "from b" });
  a.collection("notes").update(id, { title: "from a" });
  const both = { id, title: "from a", body: "from b" };
  await until(() => a.collection("notes").get(id).body === "from b" && b.collection("notes").get(id).title === "from a");
  assert.deepEqual(a.collection("notes").get(id), both);
  assert.deepEqual(b.collection("notes").get(id), both);
  await until(() => a.online().length === 2 && b.online().length === 2, "both are shown");
  assert.deepEqual(a.online().map(({ name, self }) => [name, self]), [["left", true], ["right", false]]);
  await until(() => a.status().pending === 3 && b.status().pending === 3, "both count what waits");
  await b.close();
  await until(() => a.online().length === 1, "the closed tab is gone");
});

test("what has not changed stays the same object", async () => {
  const profile = new Profile();
  const document = await profile.tab().open("a");
  const notes = document.collection("notes");
  assert.equal(document.collection("notes"), notes);
  const empty = notes.list();
  assert.equal(notes.list(), empty);
  const one = notes.insert({ title: "one", tags: new Set(["x"]) });
  const two = notes.insert({ title: "two" });
  await two.disk;
  await settle();
  const list = notes.list();
  const [first, second] = list;
  const [status, online, conflicts] = [document.status(), document.online(), document.conflicts()];
  assert.equal(notes.list(), list);
  notes.update(one.id, { title: "ONE" });
  assert.notEqual(notes.list(), list);
  assert.equal(notes.list()[1], second);
  assert.equal(notes.get(one.id).tags, first.tags);
  assert.equal(document.online(), online);
  assert.equal(document.conflicts(), conflicts);
  assert.notEqual(document.status(), status);
  await settle();
  const rested = document.status();
  assert.equal(document.status(), rested);
  assert.equal(notes.versions(one.id), notes.versions(one.id));
});

test("listeners are called, and no more after the way out", async () => {
  const document = await new Profile().tab().open("a");
  let calls = 0;
  const leave = document.subscribe(() => (calls += 1));
  document.collection("notes").insert({ title: "x" });
  assert.ok(calls > 0, "at once");
  leave();
  const before = calls;
  document.collection("notes").insert({ title: "y" });
  await settle();
  assert.equal(calls, before);
});

test("concurrent writes of two tabs conflict, and keeping one clears it in both", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a");
  const b = await profile.tab().open("a");
  const notes = { a: a.collection("notes"), b: b.collection("notes") };
  const { id } = notes.a.insert({ title: "one" });
  await until(() => notes.b.get(id));
  notes.a.update(id, { title: "left" });
  notes.b.update(id, { title: "right" });
  const clashes = (document) => document.conflicts().filter((entry) => entry.open && entry.kind === "fields");
  await until(() => clashes(a).length === 1 && clashes(b).length === 1, "both see the conflict");
  for (const side of [notes.a, notes.b]) {
    assert.deepEqual(side.versions(id).map(({ fields }) => fields.title).sort(), ["left", "right"]);
    assert.equal(side.versions(id)[0].shown, true);
    assert.equal(side.versions(id)[0].fields.title, side.get(id).title);
  }
  assert.equal(a.conflicts(), a.conflicts());
  assert.deepEqual(notes.a.list(), notes.b.list());
  const loser = notes.a.versions(id)[1];
  notes.b.keep(id, loser.key);
  await until(() => clashes(a).length === 0 && clashes(b).length === 0, "it is cleared");
  assert.equal(notes.a.get(id).title, loser.fields.title);
  assert.deepEqual(notes.a.versions(id), []);
  assert.equal(a.conflicts().length, 1, "the log remembers");
});

test("an isolated tab neither tells nor hears, keeps its changes across a reload, and comes back", async () => {
  const profile = new Profile();
  const tabA = profile.tab();
  let a = await tabA.open("a", { name: "a" });
  const tabB = profile.tab();
  const b = await tabB.open("a", { name: "b" });
  const ids = ["one", "two", "three"].map((title) => a.collection("notes").insert({ title, body: "-" }).id);
  await until(() => b.collection("notes").list().length === 3);

  await a.setOffline(true);
  assert.equal(a.isOffline(), true);
  assert.equal(a.status().connection, "offline");
  await until(() => b.online().length === 1, "b sees only itself");
  assert.equal(a.online().length, 1);
  const said = profile.messages.filter(({ page }) => page === tabA.page).length;
  const held = a.collection("notes").update(ids[0], { title: "one of a" });
  a.collection("notes").update(ids[1], { title: "two of a" });
  a.collection("notes").remove(ids[2]);
  await held.disk;
  b.collection("notes").update(ids[0], { title: "one of b" });
  b.collection("notes").remove(ids[1]);
  b.collection("notes").update(ids[2], { body: "three of b" });
  await settle();
  assert.equal(profile.messages.filter(({ page }) => page === tabA.page).length, said, "a says nothing");
  assert.deepEqual(plain(b.collection("notes")), [{ title: "one of b", body: "-" }, { title: "three", body: "three of b" }]);
  assert.deepEqual(plain(a.collection("notes")), [{ title: "one of a", body: "-" }, { title: "two of a", body: "-" }]);

  // A tab that is opened meanwhile sees nothing of it, and does not take the slot.
  const c = await profile.tab().open("a");
  assert.deepEqual(plain(c.collection("notes")), plain(b.collection("notes")));
  await c.close();

  const { replica } = a;
  a = await tabA.reload("a", { name: "a" });
  assert.equal(a.isOffline(), true, "the switch is remembered");
  assert.equal(a.replica, replica);
  assert.deepEqual(plain(a.collection("notes")), [{ title: "one of a", body: "-" }, { title: "two of a", body: "-" }]);
  await a.collection("notes").insert({ title: "four" }).disk;
  const waiting = b.status().pending;
  tabB.page.events.woken();
  await settle();
  assert.equal(b.collection("notes").list().length, 2, "nor when the other tab looks for itself");
  assert.equal(b.status().pending, waiting);

  await a.setOffline(false);
  assert.equal(a.isOffline(), false);
  const expected = { a: plain(a.collection("notes")), b: () => plain(b.collection("notes")) };
  await until(() => JSON.stringify(expected.b()) === JSON.stringify(plain(a.collection("notes"))), "both agree");
  const now = plain(a.collection("notes"));
  assert.equal(now.length, 4, "nothing is lost");
  assert.ok(["one of a", "one of b"].includes(now[0].title));
  assert.deepEqual(now[1], { title: "two of a", body: "-" }, "the edit wins over the delete, whole");
  assert.deepEqual(now[2], { title: "three", body: "three of b" });
  assert.deepEqual(now[3], { title: "four" });
  await until(() => a.online().length === 2 && b.online().length === 2, "both are shown again");
  const open = (document) => document.conflicts().filter((entry) => entry.open).map(({ kind, record }) => `${kind} ${record}`);
  await until(() => open(b).length === open(a).length);
  assert.deepEqual(open(a).sort(), open(b).sort());
  assert.ok(open(a).includes(`fields ${ids[0]}`));
  assert.ok(open(a).includes(`edit-delete ${ids[1]}`));

  // And it is all on disk.
  const d = await profile.tab().open("a");
  assert.deepEqual(plain(d.collection("notes")), now);
  assert.deepEqual(open(d).sort(), open(a).sort());
});

test("what an isolated tab kept comes back with the next tab in its slot", async () => {
  const profile = new Profile();
  const tab = profile.tab();
  const a = await tab.open("a");
  const { id } = a.collection("notes").insert({ title: "one" });
  await a.setOffline(true);
  await a.collection("notes").update(id, { title: "kept" }).disk;
  tab.kill();
  const b = await profile.tab().open("a");
  assert.equal(b.collection("notes").get(id).title, "one");
  assert.notEqual(b.replica, a.replica, "the slot is left to the tab that may come back");
  // The same tab, which has forgotten that it was offline.
  tab.session.set("sync-sdk/a", JSON.stringify({ slot: 0, offline: false }));
  const again = await tab.open("a");
  assert.equal(again.isOffline(), false);
  assert.equal(again.collection("notes").get(id).title, "kept");
  await settle();
});

test("many rows are folded, and every tab reads the same", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a");
  const b = await profile.tab().open("a");
  const notes = a.collection("notes");
  const { id } = notes.insert({ title: "0" });
  for (let i = 1; i <= 400; i += 1) await notes.update(id, { title: String(i) }).disk;
  await until(() => b.collection("notes").get(id)?.title === "400");
  const c = await profile.tab().open("a");
  assert.equal(c.collection("notes").get(id).title, "400");
  c.collection("notes").update(id, { title: "end" });
  await until(() => notes.get(id).title === "end" && b.collection("notes").get(id).title === "end");
  const rows = await new Promise((resolve) => {
    profile.databases.open("sync-sdk").onsuccess = ({ target }) => {
      const { result } = target;
      const request = result.transaction("log").objectStore("log").count();
      request.onsuccess = () => {
        result.close();
        resolve(request.result);
      };
    };
  });
  assert.ok(rows < 400, `${rows} rows are left`);
});
