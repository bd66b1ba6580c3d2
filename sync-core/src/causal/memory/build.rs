//! A store from a state that stands in the order of dots: rows are appended, and the objects sorted
//! once at the end.

use std::collections::BTreeMap;

use super::lookup::key_of;
use super::rows::Row;
use super::sorted::{CHUNK_MAX, Sorted};
use super::{MemoryStore, Space};
use crate::causal::{
    CausalContext, Dot, EntryView, Label, PLACE_ID_BYTES_MAX, PlaceId, ReplicaId, Slots, check_len,
    ranges_of,
};
use crate::error::Malformed;
use crate::sort::{sort_by, sorted_by_number};
use crate::time::Stamp;

/// How many objects a list begins with: it has room for some more. Arbitrary.
const CHUNK_OBJECTS: usize = CHUNK_MAX * 7 / 8;

/// A store that is being built.
pub(crate) struct Builder<'a> {
    store: MemoryStore,
    labels: &'a [Label],
    /// The labels as the store keeps them, and their spaces, once they are used.
    kept: Vec<Option<(Label, usize)>>,
    /// The spaces by their names, and of each what its index is made of.
    numbers: BTreeMap<&'a [u8], usize>,
    objects: Vec<Vec<(u64, u32)>>,
    /// The last dot so far, and the number of its replica.
    last: Option<(Dot, u32)>,
    /// A range of what was seen of that replica, in which the last entry was found.
    seen: (u64, u64),
}

impl<'a> Builder<'a> {
    /// Starts with what was seen, and with the labels that entries name by their places.
    pub(crate) fn new(context: CausalContext, labels: &'a [Label]) -> Self {
        Self {
            store: MemoryStore { context, ..MemoryStore::default() },
            labels,
            kept: vec![None; labels.len()],
            numbers: BTreeMap::new(),
            objects: Vec::new(),
            last: None,
            seen: (1, 0),
        }
    }

    /// How many entries there are so far.
    pub(crate) fn count(&self) -> usize {
        self.store.rows.count()
    }

    /// The id of an entry that was added, by its place.
    pub(crate) fn id(&self, at: u64) -> Option<&PlaceId> {
        let at = u32::try_from(at).ok().filter(|at| (*at as usize) < self.count());
        Some(&self.store.rows.of(at?).id)
    }

    /// Adds an entry behind all others. The label has a name for each slot that is live, and for no
    /// other.
    pub(crate) fn push(
        &mut self,
        first: Dot,
        stamp: Stamp,
        label: usize,
        id: PlaceId,
        slots: Slots,
    ) -> Result<(), Malformed> {
        check_len("an id", id.len(), PLACE_ID_BYTES_MAX)?;
        let (label, space) = self.keep(label)?;
        let writer = self.follow(first, &label)?;
        let sum = self.store.fingerprints.add_run(EntryView {
            first,
            stamp,
            label: &label,
            id: &id,
            slots: &slots,
        });
        let (key, counter) = (key_of(&id), first.counter);
        let row = Row { id, stamp, counter, label, slots, sum, writer, next: 0 };
        let number = self.store.rows.add_ring(row);
        self.store.writers[writer as usize].runs.push(counter, number, CHUNK_MAX);
        self.objects[space].push((key, number));
        Ok(())
    }

    /// The label as the store keeps it, and the number of its space.
    fn keep(&mut self, label: usize) -> Result<(Label, usize), Malformed> {
        let what = "a number is one that was given";
        let kept = self.kept.get_mut(label).ok_or(Malformed::Inconsistent { what })?;
        if let Some(kept) = kept {
            return Ok(kept.clone());
        }
        let new = &self.labels[label];
        new.check()?;
        if new.named() == 0 {
            return Err(Malformed::Inconsistent { what: "an entry has a live dot" });
        }
        let next = self.objects.len();
        let space = *self.numbers.entry(new.space()).or_insert(next);
        if space == next {
            self.objects.push(Vec::new());
        }
        let found = (self.store.labels.fitted(new, new.named()), space);
        *kept = Some(found.clone());
        Ok(found)
    }

    /// Checks that a run comes after the last one and was seen, and gives the number of its replica.
    fn follow(&mut self, first: Dot, label: &Label) -> Result<u32, Malformed> {
        if first.counter == 0 {
            return Err(Malformed::Inconsistent { what: "counters start at 1" });
        }
        let end = first.counter.saturating_add(label.len() as u64 - 1);
        let (found, limit) = (end, Dot::COUNTER_MAX);
        if found > limit {
            return Err(Malformed::limit("a counter", found, limit));
        }
        let unordered = Malformed::Inconsistent { what: "entries stand in the order of dots" };
        let writer = match self.last {
            Some((last, writer)) if last.replica == first.replica => {
                if last.counter >= first.counter {
                    return Err(unordered);
                }
                writer
            }
            Some((last, _)) if last.replica > first.replica => return Err(unordered),
            Some(_) | None => {
                self.seen = (1, 0);
                self.store.number_of(first.replica) as u32
            }
        };
        if first.counter < self.seen.0 || end > self.seen.1 {
            self.see(first.replica, first.counter, label.named())?;
        }
        self.last = Some((Dot::new(first.replica, end), writer));
        Ok(writer)
    }

