//! What reconciliation reads: sums over ranges of live dots, and the live dots themselves.

use std::convert::Infallible;

use crate::causal::{Fingerprints, MemoryStore, ReplicaId, Sum, Total};

/// A document's live dots, as a store gives them.
///
/// What it says must not change while a session runs, but for dots that become live after its start
/// and are in neither context: a session over a store that changes ends in an error, never in a wrong
/// repair that is taken for a right one.
pub trait Summary {
    /// What goes wrong in the store.
    type Error;

    /// What all live dots sum up to.
    ///
    /// # Errors
    ///
    /// The store's own.
    fn total(&self) -> Result<Total, Self::Error>;

    /// What the live dots of one replica with counters `start..=end` sum up to.
    ///
    /// # Errors
    ///
    /// The store's own.
    fn range(&self, replica: ReplicaId, start: u64, end: u64) -> Result<Sum, Self::Error>;

    /// The first live dots of one replica with counters `start..=end`, as counter and hash of the
    /// content, in the order of counters: `limit` of them, or all if they are fewer.
    ///
    /// # Errors
    ///
    /// The store's own.
    fn items(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Self::Error>;
}

/// The live dots alone, of a store that keeps its [`Fingerprints`] in memory.
pub trait LiveDots {
    /// What goes wrong in the store.
    type Error;

    /// As [`Summary::items`].
    ///
    /// # Errors
    ///
    /// The store's own.
    fn live(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Self::Error>;
}

/// A [`Summary`] of live dots with their fingerprints beside them.
#[derive(Debug)]
pub struct Indexed<'a, L> {
    /// The sums over `live`.
    pub fingerprints: &'a Fingerprints,
    /// The live dots.
    pub live: &'a L,
}

impl<L: LiveDots> Summary for Indexed<'_, L> {
    type Error = L::Error;

    fn total(&self) -> Result<Total, L::Error> {
        Ok(self.fingerprints.total())
    }

    fn range(&self, replica: ReplicaId, start: u64, end: u64) -> Result<Sum, L::Error> {
        let look_up = |start, end| self.live.live(replica, start, end, usize::MAX);
        self.fingerprints.range(replica, start, end, look_up)
    }

    fn items(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, L::Error> {
        self.live.live(replica, start, end, limit)
    }
}

impl<S: Summary> Summary for &S {
    type Error = S::Error;

    fn total(&self) -> Result<Total, S::Error> {
        (**self).total()
    }

    fn range(&self, replica: ReplicaId, start: u64, end: u64) -> Result<Sum, S::Error> {
        (**self).range(replica, start, end)
    }

    fn items(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, S::Error> {
        (**self).items(replica, start, end, limit)
    }
}

impl Summary for MemoryStore {
    type Error = Infallible;

    fn total(&self) -> Result<Total, Infallible> {
        Ok(self.fingerprints().total())
    }

    fn range(&self, replica: ReplicaId, start: u64, end: u64) -> Result<Sum, Infallible> {
        let look_up = |start, end| Ok(self.live_hashes(replica, start, end, usize::MAX));
        self.fingerprints().range(replica, start, end, look_up)
    }

    fn items(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Infallible> {
        Ok(self.live_hashes(replica, start, end, limit))
    }
}
