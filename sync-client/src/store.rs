//! The client's file: state, outbox, conflict log and identity of every document, in SQLite.
//!
//! Each batch of steps is one transaction. After the first failure nothing more is written: an error
//! from a commit does not say that nothing was committed, so only opening the file again can tell.

mod arriving;
mod check;
mod copy;
mod devices;
mod dots;
mod feed;
mod file;
mod history;
mod kept;
mod outbox;
mod past;
mod places;
mod rows;
mod scrub;
mod sieve;
mod steps;
mod tape;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use thiserror::Error;

use sync_core::causal::{ReplicaId, join};
use sync_core::session::{Device, Persist, SavedDocument};
use sync_sqlite::{Database, Schema};

pub use self::check::Damage;
pub use self::dots::DocumentStore;
pub(crate) use self::feed::FeedRow;
pub(crate) use self::file::File;
#[cfg(test)]
pub(crate) use self::file::LONG_LOG_BYTES;
pub(crate) use self::history::UndoRow;
pub use self::kept::{Keeper, Kept};
pub(crate) use self::past::Keeping;
pub use self::past::Limits;
use self::past::Past;
use self::rows::{DocumentRow, Key};
pub(crate) use self::scrub::{Progress, Scrub};
use self::steps::Held;
pub use self::tape::Checkpoint;
pub(crate) use self::tape::{Snapshot, Taped};
use crate::contact::{Contact, Contacts};
use crate::error::NoRandom;
use crate::random;

/// The name of the file within the data directory.
pub(crate) const FILE: &str = "client.db";

/// How much of the file is kept in memory, in units of 1,024 bytes. Measured: an index of 100,000 records
/// by their ids, which are in no order, fits.
const CACHE_KIB: i64 = 16 * 1_024;

/// After how many bytes a commit lets the write-ahead log go into the file. Arbitrary. Mostly it goes there
/// before, while nobody writes.
const LOG_BYTES_MAX: i64 = 128 * 1_024 * 1_024;

const SCHEMA: Schema<'_> = Schema {
    // "SyCl".
    application_id: 0x5379_436c,
    version: 5,
    migrations: &[
        include_str!("store/schema.sql"),
        include_str!("store/schema_2.sql"),
        include_str!("store/schema_3.sql"),
        include_str!("store/schema_4.sql"),
        include_str!("store/schema_5.sql"),
    ],
};

/// What says that a file is the draft of a backup: no program opens it. "SyDr".
pub(crate) const DRAFT_ID: u32 = 0x5379_4472;

/// A database in memory, with two documents.
#[cfg(test)]
fn memory() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    SCHEMA.migrations.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
    let sql = "INSERT INTO documents (id, name, body) VALUES (?1, ?1, x'')";
    (1..3).for_each(|document| assert_eq!(connection.execute(sql, [document]).unwrap(), 1));
    connection
}

/// Who writes the documents of a backup.
const NOBODY: ReplicaId = ReplicaId::from_bytes([0; 16]);

/// Why the local store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused something.
    #[error("the local store failed ({0}); free space or repair the disk, then start again")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored row is not what was written.
    #[error(
        "row {row} of table {table} in the local store is damaged; open it with repair, restore the file \
         from a backup, or move it away to start anew from the hub"
    )]
    Damaged {
        /// The table.
        table: &'static str,
        /// The key of the row.
        row: String,
    },
    /// A stored row is not there that was written, and nobody took it out.
    #[error(
        "row {row} of table {table} in the local store is missing; start again: what it was about is in the \
         document, and what of that the hub lacks is given to it; verify the file, and where something is \
         damaged, open it with repair or restore the file from a backup"
    )]
    Missing {
        /// The table.
        table: &'static str,
        /// The key of the row.
        row: String,
    },
    /// The client was shut down.
    #[error("the client is shut down")]
    Closed,
    /// An earlier error took back what was being written.
    #[error(
        "an error took back what was being written; free space or repair the disk, then start again"
    )]
    TakenBack,
    /// A change, or the thread that commits them, ended in a panic, half-way.
    #[error("the program failed while it was writing; start it again")]
    Panicked,
    /// The system gave no random bytes for an identity.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// SQLite cannot name this path.
    #[error("a path that is not Unicode cannot be written to")]
    BadPath,
    /// The session named a document that is not open.
    #[error("document {name} is not open in the local store")]
    NotOpen {
        /// The document's name.
        name: String,
    },
}

