//! How long to wait before the next attempt to connect: exponential, with full jitter.

/// The longest wait after the first failure, in milliseconds. Arbitrary.
const FIRST_MS: u32 = 250;

/// How many failures a connection counts as that was of use and ended: the hub may have stopped for all of
/// its clients at once, and they come back within 2 seconds. Arbitrary.
const LOST: u32 = 3;

/// The longest wait of all, in milliseconds. Arbitrary: a person who fixes the line sees it work soon.
const MAX_MS: u32 = 15_000;

/// How long a connection must have been of use for the waits to start over, in milliseconds. Arbitrary:
/// a hub that closes each connection soon after it was opened is not asked again and again.
const STABLE_MS: u64 = 10_000;

/// Counts failures. The random number comes from the driver.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt, in milliseconds: anything up to a bound that doubles with each
    /// failure. `live_ms` is for how long the connection that ended was of use.
    pub fn next_ms(&mut self, live_ms: u64, random: u32) -> u32 {
        if live_ms >= STABLE_MS {
            self.failures = LOST;
        }
        let bound = FIRST_MS.saturating_mul(1 << self.failures.min(10)).min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        random % (bound + 1)
    }

    /// Starts over, when somebody asks for an attempt.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let bounds = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000];
        for (failures, bound) in bounds.into_iter().enumerate() {
            for (random, wait) in [(0, 0), (bound, bound), (bound + 1, 0)] {
                let mut next = backoff.clone();
                assert_eq!(next.next_ms(STABLE_MS - 1, random), wait, "after {failures}");
            }
            backoff.next_ms(0, 0);
        }
        // What was of use has not failed often, whatever was before.
        for live_ms in [STABLE_MS, STABLE_MS + 1] {
            assert_eq!(backoff.clone().next_ms(live_ms, 2_000), 2_000);
            assert_eq!(backoff.next_ms(live_ms, 2_001), 0);
        }
        backoff.reset();
        assert_eq!(backoff.next_ms(0, 250), 250);
    }
}
