//! The steps of a session, as they are written.

use rusqlite::{Connection, params};

use sync_core::session::{LogEntry, OutboxState, Step, encode_log};
use sync_sqlite::seal;

use super::outbox::{self, Tail};
use super::rows::{self, DocumentRow, counter};
use super::{StoreError, devices, kept};

/// A document that is open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) number: i64,
    pub(super) tail: Tail,
}

pub(super) fn apply(
    connection: &Connection,
    held: &mut Held,
    step: &Step,
) -> Result<(), StoreError> {
    let document = held.number;
    match step {
        // The document has done that, and a record is kept beside.
        Step::Join(_) | Step::Record(_) => Ok(()),
        Step::Enqueue { item, replaces } => {
            outbox::enqueue(connection, document, &mut held.tail, item, *replaces)
        }
        Step::Freeze(key) => outbox::set_state(connection, document, *key, OutboxState::Frozen),
        Step::Settle(key) => outbox::take(connection, document, *key).map(|_| ()),
        Step::Park { key, reason } => {
            let reason = reason.clone();
            outbox::set_state(connection, document, *key, OutboxState::Parked { reason })
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
        Step::Know(device) => devices::know(connection, document, device),
        Step::Forget(replica) => devices::forget(connection, document, *replica),
        Step::Rename(renaming) => {
            outbox::rename(connection, document, &mut held.tail, renaming)?;
            let row = read_document(connection, document)?;
            write_document(connection, document, &DocumentRow { cursor: None, ..row })
        }
    }
}

pub(super) fn read_document(
    connection: &Connection,
    document: i64,
) -> Result<DocumentRow, StoreError> {
    let sql = "SELECT name, body FROM documents WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([document], |row| Ok(rows::read_document_row(row)))?
}

/// The numbers of all documents.
pub(super) fn documents(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM documents")?;
    let numbers = statement.query_map([], |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

pub(super) fn write_document(
    connection: &Connection,
    document: i64,
    row: &DocumentRow,
) -> Result<(), StoreError> {
    let sql = "UPDATE documents SET body = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![document, rows::write_document(row)])?;
    Ok(())
}

fn log(connection: &Connection, document: i64, entry: &LogEntry) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO conflicts (document, key, seen_ms, body)
               VALUES (?1, ?2, ?3, ?4)";
    let row = params![document, entry.key(), counter(entry.seen_ms), seal(&encode_log(entry))];
    connection.prepare_cached(sql)?.execute(row)?;
    kept::limit_log(connection, document)
}

pub(super) fn load_log(
    connection: &Connection,
    document: i64,
) -> Result<Vec<LogEntry>, StoreError> {
    let sql = "SELECT key, body FROM conflicts WHERE document = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([document])?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        entries.push(rows::read_conflict(row)?);
    }
    Ok(entries)
}