    fn see(&mut self, replica: ReplicaId, first: u64, live: u64) -> Result<(), Malformed> {
        let live = ranges_of(first, live);
        let seen = self.store.context.of(replica).filter(|seen| seen.covers(&live));
        let seen = seen.ok_or(Malformed::Inconsistent { what: "every live dot was seen" })?;
        self.seen = seen.overlapping(first, live.max()).next().unwrap_or((1, 0));
        Ok(())
    }

    /// Sorts the objects, and gives the store.
    pub(crate) fn finish(self) -> MemoryStore {
        let Self { mut store, numbers, mut objects, .. } = self;
        for (name, number) in numbers {
            let ids = index(&mut store, std::mem::take(&mut objects[number]));
            store.spaces.push(Space { name: name.into(), ids });
        }
        store
    }
}

/// The rows of a space by their ids: of each object one, the others in a ring with it.
fn index(store: &mut MemoryStore, objects: Vec<(u64, u32)>) -> Sorted {
    let mut objects = sorted_by_number(objects, |(key, _)| *key);
    let rows = &store.rows;
    for same in objects.chunk_by_mut(|(a, _), (b, _)| a == b).filter(|same| same.len() > 1) {
        sort_by(same, |(_, a), (_, b)| rows.of(*a).id.cmp(&rows.of(*b).id).then_with(|| a.cmp(b)));
    }
    let mut ids = Sorted::default();
    let mut last: Option<(u64, u32)> = None;
    for (key, row) in objects {
        match last.filter(|(known, head)| {
            *known == key && store.rows.of(*head).id == store.rows.of(row).id
        }) {
            Some((_, head)) => {
                let next = std::mem::replace(&mut store.rows.of_mut(head).next, row);
                store.rows.of_mut(row).next = next;
            }
            None => {
                ids.push(key, row, CHUNK_OBJECTS);
                last = Some((key, row));
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16])
    }

    /// Adds runs of two dots, and tells whether the last one was taken.
    fn build(seen: &[(u8, u64, u64)], runs: &[(u8, u64)]) -> Result<MemoryStore, Malformed> {
        let mut context = CausalContext::default();
        seen.iter().for_each(|(id, start, end)| context.insert_range(replica(*id), *start, *end));
        let labels = [Label::new(b"space", [&b"name"[..], b"name"])];
        let slots = || Slots::new([Some(&b"value"[..]), Some(b"value")].into_iter());
        let mut builder = Builder::new(context, &labels);
        for (at, (id, counter)) in runs.iter().enumerate() {
            let first = Dot::new(replica(*id), *counter);
            let pushed = builder.push(first, Stamp::default(), 0, PlaceId::new(b"id"), slots());
            assert!(pushed.is_ok() || at + 1 == runs.len(), "{first}: {pushed:?}");
            pushed?;
        }
        Ok(builder.finish())
    }

    #[test]
    fn only_runs_in_order_that_were_seen_are_taken() {
        const MAX: u64 = Dot::COUNTER_MAX;
        let seen = [(1, 1, 2), (1, 4, 9), (2, 1, 2), (2, MAX - 3, u64::MAX)];
        for runs in [
            &[(1, 1), (1, 4), (1, 6), (2, 1)][..],
            &[(1, 8), (2, 1), (2, MAX - 3)],
            &[(2, MAX - 1)],
        ] {
            assert_eq!(build(&seen, runs).unwrap().iter().count(), runs.len(), "{runs:?}");
        }
        let zeroth = "counters start at 1";
        let (order, unseen) = ("entries stand in the order of dots", "every live dot was seen");
        for (runs, what) in [
            (&[(1, 0)][..], zeroth),
            (&[(1, 4), (1, 4)], order),
            (&[(1, 4), (1, 5)], order),
            (&[(1, 4), (1, 1)], order),
            (&[(2, 1), (1, 4)], order),
            (&[(1, 1), (1, 3)], unseen),
            (&[(1, 2)], unseen),
            (&[(1, 4), (1, 9)], unseen),
            (&[(1, 4), (2, 4)], unseen),
            (&[(3, 1)], unseen),
        ] {
            assert_eq!(build(&seen, runs), Err(Malformed::Inconsistent { what }), "{runs:?}");
        }
        let above = build(&seen, &[(2, MAX)]);
        assert!(matches!(above, Err(Malformed::Limit { .. })), "{above:?}");
    }
}
