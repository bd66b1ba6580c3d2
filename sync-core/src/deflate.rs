//! DEFLATE (RFC 1951) of one buffer into another.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// The window, as a power of two: the largest of the format.
pub(crate) const WINDOW_BITS: u8 = 15;

/// The smallest window that there is.
const WINDOW_BITS_MIN: u8 = 9;

/// Compresses bytes, where they take at most so many then. The level is from 1, fast, to 9.
pub(crate) fn deflate(bytes: &[u8], level: i32, bytes_max: usize) -> Option<Vec<u8>> {
    // A window beyond the bytes costs memory, and finds nothing.
    let window = bytes.len().checked_ilog2().map_or(0, |bits| bits as u8 + 1);
    let window = window.clamp(WINDOW_BITS_MIN, WINDOW_BITS);
    let mut deflate = Deflate::new(level, false, window);
    let mut packed = vec![0; bytes_max];
    let status = deflate.compress(bytes, &mut packed, DeflateFlush::Finish).ok()?;
    packed.truncate(usize::try_from(deflate.total_out()).ok()?);
    (status == Status::StreamEnd).then_some(packed)
}

/// Gives what was compressed, if it is of this length and is all that there is.
pub(crate) fn inflate(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut raw = vec![0; len];
    let mut inflate = Inflate::new(false, WINDOW_BITS);
    let status = inflate.decompress(bytes, &mut raw, InflateFlush::Finish).ok()?;
    let is_all =
        inflate.total_in() == bytes.len() as u64 && inflate.total_out() == raw.len() as u64;
    (status == Status::StreamEnd && is_all).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back_whatever_window_they_ask_for() {
        // Below, at and above the smallest window and the largest one.
        let edges = [1 << (WINDOW_BITS_MIN - 1), 1 << WINDOW_BITS_MIN, 1 << WINDOW_BITS];
        let lens = edges.into_iter().flat_map(|len: usize| [len - 1, len, len + 1]);
        for len in [0, 1, 2].into_iter().chain(lens) {
            let bytes: Vec<u8> = (0..len).map(|at| (at * at / 7) as u8).collect();
            let packed = deflate(&bytes, 6, 2 * len + 64).expect("it fits");
            assert_eq!(inflate(&packed, len).as_ref(), Some(&bytes), "{len}");
        }
    }
}
