//! The slots of a run, packed into one piece of memory.
//!
//! One byte says how many slots there are. Then, for each slot, a variable-length number (LEB128): 0 for
//! a dead slot, else one more than its length, followed by its bytes.

use std::fmt;
use std::sync::Arc;

use crate::error::Malformed;
use crate::pack::varint;

/// The most dots that one entry may span. Arbitrary: a record of 63 fields fits into one entry.
pub const RUN_DOTS_MAX: usize = 64;

/// What fits beside the length without an allocation: what a change of one short field needs.
const INLINE_BYTES: usize = 30;

/// Up to how many packed bytes are put together without an allocation of their own. Arbitrary.
const PACKED_BYTES: usize = 288;

/// Opaque bytes for each dot of a run; none for a dead one. Up to 30 packed bytes take no allocation, and
/// clones share what is longer.
#[derive(Clone)]
pub struct Slots(Repr);

/// Slots in a row: the first of them and how many, and where they begin and end among packed bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    first: usize,
    count: usize,
    start: usize,
    end: usize,
}

impl Span {
    /// The first of the slots.
    #[inline]
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// A bit for each of them.
    #[inline]
    pub(super) fn mask(&self) -> u64 {
        (u64::MAX >> (RUN_DOTS_MAX - self.count.clamp(1, RUN_DOTS_MAX))) << (self.first & 63)
    }
}

#[derive(Clone)]
enum Repr {
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES],
    },
    /// The packed bytes, and behind them some that are spare since slots were taken out.
    Heap {
        live: u64,
        spare: u32,
        bytes: Arc<[u8]>,
    },
}

