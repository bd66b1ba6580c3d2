//! Lists, maps and sets that mostly hold a few items.
//!
//! Native builds keep the few items of a list in place, and have the trees of the standard library. What
//! these take is compiled anew for each type of item, several kilobytes of it, so the module for browsers
//! has vectors of the same names, which do the same.

mod few;
#[cfg(any(test, target_arch = "wasm32"))]
mod list;
mod map;
#[cfg(any(test, target_arch = "wasm32"))]
mod set;

pub use few::Few;
pub(crate) use map::SortedMap;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use smallvec::SmallVec;
#[cfg(not(target_arch = "wasm32"))]
pub use std::collections::{BTreeMap, BTreeSet};

#[cfg(target_arch = "wasm32")]
pub(crate) use list::SmallVec;
#[cfg(target_arch = "wasm32")]
pub use {map::SortedMap as BTreeMap, set::SortedSet as BTreeSet};

/// Whether the most common cases are done in fewer steps than by the general way. Each such way is code
/// beside that one, and the module for browsers is smaller without.
pub(crate) const HAS_SHORTCUTS: bool = cfg!(not(target_arch = "wasm32"));

/// Whether some bytes are others. Most names are short: a call to compare them takes longer than their bytes.
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub(crate) fn are_same(bytes: &[u8], others: &[u8]) -> bool {
    if !HAS_SHORTCUTS || bytes.len() != others.len() || bytes.len() > 16 {
        return bytes == others;
    }
    // What stands in both parts of a name is compared twice.
    if let (Some(a), Some(b)) = (bytes.first_chunk::<8>(), others.first_chunk()) {
        a == b && bytes.last_chunk::<8>() == others.last_chunk()
    } else if let (Some(a), Some(b)) = (bytes.first_chunk::<4>(), others.first_chunk()) {
        a == b && bytes.last_chunk::<4>() == others.last_chunk()
    } else {
        bytes.iter().eq(others)
    }
}

#[cfg(test)]
mod tests {
    use super::are_same;

    #[test]
    fn bytes_are_the_same_if_each_of_them_is() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).collect();
            assert!(are_same(&bytes, &bytes.clone()));
            assert!(!are_same(&bytes, &(0..len + 1).collect::<Vec<u8>>()));
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert!(!are_same(&bytes, &other) && !are_same(&other, &bytes), "{at} of {len}");
            }
        }
    }
}
