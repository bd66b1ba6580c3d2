//! The file as the documents of one client share it: one connection, one transaction at a time.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, params};

use sync_core::causal::{DotRanges, Entry, ReplicaId};
use sync_sqlite::Database;

use super::arriving::Arriving;
use super::sieve::Sieve;
use super::{StoreError, copy, rows};

/// After how many steps of SQLite's machine it is asked whether somebody waits. Arbitrary: some microseconds.
const STEPS_BETWEEN: c_int = 1_000;

/// From how many bytes on the write-ahead log goes into the file as soon as nobody writes. Arbitrary.
pub(crate) const LONG_LOG_BYTES: u64 = 4 * 1_024 * 1_024;

/// How many bytes each page has beside itself in the log.
const FRAME_BYTES: u64 = 24;

/// One file, open until it is closed. What is written is in a transaction that the first write begins.
#[derive(Debug)]
pub(crate) struct File(Mutex<Option<Inner>>);

#[derive(Debug)]
struct Inner {
    database: Database,
    /// New entries that no statement has written yet.
    arriving: Arriving,
    /// What tells of a place that nothing is there, by document.
    sieves: BTreeMap<i64, Sieve>,
    /// Whether the write-ahead log has what another process left there.
    is_left: bool,
    /// What of replicas changed in contexts since the last commit, by document.
    seen: BTreeMap<(i64, ReplicaId), Seen>,
    /// Whether a transaction was begun that is not committed. SQLite ends one by itself after some errors,
    /// also of statements that only read.
    is_begun: bool,
    /// How many reads and writes have failed.
    failures: u64,
    /// Whether what was written is not to be committed any more.
    is_spoiled: bool,
}

/// What changed of the counters seen of a replica.
#[derive(Debug, Clone, Default)]
struct Seen {
    more: DotRanges,
    less: DotRanges,
}

impl File {
    pub(super) fn new(database: Database) -> Self {
        let (arriving, sieves, seen) = (Arriving::default(), BTreeMap::new(), BTreeMap::new());
        // What cannot be asked is looked after as if something had been left.
        let is_left = log_bytes(&database).map_or(true, |bytes| bytes > 0);
        let (is_begun, is_spoiled, failures) = (false, false, 0);
        Self(Mutex::new(Some(Inner {
            database,
            arriving,
            sieves,
            is_left,
            seen,
            is_begun,
            failures,
            is_spoiled,
        })))
    }

