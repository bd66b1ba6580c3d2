//! Fields of records, as they are read and written.

use std::borrow::Cow;

use crate::small::{BTreeMap, BTreeSet};

use super::{Value, ValueRef};

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A register: concurrent writes are all kept, and one of them is shown.
    Register(Value),
    /// A register of which the last write wins, by stamp. Concurrent writes are no conflict.
    Latest(Value),
    /// A set: an add wins over a concurrent remove.
    Set(BTreeSet<Value>),
    /// A counter: concurrent changes add up.
    Counter(i64),
    /// A map: each of its fields merges on its own. A map without fields is none.
    Map(BTreeMap<String, Field>),
}

/// A field to be written, of which nothing need be owned.
#[derive(Debug, Clone, Copy)]
pub enum FieldRef<'a> {
    /// A field of any kind.
    Field(&'a Field),
    /// A register, as [`Field::Register`].
    Register(ValueRef<'a>),
    /// A register, as [`Field::Latest`].
    Latest(ValueRef<'a>),
}

impl<'a> FieldRef<'a> {
    /// The field itself, made if it is not there.
    pub(crate) fn whole(self) -> Cow<'a, Field> {
        match self {
            Self::Field(field) => Cow::Borrowed(field),
            Self::Register(value) => Cow::Owned(Field::Register(value.into())),
            Self::Latest(value) => Cow::Owned(Field::Latest(value.into())),
        }
    }
}

impl<'a> From<&'a Field> for FieldRef<'a> {
    fn from(field: &'a Field) -> Self {
        Self::Field(field)
    }
}

impl<V: Into<Value>> From<V> for Field {
    fn from(value: V) -> Self {
        Self::Register(value.into())
    }
}
