//! A change that is taken in one go against the same one taken step by step: the store in memory knows
//! how to overwrite an element, and the one of pages does not.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use sync_core::causal::{
    Delta, Dot, DotStore as _, Entry, Fingerprints, Label, MemoryStore, Overwrite, PlaceId,
    PlaceStore, ReplicaId, Slots,
};
use sync_core::document::{Change, Document, Edit, EditAgainstDelete, Edited, Refused};
use sync_core::error::Sure;
use sync_core::time::Stamp;
use sync_core::types::{Field, FieldRef, RecordId, Value};

use crate::documents::{Device, tags};
use crate::stores::{PagedStore, Store};

mod hostile;

const DEVICES: u8 = 3;

/// What is done: by which device, to which record, which field, and what is written.
#[derive(Debug, Clone)]
enum Deed {
    Write {
        by: u8,
        id: u8,
        field: u8,
        value: u8,
    },
    Unset {
        by: u8,
        id: u8,
        field: u8,
    },
    Remove {
        by: u8,
        id: u8,
    },
    Hear {
        by: u8,
        delta: prop::sample::Index,
    },
    /// Hears what came in a row, joined into one.
    HearAll {
        by: u8,
        delta: prop::sample::Index,
        count: usize,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    // Few records, fields and values: what is written meets what was written elsewhere.
    let (by, id) = (0..DEVICES, prop_oneof![5 => Just(0u8), 1 => Just(1u8)]);
    let name = || prop_oneof![5 => Just(0u8), 2 => Just(1u8), 1 => 2..5u8];
    prop_oneof![
        6 => (by.clone(), id.clone(), name(), 0..2u8)
            .prop_map(|(by, id, field, value)| Deed::Write { by, id, field, value }),
        1 => (by.clone(), id.clone(), name())
            .prop_map(|(by, id, field)| Deed::Unset { by, id, field }),
        1 => (by.clone(), id).prop_map(|(by, id)| Deed::Remove { by, id }),
        8 => (by.clone(), any::<prop::sample::Index>())
            .prop_map(|(by, delta)| Deed::Hear { by, delta }),
        4 => (by, any::<prop::sample::Index>(), 2..12usize)
            .prop_map(|(by, delta, count)| Deed::HearAll { by, delta, count }),
    ]
}

fn field(field: u8, value: u8) -> (&'static str, Field) {
    let register = Value::from(i64::from(value));
    match field {
        0 => ("title", Field::Register(register)),
        1 => ("body", Field::Register(register)),
        2 => ("title", Field::Latest(register)),
        3 => ("tags", tags(&["x", "y", "z"][..usize::from(value) + 1])),
        _ => ("count", Field::Counter(i64::from(value))),
    }
}

/// Does something, and gives what it brought about: a change, or what was joined.
fn perform<S: Store>(
    device: &mut Device<S>,
    deed: &Deed,
    deltas: &[Delta],
) -> (Vec<Delta>, String) {
    let collection = "notes";
    let record = |id: u8| RecordId::new(["a", "b"][usize::from(id)]).unwrap();
    let author = device.author();
    let edited = match deed {
        Deed::Write { id, field: name, value, .. } => {
            let (id, field) = (record(*id), field(*name, *value));
            device.document.edit(author, usize::MAX, |edit| {
                match edit.document().record(collection, &id).sure() {
                    Some(_) => edit.update(collection, &id, [(field.0, &field.1)]),
                    None => edit.insert(collection, &id, [(field.0, &field.1)]),
                }
            })
        }
        Deed::Unset { id, field: name, .. } => {
            let name = field(*name, 0).0;
            device
                .document
                .edit(author, usize::MAX, |edit| edit.unset(collection, &record(*id), &[name]))
        }
        Deed::Remove { id, .. } => {
            device.document.edit(author, usize::MAX, |edit| edit.remove(collection, &record(*id)))
        }
        Deed::Hear { delta, .. } | Deed::HearAll { delta, .. } => {
            if deltas.is_empty() {
                return (Vec::new(), String::new());
            }
            let count = if let Deed::HearAll { count, .. } = deed { *count } else { 1 };
            let mut heard = deltas[delta.index(deltas.len())..].iter().take(count).cloned();
            let mut delta = heard.next().unwrap();
            heard.for_each(|next| delta.join(next));
            let Change { touched, orphans, is_new } = device.document.join(&delta).sure();
            let mut made = Vec::new();
            for orphan in &orphans {
                let asserted = device.document.assert(author, usize::MAX, orphan).sure();
                made.extend(asserted.into_iter().map(|edited| edited.delta));
            }
            let edits: Vec<_> =
                orphans.iter().map(|one| (one.place(), one.edit, one.removal)).collect();
            return (made, format!("{:?} {edits:?} {is_new}", touched.places()));
        }
    };
    match edited {
        Ok(edited) => {
            let said = format!("{:?} {:?}", edited.touched.places(), edited.undo);
            (vec![edited.delta], said)
        }
        Err(misuse) => (Vec::new(), misuse.to_string()),
    }
}

fn records<S: Store>(device: &Device<S>) -> Vec<(RecordId, BTreeMap<String, Field>)> {
    let records = device.document.records("notes").sure().into_iter();
    records.map(|(id, record)| (id, record.fields())).collect()
}

/// What reading each record in one go shows, against what a record at hand shows.
fn reads<S: Store>(device: &Device<S>) {
    for id in ["a", "b", "nowhere"].map(|id| RecordId::new(id).unwrap()) {
        let (mut read, mut expected) = (BTreeMap::new(), BTreeMap::new());
        let is_there = device.document.read("notes", &id, &mut |path, value| {
            let before = read.insert(path.to_owned(), Value::from(value));
            assert_eq!(before, None, "{path} is shown once");
        });
        let record = device.document.record("notes", &id).sure();
        assert_eq!(is_there.sure(), record.is_some());
        if let Some(record) = record {
            record.read(&mut |path, value| {
                expected.insert(path.to_owned(), Value::from(value));
            });
        }
        assert_eq!(read, expected);
    }
}

fn is_same(fast: &Device<MemoryStore>, plain: &Device<PagedStore>) {
    let (store, other) = (fast.document.store(), plain.document.store());
    assert_eq!(store.entries(), other.entries());
    assert_eq!(store.context(), Store::context(other));
    assert_eq!(store.open().sure(), other.open().sure());
    assert_eq!(records(fast), records(plain));
    reads(fast);
    reads(plain);
    assert_eq!(fast.document.conflicts().sure(), plain.document.conflicts().sure());
    let mut sums = Fingerprints::default();
    store.iter().for_each(|entry| sums.add(entry));
    assert_eq!(store.fingerprints().total(), sums.total());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_is_overwritten_in_one_go_is_as_step_by_step(
        deeds in prop::collection::vec(deed(), 1..80),
        does_keep in prop::bool::weighted(0.8),
    ) {
        let (mut fast, mut plain): (Vec<_>, Vec<_>) =
            (1..=DEVICES).map(|n| (Device::<MemoryStore>::new(n), Device::<PagedStore>::new(n))).unzip();
        if !does_keep {
            fast.iter_mut().for_each(|d| d.document.set_policy(EditAgainstDelete::DeleteWins));
            plain.iter_mut().for_each(|d| d.document.set_policy(EditAgainstDelete::DeleteWins));
        }
        let mut deltas: Vec<Delta> = Vec::new();
        for deed in &deeds {
            let (Deed::Write { by, .. } | Deed::Unset { by, .. } | Deed::Remove { by, .. }
                | Deed::Hear { by, .. }
                | Deed::HearAll { by, .. }) = deed;
            let at = usize::from(*by);
            let one = perform(&mut fast[at], deed, &deltas);
            let other = perform(&mut plain[at], deed, &deltas);
            prop_assert_eq!(&one, &other);
            deltas.extend(one.0.into_iter().filter(|delta| !delta.is_empty()));
            is_same(&fast[at], &plain[at]);
        }
    }
}

/// A change of registers: what a document that has written them before takes in one go.
#[derive(Debug, Clone)]
enum Writing {
    Insert { id: u8, title: u8, latest: bool },
    Update { id: u8, field: u8, value: u8 },
    Put { id: u8, value: u8 },
    Remove { id: u8 },
}

fn writing() -> impl Strategy<Value = Writing> {
    let id = || prop_oneof![4 => Just(0u8), 1 => Just(1u8)];
    prop_oneof![
        2 => (id(), 0..2u8, any::<bool>())
            .prop_map(|(id, title, latest)| Writing::Insert { id, title, latest }),
        6 => (id(), 0..6u8, 0..2u8)
            .prop_map(|(id, field, value)| Writing::Update { id, field, value }),
        1 => (id(), 0..2u8).prop_map(|(id, value)| Writing::Put { id, value }),
        1 => id().prop_map(|id| Writing::Remove { id }),
    ]
}

/// A field as it is given to be written: a register may be lent.
fn given(field: &Field, is_lent: bool) -> FieldRef<'_> {
    match field {
        Field::Register(value) if is_lent => FieldRef::Register(value.lent()),
        Field::Latest(value) if is_lent => FieldRef::Latest(value.lent()),
        whole => whole.into(),
    }
}

