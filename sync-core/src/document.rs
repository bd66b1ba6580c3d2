//! A document: named collections, sets and values, as views over the kernel.

mod changes;
mod edit;
mod kept;
mod openings;
mod ordered;
mod orphan;
mod overwritten;
mod recorded;
mod revert;
mod settle;
mod take_back;
mod target;
mod touched;
mod undo;

use std::mem::take;

use crate::small::BTreeSet;

pub use changes::FieldChange;
pub use edit::{Author, Edit};
pub use ordered::KEY_BYTES_MAX;
pub use orphan::Orphan;
pub use revert::{Reversal, Reverting};
pub use touched::Touched;
pub use undo::{Again, History, Undo};

use self::kept::Kept;
use self::settle::Left;
use self::target::{Labels, Targets};
use crate::causal::{Delta, Entry, EntryView, MemoryStore, Overwrite, PlaceId, PlaceStore};
use crate::error::Misuse;
use crate::types::element::{self, kind};
use crate::types::place::{collection_space, is_collection, set_space, value_space};
use crate::types::{Conflict, Content, Place, Record, RecordId, Value, ValueRef, read};

/// The unit of sync and of access: what the entries of a store say.
///
/// It keeps nothing itself, so a document is as large as its store.
#[derive(Debug, Clone)]
pub struct Document<S = MemoryStore> {
    store: S,
    labels: Labels,
    kept: Kept,
    policy: EditAgainstDelete,
    /// Empty between changes: memory that the next one uses again.
    targets: Targets,
    killed: Vec<Entry>,
}

/// What becomes of an edit that did not know that its record was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EditAgainstDelete {
    /// Whoever held the whole record, or removed it and keeps the undo copy, asserts it again: no data
    /// are lost.
    #[default]
    KeepEdits,
    /// Nothing is asserted again: the edit stands among the conflicts, to be restored or dismissed.
    DeleteWins,
}

/// What a join changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The places with other elements than before.
    pub touched: Touched,
    /// Records of which only an edit is left, and what they held until this join.
    pub orphans: Vec<Orphan>,
    /// Whether the delta brought anything new.
    pub is_new: bool,
}

/// What an edit did.
#[derive(Debug, Default)]
pub struct Edited<T> {
    /// What the closure gave.
    pub value: T,
    /// The change, to be stored and sent. Empty when nothing changed.
    pub delta: Delta,
    /// The places that changed.
    pub touched: Touched,
    /// How to undo it.
    pub undo: Undo,
}

/// Is shown what was live and is no more.
type Look<'a> = dyn FnMut(&[Entry]) + 'a;

/// Why a change was not made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused<E = std::convert::Infallible> {
    /// The caller asked for something that cannot be done.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The store failed.
    #[error("the store failed")]
    Store(E),
}

impl From<Refused<std::convert::Infallible>> for Misuse {
    fn from(refused: Refused<std::convert::Infallible>) -> Self {
        match refused {
            Refused::Misuse(misuse) => misuse,
            Refused::Store(never) => match never {},
        }
    }
}

impl<S: PlaceStore> Document<S> {
    /// Takes a store as it is.
    pub fn new(store: S) -> Self {
        let (labels, kept) = (Labels::default(), Kept::default());
        let (policy, targets) = (EditAgainstDelete::default(), Targets::default());
        Self { store, labels, kept, policy, targets, killed: Vec::new() }
    }

    /// Decides what becomes of edits of removed records from here on.
    pub fn set_policy(&mut self, policy: EditAgainstDelete) {
        self.policy = policy;
    }

    /// The state.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Joins a delta of another replica.
    pub fn join(&mut self, delta: &Delta) -> Result<Change, S::Error> {
        self.join_with(delta, None)
    }

    /// Joins a delta, and shows what was live and is no more.
    pub(crate) fn join_and_look(
        &mut self,
        delta: &Delta,
        look: impl FnOnce(&[Entry]),
    ) -> Result<Change, S::Error> {
        let mut look = Some(look);
        let mut once = |killed: &[Entry]| look.take().into_iter().for_each(|look| look(killed));
        self.join_with(delta, Some(&mut once))
    }

