//! The outbox: deltas accepted here and not yet acknowledged by the hub.

mod away;

use std::cell::Cell;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::causal::{CausalContext, Delta, Dot, Entry, ReplicaId};
use crate::error::Malformed;
use crate::pack::{self, Kind, Reader};
use crate::session::limits::{JOIN_BYTES_MAX, PUSH_PARTS_MAX, STAMP_AHEAD_MS_MAX};
use crate::small::BTreeSet;
use crate::time::Stamp;
use crate::types::{Opening, Renaming};
use crate::wire::encode_delta;

use self::away::{AwayBox, LETS_GO};
pub use self::away::{ItemHead, ItemSpan, Outline};

/// Where an item of the outbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxState {
    /// It was never sent; the next delta of its replica may be joined into it.
    Pending,
    /// It was sent, or is about to be. It never changes again.
    Frozen,
    /// The hub refused it; it is kept.
    Parked {
        /// What the hub says.
        reason: String,
    },
}

const PENDING: &str = "Pending";
const FROZEN: &str = "Frozen";
const PARKED: &str = "Parked";

impl OutboxState {
    /// Writes the state for storage: its name, or a map from its name to an array of the reason.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pending => pack::str(out, PENDING),
            Self::Frozen => pack::str(out, FROZEN),
            Self::Parked { reason } => {
                pack::map(out, 1);
                pack::str(out, PARKED);
                pack::array(out, 1);
                pack::str(out, reason);
            }
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let is_map = reader.kind()? == Kind::Map && reader.map()? == 1;
        match (reader.str()?, is_map) {
            (PENDING, false) => Ok(Self::Pending),
            (FROZEN, false) => Ok(Self::Frozen),
            (PARKED, true) => {
                reader.exactly(1)?;
                Ok(Self::Parked { reason: reader.str()?.to_owned() })
            }
            _ => Err(Malformed::Inconsistent { what: "an item is pending, frozen or parked" }),
        }
    }
}

/// A delta that waits for the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Who wrote it.
    pub replica: ReplicaId,
    /// The counter of its first dot.
    pub first: u64,
    /// The counter of its last dot.
    pub last: u64,
    /// How many changes were joined into it.
    pub changes: u32,
    /// Where it is.
    pub state: OutboxState,
    /// The delta.
    pub delta: Delta,
}

impl OutboxItem {
    /// Names the item: its last dot.
    #[must_use]
    pub fn key(&self) -> Dot {
        Dot::new(self.replica, self.last)
    }

    /// Adds what was written behind it.
    pub fn add(&mut self, next: Self) {
        self.delta.join(next.delta);
        self.last = next.last;
        self.changes = self.changes.saturating_add(next.changes);
    }

    /// The item once a part of a replica's history stands under another one. What it has from before
    /// that part goes with it.
    #[must_use]
    pub fn renamed(self, renaming: &Renaming) -> Self {
        let Renaming { from, first: start, last: end, to, .. } = *renaming;
        let is_hit = self.replica == from && self.last >= start;
        let mut item = Self { delta: renaming.delta(self.delta), ..self };
        if !is_hit {
            return item;
        }
        if item.first <= start
            && let Some(mark) = renaming.mark()
        {
            item.delta.entries.push(mark);
        }
        if item.last > end {
            item.first = end.saturating_add(1).max(item.first);
            return item;
        }
        let (is_whole, first) = (item.first > start, Dot::new(from, item.first));
        item.first = if is_whole { renaming.dot(first).counter } else { 1 };
        item.last = renaming.dot(item.key()).counter;
        item.replica = to;
        item.state = OutboxState::Pending;
        item
    }

    /// Whether the item may have dots of a replica from before its own was parted from that.
    pub(super) fn is_older(&self, replica: ReplicaId) -> bool {
        replica != self.replica && replica.is_kin(&self.replica)
    }

    fn has(&self, dot: Dot) -> bool {
        if self.is_older(dot.replica) {
            let brings = |entry: &Entry| {
                entry.replica() == dot.replica
                    && (entry.first.counter..=entry.last()).contains(&dot.counter)
            };
            return self.delta.dead.contains(dot) || self.delta.entries.iter().any(brings);
        }
        self.replica == dot.replica && (self.first..=self.last).contains(&dot.counter)
    }
}

