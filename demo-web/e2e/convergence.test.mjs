/**
 * The whole path: tabs A and B of one profile, device C with another, device D in the terminal, one hub.
 * All edit, A (or A's device) is cut off, the hub is killed in between; then all show the same.
 */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Hub, Proxy, Tab, Terminal, end, profile, serve, temporary, until } from "./rig.mjs";

afterEach(end);

/** Two profiles, three tabs, a terminal, each device behind a proxy of its own. */
async function stage(doc) {
  const hub = new Hub(await temporary("hub"));
  await hub.start();
  const proxies = [new Proxy(hub), new Proxy(hub), new Proxy(hub)];
  for (const proxy of proxies) await proxy.start();
  const [one, two] = [await profile("one"), await profile("two")];
  const site = await serve();
  const open = (context, proxy, name) => Tab.open(context, site, { doc, hub: proxy.address, name });
  const a = await open(one, proxies[0], "A");
  const b = await open(one, proxies[0], "B");
  const c = await open(two, proxies[1], "C");
  const d = new Terminal(await temporary("d"), proxies[2].address, doc);
  for (const tab of [a, b, c]) await tab.is("online");
  const observe = async () => {
    const observer = new Terminal(await temporary("observer"), `ws://127.0.0.1:${hub.port}`, doc);
    await observer.sync();
    return { notes: await observer.notes(), seen: (await observer.run("status")).seen };
  };
  return { hub, proxies, site, one, a, b, c, d, tabs: [a, b, c], observe };
}

/** Five notes that all four devices have. */
async function plant({ a, b, c, d, tabs }) {
  const ids = [];
  for (const number of [1, 2, 3, 4, 5]) {
    const author = [a, b, c][number % 3];
    ids.push(await author.add({ title: `Note ${number}`, body: `body ${number}`, tags: `t${number}, all` }));
  }
  for (const tab of tabs) {
    for (const id of ids) await tab.item(id).getByText("all", { exact: true }).waitFor();
    await tab.settled();
  }
  await d.sync();
  assert.deepEqual(Object.keys(await d.notes()).sort(), [...ids].sort());
  return ids;
}

/** Waits until all four show the same notes, and gives them. */
async function converged({ d, tabs }) {
  for (const tab of tabs) {
    await tab.is("online");
    await tab.settled();
  }
  await d.sync(120);
  const expected = await d.notes();
  for (const tab of tabs) {
    let shown;
    await until(
      async () => {
        shown = await tab.notes();
        try {
          assert.deepEqual(shown, expected);
          return true;
        } catch {
          return false;
        }
      },
      () => `${tab.name} shows ${JSON.stringify(shown, null, 1)} and D ${JSON.stringify(expected, null, 1)}`,
    );
  }
  return expected;
}

/** One entry of an edit against a delete for a note, on every device, and no second one. */
async function assertLogged({ d, tabs }, title, id) {
  const log = (await d.run("conflicts")).log.filter((entry) => entry.note === id && entry.field === null);
  assert.equal(log.length, 1, JSON.stringify(log));
  for (const tab of tabs) {
    const entries = await tab.conflictLog();
    const found = entries.filter((entry) => entry.kind === "edit-delete" && entry.text.includes(title));
    assert.equal(found.length, 1, `${tab.name}: ${JSON.stringify(entries)}`);
  }
}

/** A note whose title clashes: both versions can be read on each device, and one click clears it everywhere. */
async function assertResolves(where, id, texts, chosen) {
  const { d, tabs } = where;
  for (const tab of tabs) {
    await until(async () => (await tab.clashing()).includes(id), async () => `${tab.name}: ${await tab.clashing()}`);
    await tab.item(id).click();
    const versions = await Promise.all([1, 2].map((number) => tab.version(number).textContent()));
    for (const text of texts) {
      assert.equal(versions.filter((version) => version.includes(text)).length, 1, `${tab.name}: ${versions}`);
    }
  }
  const open = (await d.run("conflicts")).open.find((clash) => clash.id === id);
  assert.deepEqual(open.conflicts[0].values.map(({ value }) => value).sort(), [...texts].sort());
  const chooser = tabs.at(-1);
  const group = chooser.page.getByRole("group", { name: /^Version \d$/ }).filter({ hasText: chosen });
  await group.getByRole("button", { name: "Keep this version" }).click();
  for (const tab of tabs) {
    await until(async () => !(await tab.clashing()).includes(id), `${tab.name} clears`);
    assert.equal((await tab.notes())[id].title, chosen);
  }
  await d.sync();
  assert.equal((await d.notes())[id].title, chosen);
  assert(!(await d.run("conflicts")).open.some((clash) => clash.id === id));
}

