//! A map as a sorted vector.

use std::borrow::Borrow;

use crate::sort::sort_by;

/// A map in the order of its keys. Inserting moves what stands behind, so many are better collected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortedMap<K, V>(Vec<(K, V)>);

impl<K, V> SortedMap<K, V> {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys and their values, in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.0.iter())
    }

    /// The keys and their values, which may be changed, in order.
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut(self.0.iter_mut())
    }

    /// Takes all keys out.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(known, _)| known.borrow().cmp(key))
    }

    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// The value of a key, which may be changed.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Takes a key out, and gives its value.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Whether there is this key.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Puts a value in place of the one that the key has, which it gives.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// The value of a key, to be put there where there is none.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        Entry(self, key)
    }
}

/// The place of a key in a map.
#[derive(Debug)]
pub struct Entry<'a, K, V>(&'a mut SortedMap<K, V>, K);

impl<'a, K: Ord, V> Entry<'a, K, V> {
    /// The value, this one where there was none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value, the default one where there was none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// The value, what this gives where there was none.
    pub fn or_insert_with(self, value: impl FnOnce() -> V) -> &'a mut V {
        let Self(map, key) = self;
        let at = map.place(&key).unwrap_or_else(|at| {
            map.0.insert(at, (key, value()));
            at
        });
        &mut map.0[at].1
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    /// Of items with one key any one is taken.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        sort_by(&mut items, |(one, _), (other, _)| one.cmp(other));
        items.dedup_by(|(one, _), (other, _)| one == other);
        Self(items)
    }
}

/// The keys of a map and their values, in order.
#[derive(Debug)]
pub struct Iter<'a, K, V>(std::slice::Iter<'a, (K, V)>);

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, value))
    }
}

/// The keys of a map and their values, which may be changed, in order.
#[derive(Debug)]
pub struct IterMut<'a, K, V>(std::slice::IterMut<'a, (K, V)>);

impl<'a, K, V> Iterator for IterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (&*key, value))
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut SortedMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::SortedMap;
    use proptest::prelude::*;
    use std::collections;

    proptest! {
        #[test]
        fn agrees_with_the_map_of_the_standard_library(
            steps in proptest::collection::vec((0u8..24, 0u8..4, any::<u8>()), 0..60),
        ) {
            let (mut map, mut model) = (SortedMap::new(), collections::BTreeMap::new());
            for (key, action, value) in steps {
                match action {
                    0 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    1 => {
                        let one = *map.entry(key).or_insert(value);
                        prop_assert_eq!(one, *model.entry(key).or_insert(value));
                    }
                    2 if value % 2 == 0 => {
                        prop_assert_eq!(map.remove(&key), model.remove(&key));
                        prop_assert_eq!(map.get_mut(&key), None);
                    }
                    2 => *map.entry(key).or_default() = value / 2,
                    _ => prop_assert_eq!(map.get(&key), model.get(&key)),
                }
                if action == 2 && value % 2 == 1 {
                    *model.entry(key).or_default() = value / 2;
                }
                prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
            }
            for ((_, own), (_, other)) in (&mut map).into_iter().zip(&mut model) {
                (*own, *other) = (own.wrapping_add(1), other.wrapping_add(1));
            }
            prop_assert!(map.iter().eq(&model));
            prop_assert!(map.keys().eq(model.keys()) && map.values().eq(model.values()));
            prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            let collected: SortedMap<_, _> = model.iter().rev().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(&collected, &map);
            let mut emptied = map.clone();
            emptied.clear();
            prop_assert!(emptied.is_empty());
            prop_assert!(map.into_iter().eq(model));
        }
    }
}
