//! An incremental summary of a document's live dots, never rebuilt for one write.

mod buckets;
mod element;

use self::buckets::{Buckets, Cover};
pub(crate) use self::element::mix;
use self::element::narrow;
pub use self::element::{ElementKey, Root, Sum, Total, context_hash};
pub(super) use self::element::{ODD, RunSum};
use super::{CausalContext, Dot, EntryView, ReplicaId};

/// Sums over the live dots of each replica and over all.
///
/// Keeping it costs a few instructions a dot and less than 2 bytes of memory a live dot, beyond about
/// 250 bytes for each replica that has one. Where live dots stand does not matter, and what was taken
/// out leaves nothing. An empty document takes no heap.
///
/// Without the feature `compare` nobody asks for them, and those of a store stay empty.
///
/// The caller adds a dot once, when it becomes live, and takes it out once, when it dies, with the
/// same hash of its content ([`EntryView::hashes`]).
#[derive(Debug, Clone, Default)]
pub struct Fingerprints {
    /// Sorted by id.
    replicas: Vec<Replica>,
    /// The place of the replica that was last written.
    last: usize,
    total: Total,
}

#[derive(Debug, Clone)]
struct Replica {
    id: ReplicaId,
    key: ElementKey,
    buckets: Buckets,
}

/// How many replicas are looked at one by one. Arbitrary.
const FEW: usize = 4;

impl Fingerprints {
    /// Adds a live dot.
    pub fn insert(&mut self, dot: Dot, content: u64) {
        self.insert_run(dot, &[content]);
    }

    /// Adds the live dots of consecutive counters from `first` on.
    #[inline]
    pub fn insert_run(&mut self, first: Dot, contents: &[u64]) {
        if contents.is_empty() {
            return;
        }
        let replica = self.replica_mut(first.replica);
        let key = replica.key;
        let mut wide = 0u128;
        let (mut counter, mut rest) = (first.counter, contents);
        while !rest.is_empty() {
            let (block, later) = rest.split_at(Buckets::room(counter).min(rest.len()));
            let mut sum = Sum { hash: 0, count: block.len() as u64 };
            let at = Buckets::block(counter);
            for content in block {
                let hash = key.wide(counter, *content);
                wide = wide.wrapping_add(hash);
                sum.hash = sum.hash.wrapping_add(narrow(hash));
                counter = counter.wrapping_add(1);
            }
            replica.buckets.add(at, sum);
            rest = later;
        }
        self.total.hash = self.total.hash.wrapping_add(wide);
        self.total.count = self.total.count.wrapping_add(contents.len() as u64);
    }

    /// Adds the live dots of an entry.
    pub fn add(&mut self, entry: EntryView<'_>) {
        self.add_run(entry);
    }

    /// Adds the live dots of an entry, and gives what they sum up to.
    pub(super) fn add_run(&mut self, entry: EntryView<'_>) -> RunSum {
        self.change(entry, true)
    }

    /// Takes out the live dots of an entry, and gives what they sum up to.
    pub(super) fn take_out_part(&mut self, entry: EntryView<'_>) -> RunSum {
        self.change(entry, false)
    }

    /// Takes out the live dots of an entry, which sum up to this.
    #[inline]
    pub(super) fn take_out_run(&mut self, entry: EntryView<'_>, run: RunSum) {
        if cfg!(not(feature = "compare")) {
            return;
        }
        let (first, len) = (entry.first, entry.slots.len());
        if len > Buckets::room(first.counter) {
            self.change(entry, false);
            return;
        }
        let count = u64::from(entry.slots.live().count_ones());
        let sum = Sum { hash: run.narrow(), count };
        self.replica_mut(first.replica).buckets.remove(Buckets::block(first.counter), sum);
        self.lessen(Total { hash: run.wide(), count });
    }

    /// As [`insert`](Self::insert) and [`remove`](Self::remove), where anybody asks for it. Gives what the
    /// dot sums up to.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn change_one(&mut self, dot: Dot, content: u64, is_added: bool) -> RunSum {
        if cfg!(not(feature = "compare")) {
            return RunSum::default();
        }
        self.change_dot(dot, content, is_added)
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn change_dot(&mut self, dot: Dot, content: u64, is_added: bool) -> RunSum {
        let replica = self.replica_mut(dot.replica);
        let hash = replica.key.wide(dot.counter, content);
        let sum = Sum { hash: narrow(hash), count: 1 };
        let block = Buckets::block(dot.counter);
        if is_added {
            replica.buckets.add(block, sum);
            self.total.hash = self.total.hash.wrapping_add(hash);
            self.total.count = self.total.count.wrapping_add(1);
        } else {
            replica.buckets.remove(block, sum);
            self.lessen(Total { hash, count: 1 });
        }
        RunSum::of(hash, sum.hash)
    }

