//! The client's side of the protocol: documents, their outboxes, and one connection to a hub.
//!
//! Call order: `open` documents, then feed inputs by [`Client::handle`] and changes by
//! [`Client::change`], and after each of these drain [`Client::poll`]. A delta is sent only after the
//! driver has confirmed, by [`ClientInput::Persisted`], that it is on disk; an acknowledgement by the
//! hub is the only thing that takes it out of the outbox.

mod brief;
mod compare;
mod conflict_log;
mod connection;
#[cfg(not(target_arch = "wasm32"))]
mod devices;
#[cfg(target_arch = "wasm32")]
#[path = "client/no_devices.rs"]
mod devices;
mod fork;
mod held;
mod outbox;
mod parked;
mod progress;
mod record;
mod store;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

pub use brief::NOT_HERE;
pub use conflict_log::{LogEntry, Side, decode_log, encode_log};
pub use connection::IN_USE;
pub use devices::{Device, DeviceBox};
pub use fork::Parting;
pub use outbox::{ItemHead, ItemSpan, OutboxItem, OutboxState, OutboxTotals, Outline, Standing};
pub use parked::{Immediate, ItemError, Rewritten};
pub use progress::Progress;
pub use record::{RecordLevel, Recorded, RecordedBox};
pub use store::ClientStore;

use self::brief::Taken;
use self::compare::Doubts;
use self::conflict_log::ConflictLog;
use self::connection::{Link, Refill};
use self::devices::Devices;
use self::outbox::Outbox;
use self::record::Recording;
use super::Now;
use super::limits::CHANGE_BYTES_MAX;
use crate::causal::{CausalContext, Delta, Dot, MemoryStore, ReplicaId};
use crate::document::{Author, Change, Document, Edit, Refused, Undo};
use crate::error::Misuse;
use crate::small::{BTreeSet, SortedMap};
use crate::sort::sort_by;
use crate::time::{HybridClock, Stamp};
use crate::types::opening::MARK_BYTES;
use crate::types::{Place, Renaming};
use crate::wire::{
    Claim, Cursor, DELTA_BYTES_MAX, NAME_BYTES_MAX, PRESENCE_BYTES_MAX, Packing, Token,
};

/// Names a batch of steps that the driver stores in one transaction.
pub type PersistId = u64;

/// How a client presents itself.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ClientConfig {
    /// What others are shown as who is online.
    pub agent: String,
    /// Who this is, where the hub asks for it.
    pub token: Option<String>,
    /// Which frames are packed, where the hub reads that.
    pub packing: Packing,
}

/// Without the token.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, token, packing } = self;
        let mut shown = f.debug_struct("ClientConfig");
        shown.field("agent", agent).field("token", &token.clone().map(Token));
        shown.field("packing", packing).finish()
    }
}

/// A document as the driver stored it.
#[derive(Debug, Clone, Default)]
pub struct SavedDocument<S = MemoryStore> {
    /// Entries and context.
    pub store: S,
    /// What the hub has not acknowledged, in order; nothing where the store has that
    /// ([`ClientStore::HAS_OUTBOX`]).
    pub outbox: Vec<OutboxItem>,
    /// How far the hub was followed.
    pub cursor: Option<Cursor>,
    /// The conflict log.
    pub log: Vec<LogEntry>,
}

/// What came from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientInput {
    /// The transport is open.
    Connected,
    /// A frame arrived.
    Frame(Vec<u8>),
    /// The transport has ended.
    Disconnected,
    /// The steps of a batch are on disk.
    Persisted(PersistId),
    /// The time of [`Client::poll_timeout`] has come.
    Timeout,
}

/// What to do, in order.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientOutput {
    /// Send a frame.
    Send(Vec<u8>),
    /// Store these steps in one transaction, then say so by [`ClientInput::Persisted`]. Batches of one
    /// document are stored in order.
    Persist(Persist),
    /// Close the transport; the hub broke the protocol or went silent.
    Disconnect {
        /// Why.
        reason: String,
    },
    /// Something that the application may show.
    Event(ClientEvent),
}

/// Without the bytes of frames: one of them has the token.
impl fmt::Debug for ClientOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(frame) => write!(f, "Send({} bytes)", frame.len()),
            Self::Persist(persist) => f.debug_tuple("Persist").field(persist).finish(),
            Self::Disconnect { reason } => write!(f, "Disconnect({reason:?})"),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
        }
    }
}

