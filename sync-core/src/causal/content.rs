//! The hash of what a live dot says, but for which dot it is: `docs/protocol.md`, "Hashes".
//!
//! Each 16 bytes take one multiplication to 128 bits that is folded (Wang Yi, *wyhash*, 2019). It finds
//! differences between parties that do not cheat; it is no proof against others.

use super::fingerprints::ODD;

/// Hashes bytes under a seed.
#[inline]
pub(super) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ODD[0]);
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk() {
        let (low, high) = words(block);
        state = fold(low ^ ODD[0], high ^ state);
        rest = behind;
    }
    let (low, high) = match rest.split_first_chunk() {
        Some((low, high)) => (u64::from_le_bytes(*low), word(high)),
        None => (word(rest), 0),
    };
    fold(low ^ ODD[1], high ^ state)
}

/// As [`hash`], of just 16 bytes, as most ids have.
#[inline]
pub(super) fn hash_of_block(block: &[u8; 16], seed: u64) -> u64 {
    let (low, high) = words(block);
    let state = fold(low ^ ODD[0], high ^ seed ^ ODD[0].wrapping_mul(16));
    fold(ODD[1], state)
}

/// Both halves of a product, one laid over the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

/// 16 bytes as two numbers, the lowest first.
#[inline]
fn words(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    (both as u64, (both >> 64) as u64)
}

/// Up to 8 bytes as a number, the lowest first.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // Bytes that stand in both are laid over themselves.
        let high = u64::from(u32::from_le_bytes(*high)) << ((8 * (len - 4)) & 63);
        return u64::from(u32::from_le_bytes(*low)) | high;
    }
    let byte = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0)) << (8 * at);
    match len {
        0 => 0,
        1 => byte(0),
        _ => byte(0) | byte(1) | byte(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The same, said as the protocol says it.
    fn plain(bytes: &[u8], seed: u64) -> u64 {
        let mixed = |low: u64, high: u64| {
            let product = u128::from(low) * u128::from(high);
            (product % (1 << 64)) as u64 ^ (product / (1 << 64)) as u64
        };
        let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ODD[0]);
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            state = mixed(number(&block[..8]) ^ ODD[0], number(&block[8..]) ^ state);
        }
        let rest = blocks.remainder();
        let (low, high) = rest.split_at(rest.len().min(8));
        mixed(number(low) ^ ODD[1], number(high) ^ state)
    }

    #[test]
    fn bytes_of_every_length_are_hashed_as_the_protocol_says() {
        let bytes: Vec<u8> = (0..70u8).map(|at| at.wrapping_mul(37) | 0x11).collect();
        for len in 0..bytes.len() {
            for seed in [0, 1, u64::MAX] {
                assert_eq!(hash(&bytes[..len], seed), plain(&bytes[..len], seed), "{len} bytes");
                if let Ok(block) = bytes[..len].try_into() {
                    assert_eq!(hash_of_block(block, seed), plain(block, seed));
                }
            }
        }
    }
}
