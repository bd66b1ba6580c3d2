//! What counters must stand at.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::Dot;

use super::{Change, ChangeId, Model};
use crate::kernel::{Brought, Counter};

impl Change {
    /// The dots that say what it added to a counter, or all where the counter went with it.
    pub(crate) fn share_of(&self, (place, path): &Counter) -> (u64, u64) {
        let is_it = |brought: &&Brought| {
            brought.share.is_some() && (&brought.place, &brought.field) == (place, path)
        };
        let share = self.live.iter().find(is_it).map(|brought| brought.counter);
        share.map_or((self.first, self.last), |share| (share, share))
    }
}

impl Model {
    /// What the counters of a document must stand at: the sum of what was added to each by the changes
    /// that are there, less what stood in shares that are lost and that no change took which is there.
    /// Those of records that anybody ever removed are left out.
    pub(crate) fn counts(
        &self,
        document: usize,
        is_there: impl Fn(ChangeId, &Change, &Counter) -> bool,
        is_lost: impl Fn(Dot) -> bool,
    ) -> BTreeMap<Counter, i64> {
        let of_it = self.changes.iter().enumerate();
        let of_it = of_it.filter(|(_, change)| change.document == document);
        let removed: BTreeSet<&String> =
            of_it.clone().flat_map(|(_, change)| &change.removed).collect();
        let changes = of_it.filter(|(_, change)| !change.is_void);
        let mut counts = BTreeMap::new();
        for (id, change) in changes.clone() {
            let counted =
                change.effects.counted.iter().filter(|((place, _), _)| !removed.contains(place));
            for (counter, amount) in counted.filter(|(counter, _)| is_there(id, change, counter)) {
                *counts.entry(counter.clone()).or_default() += amount;
            }
        }
        for (id, change) in changes.clone() {
            for brought in &change.live {
                let dot = Dot::new(change.replica, brought.counter);
                let counter = (brought.place.clone(), brought.field.clone());
                let (Some(share), Some(count)) = (brought.share, counts.get_mut(&counter)) else {
                    continue;
                };
                let mut takers = changes.clone().filter(|(_, other)| other.kills.contains(&dot));
                if is_lost(dot)
                    && is_there(id, change, &counter)
                    && !takers.any(|(id, taker)| is_there(id, taker, &counter))
                {
                    *count -= share.up as i64 - share.down as i64;
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use sync_core::causal::ReplicaId;
    use sync_core::types::Share;

    use super::*;
    use crate::kernel::Accepted;
    use crate::model::{Effects, Maker};

    const OWNER: ReplicaId = ReplicaId::from_bytes([1; 16]);

    fn counter() -> Counter {
        ("value views".to_owned(), String::new())
    }

    /// One replica counts, each time in the place of its share before.
    fn counted(amounts: &[i64]) -> Model {
        let mut model = Model::new(1);
        let mut up = 0;
        for (first, amount) in (1..).zip(amounts) {
            up += amount.unsigned_abs();
            let (place, field) = counter();
            let share = Some(Share { owner: OWNER, up, down: 0 });
            let live = Brought {
                counter: first,
                content: up,
                place,
                field,
                is_member: false,
                share,
                copy_of: None,
            };
            let before = first.checked_sub(1).filter(|before| *before > 0);
            let accepted = Accepted {
                replica: OWNER,
                first,
                last: first,
                live: vec![live],
                removed: Vec::new(),
                kills: before.map(|before| Dot::new(OWNER, before)).into_iter().collect(),
                is_joined: false,
            };
            let counted = BTreeMap::from([(counter(), *amount)]);
            let effects = Effects { counted, ..Effects::default() };
            model.accept(0, accepted, effects, Maker::default()).unwrap();
        }
        model
    }

    #[test]
    fn what_stood_in_a_share_is_lost_with_its_successor_and_only_so() {
        let model = counted(&[1, 1, 4]);
        // How many of the changes are there, which share is dead besides, and where the counter stands.
        for (there, lost, count) in
            [(3, None, 6), (2, None, 2), (2, Some(2), 0), (2, Some(1), 2), (1, Some(2), 1)]
        {
            let counts = model.counts(0, |id, _, _| id < there, |dot| Some(dot.counter) == lost);
            assert_eq!(counts.get(&counter()), Some(&count), "{there} there, {lost:?} lost");
        }
    }
}
