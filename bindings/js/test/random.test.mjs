// Random schedules: tabs write, are isolated, reload, are killed; in the end all show the same, and
// nothing that was promised is lost. A failure names its seed; SYNC_SEED=n runs that one alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { Profile, settle, until } from "./support/profile.mjs";

const SEEDS = process.env.SYNC_SEED ? [Number(process.env.SYNC_SEED)] : Array.from({ length: Number(process.env.SYNC_SEEDS ?? 25) }, (_, i) => i + 1);
const TABS = 3;
const STEPS = 60;

/** mulberry32: small, and good enough to shuffle with. */
function randomOf(seed) {
  let state = seed;
  return (count) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % count;
  };
}

for (const seed of SEEDS) {
  test(`seed ${seed}`, async () => {
    const random = randomOf(seed);
    const pick = (list) => list[random(list.length)];
    const profile = new Profile();
    const tabs = Array.from({ length: TABS }, () => profile.tab());
    for (const tab of tabs) await tab.open("a");
    const notes = (tab) => tab.page.document.collection("notes");
    const promised = new Set();
    const removed = new Set();
    const quiet = () => {};
    for (let step = 0; step < STEPS; step += 1) {
      const tab = pick(tabs);
      const document = tab.page.document;
      const record = pick(notes(tab).list());
      const what = random(100);
      if (what < 25 || !record) {
        const { id, disk } = notes(tab).insert({ title: `${step}`, body: "", tags: new Set(["a"]) });
        disk.then(() => promised.add(id), quiet);
      } else if (what < 55) {
        const field = pick(["title", "body"]);
        notes(tab).update(record.id, { [field]: `${step}` });
      } else if (what < 62) {
        notes(tab).update(record.id, { tags: new Set([...(record.tags ?? []), `${step}`].slice(-3)) });
      } else if (what < 70) {
        removed.add(record.id);
        notes(tab).remove(record.id);
      } else if (what < 75) {
        const version = pick(notes(tab).versions(record.id));
        if (version) notes(tab).keep(record.id, version.key);
      } else if (what < 83) {
        const switched = document.setOffline(!document.isOffline());
        if (random(2)) await switched;
      } else if (what < 88) {
        tab.kill();
        await tab.open("a");
      } else if (what < 92) {
        await tab.reload("a");
      } else {
        await settle(random(8));
      }
      assert.equal(tab.page.document.status().failure, undefined);
    }
    for (const tab of tabs) await tab.page.document.setOffline(false);
    await settle(60);
    const last = profile.tab();
    await last.open("a");
    const [first, ...others] = [...tabs, last];
    const pending = (tab) => tab.page.document.status().pending;
    const isSame = (tab) => pending(tab) === pending(first) && isDeepStrictEqual(notes(tab).list(), notes(first).list());
    // Where they never do, the assertions below show what differs.
    await until(() => others.every(isSame)).catch(quiet);
    const shown = notes(first).list();
    const open = (tab) => {
      const log = tab.page.document.conflicts().filter((entry) => entry.open && entry.kind === "fields");
      return [...new Set(log.map(({ record }) => record))].sort();
    };
    const clashing = (tab) => notes(tab).list().filter(({ id }) => notes(tab).versions(id).length > 0).map(({ id }) => id);
    for (const tab of others) {
      assert.deepEqual(notes(tab).list(), shown);
      assert.equal(pending(tab), pending(first));
    }
    for (const tab of [first, ...others]) assert.deepEqual(open(tab), clashing(tab), "the log agrees with the versions");
    const ids = new Set(shown.map(({ id }) => id));
    for (const id of promised) assert.ok(ids.has(id) || removed.has(id), `${id} is lost`);
    for (const tab of [first, ...others]) tab.kill();
  });
}
