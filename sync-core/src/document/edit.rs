//! Changes of this replica: each takes fresh dots, and supersedes the dots that it replaces.

use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

use super::{Document, Edited, Orphan};
use crate::causal::{Delta, Dot, DotRanges, Entry, Joined, Note, RUN_DOTS_MAX, ReplicaId};
use crate::error::Misuse;
use crate::time::Stamp;
use crate::types::{
    Element, Field, Header, Kind, Place, Record, RecordId, VALUE_DEPTH_MAX, Value, Written,
    check_name,
};

/// Who changes a document, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The replica that the new dots are of.
    pub replica: ReplicaId,
    /// The stamp of the whole change.
    pub stamp: Stamp,
}

/// A change being made. Each step sees the ones before it.
#[derive(Debug)]
pub struct Edit<'a> {
    document: &'a mut Document,
    author: Author,
    /// What this replica had seen of itself before.
    before: DotRanges,
    delta: Delta,
    steps: Vec<Joined>,
    places: BTreeSet<Place>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(document: &'a mut Document, author: Author) -> Self {
        let before = document.context().of(author.replica).cloned().unwrap_or_default();
        let (delta, steps, places) = (Delta::default(), Vec::new(), BTreeSet::new());
        Self { document, author, before, delta, steps, places }
    }

    pub(super) fn finish<T>(
        self,
        outcome: Result<T, Misuse>,
        bytes_max: usize,
    ) -> Result<Edited<T>, Misuse> {
        let found = self.delta.cost();
        let too_large = || {
            let (found, limit) = (found as u64, bytes_max as u64);
            Misuse::TooLarge { what: "the change", found, limit }
        };
        let outcome =
            outcome.and_then(|value| if found > bytes_max { Err(too_large()) } else { Ok(value) });
        match outcome {
            Ok(value) => Ok(Edited { value, delta: self.delta, places: self.places }),
            Err(misuse) => {
                for step in self.steps.into_iter().rev() {
                    self.document.take_back(step, self.author.replica, &self.before);
                }
                Err(misuse)
            }
        }
    }

    /// The document with the steps so far.
    #[must_use]
    pub fn document(&self) -> &Document {
        self.document
    }

    /// Adds a record.
    pub fn insert(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &BTreeMap<String, Field>,
    ) -> Result<(), Misuse> {
        check_name("a collection's name", collection)?;
        if self.document.record(collection, id).is_some() {
            let (collection, id) = (collection.to_owned(), id.to_string());
            return Err(Misuse::RecordExists { collection, id });
        }
        let place = Place::Record { collection: collection.to_owned(), id: id.clone() };
        let mut elements = vec![Kind::Exists];
        for (name, field) in fields {
            check_field(name, field)?;
            elements.extend(kinds(name, field));
        }
        // What is left of an earlier record of this id, hidden copies or an edit, is superseded.
        let left: Vec<_> = self.document.elements(&place).claims().map(|claim| claim.dot).collect();
        self.write(place, originals(elements), left);
        Ok(())
    }

    /// Writes fields of a record and leaves the others. A field that holds this value already, and
    /// nothing else, is left as it is.
    pub fn update(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &BTreeMap<String, Field>,
    ) -> Result<(), Misuse> {
        let (place, record) = self.shown(collection, id)?;
        let mut elements = Vec::new();
        let mut superseded = Vec::new();
        for (name, field) in fields {
            check_field(name, field)?;
            let no_members = BTreeMap::new();
            let registers = record.registers.get(name).map_or(&[][..], Vec::as_slice);
            let members = record.sets.get(name).unwrap_or(&no_members);
            let dots_of_registers = registers.iter().map(|written| written.claim.dot);
            match field {
                Field::Register(value) => {
                    let is_same = registers.iter().all(|written| written.value == *value);
                    if !registers.is_empty() && members.is_empty() && is_same {
                        continue;
                    }
                    superseded.extend(dots_of_registers);
                    superseded.extend(members.values().flatten().map(|claim| claim.dot));
                    elements.push(Kind::Field { name: name.clone(), value: value.clone() });
                }
                Field::Set(wanted) => {
                    superseded.extend(dots_of_registers);
                    let gone = members.iter().filter(|(member, _)| !wanted.contains(*member));
                    superseded.extend(gone.flat_map(|(_, claims)| claims).map(|claim| claim.dot));
                    let new = wanted.iter().filter(|member| !members.contains_key(*member));
                    let member =
                        |value: &Value| Kind::Member { name: name.clone(), value: value.clone() };
                    elements.extend(new.map(member));
                }
            }
        }
        self.rewrite(place, &record, elements, superseded);
        Ok(())
    }

    /// Removes a record: every dot of it that is live here, under a dot of the removal's own.
    pub fn remove(&mut self, collection: &str, id: &RecordId) -> Result<(), Misuse> {
        let (place, record) = self.shown(collection, id)?;
        self.bury(place, &record);
        Ok(())
    }

    /// Resolves the clashing registers of a record by writing what one author wrote, and for fields
    /// that this author did not write, what is shown.
    pub fn keep(
        &mut self,
        collection: &str,
        id: &RecordId,
        author: ReplicaId,
    ) -> Result<(), Misuse> {
        let (place, record) = self.shown(collection, id)?;
        let versions = record.versions();
        let Some(version) = versions.iter().find(|version| version.author == author) else {
            return Err(Misuse::NoSuchVersion { version: author.to_string() });
        };
        let clashing: BTreeSet<_> =
            versions.iter().flat_map(|version| version.fields.keys()).collect();
        let mut elements = Vec::new();
        let mut superseded = Vec::new();
        for name in clashing {
            let values = record.values(name);
            let shown = values.first().map(|written| &written.value);
            if let Some(value) = version.fields.get(name).or(shown) {
                elements.push(Kind::Field { name: name.clone(), value: value.clone() });
                let written = record.registers.get(name).into_iter().flatten();
                superseded.extend(written.map(|written| written.claim.dot));
            }
        }
        self.write(place, originals(elements), superseded);
        Ok(())
    }

    /// Settles a record that was kept by an edit: writes it whole, so that nothing about it is a copy.
    pub fn adopt(&mut self, collection: &str, id: &RecordId) -> Result<(), Misuse> {
        let (place, record) = self.shown(collection, id)?;
        self.write_whole(place, &record);
        Ok(())
    }

    /// Makes what is left of a partial record a record again.
    pub fn restore(&mut self, collection: &str, id: &RecordId) -> Result<(), Misuse> {
        let (place, record) = self.partial(collection, id)?;
        self.write_whole(place, &record);
        Ok(())
    }

    /// Removes what is left of a partial record.
    pub fn dismiss(&mut self, collection: &str, id: &RecordId) -> Result<(), Misuse> {
        let (place, record) = self.partial(collection, id)?;
        self.bury(place, &record);
        Ok(())
    }

    /// Adds a member to a set of the document. Does nothing where it is there.
    pub fn set_add(&mut self, name: &str, value: Value) -> Result<(), Misuse> {
        check_name("a set's name", name)?;
        check_value(&value)?;
        let place = Place::Set { name: name.to_owned() };
        let members = self.document.elements(&place).sets.remove("").unwrap_or_default();
        if !members.contains_key(&value) {
            let element = Kind::Member { name: String::new(), value };
            self.write(place, originals(vec![element]), Vec::new());
        }
        Ok(())
    }

    /// Removes a member from a set of the document. Does nothing where it is not there.
    pub fn set_remove(&mut self, name: &str, value: &Value) -> Result<(), Misuse> {
        check_name("a set's name", name)?;
        let place = Place::Set { name: name.to_owned() };
        let members = self.document.elements(&place).sets.remove("").unwrap_or_default();
        if let Some(claims) = members.get(value) {
            self.write(place, Vec::new(), claims.iter().map(|claim| claim.dot).collect());
        }
        Ok(())
    }

    fn shown(&self, collection: &str, id: &RecordId) -> Result<(Place, Record), Misuse> {
        self.find(collection, id, Record::is_shown)
    }

    fn partial(&self, collection: &str, id: &RecordId) -> Result<(Place, Record), Misuse> {
        self.find(collection, id, |record| record.existence.is_empty() && record.has_original())
    }

    fn find(
        &self,
        collection: &str,
        id: &RecordId,
        is_wanted: impl FnOnce(&Record) -> bool,
    ) -> Result<(Place, Record), Misuse> {
        let place = Place::Record { collection: collection.to_owned(), id: id.clone() };
        let record = self.document.elements(&place);
        if is_wanted(&record) {
            return Ok((place, record));
        }
        Err(Misuse::NoSuchRecord { collection: collection.to_owned(), id: id.to_string() })
    }

    /// Writes elements into a record. Where nothing but copies would be left, for which nobody stands,
    /// the record is written whole instead.
    fn rewrite(
        &mut self,
        place: Place,
        record: &Record,
        elements: Vec<Kind>,
        superseded: Vec<Dot>,
    ) {
        let mut rest = record.claims().filter(|claim| !superseded.contains(&claim.dot));
        if !elements.is_empty() || superseded.is_empty() || rest.any(|claim| claim.copy.is_none()) {
            self.write(place, originals(elements), superseded);
            return;
        }
        let mut left = record.clone();
        left.existence.retain(|claim| !superseded.contains(&claim.dot));
        for members in left.sets.values_mut() {
            members.retain(|_, claims| claims.iter().any(|claim| !superseded.contains(&claim.dot)));
        }
        left.registers
            .retain(|_, values| values.iter().any(|value| !superseded.contains(&value.claim.dot)));
        let all = record.claims().map(|claim| claim.dot).collect();
        self.write(place, originals(whole(&left)), all);
    }

    fn write_whole(&mut self, place: Place, record: &Record) {
        let all = record.claims().map(|claim| claim.dot).collect();
        self.write(place, originals(whole(record)), all);
    }

    fn bury(&mut self, place: Place, record: &Record) {
        let dot = Dot::new(self.author.replica, self.next());
        let note = Note { dot, text: Header { stamp: self.author.stamp, place }.encode() };
        let mut delta = Delta { notes: vec![note], ..Delta::default() };
        delta.context.insert(dot);
        delta.context.union(&record.claims().map(|claim| claim.dot).collect());
        self.step(&delta);
    }

    /// Writes elements in runs, and supersedes dots. A step that only removes takes a dot of its own.
    fn write(&mut self, place: Place, elements: Vec<Element>, superseded: Vec<Dot>) {
        if elements.is_empty() && superseded.is_empty() {
            return;
        }
        let mut delta = Delta { context: superseded.into_iter().collect(), ..Delta::default() };
        let header = Header { stamp: self.author.stamp, place }.encode();
        let mut next = self.next();
        if elements.is_empty() {
            delta.context.insert(Dot::new(self.author.replica, next));
        }
        for run in elements.chunks(RUN_DOTS_MAX) {
            let slots: Vec<Option<ByteBuf>> =
                run.iter().map(|element| Some(element.encode())).collect();
            let first = Dot::new(self.author.replica, next);
            next += slots.len() as u64;
            delta.context.insert_range(first.replica, first.counter, next - 1);
            delta.entries.push(Entry { first, header: header.clone(), slots });
        }
        self.step(&delta);
    }

    fn next(&self) -> u64 {
        self.document.context().max_of(self.author.replica) + 1
    }

    fn step(&mut self, delta: &Delta) {
        let joined = self.document.store.join(delta);
        self.places.extend(self.document.reindex(&joined));
        self.steps.push(joined);
        self.delta.join(delta);
    }
}

