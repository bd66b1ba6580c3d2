//! Documents and their collections, as an application uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use sync_core::causal::{Dot, ReplicaId};
use sync_core::session::{LogEntry, OutboxItem, Peer};
use sync_core::types::{Conflict, Field, Place, Record, RecordId, Value, Version};

use crate::client::{Inner, new_record_id};
use crate::error::Error;
use crate::status::{Connection, OfflineReason, Status};
use crate::store::StoreError;
use crate::written::Written;
use crate::{Document, Edit, Refused};

/// An open document.
#[derive(Debug, Clone)]
pub struct DocumentHandle {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: Arc<str>,
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The record's id.
    pub id: RecordId,
    /// Its fields: the winner of each register, the members of each set, the sum of each counter, and
    /// maps of such fields.
    pub fields: BTreeMap<String, Field>,
    /// Whether something about it clashes.
    pub is_in_conflict: bool,
}

impl Item {
    /// The text of a field; none where the field is missing or no text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.value(field)?.as_str()
    }

    /// The value of a field; none where the field is missing or no register.
    #[must_use]
    pub fn value(&self, field: &str) -> Option<&Value> {
        match self.fields.get(field)? {
            Field::Register(value) | Field::Latest(value) => Some(value),
            Field::Set(_) | Field::Counter(_) | Field::Map(_) => None,
        }
    }

    /// What a counter stands at; 0 where the field is missing or no counter.
    #[must_use]
    pub fn count(&self, field: &str) -> i64 {
        if let Some(Field::Counter(count)) = self.fields.get(field) { *count } else { 0 }
    }

    /// The members of a set field; none where the field is missing or no set.
    pub fn members(&self, field: &str) -> impl Iterator<Item = &Value> {
        let field = self.fields.get(field);
        let members = if let Some(Field::Set(members)) = field { Some(members) } else { None };
        members.into_iter().flatten()
    }

    fn new(id: RecordId, record: &Record) -> Self {
        let is_in_conflict = !record.conflicts().is_empty();
        Self { id, fields: record.fields(), is_in_conflict }
    }
}

/// Something that clashes at present, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The record's id.
    pub id: RecordId,
    /// The record as it is read; none where only an edit is left of it.
    pub item: Option<Item>,
    /// What clashes.
    pub conflicts: Vec<Conflict>,
    /// The clashing fields by author, for [`Collection::keep`].
    pub versions: Vec<Version>,
}

/// An entry of the conflict log, and whether it still clashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// What clashed.
    pub entry: LogEntry,
    /// Whether it still does.
    pub is_open: bool,
}

/// A set field with these members.
pub fn members<V: Into<Value>>(members: impl IntoIterator<Item = V>) -> Field {
    Field::Set(members.into_iter().map(Into::into).collect())
}

impl DocumentHandle {
    /// The document's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A collection of records. It need not exist before.
    #[must_use]
    pub fn collection(&self, name: &str) -> Collection {
        Collection { document: self.clone(), name: name.into() }
    }

    /// Makes several changes as one: applied here and elsewhere whole, or not at all where the closure
    /// fails. The closure runs under a lock: it must not use this client other than by the edit.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Refused>,
    ) -> Result<(T, Written), Error> {
        let (value, dot) = self.inner.shared.change(&self.name, change)?;
        Ok((value, self.written(dot)))
    }

    /// Adds a member to a set of the document.
    pub fn set_add(&self, set: &str, member: impl Into<Value>) -> Result<Written, Error> {
        let member = member.into();
        Ok(self.change(|edit| edit.set_add(set, &member))?.1)
    }

    /// Removes a member from a set of the document.
    pub fn set_remove(&self, set: &str, member: impl Into<Value>) -> Result<Written, Error> {
        let member = member.into();
        Ok(self.change(|edit| edit.set_remove(set, &member))?.1)
    }

    /// The members of a set of the document.
    pub fn set(&self, set: &str) -> Result<BTreeSet<Value>, Error> {
        self.read(|document| document.set(set))
    }

    /// Reads the document under the lock: the closure must not use this client.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Document) -> Result<T, StoreError>,
    ) -> Result<T, Error> {
        let state = self.inner.shared.lock();
        let document = state.session.document(&self.name)?;
        // A panic of the caller's closure is none of the client's.
        let outcome = catch_unwind(AssertUnwindSafe(|| read(document)));
        drop(state);
        Ok(outcome.unwrap_or_else(|panic| resume_unwind(panic))?)
    }

    /// How the document is with its hub.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.inner.shared.lock();
        state.status(&self.name).unwrap_or_else(|_| Status {
            connection: Connection::Offline(OfflineReason::Closed),
            phase: sync_core::session::Phase::Closed,
            pending: 0,
            parked: 0,
            replica: ReplicaId::from_bytes([0; 16]),
        })
    }

    /// What the hub has not acknowledged, in order.
    #[must_use]
    pub fn outbox(&self) -> Vec<OutboxItem> {
        let state = self.inner.shared.lock();
        state.session.outbox(&self.name).into_iter().flatten().cloned().collect()
    }

    /// What clashed so far, also what was resolved since.
    pub fn conflict_log(&self) -> Result<Vec<Logged>, Error> {
        let state = self.inner.shared.lock();
        let entries = state.session.conflict_log(&self.name).map_err(|refused| match refused {
            Refused::Misuse(misuse) => Error::Misuse(misuse),
            Refused::Store(failure) => failure.into(),
        })?;
        let logged = |(entry, is_open): (&LogEntry, bool)| Logged { entry: entry.clone(), is_open };
        Ok(entries.into_iter().map(logged).collect())
    }

    /// Shows others that this replica is online, under a name, with bytes of the application's own.
    pub fn show(&self, name: impl Into<String>, state: impl Into<Vec<u8>>) -> Result<(), Error> {
        let shown = Peer { name: name.into(), state: state.into() };
        let mut locked = self.inner.shared.lock();
        locked.check()?;
        let replica = locked.session.replica(&self.name)?;
        locked.session.show(&self.name, replica, shown)?;
        drop(locked);
        self.inner.shared.wake.notify_one();
        Ok(())
    }

    /// Who else is online in this document.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<ReplicaId, Peer> {
        let state = self.inner.shared.lock();
        let peers = state.session.peers(&self.name).into_iter().flatten();
        peers.map(|(replica, peer)| (*replica, peer.clone())).collect()
    }

    fn written(&self, dot: Dot) -> Written {
        Written { inner: self.inner.clone(), document: self.name.clone(), dot }
    }
}

