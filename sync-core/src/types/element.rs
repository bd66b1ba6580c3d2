//! Elements: what a slot says. Its name says which field, of which type; its bytes are the value.
//!
//! A name is one byte for the type, then the path of the field: names of nested maps, separated by one
//! byte that no name may hold. A copy has a bit set in the first byte, and says before its value where
//! it comes from.

use crate::causal::{Dot, Label, PlaceId, ReplicaId};
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::time::Stamp;
use crate::types::Value;

/// Stands between the names of a path.
pub const SEPARATOR: char = '\u{1f}';
/// [`SEPARATOR`] as text.
pub(crate) const SEPARATOR_TEXT: &str = "\u{1f}";

/// The types of elements, as the first byte of a slot's name says.
pub(crate) mod kind {
    /// The record exists.
    pub(crate) const EXISTS: u8 = 0;
    /// A multi-value register.
    pub(crate) const REGISTER: u8 = 1;
    /// A member of a set.
    pub(crate) const MEMBER: u8 = 2;
    /// A register of which the last write wins.
    pub(crate) const LATEST: u8 = 3;
    /// A share of a counter.
    pub(crate) const COUNTER: u8 = 4;
    /// Set on a copy.
    pub(crate) const COPY: u8 = 0x80;
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

impl CopyOf {
    fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { origin, stamp, edit, removal } = self;
        pack::array(out, if removal.is_some() { 7 } else { 5 });
        for (dot, stamp) in
            [(Some(origin), Some(stamp)), (Some(edit), None), (removal.as_ref(), None)]
        {
            let Some(Dot { replica, counter }) = dot else { continue };
            pack::bytes(out, replica.as_bytes());
            pack::uint(out, *counter);
            if let Some(stamp) = stamp {
                pack::uint(out, stamp.to_bits());
            }
        }
    }

    #[cold]
    fn boxed(reader: &mut Reader<'_>) -> Result<Box<Self>, Malformed> {
        Self::decode(reader).map(Box::new)
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let dot = |reader: &mut Reader<'_>| {
            let replica = ReplicaId::from_bytes(reader.bytes_of()?);
            Ok(Dot::new(replica, reader.uint()?))
        };
        let len = reader.array()?;
        let origin = dot(reader)?;
        let stamp = Stamp::from_bits(reader.uint()?);
        let edit = dot(reader)?;
        let removal = match len {
            5 => None,
            7 => Some(dot(reader)?),
            _ => return Err(Malformed::Inconsistent { what: "a copy names its origin" }),
        };
        Ok(Self { origin, stamp, edit, removal })
    }
}

/// One replica's share of a counter.
///
/// It names its owner, so that a copy of it is told from another owner's share. For each owner the
/// largest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Who alone changes it.
    pub owner: ReplicaId,
    /// The sum of what was added.
    pub up: u64,
    /// The sum of what was taken away.
    pub down: u64,
}

/// What an element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// That its record exists.
    Exists,
    /// The value of a register.
    Register(Value),
    /// The value of a register of which the last write wins.
    Latest(Value),
    /// A member of a set.
    Member(Value),
    /// A share of a counter.
    Share(Share),
}

impl Content {
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Exists => kind::EXISTS,
            Self::Register(_) => kind::REGISTER,
            Self::Latest(_) => kind::LATEST,
            Self::Member(_) => kind::MEMBER,
            Self::Share(_) => kind::COUNTER,
        }
    }

    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Exists => {}
            Self::Register(value) | Self::Latest(value) | Self::Member(value) => {
                value.encode_into(out);
            }
            Self::Share(Share { owner, up, down }) => {
                pack::bytes(out, owner.as_bytes());
                pack::uint(out, *up);
                pack::uint(out, *down);
            }
        }
    }

    #[inline]
    fn decode(kind: u8, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            kind::EXISTS => Self::Exists,
            kind::REGISTER => Self::Register(Value::decode(reader)?),
            kind::LATEST => Self::Latest(Value::decode(reader)?),
            kind::MEMBER => Self::Member(Value::decode(reader)?),
            kind::COUNTER => {
                let owner = ReplicaId::from_bytes(reader.bytes_of()?);
                Self::Share(Share { owner, up: reader.uint()?, down: reader.uint()? })
            }
            _ => return Err(Malformed::Inconsistent { what: "an element is of a known type" }),
        })
    }
}

/// Who wrote an element, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The live dot.
    pub dot: Dot,
    /// When the element was first written.
    pub stamp: Stamp,
    /// Set when it was asserted again.
    pub copy: Option<Box<CopyOf>>,
}

impl Claim {
    /// The dot as which it was first written. Copies of one element share it.
    #[must_use]
    pub fn origin(&self) -> Dot {
        self.copy.as_ref().map_or(self.dot, |copy| copy.origin)
    }
}

/// One live element as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Who and when.
    pub claim: Claim,
    /// What.
    pub content: Content,
    label: Label,
    path_len: u32,
    slot: u8,
}

