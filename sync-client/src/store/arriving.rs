//! New entries on their way into the file: many are one statement, which costs far less for each.

use std::sync::LazyLock;

use rusqlite::{Connection, ErrorCode, Statement, ToSql, params};

use sync_core::causal::Entry;

use super::StoreError;
use super::rows::{self, counter};

/// How many entries are one statement. Arbitrary: with more, each would hardly cost less.
const ROWS: usize = 32;

/// With how many bytes entries are written at once. Arbitrary: so large ones do not wait for others.
const BYTES_MAX: usize = 64 * 1_024;

const INSERT: &str = "INTO entries (document, replica, first, last, space, place, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Rows of one replica and of one space.
static INSERT_ALIKE: LazyLock<String> = LazyLock::new(|| insert_many("?1, ?2, ?3", 4));

/// Any rows.
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_many("?1", 6));

/// A statement for many rows: of each, so many columns differ from row to row. One that ends at a row that is
/// there already leaves those before it: nothing is noted down for taking them back.
fn insert_many(alike: &str, differ: usize) -> String {
    let mut sql = "INSERT OR FAIL INTO entries
                   (document, replica, space, first, last, place, body) VALUES "
        .to_owned();
    let first = alike.split(',').count() + 1;
    for row in 0..ROWS {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        sql.push_str(alike);
        sql.extend((0..differ).map(|column| format!(", ?{}", first + row * differ + column)));
        sql.push(')');
    }
    sql
}

/// New entries of one document that no statement has written yet.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    document: i64,
    entries: Vec<Entry>,
    /// The bodies of their rows, one behind the other, and where each ends.
    bodies: Vec<u8>,
    ends: Vec<usize>,
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
        rows::add_entry(&mut self.bodies, &entry);
        self.ends.push(self.bodies.len());
        self.entries.push(entry);
    }

    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.entries.clear();
        self.bodies.clear();
        self.ends.clear();
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

    /// Whether all are of one replica and of one space.
    fn are_alike(&self) -> bool {
        self.entries.windows(2).all(|two| {
            two[0].replica() == two[1].replica() && two[0].label.space() == two[1].label.space()
        })
    }

    fn rows(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let bodies = starts.zip(&self.ends).map(|(start, end)| &self.bodies[start..*end]);
        self.entries.iter().zip(bodies)
    }

    fn write_together(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(one) = self.entries.first() else { return Ok(()) };
        let are_alike = self.are_alike();
        let sql = if are_alike { &INSERT_ALIKE } else { &INSERT_MANY };
        let mut statement = connection.prepare_cached(sql)?;
        let mut binding = Binding { statement: &mut statement, next: 1 };
        binding.add(&self.document)?;
        if are_alike {
            binding.add(one.replica().as_bytes())?;
            binding.add(&one.label.space())?;
        }
        for (entry, body) in self.rows() {
            if !are_alike {
                binding.add(entry.replica().as_bytes())?;
                binding.add(&entry.label.space())?;
            }
            binding.add(&counter(entry.first.counter))?;
            binding.add(&counter(entry.last()))?;
            binding.add(&&*entry.id)?;
            binding.add(&body)?;
        }
        statement.raw_execute().map(|_| ())
    }

    fn write_each(&self, connection: &Connection, verb: &str) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&format!("{verb} {INSERT}"))?;
        for (entry, body) in self.rows() {
            statement.execute(params![
                self.document,
                entry.replica().as_bytes(),
                counter(entry.first.counter),
                counter(entry.last()),
                entry.label.space(),
                &*entry.id,
                body
            ])?;
        }
        Ok(())
    }
}

/// Binds one value after the other.
struct Binding<'a, 'c> {
    statement: &'a mut Statement<'c>,
    next: usize,
}

impl Binding<'_, '_> {
    fn add(&mut self, value: &dyn ToSql) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
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
    fn rows_of_several_replicas_or_spaces_are_one_statement_too() {
        for odd in 0..2 {
            let (connection, mut arriving) = (memory(), Arriving::default());
            let mut entries: Vec<_> = (1..=ROWS).map(|counter| entry(counter as u64, 9)).collect();
            match odd {
                0 => entries[ROWS - 1].label = Label::new(b"other", [&b"text"[..]]),
                _ => entries[ROWS - 1].first.replica = ReplicaId::from_bytes([2; 16]),
            }
            assert!(!Arriving { entries: entries.clone(), ..Arriving::default() }.are_alike());
            entries.iter().for_each(|entry| arriving.push(1, entry.clone()));
            arriving.write(&connection).unwrap();
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
