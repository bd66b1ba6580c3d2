import assert from "node:assert/strict";
import { test } from "node:test";
import { counter, latest, nested } from "../dist/fields.js";
import { instantiate, Kernel, freshId } from "../dist/kernel.js";

instantiate();

function open(saved = {}) {
  const config = { replica: "01".repeat(12) + "00000000", spare: "02".repeat(12) + "00000000", opening: 7n, agent: "t", now: 1000 };
  return new Kernel("doc", config, { state: [], rows: [], outbox: [], cursor: undefined, conflicts: [], ...saved });
}

const ID = freshId(1000, new Uint8Array(10));

function roundTrip(value) {
  const kernel = open();
  kernel.call((handle) => handle.insert(1000, "notes", ID, { value }));
  return kernel.record("notes", ID).value;
}

test("values read as they were written", () => {
  const values = [
    null, true, false, 0, -1, 1.5, 2 ** 53 - 1, -(2 ** 53 - 1), 1e300, Infinity, -Infinity, NaN, "", "Grüße 🙂",
    2 ** 53, -(2 ** 53), 2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n), new Uint8Array([0, 255]), [], [1, [2, "x"], null], {}, { a: { b: [1] }, c: null },
    new Set(["a", 1, null]),
  ];
  for (const value of values) assert.deepEqual(roundTrip(value), value, String(value));
  assert.equal(Object.is(roundTrip(-0), -0), true);
  assert.equal(roundTrip(5n), 5, "a bigint that fits a number is read as one");
  assert.equal(roundTrip(2 ** 60), 2 ** 60, "a number beyond the safe integers stays a number");
});

test("counters, latest values and nested fields are written, merged and read", () => {
  const kernel = open();
  const fields = {
    seen: counter(2),
    color: latest("red"),
    place: nested({ city: "Ulm", visits: counter(), tags: new Set(["a"]), at: nested({ x: 1 }) }),
    plain: { city: "Ulm" },
  };
  kernel.call((handle) => handle.insert(1, "notes", ID, fields));
  kernel.call((handle) => handle.count(2, "notes", ID, ["seen"], 3));
  kernel.call((handle) => handle.count(3, "notes", ID, ["place", "visits"], -4));
  kernel.call((handle) => handle.update(4, "notes", ID, { color: latest("blue"), other: counter(7) }));
  const place = { city: "Ulm", visits: -4, tags: new Set(["a"]), at: { x: 1 } };
  const read = { seen: 5, color: "blue", other: 7, place, plain: { city: "Ulm" }, id: ID };
  assert.deepEqual(kernel.record("notes", ID), read);
  for (const field of [counter(1.5), counter("1"), [counter(1)], { x: latest(1) }, latest(counter(1))]) {
    const write = () => kernel.call((handle) => handle.update(5, "notes", ID, { field }));
    assert.throws(write, { code: "bad-value" });
  }
  assert.throws(() => kernel.call((handle) => handle.count(5, "notes", ID, ["seen"], 0.5)), { code: "bad-value" });
  assert.throws(() => kernel.call((handle) => handle.count(5, "notes", ID, [], 1)), { name: "SyncError" });
  assert.deepEqual(kernel.record("notes", ID), read);
});

test("a name that JavaScript treats in its own way is a name like any other", () => {
  const kernel = open();
  const fields = Object.fromEntries([["__proto__", { x: 1 }], ["constructor", 2]]);
  kernel.call((handle) => handle.insert(1, "notes", ID, fields));
  const record = kernel.record("notes", ID);
  assert.equal(Object.getPrototypeOf(record), Object.prototype);
  assert.deepEqual(Object.getOwnPropertyDescriptor(record, "__proto__").value, { x: 1 });
  assert.equal(record.constructor, 2);
});

