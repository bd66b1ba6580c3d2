//! One document, as the kernel joins deltas into it.

use rusqlite::{OptionalExtension, params};
use sync_core::causal::{Dot, DotRanges, DotStore, Entry, RUN_DOTS_MAX, ReplicaId};
use sync_core::session::DocumentId;

use super::rows::{StoredEntry, live_mask, read_seen, write_seen};
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

    /// The number at which the entry that starts at a dot arrived.
    fn arrival(&self, first: Dot) -> Result<Option<u64>, StoreError> {
        let mut statement = self.hub.prepare(
            "SELECT seq FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3",
        )?;
        let key = params![signed(self.document)?, first.replica.as_bytes(), signed(first.counter)?];
        let seq = statement.query_row(key, |row| row.get::<_, i64>(0)).optional()?;
        Ok(seq.map(i64::cast_unsigned))
    }
}

impl DotStore for SqliteDocument<'_> {
    type Error = StoreError;

    fn seen(&self, replica: ReplicaId) -> Result<DotRanges, StoreError> {
        let mut statement = self
            .hub
            .prepare("SELECT replica, ranges FROM contexts WHERE document = ?1 AND replica = ?2")?;
        let mut rows = statement.query(params![signed(self.document)?, replica.as_bytes()])?;
        match rows.next()? {
            Some(row) => Ok(read_seen(self.document, row)?.1),
            None => Ok(DotRanges::default()),
        }
    }

    fn set_seen(&mut self, replica: ReplicaId, ranges: DotRanges) -> Result<(), StoreError> {
        let document = signed(self.document)?;
        signed(ranges.max())?;
        if ranges.is_empty() {
            let gone = "DELETE FROM contexts WHERE document = ?1 AND replica = ?2";
            self.hub.prepare(gone)?.execute(params![document, replica.as_bytes()])?;
            return Ok(());
        }
        let body = write_seen(self.document, replica, &ranges);
        let mut statement = self.hub.prepare(
            "INSERT INTO contexts (document, replica, ranges) VALUES (?1, ?2, ?3)
             ON CONFLICT (document, replica) DO UPDATE SET ranges = excluded.ranges",
        )?;
        statement.execute(params![document, replica.as_bytes(), body])?;
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
            entries.push(StoredEntry::read(self.document, row)?.entry);
        }
        Ok(entries)
    }

    fn put(&mut self, entry: Entry, fresh: bool) -> Result<(), StoreError> {
        let seq = match (fresh, self.arrival(entry.first)?) {
            (false, Some(seq)) => seq,
            (true, _) | (false, None) => self.seq,
        };
        let stored = StoredEntry { seq, entry };
        let body = stored.body(self.document);
        let entry = stored.entry;
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
            live_mask(&entry),
            signed(seq)?,
            body
        ])?;
        Ok(())
    }

    fn remove(&mut self, first: Dot) -> Result<(), StoreError> {
        let mut statement = self
            .hub
            .prepare("DELETE FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3")?;
        let key = params![signed(self.document)?, first.replica.as_bytes(), signed(first.counter)?];
        statement.execute(key)?;
        Ok(())
    }
}
