//! Hashes of elements: live dots with the hash of their content.
//!
//! A set's hash is the wrapping sum of its elements' hashes (AdHash of Bellare and Micciancio, *A New
//! Paradigm for Collision-free Hashing: Incrementality at Reduced Cost*, 1997), so one element is
//! added or taken out without looking at the others. A sum rather than an exclusive or: under xor,
//! colliding sets are found by linear algebra, and an element that is counted twice vanishes. The
//! hashes tell sets apart against chance, not against a writer who searches for collisions.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::causal::{CausalContext, ReplicaId};

/// Odd multipliers without structure: the fractional parts of the golden ratio and of √2.
pub(in crate::causal) const ODD: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0x6A09_E667_F3BC_C909];

/// Hashes a context: every replica with its ranges, in order. Costs its number of ranges.
#[must_use]
pub fn context_hash(context: &CausalContext) -> u64 {
    let mut hash = Xxh3::new();
    for (replica, ranges) in context.iter() {
        hash.update(replica.as_bytes());
        hash.update(&(ranges.range_count() as u64).to_le_bytes());
        for (start, end) in ranges.iter() {
            hash.update(&start.to_le_bytes());
            hash.update(&end.to_le_bytes());
        }
    }
    hash.digest()
}

/// The hashes of one replica's elements; made once for each replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementKey([u64; 2]);

impl ElementKey {
    /// Draws the key from the replica's id.
    #[must_use]
    pub fn of(replica: ReplicaId) -> Self {
        let hash = xxh3_128(replica.as_bytes());
        Self([hash as u64, (hash >> 64) as u64])
    }

    /// The element's hash in sums over everything, 128 bits.
    #[must_use]
    #[inline]
    pub fn wide(self, counter: u64, content: u64) -> u128 {
        u128::from(content ^ self.0[0]) * u128::from(counter.wrapping_mul(ODD[0]) ^ self.0[1])
    }

    /// The element's hash in sums over ranges.
    #[must_use]
    pub fn element(self, counter: u64, content: u64) -> u64 {
        narrow(self.wide(counter, content))
    }
}

/// Folds a wide hash into that for sums over ranges.
#[inline]
pub(super) fn narrow(wide: u128) -> u64 {
    let folded = ((wide as u64) ^ (wide >> 64) as u64).wrapping_mul(ODD[1]);
    folded ^ (folded >> 32)
}

/// Mixes two words under a salt: for cells, checksums and the hashes of parts.
#[inline]
pub(crate) fn mix(salt: u64, a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ salt ^ ODD[0]) * u128::from(b.wrapping_mul(ODD[0]) ^ ODD[1]);
    narrow(wide ^ u128::from(salt.rotate_left(32)))
}

/// What a range of live dots sums up to. Sums form a group: what was added can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Wrapping sum of [`ElementKey::element`].
    pub hash: u64,
    /// How many live dots.
    pub count: u64,
}

impl Sum {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let count = self.count.wrapping_add(other.count);
        Self { hash: self.hash.wrapping_add(other.hash), count }
    }

    /// This without the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let count = self.count.wrapping_sub(other.count);
        Self { hash: self.hash.wrapping_sub(other.hash), count }
    }
}

/// What the live dots of a run sum up to, so that they are taken out without a look at their bytes: the
/// wrapping sum of [`ElementKey::wide`], the lower half first, since a number of 128 bits would take more
/// room; and that of [`ElementKey::element`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::causal) struct RunSum([u64; RUN_SUM_PARTS]);

/// It takes no room where nothing is compared.
const RUN_SUM_PARTS: usize = if cfg!(feature = "compare") { 3 } else { 0 };

impl RunSum {
    #[inline]
    pub(super) fn of(wide: u128, narrow: u64) -> Self {
        let parts = [wide as u64, (wide >> 64) as u64, narrow];
        Self(std::array::from_fn(|at| parts[at]))
    }

    #[inline]
    fn part(self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn wide(self) -> u128 {
        u128::from(self.part(1)) << 64 | u128::from(self.part(0))
    }

    #[inline]
    pub(super) fn narrow(self) -> u64 {
        self.part(2)
    }

    /// This without the other.
    #[inline]
    pub(in crate::causal) fn minus(self, other: Self) -> Self {
        let wide = self.wide().wrapping_sub(other.wide());
        Self::of(wide, self.narrow().wrapping_sub(other.narrow()))
    }
}

/// What all live dots of a document sum up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Wrapping sum of [`ElementKey::wide`].
    pub hash: u128,
    /// How many live dots.
    pub count: u64,
}

/// One hash of a whole document: its context and its live dots. Equal for equal documents, however
/// their entries are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root(pub [u8; 16]);

impl Root {
    /// Hashes a context, by its [`context_hash`], and what is live.
    #[must_use]
    pub fn of(context_hash: u64, total: Total) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&context_hash.to_le_bytes());
        bytes[8..24].copy_from_slice(&total.hash.to_le_bytes());
        bytes[24..].copy_from_slice(&total.count.to_le_bytes());
        Self(xxh3_128(&bytes).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Dot;

    #[test]
    fn every_part_of_an_element_counts() {
        let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
        let hash = |replica, counter, content| ElementKey::of(replica).element(counter, content);
        let all = [hash(a, 1, 1), hash(a, 1, 2), hash(a, 2, 1), hash(b, 1, 1)];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{all:x?}");
        }
        // Contents that swapped their dots do not sum up to the same.
        let sum = |x, y| hash(a, 1, x).wrapping_add(hash(a, 2, y));
        assert_ne!(sum(1, 2), sum(2, 1));
    }

    #[test]
    fn the_root_covers_context_and_live_dots() {
        let replica = ReplicaId::from_bytes([1; 16]);
        let one = context_hash(&[Dot::new(replica, 1)].into_iter().collect());
        let two = context_hash(&[1, 2].map(|at| Dot::new(replica, at)).into_iter().collect());
        let live = Total { hash: 7, count: 1 };
        assert_ne!(Root::of(one, live), Root::of(two, live));
        assert_ne!(Root::of(one, live), Root::of(one, Total { hash: 8, count: 1 }));
        assert_ne!(Root::of(one, live), Root::of(one, Total { hash: 7, count: 2 }));
    }
}
