//! Marks of openings in a document, and what follows from histories that part.

use super::edit::Step;
use super::{Document, Edit, Refused};
use crate::causal::{Delta, Dot, PlaceStore, ReplicaId};
use crate::types::opening::{self, opening_at, successor};
use crate::types::{MARKS_MAX, Opening, Renaming, fork};

impl<S: PlaceStore> Document<S> {
    /// The marks of a replica, in order.
    pub fn openings(&self, replica: ReplicaId) -> Result<Vec<Opening>, S::Error> {
        opening::openings(&self.store, replica)
    }

    /// Under which replicas that stands which is here of a replica from a counter on, of which somebody
    /// else has another history. Whoever has the same gives the same, also where it was done before by
    /// somebody else: then only what parts from that once more stands apart. No run is parted that is here, or
    /// of which `waits` says where it begins: one that is yet to be sent, though it may have died here since.
    pub fn renamings(
        &self,
        replica: ReplicaId,
        first: u64,
        waits: &dyn Fn(u64) -> Option<u64>,
    ) -> Result<Vec<Renaming>, S::Error> {
        let openings = self.openings(replica)?;
        let seen = self.store.seen(replica)?.into_owned();
        let mut renamings = Vec::new();
        let mut next = Some(self.run_start(replica, first, waits)?);
        while let Some(first) = next.take()
            && let Some(of) = opening_at(&openings, first)
        {
            let mark = (of.first < first).then_some(of.opening);
            let (to, last) = (successor(replica, first, of.opening), Dot::COUNTER_MAX);
            let mut renaming = Renaming { from: replica, first, last, to, mark };
            let known = self.store.seen(to)?.into_owned();
            if !known.is_empty() {
                let later = openings.iter().filter(|one| one.first >= first);
                let mark = mark.map(|opening| Opening { first: 1, opening });
                let own = mark.into_iter().chain(later.map(|one| renaming.opening(*one)));
                let own: Vec<_> = own.collect();
                let seen = renaming.counters(&seen);
                let apart = fork((&own, &seen), (&self.openings(to)?, &known));
                if let Some(apart) = apart.and_then(|apart| renaming.before(apart)) {
                    let apart = self.run_start(replica, apart, waits)?;
                    if apart <= first {
                        break;
                    }
                    renaming.last = apart - 1;
                    next = Some(apart);
                }
            }
            renamings.push(renaming);
        }
        Ok(renamings)
    }

    /// Where the run begins that a counter is within: nobody wrote a part of it.
    fn run_start(
        &self,
        replica: ReplicaId,
        counter: u64,
        waits: &dyn Fn(u64) -> Option<u64>,
    ) -> Result<u64, S::Error> {
        let runs = self.store.overlapping(replica, counter, counter)?;
        let first = runs.first().map(|run| run.first.counter);
        Ok(first.or_else(|| waits(counter)).unwrap_or(counter))
    }

    /// Lets a part of a replica's history stand under another one. What was removed and kept for an
    /// edit that comes too late is forgotten, as when the process ends.
    pub fn rename(&mut self, renaming: &Renaming) -> Result<(), S::Error> {
        renaming.apply(&mut self.store)?;
        self.kept = super::Kept::default();
        Ok(())
    }
}

impl<S: PlaceStore> Edit<'_, S> {
    /// Marks what follows as written under an opening, where it is not so already.
    pub(crate) fn open(&mut self, opening: u64) -> Step<S> {
        let replica = self.author().replica;
        let openings = self.document().openings(replica).map_err(Refused::Store)?;
        if openings.last().is_some_and(|last| last.opening == opening) {
            return Ok(());
        }
        let Dot { counter: first, .. } = self.take_dot();
        let mut delta = Delta::default();
        delta.entries.push(Opening { first, opening }.mark(replica));
        let surplus = (openings.len() + 1).saturating_sub(MARKS_MAX);
        for old in &openings[..surplus] {
            delta.dead.insert(Dot::new(replica, old.first));
        }
        self.step(delta)
    }

    /// Who owns what this replica adds to counters.
    pub(super) fn owner(&self) -> Result<ReplicaId, Refused<S::Error>> {
        let replica = self.author().replica;
        let openings = self.document().openings(replica).map_err(Refused::Store)?;
        Ok(openings.last().map_or(replica, |last| opening::owner(replica, last.opening)))
    }

    /// The owners of what earlier openings of this replica added to counters, the oldest first.
    pub(super) fn earlier_owners(&self) -> Result<Vec<ReplicaId>, Refused<S::Error>> {
        let replica = self.author().replica;
        let mut openings = self.document().openings(replica).map_err(Refused::Store)?;
        openings.pop();
        let owners = openings.iter().map(|one| opening::owner(replica, one.opening));
        Ok(owners.collect())
    }
}
