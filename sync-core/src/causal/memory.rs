//! A document's entries and context in memory.
//!
//! A row is an entry; two indexes find it, by dot and by object. Rows of one object form a chain.

mod build;
mod labels;
mod live;
mod rows;
mod sorted;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use self::build::Builder;
use self::labels::Labels;
use self::rows::{NONE, Row, Rows};
use self::sorted::{Position, Sorted};
use super::entry::mask_of;
use super::{
    CausalContext, Delta, Dot, DotRanges, DotStore, Entry, EntryView, Fingerprints, PlaceId,
    PlaceStore, ReplicaId,
};

/// A document's entries and context in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    context: CausalContext,
    rows: Rows,
    /// The rows of each replica, in the order of counters.
    writers: Vec<Writer>,
    /// The number of each replica among the writers, in the order of ids.
    numbers: Vec<(ReplicaId, u32)>,
    /// The rows of each space, one for each object, in the order of ids. In the order of spaces.
    spaces: Vec<Space>,
    labels: Labels,
    open: BTreeSet<(Box<[u8]>, PlaceId)>,
    hint: Hint,
    /// Of every live dot.
    fingerprints: Fingerprints,
}

#[derive(Debug, Clone)]
struct Space {
    name: Box<[u8]>,
    ids: Sorted,
}

/// Where the object that was read last stands, or would: mostly it is the one that is written next.
/// Something else may stand there by now.
#[derive(Debug, Default)]
struct Hint(AtomicU64);

impl Hint {
    fn get(&self) -> Position {
        Position::from_bits(self.0.load(Relaxed))
    }

    fn set(&self, position: Position) {
        self.0.store(position.to_bits(), Relaxed);
    }
}

impl Clone for Hint {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Debug, Clone)]
struct Writer {
    replica: ReplicaId,
    runs: Sorted,
}

impl MemoryStore {
    /// Takes a context and entries as they were stored. Entries must not overlap.
    pub fn load(context: CausalContext, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut store = Self { context, ..Self::default() };
        for entry in entries {
            let Ok(_) = store.add(entry);
        }
        store
    }

    /// The whole state as a delta.
    #[must_use]
    pub fn to_delta(&self) -> Delta {
        let entries = self.iter().map(EntryView::to_entry).collect();
        Delta { entries, dead: self.context.difference(&self.live()), notes: Vec::new() }
    }

