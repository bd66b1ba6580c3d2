//! The types on their own, and lists in an order that people choose.

use fractional_index::FractionalIndex;
use proptest::prelude::*;
use std::collections::BTreeSet;

use sync_core::alone::{GCounter, LwwRegister, MvRegister, OrSet, PnCounter};
use sync_core::causal::ReplicaId;
use sync_core::document::{Author, Document, KEY_BYTES_MAX};
use sync_core::error::{Misuse, Sure};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId, Value};
use sync_core::wire::{decode_delta, encode_delta};

fn author(replica: u8, ms: u64) -> Author {
    Author { replica: ReplicaId::from_bytes([replica; 16]), stamp: Stamp::from_ms(ms) }
}

#[test]
fn an_add_wins_over_a_concurrent_remove() {
    let (mut a, mut b) = (OrSet::default(), OrSet::default());
    let x = Value::from("x");
    b.join(&a.add(author(1, 1), &x).unwrap());
    let gone = a.remove(author(1, 2), &x).unwrap();
    let again = [b.remove(author(2, 2), &x).unwrap(), b.add(author(2, 3), &x).unwrap()];
    again.iter().for_each(|delta| assert!(a.join(&decode_delta(&encode_delta(delta)).unwrap())));
    assert!(b.join(&gone) || b.contains(&x), "what is covered brings nothing");
    for set in [&a, &b] {
        assert_eq!(set.members(), BTreeSet::from([x.clone()]));
    }
    assert!(a.add(author(1, 4), &x).unwrap().is_empty());
    assert_eq!(OrSet::load(a.store().clone()).members(), b.members());
    a.remove(author(1, 5), &x).unwrap();
    assert!(!a.contains(&x));
    assert_eq!(a.store().entry_count(), 0, "nothing is left of what was removed");
}

