//! Lists of records in an order that people choose: a fractional index in a field of each record.
//!
//! A key lies between those of its neighbours, so moving a record writes one field of it alone, and two
//! moves of different records do not clash. Of concurrent moves of one record the last wins. Records
//! whose keys are equal, since two replicas chose them at once, stand in the order of their ids.

use fractional_index::FractionalIndex;

use super::edit::{Edit, Step};
use super::{Document, Refused};
use crate::causal::PlaceStore;
use crate::error::Misuse;
use crate::types::{Field, Record, RecordId, Value};

/// The most bytes of a key; where one would be longer, all keys of the list are chosen anew. Arbitrary:
/// some thousand moves to one spot.
pub const KEY_BYTES_MAX: usize = 48;

/// Where a record stands: its key, and whose it is. Records without a key stand last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    is_keyless: bool,
    key: Vec<u8>,
    id: RecordId,
}

impl Position {
    fn of(id: RecordId, record: &Record, field: &str) -> Self {
        let key = match record.value(field) {
            Some(Value::Bytes(key)) if FractionalIndex::from_bytes(key.clone()).is_ok() => key,
            Some(_) | None => Vec::new(),
        };
        Self { is_keyless: key.is_empty(), key, id }
    }

    fn index(&self) -> Option<FractionalIndex> {
        if self.is_keyless { None } else { FractionalIndex::from_bytes(self.key.clone()).ok() }
    }
}

impl<S: PlaceStore> Document<S> {
    /// The records of a collection in the order of the keys in a field; those without one come last.
    pub fn ordered(
        &self,
        collection: &str,
        field: &str,
    ) -> Result<Vec<(RecordId, Record)>, S::Error> {
        let records = self.records(collection)?.into_iter();
        let mut placed: Vec<_> = records
            .map(|(id, record)| (Position::of(id.clone(), &record, field), record))
            .collect();
        placed.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(placed.into_iter().map(|(position, record)| (position.id, record)).collect())
    }
}

impl<S: PlaceStore> Edit<'_, S> {
    /// Moves a record right behind another one, or to the front of its collection, by the key in a
    /// field. Where neighbours have no keys, or equal ones, they get new ones too.
    pub fn place(
        &mut self,
        collection: &str,
        id: &RecordId,
        field: &str,
        after: Option<&RecordId>,
    ) -> Step<S> {
        let records = self.document().ordered(collection, field).map_err(Refused::Store)?;
        let list: Vec<_> = records
            .iter()
            .filter(|(other, _)| other != id)
            .map(|(other, record)| Position::of(other.clone(), record, field))
            .collect();
        let unknown = |id: &RecordId| Misuse::NoSuchRecord {
            collection: collection.to_owned(),
            id: id.to_string(),
        };
        if list.len() == records.len() {
            return Err(unknown(id).into());
        }
        let at = match after {
            None => 0,
            Some(after) => {
                let found = list.iter().position(|position| position.id == *after);
                found.ok_or_else(|| unknown(after))? + 1
            }
        };
        let mut keys = new_keys(&list, at, id);
        if keys.iter().any(|(_, key)| key.as_bytes().len() > KEY_BYTES_MAX) {
            keys = all_keys(&list, at, id);
        }
        for (id, key) in keys {
            let key = Field::Latest(Value::Bytes(key.as_bytes().to_vec()));
            self.update(collection, &id, [(field, &key)])?;
        }
        Ok(())
    }
}

/// The keys that bring a record to a place in a list, without moving the others.
fn new_keys(list: &[Position], at: usize, id: &RecordId) -> Vec<(RecordId, FractionalIndex)> {
    // Before the place, records without a key need one.
    let start = list[..at].iter().position(|position| position.is_keyless).unwrap_or(at);
    let lower = start.checked_sub(1).and_then(|before| list[before].index());
    // Behind it, those that stand there by their ids alone.
    let is_beyond = |position: &Position| match (&lower, position.index()) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(lower), Some(index)) => index > *lower,
    };
    let next = list[at..].iter().position(is_beyond).map(|offset| at + offset);
    let upper = next.and_then(|next| list[next].index());
    let keyed = list[at..].iter().take_while(|position| !position.is_keyless).count();
    let rest = at..next.unwrap_or(at + keyed);
    let before = list[start..at].iter().map(|position| &position.id);
    let wanted = before.chain([id]).chain(list[rest].iter().map(|position| &position.id));
    between(lower, upper, wanted)
}

/// Fresh keys for a whole list with a record at its place.
fn all_keys(list: &[Position], at: usize, id: &RecordId) -> Vec<(RecordId, FractionalIndex)> {
    let (before, behind) = list.split_at(at);
    let before = before.iter().map(|position| &position.id);
    between(None, None, before.chain([id]).chain(behind.iter().map(|position| &position.id)))
}

/// Keys in order between two bounds.
fn between<'a>(
    mut lower: Option<FractionalIndex>,
    upper: Option<FractionalIndex>,
    ids: impl Iterator<Item = &'a RecordId>,
) -> Vec<(RecordId, FractionalIndex)> {
    let mut keys = Vec::new();
    for id in ids {
        let Some(key) = FractionalIndex::new(lower.as_ref(), upper.as_ref()) else { break };
        lower = Some(key.clone());
        keys.push((id.clone(), key));
    }
    keys
}