    /// The causal context.
    #[must_use]
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.rows.count()
    }

    /// Iterates over the entries in the order of their first dots.
    pub fn iter(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.sorted_writers().flat_map(|writer| writer.runs.iter().map(|row| self.view(row)))
    }

    /// Of the entries in the order of their first dots, those whose object has an earlier one: the
    /// place of each in that order, and the place of the first.
    pub(crate) fn repeats(&self) -> Vec<(u32, u32)> {
        let mut order = vec![0; self.rows.number_count()];
        let rows = self.sorted_writers().flat_map(|writer| writer.runs.iter());
        for (at, row) in (0u32..).zip(rows) {
            order[row as usize] = at;
        }
        let mut repeats = Vec::new();
        for head in self.spaces.iter().flat_map(|space| space.ids.iter()) {
            if self.rows.of(head).next == NONE {
                continue;
            }
            let chain = || {
                let next = |row: &u32| Some(self.rows.of(*row).next).filter(|next| *next != NONE);
                std::iter::successors(Some(head), next).map(|row| order[row as usize])
            };
            let first = chain().min().unwrap_or(0);
            repeats.extend(chain().filter(|at| *at != first).map(|at| (at, first)));
        }
        repeats.sort_unstable();
        repeats
    }

    /// The entries after a dot, in the order of their first dots.
    pub fn iter_after(&self, after: Option<Dot>) -> impl Iterator<Item = EntryView<'_>> {
        let left =
            move |writer: &&Writer| after.is_none_or(|after| writer.replica >= after.replica);
        self.sorted_writers().filter(left).flat_map(move |writer| {
            let after = after.filter(|after| after.replica == writer.replica);
            let from = after.map_or(0, |after| after.counter.saturating_add(1));
            let (Ok(at) | Err(at)) = writer.runs.find(from, |_| Ordering::Equal);
            writer.runs.iter_from(at).map(|row| self.view(row))
        })
    }

    /// The entry whose run spans this dot, if any of its dots is live.
    #[must_use]
    pub fn entry_of(&self, dot: Dot) -> Option<EntryView<'_>> {
        let writer = self.writer(dot.replica)?;
        let row = self.runs(writer, dot.counter, dot.counter).next()?;
        Some(self.view(row))
    }

    /// The dots that are live.
    #[must_use]
    pub fn live(&self) -> CausalContext {
        let mut live = CausalContext::default();
        for entry in self.iter() {
            let mut ranges = DotRanges::default();
            entry.live().for_each(|(dot, _)| ranges.insert(dot.counter, dot.counter));
            live.insert_ranges(entry.first.replica, &ranges);
        }
        live
    }

    /// Joins a delta. See [`join`](super::join()).
    pub fn join(&mut self, delta: &Delta) -> super::Joined {
        let Ok(joined) = super::join(self, delta);
        joined
    }

    /// The part of the state that is about the given dots: entries with these live dots, and those that
    /// are dead.
    #[must_use]
    pub fn part(&self, dots: &CausalContext) -> Delta {
        let Ok(part) = super::part(self, dots);
        part
    }

    fn view(&self, number: u32) -> EntryView<'_> {
        let Row { id, stamp, counter, label, slots, writer, .. } = self.rows.of(number);
        let first = Dot::new(self.writers[*writer as usize].replica, *counter);
        EntryView { first, stamp: *stamp, label, id, slots }
    }

    #[inline]
    fn find_writer(&self, replica: ReplicaId) -> Result<usize, usize> {
        match &self.numbers[..] {
            [(only, _)] if *only == replica => Ok(0),
            numbers => numbers.binary_search_by(|(known, _)| known.cmp(&replica)),
        }
    }

    fn writer(&self, replica: ReplicaId) -> Option<&Writer> {
        let at = self.find_writer(replica).ok()?;
        Some(&self.writers[self.numbers[at].1 as usize])
    }

    /// The number of a replica, a fresh one where it has none.
    fn number_of(&mut self, replica: ReplicaId) -> usize {
        match self.find_writer(replica) {
            Ok(at) => self.numbers[at].1 as usize,
            Err(at) => {
                self.numbers.insert(at, (replica, self.writers.len() as u32));
                self.writers.push(Writer { replica, runs: Sorted::default() });
                self.writers.len() - 1
            }
        }
    }

    /// The writers in the order of their ids.
    fn sorted_writers(&self) -> impl Iterator<Item = &Writer> {
        self.numbers.iter().map(|(_, number)| &self.writers[*number as usize])
    }

    /// Whether a run of `len` dots from `counter`, which would stand at a position, would overlap
    /// another one.
    fn overlaps(&self, writer: usize, at: Position, counter: u64, len: usize) -> bool {
        let runs = &self.writers[writer].runs;
        let before = runs.before(at).and_then(|before| runs.row(before));
        let reaches = before.is_some_and(|row| self.rows.of(row).last() >= counter);
        let last = counter.saturating_add((len as u64).saturating_sub(1));
        reaches || runs.following(at).is_some_and(|(_, next, _)| next <= last)
    }

    /// The first row of a replica whose run overlaps `start..=end`, and where it stands.
    #[inline]
    fn first_run(&self, writer: &Writer, start: u64, end: u64) -> Option<(Position, u32)> {
        let at = match writer.runs.find(start, |_| Ordering::Equal) {
            Ok(at) => return writer.runs.row(at).map(|row| (at, row)),
            Err(at) => at,
        };
        // The run that begins before may reach into the range.
        if let Some(before) = writer.runs.before(at)
            && let Some(row) = writer.runs.row(before)
            && self.rows.of(row).last() >= start
        {
            return Some((before, row));
        }
        let (at, counter, row) = writer.runs.following(at)?;
        (counter <= end).then_some((at, row))
    }

    /// The rows of a replica whose runs overlap `start..=end`, in order.
    fn runs(&self, writer: &Writer, start: u64, end: u64) -> impl Iterator<Item = u32> {
        let first = self.first_run(writer, start, end);
        let rows = first.into_iter().flat_map(|(at, _)| writer.runs.iter_from(at));
        rows.take_while(move |row| self.rows.of(*row).counter <= end)
    }

    fn run(&self, writer: usize, counter: u64) -> Result<Position, Position> {
        self.writers[writer].runs.find(counter, |_| Ordering::Equal)
    }

    fn space(&self, space: &[u8]) -> Result<usize, usize> {
        match &self.spaces[..] {
            [only] if *only.name == *space => Ok(0),
            spaces => spaces.binary_search_by(|known| (*known.name).cmp(space)),
        }
    }

    fn ids_of(&self, space: &[u8]) -> Option<&Sorted> {
        self.space(space).ok().map(|at| &self.spaces[at].ids)
    }

    /// Where an object stands in its space, or would.
    fn place(&self, ids: &Sorted, id: &[u8]) -> Result<Position, Position> {
        let hint = self.hint.get();
        let key = key_of(id);
        match ids.row_of(hint, key) {
            Some(row) if *self.rows.of(row).id == *id => return Ok(hint),
            None if ids.would_stand(hint, key) => return Err(hint),
            Some(_) | None => {}
        }
        let found = ids.find(key, |row| (*self.rows.of(row).id).cmp(id));
        let (Ok(at) | Err(at)) = found;
        self.hint.set(at);
        found
    }

    /// Puts a row into both indexes.
    fn link(&mut self, mut row: Row, at: Position) {
        let (writer, counter) = (row.writer as usize, row.counter);
        let space = match self.space(row.label.space()) {
            Ok(space) => space,
            Err(space) => {
                let name = row.label.space().into();
                self.spaces.insert(space, Space { name, ids: Sorted::default() });
                space
            }
        };
        let ids = &self.spaces[space].ids;
        let place = self.place(ids, &row.id);
        let head = place.ok().and_then(|place| ids.row(place));
        let number = match (head, place) {
            // Any row of the object will do: the new one goes behind it.
            (Some(head), _) => {
                row.next = self.rows.of(head).next;
                let number = self.rows.add(row);
                self.rows.of_mut(head).next = number;
                number
            }
            (None, Ok(place) | Err(place)) => {
                let key = key_of(&row.id);
                let number = self.rows.add(row);
                self.spaces[space].ids.insert(place, key, number);
                number
            }
        };
        self.writers[writer].runs.insert(at, counter, number);
    }

    /// Takes a row, which stands at a position among the runs, out of both indexes.
    fn unlink(&mut self, number: u32, at: Position) -> Row {
        let known = self.rows.of(number);
        let space = self.space(known.label.space());
        let place = space.map(|space| self.place(&self.spaces[space].ids, &known.id));
        let row = self.rows.remove(number);
        if let (Ok(space), Ok(Ok(place))) = (space, place) {
            let ids = &mut self.spaces[space].ids;
            match ids.row(place) {
                Some(head) if head == number && row.next == NONE => {
                    ids.remove(place);
                    if ids.is_empty() {
                        self.spaces.remove(space);
                    }
                }
                Some(head) if head == number => ids.set(place, row.next),
                Some(mut before) => {
                    while self.rows.of(before).next != number {
                        before = self.rows.of(before).next;
                    }
                    self.rows.of_mut(before).next = row.next;
                }
                None => {}
            }
        }
        self.writers[row.writer as usize].runs.remove(at);
        if self.rows.count() == 0 {
            self.writers = Vec::new();
            self.numbers = Vec::new();
            self.labels = Labels::default();
        }
        row
    }

    /// Takes the slots of a mask out of a row, and gives them as an entry.
    fn take(&mut self, number: u32, at: Position, live: u64, mask: u64) -> Entry {
        let Row { id, stamp, counter, label, slots, writer, .. } = self.rows.of(number);
        let (first, stamp) = (Dot::new(self.writers[*writer as usize].replica, *counter), *stamp);
        if mask == live {
            let Row { id, label, slots, .. } = self.unlink(number, at);
            return Entry { first, stamp, label, id, slots };
        }
        let (id, (taken, rest)) = (id.clone(), slots.split(mask));
        let label_left = self.labels.fitted(label, live & !mask);
        let label_taken = self.labels.fitted(label, mask);
        let row = self.rows.of_mut(number);
        row.slots = rest;
        row.label = label_left;
        Entry { first, stamp, label: label_taken, id, slots: taken }
    }
}

