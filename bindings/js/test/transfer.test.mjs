// Documents as files: between profiles, and of files that are none.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { EXPORT_BYTES_MAX, PIECES_MAX, readExport } from "../dist/transfer.js";
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

test("a file that the native client wrote is read", async () => {
  const reader = await new Profile().tab().open("a");
  await reader.import(new Blob([readFileSync(new URL("../../../sync-client/tests/files/export-1.sync", import.meta.url))]));
  assert.deepEqual(plain(reader.collection("notes")), [{ title: "from a native client", body: "", tags: ["kept"] }]);
});
