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
    fn chunk_of(&self, block: u64) -> usize {
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
