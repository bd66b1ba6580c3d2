//! Deltas on the wire: what comes back, what objects and replicas are named by, and hostile bytes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use sync_core::causal::{
    CausalContext, Delta, Dot, DotStore, Entry, Few, Label, MemoryStore, Note, PlaceId, ReplicaId,
    Slots,
};
use sync_core::error::{Malformed, Sure};
use sync_core::time::Stamp;
use sync_core::wire::{
    DELTA_BYTES_MAX, Dictionary, InFull, LABELS_MAX, Names, Objects, decode_delta, encode_delta,
    read_delta, write_delta,
};

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn label(space: u8, names: &[Option<u8>]) -> Label {
    let names: Vec<_> = names
        .iter()
        .map(|name| name.map_or(Vec::new(), |name| vec![b'n'; usize::from(name)]))
        .collect();
    Label::new(&[space], names.iter().map(Vec::as_slice))
}

fn slots() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let slot = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    proptest::collection::vec(slot, 1..6)
        .prop_filter("an entry has a live dot", |slots| slots.iter().any(Option::is_some))
}

prop_compose! {
    fn entry()(
        writer in 1u8..5,
        counter in prop_oneof![1u64..100, Just(Dot::COUNTER_MAX - 7)],
        stamp in any::<u64>(),
        space in 0u8..3,
        name in 1u8..4,
        id in proptest::collection::vec(any::<u8>(), 0..40),
        slots in slots(),
    ) -> Entry {
        let names: Vec<_> = slots.iter().map(|slot| slot.as_ref().map(|_| name)).collect();
        let label = label(space, &names);
        let slots = Slots::new(slots.iter().map(Option::as_deref));
        let (first, stamp) = (Dot::new(replica(writer), counter), Stamp::from_bits(stamp));
        Entry { first, stamp, label, id: PlaceId::new(&id), slots }
    }
}

fn context() -> impl Strategy<Value = CausalContext> {
    let dot = (1u8..6, prop_oneof![1u64..200, Just(Dot::COUNTER_MAX)]);
    proptest::collection::vec(dot, 0..30)
        .prop_map(|dots| dots.into_iter().map(|(n, at)| Dot::new(replica(n), at)).collect())
}

/// A delta whose parts do not contradict each other.
fn delta() -> impl Strategy<Value = Delta> {
    let noted = proptest::collection::vec((any::<Index>(), any::<u64>(), any::<u8>()), 0..4);
    (proptest::collection::vec(entry(), 0..8), context(), noted).prop_map(
        |(entries, dead, noted)| {
            let mut delta = Delta::default();
            for entry in entries {
                let overlaps = |other: &Entry| {
                    other.replica() == entry.replica()
                        && other.first.counter <= entry.last()
                        && entry.first.counter <= other.last()
                };
                if !delta.entries.iter().any(overlaps) {
                    delta.entries.push(entry);
                }
            }
            delta.dead = dead.difference(&delta.live());
            let starts: Vec<_> = delta
                .dead
                .iter()
                .flat_map(|(replica, ranges)| {
                    ranges.iter().map(move |(start, _)| Dot::new(replica, start))
                })
                .collect();
            if !starts.is_empty() {
                delta.notes.extend(noted.into_iter().map(|(at, stamp, id)| Note {
                    dot: *at.get(&starts),
                    stamp: Stamp::from_bits(stamp),
                    label: label(id % 3, &[]),
                    id: PlaceId::new(&[id; 3]),
                }));
            }
            delta
        },
    )
}

/// A reader's state, by which objects are named.
#[derive(Default)]
struct Known {
    store: MemoryStore,
    dots: BTreeMap<(Vec<u8>, PlaceId), Dot>,
}

impl Known {
    /// What the entries say, with another replica's dots, so that they are live whatever a delta says.
    fn of(entries: &[Entry], writer: Option<ReplicaId>) -> Self {
        let mut known = Self::default();
        for (at, entry) in (1u64..).zip(entries) {
            let first = writer.map_or(entry.first, |writer| Dot::new(writer, at * 100));
            let entry = Entry { first, ..entry.clone() };
            let dot = entry.live().next().unwrap().0;
            if known.store.add(entry.clone()).sure() {
                known.dots.insert((entry.label.space().to_vec(), entry.id.clone()), dot);
            }
        }
        known
    }
}

