//! Which dead dots a catch-up keeps for its end, so that gaps in the client's context say what it has in
//! part until then.

use crate::causal::{CausalContext, Dot, DotRanges, Entry, RUN_DOTS_MAX};
use crate::session::limits::GAPPED_RANGES_MAX;

/// The gaps in a client's context.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Those that it had when it opened the channel.
    known: CausalContext,
    /// The dots behind the last one that it had of each replica.
    ends: CausalContext,
    /// How many more ranges it may have.
    left: usize,
}

impl Gaps {
    pub(super) fn of(theirs: &CausalContext) -> Self {
        let (mut known, mut ends) = (CausalContext::default(), CausalContext::default());
        for (replica, seen) in theirs.iter() {
            known.insert_ranges(replica, &DotRanges::of(1..=seen.max()).difference(seen));
            ends.insert(Dot::new(replica, seen.max().saturating_add(1)));
        }
        Self { known, ends, left: GAPPED_RANGES_MAX.saturating_sub(theirs.range_count()) }
    }

    /// Of dead dots those that come last: what lies in gaps, and may have lain within a run that the
    /// client has; and, while there is room for more of them, what lies within runs, or directly behind
    /// what the client has of a replica, where a run may go on.
    pub(super) fn keep(&mut self, dead: &CausalContext, runs: &CausalContext) -> CausalContext {
        let mut kept = dead.intersection(&self.known);
        let mut more = dead.intersection(runs);
        for (replica, ends) in dead.intersection(&self.ends).iter() {
            let (of_it, end) = (dead.of(replica), ends.max());
            let behind = of_it.and_then(|dead| dead.overlapping(end, end).next());
            more.insert_range(replica, end, behind.map_or(end, |(_, last)| last));
        }
        let more = more.difference(&kept);
        if let Some(left) = self.left.checked_sub(more.range_count()) {
            self.left = left;
            kept.union(&more);
        }
        kept
    }
}

/// Up to which counter dead dots may be of a record that an entry is of, which another one follows: one of
/// the most dots goes on.
pub(super) fn end_of(entry: &Entry, next: Option<Dot>) -> u64 {
    if entry.slots.len() < RUN_DOTS_MAX {
        return entry.last();
    }
    let next = next.filter(|next| next.replica == entry.replica());
    next.map_or(Dot::COUNTER_MAX, |next| next.counter.saturating_sub(1).max(entry.last()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::ReplicaId;

    /// Every other dot of a replica, so many of them.
    fn scattered(replica: u8, count: usize) -> CausalContext {
        let replica = ReplicaId::from_bytes([replica; 16]);
        (1..=count as u64).map(|at| Dot::new(replica, 2 * at)).collect()
    }

    #[test]
    fn dead_dots_are_kept_while_there_is_room_for_the_gaps() {
        let (theirs, none) = (scattered(1, GAPPED_RANGES_MAX - 3), CausalContext::default());
        for (count, kept) in [(2, 2), (3, 3), (4, 0)] {
            let runs = scattered(2, count);
            let mut dead = runs.clone();
            dead.union(&scattered(3, 10));
            let mut gaps = Gaps::of(&theirs);
            assert_eq!(gaps.keep(&dead, &runs).range_count(), kept, "{count} gaps more");
            let left = gaps.keep(&scattered(2, 3 - kept), &runs).range_count();
            assert_eq!(left, 3 - kept, "what is not kept takes no room");
            assert_eq!(gaps.keep(&scattered(2, 1), &runs), none);
        }
    }

    #[test]
    fn what_may_be_of_a_run_that_the_client_has_is_kept() {
        let replica = ReplicaId::from_bytes([1; 16]);
        for count in [3, GAPPED_RANGES_MAX] {
            let theirs = scattered(1, count);
            let mut dead = CausalContext::default();
            dead.insert_range(replica, 1, 9 * count as u64);
            let kept = Gaps::of(&theirs).keep(&dead, &CausalContext::default());
            let gaps = (1..=count as u64).map(|at| (2 * at - 1, 2 * at - 1));
            let behind = Some((2 * count as u64 + 1, 9 * count as u64));
            let behind = behind.filter(|_| count < GAPPED_RANGES_MAX);
            let kept = kept.of(replica).into_iter().flat_map(DotRanges::iter);
            assert!(kept.eq(gaps.chain(behind)), "{count} gaps need no room");
        }
    }
}
