//! An edit that meets a delete: what is left of the record, and what can be asserted again.

use crate::small::{BTreeSet, SmallVec};

use super::edit::Author;
use super::target::Targets;
use super::{Document, EditAgainstDelete, Edited, Refused, Touched};
use crate::causal::{
    CausalContext, Delta, Dot, Entry, EntryView, Joined, Label, Note, PlaceId, PlaceStore,
    RUN_DOTS_MAX, ranges_of,
};
use crate::sort::sort_by;
use crate::time::Stamp;
use crate::types::element::{self, kind};
use crate::types::place::{Space, is_collection};
use crate::types::{Content, CopyOf, Element, Place, Record};

/// A record whose existence a join took, while an edit that the delete did not see is live; or one that
/// a delete did not see, and of which it took values that others had written since.
///
/// The replica that did this join held the whole record until then, or removed it and keeps what it
/// removed, so it can assert it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    label: Label,
    id: PlaceId,
    /// The latest of the edits that are left.
    pub edit: Dot,
    /// The removal, where it came along.
    pub removal: Option<Dot>,
    /// When it was removed, where that is known.
    pub removed_at: Option<Stamp>,
    /// What the join took from the record.
    taken: Vec<Element>,
    /// Whether the record stands, and lacks but what was taken.
    is_torn: bool,
}

impl Orphan {
    /// The record.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Place::of(self.label.space(), &self.id)
    }

    /// The elements that make the record whole again: copies with their first stamps, of everything
    /// that is not there in another version. What is there is copied too, but for members of sets: a
    /// removal that sees it and not the copies would leave half a record otherwise.
    fn copies<'a>(&'a self, left: &'a Record) -> Vec<(&'a Element, CopyOf)> {
        let mut origins = BTreeSet::new();
        let mut copies = Vec::new();
        let is_member = |element: &&Element| matches!(element.content, Content::Member(_));
        let is_copied = !broken!(CopiesInPart);
        let is_copied = is_copied && !self.is_torn;
        let there = left.elements().iter().filter(|element| is_copied && !is_member(element));
        let gone = self.taken.iter().filter(|element| {
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
            !left.counted().any(has)
        });
        for element in there.chain(gone) {
            let (origin, stamp) = (element.claim.origin(), element.claim.stamp);
            if origins.insert(origin) {
                let copy = CopyOf { origin, stamp, edit: self.edit, removal: self.removal };
                copies.push((element, copy));
            }
        }
        // In an order of their own, whatever the store's is. The existence last: a record that comes in
        // parts is not shown before it is whole.
        let key = |(element, copy): &(&Element, CopyOf)| {
            (element.content == Content::Exists, copy.origin)
        };
        sort_by(&mut copies, |a, b| key(a).cmp(&key(b)));
        copies
    }
}

/// Finds, among the places of which only a part is left, the records that this replica held whole until
/// this join, or removed itself.
pub(super) fn find<S: PlaceStore>(
    document: &Document<S>,
    partial: Vec<(Label, PlaceId)>,
    joined: &Joined,
    delta: &Delta,
) -> Result<Vec<Orphan>, S::Error> {
    let mut orphans = Vec::new();
    if partial.is_empty() {
        return Ok(orphans);
    }
    let came = came(joined, delta);
    for (label, id) in partial {
        let space = label.space();
        let is_it = |of: &Label, other: &PlaceId| of.space() == space && *other == id;
        let mut taken = Record::default();
        let mut killed = joined.killed.iter().filter(|killed| is_it(&killed.label, &killed.id));
        killed.clone().for_each(|killed| taken.add(killed.view()));
        let mut note = delta.notes.iter().find(|note| is_it(&note.label, &note.id));
        if taken.existence().next().is_some() {
            if !document.was_whole(space, &id, &mut killed, &came)? {
                continue;
            }
        } else if let Some((removal, kept)) = document.kept.find(space, &id)
            && !broken!(DeleterForgets)
        {
            note = Some(removal);
            taken = Record::default();
            kept.iter().for_each(|kept| taken.add(kept.view()));
        }
        let left = document.record_at(space, &id)?;
        let originals = left.claims().filter(|claim| claim.copy.is_none());
        let edit = originals.map(|claim| claim.dot).max();
        let (Some(edit), Some(_)) = (edit, taken.existence().next()) else { continue };
        orphans.push(Orphan {
            edit,
            removal: note.map(|note| note.dot),
            removed_at: note.map(|note| note.stamp),
            taken: taken.elements().to_vec(),
            is_torn: false,
            label,
            id,
        });
    }
    Ok(orphans)
}

