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
    pub fn new<'a>(slots: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut packer = Packer::default();
        for slot in slots.into_iter().take(RUN_DOTS_MAX) {
            match slot {
                Some(bytes) => packer.push(|out| out.extend_from_slice(bytes)),
                None => packer.push_dead(),
            }
        }
        packer.finish()
    }

    /// Takes packed slots, after a look at their lengths.
    pub fn from_packed(bytes: &[u8]) -> Result<Self, Malformed> {
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
        if !live || !rest.is_empty() {
            return Err(Malformed::Inconsistent { what: "an entry has a live dot" });
        }
        Ok(Self(bytes.into()))
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

    /// The slots of a mask; the others are dead.
    #[must_use]
    pub fn only(&self, mask: u64) -> Self {
        let mut packer = Packer(Vec::with_capacity(self.0.len()));
        packer.0.push(0);
        for (slot, bytes) in self.iter().enumerate() {
            match bytes {
                Some(bytes) if mask >> slot & 1 == 1 => packer.push_slice(bytes),
                Some(_) | None => packer.push_dead(),
            }
        }
        packer.finish()
    }

    /// Lays the live slots of `other` over these, which are of the same run.
    #[must_use]
    pub fn overlaid(&self, other: &Self) -> Self {
        let count = self.len().max(other.len());
        let (mut own, mut new) = (self.iter(), other.iter());
        Self::new((0..count).map(|_| {
            let own = own.next().flatten();
            new.next().flatten().or(own)
        }))
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

/// Packs slots one by one.
#[derive(Debug)]
pub(crate) struct Packer(Vec<u8>);

impl Default for Packer {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Packer {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.0[0])
    }

    pub(crate) fn byte_count(&self) -> usize {
        self.0.len()
    }

    /// Adds a live slot that the closure writes.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        // One byte of length fits most slots; a longer one moves them.
        self.0.push(0);
        write(&mut self.0);
        let len = self.0.len() - at - 1;
        if len < 0x7f {
            self.0[at] = len as u8 + 1;
        } else {
            let mut header = Vec::with_capacity(5);
            varint::write(&mut header, len as u64 + 1);
            self.0.splice(at..=at, header);
        }
        self.0[0] += 1;
    }

    #[inline]
    fn push_slice(&mut self, bytes: &[u8]) {
        varint::write(&mut self.0, bytes.len() as u64 + 1);
        self.0.extend_from_slice(bytes);
        self.0[0] += 1;
    }

    pub(crate) fn push_dead(&mut self) {
        self.0.push(0);
        self.0[0] += 1;
    }

    pub(crate) fn finish(self) -> Slots {
        Slots(self.0.into_boxed_slice())
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
    }

    #[test]
    fn what_is_no_packing_is_refused() {
        for bytes in [&[][..], &[0], &[1], &[1, 0], &[1, 3, 7], &[1, 1, 0], &[65, 1], &[2, 1]] {
            assert!(Slots::from_packed(bytes).is_err(), "{bytes:?}");
        }
        assert!(Slots::from_packed(&[2, 1, 0]).is_ok());
    }
}