test("what no field can hold is refused with words, and nothing is changed", () => {
  const kernel = open();
  const cyclic = [];
  cyclic.push(cyclic);
  const throwing = { get x() { throw new Error("no"); } };
  for (const value of [() => {}, Symbol("x"), new Date(), new Map(), [undefined], { a: new Set() }, cyclic, 2n ** 63n, throwing]) {
    assert.throws(() => kernel.call((handle) => handle.insert(1, "notes", ID, { value })), { name: "SyncError", code: "bad-value" });
  }
  const insert = (collection, id, fields) => () => kernel.call((handle) => handle.insert(1, collection, id, fields));
  assert.throws(insert("notes", ID, { id: "x" }), { code: "bad-value" });
  assert.throws(insert("notes", ID, 5), { code: "bad-value" });
  assert.throws(insert("", ID, {}), { code: "bad-name" });
  assert.throws(insert("notes", "", {}), { code: "bad-name" });
  assert.throws(insert("notes", ID, { body: "x".repeat(200_000) }), { code: "too-large" });
  assert.throws(() => kernel.call((handle) => handle.update(1, "notes", ID, { a: 1 })), { code: "no-such-record" });
  assert.throws(() => kernel.call((handle) => handle.keep(1, "notes", ID, "nobody")), { code: "no-such-version" });
  assert.deepEqual(kernel.records("notes"), []);
  assert.deepEqual(kernel.drain().filter(({ type }) => type === "persist"), []);
  insert("notes", ID, { a: undefined, b: 1 })();
  assert.deepEqual(kernel.record("notes", ID), { b: 1, id: ID });
  assert.throws(insert("notes", ID, {}), { code: "record-exists" });
});

test("what is stored is read again, and damage is noticed", () => {
  const kernel = open();
  kernel.call((handle) => handle.insert(1, "notes", ID, { title: "x", tags: new Set(["a"]) }));
  const [persist] = kernel.drain().filter(({ type }) => type === "persist");
  const [join, enqueue] = persist.steps;
  const again = open({ rows: join.pieces, outbox: [enqueue.item] });
  assert.deepEqual(again.records("notes"), kernel.records("notes"));
  assert.deepEqual(again.waiting(), { pending: 1, parked: 0 });
  assert.equal(again.damaged, 0);
  const damaged = join.pieces[0].slice();
  damaged[9] ^= 4;
  const other = open({ rows: [damaged] });
  assert.equal(other.damaged, 1);
  assert.match(other.replica, /^02/, "nobody knows which counters were used");
});

test("a removal of more ranges than a delta may have is stored in pieces", async () => {
  const { fold } = await import("../dist/kernel.js");
  const kernel = open();
  const every = (step) => new Set(Array.from({ length: 9_000 / step }, (_, i) => i * step));
  const pieces = [];
  for (let i = 0; i < 2; i += 1) {
    const id = freshId(2000 + i, new Uint8Array(10));
    kernel.call((handle) => handle.insert(1, "notes", id, { s: every(1) }));
    kernel.drain();
    kernel.call((handle) => handle.update(1, "notes", id, { s: every(2) }));
    for (const output of kernel.drain()) {
      if (output.type === "persist") pieces.push(...output.steps.flatMap((step) => (step.type === "join" ? step.pieces : [])));
    }
  }
  const folded = fold(pieces);
  assert.ok(folded.length > 1);
  assert.notEqual(fold(folded), undefined, "every piece can be read again");
});

test("a state larger than a delta may be is stored in pieces", async () => {
  const { fold } = await import("../dist/kernel.js");
  const kernel = open();
  const pieces = [];
  for (let i = 0; i < 20; i += 1) {
    kernel.call((handle) => handle.insert(1, "notes", freshId(2000 + i, new Uint8Array(10)), { body: "x".repeat(30_000) }));
  }
  const removed = kernel.records("notes")[3].id;
  kernel.call((handle) => handle.remove(1, "notes", removed));
  for (const output of kernel.drain()) {
    if (output.type === "persist") pieces.push(...output.steps.flatMap((step) => (step.type === "join" ? step.pieces : [])));
  }
  const folded = fold(pieces);
  assert.ok(folded.length > 4 && folded.every((piece) => piece.length < 160 * 1024));
  const again = open({ state: folded });
  assert.equal(again.records("notes").length, 19);
  assert.deepEqual(again.records("notes"), kernel.records("notes"));
  const late = open({ state: folded, rows: pieces });
  assert.deepEqual(late.records("notes"), kernel.records("notes"), "what was removed stays removed");
  const broken = folded[1].slice();
  broken[5] ^= 1;
  assert.equal(fold([folded[0], broken]), undefined);
});
