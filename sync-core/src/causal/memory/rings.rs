//! Putting rows into the indexes and taking them out. Rows of one object form a ring, of which the
//! index of objects has any one.

use super::labels::Labels;
use super::lookup::key_of;
use super::rows::Row;
use super::sorted::{Position, Sorted};
use super::{MemoryStore, Space};
use crate::causal::slots::Span;
use crate::causal::{Dot, Entry, Label};

impl MemoryStore {
    /// Puts a row into both indexes; `at` is where it stands among the runs.
    pub(super) fn link(&mut self, row: Row, at: Position) {
        let (writer, counter) = (row.writer as usize, row.counter);
        let number = match self.object_at_hand(row.label.space(), &row.id) {
            Some(known) => self.link_behind(known, row),
            None => self.link_object(row),
        };
        self.hand.set_row(number);
        self.writers[writer].runs.insert(at, counter, number);
    }

    /// Puts a row behind another one of its object; `at` is where it stands among the runs.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn link_to(&mut self, known: u32, row: Row, at: Position) {
        let (writer, counter) = (row.writer as usize, row.counter);
        let number = self.link_behind(known, row);
        self.hand.set_row(number);
        self.writers[writer].runs.insert(at, counter, number);
    }

    /// Puts a row behind another one of its object.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn link_behind(&mut self, known: u32, mut row: Row) -> u32 {
        row.next = self.rows.of(known).next;
        let number = self.rows.add(row);
        self.rows.of_mut(known).next = number;
        number
    }

    /// The row of an entry that is new, whose dots are added to the fingerprints by that.
    #[inline]
    pub(super) fn row_for(&mut self, entry: Entry, writer: u32) -> Row {
        let sum = self.fingerprints.add_run(entry.view());
        let Entry { first, stamp, label, id, slots } = entry;
        let label = self.labels.fitted(&label, slots.live());
        Row { id, stamp, counter: first.counter, label, slots, sum, writer, next: 0 }
    }

    /// Puts a row where its object stands, or would.
    fn link_object(&mut self, row: Row) -> u32 {
        let space = match self.space(row.label.space()) {
            Ok(space) => space,
            Err(space) => {
                let name = row.label.space().into();
                self.spaces.insert(space, Space { name, ids: Sorted::default() });
                space
            }
        };
        let ids = &self.spaces[space].ids;
        match self.place(ids, &row.id) {
            Ok(place) => {
                let known = ids.row(place).expect("a place that was found has a row");
                self.link_behind(known, row)
            }
            Err(place) => {
                let key = key_of(&row.id);
                let number = self.rows.add_ring(row);
                self.spaces[space].ids.insert(place, key, number);
                number
            }
        }
    }

    /// Takes a row out of both indexes, with its dots.
    fn unlink(&mut self, number: u32) -> Entry {
        let known = self.rows.of(number);
        if let Ok(space) = self.space(known.label.space())
            && let Ok(place) = self.place(&self.spaces[space].ids, &known.id)
        {
            let next = known.next;
            if next == number {
                self.unlink_object(space, place);
            } else {
                let ids = &mut self.spaces[space].ids;
                if ids.row(place) == Some(number) {
                    ids.set(place, next);
                }
                let before = self.rows.ring(number).last().unwrap_or(next);
                self.rows.of_mut(before).next = next;
                self.hand.set_row(next);
            }
        }
        let (_, taken) = self.take_row(number);
        self.tidy();
        taken
    }

    /// Takes an object out of the index of its space.
    pub(super) fn unlink_object(&mut self, space: usize, place: Position) {
        let ids = &mut self.spaces[space].ids;
        ids.remove(place);
        if ids.is_empty() {
            self.spaces.remove(space);
        }
    }

    /// Takes a row out, with its dots, but for the index of objects. Gives the next row of its object, and
    /// what it was.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn take_row(&mut self, number: u32) -> (u32, Entry) {
        let known = self.rows.of(number);
        if let Ok(run) = self.run(known.writer as usize, known.counter) {
            self.writers[known.writer as usize].runs.remove(run);
        }
        let Row { id, stamp, counter, label, slots, sum, writer, next } = self.rows.remove(number);
        let first = Dot::new(self.writers[writer as usize].replica, counter);
        let taken = Entry { first, stamp, label, id, slots };
        self.fingerprints.take_out_run(taken.view(), sum);
        (next, taken)
    }

    /// Gives back what is of no use without rows.
    pub(super) fn tidy(&mut self) {
        if self.rows.count() == 0 {
            self.writers = Vec::new();
            self.numbers = Vec::new();
            self.labels = Labels::default();
        }
    }

    /// Takes the slots of a mask out of a row, and gives them as an entry.
    pub(super) fn take(&mut self, number: u32, live: u64, mask: u64) -> Entry {
        if mask == live {
            return self.unlink(number);
        }
        let first = self.view(number).first;
        let Self { rows, labels, fingerprints, .. } = self;
        let Row { id, stamp, label, slots, sum, .. } = rows.of_mut(number);
        let left = labels.fitted(label, live & !mask);
        let label = std::mem::replace(label, left);
        let label = labels.fitted(&label, mask);
        let slots = slots.take_out(mask);
        let taken = Entry { first, stamp: *stamp, label, id: id.clone(), slots };
        *sum = sum.minus(fingerprints.take_out_part(taken.view()));
        taken
    }

    /// Takes a slot that is live out of a row that has the label `left` then, and gives it to `killed` under a
    /// label, if that is there. What it said has the hash `was`.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn take_slot(
        &mut self,
        number: u32,
        span: &Span,
        was: u64,
        left: Label,
        killed: Option<(&mut Vec<Entry>, Label)>,
    ) {
        let Self { rows, writers, fingerprints, .. } = self;
        let Row { id, stamp, counter, label, slots, writer, sum, .. } = rows.of_mut(number);
        if slots.live() == 1 << (span.first() & 63) {
            let taken = self.unlink(number);
            if let Some((killed, _)) = killed {
                killed.push(taken);
            }
            return;
        }
        let first = Dot::new(writers[*writer as usize].replica, *counter);
        let dot = Dot::new(first.replica, first.counter + span.first() as u64);
        *sum = sum.minus(fingerprints.change_one(dot, was, false));
        *label = left;
        if let Some((killed, label)) = killed {
            let slots = slots.take_span(span);
            killed.push(Entry { first, stamp: *stamp, label, id: id.clone(), slots });
        } else {
            slots.drop_out(span);
        }
    }

    /// Whether a run of `len` dots from `counter`, which would stand at a position, would overlap
    /// another one.
    pub(super) fn overlaps(&self, writer: usize, at: Position, counter: u64, len: usize) -> bool {
        let runs = &self.writers[writer].runs;
        let before = runs.before(at).and_then(|before| runs.row(before));
        let reaches = before.is_some_and(|row| self.rows.of(row).last() >= counter);
        let last = counter.saturating_add((len as u64).saturating_sub(1));
        reaches || runs.following(at).is_some_and(|(_, next, _)| next <= last)
    }
}
