//! Rows in pages: they keep their numbers, and numbers of removed rows are used again.

use crate::causal::fingerprints::RunSum;
use crate::causal::{Label, PlaceId, Slots};
use crate::time::Stamp;

/// How many rows a page has.
const PAGE_ROWS: usize = 128;

/// An entry as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: PlaceId,
    pub(super) stamp: Stamp,
    pub(super) counter: u64,
    pub(super) label: Label,
    pub(super) slots: Slots,
    /// What the live dots sum up to.
    pub(super) sum: RunSum,
    /// The number of the replica.
    pub(super) writer: u32,
    /// The next row of the same object, round in a ring.
    pub(super) next: u32,
}

impl Row {
    #[inline]
    pub(super) fn last(&self) -> u64 {
        self.counter + (self.slots.len() as u64).saturating_sub(1)
    }
}

/// Rows in a piece of memory that never moves.
type Page = Box<[Option<Row>; PAGE_ROWS]>;

/// Rows by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pages: Vec<Page>,
    /// How many numbers were given, in the order of the pages.
    given: usize,
    free: Vec<u32>,
    count: usize,
}

impl Rows {
    /// Above every number in use.
    pub(super) fn number_count(&self) -> usize {
        self.pages.len() * PAGE_ROWS
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn of(&self, number: u32) -> &Row {
        let (page, at) = (number as usize / PAGE_ROWS, number as usize % PAGE_ROWS);
        self.pages[page][at].as_ref().expect("the indexes name rows that are there")
    }

    /// The row of a number, if there is one.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Row> {
        self.pages.get(number as usize / PAGE_ROWS)?[number as usize % PAGE_ROWS].as_ref()
    }

    /// The rows of an object, beginning with this one.
    #[inline]
    pub(super) fn ring(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let next = move |row: &u32| Some(self.of(*row).next).filter(|next| *next != first);
        std::iter::successors(Some(first), next)
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn of_mut(&mut self, number: u32) -> &mut Row {
        let (page, at) = (number as usize / PAGE_ROWS, number as usize % PAGE_ROWS);
        self.pages[page][at].as_mut().expect("the indexes name rows that are there")
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    #[cfg_attr(target_arch = "wasm32", inline)]
    pub(super) fn add(&mut self, row: Row) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| self.fresh());
        self.count += 1;
        self.pages[number as usize / PAGE_ROWS][number as usize % PAGE_ROWS] = Some(row);
        number
    }

    /// A number that was never given.
    #[cfg_attr(not(target_arch = "wasm32"), inline(never))]
    #[cfg_attr(target_arch = "wasm32", inline)]
    fn fresh(&mut self) -> u32 {
        if self.given == self.pages.len() * PAGE_ROWS {
            let page: Box<[_]> = std::iter::repeat_with(|| None).take(PAGE_ROWS).collect();
            self.pages.extend(Page::try_from(page));
        }
        self.given += 1;
        (self.given - 1) as u32
    }

    /// Adds the first row of an object.
    pub(super) fn add_ring(&mut self, row: Row) -> u32 {
        let number = self.add(row);
        self.of_mut(number).next = number;
        number
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn remove(&mut self, number: u32) -> Row {
        let (page, at) = (number as usize / PAGE_ROWS, number as usize % PAGE_ROWS);
        let row = self.pages[page][at].take();
        self.count -= 1;
        if self.count == 0 {
            *self = Self::default();
        } else {
            if self.free.len() == self.free.capacity() {
                self.free.reserve_exact(self.free.len().max(PAGE_ROWS));
            }
            self.free.push(number);
        }
        row.expect("the indexes name rows that are there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(counter: u64) -> Row {
        Row {
            id: PlaceId::default(),
            stamp: Stamp::default(),
            counter,
            label: Label::new(b"space", [&b"name"[..]]),
            slots: Slots::new([Some(&b"value"[..])].into_iter()),
            sum: RunSum::default(),
            writer: 0,
            next: 0,
        }
    }

    #[test]
    fn rows_are_found_by_their_numbers_in_every_page() {
        let count = (PAGE_ROWS * PAGE_ROWS + 3 * PAGE_ROWS) as u32;
        let mut rows = Rows::default();
        for number in 0..count {
            assert_eq!(rows.add_ring(row(number.into())), number);
        }
        let counter = |rows: &Rows, number| rows.get(number).map(|row| row.counter);
        for number in 0..count {
            assert_eq!(counter(&rows, number), Some(number.into()));
            assert_eq!(rows.of(number).counter, u64::from(number));
        }
        assert_eq!(counter(&rows, count), None);
        // What comes takes the place of what went.
        assert_eq!((rows.remove(1).counter, rows.remove(count - 1).counter), (1, count as u64 - 1));
        assert_eq!([1, 2, count - 1].map(|number| counter(&rows, number)), [None, Some(2), None]);
        assert_eq!([rows.add(row(7)), rows.add(row(8))], [count - 1, 1]);
        assert_eq!((counter(&rows, 1), rows.count()), (Some(8), count as usize));
    }
}
