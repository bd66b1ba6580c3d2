// Documents as files: between profiles, and of files that are none.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { foldLog } from "../dist/fold.js";
import { readNews } from "../dist/read.js";
import { Store } from "../dist/store.js";
import { DELTA_BYTES_MAX, EXPORT_BYTES_MAX, PIECES_MAX, REPLICAS_MAX, readExport } from "../dist/transfer.js";
import { writes } from "./support/fake.mjs";
import { Profile, plain, settle, until } from "./support/profile.mjs";

const HEAD = [...new TextEncoder().encode("SyncDoc"), 1];

/** A file of these unpacked bytes. */
async function packed(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream("deflate"));
  const body = await new Response(stream).arrayBuffer();
  return new Blob([Uint8Array.from(HEAD), Uint32Array.of(body.byteLength), body]);
}

const bytesOf = async (file) => new Uint8Array(await file.arrayBuffer());

test("what one profile exports another one imports, once, with what was deleted gone", async () => {
  const writer = await new Profile().tab().open("a");
  const notes = writer.collection("notes");
  const kept = notes.insert({ title: "kept", tags: new Set(["x", "y"]) });
  const gone = notes.insert({ title: "MARKER" });
  notes.update(kept.id, { title: "kept, and changed" });
  notes.remove(gone.id);
  const file = await writer.export();
  assert.equal(Buffer.from(await bytesOf(file)).includes("MARKER"), false);

  const profile = new Profile();
  const tab = profile.tab();
  const reader = await tab.open("b");
  const other = await profile.tab().open("b");
  reader.collection("notes").insert({ title: "own" });
  await reader.import(file);
  const both = [{ title: "kept, and changed", tags: ["x", "y"] }, { title: "own" }];
  const sorted = (document) => plain(document.collection("notes")).sort((a, b) => (a.title < b.title ? -1 : 1));
  assert.deepEqual(sorted(reader), both);
  await until(() => other.collection("notes").list().length === 2, "the other tab has it");
  assert.equal(reader.status().pending, 1, "what came is not in the outbox");
  await settle();
  tab.kill();
  const again = await tab.open("b");
  assert.deepEqual(sorted(again), both, "it was on disk");

  again.collection("notes").remove(kept.id);
  await again.import(file);
  assert.deepEqual(sorted(again), [{ title: "own" }], "what was deleted since stays so");

  // Whoever wrote it takes the answer, and both are the same.
  await writer.import(await again.export());
  assert.deepEqual(sorted(writer), [{ title: "own" }]);
});

test("what clashes with what was imported is a conflict, in the log of every tab", async () => {
  const first = await new Profile().tab().open("a");
  const { id } = first.collection("notes").insert({ title: "one" });
  const profile = new Profile();
  const tab = profile.tab();
  const second = await tab.open("a");
  await second.import(await first.export());
  first.collection("notes").update(id, { title: "left" });
  second.collection("notes").update(id, { title: "right" });
  await second.import(await first.export());
  assert.deepEqual(second.collection("notes").versions(id).map(({ fields }) => fields.title).sort(), ["left", "right"]);
  await settle();
  tab.kill();
  const again = await tab.open("a");
  assert.equal(again.conflicts().filter((entry) => entry.open).length, 1);
});

test("an isolated tab imports and exports what it sees, and the others get it when it comes back", async () => {
  const profile = new Profile();
  const a = await profile.tab().open("a");
  const b = await profile.tab().open("a");
  await a.setOffline(true);
  b.collection("notes").insert({ title: "of b" });
  a.collection("notes").insert({ title: "of a" });
  const titles = (document) => plain(document.collection("notes")).map(({ title }) => title).sort();
  const writer = await new Profile().tab().open("a");
  writer.collection("notes").insert({ title: "imported" });
  await a.import(await writer.export());
  await settle();
  assert.deepEqual(titles(a), ["imported", "of a"]);
  assert.deepEqual(titles(b), ["of b"]);
  const third = await new Profile().tab().open("a");
  await third.import(await a.export());
  assert.deepEqual(titles(third), ["imported", "of a"]);
  await a.setOffline(false);
  await until(() => titles(a).length === 3 && titles(b).length === 3, "all have all");
});

test("the tab that holds the socket opens the document anew, whichever tab imported", async () => {
  const sockets = [];
  const openSocket = (address, events, page) => {
    const socket = { events, page, isClosed: false, send() {}, close: () => (socket.isClosed = true) };
    sockets.push(socket);
    setImmediate(() => events.opened());
    return socket;
  };
  const writer = await new Profile().tab().open("a");
  const profile = new Profile({ openSocket });
  const leader = await profile.tab().open("a", { hub: "ws://hub" });
  await until(() => sockets.length === 1, "it connects");
  const follower = await profile.tab().open("a", { hub: "ws://hub" });
  for (const [tab, count] of [[leader, 2], [follower, 3]]) {
    writer.collection("notes").insert({ title: "one" });
    await tab.import(await writer.export());
    await until(() => sockets.length === count, "it connects again");
    assert.equal(sockets.at(-2).isClosed, true);
    assert.equal(sockets.at(-1).page, sockets[0].page, "the same tab leads");
    await settle();
    assert.equal(sockets.length, count, "once");
    assert.equal(leader.collection("notes").list().length, count - 1, "it has it");
  }
});

