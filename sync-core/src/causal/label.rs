//! What many entries have in common: the space of their objects, and a name for each slot.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::checksum;
use crate::small::{SmallVec, are_same};

/// The most bytes of a label: its space and its names. Arbitrary; far above what a schema needs.
pub const LABEL_BYTES_MAX: usize = 8 * 1024;

/// A space and a name for each slot of a run, both opaque. Cheap to clone.
///
/// The name of a dead slot is dropped with its bytes, so it is empty.
#[derive(Clone)]
pub struct Label(Arc<Parts>);

struct Parts {
    /// The space, then the names.
    bytes: Box<[u8]>,
    space_len: usize,
    slots: Box<[Slot]>,
    space_hash: u64,
    hash: u64,
    /// Which of the first 64 slots have a name, and how their names begin.
    named: u64,
    /// Which of them begin with a byte that does not have the highest bit.
    plain: u64,
    tags: Tags,
    /// Whether two slots have one name, and whether two have names that are one but for the first byte.
    has_repeat: bool,
    repeats_text: bool,
    /// A bit for each name by its hash, and one by the hash of what follows its first byte.
    sketch: u64,
    text_sketch: u64,
    /// Whether a name has a control character behind its first byte.
    has_control: bool,
}

struct Slot {
    end: u32,
    hash: u64,
    /// A hash of what follows the first byte of the name.
    text_hash: u64,
    /// How many bytes the name has.
    len: u32,
    /// The first byte, if there is one.
    tag: Option<u8>,
    /// What follows it, if that is text.
    text: Option<Box<str>>,
}

/// The first bytes of names, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tags {
    /// Those below 32.
    low: u32,
    /// Those below 32 but for the highest bit, which is set.
    high: u32,
    has_plain: bool,
    has_high: bool,
}

impl Tags {
    pub(super) fn add(&mut self, tag: u8) {
        let is_high = tag & 0x80 != 0;
        self.has_high |= is_high;
        self.has_plain |= !is_high;
        if tag & 0x7f < 32 {
            *(if is_high { &mut self.high } else { &mut self.low }) |= 1 << (tag & 31);
        }
    }

    /// Whether a name begins with this byte, which is below 32, or with it and the highest bit.
    #[inline]
    pub(crate) fn has(self, tag: u8) -> bool {
        (self.low | self.high) >> (tag & 31) & 1 == 1
    }

    /// Whether a name begins with just this byte, which is below 32.
    #[inline]
    pub(crate) fn has_plainly(self, tag: u8) -> bool {
        self.low >> (tag & 31) & 1 == 1
    }

    /// Whether a name begins with a byte that has the highest bit.
    #[inline]
    pub(crate) fn has_high(self) -> bool {
        self.has_high
    }

    /// Whether a name begins with a byte that does not have the highest bit.
    #[inline]
    pub(crate) fn has_plain(self) -> bool {
        self.has_plain
    }
}