fn write(edit: &mut Edit<'_>, writing: &Writing, is_lent: bool) -> Result<(), Refused> {
    let record = |id: u8| RecordId::new(["a", "b"][usize::from(id)]).unwrap();
    match writing {
        Writing::Insert { id, title, latest } => {
            let title = Value::from(
                ["", "a title that is longer than what takes no allocation"][usize::from(*title)],
            );
            let title = if *latest { Field::Latest(title) } else { Field::Register(title) };
            let body = Field::Register(Value::Null);
            let fields = [("title", &title), ("body", &body)];
            let fields = fields.map(|(name, field)| (name, given(field, is_lent)));
            edit.insert("notes", &record(*id), fields)
        }
        Writing::Update { id, field: 5, value } => {
            let deep =
                (0..31 + u32::from(*value) * 2).fold(Value::Null, |deep, _| vec![deep].into());
            let deep = Field::Register(deep);
            edit.update("notes", &record(*id), [("title", given(&deep, is_lent))])
        }
        Writing::Update { id, field: name, value } => {
            let (name, field) = field(*name, *value);
            edit.update("notes", &record(*id), [(name, given(&field, is_lent))])
        }
        Writing::Put { id, value } => {
            let field = Field::Register(i64::from(*value).into());
            edit.put("notes", &record(*id), &["title", "below"], &field)
        }
        Writing::Remove { id } => edit.remove("notes", &record(*id)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn what_was_written_before_is_written_in_one_go_as_for_the_first_time(
        changes in prop::collection::vec(prop::collection::vec(writing(), 1..4), 1..30),
    ) {
        let mut known = Device::<MemoryStore>::new(1);
        for change in &changes {
            let author = known.author();
            // A document that was just made has written nothing.
            let mut fresh = Document::new(known.document.store().clone());
            let documents = [(&mut known.document, true), (&mut fresh, false)];
            let [one, other] = documents.map(|(document, is_lent)| {
                document.edit(author, usize::MAX, |edit| {
                    change.iter().try_for_each(|writing| write(edit, writing, is_lent))
                })
            });
            let said = |edited: Result<Edited<()>, Refused>| {
                edited.map(|edited| (edited.delta, edited.touched, edited.undo))
            };
            prop_assert_eq!(said(one), said(other));
            prop_assert_eq!(known.document.store(), fresh.store());
            prop_assert_eq!(known.document.store().root(), fresh.store().root());
            prop_assert_eq!(known.document.store().open().sure(), fresh.store().open().sure());
        }
    }
}

#[test]
fn an_ordinary_edit_is_taken_in_one_go() {
    let [mut writer, mut reader] = [1, 2].map(Device::<MemoryStore>::new);
    let inserted = writer.write(&[("title", "t".into()), ("body", "b".into())]);
    reader.hear(&[&inserted]);
    let edited = writer.write(&[("title", "u".into())]);
    let (entry, dead) = (&edited.entries[0], edited.dead.iter().next().unwrap());
    let dead = Dot::new(dead.0, dead.1.max());
    let mut store = reader.document.store().clone();
    let mut killed = Vec::new();
    // The byte is that with which the name of an existence begins.
    let done = store.overwrite(entry, Some(dead), Some(&mut killed), 0).sure();
    assert_eq!(done, Overwrite::Done(dead));
    assert_eq!((killed.len(), killed[0].live().count()), (1, 1));
    reader.hear(&[&edited]);
    assert_eq!(&store, reader.document.store());
    let again = store.overwrite(entry, Some(dead), Some(&mut killed), 0).sure();
    assert_eq!(again, Overwrite::StepByStep);
}

/// What is shown where a new dot is within a run of which nobody has the rest.
fn within_a_run<S: Store>() -> (Option<String>, usize) {
    let (mut writer, mut reader) = (Device::<MemoryStore>::new(1), Device::<S>::new(2));
    let fields = [("title", "a".into()), ("u", "u".into()), ("v", "v".into())];
    let mut insert = writer.write(&fields);
    let mut edit = writer.write(&[("title", "b".into())]);
    for run in &mut insert.entries {
        *run = run.only(0b0011);
    }
    let first = insert.entries[0].first;
    edit.entries[0].first.counter = first.counter + 2;
    reader.hear(&[&insert, &edit]);
    (reader.text("title"), reader.document.store().entries().len())
}

#[test]
fn no_dot_is_taken_within_a_run() {
    assert_eq!(within_a_run::<MemoryStore>(), within_a_run::<PagedStore>());
}

/// Puts an entry into a store, in one go if that does so, and says whether it did.
fn put<S: Store>(store: &mut S, entry: &Entry) -> bool {
    store.begin(entry).sure() || {
        let dots = entry.live_ranges();
        store.see(entry.replica(), &dots).sure();
        store.add(entry.clone()).sure();
        false
    }
}

#[test]
fn the_first_entry_of_an_object_is_put_in_one_go_if_it_is_behind_all_others() {
    let entry = |replica: u8, counter: u64, id: u8| Entry {
        first: Dot::new(ReplicaId::from_bytes([replica; 16]), counter),
        stamp: Stamp::from_bits(7),
        label: Label::new(b"\x01notes", [&b"\0"[..], b"\x01title"]),
        id: PlaceId::new(&[id; 16]),
        slots: Slots::new([Some(&b""[..]), Some(b"\xa1t")].into_iter()),
    };
    let (mut fast, mut plain) = (MemoryStore::default(), PagedStore::default());
    // A space is not put in one go, an object that is there neither, nor what is not behind all.
    for (entry, expected) in [
        (entry(2, 5, 9), false),
        (entry(2, 7, 3), true),
        (entry(2, 20, 1), true),
        (entry(1, 4, 5), true),
        (entry(2, 30, 3), false),
        (entry(2, 9, 6), false),
        (entry(2, 31, 6), false),
        (entry(2, 40, 7), true),
        (entry(1, 4, 8), false),
    ] {
        assert_eq!(put(&mut fast, &entry), expected, "{entry:?}");
        assert!(!put(&mut plain, &entry));
        assert_eq!(fast.entries(), plain.entries());
        assert_eq!(fast.context(), Store::context(&plain));
        let space = entry.label.space();
        let ids = |store: &dyn PlaceStore<Error = Infallible>| store.ids(space, None, 99).sure();
        assert_eq!(ids(&fast), ids(&plain));
        let mut sums = Fingerprints::default();
        fast.iter().for_each(|entry| sums.add(entry));
        assert_eq!(fast.fingerprints().total(), sums.total());
    }
    // A run may reach beyond what of it was seen.
    let part = entry(3, 1, 10).only(0b01);
    fast.see(part.replica(), &part.live_ranges()).sure();
    assert!(fast.add(part).sure());
    assert!(!fast.begin(&entry(3, 2, 11)).sure());
    assert!(fast.begin(&entry(3, 3, 11)).sure());
}
