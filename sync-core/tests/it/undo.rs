//! Undo and redo, and what a deleter keeps for an edit that comes too late.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::causal::{Delta, ReplicaId};
use sync_core::document::{Author, Document, Edit, EditAgainstDelete, Edited, History, Refused};
use sync_core::error::Sure;
use sync_core::pack::Reader;
use sync_core::time::Stamp;
use sync_core::types::{Conflict, Field, RecordId, Value};

/// One replica with a history of its own.
struct Device {
    document: Document,
    history: History,
    replica: ReplicaId,
    now: u64,
}

impl Device {
    fn new(number: u8) -> Self {
        let replica = ReplicaId::from_bytes([number; 16]);
        let history = History::new(1 << 20);
        Self { document: Document::default(), history, replica, now: u64::from(number) }
    }

    fn author(&mut self) -> Author {
        self.now += 10;
        Author { replica: self.replica, stamp: Stamp::from_ms(self.now) }
    }

    fn change(&mut self, change: impl FnOnce(&mut Edit<'_>) -> Result<(), Refused>) -> Delta {
        let author = self.author();
        let Edited { delta, undo, .. } = self.document.edit(author, usize::MAX, change).unwrap();
        self.history.record(undo);
        delta
    }

    fn undo(&mut self) -> Delta {
        let author = self.author();
        self.history.undo(&mut self.document, author, usize::MAX).unwrap().unwrap().delta
    }

    fn redo(&mut self) -> Delta {
        let author = self.author();
        self.history.redo(&mut self.document, author, usize::MAX).unwrap().unwrap().delta
    }

    fn hear(&mut self, deltas: &[Delta]) -> Vec<Delta> {
        let mut said = Vec::new();
        for delta in deltas {
            for orphan in self.document.join(delta).sure().orphans {
                let author = self.author();
                let asserted = self.document.assert(author, usize::MAX, &orphan).sure();
                said.extend(asserted.into_iter().map(|edited| edited.delta));
            }
        }
        said
    }

    fn fields(&self) -> Option<BTreeMap<String, Field>> {
        Some(self.document.record("notes", &id()).sure()?.fields())
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.fields()?.get(name)? {
            Field::Register(value) => value.as_str().map(str::to_owned),
            other => panic!("{name} is {other:?}"),
        }
    }
}

fn id() -> RecordId {
    RecordId::new("n").unwrap()
}

pub(crate) fn set(members: &[&str]) -> Field {
    Field::Set(members.iter().map(|member| Value::from(*member)).collect())
}

fn note() -> Vec<(&'static str, Field)> {
    vec![
        ("title", "t".into()),
        ("body", "b".into()),
        ("tags", set(&["x", "y"])),
        ("count", Field::Counter(5)),
        ("at", Field::Latest(1i64.into())),
        ("place", Field::Map(BTreeMap::from([("city".to_owned(), "c".into())]))),
    ]
}

pub(crate) fn insert(edit: &mut Edit<'_>) -> Result<(), Refused> {
    let note = note();
    edit.insert("notes", &id(), note.iter().map(|(name, field)| (*name, field)))
}

pub(crate) fn write(
    name: &str,
    field: impl Into<Field>,
) -> impl FnOnce(&mut Edit<'_>) -> Result<(), Refused> {
    let (name, field) = (name.to_owned(), field.into());
    move |edit| edit.update("notes", &id(), [(name, &field)])
}

#[test]
fn every_kind_of_change_can_be_undone_and_redone() {
    let mut a = Device::new(1);
    a.change(insert);
    let before = a.fields();
    type Step = Box<dyn Fn(&mut Edit<'_>) -> Result<(), Refused>>;
    let steps: Vec<(&str, Step)> = vec![
        ("a register", Box::new(|edit| write("title", "other")(edit))),
        ("a new register", Box::new(|edit| write("new", "n")(edit))),
        ("a set", Box::new(|edit| write("tags", set(&["y", "z"]))(edit))),
        ("a counter", Box::new(|edit| edit.count("notes", &id(), &["count"], -7))),
        ("a latest", Box::new(|edit| write("at", Field::Latest(2i64.into()))(edit))),
        ("a map", Box::new(|edit| edit.put("notes", &id(), &["place", "zip"], &"z".into()))),
        ("an unset", Box::new(|edit| edit.unset("notes", &id(), &["place"]))),
        ("a removal", Box::new(|edit| edit.remove("notes", &id()))),
        (
            "several",
            Box::new(|edit| {
                write("title", "1")(edit)?;
                write("title", "2")(edit)?;
                edit.remove("notes", &id())?;
                insert(edit)
            }),
        ),
    ];
    for (what, step) in steps {
        a.change(|edit| step(edit));
        let after = a.fields();
        a.undo();
        assert_eq!(a.fields(), before, "{what}, undone");
        a.redo();
        assert_eq!(a.fields(), after, "{what}, redone");
        a.undo();
        assert_eq!(a.fields(), before, "{what}, undone again");
        assert!(a.document.conflicts().sure().is_empty(), "{what}");
    }
    a.undo();
    assert_eq!(a.fields(), None, "the insert is undone");
    assert!(a.document.store().live().is_empty(), "and leaves nothing");
    a.redo();
    assert_eq!(a.fields(), before);
    assert_eq!(a.history.depth().0, 1);
}

#[test]
fn an_undo_reaches_others_and_leaves_what_they_wrote_since() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.change(insert);
    let mine = a.change(|edit| {
        write("title", "mine")(edit)?;
        write("body", "mine")(edit)
    });
    b.hear(&[first, mine]);
    let theirs = b.change(write("title", "theirs"));
    a.hear(&[theirs]);
    let undone = a.undo();
    b.hear(&[undone]);
    for device in [&a, &b] {
        assert_eq!(device.text("title").as_deref(), Some("theirs"));
        assert_eq!(device.text("body").as_deref(), Some("b"));
        assert!(device.document.conflicts().sure().is_empty());
    }
    assert_eq!(a.document.store(), b.document.store());
}

#[test]
fn undoing_a_count_leaves_what_others_counted() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.change(insert);
    b.hear(&[first]);
    let up = a.change(|edit| edit.count("notes", &id(), &["count"], 10));
    let other = b.change(|edit| edit.count("notes", &id(), &["count"], 3));
    a.hear(&[other]);
    assert_eq!(a.fields().unwrap()["count"], Field::Counter(18));
    let undone = a.undo();
    b.hear(&[up, undone]);
    for device in [&a, &b] {
        assert_eq!(device.fields().unwrap()["count"], Field::Counter(8));
    }
}

