//! What a document holds beside the fields of a record: sets and values of its own, records of many
//! fields, pages of records; and a model of what one writer reads.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sync_core::causal::{MemoryStore, RUN_DOTS_MAX};
use sync_core::document::{Document, Edit, Refused};
use sync_core::error::{Misuse, Sure};
use sync_core::types::{Conflict, Field, Place, RecordId, Value};
use sync_core::wire::{decode_delta, encode_delta};

use crate::documents::{Device, id, tags};
use crate::over_both_stores;
use crate::stores::{PagedStore, Store};
use crate::types::{exchange, map};

fn members_of_every_length_are_told_apart<S: Store>() {
    let (mut a, mut b) = (Device::<S>::new(1), Device::<S>::new(2));
    let long = |last: &str| Value::from("m".repeat(3_000) + last);
    let members = BTreeSet::from([
        Value::Null,
        Value::Int(1),
        Value::Float(1.0),
        "".into(),
        "1".into(),
        vec![Value::Int(1)].into(),
        long("a"),
        long("b"),
        "x".repeat(125).into(),
        "x".repeat(126).into(),
        "x".repeat(127).into(),
        "x".repeat(500).into(),
    ]);
    let all = members.iter().map(|member| a.change(|edit| edit.set_add("s", member)));
    let all: Vec<_> = all.collect();
    assert!(a.change(|edit| edit.set_add("s", &long("a"))).is_empty(), "it is there");
    for delta in &all {
        assert_eq!(&decode_delta(&encode_delta(delta)).unwrap(), delta);
    }
    b.hear(&all.iter().collect::<Vec<_>>());
    assert_eq!(b.document.set("s").sure(), members);
    for member in &members {
        assert!(b.document.set_contains("s", member).sure());
    }
    assert!(!b.document.set_contains("s", &long("c")).sure());
    let gone = b.change(|edit| edit.set_remove("s", &long("a")));
    let kept = a.change(|edit| {
        edit.set_remove("s", &long("b"))?;
        edit.set_add("s", &long("b"))
    });
    let (gone_too, none) = (
        b.change(|edit| edit.set_remove("s", &long("b"))),
        b.change(|edit| edit.set_remove("s", &long("c"))),
    );
    assert!(none.is_empty());
    exchange(&mut a, &mut b, &[kept], &[gone, gone_too]);
    assert!(!a.document.set_contains("s", &long("a")).sure());
    assert!(a.document.set_contains("s", &long("b")).sure(), "an add wins");
    assert_eq!(a.document.set("s").sure().len(), members.len() - 1);
}

fn values_and_counters_of_a_document<S: Store>() {
    let (mut a, mut b) = (Device::<S>::new(1), Device::<S>::new(2));
    let both = [
        a.change(|edit| edit.set_value("title", &"A".into())),
        a.change(|edit| edit.count_value("visits", 3)),
    ];
    exchange(&mut a, &mut b, &both, &[]);
    assert!(a.change(|edit| edit.set_value("title", &"A".into())).is_empty());
    let left = [
        a.change(|edit| edit.set_value("title", &"left".into())),
        a.change(|edit| edit.set_value("seen", &Field::Latest(1.into()))),
        a.change(|edit| edit.count_value("visits", 2)),
    ];
    let right = [
        b.change(|edit| edit.set_value("title", &"right".into())),
        b.change(|edit| edit.set_value("seen", &Field::Latest(2.into()))),
        b.change(|edit| edit.count_value("visits", -1)),
    ];
    exchange(&mut a, &mut b, &left, &right);
    for device in [&a, &b] {
        assert_eq!(device.document.counter("visits").sure(), 4);
        assert!(device.document.value("seen").sure().is_some());
        assert_eq!(device.document.value("none").sure(), None);
        assert_eq!(device.document.counter("none").sure(), 0);
        let conflicts = device.document.conflicts().sure();
        let place = Place::Value { name: "title".into() };
        let [(at, Conflict::Field { values, .. })] = &conflicts[..] else {
            panic!("{conflicts:?}")
        };
        assert_eq!((at, values.len()), (&place, 2));
    }
    let chosen = [a.change(|edit| edit.set_value("title", &"left".into()))];
    exchange(&mut a, &mut b, &chosen, &[]);
    assert_eq!(b.document.value("title").sure(), Some("left".into()));
    assert_eq!(b.document.conflicts().sure(), []);
    let misuse = a.misuse(|edit| edit.set_value("title", &tags(&["x"])));
    assert!(matches!(misuse, Misuse::BadName { .. }));
    let misuse = a.misuse(|edit| edit.set_value("", &"x".into()));
    assert!(matches!(misuse, Misuse::BadName { .. }));
}

