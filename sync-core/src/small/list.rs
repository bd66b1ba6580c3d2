//! A vector in place of a list that keeps a few items in place.

use std::ops::{Deref, DerefMut};

/// A vector. An array says what it holds, and how many items stand in place elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SmallVec<A: Array>(Vec<A::Item>);

/// An array.
pub trait Array {
    /// What it holds.
    type Item;
}

impl<T, const N: usize> Array for [T; N] {
    type Item = T;
}

impl<A: Array> SmallVec<A> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
}

impl<T, const N: usize> SmallVec<[T; N]> {
    pub(crate) fn from_vec(items: Vec<T>) -> Self {
        Self(items)
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T: Copy, const N: usize> SmallVec<[T; N]> {
    pub(crate) fn from_slice(items: &[T]) -> Self {
        Self(items.to_vec())
    }

    pub(crate) fn from_buf(items: [T; N]) -> Self {
        Self(items.to_vec())
    }

    pub(crate) fn from_buf_and_len(items: [T; N], len: usize) -> Self {
        Self(items[..len].to_vec())
    }
}

impl<T, const N: usize> From<[T; N]> for SmallVec<[T; N]> {
    fn from(items: [T; N]) -> Self {
        Self(items.into())
    }
}

impl<A: Array> Default for SmallVec<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Array> Deref for SmallVec<A> {
    type Target = Vec<A::Item>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<A: Array> DerefMut for SmallVec<A> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<A: Array> FromIterator<A::Item> for SmallVec<A> {
    fn from_iter<I: IntoIterator<Item = A::Item>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<A: Array> Extend<A::Item> for SmallVec<A> {
    fn extend<I: IntoIterator<Item = A::Item>>(&mut self, items: I) {
        self.0.extend(items);
    }
}

impl<A: Array> IntoIterator for SmallVec<A> {
    type Item = A::Item;
    type IntoIter = std::vec::IntoIter<A::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, A: Array> IntoIterator for &'a SmallVec<A> {
    type Item = &'a A::Item;
    type IntoIter = std::slice::Iter<'a, A::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, A: Array> IntoIterator for &'a mut SmallVec<A> {
    type Item = &'a mut A::Item;
    type IntoIter = std::slice::IterMut<'a, A::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::SmallVec;

    #[test]
    fn a_list_is_made_and_read_as_one_that_is_kept_in_place() {
        let mut list: SmallVec<[u8; 2]> = SmallVec::from_slice(&[3, 1]);
        assert_eq!(list, SmallVec::from_buf([3, 1]));
        assert_eq!(list, SmallVec::from([3, 1]));
        list.extend([2, 4]);
        list.iter_mut().for_each(|item| *item += 1);
        assert_eq!(list[..], [4, 2, 3, 5]);
        assert_eq!((&list).into_iter().max(), Some(&5));
        assert_eq!(list.into_iter().collect::<SmallVec<[u8; 1]>>().len(), 4);
        let first: SmallVec<[u8; 3]> = SmallVec::from_buf_and_len([7, 8, 9], 2);
        assert_eq!(first[..], [7, 8]);
        let empty = SmallVec::<[u8; 3]>::with_capacity(2);
        let list = SmallVec::<[u8; 1]>::from_vec(vec![5, 6]);
        assert_eq!(list.into_vec(), [5, 6]);
        assert_eq!((&empty, empty.capacity()), (&SmallVec::default(), 2));
    }
}
