//! Which dead dots a catch-up keeps for its end, so that gaps in the client's context say what it has in
//! part until then.

use crate::causal::{CausalContext, Dot, DotRanges, RUN_DOTS_MAX};
use crate::session::limits::GAPPED_RANGES_MAX;

/// The gaps in a client's context.
#[derive(Debug)]
pub(super) struct Gaps {
    /// Those that it had when it opened the channel.
    known: CausalContext,
    /// What may be the rest of a run that is the last which it has of a replica.
    behind: CausalContext,
    /// How many more ranges it may have.
    left: usize,
}

impl Gaps {
    pub(super) fn of(theirs: &CausalContext) -> Self {
        let (mut known, mut behind) = (CausalContext::default(), CausalContext::default());
        for (replica, seen) in theirs.iter() {
            let last = seen.max();
            known.insert_ranges(replica, &DotRanges::of(1..=last).difference(seen));
            let end = last.saturating_add(RUN_DOTS_MAX as u64 - 1).min(Dot::COUNTER_MAX);
            behind.insert_ranges(
                replica,
                &DotRanges::of(1..=end).difference(&DotRanges::of(1..=last)),
            );
        }
        Self { known, behind, left: GAPPED_RANGES_MAX.saturating_sub(theirs.range_count()) }
    }

    /// Of dead dots those that come last: what lies in gaps; and, while there is room for more of them,
    /// what lies within runs, or may have lain within one that the client has.
    pub(super) fn keep(&mut self, dead: &CausalContext, runs: &CausalContext) -> CausalContext {
        let mut kept = dead.intersection(&self.known);
        let mut more = dead.intersection(runs);
        more.union(&dead.intersection(&self.behind));
        let more = more.difference(&kept);
        if let Some(left) = self.left.checked_sub(more.range_count()) {
            self.left = left;
            kept.union(&more);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, ReplicaId};

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
        let kept_of = |theirs: CausalContext| {
            let mut dead = CausalContext::default();
            dead.insert_range(replica, 1, Dot::COUNTER_MAX);
            let dead = dead.difference(&theirs);
            let kept = Gaps::of(&theirs).keep(&dead, &CausalContext::default());
            let ranges = kept.of(replica).map(|kept| kept.iter().collect::<Vec<_>>());
            ranges.unwrap_or_default()
        };
        let behind = RUN_DOTS_MAX as u64 - 1;
        assert_eq!(kept_of(scattered(1, 3)), [(1, 1), (3, 3), (5, 5), (7, 6 + behind)]);
        let all = (1..=GAPPED_RANGES_MAX as u64).map(|at| (2 * at - 1, 2 * at - 1));
        assert!(kept_of(scattered(1, GAPPED_RANGES_MAX)).into_iter().eq(all), "gaps need no room");
        let last = CausalContext::from_iter([Dot::new(replica, Dot::COUNTER_MAX - 1)]);
        assert_eq!(
            kept_of(last),
            [(1, Dot::COUNTER_MAX - 2), (Dot::COUNTER_MAX, Dot::COUNTER_MAX)]
        );
    }
}