impl Document {
    /// Asserts a record again whose existence was taken while an edit is live: in several changes where
    /// it is too large for one, with the existence in the last. A single element whose copy would make
    /// a delta larger than `bytes_max` is left out.
    pub fn assert(&mut self, author: Author, bytes_max: usize, orphan: &Orphan) -> Vec<Edited<()>> {
        let mut parts = vec![Vec::new()];
        let mut bytes = 0;
        for copy in orphan.copies(&self.elements(&orphan.place)) {
            let size = copy.encode().len();
            if bytes > 0 && bytes + size > ASSERTED_BYTES {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            parts.last_mut().into_iter().for_each(|part| part.push(copy.clone()));
        }
        let mut write = |part: Vec<Element>| {
            let place = orphan.place.clone();
            self.edit(author, bytes_max, |edit| {
                edit.write(place, part, Vec::new());
                Ok(())
            })
        };
        parts.into_iter().filter_map(|part| write(part).ok()).collect()
    }

    /// Takes back a step of a change, with what its author had seen of itself before.
    fn take_back(&mut self, step: Joined, replica: ReplicaId, before: &DotRanges) {
        for entry in &step.added {
            for (dot, _) in entry.live() {
                self.unindex(dot, &entry.header);
            }
        }
        let killed = step.killed.clone();
        self.store.take_back(step, replica, before.clone());
        for killed in killed {
            if let Some(entry) = self.store.entry_of(killed.dot).cloned() {
                self.index(&entry);
            }
        }
    }
}

/// Up to how many bytes of an asserted record go into one change. Arbitrary, far below the limit.
const ASSERTED_BYTES: usize = 32 * 1024;

/// Everything that a record holds: every distinct value of each register, every member.
fn whole(record: &Record) -> Vec<Kind> {
    let mut kinds = vec![Kind::Exists];
    for name in record.registers.keys() {
        let values = record.values(name).into_iter();
        let field = |Written { value, .. }| Kind::Field { name: name.clone(), value };
        kinds.extend(values.map(field));
    }
    for (name, members) in &record.sets {
        let member = |value: &Value| Kind::Member { name: name.clone(), value: value.clone() };
        kinds.extend(members.keys().map(member));
    }
    kinds
}

fn kinds(name: &str, field: &Field) -> Vec<Kind> {
    let name = || name.to_owned();
    match field {
        Field::Register(value) => vec![Kind::Field { name: name(), value: value.clone() }],
        Field::Set(members) => {
            let member = |value: &Value| Kind::Member { name: name(), value: value.clone() };
            members.iter().map(member).collect()
        }
    }
}

fn originals(kinds: Vec<Kind>) -> Vec<Element> {
    kinds.into_iter().map(|kind| Element { kind, copy: None }).collect()
}

fn check_field(name: &str, field: &Field) -> Result<(), Misuse> {
    check_name("a field's name", name)?;
    match field {
        Field::Register(value) => check_value(value),
        Field::Set(members) => members.iter().try_for_each(check_value),
    }
}

fn check_value(value: &Value) -> Result<(), Misuse> {
    let (found, limit) = (value.depth() as u64, VALUE_DEPTH_MAX as u64);
    if found > limit {
        return Err(Misuse::TooLarge { what: "the depth of a value", found, limit });
    }
    Ok(())
}
