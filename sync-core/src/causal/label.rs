//! What many entries have in common: the space of their objects, and a name for each slot.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The most bytes of a label: its space and its names. Arbitrary; far above what a schema needs.
pub const LABEL_BYTES_MAX: usize = 8 * 1024;

/// A space and a name for each slot of a run, both opaque. Cheap to clone.
///
/// The name of a dead slot is dropped with its bytes, so it is empty.
#[derive(Clone)]
pub struct Label(Arc<Parts>);

struct Parts {
    space: Box<[u8]>,
    names: Box<[Box<[u8]>]>,
    space_hash: u64,
    name_hashes: Box<[u64]>,
}

impl Label {
    /// Takes a space and names.
    #[must_use]
    pub fn new<'a>(space: &[u8], names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let names: Box<[Box<[u8]>]> = names.into_iter().map(Box::from).collect();
        let name_hashes = names.iter().map(|name| xxh3_64(name)).collect();
        let space_hash = xxh3_64(space);
        Self(Arc::new(Parts { space: space.into(), names, space_hash, name_hashes }))
    }

    /// The space: which objects are found together.
    #[must_use]
    #[inline]
    pub fn space(&self) -> &[u8] {
        &self.0.space
    }

    /// The names of the slots, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.names.iter().map(|name| &**name)
    }

    /// The name of a slot; empty for a dead one.
    #[must_use]
    #[inline]
    pub fn name(&self, slot: usize) -> &[u8] {
        self.0.names.get(slot).map_or(&[], |name| name)
    }

    /// How many slots there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.0.names.len()
    }

    /// Whether there is no slot, as in the label of a note.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.names.is_empty()
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
    pub fn byte_count(&self) -> usize {
        self.space().len() + self.names().map(<[u8]>::len).sum::<usize>()
    }

    /// Whether both are one in memory, which says faster than a comparison that they are equal.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many clones there are.
    pub(super) fn clone_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    #[inline]
    pub(super) fn space_hash(&self) -> u64 {
        self.0.space_hash
    }

    /// A hash of a slot's name (XXH3, 64 bits).
    #[inline]
    pub(crate) fn name_hash(&self, slot: usize) -> u64 {
        self.0.name_hashes.get(slot).copied().unwrap_or(0)
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Label {}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.space.cmp(&other.0.space).then_with(|| self.0.names.cmp(&other.0.names))
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
