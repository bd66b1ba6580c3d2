//! Comparing with a client that has no valid cursor, in place of sending it everything.
//!
//! The hub answers; what it says of its live dots stays as it was when the comparison began, though
//! others go on writing: dots that die meanwhile are remembered here.

use super::catch_up::CatchUp;
use super::{ConnectionId, Hub, Step, Stop};
use crate::causal::{CausalContext, Dot, ElementKey, Entry, ReplicaId, Sum, Total};
use crate::reconcile::{Limits, ReconcileError, Reconciler, Summary};
use crate::session::chunks::ChunkSize;
use crate::session::hub_store::{DocumentId, HubStore};
use crate::session::limits::{COMPARISONS_MAX, DIED_MAX, FOUND_RANGES_MAX};
use crate::wire::{
    Fault, HubMessage, SYNC_BYTES_MAX, SYNC_MESSAGES_MAX, SYNC_SESSION_BYTES_MAX, SYNC_TRIES_MAX,
};

/// What a comparison on either side of the protocol may cost.
pub(crate) const LIMITS: Limits = Limits {
    message_bytes_max: SYNC_BYTES_MAX,
    session_bytes_max: SYNC_SESSION_BYTES_MAX,
    messages_max: SYNC_MESSAGES_MAX,
    ranges_max: FOUND_RANGES_MAX,
};

/// A comparison that is under way or awaited.
#[derive(Debug)]
pub(super) struct Compare {
    /// What the client said that it had.
    theirs: CausalContext,
    /// The sequence number up to which the catch-up brings the client.
    up_to: u64,
    reconciler: Option<Box<Reconciler>>,
    /// What has died since the comparison began, with its hash, in the order of dots.
    died: Vec<(Dot, u64)>,
    tries: u32,
}

/// The live dots of a document as they were when a comparison began.
struct Frozen<'a, S> {
    store: &'a S,
    document: DocumentId,
    died: &'a [(Dot, u64)],
}

/// The answer to a message, and once the comparison is over the catch-up.
type Turn = (Option<Vec<u8>>, Option<CatchUp>);

impl Compare {
    pub(super) fn new(theirs: CausalContext, up_to: u64) -> Self {
        Self { theirs, up_to, reconciler: None, died: Vec::new(), tries: 0 }
    }

    /// Remembers what has died.
    fn note(&mut self, killed: &[Entry]) {
        if self.reconciler.is_none() {
            return;
        }
        for entry in killed {
            for (counter, hash) in entry.view().hashes() {
                let dot = Dot::new(entry.replica(), counter);
                if let Err(at) = self.died.binary_search_by_key(&dot, |(dot, _)| *dot) {
                    self.died.insert(at, (dot, hash));
                }
            }
        }
    }

    /// Takes a message. Gives the answer, and once it is over the catch-up.
    fn handle<S: HubStore>(
        &mut self,
        store: &S,
        document: DocumentId,
        message: &[u8],
        size: ChunkSize,
    ) -> Result<Turn, Stop<S::Error>> {
        if message.is_empty() || self.died.len() > DIED_MAX {
            return Ok((None, Some(self.everything(size))));
        }
        if Reconciler::is_first(message) {
            self.tries += 1;
            if self.tries > SYNC_TRIES_MAX {
                let (found, limit) = (self.tries.into(), SYNC_TRIES_MAX.into());
                return Err(
                    Fault::TooLarge { what: "comparisons of a channel", found, limit }.into()
                );
            }
            let context = store.context(document).map_err(Stop::Storage)?;
            self.died.clear();
            self.reconciler = Some(Box::new(Reconciler::responder(context, LIMITS)));
        }
        let Some(reconciler) = &mut self.reconciler else {
            return Err(
                Fault::OutOfOrder("a comparison begins with its first message".into()).into()
            );
        };
        let frozen = Frozen { store, document, died: &self.died };
        match reconciler.handle(&frozen, message) {
            Ok(answer) => {
                let catch_up = match reconciler.difference() {
                    Some(found) if found.knows_live => {
                        let (lacking, dead) = (found.unseen_there, found.live_there);
                        let theirs = std::mem::take(&mut self.theirs);
                        Some(CatchUp::of(lacking, dead, theirs, self.up_to, size))
                    }
                    // The client said that it is done, and not what it found.
                    Some(_) => Some(self.everything(size)),
                    None => None,
                };
                Ok((answer, catch_up))
            }
            Err(ReconcileError::Store(error)) => Err(Stop::Storage(error)),
            Err(ReconcileError::Malformed(malformed)) => Err(Fault::from(malformed).into()),
            Err(ReconcileError::Unexpected { .. }) => {
                Err(Fault::OutOfOrder("a message of a comparison out of turn".into()).into())
            }
            // Too much differs, or the client's document has changed.
            Err(ReconcileError::Budget { .. } | ReconcileError::Unresolved) => {
                Ok((None, Some(self.everything(size))))
            }
        }
    }

