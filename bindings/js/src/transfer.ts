/** A document as one portable file, which the native client reads and writes too: see `docs/export.md`. */
import { SyncError } from "./errors.js";
import { fold } from "./kernel.js";
import { readAll } from "./read.js";
import type { SlotRow, Store } from "./store.js";

/** What a file begins with; the version follows. */
const MAGIC = new TextEncoder().encode("SyncDoc");

/** The version that is written. */
const VERSION = 1;

/** Magic, version, and how many bytes follow. */
const HEAD_BYTES = MAGIC.length + 5;

/** The most bytes of a file, packed and unpacked, as in the native client. Arbitrary: it is held in memory. */
export const EXPORT_BYTES_MAX = 256 * 1024 * 1024;

/** The most pieces of a file. Arbitrary: far more than 256 MiB of notes are cut into. */
export const PIECES_MAX = 65_536;

/** The most replicas of a document, as in the native client and at the hub. */
export const REPLICAS_MAX = 4_096;

/** The most bytes of a delta: what is larger cannot be read again, and no hub takes it. */
export const DELTA_BYTES_MAX = 160 * 1024;

/** How many bytes name a replica. */
const REPLICA_BYTES = 16;

/** How many bytes stand before a piece, to say how long its delta is. */
const LENGTH_BYTES = 4;

/** How many bytes of checksum stand before the delta of a piece. */
const SUM_BYTES = 4;

/** Everything that the tab of this slot sees, as it is on disk. */
export async function exportDocument(store: Store, { doc, slot, base }: SlotRow): Promise<Blob> {
  const { saved } = await store.transact("readonly", (tables) => readAll(tables, doc, slot, base));
  // What was overwritten or removed since is left out.
  const pieces = fold([...saved.state, ...saved.rows]);
  if (pieces === undefined) {
    throw new SyncError(
      "damaged",
      "Some of what this device has saved is damaged, so it would be missing in a copy. Reload the page while the hub can be reached.",
    );
  }
  const parts: Uint8Array<ArrayBuffer>[] = pieces.flatMap((piece) => [littleEndian(piece.length - SUM_BYTES), new Uint8Array(piece)]);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > EXPORT_BYTES_MAX) throw tooLarge("bytes of the document", length, EXPORT_BYTES_MAX);
  if (pieces.length > PIECES_MAX) throw tooLarge("pieces of the document", pieces.length, PIECES_MAX);
  const packed = new Blob(parts).stream().pipeThrough(new CompressionStream("deflate"));
  const body = await new Response(packed).arrayBuffer();
  const head = [MAGIC, Uint8Array.of(VERSION), littleEndian(body.byteLength)];
  return new Blob([...head, body], { type: "application/octet-stream" });
}

/** Reads the pieces of a file; all of them or none. */
export async function readExport(file: Blob, bytesMax = EXPORT_BYTES_MAX): Promise<Uint8Array[]> {
  if (file.size > bytesMax) throw tooLarge("bytes of the file", file.size, bytesMax);
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const version = head[MAGIC.length];
  if (version === undefined || MAGIC.some((byte, at) => byte !== head[at])) {
    throw damaged("it does not begin as one");
  }
  if (version !== VERSION) {
    throw new SyncError(
      "newer",
      `This export has format ${version}, and this app knows formats up to ${VERSION}. Reload the page to get a newer version of the app.`,
    );
  }
  const follows = littleEndian(file.size - HEAD_BYTES);
  if (head.length < HEAD_BYTES || follows.some((byte, at) => byte !== head[MAGIC.length + 1 + at])) {
    throw damaged("it is not as long as it says");
  }
  const bytes = await unpack(file.slice(HEAD_BYTES), bytesMax);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (pieces.length === PIECES_MAX) throw tooLarge("pieces of the document", PIECES_MAX + 1, PIECES_MAX);
    if (bytes.length - at < LENGTH_BYTES) throw damaged("it ends too early");
    const end = at + LENGTH_BYTES + SUM_BYTES + view.getUint32(at, true);
    if (end > bytes.length) throw damaged("it ends too early");
    pieces.push(bytes.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  const folded = fold(pieces);
  if (folded === undefined) throw damaged("a checksum does not match");
  checkEntries(folded);
  return folded;
}

/** Refuses pieces that would make more of a document than there may be. */
export function checkJoined(known: readonly Uint8Array[], pieces: readonly Uint8Array[]): void {
  const all = [...known, ...pieces];
  const replicas = new Set(all.flatMap(replicasOf)).size;
  if (replicas > REPLICAS_MAX) throw tooLarge("replicas", replicas, REPLICAS_MAX);
  // Where something of this device is damaged, what the file has was looked at alone.
  checkEntries(fold(all) ?? []);
}

/** An entry goes into one piece, however large it is once its parts are joined. */
function checkEntries(folded: readonly Uint8Array[]): void {
  for (const { length } of folded) {
    if (length - SUM_BYTES > DELTA_BYTES_MAX) throw tooLarge("bytes of an entry", length - SUM_BYTES, DELTA_BYTES_MAX);
  }
}

/** The replicas of a piece, which stand first in its delta: how many, seven bits a byte, and each. */
function replicasOf(piece: Uint8Array): string[] {
  let at = SUM_BYTES;
  let count = 0;
  for (let factor = 1; at < piece.length; factor *= 128) {
    const byte = piece[at++] ?? 0;
    count += (byte % 128) * factor;
    if (byte < 128) break;
  }
  const replicas: string[] = [];
  for (; replicas.length < count && at < piece.length; at += REPLICA_BYTES) {
    replicas.push(String.fromCharCode(...piece.subarray(at, at + REPLICA_BYTES)));
  }
  return replicas;
}

async function unpack(packed: Blob, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  try {
    const reader = packed.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      length += read.value.length;
      if (length > bytesMax) {
        void reader.cancel().catch(() => {});
        throw tooLarge("bytes of the document", length, bytesMax);
      }
      chunks.push(read.value);
    }
  } catch (cause) {
    throw cause instanceof SyncError ? cause : damaged(cause instanceof Error ? cause.message : String(cause));
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function littleEndian(number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number, true);
  return bytes;
}

function damaged(detail: string): SyncError {
  return new SyncError(
    "bad-export",
    `This is no whole export of a document (${detail}). Export it again, or take another copy.`,
  );
}

function tooLarge(what: string, found: number, limit: number): SyncError {
  return new SyncError("too-large", `There are ${found} ${what} or more, and the limit is ${limit}.`);
}
