//! Numbers for what deltas name again and again: replicas and labels.

use super::delta::{InFull, Reader, read_delta, write_delta, write_labels, write_replicas};
use super::{DICTIONARY_BYTES_MAX, DICTIONARY_ITEMS_MAX, check_len};
use crate::causal::{Delta, Label, ReplicaId};
use crate::error::Malformed;

/// The most replicas of dead dots that a delta may have for these to be numbered. Arbitrary: an edit
/// takes the place of what a few wrote, and a refill names all who ever were there.
const DEAD_REPLICAS_MAX: usize = 16;

/// Replicas and labels that both sides of a conversation have numbered, from 0 in the order in which
/// they were added. An empty one makes deltas that stand for themselves.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    replicas: Table<ReplicaId>,
    labels: Table<Label>,
    label_bytes: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    items: Vec<T>,
    /// The numbers of the items in the order of these.
    order: Vec<u32>,
    /// The number of the item that was added last, or was to be.
    last: usize,
}

/// Up to how many items are looked at one by one. Arbitrary.
const FEW: usize = 16;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Table<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), order: Vec::new(), last: 0 }
    }
}

impl<T: Ord> Table<T> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn number(&self, item: &T) -> Option<usize> {
        if self.items.len() <= FEW {
            return self.items.iter().position(|known| known == item);
        }
        self.place(item).ok().map(|at| self.order[at] as usize)
    }

    fn place(&self, item: &T) -> Result<usize, usize> {
        self.order.binary_search_by(|number| self.items[*number as usize].cmp(item))
    }

    #[inline]
    pub(super) fn item(&self, number: usize) -> Option<&T> {
        self.items.get(number)
    }

    /// Whether an item has a number.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn has(&self, item: &T) -> bool {
        // Mostly it is the one that was added last.
        self.items.get(self.last) == Some(item) || self.number(item).is_some()
    }

    /// Says whether it is new.
    #[inline]
    fn add(&mut self, item: T) -> bool {
        // Mostly it is known, and the one before.
        self.items.get(self.last) != Some(&item) && self.add_other(item)
    }

    fn add_other(&mut self, item: T) -> bool {
        if let Some(known) = self.number(&item) {
            self.last = known;
            return false;
        }
        let (Ok(at) | Err(at)) = self.place(&item);
        self.last = self.items.len();
        self.order.insert(at, self.last as u32);
        self.items.push(item);
        true
    }
}

