//! The entries by the objects that they are about: what documents read.

use std::convert::Infallible;

use super::MemoryStore;
use super::lookup::key_of;
use super::sorted::Position;
use crate::causal::{Dot, Entry, EntryView, PlaceId, PlaceStore};

impl PlaceStore for MemoryStore {
    fn at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(EntryView<'_>),
    ) -> Result<(), Infallible> {
        if let Some(first) = self.row_of(space, id) {
            self.rows.ring(first).for_each(|row| show(self.view(row)));
        }
        Ok(())
    }

    fn ids(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<PlaceId>, Infallible> {
        let Some(ids) = self.ids_of(space) else { return Ok(Vec::new()) };
        let id = |row: u32| &self.rows.of(row).id;
        let from = match after {
            Some(after) => ids.find(key_of(after), |row| (**id(row)).cmp(after)),
            None => Err(Position::default()),
        };
        let (Ok(from) | Err(from)) = from;
        let rows = ids.iter_from(from).filter(|row| after.is_none_or(|after| **id(*row) > *after));
        Ok(rows.take(limit).map(|row| id(row).clone()).collect())
    }

    fn spaces(&self) -> Result<Vec<Box<[u8]>>, Infallible> {
        Ok(self.spaces.iter().map(|space| space.name.clone()).collect())
    }

    #[inline]
    fn overwrite(
        &mut self,
        entry: &Entry,
        dead: Dot,
        killed: &mut Vec<Entry>,
        needed: u8,
    ) -> Result<bool, Infallible> {
        Ok(self.overwrite_row(entry, dead, killed, needed))
    }

    fn set_open(&mut self, space: &[u8], id: &[u8], is_open: bool) -> Result<(), Infallible> {
        if is_open {
            self.open.insert((space.into(), PlaceId::new(id)));
        } else if !self.open.is_empty() {
            self.open.remove(&(space.into(), PlaceId::new(id)));
        }
        Ok(())
    }

    fn is_open(&self, space: &[u8], id: &[u8]) -> Result<bool, Infallible> {
        Ok(!self.open.is_empty() && self.open.contains(&(space.into(), PlaceId::new(id))))
    }

    fn open(&self) -> Result<Vec<(Box<[u8]>, PlaceId)>, Infallible> {
        Ok(self.open.iter().cloned().collect())
    }
}
