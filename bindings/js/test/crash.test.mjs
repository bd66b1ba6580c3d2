// A file of its own: the instance of this process is of no use afterwards.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Profile, plain, settle } from "./support/profile.mjs";
import { Kernel } from "../dist/kernel.js";
import { crash } from "../dist/wasm/inline.js";

test("after a crash nothing is written, every document says so, and what was saved is there", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a");
  const b = await profile.tab().open("b");
  const notes = a.collection("notes");
  await notes.insert({ title: "saved" }).disk;
  const list = notes.list();
  await settle();
  const config = { replica: "01".repeat(16), spare: "02".repeat(16), opening: 1n, agent: "", now: 1 };
  const kernel = new Kernel("c", config, { state: [], rows: [], outbox: [], cursor: undefined, conflicts: [] });
  assert.throws(() => kernel.call(() => crash()), (error) => {
    assert.equal(error.code, "crashed");
    assert.ok(error.cause instanceof WebAssembly.RuntimeError);
    return true;
  });
  assert.throws(() => kernel.records("notes"), { code: "crashed" });
  assert.throws(() => notes.insert({ title: "more" }), { code: "crashed" });
  assert.equal(a.status().failure.code, "crashed");
  assert.match(a.status().failure.message, /reload/);
  assert.throws(() => b.collection("notes").insert({ title: "x" }), { code: "crashed" });
  assert.equal(b.status().failure.code, "crashed");
  assert.deepEqual(notes.list(), list, "what was read stays readable");
  assert.deepEqual(plain(notes), [{ title: "saved" }]);
  await a.close();
});
