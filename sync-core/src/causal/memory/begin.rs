//! The first entry of an object, as the insertion of a record has it: it is looked up once where it would
//! stand, and is put there.

use super::MemoryStore;
use super::lookup::key_of;
use crate::causal::Entry;

impl MemoryStore {
    /// See [`PlaceStore::begin`](crate::causal::PlaceStore::begin).
    pub(super) fn begin_object(&mut self, entry: &Entry) -> bool {
        let Ok(space) = self.space(entry.label.space()) else { return false };
        let place = self.find_object(&self.spaces[space].ids, &entry.id);
        let Err(place) = place else { return false };
        let Some((writer, at)) = self.see_next(entry.first, entry.last()) else { return false };
        let row = self.row_for(entry.clone(), writer);
        let number = self.rows.add_ring(row);
        self.spaces[space].ids.insert(place, key_of(&entry.id), number);
        self.writers[writer as usize].runs.insert(at, entry.first.counter, number);
        self.hand.set_row(number);
        true
    }
}