impl From<FromSqlError> for StoreError {
    fn from(error: FromSqlError) -> Self {
        Self::Sqlite(error.into())
    }
}

/// The driver's side of the file.
#[derive(Debug)]
pub(crate) struct Store {
    file: Arc<File>,
    fingerprint: [u8; 12],
    documents: BTreeMap<String, Held>,
    past: Past,
    /// As they are on disk.
    contacts: Contacts,
    /// Set by the first failure.
    failure: Option<Arc<StoreError>>,
}

/// A document as it was found, and who writes it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) saved: SavedDocument<DocumentStore>,
    pub(crate) replica: ReplicaId,
    pub(crate) contact: Contact,
    pub(crate) devices: Vec<Device>,
}

impl Store {
    /// Takes out of an open file what is damaged, and gives what that was.
    pub(crate) fn repair(database: &mut Database) -> Result<Vec<Damage>, StoreError> {
        let transaction = database.transaction()?;
        let damage = check::repair(&transaction)?;
        transaction.commit()?;
        Ok(damage)
    }

    /// Takes an open file and makes sure that it has an identity.
    pub(crate) fn new(mut database: Database) -> Result<Self, StoreError> {
        let fingerprint = identity(&mut database)?;
        let file = Arc::new(File::new(database));
        let (documents, contacts, past) = (BTreeMap::new(), Contacts::new(), Past::default());
        Ok(Self { file, fingerprint, documents, past, contacts, failure: None })
    }

    /// Opens a document; makes one if there is none of this name. Where it is not known what of it stands
    /// open, it has what the outbox has.
    pub(crate) fn load(&mut self, name: &str) -> Result<Loaded, StoreError> {
        let replica = ReplicaId::from_fingerprint(self.fingerprint);
        let (document, is_settled) = self.file.write(|connection| {
            if let Some(found) = find(connection, name)? {
                return Ok(found);
            }
            let (name_of, contact) = (name.to_owned(), Contact::default());
            let row = DocumentRow { name: name_of, replica, cursor: None, contact };
            let sql = "INSERT INTO documents (name, body, is_settled) VALUES (?1, ?2, 1)";
            connection.execute(sql, params![name, rows::write_document(&row)])?;
            Ok((connection.last_insert_rowid(), true))
        })?;
        self.file.write(|connection| {
            let row = steps::read_document(connection, document)?;
            if row.replica != NOBODY {
                return Ok(());
            }
            steps::write_document(connection, document, &DocumentRow { replica, ..row })
        })?;
        let mut store = DocumentStore::open(self.file.clone(), document, is_settled)?;
        let (row, (heads, tail), log, devices) = self.file.read(|connection| {
            let row = steps::read_document(connection, document)?;
            let heads = outbox::load(connection, document)?;
            let devices = devices::load(connection, document)?;
            Ok((row, heads, steps::load_log(connection, document)?, devices))
        })?;
        if !is_settled {
            // What was taken out as damaged may be of a change that the outbox has whole.
            for head in &heads {
                let item = store.item_of(head.span())?;
                join(&mut store, &item.delta)?;
            }
        }
        store.heads = heads;
        self.documents.insert(name.to_owned(), Held { number: document, tail });
        let DocumentRow { replica, cursor, contact, .. } = row;
        self.contacts.insert(name.to_owned(), contact);
        let saved = SavedDocument { store, outbox: Vec::new(), cursor, log };
        Ok(Loaded { saved, replica, contact, devices })
    }

    /// Notes that all documents know which of their places stand open, and makes durable what opening
    /// them wrote.
    pub(crate) fn opened(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE documents SET is_settled = 1 WHERE id = ?1 AND NOT is_settled";
        for held in self.documents.values() {
            self.file.write(|connection| {
                connection.prepare_cached(sql)?.execute([held.number])?;
                Ok(())
            })?;
        }
        self.file.commit()
    }

    /// Writes a batch, of which the documents have the deltas already. It is durable after
    /// [`commit`](Self::commit).
    pub(crate) fn write(&mut self, batch: &Persist) -> Result<(), Arc<StoreError>> {
        self.unless_failed(|store| store.apply_all(batch))
    }