/// Where an item is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It is to be sent, as soon as there is a connection and those before it are on their way.
    Pending,
    /// It was sent on the present connection, and the hub has not answered.
    InFlight,
    /// It depends on an item that is parked, and waits with that.
    Waiting,
    /// The hub refused it, or the application set it aside; it is kept.
    Parked {
        /// What the hub, or the application, says.
        reason: &'a str,
    },
}

#[derive(Debug)]
struct Slot {
    item: OutboxItem,
    /// No less than what its delta costs.
    cost: usize,
    /// The latest stamp in it.
    newest_ms: u64,
    /// Whether it is on disk as it is here.
    is_stored: bool,
    /// Whether it is being sent on the present connection.
    is_sent: bool,
    /// Whether it is set aside, or depends on one that is.
    waits: bool,
    /// Whether others took something of it, when a refill was last cut.
    is_taken: bool,
    /// What stands for the delta where the store has that.
    away: Option<AwayBox>,
}

impl Slot {
    fn is_parked(&self) -> bool {
        matches!(self.item.state, OutboxState::Parked { .. })
    }
}

/// Whether what depends on a refused change waits with it, and whether an item goes with a refill of which
/// others took something. The module for browsers is smaller without: there it goes its way, and others see
/// it in part until the refused one, or the item itself, follows.
pub(super) const DEPENDENTS_WAIT: bool = cfg!(not(target_arch = "wasm32"));

/// What items have that wait.
#[derive(Debug, Default)]
struct Held {
    dots: CausalContext,
    objects: BTreeSet<u64>,
}

impl Held {
    fn add(&mut self, item: &OutboxItem) {
        self.dots.insert_range(item.replica, item.first, item.last);
        self.objects.extend(objects(&item.delta));
    }

    /// Whether a delta takes the place of something of these, or is about an object of theirs.
    fn has(&self, delta: &Delta) -> bool {
        self.touches(&delta.dead, objects(delta))
    }

    fn touches(&self, dead: &CausalContext, mut objects: impl Iterator<Item = u64>) -> bool {
        !self.dots.is_empty()
            && (!self.dots.intersection(dead).is_empty()
                || objects.any(|object| self.objects.contains(&object)))
    }
}

/// The objects that a delta is about. Marks are about none.
fn objects(delta: &Delta) -> impl Iterator<Item = u64> {
    let of_entry =
        |entry: &Entry| (!is_mark(entry)).then(|| object(entry.label.space(), &entry.id));
    let entries = delta.entries.iter().filter_map(of_entry);
    entries.chain(delta.notes.iter().map(|note| object(note.label.space(), &note.id)))
}

/// The latest stamp in a delta, in milliseconds: what a wrong clock wrote does not go with what a right one
/// did.
fn newest_ms(delta: &Delta) -> u64 {
    if !DEPENDENTS_WAIT {
        return 0;
    }
    let entries = delta.entries.iter().map(|entry| entry.stamp);
    entries.chain(delta.notes.iter().map(|note| note.stamp)).max().map_or(0, Stamp::ms)
}

fn object(space: &[u8], id: &[u8]) -> u64 {
    xxh3_64_with_seed(id, xxh3_64_with_seed(space, 0))
}

fn is_mark(entry: &Entry) -> bool {
    Opening::read(entry.view()).is_some()
}

impl Slot {
    fn new(item: OutboxItem, is_stored: bool, is_sent: bool) -> Self {
        let (cost, newest_ms) = (item.delta.cost(), newest_ms(&item.delta));
        Self {
            item,
            cost,
            newest_ms,
            is_stored,
            is_sent,
            waits: false,
            is_taken: false,
            away: None,
        }
    }

    /// How it stands.
    fn standing(&self) -> Standing<'_> {
        match &self.item.state {
            OutboxState::Parked { reason } => Standing::Parked { reason },
            OutboxState::Pending | OutboxState::Frozen if self.waits => Standing::Waiting,
            OutboxState::Pending | OutboxState::Frozen if self.is_sent => Standing::InFlight,
            OutboxState::Pending | OutboxState::Frozen => Standing::Pending,
        }
    }

    fn stored(item: OutboxItem, is_sent: bool) -> Self {
        Self::new(item, true, is_sent)
    }

    /// Whether what another item has may be added to this one.
    fn takes(&mut self, other: &OutboxItem, cost: usize) -> bool {
        let is_next = (self.item.state == OutboxState::Pending || broken!(JoinsIntoFrozen))
            && self.item.replica == other.replica
            && self.item.last.saturating_add(1) == other.first;
        if !is_next {
            return false;
        }
        if self.cost + cost > JOIN_BYTES_MAX {
            // What was overwritten costs nothing any more.
            self.cost = self.item.delta.cost();
        }
        self.cost + cost <= JOIN_BYTES_MAX
    }
}

