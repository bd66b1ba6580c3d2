//! The change that is by far the most common: one element in place of another of the same name. What
//! follows from it is known beforehand, so the row is looked up once and nothing is looked at twice.

use super::MemoryStore;
use crate::causal::{Dot, Entry, Label};

impl MemoryStore {
    /// See [`PlaceStore::overwrite`](crate::causal::PlaceStore::overwrite).
    pub(super) fn overwrite_row(
        &mut self,
        entry: &Entry,
        dead: Dot,
        killed: &mut Vec<Entry>,
        needed: u8,
    ) -> bool {
        let Entry { first, label, slots, .. } = entry;
        if slots.live() != 1
            || label.len() != 1
            || first.counter <= self.context.max_of(first.replica)
        {
            return false;
        }
        let Ok(known) = self.find_writer(dead.replica) else { return false };
        let writer = self.numbers[known].1;
        let Some(number) = self.first_row(writer, dead.counter, dead.counter) else { return false };
        let Some(live) = self.overwritten(number, entry, dead.counter, needed) else {
            return false;
        };
        let writer = self.number_of(first.replica);
        let Err(at) = self.run(writer, first.counter) else { return false };
        self.context.insert_range(first.replica, first.counter, first.counter);
        self.fingerprints.add(entry.view());
        self.link_to(number, entry, writer, at);
        let taken = self.take(number, live, 1 << (dead.counter - self.rows.of(number).counter));
        self.fingerprints.take_out(taken.view());
        killed.push(taken);
        true
    }

    /// The live slots of a row of which an entry takes the place of one, if there is nothing else to it.
    fn overwritten(&self, number: u32, entry: &Entry, dead: u64, needed: u8) -> Option<u64> {
        let row = self.rows.of(number);
        let slot = dead.checked_sub(row.counter)? as usize;
        let live = row.slots.live();
        let name = entry.label.name(0);
        let is_of_it = row.id == entry.id && row.label.is_in_space_of(&entry.label);
        let is_plain = name.first().is_some_and(|tag| tag & 0x80 == 0 && *tag != needed);
        if !is_of_it || !is_plain || live >> slot & 1 == 0 || row.label.name(slot) != name {
            return None;
        }
        let hash = entry.label.name_hash(0);
        let (mut same, mut has_needed) = (0, false);
        for row in self.rows.ring(number) {
            let label: &Label = &self.rows.of(row).label;
            if label.tags().has_high() {
                return None;
            }
            has_needed |= label.tags().has_plainly(needed);
            same += label.count_of(hash);
        }
        let is_open = !self.open.is_empty()
            && self.open.contains(&(entry.label.space().into(), entry.id.clone()));
        (same == 1 && has_needed && !is_open).then_some(live)
    }
}
