//! The one place where this crate reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sync_core::session::Now;

/// Reads both clocks; the monotonic one counts from when this was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    #[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
    pub(crate) fn now(&self) -> Now {
        // A calendar clock before 1970 reads as 1970: stamps order writes for display only.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic_ms: self.start.elapsed().as_millis() as u64,
            unix_ms: unix.as_millis() as u64,
        }
    }
}