    /// Writes when the hub was last heard, where that is not on disk.
    pub(crate) fn note_contacts(&mut self, contacts: &Contacts) -> Result<(), Arc<StoreError>> {
        if self.contacts == *contacts {
            return Ok(());
        }
        self.unless_failed(|store| {
            for (name, contact) in contacts {
                let Some(held) = store.documents.get(name) else { continue };
                let document = held.number;
                if store.contacts.get(name) != Some(contact) {
                    store.file.write(|connection| {
                        let row = steps::read_document(connection, document)?;
                        let row = DocumentRow { contact: *contact, ..row };
                        steps::write_document(connection, document, &row)
                    })?;
                }
            }
            store.contacts.clone_from(contacts);
            Ok(())
        })
    }

    /// Takes out what is kept of deleted things for longer than it may be. It is durable after
    /// [`opened`](Self::opened).
    pub(crate) fn forget_old(&mut self, unix_ms: u64) -> Result<(), StoreError> {
        self.file.write(|connection| kept::forget_old(connection, unix_ms))
    }

    /// Takes out what is kept of deleted things, of all documents, and makes that durable.
    pub(crate) fn forget_kept(&mut self) -> Result<(), Arc<StoreError>> {
        self.unless_failed(|store| {
            let Self { file, past, .. } = store;
            file.write(|connection| {
                kept::forget_all(connection)?;
                past.forget_all(connection)?;
                // What waits together and was overwritten since stands in rows of its own.
                for number in steps::documents(connection)? {
                    outbox::gather(connection, number)?;
                }
                Ok(())
            })?;
            store.documents.values_mut().for_each(|held| held.tail.gathered());
            store.file.commit()
        })
    }

    /// Copies the file as it is on disk, without who wrote it: whoever opens the copy is another replica.
    pub(crate) fn copy(&self, path: &Path) -> Result<(), StoreError> {
        self.file.copy(path)
    }

    /// Writes the file anew, without free pages, and empties the write-ahead log.
    pub(crate) fn write_anew(&self) -> Result<(), StoreError> {
        self.file.write_anew()
    }

    /// Whether the write-ahead log has anything.
    pub(crate) fn has_log(&self) -> bool {
        self.file.has_log()
    }

    /// Whether the write-ahead log is to go into the file as soon as nobody writes.
    pub(crate) fn has_long_log(&self) -> bool {
        self.file.has_long_log()
    }

    /// Lets the write-ahead log go into the file and empties it. Nothing may be uncommitted.
    pub(crate) fn empty_log(&self) {
        self.file.empty_log();
    }

    pub(crate) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Makes everything durable that was written, here and by the documents.
    pub(crate) fn commit(&mut self) -> Result<(), Arc<StoreError>> {
        self.unless_failed(|store| store.file.commit())
    }

    /// Takes note of a failure. From here on everything fails, with the first error.
    pub(crate) fn fail(&mut self, failure: Arc<StoreError>) {
        if self.failure.is_none() {
            self.failure = Some(failure);
            self.file.give_up();
        }
    }

    /// Writes something, and makes it and everything before it durable.
    pub(crate) fn written<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, Arc<StoreError>> {
        self.unless_failed(|store| {
            let written = write(store)?;
            store.file.commit()?;
            Ok(written)
        })
    }

    fn unless_failed<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, Arc<StoreError>> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        write(self).map_err(|error| {
            let failure = Arc::new(error);
            self.fail(failure.clone());
            failure
        })
    }

    /// Lets the file grow by little more.
    #[cfg(test)]
    pub(crate) fn fill_up(&self) {
        let grown = self.file.read(|connection| {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            connection.pragma_update_and_check(None, "max_page_count", pages + 8, |_| Ok(()))?;
            Ok(())
        });
        grown.unwrap();
    }

    fn apply_all(&mut self, batch: &Persist) -> Result<(), StoreError> {
        let not_open = || StoreError::NotOpen { name: batch.document.clone() };
        let Self { file, past, documents, .. } = self;
        let held = documents.get_mut(&batch.document).ok_or_else(not_open)?;
        if batch.steps.is_empty() {
            return Ok(());
        }
        file.write(|connection| {
            batch.steps.iter().try_for_each(|step| {
                past.take(connection, held.number, step)?;
                steps::apply(connection, held, step)
            })
        })
    }
}

/// The file is given up, also where documents of it are still held.
impl Drop for Store {
    fn drop(&mut self) {
        self.file.close();
    }
}

