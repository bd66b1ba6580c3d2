//! The sums of one replica's live dots, in buckets of consecutive counters.
//!
//! A bucket starts as one block of [`BLOCK`] counters. Sparse neighbours melt into one bucket, so
//! that memory follows live dots and never counters: two sums make one, and need no look at the
//! elements. Buckets stand in chunks with sums of their own, the two upper levels of a Merkle tree
//! with a commutative hash.

use super::element::Sum;

/// Counters in a block, as a power of two. A million dense dots take 0.39 bytes each (measured); with
/// 16 counters they would take 1.5, and with 256 the two ends of a range would cost four times the
/// look-ups in the store, up to 255 dots each (both calculated).
const BLOCK_BITS: u32 = 6;
/// Counters in a block.
#[cfg(test)]
pub(super) const BLOCK: u64 = 1 << BLOCK_BITS;
/// A bucket with fewer live dots takes in what comes after it, and joins a neighbour when it shrinks.
const SPARSE: u32 = 24;
/// Two buckets melt when they have no more live dots than this together.
const MELTED_MAX: u32 = 56;
/// The most blocks after the first in one bucket, so that no count overflows.
const SPAN_MAX: u64 = (u32::MAX >> BLOCK_BITS) as u64 - 1;
/// The most buckets in one chunk.
const CHUNK_MAX: usize = 64;

/// Live dots of the blocks `first..=first + span`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    first: u64,
    hash: u64,
    span: u32,
    count: u32,
}

impl Bucket {
    fn last(&self) -> u64 {
        self.first + u64::from(self.span)
    }

    /// The first and the last counter that may be in it.
    fn extent(&self) -> (u64, u64) {
        (self.first << BLOCK_BITS, (self.last() << BLOCK_BITS) | ((1 << BLOCK_BITS) - 1))
    }

    fn sum(&self) -> Sum {
        Sum { hash: self.hash, count: u64::from(self.count) }
    }

    fn add(&mut self, hash: u64, count: u32) {
        self.hash = self.hash.wrapping_add(hash);
        self.count = self.count.wrapping_add(count);
    }
}

/// Consecutive buckets, never none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    first: u64,
    sum: Sum,
    buckets: Vec<Bucket>,
}

/// The sums of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Buckets {
    chunks: Vec<Chunk>,
}

/// The sum of what surely lies in a range, and the counters at its ends that must be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cover {
    pub(super) sum: Sum,
    pub(super) partial: [Option<(u64, u64)>; 2],
}

