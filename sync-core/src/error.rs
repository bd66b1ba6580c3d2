//! What can go wrong, by who is wrong: the bytes, the peer, or the caller.
//!
//! [`Malformed`] is for bytes that are no message, [`Misuse`] for a caller of this crate. A peer that
//! breaks the protocol is a [`Fault`](crate::wire::Fault), which stands beside its close codes.

use std::error::Error;
use std::fmt;

use crate::text::{decimal, push_hex};

/// Bytes that do not decode to what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end too early, are too many, or are not MessagePack of the expected shape.
    Encoding {
        /// What is wrong.
        detail: &'static str,
    },
    /// The checksum over the bytes does not match.
    Checksum {
        /// The checksum that came with the bytes.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A count, length or depth is over its limit.
    Limit(Box<Excess>),
    /// An object is named by a dot that is not live here: ask for the bytes with full ids.
    Dangling,
    /// The parts contradict each other.
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

    /// What is wrong, as a sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let hex = |sum: &u32| {
            let mut text = String::new();
            push_hex(&mut text, &sum.to_be_bytes());
            text
        };
        match self {
            Self::Encoding { detail } => ["not encoded as it should be: ", detail].concat(),
            Self::Checksum { expected, found } => {
                ["checksum mismatch: expected ", &hex(expected), ", found ", &hex(found)].concat()
            }
            Self::Limit(excess) => excess.text(),
            Self::Dangling => "an object is named by a dot that is not here".to_owned(),
            Self::Inconsistent { what } => ["inconsistent: ", what].concat(),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Error for Malformed {}

/// What is over its limit. It stands apart, so that what may be [`Malformed`] is small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// What is limited.
    pub what: &'static str,
    /// The value found.
    pub found: u64,
    /// The most that is allowed.
    pub limit: u64,
}

impl Excess {
    fn text(&self) -> String {
        let Self { what, found, limit } = self;
        [what, " is ", &decimal(*found), ", and the limit is ", &decimal(*limit)].concat()
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Error for Excess {}

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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// There is no such record, or it was deleted.
    NoSuchRecord {
        /// The collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// A record of that id exists.
    RecordExists {
        /// The collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// The version named is not (or no longer) among the versions of the record.
    NoSuchVersion {
        /// The version's key.
        version: String,
    },
    /// A name, value, record or change is over its limit.
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// A name is empty or holds a control character.
    BadName {
        /// Which name.
        what: &'static str,
    },
    /// A field is written twice in one change.
    Twice {
        /// The field's name.
        name: String,
    },
    /// A change with nothing in it.
    Empty,
    /// This document is not open.
    NotOpen {
        /// The document's name.
        name: String,
    },
}

impl Misuse {
    /// What is wrong, as a sentence.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NoSuchRecord { collection, id } => {
                ["no record ", id, " in collection ", collection, "; it may have been deleted"]
                    .concat()
            }
            Self::RecordExists { collection, id } => {
                ["record ", id, " exists in collection ", collection, "; update it instead"]
                    .concat()
            }
            Self::NoSuchVersion { version } => {
                let behind = " is not among the versions in conflict; read them again";
                ["version ", version, behind].concat()
            }
            Self::TooLarge { what, found, limit } => {
                Excess { what, found: *found, limit: *limit }.text()
            }
            Self::BadName { what } => {
                [what, " must not be empty or hold control characters"].concat()
            }
            Self::Twice { name } => {
                ["field ", name, " stands twice in one change; write it once"].concat()
            }
            Self::Empty => "the change is empty".to_owned(),
            Self::NotOpen { name } => ["document ", name, " is not open"].concat(),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Error for Misuse {}
