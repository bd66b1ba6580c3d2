//! The entries by their dots: what the kernel works on.

use std::borrow::Cow;
use std::convert::Infallible;

use super::MemoryStore;
use crate::causal::entry::mask_of;
use crate::causal::{DotRanges, DotStore, Entry, EntryView, ReplicaId};

impl DotStore for MemoryStore {
    type Error = Infallible;

    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, Infallible> {
        Ok(self.context.of(replica).map_or_else(Cow::default, Cow::Borrowed))
    }

    fn see(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Infallible> {
        self.context.insert_ranges(replica, ranges);
        Ok(())
    }

    fn unsee(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Infallible> {
        for (start, end) in ranges.iter() {
            self.context.remove_range(replica, start, end);
        }
        Ok(())
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, Infallible> {
        let Some(writer) = self.writer(replica) else { return Ok(Vec::new()) };
        Ok(self.runs(writer, start, end).map(|row| self.view(row).to_entry()).collect())
    }

    fn add(&mut self, entry: Entry) -> Result<bool, Infallible> {
        let Entry { first, stamp, label, id, slots } = entry;
        let writer = self.number_of(first.replica);
        match self.run(writer, first.counter) {
            Ok(at) => {
                let Some(number) = self.writers[writer].runs.row(at) else { return Ok(false) };
                let new = EntryView { first, stamp, label: &label, id: &id, slots: &slots };
                if !self.view(number).is_one_run(new) {
                    return Ok(false);
                }
                let known = self.rows.of(number);
                if slots.len() > known.slots.len() {
                    let (tail, more) = (known.last() + 1, slots.len() - known.slots.len());
                    let (Ok(at) | Err(at)) = self.run(writer, tail);
                    let next = self.writers[writer].runs.following(at);
                    let end = tail + more as u64;
                    if next.is_some_and(|(_, counter, _)| counter < end) {
                        return Ok(false);
                    }
                }
                let merged = known.slots.overlaid(&slots);
                self.count_out(number);
                let known = self.rows.of(number);
                let label = known.label.merged(&label, merged.live());
                let label = self.labels.fitted(&label, merged.live());
                let row = self.rows.of_mut(number);
                row.slots = merged;
                row.label = label;
                self.count_in(number);
            }
            Err(at) if self.overlaps(writer, at, first.counter, slots.len()) => return Ok(false),
            Err(at) => {
                let row = self.row_for(Entry { first, stamp, label, id, slots }, writer as u32);
                self.link(row, at);
            }
        }
        Ok(true)
    }

    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), Infallible> {
        let Ok(known) = self.find_writer(replica) else { return Ok(()) };
        let mut from = start;
        // The last row of all takes its writer along.
        while let Some((_, writer)) = self.numbers.get(known)
            && let Some(number) = self.first_row(*writer, from, end)
        {
            let row = self.rows.of(number);
            let (live, last) = (row.slots.live(), row.last());
            let mask = live & mask_of(row.counter, start, end);
            if mask != 0 {
                killed.push(self.take(number, live, mask));
            }
            if last >= end {
                break;
            }
            from = last + 1;
        }
        Ok(())
    }
}
