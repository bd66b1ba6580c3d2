//! One document's context and entries in SQLite, as the kernel's join works on them.

use std::borrow::Cow;

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
        let mut statement = self.prepare(
            "SELECT replica, first, last, space, place, body FROM entries WHERE document = ?1",
        )?;
        let mut found = statement.query([self.document])?;
        while let Some(row) = found.next()? {
            entries.push(rows::read_entry(row)?);
        }
        Ok(MemoryStore::load(context, entries))
    }

    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    fn write(&self, entry: &Entry) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO entries
                   (document, replica, first, last, space, place, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.prepare(sql)?.execute(params![
            self.document,
            entry.replica().as_bytes(),
            counter(entry.first.counter),
            counter(entry.last()),
            entry.label.space(),
            &*entry.id,
            rows::write_entry(entry)
        ])?;
        Ok(())
    }

    fn delete(&self, first: Dot) -> Result<(), StoreError> {
        let sql = "DELETE FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3";
        let key = params![self.document, first.replica.as_bytes(), counter(first.counter)];
        self.prepare(sql)?.execute(key)?;
        Ok(())
    }

    fn set_seen(&self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), StoreError> {
        if ranges.is_empty() {
            let sql = "DELETE FROM contexts WHERE document = ?1 AND replica = ?2";
            self.prepare(sql)?.execute(params![self.document, replica.as_bytes()])?;
            return Ok(());
        }
        let sql = "INSERT OR REPLACE INTO contexts (document, replica, body) VALUES (?1, ?2, ?3)";
        let body = rows::write_context(replica, ranges);
        self.prepare(sql)?.execute(params![self.document, replica.as_bytes(), body])?;
        Ok(())
    }
}

impl DotStore for SqlDots<'_> {
    type Error = StoreError;

    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, StoreError> {
        let sql = "SELECT body FROM contexts WHERE document = ?1 AND replica = ?2";
        let body: Option<Vec<u8>> = self
            .prepare(sql)?
            .query_row(params![self.document, replica.as_bytes()], |row| row.get(0))
            .optional()?;
        match body {
            Some(body) => Ok(Cow::Owned(rows::read_context(replica, &body)?)),
            None => Ok(Cow::default()),
        }
    }

    fn see(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), StoreError> {
        let mut seen = self.seen(replica)?.into_owned();
        seen.union(ranges);
        self.set_seen(replica, &seen)
    }

    fn unsee(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), StoreError> {
        let seen = self.seen(replica)?.difference(ranges);
        self.set_seen(replica, &seen)
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        // Only runs that start up to one run's length earlier can overlap.
        let from = start.saturating_sub(RUN_DOTS_MAX as u64 - 1);
        let sql = "SELECT replica, first, last, space, place, body FROM entries
                   WHERE document = ?1 AND replica = ?2 AND first BETWEEN ?3 AND ?4 AND last >= ?5
                   ORDER BY first";
        let mut statement = self.prepare(sql)?;
        let (from, start, end) = (counter(from), counter(start), counter(end));
        let bounds = params![self.document, replica.as_bytes(), from, end, start];
        let mut found = statement.query(bounds)?;
        let mut entries = Vec::new();
        while let Some(row) = found.next()? {
            entries.push(rows::read_entry(row)?);
        }
        Ok(entries)
    }

    fn add(&mut self, entry: Entry) -> Result<bool, StoreError> {
        let known = self.overlapping(entry.replica(), entry.first.counter, entry.last())?;
        let Some(entry) = entry.laid_over(known) else { return Ok(false) };
        self.write(&entry)?;
        Ok(true)
    }

    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        for mut entry in self.overlapping(replica, start, end)? {
            let Some(taken) = entry.take(start, end) else { continue };
            if entry.slots.live() == 0 {
                self.delete(entry.first)?;
            } else {
                self.write(&entry)?;
            }
            killed.push(taken);
        }
        Ok(())
    }
}
