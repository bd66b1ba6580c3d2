//! What the live dots of a store in memory sum up to.

use super::MemoryStore;
use crate::causal::{Fingerprints, ReplicaId, Root};

impl MemoryStore {
    /// The sums over all live dots.
    #[must_use]
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// One hash of the context and all live dots: equal for equal states, however they came about.
    #[must_use]
    pub fn root(&self) -> Root {
        self.fingerprints.root(&self.context)
    }

    /// The first live dots of a replica with counters `start..=end`, as counter and hash of what the
    /// dot says, in the order of counters: `limit` of them, or all if they are fewer.
    #[must_use]
    pub fn live_hashes(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let Some(writer) = self.writer(replica) else { return found };
        for row in self.runs(writer, start, end) {
            for (counter, hash) in self.view(row).hashes() {
                if found.len() >= limit || counter > end {
                    return found;
                }
                if counter >= start {
                    found.push((counter, hash));
                }
            }
        }
        found
    }

    pub(super) fn count_in(&mut self, row: u32) {
        let mut fingerprints = std::mem::take(&mut self.fingerprints);
        self.rows.of_mut(row).sum = fingerprints.add_run(self.view(row));
        self.fingerprints = fingerprints;
    }

    pub(super) fn count_out(&mut self, row: u32) {
        let mut fingerprints = std::mem::take(&mut self.fingerprints);
        fingerprints.take_out_run(self.view(row), self.rows.of(row).sum);
        self.fingerprints = fingerprints;
    }
}