/// What a join brought, live or dead, and nobody had seen here before.
fn came(joined: &Joined, delta: &Delta) -> CausalContext {
    let mut came = joined.unseen.clone();
    for (at, fresh) in &joined.added {
        let Dot { replica, counter } = delta.entries[*at].first;
        came.insert_ranges(replica, &ranges_of(counter, *fresh));
    }
    came
}

/// Of how many removals it is looked up whether they touched something. Arbitrary.
const NOTES_LOOKED_AT: usize = 4;

/// Whether a join may have torn a record that stands: it removed one, and `stands` says that a record
/// stands where it touched something, or a removal is about a place that it did not touch.
pub(super) fn may_tear(joined: &Joined, notes: &[Note], touched: &Touched, stands: bool) -> bool {
    let mut killed = joined.killed.iter();
    let is_removal = (!notes.is_empty() && !joined.killed.is_empty()) || killed.any(takes_record);
    let is_elsewhere = |note: &Note| !touched.has(&note.label, &note.id);
    is_removal && (stands || notes.len() > NOTES_LOOKED_AT || notes.iter().any(is_elsewhere))
}

/// A run: its first dot, the counter of its last one, and whether it says that a record exists.
type Run = (Dot, u64, bool);

#[cfg_attr(not(target_arch = "wasm32"), inline)]
fn run_of(entry: EntryView<'_>) -> Run {
    let last = entry.first.counter + (entry.slots.len() as u64).saturating_sub(1);
    (entry.first, last, entry.tags().0.has(kind::EXISTS))
}

/// Whether a run goes on in the dot behind it, in another run or as a dot that was dead from the start:
/// so whoever writes has it with one of the most dots.
fn goes_on((first, last, _): &Run) -> bool {
    last - first.counter + 1 == RUN_DOTS_MAX as u64
}

impl<S: PlaceStore> Document<S> {
    /// Whether a record was held whole before a change that took `killed` of it, and brought what `came`:
    /// every dot was seen of a run that says that it exists, and of those that it goes on in. Where one was
    /// not, its value, or what took the place of it, was still to come from a catch-up that was cut.
    #[inline(never)]
    pub(super) fn was_whole(
        &self,
        space: &[u8],
        id: &[u8],
        killed: &mut dyn Iterator<Item = &Entry>,
        came: &CausalContext,
    ) -> Result<bool, S::Error> {
        let mut runs: SmallVec<[Run; 4]> = killed.map(|killed| run_of(killed.view())).collect();
        let taken = runs.len();
        self.store.at(space, id, &mut |entry| runs.push(run_of(entry)))?;
        self.were_whole(&runs, taken, came)
    }

    /// Whether a record was held whole before a change that took `killed` of it, and left nothing.
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    pub(super) fn was_whole_in(&self, killed: &[Entry]) -> Result<bool, S::Error> {
        if crate::small::HAS_SHORTCUTS
            && let [killed] = killed
        {
            let run = run_of(killed.view());
            return Ok(run.2 && self.was_seen(&run, &CausalContext::default())?);
        }
        let mut runs: SmallVec<[Run; 4]> = SmallVec::new();
        runs.extend(killed.iter().map(|killed| run_of(killed.view())));
        self.were_whole(&runs, runs.len(), &CausalContext::default())
    }