    /// Reads, also what is not committed yet.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        let outcome = inner.arrive().and_then(|()| read(&inner.database));
        inner.failures += u64::from(outcome.is_err());
        outcome
    }

    /// Adds an entry, and notes that its dots were seen, where the document has nothing at its place, also
    /// nothing that is not committed yet. Gives whether that is so.
    pub(super) fn insert_first(
        &self,
        document: i64,
        entry: &Entry,
        dots: &DotRanges,
    ) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        let outcome = inner.insert_first(document, entry, dots);
        inner.failures += u64::from(outcome.is_err());
        outcome
    }

    /// Adds an entry of which nothing is here. It is written together with others, before anything else is
    /// read or written.
    pub(super) fn insert(&self, document: i64, entry: &Entry) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        let outcome = inner.insert(document, entry);
        inner.failures += u64::from(outcome.is_err());
        outcome
    }

    /// Writes within the transaction. After an error nothing of it is committed.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        let begun = inner.begin().and_then(|()| inner.arrive());
        let outcome = begun.and_then(|()| write(&inner.database));
        inner.failures += u64::from(outcome.is_err());
        if outcome.is_err() {
            inner.spoil();
        }
        outcome
    }

    /// Whether what was written is not to be committed any more.
    pub(super) fn is_spoiled(&self) -> bool {
        self.lock().as_ref().is_some_and(|inner| inner.is_spoiled)
    }

    /// How many reads and writes have failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.lock().as_ref().map_or(0, |inner| inner.failures)
    }

    /// Reads while nothing is being written, and gives up where `waiting` is not 0: then there is nothing.
    pub(super) fn scrub<T>(
        &self,
        waiting: &Arc<AtomicUsize>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let mut inner = self.lock();
        let inner = inner.as_mut().filter(|inner| inner.is_quiet())?;
        let waiting = waiting.clone();
        let gives_up = move || waiting.load(Ordering::Relaxed) > 0;
        let database = &mut inner.database;
        let outcome = database
            .progress_handler(STEPS_BETWEEN, Some(gives_up))
            .map_err(StoreError::from)
            .and_then(|()| read(database));
        let ended = database.progress_handler(0, None::<fn() -> bool>);
        match outcome.and_then(|found| Ok(ended.map(|()| found)?)) {
            Err(StoreError::Sqlite(error)) if is_given_up(&error) => None,
            outcome => Some(outcome),
        }
    }

    /// Notes that counters of a replica were seen, or are not any more, for the next commit.
    pub(super) fn see(
        &self,
        document: i64,
        replica: ReplicaId,
        ranges: &DotRanges,
        is_seen: bool,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        inner.begin()?;
        inner.see(document, replica, ranges, is_seen);
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        if !inner.is_begun {
            return Ok(());
        }
        let committed = inner.commit();
        if committed.is_err() {
            inner.spoil();
        }
        committed
    }

    /// Does something of which nothing stays, whatever came of it.
    pub(super) fn try_out<T>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (seen, was_begun) = {
            let mut inner = self.lock();
            let inner = inner.as_mut().ok_or(StoreError::Closed)?;
            let was_begun = inner.is_begun;
            inner.begin()?;
            inner.arrive()?;
            run(&inner.database, "SAVEPOINT trial")?;
            (inner.seen.clone(), was_begun)
        };
        let outcome = work();
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        inner.seen = seen;
        inner.arriving.clear();
        // What was taken out within is there again, and a sieve may not know it.
        inner.sieves.clear();
        // A failed write has taken back more than the trial.
        if inner.is_spoiled {
            return outcome.and(Err(StoreError::TakenBack));
        }
        let mut ended = run(&inner.database, "ROLLBACK TO trial");
        ended = ended.and_then(|()| run(&inner.database, "RELEASE trial"));
        if !was_begun {
            ended = ended.and_then(|()| run(&inner.database, "ROLLBACK"));
            inner.is_begun = false;
        }
        if ended.is_err() {
            inner.spoil();
        }
        ended?;
        outcome
    }

    /// Copies what is committed, without free pages and without an identity. Nothing may be uncommitted.
    pub(super) fn copy(&self, path: &Path) -> Result<(), StoreError> {
        let inner = self.lock();
        let inner = inner.as_ref().ok_or(StoreError::Closed)?;
        copy::write(&inner.database, path)
    }

    /// Writes the file anew, without free pages, and empties the write-ahead log. Nothing may be
    /// uncommitted.
    pub(super) fn write_anew(&self) -> Result<(), StoreError> {
        let inner = self.lock();
        let inner = inner.as_ref().ok_or(StoreError::Closed)?;
        inner.database.execute_batch("VACUUM")?;
        Ok(inner.database.checkpoint()?)
    }

    /// Whether the write-ahead log has anything. Not known while something is being written.
    pub(super) fn has_log(&self) -> bool {
        self.is_log(|_, bytes| bytes > 0)
    }

    /// Whether so much is in the write-ahead log, or for so long, that it is to go into the file as soon as
    /// nobody writes. Not known while something is being written.
    pub(super) fn has_long_log(&self) -> bool {
        self.is_log(|inner, bytes| inner.is_left || bytes >= LONG_LOG_BYTES)
    }

    fn is_log(&self, is_so: impl FnOnce(&Inner, u64) -> bool) -> bool {
        self.lock()
            .as_ref()
            .filter(|inner| inner.is_quiet())
            .is_some_and(|inner| log_bytes(&inner.database).is_ok_and(|bytes| is_so(inner, bytes)))
    }

    /// Lets the write-ahead log go into the file and empties it, unless something is being written.
    pub(super) fn empty_log(&self) {
        if let Some(inner) = self.lock().as_mut().filter(|inner| inner.is_quiet()) {
            // Where this fails, the log stays as it is, and a commit tries it again once it is full.
            let _ = inner.database.checkpoint();
            inner.is_left = false;
        }
    }

    /// Whether a sieve tells what a document lacks.
    #[cfg(test)]
    pub(super) fn has_sieve(&self, document: i64) -> bool {
        self.lock().as_ref().unwrap().sieves.get(&document).is_some_and(Sieve::is_made)
    }

    /// Takes back what is not committed. Nothing more is written.
    pub(super) fn give_up(&self) {
        if let Some(inner) = &mut *self.lock() {
            inner.seen.clear();
            inner.arriving.clear();
            inner.sieves.clear();
            inner.spoil();
            if !inner.database.is_autocommit() {
                // Where even this fails, closing the file does it.
                let _ = inner.database.execute_batch("ROLLBACK");
            }
        }
    }

    /// Gives the file up; what is not committed is gone. Where all is well the write-ahead log goes into the
    /// file, so that what was deleted is gone from both.
    pub(super) fn close(&self) {
        let is_whole = self.lock().as_ref().is_some_and(|inner| !inner.is_spoiled);
        self.give_up();
        if let Some(Inner { database, .. }) = self.lock().take()
            && is_whole
        {
            // The file is whole with or without: the next opening reads the log.
            let _ = database.checkpoint();
        }
    }

    /// Whoever panicked under the lock was reading or within a transaction, which nobody commits then.
    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_quiet(&self) -> bool {
        !self.is_begun && !self.is_spoiled
    }

    /// From here on nothing is committed.
    fn spoil(&mut self) {
        self.is_spoiled = true;
    }

    /// Begins a transaction where none is. One that has ended by itself takes nothing more.
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.is_spoiled || (self.is_begun && self.database.is_autocommit()) {
            self.spoil();
            return Err(StoreError::TakenBack);
        }
        if !self.is_begun {
            run(&self.database, "BEGIN IMMEDIATE")?;
            self.is_begun = true;
        }
        Ok(())
    }

    fn has_at(&mut self, document: i64, space: &[u8], place: &[u8]) -> Result<bool, StoreError> {
        if self.arriving.has_at(document, space, place) {
            return Ok(true);
        }
        let sieve = self.sieves.entry(document).or_default();
        let sql = "SELECT 1 FROM entries WHERE document = ?1 AND space = ?2 AND place = ?3";
        let is_there =
            self.database.prepare_cached(sql)?.exists(params![document, space, place])?;
        if is_there || !sieve.missed() {
            return Ok(is_there);
        }
        let sql = "SELECT ifnull(max(rowid), 0) FROM entries";
        let rows: i64 = self.database.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        if !sieve.make(rows.unsigned_abs()) {
            return Ok(false);
        }
        let sql = "SELECT space, place FROM entries WHERE document = ?1";
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.database.prepare_cached(sql)?;
            let mut found = statement.query([document])?;
            while let Some(row) = found.next()? {
                sieve.add(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            }
            Ok(())
        };
        let read = read();
        if read.is_err() {
            // With a part of the places it would say of others that nothing is there.
            self.sieves.remove(&document);
            return Ok(read.map(|()| false)?);
        }
        self.arriving.of(document).for_each(|entry| sieve.add(entry.label.space(), &entry.id));
        Ok(false)
    }

    fn insert_first(
        &mut self,
        document: i64,
        entry: &Entry,
        dots: &DotRanges,
    ) -> Result<bool, StoreError> {
        let space = entry.label.space();
        if self.sieves.entry(document).or_default().admit(space, &entry.id) {
            self.push(document, entry)?;
        } else if self.has_at(document, space, &entry.id)? {
            return Ok(false);
        } else {
            self.insert(document, entry)?;
        }
        self.see(document, entry.replica(), dots, true);
        Ok(true)
    }

    fn see(&mut self, document: i64, replica: ReplicaId, ranges: &DotRanges, is_seen: bool) {
        let seen = self.seen.entry((document, replica)).or_default();
        let (to, from) = if is_seen {
            (&mut seen.more, &mut seen.less)
        } else {
            (&mut seen.less, &mut seen.more)
        };
        for (start, end) in ranges.iter() {
            to.insert(start, end);
        }
        if !from.is_empty() {
            *from = from.difference(ranges);
        }
    }

    fn insert(&mut self, document: i64, entry: &Entry) -> Result<(), StoreError> {
        if let Some(sieve) = self.sieves.get_mut(&document) {
            sieve.add(entry.label.space(), &entry.id);
        }
        self.push(document, entry)
    }

    fn push(&mut self, document: i64, entry: &Entry) -> Result<(), StoreError> {
        self.begin()?;
        if !self.arriving.takes(document) {
            self.arrive()?;
        }
        self.arriving.push(document, entry.clone());
        if self.arriving.is_full() { self.arrive() } else { Ok(()) }
    }

    /// Writes the entries that wait for a statement.
    fn arrive(&mut self) -> Result<(), StoreError> {
        if self.arriving.is_empty() {
            return Ok(());
        }
        let written = self.begin().and_then(|()| self.arriving.write(&self.database));
        if written.is_err() {
            self.arriving.clear();
            self.spoil();
        }
        written
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.begin()?;
        self.arrive()?;
        for ((document, replica), seen) in std::mem::take(&mut self.seen) {
            let mut ranges = read_seen(&self.database, document, replica)?.difference(&seen.less);
            ranges.union(&seen.more);
            write_seen(&self.database, document, replica, &ranges)?;
        }
        run(&self.database, "COMMIT")?;
        self.is_begun = false;
        Ok(())
    }
}

