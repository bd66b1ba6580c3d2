//! The causal context: every dot that was ever seen.

use std::cmp::Ordering;

use crate::small::SmallVec;

use super::{Dot, DotRanges, ReplicaId, VersionVector};

/// Every dot seen: a version vector (gap-free prefixes) and loose dots, kept together as ranges for
/// each replica, in the order of replica ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CausalContext(SmallVec<[(ReplicaId, DotRanges); 2]>);

impl CausalContext {
    /// Counters of one replica.
    #[must_use]
    pub(crate) fn of_one(replica: ReplicaId, ranges: DotRanges) -> Self {
        let mut all = SmallVec::new();
        if !ranges.is_empty() {
            all.push((replica, ranges));
        }
        Self(all)
    }

    /// What a removal takes and its own dot, which is of another replica or behind all that it takes.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(crate) fn of_removal(replica: ReplicaId, ranges: DotRanges, own: Dot) -> Self {
        let of_own = || DotRanges::of(own.counter..=own.counter);
        match replica.cmp(&own.replica) {
            _ if ranges.is_empty() => Self::of_one(own.replica, of_own()),
            Ordering::Less => Self(SmallVec::from([(replica, ranges), (own.replica, of_own())])),
            Ordering::Greater => Self(SmallVec::from([(own.replica, of_own()), (replica, ranges)])),
            Ordering::Equal => {
                let mut ranges = ranges;
                ranges.insert(own.counter, own.counter);
                Self::of_one(replica, ranges)
            }
        }
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The dot, if there is just one.
    #[inline]
    pub(crate) fn single_dot(&self) -> Option<Dot> {
        let [(replica, ranges)] = &self.0[..] else { return None };
        Some(Dot::new(*replica, ranges.single()?))
    }

    /// How many replicas are named.
    #[must_use]
    pub fn replica_count(&self) -> usize {
        self.0.len()
    }

