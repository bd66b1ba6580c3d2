//! What a change wants to stand in a place, as names and bytes of slots.

use std::ops::Range;

use crate::causal::{LABEL_BYTES_MAX, Label, RUN_DOTS_MAX, Slots};
use crate::error::Misuse;
use crate::pack::varint;
use crate::small::{SmallVec, are_same};
use crate::types::element::{SEPARATOR, kind};
use crate::types::place::is_collection;
use crate::types::{Content, Field, FieldRef, Share, VALUE_DEPTH_MAX, Value, ValueRef, check_name};

/// The most names of a field's path. Arbitrary.
const PATH_NAMES_MAX: usize = 16;

/// The most bytes of a field's path. Arbitrary; far below the limit of a label.
const PATH_BYTES_MAX: usize = 512;

/// Elements to be written: their names one behind the other, and their bytes as slots are packed.
#[derive(Debug, Clone, Default)]
pub(super) struct Targets {
    names: Vec<u8>,
    /// Behind a byte for their count.
    slots: Vec<u8>,
    leaves: Vec<Leaf>,
}

/// One element to be written.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    name: Range<u32>,
    /// Where its slot begins, which has its length at its front, and where its bytes are.
    slot: u32,
    bytes: Range<u32>,
    /// How many live elements say just this.
    pub(super) same: u32,
    /// How many copies there say the same.
    pub(super) copied: u32,
    /// How many live elements of its name say something else.
    pub(super) other: u32,
}

/// Up to how many bytes memory is kept for the next change. Arbitrary.
const KEPT_BYTES_MAX: usize = 4096;

#[inline]
fn part<'a>(bytes: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    &bytes[range.start as usize..range.end as usize]
}

