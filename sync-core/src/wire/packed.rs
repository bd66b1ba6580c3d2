//! Large frames compressed, between two that both said that they read such.
//!
//! A packed frame stands for itself: what was sent before is of no matter, so that one can be made once
//! for many readers, and by whoever has no more than a stream of DEFLATE (RFC 1951) at hand.

use super::PACKED_BYTES_MIN;
#[cfg(feature = "deflate")]
use super::{MESSAGE_BYTES_MAX, PACKED_TIMES_MAX, check_len, frame};
#[cfg(feature = "deflate")]
use crate::{error::Malformed, pack::Reader};

/// How hard a client looks for matches, of 9. Measured on a thousand changes of records: the last level
/// at which the bytes become fewer by more than 1 %.
#[cfg(feature = "deflate")]
const CLIENT_LEVEL: i32 = 6;

/// How hard a hub does, which has many clients. Measured on the same: half the time of level 6, and 2 %
/// more bytes.
#[cfg(feature = "deflate")]
const HUB_LEVEL: i32 = 2;

/// A packed frame is taken where it is smaller by this part of the frame. Arbitrary: less is not worth
/// unpacking it.
#[cfg(feature = "deflate")]
const GAIN: usize = 8;

/// From how many bytes on frames are packed, where the other side reads that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packing {
    bytes_min: Option<usize>,
}

impl Packing {
    /// Packs nothing, and reads nothing that is packed.
    pub const NONE: Self = Self { bytes_min: None };

    /// Packs frames of which one may expect that it pays; none where this is built without.
    pub const LARGE: Self = Self::from_bytes(PACKED_BYTES_MIN);

    /// Packs frames of at least so many bytes; none where this is built without.
    #[must_use]
    pub const fn from_bytes(bytes_min: usize) -> Self {
        Self { bytes_min: if cfg!(feature = "deflate") { Some(bytes_min) } else { None } }
    }

    /// Whether it packs at all.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.bytes_min.is_some()
    }

    /// Packs a frame with a delta, where that makes it smaller.
    #[must_use]
    pub fn pack(self, frame: Vec<u8>) -> Vec<u8> {
        match self.bytes_min {
            Some(bytes_min) if frame.len() >= bytes_min => packed(&frame).unwrap_or(frame),
            _ => frame,
        }
    }
}

#[cfg(feature = "deflate")]
fn packed(frame: &[u8]) -> Option<Vec<u8>> {
    let (kind, is_push) = frame::packed_kind(frame)?;
    let bytes_max = (frame.len() - frame.len() / GAIN).checked_sub(frame::PACKED_HEAD_BYTES_MAX)?;
    let level = if is_push { CLIENT_LEVEL } else { HUB_LEVEL };
    let bytes = crate::deflate::deflate(frame, level, bytes_max)?;
    let is_read = frame.len() <= bytes.len() * PACKED_TIMES_MAX;
    is_read.then(|| frame::encode_packed(kind, frame.len(), &bytes))
}

#[cfg(not(feature = "deflate"))]
fn packed(_frame: &[u8]) -> Option<Vec<u8>> {
    None
}

/// Gives the frame in the body of a packed one.
#[cfg(feature = "deflate")]
pub(super) fn unpack(body: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let beyond = body.at_least(2)?;
    let (len, bytes) = (usize::try_from(body.uint()?).unwrap_or(usize::MAX), body.bytes()?);
    let limit = MESSAGE_BYTES_MAX.min(bytes.len() * PACKED_TIMES_MAX);
    check_len("what a packed frame holds", len, limit)?;
    body.skip_all(beyond)?;
    body.end()?;
    let frame = crate::deflate::inflate(bytes, len);
    frame.ok_or(Malformed::Encoding { detail: "a frame is not packed as it says" })
}