#[test]
fn a_record_that_somebody_removed_since_stays_removed() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.change(insert);
    let edit = a.change(write("title", "edited"));
    b.hear(&[first, edit]);
    let removed = b.change(|edit| edit.remove("notes", &id()));
    a.hear(&[removed]);
    assert!(a.undo().is_empty());
    assert_eq!(a.fields(), None);
}

#[test]
fn a_failed_change_leaves_nothing_to_undo() {
    let mut a = Device::new(1);
    a.change(insert);
    let (before, author) = (a.document.store().clone(), a.author());
    let refused = a.document.edit(author, 100, |edit| {
        edit.remove("notes", &id())?;
        insert(edit)
    });
    assert!(refused.is_err());
    assert_eq!(*a.document.store(), before);
    a.change(write("title", "x"));
    a.undo();
    assert_eq!(a.text("title").as_deref(), Some("t"));
}

#[test]
fn histories_are_bounded_and_stored() {
    let mut history = History::new(2_000);
    let mut document = Document::default();
    let replica = ReplicaId::from_bytes([1; 16]);
    for round in 0..100u64 {
        let author = Author { replica, stamp: Stamp::from_ms(round) };
        let field = Field::from("x".repeat(100));
        let record = RecordId::new(format!("r{round}")).unwrap();
        let edited = document.edit(author, usize::MAX, |edit| {
            edit.insert("notes", &record, [("body", &field)])?;
            edit.remove("notes", &record)?;
            edit.insert("notes", &record, [("body", &field)])
        });
        let edited = edited.unwrap();
        let mut bytes = Vec::new();
        edited.undo.encode_into(&mut bytes);
        let read = sync_core::document::Undo::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, edited.undo);
        history.record(edited.undo);
    }
    let depth = history.depth().0;
    assert!((5..60).contains(&depth), "{depth}");
    history.clear();
    assert_eq!(history.depth(), (0, 0));
}

#[test]
fn the_bytes_of_a_history_are_limited_and_the_oldest_go() {
    let mut document = Document::default();
    let replica = ReplicaId::from_bytes([1; 16]);
    let mut insert = |number: u64| {
        let author = Author { replica, stamp: Stamp::from_ms(number) };
        let record = RecordId::new(format!("r{number}")).unwrap();
        let field = Field::from("t");
        let inserted =
            document.edit(author, usize::MAX, |edit| edit.insert("n", &record, [("f", &field)]));
        inserted.unwrap().undo
    };
    let undos = [insert(1), insert(2)];
    let bytes: usize = undos.iter().map(sync_core::document::Undo::byte_count).sum();
    for (limit, depth) in [(bytes - 1, 1), (bytes, 2), (bytes + 1, 2)] {
        let mut history = History::new(limit);
        undos.iter().cloned().for_each(|undo| history.record(undo));
        assert_eq!(history.depth(), (depth, 0), "{limit} of {bytes}");
        // The later one is what is left.
        let author = Author { replica, stamp: Stamp::from_ms(9) };
        let undone = history.undo(&mut document.clone(), author, usize::MAX).unwrap().unwrap();
        assert!(undone.delta.dead.contains(sync_core::causal::Dot::new(replica, 3)));
    }
}