test("what is no whole export is refused, says why, and changes nothing", async () => {
  const writer = await new Profile().tab().open("a");
  for (let at = 0; at < 3; at += 1) writer.collection("notes").insert({ title: `number ${at}` });
  const file = await writer.export();
  const bytes = await bytesOf(file);
  const reader = await new Profile().tab().open("a");
  const refused = (bytes, code) => assert.rejects(reader.import(new Blob([bytes])), { name: "SyncError", code });
  for (let length = 0; length < bytes.length; length += 1) await refused(bytes.slice(0, length), "bad-export");
  await refused(Uint8Array.from([...bytes, 0]), "bad-export");
  for (let at = 0; at < bytes.length; at += 1) {
    // The byte before the last checksum has bits that stand for nothing.
    if (at === HEAD.length - 1 || at === bytes.length - 5) continue;
    const flipped = bytes.slice();
    flipped[at] ^= 1 << (at % 8);
    await refused(flipped, "bad-export");
  }
  const newer = bytes.slice();
  newer[HEAD.length - 1] = 2;
  await refused(newer, "newer");
  assert.deepEqual(reader.collection("notes").list(), []);
  await reader.import(file);
  assert.equal(reader.collection("notes").list().length, 3);
  await reader.close();
  await assert.rejects(reader.import(file), { code: "closed" });
  await assert.rejects(reader.export(), { code: "closed" });
});

test("a file that there is no room for leaves everything as it was, and writing goes on", async () => {
  const writer = await new Profile().tab().open("a");
  writer.collection("notes").insert({ title: "from a file" });
  const file = await writer.export();
  const tab = new Profile().tab();
  const reader = await tab.open("a");
  const before = reader.collection("notes").insert({ title: "before" });
  await before.disk;
  const stop = writes.failWith(new DOMException("full", "QuotaExceededError"));
  await assert.rejects(reader.import(file), { code: "quota" });
  assert.equal(stop(), true);
  assert.equal(reader.status().failure, undefined);
  await reader.collection("notes").insert({ title: "after" }).disk;
  assert.deepEqual(plain(reader.collection("notes")).map(({ title }) => title), ["before", "after"]);
  await reader.import(file);
  assert.equal(reader.collection("notes").list().length, 3);
});

