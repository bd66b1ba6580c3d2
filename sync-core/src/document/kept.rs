//! What this replica removed lately: its undo copies, for an edit that comes too late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

use crate::causal::{Entry, Note};
use crate::types::place::is_collection;

/// The most bytes that are kept. Arbitrary; the oldest go first.
const BYTES_MAX: usize = 1024 * 1024;

/// Removed records by place, in the order of their removals.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// By a hash of space and id: of two records with one hash only the later is kept.
    records: BTreeMap<u64, Removed>,
    order: VecDeque<(u64, u64)>,
    turn: u64,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Removed {
    note: Note,
    killed: Arc<[Entry]>,
    turn: u64,
    bytes: usize,
}

fn key_of(space: &[u8], id: &[u8]) -> u64 {
    xxh3_64(id) ^ xxh3_64(space).rotate_left(32)
}

impl Kept {
    /// Keeps what removals took. The entries may be of several places.
    pub(super) fn put(&mut self, notes: &[Note], killed: &Arc<[Entry]>) {
        if notes.is_empty() {
            return;
        }
        // The entries are shared, and each removal counts for its part of them.
        let bytes = 256 + killed.iter().map(Entry::byte_count).sum::<usize>() / notes.len();
        for note in notes.iter().filter(|note| is_collection(note.label.space())) {
            let key = key_of(note.label.space(), &note.id);
            self.forget_key(key);
            self.turn += 1;
            let removed =
                Removed { note: note.clone(), killed: killed.clone(), turn: self.turn, bytes };
            self.records.insert(key, removed);
            self.order.push_back((key, self.turn));
            self.bytes += bytes;
        }
        while self.bytes > BYTES_MAX {
            let Some((key, turn)) = self.order.pop_front() else { break };
            if self.records.get(&key).is_some_and(|removed| removed.turn == turn) {
                self.forget_key(key);
            }
        }
        if self.order.len() > 2 * self.records.len() + 64 {
            self.order.retain(|(key, turn)| {
                self.records.get(key).is_some_and(|removed| removed.turn == *turn)
            });
        }
    }

    /// What was removed of a place, and its note.
    pub(super) fn find(&self, space: &[u8], id: &[u8]) -> Option<(&Note, Vec<&Entry>)> {
        let Removed { note, killed, .. } = self.records.get(&key_of(space, id))?;
        let is_it = |of: &[u8], other: &[u8]| of == space && other == id;
        if !is_it(note.label.space(), &note.id) {
            return None;
        }
        let of_it = killed.iter().filter(|entry| is_it(entry.label.space(), &entry.id));
        Some((note, of_it.collect()))
    }

    /// Forgets what was removed of a place: it exists again.
    #[inline]
    pub(super) fn forget(&mut self, space: &[u8], id: &[u8]) {
        if !self.records.is_empty() {
            self.forget_key(key_of(space, id));
        }
    }

    fn forget_key(&mut self, key: u64) {
        if let Some(removed) = self.records.remove(&key) {
            self.bytes -= removed.bytes;
        }
    }
}
