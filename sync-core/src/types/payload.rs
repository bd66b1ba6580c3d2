//! The bytes of headers and slots.
//!
//! A header says where its slots belong and when they were written; a slot says what one dot stands
//! for. Both are MessagePack arrays, with new items only at the end.

use serde_bytes::ByteBuf;
use std::fmt;

use super::Value;
use crate::causal::Dot;
use crate::error::{Malformed, Misuse};
use crate::pack::{self, Reader};
use crate::time::Stamp;

/// The most bytes of a name or a record id. Arbitrary.
pub const NAME_BYTES_MAX: usize = 128;

/// Names a record within its collection: a UUID, or any short text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(String);

impl RecordId {
    /// Takes a text of 1 to 128 bytes without control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, Misuse> {
        let text = text.into();
        check_name("a record id", &text)?;
        Ok(Self(text))
    }

    /// Makes a UUID of version 7 (RFC 9562), so that ids order by time.
    #[must_use]
    pub fn from_time(now_ms: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(uuid_text(bytes))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn uuid_text(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|byte| *byte != b'-');
    let mut digit = || match digits.next()? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digit()? << 4 | digit()?;
    }
    (uuid_text(bytes) == text).then_some(bytes)
}

/// Refuses a name that is empty, too long, or holds control characters.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Misuse> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Misuse::BadName { what });
    }
    if name.len() > NAME_BYTES_MAX {
        let (found, limit) = (name.len() as u64, NAME_BYTES_MAX as u64);
        return Err(Misuse::TooLarge { what, found, limit });
    }
    Ok(())
}

/// Where an element belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A record of a collection.
    Record {
        /// The collection's name.
        collection: String,
        /// The record's id.
        id: RecordId,
    },
    /// A set of the document.
    Set {
        /// The set's name.
        name: String,
    },
}

/// What the slots of an entry share: when they were written, and where they belong. The note of a
/// removal has the same form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// When it was written, by the author's clock.
    pub stamp: Stamp,
    /// What it is about.
    pub place: Place,
}

const PLACE_RECORD_UUID: u8 = 0;
const PLACE_RECORD_TEXT: u8 = 1;
const PLACE_SET: u8 = 2;

impl Header {
    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> ByteBuf {
        let uuid;
        let (kind, name, id) = match &self.place {
            Place::Record { collection, id } => match uuid_bytes(id.as_str()) {
                Some(bytes) => {
                    uuid = bytes;
                    (PLACE_RECORD_UUID, collection, uuid.as_slice())
                }
                None => (PLACE_RECORD_TEXT, collection, id.as_str().as_bytes()),
            },
            Place::Set { name } => (PLACE_SET, name, [].as_slice()),
        };
        let mut out = Vec::with_capacity(32 + name.len() + id.len());
        pack::array(&mut out, 5);
        pack::uint(&mut out, self.stamp.ms);
        pack::uint(&mut out, self.stamp.logical.into());
        pack::uint(&mut out, kind.into());
        pack::str(&mut out, name);
        pack::bytes(&mut out, id);
        ByteBuf::from(out)
    }

    /// Reads a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let beyond = reader.at_least(5)?;
        let stamp = Stamp { ms: reader.uint()?, logical: reader.narrow()? };
        let kind: u8 = reader.narrow()?;
        let (name, id) = (reader.str()?, reader.bytes()?);
        reader.skip_all(beyond)?;
        reader.end()?;
        let broken = || Malformed::Inconsistent { what: "a header names a record or a set" };
        check_name("a name", name).map_err(|_| broken())?;
        let id = match kind {
            PLACE_RECORD_UUID => Some(RecordId(uuid_text(id.try_into().map_err(|_| broken())?))),
            PLACE_RECORD_TEXT => {
                let text = std::str::from_utf8(id).map_err(|_| broken())?;
                Some(RecordId::new(text).map_err(|_| broken())?)
            }
            PLACE_SET => None,
            _ => return Err(broken()),
        };
        let name = name.to_owned();
        let place = match id {
            Some(id) => Place::Record { collection: name, id },
            None => Place::Set { name },
        };
        Ok(Self { stamp, place })
    }
}

/// What one dot stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// What it says.
    pub kind: Kind,
    /// Set when the element was asserted again after a delete met an edit.
    pub copy: Option<CopyOf>,
}

/// What an element says of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The record exists.
    Exists,
    /// A register of the record holds a value.
    Field {
        /// The field's name.
        name: String,
        /// Its value.
        value: Value,
    },
    /// A set field of the record, or the set itself, has a member.
    Member {
        /// The field's name; empty where the place is the set.
        name: String,
        /// The member.
        value: Value,
    },
}

