//! Which dead dots a catch-up keeps for its end, so that gaps in the client's context say what it has in
//! part until then.

use crate::causal::{CausalContext, DotRanges};
use crate::wire::CONTEXT_RANGES_MAX;

/// Up to how many ranges in a client's context that is done. Arbitrary, below the most that a context on
/// the wire has.
const RANGES_MAX: usize = CONTEXT_RANGES_MAX / 4;

/// The gaps in a client's context.
#[derive(Debug)]
pub(super) struct Gaps {
    /// Those that it had when it opened the channel.
    known: CausalContext,
    /// How many more there may be.
    left: usize,
}

impl Gaps {
    pub(super) fn of(theirs: &CausalContext) -> Self {
        let mut known = CausalContext::default();
        for (replica, seen) in theirs.iter() {
            known.insert_ranges(replica, &DotRanges::of(1..=seen.max()).difference(seen));
        }
        Self { known, left: RANGES_MAX.saturating_sub(theirs.range_count()) }
    }

    /// Of dead dots those that come last, while there is room: what lies within runs, or may have lain
    /// within one that the client has.
    pub(super) fn keep(&mut self, dead: &CausalContext, runs: &CausalContext) -> CausalContext {
        let mut kept = dead.intersection(runs);
        kept.union(&dead.intersection(&self.known));
        match self.left.checked_sub(kept.range_count()) {
            Some(left) => {
                self.left = left;
                kept
            }
            None => CausalContext::default(),
        }
    }
}
