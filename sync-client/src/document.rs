//! Documents and their collections, as an application uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_core::causal::{Dot, ReplicaId};
use sync_core::error::Misuse;
use sync_core::session::{LogEntry, OutboxItem, Peer};
use sync_core::types::{Conflict, Field, Place, Record, RecordId, Value, Version};

use crate::client::{Inner, new_record_id};
use crate::error::Error;
use crate::status::Status;
use crate::store::{Kept, StoreError};
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
    ///
    /// A change has at most some 160,000 bytes as it is stored. While more than a thousand changes have not
    /// reached the disk, this waits.
    ///
    /// ```
    /// use sync_client::{Client, Error, Refused, RecordId};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let client = Client::open(folder.path().join("data"), "accounts")?;
    /// let accounts = client.document("accounts")?;
    /// let [ada, ben] = ["ada", "ben"].map(|id| RecordId::new(id).unwrap());
    /// let open = accounts.change(|edit| {
    ///     edit.insert("accounts", &ada, [("cents", &700.into())])?;
    ///     edit.insert("accounts", &ben, [("cents", &0.into())])
    /// });
    /// open?.1.wait_disk()?;
    ///
    /// // Both are moved, or none is.
    /// let (moved, written) = accounts.change(|edit| {
    ///     edit.update("accounts", &ada, [("cents", &500.into())])?;
    ///     edit.update("accounts", &ben, [("cents", &200.into())])?;
    ///     Ok(200)
    /// })?;
    /// written.wait_disk()?;
    /// assert_eq!(moved, 200);
    ///
    /// // The second step is refused, so the first is taken back.
    /// let none = RecordId::new("none")?;
    /// let refused = accounts.change(|edit| {
    ///     edit.update("accounts", &ada, [("cents", &0.into())])?;
    ///     edit.update("accounts", &none, [("cents", &500.into())])
    /// });
    /// assert!(matches!(refused, Err(Error::Misuse(_))));
    /// let ada = accounts.collection("accounts").get(&ada)?.unwrap();
    /// assert_eq!(ada.value("cents").and_then(|cents| cents.as_int()), Some(500));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where the closure gives one, or the change is too large: nothing is changed then.
    /// [`Error::Store`] where the file cannot be read or written: nothing more is written until the client is
    /// opened again. [`Error::Closed`] once it is shut down.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Refused>,
    ) -> Result<(T, Written), Error> {
        let (value, dot) = self.inner.shared.change(&self.name, change)?;
        Ok((value, self.written(dot)))
    }

    /// As [`change`](Self::change), if `check` finds that the document is as it should be afterwards; or
    /// else nothing is left of it.
    ///
    /// # Errors
    ///
    /// [`Error::Violated`] where the check says no; or else as [`change`](Self::change).
    pub fn change_guarded<T>(
        &self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Refused>,
        check: impl FnOnce(&Document) -> Result<bool, StoreError>,
    ) -> Result<(T, Written), Error> {
        let mut is_violated = false;
        let made = self.change(|edit| {
            let value = change(edit)?;
            if check(edit.document()).map_err(Refused::Store)? {
                return Ok(value);
            }
            is_violated = true;
            Err(Misuse::Empty.into())
        });
        if is_violated && matches!(made, Err(Error::Misuse(_))) {
            return Err(Error::Violated);
        }
        made
    }

    /// Adds a member to a set of the document.
    ///
    /// # Errors
    ///
    /// As [`Self::change`]; [`Error::Misuse`] where the name is not 1 to 128 bytes without control
    /// characters, or the member nests deeper than 32 lists and maps or is too large.
    pub fn set_add(&self, set: &str, member: impl Into<Value>) -> Result<Written, Error> {
        let member = member.into();
        Ok(self.change(|edit| edit.set_add(set, &member))?.1)
    }

    /// Removes a member from a set of the document.
    ///
    /// # Errors
    ///
    /// As [`Self::change`]; [`Error::Misuse`] where the name is not 1 to 128 bytes without control
    /// characters.
    pub fn set_remove(&self, set: &str, member: impl Into<Value>) -> Result<Written, Error> {
        let member = member.into();
        Ok(self.change(|edit| edit.set_remove(set, &member))?.1)
    }

    /// The members of a set of the document.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn set(&self, set: &str) -> Result<BTreeSet<Value>, Error> {
        self.read(|document| document.set(set))
    }

    /// Reads the document under the lock: the closure must not use this client.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file cannot be read or what stands there is damaged, [`Error::Store`] where
    /// what was changed before could not be written, which is then so for all that follows, and
    /// [`Error::Closed`] once the client is shut down.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Document) -> Result<T, StoreError>,
    ) -> Result<T, Error> {
        self.inner.shared.read(&self.name, read)
    }

    /// How the document is with its hub.
    #[must_use]
    pub fn status(&self) -> Status {
        let now_ms = self.inner.shared.now().unix_ms;
        let state = self.inner.shared.lock();
        state.status(&self.name, now_ms).unwrap_or_else(|_| Status::unknown())
    }

    /// What is kept of the document's deleted and overwritten things, with sizes and limits.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file cannot be read; [`Error::Closed`] once the client was shut down.
    pub fn kept(&self) -> Result<Vec<Kept>, Error> {
        let name = self.name.clone();
        self.inner.shared.with_store(move |_, store| Ok(store.kept(&name)?))
    }

    /// What the hub has not acknowledged, in order. All of it is read:
    /// [`Client::outbox_page`](crate::Client::outbox_page) gives it in pages.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file cannot be read; [`Error::Closed`] once the client was shut down.
    pub fn outbox(&self) -> Result<Vec<OutboxItem>, Error> {
        self.inner.shared.lock().items(&self.name)
    }

    /// What clashed so far, also what was resolved since.
    ///
    /// At most 1,000 entries are kept; the oldest go first.
    ///
    /// # Errors
    ///
    /// As [`Self::read`]: whether something still clashes is read from the file.
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
    ///
    /// The name has at most 128 bytes, and what is shown at most 4,096.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where something is longer, [`Error::Store`] where the store had failed, and
    /// [`Error::Closed`] once the client is shut down.
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
        self.inner.shared.lock().peers(&self.name).unwrap_or_default()
    }

    pub(crate) fn written(&self, dot: Dot) -> Written {
        Written { inner: self.inner.clone(), document: self.name.clone(), dot }
    }
}

