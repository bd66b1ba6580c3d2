//! One document, as the kernel joins deltas into it.

use std::borrow::Cow;

use rusqlite::params;
use sync_core::causal::{Dot, DotRanges, DotStore, Entry, RUN_DOTS_MAX, ReplicaId};
use sync_core::session::DocumentId;
use sync_core::types::Opening;

use super::rows::{StoredEntry, read_seen, write_seen};
use super::{SqliteHub, StoreError, signed};

/// One document of a [`SqliteHub`], at a sequence number. Only what a delta names is read.
#[derive(Debug)]
pub struct SqliteDocument<'a> {
    hub: &'a SqliteHub,
    document: DocumentId,
    seq: u64,
}

impl<'a> SqliteDocument<'a> {
    pub(super) fn new(hub: &'a SqliteHub, document: DocumentId, seq: u64) -> Self {
        Self { hub, document, seq }
    }

    /// The entries of a replica whose runs overlap `start..=end`, in order.
    fn rows(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        // Only runs that start up to one run's length earlier can overlap.
        let from = start.saturating_sub(RUN_DOTS_MAX as u64 - 1);
        let mut statement = self.hub.prepare(
            "SELECT replica, first, last, live, seq, body FROM entries
             WHERE document = ?1 AND replica = ?2 AND first BETWEEN ?3 AND ?4 AND last >= ?5
             ORDER BY first",
        )?;
        let key = params![
            signed(self.document)?,
            replica.as_bytes(),
            signed(from)?,
            signed(end)?,
            signed(start)?
        ];
        let mut rows = statement.query(key)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(StoredEntry::read(self.document, row)?);
        }
        Ok(entries)
    }

    fn write(&self, stored: &StoredEntry) -> Result<(), StoreError> {
        let StoredEntry { seq, entry, .. } = stored;
        let body = stored.body(self.document);
        self.hub.weigh(self.document, stored.weight_change(Some(body.len())))?;
        let mut statement = self.hub.prepare(
            "INSERT INTO entries (document, replica, first, last, live, seq, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (document, replica, first) DO UPDATE SET
             last = excluded.last, live = excluded.live, seq = excluded.seq, body = excluded.body",
        )?;
        statement.execute(params![
            signed(self.document)?,
            entry.replica().as_bytes(),
            signed(entry.first.counter)?,
            signed(entry.last())?,
            entry.slots.live().cast_signed(),
            signed(*seq)?,
            body
        ])?;
        if Opening::read(entry.view()).is_some() {
            let sql = "INSERT OR IGNORE INTO marks (document, replica, first) VALUES (?1, ?2, ?3)";
            self.execute_at(sql, entry.first)?;
        }
        Ok(())
    }

    /// Takes an entry out whose last dots these are.
    fn delete(&self, entry: &Entry) -> Result<(), StoreError> {
        if Opening::read(entry.view()).is_some() {
            let sql = "DELETE FROM marks WHERE document = ?1 AND replica = ?2 AND first = ?3";
            self.execute_at(sql, entry.first)?;
        }
        let sql = "DELETE FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3";
        self.execute_at(sql, entry.first)
    }

    fn execute_at(&self, sql: &str, at: Dot) -> Result<(), StoreError> {
        let key = params![signed(self.document)?, at.replica.as_bytes(), signed(at.counter)?];
        self.hub.prepare(sql)?.execute(key)?;
        Ok(())
    }

    fn set_seen(&self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), StoreError> {
        let document = signed(self.document)?;
        signed(ranges.max())?;
        if ranges.is_empty() {
            let gone = "DELETE FROM contexts WHERE document = ?1 AND replica = ?2";
            self.hub.prepare(gone)?.execute(params![document, replica.as_bytes()])?;
            return Ok(());
        }
        let body = write_seen(self.document, replica, ranges);
        let mut statement = self.hub.prepare(
            "INSERT INTO contexts (document, replica, ranges) VALUES (?1, ?2, ?3)
             ON CONFLICT (document, replica) DO UPDATE SET ranges = excluded.ranges",
        )?;
        statement.execute(params![document, replica.as_bytes(), body])?;
        Ok(())
    }
}

impl DotStore for SqliteDocument<'_> {
    type Error = StoreError;

    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, StoreError> {
        let mut statement = self
            .hub
            .prepare("SELECT replica, ranges FROM contexts WHERE document = ?1 AND replica = ?2")?;
        let mut rows = statement.query(params![signed(self.document)?, replica.as_bytes()])?;
        match rows.next()? {
            Some(row) => Ok(Cow::Owned(read_seen(self.document, row)?.1)),
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
        let rows = self.rows(replica, start, end)?;
        Ok(rows.into_iter().map(|stored| stored.entry).collect())
    }

    fn add(&mut self, entry: Entry) -> Result<bool, StoreError> {
        let known = self.rows(entry.replica(), entry.first.counter, entry.last())?;
        let bytes = known.first().map_or(0, |before| before.bytes);
        let known: Vec<_> = known.into_iter().map(|stored| stored.entry).collect();
        let before = known.first().cloned();
        let Some(entry) = entry.laid_over(known) else { return Ok(false) };
        if let Some(before) = before {
            self.hub.count(self.document, &before, false)?;
        }
        self.hub.count(self.document, &entry, true)?;
        self.write(&StoredEntry { seq: self.seq, entry, bytes })?;
        Ok(true)
    }

    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        for mut stored in self.rows(replica, start, end)? {
            let Some(taken) = stored.entry.take(start, end) else { continue };
            if stored.entry.slots.live() == 0 {
                self.hub.weigh(self.document, stored.weight_change(None))?;
                self.delete(&taken)?;
            } else {
                self.write(&stored)?;
            }
            self.hub.count(self.document, &taken, false)?;
            killed.push(taken);
        }
        Ok(())
    }
}
