//! One document's context and entries in SQLite, as the kernel's join works on them.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use sync_core::causal::{
    CausalContext, Dot, DotRanges, DotStore, Entry, MemoryStore, RUN_DOTS_MAX, ReplicaId,
};

use super::StoreError;
use super::rows::{self, counter};

/// A view of one document within a transaction.
#[derive(Debug)]
pub(super) struct SqlDots<'a> {
    pub(super) connection: &'a Connection,
    pub(super) document: i64,
}

impl SqlDots<'_> {
    /// Reads everything.
    pub(super) fn load(&self) -> Result<MemoryStore, StoreError> {
        let mut context = CausalContext::default();
        let mut statement =
            self.prepare("SELECT replica, body FROM contexts WHERE document = ?1")?;
        let mut found = statement.query([self.document])?;
        while let Some(row) = found.next()? {
            let replica = ReplicaId::from_bytes(row.get(0)?);
            context.set(replica, rows::read_context(replica, row.get_ref(1)?.as_blob()?)?);
        }
        let mut entries = Vec::new();
        let mut statement =
            self.prepare("SELECT replica, first, body FROM entries WHERE document = ?1")?;
        let mut found = statement.query([self.document])?;
        while let Some(row) = found.next()? {
            let replica = ReplicaId::from_bytes(row.get(0)?);
            entries.push(rows::read_entry(replica, row.get(1)?, row.get_ref(2)?.as_blob()?)?);
        }
        Ok(MemoryStore::load(context, entries))
    }

    fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}

impl DotStore for SqlDots<'_> {
    type Error = StoreError;

    fn seen(&self, replica: ReplicaId) -> Result<DotRanges, StoreError> {
        let sql = "SELECT body FROM contexts WHERE document = ?1 AND replica = ?2";
        let body: Option<Vec<u8>> = self
            .prepare(sql)?
            .query_row(params![self.document, replica.as_bytes()], |row| row.get(0))
            .optional()?;
        body.map_or(Ok(DotRanges::default()), |body| rows::read_context(replica, &body))
    }

    fn set_seen(&mut self, replica: ReplicaId, ranges: DotRanges) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO contexts (document, replica, body) VALUES (?1, ?2, ?3)";
        let body = rows::write_context(replica, &ranges);
        self.prepare(sql)?.execute(params![self.document, replica.as_bytes(), body])?;
        Ok(())
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        // Only runs that start up to one run's length earlier can overlap.
        let from = start.saturating_sub(RUN_DOTS_MAX as u64 - 1);
        let sql = "SELECT first, body FROM entries
                   WHERE document = ?1 AND replica = ?2 AND first BETWEEN ?3 AND ?4 ORDER BY first";
        let mut statement = self.prepare(sql)?;
        let bounds = params![self.document, replica.as_bytes(), counter(from), counter(end)];
        let mut found = statement.query(bounds)?;
        let mut entries = Vec::new();
        while let Some(row) = found.next()? {
            let entry = rows::read_entry(replica, row.get(0)?, row.get_ref(1)?.as_blob()?)?;
            if entry.last() >= start {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn put(&mut self, entry: Entry, _fresh: bool) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO entries (document, replica, first, body)
                   VALUES (?1, ?2, ?3, ?4)";
        let Dot { replica, counter: first } = entry.first;
        let row =
            params![self.document, replica.as_bytes(), counter(first), rows::write_entry(&entry)];
        self.prepare(sql)?.execute(row)?;
        Ok(())
    }

    fn remove(&mut self, first: Dot) -> Result<(), StoreError> {
        let sql = "DELETE FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3";
        let key = params![self.document, first.replica.as_bytes(), counter(first.counter)];
        self.prepare(sql)?.execute(key)?;
        Ok(())
    }
}
