//! What is named by numbers and dots on a connection: the hub's dictionary, and objects that both sides
//! have.
//!
//! Whether a dot is found is up to the reader. A hub that does not find one asks for the push in full. A
//! client knows of what its own changes took, as long as the hub may not know of that; where it does
//! not find a dot even so, it opens again, and asks the hub for ids as long as it runs.

use super::connection::join_items;
use super::outbox::Outbox;
use super::{Client, Opened, OutboxItem, Phase};
use crate::causal::{Delta, Dot, Entry, EntryView, Label, MemoryStore, PlaceId, PlaceStore};
use crate::error::{Malformed, Sure};
use crate::session::limits::TAKEN_MAX;
use crate::session::names::{Dots, Runs};
use crate::wire::{
    ClientMessage, Dictionary, InFull, Names, Objects, Push, read_delta, write_delta,
};

/// Why a client hangs up that does not find an object.
pub const NOT_HERE: &str = "the hub names an object that is not here; opening again";

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
    /// Whether the hub was told that objects are found by dots.
    dots: bool,
    /// Whether pushes name no dots until the hub has confirmed all of the outbox: it did not find one.
    is_plain: bool,
}

/// How objects of some items that go as one push are named to the hub.
struct ForHub<'a> {
    dots: Dots,
    store: &'a MemoryStore,
    outbox: &'a Outbox,
    keys: &'a [Dot],
}

impl Names for ForHub<'_> {
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot> {
        let mut found = self.dots.dot_of(space, id);
        if found.is_none() {
            let show = &mut |entry: EntryView<'_>| {
                if found.is_none() && self.outbox.is_sent_before(entry.first, self.keys) {
                    found = entry.live().next().map(|(dot, _)| dot);
                }
            };
            self.store.at(space, id, show).sure();
        }
        found
    }
}

impl Objects for Opened {
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        let entry = self.document.store().entry_of(dot);
        let entry = entry.map(|entry| (entry.label.clone(), entry.id.clone()));
        entry.or_else(|| self.taken.runs.object_of(dot))
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

impl Client {
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
    pub(super) fn handle_names(&mut self, name: &str, names: &[u8]) -> Result<(), &'static str> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let extended = opened.link.brief.dictionary.extend(names);
        extended.map_err(|_| "the hub sent no names")
    }

    /// Sends a push again in full, and those behind it, of which the hub has taken none.
    pub(super) fn handle_unresolved(&mut self, name: &str, id: u64) -> Result<(), &'static str> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let sent = opened.link.under_way.get(&id);
        if !sent.is_some_and(|sent| sent.has_dots) {
            return Err("the hub does not find what stands in full");
        }
        opened.link.brief.is_plain = true;
        let mut again = Vec::new();
        for (id, sent) in opened.link.under_way.iter_mut().filter(|(known, _)| **known >= id) {
            sent.has_dots = false;
            let is_sent = |item: &&OutboxItem| sent.keys.contains(&item.key());
            // What another tab has settled meanwhile leaves its number behind.
            let items: Vec<_> = opened.outbox.iter().filter(is_sent).collect();
            again.push((*id, join_items(&items)));
        }
        if broken!(ForgetsUnresolved) {
            again.clear();
        }
        for (id, delta) in again {
            self.send_push(name, id, &delta, None);
        }
        Ok(())
    }

    /// Sends a delta: items of the outbox by their keys, or something else. Says whether it names dots.
    pub(super) fn send_push(
        &mut self,
        name: &str,
        id: u64,
        delta: &Delta,
        keys: Option<&[Dot]>,
    ) -> bool {
        let Some(opened) = self.documents.get(name) else { return false };
        let mut bytes = Vec::new();
        let keys = keys.filter(|_| opened.is_known_to_hub());
        let dictionary = &opened.link.brief.dictionary;
        match keys {
            Some(keys) => {
                let is_there = |dot| opened.outbox.is_sent_before(dot, keys);
                let dots = opened.taken.runs.among(&delta.dead, is_there);
                let (store, outbox) = (opened.document.store(), &opened.outbox);
                let names = ForHub { dots, store, outbox, keys };
                write_delta(&mut bytes, delta, dictionary, &names);
            }
            None => write_delta(&mut bytes, delta, dictionary, &InFull),
        }
        let push = Push { channel: opened.link.channel, id, delta: bytes };
        self.send(&ClientMessage::Push(push));
        keys.is_some()
    }
}

impl Opened {
    /// Whether the hub has what is here, but for what the outbox holds and what has died there.
    fn is_known_to_hub(&self) -> bool {
        !self.is_refilling() && !self.link.brief.is_plain
    }

    /// Reads a delta of the hub.
    pub(super) fn read_delta(&mut self, bytes: &[u8]) -> Result<Delta, &'static str> {
        read_delta(bytes, &self.link.brief.dictionary, self).map_err(|malformed| {
            if malformed != Malformed::Dangling {
                return "the hub sent no delta";
            }
            self.taken.has_dangled = true;
            NOT_HERE
        })
    }
}