/// Records by id.
#[derive(Debug, Clone)]
pub struct Collection {
    document: DocumentHandle,
    name: Arc<str>,
}

impl Collection {
    /// Adds a record under a fresh id.
    pub fn insert<K: AsRef<str>>(
        &self,
        fields: impl IntoIterator<Item = (K, Field)>,
    ) -> Result<(RecordId, Written), Error> {
        let id = new_record_id(&self.document.inner.shared)?;
        let written = self.insert_with_id(&id, fields)?;
        Ok((id, written))
    }

    /// Adds a record under an id of the caller's.
    pub fn insert_with_id<K: AsRef<str>>(
        &self,
        id: &RecordId,
        fields: impl IntoIterator<Item = (K, Field)>,
    ) -> Result<Written, Error> {
        let fields: Vec<_> = fields.into_iter().collect();
        self.change(|edit| edit.insert(&self.name, id, named(&fields)))
    }

    /// Writes fields of a record and leaves the others.
    pub fn update<K: AsRef<str>>(
        &self,
        id: &RecordId,
        fields: impl IntoIterator<Item = (K, Field)>,
    ) -> Result<Written, Error> {
        let fields: Vec<_> = fields.into_iter().collect();
        self.change(|edit| edit.update(&self.name, id, named(&fields)))
    }

    /// Writes one field at a path of nested maps, and leaves its neighbours.
    pub fn put(&self, id: &RecordId, path: &[&str], field: Field) -> Result<Written, Error> {
        self.change(|edit| edit.put(&self.name, id, path, &field))
    }

    /// Takes a field out, at a path of nested maps, with all that is below it.
    pub fn unset(&self, id: &RecordId, path: &[&str]) -> Result<Written, Error> {
        self.change(|edit| edit.unset(&self.name, id, path))
    }

    /// Adds to a counter, at a path of nested maps; a negative amount takes away.
    pub fn count(&self, id: &RecordId, path: &[&str], amount: i64) -> Result<Written, Error> {
        self.change(|edit| edit.count(&self.name, id, path, amount))
    }

    /// Removes a record.
    pub fn remove(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.remove(&self.name, id))
    }

    /// Resolves the clashing fields of a record by writing again what one author wrote.
    pub fn keep(&self, id: &RecordId, author: ReplicaId) -> Result<Written, Error> {
        self.change(|edit| edit.keep(&self.name, id, author))
    }

    /// Settles a record that was edited here and deleted there: it stays.
    pub fn adopt(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.adopt(&self.name, id))
    }

    /// Makes a record again of what an edit left of one that was deleted.
    pub fn restore(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.restore(&self.name, id))
    }

    /// Removes what an edit left of a record that was deleted.
    pub fn dismiss(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.dismiss(&self.name, id))
    }

    /// A record that is there.
    pub fn get(&self, id: &RecordId) -> Result<Option<Item>, Error> {
        self.document.read(|document| {
            let record = document.record(&self.name, id)?;
            Ok(record.map(|record| Item::new(id.clone(), &record)))
        })
    }

    /// All records, in the order of their ids.
    pub fn list(&self) -> Result<Vec<Item>, Error> {
        self.document.read(|document| {
            let records = document.records(&self.name)?.into_iter();
            Ok(records.map(|(id, record)| Item::new(id, &record)).collect())
        })
    }

    /// What clashes at present, by record.
    pub fn conflicts(&self) -> Result<Vec<Clash>, Error> {
        self.document.read(|document| {
            let mut clashes: BTreeMap<RecordId, Vec<Conflict>> = BTreeMap::new();
            for (place, conflict) in document.conflicts()? {
                match place {
                    Place::Record { collection, id } if *collection == *self.name => {
                        clashes.entry(id).or_default().push(conflict);
                    }
                    Place::Record { .. } | Place::Set { .. } | Place::Value { .. } => {}
                }
            }
            let clash = |(id, conflicts): (RecordId, Vec<Conflict>)| {
                let record = document.record(&self.name, &id)?;
                let versions = record.iter().flat_map(Record::versions).collect();
                let item = record.map(|record| Item::new(id.clone(), &record));
                Ok(Clash { id, item, conflicts, versions })
            };
            clashes.into_iter().map(clash).collect()
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<(), Refused>,
    ) -> Result<Written, Error> {
        Ok(self.document.change(change)?.1)
    }
}

fn named<K: AsRef<str>>(fields: &[(K, Field)]) -> impl Iterator<Item = (&str, &Field)> {
    fields.iter().map(|(name, field)| (name.as_ref(), field))
}
