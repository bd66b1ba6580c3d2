//! Hybrid logical clock (Kulkarni et al., *Logical Physical Clocks*, 2014).
//!
//! Stamps order concurrent writes for display only; causality alone decides what supersedes what.
//! The clock never reads the time: the driver passes it in.

/// How far ahead of the local clock a remote stamp may pull it, in milliseconds. Arbitrary: above
/// ordinary clock error, below what a user would notice as a wrong order.
pub const SKEW_MS_MAX: u64 = 60_000;

/// A moment: milliseconds since 1970 by somebody's clock, then a counter within the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Milliseconds since 1970-01-01.
    pub ms: u64,
    /// Orders stamps of one millisecond.
    pub logical: u32,
}

/// Issues stamps that only grow, whatever the clock does.
#[derive(Debug, Clone, Default)]
pub struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// Returns a stamp later than every stamp issued and every one observed within the bound.
    pub fn tick(&mut self, now_ms: u64) -> Stamp {
        self.last = if now_ms > self.last.ms {
            Stamp { ms: now_ms, logical: 0 }
        } else {
            match self.last.logical.checked_add(1) {
                Some(logical) => Stamp { ms: self.last.ms, logical },
                None => Stamp { ms: self.last.ms.saturating_add(1), logical: 0 },
            }
        };
        self.last
    }

    /// Takes a remote stamp into account. Returns false, and leaves the clock as it is, for one that
    /// lies more than [`SKEW_MS_MAX`] ahead of `now_ms`.
    pub fn observe(&mut self, now_ms: u64, remote: Stamp) -> bool {
        if remote.ms > now_ms.saturating_add(SKEW_MS_MAX) {
            return false;
        }
        self.last = self.last.max(remote);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_when_the_clock_goes_back() {
        let mut clock = HybridClock::default();
        let a = clock.tick(1_000);
        let b = clock.tick(10);
        let c = clock.tick(1_001);
        assert!(a < b && b < c);
    }

    #[test]
    fn a_far_future_stamp_does_not_pull_the_clock() {
        let mut clock = HybridClock::default();
        assert!(!clock.observe(1_000, Stamp { ms: 1_001 + SKEW_MS_MAX, logical: 0 }));
        assert_eq!(clock.tick(1_000).ms, 1_000);
        assert!(clock.observe(1_000, Stamp { ms: 1_000 + SKEW_MS_MAX, logical: 7 }));
        assert_eq!(clock.tick(1_000), Stamp { ms: 1_000 + SKEW_MS_MAX, logical: 8 });
    }

    #[test]
    fn the_logical_counter_does_not_wrap() {
        let mut clock = HybridClock { last: Stamp { ms: 5, logical: u32::MAX } };
        assert_eq!(clock.tick(0), Stamp { ms: 6, logical: 0 });
    }
}
