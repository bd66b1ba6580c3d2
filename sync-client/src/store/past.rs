//! What is kept of the past where somebody asked for it, and its limits: the oldest go first.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use sync_core::error::Malformed;
use sync_core::pack::{self, Reader};
use sync_core::session::{RecordLevel, Step};

use super::feed::Feed;
use super::kept::{self, Keeper, Kept};
use super::rows::{self, Key, counter};
use super::{Store, StoreError, Taped, steps, tape};
use crate::clock::AgeClock;

/// How much is kept of something, and for how long: what is older goes, and then the oldest until the
/// rest fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of each document.
    pub bytes_max: u64,
    /// The oldest, by this device's clock.
    pub age_max: Duration,
}

impl Limits {
    /// Of checkpoints: 256 MiB, a year. Arbitrary.
    pub const CHECKPOINTS: Self = Self::of(256, 365);
    /// Of the tape: 64 MiB, a year. Arbitrary.
    pub const TAPE: Self = Self::of(64, 365);
    /// Of the changes that can be undone: 4 MiB, 30 days. Arbitrary.
    pub const UNDO: Self = Self::of(4, 30);
    /// Of the feed: 64 MiB, 30 days. Arbitrary.
    pub const FEED: Self = Self::of(64, 30);

    const fn of(mebibytes: u64, days: u64) -> Self {
        Self { bytes_max: mebibytes << 20, age_max: Duration::from_secs(days * 24 * 3600) }
    }

    /// Before which time something is too old, in milliseconds since 1970.
    pub(crate) fn oldest_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.age_ms())
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.age_max.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What is kept, and up to which limits. Without a checkpoint there is no tape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping {
    pub(crate) checkpoints: Limits,
    pub(crate) tape: Limits,
    pub(crate) undo: Option<Limits>,
    pub(crate) feed: Option<Limits>,
}

impl Default for Keeping {
    fn default() -> Self {
        let (checkpoints, tape) = (Limits::CHECKPOINTS, Limits::TAPE);
        Self { checkpoints, tape, undo: None, feed: None }
    }
}

/// How often it is looked for what has become too old. Arbitrary.
const LOOK_MS: u64 = 60 * 60 * 1000;

/// By how much a clock may be ahead of the newest thing in a file that never heard a hub, so that it is
/// believed: a week, in milliseconds. Arbitrary: less than anything is kept by default. Who opens a file after
/// a longer time is believed at the next opening, if something was kept since.
const LEAP_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// What is kept of the open documents.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) keeping: Keeping,
    /// The bytes on the tape of each document that has one.
    pub(super) tapes: BTreeMap<i64, u64>,
    /// The feed of each open document, where they are kept.
    pub(super) feeds: BTreeMap<i64, Feed>,
    /// When it was last looked for what is too old.
    looked_ms: u64,
    pub(super) ages: AgeClock,
}

impl Past {
    /// Takes what a step says about the past.
    pub(super) fn take(
        &mut self,
        connection: &Connection,
        document: i64,
        step: &Step,
    ) -> Result<(), StoreError> {
        if let Step::Record(None) = step {
            tape::cut(connection, document, i64::MAX)?;
            if self.feeds.contains_key(&document) {
                clear(connection, "feed", document)?;
                self.begin_feed(connection, document)?;
            }
        } else if let Step::Record(Some(recorded)) = step {
            let unix_ms = recorded.unix_ms;
            let now_ms = self.ages.now_ms();
            self.tape(connection, document, unix_ms, |out| Taped::write_change(out, recorded))?;
            self.feed(connection, document, recorded)?;
            if now_ms.saturating_sub(self.looked_ms) >= LOOK_MS {
                self.forget_old(connection, now_ms)?;
            }
        } else if let Step::Rename(renaming) = step {
            let now_ms = self.looked_ms;
            self.tape(connection, document, now_ms, |out| Taped::write_renaming(out, renaming))?;
        }
        Ok(())
    }

    /// Lets everything go, of all documents of the file.
    pub(super) fn forget_all(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.tapes.clear();
        for table in ["checkpoints", "tape", "undo", "feed", "feeds"] {
            connection.execute(&format!("DELETE FROM {table}"), [])?;
        }
        let documents: Vec<i64> = self.feeds.keys().copied().collect();
        documents.iter().try_for_each(|document| self.begin_feed(connection, *document))
    }

