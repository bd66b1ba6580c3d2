//! An edit that meets a delete: what is left of the record, and what can be asserted again.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::Author;
use super::target::Targets;
use super::{Document, Edited, Refused};
use crate::causal::{Dot, Entry, Joined, Note, PlaceId, PlaceStore};
use crate::time::Stamp;
use crate::types::element::{self, kind};
use crate::types::place::{Space, is_collection};
use crate::types::{Content, CopyOf, Element, Place, Record};

/// A record whose existence a join took, while an edit that the delete did not see is live.
///
/// The replica that did this join held the whole record until then, so it can assert it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    space: Space,
    id: PlaceId,
    /// The latest of the edits that are left.
    pub edit: Dot,
    /// The removal, where it came along.
    pub removal: Option<Dot>,
    /// When it was removed, where that is known.
    pub removed_at: Option<Stamp>,
    /// What the join took from the record.
    taken: Vec<Element>,
}

impl Orphan {
    /// The record.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Place::of(&self.space, &self.id)
    }

    /// The elements that make the record whole again: copies with their first stamps, of everything
    /// that is not there in another version.
    fn copies(&self, left: &Record) -> Vec<(&Element, CopyOf)> {
        let mut origins = BTreeSet::new();
        let mut copies = Vec::new();
        for element in &self.taken {
            let has = |other: &Element| {
                other.path() == element.path()
                    && match (&other.content, &element.content) {
                        (Content::Register(_), Content::Register(_))
                        | (Content::Latest(_), Content::Latest(_)) => true,
                        (Content::Member(a), Content::Member(b)) => a == b,
                        (Content::Share(a), Content::Share(b)) => a.owner == b.owner,
                        _ => false,
                    }
            };
            let (origin, stamp) = (element.claim.origin(), element.claim.stamp);
            if !left.elements().iter().any(has) && origins.insert(origin) {
                let copy = CopyOf { origin, stamp, edit: self.edit, removal: self.removal };
                copies.push((element, copy));
            }
        }
        // The existence last: a record that comes in parts is not shown before it is whole.
        copies.sort_by_key(|(element, _)| element.content == Content::Exists);
        copies
    }
}

/// Whether an entry holds the existence of a record.
fn holds_existence(entry: &Entry) -> bool {
    let mut names = entry.view().named();
    is_collection(entry.label.space())
        && names
            .any(|(_, name, _)| name.first().is_some_and(|tag| tag & !kind::COPY == kind::EXISTS))
}

/// Finds the records that a join left without their existence.
pub(super) fn find<S: PlaceStore>(
    document: &Document<S>,
    joined: &Joined,
    notes: &[Note],
) -> Result<Vec<Orphan>, S::Error> {
    let lost = joined.killed.iter().filter(|killed| holds_existence(killed));
    let mut places: BTreeMap<(&[u8], &PlaceId), Record> = BTreeMap::new();
    for killed in lost {
        places.entry((killed.label.space(), &killed.id)).or_default();
    }
    let mut orphans = Vec::new();
    if places.is_empty() {
        return Ok(orphans);
    }
    places.retain(|(space, id), _| {
        // Most removals leave nothing; that is seen without reading.
        let mut is_left = false;
        let shown = document.store.at(space, id, &mut |_| is_left = true);
        is_left || shown.is_err()
    });
    for killed in &joined.killed {
        if let Some(taken) = places.get_mut(&(killed.label.space(), &killed.id)) {
            taken.add(killed.view());
        }
    }
    for ((space, id), taken) in places {
        let left = document.record_at(space, id)?;
        let originals = left.claims().filter(|claim| claim.copy.is_none());
        let Some(edit) = originals.map(|claim| claim.dot).max() else { continue };
        if left.existence().next().is_some() {
            continue;
        }
        let note = notes.iter().find(|note| note.label.space() == space && note.id == *id);
        orphans.push(Orphan {
            space: Space::from_slice(space),
            id: id.clone(),
            edit,
            removal: note.map(|note| note.dot),
            removed_at: note.map(|note| note.stamp),
            taken: taken.elements().to_vec(),
        });
    }
    Ok(orphans)
}

/// Up to how many bytes of an asserted record go into one change. Arbitrary, far below the limit.
const ASSERTED_BYTES: usize = 32 * 1024;

impl<S: PlaceStore> Document<S> {
    /// Asserts a record again whose existence was taken while an edit is live: in several changes where
    /// it is too large for one, with the existence in the last. A single element whose copy would make
    /// a delta larger than `bytes_max` is left out.
    pub fn assert(
        &mut self,
        author: Author,
        bytes_max: usize,
        orphan: &Orphan,
    ) -> Result<Vec<Edited<()>>, S::Error> {
        let left = self.record_at(&orphan.space, &orphan.id)?;
        let mut parts = vec![Targets::default()];
        let mut bytes = 0;
        for (element, copy) in orphan.copies(&left) {
            let written = element::Written::new(element.path(), &element.content, Some(&copy));
            let size = written.name.len() + written.bytes.len();
            if bytes > 0 && bytes + size > ASSERTED_BYTES {
                parts.push(Targets::default());
                bytes = 0;
            }
            bytes += size;
            if let Some(part) = parts.last_mut() {
                part.push_raw(&written.name, &written.bytes);
            }
        }
        let mut asserted = Vec::new();
        for part in parts {
            let all: Vec<usize> = (0..part.leaves().len()).collect();
            let edited = self.edit(author, bytes_max, |edit| {
                edit.write(&orphan.space, &orphan.id, &part, &all, &[])
            });
            match edited {
                Ok(edited) => asserted.push(edited),
                Err(Refused::Misuse(_)) => {}
                Err(Refused::Store(error)) => return Err(error),
            }
        }
        Ok(asserted)
    }
}
