//! The first entry of an object, as the insertion of a record has it: it is looked up once where it would
//! stand, and is put there.

use super::MemoryStore;
use super::lookup::key_of;
use super::rows::Row;
use crate::causal::Entry;

impl MemoryStore {
    /// See [`PlaceStore::begin`](crate::causal::PlaceStore::begin).
    pub(super) fn begin_object(&mut self, entry: &Entry) -> bool {
        let Ok(space) = self.space(entry.label.space()) else { return false };
        let (ids, key) = (&self.spaces[space].ids, key_of(&entry.id));
        let place = ids.find(key, |row| self.rows.of(row).id.compare(&entry.id));
        let Err(place) = place else { return false };
        let Some((writer, at)) = self.see_next(entry.first, entry.last()) else { return false };
        let Entry { first, stamp, label, id, slots } = entry.clone();
        let sum = self.fingerprints.add_run(entry.view());
        let label = self.labels.fitted(&label, slots.live());
        let counter = first.counter;
        let row = Row { id, stamp, counter, label, slots, sum, writer, next: 0 };
        let number = self.rows.add_ring(row);
        self.spaces[space].ids.insert(place, key, number);
        self.writers[writer as usize].runs.insert(at, counter, number);
        self.hand.set_row(number);
        true
    }
}
