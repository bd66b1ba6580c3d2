// The golden vectors of the core, held against the WASM build. The files are read and never written.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { instantiate, Kernel } from "../dist/kernel.js";

instantiate();

const read = (name) => JSON.parse(readFileSync(new URL(`../../../sync-core/golden/${name}.json`, import.meta.url), "utf8"));
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");

const OTHER = "01".repeat(12) + "00000000";

/** The golden frames of one kind of message, in order. */
const frames = (from, type) =>
  read("frames").filter((frame) => frame.from === from && frame.decoded.type === type).map((frame) => bytes(frame.hex));
const [welcome] = frames("hub", "welcome");
const [opened] = frames("hub", "opened");
const [lastChunk] = frames("hub", "chunk");

test("what a hub says means what it means to the native build", () => {
  const kernel = live();
  for (const hear of frames("hub", "delta")) kernel.call((handle) => handle.frame(3, 3, hear));
  assert.deepEqual(persisted(kernel).map(({ type }) => type), ["join", "follow", "log"]);

  const [online, gone] = frames("hub", "presence");
  kernel.call((handle) => handle.frame(4, 4, online));
  assert.deepEqual(kernel.call((handle) => handle.peers()), [{ replica: OTHER, name: "laptop" }]);
  kernel.call((handle) => handle.frame(4, 4, gone));
  assert.deepEqual(kernel.call((handle) => handle.peers()), []);

  const dot = kernel.call((handle) => handle.insert(5, "notes", "x", {}));
  persisted(kernel);
  persisted(kernel);
  const [refused] = frames("hub", "refused");
  kernel.call((handle) => handle.frame(6, 6, refused));
  assert.deepEqual(kernel.call((handle) => handle.receipt(dot)), { hub: false, parked: true, reason: "why" });
  kernel.drain();

  const [inUse] = frames("hub", "in use");
  kernel.call((handle) => handle.frame(7, 7, inUse));
  assert.deepEqual(kernel.drain().filter(({ type }) => type === "in-use"), [{ type: "in-use", replica: OTHER }]);

  const [pong] = frames("hub", "pong");
  kernel.call((handle) => handle.frame(8, 8, pong));
  assert.deepEqual(kernel.drain(), []);
});

test("what a client says is the bytes of the native build", () => {
  const kernel = open({}, { agent: "a tab" });
  kernel.call((handle) => handle.connected(1, 1));
  assert.deepEqual(sent(kernel), [hex(frames("client", "hello")[0])]);

  const [claim, release] = ["claim", "release"].map((type) => hex(onChannelOne(frames("client", type)[0])));
  const [presence] = frames("client", "presence");
  const silent = hex(sealed(bytes(hex(presence.slice(4)).replace(/c4020102$/, "c400"))));
  const writer = live();
  writer.call((handle) => handle.claim(OTHER, 1n << 40n));
  writer.call((handle) => handle.show(OTHER, "laptop"));
  writer.call((handle) => handle.release(OTHER));
  assert.deepEqual(sent(writer), [claim, silent, release]);

  const [held] = frames("client", "held");
  const heldHere = hex(sealed(bytes(hex(held.slice(4)).replace(OTHER, writer.replica))));
  writer.call((handle) => handle.timeout(30_000, 30_000));
  assert.deepEqual(sent(writer), [heldHere, hex(frames("client", "ping")[0])]);
});

test("a frame that is cut short ends the connection", () => {
  const kernel = open({});
  for (const { from, hex: text } of read("frames")) {
    if (from !== "hub") continue;
    for (const end of [0, 3, 4, 5, bytes(text).length - 1]) {
      kernel.call((handle) => handle.connected(1, 1));
      kernel.call((handle) => handle.frame(2, 2, bytes(text).slice(0, end)));
      assert.ok(kernel.drain().some(({ type }) => type === "disconnect"));
      kernel.call((handle) => handle.disconnected(3, 3));
      kernel.drain();
    }
  }
});

test("documents read as they read in the native build", () => {
  for (const { name, deltas, shown } of read("documents")) {
    const rows = [];
    for (const { hex: text } of deltas) rows.push(sealed(bytes(text)));
    const kernel = open({ rows });
    assert.deepEqual(shownBy(kernel).records, shown.records, name);
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
    assert.deepEqual(sends, step.sends.map(withoutCompare), step.do);
  }
  assert.deepEqual(shownBy(kernel), shown);
});

/** A frame as a module says it that does not compare with hubs: the last item but one of its Open is false. */
function withoutCompare(frame) {
  const isOpen = frame.slice(8, 12) === "9202";
  return isOpen ? hex(sealed(bytes(frame.slice(8).replace(/c390$/, "c290")))) : frame;
}

function open(saved, config = {}) {
  const defaults = { replica: "77".repeat(12) + "00000000", spare: "66".repeat(12) + "00000000", opening: 1n, agent: "", now: 1 };
  return new Kernel("golden", { ...defaults, ...config }, { state: [], rows: [], outbox: [], cursor: undefined, conflicts: [], ...saved });
}

/** A kernel that has caught up with a hub. */
function live() {
  const kernel = open({});
  kernel.call((handle) => handle.connected(1, 1));
  for (const frame of [welcome, opened, lastChunk]) kernel.call((handle) => handle.frame(2, 2, frame));
  persisted(kernel);
  kernel.drain();
  assert.equal(kernel.call((handle) => handle.phase()), "live");
  return kernel;
}

/** The steps that wait for the disk, which are then on it. */
function persisted(kernel) {
  const waiting = kernel.drain().filter(({ type }) => type === "persist");
  for (const { id } of waiting) kernel.call((handle) => handle.persisted(2, 2, id));
  return waiting.flatMap(({ steps }) => steps);
}

function sent(kernel) {
  return kernel.drain().filter(({ type }) => type === "send").map(({ frame }) => hex(frame));
}

/** A frame with another channel: its first field. */
function onChannelOne(frame) {
  const body = frame.slice(4);
  body[3] = 1;
  return sealed(body);
}

/** Bytes with their checksum before them: a delta as it is stored, or a frame. */
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

function json(value) {
  if (value instanceof Set) return { set: [...value].map(json) };
  if (value instanceof Uint8Array) return { bytes: hex(value) };
  if (typeof value === "bigint") return { int: String(value) };
  if (Array.isArray(value)) return value.map(json);
  if (typeof value !== "object" || value === null) return value;
  return { map: Object.fromEntries(Object.entries(value).map(([key, item]) => [key, json(item)])) };
}
