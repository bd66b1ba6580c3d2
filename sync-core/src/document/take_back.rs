//! Taking back a change that nobody else has, and writing it anew.

use std::borrow::Cow;

use super::edit::Edit;
use super::target::Targets;
use super::{Again, Document, Kept, Refused};
use crate::causal::{CausalContext, Delta, Dot, Entry, PlaceId, PlaceStore, join};
use crate::small::{BTreeMap, BTreeSet};
use crate::types::Place;
use crate::types::place::Space;

impl<S: PlaceStore> Document<S> {
    /// Takes back a change that nobody else has: what it wrote dies, and what it superseded looks as if it had
    /// never been here, so that whoever has it brings it again. What other changes here say of that holds.
    /// Of these `other` gives one after the other, by their numbers from 0 on. Gives the places that changed.
    pub(crate) fn take_back<'a>(
        &mut self,
        change: &Delta,
        own: &CausalContext,
        other: impl Fn(&S, usize) -> Result<Option<Cow<'a, Delta>>, S::Error>,
    ) -> Result<BTreeSet<Place>, S::Error> {
        for (replica, ranges) in own.iter() {
            for (start, end) in ranges.iter() {
                self.store.kill(replica, start, end, &mut Vec::new())?;
            }
        }
        for (replica, ranges) in change.dead.difference(own).iter() {
            self.store.unsee(replica, ranges)?;
        }
        let mut number = 0;
        while let Some(other) = other(&self.store, number)? {
            join(&mut self.store, &other)?;
            number += 1;
        }
        self.kept = Kept::default();
        let entries = change.entries.iter().map(|entry| (entry.label.space(), &entry.id));
        let notes = change.notes.iter().map(|note| (note.label.space(), &note.id));
        let mut places = BTreeSet::new();
        for (space, id) in entries.chain(notes) {
            self.settle(space, id)?;
            places.extend(Place::of(space, id));
        }
        Ok(places)
    }
}

impl<S: PlaceStore> Edit<'_, S> {
    /// Puts fresh dots in place of those that are live of these, with what they say. Gives which stands for
    /// which.
    pub(crate) fn write_again(
        &mut self,
        own: &CausalContext,
    ) -> Result<Vec<Again>, Refused<S::Error>> {
        let mut again = Vec::new();
        let mut places: BTreeMap<(Space, PlaceId), Vec<Entry>> = BTreeMap::new();
        for (replica, ranges) in own.iter() {
            for (start, end) in ranges.iter() {
                let known = self.document().store().overlapping(replica, start, end);
                for entry in known.map_err(Refused::Store)? {
                    let key = (Space::from_slice(entry.label.space()), entry.id.clone());
                    places.entry(key).or_default().push(entry);
                }
            }
        }
        for ((space, id), entries) in places {
            let (mut targets, mut gone) = (Targets::default(), CausalContext::default());
            let mut new = self.next_dot();
            for entry in &entries {
                for (at, slot) in entry.slots.iter().enumerate() {
                    let dot = Dot::new(entry.replica(), entry.first.counter + at as u64);
                    if let Some(bytes) = slot
                        && own.contains(dot)
                    {
                        targets.push_raw(entry.label.name(at), bytes);
                        gone.insert(dot);
                        again.push(Again { old: dot, new });
                        new.counter += 1;
                    }
                }
            }
            self.write(&space, &id, &mut targets, gone)?;
        }
        Ok(again)
    }
}