/// Records by id.
///
/// ```
/// use std::collections::BTreeMap;
/// use sync_client::{Client, Field, RecordId, members};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let client = Client::open(folder.path().join("data"), "notes")?;
/// let notes = client.document("notes")?.collection("notes");
/// let id = RecordId::new("shopping")?;
/// let place = BTreeMap::from([("city".to_owned(), "Bern".into())]);
/// let written = notes.insert_with_id(&id, [
///     ("title", "Buy milk".into()),         // concurrent values are all kept
///     ("colour", Field::Latest("red".into())), // the last one wins
///     ("tags", members(["home", "shop"])),  // members merge one by one
///     ("seen", Field::Counter(0)),          // concurrent changes add up
///     ("place", Field::Map(place)),         // each of its fields merges on its own
/// ])?;
/// written.wait_disk()?;
/// notes.update(&id, [("tags", members(["home"]))])?.wait_disk()?;
/// notes.put(&id, &["place", "street"], "Kramgasse".into())?.wait_disk()?;
/// notes.count(&id, &["seen"], 2)?.wait_disk()?;
/// notes.unset(&id, &["colour"])?.wait_disk()?;
///
/// let note = notes.get(&id)?.unwrap();
/// assert_eq!(note.text("title"), Some("Buy milk"));
/// assert_eq!(note.members("tags").count(), 1);
/// assert_eq!(note.count("seen"), 2);
/// assert_eq!(note.value("colour"), None);
/// let Field::Map(place) = &note.fields["place"] else { panic!("a map") };
/// assert_eq!(place.len(), 2);
/// notes.remove(&id)?.wait_disk()?;
/// assert_eq!(notes.get(&id)?, None);
/// # Ok(client.shutdown()?)
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Collection {
    pub(crate) document: DocumentHandle,
    pub(crate) name: Arc<str>,
}