function assertQuiet(tabs) {
  for (const tab of tabs) assert.deepEqual(tab.complaints, [], tab.name);
}

test("one tab is switched offline, the hub is killed, and everyone converges", async () => {
  const where = await stage("by-switch");
  const { hub, a, b, c, d, tabs, observe } = where;
  const [n1, n2, n3, n4, n5] = await plant(where);
  const replica = await a.replica();
  const before = (await observe()).seen[replica];
  assert(before > 0, "the hub knows A");

  await a.switchOffline(true);
  await a.edit(n1, { title: "Note 1 by A" });
  await a.edit(n2, { title: "Note 2 by A" });
  await a.edit(n3, { title: "Note 3 by A" });
  await a.remove(n4);
  assert.notEqual(await a.status().getAttribute("data-pending"), "0");

  await b.edit(n1, { body: "body 1 by B" });
  await b.edit(n2, { title: "Note 2 by B" });
  await b.remove(n3);
  await hub.kill();
  await c.is("connecting");
  await c.edit(n4, { body: "body 4 by C" });
  await c.edit(n1, { tags: "t1, all, from-c" });
  await d.run("edit", n5, "--body", "body 5 by D");
  const added = await b.add({ title: "Made while the hub is down" });

  await a.page.reload();
  await a.is("offline");
  for (const [id, title] of [[n1, "Note 1 by A"], [n2, "Note 2 by A"], [n3, "Note 3 by A"]]) {
    await a.item(id).getByText(title, { exact: true }).waitFor();
  }
  assert.equal(await a.item(n4).count(), 0, "deleted in A");

  await hub.start();
  for (const tab of [b, c]) {
    await tab.is("online");
    await tab.settled();
  }
  await d.sync();
  const observed = await observe();
  assert.equal(observed.seen[replica], before, "the hub has not seen what A did meanwhile");
  assert.equal(observed.notes[n1].title, "Note 1");
  assert(n4 in observed.notes && !(n3 in observed.notes));

  await a.switchOffline(false);
  await until(async () => n3 in (await d.sync().then(() => d.notes())), "the note comes back");
  const notes = await converged(where);
  assert.deepEqual(Object.keys(notes).sort(), [n1, n2, n3, n4, n5, added].sort());
  assert.deepEqual(notes[n1], { title: "Note 1 by A", body: "body 1 by B", tags: ["all", "from-c", "t1"] });
  assert.deepEqual(notes[n3], { title: "Note 3 by A", body: "body 3", tags: ["all", "t3"] });
  assert.deepEqual(notes[n4], { title: "Note 4", body: "body 4 by C", tags: ["all", "t4"] });
  assert.equal(notes[n5].body, "body 5 by D");
  assert.equal(notes[added].title, "Made while the hub is down");
  await assertLogged(where, "Note 3 by A", n3);
  await assertLogged(where, "Note 4", n4);
  await assertResolves(where, n2, ["Note 2 by A", "Note 2 by B"], "Note 2 by A");
  assertQuiet(tabs);
});