impl Dictionary {
    /// One that numbers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { replicas: Table::new(), labels: Table::new(), label_bytes: 0 }
    }

    /// Numbers a replica, if it has no number.
    pub fn add_replica(&mut self, replica: ReplicaId) {
        self.replicas.add(replica);
    }

    /// Numbers a label, if it has no number.
    pub fn add_label(&mut self, label: Label) {
        let bytes = label.byte_count();
        if self.labels.add(label) {
            self.label_bytes += bytes;
        }
    }

    /// Numbers what a delta names, while there is room.
    pub fn learn(&mut self, delta: &Delta) {
        let Delta { entries, dead, notes } = delta;
        for entry in entries {
            self.learn_replica(entry.first.replica);
            self.learn_label(&entry.label);
        }
        for note in notes {
            self.learn_replica(note.dot.replica);
            self.learn_label(&note.label);
        }
        if dead.replica_count() <= DEAD_REPLICAS_MAX {
            dead.iter().for_each(|(replica, _)| self.learn_replica(replica));
        }
    }

    /// Numbers a replica, while there is room.
    #[inline]
    fn learn_replica(&mut self, replica: ReplicaId) {
        let is_known = crate::small::HAS_SHORTCUTS && self.replicas.has(&replica);
        if !is_known && self.replicas.len() < DICTIONARY_ITEMS_MAX {
            self.add_replica(replica);
        }
    }

    /// Numbers a label, while there is room.
    #[inline]
    fn learn_label(&mut self, label: &Label) {
        if !crate::small::HAS_SHORTCUTS || !self.labels.has(label) {
            self.add_label_that_fits(label);
        }
    }

    /// Writes the delta of a chunk for whoever has read those before it, and numbers what it brings.
    pub fn write_chunk(&mut self, delta: &Delta) -> Vec<u8> {
        let mut out = Vec::new();
        write_delta(&mut out, delta, self, &InFull);
        // What was just written can be read.
        let _ = self.learn_front(&out);
        out
    }

    /// Reads the delta of a chunk, and numbers what it brings.
    pub fn read_chunk(&mut self, bytes: &[u8]) -> Result<Delta, Malformed> {
        let delta = read_delta(bytes, self, &InFull)?;
        self.learn_front(bytes)?;
        Ok(delta)
    }

    /// Numbers what stands at the front of a delta, while there is room.
    fn learn_front(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader { rest: bytes };
        for replica in reader.read_replicas()? {
            if self.replicas.len() < DICTIONARY_ITEMS_MAX {
                self.add_replica(replica);
            }
        }
        for label in reader.read_labels()? {
            self.add_label_that_fits(&label);
        }
        Ok(())
    }

    /// Numbers a label, while there is room.
    fn add_label_that_fits(&mut self, label: &Label) {
        let fits = self.label_bytes + label.byte_count() <= DICTIONARY_BYTES_MAX;
        if fits && self.labels.len() < DICTIONARY_ITEMS_MAX {
            self.add_label(label.clone());
        }
    }

    /// How many replicas and labels have a number.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.replicas.len(), self.labels.len())
    }

    /// Writes what was added since there were so many: the first two columns of a delta.
    #[must_use]
    pub fn encode_since(&self, (replicas, labels): (usize, usize)) -> Vec<u8> {
        let mut out = Vec::new();
        write_replicas(&mut out, self.replicas.items.get(replicas..).unwrap_or_default());
        write_labels(&mut out, self.labels.items.get(labels..).unwrap_or_default());
        out
    }

    /// Adds what [`encode_since`](Self::encode_since) wrote. Refuses what has a number already, and
    /// what is over a limit.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader { rest: bytes };
        let (replicas, labels) = (reader.read_replicas()?, reader.read_labels()?);
        reader.end()?;
        let mut is_new = true;
        for replica in replicas {
            is_new &= self.replicas.add(replica);
        }
        for label in labels {
            self.label_bytes += label.byte_count();
            is_new &= self.labels.add(label);
        }
        if !is_new {
            return Err(Malformed::Inconsistent { what: "a name has one number" });
        }
        let found = self.replicas.len().max(self.labels.len());
        check_len("the names of a dictionary", found, DICTIONARY_ITEMS_MAX)?;
        check_len("the labels of a dictionary", self.label_bytes, DICTIONARY_BYTES_MAX)
    }

    /// The replicas in the order of their numbers.
    #[must_use]
    pub fn replicas(&self) -> &[ReplicaId] {
        &self.replicas.items
    }

    /// The labels in the order of their numbers.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels.items
    }

    pub(super) fn replica_table(&self) -> &Table<ReplicaId> {
        &self.replicas
    }

    pub(super) fn label_table(&self) -> &Table<Label> {
        &self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Dot;

    #[test]
    fn who_wrote_dead_dots_is_numbered_if_these_are_few() {
        for count in [DEAD_REPLICAS_MAX - 1, DEAD_REPLICAS_MAX, DEAD_REPLICAS_MAX + 1] {
            let replica = |number: usize| ReplicaId::from_bytes([number as u8; 16]);
            let dead = (1..=count).map(|number| Dot::new(replica(number), 1)).collect();
            let mut dictionary = Dictionary::new();
            dictionary.learn(&Delta { dead, ..Delta::default() });
            let expected = if count <= DEAD_REPLICAS_MAX { count } else { 0 };
            assert_eq!(dictionary.counts(), (expected, 0), "{count}");
        }
    }

    #[test]
    fn items_have_their_numbers_however_many_there_are() {
        // In no order, so that they are not found by chance.
        let replica = |number: usize| ReplicaId::from_bytes([(number * 37) as u8; 16]);
        for count in [FEW - 1, FEW, FEW + 1, 4 * FEW] {
            let mut dictionary = Dictionary::new();
            (0..count).chain(0..count).for_each(|number| dictionary.add_replica(replica(number)));
            assert_eq!(dictionary.counts(), (count, 0));
            for number in 0..=count {
                let expected = Some(number).filter(|number| *number < count);
                assert_eq!(dictionary.replica_table().number(&replica(number)), expected);
            }
        }
    }
}
