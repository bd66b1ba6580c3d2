//! The types of fields beyond registers and sets: counters, last-writer registers and nested maps.

use std::collections::BTreeMap;

use sync_core::causal::Delta;
use sync_core::document::{Edit, Refused};
use sync_core::error::{Misuse, Sure};
use sync_core::types::{Conflict, Content, Field, Place};
use sync_core::wire::DELTA_BYTES_MAX;

use crate::documents::{Device, id, tags};
use crate::over_both_stores;
use crate::stores::Store;

pub(crate) fn map(fields: &[(&str, Field)]) -> BTreeMap<String, Field> {
    fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect()
}

pub(crate) fn nested(fields: &[(&str, Field)]) -> Field {
    Field::Map(map(fields))
}

impl<S: Store> Device<S> {
    pub(crate) fn fields(&self) -> BTreeMap<String, Field> {
        self.document.record("notes", &id()).sure().expect("the record is there").fields()
    }

    pub(crate) fn count(&mut self, path: &[&str], amount: i64) -> Delta {
        self.change(|edit| edit.count("notes", &id(), path, amount))
    }

    pub(crate) fn put(&mut self, path: &[&str], field: Field) -> Delta {
        self.change(|edit| edit.put("notes", &id(), path, &field))
    }

    pub(crate) fn unset(&mut self, path: &[&str]) -> Delta {
        self.change(|edit| edit.unset("notes", &id(), path))
    }