fn a_record_of_many_fields_with_long_names_reads_back<S: Store>() {
    let fields = (0..3 * RUN_DOTS_MAX).map(|number| {
        let name = format!("{number:0>128}");
        (name, Field::from(i64::try_from(number).unwrap()))
    });
    let fields: BTreeMap<_, _> = fields.collect();
    let mut a = Device::<S>::new(1);
    let made = a.change(|edit| edit.insert("notes", &id(), &fields));
    let read = decode_delta(&encode_delta(&made)).expect("what is written can be read");
    assert_eq!(read, made);
    let mut b = Device::<S>::new(2);
    b.hear(&[&read]);
    assert_eq!(b.fields(), fields);
    let edit = a.write(&[("title", "edited".into())]);
    let delete = b.remove();
    for copies in a.hear(&[&delete]) {
        assert_eq!(decode_delta(&encode_delta(&copies)).unwrap(), copies);
        b.hear(&[&copies]);
    }
    b.hear(&[&edit]);
    assert_eq!(b.fields().len(), fields.len() + 1);
}

fn a_page_goes_on_where_the_one_before_ended<S: Store>() {
    let mut a = Device::<S>::new(1);
    let name = |number: usize| RecordId::new(format!("r{number:03}")).unwrap();
    let fields = map(&[("title", "t".into())]);
    for number in 0..25 {
        a.change(|edit| edit.insert("notes", &name(number), &fields));
    }
    for number in (0..25).step_by(2) {
        a.change(|edit| edit.remove("notes", &name(number)));
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = a.document.page("notes", after.as_ref(), 5).sure();
        assert!(page.records.len() <= 5);
        all.extend(page.records.into_iter().map(|(id, _)| id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, (1..25).step_by(2).map(name).collect::<Vec<_>>());
    let listed = a.document.records("notes").sure().into_iter().map(|(id, _)| id);
    assert_eq!(listed.collect::<Vec<_>>(), all);
}

fn a_page_may_have_more_ids_than_a_store_gives_in_one_go<S: Store>() {
    let mut a = Device::<S>::new(1);
    let name = |number: usize| RecordId::new(format!("r{number:04}")).unwrap();
    let fields = map(&[("title", "t".into())]);
    let count = 2_050;
    for number in 0..count {
        a.change(|edit| edit.insert("notes", &name(number), &fields));
    }
    let names = |range: std::ops::Range<usize>| range.map(name).collect::<Vec<_>>();
    for (after, limit) in [(None, 1_023), (Some(0), 1_024), (Some(500), 1_025), (None, 2_049)] {
        let from = after.map_or(0, |after| after + 1);
        let page = a.document.page("notes", after.map(name).as_ref(), limit).sure();
        let ids: Vec<_> = page.records.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, names(from..from + limit));
        assert_eq!(page.next, ids.last().cloned());
    }
    let mut shown = Vec::new();
    a.document.each_record("notes", &mut |id, record| shown.push((id, record))).sure();
    assert_eq!(shown, a.document.records("notes").sure());
    assert_eq!(shown.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), names(0..count));
    let page = a.document.page("notes", None, count + 1).sure();
    assert_eq!((page.records.len(), page.next), (count, None));
}

