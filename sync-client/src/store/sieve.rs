//! What tells of most places of a document that nothing is there, without a look into the file.
//!
//! Who adds many records asks that of each. A sieve is made only once so many were asked for that reading all
//! places of the document costs little beside that.

use std::hash::{BuildHasher, RandomState};

/// How many places a sieve has room for, at least. Arbitrary: 256 KiB.
pub(super) const ROOM_MIN: u64 = 1 << 17;

/// How many it has room for, at most: 4 MiB. A document with more has none.
pub(super) const ROOM_MAX: u64 = 1 << 21;

/// How many bits there are for each place, and how many of them it sets: of 400 places where nothing is, one
/// is looked for in vain.
const BITS: u64 = 16;
const SET_BITS: u32 = 4;

/// How many places are looked for in vain before a sieve is made. Arbitrary.
pub(super) const LOOKS_MIN: u64 = 256;

/// How many rows are read to make one, for each place that was looked for in vain. Arbitrary: reading so many in
/// order takes about as long as looking for one.
const ROWS_PER_LOOK: u64 = 8;

/// The places of a document, once it is worth it.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// How many places were looked for in the file since a sieve was last made, and were not there.
    looks: u64,
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    hasher: RandomState,
    bits: Box<[u64]>,
    /// How many more places there is room for.
    room: u64,
}

impl Sieve {
    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// Takes note of a place where something is to be, if it is known that nothing is there. Gives whether that
    /// is so.
    pub(super) fn admit(&mut self, space: &[u8], place: &[u8]) -> bool {
        let Some(made) = &self.made else { return false };
        let hash = made.hash(space, place);
        let lacks = !made.may_have(hash);
        if lacks {
            self.take_in(hash);
        }
        lacks
    }

    /// Takes note of a place where something is now.
    pub(super) fn add(&mut self, space: &[u8], place: &[u8]) {
        if let Some(made) = &self.made {
            self.take_in(made.hash(space, place));
        }
    }

    fn take_in(&mut self, hash: u64) {
        match &mut self.made {
            Some(made) if made.room > 0 => {
                made.room -= 1;
                made.set(hash);
            }
            _ => self.made = None,
        }
    }

    /// Takes note that a place was looked for in vain. Gives whether it is time to ask how many rows there
    /// are, and to make a sieve.
    pub(super) fn missed(&mut self) -> bool {
        self.looks += 1;
        self.made.is_none() && self.looks.is_multiple_of(LOOKS_MIN)
    }

    /// Makes an empty sieve for a document in a file of so many rows, if that is worth it. Whoever asked adds
    /// all places then.
    pub(super) fn make(&mut self, rows: u64) -> bool {
        let room = rows.saturating_mul(2).max(ROOM_MIN).checked_next_power_of_two();
        let Some(room) = room.filter(|room| *room <= ROOM_MAX) else { return false };
        if rows > self.looks.saturating_mul(ROWS_PER_LOOK) {
            return false;
        }
        let bits = vec![0; (room * BITS / 64) as usize].into();
        self.made = Some(Made { hasher: RandomState::new(), bits, room });
        self.looks = 0;
        true
    }
}

impl Made {
    fn hash(&self, space: &[u8], place: &[u8]) -> u64 {
        self.hasher.hash_one((space, place))
    }

    fn set(&mut self, hash: u64) {
        for (word, bit) in self.bits_of(hash) {
            self.bits[word] |= bit;
        }
    }

    fn may_have(&self, hash: u64) -> bool {
        self.bits_of(hash).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// The words and bits of a place by its hash. The number of bits is a power of two.
    fn bits_of(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (step, mask) = ((hash >> 32) | 1, self.bits.len() as u64 * 64 - 1);
        (0..SET_BITS).map(move |turn| {
            let at = hash.wrapping_add(step.wrapping_mul(turn.into())) & mask;
            ((at / 64) as usize, 1 << (at % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sieve {
        fn lacks(&self, space: &[u8], place: &[u8]) -> bool {
            self.made.as_ref().is_some_and(|made| !made.may_have(made.hash(space, place)))
        }
    }

    fn made(rows: u64) -> Option<Sieve> {
        let mut sieve = Sieve { looks: ROOM_MAX, made: None };
        sieve.make(rows).then_some(sieve)
    }

    #[test]
    fn what_was_added_is_never_lacking_and_most_of_the_rest_is() {
        let mut sieve = made(0).unwrap();
        let place = |number: u64| number.to_be_bytes();
        (0..ROOM_MIN).for_each(|number| sieve.add(b"notes", &place(number)));
        assert!((0..ROOM_MIN).all(|number| !sieve.lacks(b"notes", &place(number))));
        let lacking = (0..ROOM_MIN).filter(|number| sieve.lacks(b"other", &place(*number)));
        let vain = ROOM_MIN - lacking.count() as u64;
        assert!(vain < ROOM_MIN / 200, "{vain} are looked for in vain");
    }

    #[test]
    fn who_is_let_in_was_not_there_and_is_from_then_on() {
        let mut sieve = made(0).unwrap();
        assert!(sieve.admit(b"notes", b"one") && !sieve.admit(b"notes", b"one"));
        sieve.add(b"notes", b"two");
        assert!(!sieve.admit(b"notes", b"two"));
        assert!(!Sieve::default().admit(b"notes", b"three"), "nothing is known");
    }

    #[test]
    fn places_are_limited_and_one_more_ends_the_sieve() {
        for (places, is_there) in [(ROOM_MIN - 1, true), (ROOM_MIN, true), (ROOM_MIN + 1, false)] {
            let mut sieve = made(ROOM_MIN / 2).unwrap();
            (0..places).for_each(|number| sieve.add(b"notes", &number.to_be_bytes()));
            assert_eq!(sieve.lacks(b"notes", b"another"), is_there, "{places}");
        }
        for (rows, is_made) in [(0, true), (ROOM_MAX / 2, true), (ROOM_MAX / 2 + 1, false)] {
            assert_eq!(made(rows).is_some(), is_made, "{rows}");
        }
        assert!(made(u64::MAX).is_none());
    }

    #[test]
    fn a_sieve_is_made_once_enough_was_looked_for() {
        let rows = LOOKS_MIN * ROWS_PER_LOOK * 2;
        let mut sieve = Sieve::default();
        let missed = (0..2 * LOOKS_MIN).filter(|_| sieve.missed() && sieve.make(rows));
        assert_eq!(missed.count(), 1);
        for (rows, is_made) in [(rows - 1, true), (rows, true), (rows + 1, false)] {
            let mut sieve = Sieve { looks: 2 * LOOKS_MIN, made: None };
            assert_eq!(sieve.make(rows), is_made, "{rows}");
            assert_eq!(sieve.lacks(b"notes", b"one"), is_made);
        }
    }
}
