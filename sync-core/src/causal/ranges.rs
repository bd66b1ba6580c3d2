//! A set of counters of one replica, as sorted disjoint ranges.

use std::ops::RangeInclusive;

use crate::error::Malformed;
use crate::small::SmallVec;

/// Counters of one replica: sorted, disjoint, non-adjacent inclusive ranges, none holding 0.
///
/// A range that starts at 1 is the gap-free prefix (the version vector's part); the others are loose
/// dots. Ranges close up by themselves as gaps fill. A single range takes no allocation.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct DotRanges(SmallVec<[(u64, u64); 1]>);

impl Clone for DotRanges {
    #[inline]
    fn clone(&self) -> Self {
        match &self.0[..] {
            [] => Self::default(),
            [range] => Self(SmallVec::from_buf([*range])),
            ranges => Self(SmallVec::from_slice(ranges)),
        }
    }
}

impl DotRanges {
    /// The set of one range; empty for an empty range or one that starts at 0.
    #[must_use]
    #[inline]
    pub fn of(range: RangeInclusive<u64>) -> Self {
        let (start, end) = range.into_inner();
        if start == 0 || start > end {
            Self::default()
        } else {
            Self(SmallVec::from_buf([(start, end)]))
        }
    }

    /// Whether there is no counter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The counter, if there is just one.
    #[inline]
    pub(crate) fn single(&self) -> Option<u64> {
        let (start, end) = self.only()?;
        (start == end).then_some(start)
    }

    /// The range, if there is just one.
    #[inline]
    pub(crate) fn only(&self) -> Option<(u64, u64)> {
        let [range] = self.0[..] else { return None };
        Some(range)
    }

    /// How many ranges there are: what the set costs.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.0.len()
    }

    /// How many counters there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, (start, end)| sum.saturating_add(end - start + 1))
    }

    /// The highest counter, or 0.
    #[must_use]
    #[inline]
    pub fn max(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }

    /// The end of the gap-free prefix, or 0.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        match self.0.first() {
            Some((1, end)) => *end,
            Some(_) | None => 0,
        }
    }

    /// Iterates over the ranges in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether the counter is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, counter: u64) -> bool {
        // Mostly there is one.
        if crate::small::HAS_SHORTCUTS
            && let [(start, end)] = self.0[..]
        {
            return (start..=end).contains(&counter);
        }
        let at = self.0.partition_point(|(_, end)| *end < counter);
        self.0.get(at).is_some_and(|(start, _)| *start <= counter)
    }

    /// Whether all counters of `start..=end` are in the set.
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    pub(crate) fn has_all(&self, start: u64, end: u64) -> bool {
        // Mostly there is one range.
        match self.only() {
            Some((own_start, own_end)) if crate::small::HAS_SHORTCUTS => {
                own_start <= start && end <= own_end
            }
            Some(_) | None => self.covers(&Self::of(start..=end)),
        }
    }

    /// Whether a counter of `start..=end` is in the set.
    #[must_use]
    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        let at = self.0.partition_point(|(_, own_end)| *own_end < start);
        self.0.get(at).is_some_and(|(own_start, _)| *own_start <= end)
    }

    /// Which of the ranges begins with a counter.
    #[must_use]
    pub fn position(&self, start: u64) -> Option<usize> {
        self.0.binary_search_by_key(&start, |(start, _)| *start).ok()
    }

    /// The ranges that overlap `start..=end`, whole.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let at = self.0.partition_point(|(_, own_end)| *own_end < start);
        self.0[at..].iter().copied().take_while(move |(own_start, _)| *own_start <= end)
    }

    /// Whether every counter of `other` is in this set.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(start, end)| {
            let at = self.0.partition_point(|(_, own_end)| own_end < start);
            self.0.get(at).is_some_and(|(own_start, own_end)| own_start <= start && end <= own_end)
        })
    }

    /// Adds the counters `start..=end`. Does nothing when `start` is 0 or beyond `end`.
    #[inline]
    pub fn insert(&mut self, start: u64, end: u64) {
        if start == 0 || start > end {
            return;
        }
        if let Some((_, last)) = self.0.last_mut() {
            if *last < start {
                if *last + 1 == start {
                    *last = end;
                } else {
                    self.0.push((start, end));
                }
                return;
            }
        } else {
            self.0.push((start, end));
            return;
        }
        self.melt(start, end);
    }

    /// Adds counters that are above all others. Gives false, and adds nothing, where they are not.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    #[cfg_attr(target_arch = "wasm32", inline)]
    pub(crate) fn push(&mut self, start: u64, end: u64) -> bool {
        match self.0.last_mut() {
            Some((_, last)) if *last >= start => return false,
            Some((_, last)) if *last + 1 == start => *last = end,
            Some(_) | None => self.0.push((start, end)),
        }
        true
    }

    #[inline(never)]
    fn melt(&mut self, start: u64, end: u64) {
        // Every range that overlaps or touches `start..=end` melts into one.
        let from = self.0.partition_point(|(_, own_end)| own_end.saturating_add(1) < start);
        let to = from
            + self.0[from..].partition_point(|(own_start, _)| *own_start <= end.saturating_add(1));
        if from == to {
            self.0.insert(from, (start, end));
            return;
        }
        let merged = (self.0[from].0.min(start), self.0[to - 1].1.max(end));
        self.0[from] = merged;
        self.0.drain(from + 1..to);
    }

    /// Adds every counter of `other`.
    pub fn union(&mut self, other: &Self) {
        for (start, end) in other.iter() {
            self.insert(start, end);
        }
    }

    /// The counters of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = SmallVec::new();
        let mut cuts = other.0.iter().peekable();
        for (mut start, end) in self.iter() {
            while let Some((cut_start, cut_end)) = cuts.peek().copied().copied() {
                if cut_end < start {
                    cuts.next();
                    continue;
                }
                if cut_start > end {
                    break;
                }
                if cut_start > start {
                    rest.push((start, cut_start - 1));
                }
                if cut_end >= end {
                    start = 0;
                    break;
                }
                start = cut_end + 1;
                cuts.next();
            }
            if start != 0 && start <= end {
                rest.push((start, end));
            }
        }
        Self(rest)
    }

    /// The counters that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.difference(&self.difference(other))
    }

    /// Takes the counters `start..=end` out.
    pub fn remove(&mut self, start: u64, end: u64) {
        if self.overlaps(start, end) {
            *self = self.difference(&Self::of(start..=end));
        }
    }

    /// As numbers for the wire: the first start, then for each range its length less one and the gap
    /// to the next range's start.
    #[must_use]
    pub fn to_gaps(&self) -> Vec<u64> {
        let mut gaps = Vec::with_capacity(self.0.len() * 2);
        let mut last = 0;
        for (start, end) in self.iter() {
            gaps.push(start - last);
            gaps.push(end - start);
            last = end;
        }
        gaps
    }

    /// Reads what [`to_gaps`](Self::to_gaps) wrote. Refuses anything not in its one canonical form.
    pub fn from_gaps(gaps: &[u64]) -> Result<Self, Malformed> {
        let mut ranges = Self(SmallVec::with_capacity(gaps.len() / 2));
        let (pairs, rest) = gaps.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(GAPS_BROKEN);
        }
        pairs.iter().try_for_each(|[gap, length]| ranges.push_gap(*gap, *length))?;
        Ok(ranges)
    }

    /// Adds a range behind all others, as [`to_gaps`](Self::to_gaps) writes it: how far it is from the
    /// last one, and its length less one.
    #[inline]
    pub(crate) fn push_gap(&mut self, gap: u64, length: u64) -> Result<(), Malformed> {
        // The first range may start at 1; later ones leave at least one counter out.
        let (last, least) = self.0.last().map_or((0, 1), |(_, last)| (*last, 2));
        let start = last.checked_add(gap).filter(|_| gap >= least);
        let end = start.and_then(|start| start.checked_add(length));
        let (Some(start), Some(end)) = (start, end) else { return Err(GAPS_BROKEN) };
        self.0.push((start, end));
        Ok(())
    }
}

