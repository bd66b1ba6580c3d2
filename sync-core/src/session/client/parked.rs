//! What an application does with what waits in its outbox: looks at it, sets it aside, sends it again,
//! writes it anew, gives it up.

use std::borrow::Cow;

use super::outbox::{OutboxItem, OutboxState, OutboxTotals, Standing};
use super::{Client, ClientStore, Opened, Step, Then};
use crate::causal::{CausalContext, Delta, Dot, Note};
use crate::document::{Again, Author, Refused};
use crate::error::Misuse;
use crate::session::Now;
use crate::time::Stamp;
use crate::types::Opening;
use crate::types::opening::MARK_BYTES;
use crate::wire::{Cursor, DELTA_BYTES_MAX};

/// Why a client hangs up that has given up a change.
const GIVEN_UP: &str = "a change was given up; opening again for what it took the place of";

/// No place in any hub's history: who comes from there hears of everything.
pub(super) const NOWHERE: Cursor = Cursor { boot: 0, seq: 0 };

/// A store in which what a session changes is what will be on disk, so that the steps of a batch need not
/// say it again.
pub trait Immediate: ClientStore {}

/// An item that was written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// What it had written, all of which is dead.
    pub was: CausalContext,
    /// Which dots stand for those of it that were live.
    pub again: Vec<Again>,
    /// The item that takes its place; the old one where nothing of it was live.
    pub key: Dot,
}

/// Why nothing was done with an item of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError<E = std::convert::Infallible> {
    /// There is no item of this key.
    #[error("the outbox has no such item; the hub may have taken it since")]
    NoSuchItem,
    /// The item was sent to the hub, or is about to be, and the hub has not answered.
    #[error("the item may have reached the hub; connect, and wait for its answer")]
    InFlight,
    /// The item is not set aside.
    #[error("the item is not parked; park it first")]
    NotParked,
    /// Another item depends on it.
    #[error("a later item depends on this one: {by}; give that up first")]
    Needed {
        /// The first that does.
        by: Dot,
    },
    /// The change was not made.
    #[error(transparent)]
    Refused(#[from] Refused<E>),
}

impl<E> From<Misuse> for ItemError<E> {
    fn from(misuse: Misuse) -> Self {
        Self::Refused(misuse.into())
    }
}

impl Client {
    /// What the hub has not acknowledged, in order, and how each stands.
    pub fn standings(
        &self,
        document: &str,
    ) -> Result<impl Iterator<Item = (&OutboxItem, Standing<'_>)>, Misuse> {
        Ok(self.opened(document)?.outbox.standings())
    }
}

impl<S: ClientStore> Client<S> {
    /// How much waits for the hub.
    pub fn totals(&self, document: &str) -> Result<OutboxTotals, Misuse> {
        Ok(self.opened(document)?.outbox.totals())
    }

    /// Sets an item aside that was never sent. What depends on it waits with it.
    pub fn park_item(
        &mut self,
        document: &str,
        key: Dot,
        reason: &str,
    ) -> Result<(), ItemError<S::Error>> {
        let opened = self.opened_mut(document)?;
        // Once an item may have left, only the hub's answer says whether others have it.
        let is_frozen = |item: &OutboxItem| item.state == OutboxState::Frozen;
        if opened.outbox.iter().any(|item| item.key() == key && is_frozen(item)) {
            return Err(ItemError::InFlight);
        }
        match opened.standing(key)? {
            Standing::InFlight => return Err(ItemError::InFlight),
            Standing::Parked { .. } => return Ok(()),
            Standing::Pending | Standing::Waiting => {}
        }
        opened.learn(Some(key)).map_err(Refused::Store)?;
        opened.outbox.park(key, reason);
        let steps = vec![Step::Park { key, reason: reason.to_owned() }];
        self.persist(document, steps, Then::default());
        self.tell_status(document);
        Ok(())
    }