    /// As [`was_whole`](Self::was_whole), by the runs of a record: first those of which the change took some.
    fn were_whole(
        &self,
        runs: &[Run],
        taken: usize,
        came: &CausalContext,
    ) -> Result<bool, S::Error> {
        let is_behind = |one: &Run, other: &Run| {
            goes_on(one) && (one.0.replica, one.1 + 1) == (other.0.replica, other.0.counter)
        };
        for says_so in runs[..taken].iter().filter(|(_, _, exists)| *exists) {
            let mut start = says_so;
            while let Some(before) = runs.iter().find(|run| is_behind(run, start)) {
                start = before;
            }
            let mut next = Some(start);
            let mut is_whole = true;
            while let Some(run) = next.filter(|_| is_whole) {
                is_whole = self.was_seen(run, came)?;
                next = runs.iter().find(|other| is_behind(run, other));
            }
            if is_whole {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether every dot of a run, and the one behind it where it goes on, was seen before something came.
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    fn was_seen(&self, run: &Run, came: &CausalContext) -> Result<bool, S::Error> {
        let (Dot { replica, counter: first }, last, _) = *run;
        let last = last + u64::from(goes_on(run));
        let is_new = came.of(replica).is_some_and(|came| came.overlaps(first, last));
        Ok(!is_new && self.store.seen(replica)?.has_all(first, last))
    }
}

/// What takes an existence removes a record, and not a field.
fn takes_record(killed: &Entry) -> bool {
    killed.view().tags().0.has(kind::EXISTS)
}

/// The places where a record stands of which a removal took something, or of which a part is copies.
fn standing<'a, S: PlaceStore>(
    document: &Document<S>,
    mixed: &'a [(Label, PlaceId)],
    joined: &'a Joined,
    notes: &'a [Note],
) -> Result<Vec<(&'a Label, &'a PlaceId)>, S::Error> {
    let killed = joined.killed.iter().filter(|killed| takes_record(killed));
    let noted = notes.iter().filter(|_| !joined.killed.is_empty());
    let removed = killed.map(|killed| (&killed.label, &killed.id));
    let removed = removed.chain(noted.map(|note| (&note.label, &note.id)));
    let mut standing: Vec<(&Label, &PlaceId)> =
        mixed.iter().map(|(label, id)| (label, id)).collect();
    let mut last: Option<(&Label, &PlaceId)> = None;
    for (label, id) in removed.filter(|(label, _)| is_collection(label.space())) {
        let is_it = |(of, other): &(&Label, &PlaceId)| *other == id && of.is_in_space_of(label);
        if last.replace((label, id)).is_some_and(|last| is_it(&last)) {
            continue;
        }
        let mut exists = false;
        let show = &mut |entry: EntryView<'_>| exists |= entry.tags().0.has(kind::EXISTS);
        document.store.at(label.space(), id, show)?;
        if exists && !standing.iter().any(is_it) {
            standing.push((label, id));
        }
    }
    Ok(standing)
}

/// Finds, among the places where a record stands, those where a register would be lost with what it was
/// written to: by a removal that saw its value, and not this record; or since copies of it count for
/// nothing beside a record of the same id that comes only now.
pub(super) fn find_torn<S: PlaceStore>(
    document: &Document<S>,
    mixed: &[(Label, PlaceId)],
    joined: &Joined,
    delta: &Delta,
) -> Result<Vec<Orphan>, S::Error> {
    let mut orphans = Vec::new();
    for (label, id) in standing(document, mixed, joined, &delta.notes)? {
        let space = label.space();
        let is_it = |of: &Label, other: &PlaceId| of.space() == space && other == id;
        let mut taken = Record::default();
        let killed = joined.killed.iter().filter(|killed| is_it(&killed.label, &killed.id));
        killed.for_each(|killed| taken.add(killed.view()));
        let note = delta.notes.iter().find(|note| is_it(&note.label, &note.id));
        let left = document.record_at(space, id)?;
        let came =
            |dot: Dot| delta.entries.iter().any(|entry| entry.live().any(|(of, _)| of == dot));
        let originals = left.existence().filter(|claim| claim.copy.is_none());
        let (new, known): (Vec<Dot>, Vec<Dot>) =
            originals.map(|claim| claim.dot).partition(|dot| came(*dot));
        let is_removal = note.is_some() || taken.existence().next().is_some();
        let (edit, lost) = match (known.into_iter().max(), new.into_iter().max()) {
            // What came in the same delta was inserted by somebody who saw the removal.
            (Some(known), _) if is_removal => (known, taken),
            (None, Some(new)) => {
                let before = left.elements().iter().filter(|element| !came(element.claim.dot));
                let before = Record::of(before.chain(taken.elements()).cloned().collect());
                if !before.is_kept_by_copies() {
                    continue;
                }
                (new, before)
            }
            _ => continue,
        };
        let lost: Vec<_> = lost.counted().filter(|lost| is_lacking(&left, lost)).cloned().collect();
        if !lost.is_empty() {
            orphans.push(Orphan {
                edit,
                removal: note.map(|note| note.dot),
                removed_at: note.map(|note| note.stamp),
                taken: lost,
                is_torn: true,
                label: label.clone(),
                id: id.clone(),
            });
        }
    }
    Ok(orphans)
}

/// Whether an element is of a register that a record has no value of.
fn is_lacking(left: &Record, lost: &Element) -> bool {
    let is_register =
        |element: &Element| matches!(element.content, Content::Register(_) | Content::Latest(_));
    let has = |other: &Element| is_register(other) && other.path() == lost.path();
    is_register(lost) && !left.counted().any(has)
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
        if self.policy == EditAgainstDelete::DeleteWins || broken!(NobodyAsserts) {
            return Ok(Vec::new());
        }
        let space = Space::from_slice(orphan.label.space());
        let left = self.record_at(&space, &orphan.id)?;
        let copies = orphan.copies(&left);
        // What one asserted may leave nothing to the next of the same record.
        if copies.is_empty() {
            return Ok(Vec::new());
        }
        let mut parts = vec![Targets::default()];
        let mut bytes = 0;
        for (element, copy) in copies {
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
        for mut part in parts {
            let none = CausalContext::default();
            let edited = self
                .edit(author, bytes_max, |edit| edit.write(&space, &orphan.id, &mut part, none));
            match edited {
                Ok(edited) => asserted.push(edited),
                Err(Refused::Misuse(_)) => {}
                Err(Refused::Store(error)) => return Err(error),
            }
        }
        Ok(asserted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{ReplicaId, Slots};

    #[test]
    fn the_removals_whose_places_are_looked_up_are_limited() {
        let label = Label::new(b"\x01c", []);
        let id = PlaceId::new(b"id");
        let (dot, stamp) = (Dot::new(ReplicaId::from_bytes([1; 16]), 1), Stamp::default());
        let note = Note { dot, stamp, label: label.clone(), id: id.clone() };
        let field = Label::new(b"\x01c", [&b"\x02n"[..]]);
        let slots = Slots::new([Some(&b"x"[..])].into_iter());
        let killed = vec![Entry { first: dot, stamp, label: field, id: id.clone(), slots }];
        let joined = Joined { killed, ..Joined::default() };
        let touched = Touched::only(&label, &id);
        for count in [NOTES_LOOKED_AT - 1, NOTES_LOOKED_AT, NOTES_LOOKED_AT + 1] {
            let mut notes = vec![note.clone(); count];
            let is_over = count > NOTES_LOOKED_AT;
            assert_eq!(may_tear(&joined, &notes, &touched, false), is_over, "{count}");
            assert!(may_tear(&joined, &notes, &touched, true), "a record stands");
            notes[count - 1].id = PlaceId::new(b"other");
            assert!(may_tear(&joined, &notes, &touched, false), "a place that was not touched");
        }
    }
}