impl Label {
    /// Takes a space and names.
    #[must_use]
    pub fn new<'a>(space: &[u8], names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let names: SmallVec<[&[u8]; 16]> = names.into_iter().collect();
        Self::of(space, &names)
    }

    fn of(space: &[u8], names: &[&[u8]]) -> Self {
        let len = space.len() + names.iter().map(|name| name.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(space);
        let mut slots: Vec<Slot> = Vec::with_capacity(names.len());
        let space_hash = checksum::hash(space);
        let (mut hash, mut tags) = (space_hash ^ names.len() as u64, Tags::default());
        let (mut named, mut plain, mut has_repeat) = (0, 0, false);
        let (mut sketch, mut text_sketch) = (0, 0);
        let (mut repeats_text, mut has_control) = (false, false);
        for (at, name) in names.iter().enumerate() {
            let name_hash = checksum::hash(name);
            let text_hash = checksum::hash(name.get(1..).unwrap_or_default());
            hash = (hash.rotate_left(5) ^ name_hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if let Some((tag, rest)) = name.split_first() {
                let bit = 1u64.checked_shl(at as u32).unwrap_or(0);
                named |= bit;
                plain |= if *tag & 0x80 == 0 { bit } else { 0 };
                tags.add(*tag);
                sketch |= 1 << (name_hash & 63);
                text_sketch |= 1 << (text_hash & 63);
                has_control |= rest.iter().any(|byte| *byte < 32);
                has_repeat |= slots.iter().any(|slot| slot.hash == name_hash);
                let mut others = names[..at].iter().filter(|name| !name.is_empty());
                repeats_text |= others.any(|name| name[1..] == *rest);
            }
            bytes.extend_from_slice(name);
            let (end, len) = (bytes.len() as u32, name.len() as u32);
            let text = name.get(1..).and_then(|rest| std::str::from_utf8(rest).ok());
            let (tag, text) = (name.first().copied(), text.map(Into::into));
            slots.push(Slot { end, hash: name_hash, text_hash, len, tag, text });
        }
        let (bytes, slots) = (bytes.into_boxed_slice(), slots.into_boxed_slice());
        let space_len = space.len();
        Self(Arc::new(Parts {
            bytes,
            space_len,
            slots,
            space_hash,
            hash,
            named,
            plain,
            tags,
            has_repeat,
            repeats_text,
            sketch,
            text_sketch,
            has_control,
        }))
    }

    /// The space: which objects are found together.
    #[must_use]
    #[inline]
    pub fn space(&self) -> &[u8] {
        &self.0.bytes[..self.0.space_len]
    }

    /// The names of the slots, in order.
    #[inline]
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let Parts { bytes, space_len, slots, .. } = &*self.0;
        let mut start = *space_len;
        slots.iter().map(move |Slot { end, .. }| {
            let start = std::mem::replace(&mut start, *end as usize);
            &bytes[start..*end as usize]
        })
    }

    /// The name of a slot; empty for a dead one.
    #[must_use]
    #[inline]
    pub fn name(&self, slot: usize) -> &[u8] {
        let Parts { bytes, space_len, slots, .. } = &*self.0;
        let Some(Slot { end, .. }) = slots.get(slot) else { return &[] };
        let start = if slot == 0 { *space_len } else { slots[slot - 1].end as usize };
        &bytes[start..*end as usize]
    }

    /// What follows the first byte of a slot's name, where that is text.
    #[inline]
    pub(crate) fn text(&self, slot: usize) -> Option<&str> {
        self.0.slots.get(slot)?.text.as_deref()
    }

    /// The names of the slots as their first byte and the text that follows; none without that.
    #[inline]
    pub(crate) fn tagged<'a>(&'a self) -> impl Iterator<Item = Option<(u8, &'a str)>> {
        let name = |slot: &'a Slot| Some((slot.tag?, slot.text.as_deref()?));
        self.0.slots.iter().map(name)
    }

    /// Which of the first 64 slots have a name that is this path behind its first byte, or goes on
    /// behind it with a separator.
    pub(crate) fn within(&self, path: &[u8], separator: u8) -> u64 {
        let Parts { bytes, slots, .. } = &*self.0;
        let mut found = 0;
        for (at, Slot { end, len, .. }) in slots.iter().enumerate().take(64) {
            let (end, len) = (*end as usize, *len as usize);
            // Most names are shorter, or begin otherwise, which one byte tells.
            if len <= path.len() || path.first().is_some_and(|own| bytes[end - len + 1] != *own) {
                continue;
            }
            let (own, below) = bytes[end - len + 1..end].split_at(path.len());
            let is_it = own == path
                && below.first().is_none_or(|next| *next == separator && !path.is_empty());
            found |= u64::from(is_it) << at;
        }
        found
    }

    /// The first byte of a slot's name, how many bytes follow, and whether they are text; none without a
    /// name.
    #[inline]
    pub(crate) fn tag(&self, slot: usize) -> Option<(u8, u32, bool)> {
        let Slot { tag, len, text, .. } = self.0.slots.get(slot)?;
        Some(((*tag)?, *len - 1, text.is_some()))
    }

    /// The slots whose names are one byte and this text, and that byte.
    #[inline]
    pub(crate) fn slots_at(&self, text: &str) -> impl Iterator<Item = (usize, u8)> {
        let Parts { bytes, slots, .. } = &*self.0;
        slots.iter().enumerate().filter_map(move |(at, Slot { end, len, tag, .. })| {
            let (end, start) = (*end as usize, *end as usize - *len as usize + 1);
            // Names are short: a call to compare them costs more than their bytes.
            let is_it = *len as usize == text.len() + 1
                && bytes.get(start..end).is_some_and(|name| name.iter().eq(text.as_bytes()));
            tag.filter(|_| is_it).map(|tag| (at, tag))
        })
    }

    /// How many slots there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.0.slots.len()
    }

    /// Whether there is no slot, as in the label of a note.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.slots.is_empty()
    }

    /// The same label with names only for the slots of a mask.
    #[must_use]
    pub fn only(&self, live: u64) -> Self {
        let kept = |(slot, name)| if live >> slot & 1 == 1 { name } else { &[][..] };
        Self::new(self.space(), self.names().enumerate().map(kept))
    }

    /// The names that either of two labels of one run has, for the slots of a mask.
    #[must_use]
    pub fn merged(&self, other: &Self, live: u64) -> Self {
        let count = self.len().max(other.len());
        let name = |slot| match self.name(slot) {
            _ if live >> slot & 1 == 0 => &[],
            [] => other.name(slot),
            name => name,
        };
        Self::new(self.space(), (0..count).map(name))
    }

    /// The bytes of space and names.
    #[must_use]
    #[inline]
    pub fn byte_count(&self) -> usize {
        self.0.bytes.len()
    }

    /// Whether both are one in memory, which says faster than a comparison that they are equal.
    #[inline]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both are of one space.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(crate) fn is_in_space_of(&self, other: &Self) -> bool {
        self.is_same(other) || are_same(self.space(), other.space())
    }

    fn is_equal(&self, other: &Self) -> bool {
        let (own, others) = (&*self.0, &*other.0);
        own.bytes == others.bytes
            && own.space_len == others.space_len
            && own.slots.len() == others.slots.len()
            && own.slots.iter().zip(&others.slots).all(|(a, b)| a.end == b.end)
    }

    /// How many clones there are.
    pub(super) fn clone_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// A hash of the space (XXH3, 64 bits).
    #[inline]
    pub(crate) fn space_hash(&self) -> u64 {
        self.0.space_hash
    }

    /// A hash of a slot's name (XXH3, 64 bits).
    #[inline]
    pub(crate) fn name_hash(&self, slot: usize) -> u64 {
        self.0.slots.get(slot).map_or(0, |slot| slot.hash)
    }

    /// A hash of each slot's name, in order; 0 behind the last one.
    #[inline]
    pub(super) fn name_hashes(&self) -> impl Iterator<Item = u64> {
        self.0.slots.iter().map(|slot| slot.hash).chain(std::iter::repeat(0))
    }

    /// How the names begin.
    #[inline]
    pub(crate) fn tags(&self) -> Tags {
        self.0.tags
    }

    /// Which slots have a name.
    #[inline]
    pub(super) fn named(&self) -> u64 {
        self.0.named
    }

    /// Which slots have a name that begins with a byte without the highest bit.
    #[inline]
    pub(crate) fn plain(&self) -> u64 {
        self.0.plain
    }

    /// Whether it is of this space, and has just these names: they stand one behind the other, and end
    /// here.
    #[inline]
    pub(crate) fn is_of(
        &self,
        space: &[u8],
        names: &[u8],
        mut ends: impl ExactSizeIterator<Item = usize>,
    ) -> bool {
        let Parts { bytes, space_len, slots, .. } = &*self.0;
        bytes.len() == space.len() + names.len()
            && *space_len == space.len()
            && slots.len() == ends.len()
            && slots.iter().all(|slot| ends.next() == Some(slot.end as usize - space.len()))
            && bytes[space.len()..] == *names
            && bytes[..space.len()] == *space
    }

    /// Whether two slots have names that are one but for the first byte.
    #[inline]
    pub(crate) fn repeats_text(&self) -> bool {
        self.0.repeats_text
    }

    /// Whether another label has a name that is one of this but for the first byte.
    #[inline]
    pub(crate) fn shares_text(&self, other: &Self) -> bool {
        self.0.text_sketch & other.0.text_sketch != 0 && self.shares_text_exactly(other)
    }

    fn shares_text_exactly(&self, other: &Self) -> bool {
        let is_here = |name: &[u8]| {
            name.get(1..).is_some_and(|rest| self.names().any(|own| own.get(1..) == Some(rest)))
        };
        other.names().any(is_here)
    }

    /// Whether two slots seem to have one name, which begins with a byte.
    #[inline]
    pub(crate) fn repeats(&self, tag: u8) -> bool {
        self.0.has_repeat && self.repeats_exactly(tag)
    }

    #[cold]
    fn repeats_exactly(&self, tag: u8) -> bool {
        let slots = self.0.slots.iter().zip(self.names()).enumerate();
        let mut tagged = slots.filter(|(_, (_, name))| name.first() == Some(&tag));
        tagged.any(|(at, (slot, _))| self.0.slots[..at].iter().any(|other| other.hash == slot.hash))
    }

    /// Of the first 64 slots the ones whose names seem to be one with that of a label of one slot but for
    /// the first byte.
    #[inline]
    pub(super) fn slots_like(&self, other: &Self) -> u64 {
        let (Parts { slots, text_sketch, .. }, [wanted, ..]) = (&*self.0, &*other.0.slots) else {
            return 0;
        };
        if text_sketch & other.0.text_sketch == 0 {
            return 0;
        }
        let like = slots
            .iter()
            .take(64)
            .enumerate()
            .filter(|(_, slot)| slot.text_hash == wanted.text_hash && slot.tag.is_some());
        like.fold(0, |found, (at, _)| found | 1 << at)
    }

    /// Whether a name has a control character behind its first byte.
    #[inline]
    pub(super) fn has_control(&self) -> bool {
        self.0.has_control
    }

    /// Whether another label seems to have a name of this one, which begins with a byte.
    pub(crate) fn shares(&self, other: &Self, tag: u8) -> bool {
        self.0.sketch & other.0.sketch != 0
            && self.0.slots.iter().zip(self.names()).any(|(slot, name)| {
                name.first() == Some(&tag)
                    && other.0.slots.iter().any(|other| other.hash == slot.hash)
            })
    }
}

