//! A hub's storage in memory, for tests and simulations. It forgets everything when dropped.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;

use super::hub_store::{Boot, Buried, DocumentId, HubStore, Page};
use crate::causal::{
    CausalContext, Dot, DotRanges, DotStore, Entry, MemoryStore, Note, ReplicaId, Sum, Total,
};
use crate::reconcile::Summary;
use crate::types::opening::openings;
use crate::types::{MARKS_MAX, Opening};
use crate::wire::Cursor;

/// A hub's storage in memory.
#[derive(Debug, Clone)]
pub struct MemoryHub {
    boot: Boot,
    /// For each boot the number at which the next one began; none for the running one.
    ends: BTreeMap<u64, Option<u64>>,
    seq: u64,
    names: BTreeMap<String, DocumentId>,
    documents: BTreeMap<DocumentId, Kept>,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    store: MemoryStore,
    arrived: BTreeMap<Dot, u64>,
    order: BTreeSet<(u64, Dot)>,
    buried: Vec<(u64, CausalContext, Vec<Note>)>,
    /// Removals up to this number were forgotten.
    horizon: u64,
}

/// One document of a [`MemoryHub`], at a sequence number.
#[derive(Debug)]
pub struct MemoryDocument<'a> {
    kept: &'a mut Kept,
    seq: u64,
}

impl MemoryHub {
    /// An empty hub.
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        let ends = BTreeMap::from([(boot.boot, None)]);
        Self { boot, ends, seq: 0, names: BTreeMap::new(), documents: BTreeMap::new() }
    }

    /// Starts the hub again on what it has.
    pub fn restart(&mut self, boot: u64) {
        self.ends.insert(self.boot.boot, Some(self.seq));
        self.boot.boot = boot;
        self.ends.insert(boot, None);
    }

    /// Forgets the removals up to a number, as an operator's limit does.
    pub fn forget_removals(&mut self, up_to: u64) {
        for kept in self.documents.values_mut() {
            kept.horizon = kept.horizon.max(up_to);
            kept.buried.retain(|(seq, _, _)| *seq > up_to);
        }
    }

    /// The state of a document, for comparison.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<&MemoryStore> {
        Some(&self.documents.get(self.names.get(name)?)?.store)
    }

    /// What is said of the removals in a document that were not forgotten.
    pub fn notes(&self, name: &str) -> impl Iterator<Item = &Note> {
        let kept = self.names.get(name).and_then(|document| self.documents.get(document));
        let buried = kept.into_iter().flat_map(|kept| &kept.buried);
        buried.flat_map(|(_, _, notes)| notes)
    }

    fn kept(&self, document: DocumentId) -> &Kept {
        self.documents.get(&document).expect("document ids come from `open`")
    }
}

impl HubStore for MemoryHub {
    type Error = Infallible;
    type Document<'a> = MemoryDocument<'a>;

    fn boot(&self) -> Boot {
        self.boot
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn can_resume(&self, document: DocumentId, cursor: Cursor) -> Result<bool, Infallible> {
        let end = match self.ends.get(&cursor.boot) {
            Some(Some(end)) => *end,
            Some(None) => self.seq,
            None if broken!(AnyBoot) => self.seq,
            None => return Ok(false),
        };
        let is_after = cursor.seq >= self.kept(document).horizon || broken!(NoHorizon);
        Ok(cursor.seq <= end && is_after)
    }

    fn open(&mut self, name: &str) -> Result<DocumentId, Infallible> {
        let next = self.names.len() as DocumentId + 1;
        let document = *self.names.entry(name.to_owned()).or_insert(next);
        self.documents.entry(document).or_default();
        Ok(document)
    }

    fn context(&self, document: DocumentId) -> Result<CausalContext, Infallible> {
        Ok(self.kept(document).store.context().clone())
    }

    fn live(&self, document: DocumentId) -> Result<CausalContext, Infallible> {
        Ok(self.kept(document).store.live())
    }

    fn openings(
        &self,
        document: DocumentId,
        replica: ReplicaId,
    ) -> Result<Vec<Opening>, Infallible> {
        let mut openings = openings(&self.kept(document).store, replica)?;
        Ok(openings.split_off(openings.len().saturating_sub(MARKS_MAX)))
    }

    fn document(&mut self, document: DocumentId, seq: u64) -> MemoryDocument<'_> {
        let kept = self.documents.get_mut(&document).expect("document ids come from `open`");
        MemoryDocument { kept, seq }
    }

