//! Hybrid logical clock (Kulkarni et al., *Logical Physical Clocks*, 2014).
//!
//! Stamps order concurrent writes for display only; causality alone decides what supersedes what.
//! The clock never reads the time: the driver passes it in.

use std::fmt;

use crate::error::Malformed;
use crate::pack::{self, Reader};

/// How far ahead of the local clock a remote stamp may pull it, in milliseconds. Arbitrary: above
/// ordinary clock error, below what a user would notice as a wrong order.
pub const SKEW_MS_MAX: u64 = 60_000;

/// A clock that says less than this does not know the time, in milliseconds since 1970: it is some time in
/// November 2023. Arbitrary: before there was any change.
pub const TIME_MS_MIN: u64 = 1_700_000_000_000;

/// The bits of the counter within a millisecond, as the paper has it.
const LOGICAL_BITS: u32 = 16;

/// A moment: 48 bits of milliseconds since 1970 by somebody's clock, then 16 bits that order stamps of
/// one millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// The first stamp of a millisecond; the last one of all for a time beyond the year 10,000.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        if ms >> (u64::BITS - LOGICAL_BITS) == 0 {
            Self(ms << LOGICAL_BITS)
        } else {
            Self(u64::MAX)
        }
    }

    /// Takes the 64 bits as they are stored.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits: milliseconds, then the counter.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Writes the stamp to the end of some bytes.
    pub fn encode_into(self, out: &mut Vec<u8>) {
        pack::uint(out, self.0);
    }

    /// Reads a stamp.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.uint().map(Self)
    }

    /// Milliseconds since 1970-01-01.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// Orders stamps of one millisecond.
    #[must_use]
    pub const fn logical(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.ms(), self.logical())
    }
}

/// Issues stamps that only grow, whatever the clock does but for being set back by far.
#[derive(Debug, Clone, Default)]
pub struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// Returns a stamp later than every stamp issued and every one observed within the bound; but where the
    /// clock was set back by more than that, what it said before was wrong, and it starts anew.
    pub fn tick(&mut self, now_ms: u64) -> Stamp {
        if self.last.ms() > now_ms.saturating_add(SKEW_MS_MAX) {
            self.last = Stamp::default();
        }
        self.last = Stamp::from_ms(now_ms).max(Stamp(self.last.0.saturating_add(1)));
        self.last
    }

    /// Takes a remote stamp into account. Returns false, and leaves the clock as it is, for one that
    /// lies more than [`SKEW_MS_MAX`] ahead of `now_ms`.
    pub fn observe(&mut self, now_ms: u64, remote: Stamp) -> bool {
        if remote.ms() > now_ms.saturating_add(SKEW_MS_MAX) {
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
    fn stamps_start_anew_when_the_clock_is_set_back_by_more_than_the_bound() {
        for (beyond, is_behind) in [(0, false), (1, true)] {
            let mut clock = HybridClock::default();
            let wrong = clock.tick(1_000 + SKEW_MS_MAX + beyond);
            assert_eq!(clock.tick(1_000) < wrong, is_behind);
        }
    }

    #[test]
    fn a_far_future_stamp_does_not_pull_the_clock() {
        let mut clock = HybridClock::default();
        assert!(!clock.observe(1_000, Stamp::from_ms(1_001 + SKEW_MS_MAX)));
        assert_eq!(clock.tick(1_000).ms(), 1_000);
        let latest = Stamp::from_bits(Stamp::from_ms(1_000 + SKEW_MS_MAX).to_bits() + 7);
        assert!(clock.observe(1_000, latest));
        assert_eq!(clock.tick(1_000).to_bits(), latest.to_bits() + 1);
    }

    #[test]
    fn the_counter_runs_over_into_the_next_millisecond_and_never_wraps() {
        let mut clock = HybridClock { last: Stamp::from_bits(5 << 16 | 0xffff) };
        assert_eq!((clock.tick(0).ms(), clock.last.logical()), (6, 0));
        let mut clock = HybridClock { last: Stamp::from_bits(u64::MAX) };
        assert_eq!(clock.tick(u64::MAX).to_bits(), u64::MAX);
    }
}
