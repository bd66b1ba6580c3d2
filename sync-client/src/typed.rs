//! Collections of an application's own types, through serde.
//!
//! Each field of a struct is a field of the record and merges on its own: a register, or what
//! [`Members`] and [`Count`] say. A field that is `None` is not there.

mod error;
mod read;
mod value;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use sync_core::error::Misuse;
use sync_core::types::{Field, RecordId};

use self::read::read;
use self::write::write;
use crate::Refused;
use crate::client::new_record_id;
use crate::document::{Collection, Item};
use crate::error::Error;
use crate::written::Written;

/// The name by which the forms of fields know [`Members`].
const MEMBERS: &str = "$sync_client::Members";

/// The name by which the forms of fields know [`Count`].
const COUNT: &str = "$sync_client::Count";

/// A field that is a set: members that others add meanwhile stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members<T>(pub BTreeSet<T>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

/// A field that is a counter: what others count meanwhile adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count(pub i64);

impl<T: Serialize> Serialize for Members<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(MEMBERS, &self.0)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(COUNT, &self.0)
    }
}

// What is empty is not there, and is read as it was all the same.
impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// Why a value was not read or written as a record. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TypedError {
    /// A value has no form that a record can hold.
    #[error("{field}: {reason}")]
    NoForm {
        /// The field, or the type where it is no struct with fields.
        field: String,
        /// Why.
        reason: String,
    },
    /// A record is not what the type says.
    #[error("record {id}: {reason}")]
    NotThis {
        /// The record.
        id: RecordId,
        /// What is different, as serde says it.
        reason: String,
    },
    /// There is no such record.
    #[error("there is no record {id}; it may have been deleted")]
    NoRecord {
        /// The record.
        id: RecordId,
    },
    /// The client refused it, or its store failed.
    #[error(transparent)]
    Client(#[from] Error),
}

/// The records of a collection as values of one type.
///
/// A struct or a map with text keys is a record. Its fields are registers with what they hold as a whole,
/// also lists, maps and structs, but for [`Members`] and [`Count`]. Whole numbers are of 64 bits signed.
/// A field that is `None`, a unit, or left out by `skip_serializing_if`, is not there; so an option that
/// holds an option reads as `None`. Fields that the type does not name stay as they are.
pub struct Typed<T> {
    collection: Collection,
    of: PhantomData<fn() -> T>,
}

impl Collection {
    /// These records as values of one type.
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<T> {
        Typed { collection: self.clone(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
    /// Adds a record under a fresh id.
    ///
    /// # Errors
    ///
    /// [`TypedError::NoForm`] where the value has no form that a record can hold; [`TypedError::Client`] as
    /// [`Collection::insert`].
    pub fn insert(&self, value: &T) -> Result<(RecordId, Written), TypedError> {
        let id = new_record_id(&self.collection.document.inner.shared).map_err(Error::from)?;
        let written = self.insert_with_id(&id, value)?;
        Ok((id, written))
    }

    /// Adds a record under an id of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Self::insert`].
    pub fn insert_with_id(&self, id: &RecordId, value: &T) -> Result<Written, TypedError> {
        let fields = write(value)?.into_iter().filter_map(|(name, field)| Some((name, field?)));
        Ok(self.collection.insert_with_id(id, fields)?)
    }

    /// A record that is there.
    ///
    /// # Errors
    ///
    /// [`TypedError::NotThis`] where the record is not what the type says; [`TypedError::Client`] where it
    /// cannot be read.
    pub fn get(&self, id: &RecordId) -> Result<Option<T>, TypedError> {
        self.collection.get(id)?.map(value_of).transpose()
    }

    /// All records, in the order of their ids.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub fn list(&self) -> Result<Vec<(RecordId, T)>, TypedError> {
        let items = self.collection.list()?.into_iter();
        items.map(|item| Ok((item.id.clone(), value_of(item)?))).collect()
    }

    /// Changes a record: writes the fields that the closure makes different, and no others, so that what
    /// somebody else writes of the others meanwhile stays; of a set, the members that come and go; of a
    /// counter, the difference. Fields that become `None` are taken out. One change, whole or not at all.
    /// The closure runs under a lock: it must not use this client.
    ///
    /// # Errors
    ///
    /// [`TypedError::NoRecord`], and those of [`Self::get`] and [`Self::insert`]: nothing is changed then.
    pub fn update(
        &self,
        id: &RecordId,
        change: impl FnOnce(&mut T),
    ) -> Result<Written, TypedError> {
        let name = &*self.collection.name;
        let mut refused = None;
        let outcome = self.collection.document.change(|edit| {
            let record = edit.document().record(name, id).map_err(Refused::Store)?;
            let fields = record.map(|record| record.fields());
            match changed(id, fields, change) {
                Ok(changes) => changes.iter().try_for_each(|(field, change)| match change {
                    Changed::Put(field_value) => edit.update(name, id, [(field, field_value)]),
                    Changed::Count(amount) => edit.count(name, id, &[field], *amount),
                    Changed::Gone => edit.unset(name, id, &[field]),
                }),
                Err(error) => {
                    refused = Some(error);
                    Err(Misuse::Empty.into())
                }
            }
        });
        match refused {
            Some(error) => Err(error),
            None => Ok(outcome?.1),
        }
    }

    /// Removes a record.
    ///
    /// # Errors
    ///
    /// [`TypedError::Client`] as [`Collection::remove`].
    pub fn remove(&self, id: &RecordId) -> Result<Written, TypedError> {
        Ok(self.collection.remove(id)?)
    }

    /// The records as they are without a type.
    #[must_use]
    pub fn collection(&self) -> &Collection {
        &self.collection
    }
}

/// What is to be done about a field.
enum Changed {
    Put(Field),
    Count(i64),
    Gone,
}

/// What a closure makes different of a record.
fn changed<T: Serialize + DeserializeOwned>(
    id: &RecordId,
    fields: Option<BTreeMap<String, Field>>,
    change: impl FnOnce(&mut T),
) -> Result<Vec<(String, Changed)>, TypedError> {
    let fields = fields.ok_or_else(|| TypedError::NoRecord { id: id.clone() })?;
    let mut value: T = read_as(id, fields)?;
    let mut before = write(&value)?;
    change(&mut value);
    let mut changes = Vec::new();
    for (name, after) in write(&value)? {
        let before = before.remove(&name).flatten();
        if before == after {
            continue;
        }
        let change = match (before, after) {
            (Some(Field::Counter(from)), Some(Field::Counter(to))) => {
                Changed::Count(to.wrapping_sub(from))
            }
            (_, Some(field)) => Changed::Put(field),
            (_, None) => Changed::Gone,
        };
        changes.push((name, change));
    }
    // A map may have lost keys.
    let lost = before.into_iter().filter(|(_, field)| field.is_some());
    changes.extend(lost.map(|(name, _)| (name, Changed::Gone)));
    Ok(changes)
}

fn value_of<T: DeserializeOwned>(item: Item) -> Result<T, TypedError> {
    read_as(&item.id, item.fields)
}

fn read_as<T: DeserializeOwned>(
    id: &RecordId,
    fields: BTreeMap<String, Field>,
) -> Result<T, TypedError> {
    let not_this = |reason: String| TypedError::NotThis { id: id.clone(), reason };
    read(fields).map_err(|error| not_this(error.to_string()))
}

impl<T> Clone for Typed<T> {
    fn clone(&self) -> Self {
        Self { collection: self.collection.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("collection", &self.collection).finish()
    }
}
