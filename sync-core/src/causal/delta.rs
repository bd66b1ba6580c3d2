//! Entries, notes and deltas: what is stored, and what is sent.

use serde_bytes::ByteBuf;

use super::{CausalContext, Dot, DotRanges, ReplicaId};

/// The most dots that one entry may span. Arbitrary: a record of 63 fields fits into one entry.
pub const RUN_DOTS_MAX: usize = 64;

/// A run of consecutive dots of one replica: a header that they share and a slot for each dot.
///
/// A slot is `None` once its dot is dead, so its bytes are gone wherever the removal is known, also
/// where nobody can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The run's first dot.
    pub first: Dot,
    /// Opaque bytes that all slots share.
    pub header: ByteBuf,
    /// Opaque bytes for each dot of the run; `None` for a dead one.
    pub slots: Vec<Option<ByteBuf>>,
}

impl Entry {
    /// Who wrote it.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.first.replica
    }

    /// The counter of the run's last dot.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first.counter + self.slots.len() as u64 - 1
    }

    /// The live dots and their slots.
    pub fn live(&self) -> impl Iterator<Item = (Dot, &ByteBuf)> {
        let counters = self.first.counter..;
        let slots = counters.zip(&self.slots);
        slots
            .filter_map(|(counter, slot)| Some((Dot::new(self.replica(), counter), slot.as_ref()?)))
    }

    /// The counters of the live dots.
    #[must_use]
    pub fn live_ranges(&self) -> DotRanges {
        self.live().map(|(dot, _)| (dot.counter, dot.counter)).collect()
    }

    /// Whether no dot is live.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// The slot of a counter, where the run spans it.
    pub fn slot_mut(&mut self, counter: u64) -> Option<&mut Option<ByteBuf>> {
        let offset = counter.checked_sub(self.first.counter)?;
        self.slots.get_mut(usize::try_from(offset).ok()?)
    }

    /// The bytes of header and slots: what the entry costs.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.header.len() + self.slots.iter().flatten().map(|slot| slot.len()).sum::<usize>()
    }
}

/// What is said of a dot that never has a slot: who removed what, and when.
///
/// It is not part of the replicated state; it travels with the removal for the conflict log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The removal's own dot.
    pub dot: Dot,
    /// Opaque bytes.
    pub text: ByteBuf,
}

/// A small state to be joined: entries, and the context of all dots added and superseded.
///
/// A dot of the context without a live slot in the delta is dead. A delta is applied whole or not at
/// all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// The dots added and the dots superseded or removed.
    pub context: CausalContext,
    /// The entries added. Their live dots are all in the context.
    pub entries: Vec<Entry>,
    /// What is said of the removals in it.
    pub notes: Vec<Note>,
}

impl Delta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.context.is_empty()
    }

    /// The live dots that it brings.
    #[must_use]
    pub fn live(&self) -> CausalContext {
        let mut live = CausalContext::default();
        for entry in &self.entries {
            live.insert_ranges(entry.replica(), &entry.live_ranges());
        }
        live
    }

    /// The dots that it declares dead.
    #[must_use]
    pub fn dead(&self) -> CausalContext {
        self.context.difference(&self.live())
    }

    /// The bytes of all headers, slots and notes.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        let entries = self.entries.iter().map(Entry::byte_count);
        let notes = self.notes.iter().map(|note| note.text.len());
        entries.chain(notes).sum()
    }

    /// No less than its bytes on the wire, where dots without bytes take room as well.
    #[must_use]
    pub fn cost(&self) -> usize {
        let slots: usize = self.entries.iter().map(|entry| entry.slots.len()).sum();
        let parts = self.entries.len() * 32 + slots * 5 + self.notes.len() * 24;
        let context = self.context.range_count() * 20 + self.context.replica_count() * 32;
        self.byte_count() + parts + context
    }

    /// Joins another delta into this one, so that both travel as one.
    pub fn join(&mut self, other: &Self) {
        let mut store = super::MemoryStore::from_delta(std::mem::take(self));
        let mut notes = store.take_notes();
        store.join(other);
        notes.extend(
            other.notes.iter().filter(|note| !notes.contains(note)).cloned().collect::<Vec<_>>(),
        );
        *self = store.into_delta(notes);
    }
}
