//! What the live dots of each document sum up to, in blocks of counters, so that a comparison with a
//! client reads few entries.
//!
//! The sums follow from the entries, so they carry no checksum: one that is wrong makes a comparison
//! fail, and the client then gets everything.

use std::cell::RefCell;

use rusqlite::{OptionalExtension, params};
use sync_core::causal::{ElementKey, Entry, RUN_DOTS_MAX, ReplicaId, Sum, Total};
use sync_core::session::{DocumentId, HubStore, Page};

use super::rows::StoredEntry;
use super::{SqliteHub, StoreError, signed};

/// Counters in a block, as a power of two. As many as an entry has at most, so that it is in two.
const BLOCK_BITS: u32 = 6;

/// The most blocks whose change is kept for later. Arbitrary: what one delta mostly touches.
const PENDING_MAX: usize = 64;

const OVERLAPPING: &str = "SELECT replica, first, last, live, seq, body FROM entries
     WHERE document = ?1 AND replica = ?2 AND first BETWEEN ?3 AND ?4 AND last >= ?5
     ORDER BY first";

/// How a block has changed since it was written.
#[derive(Debug)]
struct Change {
    document: DocumentId,
    replica: ReplicaId,
    block: u64,
    sum: Sum,
    wide: u128,
}

/// Changes that are not written yet. They are before anything is read or committed.
#[derive(Debug, Default)]
pub(super) struct Pending(RefCell<Vec<Change>>);

impl SqliteHub {
    /// Counts the live dots of an entry in, or out.
    pub(super) fn count(
        &self,
        document: DocumentId,
        entry: &Entry,
        is_added: bool,
    ) -> Result<(), StoreError> {
        let replica = entry.replica();
        let key = ElementKey::of(replica);
        let mut pending = self.pending.0.borrow_mut();
        for (counter, content) in entry.view().hashes() {
            let block = counter >> BLOCK_BITS;
            let is_same = |change: &Change| {
                change.block == block && change.document == document && change.replica == replica
            };
            if !pending.last().is_some_and(is_same) {
                let (sum, wide) = (Sum::default(), 0);
                pending.push(Change { document, replica, block, sum, wide });
            }
            let Some(change) = pending.last_mut() else { continue };
            let wide = key.wide(counter, content);
            let one = Sum { hash: key.element(counter, content), count: 1 };
            if is_added {
                change.sum = change.sum.plus(one);
                change.wide = change.wide.wrapping_add(wide);
            } else {
                change.sum = change.sum.minus(one);
                change.wide = change.wide.wrapping_sub(wide);
            }
        }
        let is_full = pending.len() > PENDING_MAX;
        drop(pending);
        if is_full { self.write_sums() } else { Ok(()) }
    }