    /// How many dots there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, ranges)| sum.saturating_add(ranges.len()))
    }

    /// How many ranges there are in all: what the context costs.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.0.iter().map(|(_, ranges)| ranges.range_count()).sum()
    }

    /// Iterates over the replicas and their counters, in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, &DotRanges)> {
        self.0.iter().map(|(replica, ranges)| (*replica, ranges))
    }

    #[inline]
    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        // Mostly there are one or two, or none.
        match &self.0[..] {
            [] => return Err(0),
            [(known, _), ..] if *known == replica => return Ok(0),
            [_, (known, _), ..] if *known == replica => return Ok(1),
            _ => {}
        }
        self.0.binary_search_by(|(known, _)| known.cmp(&replica))
    }

    #[inline]
    fn of_mut(&mut self, replica: ReplicaId) -> &mut DotRanges {
        let at = match self.position(replica) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (replica, DotRanges::default()));
                at
            }
        };
        &mut self.0[at].1
    }

    /// The counters seen of one replica.
    #[must_use]
    #[inline]
    pub fn of(&self, replica: ReplicaId) -> Option<&DotRanges> {
        self.position(replica).ok().map(|at| &self.0[at].1)
    }

    /// The highest counter seen of one replica, or 0.
    #[must_use]
    pub fn max_of(&self, replica: ReplicaId) -> u64 {
        self.of(replica).map_or(0, DotRanges::max)
    }

    /// Whether the dot was seen.
    #[must_use]
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    #[cfg_attr(target_arch = "wasm32", inline)]
    pub fn contains(&self, dot: Dot) -> bool {
        self.of(dot.replica).is_some_and(|ranges| ranges.contains(dot.counter))
    }

    /// Whether every dot of `other` was seen.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(replica, ranges)| self.of(replica).is_some_and(|own| own.covers(ranges)))
    }

    /// Adds one dot.
    pub fn insert(&mut self, dot: Dot) {
        self.insert_range(dot.replica, dot.counter, dot.counter);
    }

    /// Adds the dots `start..=end` of one replica.
    pub fn insert_range(&mut self, replica: ReplicaId, start: u64, end: u64) {
        if self.0.is_empty() {
            *self = Self::of_one(replica, DotRanges::of(start..=end));
        } else if start != 0 && start <= end {
            self.of_mut(replica).insert(start, end);
        }
    }

    /// Adds the dots up to a counter, the first of which is above all of its replica's. Gives false, and
    /// adds nothing, where it is not.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(crate) fn push(&mut self, first: Dot, end: u64) -> bool {
        match self.position(first.replica) {
            Ok(at) => self.0.get_mut(at).is_some_and(|(_, seen)| seen.push(first.counter, end)),
            Err(at) => {
                self.0.insert(at, (first.replica, DotRanges::of(first.counter..=end)));
                true
            }
        }
    }

    /// Adds counters of one replica.
    pub fn insert_ranges(&mut self, replica: ReplicaId, ranges: &DotRanges) {
        if ranges.is_empty() {
            return;
        }
        match self.position(replica) {
            Ok(at) => self.0[at].1.union(ranges),
            Err(at) => self.0.insert(at, (replica, ranges.clone())),
        }
    }

    /// Replaces the counters of one replica.
    pub fn set(&mut self, replica: ReplicaId, ranges: DotRanges) {
        match (self.position(replica), ranges.is_empty()) {
            (Ok(at), true) => {
                self.0.remove(at);
            }
            (Ok(at), false) => self.0[at].1 = ranges,
            (Err(_), true) => {}
            (Err(at), false) => self.0.insert(at, (replica, ranges)),
        }
    }

    /// Takes the counters of a replica that is not there. Gives false, and adds nothing, where it is, or
    /// where there is no counter.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(crate) fn put(&mut self, replica: ReplicaId, ranges: DotRanges) -> bool {
        match self.position(replica) {
            Err(at) if at == self.0.len() && !ranges.is_empty() => self.0.push((replica, ranges)),
            Err(at) if !ranges.is_empty() => self.0.insert(at, (replica, ranges)),
            Ok(_) | Err(_) => return false,
        }
        true
    }

    /// Adds every dot of `other`.
    pub fn union(&mut self, other: &Self) {
        for (replica, ranges) in other.iter() {
            self.insert_ranges(replica, ranges);
        }
    }

    /// Takes the dots `start..=end` of one replica out.
    pub fn remove_range(&mut self, replica: ReplicaId, start: u64, end: u64) {
        if let Ok(at) = self.position(replica) {
            self.0[at].1.remove(start, end);
            if self.0[at].1.is_empty() {
                self.0.remove(at);
            }
        }
    }

    /// The dots of this context that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(|replica, ranges| match other.of(replica) {
            Some(theirs) => ranges.difference(theirs),
            None => ranges.clone(),
        })
    }

    /// The dots that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(|replica, ranges| match other.of(replica) {
            Some(theirs) => ranges.intersection(theirs),
            None => DotRanges::default(),
        })
    }

    /// The dots after `after`, up to and with `end`, in the order of dots.
    #[must_use]
    pub fn between(&self, after: Option<Dot>, end: Dot) -> Self {
        let mut between = Self::default();
        for (replica, ranges) in self.iter() {
            let low = match after {
                Some(after) if replica < after.replica => continue,
                Some(after) if replica == after.replica => after.counter.saturating_add(1),
                Some(_) | None => 1,
            };
            let high = match replica.cmp(&end.replica) {
                std::cmp::Ordering::Less => u64::MAX,
                std::cmp::Ordering::Equal => end.counter,
                std::cmp::Ordering::Greater => break,
            };
            between.insert_ranges(replica, &ranges.intersection(&DotRanges::of(low..=high)));
        }
        between
    }

    /// A part of the context of at most about `ranges_max` ranges, or one for each replica: all of the
    /// replicas that are wanted whole, and the first ranges of the others.
    #[must_use]
    pub fn truncated(&self, ranges_max: usize, is_whole: impl Fn(ReplicaId) -> bool) -> Self {
        if self.range_count() <= ranges_max {
            return self.clone();
        }
        let each = (ranges_max / self.replica_count().max(1)).max(1);
        self.combine(|replica, ranges| {
            let count = if is_whole(replica) { usize::MAX } else { each };
            ranges.iter().take(count).collect()
        })
    }

    /// The gap-free prefixes.
    #[must_use]
    pub fn version_vector(&self) -> VersionVector {
        self.iter().map(|(replica, ranges)| (replica, ranges.prefix())).collect()
    }

    fn combine(&self, part: impl Fn(ReplicaId, &DotRanges) -> DotRanges) -> Self {
        let parts = self.iter().map(|(replica, ranges)| (replica, part(replica, ranges)));
        Self(parts.filter(|(_, ranges)| !ranges.is_empty()).collect())
    }
}

