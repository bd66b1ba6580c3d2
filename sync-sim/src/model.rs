//! The reference model: for each dot what it stands for, and for each change what it brings and what
//! it takes the place of. A dot is alive while no change that saw it has taken its place: add wins.
//!
//! It knows nothing of joins, contexts, cursors, outboxes or hubs. What a change takes the place of is
//! what its author had seen; where a change is kept is told by the disks of the simulation.

mod counters;
mod lacking;

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{CausalContext, Dot, MemoryStore, ReplicaId};
use sync_core::session::SavedDocument;
use sync_core::types::{MARKS_MAX, Renaming};

use crate::invariant::{Invariant, Violation};
use crate::kernel::{self, Accepted, Brought, Counter, EXISTENCE, Register};

/// Numbers a change within a run.
pub(crate) type ChangeId = usize;

/// A change that was accepted on a device.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The document's number.
    pub(crate) document: usize,
    /// The change as it was first made, where this is the same under other dots.
    origin: ChangeId,
    pub(crate) replica: ReplicaId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) live: Vec<Brought>,
    pub(crate) removed: Vec<String>,
    pub(crate) kills: Vec<Dot>,
    effects: Effects,
    /// What its author had seen, where it asserts something again.
    seen: Option<CausalContext>,
    /// Whether its bytes ever left the device.
    pub(crate) was_sent: bool,
    /// Whether a hub ever acknowledged it.
    pub(crate) was_stored: bool,
    /// Whether a hub ever took it: its dots stand for this change there.
    pub(crate) was_taken: bool,
    /// Whether it was gone before anybody else could know of it.
    pub(crate) is_void: bool,
}

/// What a change of the application did, as that sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    /// What it added to counters.
    pub(crate) counted: BTreeMap<Counter, i64>,
    /// The registers that it took out of records which it left.
    pub(crate) taken_out: BTreeSet<Register>,
}

/// What is known of one document.
#[derive(Debug, Default)]
struct Dots {
    /// Which change first brought a dot.
    by_dot: BTreeMap<Dot, ChangeId>,
    by_replica: BTreeMap<ReplicaId, Vec<ChangeId>>,
    /// The dots that begin a replica as which something was written again.
    marks: BTreeSet<Dot>,
    /// What was written again under other dots.
    renamings: Vec<Renaming>,
    /// The first dot of each replica that two devices wrote, each another change.
    contested: BTreeMap<ReplicaId, u64>,
    /// Places that devices wrote to which had them in part, and have not had them whole since.
    in_part: BTreeSet<(String, usize)>,
    /// The removals that somebody heard of who held the record, with each field that it had there.
    heard: BTreeSet<(Dot, String)>,
    /// The first contested dot of replicas of which a copy found too late that it is one: the other, or
    /// itself, has opened them more often since than marks are kept.
    found_late: BTreeMap<ReplicaId, u64>,
}

/// What is known of whoever makes a change.
#[derive(Debug, Default)]
pub(crate) struct Maker {
    /// Whether its disk was ever copied or put back: only then two devices may write one dot.
    pub(crate) is_copied: bool,
    /// The device, and the places that it has in part.
    pub(crate) in_part: BTreeSet<(String, usize)>,
    /// What it has seen.
    pub(crate) seen: CausalContext,
    /// The records that stand there by copies alone.
    pub(crate) by_copies: BTreeSet<String>,
    /// As which replicas it has what is on its disk under other dots yet.
    pub(crate) renamed: BTreeSet<ReplicaId>,
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

    /// Takes a change that a device accepted.
    pub(crate) fn accept(
        &mut self,
        document: usize,
        accepted: Accepted,
        effects: Effects,
        maker: Maker,
    ) -> Result<(ChangeId, bool), Violation> {
        let id = self.changes.len();
        let Accepted { replica, first, last, live, removed, kills, .. } = accepted;
        let mut is_contested = false;
        for counter in first..=last {
            is_contested |= self.name(document, Dot::new(replica, counter), id);
        }
        if is_contested && !maker.is_copied {
            let detail =
                format!("{replica}:{first} was written twice by a device that was never copied");
            return Err(Violation { invariant: Invariant::OneContentPerDot, detail });
        }
        let dots = &mut self.documents[document];
        dots.by_replica.entry(replica).or_default().push(id);
        let is_assertion = live.iter().any(|brought| brought.copy_of.is_some());
        let seen = is_assertion.then_some(maker.seen);
        let change = Change {
            document,
            origin: id,
            replica,
            first,
            last,
            live,
            removed,
            kills,
            effects,
            seen,
            was_sent: false,
            was_stored: false,
            was_taken: false,
            is_void: false,
        };
        self.check_places(&change, &maker.renamed)?;
        self.check_mends(&change, &maker.by_copies)?;
        self.documents[document].in_part.extend(maker.in_part);
        self.changes.push(change);
        Ok((id, is_contested))
    }

