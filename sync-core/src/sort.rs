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

/// Sorts items by a number of each.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn sorted_by_number<T: Copy>(items: Vec<T>, number: impl Fn(&T) -> u64) -> Vec<T> {
    strewn(items, number)
}

/// Sorts items by a number of each.
#[cfg(target_arch = "wasm32")]
pub(crate) fn sorted_by_number<T: Copy>(mut items: Vec<T>, number: impl Fn(&T) -> u64) -> Vec<T> {
    sort_by(&mut items, |a, b| number(a).cmp(&number(b)));
    items
}

/// A bucket sort: one bucket for each item, by the highest bits in which the numbers differ, and what fell
/// into one bucket sorted as ever. So random numbers take a time that only grows with how many they are.
#[cfg(any(test, not(target_arch = "wasm32")))]
fn strewn<T: Copy>(items: Vec<T>, number: impl Fn(&T) -> u64) -> Vec<T> {
    let (low, high) = items
        .iter()
        .map(&number)
        .fold((u64::MAX, 0), |(low, high), number| (low.min(number), high.max(number)));
    let Some(first) = items.first().filter(|_| low < high) else { return items };
    let bits = items.len().ilog2();
    let shift = (u64::BITS - (high - low).leading_zeros()).saturating_sub(bits);
    let bucket = |item: &T| ((number(item) - low) >> shift) as usize;
    // For each bucket where its next item goes; behind them where the last one ends.
    let mut places = vec![0; (1 << bits) + 1];
    items.iter().for_each(|item| places[bucket(item) + 1] += 1);
    places.iter_mut().fold(0, |before, count| {
        *count += before;
        *count
    });
    let mut sorted = vec![*first; items.len()];
    for item in &items {
        let place = &mut places[bucket(item)];
        sorted[*place] = *item;
        *place += 1;
    }
    let mut start = 0;
    for end in places {
        if end - start > 1 {
            sorted[start..end].sort_unstable_by_key(&number);
        }
        start = end;
    }
    sorted
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
    use super::{small, strewn};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_agree(mut items in proptest::collection::vec(0_u8..40, 0..200)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            small(&mut items, u8::cmp);
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn items_come_in_the_order_of_their_numbers(
            mut numbers in proptest::collection::vec(any::<u64>(), 0..200),
            mask: u64,
            same: u64,
        ) {
            // In some bits all are one, as ids that tell a time are.
            numbers.iter_mut().for_each(|number| *number = *number & mask | same & !mask);
            let items: Vec<_> = numbers.iter().copied().zip(0..).collect();
            let mut sorted = strewn(items.clone(), |(number, _): &(u64, u32)| *number);
            prop_assert!(sorted.is_sorted_by_key(|(number, _)| *number));
            sorted.sort_unstable_by_key(|(_, at)| *at);
            prop_assert_eq!(sorted, items);
        }
    }
}
