//! One document's entries in SQLite by the objects that they are about, as a document reads them.

use rusqlite::params;

use sync_core::causal::{EntryView, PlaceId, PlaceStore};

use super::StoreError;
use super::dots::SqlDots;
use super::rows;

impl PlaceStore for SqlDots<'_> {
    fn at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(EntryView<'_>),
    ) -> Result<(), StoreError> {
        let sql = "SELECT replica, first, last, space, place, body FROM entries
                   WHERE document = ?1 AND space = ?2 AND place = ?3";
        let mut statement = self.prepare(sql)?;
        let mut found = statement.query(params![self.document, space, id])?;
        while let Some(row) = found.next()? {
            show(rows::read_entry(row)?.view());
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
        let mut statement = self.prepare(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = statement.query(params![self.document, space, behind(after), limit])?;
        let mut ids = Vec::new();
        while let Some(row) = found.next()? {
            ids.push(PlaceId::new(row.get_ref(0)?.as_blob()?));
        }
        Ok(ids)
    }

    fn spaces(&self) -> Result<Vec<Box<[u8]>>, StoreError> {
        // One step in the index for each space, however many entries it has.
        let sql = "SELECT min(space) FROM entries WHERE document = ?1 AND space >= ?2";
        let mut statement = self.prepare(sql)?;
        let mut spaces: Vec<Box<[u8]>> = Vec::new();
        loop {
            let from = behind(spaces.last().map(|space| &**space));
            let next: Option<Vec<u8>> =
                statement.query_row(params![self.document, from], |row| row.get(0))?;
            let Some(next) = next else { return Ok(spaces) };
            spaces.push(next.into());
        }
    }

    fn set_open(&mut self, space: &[u8], id: &[u8], is_open: bool) -> Result<(), StoreError> {
        let sql = if is_open {
            "INSERT OR IGNORE INTO open_places (document, space, place) VALUES (?1, ?2, ?3)"
        } else {
            "DELETE FROM open_places WHERE document = ?1 AND space = ?2 AND place = ?3"
        };
        self.prepare(sql)?.execute(params![self.document, space, id])?;
        Ok(())
    }

    fn is_open(&self, space: &[u8], id: &[u8]) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM open_places WHERE document = ?1 AND space = ?2 AND place = ?3";
        Ok(self.prepare(sql)?.exists(params![self.document, space, id])?)
    }

    fn open(&self) -> Result<Vec<(Box<[u8]>, PlaceId)>, StoreError> {
        let sql = "SELECT space, place FROM open_places WHERE document = ?1 ORDER BY space, place";
        let mut statement = self.prepare(sql)?;
        let mut found = statement.query([self.document])?;
        let mut open = Vec::new();
        while let Some(row) = found.next()? {
            open.push((
                row.get_ref(0)?.as_blob()?.into(),
                PlaceId::new(row.get_ref(1)?.as_blob()?),
            ));
        }
        Ok(open)
    }
}

/// The first bytes in order behind these.
fn behind(bytes: Option<&[u8]>) -> Vec<u8> {
    bytes.map_or_else(Vec::new, |bytes| [bytes, &[0]].concat())
}

#[cfg(test)]
mod tests;
