//! Entries: what is stored.

use super::label::Tags;
use super::{Dot, DotRanges, Label, PlaceId, ReplicaId, Slots, content};
use crate::time::Stamp;

/// A run of consecutive dots of one replica, about one object: what they have in common, and a slot of
/// bytes for each dot.
///
/// A slot is gone once its dot is dead, and its name with it, wherever the removal is known, also where
/// nobody can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The run's first dot.
    pub first: Dot,
    /// When it was written, by the author's clock.
    pub stamp: Stamp,
    /// The space of the object, and a name for each slot.
    pub label: Label,
    /// Which object of the space.
    pub id: PlaceId,
    /// Opaque bytes for each dot of the run.
    pub slots: Slots,
}

/// An entry as a store shows it.
#[derive(Debug, Clone, Copy)]
pub struct EntryView<'a> {
    /// The run's first dot.
    pub first: Dot,
    /// When it was written, by the author's clock.
    pub stamp: Stamp,
    /// The space of the object, and a name for each slot.
    pub label: &'a Label,
    /// Which object of the space.
    pub id: &'a PlaceId,
    /// Opaque bytes for each dot of the run.
    pub slots: &'a Slots,
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
        self.first.counter + (self.slots.len() as u64).saturating_sub(1)
    }

    /// The live dots and their slots.
    pub fn live(&self) -> impl Iterator<Item = (Dot, &[u8])> {
        self.view().live()
    }

    /// The counters of the live dots.
    #[must_use]
    pub fn live_ranges(&self) -> DotRanges {
        ranges_of(self.first.counter, self.slots.live())
    }

    /// The bytes of label, id and slots: what the entry costs.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.label.byte_count() + self.id.len() + self.slots.as_packed().len()
    }

    /// The entry as a store shows it.
    #[must_use]
    #[inline]
    pub fn view(&self) -> EntryView<'_> {
        let Self { first, stamp, label, id, slots } = self;
        EntryView { first: *first, stamp: *stamp, label, id, slots }
    }

    /// The entry with only the slots of a mask live.
    #[must_use]
    pub fn only(&self, mask: u64) -> Self {
        self.part(mask, self.slots.only(mask))
    }

    fn part(&self, mask: u64, slots: Slots) -> Self {
        let Self { first, stamp, label, id, .. } = self;
        Self { first: *first, stamp: *stamp, label: label.only(mask), id: id.clone(), slots }
    }

    /// Lays the live slots of another part of the same run over this one. Gives false, and changes
    /// nothing, where both are not one run: another first dot, time or object.
    pub fn overlay(&mut self, other: &Self) -> bool {
        if !self.view().is_one_run(other.view()) {
            return false;
        }
        let slots = self.slots.overlaid(&other.slots);
        self.label = self.label.merged(&other.label, slots.live());
        self.slots = slots;
        true
    }

    /// What a store holds of a run once this entry is added, where `known` overlaps it there. None where
    /// it is part of no run that is known, and in the way of one: it must not be added.
    #[must_use]
    pub fn laid_over(self, known: Vec<Self>) -> Option<Self> {
        match <[Self; 1]>::try_from(known) {
            Ok([mut known]) => known.overlay(&self).then_some(known),
            Err(known) => known.is_empty().then_some(self),
        }
    }

    /// Takes the dots `start..=end` out. Gives the entry of what was live of them.
    pub fn take(&mut self, start: u64, end: u64) -> Option<Self> {
        let live = self.slots.live();
        let mask = live & mask_of(self.first.counter, start, end);
        if mask == 0 {
            return None;
        }
        let slots = self.slots.take_out(mask);
        let taken = self.part(mask, slots);
        self.label = self.label.only(live & !mask);
        Some(taken)
    }
}