/// Steps to be stored in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persist {
    /// Names the batch.
    pub id: PersistId,
    /// The document.
    pub document: String,
    /// What to store, in order.
    pub steps: Vec<Step>,
}

/// One thing to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Join a delta into the document's state; nothing where that has it already
    /// ([`ClientStore::IS_WRITTEN_THROUGH`]).
    Join(Delta),
    /// Keep a record of what changed last, where [`Client::record`] asked for it. None says that something was
    /// taken back: what is here does not follow from what was recorded before.
    Record(Option<RecordedBox>),
    /// Put an item into the outbox, in place of the one with the key `replaces`; or add it to that one
    /// ([`ClientStore::IS_WRITTEN_THROUGH`]).
    Enqueue {
        /// The item.
        item: OutboxItem,
        /// The item that was joined into it.
        replaces: Option<Dot>,
    },
    /// Note that an item is about to be sent; it never changes again.
    Freeze(Dot),
    /// Take an item out of the outbox; the hub has it on its disk.
    Settle(Dot),
    /// Note that the hub refused an item.
    Park {
        /// The item.
        key: Dot,
        /// What the hub says.
        reason: String,
    },
    /// Note how far the hub was followed.
    Follow(Cursor),
    /// Put an entry into the conflict log, in place of the one with the same key.
    Log(LogEntry),
    /// Write under this replica from here on.
    Renew(ReplicaId),
    /// What one replica wrote from a counter on stands under another one, in the state and in the outbox
    /// ([`OutboxItem::renamed`]); and forget how far the hub was followed.
    Rename(Renaming),
    /// Keep what is known of another device, in place of what was known of one of the same fingerprint. Of this
    /// device itself: which dots stand for nothing that was written here.
    Know(DeviceBox),
    /// Forget the device of this fingerprint.
    Forget(ReplicaId),
}

/// What the application may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// Records or sets changed.
    Changed {
        /// The document.
        document: String,
        /// Which places.
        places: BTreeSet<Place>,
    },
    /// The outbox or the phase of a document changed.
    Status {
        /// The document.
        document: String,
    },
    /// Who is online changed.
    Peers {
        /// The document.
        document: String,
    },
    /// A conflict was seen, or its sides changed.
    Conflict {
        /// The document.
        document: String,
        /// The entry for the log.
        entry: LogEntry,
    },
    /// The replica was found in use elsewhere, or behind itself; it writes under a fresh incarnation.
    Renewed {
        /// The document.
        document: String,
        /// The replica from here on.
        replica: ReplicaId,
    },
    /// The hub welcomed this connection.
    Welcomed {
        /// The hub's clock, in milliseconds since 1970.
        hub_ms: u64,
    },
}

/// How far a document is with its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// No connection, or none that was welcomed.
    #[default]
    Closed,
    /// The hub was asked to open it.
    Opening,
    /// The hub's state is on its way.
    CatchingUp,
    /// The hub's state is here.
    Live,
}

impl Phase {
    /// What programs call it that show it: `closed`, `opening`, `catching-up` or `live`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Opening => "opening",
            Self::CatchingUp => "catching-up",
            Self::Live => "live",
        }
    }
}

/// Where a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// It is on this disk.
    pub disk: bool,
    /// It is on the hub's disk.
    pub hub: bool,
    /// The hub refused it, or what it depends on; it is kept here.
    pub parked: bool,
}

/// A replica that is online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Opaque bytes that it shows.
    pub state: Vec<u8>,
}

/// A document that is open in a client.
#[derive(Debug)]
struct Opened<S> {
    document: Document<S>,
    outbox: Outbox,
    cursor: Option<Cursor>,
    /// Replicas that this client speaks for: its own, and in a browser those of the other tabs.
    claims: SortedMap<ReplicaId, Claimed>,
    author: Option<ReplicaId>,
    /// The author, once its opening is marked.
    marked: Option<ReplicaId>,
    /// What was written as a replica of which the hub has another history.
    renamed: Vec<Renaming>,
    /// What was given up or written anew: it reaches nobody under these dots.
    given_up: CausalContext,
    /// The highest counter on disk of each replica that was the author in this run.
    on_disk: SortedMap<ReplicaId, u64>,
    link: Link,
    refill: Refill,
    /// Whether a refill was cut, or may have been before this process began.
    refill_due: bool,
    /// What the hub is known to lack beside the outbox, or was when the last connection was lost; and all that
    /// was there before this run, until the hub was heard. Only where a record can be kept: browsers ask for
    /// none of it.
    lacked: CausalContext,
    /// Where the hub was found to have other bytes.
    doubts: Doubts,
    /// Whether a refill was under way when the last connection was lost, or something was imported since.
    is_cut: bool,
    /// Whether removals of the outbox go apart from a refill: the hub refused them together.
    goes_apart: bool,
    /// No more than a document has replicas.
    peers: SortedMap<ReplicaId, Peer>,
    log: ConflictLog,
    taken: Taken,
    recording: Recording,
    #[cfg_attr(target_arch = "wasm32", expect(dead_code))]
    devices: Devices,
    /// Batches that are being stored, in order, and what to do once each is. One that is stored before
    /// an earlier one has nothing left to do; the first one has.
    storing: VecDeque<(PersistId, Option<Then>)>,
}

