//! Frames: the parts of a snapshot, each with a checksum, compressed or not.

use std::borrow::Cow;

use super::column::{Column, Layout, SHORT};
#[cfg(feature = "deflate")]
use super::deflate::Compressor;
use super::{Compression, FRAME_BYTES_MAX, INFLATION_MAX, form};
use crate::causal::check_len;
use crate::error::Malformed;
use crate::pack::varint;

/// What compresses, if anything does.
pub(super) enum Packer {
    /// Leaves everything as it is.
    None,
    /// Compresses.
    #[cfg(feature = "deflate")]
    Deflate(Compressor),
}

impl Packer {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            #[cfg(feature = "deflate")]
            Compression::Deflate => Self::Deflate(Compressor::default()),
        }
    }

    /// How a column is to stand.
    pub(super) fn layout(&mut self, _column: &Column) -> Layout {
        match self {
            Self::None => Layout::Here,
            #[cfg(feature = "deflate")]
            Self::Deflate(compressor) => compressor.layout(_column),
        }
    }

    fn pack(&mut self, _columns: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            #[cfg(feature = "deflate")]
            Self::Deflate(compressor) => compressor.deflate(_columns),
        }
    }
}

/// Appends a frame: how the columns stand, how many bytes they are and take, how many stand aside, the
/// checksum of what follows, and that.
pub(super) fn write(
    out: &mut Vec<u8>,
    columns: &[Cow<'_, [u8]>],
    aside: &[Cow<'_, [u8]>],
    packer: &mut Packer,
) {
    let len_of = |pieces: &[Cow<'_, [u8]>]| pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let packed = packer.pack(columns).map(Cow::Owned);
    let pieces = packed.as_ref().map_or(columns, std::slice::from_ref);
    out.push(if packed.is_some() { form::DEFLATE } else { form::PLAIN });
    varint::write(out, len_of(columns) as u64);
    if packed.is_some() {
        varint::write(out, len_of(pieces) as u64);
    }
    varint::write(out, len_of(aside) as u64);
    let start = out.len();
    out.reserve(4 + len_of(pieces) + len_of(aside));
    out.extend_from_slice(&[0; 4]);
    pieces.iter().chain(aside).for_each(|piece| out.extend_from_slice(piece));
    let checksum = crate::checksum::crc32(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// The columns as they were before compression, and what stands aside.
pub(super) type Parts<'a> = (Cow<'a, [u8]>, &'a [u8]);

/// Takes a frame off the front. No more bytes are made of it than are left of the limit.
pub(super) fn take<'a>(rest: &mut &'a [u8], left: &mut usize) -> Result<Parts<'a>, Malformed> {
    let (form, behind) = rest.split_first().ok_or(SHORT)?;
    *rest = behind;
    let raw = take_len(rest)?;
    let len = match *form {
        form::PLAIN => raw,
        form::DEFLATE => take_len(rest)?,
        _ => return Err(Malformed::Encoding { detail: "a frame of an unknown form" }),
    };
    let aside = take_len(rest)?;
    let (whole, stored) = (raw.saturating_add(aside), len.saturating_add(aside));
    check_len("a frame of a snapshot", whole, (*left).min(FRAME_BYTES_MAX))?;
    *left -= whole;
    let (checksum, behind) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
    let (bytes, behind) = behind.split_at_checked(stored).ok_or(SHORT)?;
    *rest = behind;
    let (expected, found) = (u32::from_le_bytes(*checksum), crate::checksum::crc32(bytes));
    if expected != found {
        return Err(Malformed::Checksum { expected, found });
    }
    let (columns, aside) = bytes.split_at(len);
    if *form == form::PLAIN {
        return Ok((columns.into(), aside));
    }
    if raw / INFLATION_MAX > len {
        return Err(Malformed::Encoding { detail: "a frame is not compressed as it says" });
    }
    Ok((inflate(columns, raw)?.into(), aside))
}

fn take_len(rest: &mut &[u8]) -> Result<usize, Malformed> {
    Ok(usize::try_from(varint::read(rest)?).unwrap_or(usize::MAX))
}

#[cfg(feature = "deflate")]
fn inflate(bytes: &[u8], raw: usize) -> Result<Vec<u8>, Malformed> {
    let inflated = crate::deflate::inflate(bytes, raw);
    inflated.ok_or(Malformed::Encoding { detail: "a frame is not compressed as it says" })
}

#[cfg(not(feature = "deflate"))]
fn inflate(_bytes: &[u8], _raw: usize) -> Result<Vec<u8>, Malformed> {
    Err(Malformed::Encoding { detail: "a frame is compressed, which is not built in" })
}
