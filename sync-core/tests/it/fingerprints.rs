//! The sums that a store keeps of its live dots: those of its entries, however they came about.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::causal::{Delta, Dot, Fingerprints, MemoryStore, ReplicaId};
use sync_core::document::{Author, Document};
use sync_core::snapshot::{Compression, read_snapshot, write_snapshot};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId};
use sync_core::wire::DELTA_BYTES_MAX;

use crate::laws::{deed, history};

/// The sums made from nothing but the live dots.
fn rebuilt(store: &MemoryStore) -> Fingerprints {
    let mut fingerprints = Fingerprints::default();
    for entry in store.iter() {
        for (counter, content) in entry.hashes() {
            fingerprints.insert(Dot::new(entry.first.replica, counter), content);
        }
    }
    fingerprints
}

fn check(store: &MemoryStore) {
    let (kept, fresh) = (store.fingerprints(), rebuilt(store));
    assert_eq!(kept.total(), fresh.total());
    for (replica, _) in store.context().iter() {
        assert_eq!(kept.replica(replica), fresh.replica(replica));
    }
}

fn joined<'a>(deltas: impl IntoIterator<Item = &'a Delta>) -> MemoryStore {
    let mut store = MemoryStore::default();
    for delta in deltas {
        store.join(delta);
        check(&store);
    }
    store
}

proptest! {
    #[test]
    fn they_are_those_of_the_live_dots_by_every_way(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..40),
        bits: u64,
    ) {
        let deltas = history::<MemoryStore>(&deeds);
        let straight = joined(&deltas);
        let backward = joined(deltas.iter().rev());
        prop_assert_eq!(straight.root(), backward.root());

        // Parts of the state, cut through its runs, and laid over each other again.
        let dots = straight.context().clone();
        let mut some = sync_core::causal::CausalContext::default();
        for (at, (replica, start, end)) in dots
            .iter()
            .flat_map(|(replica, ranges)| ranges.iter().map(move |(a, b)| (replica, a, b)))
            .flat_map(|(replica, a, b)| (a..=b).map(move |at| (replica, at, at)))
            .enumerate()
        {
            if bits >> (at % 64) & 1 == 1 {
                some.insert_range(replica, start, end);
            }
        }
        let parts = [straight.part(&some), straight.part(&dots.difference(&some))];
        prop_assert_eq!(joined(&parts).root(), straight.root());

        let bytes = write_snapshot(&straight, Compression::None);
        let loaded = read_snapshot(&bytes, usize::MAX).unwrap();
        check(&loaded);
        prop_assert_eq!(loaded.root(), straight.root());
        let entries: Vec<_> = straight.iter().map(|entry| entry.to_entry()).collect();
        prop_assert_eq!(MemoryStore::load(dots.clone(), entries).root(), straight.root());

        let mut emptied = straight.clone();
        emptied.join(&Delta { dead: dots, ..Delta::default() });
        check(&emptied);
        prop_assert_eq!(emptied.fingerprints().heap_bytes(), 0);
    }

    #[test]
    fn a_change_that_is_taken_back_leaves_them(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..40),
    ) {
        let mut document = Document::load(joined(&history::<MemoryStore>(&deeds))).unwrap();
        let before = document.store().root();
        let author = Author { replica: ReplicaId::from_bytes([1; 16]), stamp: Stamp::from_ms(99) };
        let fields = BTreeMap::from([("f0".to_owned(), Field::from("new"))]);
        let failed = document.edit(author, DELTA_BYTES_MAX, |edit| {
            for (id, _) in edit.document().records("r").unwrap_or_default() {
                edit.update("r", &id, &fields)?;
                edit.remove("r", &id)?;
            }
            edit.insert("r", &RecordId::new("other").unwrap(), &fields)?;
            edit.remove("r", &RecordId::new("nobody").unwrap())
        });
        prop_assert!(failed.is_err());
        check(document.store());
        prop_assert_eq!(document.store().root(), before);
    }
}

