//! Version vectors and their comparison (Mattern 1989; Fidge 1988).

use std::collections::BTreeMap;

use super::ReplicaId;

/// How two version vectors stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Causality {
    /// The first knows less than the second.
    Before,
    /// The first knows more than the second.
    After,
    /// Both know the same.
    Equal,
    /// Each knows what the other does not.
    Concurrent,
}

/// The gap-free prefix of events known of each replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionVector(BTreeMap<ReplicaId, u64>);

impl VersionVector {
    /// The number of events known of one replica.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica).copied().unwrap_or(0)
    }

    /// Records that the first `counter` events of the replica are known.
    pub fn raise(&mut self, replica: ReplicaId, counter: u64) {
        if counter > 0 {
            let known = self.0.entry(replica).or_default();
            *known = counter.max(*known);
        }
    }

    /// Takes the maximum for each replica: the least upper bound.
    pub fn join(&mut self, other: &Self) {
        for (replica, counter) in &other.0 {
            self.raise(*replica, *counter);
        }
    }

    /// Compares what two sides know.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        let covered = |a: &Self, b: &Self| a.0.iter().all(|(id, counter)| *counter <= b.of(*id));
        match (covered(self, other), covered(other, self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::Before,
            (false, true) => Causality::After,
            (false, false) => Causality::Concurrent,
        }
    }
}

impl FromIterator<(ReplicaId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(iter: I) -> Self {
        let mut vector = Self::default();
        for (replica, counter) in iter {
            vector.raise(replica, counter);
        }
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{CausalContext, Dot};

    #[test]
    fn a_context_gives_its_gap_free_prefixes() {
        let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
        let seen = [(a, 1), (a, 2), (a, 4), (b, 2)].map(|(id, counter)| Dot::new(id, counter));
        let vector = seen.into_iter().collect::<CausalContext>().version_vector();
        assert_eq!((vector.of(a), vector.of(b)), (2, 0));
    }

    #[test]
    fn compares_all_four_ways() {
        let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
        let vector = |x, y| [(a, x), (b, y)].into_iter().collect::<VersionVector>();
        assert_eq!(vector(1, 2).compare(&vector(1, 2)), Causality::Equal);
        assert_eq!(vector(1, 0).compare(&vector(1, 2)), Causality::Before);
        assert_eq!(vector(3, 2).compare(&vector(1, 2)), Causality::After);
        assert_eq!(vector(3, 1).compare(&vector(1, 2)), Causality::Concurrent);
        let mut joined = vector(3, 1);
        joined.join(&vector(1, 2));
        assert_eq!(joined, vector(3, 2));
        assert_eq!(
            vector(0, 0),
            VersionVector::default(),
            "nothing known is the same as no replica"
        );
    }
}