/// How many bytes the write-ahead log has that count.
fn log_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // Does nothing but tell: whether it was busy, how many pages the log has, how many are in the file.
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    let pages: i64 = connection.query_row(sql, [], |row| row.get(1))?;
    Ok(pages.max(0).unsigned_abs() * (page.unsigned_abs() + FRAME_BYTES))
}

fn is_given_up(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

pub(super) fn read_seen(
    connection: &Connection,
    document: i64,
    replica: ReplicaId,
) -> Result<DotRanges, StoreError> {
    let sql = "SELECT body FROM contexts WHERE document = ?1 AND replica = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![document, replica.as_bytes()])?;
    match found.next()? {
        Some(row) => rows::read_context(replica, row.get_ref(0)?.as_blob()?),
        None => Ok(DotRanges::default()),
    }
}

fn write_seen(
    connection: &Connection,
    document: i64,
    replica: ReplicaId,
    ranges: &DotRanges,
) -> Result<(), StoreError> {
    if ranges.is_empty() {
        let sql = "DELETE FROM contexts WHERE document = ?1 AND replica = ?2";
        connection.prepare_cached(sql)?.execute(params![document, replica.as_bytes()])?;
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO contexts (document, replica, body) VALUES (?1, ?2, ?3)";
    let body = rows::write_context(replica, ranges);
    connection.prepare_cached(sql)?.execute(params![document, replica.as_bytes(), body])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::open_file;
    use super::*;

    #[test]
    fn the_log_is_long_by_its_bytes_and_goes_into_the_file_while_nothing_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("client.db-wal");
        let len = || std::fs::metadata(&log).unwrap().len();
        let file = File::new(open_file(folder.path()).unwrap());
        assert!(!file.has_log());
        // The log has a head, too.
        let is_long = |file: &File| (len() - 32 >= LONG_LOG_BYTES, file.has_long_log());
        let mut seen = [false; 2];
        for number in 0.. {
            let sql = "INSERT INTO conflicts VALUES (1, ?1, ?1, zeroblob(50000))";
            let write = |connection: &Connection| Ok(connection.execute(sql, [number])?);
            file.write(write).unwrap();
            file.commit().unwrap();
            let (expected, found) = is_long(&file);
            assert_eq!(found, expected, "{} bytes", len());
            seen[usize::from(found)] = true;
            if found {
                break;
            }
        }
        assert_eq!(seen, [true; 2]);
        file.write(|connection| Ok(connection.execute("DELETE FROM conflicts", [])?)).unwrap();
        file.empty_log();
        assert!(len() > 0, "something is open");
        file.commit().unwrap();
        file.empty_log();
        assert!(!file.has_long_log() && !file.has_log() && len() == 0);
        file.close();
    }
}
