//! What of the changes that were made here can be undone, as it is stored.

use std::sync::Arc;

use rusqlite::{Connection, params};

use sync_core::document::Undo;
use sync_core::error::Malformed;
use sync_core::pack::{self, Reader};

use super::past::{self, Numbered};
use super::rows::counter;
use super::{Store, StoreError};
use crate::undo::News;

const UNDO: &str = "undo";

/// A change that can be undone, or one that was undone and can be redone.
#[derive(Debug, Clone)]
pub(crate) struct UndoRow {
    pub(crate) number: i64,
    pub(crate) unix_ms: u64,
    pub(crate) is_undone: bool,
    pub(crate) undo: Undo,
}

fn decode(reader: &mut Reader<'_>) -> Result<(bool, Undo), Malformed> {
    reader.exactly(2)?;
    Ok((reader.bool()?, Undo::decode(reader)?))
}

/// Looks at a row of the columns position, document, unix_ms, body.
pub(super) fn look(row: &rusqlite::Row<'_>) -> Result<(), StoreError> {
    Numbered::of(row)?.read(UNDO, row.get_ref(3)?.as_blob()?, decode).map(|_| ())
}

fn write(connection: &Connection, document: i64, news: &News) -> Result<(), StoreError> {
    match news {
        News::Put(row) => {
            let UndoRow { number, unix_ms, is_undone, undo } = &**row;
            let row = Numbered { position: *number, document, unix_ms: counter(*unix_ms) };
            let body = row.body(|out| {
                pack::array(out, 2);
                pack::bool(out, *is_undone);
                undo.encode_into(out);
            });
            let sql = "INSERT OR REPLACE INTO undo (position, document, unix_ms, body)
                       VALUES (?1, ?2, ?3, ?4)";
            let values = params![number, document, row.unix_ms, body];
            connection.prepare_cached(sql)?.execute(values)?;
        }
        News::Drop(number) => {
            let sql = "DELETE FROM undo WHERE position = ?1";
            connection.prepare_cached(sql)?.execute([number])?;
        }
    }
    Ok(())
}

impl Store {
    /// The number of the next row of all histories.
    pub(crate) fn next_undo(&self) -> Result<i64, StoreError> {
        self.file.read(|connection| past::next(connection, UNDO))
    }

    /// The history of an open document, in order.
    pub(crate) fn history(&self, name: &str) -> Result<Vec<UndoRow>, StoreError> {
        let document = self.document(name)?;
        self.file.read(|connection| {
            let sql = "SELECT position, document, unix_ms, body FROM undo
                       WHERE document = ?1 ORDER BY position";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([document])?;
            let mut history = Vec::new();
            while let Some(row) = rows.next()? {
                let at = Numbered::of(row)?;
                let (is_undone, undo) = at.read(UNDO, row.get_ref(3)?.as_blob()?, decode)?;
                let (number, unix_ms) = (at.position, at.unix_ms.unsigned_abs());
                history.push(UndoRow { number, unix_ms, is_undone, undo });
            }
            Ok(history)
        })
    }

    /// Writes what is new of histories.
    pub(crate) fn write_histories(
        &mut self,
        news: &[(String, News)],
    ) -> Result<(), Arc<StoreError>> {
        self.unless_failed(|store| {
            for (name, news) in news {
                let document = store.document(name)?;
                store.file.write(|connection| write(connection, document, news))?;
            }
            Ok(())
        })
    }

    /// Lets the history of an open document go.
    pub(crate) fn purge_undo(&mut self, name: &str) -> Result<(), StoreError> {
        let document = self.document(name)?;
        self.file.write(|connection| past::clear(connection, UNDO, document))
    }
}