impl FromIterator<Dot> for CausalContext {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::default();
        for dot in dots {
            context.insert(dot);
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16])
    }

    fn dots() -> impl Strategy<Value = BTreeSet<Dot>> {
        let runs = proptest::collection::vec((0u8..4, 1u64..20, 0u64..5), 0..8);
        runs.prop_map(|runs| {
            let dots =
                |(id, start, len)| (start..=start + len).map(move |at| Dot::new(replica(id), at));
            runs.into_iter().flat_map(dots).collect()
        })
    }

    fn context(dots: &BTreeSet<Dot>) -> CausalContext {
        dots.iter().copied().collect()
    }

    fn set(context: &CausalContext) -> BTreeSet<Dot> {
        let counters = context.iter().flat_map(|(replica, ranges)| {
            ranges.iter().flat_map(move |(start, end)| {
                (start..=end).map(move |counter| Dot::new(replica, counter))
            })
        });
        let dots = counters.collect();
        assert!(context.iter().all(|(_, ranges)| !ranges.is_empty()), "{context:?}");
        assert!(context.iter().map(|(replica, _)| replica).is_sorted_by(|a, b| a < b));
        dots
    }

    fn ranges(dots: &BTreeSet<Dot>, replica: ReplicaId) -> DotRanges {
        let own = dots.iter().filter(|dot| dot.replica == replica);
        own.map(|dot| (dot.counter, dot.counter)).collect()
    }

    proptest! {
        #[test]
        fn what_is_asked_is_answered_as_by_a_set_of_dots(a in dots(), b in dots()) {
            let (x, y) = (context(&a), context(&b));
            prop_assert_eq!(&set(&x), &a);
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.covers(&y), b.is_subset(&a));
            prop_assert_eq!(set(&x.difference(&y)), &a - &b);
            prop_assert_eq!(set(&x.intersection(&y)), &a & &b);
            for id in (0..5).map(replica) {
                prop_assert_eq!(x.of(id).cloned().unwrap_or_default(), ranges(&a, id));
                let own = a.iter().filter(|dot| dot.replica == id).map(|dot| dot.counter);
                prop_assert_eq!(x.max_of(id), own.max().unwrap_or(0));
                for counter in 0..26 {
                    let dot = Dot::new(id, counter);
                    prop_assert_eq!(x.contains(dot), a.contains(&dot));
                }
            }
            let single = (a.len() == 1).then(|| a.first().copied()).flatten();
            prop_assert_eq!(x.single_dot(), single);
            prop_assert_eq!(x.replica_count(), x.iter().count());
            prop_assert_eq!(x.len(), a.len() as u64);
            let counts = x.iter().map(|(_, ranges)| ranges.range_count());
            prop_assert_eq!(x.range_count(), counts.sum::<usize>());
        }

        #[test]
        fn what_is_changed_is_changed_as_in_a_set_of_dots(
            a in dots(),
            b in dots(),
            id in 0u8..5,
            start in 0u64..24,
            len in 0u64..6,
        ) {
            let (id, end) = (replica(id), start + len);
            // No range begins at 0, and nothing is done with one that does.
            let counters = if start == 0 { 0..0 } else { start..end + 1 };
            let range: BTreeSet<Dot> = counters.map(|at| Dot::new(id, at)).collect();
            let change = |change: &dyn Fn(&mut CausalContext)| {
                let mut changed = context(&a);
                change(&mut changed);
                set(&changed)
            };
            let without: BTreeSet<Dot> = a.iter().copied().filter(|dot| dot.replica != id).collect();
            let new = ranges(&b, id);
            let of_b: BTreeSet<Dot> = b.iter().copied().filter(|dot| dot.replica == id).collect();
            prop_assert_eq!(change(&|x| x.union(&context(&b))), &a | &b);
            prop_assert_eq!(change(&|x| x.insert_ranges(id, &new)), &a | &of_b);
            prop_assert_eq!(change(&|x| x.set(id, new.clone())), &without | &of_b);
            prop_assert_eq!(change(&|x| x.remove_range(id, start, end)), &a - &range);
            prop_assert_eq!(change(&|x| x.insert_range(id, start, end)), &a | &range);
            prop_assert_eq!(change(&|x| x.insert_range(id, end + 2, end + 1)), a.clone());
            let is_new = without == a && !new.is_empty();
            let put = if is_new { &a | &of_b } else { a.clone() };
            prop_assert_eq!(change(&|x| assert_eq!(x.put(id, new.clone()), is_new)), put);
            let dot = Dot::new(id, start.max(1));
            let is_above = a.iter().all(|other| other.replica != id || other.counter < dot.counter);
            let end = end.max(1);
            let above = (dot.counter..=end).map(|at| Dot::new(id, at)).collect();
            let pushed = if is_above { &a | &above } else { a.clone() };
            prop_assert_eq!(change(&|x| assert_eq!(x.push(dot, end), is_above)), pushed);
        }

        #[test]
        fn a_part_is_cut_out_by_the_order_of_dots(
            all in dots(),
            after in proptest::option::of((0u8..5, 1u64..26)),
            end in (0u8..5, 1u64..26),
            ranges_max in 0usize..8,
            whole in 0u8..5,
        ) {
            let after = after.map(|(id, counter)| Dot::new(replica(id), counter));
            let end = Dot::new(replica(end.0), end.1);
            let x = context(&all);
            let between = all.iter().copied();
            let between = between.filter(|dot| after.is_none_or(|after| after < *dot) && *dot <= end);
            prop_assert_eq!(set(&x.between(after, end)), between.collect::<BTreeSet<Dot>>());
            let part = x.truncated(ranges_max, |id| id == replica(whole));
            if x.range_count() <= ranges_max {
                prop_assert_eq!(part, x);
            } else {
                let each = (ranges_max / x.replica_count()).max(1);
                for (id, ranges) in x.iter() {
                    let count = if id == replica(whole) { usize::MAX } else { each };
                    let first: DotRanges = ranges.iter().take(count).collect();
                    prop_assert_eq!(part.of(id), Some(&first));
                }
            }
        }
    }
}
