//! Numbers for what deltas name again and again: replicas and labels.

use crate::causal::{Label, ReplicaId};

/// Replicas and labels that both sides of a conversation have numbered, from 0 in the order in which
/// they were added. An empty one makes deltas that stand for themselves.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    replicas: Table<ReplicaId>,
    labels: Table<Label>,
}

#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    items: Vec<T>,
    /// The numbers of the items in the order of these.
    order: Vec<u32>,
}

/// Up to how many items are looked at one by one. Arbitrary.
const FEW: usize = 16;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Table<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), order: Vec::new() }
    }
}

impl<T: Ord> Table<T> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub(super) fn number(&self, item: &T) -> Option<usize> {
        if self.items.len() <= FEW {
            return self.items.iter().position(|known| known == item);
        }
        self.place(item).ok().map(|at| self.order[at] as usize)
    }

    fn place(&self, item: &T) -> Result<usize, usize> {
        self.order.binary_search_by(|number| self.items[*number as usize].cmp(item))
    }

    #[inline]
    pub(super) fn item(&self, number: usize) -> Option<&T> {
        self.items.get(number)
    }

    fn add(&mut self, item: T) {
        if self.number(&item).is_none()
            && let Err(at) = self.place(&item)
        {
            self.order.insert(at, self.items.len() as u32);
            self.items.push(item);
        }
    }
}

impl Dictionary {
    /// One that numbers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { replicas: Table::new(), labels: Table::new() }
    }

    /// Numbers a replica, if it has no number.
    pub fn add_replica(&mut self, replica: ReplicaId) {
        self.replicas.add(replica);
    }

    /// Numbers a label, if it has no number.
    pub fn add_label(&mut self, label: Label) {
        self.labels.add(label);
    }

    /// The replicas in the order of their numbers.
    #[must_use]
    pub fn replicas(&self) -> &[ReplicaId] {
        &self.replicas.items
    }

    /// The labels in the order of their numbers.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels.items
    }

    pub(super) fn replica_table(&self) -> &Table<ReplicaId> {
        &self.replicas
    }

    pub(super) fn label_table(&self) -> &Table<Label> {
        &self.labels
    }
}