const GAPS_BROKEN: Malformed = Malformed::Inconsistent { what: "ranges are sorted and apart" };

impl FromIterator<(u64, u64)> for DotRanges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(iter: I) -> Self {
        let mut ranges = Self::default();
        for (start, end) in iter {
            ranges.insert(start, end);
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn counters(ranges: &DotRanges) -> BTreeSet<u64> {
        ranges.iter().flat_map(|(start, end)| start..=end).collect()
    }

    fn ranges() -> impl Strategy<Value = DotRanges> {
        proptest::collection::vec((1u64..40, 0u64..6), 0..8)
            .prop_map(|parts| parts.into_iter().map(|(start, len)| (start, start + len)).collect())
    }

    #[test]
    fn what_overlaps_is_given_whole() {
        let parts = [(3, 5), (8, 8), (10, 14)];
        let ranges: DotRanges = parts.into_iter().collect();
        for start in 1..18 {
            for end in start..18 {
                let hit = |(low, high): &(u64, u64)| *low <= end && *high >= start;
                let expected: Vec<_> = parts.into_iter().filter(hit).collect();
                assert_eq!(ranges.overlapping(start, end).collect::<Vec<_>>(), expected);
                assert_eq!(ranges.overlaps(start, end), !expected.is_empty());
            }
        }
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_a_set_of_counters(a in ranges(), b in ranges()) {
            let (x, y) = (counters(&a), counters(&b));
            let mut union = a.clone();
            union.union(&b);
            prop_assert_eq!(counters(&union), &x | &y);
            prop_assert_eq!(counters(&a.difference(&b)), &x - &y);
            prop_assert_eq!(counters(&a.intersection(&b)), &x & &y);
            prop_assert_eq!(a.covers(&b), y.is_subset(&x));
            prop_assert_eq!(a.len(), x.len() as u64);
            for counter in 0..50 {
                prop_assert_eq!(a.contains(counter), x.contains(&counter));
                let here = counter..=counter + 3;
                prop_assert_eq!(a.overlaps(counter, counter + 3), x.range(here).next().is_some());
            }
            prop_assert_eq!(DotRanges::from_gaps(&a.to_gaps()).unwrap(), a);
        }

        #[test]
        fn any_numbers_decode_or_are_refused(gaps in proptest::collection::vec(any::<u64>(), 0..8)) {
            if let Ok(ranges) = DotRanges::from_gaps(&gaps) {
                prop_assert_eq!(ranges.to_gaps(), gaps);
            }
        }
    }

    #[test]
    fn the_last_counter_does_not_overflow() {
        let mut ranges = DotRanges::of(u64::MAX..=u64::MAX);
        ranges.insert(u64::MAX - 1, u64::MAX - 1);
        assert_eq!(ranges.range_count(), 1);
        assert!(ranges.contains(u64::MAX));
    }
}
