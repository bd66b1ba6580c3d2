//! The hub's side of the protocol: all connections of one hub, over one store.
//!
//! It joins, stores and relays deltas without knowing what is in them. It never sends an
//! acknowledgement on its own: the driver releases the outputs of a batch of inputs only after the
//! store's transaction for that batch is on disk.

mod access;
mod admission;
mod brief;
mod catch_up;
mod compare;
mod counts;
mod gaps;
mod held;
mod parts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

pub use self::access::{Documents, Grant, Rule};
use self::admission::{Refusal, Terms};
use self::brief::{dots_of, read_push};
use self::catch_up::CatchUp;
use self::compare::Compare;
pub(super) use self::compare::LIMITS;
pub use self::counts::Counts;
use self::held::Held;
use super::chunks::ChunkSize;
use super::hub_store::{Buried, DocumentId, HubStore};
use super::limits::{CLIENT_SILENCE_MS_MAX, HELLO_MS_MAX, SHOWN_BYTES_MAX, WRITERS_MAX};
use super::names::Dots;
use super::{Boot, Now};
use crate::causal::{CausalContext, Delta, DotStore, ReplicaId, join};
use crate::time::{Stamp, TIME_MS_MIN};
use crate::types::Opening;
use crate::wire::{
    CHANNELS_MAX, CLAIMS_MAX, CONTEXT_RANGES_MAX, Claim, ClientMessage, Cursor, Dictionary, Fault,
    HubMessage, OPENINGS_MAX, PUSH_CREDIT, Packing, Push, REPLICAS_MAX, VERSION, Welcome,
    decode_client, encode_delta, write_delta,
};

/// Names one connection, for ever, within one run of the hub.
pub type ConnectionId = u64;

/// What happened to a connection.
#[derive(Clone, PartialEq, Eq)]
pub enum HubInput {
    /// It was accepted. It may read and write everything, where nothing else is granted.
    Connected,
    /// It may do this and nothing else, from here on: what its token says.
    Granted(Grant),
    /// A binary frame arrived.
    Frame(Vec<u8>),
    /// It ended, from either side.
    Disconnected,
}

/// Without the bytes of frames: one of them has a token.
impl fmt::Debug for HubInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("Connected"),
            Self::Granted(grant) => write!(f, "Granted({grant:?})"),
            Self::Frame(frame) => write!(f, "Frame({} bytes)", frame.len()),
            Self::Disconnected => f.write_str("Disconnected"),
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubOutput {
    /// Send a frame.
    Send {
        /// To whom.
        connection: ConnectionId,
        /// The frame.
        frame: std::sync::Arc<[u8]>,
    },
    /// Close the connection with this fault's code and reason. Nothing more is sent to it.
    Close {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        fault: Fault,
    },
}

/// The state of a hub, without its store.
#[derive(Debug, Default)]
pub struct Hub {
    connections: BTreeMap<ConnectionId, Connection>,
    rooms: BTreeMap<DocumentId, Room>,
    outputs: VecDeque<HubOutput>,
    held: Held,
    chunk_size: ChunkSize,
    packing: Packing,
    /// How far ahead of the hub's clock stamps may be, in milliseconds; any, where it is not set.
    stamp_ahead_ms_max: Option<u64>,
    counts: Counts,
}

#[derive(Debug)]
struct Connection {
    /// Set by the hello.
    agent: Option<String>,
    /// Until when something is to be heard, by the monotonic clock.
    deadline_ms: u64,
    /// What it may do; everything, where it is left out.
    grant: Option<Grant>,
    /// When that ends, by the monotonic clock.
    ends_ms: Option<u64>,
    channels: BTreeMap<u32, Channel>,
    /// Which frames are packed for it.
    packing: Packing,
}

