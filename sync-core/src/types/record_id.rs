//! Record ids: UUIDs in 16 bytes, or short texts.

use std::fmt;

use super::name::check_name;
use crate::causal::PlaceId;
use crate::error::Misuse;
use crate::text::{push_hex, read_hex};

/// Names a record within its collection: a UUID, or any short text.
///
/// A UUID in its canonical form is kept as 16 bytes. Any other text is kept behind one zero byte, or
/// two where it would be taken for a UUID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId(PlaceId);

const UUID_BYTES: usize = 16;

impl RecordId {
    /// Takes a text of 1 to 128 bytes without control characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Misuse> {
        let text = text.as_ref();
        if let Some(uuid) = uuid_bytes(text) {
            return Ok(Self::from_uuid(uuid));
        }
        check_name("a record id", text)?;
        let zeros: &[u8] = if text.len() + 1 == UUID_BYTES { &[0, 0] } else { &[0] };
        Ok(Self(PlaceId::new(&[zeros, text.as_bytes()].concat())))
    }

    /// Takes the bytes of a UUID.
    #[must_use]
    pub fn from_uuid(uuid: [u8; UUID_BYTES]) -> Self {
        Self(PlaceId::new(&uuid))
    }

    /// Makes a UUID of version 7 (RFC 9562), so that ids order by time.
    #[must_use]
    pub fn from_time(now_ms: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; UUID_BYTES];
        bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self::from_uuid(bytes)
    }

    /// The id as text.
    #[must_use]
    pub fn text(&self) -> String {
        match (*self.0).try_into() {
            Ok(uuid) => uuid_text(uuid),
            Err(_) => text_of(&self.0).unwrap_or_default().to_owned(),
        }
    }

    /// The id as entries have it.
    #[must_use]
    pub fn as_place_id(&self) -> &PlaceId {
        &self.0
    }

    /// Reads what an entry has; none where no id is written so.
    #[inline]
    pub(crate) fn from_place_id(id: &PlaceId) -> Option<Self> {
        if id.len() == UUID_BYTES {
            return Some(Self(id.clone()));
        }
        let read = Self::new(text_of(id)?).ok()?;
        (read.0 == *id).then_some(read)
    }
}

fn text_of(id: &[u8]) -> Option<&str> {
    let [0, text @ ..] = id else { return None };
    let text = text.strip_prefix(&[0]).unwrap_or(text);
    std::str::from_utf8(text).ok()
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many bytes stand between the dashes of a UUID.
const PARTS: [usize; 5] = [4, 2, 2, 2, 6];

fn uuid_text(uuid: &[u8; UUID_BYTES]) -> String {
    let mut text = String::with_capacity(36);
    let mut rest = &uuid[..];
    for len in PARTS {
        if !text.is_empty() {
            text.push('-');
        }
        let (part, behind) = rest.split_at(len);
        push_hex(&mut text, part);
        rest = behind;
    }
    text
}

fn uuid_bytes(text: &str) -> Option<[u8; UUID_BYTES]> {
    let mut rest: &[u8] = <&[u8; 36]>::try_from(text.as_bytes()).ok()?;
    let mut uuid = [0; UUID_BYTES];
    let mut at = 0;
    for len in PARTS {
        if at > 0 {
            rest = rest.strip_prefix(b"-")?;
        }
        let (digits, behind) = rest.split_at(2 * len);
        read_hex(digits, &mut uuid[at..at + len])?;
        (rest, at) = (behind, at + len);
    }
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_text() {
        let uuid = "0190163d-8694-739b-aea5-966c26f8ad91";
        for text in [
            uuid,
            "0190163D-8694-739B-AEA5-966C26F8AD91",
            "0190163d8694739baea5966c26f8ad91",
            "0190163d-8694-739b-aea5-966c26f8ad9",
            "x",
            "fifteen letters",
            "sixteen letters!",
            "a longer text that does not fit beside its length",
        ] {
            let id = RecordId::new(text).unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(RecordId::from_place_id(id.as_place_id()), Some(id.clone()));
            assert_eq!(id.as_place_id().len() == 16, text == uuid, "{text}");
        }
        assert_eq!(RecordId::from_time(1_700_000_000_000, [9; 10]).to_string().len(), 36);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "a\nb", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(RecordId::new(text).is_err());
        }
        for bytes in [&[][..], b"abc", &[0], &[0, 0xff], &[0, 0, b'x']] {
            assert_eq!(RecordId::from_place_id(&PlaceId::new(bytes)), None, "{bytes:?}");
        }
    }

    use crate::types::NAME_BYTES_MAX;
}
