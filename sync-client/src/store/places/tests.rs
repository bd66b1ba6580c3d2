//! Documents over SQLite against documents in memory: the same changes, the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sync_core::causal::{Delta, DotStore, EntryView, MemoryStore, PlaceStore, ReplicaId};
use sync_core::document::{Author, Document, Edit, Refused};
use sync_core::time::Stamp;
use sync_core::types::{Conflict, Field, Place, Record, RecordId, Value};
use sync_faults::Random;

use super::super::{DocumentStore, Store, open_file};
use super::PAGE_ROWS_MAX;

/// One step of a change, made before, so that it can be done to two documents.
#[derive(Debug, Clone)]
enum Action {
    Insert(RecordId, Field),
    Update(RecordId, &'static str, Field),
    Unset(RecordId, &'static str),
    Count(RecordId, i64),
    Remove(RecordId),
    Adopt(RecordId),
    Restore(RecordId),
    SetAdd(Value),
    SetRemove(Value),
    SetValue(Value),
}

fn field(random: &mut Random) -> Field {
    let value = Value::Int(random.below(4) as i64);
    match random.below(5) {
        0 => Field::Latest(value),
        1 => Field::Set((0..random.below(4)).map(|n| Value::Int(n as i64)).collect()),
        2 => Field::Map(BTreeMap::from([("inner".to_owned(), value.into())])),
        _ => value.into(),
    }
}

fn action(random: &mut Random) -> Action {
    let id = RecordId::new(["one", "two", "three"][random.index(3)]).unwrap();
    let name = ["a", "b"][random.index(2)];
    match random.below(12) {
        0..3 => Action::Insert(id, field(random)),
        3..6 => Action::Update(id, name, field(random)),
        6 => Action::Count(id, random.below(9) as i64 - 4),
        7 => Action::Remove(id),
        8 if random.below(2) == 0 => Action::Unset(id, name),
        8 => Action::Adopt(id),
        9 => Action::Restore(id),
        10 if random.below(3) == 0 => Action::SetRemove(Value::Int(random.below(3) as i64)),
        10 => Action::SetAdd(Value::Int(random.below(3) as i64)),
        _ => Action::SetValue(Value::Int(random.below(3) as i64)),
    }
}

fn act<S: PlaceStore>(edit: &mut Edit<'_, S>, actions: &[Action]) -> Result<(), Refused<S::Error>> {
    for action in actions {
        match action {
            Action::Insert(id, field) => edit.insert("records", id, [("a", field)])?,
            Action::Update(id, name, field) => edit.update("records", id, [(name, field)])?,
            Action::Unset(id, name) => edit.unset("records", id, &[name])?,
            Action::Count(id, amount) => edit.count("records", id, &["n"], *amount)?,
            Action::Remove(id) => edit.remove("records", id)?,
            Action::Adopt(id) => edit.adopt("records", id)?,
            Action::Restore(id) => edit.restore("records", id)?,
            Action::SetAdd(value) => edit.set_add("set", value)?,
            Action::SetRemove(value) => edit.set_remove("set", value)?,
            Action::SetValue(value) => edit.set_value("value", &value.clone().into())?,
        }
    }
    Ok(())
}

type Answers = (
    Vec<String>,
    Vec<(RecordId, BTreeMap<String, Field>)>,
    Vec<Option<RecordId>>,
    BTreeSet<Value>,
    Option<Value>,
    Vec<(Place, Conflict)>,
);

/// Everything that a document can be asked. Elements come in no particular order.
fn answers<S: PlaceStore>(document: &Document<S>) -> Result<Answers, S::Error> {
    let sorted = |(place, conflict)| match conflict {
        Conflict::Partial { mut edits } => {
            edits.sort();
            (place, Conflict::Partial { edits })
        }
        Conflict::Field { .. } | Conflict::EditKept { .. } => (place, conflict),
    };
    let fields = |(id, record): (RecordId, Record)| (id, record.fields());
    let (mut records, mut nexts) = (Vec::new(), vec![None]);
    while let Some(after) = nexts.last() {
        let page = document.page("records", after.as_ref(), 2)?;
        records.extend(page.records.into_iter().map(fields));
        if page.next.is_none() {
            break;
        }
        nexts.push(page.next);
    }
    Ok((
        document.collections()?,
        records,
        nexts,
        document.set("set")?,
        document.value("value")?,
        document.conflicts()?.into_iter().map(sorted).collect(),
    ))
}

/// A writer twice: over a database and in memory.
struct Twins {
    replica: ReplicaId,
    sqlite: Document<DocumentStore>,
    memory: Document<MemoryStore>,
}

impl Twins {
    fn change(&mut self, ms: u64, actions: &[Action]) -> Option<Delta> {
        let author = Author { replica: self.replica, stamp: Stamp::from_ms(ms) };
        let stored = self.sqlite.edit(author, 100_000, |edit| act(edit, actions));
        let kept = self.memory.edit(author, 100_000, |edit| act(edit, actions));
        match (stored, kept) {
            (Ok(stored), Ok(kept)) => {
                assert_eq!(stored.delta, kept.delta);
                assert_eq!(stored.touched.places(), kept.touched.places());
                Some(kept.delta)
            }
            (Err(Refused::Misuse(stored)), Err(Refused::Misuse(kept))) => {
                assert_eq!(stored, kept);
                None
            }
            (stored, kept) => panic!("{stored:?}, but {kept:?}"),
        }
    }

    fn join(&mut self, delta: &Delta) {
        let stored = self.sqlite.join(delta).unwrap();
        let Ok(kept) = self.memory.join(delta);
        assert_eq!(stored.is_new, kept.is_new);
        assert_eq!(stored.touched.places(), kept.touched.places());
        assert_eq!(stored.orphans.len(), kept.orphans.len());
    }

    fn check(&self) {
        assert_eq!(in_memory(self.sqlite.store()), *self.memory.store());
        let Ok(expected) = answers(&self.memory);
        assert_eq!(answers(&self.sqlite).unwrap(), expected);
        let open = self.sqlite.store().open().unwrap();
        let Ok(expected) = self.memory.store().open();
        assert_eq!(open, expected);
    }
}

/// All that a store holds.
fn in_memory(store: &DocumentStore) -> MemoryStore {
    let mut entries = Vec::new();
    for (replica, ranges) in store.context().iter() {
        entries.extend(store.overlapping(replica, 1, ranges.max()).unwrap());
    }
    MemoryStore::load(store.context().clone(), entries)
}

#[test]
fn a_document_over_sqlite_is_the_document_in_memory() {
    let mut clashes = 0;
    for seed in 0..30 {
        let mut random = Random(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut file = Store::new(open_file(folder.path()).unwrap()).unwrap();
        let mut twins = [1, 2].map(|number: u8| Twins {
            replica: ReplicaId::from_bytes([number; 16]),
            sqlite: Document::new(file.load(&number.to_string()).unwrap().saved.store),
            memory: Document::default(),
        });
        let other = file.load("other").unwrap().saved.store;
        // What each has not heard of the other.
        let mut unheard = [Vec::new(), Vec::new()];
        for step in 0..60 {
            let who = random.index(2);
            if random.below(3) == 0 {
                for delta in std::mem::take(&mut unheard[who]) {
                    twins[who].join(&delta);
                }
            } else {
                let actions: Vec<_> = (0..=random.below(2)).map(|_| action(&mut random)).collect();
                unheard[1 - who].extend(twins[who].change(step, &actions));
            }
            twins[who].check();
            let Ok(open) = twins[who].memory.conflicts();
            clashes += open.len();
        }
        assert_eq!(in_memory(&other), MemoryStore::default());
        // The same again once it is committed and opened anew.
        file.commit().unwrap();
        drop(file);
        let mut file = Store::new(open_file(folder.path()).unwrap()).unwrap();
        for (number, twin) in (1..).zip(&mut twins) {
            let loaded = file.load(&format!("{number}")).unwrap();
            twin.sqlite = Document::new(loaded.saved.store);
            twin.check();
        }
    }
    assert!(clashes > 0, "nothing clashed");
}

#[test]
fn records_that_come_in_great_number_are_told_from_those_that_were_there() {
    let folder = tempfile::tempdir().unwrap();
    let open = |folder: &Path| Store::new(open_file(folder).unwrap()).unwrap();
    let mut file = open(folder.path());
    let mut random = Random(1);
    // Two documents of the same ids, of which each has others.
    let mut twins = [1, 2].map(|number: u8| Twins {
        replica: ReplicaId::from_bytes([number; 16]),
        sqlite: Document::new(file.load(&number.to_string()).unwrap().saved.store),
        memory: Document::default(),
    });
    for step in 0..60 {
        for twin in &mut twins {
            let mut actions = Vec::new();
            for _ in 0..45 {
                let id = RecordId::new(format!("{}", random.below(2_000))).unwrap();
                let value = Value::Int(random.below(9) as i64);
                actions.push(match random.below(8) {
                    0 if random.below(9) == 0 => Action::Remove(id),
                    _ => Action::Insert(id, value.into()),
                });
            }
            // A record that is not there cannot be removed: then nothing of the change is done.
            let _ = twin.change(step, &actions);
            if step % 20 == 19 {
                twin.check();
            }
        }
        if step % 7 == 0 {
            file.commit().unwrap();
        }
        if step == 25 {
            assert!(file.file().has_sieve(1) && file.file().has_sieve(2));
            file.commit().unwrap();
            drop(file);
            file = open(folder.path());
            for (number, twin) in (1..).zip(&mut twins) {
                let loaded = file.load(&format!("{number}")).unwrap();
                twin.sqlite = Document::new(loaded.saved.store);
            }
        }
    }
    assert!(file.file().has_sieve(1) && file.file().has_sieve(2));
    twins.iter().for_each(Twins::check);
}

#[test]
fn objects_of_more_rows_than_a_page_are_shown_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = Store::new(open_file(folder.path()).unwrap()).unwrap();
    let mut document = Document::new(file.load("one").unwrap().saved.store);
    let author = |number| Author {
        replica: ReplicaId::from_bytes([number; 16]),
        stamp: Stamp::from_ms(number.into()),
    };
    let id = |number: usize| RecordId::new(format!("{number:04}")).unwrap();
    let value = Field::from(Value::Int(1));
    let mut write = |of: u8, number: usize, name: &str| {
        let edited = document.edit(author(of), 100_000, |edit| match name {
            "a" => edit.insert("records", &id(number), [(name, &value)]),
            _ => edit.update("records", &id(number), [(name, &value)]),
        });
        edited.unwrap();
    };
    // Rows of an object end with a page, and one object is more than a page.
    for number in 0..PAGE_ROWS_MAX / 2 + 3 {
        write(1, number, "a");
        write(1, number, "b");
    }
    write(1, 9_000, "a");
    (0..PAGE_ROWS_MAX + 1).for_each(|field| write(1, 9_000, &format!("f{field}")));
    write(1, 9_001, "a");
    let count = PAGE_ROWS_MAX / 2 + 5;
    for (after, limit) in [
        (None, usize::MAX),
        (None, 0),
        (None, 1),
        (None, count - 1),
        (None, count),
        (Some(0), PAGE_ROWS_MAX / 2),
        (Some(PAGE_ROWS_MAX / 2), 3),
        (Some(9_000), 5),
        (Some(9_001), 5),
    ] {
        let after = after.map(|number: usize| id(number));
        let space = [&[1], &b"records"[..]].concat();
        let mut shown = Vec::new();
        let place = after.as_ref().map(|id| &**id.as_place_id());
        let mut show = |entries: &[EntryView<'_>]| {
            assert!(entries.iter().all(|entry| entry.id == entries[0].id));
            shown.push((entries[0].id.clone(), entries.len()));
        };
        document.store().each(&space, place, limit, &mut show).unwrap();
        let ids = document.store().ids(&space, place, limit).unwrap();
        let mut expected = Vec::new();
        for id in ids {
            let mut rows = 0;
            document.store().at(&space, &id, &mut |_| rows += 1).unwrap();
            expected.push((id, rows));
        }
        assert_eq!(shown, expected, "{limit} after {after:?}");
    }
}
