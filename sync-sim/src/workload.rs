//! What the application does: changes of a document by chance, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::document::{Document, Edit, Refused};
use sync_core::error::{Misuse, Sure};
use sync_core::types::{Conflict, Field, Place, RecordId, Value};

use crate::Random;

/// An application under test: its schema, by what it writes and what it expects.
pub trait Workload {
    /// Makes one change. It is applied whole or not at all; a misuse, such as an update of a record
    /// that is not there, means that nothing happens. May panic where it reads something that cannot
    /// be: the run then fails.
    fn change(&mut self, random: &mut Random, edit: &mut Edit<'_>) -> Result<(), Refused>;

    /// Says what is wrong with a document. It is asked of every document at the end, when all devices
    /// hold the same state. What records may lack is said.
    fn check(&mut self, document: &Document, lacking: &Lacking) -> Result<(), String>;
}

/// Fields that records which stand may lack.
#[derive(Debug, Clone, Default)]
pub struct Lacking {
    /// Somebody took out a value of the field, and left the record.
    pub(crate) taken_out: BTreeSet<(String, String)>,
    /// A value of the field went with a removal that had seen this value, and not the record. It is asserted
    /// again by those who hold the record and hear of the removal; where none of them does, it looks as if
    /// the field alone was taken out.
    pub(crate) torn: BTreeSet<(String, String)>,
}

impl Lacking {
    /// Whether a record may lack a field.
    #[must_use]
    pub fn has(&self, collection: &str, id: &RecordId, field: &str) -> bool {
        let field = (format!("{collection}/{id}"), field.to_owned());
        self.taken_out.contains(&field) || self.torn.contains(&field)
    }
}

/// Notes with a title, a body, a flag, tags and a counter, a set of favourites, a counter that only
/// grows and one that goes up and down: the workload of this project.
#[derive(Debug, Clone)]
pub struct Notes {
    /// How many ids there are: few of them make many conflicts.
    pub ids: u64,
    /// How many of a thousand changes remove a note.
    pub removals: u32,
    /// How long a body is at most.
    pub body_bytes_max: u64,
    /// How many of a thousand changes take a field out of a note.
    pub taken_out: u32,
    written: u64,
    /// What is counted is drawn apart, so that it shifts nothing else.
    counting: Random,
    /// So is what is taken out.
    taking: Random,
}

const NOTES: &str = "notes";
const FAVOURITES: &str = "favourites";
const VIEWS: &str = "views";
const BALANCE: &str = "balance";
const LIKES: &str = "likes";
const FIELDS: [&str; 3] = ["title", "body", "done"];

impl Notes {
    /// Notes of a size and mix that a seed draws.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let ids = [3, 6, 12, 40][random.index(4)];
        let removals = [40, 150, 300][random.index(3)];
        let body_bytes_max = [8, 60, 400][random.index(3)];
        let (counting, mut taking) = (random.stream(11), random.stream(12));
        let taken_out = [0, 0, 0, 80][taking.index(4)];
        Self { ids, removals, body_bytes_max, taken_out, written: 0, counting, taking }
    }

    fn value(&mut self, random: &mut Random, field: &str) -> Field {
        self.written += 1;
        match field {
            "done" => Field::from(Value::Bool(random.chance(500))),
            "body" => {
                let len = random.below(self.body_bytes_max) as usize;
                Field::from(format!("{}{}", self.written, "x".repeat(len)))
            }
            _ => Field::from(format!("title {}", self.written)),
        }
    }

    fn insert(
        &mut self,
        random: &mut Random,
        edit: &mut Edit<'_>,
        id: &RecordId,
    ) -> Result<(), Refused> {
        let mut fields: BTreeMap<String, Field> =
            FIELDS.iter().map(|name| ((*name).to_owned(), self.value(random, name))).collect();
        let tags = (0..random.below(3)).map(|_| self.tag(random)).collect();
        fields.insert("tags".to_owned(), Field::Set(tags));
        if self.counting.chance(300) {
            let likes = self.counting.below(5) as i64 - 1;
            fields.insert(LIKES.to_owned(), Field::Counter(likes));
        }
        edit.insert(NOTES, id, &fields)?;
        assert!(
            edit.document().record(NOTES, id).sure().is_some(),
            "a note that was inserted is there"
        );
        Ok(())
    }

    fn update(
        &mut self,
        random: &mut Random,
        edit: &mut Edit<'_>,
        id: &RecordId,
    ) -> Result<(), Refused> {
        let name = FIELDS[random.index(3)];
        let mut fields = BTreeMap::from([(name.to_owned(), self.value(random, name))]);
        if random.chance(200) {
            let record = edit.document().record(NOTES, id).sure().unwrap_or_default();
            let mut tags: BTreeSet<Value> = record.members("tags").into_iter().cloned().collect();
            if random.chance(400) {
                tags.pop_first();
            } else {
                tags.insert(self.tag(random));
            }
            fields.insert("tags".to_owned(), Field::Set(tags));
        }
        edit.update(NOTES, id, &fields)?;
        let values =
            edit.document().record(NOTES, id).sure().map(|record| record.values(name).len());
        assert_eq!(values, Some(1), "a field that was written has one value");
        Ok(())
    }