/// The counters of the slots of a mask, in a run from `first`.
#[inline]
pub(crate) fn ranges_of(first: u64, mut mask: u64) -> DotRanges {
    if let Some((start, end)) = range_of(first, mask) {
        return DotRanges::of(start..=end);
    }
    let mut ranges = DotRanges::default();
    let mut counter = first;
    while mask != 0 {
        let gap = mask.trailing_zeros();
        let len = (mask >> gap).trailing_ones();
        counter += u64::from(gap);
        ranges.insert(counter, counter + u64::from(len) - 1);
        counter += u64::from(len);
        mask = mask.checked_shr(gap + len).unwrap_or(0);
    }
    ranges
}

/// The first and the last of the counters of the slots of a mask, in a run from `first`, if there is no gap
/// between them.
#[inline]
pub(super) fn range_of(first: u64, mask: u64) -> Option<(u64, u64)> {
    let gap = u64::from(mask.trailing_zeros());
    let len = u64::from((mask >> (gap & 63)).trailing_ones());
    let is_one = gap + len == u64::from(u64::BITS - mask.leading_zeros()) && len > 0;
    is_one.then(|| (first + gap, first + gap + len - 1))
}

/// The slots of a run from `first` whose counters are in `start..=end`.
#[inline]
pub(super) fn mask_of(first: u64, start: u64, end: u64) -> u64 {
    let low = start.saturating_sub(first).min(64) as u32;
    let high = end.saturating_add(1).saturating_sub(first).min(64) as u32;
    let below = |bit: u32| 1u64.checked_shl(bit).map_or(u64::MAX, |bit| bit - 1);
    below(high) & !below(low)
}

impl<'a> EntryView<'a> {
    /// Whether both are parts of one run, as far as can be told: nobody who keeps the rules begins two
    /// with one dot.
    #[must_use]
    pub fn is_one_run(self, other: EntryView<'_>) -> bool {
        self.first == other.first
            && self.stamp == other.stamp
            && self.id == other.id
            && self.label.is_in_space_of(other.label)
    }

    /// The live dots and their slots.
    #[inline]
    pub fn live(self) -> impl Iterator<Item = (Dot, &'a [u8])> {
        let Dot { replica, counter } = self.first;
        let slots = (counter..).zip(self.slots.iter());
        slots.filter_map(move |(counter, slot)| Some((Dot::new(replica, counter), slot?)))
    }

    /// The live slots: the dot, its name and its bytes.
    #[inline]
    pub fn named(self) -> impl Iterator<Item = (Dot, &'a [u8], &'a [u8])> {
        let Self { first, label, slots, .. } = self;
        (0..).zip(slots.iter()).filter_map(move |(at, slot)| {
            Some((Dot::new(first.replica, first.counter + at as u64), label.name(at), slot?))
        })
    }

    /// How the names of the live slots begin, and which slots are live.
    #[inline]
    pub(crate) fn tags(self) -> (Tags, u64) {
        let live = self.slots.live();
        // Dead slots mostly have no name, and live ones have one.
        let tags = if live == self.label.named() { self.label.tags() } else { self.own_tags(live) };
        (tags, live)
    }

    #[cold]
    fn own_tags(self, live: u64) -> Tags {
        let mut tags = Tags::default();
        for (slot, name) in self.label.names().enumerate().take(64) {
            if let Some(tag) = name.first().filter(|_| live >> slot & 1 == 1) {
                tags.add(*tag);
            }
        }
        tags
    }

    /// The counter of each live dot, and a hash of all that it says: stamp, space, id, its name and its
    /// bytes, whatever the run's other slots are. It finds differences between parties
    /// that do not cheat; it is no proof against others.
    pub fn hashes(self) -> impl Iterator<Item = (u64, u64)> {
        let place = self.place_hash();
        (0..).zip(self.slots.iter()).filter_map(move |(at, slot)| {
            Some((self.first.counter + at as u64, self.slot_hash(place, at, slot?)))
        })
    }

    /// As [`hashes`](Self::hashes), for where each instruction counts.
    #[inline]
    pub(super) fn each_hash(self, mut take: impl FnMut(u64, u64)) {
        let place = self.place_hash();
        let names = self.label.name_hashes();
        for ((slot, name), counter) in self.slots.iter().zip(names).zip(self.first.counter..) {
            if let Some(slot) = slot {
                take(counter, content::hash(slot, place ^ name.rotate_left(29)));
            }
        }
    }

