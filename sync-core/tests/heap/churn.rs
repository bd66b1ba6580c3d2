//! Records that come and go leave nothing: neither in the state nor on the heap.

use sync_core::causal::ReplicaId;
use sync_core::document::{Author, Document, Edit, Refused};
use sync_core::error::Sure;
use sync_core::snapshot::{Compression, write_snapshot};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId};
use sync_core::wire::{ClientMessage, DELTA_BYTES_MAX, decode_delta, encode_delta};

use crate::meter::Meter;

/// How many records come and go, in steps and at once, where `SYNC_RECORDS` does not say otherwise.
const RECORDS_IN_STEPS: usize = 50_000;
const RECORDS_AT_ONCE: usize = 10_000;

/// The most bytes of the state that is left, encoded.
const STATE_BYTES_MAX: usize = 1024;

/// The most bytes that the heap may have grown by.
const HEAP_BYTES_MAX: i64 = 64 * 1024;

/// What a document keeps of its own removals, whatever their number, for edits that come too late.
const UNDO_BYTES_MAX: i64 = 1024 * 1024;

/// How many records a change is about: its delta still fits into a message.
const STEP: usize = 300;

fn record_count(unless_told: usize) -> usize {
    std::env::var("SYNC_RECORDS").map_or(unless_told, |count| count.parse().unwrap())
}

/// One replica that writes, and one that joins what it says.
struct Pair {
    writer: Document,
    reader: Document,
    ms: u64,
}

impl Pair {
    fn new() -> Self {
        Self { writer: Document::default(), reader: Document::default(), ms: 0 }
    }

    fn write(&mut self, change: impl FnOnce(&mut Edit<'_>) -> Result<(), Refused>) {
        self.ms += 1;
        let author = Author {
            replica: ReplicaId::from_bytes([1; 16]),
            stamp: Stamp::from_ms(1_700_000_000_000 + self.ms),
        };
        let edited = self.writer.edit(author, DELTA_BYTES_MAX, change).unwrap();
        let delta = decode_delta(&encode_delta(&edited.delta)).unwrap();
        assert!(self.reader.join(&delta).sure().is_new);
    }

    fn insert(&mut self, numbers: impl Iterator<Item = usize>) {
        self.write(|edit| {
            for number in numbers {
                let fields = [
                    ("title", Field::from(format!("the record {number}"))),
                    ("body", Field::from("x".repeat(200))),
                    ("done", Field::from(number % 2 == 0)),
                ];
                edit.insert(
                    "notes",
                    &id(number),
                    fields.iter().map(|(name, field)| (*name, field)),
                )?;
            }
            Ok(())
        });
    }

    fn remove(&mut self, numbers: impl Iterator<Item = usize>) {
        self.write(|edit| {
            for number in numbers {
                edit.remove("notes", &id(number))?;
            }
            Ok(())
        });
    }

    /// Records from `from` on come and go, so many at a time, and go in another order than they came.
    fn churn(&mut self, from: usize, count: usize, at_a_time: usize) {
        for start in (from..from + count).step_by(at_a_time) {
            let numbers: Vec<usize> = (start..(start + at_a_time).min(from + count)).collect();
            for step in numbers.chunks(STEP) {
                self.insert(step.iter().copied());
            }
            assert_eq!(self.reader.store().entry_count(), numbers.len());
            for lane in 0..7 {
                let lane: Vec<usize> = numbers.iter().copied().filter(|n| n % 7 == lane).collect();
                for step in lane.chunks(STEP) {
                    self.remove(step.iter().rev().copied());
                }
            }
        }
    }
}

fn id(number: usize) -> RecordId {
    let mixed = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    RecordId::from_uuid(mixed.to_be_bytes())
}

/// The bytes of a document's context as it stands in an Open, and in a snapshot that nothing packs.
fn state_bytes(document: &Document) -> [usize; 2] {
    let open = ClientMessage::Open {
        channel: 1,
        document: "d".into(),
        cursor: None,
        context: document.context().clone(),
        claims: Vec::new(),
        compares: false,
        unsent: Vec::new(),
    };
    [open.encode().len(), write_snapshot(document.store(), Compression::None).len()]
}

fn come_and_go(count: usize, at_a_time: usize) {
    let meter = Meter::new();
    let whole = meter.start();
    let mut pair = Pair::new();
    // From here on the writer keeps as much for edits that come too late as it ever will.
    pair.churn(0, 10_000, 1_000);
    let kept = whole.held();
    assert!(kept <= UNDO_BYTES_MAX + HEAP_BYTES_MAX, "{kept} bytes are kept for undo");
    let part = meter.start();
    pair.churn(10_000, count, at_a_time);
    let (peak, both) = (part.peak(), part.held());
    assert!(both <= HEAP_BYTES_MAX, "the heap grew by {both} bytes");
    let states = [&pair.writer, &pair.reader].map(state_bytes);
    assert!(states.as_flattened().iter().all(|bytes| *bytes <= STATE_BYTES_MAX), "{states:?}");
    assert_eq!(pair.writer.store(), pair.reader.store());
    let Pair { writer, reader, .. } = pair;
    drop(writer);
    let joined = whole.held();
    assert!(joined <= HEAP_BYTES_MAX, "whoever only joined still holds {joined} bytes");
    println!(
        "{count} records, at most {at_a_time} at a time: up to {peak} bytes of heap, then {both}, and {kept} \
         for undo; whoever only joined holds {joined}; contexts and snapshots take {states:?}",
    );
    drop(reader);
}

#[test]
fn records_that_come_and_go_in_steps_leave_nothing() {
    come_and_go(record_count(RECORDS_IN_STEPS), 1_000);
}

#[test]
fn records_that_come_all_at_once_and_go_leave_nothing() {
    let count = record_count(RECORDS_AT_ONCE);
    come_and_go(count, count);
}
