//! Two stores under the same tests: the one of the crate, and one that keeps nothing but pages of
//! bytes, so that the traits are shown to be enough for documents that do not fit into memory.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Debug;

use sync_core::causal::{
    CausalContext, Delta, Dot, DotRanges, DotStore, Entry, EntryView, MemoryStore, PlaceId,
    PlaceStore, ReplicaId,
};
use sync_core::pack::Reader;

/// What the tests need beyond the traits.
pub(crate) trait Store:
    PlaceStore + DotStore<Error = Infallible> + Clone + Debug + Default + PartialEq
{
    fn context(&self) -> &CausalContext;

    /// Every entry in the order of first dots.
    fn entries(&self) -> Vec<Entry>;

    fn live(&self) -> CausalContext {
        self.state().live()
    }

    /// The whole state as a delta.
    fn state(&self) -> Delta {
        let mut state = Delta { entries: self.entries().into(), ..Delta::default() };
        state.dead = self.context().difference(&state.live());
        state
    }
}

impl Store for MemoryStore {
    fn context(&self) -> &CausalContext {
        self.context()
    }

    fn entries(&self) -> Vec<Entry> {
        self.iter().map(EntryView::to_entry).collect()
    }
}

/// Makes each generic test one of either store.
#[macro_export]
macro_rules! over_both_stores {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name::<sync_core::causal::MemoryStore>(); })*
        }
        mod paged {
            $(#[test] fn $name() { super::$name::<$crate::stores::PagedStore>(); })*
        }
    };
}

/// How many entries a page may have.
const PAGE_ENTRIES: usize = 4;

/// Entries as encoded pages, of which one at a time is decoded.
#[derive(Debug, Clone)]
pub(crate) struct PagedStore {
    context: CausalContext,
    /// Pages by the least dot that may stand in them.
    pages: BTreeMap<Dot, Vec<u8>>,
    places: BTreeMap<(Box<[u8]>, PlaceId), BTreeSet<Dot>>,
    open: BTreeSet<(Box<[u8]>, PlaceId)>,
    decoded: RefCell<Option<(Dot, Vec<Entry>)>>,
    loads: Cell<usize>,
}

impl Default for PagedStore {
    fn default() -> Self {
        let least = Dot::new(ReplicaId::from_bytes([0; 16]), 0);
        Self {
            context: CausalContext::default(),
            pages: BTreeMap::from([(least, Vec::new())]),
            places: BTreeMap::new(),
            open: BTreeSet::new(),
            decoded: RefCell::new(None),
            loads: Cell::new(0),
        }
    }
}

impl PartialEq for PagedStore {
    fn eq(&self, other: &Self) -> bool {
        (&self.context, self.entries()) == (&other.context, other.entries())
    }
}

fn decode(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let mut reader = Reader::new(bytes);
        entries.push(Entry::decode(&mut reader).expect("what was encoded decodes"));
        bytes = &bytes[bytes.len() - reader.rest_len()..];
    }
    entries
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut page = Vec::new();
    entries.iter().for_each(|entry| entry.encode_into(&mut page));
    page
}

impl PagedStore {
    /// How many pages were decoded so far.
    pub(crate) fn loads(&self) -> usize {
        self.loads.get()
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    fn page_of(&self, dot: Dot) -> Dot {
        *self.pages.range(..=dot).next_back().expect("the first page takes every dot").0
    }

    fn with_page<T>(&self, key: Dot, read: impl FnOnce(&[Entry]) -> T) -> T {
        let mut decoded = self.decoded.borrow_mut();
        let entries = match decoded.take().filter(|(known, _)| *known == key) {
            Some((_, entries)) => entries,
            None => {
                self.loads.set(self.loads.get() + 1);
                decode(&self.pages[&key])
            }
        };
        let (_, entries) = decoded.insert((key, entries));
        read(entries)
    }

    fn entry_at(&self, first: Dot) -> Option<Entry> {
        self.with_page(self.page_of(first), |entries| {
            entries.iter().find(|entry| entry.first == first).cloned()
        })
    }

    /// Puts an entry in place of the one with its first dot, or takes that out.
    fn replace(&mut self, first: Dot, entry: Option<Entry>) {
        let key = self.page_of(first);
        let mut entries = self.with_page(key, <[Entry]>::to_vec);
        let at = entries.binary_search_by_key(&first, |entry| entry.first);
        let place = |entry: &Entry| (entry.label.space().into(), entry.id.clone());
        if let Ok(at) = at {
            let place = place(&entries.remove(at));
            let dots = self.places.get_mut(&place).expect("an entry has a place");
            dots.remove(&first);
            if dots.is_empty() {
                self.places.remove(&place);
            }
        }
        if let Some(entry) = entry {
            self.places.entry(place(&entry)).or_default().insert(first);
            let (Ok(at) | Err(at)) = at;
            entries.insert(at, entry);
        }
        *self.decoded.borrow_mut() = None;
        if entries.len() > PAGE_ENTRIES {
            let rest = entries.split_off(PAGE_ENTRIES / 2);
            self.pages.insert(rest[0].first, encode(&rest));
        }
        if entries.is_empty() && self.pages.keys().next() != Some(&key) {
            self.pages.remove(&key);
        } else {
            self.pages.insert(key, encode(&entries));
        }
    }
}

impl Store for PagedStore {
    fn context(&self) -> &CausalContext {
        &self.context
    }

