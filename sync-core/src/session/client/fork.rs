//! A copy of this client's database wrote as the same replica, and the hub has what that wrote.
//!
//! The hub tells whose marks it has of the replicas that this client writes for. Where these are not
//! those here, what was written here from there on is written again under a replica of its own: others
//! know the same dots as something else. What was written before the copy was made keeps its dots.

use std::cell::RefCell;

use super::compare::Compare;
use super::connection::IN_USE;
use super::{Claimed, Client, ClientEvent, ClientStore, Opened, OutboxItem, Step, Then};
use crate::causal::{CausalContext, Delta, Dot, DotRanges, ReplicaId};
use crate::document::{Document, Refused};
use crate::error::{Misuse, Sure};
use crate::small::SortedMap;
use crate::sort::sort_by;
use crate::types::{Opening, Renaming, fork};
use crate::wire::CLAIMS_MAX;

/// Why an item waits whose replica another tab of this profile writes as.
const WRITTEN_ELSEWHERE: &str = "a copy of this replica wrote something else";

/// What is to stand under other replicas before a file is joined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parting {
    /// The replicas of which what waits here is.
    pub here: Vec<ReplicaId>,
    /// What the file has.
    pub there: Vec<Renaming>,
}

impl<S: ClientStore> Client<S> {
    /// Looks for histories that part, and writes again what nobody else can know. Says whether there was
    /// anything; then the connection is over.
    pub(super) fn resolve_forks(
        &mut self,
        name: &str,
        context: &CausalContext,
        openings: &[(ReplicaId, Opening)],
    ) -> Result<bool, S::Error> {
        let Some(opened) = self.documents.get_mut(name) else { return Ok(false) };
        let mut renamings = Vec::new();
        let mut parked = Vec::new();
        for (replica, first) in opened.forks(context, openings)? {
            if opened.author != Some(replica) && opened.claims.contains_key(&replica) {
                // Its own tab does that.
                if S::HAS_OUTBOX {
                    let key = opened.outbox.first_from(Dot::new(replica, first));
                    opened.learn(key)?;
                }
                parked.extend(opened.outbox.park_from(Dot::new(replica, first), WRITTEN_ELSEWHERE));
                continue;
            }
            let first = if broken!(RenamesTooMuch) { 1 } else { first };
            let failed = RefCell::new(None);
            let waits = |counter: u64| {
                if S::HAS_OUTBOX {
                    let (store, dot) = (opened.document.store(), Dot::new(replica, counter));
                    return opened.outbox.run_start(store, dot).unwrap_or_else(|failure| {
                        *failed.borrow_mut() = Some(failure);
                        None
                    });
                }
                for item in opened.outbox.iter() {
                    for run in item.delta.entries.iter().filter(|run| run.replica() == replica) {
                        if (run.first.counter..=run.last()).contains(&counter) {
                            return Some(run.first.counter);
                        }
                    }
                }
                None
            };
            renamings.extend(opened.document.renamings(replica, first, &waits)?);
            if let Some(failure) = failed.into_inner() {
                return Err(failure);
            }
        }
        let reason = WRITTEN_ELSEWHERE.to_owned();
        let park = |key| Step::Park { key, reason: reason.clone() };
        let mut steps: Vec<Step> = parked.into_iter().map(park).collect();
        if renamings.is_empty() {
            self.persist(name, steps, Then::default());
            return Ok(false);
        }
        let author = opened.author;
        let mut then = Then::default();
        for renaming in &renamings {
            then.enqueued.extend(opened.rename(renaming)?);
            steps.push(Step::Rename(*renaming));
            opened.rename_at_devices(renaming, &mut steps);
        }
        let fresh = opened.author.filter(|fresh| Some(*fresh) != author);
        steps.extend(fresh.map(Step::Renew));
        self.persist(name, steps, then);
        if let Some(replica) = fresh {
            let event = ClientEvent::Renewed { document: name.to_owned(), replica };
            self.tell(event);
        }
        self.disconnect(IN_USE);
        Ok(true)
    }

    /// Where a file has another history of a replica than there is here: what is to stand under another one
    /// before the two are joined. Of what waits here nobody is known to have read anything, so that is
    /// written again; or else the file's part is, which nobody has who has read this one.
    pub fn parting(&self, document: &str, file: &Document) -> Result<Parting, Refused<S::Error>> {
        let opened = self.opened(document)?;
        let seen = file.store().context();
        let own = opened.document.store().context();
        let common = seen.iter().map(|(replica, _)| replica);
        let openings = marks(file, common.filter(|replica| own.of(*replica).is_some()));
        let mut parting = Parting::default();
        for (replica, first) in opened.forks(seen, &openings).map_err(Refused::Store)? {
            let waits = |item: &OutboxItem| item.replica == replica && item.last >= first;
            if opened.outbox.iter().any(waits) {
                parting.here.push(replica);
            } else {
                parting.there.extend(file.renamings(replica, first, &|_| None).sure());
            }
        }
        Ok(parting)
    }

    /// Makes this side's part of [`parting`](Self::parting), and stores that. The connection is over then.
    pub fn part(
        &mut self,
        document: &str,
        file: &Document,
        replicas: &[ReplicaId],
    ) -> Result<(), Refused<S::Error>> {
        let openings = marks(file, replicas.iter().copied());
        let parted = self.resolve_forks(document, file.store().context(), &openings);
        parted.map_err(Refused::Store)?;
        Ok(())
    }

