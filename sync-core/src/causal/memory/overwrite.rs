//! The change that is by far the most common: one element in place of another of the same name. What
//! follows from it is known beforehand, so the row is looked up once and nothing is looked at twice.

use super::MemoryStore;
use crate::causal::{Dot, Entry, Overwrite};

/// A slot of a row, and which slots of the row are live.
struct Place {
    row: u32,
    slot: usize,
    live: u64,
}

impl MemoryStore {
    /// See [`PlaceStore::overwrite`](crate::causal::PlaceStore::overwrite).
    pub(super) fn overwrite_row(
        &mut self,
        entry: &Entry,
        dead: Option<Dot>,
        killed: Option<&mut Vec<Entry>>,
        needed: u8,
    ) -> Overwrite {
        let Entry { first, label, id, slots, .. } = entry;
        let is_one = label.len() == 1 && slots.len() == 1;
        let Some(new) = slots.get(0).filter(|_| is_one) else { return Overwrite::StepByStep };
        if first.counter <= self.context.max_of(first.replica) {
            return Overwrite::StepByStep;
        }
        let head = match dead {
            Some(dead) => self.row_of_dot(dead),
            None => self.row_of(label.space(), id),
        };
        let place = head.and_then(|head| self.overwritten(head, entry, needed));
        let Some(Place { row, slot, live }) = place else { return Overwrite::StepByStep };
        let known = self.view(row);
        let old = Dot::new(known.first.replica, known.first.counter + slot as u64);
        let Some(bytes) = known.slots.get(slot) else { return Overwrite::StepByStep };
        match dead {
            Some(dead) if dead != old => return Overwrite::StepByStep,
            None if bytes == new => return Overwrite::Same,
            Some(_) | None => {}
        }
        let (was, is) = (known.content(slot, bytes), entry.view().content(0, new));
        let writer = self.number_of(first.replica);
        let Some(at) = self.writers[writer].runs.end_above(first.counter) else {
            return Overwrite::StepByStep;
        };
        self.context.insert_range(first.replica, first.counter, first.counter);
        self.fingerprints.change_one(*first, is, true);
        self.fingerprints.change_one(old, was, false);
        self.link_to(row, entry, writer, at);
        match killed {
            Some(killed) => killed.push(self.take(row, live, 1 << slot)),
            None => self.drop_slots(row, live, 1 << slot),
        }
        Overwrite::Done(old)
    }

    /// Which slot an entry takes the place of, if there is nothing else to it, by a row of the object.
    fn overwritten(&self, head: u32, entry: &Entry, needed: u8) -> Option<Place> {
        let name = entry.label.name(0);
        let row = self.rows.of(head);
        let is_of_it = row.id == entry.id && row.label.is_in_space_of(&entry.label);
        let is_plain = name.first().is_some_and(|tag| tag & 0x80 == 0 && *tag != needed);
        if !is_of_it || !is_plain {
            return None;
        }
        let (mut found, mut has_needed) = (None, false);
        for number in self.rows.ring(head) {
            let row = self.rows.of(number);
            if row.label.tags().has_high() || row.label.has_control() {
                return None;
            }
            has_needed |= row.label.tags().has_plainly(needed);
            let like = row.label.slots_like(&entry.label);
            if like == 0 {
                continue;
            }
            let (slot, live) = (like.trailing_zeros() as usize, row.slots.live());
            let is_it = like.is_power_of_two() && live & like != 0 && row.label.name(slot) == name;
            if !is_it || found.replace(Place { row: number, slot, live }).is_some() {
                return None;
            }
        }
        let is_open = !self.open.is_empty()
            && self.open.contains(&(entry.label.space().into(), entry.id.clone()));
        found.filter(|_| has_needed && !is_open)
    }
}
