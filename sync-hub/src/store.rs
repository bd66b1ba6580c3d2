//! The hub's storage in SQLite: state with sequence numbers, not history.
//!
//! Every row that says something about a document carries a checksum over what it says and where it
//! stands. A row that does not match is an error, never an answer; [`SqliteHub::repair`] then takes
//! it out in such a way that clients fill in what is missing.

mod document;
mod repair;
mod rows;
mod schema;
mod sums;
mod weights;

use std::path::Path;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use sync_core::causal::{CausalContext, Dot, ReplicaId, Sum, Total};
use sync_core::session::{Boot, Buried, DocumentId, HubStore, Page};
use sync_core::types::{MARKS_MAX, Opening};
use sync_core::wire::Cursor;
use sync_sqlite::{Database, OpenError, with_suffix};
use thiserror::Error;

pub use self::document::SqliteDocument;
pub use self::repair::Damage;
use self::rows::{StoredEntry, read_removal, read_seen, write_removal};
pub(crate) use self::schema::APPLICATION_ID;
use self::sums::Pending;
use self::weights::Weighed;

/// How many starts of the hub are remembered. Arbitrary; a cursor of an older one falls back to the
/// comparison of everything.
pub const BOOTS_MAX: i64 = 10_000;

/// From how many pages on the write-ahead log goes into the file, as SQLite has it.
const LOG_PAGES: u32 = 1_000;

/// A replica id that sorts after all others: longer than any.
const AFTER_ALL: [u8; 17] = [0xFF; 17];

/// Why the storage gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite refused something.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row does not match its checksum.
    #[error("{0} does not match its checksum")]
    Damaged(Damage),
    /// A number that does not fit into the database.
    #[error("a number is too large to be stored: {0}")]
    OutOfRange(u64),
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Opens the file, without a hub.
pub(crate) fn open(path: &Path) -> Result<Database, StoreError> {
    Ok(sync_sqlite::open(path, &schema::SCHEMA)?)
}

/// A hub's storage in an SQLite file.
#[derive(Debug)]
pub struct SqliteHub {
    database: Database,
    boot: Boot,
    seq: u64,
    /// The most weight of removals that is kept for each document.
    removals_max: u64,
    pending: Pending,
    weighed: Weighed,
}

impl SqliteHub {
    /// Opens the file, or makes it, and records this start. `removals_max` bounds the ranges of removed
    /// dots that are kept for each document.
    pub fn open(path: &Path, removals_max: u64) -> Result<Self, StoreError> {
        let mut database = open(path)?;
        database.set_prepared_statement_cache_capacity(64);
        let transaction = database.transaction()?;
        transaction.execute(
            "INSERT INTO hub (id, hub, seq) VALUES (1, ?1, 0) ON CONFLICT DO NOTHING",
            [random()?.cast_signed()],
        )?;
        let (hub, seq): (i64, i64) =
            transaction
                .query_row("SELECT hub, seq FROM hub", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let boot = random()?.cast_signed();
        let written = "INSERT INTO boots (boot, first_seq) VALUES (?1, ?2)";
        transaction.execute(written, [boot, seq])?;
        let forgotten = "DELETE FROM boots WHERE number <= (SELECT max(number) FROM boots) - ?1";
        transaction.execute(forgotten, [BOOTS_MAX])?;
        transaction.commit()?;
        let boot = Boot { hub: hub.cast_unsigned(), boot: boot.cast_unsigned() };
        let (seq, pending, weighed) = (seq.cast_unsigned(), Pending::default(), Weighed::default());
        Ok(Self { database, boot, seq, removals_max, pending, weighed })
    }

    /// Begins a transaction. What was not committed when this is dropped is not there afterwards.
    pub fn begin(&self) -> Result<(), StoreError> {
        Ok(self.database.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Brings the transaction to the disk. After an error nobody knows whether it is there: drop this
    /// and open the file again.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.write_sums()?;
        self.write_weights()?;
        Ok(self.database.execute_batch("COMMIT")?)
    }

    /// Brings all that is committed into the file, and leaves that as it is from then on.
    pub(crate) fn hold(&self) -> Result<(), StoreError> {
        self.database.checkpoint()?;
        Ok(self.database.pragma_update(None, "wal_autocheckpoint", 0)?)
    }

    /// Lets the file change again.
    pub(crate) fn release(&self) -> Result<(), StoreError> {
        Ok(self.database.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?)
    }

    /// The bytes of what is committed and not in the file.
    pub(crate) fn log_bytes(&self) -> u64 {
        std::fs::metadata(with_suffix(self.database.path(), "-wal")).map_or(0, |log| log.len())
    }

    /// The number up to which the removals of a document were forgotten.
    pub fn horizon(&self, document: DocumentId) -> Result<u64, StoreError> {
        let mut statement = self.prepare("SELECT horizon FROM documents WHERE id = ?1")?;
        let horizon: i64 = statement.query_row([signed(document)?], |row| row.get(0))?;
        Ok(horizon.cast_unsigned())
    }

    /// The connection, for a test that damages what it holds.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.database
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        Ok(self.database.prepare_cached(sql)?)
    }

    /// Reads entries in the order of the statement until there are enough bytes.
    fn page(
        &self,
        document: DocumentId,
        sql: &str,
        from: impl rusqlite::Params,
        bytes: usize,
    ) -> Result<Page, StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(from)?;
        let mut page = Page::default();
        let mut sum = 0;
        while sum < bytes {
            let Some(row) = rows.next()? else {
                page.is_last = true;
                break;
            };
            let StoredEntry { seq, entry, .. } = StoredEntry::read(document, row)?;
            sum += Page::cost(&entry);
            page.entries.push((seq, entry));
        }
        Ok(page)
    }

