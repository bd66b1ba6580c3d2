//! The only source of chance in a run: SplitMix64 (Steele, Lea, Flood, *Fast Splittable Pseudorandom
//! Number Generators*, 2014), so that a seed replays it.

/// A stream of random numbers from one seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts a stream.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts another stream, which draws nothing from this one. Streams with different names are
    /// independent, so that a change of one part of a run leaves the choices of the others as they
    /// were.
    #[must_use]
    pub fn stream(&self, name: u64) -> Self {
        let mut other = Self(self.0 ^ name.wrapping_mul(0xd1b5_4a32_d192_ed03));
        other.bits();
        other
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// A place in a sequence of this length, or 0 where it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number of a range, both ends included.
    pub fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }
}
