//! The laws of `join`: commutative, associative, idempotent, whatever the order and the grouping.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::causal::{Delta, MemoryStore, PlaceStore as _, ReplicaId, join};
use sync_core::document::{Author, Document};
use sync_core::error::Sure;
use sync_core::time::Stamp;
use sync_core::types::{Conflict, Element, Field, Place, RecordId, Value};
use sync_core::wire::{DELTA_BYTES_MAX, decode_delta, encode_delta};

use crate::stores::{PagedStore, Store};

/// What one replica does next.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Write { record: u8, field: u8, value: u8 },
    Tags { record: u8, tags: u8 },
    Remove { record: u8 },
    Hear { from: usize },
}

pub(crate) fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0u8..4, 0u8..3, any::<u8>()).prop_map(|(record, field, value)| Deed::Write { record, field, value }),
        2 => (0u8..4, 0u8..16).prop_map(|(record, tags)| Deed::Tags { record, tags }),
        2 => (0u8..4).prop_map(|record| Deed::Remove { record }),
        2 => (0usize..3).prop_map(|from| Deed::Hear { from }),
    ]
}

/// Lets three replicas act, hearing of each other now and then, and gives all their deltas.
pub(crate) fn history<S: Store>(deeds: &[(usize, Deed)]) -> Vec<Delta> {
    let mut documents = vec![Document::new(S::default()); 3];
    let mut said: Vec<Vec<Delta>> = vec![Vec::new(); 3];
    let mut deltas = Vec::new();
    for (tick, (who, deed)) in (1u64..).zip(deeds) {
        let replica = ReplicaId::from_bytes([*who as u8 + 1; 16]);
        let author = Author { replica, stamp: Stamp::from_ms(tick) };
        let document = &mut documents[*who];
        let mut made = Vec::new();
        if let Deed::Hear { from } = deed {
            for delta in said[*from].clone() {
                let orphans = documents[*who].join(&delta).sure().orphans;
                for orphan in orphans {
                    let asserted = documents[*who].assert(author, usize::MAX, &orphan).sure();
                    made.extend(asserted.into_iter().map(|edited| edited.delta));
                }
            }
        } else {
            let edited = document.edit(author, DELTA_BYTES_MAX, |edit| {
                let (record, fields) = match deed {
                    Deed::Write { record, field, value } => {
                        let value = Field::from(i64::from(*value));
                        (record, BTreeMap::from([(format!("f{field}"), value)]))
                    }
                    Deed::Tags { record, tags } => {
                        let bits = (0..4).filter(|bit| tags & (1 << bit) != 0);
                        let tags = Field::Set(bits.map(Value::Int).collect());
                        (record, BTreeMap::from([("tags".to_owned(), tags)]))
                    }
                    Deed::Remove { record } => return edit.remove("r", &id(*record)),
                    Deed::Hear { .. } => unreachable!("handled above"),
                };
                match edit.document().record("r", &id(*record)).sure() {
                    Some(_) => edit.update("r", &id(*record), &fields),
                    None => edit.insert("r", &id(*record), &fields),
                }
            });
            made.extend(edited.ok().map(|edited| edited.delta));
        }
        for delta in made.into_iter().filter(|delta| !delta.is_empty()) {
            said[*who].push(delta.clone());
            deltas.push(delta);
        }
    }
    deltas
}

fn id(record: u8) -> RecordId {
    RecordId::new(format!("record-{record}")).unwrap()
}

fn joined<'a, S: Store>(deltas: impl IntoIterator<Item = &'a Delta>) -> S {
    let mut store = S::default();
    for delta in deltas {
        join(&mut store, delta).sure();
    }
    store
}

/// What a reader sees, and not only how it is stored.
type Shown = (Vec<(RecordId, BTreeMap<String, Field>, Vec<Element>)>, Vec<(Place, Conflict)>);

fn seen<S: Store>(store: &S) -> Shown {
    shown(&Document::load(store.clone()).sure())
}

fn shown<S: Store>(document: &Document<S>) -> Shown {
    let records = document.records("r").sure().into_iter().map(|(id, record)| {
        let mut elements = record.elements().to_vec();
        elements.sort_by_key(|element| element.claim.dot);
        (id, record.fields(), elements)
    });
    (records.collect(), document.conflicts().sure())
}

/// The parameters of a test that are drawn at random.
type Deeds = Vec<(usize, Deed)>;