    /// Sums up an entry, which is in one block or two, before it looks for their buckets.
    fn change(&mut self, entry: EntryView<'_>, is_added: bool) -> RunSum {
        if cfg!(not(feature = "compare")) {
            return RunSum::default();
        }
        let replica = self.replica_mut(entry.first.replica);
        let key = replica.key;
        let (mut wide, mut count, mut before) = (0u128, 0u64, 0u64);
        let (mut block, mut sum) = (Buckets::block(entry.first.counter), Sum::default());
        let mut put = |block: u64, sum: Sum| {
            if sum.count > 0 && is_added {
                replica.buckets.add(block, sum);
            } else if sum.count > 0 {
                replica.buckets.remove(block, sum);
            }
        };
        entry.each_hash(|counter, content| {
            if Buckets::block(counter) != block {
                put(block, sum);
                before = before.wrapping_add(sum.hash);
                (block, sum) = (Buckets::block(counter), Sum::default());
            }
            let hash = key.wide(counter, content);
            wide = wide.wrapping_add(hash);
            count += 1;
            sum = sum.plus(Sum { hash: narrow(hash), count: 1 });
        });
        put(block, sum);
        if is_added {
            self.total.hash = self.total.hash.wrapping_add(wide);
            self.total.count = self.total.count.wrapping_add(count);
        } else {
            self.lessen(Total { hash: wide, count });
        }
        RunSum::of(wide, before.wrapping_add(sum.hash))
    }

    /// Takes out a dot that was live with this content.
    pub fn remove(&mut self, dot: Dot, content: u64) {
        self.change_dot(dot, content, false);
    }

