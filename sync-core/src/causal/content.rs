//! The hash of what a live dot says, but for which dot it is: `docs/protocol.md`, "Hashes".
//!
//! Each 16 bytes take one multiplication to 128 bits that is folded (Wang Yi, *wyhash*, 2019). It finds
//! differences between parties that do not cheat; it is no proof against others.

use super::fingerprints::ODD;

/// Hashes bytes under a seed.
#[inline]
pub(super) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ODD[0]);
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let (low, high) = words(block);
        state = fold(low ^ ODD[0], high ^ state);
    }
    let (low, high) = words(rest);
    fold(low ^ ODD[1], high ^ state)
}

/// Both halves of a product, one laid over the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

/// Up to 16 bytes as two numbers, the lowest first, with zeros behind them.
#[inline]
fn words(bytes: &[u8]) -> (u64, u64) {
    match bytes.split_first_chunk::<8>() {
        Some((low, high)) => (u64::from_le_bytes(*low), word(high)),
        None => (word(bytes), 0),
    }
}

/// Up to 8 bytes as a number, the lowest first.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match (bytes, bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (_, Some(low), Some(high)) => {
            // Bytes that stand in both are laid over themselves.
            let high = u64::from(u32::from_le_bytes(*high)) << ((8 * (bytes.len() - 4)) & 63);
            u64::from(u32::from_le_bytes(*low)) | high
        }
        ([a, b, c], ..) => u64::from(*a) | u64::from(*b) << 8 | u64::from(*c) << 16,
        ([a, b], ..) => u64::from(*a) | u64::from(*b) << 8,
        ([a], ..) => u64::from(*a),
        _ => 0,
    }
}
