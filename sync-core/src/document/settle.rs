//! What stands open in a document: the places in which anything clashes.

use super::Document;
use crate::causal::{EntryView, PlaceId, PlaceStore};
use crate::types::Conflict;
use crate::types::element::kind;
use crate::types::place::is_collection;

impl<S: PlaceStore> Document<S> {
    /// Takes a store that does not know yet what stands open in it, and finds that.
    pub fn load(store: S) -> Result<Self, S::Error> {
        let mut document = Self::new(store);
        let mut unsettled = document.store.open()?;
        for space in document.store.spaces()? {
            let is_record = is_collection(&space);
            document.store.each(&space, None, usize::MAX, &mut |entries| {
                if let Some(first) = entries.first()
                    && Scan::of(entries).may_clash(is_record)
                {
                    unsettled.push((space.clone(), first.id.clone()));
                }
            })?;
        }
        for (space, id) in unsettled {
            document.settle(&space, &id)?;
        }
        Ok(document)
    }

    /// Notes whether anything clashes in a place. Says what is there.
    pub(super) fn settle(&mut self, space: &[u8], id: &PlaceId) -> Result<Left, S::Error> {
        let mut scan = Scan::default();
        self.store.all_at(space, id, &mut |entries| scan = Scan::of(entries))?;
        let is_record = is_collection(space);
        let mut is_open = scan.may_clash(is_record);
        let mut left = match scan {
            Scan { exists: true, has_copy, .. } if is_record => Left::Record { has_copy },
            _ => Left::Other,
        };
        if is_open {
            let conflicts = self.record_at(space, id)?.conflicts_of(is_record);
            is_open = !conflicts.is_empty();
            if matches!(conflicts[..], [Conflict::Partial { .. }]) {
                left = Left::Part;
            }
        }
        self.store.set_open(space, id, is_open)?;
        Ok(left)
    }
}

/// What a change left in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// A record that exists, and whether any of it is a copy.
    Record { has_copy: bool },
    /// Edits of a record that does not.
    Part,
    /// Nothing, or what is no record.
    Other,
}

/// A quick look at a place, without reading values: whether it is worth a closer one.
#[derive(Debug, Default)]
struct Scan {
    exists: bool,
    has_copy: bool,
    has_any: bool,
    is_double: bool,
}

impl Scan {
    fn of(entries: &[EntryView<'_>]) -> Self {
        let mut scan = Self { has_any: !entries.is_empty(), ..Self::default() };
        for (at, entry) in entries.iter().enumerate() {
            let (tags, _) = entry.tags();
            scan.has_copy |= tags.has_high();
            scan.exists |= tags.has(kind::EXISTS);
            if tags.has(kind::REGISTER) && !scan.is_double {
                let shares =
                    |known: &EntryView<'_>| known.label.shares(entry.label, kind::REGISTER);
                scan.is_double =
                    entry.label.repeats(kind::REGISTER) || entries[..at].iter().any(shares);
            }
        }
        scan
    }

    /// Names of copies differ from those of originals, so any copy asks for a closer look.
    fn may_clash(&self, is_record: bool) -> bool {
        self.has_any && (self.is_double || self.has_copy || (is_record && !self.exists))
    }
}