    /// Lets an item that was set aside be sent again as it is, and what waited with it.
    pub fn retry_item(&mut self, document: &str, key: Dot) -> Result<(), ItemError<S::Error>> {
        let opened = self.opened_mut(document)?;
        opened.parked(key)?;
        opened.outbox.unpark(key);
        let then = Then { frozen: vec![key], ..Then::default() };
        self.persist(document, vec![Step::Freeze(key)], then);
        self.tell_status(document);
        Ok(())
    }

    /// Writes again what an item that was set aside wrote and is still there, as a change of now. The item's
    /// own dots die with it, so nobody ever has both. Gives which dots stand for which.
    pub fn rewrite_item(
        &mut self,
        now: Now,
        document: &str,
        key: Dot,
    ) -> Result<Rewritten, ItemError<S::Error>> {
        let stamp = self.clock.tick(now.unix_ms);
        let opened = self.opened_mut(document)?;
        let old = key;
        let item = opened.parked_item(key)?;
        let replica = opened.author()?;
        let (author, first) = (Author { replica, stamp }, opened.next_dot(replica));
        let opening = opened.unmarked();
        let limit = DELTA_BYTES_MAX - opening.map_or(0, |_| MARK_BYTES);
        let own = written(&item);
        let edited = opened.document.edit(author, limit, |edit| {
            opening.map_or(Ok(()), |opening| edit.open(opening))?;
            edit.write_again(&own)
        })?;
        opened.marked = Some(replica);
        opened.taken.add(edited.undo.replaced());
        let last = edited.delta.context().max_of(replica);
        let mut husk = husk(&item, CausalContext::default());
        let mut then = Then::default();
        let mut items = Vec::new();
        let (delta, undo) = (edited.delta, edited.undo);
        let mut recorded = Vec::new();
        let record = opened.changed(now.unix_ms, &delta, || undo, &mut recorded);
        record.map_err(Refused::Store)?;
        // What it took the place of, and what it removed, goes with what takes its own place.
        let mut all = delta;
        all.dead.union(&item.delta.dead);
        all.dead.union(&own);
        all.notes.extend(item.delta.notes.into_iter().map(|note| Note { stamp, ..note }));
        let join = Step::Join(all.clone());
        if last >= first.counter {
            then.on_disk = Some(Dot::new(replica, last));
            let (state, changes) = (OutboxState::Pending, item.changes);
            let first = first.counter;
            items.push(OutboxItem { replica, first, last, changes, state, delta: all });
        } else {
            all.entries = husk.delta.entries;
            husk.delta = all;
        }
        items.push(husk);
        let mut steps = vec![join];
        steps.append(&mut recorded);
        then.enqueued.extend(items.iter().map(OutboxItem::key));
        // What takes its place comes last on disk, and what depends on it behind that.
        let behind: Vec<_> = opened.outbox.dependents(key).iter().map(|item| item.key()).collect();
        let store = opened.document.store();
        let behind = behind.iter().map(|key| opened.outbox.item(store, *key));
        let behind = behind.collect::<Result<Vec<_>, _>>().map_err(Refused::Store)?;
        let behind: Vec<OutboxItem> = behind.into_iter().flatten().map(Cow::into_owned).collect();
        steps.extend([key].into_iter().chain(behind.iter().map(OutboxItem::key)).map(Step::Settle));
        for item in items.iter().cloned().chain(behind) {
            steps.push(Step::Enqueue { item, replaces: None });
        }
        let key = items.first().map_or(key, OutboxItem::key);
        opened.outbox.exchange(old, items);
        opened.give_up(&own, &mut steps);
        self.persist(document, steps, then);
        self.tell_changed(document, edited.touched.places());
        self.tell_status(document);
        Ok(Rewritten { was: own, again: edited.value, key })
    }
}