/// Opens the file in a directory.
pub(crate) fn open_file(directory: &Path) -> Result<Database, sync_sqlite::OpenError> {
    let database = sync_sqlite::open(directory.join(FILE), &SCHEMA)?;
    let set = |pragma, value| database.pragma_update(None, pragma, value);
    // A negative size is in units of 1,024 bytes.
    let page = || database.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0));
    let prepared = set("cache_size", -CACHE_KIB)
        .and_then(|()| page())
        .and_then(|page| set("wal_autocheckpoint", LOG_BYTES_MAX / page))
        // Documents are never taken out, and what is written is of one that is open.
        .and_then(|()| set("foreign_keys", 0));
    let path = database.path().to_path_buf();
    prepared.map_err(|source| sync_sqlite::OpenError::Sqlite { path, source })?;
    Ok(database)
}

/// The number of a document, and whether it is known what of it stands open. A document that is not found would
/// be made anew, and give counters again: so the table is asked too, and not only its index.
fn find(connection: &Connection, name: &str) -> Result<Option<(i64, bool)>, StoreError> {
    let sql = "SELECT id, is_settled FROM documents NOT INDEXED WHERE name = ?1";
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Option<(i64, bool)> = connection.query_row(sql, [name], row).optional()?;
    let sql = "SELECT id FROM documents INDEXED BY sqlite_autoindex_documents_1 WHERE name = ?1";
    let indexed: Option<i64> = connection.query_row(sql, [name], |row| row.get(0)).optional()?;
    if found.map(|(document, _)| document) == indexed {
        Ok(found)
    } else {
        Err(Key { table: "documents", key: &name }.damaged())
    }
}

