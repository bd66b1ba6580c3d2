//! What counters must stand at.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{Dot, ReplicaId};
use sync_core::types::Share;

use super::{Change, ChangeId, Model};
use crate::kernel::{Brought, Counter};

impl Brought {
    fn is_of(&self, (place, path): &Counter) -> bool {
        (&self.place, &self.field) == (place, path)
    }

    /// The counter of which it is a share.
    fn counter_of(&self) -> Counter {
        (self.place.clone(), self.field.clone())
    }
}

impl Change {
    /// The dots that say what it added to a counter, or all where the counter went with it.
    pub(crate) fn share_of(&self, counter: &Counter) -> (u64, u64) {
        let is_it = |brought: &&Brought| brought.share.is_some() && brought.is_of(counter);
        let share = self.live.iter().find(is_it).map(|brought| brought.counter);
        share.map_or((self.first, self.last), |share| (share, share))
    }

    /// The share of the opening that made it: what that added up of earlier ones stands behind it.
    fn own_share(&self, counter: &Counter) -> Option<(u64, Share)> {
        let mut of_it = self.live.iter().filter(|brought| brought.is_of(counter));
        of_it.find_map(|brought| Some((brought.counter, brought.share?)))
    }
}

impl Model {
    /// What the counters of a document must stand at: the sum of what was added to each by the changes
    /// that are said to have been, less what stood in shares that are lost and that no such change took.
    /// Those of records that anybody ever removed are left out.
    pub(crate) fn counts(
        &self,
        document: usize,
        is_there: impl Fn(ChangeId, &Change, &Counter) -> bool,
        is_lost: impl Fn(Dot) -> bool,
    ) -> BTreeMap<Counter, i64> {
        let removed: BTreeSet<&String> =
            self.all_of(document).flat_map(|(_, change)| &change.removed).collect();
        let said = self.said(document, &is_there);
        let mut counts = BTreeMap::new();
        for (origin, counter) in said.iter().filter(|(_, (place, _))| !removed.contains(place)) {
            if let Some(amount) = self.changes[*origin].effects.counted.get(counter) {
                *counts.entry(counter.clone()).or_default() += amount;
            }
        }
        // Each share once, under whichever dots it is there: whether all of these are lost.
        let mut shares: BTreeMap<(ChangeId, usize), (Counter, Share, bool)> = BTreeMap::new();
        for (id, change) in self.all_of(document).filter(|(_, change)| !change.is_void) {
            for (at, brought) in change.live.iter().enumerate() {
                let Some(share) = brought.share else { continue };
                let counter = brought.counter_of();
                if is_there(id, change, &counter) {
                    let dot = Dot::new(change.replica, brought.counter);
                    let is_gone = is_lost(dot) && !self.is_taken(document, dot, &counter, &said);
                    let share = (counter, share, true);
                    shares.entry((change.origin, at)).or_insert(share).2 &= is_gone;
                }
            }
        }
        for (counter, share, is_gone) in shares.into_values() {
            if let Some(count) = counts.get_mut(&counter).filter(|_| is_gone) {
                *count -= share.up as i64 - share.down as i64;
            }
        }
        counts
    }

    fn all_of(&self, document: usize) -> impl Iterator<Item = (ChangeId, &Change)> {
        let all = self.changes.iter().enumerate();
        all.filter(move |(_, change)| change.document == document)
    }

    /// The changes that have a dot: several, where it was written again.
    fn all_with(&self, document: usize, dot: Dot) -> impl Iterator<Item = (ChangeId, &Change)> {
        let all = self.documents[document].by_replica.get(&dot.replica).into_iter().flatten();
        let all = all.map(|id| (*id, &self.changes[*id])).filter(|(_, change)| !change.is_void);
        all.filter(move |(_, change)| (change.first..=change.last).contains(&dot.counter))
    }