#[derive(Debug, Clone)]
struct Claimed {
    opening: u64,
    /// What it shows of itself, while it is online.
    shown: Option<Peer>,
}

/// What follows once a batch is on disk.
#[derive(Debug, Default)]
struct Then {
    /// The changes of its replica up to this dot are safe.
    on_disk: Option<Dot>,
    /// These items may be sent.
    enqueued: Vec<Dot>,
    /// These items may be sent as they are.
    frozen: Vec<Dot>,
    /// The chunk to confirm.
    chunk: Option<u64>,
}

/// All documents of one store, and their common connection.
#[derive(Debug)]
pub struct Client<S = MemoryStore> {
    config: ClientConfig,
    /// What others are told that this device is called, where it asks for theirs.
    name: Option<String>,
    clock: HybridClock,
    documents: SortedMap<String, Box<Opened<S>>>,
    /// Document names by channel number, on this connection.
    channels: SortedMap<u32, String>,
    connection: connection::Connection,
    next_persist: PersistId,
    outputs: VecDeque<ClientOutput>,
}

impl Client {
    /// What the hub has not acknowledged, in order.
    pub fn outbox(&self, document: &str) -> Result<impl Iterator<Item = &OutboxItem>, Misuse> {
        Ok(self.opened(document)?.outbox.iter())
    }
}

/// Says that a delta was joined into the document.
fn join_step<S: ClientStore>(delta: &Delta) -> Step {
    Step::Join(if S::IS_WRITTEN_THROUGH { Delta::default() } else { delta.clone() })
}

