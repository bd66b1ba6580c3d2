//! Whole numbers of variable length (LEB128, as in DWARF 4, 7.6): seven bits a byte, the lowest first.
//! A number has one encoding; longer ones are refused.

use crate::error::Malformed;

/// Appends a number.
#[inline]
pub fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a number over just as many bytes as it takes.
#[inline]
pub(crate) fn put(out: &mut [u8], mut number: u64) {
    let Some((last, out)) = out.split_last_mut() else { return };
    for byte in out {
        *byte = number as u8 | 0x80;
        number >>= 7;
    }
    *last = number as u8;
}

/// How many bytes a number takes.
#[inline]
#[must_use]
pub const fn len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Takes a number off the front.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    match *bytes {
        [byte @ 0..0x80, rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(*byte))
        }
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let broken =
        Malformed::Inconsistent { what: "a number has at most 64 bits, and its shortest form" };
    let (mut number, mut shift) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            // The tenth byte has one bit left, and no number ends in zeros.
            if (shift == 63 && *byte > 1) || (*byte == 0 && shift > 0) {
                break;
            }
            *bytes = &bytes[at + 1..];
            return Ok(number);
        }
        shift += 7;
        if shift > 63 {
            break;
        }
    }
    Err(broken)
}

/// Folds the sign of a difference into the lowest bit, so that small ones are short either way.
#[inline]
#[must_use]
pub const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
#[inline]
#[must_use]
pub const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            prop_assert_eq!(bytes.len(), len(number));
            let mut over = vec![0; len(number)];
            put(&mut over, number);
            prop_assert_eq!(&over, &bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(read(&mut rest), Ok(number));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(unzigzag(zigzag(number.cast_signed())), number.cast_signed());
            prop_assert!(read(&mut &bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn other_encodings_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0], &[0xff; 10], &[0x80; 11]] {
            assert!(read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
        let mut largest = vec![0xff; 9];
        largest.push(1);
        assert_eq!(read(&mut &largest[..]), Ok(u64::MAX));
    }
}
