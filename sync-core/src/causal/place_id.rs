//! Which object of a space an entry belongs to.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

/// The most bytes of an id. Arbitrary.
pub const PLACE_ID_BYTES_MAX: usize = 160;

/// What fits beside the length without an allocation.
const INLINE_BYTES: usize = 22;

/// Opaque bytes that name an object within its space. Up to 22 bytes, such as a UUID, take no
/// allocation.
#[derive(Clone)]
pub struct PlaceId(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Box<[u8]>),
}

impl PlaceId {
    /// Takes the bytes.
    #[must_use]
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_BYTES {
            return Self(Repr::Heap(bytes.into()));
        }
        let mut inline = [0; INLINE_BYTES];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self(Repr::Inline { len: bytes.len() as u8, bytes: inline })
    }

    /// Whether it has these bytes.
    #[inline]
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        // Most are UUIDs.
        match bytes.as_chunks::<16>() {
            ([bytes], []) if crate::small::HAS_SHORTCUTS => {
                self.len() == 16 && self.first_chunk() == Some(bytes)
            }
            _ => **self == *bytes,
        }
    }

    /// How it stands to these bytes.
    #[inline]
    pub(super) fn compare(&self, bytes: &[u8]) -> Ordering {
        if self.is(bytes) { Ordering::Equal } else { (**self).cmp(bytes) }
    }
}

impl Default for PlaceId {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Deref for PlaceId {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for PlaceId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // What is behind the length is zero in both.
            (Repr::Inline { len: a, bytes: own }, Repr::Inline { len: b, bytes: others }) => {
                a == b && own == others
            }
            _ => **self == **other,
        }
    }
}

impl Eq for PlaceId {}

impl Ord for PlaceId {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for PlaceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_length_keep_their_bytes_and_their_order() {
        assert_eq!(size_of::<PlaceId>(), 24);
        let ids: Vec<_> = (0..60).map(|len| vec![7; len]).collect();
        for (bytes, next) in ids.iter().zip(&ids[1..]) {
            assert_eq!(&*PlaceId::new(bytes), &bytes[..]);
            assert!(PlaceId::new(bytes) < PlaceId::new(next));
        }
    }

    #[test]
    fn an_id_is_what_all_of_its_bytes_are() {
        let ids: Vec<_> = (0..40).flat_map(|len| [vec![7; len], vec![8; len]]).collect();
        for (at, bytes) in ids.iter().enumerate() {
            for (other_at, other) in ids.iter().enumerate() {
                let (id, other_id) = (PlaceId::new(bytes), PlaceId::new(other));
                let is_it = at == other_at || (at < 2 && other_at < 2);
                assert_eq!((id.is(other), id == other_id), (is_it, is_it), "{bytes:?} {other:?}");
                assert_eq!(id.compare(other), bytes.cmp(other));
            }
        }
        assert_eq!(format!("{:?}", PlaceId::new(&[0, 0x1f, 0xff])), "001fff");
    }
}