    /// Lessens the total by what the last replica has lost, and drops that when it is empty.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn lessen(&mut self, lost: Total) {
        self.total.hash = self.total.hash.wrapping_sub(lost.hash);
        self.total.count = self.total.count.wrapping_sub(lost.count);
        if self.replicas.get(self.last).is_some_and(|replica| replica.buckets.is_empty()) {
            self.drop_last();
        }
    }

    #[cfg_attr(not(target_arch = "wasm32"), cold)]
    fn drop_last(&mut self) {
        self.replicas.remove(self.last);
        if self.replicas.capacity() > self.replicas.len() * 2 + 4 {
            self.replicas.shrink_to(self.replicas.len() + 1);
        }
        if self.replicas.is_empty() {
            self.replicas = Vec::new();
        }
    }

    /// What all live dots sum up to.
    #[must_use]
    pub fn total(&self) -> Total {
        self.total
    }

    /// One hash of a context and all live dots, in a time that does not depend on the latter.
    #[must_use]
    pub fn root(&self, context: &CausalContext) -> Root {
        Root::of(context_hash(context), self.total)
    }

    /// What the live dots of one replica sum up to.
    #[must_use]
    pub fn replica(&self, replica: ReplicaId) -> Sum {
        self.find(replica).map_or(Sum::default(), |found| found.buckets.sum())
    }

    /// The sum of the counters `start..=end`, but for the live dots of up to two ranges at its ends,
    /// which `look_up` gives as counters and contents.
    ///
    /// # Errors
    ///
    /// Those of `look_up`.
    pub fn range<E>(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        mut look_up: impl FnMut(u64, u64) -> Result<Vec<(u64, u64)>, E>,
    ) -> Result<Sum, E> {
        let Some(found) = self.find(replica) else { return Ok(Sum::default()) };
        let Cover { mut sum, partial } = found.buckets.cover(start, end);
        for (start, end) in partial.into_iter().flatten() {
            for (counter, content) in look_up(start, end)? {
                let hash = found.key.element(counter, content);
                sum = sum.plus(Sum { hash, count: 1 });
            }
        }
        Ok(sum)
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let buckets = self.replicas.iter().map(|replica| replica.buckets.heap_bytes());
        self.replicas.capacity() * size_of::<Replica>() + buckets.sum::<usize>()
    }

    fn find(&self, replica: ReplicaId) -> Option<&Replica> {
        let at = self.replicas.binary_search_by_key(&replica, |known| known.id).ok()?;
        self.replicas.get(at)
    }

    /// The replica's sums, made if there are none; `last` is its place afterwards.
    #[inline]
    fn replica_mut(&mut self, replica: ReplicaId) -> &mut Replica {
        if self.replicas.get(self.last).is_none_or(|known| known.id != replica) {
            let few = self.replicas.get(..FEW).unwrap_or(&self.replicas);
            let found = few.iter().position(|known| known.id == replica);
            self.last = found.unwrap_or_else(|| self.place(replica));
        }
        &mut self.replicas[self.last]
    }

    #[inline(never)]
    fn place(&mut self, id: ReplicaId) -> usize {
        self.replicas.binary_search_by_key(&id, |known| known.id).unwrap_or_else(|at| {
            let buckets = Buckets::default();
            self.replicas.insert(at, Replica { id, key: ElementKey::of(id), buckets });
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::buckets::BLOCK;
    use super::*;
    use crate::causal::{Entry, Label, PlaceId, Slots};
    use crate::time::Stamp;

    fn replica(byte: u8) -> ReplicaId {
        ReplicaId::from_bytes([byte; 16])
    }

    fn range(fingerprints: &Fingerprints, live: &BTreeMap<Dot, u64>, from: Dot, end: u64) -> Sum {
        let look_up = |start, end| {
            let range = Dot::new(from.replica, start)..=Dot::new(from.replica, end);
            let items = live.range(range).map(|(dot, content)| (dot.counter, *content));
            Ok::<_, ()>(items.collect())
        };
        fingerprints.range(from.replica, from.counter, end, look_up).unwrap()
    }

    fn plain(live: &BTreeMap<Dot, u64>, from: Dot, end: u64) -> Sum {
        let range = live.range(from..=Dot::new(from.replica, end));
        range.fold(Sum::default(), |sum, (dot, content)| {
            let hash = ElementKey::of(dot.replica).element(dot.counter, *content);
            sum.plus(Sum { hash, count: 1 })
        })
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_live_dots(
            deeds in proptest::collection::vec((0u8..3, 1u64..3_000, 1usize..9, any::<bool>()), 1..400),
            asked in proptest::collection::vec((0u8..3, 1u64..3_000, 0u64..2_000), 20),
        ) {
            let mut live = BTreeMap::new();
            let mut fingerprints = Fingerprints::default();
            for (id, first, length, is_added) in deeds {
                for counter in first..first + length as u64 {
                    let dot = Dot::new(replica(id), counter);
                    if is_added {
                        if live.insert(dot, counter * 7).is_none() {
                            fingerprints.insert(dot, counter * 7);
                        }
                    } else if let Some(content) = live.remove(&dot) {
                        fingerprints.remove(dot, content);
                    }
                }
            }
            for (id, start, length) in asked {
                let from = Dot::new(replica(id), start);
                let end = start + length;
                prop_assert_eq!(
                    range(&fingerprints, &live, from, end),
                    plain(&live, from, end)
                );
            }
            for (dot, content) in live {
                fingerprints.remove(dot, content);
            }
            prop_assert_eq!(fingerprints.total(), Total::default());
            prop_assert_eq!(fingerprints.heap_bytes(), 0);
        }
    }

    #[test]
    fn a_run_is_its_dots_one_by_one() {
        let contents: Vec<u64> = (0..3 * BLOCK).collect();
        let first = Dot::new(replica(1), BLOCK - 3);
        let (mut run, mut single) = (Fingerprints::default(), Fingerprints::default());
        run.insert_run(first, &contents);
        for (counter, content) in (first.counter..).zip(&contents) {
            single.insert(Dot::new(first.replica, counter), *content);
        }
        assert_eq!(run.total(), single.total());
        assert_eq!(run.replica(first.replica), single.replica(first.replica));
        assert_eq!(run.replica(first.replica).count, 3 * BLOCK);
    }

    #[test]
    fn a_run_of_which_nothing_is_live_in_a_block_leaves_nothing_there() {
        for live in [0b1_0000u64, 0b1_1111, 0b1, 0b10] {
            let slot = |slot: usize| (live >> slot & 1 == 1).then_some(&b"value"[..]);
            let slots = Slots::new((0..5).map(slot));
            let label = Label::new(b"space", (0..5).map(|at| slot(at).unwrap_or_default()));
            let first = Dot::new(replica(1), BLOCK - 2);
            let run =
                Entry { first, stamp: Stamp::default(), label, id: PlaceId::new(b"id"), slots };
            let mut fingerprints = Fingerprints::default();
            let sum = fingerprints.add_run(run.view());
            let mut single = Fingerprints::default();
            for (counter, content) in run.view().hashes() {
                single.insert(Dot::new(first.replica, counter), content);
            }
            assert_eq!(fingerprints.replicas[0].buckets, single.replicas[0].buckets, "{live:b}");
            assert_eq!(fingerprints.total(), single.total());
            fingerprints.take_out_run(run.view(), sum);
            assert_eq!((fingerprints.total(), fingerprints.heap_bytes()), (Total::default(), 0));
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter_and_memory_follows_live_dots() {
        let id = replica(1);
        let count = 50_000u64;
        let insert_all = |counters: &mut dyn Iterator<Item = u64>| {
            let mut fingerprints = Fingerprints::default();
            for counter in counters {
                fingerprints.insert(Dot::new(id, counter), counter);
            }
            fingerprints
        };
        let forward = insert_all(&mut (1..=count));
        let backward = insert_all(&mut (1..=count).rev());
        let strewn = insert_all(&mut (1..=count).map(|at| at * 7_919 % 50_021));
        let sparse = insert_all(&mut (1..=count).map(|at| at * 1_000_003));
        let there: Vec<u64> = (1..=count).map(|at| at * 7_919 % 50_021).collect();
        assert!(there.iter().all(|at| *at != 0));
        assert_eq!(forward.total(), backward.total());
        for (name, fingerprints) in [
            ("forward", &forward),
            ("backward", &backward),
            ("strewn", &strewn),
            ("sparse", &sparse),
        ] {
            let bytes = fingerprints.heap_bytes();
            assert!(bytes < 2 * 50_000, "{name}: {bytes}");
        }
        // What is left after most have died is small too.
        let mut aged = forward;
        for counter in (1..=count).filter(|at| at % 100 != 0) {
            aged.remove(Dot::new(id, counter), counter);
        }
        assert_eq!(aged.total().count, 500);
        assert!(aged.heap_bytes() < 4 * 500, "{}", aged.heap_bytes());
    }

    #[test]
    fn replicas_that_have_nothing_live_take_no_memory() {
        let one = |number: u16| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            Dot::new(ReplicaId::from_bytes(id), 1)
        };
        let mut fingerprints = Fingerprints::default();
        (0..1_000).for_each(|number| fingerprints.insert(one(number), 7));
        let all = fingerprints.heap_bytes();
        let buckets = fingerprints.replicas.iter().map(|replica| replica.buckets.heap_bytes());
        assert!(all >= 1_000 * size_of::<Replica>() + buckets.sum::<usize>(), "{all}");
        (1..1_000).for_each(|number| fingerprints.remove(one(number), 7));
        assert!(fingerprints.heap_bytes() < all / 50, "{}", fingerprints.heap_bytes());
        assert_eq!(fingerprints.total().count, 1);
        fingerprints.remove(one(0), 7);
        assert_eq!(fingerprints.heap_bytes(), 0);
    }

    #[test]
    fn the_last_counters_do_not_overflow() {
        let mut fingerprints = Fingerprints::default();
        let first = Dot::new(replica(1), u64::MAX - 1);
        fingerprints.insert(Dot::new(replica(1), 1), 4);
        fingerprints.insert(first, 5);
        fingerprints.insert(Dot::new(replica(1), u64::MAX), 6);
        let look_up = |_, _| Ok::<_, ()>(Vec::new());
        let all = fingerprints.range(first.replica, 0, u64::MAX, look_up).unwrap();
        assert_eq!(all, fingerprints.replica(first.replica));
        assert_eq!(all.count, 3);
    }

    #[test]
    fn taking_out_before_adding_comes_to_the_same() {
        let mut fingerprints = Fingerprints::default();
        let dot = Dot::new(replica(1), 9);
        fingerprints.remove(dot, 5);
        fingerprints.insert(dot, 5);
        assert_eq!(fingerprints.total(), Total::default());
        assert_eq!(
            fingerprints.range(dot.replica, 0, 99, |_, _| Ok::<_, ()>(vec![])).unwrap(),
            Sum::default()
        );
    }
}
