//! Deltas: what is sent.

use super::{CausalContext, Dot, DotStore as _, Entry, Label, MemoryStore, PlaceId, join};
use crate::small::Few;
use crate::time::Stamp;

/// Which object a removal took, and when.
///
/// It is not part of the replicated state; it travels with the removal for the conflict log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The removal's own dot, which never has a slot.
    pub dot: Dot,
    /// When, by the author's clock.
    pub stamp: Stamp,
    /// The space of the object; no slots.
    pub label: Label,
    /// Which object of the space.
    pub id: PlaceId,
}

impl Note {
    /// The bytes of label and id.
    #[inline]
    fn byte_count(&self) -> usize {
        self.label.byte_count() + self.id.len()
    }
}

/// A small state to be joined: entries, and the dots that it declares dead.
///
/// A delta is applied whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// The entries added.
    pub entries: Few<Entry>,
    /// The dots superseded or removed, and those of the removals themselves. None is live in an entry.
    pub dead: CausalContext,
    /// What is said of the removals in it.
    pub notes: Few<Note>,
}

impl Delta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dead.is_empty()
    }

    /// The entry and the dot, if it puts one dot in place of one other and does nothing else.
    #[inline]
    pub(crate) fn as_overwrite(&self) -> Option<(&Entry, Dot)> {
        let [entry] = &self.entries[..] else { return None };
        let is_one = entry.slots.len() == 1 && self.notes.is_empty();
        if is_one { Some((entry, self.dead.single_dot()?)) } else { None }
    }

    /// The removal, if it says that there was one and nothing else.
    pub(crate) fn as_removal(&self) -> Option<&Note> {
        let [note] = &self.notes[..] else { return None };
        self.entries.is_empty().then_some(note)
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

    /// Every dot that it speaks of.
    #[must_use]
    pub fn context(&self) -> CausalContext {
        let mut context = self.live();
        context.union(&self.dead);
        context
    }

    /// The bytes of all entries and notes.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        let entries = self.entries.iter().map(Entry::byte_count);
        entries.chain(self.notes.iter().map(Note::byte_count)).sum()
    }

    /// No less than its bytes on the wire.
    #[must_use]
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    pub fn cost(&self) -> usize {
        let entries = self.entries.iter();
        let entries = entries.map(|entry| 56 + 2 * entry.slots.len() + entry.byte_count());
        let notes = self.notes.iter().map(|note| 56 + note.byte_count());
        let dead = self.dead.range_count() * 20 + self.dead.replica_count() * 32;
        32 + entries.sum::<usize>() + notes.sum::<usize>() + dead
    }

    /// Joins another delta into this one, so that both travel as one.
    pub fn join(&mut self, other: Self) {
        if self.is_empty() && self.notes.is_empty() {
            *self = other;
        } else if self.is_followed_by(&other) {
            self.entries.extend(other.entries.into_vec());
            self.dead.union(&other.dead);
            self.add_notes(other.notes);
        } else {
            self.join_in_part(other);
        }
    }

    /// Whether the entries of another delta come behind those of this one in order, and none of either
    /// is dead in either: then nothing dies by joining them, and nothing is known already.
    fn is_followed_by(&self, other: &Self) -> bool {
        let mut last = None;
        for entry in self.entries.iter().chain(&other.entries) {
            if last >= Some(entry.first) {
                return false;
            }
            last = Some(Dot::new(entry.replica(), entry.last()));
        }
        let kills =
            |dead: &CausalContext| has_live(&self.entries, dead) || has_live(&other.entries, dead);
        !kills(&self.dead) && !kills(&other.dead)
    }

    fn add_notes(&mut self, notes: Few<Note>) {
        let new = notes.into_iter().filter(|note| !self.notes.contains(note)).collect::<Vec<_>>();
        self.notes.extend(new);
    }

    fn join_in_part(&mut self, other: Self) {
        let Self { entries, dead, notes } = std::mem::take(self);
        let mut store = MemoryStore::default();
        for entry in entries {
            let Ok(()) = store.see(entry.replica(), &entry.live_ranges());
            let Ok(_) = store.add(entry);
        }
        for (replica, ranges) in dead.iter() {
            let Ok(()) = store.see(replica, ranges);
        }
        let Ok(_) = join(&mut store, &other);
        *self = store.to_delta();
        self.notes = notes;
        self.add_notes(other.notes);
    }
}