type Change<'a> = &'a dyn Fn(&mut Edit<'_, PagedStore>) -> Result<(), Refused>;

#[test]
fn a_change_loads_only_the_pages_that_it_names() {
    let mut a = Device::<PagedStore>::new(1);
    let name = |number: usize| RecordId::new(format!("r{number:04}")).unwrap();
    let fields = map(&[("title", "t".into()), ("stars", Field::Counter(1))]);
    for number in 0..1_000 {
        a.change(|edit| edit.insert("notes", &name(number), &fields));
    }
    assert!(a.document.store().page_count() > 200);
    let mut b = Device::<PagedStore>::new(2);
    b.hear(&[&a.document.store().state()]);
    let loads = |device: &Device<PagedStore>| device.document.store().loads();
    let new = map(&[("title", "new".into())]);
    let mut most = [0; 4];
    for number in (0..1_000).step_by(97) {
        let steps: [Change<'_>; 3] = [
            &|edit| edit.update("notes", &name(number), &new),
            &|edit| edit.count("notes", &name(number), &["stars"], 1),
            &|edit| edit.remove("notes", &name(number)),
        ];
        for (at, step) in steps.iter().enumerate() {
            let before = loads(&a);
            let delta = a.change(step);
            most[at] = most[at].max(loads(&a) - before);
            let before = loads(&b);
            b.hear(&[&delta]);
            most[3] = most[3].max(loads(&b) - before);
        }
    }
    assert!(most.iter().all(|loads| *loads <= 16), "pages that were read for one change: {most:?}");
}

/// One step at random on a nested record, and the same on a plain model.
#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    Unset(usize),
    Count(usize, i8),
}

const PATHS: [&[&str]; 6] = [&["a"], &["a", "x"], &["a", "y"], &["b"], &["a", "x", "z"], &["c"]];

fn model_put(model: &mut BTreeMap<String, Field>, path: &[&str], field: Option<Field>) {
    let is_at = |known: &str, path: &str| known == path || known.starts_with(&format!("{path}/"));
    let path = path.join("/");
    model.retain(|known, _| !is_at(known, &path));
    model.extend(field.map(|field| (path, field)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn one_writer_reads_what_it_wrote(steps in proptest::collection::vec(
        prop_oneof![
            (0usize..6, any::<u8>()).prop_map(|(path, value)| Step::Put(path, value)),
            (0usize..6).prop_map(Step::Unset),
            (0usize..6, any::<i8>()).prop_map(|(path, amount)| Step::Count(path, amount)),
        ],
        1..30,
    )) {
        let mut device = Device::<MemoryStore>::new(1);
        device.write(&[]);
        let mut leaves: BTreeMap<String, Field> = BTreeMap::new();
        for step in steps {
            let change = match step {
                Step::Put(path, value) => {
                    let field = match value % 4 {
                        0 => Field::from(i64::from(value)),
                        1 => Field::Latest(i64::from(value).into()),
                        2 => Field::Counter(i64::from(value)),
                        _ => tags(&["x", "y"]),
                    };
                    model_put(&mut leaves, PATHS[path], Some(field.clone()));
                    device.put(PATHS[path], field)
                }
                Step::Unset(path) => {
                    model_put(&mut leaves, PATHS[path], None);
                    device.unset(PATHS[path])
                }
                Step::Count(path, amount) => {
                    let known = leaves.entry(PATHS[path].join("/"));
                    let known = known.or_insert(Field::Counter(0));
                    match known {
                        Field::Counter(sum) => *sum += i64::from(amount),
                        // A set is shown before the counter that now stands beside it.
                        Field::Set(_) => {}
                        other => *other = Field::Counter(i64::from(amount)),
                    }
                    device.count(PATHS[path], amount.into())
                }
            };
            prop_assert_eq!(decode_delta(&encode_delta(&change)), Ok(change));
            let record = device.document.record("notes", &id()).sure().unwrap();
            for (path, field) in &leaves {
                let at = path.replace('/', "\u{1f}");
                match field {
                    Field::Register(value) | Field::Latest(value) => {
                        prop_assert_eq!(record.value(&at), Some(value.clone()), "{}", path);
                    }
                    Field::Counter(sum) => prop_assert_eq!(record.count(&at), *sum, "{}", path),
                    Field::Set(members) => {
                        prop_assert_eq!(record.members(&at), members.iter().collect(), "{}", path);
                    }
                    Field::Map(_) => unreachable!("the model holds leaves"),
                }
            }
            prop_assert_eq!(record.conflicts(), []);
            let loaded = Document::load(device.document.store().clone()).sure();
            prop_assert_eq!(loaded.conflicts(), device.document.conflicts());
        }
    }
}

over_both_stores!(
    members_of_every_length_are_told_apart,
    values_and_counters_of_a_document,
    a_record_of_many_fields_with_long_names_reads_back,
    a_page_goes_on_where_the_one_before_ended,
    a_page_may_have_more_ids_than_a_store_gives_in_one_go,
);
