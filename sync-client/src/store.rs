//! The client's file: state, outbox, conflict log and identity of every document, in SQLite.
//!
//! Each batch of steps is one transaction. After the first failure nothing more is written: an error
//! from a commit does not say that nothing was committed, so only opening the file again can tell.

mod check;
mod dots;
mod file;
mod places;
mod rows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use thiserror::Error;

use sync_core::causal::{Dot, ReplicaId};
use sync_core::session::limits::LOG_ENTRIES_MAX;
use sync_core::session::{
    LogEntry, OutboxItem, OutboxState, Persist, SavedDocument, Step, decode_log, encode_log,
};
use sync_core::types::Renaming;
use sync_sqlite::{Database, Schema, seal, unseal};

pub use self::check::Damage;
pub use self::dots::DocumentStore;
pub(crate) use self::file::File;
use self::rows::{DocumentRow, Key, counter};
use crate::error::NoRandom;
use crate::random;

/// The name of the file within the data directory.
pub(crate) const FILE: &str = "client.db";

const SCHEMA: Schema<'_> = Schema {
    // "SyCl".
    application_id: 0x5379_436c,
    version: 2,
    migrations: &[include_str!("store/schema.sql"), include_str!("store/schema_2.sql")],
};

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
    /// The client was shut down.
    #[error("the client is shut down")]
    Closed,
    /// An earlier error took back what was being written.
    #[error(
        "an error took back what was being written; free space or repair the disk, then start again"
    )]
    TakenBack,
    /// A change ended in a panic, half-way.
    #[error("a change ended in a panic")]
    Panicked,
    /// The system gave no random bytes for an identity.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
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
    documents: BTreeMap<String, i64>,
    /// Set by the first failure.
    failure: Option<Arc<StoreError>>,
}

