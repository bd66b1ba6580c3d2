//! Items whose deltas are in the store: the session holds what it decides by, and has a delta read where it
//! is sent, looked at or changed. So what waits for a hub takes little memory, however much it is.
//!
//! An item is let go once it is on disk and another one stands behind it. What is not on disk is never
//! asked for there.

use std::borrow::Cow;

use super::{Held, Outbox, OutboxItem, OutboxState, Slot, newest_ms, objects};
use crate::causal::{CausalContext, Delta, Dot, ReplicaId};
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::session::ClientStore;
use crate::types::Renaming;

/// Whether a session may let items go. In browsers all are in memory.
pub(super) const LETS_GO: bool = cfg!(not(target_arch = "wasm32"));

/// What a session has to know of a delta that it does not have in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// No less than what the delta costs.
    cost: usize,
    /// The latest stamp in it.
    newest_ms: u64,
    /// Whether something is removed by it.
    removes: bool,
    /// The live dots that it brings of replicas from before its own was parted from those.
    older: CausalContext,
    /// All dots of those that it has, or takes the place of.
    of_older: CausalContext,
}

impl Outline {
    /// That of an item.
    #[must_use]
    pub fn of(item: &OutboxItem) -> Self {
        let delta = &item.delta;
        let (cost, newest_ms, removes) = (delta.cost(), newest_ms(delta), !delta.notes.is_empty());
        let mut outline = Self { cost, newest_ms, removes, ..Self::default() };
        let Self { older, of_older, .. } = &mut outline;
        for run in delta.entries.iter().filter(|run| item.is_older(run.replica())) {
            older.insert_ranges(run.replica(), &run.live_ranges());
            of_older.insert_range(run.replica(), run.first.counter, run.last());
        }
        for (replica, ranges) in delta.dead.iter().filter(|(of, _)| item.is_older(*of)) {
            of_older.insert_ranges(replica, ranges);
        }
        outline
    }

    /// Adds that of what was written behind it.
    pub fn add(&mut self, next: &Self) {
        self.cost = self.cost.saturating_add(next.cost);
        self.newest_ms = self.newest_ms.max(next.newest_ms);
        self.removes |= next.removes;
        self.older.union(&next.older);
        self.of_older.union(&next.of_older);
    }

    /// Writes it for storage: an array of three, or of five where it speaks of older replicas.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let has_older = !self.of_older.is_empty();
        pack::array(out, if has_older { 5 } else { 3 });
        pack::uint(out, self.cost as u64);
        pack::uint(out, self.newest_ms);
        pack::bool(out, self.removes);
        if has_older {
            self.older.encode_into(out);
            self.of_older.encode_into(out);
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let beyond = reader.at_least(3)?;
        let (cost, newest_ms, removes) = (reader.narrow()?, reader.uint()?, reader.bool()?);
        let (older, of_older) = match beyond {
            0 => Default::default(),
            2 => (CausalContext::decode(reader)?, CausalContext::decode(reader)?),
            _ => return Err(Malformed::Encoding { detail: "an outline has 3 or 5 parts" }),
        };
        Ok(Self { cost, newest_ms, removes, older, of_older })
    }
}

/// An item of the outbox without its delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemHead {
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
    /// What is to be known of its delta.
    pub outline: Outline,
}

impl ItemHead {
    /// That of an item.
    #[must_use]
    pub fn of(item: &OutboxItem) -> Self {
        let OutboxItem { replica, first, last, changes, ref state, .. } = *item;
        Self { replica, first, last, changes, state: state.clone(), outline: Outline::of(item) }
    }

    /// Names the item: its last dot.
    #[must_use]
    pub fn key(&self) -> Dot {
        Dot::new(self.replica, self.last)
    }

    /// Which dots the item is of.
    #[must_use]
    pub fn span(&self) -> ItemSpan {
        ItemSpan { replica: self.replica, first: self.first, last: self.last }
    }

    /// Adds that of what was written behind it.
    pub fn add(&mut self, next: &Self) {
        self.last = next.last;
        self.changes = self.changes.saturating_add(next.changes);
        self.outline.add(&next.outline);
    }
}

/// Which dots an item of the outbox is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemSpan {
    /// Who wrote it.
    pub replica: ReplicaId,
    /// The counter of its first dot.
    pub first: u64,
    /// The counter of its last dot.
    pub last: u64,
}

impl ItemSpan {
    /// Names the item: its last dot.
    #[must_use]
    pub fn key(&self) -> Dot {
        Dot::new(self.replica, self.last)
    }

    /// Whether a dot is one of these.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.replica == dot.replica && (self.first..=self.last).contains(&dot.counter)
    }
}

