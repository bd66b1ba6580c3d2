//! What was looked at last: mostly it is what is written next.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::sorted::Position;

/// A row of the object that was looked at last, where that object stands in its space, or would, and
/// where the last run stands among those of its replica. Something else may stand there by now, so
/// whoever takes a hint looks whether it is what is sought.
#[derive(Debug, Default)]
pub(super) struct Hand {
    row: AtomicU32,
    place: AtomicU64,
    run: AtomicU64,
}

impl Hand {
    #[inline]
    pub(super) fn row(&self) -> u32 {
        self.row.load(Relaxed)
    }

    #[inline]
    pub(super) fn set_row(&self, row: u32) {
        self.row.store(row, Relaxed);
    }

    #[inline]
    pub(super) fn place(&self) -> Position {
        Position::from_bits(self.place.load(Relaxed))
    }

    #[inline]
    pub(super) fn set_place(&self, place: Position) {
        self.place.store(place.to_bits(), Relaxed);
    }

    #[inline]
    pub(super) fn run(&self) -> Position {
        Position::from_bits(self.run.load(Relaxed))
    }

    #[inline]
    pub(super) fn set_run(&self, run: Position) {
        self.run.store(run.to_bits(), Relaxed);
    }
}

impl Clone for Hand {
    fn clone(&self) -> Self {
        Self::default()
    }
}