#[test]
fn registers_keep_all_or_the_last() {
    let (mut a, mut b) = (MvRegister::default(), MvRegister::default());
    let left = a.set(author(1, 5), "left".into()).unwrap();
    let right = b.set(author(2, 9), "right".into()).unwrap();
    a.join(&right);
    b.join(&left);
    for register in [&a, &b] {
        assert_eq!(register.value(), Some("right".into()));
        let values: Vec<_> = register.values().into_iter().map(|written| written.value).collect();
        assert_eq!(values, ["right".into(), Value::from("left")]);
    }
    b.join(&a.set(author(1, 10), "both".into()).unwrap());
    assert_eq!(b.values().len(), 1);

    let (mut a, mut b) = (LwwRegister::default(), LwwRegister::default());
    let left = a.set(author(1, 9), "left".into()).unwrap();
    let right = b.set(author(2, 5), "right".into()).unwrap();
    a.join(&right);
    b.join(&left);
    assert_eq!((a.value(), b.value()), (Some("left".into()), Some("left".into())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn counters_are_exact_whatever_is_repeated(
        steps in proptest::collection::vec((0u8..3, -1_000i64..1_000), 0..30),
        repeats in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
    ) {
        let mut counters = [PnCounter::default(), PnCounter::default(), PnCounter::default()];
        let mut growing = [GCounter::default(), GCounter::default(), GCounter::default()];
        let (mut deltas, mut grown) = (Vec::new(), Vec::new());
        for (ms, (who, amount)) in (1u64..).zip(&steps) {
            let author = author(who + 1, ms);
            deltas.push(counters[usize::from(*who)].add(author, *amount).unwrap());
            let up = amount.unsigned_abs() as u32;
            grown.push(growing[usize::from(*who)].add(author, up).unwrap());
        }
        let all = 0..deltas.len();
        let order: Vec<_> = repeats
            .iter()
            .filter(|_| !deltas.is_empty())
            .map(|at| at.index(deltas.len()))
            .chain(all)
            .collect();
        for at in order {
            counters.iter_mut().for_each(|counter| { counter.join(&deltas[at]); });
            growing.iter_mut().for_each(|counter| { counter.join(&grown[at]); });
        }
        let sum: i64 = steps.iter().map(|(_, amount)| amount).sum();
        let total: u64 = steps.iter().map(|(_, amount)| amount.unsigned_abs()).sum();
        for (counter, growing) in counters.iter().zip(&growing) {
            prop_assert_eq!((counter.count(), growing.count()), (sum, total));
            prop_assert!(counter.store().entry_count() <= 3, "one share for each owner");
        }
    }

    #[test]
    fn a_list_is_in_the_order_in_which_it_was_put(moves in proptest::collection::vec((0usize..8, 0usize..9), 0..80)) {
        let mut document = Document::default();
        let ids: Vec<_> = (0..8).map(|n| RecordId::new(format!("r{n}")).unwrap()).collect();
        for id in &ids {
            document.edit(author(1, 1), usize::MAX, |edit| edit.insert("l", id, [("f", &Field::from(1i64))])).unwrap();
        }
        let mut model = ids.clone();
        for (ms, (what, to)) in (2u64..).zip(moves) {
            let id = &ids[what];
            model.retain(|other| other != id);
            let to = to.min(model.len());
            let after = to.checked_sub(1).map(|at| model[at].clone());
            model.insert(to, id.clone());
            document.edit(author(1, ms), usize::MAX, |edit| edit.place("l", id, "at", after.as_ref())).unwrap();
            let order: Vec<_> = document.ordered("l", "at").sure().into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(&order, &model);
        }
    }
}

#[test]
fn many_moves_to_one_spot_keep_the_keys_short() {
    let mut document = Document::default();
    let ids: Vec<_> = (0..3).map(|n| RecordId::new(format!("r{n}")).unwrap()).collect();
    for id in &ids {
        document
            .edit(author(1, 1), usize::MAX, |edit| {
                edit.insert("l", id, [("f", &Field::from(1i64))])
            })
            .unwrap();
    }
    for round in 0..2_000u64 {
        // The two last change places behind the first, again and again.
        let id = &ids[1 + (round % 2) as usize];
        document
            .edit(author(1, round), usize::MAX, |edit| edit.place("l", id, "at", Some(&ids[0])))
            .unwrap();
        let order: Vec<_> =
            document.ordered("l", "at").sure().into_iter().map(|(id, _)| id).collect();
        assert_eq!((&order[0], &order[1]), (&ids[0], id));
    }
    for (_, record) in document.ordered("l", "at").sure() {
        let Some(Value::Bytes(key)) = record.value("at") else { panic!("a key") };
        assert!(key.len() <= KEY_BYTES_MAX, "{} bytes", key.len());
    }
}

#[test]
fn keys_that_would_be_too_long_are_chosen_anew() {
    let lower = FractionalIndex::default();
    let between =
        |upper: &FractionalIndex| FractionalIndex::new(Some(&lower), Some(upper)).unwrap();
    let mut upper = FractionalIndex::new_after(&lower);
    for bytes in [KEY_BYTES_MAX - 1, KEY_BYTES_MAX, KEY_BYTES_MAX + 1] {
        while between(&upper).as_bytes().len() < bytes {
            upper = between(&upper);
        }
        assert_eq!(between(&upper).as_bytes().len(), bytes);
        let mut document = Document::default();
        let ids = ["a", "b", "c"].map(|id| RecordId::new(id).unwrap());
        let key = |index: &FractionalIndex| Field::Latest(Value::Bytes(index.as_bytes().to_vec()));
        let edited = document.edit(author(1, 1), usize::MAX, |edit| {
            edit.insert("l", &ids[0], [("at", &key(&lower))])?;
            edit.insert("l", &ids[1], [("at", &key(&upper))])?;
            edit.insert("l", &ids[2], [("f", &Field::from(1i64))])?;
            edit.place("l", &ids[2], "at", Some(&ids[0]))
        });
        edited.unwrap();
        let ordered = document.ordered("l", "at").sure();
        let order: Vec<_> = ordered.iter().map(|(id, _)| id).collect();
        assert_eq!(order, [&ids[0], &ids[2], &ids[1]]);
        let keys = ordered.iter().map(|(_, record)| record.value("at").unwrap());
        let keys: Vec<Value> = keys.collect();
        let is_anew = keys[2] != Value::Bytes(upper.as_bytes().to_vec());
        assert_eq!(is_anew, bytes > KEY_BYTES_MAX, "{bytes}");
        for key in keys {
            assert!(matches!(key, Value::Bytes(key) if key.len() <= KEY_BYTES_MAX));
        }
    }
}

#[test]
fn concurrent_moves_converge_and_equal_keys_can_be_parted() {
    let (mut a, mut b) = (Document::default(), Document::default());
    let ids: Vec<_> = (0..4).map(|n| RecordId::new(format!("r{n}")).unwrap()).collect();
    for (ms, id) in (1u64..).zip(&ids) {
        let last = ids.get((ms as usize).wrapping_sub(2)).cloned();
        let edited = a.edit(author(1, ms), usize::MAX, |edit| {
            edit.insert("l", id, [("f", &Field::from(1i64))])?;
            edit.place("l", id, "at", last.as_ref())
        });
        b.join(&edited.unwrap().delta).sure();
    }
    // Both put another record behind the first: the keys are equal.
    let left =
        a.edit(author(1, 9), usize::MAX, |edit| edit.place("l", &ids[2], "at", Some(&ids[0])));
    let right =
        b.edit(author(2, 9), usize::MAX, |edit| edit.place("l", &ids[3], "at", Some(&ids[0])));
    a.join(&right.unwrap().delta).sure();
    b.join(&left.unwrap().delta).sure();
    let order = |document: &Document| -> Vec<String> {
        document.ordered("l", "at").sure().into_iter().map(|(id, _)| id.to_string()).collect()
    };
    assert_eq!(order(&a), order(&b));
    assert_eq!(order(&a), ["r0", "r2", "r3", "r1"]);
    assert!(a.conflicts().sure().is_empty());
    let parted =
        a.edit(author(1, 10), usize::MAX, |edit| edit.place("l", &ids[1], "at", Some(&ids[2])));
    b.join(&parted.unwrap().delta).sure();
    assert_eq!(order(&b), ["r0", "r2", "r1", "r3"]);
    let missing = RecordId::new("no").unwrap();
    let refused = a.edit(author(1, 11), usize::MAX, |edit| edit.place("l", &missing, "at", None));
    assert!(matches!(refused.map_err(Misuse::from), Err(Misuse::NoSuchRecord { .. })));
}
