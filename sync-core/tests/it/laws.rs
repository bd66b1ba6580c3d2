//! The laws of `join`: commutative, associative, idempotent, whatever the order and the grouping.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::causal::{Delta, MemoryStore, ReplicaId};
use sync_core::document::{Author, Document};
use sync_core::time::Stamp;
use sync_core::types::{Conflict, Field, Place, Record, RecordId, Value};
use sync_core::wire::{DELTA_BYTES_MAX, decode_delta, encode_delta};

/// What one replica does next.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Write { record: u8, field: u8, value: u8 },
    Tags { record: u8, tags: u8 },
    Remove { record: u8 },
    Hear { from: usize },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0u8..4, 0u8..3, any::<u8>()).prop_map(|(record, field, value)| Deed::Write { record, field, value }),
        2 => (0u8..4, 0u8..16).prop_map(|(record, tags)| Deed::Tags { record, tags }),
        2 => (0u8..4).prop_map(|record| Deed::Remove { record }),
        2 => (0usize..3).prop_map(|from| Deed::Hear { from }),
    ]
}

/// Lets three replicas act, hearing of each other now and then, and gives all their deltas.
fn history(deeds: &[(usize, Deed)]) -> Vec<Delta> {
    let mut documents = vec![Document::default(); 3];
    let mut said: Vec<Vec<Delta>> = vec![Vec::new(); 3];
    let mut deltas = Vec::new();
    for (tick, (who, deed)) in (1u64..).zip(deeds) {
        let replica = ReplicaId::from_bytes([*who as u8 + 1; 16]);
        let author = Author { replica, stamp: Stamp { ms: tick, logical: 0 } };
        let document = &mut documents[*who];
        let mut made = Vec::new();
        if let Deed::Hear { from } = deed {
            for delta in said[*from].clone() {
                let orphans = documents[*who].join(&delta).orphans;
                for orphan in orphans {
                    let asserted = documents[*who].assert(author, usize::MAX, &orphan);
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
                match edit.document().record("r", &id(*record)) {
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

fn joined<'a>(deltas: impl IntoIterator<Item = &'a Delta>) -> MemoryStore {
    let mut store = MemoryStore::default();
    for delta in deltas {
        store.join(delta);
    }
    store
}

/// What a reader sees, and not only how it is stored.
type Shown = (Vec<(RecordId, Record)>, Vec<(Place, Conflict)>);

fn seen(store: &MemoryStore) -> Shown {
    shown(&Document::load(store.clone()))
}

fn shown(document: &Document) -> Shown {
    let records: Vec<_> = document.records("r").map(|(id, record)| (id.clone(), record)).collect();
    (records, document.conflicts())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_repetition_and_grouping_do_not_matter(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..40),
        order in any::<u64>(),
        groups in 1usize..6,
    ) {
        let deltas = history(&deeds);
        let straight = joined(&deltas);

        let mut shuffled = deltas.clone();
        let mut random = order;
        for at in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (random >> 33) as usize % (at + 1));
        }
        prop_assert_eq!(&joined(&shuffled), &straight, "another order");
        prop_assert_eq!(&joined(shuffled.iter().chain(&deltas)), &straight, "everything twice");

        let mut grouped = Vec::new();
        for group in shuffled.chunks(groups) {
            let mut one = Delta::default();
            group.iter().for_each(|delta| one.join(delta));
            grouped.push(one);
        }
        prop_assert_eq!(&joined(&grouped), &straight, "in groups");
        prop_assert_eq!(seen(&joined(&grouped)), seen(&straight));
    }

    #[test]
    fn join_of_states_is_a_least_upper_bound(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..40),
        cut in any::<(u64, u64, u64)>(),
    ) {
        let deltas = history(&deeds);
        let pick = |bits: u64| joined(deltas.iter().enumerate().filter(|(at, _)| bits >> (at % 64) & 1 == 1).map(|(_, delta)| delta)).to_delta();
        let (a, b, c) = (pick(cut.0), pick(cut.1), pick(cut.2));
        let ab = joined([&a, &b]);
        prop_assert_eq!(&ab, &joined([&b, &a]));
        prop_assert_eq!(joined([&ab.to_delta(), &c]), joined([&a, &joined([&b, &c]).to_delta()]));
        prop_assert_eq!(&joined([&a, &a]), &joined([&a]));
        prop_assert_eq!(&joined([&a, &ab.to_delta()]), &ab);
    }

    #[test]
    fn deltas_survive_the_wire(deeds in proptest::collection::vec((0usize..3, deed()), 1..40)) {
        for delta in history(&deeds) {
            prop_assert_eq!(decode_delta(&encode_delta(&delta)).unwrap(), delta);
        }
    }

    #[test]
    fn a_failed_change_leaves_nothing(deeds in proptest::collection::vec((0usize..3, deed()), 1..40)) {
        let mut document = Document::load(joined(&history(&deeds)));
        let before = document.store().clone();
        let seen_before = seen(&before);
        let author = Author { replica: ReplicaId::from_bytes([1; 16]), stamp: Stamp { ms: 99, logical: 0 } };
        let ids: Vec<_> = document.records("r").map(|(id, _)| id.clone()).collect();
        let failed = document.edit(author, DELTA_BYTES_MAX, |edit| {
            for id in &ids {
                edit.update("r", id, &BTreeMap::from([("f0".to_owned(), Field::from("new"))]))?;
                edit.remove("r", id)?;
            }
            edit.insert("r", &id(9), &BTreeMap::new())?;
            edit.remove("r", &id(10))
        });
        prop_assert!(failed.is_err());
        prop_assert_eq!(document.store(), &before);
        prop_assert_eq!(shown(&document), seen_before, "the index as well");
    }
}