impl PartialEq for Label {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || (self.0.hash == other.0.hash && self.is_equal(other))
    }
}

impl Eq for Label {}

/// By a hash first, so an order for lookups and for nothing else.
impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        let hashes = self.0.hash.cmp(&other.0.hash);
        hashes
            .then_with(|| self.space().cmp(other.space()))
            .then_with(|| self.names().cmp(other.names()))
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.space().escape_ascii())?;
        self.names().try_for_each(|name| write!(f, "|{}", name.escape_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const TAGS: [u8; 4] = [0, b'r', b'r' | 0x80, 0x80];

    /// Names of which many share a text, a tag or both; one in three slots has none.
    fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let text =
            select(vec!["", "a", "b", "a/", "a/b", "a/b/c", "a\u{1f}", "a b", "b/a", "\u{e4}"]);
        let name =
            (select(&TAGS[..]), text).prop_map(|(tag, text)| [&[tag], text.as_bytes()].concat());
        let slot = prop_oneof![2 => name, 1 => Just(Vec::new())];
        proptest::collection::vec(slot, 0..7)
    }

    fn label(space: &str, names: &[Vec<u8>]) -> Label {
        Label::new(space.as_bytes(), names.iter().map(Vec::as_slice))
    }

    /// The slots for which something holds.
    fn mask(names: &[Vec<u8>], holds: impl Fn(&[u8]) -> bool) -> u64 {
        let slots = names.iter().enumerate().filter(|(_, name)| holds(name));
        slots.fold(0, |mask, (slot, _)| mask | 1 << slot)
    }

    fn text(name: &[u8]) -> Option<&[u8]> {
        name.get(1..)
    }

    /// Whether this holds for two of some names.
    fn any_two(names: &[Vec<u8>], holds: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let before = |at: usize| names[..at].iter().map(move |other| (at, other));
        (0..names.len()).flat_map(before).any(|(at, other)| holds(&names[at], other))
    }

    proptest! {
        #[test]
        fn what_is_kept_of_names_is_what_they_are(
            names in names(),
            path in select(vec!["", "a", "a/b", "b", "x"]),
        ) {
            let label = label("notes", &names);
            prop_assert_eq!(label.space(), b"notes");
            prop_assert_eq!((label.len(), label.is_empty()), (names.len(), names.is_empty()));
            prop_assert!(label.names().eq(names.iter().map(Vec::as_slice)));
            prop_assert_eq!(label.byte_count(), 5 + names.iter().map(Vec::len).sum::<usize>());
            for (slot, name) in names.iter().chain([&Vec::new()]).enumerate() {
                prop_assert_eq!(label.name(slot), &name[..]);
                let of_name = text(name).map(|text| std::str::from_utf8(text).unwrap());
                prop_assert_eq!(label.text(slot), of_name);
                let tag = of_name.map(|text| (name[0], text.len() as u32, true));
                prop_assert_eq!(label.tag(slot), tag);
            }
            let tagged = names.iter().map(|name| Some((*name.first()?, std::str::from_utf8(&name[1..]).ok()?)));
            prop_assert!(label.tagged().eq(tagged));
            prop_assert_eq!(label.named(), mask(&names, |name| !name.is_empty()));
            prop_assert_eq!(label.plain(), mask(&names, |name| name.first().is_some_and(|tag| *tag < 0x80)));
            prop_assert_eq!(label.has_control(), names.iter().any(|name| name.contains(&0x1f)));
            let are_one_text = |a: &[u8], b: &[u8]| text(a).is_some() && text(a) == text(b);
            prop_assert_eq!(label.repeats_text(), any_two(&names, are_one_text));
            for tag in TAGS {
                let is_repeat = |a: &[u8], b: &[u8]| a == b && a.first() == Some(&tag);
                prop_assert_eq!(label.repeats(tag), any_two(&names, is_repeat));
            }
            let is_within = |name: &[u8]| text(name).is_some_and(|text| {
                let below = text.strip_prefix(path.as_bytes());
                below.is_some_and(|below| below.is_empty() || below[0] == b'/' && !path.is_empty())
            });
            prop_assert_eq!(label.within(path.as_bytes(), b'/'), mask(&names, is_within));
            let is_at = |(slot, name): (usize, &Vec<u8>)| {
                (text(name) == Some(path.as_bytes())).then(|| (slot, name[0]))
            };
            prop_assert!(label.slots_at(path).eq(names.iter().enumerate().filter_map(is_at)));
        }

        #[test]
        fn labels_are_compared_by_what_they_say(
            a in names(),
            b in names(),
            live: u8,
            spaces in select(vec![("s", "s"), ("s", "t"), ("s", "sr"), ("", "s")]),
        ) {
            let (x, y) = (label(spaces.0, &a), label(spaces.1, &b));
            let are_equal = a == b && spaces.0 == spaces.1;
            prop_assert_eq!(x == y, are_equal);
            prop_assert_eq!(x.cmp(&y) == Ordering::Equal, are_equal);
            prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
            prop_assert_eq!(x.partial_cmp(&y), Some(x.cmp(&y)));
            prop_assert_eq!(&x, &label(spaces.0, &a));
            prop_assert_eq!(x.is_in_space_of(&y), spaces.0 == spaces.1);
            let ends: Vec<usize> = b.iter().scan(0, |end, name| { *end += name.len(); Some(*end) }).collect();
            prop_assert_eq!(x.is_of(spaces.1.as_bytes(), &b.concat(), ends.into_iter()), are_equal);

            let is_text_here = |name: &Vec<u8>| text(name).is_some_and(|own| a.iter().any(|name| text(name) == Some(own)));
            prop_assert_eq!(x.shares_text(&y), b.iter().any(is_text_here));
            for tag in TAGS {
                let is_shared = |name: &&Vec<u8>| name.first() == Some(&tag) && b.contains(name);
                prop_assert_eq!(x.shares(&y, tag), a.iter().any(|name| is_shared(&name)));
            }
            if let Some(one) = b.iter().find(|name| !name.is_empty()) {
                let like = mask(&a, |name| text(name).is_some() && text(name) == text(one));
                prop_assert_eq!(x.slots_like(&label("other", std::slice::from_ref(one))), like);
            }

            let live = u64::from(live);
            let kept = |slot: usize, name: &[u8]| if live >> slot & 1 == 1 { name.to_vec() } else { Vec::new() };
            let only: Vec<_> = a.iter().enumerate().map(|(slot, name)| kept(slot, name)).collect();
            prop_assert_eq!(x.only(live), label(spaces.0, &only));
            let both = (0..a.len().max(b.len())).map(|slot| {
                let of = |names: &[Vec<u8>]| names.get(slot).cloned().unwrap_or_default();
                kept(slot, &if of(&a).is_empty() { of(&b) } else { of(&a) })
            });
            prop_assert_eq!(x.merged(&y, live), label(spaces.0, &both.collect::<Vec<_>>()));
        }
    }

    #[test]
    fn labels_are_equal_only_if_every_part_is() {
        let one = ("s", &["ra", "rb"][..]);
        // Each differs in one part: bytes, where the space ends, how many slots, where a name ends.
        let others = [
            (one, ("s", &["ra", "rc"][..])),
            (("s", &["ra"]), ("sr", &["a"])),
            (one, ("s", &["ra", "rb", ""])),
            (one, ("s", &["rar", "b"])),
        ];
        let of = |(space, names): (&str, &[&str])| {
            Label::new(space.as_bytes(), names.iter().map(|name| name.as_bytes()))
        };
        let is_of = |label: &Label, (space, names): (&str, &[&str])| {
            let ends = names.iter().scan(0, |end, name| {
                *end += name.len();
                Some(*end)
            });
            let ends: Vec<usize> = ends.collect();
            label.is_of(space.as_bytes(), names.concat().as_bytes(), ends.into_iter())
        };
        for (a, b) in others {
            let (x, y) = (of(a), of(b));
            assert!(x.is_equal(&of(a)) && y.is_equal(&of(b)));
            assert!(!x.is_equal(&y) && !y.is_equal(&x), "{x:?} {y:?}");
            assert!(is_of(&x, a) && is_of(&y, b));
            assert!(!is_of(&x, b) && !is_of(&y, a), "{x:?} {y:?}");
            // Where the hashes are one, which is as good as never, the parts decide.
            let mut forged = of(b);
            Arc::get_mut(&mut forged.0).unwrap().hash = x.0.hash;
            assert_ne!(x, forged);
            assert_ne!(x.cmp(&forged), Ordering::Equal);
        }
    }

    #[test]
    fn clones_are_one_in_memory() {
        let one = label("s", &[b"rname".to_vec(), Vec::new()]);
        assert_eq!(one.clone_count(), 1);
        let other = one.clone();
        assert_eq!(one.clone_count(), 2);
        assert!(one.is_same(&other) && !one.is_same(&label("s", &[b"rname".to_vec(), Vec::new()])));
        assert_eq!(format!("{one:?}"), "s|rname|");
    }
}
