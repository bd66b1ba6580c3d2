//! Taking back what some replicas wrote, out of a record of what happened.
//!
//! Each change in order is either to be taken back or not. What was replaced by one that is to be taken
//! back comes again, unless one that stays was made in full knowledge of that: who overwrote a value has
//! seen what it stood for.

use std::collections::BTreeMap;

use super::edit::Edit;
use super::undo::{Before, Count, CountedBy, Places, Replaced, Undo, undo_place};
use super::{Document, Refused};
use crate::causal::{CausalContext, Delta, Entry, PlaceId, PlaceStore, ReplicaId};
use crate::small::BTreeSet;
use crate::types::place::{Space, is_place};
use crate::types::{Content, Element, Place, Renaming};

/// What is to be taken back, as it is put together change by change.
#[derive(Debug, Default)]
pub struct Reverting {
    added: CausalContext,
    replaced: BTreeMap<(Space, PlaceId), Vec<Ghost>>,
    counts: BTreeMap<(Space, PlaceId), Vec<Count>>,
    unclear: BTreeSet<Place>,
}

/// What stood before what is to be taken back, as an entry of one slot.
#[derive(Debug)]
struct Ghost {
    element: Element,
    entry: Entry,
}

/// What is to be taken back, by place: what [`Edit::revert`] writes.
#[derive(Debug, Clone)]
pub struct Reversal {
    places: Vec<((Space, PlaceId), Before)>,
}

impl Reversal {
    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The same where a part of a replica's history stands under another one.
    #[must_use]
    pub fn renamed(&self, renaming: &Renaming) -> Self {
        let places =
            self.places.iter().map(|(place, before)| (place.clone(), before.renamed(renaming)));
        Self { places: places.collect() }
    }

    /// Whether nothing is to be taken back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Who took what died in a change of several replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakenBy {
    Wanted,
    Others,
    Unclear,
}

impl Reverting {
    /// Takes the next change. What replicas wrote that are wanted is to be taken back, what others did is
    /// not. Changes are given in the order in which they were joined.
    pub fn add(&mut self, delta: &Delta, undo: &Undo, is_wanted: impl Fn(ReplicaId) -> bool) {
        let (mut wanted, mut has_others) = (CausalContext::default(), false);
        for (replica, ranges) in undo.added.iter() {
            if is_wanted(replica) {
                wanted.insert_ranges(replica, ranges);
            } else {
                has_others = true;
            }
        }
        let mut by_place: BTreeMap<(Space, PlaceId), Vec<Ghost>> = BTreeMap::new();
        for entry in undo.replaced().iter().filter(|entry| is_place(entry.label.space())) {
            let key = (Space::from_slice(entry.label.space()), entry.id.clone());
            by_place.entry(key).or_default().extend(ghosts(entry));
        }
        for (key, died) in by_place {
            let new = if has_others && !wanted.is_empty() {
                written(delta, undo, &key)
            } else {
                Vec::new()
            };
            let taken_by = |element: &Element| match (wanted.is_empty(), has_others) {
                (true, _) => TakenBy::Others,
                (false, false) => TakenBy::Wanted,
                (false, true) => taken_by(element, &new, delta, &key, &is_wanted),
            };
            self.take_place(&key, died, &wanted, taken_by);
        }
        for count in undo.counts.iter().filter(|count| is_wanted(count.by)) {
            let counts = self.counts.entry((count.space.clone(), count.id.clone())).or_default();
            let same = |known: &&mut Count| known.path == count.path && known.owner == count.owner;
            match counts.iter_mut().find(same) {
                Some(known) => known.amount = known.amount.saturating_add(count.amount),
                None => counts.push(count.clone()),
            }
        }
        self.added.union(&wanted);
    }