/// What stands for a delta that is in the store.
#[derive(Debug)]
pub(super) struct Away {
    removes: bool,
    older: CausalContext,
    of_older: CausalContext,
    /// What it is about, while an item is set aside.
    about: Option<About>,
    /// What it is called in the store and what has renamed it since, until that is on disk.
    renamed: Option<(ItemSpan, Vec<Renaming>)>,
    /// Whether the delta is in memory for now.
    is_brought: bool,
}

/// The same as an item holds it.
#[cfg(not(target_arch = "wasm32"))]
pub(super) type AwayBox = Box<Away>;

#[cfg(not(target_arch = "wasm32"))]
fn boxed(away: Away) -> Option<AwayBox> {
    Some(Box::new(away))
}

/// The same where items are never let go: there is none.
#[cfg(target_arch = "wasm32")]
#[derive(Debug)]
pub(super) enum AwayBox {}

#[cfg(target_arch = "wasm32")]
impl std::ops::Deref for AwayBox {
    type Target = Away;

    fn deref(&self) -> &Away {
        match *self {}
    }
}

#[cfg(target_arch = "wasm32")]
impl std::ops::DerefMut for AwayBox {
    fn deref_mut(&mut self) -> &mut Away {
        match *self {}
    }
}

#[cfg(target_arch = "wasm32")]
fn boxed(_: Away) -> Option<AwayBox> {
    None
}

/// By what it is told whether an item depends on others.
#[derive(Debug)]
struct About {
    dead: CausalContext,
    objects: Vec<u64>,
}

impl About {
    fn of(delta: &Delta) -> Self {
        Self { dead: delta.dead.clone(), objects: objects(delta).collect() }
    }
}

impl Away {
    fn new(outline: Outline) -> Self {
        let Outline { removes, older, of_older, .. } = outline;
        Self { removes, older, of_older, about: None, renamed: None, is_brought: false }
    }
}

impl Held {
    pub(super) fn add_slot(&mut self, slot: &Slot) {
        match slot.about() {
            Some(about) => {
                self.dots.insert_range(slot.item.replica, slot.item.first, slot.item.last);
                self.objects.extend(about.objects.iter().copied());
            }
            None => self.add(&slot.item),
        }
    }

    pub(super) fn has_slot(&self, slot: &Slot) -> bool {
        match slot.about() {
            Some(about) => self.touches(&about.dead, about.objects.iter().copied()),
            None => self.has(&slot.item.delta),
        }
    }
}

impl Slot {
    fn of_head(head: ItemHead) -> Self {
        let ItemHead { replica, first, last, changes, state, outline } = head;
        let item = OutboxItem { replica, first, last, changes, state, delta: Delta::default() };
        let Outline { cost, newest_ms, .. } = outline;
        let away = boxed(Away::new(outline));
        let (is_stored, is_sent, waits, is_taken) = (true, false, false, false);
        Self { item, cost, newest_ms, is_stored, is_sent, waits, is_taken, away }
    }

    fn away(&self) -> Option<&Away> {
        self.away.as_deref().filter(|_| LETS_GO)
    }

    /// Whether the store has the delta, in memory or not.
    pub(super) fn is_away(&self) -> bool {
        self.away().is_some()
    }

    /// Whether the delta is in memory.
    pub(super) fn is_here(&self) -> bool {
        self.away().is_none_or(|away| away.is_brought)
    }

    /// Whether something is removed by it.
    pub(super) fn removes(&self) -> bool {
        self.away().map_or_else(|| !self.item.delta.notes.is_empty(), |away| away.removes)
    }

    /// What it costs, or more where its delta is in the store.
    pub(super) fn known_cost(&self) -> usize {
        if self.is_here() { self.item.delta.cost() } else { self.cost }
    }

    /// Whether it holds a dot.
    pub(super) fn has(&self, dot: Dot) -> bool {
        match self.away().filter(|_| self.item.is_older(dot.replica)) {
            Some(away) => away.of_older.contains(dot),
            None => self.item.has(dot),
        }
    }

    fn about(&self) -> Option<&About> {
        self.away()?.about.as_ref()
    }

    fn span(&self) -> ItemSpan {
        let OutboxItem { replica, first, last, .. } = self.item;
        ItemSpan { replica, first, last }
    }

