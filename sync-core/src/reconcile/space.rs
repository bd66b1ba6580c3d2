//! Positions: the dots that both sides have seen, numbered from 0.
//!
//! Once both contexts are known, both sides number the dots of their intersection in the order of
//! dots. From there on a range is two small numbers, whatever the number of replicas, and what only
//! one side has seen takes no part. This is the total order that range-based set reconciliation asks
//! for (Meyer, *Range-Based Set Reconciliation*, 2023).

use super::summary::Summary;
use crate::causal::{CausalContext, DotRanges, ReplicaId};
use crate::causal::{ElementKey, Sum};

/// How many live dots are read from the store at a time. Arbitrary.
const PAGE: usize = 1_024;

/// Consecutive dots that both have seen.
#[derive(Debug, Clone, Copy)]
struct Piece {
    position: u64,
    replica: ReplicaId,
    first: u64,
    length: u64,
}

/// The dots that both have seen, in order. Memory: 40 bytes for each range of the common context.
#[derive(Debug, Clone, Default)]
pub(super) struct Space {
    pieces: Vec<Piece>,
    length: u64,
}

impl Space {
    /// Numbers the dots of a context; `None` when there are more than 2⁶³.
    pub(super) fn new(common: &CausalContext) -> Option<Self> {
        let mut space = Self::default();
        for (replica, ranges) in common.iter() {
            for (first, last) in ranges.iter() {
                let length = last - first + 1;
                space.pieces.push(Piece { position: space.length, replica, first, length });
                space.length =
                    space.length.checked_add(length).filter(|length| *length >> 63 == 0)?;
            }
        }
        Some(space)
    }

    /// How many positions there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The dots of positions `start..end` as replica, first and last counter, and first position.
    fn pieces(
        &self,
        start: u64,
        end: u64,
    ) -> impl Iterator<Item = (ReplicaId, u64, u64, u64)> + '_ {
        let from = self.pieces.partition_point(|piece| piece.position + piece.length <= start);
        let within = self.pieces[from..].iter().take_while(move |piece| piece.position < end);
        within.filter(move |_| start < end).map(move |piece| {
            let low = start.max(piece.position);
            let high = end.min(piece.position + piece.length);
            let first = piece.first + (low - piece.position);
            (piece.replica, first, first + (high - low) - 1, low)
        })
    }

    /// The dots at these places.
    pub(super) fn dots(&self, places: &Places) -> CausalContext {
        let mut dots = CausalContext::default();
        for (start, end) in places.iter() {
            for (replica, first, last, _) in self.pieces(start, end) {
                dots.insert_range(replica, first, last);
            }
        }
        dots
    }
}

/// A set of positions, as sorted ranges apart from each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Places(DotRanges);

impl Places {
    /// All positions below `length`.
    pub(super) fn all(length: u64) -> Self {
        Self(DotRanges::of(1..=length))
    }

    /// Adds the positions `start..end`.
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        self.0.insert(start.saturating_add(1), end);
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        self.0.contains(position.saturating_add(1))
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.0.union(&other.0);
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0))
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn range_count(&self) -> usize {
        self.0.range_count()
    }

    /// How many positions.
    pub(super) fn length(&self) -> u64 {
        self.0.len()
    }

    /// The ranges `start..end`.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(start, end)| (start - 1, end))
    }

    /// The positions from the `from`-th to before the `to`-th of this set.
    pub(super) fn slice(&self, from: u64, to: u64) -> Self {
        let mut slice = Vec::new();
        let mut before = 0u64;
        for (start, end) in self.iter() {
            let length = end - start;
            let low = from.saturating_sub(before).min(length);
            let high = to.saturating_sub(before).min(length);
            if low < high {
                slice.push((start + low + 1, start + high));
            }
            before += length;
            if before >= to {
                break;
            }
        }
        Self(slice.into_iter().collect())
    }

    /// The `index`-th of `count` parts of about the same length.
    pub(super) fn part(&self, index: usize, count: usize) -> Self {
        let length = u128::from(self.length());
        let cut = |index: usize| (length * index as u128 / count.max(1) as u128) as u64;
        self.slice(cut(index), cut(index + 1))
    }
}

/// One side's live dots by position, without those that are settled.
pub(super) struct View<'a, S> {
    pub(super) store: &'a S,
    pub(super) space: &'a Space,
    /// Places where this side has a live dot that is known to differ.
    pub(super) settled: &'a Places,
}

impl<S: Summary> View<'_, S> {
    /// The sum over all live dots of these places, settled or not.
    pub(super) fn whole_sum(&self, places: &Places) -> Result<Sum, S::Error> {
        let mut sum = Sum::default();
        for (start, end) in places.iter() {
            for (replica, first, last, _) in self.space.pieces(start, end) {
                sum = sum.plus(self.store.range(replica, first, last)?);
            }
        }
        Ok(sum)
    }

    /// The sum over the live dots of these places.
    pub(super) fn sum(&self, places: &Places) -> Result<Sum, S::Error> {
        let whole = self.whole_sum(places)?;
        if self.settled.is_empty() {
            return Ok(whole);
        }
        Ok(whole.minus(self.whole_sum(&self.settled.intersection(places))?))
    }

    /// Gives the live dots of these places in order, as position and element hash, until told to
    /// stop by `false`.
    pub(super) fn each(
        &self,
        places: &Places,
        mut take: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), S::Error> {
        for (start, end) in places.iter() {
            for (replica, mut first, last, position) in self.space.pieces(start, end) {
                let key = ElementKey::of(replica);
                let base = first;
                loop {
                    let page = self.store.items(replica, first, last, PAGE)?;
                    for (counter, content) in &page {
                        let place = position.saturating_add(counter.saturating_sub(base));
                        if !self.settled.contains(place)
                            && !take(place, key.element(*counter, *content))
                        {
                            return Ok(());
                        }
                    }
                    match page.last() {
                        Some((counter, _)) if page.len() >= PAGE && *counter < last => {
                            first = counter + 1;
                        }
                        Some(_) | None => break,
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Dot;
    use proptest::prelude::*;

    fn dot(replica: u8, counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([replica; 16]), counter)
    }

    #[test]
    fn positions_are_the_dots_in_order() {
        let dots = [dot(1, 1), dot(1, 2), dot(1, 5), dot(2, 4), dot(2, 5)];
        let space = Space::new(&dots.into_iter().collect()).unwrap();
        assert_eq!(space.length(), 5);
        for (from, to) in (0..5).flat_map(|from| (from..=5).map(move |to| (from, to))) {
            let mut places = Places::default();
            places.insert(from, to);
            let expected = dots[from as usize..to as usize].iter().copied().collect();
            assert_eq!(space.dots(&places), expected, "{from}..{to}");
        }
    }

    #[test]
    fn a_context_beyond_all_measure_is_refused() {
        let mut context = CausalContext::default();
        context.insert_range(dot(1, 1).replica, 1, u64::MAX);
        assert!(Space::new(&context).is_none());
    }

    proptest! {
        #[test]
        fn parts_tile_their_places(
            ranges in proptest::collection::vec((0u64..500, 0u64..40), 0..10), count in 1usize..70,
        ) {
            let mut places = Places::default();
            for (start, length) in ranges {
                places.insert(start, start + length);
            }
            let mut together = Places::default();
            let mut length = 0;
            for index in 0..count {
                let part = places.part(index, count);
                length += part.length();
                together.union(&part);
            }
            prop_assert_eq!(length, places.length());
            prop_assert_eq!(together, places);
        }
    }
}
