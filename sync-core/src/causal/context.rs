//! The causal context: every dot that was ever seen.

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

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The dot, if there is just one.
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
    pub(crate) fn len(&self) -> u64 {
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

    /// Adds a dot whose counter is above all of its replica's. Gives false, and adds nothing, where it is
    /// not.
    #[inline]
    pub(crate) fn push(&mut self, dot: Dot) -> bool {
        match self.position(dot.replica) {
            Ok(at) => self.0[at].1.push(dot.counter),
            Err(at) => {
                self.0.insert(at, (dot.replica, DotRanges::of(dot.counter..=dot.counter)));
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
    pub(crate) fn put(&mut self, replica: ReplicaId, ranges: DotRanges) -> bool {
        match self.position(replica) {
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