    /// The delta, read from the store where it is there.
    fn delta<S: ClientStore>(&self, store: &S) -> Result<Cow<'_, Delta>, S::Error> {
        match self.away().filter(|away| !away.is_brought) {
            None => Ok(Cow::Borrowed(&self.item.delta)),
            Some(away) => {
                let (span, renamings) = match &away.renamed {
                    Some((span, renamings)) => (*span, &renamings[..]),
                    None => (self.span(), &[][..]),
                };
                let item = store.item(span)?.map(|item| {
                    renamings.iter().fold(item, |item, renaming| item.renamed(renaming))
                });
                Ok(Cow::Owned(item.map(|item| item.delta).unwrap_or_default()))
            }
        }
    }

    fn bring<S: ClientStore>(&mut self, store: &S) -> Result<(), S::Error> {
        if !self.is_here() {
            self.item.delta = self.delta(store)?.into_owned();
            if let Some(away) = &mut self.away {
                away.is_brought = true;
            }
        }
        Ok(())
    }

    /// Lets the delta go, where the store has it.
    fn let_go(&mut self, is_anything_held: bool) {
        match &mut self.away {
            Some(away) => away.is_brought = false,
            None if self.is_stored => {
                let mut away = Away::new(Outline::of(&self.item));
                away.about = is_anything_held.then(|| About::of(&self.item.delta));
                self.away = boxed(away);
            }
            None => return,
        }
        self.item.delta = Delta::default();
    }
}

impl Outbox {
    /// That of items whose deltas are in the store. What waits is to be found.
    pub(in super::super) fn of_heads(heads: Vec<ItemHead>) -> Self {
        Self(heads.into_iter().map(Slot::of_head).collect(), std::cell::Cell::default())
    }

    /// Adds the live dots of older replicas that items bring whose deltas are in the store.
    pub(in super::super) fn add_older(&self, to: &mut CausalContext) {
        self.0.iter().filter_map(Slot::away).for_each(|away| to.union(&away.older));
    }

    /// The items and how each stands.
    pub(in super::super) fn spans(&self) -> impl Iterator<Item = (ItemSpan, super::Standing<'_>)> {
        self.0.iter().map(|slot| (slot.span(), slot.standing()))
    }

