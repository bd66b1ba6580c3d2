//! An edit that meets a delete: what is left of the record, and what can be asserted again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Document, is_existence};
use crate::causal::{Dot, Joined, Note};
use crate::time::Stamp;
use crate::types::{CopyOf, Element, Header, Kind, Place, Record};

/// A record whose existence a join took, while an edit that the delete did not see is live.
///
/// The replica that did this join held the whole record until then, so it can assert it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The record.
    pub place: Place,
    /// The latest of the edits that are left.
    pub edit: Dot,
    /// The removal, where it came along.
    pub removal: Option<Dot>,
    /// When it was removed, where that is known.
    pub removed_at: Option<Stamp>,
    /// What the join took from the record.
    pub taken: Vec<(Dot, Stamp, Element)>,
}

/// Finds the records that a join left without their existence.
pub(super) fn find(
    document: &Document,
    places: &BTreeSet<Place>,
    joined: &Joined,
    notes: &[Note],
) -> Vec<Orphan> {
    let mut taken: BTreeMap<Place, Vec<(Dot, Stamp, Element)>> = BTreeMap::new();
    for killed in &joined.killed {
        let (header, element) = (Header::decode(&killed.header), Element::decode(&killed.slot));
        if let (Ok(header), Ok(element)) = (header, element) {
            taken.entry(header.place).or_default().push((killed.dot, header.stamp, element));
        }
    }
    let lost = joined.killed.iter().any(|killed| is_existence(&killed.slot));
    let places = places.iter().filter(|place| lost && matches!(place, Place::Record { .. }));
    let orphans = places.filter_map(|place| {
        let record = document.elements(place);
        let originals = record.claims().filter(|claim| claim.copy.is_none());
        let edit = originals.map(|claim| claim.dot).max()?;
        let taken = taken.remove(place)?;
        let held = taken.iter().any(|(_, _, element)| element.kind == Kind::Exists);
        if !record.existence.is_empty() || !held {
            return None;
        }
        let removal = notes.iter().find_map(|note| {
            let header = Header::decode(&note.text).ok().filter(|header| header.place == *place)?;
            Some((note.dot, header.stamp))
        });
        Some(Orphan {
            place: place.clone(),
            edit,
            removal: removal.map(|(dot, _)| dot),
            removed_at: removal.map(|(_, stamp)| stamp),
            taken,
        })
    });
    orphans.collect()
}

impl Orphan {
    /// The elements that make the record whole again: copies with their first stamps, of everything
    /// that is not there in another version.
    pub(super) fn copies(&self, left: &Record) -> Vec<Element> {
        let mut origins = BTreeSet::new();
        let mut copies = Vec::new();
        for (dot, stamp, element) in &self.taken {
            let is_left = match &element.kind {
                Kind::Exists => false,
                Kind::Field { name, .. } => left.registers.contains_key(name),
                Kind::Member { name, value } => {
                    left.sets.get(name).is_some_and(|members| members.contains_key(value))
                }
            };
            let (origin, stamp) = match element.copy {
                Some(copy) => (copy.origin, copy.stamp),
                None => (*dot, *stamp),
            };
            if !is_left && origins.insert(origin) {
                let copy = CopyOf { origin, stamp, edit: self.edit, removal: self.removal };
                copies.push(Element { kind: element.kind.clone(), copy: Some(copy) });
            }
        }
        // The existence last: a record that comes in parts is not shown before it is whole.
        copies.sort_by_key(|copy| copy.kind == Kind::Exists);
        copies
    }
}