    fn entries(&self) -> Vec<Entry> {
        self.pages.values().flat_map(|page| decode(page)).collect()
    }
}

impl DotStore for PagedStore {
    type Error = Infallible;

    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, Infallible> {
        Ok(self.context.of(replica).map_or_else(Cow::default, Cow::Borrowed))
    }

    fn see(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Infallible> {
        self.context.insert_ranges(replica, ranges);
        Ok(())
    }

    fn unsee(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Infallible> {
        ranges.iter().for_each(|(start, end)| self.context.remove_range(replica, start, end));
        Ok(())
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, Infallible> {
        let (from, to) = (Dot::new(replica, start), Dot::new(replica, end));
        let mut first = self.page_of(from);
        // Runs do not overlap, so only the one before may reach into the range.
        if self.with_page(first, |entries| entries.first().is_none_or(|entry| entry.first > from)) {
            first = self.pages.range(..first).next_back().map_or(first, |(key, _)| *key);
        }
        let keys: Vec<_> = self.pages.range(first..=to).map(|(key, _)| *key).collect();
        let mut found = Vec::new();
        for key in keys {
            self.with_page(key, |entries| {
                let hit = |entry: &&Entry| {
                    entry.replica() == replica
                        && entry.first.counter <= end
                        && entry.last() >= start
                };
                found.extend(entries.iter().filter(hit).cloned());
            });
        }
        Ok(found)
    }

    fn add(&mut self, entry: Entry) -> Result<bool, Infallible> {
        let known = self.overlapping(entry.replica(), entry.first.counter, entry.last())?;
        let Some(merged) = entry.laid_over(known) else { return Ok(false) };
        // The names of dead slots go with their bytes.
        let merged = merged.only(merged.slots.live());
        self.replace(merged.first, Some(merged));
        Ok(true)
    }

    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), Infallible> {
        for mut entry in self.overlapping(replica, start, end)? {
            let Some(taken) = entry.take(start, end) else { continue };
            killed.push(taken);
            let first = entry.first;
            self.replace(first, Some(entry).filter(|entry| entry.slots.live() != 0));
        }
        Ok(())
    }
}

impl PlaceStore for PagedStore {
    fn at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(EntryView<'_>),
    ) -> Result<(), Infallible> {
        let Some(dots) = self.places.get(&(space.into(), PlaceId::new(id))) else { return Ok(()) };
        for first in dots {
            let entry = self.entry_at(*first).expect("a place names entries that are there");
            show(entry.view());
        }
        Ok(())
    }

    fn ids(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<PlaceId>, Infallible> {
        let ids = self.places.keys().filter(|(of, _)| **of == *space).map(|(_, id)| id);
        let ids = ids.filter(|id| after.is_none_or(|after| ***id > *after));
        Ok(ids.take(limit).cloned().collect())
    }

    fn spaces(&self) -> Result<Vec<Box<[u8]>>, Infallible> {
        let spaces: BTreeSet<_> = self.places.keys().map(|(space, _)| space.clone()).collect();
        Ok(spaces.into_iter().collect())
    }

    fn set_open(&mut self, space: &[u8], id: &[u8], is_open: bool) -> Result<(), Infallible> {
        let place = (space.into(), PlaceId::new(id));
        if is_open {
            self.open.insert(place);
        } else {
            self.open.remove(&place);
        }
        Ok(())
    }

    fn is_open(&self, space: &[u8], id: &[u8]) -> Result<bool, Infallible> {
        Ok(self.open.contains(&(space.into(), PlaceId::new(id))))
    }

    fn open(&self) -> Result<Vec<(Box<[u8]>, PlaceId)>, Infallible> {
        Ok(self.open.iter().cloned().collect())
    }
}
