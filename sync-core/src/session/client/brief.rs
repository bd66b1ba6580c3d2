//! What is named by numbers and dots on a connection: the hub's dictionary, and objects that both sides
//! have.
//!
//! Whether a dot is found is up to the reader. A hub that does not find one asks for the push in full. A
//! client knows of what its own changes took, as long as the hub may not know of that; where it does
//! not find a dot even so, it opens again, and asks the hub for ids as long as it runs.

use std::cell::RefCell;

use super::connection::{Broken, Heard, join_items};
use super::outbox::Outbox;
use super::{Client, ClientStore, Opened, OutboxItem, Phase};
use crate::causal::{Delta, Dot, DotStore, Entry, EntryView, Label, PlaceId, PlaceStore};
use crate::error::Malformed;
use crate::session::Page;
use crate::session::limits::TAKEN_MAX;
use crate::session::names::{Dots, Runs};
use crate::wire::{
    ClientMessage, Dictionary, InFull, Names, Objects, Push, read_delta, write_delta,
};

/// Why a client hangs up that does not find an object.
pub const NOT_HERE: &str = "the hub names an object that is not here; opening again";

/// Why a client hangs up that cannot read a delta.
const NO_DELTA: &str = "the hub sent no delta";

/// What own changes took that the hub has not confirmed.
#[derive(Debug, Default)]
pub(super) struct Taken {
    runs: Runs,
    /// Whether something that was taken is not among the runs.
    is_partial: bool,
    /// Whether an object was not found.
    has_dangled: bool,
}

/// Numbers and dots on one connection.
#[derive(Debug, Default)]
pub(super) struct Brief {
    dictionary: Dictionary,
    /// What the chunks of the catch-up have numbered.
    of_chunks: Dictionary,
    /// Whether the hub was told that objects are found by dots.
    dots: bool,
    /// Whether pushes name no dots until the hub has confirmed all of the outbox: it did not find one.
    is_plain: bool,
}

/// How objects of some items that go as one push are named to the hub.
struct ForHub<'a, S: DotStore> {
    dots: Dots,
    store: &'a S,
    outbox: &'a Outbox,
    keys: &'a [Dot],
    failed: RefCell<Option<S::Error>>,
}

impl<S: PlaceStore> Names for ForHub<'_, S> {
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot> {
        let mut found = self.dots.dot_of(space, id);
        if found.is_none() {
            let show = &mut |entry: EntryView<'_>| {
                if found.is_none() && self.outbox.is_sent_before(entry.first, self.keys) {
                    found = entry.live().next().map(|(dot, _)| dot);
                }
            };
            if let Err(failed) = self.store.at(space, id, show) {
                *self.failed.borrow_mut() = Some(failed);
            }
        }
        found
    }
}

/// Which objects are named by dots, here.
struct Here<'a, S: DotStore> {
    store: &'a S,
    taken: &'a Taken,
    failed: RefCell<Option<S::Error>>,
}

impl<S: DotStore> Objects for Here<'_, S> {
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        match self.store.overlapping(dot.replica, dot.counter, dot.counter) {
            Ok(entries) => {
                let entry = entries.into_iter().next().map(|entry| (entry.label, entry.id));
                entry.or_else(|| self.taken.runs.object_of(dot))
            }
            Err(failed) => {
                *self.failed.borrow_mut() = Some(failed);
                None
            }
        }
    }
}

impl Taken {
    /// Of an outbox whose items took nobody knows what.
    pub(super) fn unknown() -> Self {
        Self { is_partial: true, ..Self::default() }
    }

    /// Forgets what was taken, by dots that name something else from here on.
    pub(super) fn forget(&mut self) {
        (self.runs, self.is_partial) = (Runs::default(), true);
    }

    pub(super) fn add(&mut self, killed: &[Entry]) {
        killed.iter().for_each(|entry| self.runs.add(entry));
        if self.runs.len() > TAKEN_MAX {
            self.forget();
        }
    }
}

impl<S: ClientStore> Client<S> {
    /// Tells the hub that the dictionary is kept, and whether objects are found by dots.
    pub(super) fn send_brief(&mut self, name: &str, dots: bool) {
        if let (Some(channel), Some(opened)) = (self.channel_of(name), self.documents.get_mut(name))
        {
            opened.link.brief.dots = dots;
            self.send(&ClientMessage::Brief { channel, dots });
        }
    }

    /// Tells the hub where that has changed.
    pub(super) fn update_brief(&mut self, name: &str) {
        let Some(opened) = self.documents.get_mut(name) else { return };
        if opened.outbox.iter().next().is_none() {
            opened.taken = Taken { has_dangled: opened.taken.has_dangled, ..Taken::default() };
            opened.link.brief.is_plain = false;
        }
        let Taken { is_partial, has_dangled, .. } = opened.taken;
        let is_level = opened.link.phase == Phase::Live && !opened.is_refilling();
        let dots = is_level && !is_partial && !has_dangled;
        if dots != opened.link.brief.dots {
            self.send_brief(name, dots);
        }
    }

