//! Changes of records.

use std::borrow::Cow;
use std::mem::take;

use crate::small::SmallVec;

use super::counters::{may_count, push_counter_paths};
use super::{Author, Edit, Step};
use crate::causal::{
    CausalContext, Dot, DotRanges, Entry, Note, Overwrite, PlaceStore, ReplicaId, ranges_of,
};
use crate::document::target::{Targets, check_path, check_value, register};
use crate::document::{Document, Refused};
use crate::error::Misuse;
use crate::sort::sort_by;
use crate::types::element::{self, SEPARATOR_TEXT, kind};
use crate::types::place::{Space, collection_space};
use crate::types::{Content, Field, FieldRef, Record, RecordId, ValueRef, check_name};

impl<S: PlaceStore> Edit<'_, S> {
    /// Adds a record.
    pub fn insert<'f, N: AsRef<str>, F: Into<FieldRef<'f>>>(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: impl IntoIterator<Item = (N, F)>,
    ) -> Step<S> {
        let fields: Fields<'f, N> = lent(fields).collect();
        if crate::small::HAS_SHORTCUTS && self.insert_registers(collection, id, &fields)? {
            return Ok(());
        }
        self.insert_fields(collection, id, &by_name(&whole(&fields)))
    }

    fn insert_fields(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &[(&str, &Field)],
    ) -> Step<S> {
        let space = collection_space(collection)?;
        let place = self.look(&space, id.as_place_id())?;
        if place.is_shown() {
            let (collection, id) = (collection.to_owned(), id.text());
            return Err(Misuse::RecordExists { collection, id }.into());
        }
        let mut targets = take(&mut self.document.targets);
        targets.push_existence();
        push_fields(&mut targets, fields)?;
        self.push_counters(&mut targets, fields)?;
        self.document.kept.forget(&space, id.as_place_id());
        // What is left of an earlier record of this id, hidden copies or an edit, is superseded.
        self.write(&space, id.as_place_id(), &mut targets, place.dots)?;
        self.document.targets = targets.emptied();
        if crate::small::HAS_SHORTCUTS
            && let Some(written) = self.made.delta.entries.last()
        {
            self.document.labels.learn_record(&written.label, fields);
        }
        Ok(())
    }

    /// Adds a record of registers in one go, if one with these fields was written lately and nothing is
    /// left of an earlier one of this id. Does nothing otherwise, and says so.
    fn insert_registers<N: AsRef<str>>(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &[(N, FieldRef<'_>)],
    ) -> Result<bool, Refused<S::Error>> {
        let values = fields
            .iter()
            .map(|(_, field)| register(*field).map_or(ValueRef::Null, |(_, value)| value));
        let Document { store, labels, targets, kept, .. } = &mut *self.document;
        let Some(label) = labels.of_record(collection, fields) else { return Ok(false) };
        if values.clone().any(|value| check_value(value).is_err()) {
            return Ok(false);
        }
        let (id, slots) = (id.as_place_id().clone(), targets.packed(true, values));
        let first = Dot::new(self.author.replica, self.next);
        let entry = Entry { first, stamp: self.author.stamp, label, id, slots };
        if !store.begin(&entry).map_err(Refused::Store)? {
            return Ok(false);
        }
        kept.forget(entry.label.space(), &entry.id);
        self.wrote(entry, CausalContext::default());
        Ok(true)
    }

    /// Writes fields of a record and leaves the others. What a field holds already is left as it is:
    /// of a set only the difference is written, and of a map only the fields that differ.
    pub fn update<'f, N: AsRef<str>, F: Into<FieldRef<'f>>>(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: impl IntoIterator<Item = (N, F)>,
    ) -> Step<S> {
        let mut fields = lent(fields);
        let (Some(first), second) = (fields.next(), fields.next()) else {
            return self.update_fields(collection, id, &[]);
        };
        // Mostly one field is all.
        if crate::small::HAS_SHORTCUTS
            && second.is_none()
            && self.update_register(collection, id, first.0.as_ref(), first.1)?
        {
            return Ok(());
        }
        let fields: Fields<'f, N> = [first].into_iter().chain(second).chain(fields).collect();
        self.update_fields(collection, id, &by_name(&whole(&fields)))
    }

    fn update_fields(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &[(&str, &Field)],
    ) -> Step<S> {
        let mut targets = take(&mut self.document.targets);
        push_fields(&mut targets, fields)?;
        let roots: SmallVec<[&str; 4]> = fields.iter().map(|(name, _)| *name).collect();
        let space = collection_space(collection)?;
        let id_bytes = id.as_place_id();
        let mut counters = Vec::new();
        fields.iter().for_each(|(name, field)| push_counter_paths(&mut counters, name, field));
        let found = self.compare(&space, id_bytes, &mut targets, &roots, &counters)?;
        if !found.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.replace(&space, id_bytes, &mut targets, &found)?;
        self.document.targets = targets.emptied();
        for (name, field) in fields.iter().filter(|(_, field)| may_count(field)) {
            self.count_to(&space, id_bytes, &mut SmallVec::from_slice(&[*name]), field)?;
        }
        if crate::small::HAS_SHORTCUTS
            && let [(name, _)] = fields
            && let Some(written) = self.made.delta.entries.last()
        {
            self.document.labels.learn_register(collection, name, &written.label);
        }
        Ok(())
    }

    /// Updates one register in one go, if it was written lately, and nothing about the record is out of the
    /// ordinary. Does nothing otherwise, and says so.
    fn update_register(
        &mut self,
        collection: &str,
        id: &RecordId,
        name: &str,
        field: FieldRef<'_>,
    ) -> Result<bool, Refused<S::Error>> {
        let Some((kind, value)) = register(field) else { return Ok(false) };
        let Document { store, labels, targets, killed, .. } = &mut *self.document;
        let Some(label) = labels.of_register(collection, kind, name) else { return Ok(false) };
        check_value(value)?;
        let (id, slots) = (id.as_place_id().clone(), targets.packed(false, [value].into_iter()));
        let first = Dot::new(self.author.replica, self.next);
        let entry = Entry { first, stamp: self.author.stamp, label, id, slots };
        let done = store.overwrite(&entry, None, Some(killed), kind::EXISTS);
        match done.map_err(Refused::Store)? {
            Overwrite::StepByStep => return Ok(false),
            Overwrite::Same => {}
            Overwrite::Done(Dot { replica, counter }) => {
                let dead = DotRanges::of(counter..=counter);
                self.wrote(entry, CausalContext::of_one(replica, dead));
            }
        }
        Ok(true)
    }

    /// Writes one field at a path of nested maps, and leaves its neighbours.
    pub fn put(
        &mut self,
        collection: &str,
        id: &RecordId,
        path: &[&str],
        field: &Field,
    ) -> Step<S> {
        let joined = joined_path(path)?;
        let mut targets = Targets::default();
        let mut names = SmallVec::from_slice(path);
        targets.push_field(&mut names, field)?;
        let space = collection_space(collection)?;
        let id_bytes = id.as_place_id();
        let mut counters = Vec::new();
        push_counter_paths(&mut counters, &joined, field);
        let found = self.compare(&space, id_bytes, &mut targets, &[&joined], &counters)?;
        if !found.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.replace(&space, id_bytes, &mut targets, &found)?;
        self.count_to(&space, id_bytes, &mut SmallVec::from_slice(path), field)
    }

    /// Takes a field out, at a path of nested maps, with all that is below it.
    pub fn unset(&mut self, collection: &str, id: &RecordId, path: &[&str]) -> Step<S> {
        let joined = joined_path(path)?;
        let space = collection_space(collection)?;
        let mut targets = Targets::default();
        let found = self.compare(&space, id.as_place_id(), &mut targets, &[&joined], &[])?;
        if !found.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.replace(&space, id.as_place_id(), &mut targets, &found)
    }

    /// Adds to a counter of a record, at a path of nested maps; a negative amount takes away.
    pub fn count(
        &mut self,
        collection: &str,
        id: &RecordId,
        path: &[&str],
        amount: i64,
    ) -> Step<S> {
        joined_path(path)?;
        let space = collection_space(collection)?;
        if !self.look(&space, id.as_place_id())?.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.add_share(&space, id.as_place_id(), path, amount)
    }

    /// Removes a record: every dot of it that is live here, under a dot of the removal's own.
    pub fn remove(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        if crate::small::HAS_SHORTCUTS && self.remove_whole(collection, id)? {
            return Ok(());
        }
        let space = collection_space(collection)?;
        let place = self.look(&space, id.as_place_id())?;
        if !place.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.bury(&space, id.as_place_id(), place.dots)?;
        if crate::small::HAS_SHORTCUTS
            && let Some(note) = self.made.delta.notes.last()
        {
            self.document.labels.learn_removal(collection, &note.label);
        }
        Ok(())
    }

    /// Removes a record in one go, if one of its collection was removed lately, and nothing about it is out of
    /// the ordinary. Does nothing otherwise, and says so.
    fn remove_whole(&mut self, collection: &str, id: &RecordId) -> Result<bool, Refused<S::Error>> {
        let Document { store, labels, killed, .. } = &mut *self.document;
        let Some(label) = labels.of_removal(collection) else { return Ok(false) };
        let (Author { replica, stamp }, id) = (self.author, id.as_place_id().clone());
        let note = Note { dot: Dot::new(replica, self.next), stamp, label, id };
        let known = killed.len();
        if !store.bury(&note, None, kind::EXISTS, killed).map_err(Refused::Store)? {
            return Ok(false);
        }
        let taken = &killed[known..];
        let ranges = |taken: &Entry| ranges_of(taken.first.counter, taken.slots.live());
        let dead = match taken {
            [only] => CausalContext::of_removal(only.replica(), ranges(only), note.dot),
            _ => {
                let mut dead = CausalContext::default();
                taken.iter().for_each(|taken| dead.insert_ranges(taken.replica(), &ranges(taken)));
                dead.insert(note.dot);
                dead
            }
        };
        let label = taken.first().map_or(&note.label, |taken| &taken.label);
        self.made.touched.push(label, &note.id);
        let was_whole = self.document.was_whole_in(&self.document.killed[known..]);
        self.note_whether_whole(note.dot, was_whole)?;
        self.took(note, dead);
        Ok(true)
    }

    /// Resolves the clashing registers of a record by writing what one author wrote, and for fields
    /// that this author did not write, what is shown.
    pub fn keep(&mut self, collection: &str, id: &RecordId, author: ReplicaId) -> Step<S> {
        let (space, record) = self.find(collection, id, Record::is_shown)?;
        let versions = record.versions();
        let Some(version) = versions.iter().find(|version| version.author == author) else {
            return Err(Misuse::NoSuchVersion { version: author.text() }.into());
        };
        let clashing = versions.iter().flat_map(|version| version.fields.keys());
        let mut clashing: Vec<_> = clashing.collect();
        sort_by(&mut clashing, |a, b| a.cmp(b));
        clashing.dedup();
        let mut targets = Targets::default();
        let mut superseded = CausalContext::default();
        for path in clashing {
            let value = version.fields.get(path).cloned().or_else(|| record.value(path));
            if let Some(value) = value {
                let written = element::Written::new(path, &Content::Register(value), None);
                targets.push_raw(&written.name, &written.bytes);
                let same = record.elements().iter().filter(|element| {
                    element.path() == path && matches!(element.content, Content::Register(_))
                });
                same.for_each(|element| superseded.insert(element.claim.dot));
            }
        }
        self.write(&space, id.as_place_id(), &mut targets, superseded)
    }

    /// Settles a record that was kept by an edit: writes it whole, so that nothing about it is a copy.
    pub fn adopt(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let (space, record) = self.find(collection, id, Record::is_shown)?;
        let dots = record.claims().map(|claim| claim.dot).collect();
        self.write_whole(&space, id.as_place_id(), &record, dots)
    }

    /// Makes what is left of a partial record a record again.
    pub fn restore(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let (space, record) = self.find(collection, id, is_partial)?;
        let dots = record.claims().map(|claim| claim.dot).collect();
        self.write_whole(&space, id.as_place_id(), &record, dots)
    }

    /// Removes what is left of a partial record.
    pub fn dismiss(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let (space, record) = self.find(collection, id, is_partial)?;
        let dots = record.claims().map(|claim| claim.dot).collect();
        self.bury(&space, id.as_place_id(), dots)
    }

    fn find(
        &self,
        collection: &str,
        id: &RecordId,
        is_wanted: impl FnOnce(&Record) -> bool,
    ) -> Result<(Space, Record), Refused<S::Error>> {
        let space = collection_space(collection)?;
        let record = self.record_at(&space, id.as_place_id())?;
        if is_wanted(&record) { Ok((space, record)) } else { Err(no_such_record(collection, id)) }
    }
}

/// Fields by their names.
type Fields<'f, N> = SmallVec<[(N, FieldRef<'f>); 8]>;