impl<S: Immediate> Client<S> {
    /// Gives up an item that was set aside: what it wrote is taken back here and reaches nobody, and what it
    /// took the place of comes back from the hub with the next connection. Gives what is lost.
    pub fn drop_item(
        &mut self,
        document: &str,
        key: Dot,
    ) -> Result<OutboxItem, ItemError<S::Error>> {
        let is_up = self.is_connected();
        let opened = self.opened_mut(document)?;
        let item = opened.parked_item(key)?;
        if let Some(by) = opened.outbox.dependents(key).first() {
            return Err(ItemError::Needed { by: by.key() });
        }
        let husk = husk(&item, CausalContext::default());
        opened.outbox.exchange(key, [husk.clone()]);
        let outbox = &opened.outbox;
        let own = written(&item);
        let other = |store: &S, at| outbox.delta_at(store, at);
        let places = opened.document.take_back(&item.delta, &own, other);
        let places = places.map_err(Refused::Store)?;
        opened.taken.forget();
        opened.cursor = Some(NOWHERE);
        let then = Then { enqueued: vec![husk.key()], ..Then::default() };
        let join = Step::Join(husk.delta.clone());
        let enqueue = Step::Enqueue { item: husk, replaces: None };
        let mut steps = vec![join, Step::Settle(key), enqueue, Step::Follow(NOWHERE)];
        if opened.is_recorded() {
            steps.push(Step::Record(None));
        }
        opened.give_up(&own, &mut steps);
        self.persist(document, steps, then);
        self.tell_changed(document, places);
        self.tell_status(document);
        if is_up {
            self.disconnect(GIVEN_UP);
        }
        Ok(item)
    }
}

impl<S: ClientStore> Opened<S> {
    fn standing<E>(&self, key: Dot) -> Result<Standing<'_>, ItemError<E>> {
        let found = self.outbox.standings().find(|(item, _)| item.key() == key);
        found.map(|(_, standing)| standing).ok_or(ItemError::NoSuchItem)
    }

    fn parked(&self, key: Dot) -> Result<(), ItemError<S::Error>> {
        match self.standing(key)? {
            Standing::Parked { .. } => Ok(()),
            Standing::Pending | Standing::InFlight | Standing::Waiting => Err(ItemError::NotParked),
        }
    }

    fn parked_item(&self, key: Dot) -> Result<OutboxItem, ItemError<S::Error>> {
        self.parked(key)?;
        let item = self.outbox.item(self.document.store(), key).map_err(Refused::Store)?;
        item.map(Cow::into_owned).ok_or(ItemError::NoSuchItem)
    }
}

impl OutboxItem {
    /// When the first of its changes was made, by the clock of this device, in milliseconds since 1970; none
    /// where nothing says it.
    #[must_use]
    pub fn since_ms(&self) -> Option<u64> {
        let entries = self.delta.entries.iter().map(|entry| entry.stamp);
        let stamps = entries.chain(self.delta.notes.iter().map(|note| note.stamp));
        // A mark has none.
        stamps.filter(|stamp| *stamp > Stamp::from_bits(0)).min().map(Stamp::ms)
    }
}

/// The dots that an item has written, but for marks: those go on saying who wrote.
fn written(item: &OutboxItem) -> CausalContext {
    let mut own = item.delta.live();
    own.insert_range(item.replica, item.first, item.last);
    own.difference(&marks(&item.delta).live())
}

fn marks(delta: &Delta) -> Delta {
    let marks = delta.entries.iter().filter(|entry| Opening::read(entry.view()).is_some());
    Delta { entries: marks.cloned().collect(), ..Delta::default() }
}

/// What is left of an item whose dots died before anybody saw them.
fn husk(item: &OutboxItem, mut dead: CausalContext) -> OutboxItem {
    dead.union(&written(item));
    let delta = Delta { dead, ..marks(&item.delta) };
    let OutboxItem { replica, first, last, changes, .. } = *item;
    OutboxItem { replica, first, last, changes, state: OutboxState::Pending, delta }
}