impl Element {
    /// Reads a slot of an entry.
    #[inline]
    pub fn decode(
        dot: Dot,
        stamp: Stamp,
        label: &Label,
        slot: usize,
        bytes: &[u8],
    ) -> Result<Self, Malformed> {
        let missing = Malformed::Inconsistent { what: "a live slot has a name" };
        let (kind, path_len, is_text) = label.tag(slot).ok_or(missing)?;
        if !is_text {
            return Err(Malformed::Inconsistent { what: "a field's name is text" });
        }
        let mut reader = Reader::new(bytes);
        let copy = match kind & kind::COPY {
            0 => None,
            _ => Some(CopyOf::boxed(&mut reader)?),
        };
        let content = Content::decode(kind & !kind::COPY, &mut reader)?;
        reader.end()?;
        let stamp = copy.as_ref().map_or(stamp, |copy| copy.stamp);
        let claim = Claim { dot, stamp, copy };
        Ok(Self { claim, content, label: label.clone(), path_len, slot: slot as u8 })
    }

    /// Whether it is at this path.
    #[inline]
    pub(crate) fn is_at(&self, path: &str) -> bool {
        // A name that was decoded is text behind its first byte.
        self.path_len as usize == path.len()
            && self.label.name(usize::from(self.slot)).get(1..) == Some(path.as_bytes())
    }

    /// Whether both say the same thing: at one path either registers, one member, or one owner's share; or
    /// that the record exists.
    pub(crate) fn stands_for(&self, other: &Self) -> bool {
        self.path() == other.path()
            && match (&self.content, &other.content) {
                (Content::Exists, Content::Exists) => true,
                (Content::Member(a), Content::Member(b)) => a == b,
                (Content::Share(a), Content::Share(b)) => a.owner == b.owner,
                (
                    Content::Register(_) | Content::Latest(_),
                    Content::Register(_) | Content::Latest(_),
                ) => true,
                _ => false,
            }
    }

    /// The path of its field: the names of nested maps, separated by [`SEPARATOR`]; empty for what is
    /// no field.
    #[must_use]
    pub fn path(&self) -> &str {
        self.label.text(usize::from(self.slot)).unwrap_or_default()
    }
}

/// The value's bytes of a slot: what stands behind what a copy says of itself.
pub(crate) fn value_bytes(kind: u8, bytes: &[u8]) -> Result<&[u8], Malformed> {
    if kind & kind::COPY == 0 {
        return Ok(bytes);
    }
    let mut reader = Reader::new(bytes);
    CopyOf::decode(&mut reader)?;
    Ok(&bytes[bytes.len() - reader.rest_len()..])
}

/// A slot's bytes with other dots in what a copy says of itself.
pub(crate) fn with_dots(kind: u8, bytes: &[u8], dot: impl Fn(Dot) -> Dot) -> Vec<u8> {
    let mut reader = Reader::new(bytes);
    let copy = Some(kind).filter(|kind| kind & kind::COPY != 0);
    let Some(Ok(copy)) = copy.map(|_| CopyOf::decode(&mut reader)) else { return bytes.to_vec() };
    let CopyOf { origin, stamp, edit, removal } = copy;
    let (origin, edit, removal) = (dot(origin), dot(edit), removal.map(dot));
    let mut out = Vec::new();
    CopyOf { origin, stamp, edit, removal }.encode_into(&mut out);
    out.extend_from_slice(&bytes[bytes.len() - reader.rest_len()..]);
    out
}

/// The id of a member of a document's set: its bytes, or where they are too long, a hash of them
/// (XXH3, 128 bits) behind their first ones. Members whose ids are equal share a place, and are told
/// from each other by their bytes.
pub(crate) fn member_id(bytes: &[u8]) -> PlaceId {
    const HEAD: usize = 112;
    if bytes.len() <= HEAD + 16 {
        return PlaceId::new(bytes);
    }
    let hash = xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes();
    PlaceId::new(&[&bytes[..HEAD], &hash].concat())
}

/// An element to be written: its name and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) name: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl Written {
    pub(crate) fn new(path: &str, content: &Content, copy: Option<&CopyOf>) -> Self {
        let mut name = vec![content.kind() | if copy.is_some() { kind::COPY } else { 0 }];
        name.extend_from_slice(path.as_bytes());
        let mut bytes = Vec::new();
        if let Some(copy) = copy {
            copy.encode_into(&mut bytes);
        }
        content.encode_into(&mut bytes);
        Self { name, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_round_trip() {
        let replica = ReplicaId::from_bytes([7; 16]);
        let dot = Dot::new(replica, 300);
        let copy = CopyOf { origin: dot, stamp: Stamp::from_ms(5), edit: dot, removal: Some(dot) };
        for copy in [None, Some(copy), Some(CopyOf { removal: None, ..copy })] {
            for content in [
                Content::Exists,
                Content::Register(Value::Null),
                Content::Latest("x".into()),
                Content::Member(Value::Bytes(vec![1, 2])),
                Content::Share(Share { owner: replica, up: 7, down: u64::MAX }),
            ] {
                let written = Written::new("a\u{1f}b", &content, copy.as_ref());
                let label = Label::new(b"\x01notes", [&b"other"[..], &written.name]);
                let stamp = Stamp::from_ms(9);
                let read = Element::decode(dot, stamp, &label, 1, &written.bytes).unwrap();
                assert_eq!((&read.content, read.path()), (&content, "a\u{1f}b"));
                assert_eq!(read.claim.copy.as_deref(), copy.as_ref());
                assert_eq!(read.claim.stamp, copy.map_or(stamp, |copy| copy.stamp));
                let value = value_bytes(written.name[0], &written.bytes).unwrap();
                assert_eq!(value, Written::new("", &content, None).bytes);
            }
        }
    }
}
