//! What is kept of a change for whoever asked for that: how to undo it, whoever made it, and which fields
//! it changed.

use super::undo::{Count, Replaced, Undo};
use super::{Change, Document};
use crate::causal::{CausalContext, Delta, Dot, Entry, PlaceId, PlaceStore, ReplicaId};
use crate::small::BTreeMap;
use crate::types::place::{Space, is_place};
use crate::types::{Content, Element, Renaming, Share};

impl<S: PlaceStore> Document<S> {
    /// Joins a delta of another replica, and gives how to undo that.
    pub fn join_and_record(&mut self, delta: &Delta) -> Result<(Change, Undo), S::Error> {
        let mut added = CausalContext::default();
        for (replica, ranges) in delta.context().iter() {
            let seen = self.store().seen(replica)?;
            added.set(replica, ranges.difference(&seen));
        }
        let mut killed = Vec::new();
        let change = self.join_and_look(delta, |dead| killed.extend_from_slice(dead))?;
        let counts = counts(delta, &added, &killed);
        Ok((change, Undo { added, killed: Replaced::of(&mut killed), counts }))
    }
}

impl Undo {
    /// The dots that the change added, live or dead.
    #[must_use]
    pub fn added(&self) -> &CausalContext {
        &self.added
    }

    /// The same where a part of a replica's history stands under another one.
    #[must_use]
    pub fn renamed(self, renaming: &Renaming) -> Self {
        let entries = self.replaced().iter().cloned();
        let mut killed = entries.map(|entry| renaming.entry(entry)).collect();
        let by = |count: Count| {
            let by = renaming.to;
            if self
                .added
                .of(count.by)
                .is_none_or(|own| own.difference(&renaming.range()).is_empty())
                && count.by == renaming.from
            {
                Count { by, ..count }
            } else {
                count
            }
        };
        Self {
            added: renaming.context(&self.added),
            killed: Replaced::of(&mut killed),
            counts: self.counts.iter().cloned().map(by).collect(),
        }
    }
}

type Counter = (Space, PlaceId, String, ReplicaId);

/// What a share was and is, and who wrote what it is.
#[derive(Default)]
struct Sums {
    before: Option<i128>,
    after: Option<i128>,
    by: Option<ReplicaId>,
}

/// What a delta adds to each counter, by the shares that it brings and those that it takes.
fn counts(delta: &Delta, added: &CausalContext, killed: &[Entry]) -> Vec<Count> {
    let mut shares: BTreeMap<Counter, Sums> = BTreeMap::new();
    for (entry, element, share) in killed.iter().flat_map(shares_of) {
        let sums = shares.entry(counter(entry, &element, &share)).or_default();
        sums.before = sums.before.max(Some(sum(&share)));
    }
    for (entry, element, share) in delta.entries.iter().flat_map(shares_of) {
        if added.contains(element.claim.dot) {
            let sums = shares.entry(counter(entry, &element, &share)).or_default();
            sums.after = sums.after.max(Some(sum(&share)));
            sums.by = Some(element.claim.dot.replica);
        }
    }
    let mut writers = added.iter().map(|(replica, _)| replica);
    let only_writer = writers.next().filter(|_| writers.next().is_none());
    let counts = shares.into_iter().filter_map(|((space, id, path, owner), sums)| {
        let Sums { before, after, by } = sums;
        let amount = after.unwrap_or(0) - before.unwrap_or(0);
        let by = by.or(only_writer)?;
        let most = if amount < 0 { i64::MIN } else { i64::MAX };
        let amount = i64::try_from(amount).unwrap_or(most);
        Some(Count { space, id, path, amount, owner, by })
    });
    counts.filter(|count| count.amount != 0).collect()
}

fn counter(entry: &Entry, element: &Element, share: &Share) -> Counter {
    let space = Space::from_slice(entry.label.space());
    (space, entry.id.clone(), element.path().to_owned(), share.owner)
}

fn sum(share: &Share) -> i128 {
    i128::from(share.up) - i128::from(share.down)
}

fn shares_of(entry: &Entry) -> impl Iterator<Item = (&Entry, Element, Share)> {
    let is_counted = is_place(entry.label.space());
    let slots = entry.slots.iter().enumerate().filter(move |_| is_counted);
    slots.filter_map(move |(slot, bytes)| {
        let dot = Dot::new(entry.first.replica, entry.first.counter + slot as u64);
        let element = Element::decode(dot, entry.stamp, &entry.label, slot, bytes?).ok()?;
        let Content::Share(share) = element.content else { return None };
        Some((entry, element, share))
    })
}
