//! Openings of replicas: under which of them each dot was written.
//!
//! The first dot that an opening of a replica writes is its mark: an entry of a space of its own, whose
//! slot holds the number that was drawn for the opening. It stays live, so that everybody who has the
//! replica's dots can tell them from those of a copy of its database, dead or alive.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::place::OPENINGS;
use crate::causal::{
    Dot, DotRanges, Entry, EntryView, Label, PlaceId, PlaceStore, ReplicaId, Slots,
};
use crate::sort::sort_by;
use crate::time::Stamp;

/// The most marks of a replica that are kept; older ones are superseded. Arbitrary: a copy that comes
/// back after so many openings that wrote is not told from its original.
pub const MARKS_MAX: usize = 32;

/// No less than what a mark adds to a change.
pub(crate) const MARK_BYTES: usize = 256;

/// The space of marks.
const SPACE: &[u8] = &[OPENINGS];

/// The name of a mark's slot.
const NAME: &[u8] = &[0];

/// An opening of a replica that wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// The counter of its first dot.
    pub first: u64,
    /// The number that was drawn for it.
    pub opening: u64,
}

/// The marks of a replica in a store, in order.
pub(crate) fn openings<S: PlaceStore>(
    store: &S,
    replica: ReplicaId,
) -> Result<Vec<Opening>, S::Error> {
    let mut openings = Vec::new();
    store.at(SPACE, replica.as_bytes(), &mut |entry| {
        openings.extend(Opening::read(entry).filter(|_| entry.first.replica == replica));
    })?;
    sort_by(&mut openings, Opening::cmp);
    Ok(openings)
}

impl Opening {
    /// The mark of an opening.
    #[must_use]
    pub fn mark(self, replica: ReplicaId) -> Entry {
        Entry {
            first: Dot::new(replica, self.first),
            // A mark is the same wherever it is made.
            stamp: Stamp::from_bits(0),
            label: Label::new(SPACE, [NAME]),
            id: PlaceId::new(replica.as_bytes()),
            slots: Slots::new(std::iter::once(Some(&self.opening.to_be_bytes()[..]))),
        }
    }

    /// Reads a mark; none for any other entry.
    #[must_use]
    pub fn read(entry: EntryView<'_>) -> Option<Self> {
        let is_mark = entry.label.space() == SPACE
            && **entry.id == *entry.first.replica.as_bytes()
            && entry.slots.len() == 1;
        let slot = entry.live().next().filter(|_| is_mark)?.1;
        Some(Self {
            first: entry.first.counter,
            opening: u64::from_be_bytes(slot.try_into().ok()?),
        })
    }
}

/// The first counter at which two parties hold another history of one replica: a mark that one has, in
/// the place of something else that the other has. Marks older than all of the other's are no sign
/// where the other has as many as are kept.
#[must_use]
pub fn fork(
    (own, seen): (&[Opening], &DotRanges),
    (theirs, seen_there): (&[Opening], &DotRanges),
) -> Option<u64> {
    let stranger = |ones: &[Opening], others: &[Opening], seen: &DotRanges| {
        let oldest = others.first().filter(|_| others.len() >= MARKS_MAX);
        let is_forgotten = |one: &&Opening| oldest.is_some_and(|oldest| one.first < oldest.first);
        let found = ones
            .iter()
            .find(|one| seen.contains(one.first) && !others.contains(one) && !is_forgotten(one));
        found.map(|one| one.first)
    };
    let found = [stranger(own, theirs, seen_there), stranger(theirs, own, seen)];
    found.into_iter().flatten().min()
}

/// The opening under which a counter was written, or where its mark was superseded the first that is kept:
/// whoever has that too has the same before it.
pub(crate) fn opening_at(openings: &[Opening], counter: u64) -> Option<Opening> {
    let at = openings.iter().rev().find(|one| one.first <= counter);
    at.or(openings.first()).copied()
}

/// As which replica everybody who has it writes again what an opening wrote from a counter on.
pub(crate) fn successor(replica: ReplicaId, first: u64, opening: u64) -> ReplicaId {
    let bytes = [&replica.as_bytes()[..], &first.to_be_bytes()].concat();
    replica.with_incarnation(xxh3_64_with_seed(&bytes, opening) as u32)
}

/// Who owns what an opening of a replica adds to counters: copies of a database never share an owner
/// from where they part.
pub(crate) fn owner(replica: ReplicaId, opening: u64) -> ReplicaId {
    ReplicaId::from_bytes(xxh3_128_with_seed(replica.as_bytes(), opening).to_be_bytes())
}

/// Who owns what is counted back of somebody's share: the same for whoever does it, so that it counts
/// once.
pub(crate) fn reverter(owner: ReplicaId) -> ReplicaId {
    const SEED: u64 = u64::from_be_bytes(*b"reverted");
    ReplicaId::from_bytes(xxh3_128_with_seed(owner.as_bytes(), SEED).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(all: &[(u64, u64)]) -> Vec<Opening> {
        all.iter().map(|&(first, opening)| Opening { first, opening }).collect()
    }

    #[test]
    fn histories_part_at_the_first_mark_that_one_lacks() {
        let seen = |to| DotRanges::of(1..=to);
        let (one, other) = (openings(&[(1, 10), (5, 11)]), openings(&[(1, 10)]));
        // The other has not come as far, or has come as far as somebody else.
        assert_eq!(fork((&one, &seen(7)), (&other, &seen(4))), None);
        assert_eq!(fork((&one, &seen(7)), (&other, &seen(5))), Some(5));
        assert_eq!(fork((&other, &seen(9)), (&one, &seen(6))), Some(5));
        let third = openings(&[(1, 10), (3, 12), (5, 11)]);
        assert_eq!(fork((&one, &seen(7)), (&third, &seen(6))), Some(3));
        let same_place = openings(&[(1, 10), (5, 12)]);
        assert_eq!(fork((&one, &seen(7)), (&same_place, &seen(6))), Some(5));
        assert_eq!(fork((&one, &seen(7)), (&one, &seen(6))), None);
    }

    #[test]
    fn marks_that_the_other_has_forgotten_are_no_sign() {
        let all: Vec<_> = (1..=40).map(|at| (at, at + 100)).collect();
        let (old, new) = (openings(&all[..32]), openings(&all[8..]));
        assert_eq!(fork((&old, &DotRanges::of(1..=32)), (&new, &DotRanges::of(1..=40))), None);
        let few = openings(&all[8..20]);
        assert_eq!(fork((&old, &DotRanges::of(1..=32)), (&few, &DotRanges::of(1..=20))), Some(1));
    }

    #[test]
    fn a_mark_is_read_as_it_was_made() {
        let replica = ReplicaId::from_bytes([7; 16]);
        let opening = Opening { first: 3, opening: u64::MAX - 1 };
        let mark = opening.mark(replica);
        assert_eq!(Opening::read(mark.view()), Some(opening));
        let other = Entry { id: PlaceId::new(&[8; 16]), ..mark };
        assert_eq!(Opening::read(other.view()), None);
    }
}