/// How much waits for the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxTotals {
    /// How many changes are to be sent, or were and the hub has not answered.
    pub pending: usize,
    /// No less than the bytes of these on the wire.
    pub pending_bytes: usize,
    /// How many changes are set aside, or depend on one that is.
    pub parked: usize,
    /// No less than the bytes of these on the wire.
    pub parked_bytes: usize,
}

impl OutboxTotals {
    fn of(slot: &Slot) -> Self {
        let (changes, bytes) = (slot.item.changes as usize, slot.cost);
        if slot.waits {
            Self { parked: changes, parked_bytes: bytes, ..Self::default() }
        } else {
            Self { pending: changes, pending_bytes: bytes, ..Self::default() }
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            pending: self.pending + other.pending,
            pending_bytes: self.pending_bytes + other.pending_bytes,
            parked: self.parked + other.parked,
            parked_bytes: self.parked_bytes + other.parked_bytes,
        }
    }

    fn less(self, other: Self) -> Self {
        Self {
            pending: self.pending - other.pending,
            pending_bytes: self.pending_bytes - other.pending_bytes,
            parked: self.parked - other.parked,
            parked_bytes: self.parked_bytes - other.parked_bytes,
        }
    }
}

/// The items in order, and how much they are where that is known.
#[derive(Debug, Default)]
pub(super) struct Outbox(Vec<Slot>, Cell<Option<OutboxTotals>>);

impl Outbox {
    pub(super) fn new(items: Vec<OutboxItem>) -> Self {
        let mut outbox = Self::default();
        outbox.replace(items);
        outbox
    }

    /// Takes the items as they are stored, keeps what is being stored here, and remembers which are
    /// being sent.
    pub(super) fn replace(&mut self, items: Vec<OutboxItem>) {
        let old = std::mem::take(&mut self.0);
        for item in items {
            let is_sent = old.iter().any(|slot| slot.is_sent && slot.item.key() == item.key());
            self.0.push(Slot::stored(item, is_sent));
        }
        for slot in old.into_iter().filter(|slot| !slot.is_stored) {
            let covered = |other: &Slot| {
                other.item.replica == slot.item.replica && other.item.last >= slot.item.last
            };
            if !self.0.iter().any(covered) {
                self.0.retain(|other| {
                    other.item.replica != slot.item.replica || other.item.first != slot.item.first
                });
                self.0.push(slot);
            }
        }
        self.find_waiting();
    }

    /// How much waits. What it takes to know that follows what has changed since.
    pub(super) fn totals(&self) -> OutboxTotals {
        let sum =
            || self.0.iter().map(OutboxTotals::of).fold(OutboxTotals::default(), OutboxTotals::add);
        let totals = self.1.get().unwrap_or_else(sum);
        self.1.set(Some(totals));
        totals
    }

    /// Takes note that a slot is another one than it was, or has come or gone.
    fn retotal(&self, old: Option<OutboxTotals>, new: Option<OutboxTotals>) {
        if let Some(totals) = self.1.get().filter(|_| DEPENDENTS_WAIT) {
            let totals = old.into_iter().fold(totals, OutboxTotals::less);
            self.1.set(Some(new.into_iter().fold(totals, OutboxTotals::add)));
        }
    }

    /// Finds what depends on an item that is set aside: it waits with that.
    pub(super) fn find_waiting(&mut self) {
        if DEPENDENTS_WAIT {
            self.1.set(None);
        }
        let mut held = Held::default();
        for slot in &mut self.0 {
            slot.waits = slot.is_parked() || (DEPENDENTS_WAIT && held.has_slot(slot));
            if slot.waits && DEPENDENTS_WAIT {
                held.add_slot(slot);
            }
        }
    }

    fn held(&self) -> Held {
        let mut held = Held::default();
        self.0.iter().filter(|slot| slot.waits).for_each(|slot| held.add_slot(slot));
        held
    }