/// One document on one connection.
#[derive(Debug)]
struct Channel {
    document: DocumentId,
    name: String,
    /// Whether anything is taken from it.
    writes: bool,
    claims: BTreeMap<ReplicaId, u64>,
    /// What the client had and the hub had not when the channel was opened: asked for, so taken from
    /// whoever wrote it.
    wanted: CausalContext,
    last_push: u64,
    /// Whether the push behind the last one could not be resolved, or was refused, so that what is under
    /// way behind it comes again.
    is_unresolved: bool,
    /// Set where the client keeps the dictionary: whether it finds objects by dots, too.
    brief: Option<bool>,
    catch_up: Option<CatchUp>,
    /// What takes place before the catch-up.
    compare: Option<Compare>,
    /// Whose changes the client may have that are not here yet.
    unsent: BTreeSet<ReplicaId>,
    /// What others brought of these since the channel was opened: nobody said whether the client has
    /// the same.
    strange: CausalContext,
    /// Whether it has something else. Nothing more is taken then: the client opens anew.
    is_apart: bool,
    /// Whether the client asks what other devices hold.
    asks: bool,
}

/// Who is there for one document.
#[derive(Debug, Default)]
struct Room {
    members: BTreeSet<(ConnectionId, u32)>,
    claims: BTreeMap<ReplicaId, (ConnectionId, u32, u64)>,
    shown: BTreeMap<ReplicaId, (ConnectionId, String, Vec<u8>)>,
    /// The same for everyone; it only grows.
    dictionary: Dictionary,
}

/// Why handling an input ended early.
enum Stop<E> {
    Fault(Fault),
    Storage(E),
}

impl<E> From<Fault> for Stop<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

type Step<S> = Result<(), Stop<<S as HubStore>::Error>>;

impl Hub {
    /// A hub without connections.
    #[must_use]
    pub fn new() -> Self {
        Self { packing: Packing::LARGE, ..Self::default() }
    }

    /// A hub whose catch-ups come in chunks of another size, to show that they may be cut anywhere.
    #[must_use]
    pub fn with_chunk_size(chunk_size: ChunkSize) -> Self {
        Self { chunk_size, ..Self::new() }
    }

    /// Packs other frames, for those who read that: to show that any may be.
    #[must_use]
    pub fn with_packing(self, packing: Packing) -> Self {
        Self { packing, ..self }
    }