test("a file is as large as it may be, and no larger", async () => {
  const reader = await new Profile().tab().open("a");
  const empty = await bytesOf(await (await new Profile().tab().open("a")).export());
  const packedPiece = new Blob([empty.slice(HEAD.length + 4)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const piece = await bytesOf(new Response(packedPiece));
  const pieces = (count) => packed([Buffer.concat(Array.from({ length: count }, () => piece))]);
  await reader.import(await pieces(PIECES_MAX - 1));
  await reader.import(await pieces(PIECES_MAX));
  await assert.rejects(reader.import(await pieces(PIECES_MAX + 1)), { code: "too-large" });
  // Unpacked it is larger than the file.
  const file = await pieces(100);
  const length = 100 * piece.length;
  assert.ok(file.size < length);
  assert.equal((await readExport(file, length)).length, 1);
  await readExport(file, length + 1);
  await assert.rejects(readExport(file, length - 1), { code: "too-large" });
  await assert.rejects(readExport(file, file.size - 1), { code: "too-large" });
  const zeros = (bytes) => new Blob([new Uint8Array(bytes)]);
  await assert.rejects(reader.import(zeros(EXPORT_BYTES_MAX)), { code: "bad-export" });
  await assert.rejects(reader.import(zeros(EXPORT_BYTES_MAX + 1)), { code: "too-large" });
});

/** A number as deltas have it. */
const n = (number) => (number < 128 ? [number] : [(number % 128) + 128, ...n(Math.floor(number / 128))]);

/** A piece that stands before its length in a file, of these parts of a delta. */
function pieceOf(...parts) {
  const delta = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32LE(delta.length);
  sum.writeUInt32LE(crc32(delta));
  return Buffer.concat([length, sum, delta]);
}

/** A piece in which each of so many replicas, from one on, has a dead dot. */
function pieceOfReplicas(from, count) {
  const ids = Buffer.alloc(16 * count);
  for (let at = 0; at < count; at += 1) ids.writeUInt32BE(from + at, 16 * at);
  const dead = Array.from({ length: count }, (_, at) => [...n(at), 1, 1, 0]).flat();
  return pieceOf(n(count), ids, [0], n(count), dead, [0, 0]);
}

/** A piece with one slot of a run of two: the other one is dead here. */
function pieceOfRun(slot, bytes) {
  const names = [0, 1].map((at) => (at === slot ? [1, 1] : [0])).flat();
  const label = [1, 2, 3, "v".charCodeAt(0), 2, ...names];
  const slots = [0, 1].map((at) => (at === slot ? Buffer.from([...n(bytes + 1), ...new Uint8Array(bytes).fill(0xc0)]) : Buffer.of(0)));
  return pieceOf([1], Buffer.alloc(16, 7), label, [0], [1, 0], [0], [0, 2], [2], [0, 0], [2], ...slots);
}

test("a document has no more replicas by a file than there may be", async () => {
  for (const beyond of [-1, 0, 1]) {
    const reader = await new Profile().tab().open("a");
    await reader.import(await packed([pieceOfReplicas(1, 2_000)]));
    await reader.collection("notes").insert({ title: "own" }).disk;
    // Those of the file, and the tab's own; some are known.
    const file = await packed([pieceOfReplicas(1_001, REPLICAS_MAX - 1_001 + beyond)]);
    const before = plain(reader.collection("notes"));
    if (beyond > 0) await assert.rejects(reader.import(file), { code: "too-large", message: /4097 replicas/ });
    else await reader.import(file);
    assert.equal(reader.status().failure, undefined);
    await reader.collection("notes").insert({ title: "after" }).disk;
    assert.equal(reader.collection("notes").list().length, before.length + 1);
  }
});

test("a run that is too large once its parts are joined is refused, within a file and with what is here", async () => {
  const half = 80_000;
  const pieces = await readExport(await packed([pieceOfRun(0, half), pieceOfRun(1, half)]));
  assert.equal(pieces.length, 1);
  const rest = DELTA_BYTES_MAX - (pieces[0].length - 4) + half;
  for (const beyond of [-1, 0, 1]) {
    const parts = [pieceOfRun(0, half), pieceOfRun(1, rest + beyond)];
    for (const files of [[Buffer.concat(parts)], parts]) {
      const reader = await new Profile().tab().open("a");
      const last = files.pop();
      for (const file of files) await reader.import(await packed([file]));
      const imported = reader.import(await packed([last]));
      if (beyond > 0) await assert.rejects(imported, { code: "too-large", message: /bytes of an entry/ });
      else await imported;
      assert.equal(reader.status().failure, undefined);
      // What is here can be read again.
      await readExport(await reader.export());
    }
  }
});

test("an import is known to those who come later, also once its row was folded", async () => {
  const profile = new Profile();
  const tab = await profile.tab().open("a");
  const writer = await new Profile().tab().open("a");
  writer.collection("notes").insert({ title: "from a file" });
  const { id } = tab.collection("notes").insert({ title: "own" });
  await tab.import(await writer.export());
  const store = await Store.open(profile.databases, () => {});
  const read = (work) => store.transact("readonly", work);
  const row = (await read((tables) => tables.log("a", 0))).find((row) => row.imported);
  const seen = row.id - 1;
  assert.equal((await read((tables) => readNews(tables, "a", 7, seen))).isImported, true);
  assert.equal((await read((tables) => readNews(tables, "a", 7, row.id))).isImported, false);
  for (let at = 0; at < 100; at += 1) await tab.collection("notes").update(id, { title: `${at}` }).disk;
  await foldLog(store, "a");
  const head = await read((tables) => tables.head("a"));
  assert.ok(head.upto > row.id);
  assert.equal(head.importedUpto, row.id);
  assert.equal((await read((tables) => tables.log("a", 0))).some((row) => row.imported), false);
  assert.equal((await read((tables) => readNews(tables, "a", 7, seen))).isImported, true);
  assert.equal((await read((tables) => readNews(tables, "a", 7, row.id))).isImported, false);
  // It stays so when more is folded.
  for (let at = 0; at < 100; at += 1) await tab.collection("notes").update(id, { title: `${at}` }).disk;
  await foldLog(store, "a");
  const later = await read((tables) => tables.head("a"));
  assert.ok(later.upto > head.upto);
  assert.equal(later.importedUpto, row.id);
  store.close();
});

test("a file that the native client wrote is read", async () => {
  const reader = await new Profile().tab().open("a");
  await reader.import(new Blob([readFileSync(new URL("../../../sync-client/tests/files/export-1.sync", import.meta.url))]));
  assert.deepEqual(plain(reader.collection("notes")), [{ title: "from a native client", body: "", tags: ["kept"] }]);
});
