//! Compression by DEFLATE (RFC 1951), and what of a column is worth it.

use std::borrow::Cow;

use zlib_rs::{Deflate, DeflateFlush, Status};

use super::column::{Column, Layout, differences};
use crate::deflate::WINDOW_BITS;

/// How hard matches are looked for, of 9. Measured on records with a text of 200 bytes: the next level
/// costs half as much again, and its snapshots are 3 % smaller.
const LEVEL: i32 = 2;

/// How many bytes of a column are tried. Arbitrary.
const SAMPLE_BYTES: usize = 2 * 1024;

/// Below this a column is not tried: little would be gained. Arbitrary.
const TRIED_BYTES_MIN: usize = 1024;

/// How many compressed bytes come in one go. Arbitrary.
const CHUNK_BYTES: usize = 64 * 1024;

/// What compresses one thing after another.
pub(super) struct Compressor {
    deflate: Deflate,
    chunk: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { deflate: Deflate::new(LEVEL, false, WINDOW_BITS), chunk: vec![0; CHUNK_BYTES] }
    }
}

impl Compressor {
    /// Compresses pieces as one, where that makes them smaller.
    pub(super) fn deflate(&mut self, pieces: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut packed = Vec::with_capacity(len / 2);
        self.deflate.reset();
        for piece in pieces {
            self.feed(piece, DeflateFlush::NoFlush, &mut packed)?;
        }
        self.feed(&[], DeflateFlush::Finish, &mut packed)?;
        (packed.len() < len).then_some(packed)
    }

    fn feed(&mut self, bytes: &[u8], flush: DeflateFlush, packed: &mut Vec<u8>) -> Option<()> {
        let mut rest = bytes;
        loop {
            let (taken, made) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.compress(rest, &mut self.chunk, flush).ok()?;
            rest = rest.get(usize::try_from(self.deflate.total_in() - taken).ok()?..)?;
            let made = usize::try_from(self.deflate.total_out() - made).ok()?;
            packed.extend_from_slice(&self.chunk[..made]);
            // Output that did not fill the chunk is all that there is for now.
            if status == Status::StreamEnd || (rest.is_empty() && made < self.chunk.len()) {
                return Some(());
            }
        }
    }

    /// The layout in which a column becomes smallest, as its first values tell.
    pub(super) fn layout(&mut self, column: &Column) -> Layout {
        if column.bytes.len() < TRIED_BYTES_MIN {
            return Layout::Here;
        }
        let len = column.number_len().unwrap_or(1);
        let end = column.bytes.len().min(SAMPLE_BYTES);
        let sample = &column.bytes[..end - end % len];
        let here = self.len_of(sample);
        // Numbers in any order have bytes in common, or none that a difference has.
        if here < sample.len() && len > 1 {
            let planes = differences(sample, len);
            let aside = random_planes(&planes, sample.len() / len);
            let (planes, random) = planes.split_at(planes.len() - aside * (sample.len() / len));
            if is_worth_it(self.len_of(planes) + random.len(), here) {
                return Layout::Differences { aside };
            }
        }
        if is_worth_it(here, sample.len()) {
            return Layout::Here;
        }
        column.without_fixed_bits().unwrap_or(Layout::Aside)
    }

    fn len_of(&mut self, bytes: &[u8]) -> usize {
        self.deflate(&[bytes.into()]).map_or(bytes.len(), |packed| packed.len())
    }
}

/// Whether something is smaller by more than chance, and by more than columns lose by being apart.
fn is_worth_it(packed: usize, of: usize) -> bool {
    packed < of - of / 16
}

/// How many of the last planes have half as many different bytes as they could have. By chance there are
/// more (of 128 numbers 79 % on average, of 256 and more at least 63 %).
fn random_planes(planes: &[u8], count: usize) -> usize {
    let is_random = |plane: &&[u8]| {
        let mut seen = [false; 256];
        plane.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        2 * seen.iter().filter(|is_seen| **is_seen).count() > count.min(256)
    };
    planes.rchunks_exact(count).take_while(is_random).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_tried_from_so_many_bytes_on() {
        let mut compressor = Compressor::default();
        for (len, layout) in [
            (TRIED_BYTES_MIN - 1, Layout::Here),
            (TRIED_BYTES_MIN, Layout::Aside),
            (TRIED_BYTES_MIN + 1, Layout::Aside),
        ] {
            // No two of its values are of one length, and nothing in it repeats.
            let mut state = 1u64;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            let bytes: Vec<u8> = (0..len).map(|_| next()).collect();
            let mut column = Column::default();
            column.push(&bytes[..1]);
            column.push(&bytes[1..]);
            assert_eq!(compressor.layout(&column), layout, "{len}");
        }
    }
}
