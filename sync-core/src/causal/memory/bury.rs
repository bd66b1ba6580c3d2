//! The removal of an object as a whole, which most removals are: it is looked up once, and its rows are
//! taken out in one go.

use super::MemoryStore;
use super::lookup::key_of;
use super::sorted::Position;
use crate::causal::{CausalContext, Entry, Note, ranges_of};
use crate::sort::sort_by;

impl MemoryStore {
    /// See [`PlaceStore::bury`](crate::causal::PlaceStore::bury).
    pub(super) fn bury_object(
        &mut self,
        note: &Note,
        dead: Option<&CausalContext>,
        needed: u8,
        killed: &mut Vec<Entry>,
    ) -> bool {
        let Some((space, place)) = self.object(note) else { return false };
        let Some(head) = self.spaces[space].ids.row(place) else { return false };
        if !self.is_whole(head, note, dead, needed)
            || !self.context.push(note.dot, note.dot.counter)
        {
            return false;
        }
        self.unlink_object(space, place);
        let (mut number, known) = (head, killed.len());
        loop {
            let (next, taken) = self.take_row(number);
            push_parts(killed, taken);
            number = next;
            if number == head {
                break;
            }
        }
        self.tidy();
        if killed.len() > known + 1 {
            let key = |entry: &Entry| (entry.first, entry.slots.live().trailing_zeros());
            sort_by(&mut killed[known..], |a, b| key(a).cmp(&key(b)));
        }
        true
    }

    /// Where the object of a removal stands: its space, and its place there.
    fn object(&self, note: &Note) -> Option<(usize, Position)> {
        let space = self.space(note.label.space()).ok()?;
        let ids = &self.spaces[space].ids;
        let place = ids.find(key_of(&note.id), |row| self.rows.of(row).id.cmp(&note.id)).ok()?;
        Some((space, place))
    }

    /// Whether the rows of an object are all that a removal takes, if it is known what that is, and nothing
    /// about the object is out of the ordinary.
    fn is_whole(&self, head: u32, note: &Note, dead: Option<&CausalContext>, needed: u8) -> bool {
        let (mut has_needed, mut has_plain, mut left) = (false, false, 1);
        for number in self.rows.ring(head) {
            let row = self.view(number);
            let (tags, live) = row.tags();
            has_needed |= tags.has(needed);
            has_plain |= tags.has_plain();
            if let Some(dead) = dead {
                let ranges = ranges_of(row.first.counter, live);
                if !dead.of(row.first.replica).is_some_and(|dead| dead.covers(&ranges)) {
                    return false;
                }
                left += ranges.len();
            }
        }
        let is_all = dead.is_none_or(|dead| dead.contains(note.dot) && dead.len() == left);
        let is_open = !self.open.is_empty()
            && self.open.contains(&(note.label.space().into(), note.id.clone()));
        has_needed && has_plain && is_all && !is_open
    }
}

/// Adds an entry for each row of live slots of a run, as they are taken out step by step.
#[inline]
fn push_parts(killed: &mut Vec<Entry>, mut taken: Entry) {
    let live = taken.slots.live();
    let from_first = live >> (live.trailing_zeros() & 63);
    if from_first & from_first.wrapping_add(1) == 0 {
        killed.push(taken);
        return;
    }
    let live = taken.live_ranges();
    killed.extend(live.iter().filter_map(|(start, end)| taken.take(start, end)));
}
