//! What devices said that they hold, passed on to those who ask, and kept for those who come later.
//!
//! It is in memory alone, and limited; what is forgotten or dropped was not said.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConnectionId, Hub};
use crate::causal::ReplicaId;
use crate::session::Now;
use crate::session::hub_store::DocumentId;
use crate::session::limits::{HELD_BY_ONE_MAX, HELD_DOCUMENTS_MAX, HELD_MS};
use crate::wire::{Fault, HOLDERS_MAX, Holder, HubMessage};

/// All documents of which somebody may have said something.
#[derive(Debug, Default)]
pub(super) struct Held {
    documents: BTreeMap<DocumentId, Holders>,
    /// Counts what was opened.
    opened: u64,
    /// The last sequence number.
    seq: u64,
    /// When to pass on what was said, by the monotonic clock.
    due_ms: Option<u64>,
}

/// The devices of a document.
#[derive(Debug, Default)]
struct Holders {
    /// When it was last opened, as a count.
    opened: u64,
    /// A sequence number with which the document had everything that it has.
    changed: u64,
    /// By the first incarnation: one for each fingerprint.
    said: BTreeMap<ReplicaId, Said>,
    /// Who said something that was not passed on.
    fresh: BTreeSet<ReplicaId>,
}

#[derive(Debug)]
struct Said {
    connection: ConnectionId,
    replica: ReplicaId,
    seq: u64,
    name: String,
    at_ms: u64,
}

impl Holders {
    /// Forgets the oldest of some of what was said, where there is more than so many.
    fn limit(&mut self, limit: usize, is_one: impl Fn(&Said) -> bool) {
        let of_these = || self.said.iter().filter(|(_, said)| is_one(said));
        if of_these().count() <= limit {
            return;
        }
        let oldest = of_these().min_by_key(|(_, said)| said.at_ms);
        if let Some(oldest) = oldest.map(|(device, _)| *device) {
            self.said.remove(&oldest);
            self.fresh.remove(&oldest);
        }
    }
}

impl Held {
    /// Takes note of the last sequence number.
    pub(super) fn reach(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Takes note that somebody opens a document, at this sequence number.
    pub(super) fn open(
        &mut self,
        document: DocumentId,
        seq: u64,
        is_open: impl Fn(DocumentId) -> bool,
    ) {
        self.opened += 1;
        let opened = self.opened;
        let fresh = || Holders { changed: seq, ..Holders::default() };
        self.documents.entry(document).or_insert_with(fresh).opened = opened;
        self.limit(is_open);
    }

    /// Forgets what was opened the longest ago of what nobody has open, where it is too much.
    pub(super) fn limit(&mut self, is_open: impl Fn(DocumentId) -> bool) {
        loop {
            let others = || self.documents.iter().filter(|(other, _)| !is_open(**other));
            if others().count() <= HELD_DOCUMENTS_MAX {
                return;
            }
            let oldest = others().min_by_key(|(_, holders)| holders.opened);
            let Some(oldest) = oldest.map(|(other, _)| *other) else { return };
            self.documents.remove(&oldest);
        }
    }

    /// Takes note that a document has changed.
    pub(super) fn change(&mut self, document: DocumentId, seq: u64) {
        if let Some(holders) = self.documents.get_mut(&document) {
            holders.changed = seq;
        }
    }

    /// Takes what a device says. What comes late, over an older connection than the last, is not taken.
    fn take(&mut self, now: Now, document: DocumentId, said: Said) {
        let Some(holders) = self.documents.get_mut(&document) else { return };
        let device = said.replica.with_incarnation(0);
        let known = holders.said.get(&device);
        if known.is_some_and(|known| known.connection > said.connection) {
            return;
        }
        let connection = said.connection;
        holders.said.insert(device, said);
        holders.fresh.insert(device);
        // Nobody takes the place of others by saying much.
        holders.limit(HELD_BY_ONE_MAX, |said| said.connection == connection);
        holders.limit(HOLDERS_MAX, |_| true);
        self.due_ms.get_or_insert(now.monotonic_ms.saturating_add(HELD_MS));
    }

    /// What devices hold, as it is passed on. Who has everything that the document has, has it up to the
    /// last number, whatever else the hub took meanwhile.
    fn holders<'a>(
        &'a self,
        now: Now,
        holders: &'a Holders,
        devices: impl Iterator<Item = &'a Said>,
    ) -> Vec<Holder> {
        let holder = |said: &Said| {
            let has_all = said.seq >= holders.changed || broken!(HoldersRaised);
            Holder {
                replica: said.replica,
                seq: if has_all { self.seq } else { said.seq },
                age_ms: now.monotonic_ms.saturating_sub(said.at_ms),
                name: said.name.clone(),
            }
        };
        devices.map(holder).collect()
    }

    /// When there is something to be passed on.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }
}

impl Hub {
    /// Takes what a client says that it holds, and tells it what the others said where it asks for the
    /// first time.
    pub(super) fn handle_held(
        &mut self,
        now: Now,
        (connection, channel): (ConnectionId, u32),
        (replica, seq): (ReplicaId, u64),
        name: Option<String>,
    ) -> Result<(), Fault> {
        if seq > self.held.seq {
            return Err(Fault::OutOfOrder("nobody holds what there is not".into()));
        }
        let state = self.channel(connection, channel)?;
        let (document, is_claimed) = (state.document, state.claims.contains_key(&replica));
        let asks = name.is_some() && !state.asks;
        state.asks |= asks;
        if is_claimed {
            let (name, at_ms) = (name.unwrap_or_default(), now.monotonic_ms);
            let said = Said { connection, replica, seq, name, at_ms };
            self.held.take(now, document, said);
        }
        let Some(known) = self.held.documents.get(&document).filter(|_| asks) else {
            return Ok(());
        };
        let others = known.said.values().filter(|said| said.connection != connection);
        let holders = self.held.holders(now, known, others);
        if let Some(message) = HubMessage::held(channel, holders) {
            self.send(connection, &message);
        }
        Ok(())
    }

    /// Passes on what was said, where it is time for that.
    pub(super) fn pass_on(&mut self, now: Now) {
        if self.held.due_ms.is_none_or(|due| now.monotonic_ms < due) {
            return;
        }
        self.held.due_ms = None;
        let mut all = std::mem::take(&mut self.held.documents);
        for (document, known) in &mut all {
            let fresh = std::mem::take(&mut known.fresh);
            let Some(room) = self.rooms.get(document).filter(|_| !fresh.is_empty()) else {
                continue;
            };
            let said: Vec<&Said> =
                fresh.iter().filter_map(|device| known.said.get(device)).collect();
            let mut frames: BTreeMap<u32, std::sync::Arc<[u8]>> = BTreeMap::new();
            let mut sent = Vec::new();
            for &(connection, channel) in &room.members {
                let state = self.connections.get(&connection);
                let state = state.and_then(|state| state.channels.get(&channel));
                let is_told = state.is_some_and(|state| state.asks)
                    && said.iter().any(|said| said.connection != connection);
                if !is_told {
                    continue;
                }
                let frame = frames.entry(channel).or_insert_with(|| {
                    let holders = self.held.holders(now, known, said.iter().copied());
                    let message = HubMessage::held(channel, holders);
                    message.map(|message| message.encode()).unwrap_or_default().into()
                });
                sent.push((connection, frame.clone()));
            }
            for (connection, frame) in sent {
                self.send_frame(connection, frame);
            }
        }
        self.held.documents = all;
    }
}