    /// Whether a delta brings something that was written as a replica of which changes wait here, and
    /// that the hub did not have when the document was opened. Then a copy may have written it: the
    /// document is opened again, and the hub tells.
    pub(super) fn is_strange(&self, name: &str, delta: &Delta) -> bool {
        let Some(opened) = self.documents.get(name) else { return false };
        if opened.outbox.is_empty() || broken!(StrangersUnseen) {
            return false;
        }
        let waiting = opened.waiting();
        let is_hit = |replica, ranges: &DotRanges| {
            let new = match opened.link.told.of(replica) {
                Some(told) => ranges.difference(told),
                None => ranges.clone(),
            };
            waiting.get(&replica).is_some_and(|first| new.max() >= *first)
        };
        delta.dead.iter().any(|(replica, ranges)| is_hit(replica, ranges))
            || delta.entries.iter().any(|entry| is_hit(entry.replica(), &entry.live_ranges()))
    }

    /// What stands under another replica, of what was written here in this run; in the order in which that was
    /// found.
    pub fn renamings(&self, document: &str) -> Result<&[Renaming], Misuse> {
        Ok(&self.opened(document)?.renamed)
    }

    /// Makes what another tab of this profile did: it found that a copy wrote as a replica of it.
    pub fn rename(&mut self, document: &str, renaming: &Renaming) -> Result<(), Refused<S::Error>> {
        self.opened_mut(document)?.rename(renaming).map_err(Refused::Store)?;
        Ok(())
    }
}

impl<S: ClientStore> Opened<S> {
    /// Whose marks the hub is asked for, beside those of the claims.
    pub(super) fn unsent(&self) -> Vec<ReplicaId> {
        let writers = self.outbox.iter().map(|item| item.replica);
        let mut others =
            distinct(writers.filter(|replica| !self.claims.contains_key(replica)).collect());
        if Compare::IS_BUILT {
            others.splice(..0, self.doubts.asked().iter().copied());
        }
        others.truncate(CLAIMS_MAX);
        others
    }

    /// The first counter of each replica that waits.
    fn waiting(&self) -> SortedMap<ReplicaId, u64> {
        let mut waiting = SortedMap::new();
        for item in self.outbox.iter() {
            let first = waiting.entry(item.replica).or_insert(item.first);
            *first = item.first.min(*first);
        }
        waiting
    }

    /// Where the histories of replicas part, here and at the hub.
    fn forks(
        &self,
        context: &CausalContext,
        openings: &[(ReplicaId, Opening)],
    ) -> Result<Vec<(ReplicaId, u64)>, S::Error> {
        let mut openings = openings.to_vec();
        sort_by(&mut openings, Ord::cmp);
        let of_each = openings.chunk_by(|(one, _), (other, _)| one == other);
        let mut found = Vec::new();
        for of_it in of_each {
            let Some((replica, _)) = of_it.first().copied() else { continue };
            let theirs: Vec<Opening> = of_it.iter().map(|(_, one)| *one).collect();
            let own = self.document.openings(replica)?;
            let (seen, seen_there) =
                (self.document.store().context().of(replica), context.of(replica));
            let (Some(seen), Some(seen_there)) = (seen, seen_there) else { continue };
            let mut first = fork((&own, seen), (&theirs, seen_there));
            // A mark that may have been superseded here, but that something else stands for.
            for one in theirs.iter().filter(|one| !own.contains(one)) {
                let at = one.first;
                if first.is_none_or(|first| at < first)
                    && !self.document.store().overlapping(replica, at, at)?.is_empty()
                {
                    first = Some(at);
                }
            }
            found.extend(first.map(|first| (replica, first)));
        }
        Ok(found)
    }

    /// Lets a part of a replica's history stand under another one. Gives the items that changed.
    fn rename(&mut self, renaming: &Renaming) -> Result<Vec<Dot>, S::Error> {
        self.document.rename(renaming)?;
        let mut renamed = self.outbox.rename(renaming);
        if S::HAS_OUTBOX {
            renamed.extend(self.outbox.rename_away(self.document.store(), renaming)?);
        }
        let Renaming { from, to, .. } = *renaming;
        if let Some(counter) = self.on_disk.get(&from).copied() {
            let Dot { replica, counter } = renaming.dot(Dot::new(from, counter));
            self.on_disk.insert(to, if replica == to { counter } else { 0 });
        }
        self.given_up = renaming.context(&self.given_up);
        self.renamed.push(*renaming);
        // Others name something else by the old dots.
        self.taken.forget();
        // What the hub has under the old dots is to come anew.
        self.cursor = None;
        self.refill_due = true;
        if self.author == Some(from) {
            self.author = Some(to);
            self.marked = None;
            let claimed = self.claims.remove(&from);
            self.claims.insert(to, claimed.unwrap_or(Claimed { opening: 0, shown: None }));
        }
        Ok(renamed)
    }
}

/// The marks of replicas in a file.
fn marks(file: &Document, replicas: impl Iterator<Item = ReplicaId>) -> Vec<(ReplicaId, Opening)> {
    let of = |replica| file.openings(replica).sure().into_iter().map(move |mark| (replica, mark));
    replicas.flat_map(of).collect()
}

/// Each replica once, in order.
fn distinct(mut replicas: Vec<ReplicaId>) -> Vec<ReplicaId> {
    sort_by(&mut replicas, ReplicaId::cmp);
    replicas.dedup();
    replicas
}