#[test]
fn who_deleted_a_record_asserts_it_when_the_editor_is_gone() {
    for policy in [EditAgainstDelete::KeepEdits, EditAgainstDelete::DeleteWins] {
        let (mut a, mut b, mut c) = (Device::new(1), Device::new(2), Device::new(3));
        b.document.set_policy(policy);
        let first = a.change(insert);
        b.hear(std::slice::from_ref(&first));
        let removed = b.change(|edit| edit.remove("notes", &id()));
        let edited = a.change(write("title", "edited"));
        // A's device is lost once its edit was sent, so B is the only one left that held the record.
        drop(a);
        let asserted = b.hear(std::slice::from_ref(&edited));
        c.hear(&[first, removed, edited]);
        c.hear(&asserted);
        for device in [&b, &c] {
            let conflicts = device.document.conflicts().sure();
            let conflicts: Vec<_> = conflicts.into_iter().map(|(_, conflict)| conflict).collect();
            match policy {
                EditAgainstDelete::KeepEdits => {
                    assert_eq!(device.text("title").as_deref(), Some("edited"));
                    assert_eq!(device.text("body").as_deref(), Some("b"));
                    assert_eq!(device.fields().unwrap()["count"], Field::Counter(5));
                    let kept =
                        matches!(conflicts[..], [Conflict::EditKept { removal: Some(_), .. }]);
                    assert!(kept, "{conflicts:?}");
                }
                EditAgainstDelete::DeleteWins => {
                    assert_eq!(device.fields(), None);
                    assert!(matches!(conflicts[..], [Conflict::Partial { .. }]), "{conflicts:?}");
                }
            }
        }
        assert_eq!(b.document.store(), c.document.store());
    }
}

#[test]
fn an_undo_copy_of_an_earlier_record_is_not_asserted_for_a_later_one() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.change(insert);
    let removed = a.change(|edit| edit.remove("notes", &id()));
    let again = a.change(|edit| edit.insert("notes", &id(), [("title", &Field::from("new"))]));
    b.hear(&[first, removed, again]);
    let gone = b.change(|edit| edit.remove("notes", &id()));
    let edited = a.change(write("title", "edited"));
    let by_a = a.hear(&[gone]);
    let by_b = b.hear(&[edited]);
    a.hear(&by_b);
    b.hear(&by_a);
    for device in [&a, &b] {
        assert_eq!(device.text("title").as_deref(), Some("edited"));
        assert_eq!(device.text("body"), None, "the body was of the record before");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever was done alone, undoing all of it gives the state before, and redoing all of it the
    /// state after.
    #[test]
    fn undoing_everything_gives_what_was_before(steps in proptest::collection::vec((0u8..3, 0u8..6, any::<u8>()), 1..24)) {
        let mut a = Device::new(1);
        let record = |number: u8| RecordId::new(format!("r{number}")).unwrap();
        let shown = |device: &Device| -> Vec<_> {
            let records = device.document.records("notes").sure().into_iter();
            records.map(|(id, record)| (id, record.fields())).collect()
        };
        let mut states = vec![shown(&a)];
        for (number, what, value) in steps {
            let id = record(number);
            let text = Field::from(i64::from(value));
            let tags = Field::Set((0..4).filter(|bit| value >> bit & 1 == 1).map(Value::Int).collect());
            let author = a.author();
            let edited = a.document.edit(author, usize::MAX, |edit| match what {
                0 => edit.insert("notes", &id, [("f", &text), ("tags", &tags)]),
                1 => edit.remove("notes", &id),
                2 => edit.update("notes", &id, [("tags", &tags)]),
                3 => edit.count("notes", &id, &["n"], i64::from(value) - 128),
                4 => edit.put("notes", &id, &["m", "x"], &text),
                _ => edit.update("notes", &id, [("f", &text)]),
            });
            if let Ok(edited) = edited && !edited.undo.is_empty() {
                a.history.record(edited.undo);
                states.push(shown(&a));
            }
        }
        for state in states.iter().rev().skip(1) {
            a.undo();
            prop_assert_eq!(&without_zero(shown(&a)), &without_zero(state.clone()));
        }
        for state in states.iter().skip(1) {
            a.redo();
            prop_assert_eq!(&without_zero(shown(&a)), &without_zero(state.clone()));
        }
    }
}

/// A counter that was begun and undone stands at zero, which is what one that never was stands at.
fn without_zero(
    mut records: Vec<(RecordId, BTreeMap<String, Field>)>,
) -> Vec<(RecordId, BTreeMap<String, Field>)> {
    for (_, fields) in &mut records {
        fields.retain(|_, field| *field != Field::Counter(0));
    }
    records
}