impl Collection {
    /// Adds a record under a fresh id.
    ///
    /// # Errors
    ///
    /// As [`Self::insert_with_id`]; [`Error::NoRandom`] where the system gives no random bytes for the id.
    pub fn insert<K: AsRef<str>>(
        &self,
        fields: impl IntoIterator<Item = (K, Field)>,
    ) -> Result<(RecordId, Written), Error> {
        let id = new_record_id(&self.document.inner.shared)?;
        let written = self.insert_with_id(&id, fields)?;
        Ok((id, written))
    }

    /// Adds a record under an id of the caller's.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where there is a record of that id, where the name
    /// of the collection or of a field is not 1 to 128 bytes without control characters, where a field
    /// stands twice, or a value nests deeper than 32 lists and maps.
    pub fn insert_with_id<K: AsRef<str>>(
        &self,
        id: &RecordId,
        fields: impl IntoIterator<Item = (K, Field)>,
    ) -> Result<Written, Error> {
        let fields: Vec<_> = fields.into_iter().collect();
        self.change(|edit| edit.insert(&self.name, id, named(&fields)))
    }

    /// Writes fields of a record and leaves the others.
    ///
    /// # Errors
    ///
    /// As [`Self::insert_with_id`], but that [`Error::Misuse`] says that there is no such record.
    pub fn update<K: AsRef<str>>(
        &self,
        id: &RecordId,
        fields: impl IntoIterator<Item = (K, Field)>,
    ) -> Result<Written, Error> {
        let fields: Vec<_> = fields.into_iter().collect();
        self.change(|edit| edit.update(&self.name, id, named(&fields)))
    }

    /// Writes one field at a path of nested maps, and leaves its neighbours.
    ///
    /// # Errors
    ///
    /// As [`Self::update`].
    pub fn put(&self, id: &RecordId, path: &[&str], field: Field) -> Result<Written, Error> {
        self.change(|edit| edit.put(&self.name, id, path, &field))
    }

    /// Takes a field out, at a path of nested maps, with all that is below it.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where there is no such record.
    pub fn unset(&self, id: &RecordId, path: &[&str]) -> Result<Written, Error> {
        self.change(|edit| edit.unset(&self.name, id, path))
    }

    /// Adds to a counter, at a path of nested maps; a negative amount takes away.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where there is no such record.
    pub fn count(&self, id: &RecordId, path: &[&str], amount: i64) -> Result<Written, Error> {
        self.change(|edit| edit.count(&self.name, id, path, amount))
    }

    /// Removes a record.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where there is no such record.
    pub fn remove(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.remove(&self.name, id))
    }

    /// Resolves the clashing fields of a record by writing again what one author wrote.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where there is no such record, or nothing that this
    /// author wrote clashes.
    pub fn keep(&self, id: &RecordId, author: ReplicaId) -> Result<Written, Error> {
        self.change(|edit| edit.keep(&self.name, id, author))
    }

    /// Settles a record that was edited here and deleted there: it stays.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where there is no such record.
    pub fn adopt(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.adopt(&self.name, id))
    }

    /// Makes a record again of what an edit left of one that was deleted.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where nothing is left of such a record, or it is
    /// whole.
    pub fn restore(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.restore(&self.name, id))
    }

    /// Removes what an edit left of a record that was deleted.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::change`]; [`Error::Misuse`] where nothing is left of such a record, or it is
    /// whole.
    pub fn dismiss(&self, id: &RecordId) -> Result<Written, Error> {
        self.change(|edit| edit.dismiss(&self.name, id))
    }

    /// A record that is there.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::read`]. That there is no such record is none.
    pub fn get(&self, id: &RecordId) -> Result<Option<Item>, Error> {
        self.document.read(|document| {
            let record = document.record(&self.name, id)?;
            Ok(record.map(|record| Item::new(id.clone(), &record)))
        })
    }

    /// All records, in the order of their ids.
    ///
    /// They are read at once and take memory; [`DocumentHandle::read`] has pages of them.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::read`].
    pub fn list(&self) -> Result<Vec<Item>, Error> {
        self.document.read(|document| {
            let records = document.records(&self.name)?.into_iter();
            Ok(records.map(|(id, record)| Item::new(id, &record)).collect())
        })
    }

    /// What clashes at present, by record.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::read`].
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