    fn record(&mut self, document: DocumentId, seq: u64, buried: Buried) -> Result<(), Infallible> {
        self.seq = self.seq.max(seq);
        let kept = self.documents.get_mut(&document).expect("document ids come from `open`");
        kept.buried.push((seq, buried.dots, buried.notes));
        Ok(())
    }

    fn bytes(&self, document: DocumentId) -> Result<u64, Infallible> {
        let store = &self.kept(document).store;
        Ok(store.iter().map(|entry| Page::cost(&entry.to_entry()) as u64).sum())
    }

    fn arrived(
        &self,
        document: DocumentId,
        seq: u64,
        after: Option<(u64, Dot)>,
        bytes: usize,
    ) -> Result<Page, Infallible> {
        let kept = self.kept(document);
        let zero = Dot::new(ReplicaId::from_bytes([0; 16]), 0);
        let from = after.map_or(Bound::Included((seq + 1, zero)), Bound::Excluded);
        let rest = kept.order.range((from, Bound::Unbounded));
        let entries =
            rest.filter_map(|(seq, dot)| Some((*seq, kept.store.entry_of(*dot)?.to_entry())));
        Ok(page(entries, bytes))
    }

    fn entries(
        &self,
        document: DocumentId,
        after: Option<Dot>,
        bytes: usize,
    ) -> Result<Page, Infallible> {
        let kept = self.kept(document);
        let rest = kept.store.iter_after(after);
        Ok(page(rest.map(|entry| (kept.arrived[&entry.first], entry.to_entry())), bytes))
    }

    fn buried(
        &self,
        document: DocumentId,
        seq: u64,
        known: &CausalContext,
    ) -> Result<Buried, Infallible> {
        let mut buried = Buried::default();
        for (_, dots, notes) in self.kept(document).buried.iter().filter(|(at, _, _)| *at > seq) {
            buried.add(Buried { dots: dots.clone(), notes: notes.clone() }, known);
        }
        Ok(buried)
    }

    fn overlapping(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        bytes: usize,
    ) -> Result<Page, Infallible> {
        let kept = self.kept(document);
        let entries = kept.store.overlapping(replica, start, end)?.into_iter();
        Ok(page(entries.map(|entry| (kept.arrived[&entry.first], entry)), bytes))
    }

    fn total(&self, document: DocumentId) -> Result<Total, Infallible> {
        self.kept(document).store.total()
    }

    fn sum(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Sum, Infallible> {
        self.kept(document).store.range(replica, start, end)
    }

    fn items(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Infallible> {
        self.kept(document).store.items(replica, start, end, limit)
    }
}

/// Takes entries until there are enough bytes.
fn page(mut entries: impl Iterator<Item = (u64, Entry)>, bytes: usize) -> Page {
    let mut page = Page::default();
    let mut sum = 0;
    while sum < bytes {
        let Some((seq, entry)) = entries.next() else {
            page.is_last = true;
            break;
        };
        sum += Page::cost(&entry);
        page.entries.push((seq, entry));
    }
    page
}

impl Kept {
    /// Notes when the entry that starts at a dot arrived; none for one that is gone.
    fn set_arrival(&mut self, first: Dot, seq: Option<u64>) {
        let before = match seq {
            Some(seq) => self.arrived.insert(first, seq),
            None => self.arrived.remove(&first),
        };
        if let Some(before) = before {
            self.order.remove(&(before, first));
        }
        self.order.extend(seq.map(|seq| (seq, first)));
    }
}

impl DotStore for MemoryDocument<'_> {
    type Error = Infallible;

    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, Infallible> {
        self.kept.store.seen(replica)
    }

    fn see(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Infallible> {
        self.kept.store.see(replica, ranges)
    }

    fn unsee(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Infallible> {
        self.kept.store.unsee(replica, ranges)
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, Infallible> {
        self.kept.store.overlapping(replica, start, end)
    }

    fn add(&mut self, entry: Entry) -> Result<bool, Infallible> {
        let first = entry.first;
        let is_added = self.kept.store.add(entry)?;
        if is_added {
            self.kept.set_arrival(first, Some(self.seq));
        }
        Ok(is_added)
    }

    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), Infallible> {
        let known = killed.len();
        self.kept.store.kill(replica, start, end, killed)?;
        for killed in &killed[known..] {
            if self.kept.store.entry_of(killed.first).is_none() {
                self.kept.set_arrival(killed.first, None);
            }
        }
        Ok(())
    }
}
