//! Finding rows, by dot and by object.

use std::cmp::Ordering;

use super::rows::Row;
use super::sorted::{Position, Sorted};
use super::{MemoryStore, Writer};
use crate::causal::{Dot, EntryView, ReplicaId};
use crate::small::are_same;

impl MemoryStore {
    #[inline]
    pub(super) fn view(&self, number: u32) -> EntryView<'_> {
        let Row { id, stamp, counter, label, slots, writer, .. } = self.rows.of(number);
        let first = Dot::new(self.writers[*writer as usize].replica, *counter);
        EntryView { first, stamp: *stamp, label, id, slots }
    }

    #[inline]
    pub(super) fn find_writer(&self, replica: ReplicaId) -> Result<usize, usize> {
        // Mostly there are one or two.
        match &self.numbers[..] {
            [(known, _), ..] if *known == replica => Ok(0),
            [_, (known, _), ..] if *known == replica => Ok(1),
            numbers => numbers.binary_search_by(|(known, _)| known.cmp(&replica)),
        }
    }

    pub(super) fn writer(&self, replica: ReplicaId) -> Option<&Writer> {
        let at = self.find_writer(replica).ok()?;
        Some(&self.writers[self.numbers[at].1 as usize])
    }

    /// The number of a replica, a fresh one where it has none.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn number_of(&mut self, replica: ReplicaId) -> usize {
        match self.find_writer(replica) {
            Ok(at) => self.numbers[at].1 as usize,
            Err(at) => {
                self.numbers.insert(at, (replica, self.writers.len() as u32));
                self.writers.push(Writer { replica, runs: Sorted::default() });
                self.writers.len() - 1
            }
        }
    }

    /// The number of a replica, and where a run stands among its runs that is behind all that was seen of
    /// it; that is seen by this. Gives nothing, and sees nothing, where the run is not behind all.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn see_next(&mut self, first: Dot, last: u64) -> Option<(u32, Position)> {
        let writer = self.number_of(first.replica);
        // A run may reach beyond what of it was seen.
        let at = match self.writers[writer].runs.end() {
            Some((at, last)) if self.rows.of(last).last() < first.counter => at,
            Some(_) => return None,
            None => Position::default(),
        };
        self.context.push(first, last).then_some((writer as u32, at))
    }

    /// The writers in the order of their ids.
    pub(super) fn sorted_writers(&self) -> impl Iterator<Item = &Writer> {
        self.numbers.iter().map(|(_, number)| &self.writers[*number as usize])
    }

    /// The first row of a replica, by the number of that, whose run overlaps `start..=end`.
    #[inline]
    pub(super) fn first_row(&self, writer: u32, start: u64, end: u64) -> Option<u32> {
        if let Some(row) = self.row_at_hand(writer, start) {
            return Some(row);
        }
        let (at, row) = self.first_run(self.writers.get(writer as usize)?, start, end)?;
        self.hand.set_row(row);
        self.hand.set_run(at);
        Some(row)
    }

    /// The row whose run has a dot.
    #[inline]
    pub(super) fn row_of_dot(&self, dot: Dot) -> Option<u32> {
        let writer = self.find_writer(dot.replica).ok()?;
        self.first_row(self.numbers[writer].1, dot.counter, dot.counter)
    }

    /// The row of a dot, if that belongs to the object that was looked at last.
    #[inline]
    fn row_at_hand(&self, writer: u32, counter: u64) -> Option<u32> {
        if !crate::small::HAS_SHORTCUTS {
            return None;
        }
        let first = self.hand.row();
        let mut number = first;
        for _ in 0..RING_ROWS_LOOKED_AT {
            let row = self.rows.get(number)?;
            if row.writer == writer && row.counter <= counter && counter <= row.last() {
                return Some(number);
            }
            number = row.next;
            if number == first {
                break;
            }
        }
        None
    }

    /// The first row of a replica whose run overlaps `start..=end`, and where it stands.
    fn first_run(&self, writer: &Writer, start: u64, end: u64) -> Option<(Position, u32)> {
        // The run that begins before may reach into the range.
        let next = match writer.runs.last_upto(start) {
            Some((at, _, row)) if self.rows.of(row).last() >= start => return Some((at, row)),
            Some((at, ..)) => at.next(),
            None => Position::default(),
        };
        let (at, counter, row) = writer.runs.following(next)?;
        (counter <= end).then_some((at, row))
    }

    /// The rows of a replica whose runs overlap `start..=end`, in order.
    pub(super) fn runs(&self, writer: &Writer, start: u64, end: u64) -> impl Iterator<Item = u32> {
        let first = self.first_run(writer, start, end);
        let rows = first.into_iter().flat_map(|(at, _)| writer.runs.iter_from(at));
        rows.take_while(move |row| self.rows.of(*row).counter <= end)
    }

    /// Where a run stands among those of its replica, or would.
    #[inline]
    pub(super) fn run(&self, writer: usize, counter: u64) -> Result<Position, Position> {
        let runs = &self.writers[writer].runs;
        let hint = self.hand.run();
        match runs.row_of(hint, counter) {
            Some(_) if crate::small::HAS_SHORTCUTS => Ok(hint),
            Some(_) | None => {
                let end = runs.end_above(counter);
                end.map_or_else(|| runs.find(counter, |_| Ordering::Equal), Err)
            }
        }
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn space(&self, space: &[u8]) -> Result<usize, usize> {
        match &self.spaces[..] {
            [only] if are_same(&only.name, space) => Ok(0),
            spaces => spaces.binary_search_by(|known| (*known.name).cmp(space)),
        }
    }

    #[inline]
    pub(super) fn ids_of(&self, space: &[u8]) -> Option<&Sorted> {
        self.space(space).ok().map(|at| &self.spaces[at].ids)
    }

    /// Where an object stands among those of a space, or would.
    #[inline]
    pub(super) fn find_object(&self, ids: &Sorted, id: &[u8]) -> Result<Position, Position> {
        ids.find(key_of(id), |row| self.rows.of(row).id.compare(id))
    }

    /// A row of an object, if there is any.
    #[inline]
    pub(super) fn row_of(&self, space: &[u8], id: &[u8]) -> Option<u32> {
        if let Some(row) = self.object_at_hand(space, id) {
            return Some(row);
        }
        let ids = self.ids_of(space)?;
        let found = self.find_object(ids, id);
        let (Ok(at) | Err(at)) = found;
        self.hand.set_place(at);
        let row = ids.row(found.ok()?)?;
        self.hand.set_row(row);
        Some(row)
    }

    /// A row of an object, if there is any, for who does not go on to write.
    #[inline]
    pub(super) fn row_to_read(&self, space: &[u8], id: &[u8]) -> Option<u32> {
        let ids = self.ids_of(space)?;
        ids.row(self.find_object(ids, id).ok()?)
    }

    /// A row of an object, if that was looked at last.
    #[inline]
    pub(super) fn object_at_hand(&self, space: &[u8], id: &[u8]) -> Option<u32> {
        if !crate::small::HAS_SHORTCUTS {
            return None;
        }
        let number = self.hand.row();
        let row = self.rows.get(number)?;
        let is_it = row.id.is(id) && are_same(row.label.space(), space);
        is_it.then_some(number)
    }

    /// As [`find_object`](Self::find_object), where that may be where it was looked for last.
    pub(super) fn place(&self, ids: &Sorted, id: &[u8]) -> Result<Position, Position> {
        let hint = self.hand.place();
        let key = key_of(id);
        match ids.row_of(hint, key) {
            _ if !crate::small::HAS_SHORTCUTS => {}
            Some(row) if self.rows.of(row).id.is(id) => return Ok(hint),
            None if ids.would_stand(hint, key) => return Err(hint),
            Some(_) | None => {}
        }
        let found = self.find_object(ids, id);
        let (Ok(at) | Err(at)) = found;
        self.hand.set_place(at);
        found
    }
}

/// How many rows of the object at hand are looked at before a search begins. Arbitrary.
const RING_ROWS_LOOKED_AT: usize = 8;

/// The first bytes of an id as a number in the same order.
#[inline]
pub(super) fn key_of(id: &[u8]) -> u64 {
    if let Some(first) = id.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    bytes[..id.len()].copy_from_slice(id);
    u64::from_be_bytes(bytes)
}