/// The first bytes of an id as a number in the same order.
#[inline]
fn key_of(id: &[u8]) -> u64 {
    if let Some(first) = id.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    bytes[..id.len()].copy_from_slice(id);
    u64::from_be_bytes(bytes)
}

impl PartialEq for MemoryStore {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (EntryView<'_>, EntryView<'_>)| {
            a.first == b.first
                && a.stamp == b.stamp
                && a.id == b.id
                && a.label == b.label
                && a.slots == b.slots
        };
        self.context == other.context
            && self.rows.count() == other.rows.count()
            && self.iter().zip(other.iter()).all(same)
    }
}

impl Eq for MemoryStore {}

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
                self.fingerprints.add(EntryView {
                    first,
                    stamp,
                    label: &label,
                    id: &id,
                    slots: &slots,
                });
                let label = self.labels.fitted(&label, slots.live());
                let counter = first.counter;
                let writer = writer as u32;
                self.link(Row { id, stamp, counter, label, slots, writer, next: NONE }, at);
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
            && let Some(writer) = self.writers.get(*writer as usize)
            && let Some((at, number)) = self.first_run(writer, from, end)
        {
            let row = self.rows.of(number);
            let (live, last) = (row.slots.live(), row.last());
            let mask = live & mask_of(row.counter, start, end);
            if mask != 0 {
                let taken = self.take(number, at, live, mask);
                self.fingerprints.take_out(taken.view());
                killed.push(taken);
            }
            if last >= end {
                break;
            }
            from = last + 1;
        }
        Ok(())
    }
}