/// Where a copied element comes from, and what it was copied for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOf {
    /// The dot of the element as it was first written.
    pub origin: Dot,
    /// When it was first written.
    pub stamp: Stamp,
    /// The edit that was left without its record.
    pub edit: Dot,
    /// The removal that took the record, where it is known.
    pub removal: Option<Dot>,
}

const KIND_EXISTS: u8 = 0;
const KIND_FIELD: u8 = 1;
const KIND_MEMBER: u8 = 2;

impl Element {
    /// Writes the slot.
    #[must_use]
    pub fn encode(&self) -> ByteBuf {
        let (kind, name, value) = match &self.kind {
            Kind::Exists => (KIND_EXISTS, "", &Value::Null),
            Kind::Field { name, value } => (KIND_FIELD, name.as_str(), value),
            Kind::Member { name, value } => (KIND_MEMBER, name.as_str(), value),
        };
        let len = match (&self.kind, &self.copy) {
            (_, Some(_)) => 4,
            (Kind::Exists, None) => 1,
            (Kind::Field { .. } | Kind::Member { .. }, None) => 3,
        };
        let mut out = Vec::new();
        pack::array(&mut out, len);
        pack::uint(&mut out, kind.into());
        if len > 1 {
            pack::str(&mut out, name);
            value.encode_into(&mut out);
        }
        if let Some(copy) = &self.copy {
            copy.encode_into(&mut out);
        }
        ByteBuf::from(out)
    }

    /// Reads a slot.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let len = reader.at_least(1)?;
        let kind: u8 = reader.narrow()?;
        let name = if len > 0 { reader.str()?.to_owned() } else { String::new() };
        let value = if len > 1 { Value::decode(&mut reader)? } else { Value::Null };
        let copy = if len > 2 { reader.option(CopyOf::decode)? } else { None };
        reader.skip_all(len.saturating_sub(3))?;
        reader.end()?;
        let kind = match kind {
            KIND_EXISTS => Kind::Exists,
            KIND_FIELD => Kind::Field { name, value },
            KIND_MEMBER => Kind::Member { name, value },
            _ => return Err(Malformed::Inconsistent { what: "a slot is of a known kind" }),
        };
        Ok(Self { kind, copy })
    }
}

impl CopyOf {
    fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 4);
        self.origin.encode_into(out);
        self.stamp.encode_into(out);
        self.edit.encode_into(out);
        match &self.removal {
            Some(removal) => removal.encode_into(out),
            None => pack::nil(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(4)?;
        Ok(Self {
            origin: Dot::decode(reader)?,
            stamp: Stamp::decode(reader)?,
            edit: Dot::decode(reader)?,
            removal: reader.option(Dot::decode)?,
        })
    }
}

impl Stamp {
    /// Writes the stamp to the end of some bytes.
    pub(crate) fn encode_into(self, out: &mut Vec<u8>) {
        pack::array(out, 2);
        pack::uint(out, self.ms);
        pack::uint(out, self.logical.into());
    }

    /// Reads a stamp.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(2)?;
        Ok(Self { ms: reader.uint()?, logical: reader.narrow()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::ReplicaId;

    #[test]
    fn headers_round_trip() {
        let stamp = Stamp { ms: 1_700_000_000_000, logical: 3 };
        let uuid = RecordId::from_time(1_700_000_000_000, [9; 10]);
        assert_eq!(uuid.as_str().len(), 36);
        for place in [
            Place::Record { collection: "notes".into(), id: uuid },
            Place::Record { collection: "notes".into(), id: RecordId::new("settings").unwrap() },
            Place::Set { name: "favourites".into() },
        ] {
            let header = Header { stamp, place };
            assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        }
    }

    #[test]
    fn slots_round_trip() {
        let dot = Dot::new(ReplicaId::from_bytes([7; 16]), 300);
        let copy = CopyOf { origin: dot, stamp: Stamp::default(), edit: dot, removal: Some(dot) };
        for copy in [None, Some(copy), Some(CopyOf { removal: None, ..copy })] {
            for kind in [
                Kind::Exists,
                Kind::Field { name: "title".into(), value: Value::Null },
                Kind::Field { name: "title".into(), value: "x".into() },
                Kind::Member { name: String::new(), value: Value::Bytes(vec![1, 2]) },
            ] {
                let element = Element { kind, copy };
                assert_eq!(Element::decode(&element.encode()).unwrap(), element);
            }
        }
    }

    #[test]
    fn only_canonical_uuids_are_packed() {
        for text in
            ["0190163D-8694-739B-AEA5-966C26F8AD91", "0190163d8694739baea5966c26f8ad91", "x"]
        {
            assert_eq!(uuid_bytes(text), None);
        }
        assert!(uuid_bytes("0190163d-8694-739b-aea5-966c26f8ad91").is_some());
    }
}
