//! The bytes of headers and slots.
//!
//! A header says where its slots belong and when they were written; a slot says what one dot stands
//! for. Both are MessagePack arrays, with new items only at the end.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;

use super::Value;
use crate::causal::Dot;
use crate::error::{Malformed, Misuse};
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
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let hex: String = text.chars().filter(|char| *char != '-').collect();
    let bytes = u128::from_str_radix(&hex, 16).ok()?.to_be_bytes();
    (hex.len() == 32 && uuid_text(bytes) == text).then_some(bytes)
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
        let Stamp { ms, logical } = self.stamp;
        match &self.place {
            Place::Record { collection, id } => match uuid_bytes(id.as_str()) {
                Some(uuid) => pack(&(
                    ms,
                    logical,
                    PLACE_RECORD_UUID,
                    collection,
                    serde_bytes::Bytes::new(&uuid),
                )),
                None => {
                    let id = serde_bytes::Bytes::new(id.as_str().as_bytes());
                    pack(&(ms, logical, PLACE_RECORD_TEXT, collection, id))
                }
            },
            Place::Set { name } => {
                pack(&(ms, logical, PLACE_SET, name, serde_bytes::Bytes::new(&[])))
            }
        }
    }

    /// Reads a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (ms, logical, kind, name, id): (u64, u32, u8, String, ByteBuf) =
            unpack("header", bytes)?;
        let broken = || Malformed::Inconsistent { what: "a header names a record or a set" };
        check_name("a name", &name).map_err(|_| broken())?;
        let record = |text: String| RecordId::new(text).ok();
        let place = match kind {
            PLACE_RECORD_UUID => {
                let uuid = <[u8; 16]>::try_from(id.as_slice()).map_err(|_| broken())?;
                Place::Record { collection: name, id: RecordId(uuid_text(uuid)) }
            }
            PLACE_RECORD_TEXT => {
                let text = String::from_utf8(id.into_vec()).map_err(|_| broken())?;
                Place::Record { collection: name, id: record(text).ok_or_else(broken)? }
            }
            PLACE_SET => Place::Set { name },
            _ => return Err(broken()),
        };
        Ok(Self { stamp: Stamp { ms, logical }, place })
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        match (&self.kind, &self.copy) {
            (Kind::Exists, None) => pack(&(KIND_EXISTS,)),
            (Kind::Exists, Some(copy)) => pack(&(KIND_EXISTS, "", (), copy)),
            (Kind::Field { name, value }, None) => pack(&(KIND_FIELD, name, value)),
            (Kind::Field { name, value }, Some(copy)) => pack(&(KIND_FIELD, name, value, copy)),
            (Kind::Member { name, value }, None) => pack(&(KIND_MEMBER, name, value)),
            (Kind::Member { name, value }, Some(copy)) => pack(&(KIND_MEMBER, name, value, copy)),
        }
    }

    /// Reads a slot.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let Slot { kind, name, value, copy } = unpack("slot", bytes)?;
        let kind = match kind {
            KIND_EXISTS => Kind::Exists,
            KIND_FIELD => Kind::Field { name, value: value.0 },
            KIND_MEMBER => Kind::Member { name, value: value.0 },
            _ => return Err(Malformed::Inconsistent { what: "a slot is of a known kind" }),
        };
        Ok(Self { kind, copy })
    }
}

#[derive(Deserialize)]
struct Slot {
    kind: u8,
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: OrNull,
    #[serde(default)]
    copy: Option<CopyOf>,
}

#[derive(Deserialize)]
struct OrNull(Value);

impl Default for OrNull {
    fn default() -> Self {
        Self(Value::Null)
    }
}

fn pack<T: Serialize>(value: &T) -> ByteBuf {
    // Writing numbers, text and bytes into memory cannot fail.
    ByteBuf::from(rmp_serde::to_vec(value).expect("plain data serializes"))
}

fn unpack<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, Malformed> {
    rmp_serde::from_slice(bytes).map_err(|_| Malformed::Encoding { detail: what })
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