    /// Writes what is pending.
    pub(super) fn write_sums(&self) -> Result<(), StoreError> {
        for change in self.pending.0.take() {
            let Change { document, replica, block, sum, wide } = change;
            let at = params![signed(document)?, replica.as_bytes(), signed(block)?];
            let mut known =
                self.prepare("SELECT hash, wide, count FROM sums WHERE document = ?1 AND replica = ?2 AND block = ?3")?;
            let found = known.query_row(at, |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
            });
            let (hash, before, count) = found.optional()?.unwrap_or_default();
            let before_sum = Sum { hash: hash.cast_unsigned(), count: count.cast_unsigned() };
            let (sum, wide) =
                (before_sum.plus(sum), u128::from_le_bytes(before).wrapping_add(wide));
            if sum.count == 0 && wide == 0 {
                let gone = "DELETE FROM sums WHERE document = ?1 AND replica = ?2 AND block = ?3";
                self.prepare(gone)?.execute(at)?;
                continue;
            }
            let written =
                "INSERT OR REPLACE INTO sums (document, replica, block, hash, wide, count)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            self.prepare(written)?.execute(params![
                signed(document)?,
                replica.as_bytes(),
                signed(block)?,
                sum.hash.cast_signed(),
                wide.to_le_bytes(),
                sum.count.cast_signed(),
            ])?;
        }
        Ok(())
    }

    /// Makes the sums of a replica again from the entries that can be read.
    pub(super) fn rebuild_sums(&self, document: DocumentId, key: &[u8]) -> Result<(), StoreError> {
        self.write_sums()?;
        let gone = "DELETE FROM sums WHERE document = ?1 AND replica = ?2";
        self.prepare(gone)?.execute(params![signed(document)?, key])?;
        let mut statement = self.prepare(OVERLAPPING)?;
        let mut rows = statement.query(params![signed(document)?, key, 0, i64::MAX, 0])?;
        while let Some(row) = rows.next()? {
            // One that is damaged is taken out in its turn.
            if let Ok(stored) = StoredEntry::read(document, row) {
                self.count(document, &stored.entry, true)?;
            }
        }
        self.write_sums()
    }

    pub(super) fn total_of(&self, document: DocumentId) -> Result<Total, StoreError> {
        self.write_sums()?;
        let mut statement = self.prepare("SELECT wide, count FROM sums WHERE document = ?1")?;
        let mut rows = statement.query([signed(document)?])?;
        let mut total = Total::default();
        while let Some(row) = rows.next()? {
            let wide = u128::from_le_bytes(row.get(0)?);
            total.hash = total.hash.wrapping_add(wide);
            total.count = total.count.wrapping_add(row.get::<_, i64>(1)?.cast_unsigned());
        }
        Ok(total)
    }

    pub(super) fn sum_of(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Sum, StoreError> {
        self.write_sums()?;
        // The blocks that lie in the range as a whole; what is left at its ends is looked at.
        let first = start.div_ceil(1 << BLOCK_BITS);
        let beyond = end.saturating_add(1) >> BLOCK_BITS;
        let mut sum = Sum::default();
        let look_at = |start: u64, end: u64| -> Result<Sum, StoreError> {
            let key = ElementKey::of(replica);
            let items = self.items(document, replica, start, end, usize::MAX)?;
            let hashes = items.iter().map(|(counter, content)| key.element(*counter, *content));
            Ok(hashes.fold(Sum::default(), |sum, hash| sum.plus(Sum { hash, count: 1 })))
        };
        if first >= beyond {
            return look_at(start, end);
        }
        if start < first << BLOCK_BITS {
            sum = sum.plus(look_at(start, (first << BLOCK_BITS) - 1)?);
        }
        if beyond << BLOCK_BITS <= end {
            sum = sum.plus(look_at(beyond << BLOCK_BITS, end)?);
        }
        let mut statement = self.prepare(
            "SELECT hash, count FROM sums
             WHERE document = ?1 AND replica = ?2 AND block >= ?3 AND block < ?4",
        )?;
        let key = params![signed(document)?, replica.as_bytes(), signed(first)?, signed(beyond)?];
        let mut rows = statement.query(key)?;
        while let Some(row) = rows.next()? {
            let (hash, count) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            let block = Sum { hash: hash.cast_unsigned(), count: count.cast_unsigned() };
            sum = sum.plus(block);
        }
        Ok(sum)
    }

    pub(super) fn items_of(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut items = Vec::new();
        let Some(key) = Self::key_of(document, start, end)? else { return Ok(items) };
        let (id, from, to, least) = key;
        let mut statement = self.prepare(OVERLAPPING)?;
        let mut rows = statement.query(params![id, replica.as_bytes(), from, to, least])?;
        while let Some(row) = rows.next()? {
            for (counter, hash) in StoredEntry::read(document, row)?.entry.view().hashes() {
                if items.len() >= limit || counter > end {
                    return Ok(items);
                }
                if counter >= start {
                    items.push((counter, hash));
                }
            }
        }
        Ok(items)
    }

    pub(super) fn overlapping_of(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        bytes: usize,
    ) -> Result<Page, StoreError> {
        let Some((id, from, to, least)) = Self::key_of(document, start, end)? else {
            return Ok(Page { is_last: true, ..Page::default() });
        };
        let key = params![id, replica.as_bytes(), from, to, least];
        self.page(document, OVERLAPPING, key, bytes)
    }

    /// What of the key of [`OVERLAPPING`] is about a range; none for one of numbers that are not stored.
    fn key_of(
        document: DocumentId,
        start: u64,
        end: u64,
    ) -> Result<Option<(i64, i64, i64, i64)>, StoreError> {
        let Ok(least) = i64::try_from(start) else { return Ok(None) };
        // Only runs that start up to one run's length earlier can overlap.
        let from = signed(start.saturating_sub(RUN_DOTS_MAX as u64 - 1))?;
        let to = i64::try_from(end).unwrap_or(i64::MAX);
        Ok(Some((signed(document)?, from, to, least)))
    }
}

#[cfg(test)]
mod tests {
    use sync_core::causal::{Dot, Label, PlaceId, Slots};
    use sync_core::time::Stamp;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_changes_of_so_many_blocks_wait() {
        for blocks in [PENDING_MAX - 1, PENDING_MAX, PENDING_MAX + 1] {
            let folder = TempDir::new().unwrap();
            let mut hub = SqliteHub::open(&folder.path().join("hub.db"), 100).unwrap();
            let document = HubStore::open(&mut hub, "d").unwrap();
            for block in 0..blocks as u64 {
                let entry = Entry {
                    first: Dot::new(ReplicaId::from_bytes([1; 16]), (block << BLOCK_BITS) + 1),
                    stamp: Stamp::default(),
                    label: Label::new(b"space", [&b"name"[..]]),
                    id: PlaceId::new(b"id"),
                    slots: Slots::new([Some(&b"value"[..])].into_iter()),
                };
                hub.count(document, &entry, true).unwrap();
            }
            let expected = if blocks <= PENDING_MAX { blocks } else { 0 };
            assert_eq!(hub.pending.0.borrow().len(), expected);
            assert_eq!(hub.total_of(document).unwrap().count, blocks as u64, "none is lost");
        }
    }
}
