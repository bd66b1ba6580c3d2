//! Documents of several replicas that exchange deltas by hand.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{Delta, ReplicaId};
use sync_core::document::{Author, Document, Edit, Refused};
use sync_core::error::{Misuse, Sure};
use sync_core::time::Stamp;
use sync_core::types::{Conflict, Field, Place, RecordId, Value};
use sync_core::wire::DELTA_BYTES_MAX;

use crate::over_both_stores;
use crate::stores::Store;

#[derive(Clone)]
pub(crate) struct Device<S> {
    pub(crate) document: Document<S>,
    pub(crate) replica: ReplicaId,
    pub(crate) now: u64,
}

impl<S: Store> Device<S> {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            document: Document::new(S::default()),
            replica: ReplicaId::from_bytes([number; 16]),
            now: 1_000,
        }
    }

    pub(crate) fn author(&mut self) -> Author {
        self.now += 1;
        Author { replica: self.replica, stamp: Stamp::from_ms(self.now) }
    }

    pub(crate) fn change(
        &mut self,
        change: impl FnOnce(&mut Edit<'_, S>) -> Result<(), Refused>,
    ) -> Delta {
        let author = self.author();
        self.document.edit(author, DELTA_BYTES_MAX, change).unwrap().delta
    }

    pub(crate) fn write(&mut self, fields: &[(&str, Field)]) -> Delta {
        let fields: BTreeMap<_, _> =
            fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect();
        self.change(|edit| match edit.document().record("notes", &id()).sure() {
            Some(_) => edit.update("notes", &id(), &fields),
            None => edit.insert("notes", &id(), &fields),
        })
    }

    pub(crate) fn remove(&mut self) -> Delta {
        self.change(|edit| edit.remove("notes", &id()))
    }

    /// Joins deltas and gives what this device asserts in return.
    pub(crate) fn hear(&mut self, deltas: &[&Delta]) -> Vec<Delta> {
        let mut asserted = Vec::new();
        for delta in deltas {
            for orphan in self.document.join(delta).sure().orphans {
                let author = self.author();
                let edits = self.document.assert(author, usize::MAX, &orphan).sure().into_iter();
                asserted.extend(edits.map(|edited| edited.delta));
            }
        }
        asserted
    }

    pub(crate) fn text(&self, field: &str) -> Option<String> {
        match self.document.record("notes", &id()).sure()?.fields().get(field)? {
            Field::Register(Value::String(text)) => Some(text.clone()),
            other => panic!("{field} is {other:?}"),
        }
    }

    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        self.document.conflicts().sure().into_iter().map(|(_, conflict)| conflict).collect()
    }
}

pub(crate) fn id() -> RecordId {
    RecordId::new("n1").unwrap()
}

pub(crate) fn tags(tags: &[&str]) -> Field {
    Field::Set(tags.iter().map(|tag| Value::from(*tag)).collect())
}

