//! New entries on their way into the file: many are one statement, which costs far less for each.

use std::sync::LazyLock;

use rusqlite::{Connection, ErrorCode, ToSql, params};

use sync_core::causal::Entry;

use super::StoreError;
use super::rows::{self, counter};

/// How many entries are one statement. Arbitrary: with more, each would hardly cost less.
const ROWS: usize = 32;

/// With how many bytes entries are written at once. Arbitrary: so large ones do not wait for others.
const BYTES_MAX: usize = 64 * 1_024;

/// How many columns differ from row to row.
const COLUMNS: usize = 6;

const INSERT: &str = "INTO entries (document, replica, first, last, space, place, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// A statement that ends at a row that is there already leaves those before it: nothing is noted down for
/// taking them back.
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| {
    let mut sql = format!("INSERT OR FAIL {INSERT}");
    for row in 1..ROWS {
        let columns = (0..COLUMNS).map(|column| format!(", ?{}", row * COLUMNS + column + 2));
        sql.push_str(", (?1");
        sql.extend(columns);
        sql.push(')');
    }
    sql
});

/// New entries of one document that no statement has written yet.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    document: i64,
    entries: Vec<Entry>,
    /// Of what they hold.
    bytes: usize,
}

impl Arriving {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether entries of a document may be added.
    pub(super) fn takes(&self, document: i64) -> bool {
        self.is_empty() || self.document == document
    }

    /// Whether they are to be written before more are added.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= ROWS || self.bytes >= BYTES_MAX
    }

    pub(super) fn push(&mut self, document: i64, entry: Entry) {
        self.document = document;
        self.bytes += entry.byte_count();
        self.entries.push(entry);
    }

    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.entries.clear();
    }

    /// Whether one of these is at a place.
    pub(super) fn has_at(&self, document: i64, space: &[u8], place: &[u8]) -> bool {
        self.of(document).any(|entry| *entry.id == *place && entry.label.space() == space)
    }

    /// Those of a document.
    pub(super) fn of(&self, document: i64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |_| self.document == document)
    }

    /// Writes them. They are gone then, also after an error.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let written = if self.entries.len() == ROWS {
            self.write_together(connection)
        } else {
            self.write_each(connection, "INSERT")
        };
        let written = match written {
            // What stands there is nothing that was seen: a context is not as it was written.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                self.write_each(connection, "INSERT OR REPLACE")
            }
            written => written,
        };
        self.clear();
        Ok(written?)
    }

    fn write_together(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&INSERT_MANY)?;
        statement.raw_bind_parameter(1, self.document)?;
        for (row, entry) in self.entries.iter().enumerate() {
            let mut at = row * COLUMNS + 2;
            let mut bind = |value: &dyn ToSql| {
                at += 1;
                statement.raw_bind_parameter(at - 1, value)
            };
            bind(entry.replica().as_bytes())?;
            bind(&counter(entry.first.counter))?;
            bind(&counter(entry.last()))?;
            bind(&entry.label.space())?;
            bind(&&*entry.id)?;
            bind(&rows::write_entry(entry))?;
        }
        statement.raw_execute().map(|_| ())
    }

    fn write_each(&self, connection: &Connection, verb: &str) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&format!("{verb} {INSERT}"))?;
        for entry in &self.entries {
            statement.execute(params![
                self.document,
                entry.replica().as_bytes(),
                counter(entry.first.counter),
                counter(entry.last()),
                entry.label.space(),
                &*entry.id,
                rows::write_entry(entry)
            ])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sync_core::causal::{Dot, Label, PlaceId, ReplicaId, Slots};

    use super::*;
    use crate::store::SCHEMA;

    fn memory() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        SCHEMA.migrations.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
        connection
            .execute("INSERT INTO documents (id, name, body) VALUES (1, 'd', x'')", [])
            .unwrap();
        connection
    }

    fn entry(counter: u64, bytes: usize) -> Entry {
        let value = vec![7; bytes];
        Entry {
            first: Dot::new(ReplicaId::from_bytes([1; 16]), counter),
            stamp: sync_core::time::Stamp::from_ms(counter),
            label: Label::new(b"notes", [&b"text"[..]]),
            id: PlaceId::new(&counter.to_be_bytes()),
            slots: Slots::new([Some(&value[..])].into_iter()),
        }
    }

    fn stored(connection: &Connection) -> Vec<Entry> {
        let sql = "SELECT replica, first, last, space, place, body FROM entries ORDER BY first";
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut entries = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            entries.push(rows::read_entry(row).unwrap());
        }
        entries
    }

    #[test]
    fn entries_are_written_as_they_came_however_many_they_are() {
        for count in [1, ROWS - 1, ROWS] {
            let (connection, mut arriving) = (memory(), Arriving::default());
            let entries: Vec<_> = (1..=count).map(|counter| entry(counter as u64, 9)).collect();
            for entry in &entries {
                assert!(!arriving.is_full());
                arriving.push(1, entry.clone());
            }
            assert_eq!(arriving.is_full(), count == ROWS);
            arriving.write(&connection).unwrap();
            assert!(arriving.is_empty());
            assert_eq!(stored(&connection), entries);
        }
    }

    #[test]
    fn bytes_that_wait_are_limited() {
        let overhead = entry(1, 60_000).byte_count() - 60_000;
        for (beyond, is_full) in [(-1isize, false), (0, true), (1, true)] {
            let bytes = (BYTES_MAX - overhead).checked_add_signed(beyond).unwrap();
            let mut arriving = Arriving::default();
            arriving.push(1, entry(1, bytes));
            assert_eq!(arriving.is_full(), is_full, "{bytes}");
            arriving.clear();
            assert!(!arriving.is_full());
        }
    }

    #[test]
    fn what_stands_there_unseen_is_replaced() {
        for count in [2, ROWS] {
            let (connection, mut arriving) = (memory(), Arriving::default());
            arriving.push(1, entry(2, 5));
            arriving.write(&connection).unwrap();
            let entries: Vec<_> = (1..=count).map(|counter| entry(counter as u64, 9)).collect();
            entries.iter().for_each(|entry| arriving.push(1, entry.clone()));
            arriving.write(&connection).unwrap();
            assert_eq!(stored(&connection), entries);
        }
    }
}
