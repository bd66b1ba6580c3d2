//! What sessions wait for, keep and say at most. What the other side may notice of it stands in
//! `docs/protocol.md`.

use crate::wire::{
    CHUNK_BYTES, CLAIMS_MAX, CONTEXT_RANGES_MAX, DELTA_BYTES_MAX, LABELS_MAX, REPLICAS_MAX,
};

/// How long the line may be silent before a client pings, in milliseconds.
pub const PING_MS: u64 = 20_000;

/// How long a hub may be silent, in milliseconds.
pub const HUB_SILENCE_MS_MAX: u64 = 45_000;

/// How long a client may be silent, in milliseconds. Clients ping three times as often.
pub const CLIENT_SILENCE_MS_MAX: u64 = 60_000;

/// How long the first message of a connection may take, in milliseconds.
pub const HELLO_MS_MAX: u64 = 10_000;

/// The most bytes of a change: a copy of any element in it, which says what it copies, still fits
/// into a delta.
pub const CHANGE_BYTES_MAX: usize = DELTA_BYTES_MAX - 512;

/// Up to how many bytes adjacent deltas are joined before one is first sent. Arbitrary: large enough
/// that typing costs its net result, small enough that joining costs nothing.
pub const JOIN_BYTES_MAX: usize = 8 * 1024;

/// Up to how many bytes items of the outbox go as one push: as many as a chunk aims at.
pub const PUSH_BYTES_MAX: usize = CHUNK_BYTES;

/// The same where frames are packed, which are smaller then. Joined they may take a seventh more than
/// one by one, since numbers of labels may need a second byte, and still fit.
pub const PACKED_PUSH_BYTES_MAX: usize = 2 * CHUNK_BYTES;

const _: () = assert!(PACKED_PUSH_BYTES_MAX / 7 * 8 <= DELTA_BYTES_MAX);

/// The most entries, notes and ranges of dead dots, together, of items that go as one push: no more than
/// a delta may have labels, replicas, or ranges.
pub const PUSH_PARTS_MAX: usize = LABELS_MAX;

const _: () = assert!(LABELS_MAX <= REPLICAS_MAX && LABELS_MAX <= CONTEXT_RANGES_MAX);

/// The most ranges of dead dots in one push of a refill. As many as fit into a delta, at most 52 bytes
/// each: others take each push as a removal of its own, and see parts of one where it is cut.
pub const REFILL_RANGES_MAX: usize = 3_000;

/// The most bytes of removals that wait for the end of a catch-up. Arbitrary: far above what an honest
/// hub sends of a large document, and a bound on the memory that another one can take. What is more is
/// joined as it comes.
pub const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most runs of which own changes took something that are remembered. Arbitrary; beyond it the hub
/// is asked to name no object by dots until it has all changes.
pub const TAKEN_MAX: usize = 4096;

/// The most entries of the conflict log of one document. Arbitrary; the oldest go first.
pub const LOG_ENTRIES_MAX: usize = 1_000;

/// The most replicas whose marks a client is told of when it opens a document. Arbitrary; as many as it
/// may claim, and as many more of which it has changes.
pub const WRITERS_MAX: usize = 2 * CLAIMS_MAX;

/// How far ahead of its own clock a hub takes stamps, in milliseconds, where it is told nothing else.
/// Arbitrary: above any honest clock's error, and what a wrong clock writes wins for no longer.
pub const STAMP_AHEAD_MS_MAX: u64 = 3_600_000;

/// The most bytes of presence that a newcomer is told of. Arbitrary, far below what a connection may
/// have waiting.
pub const SHOWN_BYTES_MAX: usize = 1024 * 1024;

/// The most dots that may die at the hub during a comparison: 32 bytes each. Arbitrary; the client is
/// sent everything then.
pub const DIED_MAX: usize = 1 << 16;

/// The most comparisons of a connection at a time; other channels get everything. Arbitrary.
pub const COMPARISONS_MAX: usize = 4;

/// The most ranges of dots that a comparison finds to differ. Arbitrary.
pub const FOUND_RANGES_MAX: usize = 1 << 16;

/// Up to how many ranges in a client's context a hub keeps the dead dots of runs for the end of a
/// catch-up. Arbitrary, below the most that a context on the wire has.
pub const GAPPED_RANGES_MAX: usize = CONTEXT_RANGES_MAX / 4;

/// How often a client says what it holds, and a hub passes on what others said, at most, in milliseconds.
/// Arbitrary: soon enough to be watched, and a small part of what the changes themselves take.
pub const HELD_MS: u64 = 1_000;

/// Of how many documents that nobody has open a hub remembers what devices hold. Arbitrary; those that were
/// opened the longest ago are forgotten first.
pub const HELD_DOCUMENTS_MAX: usize = 256;

/// How many devices of a document a client remembers. Arbitrary; those that were heard of the longest ago
/// are forgotten first.
pub const DEVICES_MAX: usize = 256;

/// How many levels of a hub's numbers a client tells apart: up to each, it knows which of its own changes a
/// device holds. Arbitrary; with fewer, more changes count as held a little later.
pub const LEVELS_MAX: usize = 1_024;

/// The most ranges of dots in all levels together, about. Arbitrary: a megabyte; with more there are fewer
/// levels, down to two.
pub const LEVEL_RANGES_MAX: usize = 1 << 16;

/// How many devices of a document one connection may say something of. Arbitrary: a client says what it
/// holds itself, and may change its name.
pub const HELD_BY_ONE_MAX: usize = 4;

/// The most ranges of dots of which a client remembers that they stand for nothing any more that was written
/// here. Arbitrary; beyond it each replica's count from the first to the last.
pub const GIVEN_UP_RANGES_MAX: usize = 1_024;

/// How old the time at which a device was heard of may be on disk while it is heard of again, in
/// milliseconds. Arbitrary.
pub const DEVICE_MS_MAX: u64 = 60_000;