    /// Lets go what is too old, of all documents.
    pub(super) fn forget_old(
        &mut self,
        connection: &Connection,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.looked_ms = now_ms;
        let documents: Vec<i64> = self.tapes.keys().copied().collect();
        for document in documents {
            self.trim_tape(connection, document, now_ms)?;
            self.trim_checkpoints(connection, document, now_ms)?;
        }
        let documents: Vec<i64> = self.feeds.keys().copied().collect();
        documents.iter().try_for_each(|document| self.trim_feed(connection, *document, now_ms))
    }
}

impl Store {
    /// Says up to which limits something is kept, and by which time; and lets go what is beyond. Before any
    /// document is opened.
    pub(crate) fn keep(&mut self, keeping: Keeping, ages: AgeClock) {
        (self.past.keeping, self.past.ages) = (keeping, ages);
    }

    /// What time it is at most, as far as the file tells, where this device says a time: that when a hub was
    /// last heard; and where none ever was, that of the newest thing that is kept, if the device is far behind
    /// that. From then on something may be too old.
    pub(crate) fn trusted_ms(&self, unix_ms: u64) -> Result<u64, StoreError> {
        self.file.read(|connection| {
            let mut heard = None;
            for document in steps::documents(connection)? {
                // What cannot be read is told where it is opened.
                if let Ok(row) = steps::read_document(connection, document) {
                    heard = heard.max(row.contact.heard_ms);
                }
            }
            if let Some(heard) = heard {
                return Ok(heard.min(unix_ms));
            }
            let sql = "SELECT max(at) FROM (
                           SELECT max(seen_ms) AS at FROM conflicts
                           UNION ALL SELECT max(unix_ms) FROM checkpoints
                           UNION ALL SELECT max(unix_ms) FROM tape
                           UNION ALL SELECT max(unix_ms) FROM undo
                           UNION ALL SELECT max(unix_ms) FROM feed)";
            let newest: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
            let newest_ms = newest.map_or(unix_ms, i64::unsigned_abs);
            let is_likely = unix_ms.saturating_sub(newest_ms) <= LEAP_MS_MAX;
            Ok(if is_likely { unix_ms } else { newest_ms })
        })
    }

    /// Finds what is kept of an open document. Gives how much of it is to be recorded.
    pub(crate) fn find_kept(&mut self, name: &str) -> Result<RecordLevel, StoreError> {
        let document = self.document(name)?;
        let Self { file, past, .. } = self;
        file.write(|connection| {
            past.find_tape(connection, document)?;
            past.find_feed(connection, document)?;
            past.forget_old(connection, past.ages.now_ms())
        })?;
        Ok(self.record_level(name))
    }

    /// What is kept of an open document that was deleted or overwritten.
    pub(crate) fn kept(&self, name: &str) -> Result<Vec<Kept>, StoreError> {
        let document = self.document(name)?;
        let Keeping { checkpoints, tape, undo, feed } = self.past.keeping;
        self.file.read(|connection| {
            let mut all = vec![kept::log(connection, document)?];
            for (keeper, column, limits) in [
                (Keeper::Checkpoints, "snapshot", Some(checkpoints)),
                (Keeper::Tape, "body", Some(tape)),
                (Keeper::Undo, "body", undo),
                (Keeper::Feed, "body", feed),
            ] {
                let Some(limits) = limits else { continue };
                let sql = format!(
                    "SELECT count(*), coalesce(sum(length({column})), 0) FROM {}
                     WHERE document = ?1",
                    keeper.name()
                );
                let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
                let found: (i64, i64) =
                    connection.prepare_cached(&sql)?.query_row([document], row)?;
                all.push(Kept {
                    keeper,
                    entries: found.0.unsigned_abs(),
                    bytes: found.1.unsigned_abs(),
                    entries_max: u64::MAX,
                    bytes_max: limits.bytes_max,
                    age_ms_max: limits.age_ms(),
                });
            }
            Ok(all)
        })
    }

    /// How much of an open document somebody asked to record.
    pub(crate) fn record_level(&self, name: &str) -> RecordLevel {
        let held = self.documents.get(name);
        let is_taped = held.is_some_and(|held| self.past.tapes.contains_key(&held.number));
        let Keeping { undo, feed, .. } = &self.past.keeping;
        match (feed, undo) {
            (Some(_), _) => RecordLevel::Fields,
            (None, Some(_)) => RecordLevel::Changes,
            (None, None) if is_taped => RecordLevel::Changes,
            (None, None) => RecordLevel::Nothing,
        }
    }

    pub(super) fn document(&self, name: &str) -> Result<i64, StoreError> {
        let not_open = || StoreError::NotOpen { name: name.to_owned() };
        self.documents.get(name).map(|held| held.number).ok_or_else(not_open)
    }
}