    fn tag(&mut self, random: &mut Random) -> Value {
        Value::from(format!("tag {}", random.below(6)).as_str())
    }

    /// Counts something, now and then.
    fn count(&mut self, edit: &mut Edit<'_>, id: &RecordId) -> Result<(), Refused> {
        let amount = self.counting.below(9) as i64 - 4;
        match self.counting.below(12) {
            0 => edit.count_value(VIEWS, amount.abs()),
            1 => edit.count_value(BALANCE, amount),
            2 if edit.document().record(NOTES, id).sure().is_some() => {
                edit.count(NOTES, id, &[LIKES], amount)
            }
            _ => Ok(()),
        }
    }

    /// Takes a field out of a note that was there, now and then.
    fn take_out(&mut self, edit: &mut Edit<'_>, id: &RecordId) -> Result<(), Refused> {
        let name = FIELDS[self.taking.index(3)];
        let is_due = self.taking.chance(self.taken_out);
        if !is_due || edit.document().record(NOTES, id).sure().is_none() {
            return Ok(());
        }
        edit.unset(NOTES, id, &[name])?;
        let record = edit.document().record(NOTES, id).sure().unwrap_or_default();
        assert_eq!(record.values(name).len(), 0, "a field that was taken out has no value");
        Ok(())
    }

    /// Makes a note again of what is left of one, and gives it what is missing.
    fn restore(
        &mut self,
        random: &mut Random,
        edit: &mut Edit<'_>,
        collection: &str,
        id: &RecordId,
    ) -> Result<(), Refused> {
        edit.restore(collection, id)?;
        let record = edit.document().record(collection, id).sure().unwrap_or_default();
        for name in FIELDS.into_iter().filter(|name| record.value(name).is_none()) {
            let field = self.value(random, name);
            edit.update(collection, id, [(name, &field)])?;
        }
        Ok(())
    }

    fn settle(&mut self, random: &mut Random, edit: &mut Edit<'_>) -> Result<(), Refused> {
        let mut conflicts = edit.document().conflicts().sure();
        if conflicts.is_empty() {
            return Err(Misuse::Empty.into());
        }
        let (place, conflict) = conflicts.swap_remove(random.index(conflicts.len()));
        let Place::Record { collection, id } = place else { return Err(Misuse::Empty.into()) };
        match conflict {
            Conflict::Field { values, .. } => {
                let author = values[random.index(values.len())].claim.origin().replica;
                edit.keep(&collection, &id, author)
            }
            Conflict::EditKept { .. } => edit.adopt(&collection, &id),
            Conflict::Partial { .. } if random.chance(500) => edit.dismiss(&collection, &id),
            Conflict::Partial { .. } => self.restore(random, edit, &collection, &id),
        }
    }
}

impl Workload for Notes {
    fn change(&mut self, random: &mut Random, edit: &mut Edit<'_>) -> Result<(), Refused> {
        let parts = if random.chance(150) { 1 + random.below(3) } else { 1 };
        for _ in 0..parts {
            let id = RecordId::new(format!("n{}", random.below(self.ids)))?;
            let dice = random.below(1_000) as u32;
            let is_there = edit.document().record(NOTES, &id).sure().is_some();
            if dice < self.removals {
                edit.remove(NOTES, &id)?;
                assert!(
                    edit.document().record(NOTES, &id).sure().is_none(),
                    "a removed note is gone"
                );
            } else if dice < self.removals + 60 {
                let member = Value::from(format!("m{}", random.below(5)).as_str());
                edit.set_add(FAVOURITES, &member)?;
            } else if dice < self.removals + 100 {
                let member = Value::from(format!("m{}", random.below(5)).as_str());
                edit.set_remove(FAVOURITES, &member)?;
            } else if dice < self.removals + 140 {
                self.settle(random, edit)?;
            } else if is_there {
                self.update(random, edit, &id)?;
            } else {
                self.insert(random, edit, &id)?;
            }
            self.count(edit, &id)?;
            if is_there && parts == 1 {
                self.take_out(edit, &id)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, document: &Document, lacking: &Lacking) -> Result<(), String> {
        for (id, record) in document.records(NOTES).sure() {
            let is_missing =
                |name: &&&str| record.value(name).is_none() && !lacking.has(NOTES, &id, name);
            let missing = FIELDS.iter().find(is_missing);
            if let Some(name) = missing {
                return Err(format!("note {id} is listed without its {name}"));
            }
        }
        Ok(())
    }
}
