//! What can go wrong, by who is wrong: the bytes, the peer, or the caller.
//!
//! [`Malformed`] is for bytes that are no message, [`Misuse`] for a caller of this crate. A peer that
//! breaks the protocol is a [`Fault`](crate::wire::Fault), which stands beside its close codes.

use thiserror::Error;

/// Bytes that do not decode to what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end too early, are too many, or are not MessagePack of the expected shape.
    #[error("not encoded as it should be: {detail}")]
    Encoding {
        /// What is wrong.
        detail: &'static str,
    },
    /// The checksum over the bytes does not match.
    #[error("checksum mismatch: expected {expected:08x}, found {found:08x}")]
    Checksum {
        /// The checksum that came with the bytes.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A count, length or depth is over its limit.
    #[error("{0}")]
    Limit(Box<Excess>),
    /// An object is named by a dot that is not live here: ask for the bytes with full ids.
    #[error("an object is named by a dot that is not here")]
    Dangling,
    /// The parts contradict each other.
    #[error("inconsistent: {what}")]
    Inconsistent {
        /// The rule that is broken.
        what: &'static str,
    },
}

impl Malformed {
    #[cold]
    pub(crate) fn limit(what: &'static str, found: u64, limit: u64) -> Self {
        Self::Limit(Box::new(Excess { what, found, limit }))
    }
}

/// What is over its limit. It stands apart, so that what may be [`Malformed`] is small.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} is {found}, and the limit is {limit}")]
pub struct Excess {
    /// What is limited.
    pub what: &'static str,
    /// The value found.
    pub found: u64,
    /// The most that is allowed.
    pub limit: u64,
}

/// Takes the value of what cannot fail.
pub trait Sure<T> {
    /// The value.
    fn sure(self) -> T;
}

impl<T> Sure<T> for Result<T, std::convert::Infallible> {
    #[inline]
    fn sure(self) -> T {
        let Ok(value) = self;
        value
    }
}

/// The caller asked for something that cannot be done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// There is no such record, or it was deleted.
    #[error("no record {id} in collection {collection}; it may have been deleted")]
    NoSuchRecord {
        /// The collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// A record of that id exists.
    #[error("record {id} exists in collection {collection}; update it instead")]
    RecordExists {
        /// The collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// The version named is not (or no longer) among the versions of the record.
    #[error("version {version} is not among the versions in conflict; read them again")]
    NoSuchVersion {
        /// The version's key.
        version: String,
    },
    /// A name, value, record or change is over its limit.
    #[error("{what} is {found}, and the limit is {limit}")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// A name is empty or holds a control character.
    #[error("{what} must not be empty or hold control characters")]
    BadName {
        /// Which name.
        what: &'static str,
    },
    /// A field is written twice in one change.
    #[error("field {name} stands twice in one change; write it once")]
    Twice {
        /// The field's name.
        name: String,
    },
    /// A change with nothing in it.
    #[error("the change is empty")]
    Empty,
    /// This document is not open.
    #[error("document {name} is not open")]
    NotOpen {
        /// The document's name.
        name: String,
    },
}
