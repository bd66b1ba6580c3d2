//! What a session has found so far.

use super::space::Places;

/// What differs, as positions.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Live on this side only.
    pub(super) here: Places,
    /// Live on the other side only.
    pub(super) there: Places,
    /// Live on both with different content.
    pub(super) conflicting: Places,
}

impl Found {
    pub(super) fn merge(&mut self, other: &Self) {
        self.here.union(&other.here);
        self.there.union(&other.there);
        self.conflicting.union(&other.conflicting);
    }

    /// Where this side has a live dot that differs.
    pub(super) fn own(&self) -> Places {
        let mut own = self.here.clone();
        own.union(&self.conflicting);
        own
    }

    pub(super) fn range_count(&self) -> usize {
        self.here.range_count() + self.there.range_count() + self.conflicting.range_count()
    }
}
