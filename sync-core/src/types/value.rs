//! Values of fields and members, as MessagePack with a depth limit.

use std::cmp::Ordering;

use crate::error::Malformed;
use crate::pack::{self, Kind, Reader, marker};
use crate::small::BTreeMap;

/// How deep lists and maps may nest. Arbitrary; it bounds the stack that a hostile value can take.
pub const VALUE_DEPTH_MAX: usize = 32;

/// What a register or a member of a set holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number. All NaNs are one value.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, replaced as a whole.
    List(Vec<Value>),
    /// A map, replaced as a whole.
    Map(BTreeMap<String, Value>),
}

/// A value that is lent: what it takes no memory of its own for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    String(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list or a map.
    Nested(&'a Value),
}

impl<'a> ValueRef<'a> {
    /// The value that is all of some bytes, if it is one of those that are most common.
    #[inline(always)]
    pub(super) fn common(bytes: &'a [u8]) -> Option<Self> {
        let text = match bytes {
            [head @ marker::FIX_STR..marker::NIL, text @ ..]
                if text.len() == usize::from(head - marker::FIX_STR) =>
            {
                text
            }
            [marker::STR_8, len, text @ ..] if text.len() == usize::from(*len) => text,
            [marker::FALSE] => return Some(Self::Bool(false)),
            [marker::TRUE] => return Some(Self::Bool(true)),
            [small @ 0..marker::FIX_MAP] => return Some(Self::Int(i64::from(*small))),
            [marker::U_64, number @ ..] => {
                let number = u64::from_be_bytes(number.try_into().ok()?);
                return i64::try_from(number).ok().map(Self::Int);
            }
            _ => return None,
        };
        std::str::from_utf8(text).ok().map(Self::String)
    }
}

impl ValueRef<'_> {
    /// Writes the value to the end of some bytes. Equal values are equal bytes.
    pub fn encode_into(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => pack::nil(out),
            Self::Bool(truth) => pack::bool(out, truth),
            Self::Int(number) => pack::int(out, number),
            Self::Float(number) => pack::float(out, number),
            Self::String(text) => pack::str(out, text),
            Self::Bytes(bytes) => pack::bytes(out, bytes),
            Self::Nested(value) => value.encode_into(out),
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(truth) => Self::Bool(truth),
            ValueRef::Int(number) => Self::Int(number),
            ValueRef::Float(number) => Self::Float(number),
            ValueRef::String(text) => Self::String(text.to_owned()),
            ValueRef::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            ValueRef::Nested(value) => value.clone(),
        }
    }
}

impl Value {
    /// The value, lent.
    #[must_use]
    #[inline]
    pub fn lent(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(truth) => ValueRef::Bool(*truth),
            Self::Int(number) => ValueRef::Int(*number),
            Self::Float(number) => ValueRef::Float(*number),
            Self::String(text) => ValueRef::String(text),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            Self::List(_) | Self::Map(_) => ValueRef::Nested(self),
        }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The whole number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// How deep lists and maps nest: 0 for a plain value.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(items) => 1 + items.values().map(Self::depth).max().unwrap_or(0),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::Bytes(_) => 0,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::String(_) => 4,
            Self::Bytes(_) => 5,
            Self::List(_) => 6,
            Self::Map(_) => 7,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) if a.is_nan() && b.is_nan() => Ordering::Equal,
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            (Self::Map(a), Self::Map(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, &str => String,
    String => String, Vec<u8> => Bytes, Vec<Value> => List, BTreeMap<String, Value> => Map,
}

impl Value {
    /// Writes the value to the end of some bytes. Equal values are equal bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::List(items) => {
                pack::array(out, items.len());
                for item in items {
                    item.encode_into(out);
                }
            }
            Self::Map(items) => {
                pack::map(out, items.len());
                for (key, item) in items {
                    pack::str(out, key);
                    item.encode_into(out);
                }
            }
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::Bytes(_) => self.lent().encode_into(out),
        }
    }

    /// Reads a value. Refuses one that nests deeper than [`VALUE_DEPTH_MAX`], a number beyond 64 bits
    /// signed, and a map whose keys are not text or stand twice.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        // Most values are plain.
        match reader.kind()? {
            Kind::Str => reader.str().map(|text| Self::String(text.to_owned())),
            Kind::Bool => reader.bool().map(Self::Bool),
            Kind::Int => reader.int().map(Self::Int),
            Kind::Nil | Kind::Float | Kind::Bytes | Kind::Array | Kind::Map => {
                nested(reader, VALUE_DEPTH_MAX)
            }
        }
    }
}