impl<S: ClientStore> Client<S> {
    /// A client without documents.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            name: None,
            clock: HybridClock::default(),
            documents: SortedMap::new(),
            channels: SortedMap::new(),
            connection: connection::Connection::default(),
            next_persist: 1,
            outputs: VecDeque::new(),
        }
    }

    /// Opens a document from what was stored. It writes as `replica`, whose `opening` was drawn at
    /// random for this run.
    pub fn open(
        &mut self,
        name: &str,
        saved: SavedDocument<S>,
        replica: ReplicaId,
        opening: u64,
    ) -> Result<(), S::Error> {
        let is_settled = saved.store.is_settled();
        let document =
            if is_settled { Document::new(saved.store) } else { Document::load(saved.store)? };
        let (mut on_disk, mut claims) = (SortedMap::new(), SortedMap::new());
        on_disk.insert(replica, document.store().context().max_of(replica));
        claims.insert(replica, Claimed { opening, shown: None });
        let taken = if saved.outbox.is_empty() { Taken::default() } else { Taken::unknown() };
        let mut opened = Opened {
            lacked: if S::RECORDS {
                document.store().context().clone()
            } else {
                CausalContext::default()
            },
            document,
            taken,
            outbox: Outbox::new(saved.outbox),
            cursor: saved.cursor,
            log: ConflictLog::new(saved.log),
            claims,
            author: Some(replica),
            on_disk,
            refill_due: true,
            goes_apart: false,
            doubts: Doubts::default(),
            is_cut: false,
            marked: None,
            given_up: CausalContext::default(),
            renamed: Vec::new(),
            link: Link::default(),
            refill: Refill::default(),
            peers: SortedMap::new(),
            storing: VecDeque::new(),
            recording: Recording::default(),
            devices: Devices::default(),
        };
        if S::HAS_OUTBOX {
            opened.outbox = Outbox::of_heads(opened.document.store_mut().take_heads());
            if !opened.outbox.is_empty() {
                opened.taken = Taken::unknown();
            }
            opened.learn(None)?;
            opened.outbox.find_waiting();
        }
        self.documents.insert(name.to_owned(), Box::new(opened));
        self.advance(name)
    }

    /// Says who this is from the next connection on.
    pub fn set_token(&mut self, token: Option<String>) {
        self.config.token = token;
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// Takes what came from outside.
    ///
    /// # Errors
    ///
    /// That of the store; this is not to be used any more then.
    pub fn handle(&mut self, now: Now, input: ClientInput) -> Result<(), S::Error> {
        match input {
            ClientInput::Connected => self.handle_connected(now),
            ClientInput::Frame(bytes) => return self.handle_frame(now, &bytes),
            ClientInput::Disconnected => self.handle_disconnected(),
            ClientInput::Persisted(id) => return self.handle_persisted(id),
            ClientInput::Timeout => self.handle_timeout(now),
        }
        Ok(())
    }

    /// Makes a change: applied whole or not at all. It is visible here at once; the receipt of the
    /// dot that this gives says how safe it is. A change that changes nothing gives the last dot
    /// before.
    pub fn change<T>(
        &mut self,
        now: Now,
        document: &str,
        change: impl FnOnce(&mut Edit<'_, S>) -> Result<T, Refused<S::Error>>,
    ) -> Result<(T, Dot), Refused<S::Error>> {
        let stamp = self.clock.tick(now.unix_ms);
        let opened = self.opened_mut(document)?;
        let replica = opened.author()?;
        let author = Author { replica, stamp };
        let first = opened.next_dot(replica);
        let opening = opened.unmarked();
        let limit = CHANGE_BYTES_MAX + opening.map_or(0, |_| MARK_BYTES);
        let mut unchanged = None;
        let edited = opened.document.edit(author, limit, |edit| {
            opening.map_or(Ok(()), |opening| edit.open(opening))?;
            let before = edit.dot_count();
            let value = change(edit)?;
            if opening.is_some() && edit.dot_count() == before {
                // A mark alone says nothing.
                unchanged = Some(value);
                return Err(Misuse::Empty.into());
            }
            Ok(value)
        });
        let value = match (edited, unchanged) {
            (Err(Refused::Misuse(_)), Some(value)) => value,
            (edited, _) => {
                let edited = edited?;
                if !edited.delta.is_empty() {
                    opened.marked = Some(replica);
                    let places = edited.touched.places();
                    let undo = edited.undo;
                    opened.taken.add(undo.replaced());
                    opened.made(&undo);
                    let made = (edited.delta, undo);
                    let accepted = self.accept(now, document, first, made, places);
                    accepted.map_err(Refused::Store)?;
                }
                edited.value
            }
        };
        let last = self.document(document)?.store().context().max_of(replica);
        Ok((value, Dot::new(replica, last)))
    }

    /// Where the author's changes up to this dot are.
    pub fn receipt(&self, document: &str, dot: Dot) -> Result<Receipt, Misuse> {
        let opened = self.opened(document)?;
        let dot = opened.renamed.iter().fold(dot, |dot, renaming| renaming.dot(dot));
        let is_given_up = opened.given_up.contains(dot);
        let waits = if is_given_up { Some(true) } else { opened.outbox.waits(dot) };
        let on_disk = opened.on_disk.get(&dot.replica);
        let disk = on_disk.is_none_or(|counter| dot.counter <= *counter);
        // The hub may have lost what it had acknowledged.
        let is_lacked = S::RECORDS && opened.lacked.contains(dot);
        let hub = disk && waits.is_none() && !is_lacked;
        Ok(Receipt { disk, hub, parked: waits == Some(true) })
    }

    /// Whether the author's changes up to this dot are on disk, as a receipt says it, without a look at the
    /// outbox.
    pub fn is_on_disk(&self, document: &str, dot: Dot) -> Result<bool, Misuse> {
        let opened = self.opened(document)?;
        let dot = opened.renamed.iter().fold(dot, |dot, renaming| renaming.dot(dot));
        Ok(opened.on_disk.get(&dot.replica).is_none_or(|counter| dot.counter <= *counter))
    }

    /// A document as it stands.
    pub fn document(&self, name: &str) -> Result<&Document<S>, Misuse> {
        Ok(&self.opened(name)?.document)
    }

    /// The conflict log of a document: each entry, and whether it still clashes.
    pub fn conflict_log(
        &self,
        document: &str,
    ) -> Result<Vec<(&LogEntry, bool)>, Refused<S::Error>> {
        let opened = self.opened(document)?;
        let entries = opened.log.iter();
        let looked = entries.map(|entry| Ok((entry, entry.is_open(&opened.document)?)));
        looked.collect::<Result<_, _>>().map_err(Refused::Store)
    }

    /// The names of the open documents.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }

    /// The replica that a document is written as.
    pub fn replica(&self, document: &str) -> Result<ReplicaId, Misuse> {
        self.opened(document)?.author()
    }

    /// Which items the hub has not acknowledged, in order, and how each stands.
    pub fn spans(
        &self,
        document: &str,
    ) -> Result<impl Iterator<Item = (ItemSpan, Standing<'_>)>, Misuse> {
        Ok(self.opened(document)?.outbox.spans())
    }

    /// An item that the hub has not acknowledged; none where there is none of this key.
    pub fn item(
        &self,
        document: &str,
        key: Dot,
    ) -> Result<Option<Cow<'_, OutboxItem>>, Refused<S::Error>> {
        let opened = self.opened(document)?;
        opened.outbox.item(opened.document.store(), key).map_err(Refused::Store)
    }

    /// How far a document is with the hub.
    pub fn phase(&self, document: &str) -> Result<Phase, Misuse> {
        Ok(self.opened(document)?.link.phase)
    }

    /// Who else is online in a document, in the order of the replicas.
    pub fn peers(
        &self,
        document: &str,
    ) -> Result<impl Iterator<Item = (&ReplicaId, &Peer)>, Misuse> {
        Ok(self.opened(document)?.peers.iter())
    }

    /// Takes deltas that other tabs of this profile have stored, asserts what they left of records that
    /// are edited here, and stores that. They are joined as one, since a later one may remove
    /// what an earlier one left of a record.
    pub fn rejoin(
        &mut self,
        now: Now,
        document: &str,
        deltas: &[Delta],
    ) -> Result<(), Refused<S::Error>> {
        let mut store = MemoryStore::default();
        for delta in deltas {
            store.join(delta);
        }
        let mut all = store.to_delta();
        all.notes.extend(deltas.iter().flat_map(|delta| delta.notes.iter().cloned()));
        let Opened { document: known, taken, .. } = self.opened_mut(document)?;
        let change = known.join_and_look(&all, |killed| taken.add(killed));
        let change = change.map_err(Refused::Store)?;
        let accepted = self.accept_remote(now, document, change, Vec::new(), Then::default());
        accepted.map_err(Refused::Store)
    }

    /// Takes the outbox as it is stored, where several tabs share it.
    pub fn replace_outbox(
        &mut self,
        document: &str,
        items: Vec<OutboxItem>,
    ) -> Result<(), Refused<S::Error>> {
        let opened = self.opened_mut(document)?;
        opened.outbox.replace(items);
        self.tell_status(document);
        self.advance(document).map_err(Refused::Store)
    }

    /// Takes the cursor as it is stored, before this tab connects in place of another.
    pub fn follow_from(&mut self, document: &str, cursor: Option<Cursor>) -> Result<(), Misuse> {
        self.opened_mut(document)?.cursor = cursor;
        Ok(())
    }

    /// Speaks for another replica of this profile too.
    pub fn claim(&mut self, document: &str, claim: Claim) -> Result<(), Misuse> {
        let opened = self.opened_mut(document)?;
        let Claim { replica, opening } = claim;
        let known = opened.claims.get(&replica).is_some_and(|held| held.opening == opening);
        if !known {
            opened.claims.insert(replica, Claimed { opening, shown: None });
            self.send_claims(document, vec![claim]);
        }
        Ok(())
    }

    /// Says that a claimed replica is online, and what it shows. Refuses what no hub takes.
    pub fn show(&mut self, document: &str, replica: ReplicaId, shown: Peer) -> Result<(), Misuse> {
        for (what, found, limit) in [
            ("the name that is shown", shown.name.len(), NAME_BYTES_MAX),
            ("the state that is shown", shown.state.len(), PRESENCE_BYTES_MAX),
        ] {
            if found > limit {
                return Err(Misuse::TooLarge { what, found: found as u64, limit: limit as u64 });
            }
        }
        let opened = self.opened_mut(document)?;
        let Some(claimed) = opened.claims.get_mut(&replica) else { return Ok(()) };
        if claimed.shown.as_ref() != Some(&shown) {
            claimed.shown = Some(shown);
            self.send_presence(document, replica);
        }
        Ok(())
    }

    /// No longer speaks for a replica of another tab.
    pub fn release(&mut self, document: &str, replica: ReplicaId) -> Result<(), Misuse> {
        let opened = self.opened_mut(document)?;
        if opened.author != Some(replica) && opened.claims.remove(&replica).is_some() {
            self.send_release(document, replica);
        }
        Ok(())
    }

    fn opened(&self, document: &str) -> Result<&Opened<S>, Misuse> {
        let opened = self.documents.get(document);
        opened.map(|opened| &**opened).ok_or_else(|| Misuse::NotOpen { name: document.to_owned() })
    }

    fn opened_mut(&mut self, document: &str) -> Result<&mut Opened<S>, Misuse> {
        let opened = self.documents.get_mut(document);
        opened
            .map(|opened| &mut **opened)
            .ok_or_else(|| Misuse::NotOpen { name: document.to_owned() })
    }

    /// Stores a change of this replica and puts it into the outbox.
    fn accept(
        &mut self,
        now: Now,
        document: &str,
        first: Dot,
        (delta, undo): (Delta, Undo),
        places: BTreeSet<Place>,
    ) -> Result<(), S::Error> {
        let Some(opened) = self.documents.get_mut(document) else { return Ok(()) };
        let replica = first.replica;
        let last = delta.context().max_of(replica);
        let on_disk = Some(Dot::new(replica, last));
        let mut steps = Vec::new();
        opened.joined(now.unix_ms, &delta, || undo, &mut steps)?;
        opened.bring_last()?;
        let (item, replaces) = opened.outbox.push(first, last, delta, S::IS_WRITTEN_THROUGH);
        opened.let_go_before_last();
        let mut then = Then { on_disk, ..Then::default() };
        then.enqueued.push(item.key());
        steps.push(Step::Enqueue { item, replaces });
        self.log_conflicts(now, document, &places, &[], &mut steps)?;
        self.persist(document, steps, then);
        self.tell_changed(document, places);
        Ok(())
    }

    /// Stores what came from outside, and with it the records that this replica asserts again.
    fn accept_remote(
        &mut self,
        now: Now,
        document: &str,
        change: Change,
        mut steps: Vec<Step>,
        then: Then,
    ) -> Result<(), S::Error> {
        let Change { touched, orphans, .. } = change;
        let (mut places, mut then) = (touched.places(), then);
        let stamp = self.clock.tick(now.unix_ms);
        let removed_at =
            orphans.iter().filter_map(|orphan| Some((orphan.place()?, orphan.removed_at?)));
        let mut removed_at: Vec<(Place, Stamp)> = removed_at.collect();
        sort_by(&mut removed_at, Ord::cmp);
        let Some(opened) = self.documents.get_mut(document) else { return Ok(()) };
        if let Ok(replica) = opened.author() {
            let author = Author { replica, stamp };
            let mut first = opened.next_dot(replica);
            let mut edits = Vec::new();
            if !orphans.is_empty()
                && let Some(opening) = opened.unmarked()
            {
                match opened.document.edit(author, MARK_BYTES, |edit| edit.open(opening)) {
                    // What was written again has its mark already.
                    Ok(marked) if marked.delta.is_empty() => {}
                    Ok(marked) => edits.push(marked),
                    Err(Refused::Store(failed)) => return Err(failed),
                    Err(Refused::Misuse(_)) => {}
                }
                opened.marked = Some(replica);
            }
            for orphan in &orphans {
                edits.extend(opened.document.assert(author, DELTA_BYTES_MAX, orphan)?);
            }
            for edited in edits {
                let last = edited.delta.context().max_of(replica);
                then.on_disk = Some(Dot::new(replica, last));
                places.extend(edited.touched.places());
                opened.taken.add(edited.undo.replaced());
                let undo = edited.undo;
                opened.joined(now.unix_ms, &edited.delta, || undo, &mut steps)?;
                opened.bring_last()?;
                let in_part = S::IS_WRITTEN_THROUGH;
                let (item, replaces) = opened.outbox.push(first, last, edited.delta, in_part);
                opened.let_go_before_last();
                first.counter = last + 1;
                // An item that another takes the place of is stored with that one.
                then.enqueued.retain(|key| Some(*key) != replaces);
                then.enqueued.push(item.key());
                steps.push(Step::Enqueue { item, replaces });
            }
        }
        self.log_conflicts(now, document, &places, &removed_at, &mut steps)?;
        self.persist(document, steps, then);
        self.tell_changed(document, places);
        Ok(())
    }

    fn persist(&mut self, document: &str, steps: Vec<Step>, then: Then) {
        if steps.is_empty() && then.chunk.is_none() {
            return;
        }
        let id = self.next_persist;
        self.next_persist += 1;
        if let Some(opened) = self.documents.get_mut(document) {
            opened.storing.push_back((id, Some(then)));
            let document = document.to_owned();
            self.outputs.push_back(ClientOutput::Persist(Persist { id, document, steps }));
        }
    }

    fn handle_persisted(&mut self, id: PersistId) -> Result<(), S::Error> {
        let found = self.documents.iter_mut().find_map(|(name, opened)| {
            let at = opened.storing.binary_search_by_key(&id, |(id, _)| *id).ok()?;
            let then = opened.storing.get_mut(at)?.1.take()?;
            while opened.storing.front().is_some_and(|(_, then)| then.is_none()) {
                opened.storing.pop_front();
            }
            Some((name.clone(), then))
        });
        let Some((document, then)) = found else { return Ok(()) };
        if let Some(opened) = self.documents.get_mut(&document) {
            if let Some(Dot { replica, counter }) = then.on_disk {
                let on_disk = opened.on_disk.entry(replica).or_default();
                *on_disk = counter.max(*on_disk);
            }
            opened.outbox.stored(&then.enqueued);
            opened.outbox.stored(&then.frozen);
            if S::HAS_OUTBOX {
                opened.outbox.let_go(&then.enqueued);
                opened.outbox.let_go(&then.frozen);
            }
        }
        if let Some(number) = then.chunk {
            self.confirm_chunk(&document, number);
        }
        self.tell_status(&document);
        self.advance(&document)
    }

    fn tell_changed(&mut self, document: &str, places: BTreeSet<Place>) {
        if !places.is_empty() {
            let event = ClientEvent::Changed { document: document.to_owned(), places };
            self.tell(event);
        }
    }

    fn tell_status(&mut self, document: &str) {
        self.tell(ClientEvent::Status { document: document.to_owned() });
    }

    fn tell(&mut self, event: ClientEvent) {
        self.outputs.push_back(ClientOutput::Event(event));
    }
}