    pub(crate) fn misuse(
        &mut self,
        change: impl FnOnce(&mut Edit<'_, S>) -> Result<(), Refused>,
    ) -> Misuse {
        let author = self.author();
        let before = self.document.store().clone();
        let refused = self.document.edit(author, DELTA_BYTES_MAX, change).unwrap_err();
        assert_eq!(self.document.store(), &before, "a misuse changes nothing");
        refused.into()
    }
}

/// Two devices that have the same record.
pub(crate) fn two<S: Store>(fields: &[(&str, Field)]) -> (Device<S>, Device<S>) {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.write(fields);
    b.hear(&[&first]);
    (a, b)
}

pub(crate) fn exchange<S: Store>(
    a: &mut Device<S>,
    b: &mut Device<S>,
    left: &[Delta],
    right: &[Delta],
) {
    let (mut left, mut right) = (left.to_vec(), right.to_vec());
    while !left.is_empty() || !right.is_empty() {
        let by_b = b.hear(&left.iter().collect::<Vec<_>>());
        let by_a = a.hear(&right.iter().collect::<Vec<_>>());
        (left, right) = (by_a, by_b);
    }
    assert_eq!(a.document.store(), b.document.store());
    assert_eq!(a.document.conflicts(), b.document.conflicts());
}

fn concurrent_changes_of_a_counter_add_up<S: Store>() {
    let (mut a, mut b) = two::<S>(&[("stars", Field::Counter(10))]);
    let left = [a.count(&["stars"], 5), a.count(&["stars"], -2)];
    let right = [b.count(&["stars"], -20), b.count(&["stars"], 1)];
    assert_eq!(
        (&a.fields()["stars"], &b.fields()["stars"]),
        (&Field::Counter(13), &Field::Counter(-9))
    );
    exchange(&mut a, &mut b, &left, &right);
    for device in [&a, &b] {
        assert_eq!(device.fields()["stars"], Field::Counter(-6));
        assert_eq!(device.conflicts(), []);
        let place = Place::Record { collection: "notes".into(), id: id() };
        let elements = device.document.elements(&place).sure();
        let shares = elements.elements().iter();
        let shares = shares.filter(|element| matches!(element.content, Content::Share(_)));
        assert_eq!(shares.count(), 2, "one share for each who counted");
    }
}

fn a_counter_is_brought_to_a_sum_by_what_is_missing<S: Store>() {
    let (mut a, mut b) = two::<S>(&[("stars", Field::Counter(10))]);
    let left = [a.write(&[("stars", Field::Counter(12))])];
    let right = [b.write(&[("stars", Field::Counter(7))])];
    exchange(&mut a, &mut b, &left, &right);
    assert_eq!(a.fields()["stars"], Field::Counter(9), "two more and three less");
    assert!(a.write(&[("stars", Field::Counter(9))]).is_empty(), "nothing is missing");
    assert!(a.count(&["stars"], 0).is_empty());
}

fn a_counter_that_began_twice_adds_up<S: Store>() {
    let (mut a, mut b) = two::<S>(&[("title", "t".into())]);
    let left = [a.count(&["stars"], 1)];
    let right = [b.count(&["stars"], 1)];
    exchange(&mut a, &mut b, &left, &right);
    assert_eq!(a.fields()["stars"], Field::Counter(2));
    let none = [a.count(&["none"], 0)];
    exchange(&mut a, &mut b, &none, &[]);
    assert_eq!(b.fields()["none"], Field::Counter(0), "a counter is there once it was counted");
}

fn a_counter_does_not_run_over<S: Store>() {
    let mut a = Device::<S>::new(1);
    a.write(&[("n", Field::Counter(i64::MAX))]);
    a.count(&["n"], i64::MAX);
    a.count(&["n"], i64::MAX);
    assert_eq!(a.fields()["n"], Field::Counter(i64::MAX));
    a.write(&[("m", Field::Counter(i64::MIN))]);
    a.count(&["m"], i64::MIN);
    a.count(&["m"], i64::MIN);
    assert_eq!(a.fields()["m"], Field::Counter(i64::MIN));
}

fn a_field_changes_its_type_with_its_value<S: Store>() {
    let types = [
        Field::Counter(3),
        Field::from("text"),
        tags(&["x"]),
        Field::Latest(1.into()),
        nested(&[("inner", Field::Counter(1)), ("other", "o".into())]),
        nested(&[("inner", "i".into())]),
    ];
    for from in &types {
        for to in &types {
            // Another counter beside it must not keep shares of this one.
            let (mut a, mut b) = two::<S>(&[("f", from.clone()), ("n", Field::Counter(1))]);
            let change = a.write(&[("f", to.clone()), ("n", Field::Counter(2))]);
            exchange(&mut a, &mut b, &[change], &[]);
            assert_eq!(b.fields(), map(&[("f", to.clone()), ("n", Field::Counter(2))]), "{from:?}");
        }
    }
}

fn copies_of_a_counter_never_count_twice<S: Store>() {
    let mut devices = [1, 2, 3].map(Device::<S>::new);
    let first = devices[0].write(&[("title", "t".into()), ("stars", Field::Counter(10))]);
    devices[1..].iter_mut().for_each(|device| assert!(device.hear(&[&first]).is_empty()));
    let more = devices[1].count(&["stars"], 5);
    for at in [0, 2] {
        devices[at].hear(&[&more]);
    }
    // A third one edits while another removes: both who held the record copy the shares.
    let edit = devices[2].write(&[("title", "edited".into())]);
    let delete = devices[0].remove();
    let mut all = devices[2].hear(&[&delete]);
    all.extend(devices[0].hear(&[&edit]));
    all.extend(devices[1].hear(&[&edit, &delete]));
    assert!(all.len() >= 2);
    for device in &mut devices {
        device.hear(&[&edit, &delete]);
        assert!(device.hear(&all.iter().collect::<Vec<_>>()).is_empty());
        assert_eq!(device.fields()["stars"], Field::Counter(15));
        assert!(matches!(device.conflicts()[..], [Conflict::EditKept { .. }]));
    }
    // Whose share was copied goes on counting from it.
    let more = devices[1].count(&["stars"], 1);
    let settled = {
        devices[2].hear(&[&more]);
        devices[2].change(|edit| edit.adopt("notes", &id()))
    };
    for device in &mut devices {
        device.hear(&[&more, &settled]);
        assert_eq!(device.fields()["stars"], Field::Counter(16));
        assert_eq!(device.conflicts(), []);
    }
    let more = devices[0].count(&["stars"], -6);
    for device in &mut devices {
        device.hear(&[&more]);
        assert_eq!(device.fields()["stars"], Field::Counter(10));
    }
}

fn a_count_against_a_delete_keeps_the_record<S: Store>() {
    let (mut a, mut b) = two::<S>(&[("title", "t".into()), ("stars", Field::Counter(10))]);
    let left = [a.count(&["stars"], 5)];
    let right = [b.remove()];
    exchange(&mut a, &mut b, &left, &right);
    assert_eq!(a.text("title").unwrap(), "t");
    assert_eq!(b.fields()["stars"], Field::Counter(15));
}

fn of_a_latest_register_the_last_write_wins_without_a_conflict<S: Store>() {
    let (mut a, mut b) = two::<S>(&[("seen", Field::Latest(1.into()))]);
    let late = a.put(&["seen"], Field::Latest(2.into()));
    let early = {
        // This one writes twice, so that its clock is ahead.
        a.hear(&[]);
        b.author();
        b.author();
        b.put(&["seen"], Field::Latest(3.into()))
    };
    exchange(&mut a, &mut b, &[late], &[early]);
    for device in [&a, &b] {
        assert_eq!(device.fields()["seen"], Field::Latest(3.into()));
        assert_eq!(device.conflicts(), []);
    }
    let next = a.put(&["seen"], Field::Latest(4.into()));
    exchange(&mut a, &mut b, &[next], &[]);
    let place = Place::Record { collection: "notes".into(), id: id() };
    let elements = b.document.elements(&place).sure();
    assert_eq!(
        elements.elements().len(),
        2,
        "the existence and the last value: no bytes are left over"
    );
    assert!(a.put(&["seen"], Field::Latest(4.into())).is_empty());
}

fn the_leaves_of_a_map_merge_on_their_own<S: Store>() {
    let address = nested(&[("street", "s".into()), ("city", "c".into())]);
    let (mut a, mut b) = two::<S>(&[("address", address)]);
    let left = [a.put(&["address", "street"], "A".into())];
    let right = [
        b.put(&["address", "city"], "B".into()),
        b.put(&["address", "geo", "lat"], Field::Latest(1.5.into())),
        b.put(&["address", "tags"], tags(&["x"])),
        b.count(&["address", "visits"], 2),
    ];
    exchange(&mut a, &mut b, &left, &right);
    let merged = nested(&[
        ("street", "A".into()),
        ("city", "B".into()),
        ("geo", nested(&[("lat", Field::Latest(1.5.into()))])),
        ("tags", tags(&["x"])),
        ("visits", Field::Counter(2)),
    ]);
    assert_eq!(a.fields()["address"], merged);
    assert_eq!(a.conflicts(), []);
    let left = [a.put(&["address", "geo", "lat"], "one".into())];
    let right = [b.put(&["address", "geo", "lat"], "two".into())];
    exchange(&mut a, &mut b, &left, &right);
    let conflicts = a.conflicts();
    let [Conflict::Field { name, values }] = &conflicts[..] else { panic!("{conflicts:?}") };
    assert_eq!((name.as_str(), values.len()), ("address\u{1f}geo\u{1f}lat", 2));
    let kept = a.change(|edit| edit.keep("notes", &id(), b.replica));
    exchange(&mut a, &mut b, &[kept], &[]);
    assert_eq!(a.conflicts(), []);
    let record = b.document.record("notes", &id()).sure().unwrap();
    assert_eq!(record.value("address\u{1f}geo\u{1f}lat"), Some("two".into()));
}

fn a_map_that_is_replaced_keeps_what_was_added_meanwhile<S: Store>() {
    let (mut a, mut b) = two::<S>(&[("m", nested(&[("x", "1".into()), ("y", "2".into())]))]);
    let left = [a.put(&["m"], nested(&[("x", "1".into()), ("z", "3".into())]))];
    assert_eq!(left[0].live().range_count(), 1, "only what differs is written");
    let right = [b.put(&["m", "w"], "4".into())];
    exchange(&mut a, &mut b, &left, &right);
    let both = nested(&[("x", "1".into()), ("z", "3".into()), ("w", "4".into())]);
    assert_eq!(b.fields()["m"], both);
    // A field that goes with its map, and is written meanwhile, stays.
    let left = [a.unset(&["m"])];
    let right = [b.put(&["m", "x"], "5".into())];
    assert_eq!(a.fields(), BTreeMap::new());
    exchange(&mut a, &mut b, &left, &right);
    assert_eq!(a.fields()["m"], nested(&[("x", "5".into())]));
}

fn fields_are_taken_out_with_all_below_them<S: Store>() {
    let (mut a, mut b) = two::<S>(&[
        ("m", nested(&[("x", nested(&[("deep", "1".into()), ("n", Field::Counter(3))]))])),
        ("mm", "beside".into()),
        ("title", "t".into()),
    ]);
    let gone = [a.unset(&["m", "x"]), a.unset(&["title"])];
    assert!(a.unset(&["title"]).is_empty(), "it is gone already");
    exchange(&mut a, &mut b, &gone, &[]);
    assert_eq!(b.fields(), map(&[("mm", "beside".into())]));
    assert!(b.document.record("notes", &id()).sure().is_some(), "the record stays");
    // The counter begins anew.
    let again = [a.count(&["m", "x", "n"], 2)];
    exchange(&mut a, &mut b, &again, &[]);
    assert_eq!(b.fields()["m"], nested(&[("x", nested(&[("n", Field::Counter(2))]))]));
}

fn paths_and_records_that_are_not_there_are_a_misuse<S: Store>() {
    let mut a = Device::<S>::new(1);
    let missing = [
        a.misuse(|edit| edit.put("notes", &id(), &["f"], &"x".into())),
        a.misuse(|edit| edit.unset("notes", &id(), &["f"])),
        a.misuse(|edit| edit.count("notes", &id(), &["f"], 1)),
    ];
    assert!(missing.iter().all(|misuse| matches!(misuse, Misuse::NoSuchRecord { .. })));
    a.write(&[("title", "t".into())]);
    let deep = ["x"; 17];
    let wide = "w".repeat(128);
    let wide = [&wide[..]; 5];
    let bad = [
        a.misuse(|edit| edit.put("notes", &id(), &[], &"x".into())),
        a.misuse(|edit| edit.put("notes", &id(), &["a", ""], &"x".into())),
        a.misuse(|edit| edit.put("notes", &id(), &["a\u{1f}b"], &"x".into())),
        a.misuse(|edit| edit.unset("notes", &id(), &[])),
        a.misuse(|edit| edit.count("notes", &id(), &["a\n"], 1)),
        a.misuse(|edit| edit.put("notes", &id(), &["a"], &nested(&[("", "x".into())]))),
    ];
    assert!(bad.iter().all(|misuse| matches!(misuse, Misuse::BadName { .. })), "{bad:?}");
    let large = [
        a.misuse(|edit| edit.put("notes", &id(), &deep, &"x".into())),
        a.misuse(|edit| edit.put("notes", &id(), &wide, &"x".into())),
        a.misuse(|edit| edit.put("notes", &id(), &deep[..16], &nested(&[("y", "x".into())]))),
        a.misuse(|edit| {
            edit.put("notes", &id(), &deep[..16], &nested(&[("y", Field::Counter(1))]))
        }),
        a.misuse(|edit| edit.count("notes", &id(), &deep, 1)),
    ];
    assert!(large.iter().all(|misuse| matches!(misuse, Misuse::TooLarge { .. })), "{large:?}");
}

over_both_stores!(
    concurrent_changes_of_a_counter_add_up,
    a_counter_is_brought_to_a_sum_by_what_is_missing,
    a_counter_that_began_twice_adds_up,
    a_counter_does_not_run_over,
    a_field_changes_its_type_with_its_value,
    copies_of_a_counter_never_count_twice,
    a_count_against_a_delete_keeps_the_record,
    of_a_latest_register_the_last_write_wins_without_a_conflict,
    the_leaves_of_a_map_merge_on_their_own,
    a_map_that_is_replaced_keeps_what_was_added_meanwhile,
    fields_are_taken_out_with_all_below_them,
    paths_and_records_that_are_not_there_are_a_misuse,
);
