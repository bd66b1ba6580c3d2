//! What this replica removed lately: its undo copies, for an edit that comes too late.

use std::collections::VecDeque;
use std::sync::Arc;

use super::undo::Replaced;
use crate::causal::{Entry, Note};
use crate::checksum::hash;
use crate::types::place::is_collection;

/// The most bytes that are kept. Arbitrary; the oldest go first.
const BYTES_MAX: usize = 1024 * 1024;

/// What a record that is kept takes beside its content: its entries, its note and its places here.
const RECORD_BYTES: usize = 352;

/// Removed records by place, in the order of their removals.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// When a place was removed, by a hash of space and id: of two records with one hash only the later
    /// is kept.
    turns: Turns,
    /// What was removed from a turn on; none where it was forgotten.
    removed: VecDeque<Option<Removed>>,
    first_turn: u64,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Removed {
    note: Note,
    killed: Replaced,
    key: u64,
    bytes: usize,
}

/// Numbers by hashes.
#[cfg(not(target_arch = "wasm32"))]
type Turns = std::collections::HashMap<u64, u64, std::hash::BuildHasherDefault<AsItIs>>;

/// In the module for browsers a sorted vector, which others have as well: there are no more turns than what is
/// kept has room for.
#[cfg(target_arch = "wasm32")]
type Turns = crate::small::SortedMap<u64, u64>;

/// Takes what is a hash already for one.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, Copy, Default)]
struct AsItIs(u64);

#[cfg(not(target_arch = "wasm32"))]
impl std::hash::Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn key_of(space: &[u8], id: &[u8]) -> u64 {
    key_in(hash(space), id)
}

#[inline]
fn key_in(space_hash: u64, id: &[u8]) -> u64 {
    hash(id) ^ space_hash.rotate_left(32)
}

impl Kept {
    /// Keeps what removals took of records that were here whole. The entries may be of several places.
    pub(super) fn put<'a>(
        &mut self,
        notes: impl Iterator<Item = &'a Note> + Clone,
        killed: &Replaced,
    ) {
        let count = notes.clone().count();
        if count == 0 {
            return;
        }
        // The entries are shared, and each removal counts for its part of them.
        let bytes = killed.entries().iter().map(Entry::byte_count).sum::<usize>();
        let bytes = RECORD_BYTES + bytes / count;
        for note in notes.filter(|note| is_collection(note.label.space())) {
            let key = key_in(note.label.space_hash(), &note.id);
            let turn = self.first_turn + self.removed.len() as u64;
            if let Some(earlier) = self.turns.insert(key, turn) {
                self.drop_turn(earlier);
            }
            let (note, killed) = (note.clone(), killed.clone());
            self.removed.push_back(Some(Removed { note, killed, key, bytes }));
            self.bytes += bytes;
        }
        // What was forgotten leaves the front with those that are too old. Records of one change go
        // together: their memory is free once none is left.
        let mut last: Option<Arc<[Entry]>> = None;
        while let Some(oldest) = self.removed.front() {
            let goes = oldest.as_ref().is_none_or(|oldest| match (&oldest.killed, &last) {
                (Replaced::Shared(killed), Some(last)) => Arc::ptr_eq(last, killed),
                _ => false,
            });
            if self.bytes <= BYTES_MAX && !goes {
                break;
            }
            self.first_turn += 1;
            if let Some(Removed { key, bytes, killed, .. }) = self.removed.pop_front().flatten() {
                self.turns.remove(&key);
                self.bytes -= bytes;
                if let Replaced::Shared(killed) = killed {
                    last = Some(killed);
                }
            }
        }
    }

    /// What was removed of a place, and its note.
    pub(super) fn find(&self, space: &[u8], id: &[u8]) -> Option<(&Note, Vec<&Entry>)> {
        let turn = self.turns.get(&key_of(space, id))?;
        let Removed { note, killed, .. } =
            self.removed.get((turn - self.first_turn) as usize)?.as_ref()?;
        let is_it = |of: &[u8], other: &[u8]| of == space && other == id;
        if !is_it(note.label.space(), &note.id) {
            return None;
        }
        let of_it = killed.entries().iter().filter(|entry| is_it(entry.label.space(), &entry.id));
        Some((note, of_it.collect()))
    }

    /// Forgets what was removed of a place: it exists again.
    #[inline]
    pub(super) fn forget(&mut self, space: &[u8], id: &[u8]) {
        if !self.turns.is_empty()
            && let Some(turn) = self.turns.remove(&key_of(space, id))
        {
            self.drop_turn(turn);
        }
    }

    fn drop_turn(&mut self, turn: u64) {
        let at = (turn - self.first_turn) as usize;
        if let Some(removed) = self.removed.get_mut(at).and_then(Option::take) {
            self.bytes -= removed.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, Label, PlaceId, ReplicaId, Slots};
    use crate::time::Stamp;

    const SPACE: &[u8] = b"\x01notes";

    /// Removes a record that takes so many bytes here.
    fn remove(kept: &mut Kept, number: u8, bytes: usize) {
        let (replica, stamp) = (ReplicaId::from_bytes([1; 16]), Stamp::default());
        let id = PlaceId::new(&[number]);
        let mut entry = Entry {
            first: Dot::new(replica, number.into()),
            stamp,
            label: Label::new(SPACE, [&b"\x01body"[..]]),
            id: id.clone(),
            slots: Slots::new([Some(&[][..])].into_iter()),
        };
        // The length of a slot of this size takes two bytes more.
        let room = bytes - RECORD_BYTES - entry.byte_count() - 2;
        entry.slots = Slots::new([Some(&vec![0; room][..])].into_iter());
        assert_eq!(RECORD_BYTES + entry.byte_count(), bytes);
        let note = Note { dot: entry.first, stamp, label: Label::new(SPACE, []), id };
        kept.put([note].iter(), &Replaced::One(entry));
    }

    #[test]
    fn what_is_kept_is_limited_and_the_oldest_go() {
        let has = |kept: &Kept, number: u8| kept.find(SPACE, &[number]).is_some();
        for beyond in [-1isize, 0, 1] {
            let mut kept = Kept::default();
            let part = BYTES_MAX / 4;
            (1..=3).for_each(|number| remove(&mut kept, number, part));
            remove(&mut kept, 4, part.checked_add_signed(beyond).unwrap());
            assert_eq!(has(&kept, 1), beyond <= 0, "{beyond} beyond");
            assert!((2..=4).all(|number| has(&kept, number)));
            // What is there again takes no room.
            kept.forget(SPACE, &[2]);
            kept.forget(SPACE, &[1]);
            remove(&mut kept, 5, part);
            assert!((3..=5).all(|number| has(&kept, number)));
        }
        let mut kept = Kept::default();
        remove(&mut kept, 1, BYTES_MAX + 1);
        assert!(!has(&kept, 1), "a record for itself may be too large");
        remove(&mut kept, 2, BYTES_MAX);
        assert!(has(&kept, 2));
    }
}