    /// Forgets the oldest removals of a document while they weigh more than the limit.
    fn forget_removals(&self, document: i64) -> Result<(), StoreError> {
        let mut statement = self.prepare("SELECT removal_weight FROM documents WHERE id = ?1")?;
        let mut weight: i64 = statement.query_row([document], |row| row.get(0))?;
        let limit = i64::try_from(self.removals_max).unwrap_or(i64::MAX);
        while weight > limit {
            let mut oldest = self.prepare(
                "SELECT seq, weight FROM removals WHERE document = ?1 ORDER BY seq LIMIT 1",
            )?;
            let found = oldest.query_row([document], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((seq, lighter)): Option<(i64, i64)> = found.optional()? else { break };
            self.prepare("DELETE FROM removals WHERE document = ?1 AND seq = ?2")?
                .execute([document, seq])?;
            weight -= lighter;
            self.prepare("UPDATE documents SET horizon = ?2, removal_weight = ?3 WHERE id = ?1")?
                .execute([document, seq, weight])?;
        }
        Ok(())
    }
}

impl HubStore for SqliteHub {
    type Error = StoreError;
    type Document<'a> = SqliteDocument<'a>;

    fn boot(&self) -> Boot {
        self.boot
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn can_resume(&self, document: DocumentId, cursor: Cursor) -> Result<bool, StoreError> {
        let mut statement = self.prepare(
            "SELECT (SELECT first_seq FROM boots AS later WHERE later.number > this.number
                     ORDER BY later.number LIMIT 1)
             FROM boots AS this WHERE boot = ?1",
        )?;
        let end = statement.query_row([cursor.boot.cast_signed()], |row| row.get(0)).optional()?;
        let end = match end {
            Some(Some(end)) => i64::cast_unsigned(end),
            Some(None) => self.seq,
            None => return Ok(false),
        };
        Ok(cursor.seq <= end && cursor.seq >= self.horizon(document)?)
    }

    fn open(&mut self, name: &str) -> Result<DocumentId, StoreError> {
        let mut known = self.prepare("SELECT id FROM documents WHERE name = ?1")?;
        if let Some(id) = known.query_row([name], |row| row.get::<_, i64>(0)).optional()? {
            return Ok(id.cast_unsigned());
        }
        self.prepare("INSERT INTO documents (name) VALUES (?1)")?.execute([name])?;
        Ok(self.database.last_insert_rowid().cast_unsigned())
    }

    fn context(&self, document: DocumentId) -> Result<CausalContext, StoreError> {
        let mut statement =
            self.prepare("SELECT replica, ranges FROM contexts WHERE document = ?1")?;
        let mut rows = statement.query([signed(document)?])?;
        let mut context = CausalContext::default();
        while let Some(row) = rows.next()? {
            let (replica, ranges) = read_seen(document, row)?;
            context.set(replica, ranges);
        }
        Ok(context)
    }

    fn live(&self, document: DocumentId) -> Result<CausalContext, StoreError> {
        let mut statement =
            self.prepare("SELECT replica, first, live FROM entries WHERE document = ?1")?;
        let mut rows = statement.query([signed(document)?])?;
        let mut live = CausalContext::default();
        while let Some(row) = rows.next()? {
            let (first, mask) = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
            if let Some(replica) = replica(row, 0)? {
                live.insert_ranges(replica, &rows::live_ranges(first.cast_unsigned(), mask));
            }
        }
        Ok(live)
    }

    fn openings(
        &self,
        document: DocumentId,
        replica: ReplicaId,
    ) -> Result<Vec<Opening>, StoreError> {
        let sql = "SELECT entries.replica, entries.first, last, live, seq, body
                   FROM marks JOIN entries USING (document, replica, first)
                   WHERE document = ?1 AND replica = ?2 ORDER BY first DESC LIMIT ?3";
        let of = params![signed(document)?, replica.as_bytes(), signed(MARKS_MAX as u64)?];
        let page = self.page(document, sql, of, usize::MAX)?;
        Ok(page.entries.iter().rev().filter_map(|(_, entry)| Opening::read(entry.view())).collect())
    }

