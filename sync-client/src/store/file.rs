//! The file as the documents of one client share it: one connection, one transaction at a time.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, params};

use sync_core::causal::{DotRanges, ReplicaId};
use sync_sqlite::Database;

use super::{StoreError, rows};

/// After how many steps of SQLite's machine it is asked whether somebody waits. Arbitrary: some microseconds.
const STEPS_BETWEEN: c_int = 1_000;

/// One file, open until it is closed. What is written is in a transaction that the first write begins.
#[derive(Debug)]
pub(crate) struct File(Mutex<Option<Inner>>);

#[derive(Debug)]
struct Inner {
    database: Database,
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
        let (seen, is_begun, failures, is_spoiled) = (BTreeMap::new(), false, 0, false);
        Self(Mutex::new(Some(Inner { database, seen, is_begun, failures, is_spoiled })))
    }

    /// Reads, also what is not committed yet.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        let outcome = read(&inner.database);
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
        let outcome = inner.begin().and_then(|()| write(&inner.database));
        inner.failures += u64::from(outcome.is_err());
        if outcome.is_err() {
            inner.spoil();
        }
        outcome
    }

    /// How many reads and writes have failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.lock().as_ref().map_or(0, |inner| inner.failures)
    }

    /// Whether nothing was written that is not committed, and writing goes on.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lock().as_ref().is_some_and(Inner::is_quiet)
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
        let seen = inner.seen.entry((document, replica)).or_default();
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
            run(&inner.database, "SAVEPOINT trial")?;
            (inner.seen.clone(), was_begun)
        };
        let outcome = work();
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(StoreError::Closed)?;
        inner.seen = seen;
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

    /// Copies what is committed, without free pages. Nothing may be uncommitted.
    pub(super) fn copy(&self, path: &Path) -> Result<(), StoreError> {
        let name = path.as_os_str().as_encoded_bytes();
        let name = std::str::from_utf8(name).map_err(|_| StoreError::BadPath)?;
        let inner = self.lock();
        let inner = inner.as_ref().ok_or(StoreError::Closed)?;
        inner.database.execute("VACUUM INTO ?1", [name])?;
        Ok(())
    }

    /// Writes the file anew, without free pages, and empties the write-ahead log. Nothing may be
    /// uncommitted.
    pub(super) fn write_anew(&self) -> Result<(), StoreError> {
        let inner = self.lock();
        let inner = inner.as_ref().ok_or(StoreError::Closed)?;
        inner.database.execute_batch("VACUUM")?;
        Ok(inner.database.checkpoint()?)
    }

    /// Takes back what is not committed. Nothing more is written.
    pub(super) fn give_up(&self) {
        if let Some(inner) = &mut *self.lock() {
            inner.seen.clear();
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

    fn commit(&mut self) -> Result<(), StoreError> {
        self.begin()?;
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
