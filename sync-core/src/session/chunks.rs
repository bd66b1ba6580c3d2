//! Cutting states into deltas that fit into a message. Either side sends entries first and dead dots
//! last.

use crate::causal::{CausalContext, Delta, Dot, Entry, Note};
use crate::sort::sort_by;
use crate::wire::CHUNK_BYTES;

/// How large a chunk of a catch-up or a refill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSize {
    /// How many bytes of entries it aims at.
    pub bytes: usize,
    /// The most ranges of dead dots and notes in it.
    pub items: usize,
}

impl Default for ChunkSize {
    /// What fits into a message: an entry of the largest size on top of the bytes, and items of at
    /// most 560 bytes each.
    fn default() -> Self {
        Self { bytes: CHUNK_BYTES, items: 400 }
    }
}

impl ChunkSize {
    /// Cuts a state into deltas of this size, the entries first.
    #[must_use]
    pub fn cut(self, state: Delta) -> Vec<Delta> {
        let mut pieces = split_entries(state.entries.into_vec(), self);
        pieces.extend(split(&state.dead, state.notes.into_vec(), self));
        pieces
    }
}

/// Cuts a context of dead dots, and what is said of them, into deltas of a limited size.
pub(super) fn split(dots: &CausalContext, mut notes: Vec<Note>, size: ChunkSize) -> Vec<Delta> {
    sort_by(&mut notes, |a, b| a.dot.cmp(&b.dot));
    let mut notes = notes.into_iter().peekable();
    let mut pieces: Vec<Delta> = Vec::new();
    let mut room = 0;
    for (replica, ranges) in dots.iter() {
        for (mut start, end) in ranges.iter() {
            while start <= end {
                if room == 0 {
                    pieces.push(Delta::default());
                    room = size.items.max(1);
                }
                let Some(piece) = pieces.last_mut() else { break };
                room -= 1;
                let mut last = end;
                while let Some(note) = notes.next_if(|note| note.dot <= Dot::new(replica, end)) {
                    if note.dot < Dot::new(replica, start) {
                        continue;
                    }
                    last = note.dot.counter;
                    piece.notes.push(note);
                    room = room.saturating_sub(1);
                    if room == 0 {
                        break;
                    }
                }
                // A range is cut only behind a note for which the chunk has no more room.
                last = if room == 0 { last } else { end };
                piece.dead.insert_range(replica, start, last);
                let Some(next) = last.checked_add(1) else { break };
                start = next;
            }
        }
    }
    pieces
}

/// Cuts entries into deltas of at most the bytes of a chunk; a larger entry has one of its own, which
/// is no larger than the delta that it came in.
pub(super) fn split_entries(entries: Vec<Entry>, size: ChunkSize) -> Vec<Delta> {
    let mut pieces: Vec<Delta> = Vec::new();
    let mut room = 0usize;
    for entry in entries {
        let cost = super::Page::cost(&entry);
        if pieces.is_empty() || cost > room {
            pieces.push(Delta::default());
            room = size.bytes;
        }
        if let Some(piece) = pieces.last_mut() {
            room = room.saturating_sub(cost);
            piece.entries.push(entry);
        }
    }
    pieces
}