    /// Gives a dot to a change. Says whether another one has it too.
    fn name(&mut self, document: usize, dot: Dot, change: ChangeId) -> bool {
        let dots = &mut self.documents[document];
        if *dots.by_dot.entry(dot).or_insert(change) == change {
            return false;
        }
        let start = dots.contested.entry(dot.replica).or_insert(dot.counter);
        *start = dot.counter.min(*start);
        true
    }

    /// Changes of a disk stand under other dots from here on. Gives the old and the new of each.
    pub(crate) fn rename(
        &mut self,
        document: usize,
        renaming: &Renaming,
        has: &BTreeSet<ChangeId>,
        saved: &SavedDocument,
        hubs: &[&MemoryStore],
    ) -> (Vec<(ChangeId, ChangeId)>, u64) {
        if renaming.mark.is_some() {
            self.documents[document].marks.insert(Dot::new(renaming.to, 1));
        }
        if !self.documents[document].renamings.contains(renaming) {
            self.documents[document].renamings.push(*renaming);
        }
        self.note_late(document, renaming, has, hubs);
        let twice = self.taken_twice(document);
        let live = kernel::live(&saved.store).into_keys();
        let live: BTreeSet<Dot> = live.filter(|dot| dot.replica == renaming.to).collect();
        let marks = &mut self.documents[document].marks;
        if twice.get(&renaming.from).is_some_and(|first| *first <= renaming.last) {
            // A device may have been given some of it, mixed with what it wrote itself.
            marks.extend(live);
        } else {
            // What it was given so may stand apart once more.
            let moved: Vec<Dot> = marks.iter().map(|dot| renaming.dot(*dot)).collect();
            marks.extend(moved.into_iter().filter(|dot| live.contains(dot)));
        }
        let mut moved = Vec::new();
        let mut count = 0;
        for id in has {
            let change = &mut self.changes[*id];
            if change.document != document {
                continue;
            }
            let kills: Vec<Dot> = change.kills.iter().map(|dot| renaming.dot(*dot)).collect();
            let first = renaming.dot(Dot::new(change.replica, change.first));
            if first.replica == change.replica {
                // What a hub has of it speaks of the dots as they were.
                if !change.was_taken {
                    change.kills = kills;
                }
                continue;
            }
            let mut change = Change { kills, ..change.clone() };
            let last = renaming.dot(Dot::new(change.replica, change.last)).counter;
            for brought in &mut change.live {
                let dot = renaming.dot(Dot::new(change.replica, brought.counter));
                brought.counter = dot.counter;
                // What a copy says of where it comes from goes along.
                brought.content = kernel::content_on(saved, dot).unwrap_or(brought.content);
                brought.copy_of = brought.copy_of.map(|of| renaming.dot(of));
            }
            (change.replica, change.first, change.last) = (first.replica, first.counter, last);
            // What was acknowledged goes out again with a refill.
            (change.was_stored, change.was_taken) = (false, false);
            count += 1;
            moved.push((*id, self.put_renamed(change)));
        }
        (moved, count)
    }