impl Buckets {
    pub(super) fn sum(&self) -> Sum {
        self.chunks.iter().fold(Sum::default(), |sum, chunk| sum.plus(chunk.sum))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Which block a counter is in.
    #[inline]
    pub(super) fn block(counter: u64) -> u64 {
        counter >> BLOCK_BITS
    }

    /// How many counters from this one on are in its block.
    #[inline]
    pub(super) fn room(counter: u64) -> usize {
        (1 << BLOCK_BITS) - (counter & ((1 << BLOCK_BITS) - 1)) as usize
    }

    /// Adds live dots of one block, at most as many as it has counters.
    #[inline]
    pub(super) fn add(&mut self, block: u64, sum: Sum) {
        // Most writes are to the newest block.
        if let Some(chunk) = self.chunks.last_mut()
            && let Some(bucket) = chunk.buckets.last_mut()
            && bucket.first <= block
            && block - bucket.first <= u64::from(bucket.span)
        {
            chunk.sum = chunk.sum.plus(sum);
            bucket.add(sum.hash, sum.count as u32);
            return;
        }
        self.add_anywhere(block, sum);
    }

    #[inline(never)]
    fn add_anywhere(&mut self, block: u64, sum: Sum) {
        let (hash, count) = (sum.hash, sum.count as u32);
        let at = self.chunk_of(block);
        let Some(chunk) = self.chunks.get_mut(at) else {
            let bucket = Bucket { first: block, hash, span: 0, count };
            self.chunks.push(Chunk { first: block, sum, buckets: vec![bucket] });
            return;
        };
        chunk.sum = chunk.sum.plus(sum);
        let after = chunk.buckets.partition_point(|bucket| bucket.first <= block);
        if let Some(bucket) = after.checked_sub(1).map(|index| &mut chunk.buckets[index]) {
            let span = block - bucket.first;
            if span <= u64::from(bucket.span) {
                bucket.add(hash, count);
                return;
            }
            // The blocks between are empty, so the bucket may take them in.
            if bucket.count < SPARSE && span <= SPAN_MAX {
                bucket.span = span as u32;
                bucket.add(hash, count);
                return;
            }
        }
        if chunk.buckets.len() == chunk.buckets.capacity() {
            chunk.buckets.reserve_exact((chunk.buckets.len() / 2).max(2));
        }
        chunk.buckets.insert(after, Bucket { first: block, hash, span: 0, count });
        chunk.first = chunk.buckets[0].first;
        if chunk.buckets.len() > CHUNK_MAX {
            // What grows at its end is left full behind.
            let is_end = at + 1 == self.chunks.len() && after == CHUNK_MAX;
            self.split(at, if is_end { CHUNK_MAX } else { CHUNK_MAX / 2 });
        }
    }

    /// Takes out live dots of one block. Dots that were never added leave sums that no other set has;
    /// adding them later puts them right.
    pub(super) fn remove(&mut self, block: u64, sum: Sum) {
        let at = self.chunk_of(block);
        let index = self.chunks.get(at).and_then(|chunk| {
            // Where live dots are dense, each block has a bucket of its own.
            let dense = usize::try_from(block.wrapping_sub(chunk.first)).ok()?;
            if chunk.buckets.get(dense).is_some_and(|bucket| bucket.first == block) {
                return Some(dense);
            }
            let after = chunk.buckets.partition_point(|bucket| bucket.first <= block);
            let index = after.checked_sub(1)?;
            (block <= chunk.buckets[index].last()).then_some(index)
        });
        let Some(index) = index else {
            self.add(block, Sum::default().minus(sum));
            return;
        };
        let chunk = &mut self.chunks[at];
        chunk.sum = chunk.sum.minus(sum);
        let bucket = &mut chunk.buckets[index];
        bucket.hash = bucket.hash.wrapping_sub(sum.hash);
        bucket.count = bucket.count.wrapping_sub(sum.count as u32);
        if bucket.count < SPARSE {
            self.melt(at, index);
        }
    }

    /// The sum of the counters `start..=end`.
    pub(super) fn cover(&self, start: u64, end: u64) -> Cover {
        let mut cover = Cover::default();
        let mut partial = 0;
        let from = self.chunk_of(Self::block(start));
        for (at, chunk) in self.chunks.iter().enumerate().skip(from) {
            if chunk.first << BLOCK_BITS > end {
                break;
            }
            let next = self.chunks.get(at + 1).map(|next| next.first << BLOCK_BITS);
            if start <= chunk.first << BLOCK_BITS && next.is_some_and(|next| next <= end) {
                cover.sum = cover.sum.plus(chunk.sum);
                continue;
            }
            for bucket in &chunk.buckets {
                let (first, last) = bucket.extent();
                if last < start || first > end {
                    continue;
                }
                if start <= first && last <= end {
                    cover.sum = cover.sum.plus(bucket.sum());
                } else if let Some(place) = cover.partial.get_mut(partial) {
                    *place = Some((first.max(start), last.min(end)));
                    partial += 1;
                }
            }
        }
        cover
    }

    /// The chunk in whose reach a block lies; the first for a block before all.
    #[inline]
    fn chunk_of(&self, block: u64) -> usize {
        // Where live dots are dense, most chunks have a bucket for each of as many blocks.
        if crate::small::HAS_SHORTCUTS
            && let Some(first) = self.chunks.first()
        {
            let dense = (block.saturating_sub(first.first) / CHUNK_MAX as u64) as usize;
            let is_upto = |at: usize| self.chunks.get(at).map(|chunk| chunk.first <= block);
            if is_upto(dense) == Some(true) && is_upto(dense + 1) != Some(true) {
                return dense;
            }
        }
        self.chunks.partition_point(|chunk| chunk.first <= block).saturating_sub(1)
    }

    fn split(&mut self, at: usize, keep: usize) {
        let chunk = &mut self.chunks[at];
        let buckets = chunk.buckets.split_off(keep);
        chunk.buckets.shrink_to_fit();
        let sum = buckets.iter().fold(Sum::default(), |sum, bucket| sum.plus(bucket.sum()));
        chunk.sum = chunk.sum.minus(sum);
        self.chunks.insert(at + 1, Chunk { first: buckets[0].first, sum, buckets });
    }

    /// Joins a sparse bucket with a neighbour, or drops it when it is empty.
    #[inline(never)]
    fn melt(&mut self, at: usize, index: usize) {
        let chunk = &mut self.chunks[at];
        let bucket = chunk.buckets[index];
        let fits = |low: &Bucket, high: &Bucket| {
            low.count.saturating_add(high.count) <= MELTED_MAX
                && high.last() - low.first <= SPAN_MAX
        };
        if bucket.count == 0 && bucket.hash == 0 {
            chunk.buckets.remove(index);
        } else if chunk.buckets.get(index + 1).is_some_and(|next| fits(&bucket, next)) {
            self.merge(at, index);
        } else if index.checked_sub(1).is_some_and(|low| fits(&chunk.buckets[low], &bucket)) {
            self.merge(at, index - 1);
        } else {
            return;
        }
        self.tidy(at);
    }

    fn merge(&mut self, at: usize, low: usize) {
        let buckets = &mut self.chunks[at].buckets;
        let high = buckets.remove(low + 1);
        let bucket = &mut buckets[low];
        bucket.span = (high.last() - bucket.first) as u32;
        bucket.add(high.hash, high.count);
    }

    /// Gives back what a chunk has lost.
    fn tidy(&mut self, at: usize) {
        let chunk = &mut self.chunks[at];
        if let Some(bucket) = chunk.buckets.first() {
            chunk.first = bucket.first;
            if chunk.buckets.capacity() > chunk.buckets.len() * 2 + 4 {
                chunk.buckets.shrink_to(chunk.buckets.len() + 2);
            }
            let next = self.chunks.get(at + 1).map_or(CHUNK_MAX, |next| next.buckets.len());
            if self.chunks[at].buckets.len() + next <= CHUNK_MAX / 2 {
                let next = self.chunks.remove(at + 1);
                let chunk = &mut self.chunks[at];
                chunk.sum = chunk.sum.plus(next.sum);
                chunk.buckets.reserve_exact(next.buckets.len());
                chunk.buckets.extend(next.buckets);
            }
        } else {
            self.chunks.remove(at);
        }
        if self.chunks.capacity() > self.chunks.len() * 2 + 4 {
            self.chunks.shrink_to(self.chunks.len() + 1);
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let chunks = self.chunks.capacity() * size_of::<Chunk>();
        let buckets = self.chunks.iter().map(|chunk| chunk.buckets.capacity());
        chunks + buckets.sum::<usize>() * size_of::<Bucket>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causal::Dot;

    /// The sum of one live dot, whose hash is as good as any.
    fn one(counter: u64) -> Sum {
        Sum { hash: counter.wrapping_mul(0x9e37_79b9_7f4a_7c15), count: 1 }
    }

    fn add(buckets: &mut Buckets, counter: u64) {
        buckets.add(Buckets::block(counter), one(counter));
    }

    fn remove(buckets: &mut Buckets, counter: u64) {
        buckets.remove(Buckets::block(counter), one(counter));
    }

    fn of(counters: impl Iterator<Item = u64>) -> Buckets {
        let mut buckets = Buckets::default();
        counters.for_each(|counter| add(&mut buckets, counter));
        buckets
    }

    fn bucket_counts(buckets: &Buckets) -> Vec<u32> {
        let all = buckets.chunks.iter().flat_map(|chunk| &chunk.buckets);
        all.map(|bucket| bucket.count).collect()
    }

    /// What holds after every change.
    fn check(buckets: &Buckets) {
        let mut next = 0;
        for chunk in &buckets.chunks {
            assert!((1..=CHUNK_MAX).contains(&chunk.buckets.len()), "{}", chunk.buckets.len());
            assert_eq!(chunk.first, chunk.buckets[0].first);
            let sum =
                chunk.buckets.iter().fold(Sum::default(), |sum, bucket| sum.plus(bucket.sum()));
            assert_eq!(chunk.sum, sum);
            for bucket in &chunk.buckets {
                assert!(bucket.first >= next && u64::from(bucket.span) <= SPAN_MAX, "{bucket:?}");
                assert!(bucket.count > 0, "nothing is kept where nothing is live");
                next = bucket.last() + 1;
            }
            let (len, capacity) = (chunk.buckets.len(), chunk.buckets.capacity());
            assert!(capacity <= 2 * len + 4, "{capacity} for {len}");
        }
        let (len, capacity) = (buckets.chunks.len(), buckets.chunks.capacity());
        assert!(capacity <= 2 * len + 4, "{capacity} chunks for {len}");
    }

    proptest! {
        #[test]
        fn buckets_stay_in_order_whatever_comes_and_goes(
            deeds in proptest::collection::vec((0u64..300, 0u64..4, any::<bool>()), 1..600),
            far in any::<bool>(),
        ) {
            let mut live = std::collections::BTreeSet::new();
            let mut buckets = Buckets::default();
            for (block, at, is_added) in deeds {
                // Every third block lies far away from the others.
                let block = if far && block % 3 == 0 { block << 40 } else { block };
                let counters = (block << BLOCK_BITS) + at * 16..(block << BLOCK_BITS) + at * 16 + 16;
                for counter in counters {
                    if is_added && live.insert(counter) {
                        add(&mut buckets, counter);
                    } else if !is_added && live.remove(&counter) {
                        remove(&mut buckets, counter);
                    }
                }
                check(&buckets);
            }
            let sum = live.iter().fold(Sum::default(), |sum, counter| sum.plus(one(*counter)));
            prop_assert_eq!(buckets.sum(), sum);
        }
    }

    #[test]
    fn a_block_ends_where_its_counters_end() {
        assert_eq!(
            (Buckets::room(0), Buckets::room(1), Buckets::room(63), Buckets::room(64)),
            (64, 63, 1, 64)
        );
        let buckets = of(0..256);
        for (start, end, partial) in [
            (0, 255, [None, None]),
            (64, 127, [None, None]),
            (63, 127, [Some((63, 63)), None]),
            (64, 128, [Some((128, 128)), None]),
            (1, 254, [Some((1, 63)), Some((192, 254))]),
        ] {
            assert_eq!(buckets.cover(start, end).partial, partial, "{start}..={end}");
        }
    }

    #[test]
    fn what_grows_at_its_end_fills_its_chunks() {
        let blocks = 5 * CHUNK_MAX as u64;
        let chunks = |buckets: &Buckets| -> Vec<usize> {
            buckets.chunks.iter().map(|chunk| chunk.buckets.len()).collect()
        };
        let forward = of(0..blocks << BLOCK_BITS);
        assert_eq!(chunks(&forward), [CHUNK_MAX; 5]);
        let [chunk, bucket] = [size_of::<Chunk>(), size_of::<Bucket>()];
        let least = 5 * (chunk + CHUNK_MAX * bucket);
        assert!((least..=least + 3 * chunk + CHUNK_MAX * bucket).contains(&forward.heap_bytes()));
        // From the end to the beginning each is split in the middle.
        let backward = chunks(&of((0..blocks << BLOCK_BITS).rev()));
        assert!(backward[1..].iter().all(|len| *len >= CHUNK_MAX / 2), "{backward:?}");
    }

    #[test]
    fn only_sparse_neighbours_melt() {
        let mut buckets = of(0..192);
        (64..114).for_each(|counter| remove(&mut buckets, counter));
        assert_eq!(bucket_counts(&buckets), [64, 14, 64], "together they have too many");
        (0..22).for_each(|counter| remove(&mut buckets, counter));
        assert_eq!(
            bucket_counts(&buckets),
            [42, 14, 64],
            "only what shrinks looks for a neighbour"
        );
        remove(&mut buckets, 114);
        assert_eq!(bucket_counts(&buckets), [55, 64]);
        // The same, far from the first counter and near the last one.
        for base in [1 << 40, Dot::COUNTER_MAX - 191] {
            let mut buckets = of(base..base + 192);
            let first = bucket_counts(&buckets);
            (base..base + 190).for_each(|counter| remove(&mut buckets, counter));
            assert!(bucket_counts(&buckets).len() < first.len(), "{base}");
            assert_eq!(bucket_counts(&buckets), [2], "{base}");
        }
        let apart = of([0, (SPAN_MAX + 2) << BLOCK_BITS].into_iter());
        assert_eq!(bucket_counts(&apart), [1, 1], "a bucket spans no more");
        let mut dense = of((0..192).chain([(SPAN_MAX + 9) << BLOCK_BITS]));
        (0..191).for_each(|counter| remove(&mut dense, counter));
        assert_eq!(bucket_counts(&dense), [1, 1], "nor when it melts");
    }

    #[test]
    fn two_buckets_melt_if_one_is_sparse_and_both_have_few_enough() {
        // Of two blocks so many dots are left in the first, and fewer and fewer in the second.
        let kept = |first: u64, second: u64| {
            // At the beginning, and far away from it.
            let [near, far] = [0, 1 << 40].map(|base| {
                let mut buckets = of(base..base + 128);
                let gone = (first..64).chain((64 + second..128).rev());
                gone.for_each(|at| remove(&mut buckets, base + at));
                bucket_counts(&buckets)
            });
            assert_eq!(near, far);
            near
        };
        let most = u64::from(MELTED_MAX);
        let sparse = u64::from(SPARSE);
        for second in [most - 40 - 1, most - 40, most - 40 + 1] {
            let expected = if 40 + second <= most {
                vec![40 + second as u32]
            } else {
                vec![40, second as u32]
            };
            assert_eq!(kept(40, second), expected);
        }
        assert_eq!(kept(25, sparse - 1), [48]);
        for second in [sparse, sparse + 1] {
            assert_eq!(kept(25, second), [25, second as u32], "neither is sparse");
        }
        for count in [SPARSE - 1, SPARSE, SPARSE + 1] {
            let next = of((0..u64::from(count)).chain([64]));
            let expected = if count < SPARSE { vec![count + 1] } else { vec![count, 1] };
            assert_eq!(bucket_counts(&next), expected, "a sparse one takes in what comes next");
        }
    }

    #[test]
    fn a_bucket_spans_so_many_blocks() {
        for (span, expected) in
            [(SPAN_MAX - 1, vec![2]), (SPAN_MAX, vec![2]), (SPAN_MAX + 1, vec![1, 1])]
        {
            let far = span << BLOCK_BITS;
            assert_eq!(bucket_counts(&of([0, far].into_iter())), expected);
            let mut melted = of((0..64).chain([far]));
            (1..64).for_each(|at| remove(&mut melted, at));
            assert_eq!(bucket_counts(&melted), expected);
        }
    }

    #[test]
    fn what_surely_lies_in_a_range_is_counted_in_whichever_lists_it_is() {
        let buckets = of(0..4 * CHUNK_MAX as u64 * BLOCK);
        let chunk = CHUNK_MAX as u64 * BLOCK;
        assert_eq!(buckets.chunks.len(), 4);
        let ends = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk + BLOCK, 3 * chunk, 4 * chunk - 1];
        for (at, start) in ends.iter().enumerate() {
            for end in &ends[at..] {
                let Cover { sum, partial } = buckets.cover(*start, *end);
                let partial = partial.into_iter().flatten();
                let looked_at = partial.flat_map(|(start, end)| start..=end);
                let sum = looked_at.fold(sum, |sum, counter| sum.plus(one(counter)));
                let expected = (*start..=*end).fold(Sum::default(), |sum, at| sum.plus(one(at)));
                assert_eq!(sum, expected, "{start}..={end}");
            }
        }
    }

    #[test]
    fn chunks_that_shrink_become_one() {
        let blocks = 8 * CHUNK_MAX as u64;
        let mut buckets = of(0..blocks << BLOCK_BITS);
        let all = buckets.heap_bytes();
        (0..blocks << BLOCK_BITS)
            .rev()
            .filter(|at| at % 4_096 != 0)
            .for_each(|at| remove(&mut buckets, at));
        check(&buckets);
        assert_eq!((buckets.sum().count, buckets.chunks.len()), (blocks / 64, 1));
        assert!(buckets.heap_bytes() < all / 50, "{} of {all}", buckets.heap_bytes());
    }

    #[test]
    fn what_is_taken_out_before_it_comes_is_kept_until_then() {
        let mut buckets = Buckets::default();
        add(&mut buckets, 5);
        remove(&mut buckets, 6);
        assert_eq!(buckets.sum(), one(5).minus(one(6)));
        remove(&mut buckets, 5);
        add(&mut buckets, 6);
        assert_eq!(buckets.sum(), Sum::default());
    }
}