/// Reads a value that may nest `depth_left` times more.
fn nested(reader: &mut Reader<'_>, depth_left: usize) -> Result<Value, Malformed> {
    Ok(match reader.kind()? {
        Kind::Nil => reader.nil().map(|()| Value::Null)?,
        Kind::Bool => Value::Bool(reader.bool()?),
        Kind::Int => Value::Int(reader.int()?),
        Kind::Float => Value::Float(reader.float()?),
        Kind::Str => Value::String(reader.str()?.to_owned()),
        Kind::Bytes => Value::Bytes(reader.bytes()?.to_vec()),
        Kind::Array => {
            let inner = inner(depth_left)?;
            // Not made as long as is claimed: an item is larger here than the least of its bytes, and
            // each level could claim all that is left.
            let mut list = Vec::new();
            for _ in 0..reader.array()? {
                list.push(nested(reader, inner)?);
            }
            Value::List(list)
        }
        Kind::Map => {
            let inner = inner(depth_left)?;
            let mut items = Vec::new();
            for _ in 0..reader.map()? {
                items.push((reader.str()?.to_owned(), nested(reader, inner)?));
            }
            let len = items.len();
            let map: BTreeMap<_, _> = items.into_iter().collect();
            if map.len() != len {
                return Err(Malformed::Inconsistent { what: "a key stands once in a map" });
            }
            Value::Map(map)
        }
    })
}

fn inner(depth_left: usize) -> Result<usize, Malformed> {
    let limit = VALUE_DEPTH_MAX as u64;
    let what = "the depth of a value";
    depth_left.checked_sub(1).ok_or_else(|| Malformed::limit(what, limit + 1, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Null, |value, _| Value::List(vec![value]))
    }

    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode_into(&mut out);
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Value, Malformed> {
        let mut reader = Reader::new(bytes);
        let value = Value::decode(&mut reader)?;
        reader.end().map(|()| value)
    }

    #[test]
    fn values_round_trip() {
        let map = BTreeMap::from([("a".to_owned(), Value::Null), (String::new(), true.into())]);
        for value in [
            Value::Null,
            false.into(),
            i64::MIN.into(),
            i64::MAX.into(),
            Value::Float(f64::NAN),
            (-0.0).into(),
            "Grüße".into(),
            vec![0u8; 300].into(),
            vec![Value::Int(1), map.clone().into()].into(),
            map.into(),
        ] {
            assert_eq!(decoded(&encoded(&value)).unwrap(), value);
        }
    }

    #[test]
    fn depth_is_limited_at_the_limit_and_not_below() {
        for (depth, fits) in [(VALUE_DEPTH_MAX - 1, true), (VALUE_DEPTH_MAX, true), (33, false)] {
            assert_eq!(decoded(&encoded(&nested(depth))).is_ok(), fits, "depth {depth}");
            assert_eq!(nested(depth).depth(), depth);
        }
    }

    #[test]
    fn a_deep_bomb_is_an_error_and_not_an_overflow() {
        assert!(decoded(&[0x91; 60_000]).is_err());
        assert!(decoded(&[0x81; 60_000]).is_err());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (what, bytes) in [
            ("a key twice", &[0x82, 0xa1, b'k', 1, 0xa1, b'k', 2][..]),
            ("a key that is a number", &[0x81, 1, 1]),
            ("beyond 64 bits signed", &[0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ("text that is not UTF-8", &[0xa1, 0xff]),
            ("an extension", &[0xd4, 1, 1]),
            ("no more bytes", &[]),
        ] {
            assert!(decoded(bytes).is_err(), "{what}");
        }
    }
}