    /// The item with a key, whole.
    pub(in super::super) fn item<S: ClientStore>(
        &self,
        store: &S,
        key: Dot,
    ) -> Result<Option<Cow<'_, OutboxItem>>, S::Error> {
        let Some(slot) = self.0.iter().find(|slot| slot.item.key() == key) else {
            return Ok(None);
        };
        if slot.is_here() {
            return Ok(Some(Cow::Borrowed(&slot.item)));
        }
        let delta = slot.delta(store)?.into_owned();
        Ok(Some(Cow::Owned(OutboxItem { delta, ..slot.item.clone() })))
    }

    /// The delta of the item at a place; none behind the last.
    pub(in super::super) fn delta_at<S: ClientStore>(
        &self,
        store: &S,
        at: usize,
    ) -> Result<Option<Cow<'_, Delta>>, S::Error> {
        self.0.get(at).map(|slot| slot.delta(store)).transpose()
    }

    /// Looks at each item with its delta, in order.
    pub(in super::super) fn each<S: ClientStore>(
        &self,
        store: &S,
        mut look: impl FnMut(&OutboxItem, &Delta),
    ) -> Result<(), S::Error> {
        for slot in &self.0 {
            look(&slot.item, &*slot.delta(store)?);
        }
        Ok(())
    }

    /// Notes of which items something has died that no item took, by what is live here.
    pub(in super::super) fn note_taken<S: ClientStore>(
        &mut self,
        store: &S,
        live: &CausalContext,
    ) -> Result<(), S::Error> {
        let mut known = live.clone();
        self.each(store, |_, delta| known.union(&delta.dead))?;
        for slot in &mut self.0 {
            slot.is_taken = !slot.delta(store)?.live().difference(&known).is_empty();
        }
        Ok(())
    }

    /// Where the run begins that a dot is within, if an item has that.
    pub(in super::super) fn run_start<S: ClientStore>(
        &self,
        store: &S,
        dot: Dot,
    ) -> Result<Option<u64>, S::Error> {
        for slot in self.0.iter().filter(|slot| slot.has(dot)) {
            let delta = slot.delta(store)?;
            let mut runs = delta.entries.iter().filter(|run| run.replica() == dot.replica);
            let run = runs.find(|run| (run.first.counter..=run.last()).contains(&dot.counter));
            if let Some(run) = run {
                return Ok(Some(run.first.counter));
            }
        }
        Ok(None)
    }

    /// Has the deltas of some items in memory until they are let go.
    pub(in super::super) fn bring<S: ClientStore>(
        &mut self,
        store: &S,
        keys: &[Dot],
    ) -> Result<(), S::Error> {
        let mut wanted = self.0.iter_mut().filter(|slot| keys.contains(&slot.item.key()));
        wanted.try_for_each(|slot| slot.bring(store))
    }

    /// The same for the last one, which changes are joined into.
    pub(in super::super) fn bring_last<S: ClientStore>(
        &mut self,
        store: &S,
    ) -> Result<(), S::Error> {
        let last = self.0.last_mut().filter(|slot| slot.item.state == OutboxState::Pending);
        last.map_or(Ok(()), |slot| slot.bring(store))
    }

    /// The same for those that may go as the next push of so many bytes.
    pub(in super::super) fn bring_unsent<S: ClientStore>(
        &mut self,
        store: &S,
        bytes_max: usize,
    ) -> Result<(), S::Error> {
        let is_unsent = |slot: &Slot| !slot.is_sent && !slot.waits;
        let Some(at) = self.0.iter().position(is_unsent) else { return Ok(()) };
        let mut bytes = 0;
        let is_ready = |slot: &Slot| is_unsent(slot) && slot.item.state == OutboxState::Frozen;
        for slot in self.0[at..].iter_mut().take_while(|slot| is_ready(slot)) {
            slot.bring(store)?;
            // They take no more of a push than they cost.
            bytes += slot.known_cost();
            if bytes > bytes_max {
                break;
            }
        }
        Ok(())
    }

    /// The same for all up to the last removal, where these have no more than some bytes.
    pub(in super::super) fn bring_removals<S: ClientStore>(
        &mut self,
        store: &S,
        bytes_max: usize,
    ) -> Result<(), S::Error> {
        let end = self.removals_end();
        let known = self.0[..end].iter().filter(|slot| !slot.waits).map(Slot::known_cost);
        if known.sum::<usize>() > bytes_max {
            return Ok(());
        }
        self.0[..end].iter_mut().filter(|slot| !slot.waits).try_for_each(|slot| slot.bring(store))
    }

    /// Lets items go that are on disk, but for the last one.
    pub(in super::super) fn let_go(&mut self, keys: &[Dot]) {
        let is_anything_held = self.totals().parked > 0;
        let end = self.0.len().saturating_sub(1);
        for slot in self.0[..end].iter_mut().filter(|slot| keys.contains(&slot.item.key())) {
            slot.let_go(is_anything_held);
        }
    }

    /// Lets the last item but one go, if it is on disk.
    pub(in super::super) fn let_go_before_last(&mut self) {
        let is_anything_held = self.totals().parked > 0;
        if let [.., slot, _] = &mut self.0[..] {
            slot.let_go(is_anything_held);
        }
    }

    /// Finds out what the items are about that stand behind one that is set aside, or behind that with a key.
    pub(in super::super) fn learn<S: ClientStore>(
        &mut self,
        store: &S,
        key: Option<Dot>,
    ) -> Result<(), S::Error> {
        let is_first = |slot: &Slot| slot.is_parked() || Some(slot.item.key()) == key;
        let Some(at) = self.0.iter().position(is_first) else { return Ok(()) };
        for slot in self.0[at..].iter_mut().filter(|slot| !slot.is_here()) {
            if slot.about().is_none() {
                let about = About::of(&*slot.delta(store)?);
                if let Some(away) = &mut slot.away {
                    away.about = Some(about);
                }
            }
        }
        Ok(())
    }

    /// Lets a part of a replica's history stand under another one, in items whose deltas are in the store:
    /// they are renamed there by the step that says so. Gives the items that changed.
    pub(in super::super) fn rename_away<S: ClientStore>(
        &mut self,
        store: &S,
        renaming: &Renaming,
    ) -> Result<Vec<Dot>, S::Error> {
        let mut changed = Vec::new();
        for slot in self.0.iter_mut().filter(|slot| slot.is_away()) {
            let (span, delta) = (slot.span(), slot.delta(store)?.into_owned());
            let whole = OutboxItem { delta, ..slot.item.clone() };
            let renamed = whole.clone().renamed(renaming);
            if renamed == whole {
                continue;
            }
            let outline = Outline::of(&renamed);
            (slot.cost, slot.is_stored, slot.is_sent) = (outline.cost, false, false);
            if let Some(old) = &mut slot.away {
                let mut away = Away::new(outline);
                away.about = old.about.as_ref().map(|_| About::of(&renamed.delta));
                let (_, renamings) =
                    away.renamed.insert(old.renamed.take().unwrap_or((span, Vec::new())));
                renamings.push(*renaming);
                **old = away;
            }
            slot.item = OutboxItem { delta: Delta::default(), ..renamed };
            changed.push(slot.item.key());
        }
        self.find_waiting();
        Ok(changed)
    }
}

impl Slot {
    /// Takes note that it is on disk as it is here.
    pub(super) fn note_stored(&mut self) {
        self.is_stored = true;
        if LETS_GO && let Some(away) = &mut self.away {
            away.renamed = None;
        }
    }
}
