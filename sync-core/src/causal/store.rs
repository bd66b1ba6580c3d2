//! Where entries and context live: the trait that the kernel works on, and its form in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::{
    CausalContext, Delta, Dot, DotRanges, Entry, Joined, Killed, Note, RUN_DOTS_MAX, ReplicaId,
    join,
};

/// A place for one document's entries and context. The kernel touches only what a delta names, so a
/// document need not fit into memory.
pub trait DotStore {
    /// What goes wrong in the place.
    type Error;

    /// The counters seen of a replica.
    fn seen(&self, replica: ReplicaId) -> Result<DotRanges, Self::Error>;

    /// Replaces the counters seen of a replica.
    fn set_seen(&mut self, replica: ReplicaId, ranges: DotRanges) -> Result<(), Self::Error>;

    /// The entries of a replica whose runs overlap `start..=end`, in order.
    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, Self::Error>;

    /// Stores an entry, in place of one with the same first dot. `fresh` tells whether a live dot is
    /// added; otherwise the entry only lost some.
    fn put(&mut self, entry: Entry, fresh: bool) -> Result<(), Self::Error>;

    /// Takes out the entry that starts at this dot.
    fn remove(&mut self, first: Dot) -> Result<(), Self::Error>;
}

/// A document's entries and context in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryStore {
    context: CausalContext,
    entries: BTreeMap<ReplicaId, BTreeMap<u64, Entry>>,
    notes: Vec<Note>,
}

impl MemoryStore {
    /// Takes a context and entries as they were stored.
    pub fn load(context: CausalContext, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut store = Self { context, ..Self::default() };
        for entry in entries {
            let runs = store.entries.entry(entry.replica()).or_default();
            runs.insert(entry.first.counter, entry);
        }
        store
    }

    /// Takes a delta as a state.
    #[must_use]
    pub fn from_delta(delta: Delta) -> Self {
        let mut store = Self::load(delta.context, delta.entries);
        store.notes = delta.notes;
        store
    }

    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn into_delta(self, notes: Vec<Note>) -> Delta {
        let entries = self.entries.into_values().flat_map(BTreeMap::into_values).collect();
        Delta { context: self.context, entries, notes }
    }

    /// The whole state as a delta.
    #[must_use]
    pub fn to_delta(&self) -> Delta {
        let entries = self.iter().cloned().collect();
        Delta { context: self.context.clone(), entries, notes: Vec::new() }
    }

    /// The causal context.
    #[must_use]
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Iterates over the entries in the order of their first dots.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().flat_map(BTreeMap::values)
    }

    /// The entry whose run spans this dot, if it is live.
    #[must_use]
    pub fn entry_of(&self, dot: Dot) -> Option<&Entry> {
        self.runs(dot.replica, dot.counter, dot.counter)
            .find(|entry| entry.live().any(|(live, _)| live == dot))
    }

    /// The slot of a dot and the header of its entry, if it is live.
    #[must_use]
    pub fn live_slot(&self, dot: Dot) -> Option<(&[u8], &[u8])> {
        let entry = self.entry_of(dot)?;
        let (_, slot) = entry.live().find(|(live, _)| *live == dot)?;
        Some((&entry.header, slot))
    }

    /// The entries of a replica whose runs overlap `start..=end`. Only runs that start up to one
    /// run's length earlier can.
    fn runs(&self, replica: ReplicaId, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let from = start.saturating_sub(RUN_DOTS_MAX as u64 - 1);
        let runs = self.entries.get(&replica).into_iter();
        runs.flat_map(move |runs| runs.range(from..=end.max(from)))
            .map(|(_, entry)| entry)
            .filter(move |entry| entry.last() >= start)
    }

    /// Takes back a join of a delta whose new dots are all of one replica, with what that replica had
    /// seen before.
    pub fn take_back(&mut self, joined: Joined, replica: ReplicaId, seen: DotRanges) {
        for entry in joined.added {
            let runs = self.entries.entry(entry.replica()).or_default();
            runs.remove(&entry.first.counter);
            if runs.is_empty() {
                self.entries.remove(&entry.replica());
            }
        }
        for Killed { dot, header, slot, run } in joined.killed {
            if dot.replica == replica && !seen.contains(dot.counter) {
                continue;
            }
            let runs = self.entries.entry(dot.replica).or_default();
            let entry = runs.entry(run.start).or_insert_with(|| Entry {
                first: Dot::new(dot.replica, run.start),
                header,
                slots: vec![None; run.len],
            });
            if let Some(place) = entry.slot_mut(dot.counter) {
                *place = Some(slot);
            }
        }
        self.context.set(replica, seen);
    }

    /// The dots that are live.
    #[must_use]
    pub fn live(&self) -> CausalContext {
        let mut live = CausalContext::default();
        for entry in self.iter() {
            live.insert_ranges(entry.replica(), &entry.live_ranges());
        }
        live
    }

    /// Joins a delta. See [`join`](super::join()).
    pub fn join(&mut self, delta: &Delta) -> Joined {
        match join(self, delta) {
            Ok(joined) => joined,
            Err(never) => match never {},
        }
    }

    /// The part of the state that is about the given dots: entries with these live dots, and all of
    /// the dots that were seen.
    #[must_use]
    pub fn part(&self, dots: &CausalContext) -> Delta {
        let mut part = Delta { context: self.context.intersection(dots), ..Delta::default() };
        for (replica, ranges) in dots.iter() {
            for (start, end) in ranges.iter() {
                for mut entry in self.runs(replica, start, end).cloned() {
                    let first = entry.first.counter;
                    for (offset, slot) in (0u64..).zip(&mut entry.slots) {
                        if !ranges.contains(first + offset) {
                            *slot = None;
                        }
                    }
                    let is_last = part.entries.last().is_some_and(|last| last.first == entry.first);
                    if !entry.is_dead() && !is_last {
                        part.entries.push(entry);
                    }
                }
            }
        }
        part
    }
}

impl DotStore for MemoryStore {
    type Error = Infallible;

    fn seen(&self, replica: ReplicaId) -> Result<DotRanges, Infallible> {
        Ok(self.context.of(replica).cloned().unwrap_or_default())
    }

    fn set_seen(&mut self, replica: ReplicaId, ranges: DotRanges) -> Result<(), Infallible> {
        self.context.set(replica, ranges);
        Ok(())
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, Infallible> {
        Ok(self.runs(replica, start, end).cloned().collect())
    }

    fn put(&mut self, entry: Entry, _fresh: bool) -> Result<(), Infallible> {
        self.entries.entry(entry.replica()).or_default().insert(entry.first.counter, entry);
        Ok(())
    }

    fn remove(&mut self, first: Dot) -> Result<(), Infallible> {
        if let Some(runs) = self.entries.get_mut(&first.replica) {
            runs.remove(&first.counter);
            if runs.is_empty() {
                self.entries.remove(&first.replica);
            }
        }
        Ok(())
    }
}