impl PlaceStore for MemoryStore {
    fn at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(EntryView<'_>),
    ) -> Result<(), Infallible> {
        let Some(ids) = self.ids_of(space) else { return Ok(()) };
        let head = self.place(ids, id).ok().and_then(|at| ids.row(at));
        let mut next = head.unwrap_or(NONE);
        while next != NONE {
            show(self.view(next));
            next = self.rows.of(next).next;
        }
        Ok(())
    }

    fn ids(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<PlaceId>, Infallible> {
        let Some(ids) = self.ids_of(space) else { return Ok(Vec::new()) };
        let id = |row: u32| &self.rows.of(row).id;
        let from = match after {
            Some(after) => ids.find(key_of(after), |row| (**id(row)).cmp(after)),
            None => Err(Position::default()),
        };
        let (Ok(from) | Err(from)) = from;
        let rows = ids.iter_from(from).filter(|row| after.is_none_or(|after| **id(*row) > *after));
        Ok(rows.take(limit).map(|row| id(row).clone()).collect())
    }

    fn spaces(&self) -> Result<Vec<Box<[u8]>>, Infallible> {
        Ok(self.spaces.iter().map(|space| space.name.clone()).collect())
    }

    fn set_open(&mut self, space: &[u8], id: &[u8], is_open: bool) -> Result<(), Infallible> {
        if is_open {
            self.open.insert((space.into(), PlaceId::new(id)));
        } else if !self.open.is_empty() {
            self.open.remove(&(space.into(), PlaceId::new(id)));
        }
        Ok(())
    }

    fn is_open(&self, space: &[u8], id: &[u8]) -> Result<bool, Infallible> {
        Ok(!self.open.is_empty() && self.open.contains(&(space.into(), PlaceId::new(id))))
    }

    fn open(&self) -> Result<Vec<(Box<[u8]>, PlaceId)>, Infallible> {
        Ok(self.open.iter().cloned().collect())
    }
}
