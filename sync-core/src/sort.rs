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
fn small<T>(items: &mut [T], compare: impl FnMut(&T, &T) -> Ordering) {
    heapsort(items.len(), &mut Sorting { items, compare });
}

/// Items by their places, whatever they are: so the steps are compiled once.
#[cfg(any(test, target_arch = "wasm32"))]
trait Places {
    fn is_less(&mut self, one: usize, other: usize) -> bool;
    fn swap(&mut self, one: usize, other: usize);
}

#[cfg(any(test, target_arch = "wasm32"))]
struct Sorting<'a, T, F> {
    items: &'a mut [T],
    compare: F,
}

#[cfg(any(test, target_arch = "wasm32"))]
impl<T, F: FnMut(&T, &T) -> Ordering> Places for Sorting<'_, T, F> {
    fn is_less(&mut self, one: usize, other: usize) -> bool {
        (self.compare)(&self.items[one], &self.items[other]).is_lt()
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.items.swap(one, other);
    }
}

#[cfg(any(test, target_arch = "wasm32"))]
fn heapsort(count: usize, places: &mut dyn Places) {
    let mut heaped = count / 2;
    let mut len = count;
    while len > 1 {
        if heaped > 0 {
            heaped -= 1;
        } else {
            len -= 1;
            places.swap(0, len);
        }
        let mut parent = heaped;
        while 2 * parent + 1 < len {
            let mut child = 2 * parent + 1;
            if child + 1 < len && places.is_less(child, child + 1) {
                child += 1;
            }
            if !places.is_less(parent, child) {
                break;
            }
            places.swap(parent, child);
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
