//! The change that is by far the most common: one element in place of another of the same name. What
//! follows from it is known beforehand, so the row is looked up once and nothing is looked at twice.

use super::MemoryStore;
use crate::causal::slots::Span;
use crate::causal::{Dot, Entry, Overwrite};

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
        let Some(new) = slots.span_of(0).filter(|_| is_one) else { return Overwrite::StepByStep };
        let new = slots.bytes_of(&new);
        let head = match dead {
            Some(dead) => self.row_of_dot(dead),
            None => self.row_of(label.space(), id),
        };
        let place = head.and_then(|head| self.overwritten(head, entry, needed));
        let Some((row, span)) = place else { return Overwrite::StepByStep };
        let known = self.view(row);
        let slot = span.first();
        let old = Dot::new(known.first.replica, known.first.counter + slot as u64);
        let bytes = known.slots.bytes_of(&span);
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
        // A run may reach beyond what of it was seen.
        if self.overlaps(writer, at, first.counter, 1) || !self.context.push(*first) {
            return Overwrite::StepByStep;
        }
        self.fingerprints.change_one(*first, is, true);
        self.fingerprints.change_one(old, was, false);
        self.link_to(row, entry, writer, at);
        self.take_slot(row, &span, killed);
        Overwrite::Done(old)
    }

    /// Which slot of which row an entry takes the place of, if there is nothing else to it, by a row of the
    /// object.
    #[inline]
    fn overwritten(&self, head: u32, entry: &Entry, needed: u8) -> Option<(u32, Span)> {
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
            let slot = like.trailing_zeros() as usize;
            if !like.is_power_of_two() || found.is_some() || row.label.name(slot) != name {
                return None;
            }
            found = Some((number, row.slots.span_of(slot)?));
        }
        let is_open = !self.open.is_empty()
            && self.open.contains(&(entry.label.space().into(), entry.id.clone()));
        found.filter(|_| has_needed && !is_open)
    }
}