    fn everything(&mut self, size: ChunkSize) -> CatchUp {
        CatchUp::new(None, std::mem::take(&mut self.theirs), self.up_to, size)
    }
}

impl Hub {
    /// Goes on with a comparison, and with the catch-up once that is over.
    pub(super) fn handle_sync<S: HubStore>(
        &mut self,
        store: &S,
        connection: ConnectionId,
        channel: u32,
        message: &[u8],
    ) -> Step<S> {
        let size = self.chunk_size;
        let under_way = self.connections.get(&connection).map_or(0, |state| {
            let compares = state.channels.values().filter_map(|state| state.compare.as_ref());
            compares.filter(|compare| compare.reconciler.is_some()).count()
        });
        let state = self.channel(connection, channel)?;
        let document = state.document;
        let Some(compare) = &mut state.compare else {
            let what = "no comparison is under way on this channel";
            return Err(Fault::OutOfOrder(what.into()).into());
        };
        let is_one_more = compare.reconciler.is_none();
        let message = if is_one_more && under_way >= COMPARISONS_MAX { &[] } else { message };
        let (answer, catch_up) = compare.handle(store, document, message, size)?;
        if let Some(catch_up) = catch_up {
            state.compare = None;
            state.catch_up = Some(catch_up.count(store, document).map_err(Stop::Storage)?);
        }
        if let Some(message) = answer {
            self.send(connection, &HubMessage::Sync { channel, message });
        }
        self.go_on(store, connection, channel)
    }

    /// Tells the comparisons of a document what has died in it.
    pub(super) fn note_killed(&mut self, document: DocumentId, killed: &[Entry]) {
        let Some(room) = self.rooms.get(&document).filter(|_| !killed.is_empty()) else { return };
        for (connection, channel) in &room.members {
            let state = self.connections.get_mut(connection);
            let channel = state.and_then(|state| state.channels.get_mut(channel));
            if let Some(compare) = channel.and_then(|channel| channel.compare.as_mut()) {
                compare.note(killed);
            }
        }
    }
}

impl<S> Frozen<'_, S> {
    /// What has died of a replica among `start..=end`.
    fn died(&self, replica: ReplicaId, start: u64, end: u64) -> &[(Dot, u64)] {
        let from = self.died.partition_point(|(dot, _)| *dot < Dot::new(replica, start));
        let to = self.died.partition_point(|(dot, _)| *dot <= Dot::new(replica, end));
        self.died.get(from..to).unwrap_or_default()
    }
}

impl<S: HubStore> Summary for Frozen<'_, S> {
    type Error = S::Error;

    fn total(&self) -> Result<Total, S::Error> {
        // It is asked for when the comparison begins, and nothing has died then.
        self.store.total(self.document)
    }

    fn range(&self, replica: ReplicaId, start: u64, end: u64) -> Result<Sum, S::Error> {
        let mut sum = self.store.sum(self.document, replica, start, end)?;
        for (dot, content) in self.died(replica, start, end) {
            let hash = ElementKey::of(replica).element(dot.counter, *content);
            sum = sum.plus(Sum { hash, count: 1 });
        }
        Ok(sum)
    }

    fn items(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, S::Error> {
        let mut items = self.store.items(self.document, replica, start, end, limit)?;
        let died = self.died(replica, start, end);
        if !died.is_empty() {
            items.extend(died.iter().map(|(dot, content)| (dot.counter, *content)));
            items.sort_unstable();
            items.truncate(limit);
        }
        Ok(items)
    }
}
