//! Which places a change touched.

use crate::checksum::hash;
use crate::small::{BTreeSet, SmallVec};

use crate::causal::{Delta, Joined, Label, PlaceId};
use crate::types::Place;

/// Places as the kernel names them, in the order in which they were touched, each once in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched(SmallVec<[(Label, PlaceId); 1]>);

impl Touched {
    /// One place.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn only(label: &Label, id: &PlaceId) -> Self {
        Self(SmallVec::from([(label.clone(), id.clone())]))
    }

    /// The places that a join of this delta touched, each once; and how many of the first of them are
    /// those of which more was changed than entries overwritten.
    pub(super) fn by(joined: &Joined, delta: &Delta, overwritten: &[usize]) -> (Self, usize) {
        let overwritten = if crate::small::HAS_SHORTCUTS { overwritten } else { &[] };
        let killed = joined.killed.iter().map(|killed| (&killed.label, &killed.id));
        let added = joined.added.iter().map(|(at, _)| at).chain(overwritten);
        let added = added.map(|at| &delta.entries[*at]);
        let all = killed.chain(added.map(|added| (&added.label, &added.id)));
        let mut touched = Self::default();
        let changed = joined.killed.len() + joined.added.len();
        let count = changed + overwritten.len();
        if count <= WINDOW {
            let mut first = 0;
            for (at, (label, id)) in all.enumerate() {
                touched.push(label, id);
                first = if at < changed { touched.0.len() } else { first };
            }
            return (touched, first);
        }
        // For each place its number and one more, where a hash says or behind that.
        let mut numbers = vec![0u32; (2 * count).next_power_of_two()];
        let mut first = 0;
        for (nth, (label, id)) in all.enumerate() {
            let mut at = hash(id) as usize;
            let number = loop {
                at &= numbers.len() - 1;
                match numbers[at].checked_sub(1) {
                    Some(known) if !is_place(&touched.0[known as usize], label, id) => at += 1,
                    number => break number,
                }
            };
            if number.is_none() {
                touched.0.push((label.clone(), id.clone()));
                numbers[at] = touched.0.len() as u32;
            }
            first = if nth < changed { touched.0.len() } else { first };
        }
        (touched, first)
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    pub(super) fn push(&mut self, label: &Label, id: &PlaceId) {
        if crate::small::HAS_SHORTCUTS && self.0.is_empty() {
            *self = Self::only(label, id);
        } else {
            self.push_other(label, id);
        }
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(never))]
    #[cfg_attr(target_arch = "wasm32", inline)]
    fn push_other(&mut self, label: &Label, id: &PlaceId) {
        // A change that touches many places mostly touches each in one go.
        if !self.0.iter().rev().take(WINDOW).any(|place| is_place(place, label, id)) {
            self.0.push((label.clone(), id.clone()));
        }
    }

    /// Whether a place was touched.
    pub(super) fn has(&self, label: &Label, id: &PlaceId) -> bool {
        self.0.iter().any(|place| is_place(place, label, id))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Label, PlaceId)> {
        self.0.iter()
    }

    /// Whether nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what another change touched.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The places as applications name them, each once. What is written as no place is left out.
    #[must_use]
    pub fn places(&self) -> BTreeSet<Place> {
        self.0.iter().filter_map(|(label, id)| Place::of(label.space(), id)).collect()
    }
}

/// Among how many of the last places one is not put twice. Arbitrary.
const WINDOW: usize = 4;

fn is_place((label, id): &(Label, PlaceId), other: &Label, other_id: &PlaceId) -> bool {
    id == other_id && label.is_in_space_of(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, Entry, ReplicaId, Slots};
    use crate::time::Stamp;

    fn entry(counter: u64, id: usize) -> Entry {
        Entry {
            first: Dot::new(ReplicaId::from_bytes([1; 16]), counter),
            stamp: Stamp::from_bits(1),
            label: Label::new(b"space", [&b"name"[..]]),
            id: PlaceId::new(&[id as u8]),
            slots: Slots::new([Some(&b"value"[..])].into_iter()),
        }
    }

    /// Entries about objects in this order, all of them added.
    fn joined(ids: &[usize]) -> (Joined, Delta) {
        let entries = (1..).zip(ids).map(|(counter, id)| entry(counter, *id)).collect();
        let added = (0..ids.len()).map(|at| (at, 1)).collect();
        (Joined { added, ..Joined::default() }, Delta { entries, ..Delta::default() })
    }

    fn ids(touched: &Touched) -> Vec<usize> {
        touched.iter().map(|(_, id)| usize::from(id[0])).collect()
    }

    #[test]
    fn a_place_is_put_once_among_the_last() {
        for between in [WINDOW - 1, WINDOW, WINDOW + 1] {
            let mut touched = Touched::default();
            let first = entry(1, 0);
            let others = (1..=between).map(|id| entry(1, id));
            for entry in [first.clone()].into_iter().chain(others).chain([first]) {
                touched.push(&entry.label, &entry.id);
            }
            let again = usize::from(between >= WINDOW);
            assert_eq!(ids(&touched).len(), 1 + between + again, "{between} between");
        }
    }

    #[test]
    fn a_join_names_each_place_once_however_many_it_touches() {
        for count in [WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 300] {
            // The first one comes again behind all others; of the last, an entry was overwritten.
            let order: Vec<usize> = (0..count - 1).chain([0]).map(|id| id % 251).collect();
            let (mut joined, delta) = joined(&order);
            let expected: Vec<usize> = (0..(count - 1).min(251)).collect();
            let (touched, unsettled) = Touched::by(&joined, &delta, &[]);
            assert_eq!((ids(&touched), unsettled), (expected.clone(), expected.len()), "{count}");
            joined.added.retain(|(at, _)| *at < count - 2);
            let (touched, unsettled) = Touched::by(&joined, &delta, &[count - 2, count - 1]);
            assert_eq!(ids(&touched), expected, "{count}");
            assert_eq!(unsettled, expected.len() - usize::from(count <= 252), "{count}");
        }
    }
}
