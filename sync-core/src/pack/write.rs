//! Writing: one function for each type, each to the end of some bytes.
//!
//! A length beyond 32 bits has no form. It is written as the longest there is, and the bytes that
//! follow are over every limit anyway.

use super::marker;

/// Writes that there is nothing.
pub fn nil(out: &mut Vec<u8>) {
    out.push(marker::NIL);
}

/// Writes true or false.
pub fn bool(out: &mut Vec<u8>, truth: bool) {
    out.push(if truth { marker::TRUE } else { marker::FALSE });
}

/// Writes a whole number that is not negative.
#[inline]
pub fn uint(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(small) if small < marker::FIX_MAP => out.push(small),
        _ => wide(out, number),
    }
}

#[inline(never)]
fn wide(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0xff => sized::<1>(out, marker::U_8, number),
        0x100..=0xffff => sized::<2>(out, marker::U_16, number),
        0x1_0000..=0xffff_ffff => sized::<4>(out, marker::U_32, number),
        0x1_0000_0000.. => sized::<8>(out, marker::U_64, number),
    }
}

/// Writes a whole number.
pub fn int(out: &mut Vec<u8>, number: i64) {
    let bits = number.cast_unsigned();
    match number {
        0.. => uint(out, bits),
        -0x20..0 => sized::<0>(out, bits.to_be_bytes()[7], bits),
        -0x80..-0x20 => sized::<1>(out, marker::I_8, bits),
        -0x8000..-0x80 => sized::<2>(out, marker::I_16, bits),
        -0x8000_0000..-0x8000 => sized::<4>(out, marker::I_32, bits),
        ..-0x8000_0000 => sized::<8>(out, marker::I_64, bits),
    }
}

/// Writes a floating-point number of 64 bits. Every NaN is the same one.
pub fn float(out: &mut Vec<u8>, number: f64) {
    let number = if number.is_nan() { f64::NAN } else { number };
    sized::<8>(out, marker::F_64, number.to_bits());
}

/// Writes text.
pub fn str(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..0x20 => fix(out, marker::FIX_STR, len),
        len @ 0x20..=0xff => sized::<1>(out, marker::STR_8, len as u64),
        len @ 0x100..=0xffff => sized::<2>(out, marker::STR_16, len as u64),
        len => long(out, marker::STR_32, len),
    }
    out.extend_from_slice(text.as_bytes());
}

/// Writes bytes.
pub fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        len @ 0..=0xff => sized::<1>(out, marker::BIN_8, len as u64),
        len @ 0x100..=0xffff => sized::<2>(out, marker::BIN_16, len as u64),
        len => long(out, marker::BIN_32, len),
    }
    out.extend_from_slice(bytes);
}

/// Starts an array: its items follow.
pub fn array(out: &mut Vec<u8>, len: usize) {
    match len {
        0..0x10 => fix(out, marker::FIX_ARRAY, len),
        0x10..=0xffff => sized::<2>(out, marker::ARRAY_16, len as u64),
        _ => long(out, marker::ARRAY_32, len),
    }
}

/// Starts a map: for each of its items a key and a value follow.
pub fn map(out: &mut Vec<u8>, len: usize) {
    match len {
        0..0x10 => fix(out, marker::FIX_MAP, len),
        0x10..=0xffff => sized::<2>(out, marker::MAP_16, len as u64),
        _ => long(out, marker::MAP_32, len),
    }
}

/// A marker that holds a small length.
fn fix(out: &mut Vec<u8>, marker: u8, len: usize) {
    out.push(marker | len.to_be_bytes()[size_of::<usize>() - 1]);
}

/// A marker, and a length of 32 bits.
fn long(out: &mut Vec<u8>, marker: u8, len: usize) {
    sized::<4>(out, marker, u32::try_from(len).unwrap_or(u32::MAX).into());
}

/// A marker, and the last `N` bytes of a number.
fn sized<const N: usize>(out: &mut Vec<u8>, marker: u8, number: u64) {
    out.push(marker);
    out.extend_from_slice(&number.to_be_bytes()[8 - N..]);
}
