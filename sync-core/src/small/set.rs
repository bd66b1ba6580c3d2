//! A set as a sorted vector.

use std::borrow::Borrow;

use crate::sort::sort_by;

/// A set in the order of its items. Inserting moves what stands behind, so many are better collected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortedSet<T>(Vec<T>);

impl<T> SortedSet<T> {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The items in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Leaves out what is not wanted.
    pub fn retain(&mut self, is_wanted: impl FnMut(&T) -> bool) {
        self.0.retain(is_wanted);
    }
}

impl<T: Ord> SortedSet<T> {
    fn place<Q: Ord + ?Sized>(&self, item: &Q) -> Result<usize, usize>
    where
        T: Borrow<Q>,
    {
        self.0.binary_search_by(|known| known.borrow().cmp(item))
    }

    /// The item that is equal to another.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, item: &Q) -> Option<&T>
    where
        T: Borrow<Q>,
    {
        self.place(item).ok().map(|at| &self.0[at])
    }

    /// Whether an item is there.
    #[must_use]
    pub fn contains<Q: Ord + ?Sized>(&self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.place(item).is_ok()
    }

    /// Adds an item. Says whether it is new.
    pub fn insert(&mut self, item: T) -> bool {
        let found = self.place(&item);
        if let Err(at) = found {
            self.0.insert(at, item);
        }
        found.is_err()
    }

    /// Takes an item out. Says whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        let found = self.place(item);
        if let Ok(at) = found {
            self.0.remove(at);
        }
        found.is_ok()
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items: Vec<T> = items.into_iter().collect();
        sort_by(&mut items, T::cmp);
        items.dedup();
        Self(items)
    }
}

impl<T: Ord> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.insert(item);
        }
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::SortedSet;
    use proptest::prelude::*;
    use std::collections;

    proptest! {
        #[test]
        fn agrees_with_the_set_of_the_standard_library(
            first in proptest::collection::vec(0u8..24, 0..30),
            steps in proptest::collection::vec((0u8..24, 0u8..3), 0..60),
        ) {
            let mut set: SortedSet<u8> = first.iter().copied().collect();
            let mut model: collections::BTreeSet<u8> = first.iter().copied().collect();
            for (item, action) in steps {
                match action {
                    0 => prop_assert_eq!(set.insert(item), model.insert(item)),
                    1 => prop_assert_eq!(set.remove(&item), model.remove(&item)),
                    _ => prop_assert_eq!(set.get(&item), model.get(&item)),
                }
                prop_assert_eq!(set.contains(&item), model.contains(&item));
            }
            set.extend(first.iter().copied());
            model.extend(first);
            set.retain(|item| item % 3 > 0);
            model.retain(|item| item % 3 > 0);
            prop_assert!(set.iter().eq(&model));
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(set.into_iter().eq(model));
        }
    }
}