    /// The hash of what the dot of a slot says, which has these bytes.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn content(self, at: usize, slot: &[u8]) -> u64 {
        self.slot_hash(self.place_hash(), at, slot)
    }

    /// A hash of what all dots of the run say.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn place_hash(self) -> u64 {
        let seed = self.label.space_hash() ^ self.stamp.to_bits().rotate_left(17);
        match <&[u8; 16]>::try_from(&**self.id) {
            Ok(id) if crate::small::HAS_SHORTCUTS => content::hash_of_block(id, seed),
            Ok(_) | Err(_) => content::hash(self.id, seed),
        }
    }

    #[inline]
    fn slot_hash(self, place: u64, at: usize, slot: &[u8]) -> u64 {
        content::hash(slot, place ^ self.label.name_hash(at).rotate_left(29))
    }

    /// A copy of the entry.
    #[must_use]
    pub fn to_entry(self) -> Entry {
        let Self { first, stamp, label, id, slots } = self;
        Entry { first, stamp, label: label.clone(), id: id.clone(), slots: slots.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(live: u64, len: usize) -> Entry {
        // A label names what is live; names begin with bytes of both halves.
        let name = |slot: usize| match live >> slot & 1 {
            0 => Vec::new(),
            _ => {
                let tag = [0, 1, 2, 31, 32, b'n', 0x7f][slot % 7];
                vec![tag | if slot.is_multiple_of(3) { 0x80 } else { 0 }, slot as u8]
            }
        };
        let names: Vec<Vec<u8>> = (0..len).map(name).collect();
        let label = Label::new(b"space", names.iter().map(|name| &name[..]));
        let bytes: Vec<[u8; 2]> = (0..len).map(|slot| [slot as u8, 1]).collect();
        let slots = bytes.iter().enumerate();
        let slots = slots.map(|(slot, bytes)| (live >> slot & 1 == 1).then_some(&bytes[..]));
        let first = Dot::new(ReplicaId::from_bytes([1; 16]), 10);
        let stamp = Stamp::from_bits(7);
        Entry { first, stamp, label, id: PlaceId::new(b"id"), slots: Slots::new(slots) }
    }

    fn bits(mask: u64) -> impl Iterator<Item = u64> {
        (0..64).filter(move |slot| mask >> slot & 1 == 1)
    }

    proptest! {
        #[test]
        fn parts_of_a_run_are_those_of_its_dots(
            live: u64,
            other: u64,
            len in 1usize..=64,
            start in 0u64..90,
            count in 0u64..70,
        ) {
            let within = u64::MAX >> (64 - len);
            let (live, other) = (live & within, other & within);
            let run = entry(live, len);
            prop_assert_eq!(run.last(), 10 + len as u64 - 1);
            let counters: Vec<u64> = bits(live).map(|slot| 10 + slot).collect();
            let ranges: DotRanges = counters.iter().map(|at| (*at, *at)).collect();
            prop_assert_eq!(&run.live_ranges(), &ranges);
            let shown: Vec<u64> = run.live().map(|(dot, _)| dot.counter).collect();
            prop_assert_eq!(&shown, &counters);
            let hashed: Vec<u64> = run.view().hashes().map(|(counter, _)| counter).collect();
            prop_assert_eq!(hashed, counters);
            for (dot, name, slot) in run.view().named() {
                prop_assert_eq!(name[1], (dot.counter - 10) as u8);
                prop_assert_eq!(slot[0], (dot.counter - 10) as u8);
            }

            let end = start + count;
            let mask = bits(live).filter(|slot| (start..=end).contains(&(10 + slot)));
            let mask = mask.fold(0, |mask, slot| mask | 1 << slot);
            let mut rest = run.clone();
            let taken = rest.take(start, end);
            prop_assert_eq!(&taken, &(mask != 0).then(|| run.only(mask)));
            prop_assert_eq!(&rest, &run.only(live & !mask));
            prop_assert_eq!(run.only(mask).live_ranges(), entry(mask, len).live_ranges());

            let mut laid = entry(live & other, len);
            prop_assert!(laid.overlay(&entry(live & !other, len)));
            prop_assert_eq!(&laid, &run);
            prop_assert_eq!(entry(live & !other, len).laid_over(vec![entry(live & other, len)]), Some(run.clone()));
            prop_assert_eq!(run.clone().laid_over(Vec::new()), Some(run));
        }

        #[test]
        fn tags_are_those_of_the_live_names(
            live in proptest::collection::vec(0u32..64, 0..6),
            dead in proptest::collection::vec(0u32..64, 0..3),
        ) {
            // Few enough that the dead have names that no live one has.
            let [live, dead] = [live, dead].map(|slots| slots.iter().fold(0, |mask, slot| mask | 1 << slot));
            let mut run = entry(live | dead, 64);
            // As it is where slots died and the label is yet to follow.
            run.slots = run.slots.only(live);
            let names = run.view().named().map(|(_, name, _)| name.to_vec()).collect::<Vec<_>>();
            let (tags, shown) = run.view().tags();
            prop_assert_eq!(shown, live);
            for tag in 0..32 {
                prop_assert_eq!(tags.has(tag), names.iter().any(|name| name[0] & 0x7f == tag));
                prop_assert_eq!(tags.has_plainly(tag), names.iter().any(|name| name[0] == tag));
            }
            prop_assert_eq!(tags.has_high(), names.iter().any(|name| name[0] & 0x80 != 0));
            prop_assert_eq!(tags.has_plain(), names.iter().any(|name| name[0] & 0x80 == 0));
        }
    }

    #[test]
    fn the_ranges_of_a_mask_are_its_bits() {
        let masks = (0..1 << 12).flat_map(|mask: u64| [mask, mask << 26, mask << 52]);
        for mask in masks.chain([u64::MAX, u64::MAX >> 1, u64::MAX << 1]) {
            let expected: DotRanges = bits(mask).map(|slot| (10 + slot, 10 + slot)).collect();
            assert_eq!(ranges_of(10, mask), expected, "{mask:b}");
        }
    }

    #[test]
    fn only_what_begins_alike_is_one_run() {
        let run = entry(0b11, 2);
        let first = Dot::new(run.first.replica, 11);
        let others = [
            Entry { first, ..run.clone() },
            Entry { stamp: Stamp::from_bits(8), ..run.clone() },
            Entry { id: PlaceId::new(b"other"), ..run.clone() },
            Entry { label: Label::new(b"other", [&b"n"[..], b"m"]), ..run.clone() },
        ];
        for other in others {
            assert!(!run.view().is_one_run(other.view()), "{other:?}");
            let mut laid = run.clone();
            assert!(!laid.overlay(&other));
            assert_eq!(laid, run);
            assert_eq!(other.laid_over(vec![run.clone()]), None);
        }
        assert_eq!(run.clone().laid_over(vec![run.clone(), run.clone()]), None);
    }

    #[test]
    fn an_entry_costs_its_label_its_id_and_its_slots() {
        let run = entry(0b11, 2);
        let packed = run.slots.as_packed().len();
        assert_eq!(run.byte_count(), run.label.byte_count() + "id".len() + packed);
        assert!(packed > 4, "two slots of two bytes each");
    }

    #[test]
    fn a_mask_is_the_part_of_a_range_within_the_run() {
        assert_eq!(mask_of(10, 1, 9), 0);
        assert_eq!(mask_of(10, 1, 10), 1);
        assert_eq!(mask_of(10, 11, 12), 0b110);
        assert_eq!(mask_of(10, 0, u64::MAX), u64::MAX);
        assert_eq!(mask_of(10, 73, 73), 1 << 63);
        assert_eq!(mask_of(10, 74, u64::MAX), 0);
    }
}