impl Names for Known {
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot> {
        self.dots.get(&(space.to_vec(), id.clone())).copied()
    }
}

impl Objects for Known {
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        let entry = self.store.entry_of(dot)?;
        let is_live = entry.live().any(|(live, _)| live == dot);
        is_live.then(|| (entry.label.clone(), entry.id.clone()))
    }
}

fn dictionary_of(delta: &Delta, taken: u64) -> Dictionary {
    let mut dictionary = Dictionary::default();
    let labels = delta.entries.iter().map(|entry| &entry.label);
    let labels: Vec<_> = labels.chain(delta.notes.iter().map(|note| &note.label)).collect();
    for (at, label) in labels.iter().enumerate().filter(|(at, _)| taken >> at & 1 == 1) {
        dictionary.add_label((*label).clone());
        dictionary.add_replica(replica(at as u8 % 6));
    }
    dictionary
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_was_written_is_read(delta in delta()) {
        let bytes = encode_delta(&delta);
        prop_assert!(bytes.len() <= delta.cost(), "{} bytes of {}", bytes.len(), delta.cost());
        prop_assert_eq!(decode_delta(&bytes), Ok(delta));
    }

    #[test]
    fn a_dictionary_says_the_same_in_no_more_bytes(delta in delta(), taken in any::<u64>()) {
        let dictionary = dictionary_of(&delta, taken);
        let mut bytes = Vec::new();
        write_delta(&mut bytes, &delta, &dictionary, &InFull);
        prop_assert!(bytes.len() <= encode_delta(&delta).len());
        prop_assert_eq!(read_delta(&bytes, &dictionary, &InFull), Ok(delta));
    }

    #[test]
    fn objects_are_named_by_dots_that_the_reader_has(
        delta in delta(),
        taken in any::<u64>(),
        of_dead in any::<bool>(),
    ) {
        // The reader has the objects under other dots, or under some that the delta declares dead.
        let known = if of_dead {
            let starts: Vec<_> = delta.dead.iter()
                .flat_map(|(replica, ranges)| ranges.iter().map(move |(start, _)| Dot::new(replica, start)))
                .collect();
            let mut known = Known::default();
            let all = delta.entries.iter().map(|entry| (entry.label.space(), &entry.id));
            let all = all.chain(delta.notes.iter().map(|note| (note.label.space(), &note.id)));
            for ((space, id), first) in all.zip(starts) {
                let label = Label::new(space, [&b"n"[..]]);
                let slots = Slots::new([Some(&b"x"[..])].into_iter());
                let entry = Entry { first, stamp: Stamp::default(), label, id: id.clone(), slots };
                if known.store.add(entry).sure() {
                    known.dots.insert((space.to_vec(), id.clone()), first);
                }
            }
            known
        } else {
            Known::of(&delta.entries, Some(replica(9)))
        };
        let dictionary = dictionary_of(&delta, taken);
        let mut bytes = Vec::new();
        write_delta(&mut bytes, &delta, &dictionary, &known);
        prop_assert_eq!(read_delta(&bytes, &dictionary, &known), Ok(delta.clone()));
        // A reader without the objects says so, unless every one of them stands in full.
        match read_delta(&bytes, &dictionary, &InFull) {
            Ok(read) => prop_assert_eq!(read, delta),
            Err(error) => prop_assert_eq!(error, Malformed::Dangling),
        }
    }

    #[test]
    fn arbitrary_bytes_are_a_delta_or_are_refused(
        bytes in proptest::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..80),
    ) {
        check_hostile(&bytes)?;
    }

    #[test]
    fn bent_deltas_are_a_delta_or_are_refused(
        delta in delta(),
        bends in proptest::collection::vec((any::<Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut bytes = encode_delta(&delta);
        for (at, byte, how) in bends {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        check_hostile(&bytes)?;
    }
}

/// What is read from any bytes can be joined and written again.
fn check_hostile(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut dictionary = Dictionary::default();
    dictionary.add_replica(replica(1));
    dictionary.add_label(label(1, &[Some(1)]));
    dictionary.add_label(label(1, &[]));
    let slots = Slots::new([Some(&b"x"[..])].into_iter());
    let first = Dot::new(replica(1), 1);
    let id = PlaceId::new(b"id");
    let entry = Entry { first, stamp: Stamp::default(), label: label(1, &[Some(1)]), id, slots };
    let known = Known::of(&[entry], None);
    let read = [decode_delta(bytes), read_delta(bytes, &dictionary, &known)];
    for delta in read.into_iter().flatten() {
        let again = encode_delta(&delta);
        prop_assert_eq!(read_delta(&again, &Dictionary::default(), &InFull), Ok(delta.clone()));
        let mut document = sync_core::document::Document::default();
        document.join(&delta).sure();
        document.conflicts().sure();
        let state = document.store().to_delta();
        let mut joined = Delta::default();
        joined.join(delta);
        joined.notes = Few::new();
        prop_assert_eq!(MemoryStore::default().join(&joined).clashes, []);
        prop_assert_eq!(joined.context(), state.context());
    }
    Ok(())
}

fn one_entry(id: &[u8], names: &[&[u8]]) -> Entry {
    let slots = Slots::new(names.iter().map(|_| Some(&b"x"[..])));
    let label = Label::new(b"space", names.iter().copied());
    let first = Dot::new(replica(1), 1);
    Entry { first, stamp: Stamp::from_ms(1_700_000_000_000), label, id: PlaceId::new(id), slots }
}

#[test]
fn each_way_to_name_an_object_is_taken_where_it_can_be() {
    let id = [7; 16];
    let made = one_entry(&id, &[b"a", b"b"]);
    let known = Known::of(std::slice::from_ref(&made), None);
    let edit = |first: u64, dead: &[u64]| {
        let first = Dot::new(replica(1), first);
        let entry = Entry { first, ..one_entry(&id, &[b"a"]) };
        let dead = dead.iter().map(|counter| Dot::new(replica(1), *counter)).collect();
        Delta { entries: [entry].into(), dead, notes: Few::new() }
    };
    let mut dictionary = Dictionary::default();
    dictionary.add_replica(replica(1));
    dictionary.add_label(one_entry(&id, &[b"a"]).label);
    let len = |delta: &Delta, names: &dyn Names| {
        let mut bytes = Vec::new();
        write_delta(&mut bytes, delta, &dictionary, names);
        bytes.len()
    };
    let full = len(&edit(3, &[1]), &InFull);
    assert_eq!(
        len(&edit(3, &[1]), &known),
        full - 17 + 2,
        "one byte for a dot that dies, and two to check"
    );
    assert_eq!(
        len(&edit(3, &[2]), &known),
        full - 17 + 2 + 2,
        "a number and a counter for another dot"
    );
    let mut twice = edit(3, &[1]);
    twice.entries.extend(edit(4, &[]).entries);
    let both = len(&twice, &known);
    assert_eq!(
        both - len(&edit(3, &[1]), &known),
        4 + 1 + 3,
        "one byte for the id of the one before"
    );
}

#[test]
fn what_is_named_by_a_dot_that_is_not_live_here_is_asked_for_in_full() {
    let made = one_entry(&[7; 16], &[b"a", b"b"]);
    let known = Known::of(std::slice::from_ref(&made), None);
    let entry = Entry { first: Dot::new(replica(1), 3), ..made.clone() };
    let delta = Delta { entries: [entry].into(), ..Delta::default() };
    let mut bytes = Vec::new();
    let dictionary = Dictionary::default();
    write_delta(&mut bytes, &delta, &dictionary, &known);
    assert_eq!(read_delta(&bytes, &dictionary, &known), Ok(delta));
    let mut other = Known::default();
    assert_eq!(read_delta(&bytes, &dictionary, &other), Err(Malformed::Dangling), "never seen");
    other.store.add(made.only(0b10)).sure();
    assert_eq!(read_delta(&bytes, &dictionary, &other), Err(Malformed::Dangling), "dead here");
    let elsewhere = Entry { label: Label::new(b"other", made.label.names()), ..made };
    other = Known::of(&[elsewhere], None);
    assert_eq!(read_delta(&bytes, &dictionary, &other), Err(Malformed::Dangling), "another space");
    // A copy of the writer's replica wrote about something else under the same name.
    let forked = Entry { id: PlaceId::new(&[8; 16]), ..one_entry(&[7; 16], &[b"a", b"b"]) };
    other = Known::of(&[forked], None);
    assert_eq!(read_delta(&bytes, &dictionary, &other), Err(Malformed::Dangling), "another object");
}

#[test]
fn contradictions_are_refused() {
    let entry = |first: u64| Entry {
        first: Dot::new(replica(1), first),
        ..one_entry(b"id", &[b"a", b"b"])
    };
    let good = Delta { entries: [entry(1), entry(3)].into(), ..Delta::default() };
    assert_eq!(decode_delta(&encode_delta(&good)), Ok(good.clone()));
    let broken = |change: &dyn Fn(&mut Delta)| {
        let mut delta = good.clone();
        change(&mut delta);
        decode_delta(&encode_delta(&delta)).unwrap_err()
    };
    let note = |dot: Dot| Note {
        dot,
        stamp: Stamp::default(),
        label: Label::new(b"space", []),
        id: PlaceId::default(),
    };
    let dot = |counter| Dot::new(replica(1), counter);
    for (what, error) in [
        ("runs overlap", broken(&|delta| delta.entries[1].first.counter = 2)),
        ("a run stands twice", broken(&|delta| delta.entries[1].first.counter = 1)),
        ("live and dead", broken(&|delta| delta.dead.insert(dot(4)))),
        ("a note of a live dot", broken(&|delta| delta.notes.push(note(dot(1))))),
        ("a note of an unknown dot", broken(&|delta| delta.notes.push(note(dot(9))))),
        ("a counter of 0", broken(&|delta| delta.entries[0].first.counter = 0)),
        (
            "more names than slots",
            broken(&|delta| {
                delta.entries[0].label = Label::new(b"space", [&b"a"[..]; 3]);
            }),
        ),
    ] {
        assert!(matches!(error, Malformed::Inconsistent { .. }), "{what}: {error}");
    }
    for (what, error) in [
        ("the last counter", broken(&|delta| delta.entries[1].first.counter = u64::MAX - 1)),
        ("a long id", broken(&|delta| delta.entries[0].id = PlaceId::new(&[0; 161]))),
        (
            "a long label",
            broken(&|delta| {
                delta.entries[0].label = Label::new(b"space", [&[b'x'; 4_100][..]; 2]);
            }),
        ),
        (
            "too much",
            broken(&|delta| {
                delta.entries[0].slots =
                    Slots::new([Some(&[0; DELTA_BYTES_MAX][..]), None].into_iter());
            }),
        ),
    ] {
        assert!(matches!(error, Malformed::Limit { .. }), "{what}: {error}");
    }
    let mut bytes = encode_delta(&good);
    bytes.push(0);
    assert!(matches!(decode_delta(&bytes), Err(Malformed::Encoding { .. })));
}

#[test]
fn a_delta_of_the_smallest_entries_brings_all_their_labels() {
    let mut delta = Delta::default();
    let mut counter = 1;
    while delta.cost() < DELTA_BYTES_MAX - 100 {
        let name = u16::try_from(counter).unwrap().to_be_bytes();
        let first = Dot::new(replica(1), counter);
        delta.entries.push(Entry { first, ..one_entry(b"", &[&name]) });
        counter += 1;
    }
    let labels: BTreeSet<_> = delta.entries.iter().map(|entry| &entry.label).collect();
    assert!(labels.len() == delta.entries.len() && labels.len() <= LABELS_MAX);
    assert_eq!(decode_delta(&encode_delta(&delta)), Ok(delta));
}

#[test]
fn many_claims_in_few_bytes_take_no_room() {
    let mut claims = vec![0u8; 64];
    for at in 0..claims.len() {
        // A count of 2^62 at each place where a count may stand.
        let mut bytes = claims.clone();
        bytes.splice(at..at + 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]);
        assert!(decode_delta(&bytes).is_err(), "at {at}");
    }
    claims.fill(0xff);
    assert!(decode_delta(&claims).is_err());
}