/// A document as it was found, and who writes it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) saved: SavedDocument<DocumentStore>,
    pub(crate) replica: ReplicaId,
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
        Ok(Self { file, fingerprint, documents: BTreeMap::new(), failure: None })
    }

    /// Opens a document; makes one if there is none of this name.
    pub(crate) fn load(&mut self, name: &str) -> Result<Loaded, StoreError> {
        let replica = ReplicaId::from_fingerprint(self.fingerprint);
        let (document, is_settled) = self.file.write(|connection| {
            let sql = "SELECT id, is_settled FROM documents WHERE name = ?1";
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            if let Some(found) = connection.query_row(sql, [name], row).optional()? {
                return Ok(found);
            }
            let row = DocumentRow { name: name.to_owned(), replica, cursor: None };
            let sql = "INSERT INTO documents (name, body, is_settled) VALUES (?1, ?2, 1)";
            connection.execute(sql, params![name, rows::write_document(&row)])?;
            Ok((connection.last_insert_rowid(), true))
        })?;
        let store = DocumentStore::open(self.file.clone(), document, is_settled)?;
        let (row, outbox, log) = self.file.read(|connection| {
            let row = read_document(connection, document)?;
            Ok((row, load_outbox(connection, document)?, load_log(connection, document)?))
        })?;
        self.documents.insert(name.to_owned(), document);
        let DocumentRow { replica, cursor, .. } = row;
        Ok(Loaded { saved: SavedDocument { store, outbox, cursor, log }, replica })
    }

    /// Notes that all documents know which of their places stand open, and makes durable what opening
    /// them wrote.
    pub(crate) fn opened(&mut self) -> Result<(), StoreError> {
        let unsettled = "SELECT 1 FROM documents WHERE id = ?1 AND NOT is_settled";
        let settled = "UPDATE documents SET is_settled = 1 WHERE id = ?1";
        for document in self.documents.values() {
            self.file.write(|connection| {
                if connection.prepare(unsettled)?.exists([document])? {
                    connection.execute(settled, [document])?;
                }
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
            self.file.roll_back();
        }
    }

    fn unless_failed(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), Arc<StoreError>> {
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
        let document = *self.documents.get(&batch.document).ok_or_else(not_open)?;
        if batch.steps.is_empty() {
            return Ok(());
        }
        self.file.write(|connection| {
            batch.steps.iter().try_for_each(|step| apply(connection, document, step))
        })
    }
}

/// The file is given up, also where documents of it are still held.
impl Drop for Store {
    fn drop(&mut self) {
        self.file.close(self.failure.is_none());
    }
}

/// Opens the file in a directory.
pub(crate) fn open_file(directory: &Path) -> Result<Database, sync_sqlite::OpenError> {
    sync_sqlite::open(directory.join(FILE), &SCHEMA)
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

fn apply(connection: &Connection, document: i64, step: &Step) -> Result<(), StoreError> {
    match step {
        // The document has done that.
        Step::Join(_) => Ok(()),
        Step::Enqueue { item, replaces } => enqueue(connection, document, item, *replaces),
        Step::Freeze(key) => set_state(connection, document, *key, OutboxState::Frozen),
        Step::Settle(key) => {
            let sql = "DELETE FROM outbox WHERE document = ?1 AND replica = ?2 AND last = ?3";
            let key = params![document, key.replica.as_bytes(), counter(key.counter)];
            connection.prepare_cached(sql)?.execute(key)?;
            Ok(())
        }
        Step::Park { key, reason } => {
            let reason = reason.clone();
            set_state(connection, document, *key, OutboxState::Parked { reason })
        }
        Step::Follow(cursor) => {
            let row = read_document(connection, document)?;
            write_document(connection, document, &DocumentRow { cursor: Some(*cursor), ..row })
        }
        Step::Log(entry) => log(connection, document, entry),
        Step::Renew(replica) => {
            let row = read_document(connection, document)?;
            write_document(connection, document, &DocumentRow { replica: *replica, ..row })
        }
        Step::Rename(renaming) => rename(connection, document, renaming),
    }
}

/// Lets a part of a replica's history stand under another one, as it does in the document.
fn rename(connection: &Connection, document: i64, renaming: &Renaming) -> Result<(), StoreError> {
    let items = load_outbox(connection, document)?;
    connection.prepare_cached("DELETE FROM outbox WHERE document = ?1")?.execute([document])?;
    for item in items {
        enqueue(connection, document, &item.renamed(renaming), None)?;
    }
    let row = read_document(connection, document)?;
    write_document(connection, document, &DocumentRow { cursor: None, ..row })
}

fn read_document(connection: &Connection, document: i64) -> Result<DocumentRow, StoreError> {
    let sql = "SELECT name, body FROM documents WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([document], |row| Ok(read_document_row(row)))?
}

/// Reads a row of the columns name, body.
fn read_document_row(row: &Row<'_>) -> Result<DocumentRow, StoreError> {
    let name: String = row.get(0)?;
    let at = Key { table: "documents", key: &name };
    let row = rows::read_document(at, row.get_ref(1)?.as_blob()?)?;
    if row.name == name { Ok(row) } else { Err(at.damaged()) }
}

fn write_document(
    connection: &Connection,
    document: i64,
    row: &DocumentRow,
) -> Result<(), StoreError> {
    let sql = "UPDATE documents SET body = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![document, rows::write_document(row)])?;
    Ok(())
}

/// Puts an item last, or where the one stood that it takes the place of.
fn enqueue(
    connection: &Connection,
    document: i64,
    item: &OutboxItem,
    replaces: Option<Dot>,
) -> Result<(), StoreError> {
    let body = rows::write_item(item);
    let last = counter(item.last);
    if let Some(old) = replaces {
        let sql = "UPDATE outbox SET last = ?4, body = ?5
                   WHERE document = ?1 AND replica = ?2 AND last = ?3";
        let row = params![document, old.replica.as_bytes(), counter(old.counter), last, body];
        if connection.prepare_cached(sql)?.execute(row)? > 0 {
            return Ok(());
        }
    }
    let sql = "INSERT INTO outbox (document, replica, last, body) VALUES (?1, ?2, ?3, ?4)";
    let row = params![document, item.replica.as_bytes(), last, body];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn set_state(
    connection: &Connection,
    document: i64,
    key: Dot,
    state: OutboxState,
) -> Result<(), StoreError> {
    let (replica, last) = (key.replica, counter(key.counter));
    let sql = "SELECT body FROM outbox WHERE document = ?1 AND replica = ?2 AND last = ?3";
    let at = params![document, replica.as_bytes(), last];
    let body: Option<Vec<u8>> =
        connection.prepare_cached(sql)?.query_row(at, |row| row.get(0)).optional()?;
    let Some(body) = body else { return Ok(()) };
    let item = OutboxItem { state, ..rows::read_item(replica, last, &body)? };
    let sql = "UPDATE outbox SET body = ?4 WHERE document = ?1 AND replica = ?2 AND last = ?3";
    let row = params![document, replica.as_bytes(), last, rows::write_item(&item)];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn log(connection: &Connection, document: i64, entry: &LogEntry) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO conflicts (document, key, seen_ms, body)
               VALUES (?1, ?2, ?3, ?4)";
    let row = params![document, entry.key(), counter(entry.seen_ms), seal(&encode_log(entry))];
    connection.prepare_cached(sql)?.execute(row)?;
    let sql = "DELETE FROM conflicts WHERE document = ?1 AND key IN (
                   SELECT key FROM conflicts WHERE document = ?1
                   ORDER BY seen_ms DESC, key DESC LIMIT -1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute(params![document, LOG_ENTRIES_MAX as i64])?;
    Ok(())
}

fn load_outbox(connection: &Connection, document: i64) -> Result<Vec<OutboxItem>, StoreError> {
    let sql = "SELECT replica, last, body FROM outbox WHERE document = ?1 ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([document])?;
    let mut items = Vec::new();
    while let Some(row) = found.next()? {
        let replica = ReplicaId::from_bytes(row.get(0)?);
        items.push(rows::read_item(replica, row.get(1)?, row.get_ref(2)?.as_blob()?)?);
    }
    Ok(items)
}

fn load_log(connection: &Connection, document: i64) -> Result<Vec<LogEntry>, StoreError> {
    let sql = "SELECT key, body FROM conflicts WHERE document = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([document])?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        entries.push(read_conflict(row)?);
    }
    Ok(entries)
}

/// Reads a row of the columns key, body.
fn read_conflict(row: &Row<'_>) -> Result<LogEntry, StoreError> {
    let key: String = row.get(0)?;
    let at = Key { table: "conflicts", key: &key.replace('\u{1f}', "/") };
    let bytes = unseal(row.get_ref(1)?.as_blob()?).map_err(|_| at.damaged())?;
    let entry = decode_log(bytes).map_err(|_| at.damaged())?;
    if entry.key() == key { Ok(entry) } else { Err(at.damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::causal::{Delta, DotStore, Entry, Label, PlaceId, Slots, join};
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
        let (mut store, Loaded { replica, mut saved }) = opened(folder.path());
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
        assert!(loaded.saved.outbox.is_empty());
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
        let (store, Loaded { replica, mut saved }) = opened(folder.path());
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
        assert_eq!((is_seen, saved.outbox.len()), (false, 0));
    }
}