    /// The items with how each stands.
    pub(super) fn standings(&self) -> impl Iterator<Item = (&OutboxItem, Standing<'_>)> {
        self.0.iter().map(|slot| (&slot.item, slot.standing()))
    }

    /// The later items that depend on one, directly or by others.
    pub(super) fn dependents(&self, key: Dot) -> Vec<&OutboxItem> {
        let mut rest = self.0.iter().skip_while(|slot| slot.item.key() != key);
        let mut held = Held::default();
        rest.next().into_iter().for_each(|slot| held.add_slot(slot));
        let mut found = Vec::new();
        for slot in rest {
            if held.has_slot(slot) {
                held.add_slot(slot);
                found.push(&slot.item);
            }
        }
        found
    }

    /// Lets an item that was set aside be sent as it is, once the driver says that this is on disk.
    pub(super) fn unpark(&mut self, key: Dot) {
        for slot in self.0.iter_mut().filter(|slot| slot.item.key() == key) {
            (slot.item.state, slot.is_stored) = (OutboxState::Frozen, false);
        }
        self.find_waiting();
    }

    /// Puts items where one stands. They are on disk so once the driver says so.
    pub(super) fn exchange(&mut self, key: Dot, items: impl IntoIterator<Item = OutboxItem>) {
        let Some(at) = self.0.iter().position(|slot| slot.item.key() == key) else { return };
        self.0.splice(at..=at, items.into_iter().map(|item| Slot::new(item, false, false)));
        self.find_waiting();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OutboxItem> {
        self.0.iter().map(|slot| &slot.item)
    }

    /// Adds a delta, of whose new dots the first is given and the counter of the last: joined into the last
    /// item of its replica while that was never sent. Gives the item, or of that only what was added, and
    /// the key of the one that it takes the place of.
    pub(super) fn push(
        &mut self,
        first: Dot,
        last: u64,
        delta: Delta,
        in_part: bool,
    ) -> (OutboxItem, Option<Dot>) {
        let Dot { replica, counter: first } = first;
        let waits = DEPENDENTS_WAIT && self.totals().parked > 0 && self.held().has(&delta);
        let (changes, state, cost) = (1, OutboxState::Pending, delta.cost());
        let newest_ms = newest_ms(&delta);
        let item = OutboxItem { replica, first, last, changes, state, delta };
        let old = self.0.last().filter(|_| DEPENDENTS_WAIT).map(OutboxTotals::of);
        if let Some(slot) = self.0.last_mut()
            && slot.waits == waits
            && slot.newest_ms.abs_diff(newest_ms) <= STAMP_AHEAD_MS_MAX
            && slot.takes(&item, cost)
        {
            slot.newest_ms = slot.newest_ms.max(newest_ms);
            let replaces = slot.item.key();
            let replaces = (!broken!(ReplacesInSilence)).then_some(replaces);
            slot.is_stored = false;
            slot.cost += cost;
            let added = in_part.then(|| item.clone());
            slot.item.add(item);
            if LETS_GO {
                slot.away = None;
            }
            let item = added.unwrap_or_else(|| slot.item.clone());
            self.retotal(old, self.0.last().map(OutboxTotals::of));
            return (item, replaces);
        }
        // What of the last one was overwritten may have been looked for.
        self.retotal(old, self.0.last().map(OutboxTotals::of));
        let (is_stored, is_sent, is_taken, away) = (false, false, false, None);
        let kept = item.clone();
        let slot = Slot { item: kept, cost, newest_ms, is_stored, is_sent, waits, is_taken, away };
        self.0.push(slot);
        self.retotal(None, self.0.last().map(OutboxTotals::of));
        (item, None)
    }

    /// Whether the item that holds this dot waits; none where there is no such item.
    pub(super) fn waits(&self, dot: Dot) -> Option<bool> {
        self.0.iter().find(|slot| slot.has(dot)).map(|slot| slot.waits)
    }

    /// Notes that items are on disk as they are here.
    pub(super) fn stored(&mut self, keys: &[Dot]) {
        for slot in self.0.iter_mut().filter(|slot| keys.contains(&slot.item.key())) {
            slot.note_stored();
        }
    }

    /// Forgets what was being sent: the connection has ended.
    pub(super) fn unsend_all(&mut self) {
        for slot in self.0.iter_mut().filter(|_| !broken!(NeverSendsAgain)) {
            slot.is_sent = false;
        }
    }

    /// The next items that may go as one push of so many bytes and are not yet frozen, if they are on disk
    /// and all before them are on their way.
    pub(super) fn freeze_next(&mut self, bytes_max: usize) -> Vec<Dot> {
        let is_pending = |slot: &Slot| slot.item.state == OutboxState::Pending && !slot.waits;
        let is_ready =
            |slot: &Slot| is_pending(slot) && (slot.is_stored || broken!(SendsBeforeStored));
        let Some(at) = self.0.iter().position(is_pending) else { return Vec::new() };
        let frozen = self.together(at, is_ready, bytes_max).iter_mut().map(|slot| {
            slot.item.state = OutboxState::Frozen;
            slot.is_stored = broken!(SendsBeforeFrozen) || broken!(SendsBeforeStored);
            slot.item.key()
        });
        frozen.collect()
    }

    /// The items from a place on that are ready and may go as one push: the first, and those of its
    /// replica behind it with which it has at most so many bytes.
    fn together(
        &mut self,
        at: usize,
        is_ready: impl Fn(&Slot) -> bool,
        bytes_max: usize,
    ) -> &mut [Slot] {
        let slots = &mut self.0[at..];
        let replica = slots.first().map(|slot| slot.item.replica);
        let goes = |slot: &Slot| is_ready(slot) && Some(slot.item.replica) == replica;
        let (mut bytes, mut parts) = (0, 0);
        let mut fits = |slot: &Slot| {
            let delta = &slot.item.delta;
            bytes += if slot.is_here() { encode_delta(delta).len() } else { slot.cost };
            parts += delta.entries.len() + delta.notes.len() + delta.dead.range_count();
            bytes <= bytes_max && parts <= PUSH_PARTS_MAX
        };
        // Mostly there is one, which goes however large it is.
        let count = match &slots[..slots.len().min(2)] {
            [one, another] if goes(one) && goes(another) => {
                slots.iter().take_while(|slot| goes(slot) && fits(slot)).count().max(1)
            }
            first => usize::from(first.first().is_some_and(goes)),
        };
        &mut slots[..count]
    }

    /// Freezes what is not yet frozen, up to the last item that goes with a refill. All of it is on disk.
    pub(super) fn freeze_removals(&mut self) -> Vec<Dot> {
        let end = self.removals_end();
        let pending = self.0[..end].iter_mut();
        let pending = pending.filter(|slot| slot.item.state == OutboxState::Pending && !slot.waits);
        let frozen = pending.map(|slot| {
            slot.item.state = OutboxState::Frozen;
            slot.is_stored = false;
            slot.item.key()
        });
        frozen.collect()
    }

    /// Behind the last item that goes with a refill: it removes something, or others took something of it,
    /// and it is not set aside.
    fn removals_end(&self) -> usize {
        let goes = |slot: &Slot| {
            let is_taken = DEPENDENTS_WAIT && slot.is_taken;
            (slot.removes() || is_taken) && !slot.waits
        };
        self.0.iter().rposition(goes).map_or(0, |at| at + 1)
    }

    /// The items up to the last that goes with a refill, where all of them can be sent and take no more than
    /// some bytes.
    pub(super) fn removals(&self, bytes_max: usize) -> Option<Vec<&OutboxItem>> {
        let items = self.0[..self.removals_end()].iter();
        let items = items.filter(|slot| !slot.waits);
        let is_frozen = |slot: &Slot| slot.item.state == OutboxState::Frozen;
        let is_ready = |slot: &Slot| is_frozen(slot) && slot.is_stored && slot.is_here();
        let is_whole = items.clone().all(is_ready);
        let cost: usize = items.clone().map(Slot::known_cost).sum();
        (is_whole && cost <= bytes_max).then(|| items.map(|slot| &slot.item).collect())
    }

    /// Notes that items are being sent.
    pub(super) fn send(&mut self, keys: &[Dot]) {
        for slot in self.0.iter_mut().filter(|slot| keys.contains(&slot.item.key())) {
            slot.is_sent = true;
        }
    }

    /// Forgets that items were being sent.
    pub(super) fn unsend(&mut self, keys: &[Dot]) {
        for slot in self.0.iter_mut().filter(|slot| keys.contains(&slot.item.key())) {
            slot.is_sent = false;
        }
    }

    /// Whether a dot is of no item that was not sent on this connection before those with these keys.
    pub(super) fn is_sent_before(&self, dot: Dot, keys: &[Dot]) -> bool {
        self.0.iter().all(|slot| {
            let OutboxItem { replica, first, last, .. } = slot.item;
            let has = replica == dot.replica && (first..=last).contains(&dot.counter);
            !has || (slot.is_sent && !keys.contains(&slot.item.key()))
        })
    }

    /// The next items to send, as one push of so many bytes, or the first alone where it has more: frozen
    /// on disk, not being sent, and none before them waits.
    pub(super) fn send_next(&mut self, bytes_max: usize) -> Vec<&OutboxItem> {
        let is_unsent = |slot: &Slot| !slot.is_sent && !slot.waits;
        let is_frozen = |slot: &Slot| slot.item.state == OutboxState::Frozen;
        let is_ready =
            |slot: &Slot| is_unsent(slot) && is_frozen(slot) && slot.is_stored && slot.is_here();
        let Some(at) = self.0.iter().position(is_unsent) else { return Vec::new() };
        let sent = self.together(at, is_ready, bytes_max).iter_mut().map(|slot| {
            slot.is_sent = true;
            &slot.item
        });
        sent.collect()
    }

    /// Whether an item, or one of its replica before it, is still to be sent.
    pub(super) fn is_unsent(&self, last: Dot) -> bool {
        self.0.iter().any(|slot| {
            let key = slot.item.key();
            !slot.is_sent && !slot.waits && key.replica == last.replica && key <= last
        })
    }

    /// Whether what is sent passes over items of its replica that come later, or wait.
    pub(super) fn skips(&self, keys: &[Dot]) -> bool {
        self.0.iter().any(|slot| {
            let key = slot.item.key();
            !slot.is_sent && keys.iter().any(|sent| key.replica == sent.replica && key < *sent)
        })
    }

    pub(super) fn find(&self, key: Dot) -> Option<&OutboxItem> {
        self.iter().find(|item| item.key() == key)
    }

    /// Takes an item out. Says whether it was there.
    pub(super) fn settle(&mut self, key: Dot) -> bool {
        let before = self.0.len();
        if DEPENDENTS_WAIT && let Some(slot) = self.0.iter().find(|slot| slot.item.key() == key) {
            self.retotal(Some(OutboxTotals::of(slot)), None);
        }
        self.0.retain(|slot| slot.item.key() != key);
        self.0.len() < before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a part of a replica's history stand under another one. Gives the items that changed; they
    /// are on disk so once the driver says so.
    pub(super) fn rename(&mut self, renaming: &Renaming) -> Vec<Dot> {
        let mut changed = Vec::new();
        for slot in self.0.iter_mut().filter(|slot| !slot.is_away()) {
            let renamed = slot.item.clone().renamed(renaming);
            if renamed != slot.item {
                (slot.cost, slot.is_stored, slot.is_sent) = (renamed.delta.cost(), false, false);
                slot.item = renamed;
                changed.push(slot.item.key());
            }
        }
        self.find_waiting();
        changed
    }

    /// The first item of a replica from a counter on.
    pub(super) fn first_from(&self, Dot { replica, counter }: Dot) -> Option<Dot> {
        let is_it = |item: &&OutboxItem| item.replica == replica && item.last >= counter;
        self.iter().find(is_it).map(OutboxItem::key)
    }

    /// Sets the items of a replica from a counter on aside. Gives those that were not.
    pub(super) fn park_from(&mut self, Dot { replica, counter }: Dot, reason: &str) -> Vec<Dot> {
        let is_hit = |item: &&OutboxItem| {
            item.replica == replica
                && item.last >= counter
                && !matches!(item.state, OutboxState::Parked { .. })
        };
        let keys: Vec<Dot> = self.iter().filter(is_hit).map(OutboxItem::key).collect();
        keys.iter().for_each(|key| self.park(*key, reason));
        keys
    }

    /// Sets an item aside.
    pub(super) fn park(&mut self, key: Dot, reason: &str) {
        for slot in self.0.iter_mut().filter(|slot| slot.item.key() == key) {
            slot.item.state = OutboxState::Parked { reason: reason.to_owned() };
            slot.is_sent = false;
        }
        self.find_waiting();
    }
}
