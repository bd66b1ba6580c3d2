//! One document's entries in SQLite by the objects that they are about, as a document reads them.

use rusqlite::params;

use sync_core::causal::{DotRanges, Entry, EntryView, Object, PlaceId, PlaceStore};

use super::StoreError;
use super::dots::DocumentStore;

/// How many rows are read in one go, at most. Arbitrary.
const PAGE_ROWS_MAX: usize = 1_024;

impl PlaceStore for DocumentStore {
    fn at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(EntryView<'_>),
    ) -> Result<(), StoreError> {
        let sql = "SELECT replica, first, last, space, place, body FROM entries
                   WHERE document = ?1 AND space = ?2 AND place = ?3";
        let mut entries = Vec::new();
        self.show(sql, params![self.document, space, id], |entry| {
            entries.push(entry);
            true
        })?;
        entries.iter().map(Entry::view).for_each(show);
        Ok(())
    }

    fn each(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        show: &mut dyn FnMut(&[EntryView<'_>]),
    ) -> Result<(), StoreError> {
        let sql = "SELECT replica, first, last, space, place, body FROM entries
                   WHERE document = ?1 AND space = ?2 AND place >= ?3 ORDER BY place LIMIT ?4";
        let (mut after, mut left) = (after.map(PlaceId::new), limit);
        while left > 0 {
            // Shown once the file is no longer in use: whoever is shown something may read more.
            let mut page = Vec::new();
            // An object mostly has a row or two, and one row more ends the last of them.
            let rows = left.saturating_mul(2).saturating_add(1).min(PAGE_ROWS_MAX);
            let from = behind(after.as_deref());
            self.show(sql, params![self.document, space, from, rows as i64], |entry| {
                page.push(entry);
                true
            })?;
            let is_last = page.len() < rows;
            let Some(last) = page.last().map(|entry| entry.id.clone()) else { break };
            if !is_last {
                // The page may have a part of it.
                page.retain(|entry| entry.id != last);
            }
            let views: Vec<_> = page.iter().map(Entry::view).collect();
            for entries in views.chunk_by(|one, other| one.id == other.id).take(left) {
                show(entries);
                left -= 1;
            }
            if is_last {
                break;
            }
            after = page.last().map(|entry| entry.id.clone());
            if page.is_empty() && left > 0 {
                self.all_at(space, &last, show)?;
                (after, left) = (Some(last), left - 1);
            }
        }
        Ok(())
    }

    fn ids(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<PlaceId>, StoreError> {
        let sql = "SELECT DISTINCT place FROM entries
                   WHERE document = ?1 AND space = ?2 AND place >= ?3 ORDER BY place LIMIT ?4";
        self.file.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut found = statement.query(params![self.document, space, behind(after), limit])?;
            let mut ids = Vec::new();
            while let Some(row) = found.next()? {
                ids.push(PlaceId::new(row.get_ref(0)?.as_blob()?));
            }
            Ok(ids)
        })
    }

    fn spaces(&self) -> Result<Vec<Box<[u8]>>, StoreError> {
        // One step in the index for each space, however many entries it has.
        let sql = "SELECT min(space) FROM entries WHERE document = ?1 AND space >= ?2";
        self.file.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut spaces: Vec<Box<[u8]>> = Vec::new();
            loop {
                let from = behind(spaces.last().map(|space| &**space));
                let next: Option<Vec<u8>> =
                    statement.query_row(params![self.document, from], |row| row.get(0))?;
                let Some(next) = next else { return Ok(spaces) };
                spaces.push(next.into());
            }
        })
    }

    fn begin(&mut self, entry: &Entry) -> Result<bool, StoreError> {
        let replica = entry.replica();
        if self.context().max_of(replica) >= entry.first.counter {
            return Ok(false);
        }
        let mut dots = DotRanges::default();
        dots.insert(entry.first.counter, entry.last());
        if !self.file.insert_first(self.document, entry, &dots)? {
            return Ok(false);
        }
        self.count_in(entry);
        self.saw(replica, &dots);
        Ok(true)
    }

    fn set_open(&mut self, space: &[u8], id: &[u8], is_open: bool) -> Result<(), StoreError> {
        if self.open_count == 0 && !is_open {
            return Ok(());
        }
        let sql = if is_open {
            "INSERT OR IGNORE INTO open_places (document, space, place) VALUES (?1, ?2, ?3)"
        } else {
            "DELETE FROM open_places WHERE document = ?1 AND space = ?2 AND place = ?3"
        };
        let at = params![self.document, space, id];
        let changed = self
            .file
            .write(|connection| Ok(connection.prepare_cached(sql)?.execute(at)? as u64))?;
        if is_open {
            self.open_count += changed;
        } else {
            self.open_count = self.open_count.saturating_sub(changed);
        }
        Ok(())
    }

    fn is_open(&self, space: &[u8], id: &[u8]) -> Result<bool, StoreError> {
        if self.open_count == 0 {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM open_places WHERE document = ?1 AND space = ?2 AND place = ?3";
        let at = params![self.document, space, id];
        self.file.read(|connection| Ok(connection.prepare_cached(sql)?.exists(at)?))
    }

    fn open(&self) -> Result<Vec<Object>, StoreError> {
        let sql = "SELECT space, place FROM open_places WHERE document = ?1 ORDER BY space, place";
        self.file.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query([self.document])?;
            let mut open = Vec::new();
            while let Some(row) = found.next()? {
                let (space, place) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
                open.push((space.into(), PlaceId::new(place)));
            }
            Ok(open)
        })
    }
}

/// The first bytes in order behind these.
fn behind(bytes: Option<&[u8]>) -> Vec<u8> {
    bytes.map_or_else(Vec::new, |bytes| [bytes, &[0]].concat())
}

#[cfg(test)]
mod tests;
