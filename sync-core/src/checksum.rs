//! CRC-32 (IEEE), over frames and over what is stored: it finds damage, and keeps nobody out.
//!
//! Native builds use `crc32fast`, at the speed of memory. Its tables are 16 KB that do not compress, so
//! the module for browsers has one of 64 bytes.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The checksum of some bytes.
#[must_use]
#[cfg(not(target_arch = "wasm32"))]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The checksum of some bytes.
#[must_use]
#[cfg(target_arch = "wasm32")]
pub fn crc32(bytes: &[u8]) -> u32 {
    small(bytes)
}

/// The hash of some bytes (XXH3). In the module for browsers all seeds share one function.
#[inline]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    if cfg!(target_arch = "wasm32") { xxh3_64_with_seed(bytes, 0) } else { xxh3_64(bytes) }
}

#[cfg(any(test, target_arch = "wasm32"))]
fn small(bytes: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 4 ^ TABLE[(crc & 15) as usize];
    !bytes.iter().fold(u32::MAX, |crc, byte| step(step(crc ^ u32::from(*byte))))
}

/// What four steps of the division do to each half of a byte.
#[cfg(any(test, target_arch = "wasm32"))]
static TABLE: [u32; 16] = {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut table = [0; 16];
    let mut at = 0;
    while at < table.len() {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{crc32, small, xxh3_64, xxh3_64_with_seed};
    use proptest::prelude::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(small(b"123456789"), 0xcbf4_3926);
        assert_eq!(small(b""), crc32(b""));
    }

    proptest! {
        #[test]
        fn both_ways_agree(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(small(&bytes), crc32(&bytes));
            prop_assert_eq!(xxh3_64_with_seed(&bytes, 0), xxh3_64(&bytes));
        }
    }
}
