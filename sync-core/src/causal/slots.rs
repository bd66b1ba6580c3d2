//! The slots of a run, packed into one piece of memory.
//!
//! One byte says how many slots there are. Then, for each slot, a variable-length number (LEB128): 0 for
//! a dead slot, else one more than its length, followed by its bytes.

use std::fmt;

use crate::error::Malformed;
use crate::pack::varint;

/// The most dots that one entry may span. Arbitrary: a record of 63 fields fits into one entry.
pub const RUN_DOTS_MAX: usize = 64;

/// Opaque bytes for each dot of a run; none for a dead one.
#[derive(Clone, PartialEq, Eq)]
pub struct Slots(Box<[u8]>);

impl Slots {
    /// Packs slots. There must be 1 to [`RUN_DOTS_MAX`]; what is beyond is left out.
    #[must_use]
    pub fn new<'a>(slots: impl Iterator<Item = Option<&'a [u8]>> + Clone) -> Self {
        let slots = slots.take(RUN_DOTS_MAX);
        let header = |slot: Option<&[u8]>| slot.map_or(0, |slot| slot.len() as u64 + 1);
        let len = |slot: Option<&[u8]>| varint::len(header(slot)) + slot.map_or(0, <[u8]>::len);
        let mut packed = Vec::with_capacity(1 + slots.clone().map(len).sum::<usize>());
        packed.push(0);
        for slot in slots {
            varint::write(&mut packed, header(slot));
            packed.extend_from_slice(slot.unwrap_or_default());
            packed[0] += 1;
        }
        Self(packed.into_boxed_slice())
    }

    /// Takes packed slots, after a look at their lengths.
    pub fn from_packed(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let slots = Self::take(&mut rest)?;
        if rest.is_empty() {
            return Ok(slots);
        }
        Err(Malformed::Inconsistent { what: "slots are as long as they say" })
    }

    /// Takes packed slots off the front of some bytes, after a look at their lengths.
    pub(crate) fn take(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let broken = || Malformed::Inconsistent { what: "slots are as long as they say" };
        let (count, mut rest) = bytes.split_first().ok_or_else(broken)?;
        if usize::from(*count) > RUN_DOTS_MAX {
            let (found, limit) = (u64::from(*count), RUN_DOTS_MAX as u64);
            return Err(Malformed::Limit { what: "the dots of an entry", found, limit });
        }
        let mut live = false;
        for _ in 0..*count {
            let len = varint::read(&mut rest)?;
            live |= len > 0;
            let len = usize::try_from(len.saturating_sub(1)).map_err(|_| broken())?;
            rest = rest.get(len..).ok_or_else(broken)?;
        }
        if !live {
            return Err(Malformed::Inconsistent { what: "an entry has a live dot" });
        }
        let (packed, rest) = bytes.split_at(bytes.len() - rest.len());
        *bytes = rest;
        Ok(Self(packed.into()))
    }

    /// The packed bytes.
    #[must_use]
    #[inline]
    pub fn as_packed(&self) -> &[u8] {
        &self.0
    }

    /// How many slots there are, dead or live.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.0.first().map_or(0, |count| usize::from(*count))
    }

    /// Whether there is no slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: self.0.get(1..).unwrap_or_default() }
    }

    /// One bit for each live slot, from the lowest.
    #[must_use]
    pub fn live(&self) -> u64 {
        let live = self.iter().enumerate().filter(|(_, slot)| slot.is_some());
        live.fold(0, |mask, (slot, _)| mask | 1 << slot)
    }

    /// Parts the slots of a mask from the others: each side has the other's as dead ones.
    #[must_use]
    pub fn split(&self, mask: u64) -> (Self, Self) {
        let len = self.0.len();
        let (mut taken, mut taken_bytes, mut bit) = (0u64, 0, 1);
        let mut iter = self.iter();
        loop {
            let before = iter.rest.len();
            let Some(bytes) = iter.next() else { break };
            if bytes.is_some() && mask & bit != 0 {
                taken |= bit;
                taken_bytes += before - iter.rest.len() - 1;
            }
            bit <<= 1;
        }
        let rest = self.part(!taken, len - taken_bytes);
        (self.part(taken, 1 + self.len() + taken_bytes), rest)
    }

    /// The slots of a mask, whose packed length is known to be no more than `bytes`.
    fn part(&self, mask: u64, bytes: usize) -> Self {
        let mut packed = Vec::with_capacity(bytes);
        packed.push(self.len() as u8);
        let mut iter = self.iter();
        let mut bit = 1;
        // What is kept in one piece is copied in one piece.
        let (mut start, mut end) = (1, 1);
        while iter.next().is_some() {
            let next = self.0.len() - iter.rest.len();
            if mask & bit == 0 {
                packed.extend_from_slice(&self.0[start..end]);
                packed.push(0);
                start = next;
            }
            end = next;
            bit = bit.wrapping_shl(1);
        }
        packed.extend_from_slice(&self.0[start..end]);
        Self(packed.into_boxed_slice())
    }

    /// The slots of a mask; the others are dead.
    #[must_use]
    pub fn only(&self, mask: u64) -> Self {
        self.split(mask).0
    }

    /// Lays the live slots of `other` over these, which are of the same run.
    #[must_use]
    pub fn overlaid(&self, other: &Self) -> Self {
        let ended = std::iter::repeat(None);
        let (own, new) = (self.iter().chain(ended.clone()), other.iter().chain(ended));
        let count = self.len().max(other.len());
        Self::new(own.zip(new).take(count).map(|(own, new): (Option<&[u8]>, _)| new.or(own)))
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |slot: Option<&[u8]>| slot.map(|bytes| bytes.escape_ascii().to_string());
        f.debug_list().entries(self.iter().map(text)).finish()
    }
}

/// Iterates over packed slots.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Lengths were checked when the slots were packed or taken.
        let len = match self.rest {
            [] => return None,
            [len @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                u64::from(*len)
            }
            _ => varint::read(&mut self.rest).ok()?,
        };
        let Some(len) = len.checked_sub(1) else { return Some(None) };
        let (slot, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(Some(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_every_length_are_packed_and_read() {
        let long: Vec<_> = [0usize, 1, 126, 127, 128, 300, 20_000].map(|len| vec![9u8; len]).into();
        let slots = Slots::new(long.iter().map(|bytes| Some(&bytes[..])).chain([None]));
        assert_eq!(slots.len(), 8);
        let read: Vec<_> = slots.iter().collect();
        assert!(read.iter().zip(&long).all(|(slot, bytes)| slot == &Some(&bytes[..])));
        assert_eq!(read[7], None);
        assert_eq!(slots.live(), 0x7f);
        assert_eq!(Slots::from_packed(slots.as_packed()).unwrap(), slots);
        let (low, high) = (slots.only(0b111), slots.only(!0b111));
        assert_eq!(low.overlaid(&high), slots);
        for mask in 0..128 {
            let (taken, rest) = slots.split(mask);
            assert_eq!((taken.live(), rest.live()), (mask & 0x7f, 0x7f & !mask));
            assert_eq!(taken.overlaid(&rest), slots);
        }
    }

    #[test]
    fn what_is_no_packing_is_refused() {
        for bytes in [&[][..], &[0], &[1], &[1, 0], &[1, 3, 7], &[1, 1, 0], &[65, 1], &[2, 1]] {
            assert!(Slots::from_packed(bytes).is_err(), "{bytes:?}");
        }
        assert!(Slots::from_packed(&[2, 1, 0]).is_ok());
    }
}
