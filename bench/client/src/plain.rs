//! The floor: the same records in a plain table of SQLite, as durable.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::{Connection, params};

use crate::data::Record;

/// A file with one table.
pub(crate) struct Plain(Connection);

impl Plain {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let file = Connection::open(folder.join("plain.db"))?;
        file.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        file.pragma_update(None, "journal_mode", "WAL")?;
        file.pragma_update(None, "synchronous", "FULL")?;
        // As much as the client has.
        file.pragma_update(None, "cache_size", -16 * 1_024)?;
        file.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (
                 id TEXT PRIMARY KEY, title TEXT, body TEXT, flag INTEGER, time INTEGER) STRICT",
        )?;
        Ok(Self(file))
    }

    fn insert(&self, record: &Record) -> Result<()> {
        let sql = "INSERT INTO records (id, title, body, flag, time) VALUES (?1, ?2, ?3, ?4, ?5)";
        let Record { id, title, body, flag, time } = record;
        self.0.prepare_cached(sql)?.execute(params![id, title, body, flag, time])?;
        Ok(())
    }

    /// Inserts records in one transaction.
    pub(crate) fn import(&self, records: &[Record]) -> Result<Duration> {
        let start = Instant::now();
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        records.iter().try_for_each(|record| self.insert(record))?;
        self.0.execute_batch("COMMIT")?;
        Ok(start.elapsed())
    }

    /// Gives the file up, and how long that took. The log goes into the file by that.
    pub(crate) fn close(self) -> Result<Duration> {
        let start = Instant::now();
        self.0.close().map_err(|(_, error)| error)?;
        Ok(start.elapsed())
    }

    /// Reads all rows.
    pub(crate) fn read_all(&self) -> Result<usize> {
        let sql = "SELECT id, title, body, flag, time FROM records";
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let record = Record {
                id: row.get(0)?,
                title: row.get(1)?,
                body: row.get(2)?,
                flag: row.get(3)?,
                time: row.get(4)?,
            };
            Ok(record.body.len())
        })?;
        let mut count = 0;
        for row in rows {
            count += usize::from(row? > 0);
        }
        Ok(count)
    }

    pub(crate) fn get(&self, record: &Record) -> Result<Duration> {
        let start = Instant::now();
        let sql = "SELECT title, body, flag, time FROM records WHERE id = ?1";
        let body: String = self.0.prepare_cached(sql)?.query_row([&record.id], |row| row.get(1))?;
        let took = start.elapsed();
        anyhow::ensure!(body == record.body);
        Ok(took)
    }
}

/// Opens the file and reads all rows.
pub(crate) fn open_and_read(folder: &Path) -> Result<Duration> {
    let start = Instant::now();
    let count = Plain::open(folder)?.read_all()?;
    anyhow::ensure!(count > 0);
    Ok(start.elapsed())
}