#[inline]
fn end(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl Targets {
    /// Takes everything out, and leaves the memory for the next change.
    pub(super) fn emptied(mut self) -> Self {
        self.empty();
        self
    }

    #[inline]
    fn empty(&mut self) {
        if self.names.capacity() + self.slots.capacity() > KEPT_BYTES_MAX {
            *self = Self::default();
        } else {
            self.names.clear();
            self.slots.clear();
            self.leaves.clear();
        }
    }

    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Each name, its bytes, and what is counted of it.
    pub(super) fn leaves_mut(&mut self) -> impl Iterator<Item = (&[u8], &[u8], &mut Leaf)> {
        let (names, slots) = (&self.names, &self.slots);
        self.leaves
            .iter_mut()
            .map(move |leaf| (part(names, &leaf.name), part(slots, &leaf.bytes), leaf))
    }

    /// Leaves out what is not wanted.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&Leaf) -> bool) {
        if self.leaves.iter().all(&is_wanted) {
            return;
        }
        let all = std::mem::take(self);
        for leaf in all.leaves.iter().filter(|leaf| is_wanted(leaf)) {
            self.push_raw(part(&all.names, &leaf.name), part(&all.slots, &leaf.bytes));
        }
    }

    /// Adds an element whose name and bytes are known.
    pub(super) fn push_raw(&mut self, name: &[u8], bytes: &[u8]) {
        let start = end(&self.names);
        self.names.extend_from_slice(name);
        self.push_slot(start, |slots| slots.extend_from_slice(bytes));
    }

    /// Adds that a record exists.
    pub(super) fn push_existence(&mut self) {
        self.push_raw(&[kind::EXISTS], &[]);
    }

    /// Adds an element whose name is there from `name` on.
    #[inline]
    fn push_slot(&mut self, name: u32, write: impl FnOnce(&mut Vec<u8>)) {
        if self.slots.is_empty() {
            self.slots.push(0);
        }
        let (slot, start) = self.push_packed(write);
        let at = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (name, bytes) = (name..end(&self.names), at(start)..end(&self.slots));
        self.leaves.push(Leaf { name, slot: at(slot), bytes, same: 0, copied: 0, other: 0 });
    }

    /// Adds a slot: its length, and what is written. Gives where each begins.
    #[inline]
    fn push_packed(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (usize, usize) {
        let slot = self.slots.len();
        // Most headers take one byte.
        self.slots.push(0);
        write(&mut self.slots);
        let header = (self.slots.len() - slot) as u64;
        let mut start = slot + 1;
        if header < 0x80 {
            self.slots[slot] = header as u8;
        } else {
            start = slot + varint::len(header);
            let old_end = self.slots.len();
            self.slots.resize(old_end + start - slot - 1, 0);
            self.slots.copy_within(slot + 1..old_end, start);
            varint::put(&mut self.slots[slot..start], header);
        }
        (slot, start)
    }

    fn push_name(&mut self, kind: u8, path: &[&str]) -> u32 {
        let start = end(&self.names);
        self.names.push(kind);
        for (at, name) in path.iter().enumerate() {
            if at > 0 {
                self.names.push(SEPARATOR as u8);
            }
            self.names.extend_from_slice(name.as_bytes());
        }
        start
    }

    pub(super) fn push_value(
        &mut self,
        kind: u8,
        path: &[&str],
        value: &Value,
    ) -> Result<(), Misuse> {
        let name = self.push_name(kind, path);
        check_value(value.lent())?;
        self.push_slot(name, |slots| value.encode_into(slots));
        Ok(())
    }

    /// The slots of a run of these values, which nest no deeper than is allowed; that a record exists
    /// stands before them, if it is to be new. What is here is taken out.
    #[inline]
    pub(super) fn packed<'v>(
        &mut self,
        is_new: bool,
        values: impl ExactSizeIterator<Item = ValueRef<'v>>,
    ) -> Slots {
        self.slots.clear();
        self.slots.push((values.len() + usize::from(is_new)) as u8);
        if is_new {
            self.slots.push(1);
        }
        for value in values {
            self.push_packed(|slots| value.encode_into(slots));
        }
        let slots = Slots::of_live(&self.slots);
        self.empty();
        slots
    }

    /// Adds a share of a counter.
    pub(super) fn push_share(&mut self, path: &[&str], share: Share) {
        let name = self.push_name(kind::COUNTER, path);
        self.push_slot(name, |slots| Content::Share(share).encode_into(slots));
    }

    /// Adds what a field wants. A counter is none of it: what it wants depends on what it has.
    pub(super) fn push_field<'a>(
        &mut self,
        path: &mut SmallVec<[&'a str; 4]>,
        field: &'a Field,
    ) -> Result<(), Misuse> {
        match field {
            Field::Register(value) => self.push_value(kind::REGISTER, path, value),
            Field::Latest(value) => self.push_value(kind::LATEST, path, value),
            Field::Set(members) => {
                members.iter().try_for_each(|member| self.push_value(kind::MEMBER, path, member))
            }
            Field::Counter(_) => Ok(()),
            Field::Map(fields) => fields.iter().try_for_each(|(name, field)| {
                check_name("a field's name", name)?;
                path.push(name);
                check_path(path)?;
                self.push_field(path, field)?;
                path.pop();
                Ok(())
            }),
        }
    }

    /// How many leaves from one on fit into one run. At least one does, since a path is short.
    fn run_len(&self, space: &[u8], from: usize) -> usize {
        let leaves = &self.leaves[from..];
        let start = leaves.first().map_or(0, |leaf| leaf.name.start);
        let fits = |leaf: &&Leaf| space.len() + (leaf.name.end - start) as usize <= LABEL_BYTES_MAX;
        if leaves.len() <= RUN_DOTS_MAX && leaves.last().as_ref().is_none_or(fits) {
            return leaves.len();
        }
        leaves.iter().take(RUN_DOTS_MAX).take_while(fits).count().max(1)
    }

    /// The label and the slots of the leaves from one on, as many as fit into one run.
    pub(super) fn run(&mut self, labels: &mut Labels, space: &[u8], from: usize) -> (Label, Slots) {
        let leaves = &self.leaves[from..][..self.run_len(space, from)];
        let start = leaves.first().map_or(1, |leaf| leaf.slot);
        let end = leaves.last().map_or(0, |leaf| leaf.bytes.end);
        // What stands before the run is written already.
        if let Some(count) = self.slots.get_mut(start as usize - 1) {
            *count = leaves.len() as u8;
        }
        let slots = Slots::of_live(part(&self.slots, &(start - 1..end)));
        (labels.find(space, &self.names, leaves), slots)
    }
}

/// How the name of a register begins, and its value, if a field is one.
#[inline]
pub(super) fn register(field: FieldRef<'_>) -> Option<(u8, ValueRef<'_>)> {
    match field {
        FieldRef::Register(value) => Some((kind::REGISTER, value)),
        FieldRef::Latest(value) => Some((kind::LATEST, value)),
        FieldRef::Field(Field::Register(value)) => Some((kind::REGISTER, value.lent())),
        FieldRef::Field(Field::Latest(value)) => Some((kind::LATEST, value.lent())),
        FieldRef::Field(Field::Set(_) | Field::Counter(_) | Field::Map(_)) => None,
    }
}

