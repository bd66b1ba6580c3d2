//! A document's entries and context in memory.
//!
//! A row is an entry; two indexes find it, by dot and by object. Rows of one object form a ring.

mod begin;
mod build;
mod bury;
mod dots;
mod hand;
mod labels;
mod live;
mod lookup;
mod overwrite;
mod places;
mod rings;
mod rows;
mod sorted;

use std::cmp::Ordering;

use crate::small::BTreeSet;

pub(crate) use self::build::Builder;
use self::hand::Hand;
use self::labels::Labels;
use self::rows::Rows;
use self::sorted::Sorted;
use super::{
    CausalContext, Delta, Dot, DotRanges, DotStore, Entry, EntryView, Few, Fingerprints, PlaceId,
    ReplicaId,
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
    hand: Hand,
    /// Of every live dot.
    fingerprints: Fingerprints,
}

#[derive(Debug, Clone)]
struct Space {
    name: Box<[u8]>,
    ids: Sorted,
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
        Delta { entries, dead: self.context.difference(&self.live()), notes: Few::new() }
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
            if self.rows.of(head).next == head {
                continue;
            }
            let places = || self.rows.ring(head).map(|row| order[row as usize]);
            let first = places().min().unwrap_or(0);
            repeats.extend(places().filter(|at| *at != first).map(|at| (at, first)));
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
    #[inline]
    pub fn entry_of(&self, dot: Dot) -> Option<EntryView<'_>> {
        self.row_of_dot(dot).map(|row| self.view(row))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Label, PlaceId, Slots};
    use crate::time::Stamp;

    fn entry(counter: u64) -> Entry {
        Entry {
            first: Dot::new(ReplicaId::from_bytes([1; 16]), counter),
            stamp: Stamp::from_bits(1),
            label: Label::new(b"space", [&b"name"[..]]),
            id: PlaceId::new(b"id"),
            slots: Slots::new([Some(&b"value"[..])].into_iter()),
        }
    }

    #[test]
    fn a_run_that_grows_does_not_reach_into_the_next_one() {
        let run = |first: u64, live: usize| {
            let label = Label::new(b"space", vec![&b"name"[..]; live]);
            let slots = Slots::new(vec![Some(&b"value"[..]); live].into_iter());
            Entry { label, slots, ..entry(first) }
        };
        for (next, is_taken) in [(12, false), (13, false), (14, true), (15, true)] {
            let mut store = MemoryStore::default();
            assert_eq!(store.add(run(10, 2)), Ok(true));
            assert_eq!(store.add(Entry { id: PlaceId::new(b"next"), ..run(next, 1) }), Ok(true));
            assert_eq!(store.add(run(10, 4)), Ok(is_taken), "{next}");
            let last = if is_taken { 13 } else { 11 };
            let own: DotRanges = [(10, last), (next, next)].into_iter().collect();
            assert_eq!(store.live().of(entry(1).replica()), Some(&own));
            assert_eq!(store.add(run(10, 6)), Ok(false), "{next}");
        }
    }

    #[test]
    fn the_entries_after_a_dot_are_those_of_later_counters_and_replicas() {
        let mut store = MemoryStore::default();
        let dots = [3u8, 1, 2].into_iter().flat_map(|replica| {
            [2, 4, 9].map(|counter| Dot::new(ReplicaId::from_bytes([replica; 16]), counter))
        });
        for first in dots {
            assert_eq!(store.add(Entry { first, ..entry(1) }), Ok(true));
        }
        let all: Vec<Dot> = store.iter().map(|entry| entry.first).collect();
        assert!(all.is_sorted() && all.len() == 9);
        for (replica, counter) in (0..5).flat_map(|replica| (1..11).map(move |at| (replica, at))) {
            let after = Dot::new(ReplicaId::from_bytes([replica; 16]), counter);
            let found = store.iter_after(Some(after)).map(|entry| entry.first);
            assert!(found.eq(all.iter().copied().filter(|dot| *dot > after)), "{after:?}");
        }
        assert!(store.iter_after(None).map(|entry| entry.first).eq(all));
    }

    #[test]
    fn stores_are_equal_if_all_of_their_entries_and_dots_are() {
        let store = |entries: &[Entry], dead: &[u64]| {
            let dead = dead.iter().map(|at| Dot::new(entry(1).replica(), *at)).collect();
            let mut store = MemoryStore::default();
            store.join(&Delta {
                entries: entries.iter().cloned().collect(),
                dead,
                ..Delta::default()
            });
            store
        };
        let one = store(&[entry(1)], &[2]);
        assert_eq!(one, store(&[entry(1)], &[2]));
        let others = [
            Entry { stamp: Stamp::from_bits(2), ..entry(1) },
            Entry { label: Label::new(b"space", [&b"other"[..]]), ..entry(1) },
            Entry { id: PlaceId::new(b"other"), ..entry(1) },
            Entry { slots: Slots::new([Some(&b"other"[..])].into_iter()), ..entry(1) },
        ];
        for other in others {
            assert_ne!(one, store(std::slice::from_ref(&other), &[2]), "{other:?}");
        }
        assert_ne!(one, store(&[entry(1)], &[]), "another context");
        assert_ne!(one, store(&[entry(2)], &[1]), "another dot is live");
        assert_ne!(one, store(&[entry(1), entry(2)], &[]), "one more is live");
    }
}
