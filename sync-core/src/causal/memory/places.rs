//! The entries by the objects that they are about: what documents read.

use std::convert::Infallible;

use super::MemoryStore;
use super::sorted::Position;
use crate::causal::{CausalContext, Dot, Entry, EntryView, Note, Overwrite, PlaceId, PlaceStore};
use crate::small::SmallVec;

impl MemoryStore {
    /// A row of each object of a space, in the order of their ids, beginning after `after`.
    fn objects_after(&self, space: &[u8], after: Option<&[u8]>) -> impl Iterator<Item = u32> {
        self.ids_of(space).into_iter().flat_map(move |ids| {
            let Some(after) = after else { return ids.iter_from(Position::default()) };
            match self.find_object(ids, after) {
                Ok(known) => ids.iter_from(known.next()),
                Err(next) => ids.iter_from(next),
            }
        })
    }

    /// Shows every row of an object at once, by one of them.
    #[inline]
    fn show_ring(&self, first: u32, show: &mut dyn FnMut(&[EntryView<'_>])) {
        // Mostly there is one, or two.
        let second = self.rows.of(first).next;
        if second == first {
            return show(&[self.view(first)]);
        }
        if crate::small::HAS_SHORTCUTS && self.rows.of(second).next == first {
            return show(&[self.view(first), self.view(second)]);
        }
        let mut entries: SmallVec<[EntryView<'_>; 4]> = SmallVec::new();
        self.rows.ring(first).for_each(|row| entries.push(self.view(row)));
        show(&entries);
    }
}

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

    fn all_at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(&[EntryView<'_>]),
    ) -> Result<(), Infallible> {
        match self.row_to_read(space, id) {
            Some(first) => self.show_ring(first, show),
            None => show(&[]),
        }
        Ok(())
    }

    fn each(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        show: &mut dyn FnMut(&[EntryView<'_>]),
    ) -> Result<(), Infallible> {
        let objects = self.objects_after(space, after).take(limit);
        objects.for_each(|first| self.show_ring(first, show));
        Ok(())
    }

    fn ids(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<PlaceId>, Infallible> {
        let rows = self.objects_after(space, after).take(limit);
        Ok(rows.map(|row| self.rows.of(row).id.clone()).collect())
    }

    fn spaces(&self) -> Result<Vec<Box<[u8]>>, Infallible> {
        Ok(self.spaces.iter().map(|space| space.name.clone()).collect())
    }

    #[inline]
    fn overwrite(
        &mut self,
        entry: &Entry,
        dead: Option<Dot>,
        killed: Option<&mut Vec<Entry>>,
        needed: u8,
    ) -> Result<Overwrite, Infallible> {
        Ok(self.overwrite_row(entry, dead, killed, needed))
    }

    #[inline]
    fn begin(&mut self, entry: &Entry) -> Result<bool, Infallible> {
        Ok(self.begin_object(entry))
    }

    #[inline]
    fn bury(
        &mut self,
        note: &Note,
        dead: Option<&CausalContext>,
        needed: u8,
        killed: &mut Vec<Entry>,
    ) -> Result<bool, Infallible> {
        Ok(self.bury_object(note, dead, needed, killed))
    }

    fn overwrite_one_of(
        &mut self,
        entry: &Entry,
        dead: &CausalContext,
        killed: &mut Vec<Entry>,
        needed: u8,
    ) -> Result<Option<Dot>, Infallible> {
        Ok(self.overwrite_one(entry, dead, killed, needed))
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
