//! Frames that are valid, as far as a decoder can tell, with whatever in them.

use std::sync::OnceLock;

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Few, Label, Note, PlaceId, ReplicaId, Slots,
};
use sync_core::checksum::crc32;
use sync_core::time::Stamp;
use sync_core::types::Opening;
use sync_core::wire::{Claim, Cursor};

use crate::source::Source;

/// Counters from here on leave no room for a run.
const COUNTER_MAX: u64 = i64::MAX as u64 - 64;

const SPACES: [&[u8]; 4] = [b"\x01notes", b"\x02tags", b"\x03count", b"other"];
/// From which byte on it is a mark in place of an entry of a space.
const MARKS_FROM: u8 = 224;
const IDS: [&[u8]; 4] = [b"\0n0", b"\0n1", b"0123456789abcdef", b""];
const NAMES: [&[u8]; 9] = [
    b"\0",
    b"\x01title",
    b"\x01body",
    b"\x02tags",
    b"\x03last",
    b"\x04count",
    b"\x80",
    b"\x81title",
    b"\x84count",
];

/// Bytes with a right checksum before them.
pub(crate) fn sealed(body: &[u8]) -> Vec<u8> {
    let mut frame = crc32(body).to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// One of the frames that no version may change, with some of its bytes changed.
pub(crate) fn bent(source: &mut Source<'_>) -> Vec<u8> {
    let golden = golden();
    let mut body = golden[source.below(golden.len())][4..].to_vec();
    for _ in 0..source.below(8) {
        let at = usize::from(u16::from_le_bytes([source.byte(), source.byte()])) % body.len();
        match source.below(4) {
            0 => body[at] = source.byte(),
            1 => body.insert(at, source.byte()),
            2 if body.len() > 1 => {
                body.remove(at);
            }
            _ => {
                body.splice(at..at, source.piece().iter().copied());
            }
        }
    }
    sealed(&body)
}

fn golden() -> &'static [Vec<u8>] {
    static FRAMES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FRAMES.get_or_init(|| {
        let text = include_str!("../../sync-core/golden/frames.json");
        let cases: serde_json::Value = serde_json::from_str(text).expect("the file is JSON");
        let cases = cases.as_array().expect("the file is a list").iter();
        cases.map(|case| unhex(case["hex"].as_str().expect("each frame has its bytes"))).collect()
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

pub(crate) fn replica(source: &mut Source<'_>) -> ReplicaId {
    let number = source.byte();
    ReplicaId::from_bytes([200 + number % 4; 16]).with_incarnation(u32::from(number / 64))
}

pub(crate) fn claims(source: &mut Source<'_>) -> Vec<Claim> {
    let claim = |_| Claim { replica: replica(source), opening: 1 };
    (0..3).map(claim).collect()
}

pub(crate) fn openings(source: &mut Source<'_>) -> Vec<(ReplicaId, Opening)> {
    let one = |_| {
        let first = source.number_in(12);
        (replica(source), Opening { first, opening: source.number_in(4) })
    };
    (0..3).map(one).collect()
}

pub(crate) fn cursor(source: &mut Source<'_>, boot: u64) -> Cursor {
    let boot = if source.below(8) == 0 { source.number_in(4) } else { boot };
    Cursor { boot, seq: source.number_in(32) }
}

pub(crate) fn context(source: &mut Source<'_>) -> CausalContext {
    let mut context = CausalContext::default();
    for _ in 0..source.below(6) {
        let start = source.number_in(12).clamp(1, COUNTER_MAX);
        let end = start.saturating_add(source.number_in(6)).min(COUNTER_MAX);
        context.insert_range(replica(source), start, end);
    }
    context
}

pub(crate) fn delta(source: &mut Source<'_>) -> Delta {
    let entries: Few<Entry> = (0..source.below(5)).map(|_| entry(source)).collect();
    let mut dead = context(source);
    for entry in &entries {
        for (start, end) in entry.live_ranges().iter() {
            dead.remove_range(entry.replica(), start, end);
        }
    }
    let notes = dead.iter().map(|(replica, ranges)| Note {
        dot: Dot::new(replica, ranges.max()),
        stamp: Stamp::from_bits(source.number_in(64)),
        label: Label::new(source.pick(&SPACES), []),
        id: PlaceId::new(source.pick(&IDS)),
    });
    let notes = notes.collect();
    Delta { entries, dead, notes }
}

fn entry(source: &mut Source<'_>) -> Entry {
    let first = Dot::new(replica(source), source.number_in(12).clamp(1, COUNTER_MAX));
    let stamp = Stamp::from_bits(source.number_in(64));
    let space = source.byte();
    if space >= MARKS_FROM {
        return Opening { first: first.counter, opening: source.number_in(4) }.mark(first.replica);
    }
    let space = SPACES[usize::from(space) % SPACES.len()];
    let id = PlaceId::new(source.pick(&IDS));
    let slots: Vec<Option<(&[u8], Vec<u8>)>> = (0..1 + source.below(6))
        .map(|_| (source.below(4) > 0).then(|| (source.pick(&NAMES), slot(source))))
        .collect();
    let names = slots.iter().map(|slot| slot.as_ref().map_or(&b""[..], |(name, _)| *name));
    let label = Label::new(space, names);
    let slots = Slots::new(slots.iter().map(|slot| slot.as_ref().map(|(_, bytes)| &bytes[..])));
    Entry { first, stamp, label, id, slots }
}

fn slot(source: &mut Source<'_>) -> Vec<u8> {
    match source.below(4) {
        0 => Vec::new(),
        1 => vec![source.byte()],
        2 => vec![0xa1, b'a' + source.byte() % 4],
        _ => source.piece().to_vec(),
    }
}
