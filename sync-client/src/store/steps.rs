//! The steps of a session, as they are written.

use rusqlite::{Connection, OptionalExtension, params};

use sync_core::causal::{Dot, ReplicaId};
use sync_core::session::limits::LOG_ENTRIES_MAX;
use sync_core::session::{LogEntry, OutboxItem, OutboxState, Step, encode_log};
use sync_core::types::Renaming;
use sync_sqlite::seal;

use super::StoreError;
use super::rows::{self, DocumentRow, counter};

pub(super) fn apply(connection: &Connection, document: i64, step: &Step) -> Result<(), StoreError> {
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

pub(super) fn read_document(
    connection: &Connection,
    document: i64,
) -> Result<DocumentRow, StoreError> {
    let sql = "SELECT name, body FROM documents WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([document], |row| Ok(rows::read_document_row(row)))?
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

pub(super) fn load_outbox(
    connection: &Connection,
    document: i64,
) -> Result<Vec<OutboxItem>, StoreError> {
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