fn note() -> [(&'static str, Field); 3] {
    [("title", "t".into()), ("body", "b".into()), ("tags", tags(&["x", "y"]))]
}

fn fields_merge_on_their_own<S: Store>() {
    let (mut a, mut b) = (Device::<S>::new(1), Device::<S>::new(2));
    let first = a.write(&note());
    b.hear(&[&first]);
    let (left, right) = (a.write(&[("title", "A".into())]), b.write(&[("body", "B".into())]));
    a.hear(&[&right]);
    b.hear(&[&left]);
    for device in [&a, &b] {
        assert_eq!(
            (device.text("title").unwrap(), device.text("body").unwrap()),
            ("A".into(), "B".into())
        );
        assert_eq!(device.conflicts(), []);
    }
    assert_eq!(a.document.store(), b.document.store());
}

fn an_add_wins_over_a_concurrent_remove_of_a_member<S: Store>() {
    let (mut a, mut b) = (Device::<S>::new(1), Device::<S>::new(2));
    let first = a.write(&note());
    b.hear(&[&first]);
    let gone = a.write(&[("tags", tags(&["y"]))]);
    let (off, on) =
        (b.write(&[("tags", tags(&["y"]))]), b.write(&[("tags", tags(&["x", "y", "z"]))]));
    a.hear(&[&off, &on]);
    b.hear(&[&gone]);
    for device in [&a, &b] {
        let record = device.document.record("notes", &id()).sure().unwrap();
        assert_eq!(record.fields()["tags"], tags(&["x", "y", "z"]));
    }
}

fn concurrent_writes_are_all_kept_and_choosing_one_clears_it<S: Store>() {
    let (mut a, mut b, mut c) = (Device::<S>::new(1), Device::<S>::new(2), Device::<S>::new(3));
    let first = a.write(&note());
    b.hear(&[&first]);
    c.hear(&[&first]);
    b.now += 10;
    let left = a.write(&[("title", "A".into()), ("body", "same".into())]);
    let right = b.write(&[("title", "B".into()), ("body", "same".into())]);
    for device in [&mut a, &mut b, &mut c] {
        device.hear(&[&left, &right]);
        assert_eq!(device.text("title").unwrap(), "B", "the later stamp is shown");
        let [Conflict::Field { name, values }] = &device.conflicts()[..] else {
            panic!("one conflict: equal bodies are none; {:?}", device.conflicts())
        };
        let values: Vec<_> = values.iter().map(|written| written.value.as_str().unwrap()).collect();
        assert_eq!((name.as_str(), values), ("title", vec!["B", "A"]));
    }
    let versions = c.document.record("notes", &id()).sure().unwrap().versions();
    assert_eq!(
        versions.iter().map(|version| version.author).collect::<Vec<_>>(),
        [b.replica, a.replica]
    );
    let kept = c.change(|edit| edit.keep("notes", &id(), ReplicaId::from_bytes([1; 16])));
    for device in [&mut a, &mut b, &mut c] {
        device.hear(&[&kept]);
        assert_eq!(device.text("title").unwrap(), "A");
        assert_eq!(device.conflicts(), []);
    }
    let again = c.author();
    let misuse =
        c.document.edit(again, DELTA_BYTES_MAX, |edit| edit.keep("notes", &id(), a.replica));
    assert!(matches!(misuse, Err(Refused::Misuse(Misuse::NoSuchVersion { .. }))));
}

fn an_edit_against_a_delete_keeps_the_whole_record_everywhere<S: Store>() {
    let mut devices = [1, 2, 3, 4].map(Device::<S>::new);
    let first = devices[0].write(&note());
    devices[1..].iter_mut().for_each(|device| assert!(device.hear(&[&first]).is_empty()));
    let edit = devices[0].write(&[("title", "edited".into())]);
    let delete = devices[1].remove();
    // Each in an order of its own; whoever holds the whole record asserts it.
    let mut asserted = devices[0].hear(&[&delete]);
    assert_eq!(asserted.len(), 1);
    asserted.extend(devices[1].hear(&[&edit]));
    asserted.extend(devices[2].hear(&[&edit, &delete]));
    asserted.extend(devices[3].hear(&[&delete, &edit]));
    assert_eq!(asserted.len(), 3, "those who held it whole, and who deleted it");
    for device in &mut devices {
        let again = device.hear(&asserted.iter().collect::<Vec<_>>());
        assert!(again.is_empty(), "no endless exchange");
        assert_eq!(device.text("title").unwrap(), "edited");
        assert_eq!(device.text("body").unwrap(), "b");
        let record = device.document.record("notes", &id()).sure().unwrap();
        assert_eq!(record.fields()["tags"], tags(&["x", "y"]));
        let conflicts = device.conflicts();
        let removal = delete.notes[0].dot;
        assert!(
            matches!(conflicts[..], [Conflict::EditKept { removal: Some(dot), .. }] if dot == removal),
            "{conflicts:?}"
        );
    }
    assert!(devices.iter().all(|device| device.document.store() == devices[0].document.store()));

    let settled = devices[2].change(|edit| edit.adopt("notes", &id()));
    for device in &mut devices {
        device.hear(&[&settled]);
        assert_eq!(device.conflicts(), []);
        assert_eq!(device.text("body").unwrap(), "b");
    }
}

fn copies_alone_do_not_undo_a_delete<S: Store>() {
    let (mut a, mut b, mut c) = (Device::<S>::new(1), Device::<S>::new(2), Device::<S>::new(3));
    let first = a.write(&note());
    b.hear(&[&first]);
    c.hear(&[&first]);
    let edit = a.write(&[("title", "edited".into())]);
    let delete = b.remove();
    let by_a = a.hear(&[&delete]);
    let by_c = c.hear(&[&edit, &delete]);
    // A deletes again, knowing the edit and its own copies, and not those of C.
    let last = a.remove();
    for device in [&mut a, &mut b, &mut c] {
        let all: Vec<_> = [&edit, &delete, &last].into_iter().chain(&by_a).chain(&by_c).collect();
        device.hear(&all);
        assert!(device.document.record("notes", &id()).sure().is_none(), "deleted means deleted");
        assert_eq!(device.conflicts(), []);
    }
    assert!(
        !a.document.store().live().is_empty(),
        "the copies of C are there, and count for nothing"
    );
    let again = a.write(&[("title", "new".into())]);
    b.hear(&[&again]);
    assert_eq!(b.text("title").unwrap(), "new");
    assert_eq!(b.text("body"), None, "a new record does not take the hidden copies in");
}

fn a_copy_never_clashes_with_what_it_copies_nor_beats_an_edit<S: Store>() {
    let mut devices = [1, 2, 3].map(Device::<S>::new);
    let first = devices[0].write(&note());
    devices[1..].iter_mut().for_each(|device| assert!(device.hear(&[&first]).is_empty()));
    let title = devices[0].write(&[("title", "edited".into())]);
    let body = devices[2].write(&[("body", "other".into())]);
    let delete = devices[1].remove();
    devices[0].now += 1_000;
    let copies = devices[0].hear(&[&delete]);
    for device in &mut devices {
        device.hear(&[&title, &body, &delete]);
        device.hear(&copies.iter().collect::<Vec<_>>());
    }
    for device in &devices {
        assert_eq!(device.text("title").unwrap(), "edited");
        assert_eq!(device.text("body").unwrap(), "other", "the copy of `b` is older than the edit");
    }
}

fn an_edit_that_nobody_can_complete_stands_among_the_conflicts<S: Store>() {
    let (mut a, mut b, mut c) = (Device::<S>::new(1), Device::<S>::new(2), Device::<S>::new(3));
    let first = a.write(&note());
    b.hear(&[&first]);
    let edit = a.write(&[("title", "edited".into())]);
    let delete = b.remove();
    c.hear(&[&first, &delete, &edit]);
    assert!(c.document.record("notes", &id()).sure().is_none());
    assert!(matches!(c.conflicts()[..], [Conflict::Partial { .. }]));
    let mut other = Device { document: c.document.clone(), ..Device::<S>::new(4) };
    c.change(|edit| edit.restore("notes", &id()));
    assert_eq!((c.text("title"), c.text("body")), (Some("edited".into()), None));
    assert_eq!(c.conflicts(), []);
    other.change(|edit| edit.dismiss("notes", &id()));
    assert_eq!(other.conflicts(), []);
    assert!(other.document.store().live().is_empty());
}

fn what_was_removed_leaves_no_bytes<S: Store>() {
    let mut a = Device::<S>::new(1);
    for round in 0..1_000 {
        let id = RecordId::new(format!("r{round}")).unwrap();
        let fields = BTreeMap::from([("body".to_owned(), Field::from("marker"))]);
        a.change(|edit| edit.insert("notes", &id, &fields));
        a.change(|edit| {
            edit.update("notes", &id, &BTreeMap::from([("body".to_owned(), Field::from("x"))]))
        });
        a.change(|edit| edit.remove("notes", &id));
    }
    assert_eq!(a.document.store().entries().len(), 0);
    assert_eq!(a.document.store().context().range_count(), 1);
}

fn sets_of_a_document<S: Store>() {
    let (mut a, mut b) = (Device::<S>::new(1), Device::<S>::new(2));
    let first = a.change(|edit| edit.set_add("tags", &"x".into()));
    b.hear(&[&first]);
    let gone = a.change(|edit| edit.set_remove("tags", &"x".into()));
    let kept = b.change(|edit| {
        edit.set_remove("tags", &"x".into())?;
        edit.set_add("tags", &"x".into())
    });
    a.hear(&[&kept]);
    b.hear(&[&gone]);
    for device in [&a, &b] {
        assert_eq!(device.document.set("tags").sure(), BTreeSet::from(["x".into()]));
    }
}

fn removing_the_last_edit_of_a_kept_record_keeps_the_record<S: Store>() {
    let (mut a, mut b) = (Device::<S>::new(1), Device::<S>::new(2));
    let first = a.write(&note());
    b.hear(&[&first]);
    let edit = a.write(&[("tags", tags(&["x", "y", "z"]))]);
    let delete = b.remove();
    let copies = a.hear(&[&delete]);
    let less = a.write(&[("tags", tags(&["x", "y"]))]);
    b.hear(&[&edit]);
    b.hear(&copies.iter().collect::<Vec<_>>());
    b.hear(&[&less]);
    for device in [&a, &b] {
        assert_eq!(device.text("title").unwrap(), "t");
        let record = device.document.record("notes", &id()).sure().unwrap();
        assert_eq!(record.fields()["tags"], tags(&["x", "y"]));
    }
}

fn misuse_is_named_and_changes_nothing<S: Store>() {
    let mut a = Device::<S>::new(1);
    let author = a.author();
    let large = BTreeMap::from([("f".to_owned(), Field::from("x".repeat(DELTA_BYTES_MAX)))]);
    let refused =
        a.document.edit(author, DELTA_BYTES_MAX, |edit| edit.insert("notes", &id(), &large));
    assert!(
        matches!(refused, Err(Refused::Misuse(Misuse::TooLarge { what: "the change", .. }))),
        "{refused:?}"
    );
    let refused = a.document.edit(author, DELTA_BYTES_MAX, |edit| edit.remove("notes", &id()));
    assert!(matches!(refused, Err(Refused::Misuse(Misuse::NoSuchRecord { .. }))));
    let twice = [("f", &Field::from(1i64)), ("g", &Field::from(1i64)), ("f", &Field::from(2i64))];
    let refused = a.document.edit(author, DELTA_BYTES_MAX, |edit| edit.insert("n", &id(), twice));
    assert!(matches!(refused, Err(Refused::Misuse(Misuse::Twice { name })) if name == "f"));
    let none: BTreeMap<String, Field> = BTreeMap::new();
    let refused = a.document.edit(author, DELTA_BYTES_MAX, |edit| edit.insert("", &id(), &none));
    assert!(matches!(refused, Err(Refused::Misuse(Misuse::BadName { .. }))));
    assert!(a.document.store().context().is_empty());
    let place = Place::Record { collection: "notes".into(), id: id() };
    assert_eq!(a.document.elements(&place).sure().claims().count(), 0);
}

over_both_stores!(
    fields_merge_on_their_own,
    an_add_wins_over_a_concurrent_remove_of_a_member,
    concurrent_writes_are_all_kept_and_choosing_one_clears_it,
    an_edit_against_a_delete_keeps_the_whole_record_everywhere,
    copies_alone_do_not_undo_a_delete,
    a_copy_never_clashes_with_what_it_copies_nor_beats_an_edit,
    an_edit_that_nobody_can_complete_stands_among_the_conflicts,
    what_was_removed_leaves_no_bytes,
    sets_of_a_document,
    removing_the_last_edit_of_a_kept_record_keeps_the_record,
    misuse_is_named_and_changes_nothing,
);

#[test]
fn the_names_and_bytes_of_a_path_are_limited() {
    let (names_max, bytes_max) = (16, 512);
    let many = |count: usize| vec!["n".to_owned(); count];
    // Each name counts for a byte more than it has.
    let long = |bytes: usize| {
        let quarter = |bytes: usize| "n".repeat(bytes - 1);
        [vec![quarter(128); 3], vec![quarter(bytes - 3 * 128)]].concat()
    };
    let cases = [
        (many(names_max - 1), None),
        (many(names_max), None),
        (many(names_max + 1), Some((names_max as u64 + 1, names_max as u64))),
        (long(bytes_max - 1), None),
        (long(bytes_max), None),
        (long(bytes_max + 1), Some((bytes_max as u64 + 1, bytes_max as u64))),
    ];
    for (path, refused) in cases {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let field = Field::from("value");
        let map = |path: &[&str]| {
            path.iter().rev().fold(field.clone(), |field, name| {
                Field::Map([((*name).to_owned(), field)].into_iter().collect())
            })
        };
        let mut device = Device::<sync_core::causal::MemoryStore>::new(1);
        device.write(&[("other", "o".into())]);
        let author = device.author();
        let said = [
            device
                .document
                .edit(author, usize::MAX, |edit| edit.put("notes", &id(), &path, &field)),
            device.document.edit(author, usize::MAX, |edit| {
                edit.update("notes", &id(), [(path[0], &map(&path[1..]))])
            }),
        ];
        for said in said {
            let found = match said {
                Err(Refused::Misuse(Misuse::TooLarge { found, limit, .. })) => Some((found, limit)),
                other => {
                    other.unwrap();
                    None
                }
            };
            assert_eq!(found, refused, "{path:?}");
        }
    }
}
