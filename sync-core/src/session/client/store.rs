//! Where a client keeps a document: what its session reads of that beside the document itself.

use std::convert::Infallible;

use crate::causal::{CausalContext, Fingerprints, MemoryStore, PlaceStore, ReplicaId};
use crate::reconcile::{Indexed, LiveDots};

/// A store of one document in a client.
///
/// What a session changes in it is visible at once, and on disk before
/// [`ClientInput::Persisted`](super::ClientInput::Persisted) says so. After an error the session is not
/// to be used any more: what was changed together with what failed is open.
pub trait ClientStore: PlaceStore {
    /// Whether it says of its places which stand open, as a document found them before.
    fn is_settled(&self) -> bool {
        false
    }

    /// Every dot seen.
    fn context(&self) -> &CausalContext;

    /// The dots that are live.
    fn live(&self) -> Result<CausalContext, Self::Error>;

    /// The first live dots of a replica with counters `start..=end`, as counter and hash of what the dot
    /// says, in the order of counters: `limit` of them, or all if they are fewer.
    fn live_hashes(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Self::Error>;

    /// Makes sure that the live dots are summed up, from here on.
    fn sum_up(&mut self) -> Result<(), Self::Error>;

    /// What the live dots sum up to: nothing before [`sum_up`](Self::sum_up).
    fn fingerprints(&self) -> &Fingerprints;

    /// Says that the sums are not needed for now.
    fn drop_sums(&mut self) {}
}

impl ClientStore for MemoryStore {
    fn context(&self) -> &CausalContext {
        self.context()
    }

    fn live(&self) -> Result<CausalContext, Infallible> {
        Ok(self.live())
    }

    fn live_hashes(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Infallible> {
        Ok(self.live_hashes(replica, start, end, limit))
    }

    fn sum_up(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn fingerprints(&self) -> &Fingerprints {
        self.fingerprints()
    }
}

/// The live dots of a store, as a comparison reads them.
pub(super) struct Live<'a, S>(&'a S);

impl<'a, S: ClientStore> Live<'a, S> {
    pub(super) fn of(store: &'a S) -> Self {
        Self(store)
    }

    pub(super) fn summary(&self) -> Indexed<'_, Self> {
        Indexed { fingerprints: self.0.fingerprints(), live: self }
    }
}

impl<S: ClientStore> LiveDots for Live<'_, S> {
    type Error = S::Error;

    fn live(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, S::Error> {
        self.0.live_hashes(replica, start, end, limit)
    }
}