impl<S: ClientStore> Opened<S> {
    fn author(&self) -> Result<ReplicaId, Misuse> {
        self.author.ok_or(Misuse::Empty)
    }

    /// The next dot of a replica.
    fn next_dot(&self, replica: ReplicaId) -> Dot {
        Dot::new(replica, self.document.store().context().max_of(replica) + 1)
    }

    /// The author's opening, where what it writes is not marked yet.
    fn unmarked(&self) -> Option<u64> {
        let author = self.author.filter(|author| self.marked != Some(*author))?;
        Some(self.claims.get(&author)?.opening)
    }

    fn is_stored(&self) -> bool {
        self.storing.is_empty()
    }

    /// What is here and not in the outbox: dots that only a hub that lost something lacks.
    fn settled(&self, context: &CausalContext) -> CausalContext {
        let mut waiting = CausalContext::default();
        for item in self.outbox.iter() {
            waiting.insert_range(item.replica, item.first, item.last);
            for entry in item.delta.entries.iter().filter(|entry| item.is_older(entry.replica())) {
                waiting.insert_ranges(entry.replica(), &entry.live_ranges());
            }
        }
        if S::HAS_OUTBOX {
            self.outbox.add_older(&mut waiting);
        }
        context.difference(&waiting)
    }

    /// Has the delta of the last item in memory, where a change may be added to it.
    fn bring_last(&mut self) -> Result<(), S::Error> {
        if S::HAS_OUTBOX {
            self.outbox.bring_last(self.document.store())?;
        }
        Ok(())
    }

    /// Lets go what the last item stands behind.
    fn let_go_before_last(&mut self) {
        if S::HAS_OUTBOX {
            self.outbox.let_go_before_last();
        }
    }

    /// Finds out what depends on items that are set aside, or on one that is about to be.
    fn learn(&mut self, key: Option<Dot>) -> Result<(), S::Error> {
        if S::HAS_OUTBOX {
            self.outbox.learn(self.document.store(), key)?;
        }
        Ok(())
    }
}
