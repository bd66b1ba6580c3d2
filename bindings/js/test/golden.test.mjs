// The golden vectors of the core, held against the WASM build. The files are read and never written.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { instantiate, Kernel } from "../dist/kernel.js";
import * as wasm from "../dist/wasm/inline.js";

instantiate();

const read = (name) => JSON.parse(readFileSync(new URL(`../../../sync-core/golden/${name}.json`, import.meta.url), "utf8"));
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");

test("frames mean what they mean to the native build", () => {
  const frames = read("frames");
  assert.ok(frames.length >= 21);
  for (const { from, hex: text, decoded } of frames) {
    assert.deepEqual(wasm.describe(from, bytes(text)), decoded);
    assert.equal(hex(wasm.encode_again(from, bytes(text))), text);
    for (const end of [0, 3, 4, 5, bytes(text).length - 1]) {
      assert.throws(() => wasm.describe(from, bytes(text).slice(0, end)), { code: "malformed" });
    }
  }
});

test("documents read as they read in the native build", () => {
  for (const { name, deltas, shown } of read("documents")) {
    const rows = [];
    for (const { hex: text, decoded } of deltas) {
      assert.deepEqual(wasm.describe("delta", bytes(text)), decoded);
      assert.equal(hex(wasm.encode_again("delta", bytes(text))), text);
      rows.push(sealed(bytes(text)));
    }
    const kernel = open({ rows });
    assert.deepEqual(shownBy(kernel).records, asRead(shown.records), name);
    const kinds = (conflicts) => conflicts.map(({ kind, field }) => `${kind} ${field ?? ""}`).sort();
    assert.deepEqual(kinds(shownBy(kernel).conflicts), kinds(shown.conflicts), name);
  }
});

test("a client says the same bytes as the native build", () => {
  const { agent, replica, opening, start_ms, steps, shown } = read("transcript");
  const kernel = open({}, { agent, replica, opening: BigInt(opening) });
  const waiting = [];
  let ms = start_ms;
  let count = 0;
  for (const step of steps) {
    ms = start_ms + ++count;
    kernel.call((handle) => {
      switch (step.do) {
        case "insert":
          return handle.insert(ms, "notes", step.id, step.fields);
        case "update":
          return handle.update(ms, "notes", step.id, step.fields);
        case "remove":
          return handle.remove(ms, "notes", step.id);
        case "connected":
          return handle.connected(ms, ms);
        case "frame":
          return handle.frame(ms, ms, bytes(step.hex));
        case "persisted":
          return handle.persisted(ms, ms, waiting.shift());
        default:
          throw new Error(`unknown step ${step.do}`);
      }
    });
    const sends = [];
    for (const output of kernel.drain()) {
      if (output.type === "send") sends.push(hex(output.frame));
      if (output.type === "persist") waiting.push(output.id);
    }
    assert.deepEqual(sends, step.sends, step.do);
  }
  assert.deepEqual(shownBy(kernel), shown);
});

function open(saved, config = {}) {
  const defaults = { replica: "77".repeat(12) + "00000000", spare: "66".repeat(12) + "00000000", opening: 1n, agent: "", now: 1 };
  return new Kernel("golden", { ...defaults, ...config }, { state: [], rows: [], outbox: [], cursor: undefined, conflicts: [], ...saved });
}

/** A delta as it is stored: its checksum before it. */
function sealed(delta) {
  let crc = ~0;
  for (const byte of delta) {
    crc ^= byte;
    for (let i = 0; i < 8; i += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const piece = new Uint8Array(delta.length + 4);
  new DataView(piece.buffer).setUint32(0, ~crc >>> 0, true);
  piece.set(delta, 4);
  return piece;
}

/** What a reader sees, in the form of the golden vectors. */
function shownBy(kernel) {
  const records = {};
  for (const { id, ...fields } of kernel.records("notes")) {
    records[id] = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, json(value, true)]));
  }
  const conflicts = kernel.conflicts().filter(({ open }) => open).map(({ kind, field, sides }) =>
    kind === "fields"
      ? { kind, field, values: sides.map(({ author, at, value }) => ({ author, at, value: json(value) })) }
      : { kind },
  );
  return { records, conflicts };
}

/** What JavaScript reads of fields of every kind: a value, a set or an object. */
function asRead(records) {
  const field = (field) => {
    if (field?.latest !== undefined) return field.latest;
    if (field?.counter !== undefined) return field.counter;
    return field?.fields === undefined ? field : { map: fields(field.fields) };
  };
  const fields = (fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, field(value)]));
  return Object.fromEntries(Object.entries(records).map(([id, record]) => [id, fields(record)]));
}

function json(value) {
  if (value instanceof Set) return { set: [...value].map(json) };
  if (value instanceof Uint8Array) return { bytes: hex(value) };
  if (typeof value === "bigint") return { int: String(value) };
  if (Array.isArray(value)) return value.map(json);
  if (typeof value !== "object" || value === null) return value;
  return { map: Object.fromEntries(Object.entries(value).map(([key, item]) => [key, json(item)])) };
}
