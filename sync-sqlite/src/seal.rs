//! Checksums of rows: SQLite does not notice a flipped bit inside a row.

use thiserror::Error;

/// The bytes of a row do not match their checksum: the disk or the file was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a stored row does not match its checksum; the file or the disk is damaged")]
pub struct BrokenSeal;

/// How many bytes a checksum adds to a row.
pub const SEAL_BYTES: usize = 4;

/// Appends the CRC-32 of the bytes, in little-endian order.
#[must_use]
pub fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(bytes.len() + SEAL_BYTES);
    sealed.extend_from_slice(bytes);
    add_seal(&mut sealed, 0);
    sealed
}

/// Makes of the bytes from an offset on what [`seal`] gives.
///
/// # Panics
///
/// When the offset is beyond the end.
pub fn add_seal(bytes: &mut Vec<u8>, from: usize) {
    bytes.extend_from_slice(&crc32fast::hash(&bytes[from..]).to_le_bytes());
}

/// Checks what [`seal`] wrote and gives the bytes.
pub fn unseal(sealed: &[u8]) -> Result<&[u8], BrokenSeal> {
    let (bytes, checksum) = sealed.split_last_chunk::<SEAL_BYTES>().ok_or(BrokenSeal)?;
    if u32::from_le_bytes(*checksum) == crc32fast::hash(bytes) {
        Ok(bytes)
    } else {
        Err(BrokenSeal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let sealed = seal(b"a row of some bytes");
        assert_eq!(unseal(&sealed), Ok(&b"a row of some bytes"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut broken = sealed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&broken), Err(BrokenSeal), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..len]), Err(BrokenSeal), "cut to {len} bytes");
        }
    }

    #[test]
    fn what_follows_other_bytes_is_sealed_as_alone() {
        let mut bytes = b"before".to_vec();
        bytes.extend_from_slice(b"a row");
        add_seal(&mut bytes, 6);
        assert_eq!(bytes, [&b"before"[..], &seal(b"a row")].concat());
    }

    #[test]
    fn nothing_can_be_sealed() {
        assert_eq!(unseal(&seal(&[])), Ok(&[][..]));
    }
}
