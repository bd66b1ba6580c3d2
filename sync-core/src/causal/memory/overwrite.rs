//! The change that is by far the most common: one element in place of another of the same name. What
//! follows from it is known beforehand, so the row is looked up once and nothing is looked at twice.

use super::MemoryStore;
use super::labels::Place;
use super::rows::Row;
use crate::causal::slots::Span;
use crate::causal::{CausalContext, Dot, Entry, Label, Overwrite};

/// What an entry takes the place of.
struct Exchanged {
    row: u32,
    span: Span,
    left: Label,
    taken: Label,
    /// The label of the entry, as it is kept.
    new: Label,
}

impl MemoryStore {
    /// See [`PlaceStore::overwrite`](crate::causal::PlaceStore::overwrite).
    #[inline]
    pub(super) fn overwrite_row(
        &mut self,
        entry: &Entry,
        dead: Option<Dot>,
        killed: Option<&mut Vec<Entry>>,
        needed: u8,
    ) -> Overwrite {
        let done = self.overwrite_at(entry, dead, killed, needed);
        done.unwrap_or(Overwrite::StepByStep)
    }

    fn overwrite_at(
        &mut self,
        entry: &Entry,
        dead: Option<Dot>,
        killed: Option<&mut Vec<Entry>>,
        needed: u8,
    ) -> Option<Overwrite> {
        let Entry { first, label, id, slots, .. } = entry;
        let new = slots.only_slot().filter(|_| label.len() == 1)?;
        let head = match dead {
            Some(dead) => self.row_of_dot(dead)?,
            None => self.row_of(label.space(), id)?,
        };
        let exchanged = self.exchanged(head, entry, needed)?;
        let known = self.view(exchanged.row);
        let slot = exchanged.span.first();
        let old = Dot::new(known.first.replica, known.first.counter + slot as u64);
        let bytes = known.slots.bytes_of(&exchanged.span);
        match dead {
            Some(dead) if dead != old => return None,
            None if bytes == new => return Some(Overwrite::Same),
            Some(_) | None => {}
        }
        let (was, is) = (known.content(slot, bytes), entry.view().content(0, new));
        let (writer, at) = self.see_next(*first, first.counter)?;
        let sum = self.fingerprints.change_one(*first, is, true);
        let Exchanged { row, span, left, taken, new } = exchanged;
        let (id, stamp, counter) = (id.clone(), entry.stamp, first.counter);
        let (label, slots) = (new, slots.clone());
        self.link_to(row, Row { id, stamp, counter, label, slots, sum, writer, next: 0 }, at);
        self.take_slot(row, &span, was, (left, taken), killed);
        Some(Overwrite::Done(old))
    }

    /// What an entry takes the place of, if there is nothing else to it, by a row of the object.
    #[inline]
    fn exchanged(&mut self, head: u32, entry: &Entry, needed: u8) -> Option<Exchanged> {
        let row = self.rows.of(head);
        let is_of_it = row.id == entry.id && row.label.is_in_space_of(&entry.label);
        let is_plain = entry.label.name(0).first();
        let is_plain = is_plain.is_some_and(|tag| tag & 0x80 == 0 && *tag != needed);
        if !is_of_it || !is_plain {
            return None;
        }
        let Self { rows, labels, .. } = self;
        let (mut found, mut has_needed, mut number) = (None, false, head);
        loop {
            let row = rows.of(number);
            has_needed |= row.label.tags().has_plainly(needed);
            let exchange = labels.exchange(&row.label, row.slots.live(), &entry.label);
            match &exchange.place {
                Place::Nowhere => {}
                Place::At { slot, left, taken } if found.is_none() => {
                    let (left, taken) = (left.clone(), taken.clone());
                    let (span, new) = (row.slots.span_of(*slot)?, exchange.new.clone());
                    found = Some(Exchanged { row: number, span, left, taken, new });
                }
                Place::At { .. } | Place::Unclear => return None,
            }
            number = row.next;
            if number == head {
                break;
            }
        }
        let is_open = !self.open.is_empty()
            && self.open.contains(&(entry.label.space().into(), entry.id.clone()));
        found.filter(|_| has_needed && !is_open)
    }

    /// The first live dot of the name and the object of an entry of one dot, if it is among some.
    #[inline]
    pub(super) fn replaced_by(&self, entry: &Entry, dead: &CausalContext) -> Option<Dot> {
        let Entry { label, id, slots, .. } = entry;
        let name = if slots.len() == 1 { label.name(0) } else { return None };
        let head = self.row_of(label.space(), id)?;
        let found = self.rows.ring(head).find_map(|row| {
            let known = self.view(row);
            let slot = known.label.names().position(|known| known == name)?;
            Some(Dot::new(known.first.replica, known.first.counter + slot as u64))
        });
        found.filter(|dot| dead.contains(*dot))
    }
}
