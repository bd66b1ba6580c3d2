//! The allocator that counts, and who may count with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

static TURN: Mutex<()> = Mutex::new(());

/// Counts what is allocated: one test at a time, as all threads are counted. So a test that counts nothing
/// has one too.
pub(crate) struct Meter {
    _turn: MutexGuard<'static, ()>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Counts from here on.
    pub(crate) fn start(&self) -> Count {
        ALLOCATOR.reset_peak_usage();
        Count { start: ALLOCATOR.current_usage() }
    }
}

/// What is allocated since it was started. The last one that was started knows its peak.
#[derive(Clone, Copy)]
pub(crate) struct Count {
    start: usize,
}

impl Count {
    /// How many more bytes are allocated than at the start; fewer where it is below 0.
    pub(crate) fn held(self) -> i64 {
        ALLOCATOR.current_usage() as i64 - self.start as i64
    }

    /// How many more bytes were allocated at any time than at the start.
    pub(crate) fn peak(self) -> usize {
        ALLOCATOR.peak_usage().saturating_sub(self.start)
    }
}