/// Checks the length of a path.
pub(super) fn check_path(path: &[&str]) -> Result<(), Misuse> {
    let bytes: usize = path.iter().map(|name| name.len() + 1).sum();
    for (what, found, limit) in [
        ("the number of names in a path", path.len(), PATH_NAMES_MAX),
        ("the bytes of a path", bytes, PATH_BYTES_MAX),
    ] {
        if found > limit {
            return Err(Misuse::TooLarge { what, found: found as u64, limit: limit as u64 });
        }
    }
    Ok(())
}

#[inline]
pub(super) fn check_value(value: ValueRef<'_>) -> Result<(), Misuse> {
    if let ValueRef::Nested(value) = value { check_depth(value) } else { Ok(()) }
}

fn check_depth(value: &Value) -> Result<(), Misuse> {
    let (found, limit) = (value.depth() as u64, VALUE_DEPTH_MAX as u64);
    if found > limit {
        return Err(Misuse::TooLarge { what: "the depth of a value", found, limit });
    }
    Ok(())
}

/// How many labels are remembered. Arbitrary.
const LABELS_MAX: usize = 64;

/// Of how many kinds of new records the labels are remembered. Arbitrary.
const RECORDS_MAX: usize = 8;

/// Labels that were written lately, so that a change does not make one anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    all: Vec<Label>,
    /// Those of new records of registers alone, whose names were checked.
    records: Vec<Label>,
    /// Those of single registers of records, whose names were checked.
    registers: Vec<Label>,
    /// Those of removals of records, of collections whose names were checked.
    removals: Vec<Label>,
}

impl Labels {
    /// The label of a space and of the names of some leaves, which stand one behind the other.
    fn find(&mut self, space: &[u8], names: &[u8], leaves: &[Leaf]) -> Label {
        let new = || Label::new(space, leaves.iter().map(|leaf| part(names, &leaf.name)));
        if !crate::small::HAS_SHORTCUTS {
            return new();
        }
        let start = leaves.first().map_or(0, |leaf| leaf.name.start);
        let end = leaves.last().map_or(0, |leaf| leaf.name.end);
        let of_leaves = part(names, &(start..end));
        let is_it = |label: &Label| {
            let ends = leaves.iter().map(|leaf| (leaf.name.end - start) as usize);
            label.is_of(space, of_leaves, ends)
        };
        match self.all.iter().position(is_it) {
            Some(0) => self.all[0].clone(),
            Some(at) => {
                self.all.swap(at, at - 1);
                self.all[at - 1].clone()
            }
            None => {
                let label = new();
                self.all.truncate(LABELS_MAX - 1);
                self.all.push(label.clone());
                label
            }
        }
    }

