//! A document: named collections of records and named sets, as views over the kernel.

mod edit;
mod orphan;

use std::collections::{BTreeMap, BTreeSet};

pub use edit::{Author, Edit};
pub use orphan::Orphan;

use crate::causal::{CausalContext, Delta, Dot, Entry, Joined, MemoryStore};
use crate::error::Misuse;
use crate::types::{Conflict, Element, Header, Kind, Place, Record, RecordId, Value};

/// The unit of sync and of access. It indexes the places of live dots; values are read from the store.
#[derive(Debug, Clone, Default)]
pub struct Document {
    store: MemoryStore,
    places: BTreeMap<Place, BTreeSet<Dot>>,
    unreadable: BTreeSet<Dot>,
}

/// What a join or an edit changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The places with other elements than before.
    pub places: BTreeSet<Place>,
    /// Records of which only an edit is left, and what they held until this join.
    pub orphans: Vec<Orphan>,
    /// Whether the delta brought anything new.
    pub is_new: bool,
}

/// What an edit did.
#[derive(Debug)]
pub struct Edited<T> {
    /// What the closure gave.
    pub value: T,
    /// The change, to be stored and sent. Empty when nothing changed.
    pub delta: Delta,
    /// The places that changed.
    pub places: BTreeSet<Place>,
}

impl Document {
    /// Takes a state as it was stored.
    #[must_use]
    pub fn load(store: MemoryStore) -> Self {
        let mut document = Self { store, ..Self::default() };
        let entries: Vec<Entry> = document.store.iter().cloned().collect();
        for entry in &entries {
            document.index(entry);
        }
        document
    }

    /// The state.
    #[must_use]
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// Every dot seen.
    #[must_use]
    pub fn context(&self) -> &CausalContext {
        self.store.context()
    }

    /// Live dots whose bytes this version cannot read. They are kept and passed on.
    #[must_use]
    pub fn unreadable_count(&self) -> usize {
        self.unreadable.len()
    }

    /// Joins a delta of another replica.
    pub fn join(&mut self, delta: &Delta) -> Change {
        let joined = self.store.join(delta);
        let places = self.reindex(&joined);
        let orphans = orphan::find(self, &places, &joined, &delta.notes);
        Change { places, orphans, is_new: !joined.is_empty() }
    }

    /// Makes a change of this replica: applied whole, or not at all when the closure fails or the
    /// delta would be larger than `bytes_max`.
    pub fn edit<T>(
        &mut self,
        author: Author,
        bytes_max: usize,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Misuse>,
    ) -> Result<Edited<T>, Misuse> {
        let mut edit = Edit::new(self, author);
        let outcome = change(&mut edit);
        edit.finish(outcome, bytes_max)
    }

    /// The live elements of a place.
    #[must_use]
    pub fn elements(&self, place: &Place) -> Record {
        let mut record = Record::default();
        for dot in self.places.get(place).into_iter().flatten() {
            let Some((header, slot)) = self.store.live_slot(*dot) else { continue };
            if let (Ok(header), Ok(element)) = (Header::decode(header), Element::decode(slot)) {
                record.add(*dot, header.stamp, element);
            }
        }
        record
    }

    /// A record that is there.
    #[must_use]
    pub fn record(&self, collection: &str, id: &RecordId) -> Option<Record> {
        let place = Place::Record { collection: collection.to_owned(), id: id.clone() };
        Some(self.elements(&place)).filter(Record::is_shown)
    }

    /// The records of a collection, in the order of their ids.
    pub fn records(&self, collection: &str) -> impl Iterator<Item = (&RecordId, Record)> {
        self.all_places(collection).filter_map(|(id, place)| {
            Some((id, Some(self.elements(place)).filter(Record::is_shown)?))
        })
    }

    /// The members of a set of the document.
    #[must_use]
    pub fn set(&self, name: &str) -> BTreeSet<Value> {
        let record = self.elements(&Place::Set { name: name.to_owned() });
        record.sets.into_values().flat_map(BTreeMap::into_keys).collect()
    }

    /// Everything that clashes, by record.
    #[must_use]
    pub fn conflicts(&self) -> Vec<(Place, Conflict)> {
        let all = self.places.keys().flat_map(|place| {
            let conflicts = self.elements(place).conflicts().into_iter();
            conflicts.map(|conflict| (place.clone(), conflict))
        });
        all.collect()
    }

    fn all_places(&self, collection: &str) -> impl Iterator<Item = (&RecordId, &Place)> {
        let all = self.places.keys();
        let wanted = collection.to_owned();
        all.filter_map(move |place| match place {
            Place::Record { collection, id } if *collection == wanted => Some((id, place)),
            Place::Record { .. } | Place::Set { .. } => None,
        })
    }

    /// Takes what a join changed into the index, and names the places.
    fn reindex(&mut self, joined: &Joined) -> BTreeSet<Place> {
        let mut changed = BTreeSet::new();
        for killed in &joined.killed {
            changed.extend(self.unindex(killed.dot, &killed.header));
        }
        for entry in &joined.added {
            // A dot that was added and killed in one join is not live.
            changed.extend(self.index(entry));
        }
        changed
    }

    fn index(&mut self, entry: &Entry) -> Option<Place> {
        let dots = entry.live().filter(|(dot, _)| self.store.live_slot(*dot).is_some());
        let Ok(header) = Header::decode(&entry.header) else {
            let dots: Vec<_> = dots.map(|(dot, _)| dot).collect();
            self.unreadable.extend(dots);
            return None;
        };
        let mut readable = BTreeSet::new();
        let mut unreadable = BTreeSet::new();
        for (dot, slot) in dots {
            let is_readable = Element::decode(slot).is_ok();
            if is_readable {
                readable.insert(dot)
            } else {
                unreadable.insert(dot)
            };
        }
        self.unreadable.extend(unreadable);
        if !readable.is_empty() {
            self.places.entry(header.place.clone()).or_default().extend(readable);
        }
        Some(header.place)
    }

    fn unindex(&mut self, dot: Dot, header: &[u8]) -> Option<Place> {
        self.unreadable.remove(&dot);
        let place = Header::decode(header).ok()?.place;
        if let Some(dots) = self.places.get_mut(&place) {
            dots.remove(&dot);
            if dots.is_empty() {
                self.places.remove(&place);
            }
        }
        Some(place)
    }
}

/// Whether an element says that a record exists.
fn is_existence(slot: &[u8]) -> bool {
    Element::decode(slot).is_ok_and(|element| element.kind == Kind::Exists)
}