test("each device is cut off by a line that swallows bytes, the hub is killed, and everyone converges", async () => {
  const where = await stage("by-proxy");
  const { hub, proxies, a, b, c, d, tabs, observe } = where;
  const [n1, n2, n3, n4, n5] = await plant(where);
  const replicas = [await a.replica(), await b.replica()];
  const before = (await observe()).seen;

  // A and B are one device: they hear of each other, and nobody hears of them.
  proxies[0].drop();
  await a.edit(n1, { title: "Note 1 by A" });
  await b.item(n1).getByText("Note 1 by A").waitFor();
  await b.edit(n1, { body: "body 1 by B" });
  await a.edit(n2, { title: "Note 2 by A" });
  await b.edit(n3, { title: "Note 3 by B" });
  await a.remove(n4);
  assert.notEqual(await a.status().getAttribute("data-pending"), "0");

  await c.edit(n1, { tags: "t1, all, from-c" });
  await c.edit(n2, { title: "Note 2 by C" });
  await c.remove(n3);
  await c.settled();
  await hub.kill();
  proxies[1].drop();
  await c.edit(n4, { body: "body 4 by C" });
  await d.run("edit", n5, "--body", "body 5 by D");
  await hub.start();
  proxies[1].pass();
  await a.page.reload();
  await a.item(n1).getByText("Note 1 by A").waitFor();
  await d.sync();
  const observed = await observe();
  for (const replica of replicas) {
    assert.equal(observed.seen[replica], before[replica], "the hub has not seen what A and B did meanwhile");
  }

  proxies[0].pass();
  const notes = await converged(where);
  assert.deepEqual(Object.keys(notes).sort(), [n1, n2, n3, n4, n5].sort());
  assert.deepEqual(notes[n1], { title: "Note 1 by A", body: "body 1 by B", tags: ["all", "from-c", "t1"] });
  assert.deepEqual(notes[n3], { title: "Note 3 by B", body: "body 3", tags: ["all", "t3"] });
  assert.deepEqual(notes[n4], { title: "Note 4", body: "body 4 by C", tags: ["all", "t4"] });
  assert.equal(notes[n5].body, "body 5 by D");
  await assertLogged(where, "Note 3 by B", n3);
  await assertLogged(where, "Note 4", n4);
  await assertResolves(where, n2, ["Note 2 by A", "Note 2 by C"], "Note 2 by C");
  assertQuiet(tabs);
});

test("the hub's data are deleted while clients are away, and they fill it again", async () => {
  const where = await stage("refill");
  const { hub, a, c, d, tabs, observe } = where;
  const ids = await plant(where);
  await a.remove(ids[4]);
  await c.item(ids[4]).waitFor({ state: "detached" });
  await d.sync();
  for (const tab of tabs) await tab.settled();
  await hub.kill();
  hub.folder = await temporary("hub-again");
  await hub.start();
  for (const tab of tabs) await tab.is("online");
  const notes = await converged(where);
  assert.deepEqual(Object.keys(notes).sort(), ids.slice(0, 4).sort());
  assert.deepEqual((await observe()).notes, notes, "the new hub has it all");
  assertQuiet(tabs);
});

test("how long an edit takes to be visible in the other three", async (context) => {
  const where = await stage("latency");
  const { a, b, c, d } = where;
  const [id] = await plant(where);
  const watch = d.watch(() => {});
  const caughtUp = await watch.event(({ status }) => status?.phase === "live");
  assert(caughtUp > 0);
  const waits = { "in the same profile": [], "in another profile": [], "in the terminal": [] };
  await a.item(id).click();
  for (let round = 0; round < 15; round += 1) {
    const title = `round ${round}`;
    const arrives = (tab) =>
      tab.page.evaluate(
        ([id, title]) =>
          new Promise((resolve) => {
            const look = () => {
              const item = document.querySelector(`[data-note-id="${id}"]`);
              if (!item?.textContent.includes(title)) return false;
              observer.disconnect();
              resolve();
              return true;
            };
            const observer = new MutationObserver(look);
            observer.observe(document.body, { subtree: true, childList: true, characterData: true });
            look();
          }),
        [id, title],
      );
    const all = [arrives(b), arrives(c)].map((arrival) => arrival.then(() => performance.now()));
    all.push(watch.event(({ note }) => note?.id === id && note.title === title));
    const start = performance.now();
    await a.box("Title").fill(title);
    const times = await Promise.all(all);
    for (const [at, list] of Object.values(waits).entries()) list.push(times[at] - start);
  }
  await watch.stop();
  for (const [where, list] of Object.entries(waits)) {
    list.sort((x, y) => x - y);
    const median = list[list.length >> 1].toFixed(0);
    context.diagnostic(`visible ${where} after ${median} ms (median of ${list.length}, worst ${list.at(-1).toFixed(0)} ms)`);
  }
});