    fn document(&mut self, document: DocumentId, seq: u64) -> SqliteDocument<'_> {
        SqliteDocument::new(self, document, seq)
    }

    fn record(&mut self, document: DocumentId, seq: u64, buried: Buried) -> Result<(), StoreError> {
        let (id, at) = (signed(document)?, signed(seq)?);
        self.seq = self.seq.max(seq);
        self.prepare("UPDATE hub SET seq = max(seq, ?1)")?.execute([at])?;
        let weight = buried.dots.range_count() + buried.notes.len();
        if weight == 0 {
            return Ok(());
        }
        let weight = signed(weight as u64)?;
        let body = write_removal(document, seq, &buried);
        let written = "INSERT INTO removals (document, seq, weight, body) VALUES (?1, ?2, ?3, ?4)";
        self.prepare(written)?.execute(params![id, at, weight, body])?;
        let heavier = "UPDATE documents SET removal_weight = removal_weight + ?2 WHERE id = ?1";
        self.prepare(heavier)?.execute([id, weight])?;
        self.forget_removals(id)
    }

    fn bytes(&self, document: DocumentId) -> Result<u64, StoreError> {
        self.write_weights()?;
        let sql = "SELECT bytes FROM documents WHERE id = ?1";
        let bytes: i64 = self.prepare(sql)?.query_row([signed(document)?], |row| row.get(0))?;
        // A damaged number is no reason to serve nobody: what is told of it is about what is to come.
        Ok(bytes.max(0).cast_unsigned())
    }

    fn arrived(
        &self,
        document: DocumentId,
        seq: u64,
        after: Option<(u64, Dot)>,
        bytes: usize,
    ) -> Result<Page, StoreError> {
        let sql = "SELECT replica, first, last, live, seq, body FROM entries
                   WHERE document = ?1 AND (seq, replica, first) > (?2, ?3, ?4)
                   ORDER BY seq, replica, first";
        let id = signed(document)?;
        match after.filter(|(at, _)| *at > seq) {
            Some((at, Dot { replica, counter })) => {
                let from = params![id, signed(at)?, replica.as_bytes(), signed(counter)?];
                self.page(document, sql, from, bytes)
            }
            None => {
                // A cursor was checked against the numbers that are there, so it fits.
                self.page(document, sql, params![id, signed(seq)?, AFTER_ALL, 0], bytes)
            }
        }
    }

    fn entries(
        &self,
        document: DocumentId,
        after: Option<Dot>,
        bytes: usize,
    ) -> Result<Page, StoreError> {
        let sql = "SELECT replica, first, last, live, seq, body FROM entries
                   WHERE document = ?1 AND (replica, first) > (?2, ?3) ORDER BY replica, first";
        let id = signed(document)?;
        match after {
            Some(Dot { replica, counter }) => {
                let from = params![id, replica.as_bytes(), signed(counter)?];
                self.page(document, sql, from, bytes)
            }
            None => self.page(document, sql, params![id, [0u8; 0], 0], bytes),
        }
    }

    fn buried(
        &self,
        document: DocumentId,
        seq: u64,
        known: &CausalContext,
    ) -> Result<Buried, StoreError> {
        let mut statement = self.prepare(
            "SELECT seq, body FROM removals WHERE document = ?1 AND seq > ?2 ORDER BY seq",
        )?;
        let mut rows = statement.query([signed(document)?, signed(seq)?])?;
        let mut buried = Buried::default();
        while let Some(row) = rows.next()? {
            buried.add(read_removal(document, row)?, known);
        }
        Ok(buried)
    }

    fn overlapping(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        bytes: usize,
    ) -> Result<Page, StoreError> {
        self.overlapping_of(document, replica, start, end, bytes)
    }

    fn total(&self, document: DocumentId) -> Result<Total, StoreError> {
        self.total_of(document)
    }

    fn sum(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Sum, StoreError> {
        self.sum_of(document, replica, start, end)
    }

    fn items(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        self.items_of(document, replica, start, end, limit)
    }
}

/// Reads a replica's id; none where the column holds something else.
fn replica(row: &Row<'_>, column: usize) -> Result<Option<ReplicaId>, StoreError> {
    Ok(ReplicaId::from_slice(row.get_ref(column)?.as_blob().unwrap_or_default()))
}

/// The form of a number in the database.
fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::OutOfRange(number))
}

fn random() -> Result<u64, StoreError> {
    getrandom::u64().map_err(StoreError::Random)
}