fn lent<'f, N, F: Into<FieldRef<'f>>>(
    fields: impl IntoIterator<Item = (N, F)>,
) -> impl Iterator<Item = (N, FieldRef<'f>)> {
    fields.into_iter().map(|(name, field)| (name, field.into()))
}

/// The same fields as they are kept, with their names as plain text.
fn whole<'n, N: AsRef<str>>(fields: &'n [(N, FieldRef<'_>)]) -> Vec<(&'n str, Cow<'n, Field>)> {
    fields.iter().map(|(name, field)| (name.as_ref(), field.whole())).collect()
}

fn by_name<'n>(fields: &'n [(&str, Cow<'_, Field>)]) -> SmallVec<[(&'n str, &'n Field); 8]> {
    fields.iter().map(|(name, field)| (*name, &**field)).collect()
}

fn push_fields<'f>(targets: &mut Targets, fields: &[(&'f str, &'f Field)]) -> Result<(), Misuse> {
    for (at, (name, _)) in fields.iter().enumerate() {
        if fields[..at].iter().any(|(other, _)| other == name) {
            return Err(Misuse::Twice { name: (*name).to_owned() });
        }
    }
    for (name, field) in fields {
        check_name("a field's name", name)?;
        match field {
            Field::Register(value) => targets.push_value(kind::REGISTER, &[*name], value)?,
            Field::Latest(value) => targets.push_value(kind::LATEST, &[*name], value)?,
            Field::Set(_) | Field::Counter(_) | Field::Map(_) => {
                targets.push_field(&mut SmallVec::from_slice(&[*name]), field)?;
            }
        }
    }
    Ok(())
}

fn joined_path(path: &[&str]) -> Result<String, Misuse> {
    if path.is_empty() {
        return Err(Misuse::BadName { what: "a path" });
    }
    path.iter().try_for_each(|name| check_name("a field's name", name))?;
    check_path(path)?;
    Ok(path.join(SEPARATOR_TEXT))
}

fn is_partial(record: &Record) -> bool {
    record.existence().next().is_none() && record.has_original()
}

fn no_such_record<E>(collection: &str, id: &RecordId) -> Refused<E> {
    Misuse::NoSuchRecord { collection: collection.to_owned(), id: id.text() }.into()
}