    fn join_with(
        &mut self,
        delta: &Delta,
        look: Option<&mut Look<'_>>,
    ) -> Result<Change, S::Error> {
        if crate::small::HAS_SHORTCUTS {
            self.forget_killed();
        }
        if crate::small::HAS_SHORTCUTS
            && !broken!(JoinKeepsDead)
            && let Some(touched) = self.join_at_once(delta, look.is_some())?
        {
            if let Some(look) = look {
                look(&self.killed);
            }
            self.forget_killed();
            return Ok(Change { touched, orphans: Vec::new(), is_new: true });
        }
        let killed = take(&mut self.killed);
        let (mut joined, overwritten, taken) = self.join_in_part(delta, killed)?;
        let (touched, unsettled) = Touched::by(&joined, delta, &overwritten);
        joined.killed.extend(taken);
        let (mut partial, mut mixed, mut stands) =
            (Vec::new(), Vec::new(), !overwritten.is_empty());
        for (label, id) in touched.iter().take(unsettled) {
            match self.settle(label.space(), id)? {
                Left::Part => partial.push((label.clone(), id.clone())),
                Left::Record { has_copy } => {
                    stands = true;
                    self.kept.forget(label.space(), id);
                    if has_copy {
                        mixed.push((label.clone(), id.clone()));
                    }
                }
                Left::Other => {}
            }
        }
        let mut orphans = orphan::find(self, partial, &joined, delta)?;
        if !mixed.is_empty() || orphan::may_tear(&joined, &delta.notes, &touched, stands) {
            orphans.extend(orphan::find_torn(self, &mixed, &joined, delta)?);
        }
        let is_new = !joined.is_empty() || !overwritten.is_empty();
        if let Some(look) = look {
            look(&joined.killed);
        }
        self.keep_memory(joined.killed);
        Ok(Change { touched, orphans, is_new })
    }

    /// Joins a delta that puts one element in place of another, or takes a record whole: nothing clashes by
    /// that, and nothing is left in part. Gives the place. Does nothing otherwise.
    #[inline]
    fn join_at_once(&mut self, delta: &Delta, is_shown: bool) -> Result<Option<Touched>, S::Error> {
        let Self { store, kept, killed, .. } = self;
        if let Some((entry, dead)) = delta.as_overwrite() {
            let taken = is_shown.then_some(killed);
            let done = store.overwrite(entry, Some(dead), taken, kind::EXISTS)?;
            if matches!(done, Overwrite::Done(_)) {
                kept.forget(entry.label.space(), &entry.id);
                return Ok(Some(Touched::only(&entry.label, &entry.id)));
            }
        } else if let Some(note) = delta.as_removal()
            && !broken!(JoinForgetsUnseen)
            && store.bury(note, Some(&delta.dead), kind::EXISTS, killed)?
        {
            let label = killed.first().map_or(&note.label, |taken| &taken.label);
            return Ok(Some(Touched::only(label, &note.id)));
        }
        Ok(None)
    }

    /// Keeps the memory of what died for the next change.
    fn keep_memory(&mut self, killed: Vec<Entry>) {
        self.killed = killed;
        self.forget_killed();
    }

    /// Forgets what died, and keeps the memory of it for the next change.
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    fn forget_killed(&mut self) {
        if self.killed.capacity() > KILLED_MAX {
            self.killed = Vec::new();
        } else if !self.killed.is_empty() {
            self.killed.clear();
        }
    }