impl Slots {
    /// Packs slots. There must be 1 to [`RUN_DOTS_MAX`]; what is beyond is left out.
    #[must_use]
    pub fn new<'a>(slots: impl Iterator<Item = Option<&'a [u8]>> + Clone) -> Self {
        let slots = slots.take(RUN_DOTS_MAX);
        let header = |slot: Option<&[u8]>| slot.map_or(0, |slot| slot.len() as u64 + 1);
        let (mut count, mut len, mut live) = (0, 1, 0);
        for slot in slots.clone() {
            live |= u64::from(slot.is_some()) << count;
            count += 1;
            len += varint::len(header(slot)) + slot.map_or(0, <[u8]>::len);
        }
        Self::pack(count, len, live, slots.map(|slot| (header(slot), slot.unwrap_or_default())))
    }

    /// Takes packed slots that are all live: 1 to [`RUN_DOTS_MAX`], and their count in front of them.
    pub(crate) fn of_live(packed: &[u8]) -> Self {
        let count = packed.first().map_or(1, |count| usize::from(*count));
        Self::of(packed, u64::MAX >> (RUN_DOTS_MAX - count.clamp(1, RUN_DOTS_MAX)))
    }

    fn pack<'a>(
        count: u8,
        len: usize,
        live: u64,
        slots: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Self {
        Self::filled(len, live, |packed| {
            packed[0] = count;
            let mut end = 1;
            for (header, slot) in slots {
                let start = end + varint::len(header);
                varint::put(&mut packed[end..start], header);
                end = start + slot.len();
                packed[start..end].copy_from_slice(slot);
            }
        })
    }

    /// Packs so many bytes, which are zeros before they are filled in.
    #[inline]
    fn filled(len: usize, live: u64, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut inline = [0; INLINE_BYTES];
        if let Some(packed) = inline.get_mut(..len) {
            fill(packed);
            return Self(Repr::Inline { len: len as u8, bytes: inline });
        }
        let (mut short, mut long) = ([0; PACKED_BYTES], Vec::new());
        let packed = match short.get_mut(..len) {
            Some(packed) => packed,
            None => {
                long.resize(len, 0);
                &mut long[..]
            }
        };
        fill(packed);
        Self(Repr::Heap { live, spare: 0, bytes: Arc::from(packed) })
    }

    /// None, until there are some.
    pub(crate) const fn none() -> Self {
        Self(Repr::Inline { len: 0, bytes: [0; INLINE_BYTES] })
    }

    /// Takes packed slots, after a look at their lengths.
    pub fn from_packed(bytes: &[u8]) -> Result<Self, Malformed> {
        if crate::small::HAS_SHORTCUTS
            && let [1, header @ 1..0x80, slot @ ..] = bytes
            && slot.len() + 1 == usize::from(*header)
        {
            return Ok(Self::of(bytes, 1));
        }
        if crate::small::HAS_SHORTCUTS
            && let [1, low @ 0x80..=0xff, high @ 1..0x80, slot @ ..] = bytes
            && slot.len() + 1 == (usize::from(*high) << 7 | usize::from(*low & 0x7f))
        {
            return Ok(Self::of(bytes, 1));
        }
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
            return Err(Malformed::limit("the dots of an entry", found, limit));
        }
        let mut live = 0;
        for slot in 0..*count {
            let len = varint::read(&mut rest)?;
            live |= u64::from(len > 0) << slot;
            let len = usize::try_from(len.saturating_sub(1)).map_err(|_| broken())?;
            rest = rest.get(len..).ok_or_else(broken)?;
        }
        if live == 0 {
            return Err(Malformed::Inconsistent { what: "an entry has a live dot" });
        }
        let (packed, rest) = bytes.split_at(bytes.len() - rest.len());
        *bytes = rest;
        Ok(Self::of(packed, live))
    }

    /// Takes packed slots, and which of them are live.
    pub(crate) fn of(packed: &[u8], live: u64) -> Self {
        if packed.len() > INLINE_BYTES {
            return Self(Repr::Heap { live, spare: 0, bytes: packed.into() });
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..packed.len()].copy_from_slice(packed);
        Self(Repr::Inline { len: packed.len() as u8, bytes })
    }

    /// The packed bytes.
    #[must_use]
    #[inline]
    pub fn as_packed(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap { spare, bytes, .. } => &bytes[..bytes.len() - *spare as usize],
        }
    }

    /// How many slots there are, dead or live.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.as_packed().first().map_or(0, |count| usize::from(*count))
    }

    /// Whether there is no slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: self.as_packed().get(1..).unwrap_or_default() }
    }

    /// The live slots of a mask, each with its number.
    #[inline]
    pub(crate) fn among(&self, mut mask: u64) -> impl Iterator<Item = (usize, &[u8])> {
        let (mut rest, mut next) = (self.iter(), 0);
        std::iter::from_fn(move || {
            let slot = mask.trailing_zeros() as usize;
            mask &= mask.checked_sub(1)?;
            rest.rest = &rest.rest[skip(rest.rest, 0, slot - next)..];
            next = slot + 1;
            Some((slot, rest.next()?))
        })
        .filter_map(|(slot, bytes)| Some((slot, bytes?)))
    }

    /// The bytes of a slot; none of a dead one, or where there is none.
    #[must_use]
    pub(crate) fn get(&self, slot: usize) -> Option<&[u8]> {
        self.find(slot).map(|(_, bytes)| bytes)
    }

    /// The bytes of the only slot, if there is just one, and live.
    #[inline]
    pub(super) fn only_slot(&self) -> Option<&[u8]> {
        match self.as_packed() {
            [1, header @ 1..0x80, bytes @ ..] => bytes.get(..usize::from(*header) - 1),
            [1, ..] => self.get(0),
            _ => None,
        }
    }

    /// Where a slot stands, and its bytes; none of a dead one, or where there is none.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn find(&self, slot: usize) -> Option<(Span, &[u8])> {
        let packed = self.as_packed();
        let start = skip(packed, 1, slot);
        let mut rest = packed.get(start..)?;
        let header = varint::take(&mut rest)? as usize;
        let bytes = rest.get(..header.checked_sub(1)?)?;
        let end = packed.len() - rest.len() + bytes.len();
        Some((Span { first: slot, count: 1, start, end }, bytes))
    }

    /// One bit for each live slot, from the lowest.
    #[must_use]
    #[inline]
    pub fn live(&self) -> u64 {
        match &self.0 {
            Repr::Heap { live, .. } => *live,
            Repr::Inline { bytes: [1, header, ..], .. } => u64::from(*header > 0),
            Repr::Inline { .. } => self.find_live(),
        }
    }

    fn find_live(&self) -> u64 {
        let (mut live, mut bit) = (0, 1);
        for slot in self.iter() {
            if slot.is_some() {
                live |= bit;
            }
            bit <<= 1;
        }
        live
    }

    /// Takes the slots of a mask out: each side has the other's as dead ones.
    pub(super) fn take_out(&mut self, mask: u64) -> Self {
        let live = self.live();
        match self.span(mask & live, live) {
            Some(span) => {
                let part = self.part_of(&span, mask & live);
                self.drop_span(&span, live & !mask);
                part
            }
            None => {
                let part = self.part(mask & live);
                *self = self.part(live & !mask);
                part
            }
        }
    }

    /// Takes slots out that stand there and are live.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn take_span(&mut self, span: &Span) -> Self {
        let part = self.part_of(span, span.mask());
        self.drop_span(span, self.live() & !span.mask());
        part
    }

    /// As [`take_span`](Self::take_span), and gives them to nobody.
    #[inline]
    pub(super) fn drop_out(&mut self, span: &Span) {
        self.drop_span(span, self.live() & !span.mask());
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn part_of(&self, span: &Span, taken: u64) -> Self {
        let packed = self.as_packed();
        let count = packed.first().copied().unwrap_or(0);
        let dead_after = usize::from(count).saturating_sub(span.first + span.count);
        let (start, slots) = (1 + span.first, &packed[span.start..span.end]);
        Self::filled(start + slots.len() + dead_after, taken, |packed| {
            packed[0] = count;
            packed[start..][..slots.len()].copy_from_slice(slots);
        })
    }

    /// Where the slots of a mask stand, if no other live one stands between them: mostly one slot is taken,
    /// or several in a row, and each side is one or two pieces.
    #[inline]
    fn span(&self, taken: u64, live: u64) -> Option<Span> {
        let first = taken.trailing_zeros() as usize;
        let last = (u64::BITS - taken.leading_zeros()) as usize;
        let between = (u64::MAX >> (u64::BITS as usize - last.max(1))) & (u64::MAX << (first & 63));
        if taken == 0 || live & between != taken {
            return None;
        }
        let packed = self.as_packed();
        let start = skip(packed, 1, first);
        let count = last - first;
        Some(Span { first, count, start, end: skip(packed, start, count) })
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn drop_span(&mut self, span: &Span, left: u64) {
        let Span { count, start, end, .. } = *span;
        if !self.cut(start, end, count, left) {
            let packed = self.as_packed();
            *self = Self::spliced(&packed[..start], count, &packed[end..], left);
        }
    }

    /// Puts dead slots in place of some packed bytes, in the same memory. Does nothing, and says so,
    /// where that is shared, or would be too large for what is left.
    fn cut(&mut self, start: usize, end: usize, dead: usize, left: u64) -> bool {
        let Repr::Heap { live, spare, bytes } = &mut self.0 else { return false };
        let len = bytes.len() - *spare as usize;
        let len_left = len - (end - start) + dead;
        let Ok(spare_left) = u32::try_from(bytes.len() - len_left) else { return false };
        if len_left <= INLINE_BYTES || len_left < bytes.len() / 2 {
            return false;
        }
        let Some(packed) = Arc::get_mut(bytes) else { return false };
        if crate::small::HAS_SHORTCUTS && dead == 1 {
            packed[start] = 0;
        } else {
            packed[start..start + dead].fill(0);
        }
        packed.copy_within(end..len, start + dead);
        (*live, *spare) = (left, spare_left);
        true
    }

    /// Two pieces of packed slots, and dead slots between them.
    fn spliced(head: &[u8], dead: usize, tail: &[u8], live: u64) -> Self {
        let start = head.len() + dead;
        Self::filled(start + tail.len(), live, |packed| {
            packed[..head.len()].copy_from_slice(head);
            packed[start..].copy_from_slice(tail);
        })
    }

    /// The slots of a mask.
    fn part(&self, mask: u64) -> Self {
        let bits = (0..).map(|slot| mask >> (slot & 63) & 1 == 1);
        Self::new(self.iter().zip(bits).map(|(slot, is_wanted)| slot.filter(|_| is_wanted)))
    }

    /// The slots of a mask; the others are dead.
    #[must_use]
    pub fn only(&self, mask: u64) -> Self {
        self.part(mask)
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

/// Where in packed slots those begin that follow on so many from a place on.
#[inline]
fn skip(packed: &[u8], mut at: usize, count: usize) -> usize {
    for _ in 0..count {
        at = behind(packed, at);
    }
    at.min(packed.len())
}

/// Where a slot ends that begins at a place.
#[inline]
fn behind(packed: &[u8], at: usize) -> usize {
    match packed.get(at..) {
        Some([header @ 0..0x80, ..]) => at + usize::from((*header).max(1)),
        Some([low, high @ 1..0x80, ..]) => {
            at + 1 + (usize::from(*high) << 7 | usize::from(*low & 0x7f))
        }
        Some([_, ..]) => behind_long(packed, at),
        Some([]) | None => packed.len(),
    }
}

/// Where a slot ends whose length takes more than one byte.
#[inline(never)]
fn behind_long(packed: &[u8], at: usize) -> usize {
    let mut rest = packed.get(at..).unwrap_or_default();
    let header = varint::read(&mut rest).unwrap_or(1);
    (packed.len() - rest.len()).saturating_add((header as usize).saturating_sub(1))
}

impl PartialEq for Slots {
    fn eq(&self, other: &Self) -> bool {
        self.as_packed() == other.as_packed()
    }
}

impl Eq for Slots {}

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
            [low, high @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                u64::from(*low & 0x7f) | u64::from(*high) << 7
            }
            long => {
                // What is lent must not be what a loop keeps in registers.
                let mut rest = long;
                let len = varint::read(&mut rest).ok()?;
                self.rest = rest;
                len
            }
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
        assert!(!slots.is_empty() && Slots::none().is_empty());
        for bytes in &long {
            let one = Slots::new([Some(&bytes[..])].into_iter());
            assert_eq!((one.only_slot(), one.len()), (Some(&bytes[..]), 1));
            assert_ne!(one, Slots::new([Some(&b"other"[..])].into_iter()));
        }
        assert_eq!((slots.only_slot(), slots.only(1).only_slot()), (None, None));
        assert_eq!(
            format!("{:?}", slots.only(0b11)),
            "[Some(\"\"), Some(\"\\\\t\"), None, None, None, None, None, None]"
        );
        assert_eq!(Slots::from_packed(slots.as_packed()).unwrap(), slots);
        let (low, high) = (slots.only(0b111), slots.only(!0b111));
        assert_eq!(low.overlaid(&high), slots);
        for mask in 0..128 {
            // What is shared is copied; what is not may stay where it is.
            for mut rest in [slots.clone(), Slots::from_packed(slots.as_packed()).unwrap()] {
                let taken = rest.take_out(mask);
                assert_eq!((taken.live(), rest.live()), (mask & 0x7f, 0x7f & !mask));
                assert_eq!(taken.overlaid(&rest), slots);
                if let Repr::Heap { bytes, .. } = &rest.0
                    && mask != 0
                {
                    assert!(rest.as_packed().len() > INLINE_BYTES);
                    assert!(bytes.len() <= 2 * rest.as_packed().len() + 1, "half of it is in use");
                }
                if taken.live() != 0 && rest.live() != 0 {
                    for part in [taken, rest] {
                        assert_eq!(Slots::from_packed(part.as_packed()), Ok(part));
                    }
                }
            }
        }
    }

    #[test]
    fn one_slot_is_taken_where_it_stands() {
        let bytes = vec![9u8; 300];
        let slots = Slots::new([Some(&bytes[..]), None, Some(b"x"), Some(b"")].into_iter());
        for (slot, expected) in
            [(0, Some(&bytes[..])), (1, None), (2, Some(b"x")), (3, Some(b"")), (4, None)]
        {
            assert_eq!(slots.get(slot), expected);
            let Some((span, _)) = slots.find(slot) else { continue };
            // In memory that is shared, and in memory that is not.
            for mut rest in [slots.clone(), Slots::from_packed(slots.as_packed()).unwrap()] {
                let mut dropped = Slots::from_packed(rest.as_packed()).unwrap();
                let taken = rest.take_span(&span);
                assert_eq!((taken.live(), taken.get(slot)), (1 << slot, expected));
                assert_eq!(rest.live(), 0b1101 & !(1 << slot));
                assert_eq!(taken.overlaid(&rest), slots);
                dropped.drop_out(&span);
                assert_eq!((&dropped, dropped.live()), (&rest, rest.live()));
            }
        }
        for mask in 0..64 {
            let wanted = (0..).zip(slots.iter()).filter(|(slot, _)| mask >> slot & 1 == 1);
            let wanted = wanted.filter_map(|(slot, bytes)| Some((slot, bytes?)));
            assert!(slots.among(mask).eq(wanted), "{mask:b}");
        }
        let mut whole = Slots::new([None, Some(&b"x"[..])].into_iter());
        assert_eq!((whole.take_out(0b1).live(), whole.live()), (0, 0b10), "nothing is taken");
    }

    #[test]
    fn what_is_no_packing_is_refused() {
        for bytes in [&[][..], &[0], &[1], &[1, 0], &[1, 3, 7], &[1, 1, 0], &[65, 1], &[2, 1]] {
            assert!(Slots::from_packed(bytes).is_err(), "{bytes:?}");
        }
        assert!(Slots::from_packed(&[2, 1, 0]).is_ok());
    }
}