#[test]
fn what_a_dot_says_is_hashed_whole_and_alone() {
    use sync_core::causal::{Entry, Label, PlaceId, Slots};
    let entry =
        |stamp, space: &[u8], id: &[u8], names: [&[u8]; 2], slots: [Option<&[u8]>; 2]| Entry {
            first: Dot::new(ReplicaId::from_bytes([1; 16]), 5),
            stamp: Stamp::from_ms(stamp),
            label: Label::new(space, names),
            id: PlaceId::new(id),
            slots: Slots::new(slots.into_iter()),
        };
    let second = |entry: &Entry| entry.view().hashes().last().unwrap();
    let base = entry(1, b"s", b"i", [b"a", b"b"], [Some(b"x"), Some(b"y")]);
    // Its neighbour says something else, or is dead.
    for same in [
        entry(1, b"s", b"i", [b"c", b"b"], [Some(b"z"), Some(b"y")]),
        entry(1, b"s", b"i", [b"", b"b"], [None, Some(b"y")]),
    ] {
        assert_eq!(second(&same), second(&base));
    }
    let others = [
        entry(2, b"s", b"i", [b"a", b"b"], [Some(b"x"), Some(b"y")]),
        entry(1, b"t", b"i", [b"a", b"b"], [Some(b"x"), Some(b"y")]),
        entry(1, b"s", b"j", [b"a", b"b"], [Some(b"x"), Some(b"y")]),
        entry(1, b"s", b"i", [b"a", b"c"], [Some(b"x"), Some(b"y")]),
        entry(1, b"s", b"i", [b"a", b"b"], [Some(b"x"), Some(b"z")]),
    ];
    let hashes: Vec<_> = [base].iter().chain(&others).map(second).collect();
    for (at, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..at].contains(hash), "{at}");
    }
}

/// The slot hash as the protocol's page has it, with no thought of speed.
fn slot_hash(bytes: &[u8], seed: u64) -> u64 {
    let (golden, root) = (0x9e37_79b9_7f4a_7c15u64, 0x6a09_e667_f3bc_c909u64);
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product & u128::from(u64::MAX)) as u64 ^ (product >> 64) as u64
    };
    let numbers = |bytes: &[u8]| {
        let mut all = [0; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        let number = u128::from_le_bytes(all);
        (number as u64, (number >> 64) as u64)
    };
    let whole = bytes.len() / 16 * 16;
    let start = seed ^ (bytes.len() as u64).wrapping_mul(golden);
    let state = bytes[..whole].chunks(16).fold(start, |state, block| {
        let (a, b) = numbers(block);
        fold(a ^ golden, b ^ state)
    });
    let (a, b) = numbers(&bytes[whole..]);
    fold(a ^ root, b ^ state)
}

#[test]
fn the_hash_of_a_dot_is_that_of_the_protocol() {
    use sync_core::causal::{Entry, Label, PlaceId, Slots};
    use xxhash_rust::xxh3::xxh3_64;
    let bytes: Vec<u8> = (0..400u32).map(|at| (at * 167 + 13) as u8).collect();
    for len in (0..=80).chain([127, 128, 202, 400]) {
        let (space, name) = (&b"\x01notes"[..], &b"\x01title"[..]);
        let (id, slot) = (&bytes[..len.min(160)], &bytes[bytes.len() - len..]);
        let entry = Entry {
            first: Dot::new(ReplicaId::from_bytes([1; 16]), 5),
            stamp: Stamp::from_bits(0x0123_4567_89ab_cdef),
            label: Label::new(space, [name]),
            id: PlaceId::new(id),
            slots: Slots::new([Some(slot)].into_iter()),
        };
        let place = slot_hash(id, xxh3_64(space) ^ entry.stamp.to_bits().rotate_left(17));
        let content = slot_hash(slot, place ^ xxh3_64(name).rotate_left(29));
        assert!(entry.view().hashes().eq([(5, content)]), "{len}");
    }
    assert_eq!(slot_hash(b"", 1), 0x6a09_e667_f3bc_c909);
    assert_eq!(slot_hash(b"a fixed text of some length", 1), 0x29e9_158b_5caf_dbb8);
}