    /// Makes a change of this replica: applied whole, or not at all when the closure fails or the
    /// delta would be larger than `bytes_max`.
    pub fn edit<T>(
        &mut self,
        author: Author,
        bytes_max: usize,
        change: impl FnOnce(&mut Edit<'_, S>) -> Result<T, Refused<S::Error>>,
    ) -> Result<Edited<T>, Refused<S::Error>> {
        let mut edited = Edited::default();
        let mut edit = Edit::new(self, author, &mut edited)?;
        let outcome = change(&mut edit);
        let value = edit.finish(outcome, bytes_max)?;
        let Edited { delta, touched, undo, .. } = edited;
        Ok(Edited { value, delta, touched, undo })
    }

    /// Whether something about a record clashes.
    pub(crate) fn clashes(&self, collection: &str, id: &RecordId) -> Result<bool, S::Error> {
        let Ok(space) = collection_space(collection) else { return Ok(false) };
        self.store.is_open(&space, id.as_place_id())
    }

    /// The live elements of a place.
    pub fn elements(&self, place: &Place) -> Result<Record, S::Error> {
        let none = Ok(Record::default());
        match place {
            Place::Record { collection, id } => {
                let Ok(space) = collection_space(collection) else { return none };
                self.record_at(&space, id.as_place_id())
            }
            Place::Set { name } => {
                let mut record = Record::default();
                let Ok(space) = set_space(name) else { return none };
                let add = &mut |entries: &[EntryView<'_>]| {
                    entries.iter().for_each(|entry| record.add(*entry));
                };
                self.store.each(&space, None, usize::MAX, add)?;
                Ok(record)
            }
            Place::Value { name } => {
                let Ok(space) = value_space(name) else { return none };
                self.record_at(&space, &PlaceId::default())
            }
        }
    }

    fn record_at(&self, space: &[u8], id: &[u8]) -> Result<Record, S::Error> {
        let mut record = Record::default();
        self.store.at(space, id, &mut |entry| record.add(entry))?;
        Ok(record)
    }

    /// A record that is there.
    pub fn record(&self, collection: &str, id: &RecordId) -> Result<Option<Record>, S::Error> {
        let Ok(space) = collection_space(collection) else { return Ok(None) };
        let record = self.record_at(&space, id.as_place_id())?;
        Ok(Some(record).filter(Record::is_shown))
    }

    /// Shows every register of a record with the value that reading it gives, in no particular order: the
    /// quickest way to read a whole record. Says whether the record is there.
    pub fn read(
        &self,
        collection: &str,
        id: &RecordId,
        show: &mut dyn FnMut(&str, ValueRef<'_>),
    ) -> Result<bool, S::Error> {
        let Ok(space) = collection_space(collection) else { return Ok(false) };
        let mut is_there = false;
        let mut show_all = |entries: &[EntryView<'_>]| is_there = read(entries, show);
        self.store.all_at(&space, id.as_place_id(), &mut show_all)?;
        Ok(is_there)
    }

    /// A page of the records of a collection, in the order of their ids, beginning after `after`.
    /// The page has up to `limit` ids; those that are only left in parts are not shown.
    pub fn page(
        &self,
        collection: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Page, S::Error> {
        let mut records = Vec::new();
        let show = &mut |id, record| records.push((id, record));
        let next = self.walk(collection, after, limit, show)?;
        Ok(Page { records, next })
    }

    /// The records of a collection, in the order of their ids.
    pub fn records(&self, collection: &str) -> Result<Vec<(RecordId, Record)>, S::Error> {
        Ok(self.page(collection, None, usize::MAX)?.records)
    }

    /// Shows the records of a collection one by one, in the order of their ids.
    pub fn each_record(
        &self,
        collection: &str,
        show: &mut dyn FnMut(RecordId, Record),
    ) -> Result<(), S::Error> {
        self.walk(collection, None, usize::MAX, show).map(|_| ())
    }

    /// Shows the records of a page. Gives after which id the next one begins.
    fn walk(
        &self,
        collection: &str,
        after: Option<&RecordId>,
        limit: usize,
        show: &mut dyn FnMut(RecordId, Record),
    ) -> Result<Option<RecordId>, S::Error> {
        let Ok(space) = collection_space(collection) else { return Ok(None) };
        let after = after.map(|after| &**after.as_place_id());
        let (mut count, mut next) = (0, None);
        self.store.each(&space, after, limit, &mut |entries| {
            count += 1;
            let id = entries.first().and_then(|first| RecordId::from_place_id(first.id));
            let Some(id) = id else { return };
            if limit < usize::MAX {
                next = Some(id.clone());
            }
            let mut record = Record::default();
            entries.iter().for_each(|entry| record.add(*entry));
            if record.is_shown() {
                show(id, record);
            }
        })?;
        Ok(next.filter(|_| count == limit))
    }

    /// The names of the collections that hold anything, in order.
    pub fn collections(&self) -> Result<Vec<String>, S::Error> {
        let spaces = self.store.spaces()?;
        let names = spaces
            .iter()
            .filter(|space| is_collection(space))
            .filter_map(|space| std::str::from_utf8(space.get(1..)?).ok().map(str::to_owned));
        Ok(names.collect())
    }

    /// The members of a set of the document.
    pub fn set(&self, name: &str) -> Result<BTreeSet<Value>, S::Error> {
        let record = self.elements(&Place::Set { name: name.to_owned() })?;
        Ok(record.members("").into_iter().cloned().collect())
    }

    /// Whether a set of the document has a member.
    pub fn set_contains(&self, name: &str, value: &Value) -> Result<bool, S::Error> {
        let Ok(space) = set_space(name) else { return Ok(false) };
        let record = self.record_at(&space, &member_id(value))?;
        Ok(record.members("").contains(value))
    }

    /// What a counter of the document stands at.
    pub fn counter(&self, name: &str) -> Result<i64, S::Error> {
        Ok(self.elements(&Place::Value { name: name.to_owned() })?.count(""))
    }

    /// What a register of the document holds.
    pub fn value(&self, name: &str) -> Result<Option<Value>, S::Error> {
        let record = self.elements(&Place::Value { name: name.to_owned() })?;
        Ok(record.value(""))
    }

    /// Everything that clashes, by place.
    pub fn conflicts(&self) -> Result<Vec<(Place, Conflict)>, S::Error> {
        let mut all = Vec::new();
        for (space, id) in self.store.open()? {
            let Some(place) = Place::of(&space, &id) else { continue };
            let record = self.record_at(&space, &id)?;
            let conflicts = record.conflicts_of(is_collection(&space)).into_iter();
            all.extend(conflicts.map(|conflict| (place.clone(), conflict)));
        }
        Ok(all)
    }
}

impl Default for Document<MemoryStore> {
    /// An empty document in memory.
    fn default() -> Self {
        Self::new(MemoryStore::default())
    }
}

impl Document<MemoryStore> {
    /// Every dot seen.
    #[must_use]
    pub fn context(&self) -> &crate::causal::CausalContext {
        self.store.context()
    }
}

/// Records of a collection, and where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records that are there.
    pub records: Vec<(RecordId, Record)>,
    /// After which id the next page begins; none on the last one.
    pub next: Option<RecordId>,
}

/// For how many entries that died memory is kept. Arbitrary.
const KILLED_MAX: usize = 16;

/// The id of a member of a set: its bytes, or a hash where they are too long.
fn member_id(value: &Value) -> PlaceId {
    let mut bytes = Vec::new();
    Content::Member(value.clone()).encode_into(&mut bytes);
    element::member_id(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, Label, Note, PlaceId, ReplicaId, Slots};
    use crate::error::Sure;
    use crate::time::Stamp;

    #[test]
    fn the_memory_that_is_kept_for_what_dies_is_limited() {
        for count in [KILLED_MAX - 1, KILLED_MAX, KILLED_MAX + 1] {
            let mut document = Document::default();
            document.keep_memory(Vec::with_capacity(count));
            let kept = document.killed.capacity();
            assert_eq!(kept, if count > KILLED_MAX { 0 } else { count });
        }
    }

    #[test]
    fn a_removal_of_many_entries_at_once_keeps_no_memory() {
        let dot = |counter| Dot::new(ReplicaId::from_bytes([1; 16]), counter);
        let stamp = Stamp::from_bits(1);
        let label = |name: &str| Label::new(b"\x01notes", [name.as_bytes()]);
        let mut document = Document::default();
        for counter in 1..=10 * KILLED_MAX as u64 {
            let existence = counter == 1;
            let name = if existence { "\0".to_owned() } else { format!("\x01f{counter}") };
            let bytes = if existence { &b""[..] } else { b"\xa1x" };
            let slots = Slots::new([Some(bytes)].into_iter());
            let id = PlaceId::new(b"id");
            let entry = Entry { first: dot(counter), stamp, label: label(&name), id, slots };
            document.join(&Delta { entries: [entry].into(), ..Delta::default() }).sure();
        }
        let last = 10 * KILLED_MAX as u64 + 1;
        let label = Label::new(b"\x01notes", []);
        let note = Note { dot: dot(last), stamp, label, id: PlaceId::new(b"id") };
        let dead = (1..=last).map(dot).collect();
        let removal = Delta { dead, notes: [note].into(), ..Delta::default() };
        document.join(&removal).sure();
        assert_eq!(document.store().iter().count(), 0);
        assert!(document.killed.capacity() <= KILLED_MAX, "{}", document.killed.capacity());
    }
}