fn order_repetition_and_grouping<S: Store>(deeds: &Deeds, order: u64, groups: usize) {
    let deltas = history::<S>(deeds);
    let straight: S = joined(&deltas);

    let mut shuffled = deltas.clone();
    let mut random = order;
    for at in (1..shuffled.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        shuffled.swap(at, (random >> 33) as usize % (at + 1));
    }
    assert_eq!(joined::<S>(&shuffled), straight, "another order");
    assert_eq!(joined::<S>(shuffled.iter().chain(&deltas)), straight, "everything twice");

    let mut grouped = Vec::new();
    for group in shuffled.chunks(groups) {
        let mut one = Delta::default();
        group.iter().for_each(|delta| one.join(delta.clone()));
        grouped.push(one);
    }
    let grouped: S = joined(&grouped);
    assert_eq!(grouped, straight, "in groups");
    assert_eq!(seen(&grouped), seen(&straight));
}

fn least_upper_bound<S: Store>(deeds: &Deeds, cut: (u64, u64, u64)) {
    let deltas = history::<S>(deeds);
    let pick = |bits: u64| {
        let picked = deltas.iter().enumerate().filter(|(at, _)| bits >> (at % 64) & 1 == 1);
        joined::<S>(picked.map(|(_, delta)| delta)).state()
    };
    let (a, b, c) = (pick(cut.0), pick(cut.1), pick(cut.2));
    let ab: S = joined([&a, &b]);
    assert_eq!(ab, joined([&b, &a]));
    let bc: S = joined([&b, &c]);
    assert_eq!(joined::<S>([&ab.state(), &c]), joined([&a, &bc.state()]));
    assert_eq!(joined::<S>([&a, &a]), joined([&a]));
    assert_eq!(joined::<S>([&a, &ab.state()]), ab);
}

fn a_failed_change<S: Store>(deeds: &Deeds) {
    let mut document = Document::load(joined::<S>(&history::<S>(deeds))).sure();
    let before = document.store().clone();
    let seen_before = seen(&before);
    let author = Author { replica: ReplicaId::from_bytes([1; 16]), stamp: Stamp::from_ms(99) };
    let records: Vec<_> = document.records("r").sure().into_iter().map(|(id, _)| id).collect();
    let fields = BTreeMap::from([("f0".to_owned(), Field::from("new"))]);
    let none: BTreeMap<String, Field> = BTreeMap::new();
    let failed = document.edit(author, DELTA_BYTES_MAX, |edit| {
        for id in &records {
            edit.update("r", id, &fields)?;
            edit.count("r", id, &["seen"], 2)?;
            edit.remove("r", id)?;
        }
        edit.insert("r", &id(9), &none)?;
        edit.set_add("s", &"member".into())?;
        edit.remove("r", &id(10))
    });
    assert!(failed.is_err());
    assert_eq!(document.store(), &before);
    assert_eq!(shown(&document), seen_before, "the index as well");
    assert_eq!(document.store().spaces(), before.spaces());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_repetition_and_grouping_do_not_matter(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..40),
        order in any::<u64>(),
        groups in 1usize..6,
    ) {
        order_repetition_and_grouping::<MemoryStore>(&deeds, order, groups);
        order_repetition_and_grouping::<PagedStore>(&deeds, order, groups);
    }

    #[test]
    fn join_of_states_is_a_least_upper_bound(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..40),
        cut in any::<(u64, u64, u64)>(),
    ) {
        least_upper_bound::<MemoryStore>(&deeds, cut);
        least_upper_bound::<PagedStore>(&deeds, cut);
    }

    #[test]
    fn both_stores_hold_and_show_the_same(deeds in proptest::collection::vec((0usize..3, deed()), 1..40)) {
        let deltas = history::<MemoryStore>(&deeds);
        prop_assert_eq!(&deltas, &history::<PagedStore>(&deeds));
        let (memory, paged): (MemoryStore, PagedStore) = (joined(&deltas), joined(&deltas));
        prop_assert_eq!(memory.state(), paged.state());
        prop_assert_eq!(memory.spaces(), paged.spaces());
        prop_assert_eq!(seen(&memory), seen(&paged));
    }

    #[test]
    fn deltas_survive_the_wire(deeds in proptest::collection::vec((0usize..3, deed()), 1..40)) {
        for delta in history::<MemoryStore>(&deeds) {
            let bytes = encode_delta(&delta);
            prop_assert!(bytes.len() <= delta.cost(), "no more than was reckoned with");
            prop_assert_eq!(decode_delta(&bytes).unwrap(), delta);
        }
    }

    #[test]
    fn a_failed_change_leaves_nothing(deeds in proptest::collection::vec((0usize..3, deed()), 1..40)) {
        a_failed_change::<MemoryStore>(&deeds);
        a_failed_change::<PagedStore>(&deeds);
    }
}