    /// The changes, as they were first made, of which a counter says what they added. They are there, perhaps
    /// under other dots since; or one of these took their share, and says what that said and what came since,
    /// though they themselves went with every disk.
    fn said(
        &self,
        document: usize,
        is_there: &impl Fn(ChangeId, &Change, &Counter) -> bool,
    ) -> BTreeSet<(ChangeId, Counter)> {
        let mut brought: BTreeMap<Dot, Vec<(ChangeId, Counter)>> = BTreeMap::new();
        let (mut left, mut known) = (Vec::new(), BTreeSet::new());
        for (id, change) in self.all_of(document).filter(|(_, change)| !change.is_void) {
            let mut counters: BTreeSet<Counter> = change.effects.counted.keys().cloned().collect();
            for one in change.live.iter().filter(|one| one.share.is_some()) {
                let dot = Dot::new(change.replica, one.counter);
                brought.entry(dot).or_default().push((id, one.counter_of()));
                counters.insert(one.counter_of());
            }
            let there = counters.into_iter().filter(|counter| is_there(id, change, counter));
            left.extend(there.map(|counter| (id, counter)));
        }
        let mut said = BTreeSet::new();
        while let Some((id, counter)) = left.pop() {
            let change = &self.changes[id];
            if known.insert((id, counter.clone())) {
                let is_kept = is_there(id, change, &counter);
                for dot in &change.kills {
                    let taken = brought.get(dot).into_iter().flatten();
                    let taken: Vec<_> = taken.filter(|(_, of)| *of == counter).cloned().collect();
                    // Of what was written as one dot it took what is there: the other went with its disks.
                    let is_other = is_kept
                        && !taken.is_empty()
                        && self
                            .all_with(document, *dot)
                            .any(|(id, one)| is_there(id, one, &counter));
                    left.extend(taken.into_iter().filter(|_| !is_other));
                }
                said.insert((change.origin, counter));
            }
        }
        said
    }

    /// Whether a change took a share of a counter that is said to have been.
    fn is_taken(
        &self,
        document: usize,
        share: Dot,
        counter: &Counter,
        said: &BTreeSet<(ChangeId, Counter)>,
    ) -> bool {
        let mut takers = self.all_of(document).filter(|(_, other)| other.kills.contains(&share));
        takers.any(|(_, taker)| said.contains(&(taker.origin, counter.clone())))
    }