    /// Refuses changes whose stamps lie more than so many milliseconds ahead of the hub's clock.
    #[must_use]
    pub fn with_stamp_ahead(self, ms_max: u64) -> Self {
        Self { stamp_ahead_ms_max: Some(ms_max), ..self }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// How many documents somebody has open.
    #[must_use]
    pub fn document_count(&self) -> usize {
        self.rooms.len()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes what happened to a connection. An error is the store's; the driver then drops the outputs
    /// of the batch, closes all connections and starts over from what is on disk.
    pub fn handle<S: HubStore>(
        &mut self,
        store: &mut S,
        now: Now,
        connection: ConnectionId,
        input: HubInput,
    ) -> Result<(), S::Error> {
        match input {
            HubInput::Connected => {
                let deadline_ms = now.monotonic_ms.saturating_add(HELLO_MS_MAX);
                let (channels, packing) = (BTreeMap::new(), Packing::NONE);
                let (grant, ends_ms) = (None, None);
                let state =
                    Connection { agent: None, deadline_ms, grant, ends_ms, channels, packing };
                self.connections.insert(connection, state);
                Ok(())
            }
            HubInput::Granted(grant) => {
                self.grant(now, connection, grant);
                Ok(())
            }
            HubInput::Frame(bytes) => {
                self.held.reach(store.seq());
                let handled = self.handle_frame(store, now, connection, &bytes);
                self.held.reach(store.seq());
                match handled {
                    Ok(()) => Ok(()),
                    Err(Stop::Storage(error)) => Err(error),
                    Err(Stop::Fault(fault)) => {
                        self.close(connection, fault);
                        Ok(())
                    }
                }
            }
            HubInput::Disconnected => {
                self.forget(connection);
                Ok(())
            }
        }
    }

    /// Gives up connections that were silent for too long or whose tokens have ended, and passes on what
    /// devices hold.
    pub fn handle_timeout(&mut self, now: Now) {
        self.pass_on(now);
        let ends = self.connections.iter().map(|(id, state)| (*id, state.end()));
        let late = ends.filter(|(_, (at_ms, _))| *at_ms <= now.monotonic_ms);
        for (connection, (_, fault)) in late.collect::<Vec<_>>() {
            self.close(connection, fault);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, by the monotonic clock in milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let deadlines = self.connections.values().map(|state| state.end().0);
        deadlines.chain(self.held.due_ms()).min()
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<HubOutput> {
        self.outputs.pop_front()
    }

    /// Closes a connection that the driver gives up, for a slow reader or a stopping hub.
    pub fn close(&mut self, connection: ConnectionId, fault: Fault) {
        if self.connections.contains_key(&connection) {
            self.outputs.push_back(HubOutput::Close { connection, fault });
            self.forget(connection);
        }
    }

    fn handle_frame<S: HubStore>(
        &mut self,
        store: &mut S,
        now: Now,
        connection: ConnectionId,
        bytes: &[u8],
    ) -> Step<S> {
        // A frame may still arrive after the hub has closed the connection.
        let Some(state) = self.connections.get_mut(&connection) else { return Ok(()) };
        let message = decode_client(bytes).map_err(Fault::from)?;
        if state.agent.is_none() && !matches!(message, ClientMessage::Hello { .. }) {
            return Err(Fault::OutOfOrder("the first message is a hello".into()).into());
        }
        state.deadline_ms = now.monotonic_ms.saturating_add(CLIENT_SILENCE_MS_MAX);
        match message {
            ClientMessage::Hello { version, token: _, agent, packs } => {
                self.handle_hello(store.boot(), now, connection, version, agent, packs)
            }
            ClientMessage::Open {
                channel,
                document,
                cursor,
                context,
                claims,
                compares,
                unsent,
            } => {
                let (at, writers) = ((connection, channel), (claims, unsent));
                self.handle_open(store, at, &document, (cursor, compares), &context, writers)
            }
            ClientMessage::Claim { channel, claims } => {
                self.channel(connection, channel)?;
                self.claim(connection, channel, claims).map_err(Stop::Fault)
            }
            ClientMessage::Release { channel, replicas } => {
                let document = self.channel(connection, channel)?.document;
                for replica in replicas {
                    self.channel(connection, channel)?.claims.remove(&replica);
                    self.release(document, (connection, channel), replica);
                }
                Ok(())
            }
            ClientMessage::Push(push) => self.handle_push(store, now, connection, push),
            ClientMessage::ChunkStored { channel, number } => {
                let state = self.channel(connection, channel)?;
                let catch_up = state.catch_up.as_mut().ok_or_else(|| {
                    Fault::OutOfOrder("no catch-up is under way on this channel".into())
                })?;
                catch_up.confirm(number)?;
                self.go_on(store, connection, channel)
            }
            ClientMessage::Presence { channel, replica, name, state } => {
                self.handle_presence(connection, channel, replica, name, state).map_err(Stop::Fault)
            }
            ClientMessage::Ping => {
                self.send(connection, &HubMessage::Pong);
                Ok(())
            }
            ClientMessage::Sync { channel, message } => {
                self.handle_sync(store, connection, channel, &message)
            }
            ClientMessage::Brief { channel, dots } => {
                self.handle_brief(connection, channel, dots).map_err(Stop::Fault)
            }
            ClientMessage::Held { channel, replica, seq, name } => {
                let at = (connection, channel);
                self.handle_held(now, at, (replica, seq), name).map_err(Stop::Fault)
            }
        }
    }

    fn handle_hello<E>(
        &mut self,
        boot: Boot,
        now: Now,
        connection: ConnectionId,
        version: u16,
        agent: String,
        packs: bool,
    ) -> Result<(), Stop<E>> {
        if version != VERSION {
            return Err(Fault::Version { offered: version, spoken: VERSION }.into());
        }
        let Some(state) = self.connections.get_mut(&connection) else { return Ok(()) };
        if state.agent.replace(agent).is_some() {
            return Err(Fault::OutOfOrder("a second hello".into()).into());
        }
        if packs {
            state.packing = self.packing;
        }
        let packs = state.packing.is_some();
        let Boot { hub, boot } = boot;
        let welcome = Welcome { version: VERSION, hub, boot, now_ms: now.unix_ms, packs };
        self.send(connection, &HubMessage::Welcome(welcome));
        Ok(())
    }

    fn handle_open<S: HubStore>(
        &mut self,
        store: &mut S,
        (connection, channel): (ConnectionId, u32),
        name: &str,
        (cursor, compares): (Option<Cursor>, bool),
        context: &CausalContext,
        (claims, unsent): (Vec<Claim>, Vec<ReplicaId>),
    ) -> Step<S> {
        let Some(state) = self.connections.get_mut(&connection) else { return Ok(()) };
        if state.channels.contains_key(&channel) {
            return Err(Fault::OutOfOrder("the channel is open".into()).into());
        }
        if state.channels.len() >= CHANNELS_MAX {
            let (found, limit) = (CHANNELS_MAX as u64 + 1, CHANNELS_MAX as u64);
            return Err(Fault::TooLarge { what: "the number of channels", found, limit }.into());
        }
        let (reads, writes) = state.may(name);
        if !reads {
            return Err(access::NOT_FOR_THIS.into());
        }
        let document = store.open(name).map_err(Stop::Storage)?;
        let own = store.context(document).map_err(Stop::Storage)?;
        admission::check_replica_count(&own, context)?;
        let resume = match cursor {
            Some(cursor) => {
                store.can_resume(document, cursor).map_err(Stop::Storage)?.then_some(cursor)
            }
            None => None,
        };
        let compares = compares && resume.is_none() && !context.is_empty() && !own.is_empty();
        self.counts.opened(resume.is_some(), compares);
        let (catch_up, compare) = if compares {
            (None, Some(Compare::new(context.clone(), store.seq())))
        } else {
            let size = self.chunk_size;
            let catch_up = CatchUp::new(resume, context.clone(), store.seq(), size);
            (Some(catch_up.count(store, document).map_err(Stop::Storage)?), None)
        };
        let mut wanted = context.difference(&own);
        if broken!(NothingWanted) {
            wanted = CausalContext::default();
        }
        let writers = claims.iter().map(|claim| claim.replica).chain(unsent);
        let writers: Vec<_> = writers.take(WRITERS_MAX).collect();
        let openings = openings(store, document, &writers).map_err(Stop::Storage)?;
        let opened = HubMessage::Opened {
            channel,
            context: own.truncated(CONTEXT_RANGES_MAX / 2, |_| false),
            resumed: resume.is_some(),
            openings,
        };
        let (claims_taken, strange) = (BTreeMap::new(), CausalContext::default());
        let fresh = Channel {
            document,
            name: name.to_owned(),
            writes,
            claims: claims_taken,
            wanted,
            last_push: 0,
            is_unresolved: false,
            brief: None,
            catch_up,
            compare,
            unsent: writers.into_iter().collect(),
            strange,
            is_apart: false,
            asks: false,
        };
        state.channels.insert(channel, fresh);
        let room = self.rooms.entry(document).or_default();
        room.members.insert((connection, channel));
        let rooms = &self.rooms;
        self.held.open(document, store.seq(), |other| rooms.contains_key(&other));
        let Some(room) = self.rooms.get(&document) else { return Ok(()) };
        let shown = room.shown.clone();
        self.send(connection, &opened);
        let mut shown_bytes = 0;
        for (replica, (_, name, state)) in shown {
            shown_bytes += name.len() + state.len();
            if shown_bytes > SHOWN_BYTES_MAX {
                break;
            }
            let shown = Some((name, state));
            self.send(connection, &HubMessage::Presence { channel, replica, shown });
        }
        self.claim(connection, channel, claims)?;
        self.go_on(store, connection, channel)
    }

    /// Joins a delta, records it and tells the others. Nothing is on disk until the driver commits.
    fn handle_push<S: HubStore>(
        &mut self,
        store: &mut S,
        now: Now,
        connection: ConnectionId,
        push: Push,
    ) -> Step<S> {
        let Push { channel, id, delta, skips } = push;
        let Some((delta, named)) = self.resolve(store, connection, (channel, id), &delta)? else {
            return Ok(());
        };
        let state = self.channel(connection, channel)?;
        if state.is_apart {
            return Ok(());
        }
        if let Some(replica) = stranger(store, state, &delta).map_err(Stop::Storage)? {
            // The client asks anew, and hears what there is of this replica.
            state.is_apart = true;
            self.send(connection, &HubMessage::InUse { channel, replica });
            return Ok(());
        }
        // Without the time nothing can be said about stamps.
        let ahead_ms_max = self.stamp_ahead_ms_max.filter(|_| now.unix_ms >= TIME_MS_MIN);
        let ahead_ms = ahead_ms_max.map(|ahead| now.unix_ms.saturating_add(ahead));
        let latest = ahead_ms.map_or(Stamp::from_bits(u64::MAX), Stamp::from_ms);
        let state = self.channel(connection, channel)?;
        let Channel { document, writes, claims, wanted, .. } = &*state;
        let (document, writes) = (*document, *writes);
        let terms = Terms { writes, claims, wanted, skips, latest };
        match admission::admit(store, document, &terms, &delta).map_err(Stop::Storage)?? {
            // They may come later.
            Ok(gaps) => state.wanted.union(&gaps),
            Err(Refusal { reason, goes_on, count }) => {
                *count(&mut self.counts) += 1;
                let state = self.channel(connection, channel)?;
                if goes_on {
                    // What is under way behind it may depend on it.
                    (state.last_push, state.is_unresolved) = (id - 1, true);
                }
                self.send(connection, &HubMessage::Refused { channel, id, reason, goes_on });
                return Ok(());
            }
        }
        self.note_strange(store, document, (connection, channel), &delta)?;
        self.learn(document, &delta);
        let seq = store.seq() + 1;
        let mut joined = join(&mut store.document(document, seq), &delta).map_err(Stop::Storage)?;
        self.note_killed(document, &joined.killed);
        let clash = std::mem::take(&mut joined.clashes).into_iter().next();
        let clash = clash.filter(|_| !broken!(TwoContents));
        match clash {
            None => self.counts.taken += 1,
            Some(_) => self.counts.refused_copy += 1,
        }
        let seq = if joined.is_empty() {
            store.seq()
        } else {
            let dots = joined.buried();
            let notes =
                delta.notes.iter().filter(|note| dots.contains(note.dot)).cloned().collect();
            let buried = Buried { dots, notes };
            store.record(document, seq, buried).map_err(Stop::Storage)?;
            self.held.change(document, seq);
            // Whoever has not come so far takes no other bytes than the hub's.
            let told = clash.map(|_| joined.taken_of(&delta));
            let told = told.as_ref().unwrap_or(&delta);
            let dots = dots_of(told, &joined.killed, named);
            self.relay(document, (connection, channel), seq, told, &dots);
            seq
        };
        let answer = match clash {
            None => HubMessage::Stored { channel, id, seq },
            Some(dot) => {
                let reason = format!("a copy of this replica wrote something else as {dot}");
                HubMessage::Refused { channel, id, reason, goes_on: false }
            }
        };
        self.send(connection, &answer);
        Ok(())
    }

    /// Notes on the other channels of a document what a delta brings of replicas that they have changes
    /// of.
    fn note_strange<S: HubStore>(
        &mut self,
        store: &mut S,
        document: DocumentId,
        from: (ConnectionId, u32),
        delta: &Delta,
    ) -> Step<S> {
        let Some(room) = self.rooms.get(&document) else { return Ok(()) };
        let others: Vec<_> = room.members.iter().copied().filter(|other| *other != from).collect();
        let context = delta.context();
        for (replica, ranges) in context.iter() {
            let mut new = None;
            for (connection, channel) in &others {
                let Ok(state) = self.channel(*connection, *channel) else { continue };
                if state.unsent.contains(&replica) {
                    let new = match &new {
                        Some(new) => new,
                        None => {
                            let view = store.document(document, 0);
                            let seen = view.seen(replica).map_err(Stop::Storage)?.into_owned();
                            new.insert(ranges.difference(&seen))
                        }
                    };
                    state.strange.insert_ranges(replica, new);
                }
            }
        }
        Ok(())
    }

    /// Reads the delta of a push that is the next one. Gives none where it, or one before it, is to come
    /// again.
    fn resolve<S: HubStore>(
        &mut self,
        store: &S,
        connection: ConnectionId,
        (channel, id): (u32, u64),
        bytes: &[u8],
    ) -> Result<Option<(Delta, Dots)>, Stop<S::Error>> {
        let Channel { document, last_push, is_unresolved, .. } =
            *self.channel(connection, channel)?;
        let behind = last_push + 2..=last_push + PUSH_CREDIT as u64;
        if is_unresolved && behind.contains(&id) && !broken!(TakesBehindUnresolved) {
            return Ok(None);
        }
        if id != last_push + 1 {
            return Err(Fault::OutOfOrder("pushes are numbered one by one".into()).into());
        }
        let Some(room) = self.rooms.get(&document) else { return Ok(None) };
        let meant =
            read_push(store, document, &room.dictionary, bytes).map_err(Stop::Storage)??;
        let state = self.channel(connection, channel)?;
        state.is_unresolved = meant.is_none();
        if meant.is_some() {
            state.last_push = id;
        } else {
            self.send(connection, &HubMessage::Unresolved { channel, id });
        }
        Ok(meant)
    }

    /// Sends a delta to everyone else in the room: a short form to those who find objects by dots, and
    /// another one that stands for itself, each encoded once for each channel number in use, packed and
    /// as it is.
    fn relay(
        &mut self,
        document: DocumentId,
        from: (ConnectionId, u32),
        seq: u64,
        delta: &Delta,
        dots: &Dots,
    ) {
        let Some(room) = self.rooms.get(&document) else { return };
        let is_behind = |(connection, channel): &(ConnectionId, u32)| {
            let state = self.connections.get(connection);
            let state = state.and_then(|state| state.channels.get(channel));
            state.is_some_and(|state| state.catch_up.is_some())
        };
        let is_told = |member: &(ConnectionId, u32)| {
            let is_cut = broken!(NoRelay) || (broken!(SeamNotCovered) && is_behind(member));
            !is_cut
        };
        let mut forms: [Option<Vec<u8>>; 2] = [None, None];
        let mut frames: BTreeMap<_, std::sync::Arc<[u8]>> = BTreeMap::new();
        for &(connection, channel) in
            room.members.iter().filter(|member| **member != from && is_told(member))
        {
            let is_short = self.finds_by_dots((connection, channel));
            let packing = self.packing_of(connection);
            let form = (is_short, channel, packing.is_some());
            let frame = frames.entry(form).or_insert_with(|| {
                let form = forms[usize::from(is_short)].get_or_insert_with(|| {
                    if !is_short {
                        return encode_delta(delta);
                    }
                    let mut bytes = Vec::new();
                    write_delta(&mut bytes, delta, &room.dictionary, dots);
                    bytes
                });
                packing
                    .pack(HubMessage::Delta { channel, seq, delta: form.clone() }.encode())
                    .into()
            });
            self.counts.relayed += 1;
            self.outputs.push_back(HubOutput::Send { connection, frame: frame.clone() });
        }
    }

    /// Sends chunks of a catch-up while there is credit.
    fn go_on<S: HubStore>(&mut self, store: &S, connection: ConnectionId, channel: u32) -> Step<S> {
        let state = self.channel(connection, channel)?;
        let document = state.document;
        let Some(mut catch_up) = state.catch_up.take() else { return Ok(()) };
        while catch_up.has_credit() && !catch_up.is_done() {
            let chunk = catch_up.next(store, document, channel).map_err(Stop::Storage)?;
            let bytes = self.send(connection, &chunk);
            self.counts.chunks += 1;
            self.counts.chunk_bytes += bytes as u64;
        }
        if !catch_up.is_confirmed() {
            self.channel(connection, channel)?.catch_up = Some(catch_up);
        }
        Ok(())
    }

    fn handle_presence(
        &mut self,
        connection: ConnectionId,
        channel: u32,
        replica: ReplicaId,
        name: String,
        state: Vec<u8>,
    ) -> Result<(), Fault> {
        let own = self.channel(connection, channel)?;
        if !own.claims.contains_key(&replica) {
            // The claim may just have been refused or taken over; the client hears of that.
            return Ok(());
        }
        let document = own.document;
        let room = self.rooms.entry(document).or_default();
        room.shown.insert(replica, (connection, name.clone(), state.clone()));
        self.tell(document, connection, replica, Some((name, state)));
        Ok(())
    }

    /// Takes claims. A claim of the same opening takes over; another one on a live replica is refused.
    fn claim(
        &mut self,
        connection: ConnectionId,
        channel: u32,
        claims: Vec<Claim>,
    ) -> Result<(), Fault> {
        let document = self.channel(connection, channel)?.document;
        for Claim { replica, opening } in claims {
            let room = self.rooms.entry(document).or_default();
            let held = room.claims.get(&replica).copied().filter(|held| held.0 != connection);
            let is_other = held.is_some_and(|(_, _, other)| other != opening);
            if is_other && !broken!(TwoOwners) {
                self.send(connection, &HubMessage::InUse { channel, replica });
                continue;
            }
            room.claims.insert(replica, (connection, channel, opening));
            if let Some((older, _, _)) = held.filter(|_| !is_other) {
                // What it shows goes with this connection from here on.
                if let Some(shown) = room.shown.get_mut(&replica) {
                    shown.0 = connection;
                }
                self.close(older, Fault::Superseded);
            }
            let state = self.channel(connection, channel)?;
            state.unsent.insert(replica);
            state.claims.insert(replica, opening);
            if state.unsent.len() > REPLICAS_MAX {
                let (found, limit) = (state.unsent.len() as u64, REPLICAS_MAX as u64);
                return Err(Fault::TooLarge {
                    what: "the number of replicas claimed",
                    found,
                    limit,
                });
            }
            if state.claims.len() > CLAIMS_MAX {
                let (found, limit) = (state.claims.len() as u64, CLAIMS_MAX as u64);
                return Err(Fault::TooLarge { what: "the number of claims", found, limit });
            }
        }
        Ok(())
    }

    /// Ends a claim and its presence, if they are still of this channel.
    fn release(
        &mut self,
        document: DocumentId,
        (connection, channel): (ConnectionId, u32),
        replica: ReplicaId,
    ) {
        let Some(room) = self.rooms.get_mut(&document) else { return };
        let claimed =
            room.claims.get(&replica).is_some_and(|held| (held.0, held.1) == (connection, channel));
        if claimed {
            room.claims.remove(&replica);
            let shown = room.shown.get(&replica).is_some_and(|shown| shown.0 == connection);
            if shown {
                room.shown.remove(&replica);
                self.tell(document, connection, replica, None);
            }
        }
    }

    /// Tells everyone else in the room what a replica shows.
    fn tell(
        &mut self,
        document: DocumentId,
        from: ConnectionId,
        replica: ReplicaId,
        shown: Option<(String, Vec<u8>)>,
    ) {
        let Some(room) = self.rooms.get(&document) else { return };
        let others = room.members.iter().filter(|(connection, _)| *connection != from);
        for (connection, channel) in others.copied().collect::<Vec<_>>() {
            let shown = shown.clone();
            self.send(connection, &HubMessage::Presence { channel, replica, shown });
        }
    }

    fn forget(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.remove(&connection) else { return };
        for (channel, state) in state.channels {
            if let Some(room) = self.rooms.get_mut(&state.document) {
                room.members.remove(&(connection, channel));
            }
            for replica in state.claims.into_keys() {
                self.release(state.document, (connection, channel), replica);
            }
            if self.rooms.get(&state.document).is_some_and(|room| room.members.is_empty()) {
                self.rooms.remove(&state.document);
            }
        }
        self.held.limit(|document| self.rooms.contains_key(&document));
    }

    fn channel(&mut self, connection: ConnectionId, channel: u32) -> Result<&mut Channel, Fault> {
        let state = self.connections.get_mut(&connection);
        let channel = state.and_then(|state| state.channels.get_mut(&channel));
        channel.ok_or_else(|| Fault::OutOfOrder("the channel is not open".into()))
    }

    /// Gives the bytes of the frame.
    fn send(&mut self, connection: ConnectionId, message: &HubMessage) -> usize {
        let frame = self.packing_of(connection).pack(message.encode());
        let bytes = frame.len();
        self.send_frame(connection, frame.into());
        bytes
    }

    fn packing_of(&self, connection: ConnectionId) -> Packing {
        self.connections.get(&connection).map_or(Packing::NONE, |state| state.packing)
    }

    fn send_frame(&mut self, connection: ConnectionId, frame: std::sync::Arc<[u8]>) {
        self.outputs.push_back(HubOutput::Send { connection, frame });
    }
}

/// The marks of replicas, all that are kept of a replica or none, as many as a client is told of.
fn openings<S: HubStore>(
    store: &S,
    document: DocumentId,
    replicas: &[ReplicaId],
) -> Result<Vec<(ReplicaId, Opening)>, S::Error> {
    let mut openings = Vec::new();
    for replica in replicas.iter().filter(|_| !broken!(OpeningsUntold)) {
        let marks = store.openings(document, *replica)?;
        if openings.len() + marks.len() > OPENINGS_MAX {
            break;
        }
        openings.extend(marks.into_iter().map(|mark| (*replica, mark)));
    }
    Ok(openings)
}

/// The replica of which a push has another history than what others brought since its channel was
/// opened: histories that part do so at a mark of one of them.
fn stranger<S: HubStore>(
    store: &mut S,
    channel: &Channel,
    delta: &Delta,
) -> Result<Option<ReplicaId>, S::Error> {
    if channel.strange.is_empty() || broken!(StrangersUnseen) {
        return Ok(None);
    }
    let doubtful = delta.context().intersection(&channel.strange);
    for (replica, ranges) in doubtful.iter() {
        let is_doubtful = |one: &Opening| ranges.contains(one.first);
        let mut here = store.openings(channel.document, replica)?;
        here.retain(is_doubtful);
        let of_it = delta.entries.iter().filter(|entry| entry.replica() == replica);
        let mut there: Vec<_> = of_it.filter_map(|entry| Opening::read(entry.view())).collect();
        there.retain(is_doubtful);
        if here != there {
            return Ok(Some(replica));
        }
    }
    Ok(None)
}