    /// Notes where a copy keeps under the old dots what it wrote first: a hub has so many marks of the other
    /// behind that place, or the copy so many of its own, that none which is kept says where the two part.
    fn note_late(
        &mut self,
        document: usize,
        renaming: &Renaming,
        has: &BTreeSet<ChangeId>,
        hubs: &[&MemoryStore],
    ) {
        let Dots { by_replica, found_late, .. } = &mut self.documents[document];
        let all = by_replica.get(&renaming.from).into_iter().flatten();
        let (own, others): (Vec<&ChangeId>, Vec<&ChangeId>) = all.partition(|id| has.contains(id));
        let own = own.iter().map(|id| &self.changes[**id]);
        for hub in hubs {
            let others = others.iter().map(|id| &self.changes[**id]);
            let theirs = others.filter(|change| {
                change.was_taken && kernel::has_seen(hub, change.replica, change.first, change.last)
            });
            let met = own.clone().flat_map(|change| {
                let met = theirs
                    .clone()
                    .filter(|other| other.first <= change.last && change.first <= other.last);
                met.map(|other| other.first.max(change.first))
            });
            let Some(parted) = met.min() else { continue };
            let is_forgotten = |marks: usize| marks >= MARKS_MAX;
            let is_late = is_forgotten(marks_from(parted, own.clone()))
                || is_forgotten(marks_from(parted, theirs));
            if parted < renaming.first && is_late {
                let first = found_late.entry(renaming.from).or_insert(parted);
                *first = parted.min(*first);
            }
        }
    }

    /// Takes a change under new dots. Whoever had the same made the same of it.
    fn put_renamed(&mut self, change: Change) -> ChangeId {
        let Change { document, replica, first, last, .. } = change;
        let known = self.documents[document].by_replica.get(&replica).into_iter().flatten();
        let same = |id: &&ChangeId| {
            let other = &self.changes[**id];
            (other.first, other.last) == (first, last)
                && (&other.live, &other.removed, &other.kills)
                    == (&change.live, &change.removed, &change.kills)
        };
        let known = known.copied().find(|id| same(&id));
        let id = known.unwrap_or(self.changes.len());
        for counter in first..=last {
            self.name(document, Dot::new(replica, counter), id);
        }
        if known.is_some() {
            // It may have gone with a disk that was put back.
            self.changes[id].is_void = false;
        } else {
            self.documents[document].by_replica.entry(replica).or_default().push(id);
            self.changes.push(change);
        }
        id
    }

    /// The first dot of each replica that hubs took as two things. Both have left their writers then,
    /// and nobody who has one of them can tell. So it is where a copy is found too late.
    pub(crate) fn taken_twice(&self, document: usize) -> BTreeMap<ReplicaId, u64> {
        let mut twice = self.documents[document].found_late.clone();
        for replica in self.documents[document].contested.keys() {
            let mut taken: BTreeSet<u64> = BTreeSet::new();
            let all = self.documents[document].by_replica.get(replica).into_iter().flatten();
            for change in all.map(|id| &self.changes[*id]).filter(|change| change.was_taken) {
                for counter in change.first..=change.last {
                    if !taken.insert(counter) {
                        let first = twice.entry(*replica).or_insert(counter);
                        *first = counter.min(*first);
                    }
                }
            }
        }
        twice
    }

    /// Whether hubs took any dot as two things.
    pub(crate) fn is_any_taken_twice(&self) -> bool {
        (0..self.documents.len()).any(|document| !self.taken_twice(document).is_empty())
    }

    /// The changes of a disk that lie in a part of a delta as a whole.
    pub(crate) fn changes_within(
        &self,
        document: usize,
        dots: &CausalContext,
        has: &BTreeSet<ChangeId>,
    ) -> Vec<ChangeId> {
        let replicas = dots.iter().map(|(replica, ranges)| (replica, ranges.max()));
        let all = replicas
            .flat_map(|(replica, max)| self.changes_between(document, replica, (1, max), has));
        let is_within = |id: &ChangeId| {
            let change = &self.changes[*id];
            (change.first..=change.last)
                .all(|counter| dots.contains(Dot::new(change.replica, counter)))
        };
        all.filter(is_within).collect()
    }

    /// A change takes the place only of dots of the places that it names. What stands under a replica
    /// since a moment ago is not known here as that.
    fn check_places(
        &self,
        change: &Change,
        renamed: &BTreeSet<ReplicaId>,
    ) -> Result<(), Violation> {
        let own = change.live.iter().map(|brought| &brought.place).chain(&change.removed);
        let taken_out = change.effects.taken_out.iter().map(|(place, _)| place);
        let own: BTreeSet<&String> = own.chain(taken_out).collect();
        for dot in change.kills.iter().filter(|dot| !renamed.contains(&dot.replica)) {
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
            if dots.get(&dot) == Some(&id) {
                dots.remove(&dot);
            }
        }
    }