/// The number of the next row of a table. No number is used twice.
pub(super) fn next(connection: &Connection, table: &str) -> Result<i64, StoreError> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
    let last: Option<i64> =
        connection.prepare_cached(sql)?.query_row([table], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0) + 1)
}

/// Which row of a table, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) position: i64,
    pub(super) document: i64,
    pub(super) unix_ms: i64,
}

impl Numbered {
    /// Reads the columns position, document, unix_ms.
    pub(super) fn of(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { position: row.get(0)?, document: row.get(1)?, unix_ms: row.get(2)? })
    }

    /// Writes a body: the keys, then one item.
    pub(super) fn body(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        rows::body(4, |out| {
            pack::int(out, self.position);
            pack::int(out, self.document);
            pack::int(out, self.unix_ms);
            write(out);
        })
    }

    /// Reads a body of this row.
    pub(super) fn read<'a, T>(
        &self,
        table: &'static str,
        body: &'a [u8],
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<T, StoreError> {
        let at = Key { table, key: &self.position };
        let (key, item) = rows::read(at, body, 4, |reader| {
            let (position, document) = (reader.int()?, reader.int()?);
            let key = Self { position, document, unix_ms: reader.int()? };
            Ok((key, read(reader)?))
        })?;
        if key == *self { Ok(item) } else { Err(at.damaged()) }
    }
}

/// Adds a row of one item to a table. Gives its bytes.
pub(super) fn append(
    connection: &Connection,
    table: &str,
    document: i64,
    unix_ms: u64,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<u64, StoreError> {
    let row = Numbered { position: next(connection, table)?, document, unix_ms: counter(unix_ms) };
    let body = row.body(write);
    let sql =
        format!("INSERT INTO {table} (position, document, unix_ms, body) VALUES (?1, ?2, ?3, ?4)");
    let Numbered { position, document, unix_ms } = row;
    connection.prepare_cached(&sql)?.execute(params![position, document, unix_ms, body])?;
    Ok(body.len() as u64)
}

/// The bytes of the rows of a document in a table.
pub(super) fn bytes_of(
    connection: &Connection,
    table: &str,
    document: i64,
) -> Result<u64, StoreError> {
    let sql = format!("SELECT coalesce(sum(length(body)), 0) FROM {table} WHERE document = ?1");
    let bytes: i64 = connection.query_row(&sql, [document], |row| row.get(0))?;
    Ok(bytes.unsigned_abs())
}

/// Lets the oldest rows of a document go while they are too old or too large. Gives the last that went.
pub(super) fn trim(
    connection: &Connection,
    table: &str,
    document: i64,
    bytes: &mut u64,
    (limits, now_ms): (Limits, u64),
) -> Result<Option<i64>, StoreError> {
    let sql = format!(
        "SELECT position, unix_ms, length(body) FROM {table} WHERE document = ?1
         ORDER BY position LIMIT 1"
    );
    let oldest_ms = counter(limits.oldest_ms(now_ms));
    let mut last = None;
    loop {
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let oldest: Option<(i64, i64, i64)> =
            connection.prepare_cached(&sql)?.query_row([document], row).optional()?;
        let Some((position, unix_ms, len)) = oldest else { break };
        if unix_ms >= oldest_ms && *bytes <= limits.bytes_max {
            break;
        }
        let delete = format!("DELETE FROM {table} WHERE position = ?1");
        connection.prepare_cached(&delete)?.execute([position])?;
        *bytes = bytes.saturating_sub(len.unsigned_abs());
        last = Some(position);
    }
    Ok(last)
}

/// Lets all rows of a document go.
pub(super) fn clear(connection: &Connection, table: &str, document: i64) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM {table} WHERE document = ?1");
    connection.prepare_cached(&sql)?.execute([document])?;
    Ok(())
}
