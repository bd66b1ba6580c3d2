//! The one place where this crate reads clocks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sync_core::session::Now;
use sync_core::time::{SKEW_MS_MAX, TIME_MS_MIN};
use tokio::time::Instant;

/// Reads the time of day, in milliseconds since 1970.
#[derive(Clone)]
pub(crate) struct TimeOfDay(Arc<dyn Fn() -> u64 + Send + Sync>);

impl TimeOfDay {
    pub(crate) fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

/// The system's.
impl Default for TimeOfDay {
    #[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
    fn default() -> Self {
        // A calendar clock before 1970 reads as 1970: stamps order writes for display only.
        Self::new(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
        })
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimeOfDay")
    }
}

/// Reads both clocks; the monotonic one counts from when this was made, by the runtime's time where that is
/// simulated.
///
/// Stamps order concurrent writes for those who read them, so a clock that is wrong by more than a bound
/// follows the hub's, from when that is known on.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    time_of_day: TimeOfDay,
    correction: Mutex<Option<Correction>>,
    ages: AgeClock,
}

/// By how much the clock was wrong when the hub said so.
#[derive(Debug, Clone, Copy)]
struct Correction {
    ms: i64,
    /// What the clocks said then, the time of day as it was read.
    at: Now,
}

/// The time by which it is judged whether something kept is too old. A clock that is wrong by years must
/// not let everything go at once: this one goes on from a time that is trusted, as the monotonic clock does,
/// and is never ahead of this device's.
#[derive(Debug, Clone)]
pub(crate) struct AgeClock {
    time_of_day: TimeOfDay,
    trusted: Arc<Mutex<(u64, Instant)>>,
}

/// Nothing is too old.
impl Default for AgeClock {
    fn default() -> Self {
        Self::new(TimeOfDay::default())
    }
}

impl AgeClock {
    #[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
    pub(crate) fn new(time_of_day: TimeOfDay) -> Self {
        Self { time_of_day, trusted: Arc::new(Mutex::new((0, Instant::now()))) }
    }

    /// Trusts that it is no earlier than this, in milliseconds since 1970.
    #[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
    pub(crate) fn trust(&self, unix_ms: u64) {
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner) = (unix_ms, Instant::now());
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let (unix_ms, since) = *self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let trusted_ms = unix_ms.saturating_add(since.elapsed().as_millis() as u64);
        trusted_ms.min((self.time_of_day.0)())
    }
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
    pub(crate) fn new(time_of_day: TimeOfDay) -> Self {
        let (correction, ages) = (Mutex::default(), AgeClock::new(time_of_day.clone()));
        Self { start: Instant::now(), time_of_day, correction, ages }
    }

    /// What time it is where it is judged what is too old.
    pub(crate) fn ages(&self) -> &AgeClock {
        &self.ages
    }

    pub(crate) fn now(&self) -> Now {
        let read = self.read();
        let mut correction = self.correction.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever set the clock since knows better.
        *correction = correction.filter(|correction| !correction.is_stale(read));
        let ms = correction.map_or(0, |correction| correction.ms);
        Now { unix_ms: read.unix_ms.saturating_add_signed(ms), ..read }
    }

    /// Takes note of the hub's time of day. Gives by how many milliseconds this device is behind it, if that
    /// is more than a bound; negative where it is ahead.
    pub(crate) fn compare(&self, hub_ms: u64) -> Option<i64> {
        let at = self.read();
        // A hub that does not know the time says nothing about this device's clock.
        let knows_time = hub_ms >= TIME_MS_MIN;
        let hub_ms = if knows_time { hub_ms } else { at.unix_ms };
        if knows_time {
            self.ages.trust(hub_ms);
        }
        let ms = i64::try_from(i128::from(hub_ms) - i128::from(at.unix_ms)).unwrap_or_default();
        let ms = Some(ms).filter(|ms| ms.unsigned_abs() > SKEW_MS_MAX);
        let mut correction = self.correction.lock().unwrap_or_else(PoisonError::into_inner);
        *correction = ms.map(|ms| Correction { ms, at });
        ms
    }

    fn read(&self) -> Now {
        Now {
            monotonic_ms: self.start.elapsed().as_millis() as u64,
            unix_ms: (self.time_of_day.0)(),
        }
    }
}

impl Correction {
    /// Whether the time of day was set since.
    fn is_stale(&self, now: Now) -> bool {
        let passed = now.monotonic_ms.saturating_sub(self.at.monotonic_ms);
        let expected = self.at.unix_ms.saturating_add(passed);
        expected.abs_diff(now.unix_ms) > SKEW_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HUB_MS: u64 = 1_800_000_000_000;

    #[test]
    fn a_clock_follows_the_hub_beyond_a_bound_and_until_somebody_sets_it() {
        let day = Arc::new(AtomicU64::new(0));
        let read = day.clone();
        let clock = Clock::new(TimeOfDay::new(move || read.load(Ordering::Relaxed)));
        let bound = SKEW_MS_MAX.cast_signed();
        for (ahead, told) in [
            (bound - 1, None),
            (bound, None),
            (bound + 1, Some(-bound - 1)),
            (-bound, None),
            (-bound - 1, Some(bound + 1)),
        ] {
            let own = HUB_MS.saturating_add_signed(ahead);
            day.store(own, Ordering::Relaxed);
            assert_eq!(clock.compare(HUB_MS), told, "{ahead}");
            assert_eq!(clock.now().unix_ms, if told.is_some() { HUB_MS } else { own });
            day.store(own + 1_000, Ordering::Relaxed);
            assert_eq!(clock.now().unix_ms, if told.is_some() { HUB_MS } else { own } + 1_000);
        }
        // A hub without the time is not followed.
        assert_eq!(clock.compare(TIME_MS_MIN - 1), None);
        clock.compare(HUB_MS);
        // It is set right, and is not corrected any more.
        day.store(HUB_MS + SKEW_MS_MAX + 2_000, Ordering::Relaxed);
        assert_eq!(clock.now().unix_ms, HUB_MS + SKEW_MS_MAX + 2_000);
        day.store(HUB_MS, Ordering::Relaxed);
        assert_eq!(clock.now().unix_ms, HUB_MS);
    }
}
