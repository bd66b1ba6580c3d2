//! Fields of records, as they are read and written.

use crate::small::{BTreeMap, BTreeSet};

use super::Value;

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

impl<V: Into<Value>> From<V> for Field {
    fn from(value: V) -> Self {
        Self::Register(value.into())
    }
}