/// Whether any of these dots is live in entries, which are in order.
fn has_live(entries: &[Entry], dots: &CausalContext) -> bool {
    let mut ranges = dots
        .iter()
        .flat_map(|(replica, ranges)| ranges.iter().map(move |(start, end)| (replica, start, end)));
    ranges.any(|(replica, start, end)| {
        let is_before = |entry: &Entry| (entry.replica(), entry.last()) < (replica, start);
        let behind = entries[entries.partition_point(is_before)..].iter();
        let mut hit =
            behind.take_while(|entry| entry.replica() == replica && entry.first.counter <= end);
        hit.any(|entry| entry.live_ranges().iter().any(|(from, to)| from <= end && to >= start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{ReplicaId, Slots};

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([1; 16]), counter)
    }

    fn entry(counter: u64, slots: usize) -> Entry {
        let label = Label::new(b"space", (0..slots).map(|_| &b"name"[..]));
        let slots = Slots::new((0..slots).map(|_| Some(&b"value"[..])));
        Entry {
            first: dot(counter),
            stamp: Stamp::from_bits(1),
            label,
            id: PlaceId::new(b"id"),
            slots,
        }
    }

    fn note(counter: u64) -> Note {
        let label = Label::new(b"space", []);
        Note { dot: dot(counter), stamp: Stamp::from_bits(1), label, id: PlaceId::new(b"id") }
    }

    #[test]
    fn one_dot_in_place_of_one_other_and_nothing_else_is_an_overwrite() {
        let dead = |dots: &[u64]| dots.iter().map(|counter| dot(*counter)).collect();
        let one = Delta { entries: [entry(5, 1)].into(), dead: dead(&[2]), notes: Few::new() };
        assert_eq!(one.as_overwrite(), Some((&one.entries[0], dot(2))));
        let others = [
            Delta { entries: [entry(5, 2)].into(), ..one.clone() },
            Delta { entries: [entry(5, 1), entry(6, 1)].into(), ..one.clone() },
            Delta { entries: Few::new(), ..one.clone() },
            Delta { dead: dead(&[]), ..one.clone() },
            Delta { dead: dead(&[2, 3]), ..one.clone() },
            Delta { dead: dead(&[2, 4]), ..one.clone() },
            Delta { notes: [note(2)].into(), ..one.clone() },
        ];
        for other in others {
            assert_eq!(other.as_overwrite(), None, "{other:?}");
        }
    }

    #[test]
    fn one_note_without_an_entry_is_a_removal() {
        let removal = Delta {
            dead: [dot(2)].into_iter().collect(),
            notes: [note(2)].into(),
            ..Delta::default()
        };
        assert_eq!(removal.as_removal(), Some(&note(2)));
        assert_eq!(Delta { notes: Few::new(), ..removal.clone() }.as_removal(), None);
        assert_eq!(
            Delta { notes: [note(1), note(2)].into(), ..removal.clone() }.as_removal(),
            None
        );
        assert_eq!(Delta { entries: [entry(5, 1)].into(), ..removal }.as_removal(), None);
    }

    #[test]
    fn what_a_delta_costs_covers_each_of_its_parts() {
        let empty = Delta::default();
        assert_eq!((empty.byte_count(), empty.cost()), (0, 32));
        let entries = Delta { entries: [entry(1, 3), entry(4, 2)].into(), ..Delta::default() };
        let bytes: usize = entries.entries.iter().map(Entry::byte_count).sum();
        assert_eq!((entries.byte_count(), entries.cost()), (bytes, 32 + bytes + 2 * 56 + 2 * 5));
        let mut dead: CausalContext = [1, 3, 5].map(dot).into_iter().collect();
        dead.insert(Dot::new(ReplicaId::from_bytes([2; 16]), 1));
        let dead = Delta { dead, ..Delta::default() };
        assert_eq!((dead.byte_count(), dead.cost()), (0, 32 + 4 * 20 + 2 * 32));
        let notes = Delta { notes: [note(1), note(2)].into(), ..Delta::default() };
        let bytes = 2 * (notes.notes[0].label.byte_count() + "id".len());
        assert_eq!((notes.byte_count(), notes.cost()), (bytes, 32 + bytes + 2 * 56));
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[test]
    fn what_follows_is_joined_as_everything_else_is() {
        let mut followed = 0;
        for seed in 0..4_000 {
            let state = &mut (seed as u64);
            // Runs of one writer or two, in order, of which either delta has some, and some are dead.
            let mut deltas = [Delta::default(), Delta::default()];
            let mut counter = 1;
            let cut = random(state) % 6;
            for number in 0..6 {
                let slots = 1 + random(state) % 3;
                let at = usize::from(number >= cut || random(state).is_multiple_of(8));
                let mut run = entry(counter, slots as usize);
                if number == 5 && random(state).is_multiple_of(4) {
                    run.first.replica = ReplicaId::from_bytes([random(state) as u8 % 3; 16]);
                }
                match random(state) % 8 {
                    0 => deltas[at].dead.insert(dot(counter)),
                    1 => {
                        deltas[1].dead.insert(dot(counter));
                        deltas[0].entries.push(run);
                    }
                    2 => {
                        deltas[0].dead.insert(dot(counter));
                        deltas[at].entries.push(run);
                    }
                    3 => deltas[at].notes.push(note(counter)),
                    _ => deltas[at].entries.push(run),
                }
                counter += slots;
            }
            let [mut one, other] = deltas;
            if random(state).is_multiple_of(16) {
                one.entries = one.entries.into_iter().rev().collect();
            }
            if one.is_empty() && one.notes.is_empty() {
                continue;
            }
            followed += usize::from(one.is_followed_by(&other));
            let (mut joined, mut in_part) = (one.clone(), one);
            joined.join(other.clone());
            in_part.join_in_part(other);
            assert_eq!(joined, in_part, "seed {seed}");
        }
        assert!((200..3_800).contains(&followed), "{followed}");
    }

    #[test]
    fn what_is_joined_says_each_note_once() {
        let noted = |counters: &[u64]| {
            let notes = counters.iter().map(|counter| note(*counter)).collect();
            Delta {
                dead: counters.iter().map(|counter| dot(*counter)).collect(),
                notes,
                ..Delta::default()
            }
        };
        let mut joined = noted(&[1, 2]);
        joined.join(noted(&[2, 3]));
        assert_eq!(joined, noted(&[1, 2, 3]));
        let mut notes_alone = Delta { notes: [note(1)].into(), ..Delta::default() };
        notes_alone.join(noted(&[2]));
        assert_eq!(notes_alone.notes[..], [note(1), note(2)]);
    }
}
