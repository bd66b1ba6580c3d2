//! Whole numbers of variable length (LEB128, as in DWARF 4, 7.6): seven bits a byte, the lowest first.
//! A number has one encoding; longer ones are refused.

use crate::error::Malformed;

/// Appends a number.
#[inline]
pub fn write(out: &mut Vec<u8>, number: u64) {
    match number {
        ..0x80 => out.push(number as u8),
        0x80..0x4000 => out.extend_from_slice(&[number as u8 | 0x80, (number >> 7) as u8]),
        _ => write_long(out, number),
    }
}

#[inline(never)]
fn write_long(out: &mut Vec<u8>, number: u64) {
    let end = out.len() + len(number);
    out.extend_from_slice(&long(number));
    out.truncate(end);
}

/// A number that takes more than one byte, and zeros behind it.
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub(crate) fn long(number: u64) -> [u8; LEN_MAX] {
    let len = len(number);
    let more = MORE & (u64::MAX >> (64 - 8 * (len - 1).min(8)));
    let mut bytes = [0; LEN_MAX];
    bytes[..8].copy_from_slice(&(spread(number) | more).to_le_bytes());
    bytes[8] = (number >> 56) as u8 & 0x7f | if len > 9 { 0x80 } else { 0 };
    bytes[9] = (number >> 63) as u8;
    bytes
}

/// The most bytes of a number.
pub(crate) const LEN_MAX: usize = 10;

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
    let bits = u64::BITS - (number | 1).leading_zeros();
    // A seventh, rounded up: what 9 64ths are for all numbers up to 64.
    if crate::small::HAS_SHORTCUTS {
        (bits * 9 + 64) as usize / 64
    } else {
        bits.div_ceil(7) as usize
    }
}

/// Takes a number off the front.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    take(bytes).ok_or(BROKEN)
}

/// As [`read`], for where each instruction counts: says no more than that there is none.
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    match *bytes {
        [byte @ 0..0x80, rest @ ..] => {
            *bytes = rest;
            Some(u64::from(*byte))
        }
        [low, high @ 1..0x80, rest @ ..] => {
            *bytes = rest;
            Some(u64::from(*low & 0x7f) | u64::from(*high) << 7)
        }
        long => {
            let is_quick = crate::small::HAS_SHORTCUTS;
            let (number, len) = if is_quick { long_at(long) } else { each_at(long, 0, 0) };
            *bytes = long.get(len..)?;
            if len > 0 { Some(number) } else { None }
        }
    }
}

const BROKEN: Malformed =
    Malformed::Inconsistent { what: "a number has at most 64 bits, and its shortest form" };

/// The highest bit of each of eight bytes.
const MORE: u64 = 0x8080_8080_8080_8080;

/// A number and how many bytes it takes; none where there is none.
#[inline(never)]
fn long_at(bytes: &[u8]) -> (u64, usize) {
    let Some(first) = bytes.first_chunk::<8>() else { return each_at(bytes, 0, 0) };
    let word = u64::from_le_bytes(*first);
    let ends = !word & MORE;
    if ends == 0 {
        return each_at(bytes, 8, packed(word));
    }
    // Everything up to the first byte that ends a number.
    let own = word & (ends ^ (ends - 1));
    let len = ends.trailing_zeros() as usize / 8 + 1;
    // No number ends in zeros.
    let is_right = own >> (8 * (len - 1)) != 0;
    (packed(own), if is_right { len } else { 0 })
}

/// As [`long_at`], where so many bytes of the number are read.
#[inline(never)]
fn each_at(bytes: &[u8], read: usize, number: u64) -> (u64, usize) {
    let (mut number, mut shift) = (number, 7 * read);
    for (at, byte) in (read..).zip(bytes.get(read..).unwrap_or_default()) {
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            // The tenth byte has one bit left, and no number ends in zeros.
            if (shift == 63 && *byte > 1) || (*byte == 0 && shift > 0) {
                break;
            }
            return (number, at + 1);
        }
        shift += 7;
        if shift > 63 {
            break;
        }
    }
    (0, 0)
}

/// The lower seven bits of eight bytes, one behind the other.
#[inline]
const fn packed(bytes: u64) -> u64 {
    let pairs = (bytes & 0x007f_007f_007f_007f) | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// Undoes [`packed`], for the lower 56 bits.
#[inline]
const fn spread(number: u64) -> u64 {
    let fours = (number & 0x0fff_ffff) | (number & 0x00ff_ffff_f000_0000) << 4;
    let pairs = (fours & 0x0000_3fff_0000_3fff) | (fours & 0x0fff_c000_0fff_c000) << 2;
    (pairs & 0x007f_007f_007f_007f) | (pairs & 0x3f80_3f80_3f80_3f80) << 1
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
