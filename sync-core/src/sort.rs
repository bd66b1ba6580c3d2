//! Sorting. Equal items come in any order, so an order is to tell apart what differs.
//!
//! Native builds use the sort of the standard library. It is several kilobytes for each type of item, so
//! the module for browsers has a heapsort (Williams, 1964): as many steps in the worst case, some hundred
//! bytes.

use std::cmp::Ordering;

/// Sorts items.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl FnMut(&T, &T) -> Ordering) {
    items.sort_unstable_by(compare);
}

/// Sorts items.
#[cfg(target_arch = "wasm32")]
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl FnMut(&T, &T) -> Ordering) {
    small(items, compare);
}

#[cfg(any(test, target_arch = "wasm32"))]
fn small<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let mut heaped = items.len() / 2;
    let mut len = items.len();
    while len > 1 {
        if heaped > 0 {
            heaped -= 1;
        } else {
            len -= 1;
            items.swap(0, len);
        }
        let mut parent = heaped;
        while 2 * parent + 1 < len {
            let mut child = 2 * parent + 1;
            if child + 1 < len && compare(&items[child], &items[child + 1]).is_lt() {
                child += 1;
            }
            if compare(&items[parent], &items[child]).is_ge() {
                break;
            }
            items.swap(parent, child);
            parent = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::small;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_agree(mut items in proptest::collection::vec(0_u8..40, 0..200)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            small(&mut items, u8::cmp);
            prop_assert_eq!(items, expected);
        }
    }
}