    /// Takes numbers that the hub gave.
    pub(super) fn handle_names(&mut self, name: &str, names: &[u8]) -> Heard<S> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let extended = opened.link.brief.dictionary.extend(names);
        extended.map_err(|_| "the hub sent no names".into())
    }

    /// Reads the delta of a chunk. After the last one nothing counts on the numbers.
    pub(super) fn read_chunk(
        &mut self,
        name: &str,
        bytes: &[u8],
        is_last: bool,
        left: u64,
    ) -> Result<Delta, &'static str> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let names = &mut opened.link.brief.of_chunks;
        let delta = names.read_chunk(bytes).map_err(|_| NO_DELTA)?;
        if is_last {
            *names = Dictionary::new();
        }
        opened.link.left = left;
        opened.link.received += delta.entries.iter().map(Page::cost).sum::<usize>() as u64;
        Ok(delta)
    }

    /// Sends a push again in full, and those behind it, of which the hub has taken none.
    pub(super) fn handle_unresolved(&mut self, name: &str, id: u64) -> Heard<S> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let sent = opened.link.under_way.get(&id);
        if !sent.is_some_and(|sent| sent.has_dots) {
            return Err("the hub does not find what stands in full".into());
        }
        opened.link.brief.is_plain = true;
        let mut again = Vec::new();
        for (id, sent) in opened.link.under_way.iter_mut().filter(|(known, _)| **known >= id) {
            sent.has_dots = false;
            let is_sent = |item: &&OutboxItem| sent.keys.contains(&item.key());
            if S::HAS_OUTBOX {
                let brought = opened.outbox.bring(opened.document.store(), &sent.keys);
                brought.map_err(Broken::Store)?;
            }
            // What another tab has settled meanwhile leaves its number behind.
            let items: Vec<_> = opened.outbox.iter().filter(is_sent).collect();
            again.push((*id, join_items(&items), sent.keys.clone()));
            if S::HAS_OUTBOX {
                opened.outbox.let_go(&sent.keys);
            }
        }
        if broken!(ForgetsUnresolved) {
            again.clear();
        }
        for (id, delta, keys) in again {
            self.send_push(name, id, &delta, &keys, false).map_err(Broken::Store)?;
        }
        Ok(())
    }

    /// Sends a delta, in which are the items of the outbox with these keys, perhaps with objects named by
    /// dots. Says whether it names any so.
    pub(super) fn send_push(
        &mut self,
        name: &str,
        id: u64,
        delta: &Delta,
        keys: &[Dot],
        is_short: bool,
    ) -> Result<bool, S::Error> {
        let Some(opened) = self.documents.get(name) else { return Ok(false) };
        let mut bytes = Vec::new();
        let has_dots = is_short && opened.is_known_to_hub();
        let dictionary = &opened.link.brief.dictionary;
        if has_dots {
            let is_there = |dot| opened.outbox.is_sent_before(dot, keys);
            let dots = opened.taken.runs.among(&delta.dead, is_there);
            let (store, outbox) = (opened.document.store(), &opened.outbox);
            let names = ForHub { dots, store, outbox, keys, failed: RefCell::new(None) };
            write_delta(&mut bytes, delta, dictionary, &names);
            if let Some(failed) = names.failed.into_inner() {
                return Err(failed);
            }
        } else {
            write_delta(&mut bytes, delta, dictionary, &InFull);
        }
        let (channel, skips) = (opened.link.channel, opened.outbox.skips(keys));
        let push = Push { channel, id, delta: bytes, skips };
        self.send(&ClientMessage::Push(push));
        Ok(has_dots)
    }
}

impl<S: ClientStore> Opened<S> {
    /// Whether the hub has what is here, but for what the outbox holds and what has died there.
    fn is_known_to_hub(&self) -> bool {
        !self.is_refilling() && !self.link.brief.is_plain
    }

    /// Reads a delta of the hub.
    pub(super) fn read_delta(&mut self, bytes: &[u8]) -> Result<Delta, Broken<S::Error>> {
        let (store, taken, failed) = (self.document.store(), &self.taken, RefCell::new(None));
        let here = Here { store, taken, failed };
        let read = read_delta(bytes, &self.link.brief.dictionary, &here);
        if let Some(failed) = here.failed.into_inner() {
            return Err(Broken::Store(failed));
        }
        read.map_err(|malformed| {
            if malformed != Malformed::Dangling {
                return NO_DELTA.into();
            }
            self.taken.has_dangled = true;
            NOT_HERE.into()
        })
    }
}
