//! The reference model: for each dot what it stands for, and for each change what it brings and what
//! it takes the place of. A dot is alive while no change that saw it has taken its place: add wins.
//!
//! It knows nothing of joins, contexts, cursors, outboxes or hubs. What a change takes the place of is
//! what its author had seen; where a change is kept is told by the disks of the simulation.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{Dot, ReplicaId};

use crate::invariant::{Invariant, Violation};
use crate::kernel::{Accepted, Brought};

/// Numbers a change within a run.
pub(crate) type ChangeId = usize;

/// A change that was accepted on a device.
#[derive(Debug)]
pub(crate) struct Change {
    /// The document's number.
    pub(crate) document: usize,
    pub(crate) replica: ReplicaId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) live: Vec<Brought>,
    pub(crate) removed: Vec<String>,
    pub(crate) kills: Vec<Dot>,
    /// Whether its bytes ever left the device.
    pub(crate) was_sent: bool,
    /// Whether a hub ever had it whole.
    pub(crate) was_stored: bool,
    /// Whether it was gone before anybody else could know of it.
    pub(crate) is_void: bool,
}

/// Which change brought a dot.
#[derive(Debug, Clone, Copy)]
struct Known {
    change: ChangeId,
    /// The hash of its bytes; none for a dot that was dead when it was written.
    content: Option<u64>,
}

/// What is known of one document.
#[derive(Debug, Default)]
struct Dots {
    by_dot: BTreeMap<Dot, Known>,
    by_replica: BTreeMap<ReplicaId, Vec<ChangeId>>,
    /// The first dot of each replica that two devices wrote, each another change.
    contested: BTreeMap<ReplicaId, u64>,
}

/// All changes of a run.
#[derive(Debug, Default)]
pub(crate) struct Model {
    changes: Vec<Change>,
    documents: Vec<Dots>,
}

impl Model {
    pub(crate) fn new(documents: usize) -> Self {
        let documents = (0..documents).map(|_| Dots::default()).collect();
        Self { changes: Vec::new(), documents }
    }

    /// Takes a change that a device accepted. `is_copied` says whether its disk was ever copied or
    /// put back: only then two devices may write one dot.
    pub(crate) fn accept(
        &mut self,
        document: usize,
        accepted: Accepted,
        is_copied: bool,
    ) -> Result<(ChangeId, bool), Violation> {
        let id = self.changes.len();
        let Accepted { replica, first, last, live, removed, kills, .. } = accepted;
        let dots = &mut self.documents[document];
        let mut is_contested = false;
        for counter in first..=last {
            let dot = Dot::new(replica, counter);
            let brought = live.iter().find(|brought| brought.counter == counter);
            let known = Known { change: id, content: brought.map(|brought| brought.content) };
            match dots.by_dot.get(&dot) {
                None => {
                    dots.by_dot.insert(dot, known);
                }
                Some(_) if is_copied => {
                    is_contested = true;
                    let start = dots.contested.entry(replica).or_insert(counter);
                    *start = counter.min(*start);
                }
                Some(_) => {
                    let detail =
                        format!("{dot} was written twice by a device that was never copied");
                    return Err(Violation { invariant: Invariant::OneContentPerDot, detail });
                }
            }
        }
        dots.by_replica.entry(replica).or_default().push(id);
        let change = Change {
            document,
            replica,
            first,
            last,
            live,
            removed,
            kills,
            was_sent: false,
            was_stored: false,
            is_void: false,
        };
        self.check_places(&change)?;
        self.changes.push(change);
        Ok((id, is_contested))
    }

    /// A change takes the place only of dots of the places that it names.
    fn check_places(&self, change: &Change) -> Result<(), Violation> {
        let own = change.live.iter().map(|brought| &brought.place).chain(&change.removed);
        let own: BTreeSet<&String> = own.collect();
        for dot in &change.kills {
            if self.is_contested(change.document, dot.replica, dot.counter) {
                continue;
            }
            let brought = self.brought(change.document, *dot);
            // A change that only takes members out of a set leaves no name.
            let named = brought.filter(|brought| !brought.is_member);
            if let Some(Brought { place, .. }) =
                named.filter(|brought| !own.contains(&brought.place))
            {
                let detail = format!("{dot} of {place} was taken by a change of {own:?}");
                return Err(Violation { invariant: Invariant::OnlyItsOwnPlace, detail });
            }
        }
        Ok(())
    }

    /// A change that no disk has and nobody was told of never was.
    pub(crate) fn forget(&mut self, id: ChangeId) {
        let change = &mut self.changes[id];
        change.is_void = true;
        let dots = &mut self.documents[change.document].by_dot;
        for counter in change.first..=change.last {
            let dot = Dot::new(change.replica, counter);
            if dots.get(&dot).is_some_and(|known| known.change == id) {
                dots.remove(&dot);
            }
        }
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(crate) fn change_mut(&mut self, id: ChangeId) -> &mut Change {
        &mut self.changes[id]
    }

    /// The place of a dot that was written live, where it is known.
    pub(crate) fn place_of(&self, document: usize, dot: Dot) -> Option<&String> {
        Some(&self.brought(document, dot)?.place)
    }

    fn brought(&self, document: usize, dot: Dot) -> Option<&Brought> {
        let known = self.documents[document].by_dot.get(&dot)?;
        let live = &self.changes[known.change].live;
        live.iter().find(|brought| brought.counter == dot.counter)
    }

    /// The change that first brought a dot.
    pub(crate) fn change_of(&self, document: usize, dot: Dot) -> Option<ChangeId> {
        Some(self.documents[document].by_dot.get(&dot)?.change)
    }

    /// What a dot was written as.
    pub(crate) fn content_of(&self, document: usize, dot: Dot) -> Option<u64> {
        self.documents[document].by_dot.get(&dot)?.content
    }

    /// Whether this dot comes at or after one of its replica that was written twice.
    pub(crate) fn is_contested(&self, document: usize, replica: ReplicaId, last: u64) -> bool {
        let start = self.documents[document].contested.get(&replica);
        start.is_some_and(|start| last >= *start)
    }

    /// The changes of a disk whose last dot is in a range of counters of a replica.
    pub(crate) fn changes_between(
        &self,
        document: usize,
        replica: ReplicaId,
        (first, last): (u64, u64),
        has: &BTreeSet<ChangeId>,
    ) -> Vec<ChangeId> {
        let all = self.documents[document].by_replica.get(&replica).into_iter().flatten();
        let within = all.copied().filter(|id| {
            let change = &self.changes[*id];
            change.last >= first && change.last <= last && has.contains(id)
        });
        within.collect()
    }
}