    /// Takes what died of one place in a change.
    fn take_place(
        &mut self,
        key: &(Space, PlaceId),
        died: Vec<Ghost>,
        wanted: &CausalContext,
        taken_by: impl Fn(&Element) -> TakenBy,
    ) {
        let is_own = |element: &Element| {
            let dot = element.claim.dot;
            self.added.contains(dot) || wanted.contains(dot)
        };
        let died: Vec<_> = died
            .into_iter()
            .map(|ghost| (taken_by(&ghost.element), is_own(&ghost.element), ghost))
            .collect();
        let replaced = self.replaced.entry(key.clone()).or_default();
        let exists = |element: &Element| element.content == Content::Exists;
        // Whoever else removed the record has settled what was before, and so has who made it anew since.
        let is_anew = replaced.iter().any(|known| exists(&known.element));
        let ends = |(by, is_own, ghost): &(TakenBy, bool, Ghost)| {
            let is_settled =
                *by == TakenBy::Others || (is_anew && *by == TakenBy::Wanted && !is_own);
            is_settled && exists(&ghost.element)
        };
        if died.iter().any(ends) {
            replaced.clear();
        }
        if died.iter().any(|one| ends(one) && one.0 == TakenBy::Others) {
            self.counts.remove(key);
        }
        for (by, is_own, ghost) in &died {
            if *by == TakenBy::Unclear {
                self.unclear.extend(Place::of(&key.0, &key.1));
            } else if is_own ^ (*by == TakenBy::Wanted) {
                // Overwritten by others, or made by them since: what stood before either is settled.
                replaced.retain(|known| !known.element.stands_for(&ghost.element));
            }
            if let (TakenBy::Others, Content::Share(share)) = (by, &ghost.element.content)
                && let Some(counts) = self.counts.get_mut(key)
            {
                let path = ghost.element.path();
                counts.retain(|count| count.owner != share.owner || count.path != path);
            }
        }
        let back = died.into_iter().filter(|(by, is_own, _)| *by == TakenBy::Wanted && !is_own);
        replaced.extend(back.map(|(_, _, ghost)| ghost));
    }

    /// The places of which something died, and it is not known by whom: several replicas' changes came as
    /// one. What was there stays away.
    pub fn unclear(&self) -> impl Iterator<Item = &Place> {
        self.unclear.iter()
    }

    /// What is to be written for that in a document as it stands.
    pub fn reversal<S: PlaceStore>(self, document: &Document<S>) -> Result<Reversal, S::Error> {
        let entries = self.replaced.into_values().flatten().map(|ghost| ghost.entry);
        let counts = self.counts.into_values().flatten();
        let undo = Undo {
            added: self.added,
            killed: Replaced::of(&mut entries.collect()),
            counts: counts.filter(|count| count.amount != 0).collect(),
        };
        let places: Places = document.places_of(&undo)?;
        Ok(Reversal { places: places.into_iter().collect() })
    }
}

/// The live elements of an entry that this version can read, each alone.
fn ghosts(entry: &Entry) -> impl Iterator<Item = Ghost> {
    entry.slots.iter().enumerate().filter_map(|(slot, bytes)| {
        let mut dot = entry.first;
        dot.counter += slot as u64;
        let element = Element::decode(dot, entry.stamp, &entry.label, slot, bytes?).ok()?;
        Some(Ghost { element, entry: entry.only(1 << slot) })
    })
}

/// What a change wrote to a place, that was new by it.
fn written(delta: &Delta, undo: &Undo, (space, id): &(Space, PlaceId)) -> Vec<Element> {
    let here =
        delta.entries.iter().filter(|entry| entry.label.space() == &**space && entry.id == *id);
    let elements = here.flat_map(|entry| ghosts(entry).collect::<Vec<_>>());
    let new = elements.map(|ghost| ghost.element);
    new.filter(|element| undo.added.contains(element.claim.dot)).collect()
}

/// Who took an element, in a change of several replicas: whoever wrote the same thing anew, or else whoever
/// removed the record.
fn taken_by(
    element: &Element,
    new: &[Element],
    delta: &Delta,
    (space, id): &(Space, PlaceId),
    is_wanted: &impl Fn(ReplicaId) -> bool,
) -> TakenBy {
    let same = new.iter().filter(|new| new.stands_for(element));
    let mut writers: Vec<ReplicaId> = same.map(|new| new.claim.dot.replica).collect();
    if writers.is_empty() {
        let here =
            delta.notes.iter().filter(|note| note.label.space() == &**space && note.id == *id);
        writers.extend(here.map(|note| note.dot.replica));
    }
    match (writers.iter().any(|one| is_wanted(*one)), writers.iter().all(|one| is_wanted(*one))) {
        (true, true) => TakenBy::Wanted,
        (false, _) if !writers.is_empty() => TakenBy::Others,
        _ => TakenBy::Unclear,
    }
}

impl<S: PlaceStore> Edit<'_, S> {
    /// Takes back what is to be taken back at some of its places, by their numbers. What others have
    /// written since stays. Whoever takes back the same elsewhere meanwhile does the same: counters count
    /// back once.
    pub fn revert(
        &mut self,
        reversal: &Reversal,
        places: std::ops::Range<usize>,
    ) -> Result<(), Refused<S::Error>> {
        for ((space, id), before) in reversal.places.get(places).unwrap_or_default() {
            undo_place(self, (space, id), before, CountedBy::All, &mut Vec::new())?;
        }
        Ok(())
    }
}