    /// Whether somebody wrote to a place who had it in part, and has not had it whole since.
    pub(crate) fn was_in_part(&self, document: usize, place: &str) -> bool {
        self.documents[document].in_part.iter().any(|(of, _)| of == place)
    }

    /// Notes which places a device has whole that it had in part.
    pub(crate) fn complete(&mut self, document: usize, device: usize, store: &MemoryStore) {
        let places = &mut self.documents[document].in_part;
        if places.iter().any(|(_, of)| *of == device) {
            let in_part = kernel::in_part(store);
            let exists = |place: &String| {
                kernel::fields(store, place).iter().any(|(_, field)| field == EXISTENCE)
            };
            places.retain(|(place, of)| *of != device || in_part.contains(place) || !exists(place));
        }
    }

    /// Notes that a device hears of a removal, and of what died with that, which has this of the place on
    /// its disk.
    pub(crate) fn hear(
        &mut self,
        document: usize,
        removal: Dot,
        dead: &CausalContext,
        held: Vec<(Dot, String)>,
    ) {
        if held.iter().any(|(dot, field)| field == EXISTENCE && !dead.contains(*dot)) {
            let heard = held.into_iter().map(|(_, field)| (removal, field));
            self.documents[document].heard.extend(heard);
        }
    }

    /// Each change that brought a dot live, and what it stands for there: two, where copies wrote it.
    fn all_brought(&self, document: usize, dot: Dot) -> impl Iterator<Item = (&Change, &Brought)> {
        let all = self.documents[document].by_replica.get(&dot.replica).into_iter().flatten();
        let all = all.map(|id| &self.changes[*id]).filter(|change| !change.is_void);
        all.filter_map(move |change| {
            let brought = change.live.iter().find(|brought| brought.counter == dot.counter);
            Some((change, brought?))
        })
    }

    /// As which dots that was written first which stands as this dot since it was written again.
    pub(crate) fn originals(&self, document: usize, dot: Dot) -> impl Iterator<Item = Dot> {
        let renamings = &self.documents[document].renamings;
        let of_it = renamings.iter().filter(move |renaming| renaming.to == dot.replica);
        of_it.filter_map(move |renaming| {
            let first = renaming.dot(Dot::new(renaming.from, renaming.first)).counter;
            let counter = renaming.first + dot.counter.checked_sub(first)?;
            let original = Dot::new(renaming.from, counter);
            Some(original).filter(|original| renaming.dot(*original) == dot)
        })
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

    /// Whether a dot says that a record exists.
    pub(crate) fn is_existence_of(&self, document: usize, dot: Dot, place: &str) -> bool {
        let brought = self.brought(document, dot);
        brought.is_some_and(|brought| brought.place == place && brought.field == EXISTENCE)
    }

    fn brought(&self, document: usize, dot: Dot) -> Option<&Brought> {
        let known = self.documents[document].by_dot.get(&dot)?;
        let live = &self.changes[*known].live;
        live.iter().find(|brought| brought.counter == dot.counter)
    }

    /// The change that first brought a dot.
    pub(crate) fn change_of(&self, document: usize, dot: Dot) -> Option<ChangeId> {
        self.documents[document].by_dot.get(&dot).copied()
    }

    /// Every dot that was written live, or that marks where a history parts.
    pub(crate) fn written(&self, document: usize) -> BTreeSet<Dot> {
        let changes = self.changes.iter().filter(|change| change.document == document);
        let live = changes.flat_map(|change| {
            let counters = change.live.iter().map(|brought| brought.counter);
            counters.map(|counter| Dot::new(change.replica, counter))
        });
        live.chain(self.documents[document].marks.iter().copied()).collect()
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

/// How many marks of openings there are from a counter on in changes of one replica.
fn marks_from<'a>(counter: u64, changes: impl Iterator<Item = &'a Change>) -> usize {
    let is_mark = |brought: &&Brought| brought.place.is_empty() && brought.counter >= counter;
    changes.flat_map(|change| &change.live).filter(is_mark).count()
}
