//! Copies of the whole file, without who wrote it.
//!
//! Until a copy is whole it says of itself that it is a draft, which no program opens: its identity is never
//! in it, and what is there of it in part is of no use to anybody.

use std::path::Path;

use rusqlite::{Connection, params};

use super::rows::DocumentRow;
use super::{DRAFT_ID, NOBODY, SCHEMA, StoreError, rows, steps};

/// Writes a copy of an open file, of which nothing is uncommitted, where there is no file yet.
pub(super) fn write(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let name = path.as_os_str().as_encoded_bytes();
    let name = std::str::from_utf8(name).map_err(|_| StoreError::BadPath)?;
    begin(path)?;
    connection.execute("ATTACH ?1 AS draft", [name])?;
    let written = fill(connection);
    let ended = connection.execute_batch("DETACH draft");
    written.and(ended.map_err(StoreError::from))
}

/// Makes a file with all tables, which are empty.
fn begin(path: &Path) -> Result<(), StoreError> {
    let draft = Connection::open(path)?;
    let transaction = draft.unchecked_transaction()?;
    draft.pragma_update(None, "application_id", DRAFT_ID)?;
    SCHEMA.migrations.iter().try_for_each(|sql| draft.execute_batch(sql))?;
    draft.pragma_update(None, "user_version", SCHEMA.version)?;
    transaction.commit()?;
    draft.close().map_err(|(_, error)| error.into())
}

fn fill(connection: &Connection) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    for document in steps::documents(&transaction)? {
        let row = DocumentRow { replica: NOBODY, ..steps::read_document(&transaction, document)? };
        let sql = "INSERT INTO draft.documents (id, name, body, is_settled)
                   SELECT id, name, ?2, is_settled FROM main.documents WHERE id = ?1";
        transaction.execute(sql, params![document, rows::write_document(&row)])?;
    }
    // What other devices had is about the changes of whoever wrote the file.
    let sql =
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
               AND name NOT IN ('documents', 'identity', 'devices')";
    let mut statement = transaction.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    let names = names.collect::<rusqlite::Result<Vec<String>>>()?;
    drop(statement);
    for name in names {
        transaction
            .execute_batch(&format!("INSERT INTO draft.{name} SELECT * FROM main.{name}"))?;
    }
    // No number is used twice, also where the last rows are gone.
    let sql = "DELETE FROM draft.sqlite_sequence;
               INSERT INTO draft.sqlite_sequence SELECT * FROM main.sqlite_sequence";
    transaction.execute_batch(sql)?;
    transaction.commit()?;
    // All of it is on the disk.
    connection.pragma_update(Some("draft"), "application_id", SCHEMA.application_id)?;
    Ok(())
}
