//! Where elements belong, and how the kernel's spaces and ids say so.

use crate::small::SmallVec;

use super::RecordId;
use super::name::check_name;
use crate::causal::PlaceId;
use crate::error::Misuse;

/// A record, set or value of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A record of a collection.
    Record {
        /// The collection's name.
        collection: String,
        /// The record's id.
        id: RecordId,
    },
    /// A set of the document. Each member has an id of its own in the kernel.
    Set {
        /// The set's name.
        name: String,
    },
    /// A single value of the document: a register or a counter.
    Value {
        /// The value's name.
        name: String,
    },
}

/// A space's bytes: what kind of place, then its name.
pub(crate) type Space = SmallVec<[u8; SPACE_BYTES]>;

/// Up to how many bytes a space takes no allocation.
const SPACE_BYTES: usize = 48;

/// The space of marks, which are no place.
pub(super) const OPENINGS: u8 = 0;

const COLLECTION: u8 = 1;
const SET: u8 = 2;
const VALUE: u8 = 3;

/// The space of a collection.
pub(crate) fn collection_space(name: &str) -> Result<Space, Misuse> {
    check_name("a collection's name", name)?;
    Ok(space(COLLECTION, name))
}

/// The space of a set of the document.
pub(crate) fn set_space(name: &str) -> Result<Space, Misuse> {
    check_name("a set's name", name)?;
    Ok(space(SET, name))
}

/// The space of a value of the document.
pub(crate) fn value_space(name: &str) -> Result<Space, Misuse> {
    check_name("a value's name", name)?;
    Ok(space(VALUE, name))
}

fn space(kind: u8, name: &str) -> Space {
    let mut short = [0; SPACE_BYTES];
    if let [first, rest @ ..] = &mut short
        && let Some(rest) = rest.get_mut(..name.len())
    {
        *first = kind;
        rest.copy_from_slice(name.as_bytes());
        return Space::from_buf_and_len(short, 1 + name.len());
    }
    let mut space = Space::from_slice(&[kind]);
    space.extend_from_slice(name.as_bytes());
    space
}

/// Whether a space is one of places, and not of marks.
pub(crate) fn is_place(space: &[u8]) -> bool {
    space.first() != Some(&OPENINGS)
}

/// Whether a space is a collection.
pub(crate) fn is_collection(space: &[u8]) -> bool {
    space.first() == Some(&COLLECTION)
}

impl Place {
    /// Reads a space and an id; none where no place is written so.
    #[must_use]
    pub fn of(space: &[u8], id: &PlaceId) -> Option<Self> {
        let (kind, name) = space.split_first()?;
        let name = std::str::from_utf8(name).ok()?;
        check_name("a name", name).ok()?;
        let name = name.to_owned();
        match *kind {
            COLLECTION => Some(Self::Record { collection: name, id: RecordId::from_place_id(id)? }),
            SET => Some(Self::Set { name }),
            VALUE => Some(Self::Value { name }),
            _ => None,
        }
    }
}