    /// The label of a new record with these fields, all of them registers, if it is known: its names need
    /// no look then.
    pub(super) fn of_record<N: AsRef<str>>(
        &self,
        collection: &str,
        fields: &[(N, FieldRef<'_>)],
    ) -> Option<Label> {
        let has = |name: &[u8], tag: u8, field: &N| matches!(name, [first, path @ ..] if *first == tag && path == field.as_ref().as_bytes());
        let is_it = |label: &&Label| {
            label.len() == fields.len() + 1
                && is_space_of(label, collection)
                && label.names().skip(1).zip(fields).all(|(name, (field, content))| {
                    register(*content).is_some_and(|(kind, _)| has(name, kind, field))
                })
        };
        self.records.iter().find(is_it).cloned()
    }

    /// Remembers the label of a new record, if its fields are registers and all in it.
    pub(super) fn learn_record(&mut self, label: &Label, fields: &[(&str, &Field)]) {
        let is_register = |field: &Field| matches!(field, Field::Register(_) | Field::Latest(_));
        // Behind a run of the most dots comes more.
        let is_plain =
            label.len() < RUN_DOTS_MAX && fields.iter().all(|(_, field)| is_register(field));
        if is_plain && label.len() == fields.len() + 1 && !self.records.contains(label) {
            self.records.truncate(RECORDS_MAX - 1);
            self.records.insert(0, label.clone());
        }
    }

    /// The label of a register of a record, if it is known: its names need no look then.
    pub(super) fn of_register(&mut self, collection: &str, kind: u8, name: &str) -> Option<Label> {
        let is_it = |label: &Label| {
            matches!(label.name(0), [tag, path @ ..] if *tag == kind && are_same(path, name.as_bytes()))
                && is_space_of(label, collection)
        };
        let at = self.registers.iter().position(is_it)?;
        let before = at.saturating_sub(1);
        self.registers.swap(at, before);
        Some(self.registers[before].clone())
    }

    /// Remembers the label of a register of a record, if that is what it is of: its names were checked.
    pub(super) fn learn_register(&mut self, collection: &str, name: &str, label: &Label) {
        let is_it = label.len() == 1
            && matches!(label.name(0), [kind::REGISTER | kind::LATEST, path @ ..] if path == name.as_bytes())
            && is_space_of(label, collection);
        if is_it && !self.registers.contains(label) {
            self.registers.truncate(LABELS_MAX - 1);
            self.registers.push(label.clone());
        }
    }

    /// The label of the removal of a record, if it is known: the collection's name needs no look then.
    pub(super) fn of_removal(&self, collection: &str) -> Option<Label> {
        self.removals.iter().find(|label| is_space_of(label, collection)).cloned()
    }

    /// Remembers the label of the removal of a record: the collection's name was checked.
    pub(super) fn learn_removal(&mut self, collection: &str, label: &Label) {
        if is_space_of(label, collection) && !self.removals.contains(label) {
            self.removals.truncate(LABELS_MAX - 1);
            self.removals.push(label.clone());
        }
    }

    /// The label of a note: a space alone.
    pub(super) fn of_space(&mut self, space: &[u8]) -> Label {
        self.find(space, &[], &[])
    }
}

/// Whether a label is of a collection.
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn is_space_of(label: &Label, collection: &str) -> bool {
    let space = label.space();
    is_collection(space) && are_same(&space[1..], collection.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::place::collection_space;

    fn label(collection: &str, name: &str) -> Label {
        let space = collection_space(collection).unwrap();
        Label::new(&space, [[&[kind::REGISTER], name.as_bytes()].concat().as_slice()])
    }

    fn record(name: &str) -> Label {
        let names = [vec![kind::EXISTS], [&[kind::REGISTER], name.as_bytes()].concat()];
        Label::new(&collection_space("c").unwrap(), names.iter().map(Vec::as_slice))
    }

    #[test]
    fn the_labels_that_are_remembered_are_limited() {
        for count in [LABELS_MAX - 1, LABELS_MAX, LABELS_MAX + 1] {
            let names: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
            let mut labels = Labels::default();
            for name in &names {
                labels.of_space(name.as_bytes());
                labels.learn_register("c", name, &label("c", name));
                labels.learn_removal(name, &label(name, "n"));
            }
            let known = |name: &&String| labels.of_removal(name) == Some(label(name, "n"));
            assert_eq!(names.iter().filter(known).count(), count.min(LABELS_MAX), "{count}");
            assert!(known(&&names[count - 1]), "the last one");
            let mut known = |name: &String| {
                labels.of_register("c", kind::REGISTER, name) == Some(label("c", name))
            };
            assert!(known(&names[count - 1]), "the last one");
            assert_eq!(names.iter().filter(|name| known(name)).count(), count.min(LABELS_MAX));
            assert_eq!(labels.all.len(), count.min(LABELS_MAX));
        }
    }

    #[test]
    fn the_labels_of_new_records_that_are_remembered_are_limited() {
        let field = Field::Register("x".into());
        for count in [RECORDS_MAX - 1, RECORDS_MAX, RECORDS_MAX + 1] {
            let names: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
            let mut labels = Labels::default();
            for name in &names {
                labels.learn_record(&record(name), &[(name, &field)]);
            }
            for (at, name) in names.iter().enumerate() {
                let known = labels.of_record("c", &[(name, FieldRef::Field(&field))]);
                let is_known = at + RECORDS_MAX >= count;
                assert_eq!(known, is_known.then(|| record(name)), "{at} of {count}");
            }
        }
    }

    #[test]
    fn the_memory_that_is_kept_for_the_next_change_is_limited() {
        for beyond in [-1isize, 0, 1] {
            let bytes = KEPT_BYTES_MAX.checked_add_signed(beyond).unwrap();
            let (names, slots) = (Vec::with_capacity(1000), Vec::with_capacity(bytes - 1000));
            let kept = Targets { names, slots, leaves: Vec::new() }.emptied();
            let kept = kept.names.capacity() + kept.slots.capacity();
            assert_eq!(kept, if beyond > 0 { 0 } else { bytes });
        }
    }
}
