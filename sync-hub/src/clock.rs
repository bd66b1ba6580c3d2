//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use sync_core::session::Now;
use tokio::time::Instant;

/// Counts from the moment when it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What time it is.
    #[allow(clippy::disallowed_methods, reason = "this is the driver's one clock")]
    pub(crate) fn now(self) -> Now {
        let monotonic_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A clock before 1970 counts as 1970: stamps order nothing but what is shown.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms, unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}
