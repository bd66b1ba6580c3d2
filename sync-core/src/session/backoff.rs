//! How long to wait before the next attempt to connect: exponential, with full jitter.

/// The longest wait after the first failure, in milliseconds. Arbitrary.
const FIRST_MS: u32 = 250;

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
    /// The wait before the next attempt, in milliseconds: between half and all of a bound that doubles
    /// with each failure. `live_ms` is for how long the connection that ended was of use.
    pub fn next_ms(&mut self, live_ms: u64, random: u32) -> u32 {
        if live_ms >= STABLE_MS {
            self.reset();
        }
        let bound = FIRST_MS.saturating_mul(1 << self.failures.min(10)).min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        bound / 2 + random % (bound / 2 + 1)
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
        for (failure, bound) in
            [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000].iter().enumerate()
        {
            let wait = backoff.next_ms(STABLE_MS - 1, u32::MAX - 7 * failure as u32);
            assert!((bound / 2..=*bound).contains(&wait), "{wait} within {bound}");
        }
        assert!(backoff.next_ms(STABLE_MS, 0) <= 250);
        backoff.next_ms(0, 0);
        backoff.reset();
        assert!(backoff.next_ms(0, 0) <= 250);
    }
}