/// Reads the fingerprint; draws one where there is none.
fn identity(database: &mut Database) -> Result<[u8; 12], StoreError> {
    let at = Key { table: "identity", key: &1 };
    let transaction = database.transaction()?;
    let found: Option<Vec<u8>> = transaction
        .query_row("SELECT body FROM identity WHERE id = 1", [], |row| row.get(0))
        .optional()?;
    let fingerprint = match found {
        Some(body) => rows::read_identity(at, &body)?,
        None => {
            let fingerprint = random::bytes::<12>()?;
            let sql = "INSERT INTO identity (id, body) VALUES (1, ?1)";
            transaction.execute(sql, [rows::write_identity(&fingerprint)])?;
            fingerprint
        }
    };
    transaction.commit()?;
    Ok(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::causal::{Delta, Dot, DotStore, Entry, Label, PlaceId, Slots};
    use sync_core::session::limits::LOG_ENTRIES_MAX;
    use sync_core::session::{LogEntry, OutboxItem, OutboxState, Step};
    use sync_core::time::Stamp;
    use sync_core::wire::Cursor;

    fn follow(document: &str, seq: u64) -> Persist {
        let steps = vec![Step::Follow(Cursor { boot: 1, seq })];
        Persist { id: seq, document: document.to_owned(), steps }
    }

    impl Store {
        fn persist(&mut self, batch: &Persist) -> Result<(), Arc<StoreError>> {
            self.write(batch)?;
            self.commit()
        }
    }

    fn opened(folder: &Path) -> (Store, Loaded) {
        let mut store = Store::new(open_file(folder).unwrap()).unwrap();
        let loaded = store.load("notes").unwrap();
        (store, loaded)
    }

    #[test]
    fn the_first_failure_is_given_for_everything_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = opened(folder.path());
        store.persist(&follow("notes", 1)).unwrap();
        let first = store.persist(&follow("not open", 2)).unwrap_err();
        let second = store.persist(&follow("notes", 3)).unwrap_err();
        assert!(Arc::ptr_eq(&first, &second));
        drop(store);
        let (mut store, loaded) = opened(folder.path());
        assert_eq!(loaded.saved.cursor, Some(Cursor { boot: 1, seq: 1 }));
        store.persist(&follow("notes", 4)).unwrap();
    }

    #[test]
    fn the_conflict_log_on_disk_is_limited_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = opened(folder.path());
        let (collection, field, sides) = ("notes".to_owned(), None, Vec::new());
        let entry = |number: usize| {
            // Two are of one time, and what is older is not what comes first by its key.
            let record = format!("n{}", number ^ 1);
            let (collection, sides, seen_ms) =
                (collection.clone(), sides.clone(), number as u64 / 2);
            LogEntry { collection, record, field: field.clone(), sides, seen_ms }
        };
        let mut kept = Vec::new();
        for (id, until) in (LOG_ENTRIES_MAX - 1..=LOG_ENTRIES_MAX + 1).enumerate() {
            let from = kept.last().map_or(0, |(last, _)| *last);
            let steps = (from..until).map(|number| Step::Log(entry(number))).collect();
            let batch = Persist { id: id as u64, document: "notes".to_owned(), steps };
            store.persist(&batch).unwrap();
            let log = store.load("notes").unwrap().saved.log;
            let oldest = log.iter().map(|entry| (entry.seen_ms, entry.record.clone())).min();
            kept.push((until, oldest));
            assert_eq!(log.len(), until.min(LOG_ENTRIES_MAX));
        }
        let oldest: Vec<_> = kept.into_iter().filter_map(|(_, oldest)| oldest).collect();
        assert_eq!(oldest, [(0, "n0".to_owned()), (0, "n0".to_owned()), (0, "n1".to_owned())]);
    }

    #[test]
    fn a_batch_is_stored_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, Loaded { replica, mut saved, .. }) = opened(folder.path());
        let dot = Dot::new(replica, 1);
        let mut delta = Delta::default();
        delta.dead.insert(dot);
        let (first, last, changes, state) = (1, 1, 1, OutboxState::Pending);
        let item = OutboxItem { replica, first, last, changes, state, delta: delta.clone() };
        let enqueue = Step::Enqueue { item, replaces: None };
        join(&mut saved.store, &delta).unwrap();
        assert!(saved.store.context().contains(dot));
        let steps = vec![Step::Join(delta), enqueue.clone(), Step::Renew(replica), enqueue];
        let batch = Persist { id: 1, document: "notes".to_owned(), steps };
        // The same item cannot stand in the outbox twice.
        store.persist(&batch).unwrap_err();
        drop(store);
        let (_, loaded) = opened(folder.path());
        assert!(loaded.saved.store.heads.is_empty());
        assert!(loaded.saved.store.context().is_empty());
    }

    #[test]
    fn a_renewed_replica_is_the_writer_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, Loaded { replica, .. }) = opened(folder.path());
        let fresh = replica.with_incarnation(1);
        let document = "notes".to_owned();
        store.persist(&Persist { id: 1, document, steps: vec![Step::Renew(fresh)] }).unwrap();
        store.persist(&follow("notes", 2)).unwrap();
        drop(store);
        let (_, loaded) = opened(folder.path());
        assert_eq!(loaded.replica, fresh);
        assert_eq!(loaded.saved.cursor, Some(Cursor { boot: 1, seq: 2 }));
    }

    #[test]
    fn what_an_error_of_reading_took_back_is_not_said_to_be_stored() {
        let folder = sync_faults::folder();
        let disk = sync_faults::Disk::mount(folder.path());
        let (store, Loaded { replica, mut saved, .. }) = opened(folder.path());
        let other = ReplicaId::from_bytes([9; 16]);
        let run = |replica, counter, bytes: &[u8]| Delta {
            entries: [Entry {
                first: Dot::new(replica, counter),
                stamp: Stamp::from_ms(1),
                label: Label::new(b"\x01notes", [&b"\x01name"[..]]),
                id: PlaceId::new(&counter.to_be_bytes()),
                slots: Slots::new([Some(bytes)].into_iter()),
            }]
            .into(),
            ..Delta::default()
        };
        for counter in 1..400 {
            join(&mut saved.store, &run(other, counter, &[7; 2000])).unwrap();
        }
        store.file.commit().unwrap();
        drop((saved, store));
        // A change that is not committed yet, and a read of something else that fails.
        let (mut store, Loaded { mut saved, .. }) = opened(folder.path());
        let delta = run(replica, 1, b"mine");
        join(&mut saved.store, &delta).unwrap();
        disk.fail_reads();
        assert!(matches!(saved.store.overlapping(other, 200, 300), Err(StoreError::Sqlite(_))));
        disk.mend();
        let (first, last, changes, state) = (1, 1, 1, OutboxState::Pending);
        let item = OutboxItem { replica, first, last, changes, state, delta };
        let steps = vec![Step::Enqueue { item, replaces: None }];
        let batch = Persist { id: 1, document: "notes".to_owned(), steps };
        let refused = store.persist(&batch).unwrap_err();
        assert!(matches!(*refused, StoreError::TakenBack), "{refused}");
        drop((saved, store));
        let (_store, Loaded { saved, .. }) = opened(folder.path());
        let is_seen = saved.store.context().contains(Dot::new(replica, 1));
        assert_eq!((is_seen, saved.store.heads.len()), (false, 0));
    }
}