    /// The counters of which a change added up what earlier openings of its replica had counted, while a copy
    /// went on with one of these: what was added up is in the copy's share too, or hides that.
    pub(crate) fn added_up_apart(
        &self,
        document: usize,
        is_there: impl Fn(ChangeId, &Change, &Counter) -> bool,
    ) -> BTreeSet<Counter> {
        let is_known = |(id, change): (ChangeId, &Change), counter: &Counter| {
            (change.document, change.is_void) == (document, false) && is_there(id, change, counter)
        };
        let mut apart = BTreeSet::new();
        for (id, change) in self.changes.iter().enumerate() {
            for brought in change.live.iter().filter(|brought| brought.share.is_some()) {
                let counter = brought.counter_of();
                let Some((first, own)) = change.own_share(&counter) else { continue };
                if brought.counter == first || !is_known((id, change), &counter) {
                    continue;
                }
                let mut taken: BTreeMap<ReplicaId, (u64, u64)> = BTreeMap::new();
                for (_, before) in
                    change.kills.iter().flat_map(|dot| self.all_brought(document, *dot))
                {
                    let of_it = before.is_of(&counter);
                    if let Some(share) =
                        before.share.filter(|share| of_it && share.owner != own.owner)
                    {
                        let (up, down) = taken.entry(share.owner).or_default();
                        (*up, *down) = (share.up.max(*up), share.down.max(*down));
                    }
                }
                let goes_on = |other: &Change| {
                    let (_, share) = other.own_share(&counter)?;
                    let (up, down) = taken.get(&share.owner)?;
                    Some(share.up > *up || share.down > *down)
                };
                let mut others = self.changes.iter().enumerate();
                if others.any(|other| is_known(other, &counter) && goes_on(other.1) == Some(true)) {
                    apart.insert(counter);
                }
            }
        }
        apart
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_a_share_took_counts_with_it_and_what_came_after_it_does_not() {
        let model = counted(&[1, 1, 4, 8]);
        // Which of the changes are there, and where the counter stands.
        for (there, count) in [(&[2][..], 6), (&[0, 2], 6), (&[1, 3], 14), (&[1], 2), (&[0], 1)] {
            let counts = model.counts(0, |id, _, _| there.contains(&id), |_| false);
            assert_eq!(counts.get(&counter()), Some(&count), "{there:?} there");
        }
    }

    #[test]
    fn a_change_took_what_is_there_of_what_was_written_as_one_dot() {
        let mut model = counted(&[1, 4]);
        // A disk that was put back wrote the first dot as something else, before the second.
        let first = model.changes[0].clone();
        let effects = Effects::default();
        let other = Change { live: Vec::new(), effects, origin: 2, ..first };
        model.changes.push(other);
        model.documents[0].by_replica.entry(OWNER).or_default().push(2);
        for (there, count) in [(&[1, 2][..], 4), (&[1], 5), (&[0, 1], 5), (&[0, 2], 1)] {
            let counts = model.counts(0, |id, _, _| there.contains(&id), |_| false);
            assert_eq!(counts.get(&counter()), Some(&count), "{there:?} there");
        }
    }

    /// Adds a change of a replica that brings these shares in the place of these dots.
    fn count(model: &mut Model, dot: Dot, shares: &[(ReplicaId, u64)], kills: &[Dot]) {
        let live = (dot.counter..).zip(shares).map(|(at, (owner, up))| {
            let (place, field) = counter();
            let share = Some(Share { owner: *owner, up: *up, down: 0 });
            Brought {
                counter: at,
                content: 0,
                place,
                field,
                is_member: false,
                share,
                copy_of: None,
            }
        });
        let accepted = Accepted {
            replica: dot.replica,
            first: dot.counter,
            last: dot.counter + shares.len() as u64 - 1,
            live: live.collect(),
            removed: Vec::new(),
            kills: kills.to_vec(),
            is_joined: false,
        };
        model.accept(0, accepted, Effects::default(), Maker::default()).unwrap();
    }

    #[test]
    fn what_is_added_up_while_a_copy_goes_on_with_a_part_of_it_is_known_and_nothing_else() {
        let [oldest, next, own, copy] = [1, 2, 3, 4].map(|one| ReplicaId::from_bytes([one; 16]));
        // Which opening a copy goes on with, and how far that has come.
        for (owner, up, is_apart) in [
            (oldest, 3, true),
            (next, 5, true),
            (oldest, 2, false),
            (next, 4, false),
            (own, 9, false),
            (copy, 9, false),
        ] {
            let mut model = Model::new(1);
            count(&mut model, Dot::new(OWNER, 1), &[(oldest, 2)], &[]);
            count(&mut model, Dot::new(OWNER, 2), &[(next, 4)], &[]);
            count(&mut model, Dot::new(copy, 1), &[(owner, up)], &[]);
            let taken = [Dot::new(OWNER, 1), Dot::new(OWNER, 2)];
            assert_eq!(model.added_up_apart(0, |_, _, _| true), BTreeSet::new());
            count(&mut model, Dot::new(OWNER, 3), &[(own, 1), (oldest, 6)], &taken);
            let apart = model.added_up_apart(0, |_, _, _| true);
            assert_eq!(apart.contains(&counter()), is_apart, "{owner} at {up}");
            // A copy that went with every disk leaves the sum as it is.
            assert_eq!(model.added_up_apart(0, |id, _, _| id != 2), BTreeSet::new());
        }
    }
}
