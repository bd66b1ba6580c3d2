//! The client's end of one connection: hello, open, catch-up, pushes, refill and presence.

use std::collections::VecDeque;

use super::brief::Brief;
use super::compare::Compare;
use super::held::Held;
use super::outbox::DEPENDENTS_WAIT;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Claimed, Client, ClientConfig, ClientEvent, ClientOutput, ClientStore, Opened, OutboxItem,
    OutboxState, Peer, Phase, Step, Then,
};
use crate::causal::{CausalContext, Delta, Dot, DotStore, ReplicaId, part};
use crate::document::Change;
use crate::session::Now;
use crate::session::chunks::{ChunkSize, split, split_entries};
use crate::session::limits::{
    HELD_BYTES_MAX, HELD_MS, HUB_SILENCE_MS_MAX, PACKED_PUSH_BYTES_MAX, PING_MS, PUSH_BYTES_MAX,
    REFILL_RANGES_MAX,
};
use crate::small::{HAS_SHORTCUTS, SortedMap};
use crate::wire::{
    CONTEXT_RANGES_MAX, Claim, ClientMessage, Cursor, DELTA_BYTES_MAX, HubMessage, PUSH_CREDIT,
    Packing, REPLICAS_MAX, Token, VERSION, decode_hub,
};

/// Why a client hangs up that wrote as a replica which is in use elsewhere.
pub const IN_USE: &str = "a replica of this client is in use elsewhere; opening again";

/// Why a client hangs up whose refill was refused with what the outbox has to go with it.
const REFUSED: &str = "the hub refused a part of what it lacks; opening again";

/// The transport, for all documents.
#[derive(Debug, Default)]
pub(super) struct Connection {
    state: Transport,
    /// Which start of the hub this is, once it has welcomed this connection.
    pub(super) boot: u64,
    /// Which frames are packed: none before the hub has said that it reads such.
    packing: Packing,
    /// When to ping and when to give up, by the monotonic clock.
    ping_ms: u64,
    silent_ms: u64,
    /// When to say what is held, by the same.
    pub(super) held_ms: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Transport {
    #[default]
    Down,
    /// The hello was sent.
    Greeting,
    /// The hub has welcomed this connection.
    Up,
}

/// One document on the connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) phase: Phase,
    pub(super) channel: u32,
    /// What was said to be here when the document was opened.
    pub(super) said: CausalContext,
    /// What the hub had then.
    pub(super) told: CausalContext,
    last_push: u64,
    pub(super) under_way: SortedMap<u64, Sent>,
    /// Up to which item each goes as a push of its own: the hub has refused several at once.
    goes_alone: Option<Dot>,
    pub(super) brief: Brief,
    next_chunk: u64,
    /// What takes place before the catch-up, where the cursor is not valid.
    pub(super) compare: Option<Compare>,
    /// Removals of the catch-up that is under way, and those that overtake it. They are joined as one
    /// at its end: a part of them would look like an edit that a delete did not see.
    held: Delta,
    held_bytes: usize,
    /// How many bytes of entries have come in chunks, and about how many are to come.
    pub(super) received: u64,
    pub(super) left: u64,
    pub(super) holds: Held,
}

/// Why a message is not taken.
#[derive(Debug)]
pub(super) enum Broken<E> {
    /// The hub breaks the rules.
    Rule(&'static str),
    /// The store failed.
    Store(E),
}

impl<E> From<&'static str> for Broken<E> {
    fn from(rule: &'static str) -> Self {
        Self::Rule(rule)
    }
}

/// What became of a message.
pub(super) type Heard<S> = Result<(), Broken<<S as DotStore>::Error>>;

/// What a push had.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The items of the outbox in it.
    pub(super) keys: Vec<Dot>,
    /// The piece of a refill that it was.
    refill: Option<Delta>,
    /// Whether it names objects by dots.
    pub(super) has_dots: bool,
}

/// What a hub gets back that it lacks although it, or another hub, acknowledged it.
#[derive(Debug, Default)]
pub(super) enum Refill {
    #[default]
    Nothing,
    /// To be cut from the document once all of that is on disk: dots that the hub has not seen, and
    /// which dots it is told to be dead besides those among them; none stands for every dead one.
    Wanted(CausalContext, Option<CausalContext>),
    /// Each with the items of the outbox that go with it.
    Pieces(VecDeque<(Delta, Vec<Dot>)>),
}

impl<S: ClientStore> Client<S> {
    /// When [`ClientInput::Timeout`](super::ClientInput::Timeout) is due, by the monotonic clock in
    /// milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let Connection { state, ping_ms, silent_ms, held_ms, .. } = &self.connection;
        (*state != Transport::Down).then_some((*ping_ms).min(*silent_ms).min(*held_ms))
    }

    /// Whether the hub has welcomed this connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection.state == Transport::Up
    }

    pub(super) fn handle_connected(&mut self, now: Now) {
        self.handle_disconnected();
        self.connection.state = Transport::Greeting;
        self.connection.packing = Packing::NONE;
        self.hear(now);
        let ClientConfig { agent, token, packing } = self.config.clone();
        let (token, packs) = (token.map(Token), packing.is_some());
        self.send(&ClientMessage::Hello { version: VERSION, token, agent, packs });
    }

    pub(super) fn handle_disconnected(&mut self) {
        self.connection.state = Transport::Down;
        self.channels.clear();
        for (name, opened) in &mut self.documents {
            if matches!(opened.link.phase, Phase::CatchingUp | Phase::Live) {
                opened.refill_due = opened.is_refilling();
                if S::RECORDS {
                    opened.is_cut |= opened.refill_due;
                }
            }
            opened.link = Link::default();
            opened.document.store_mut().drop_sums();
            opened.refill = Refill::Nothing;
            opened.outbox.unsend_all();
            for then in opened.storing.iter_mut().filter_map(|(_, then)| then.as_mut()) {
                then.chunk = None;
            }
            opened.peers.clear();
            for event in [
                ClientEvent::Status { document: name.clone() },
                ClientEvent::Peers { document: name.clone() },
            ] {
                self.outputs.push_back(ClientOutput::Event(event));
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.connection.state == Transport::Down {
            return;
        }
        if now.monotonic_ms >= self.connection.silent_ms {
            self.disconnect("the hub is silent");
            return;
        }
        if now.monotonic_ms >= self.connection.held_ms {
            self.tell_held(now);
        }
        if now.monotonic_ms >= self.connection.ping_ms {
            self.connection.ping_ms = now.monotonic_ms.saturating_add(PING_MS);
            self.send(&ClientMessage::Ping);
        }
    }

    pub(super) fn handle_frame(&mut self, now: Now, bytes: &[u8]) -> Result<(), S::Error> {
        if self.connection.state == Transport::Down {
            return Ok(());
        }
        self.hear(now);
        match decode_hub(bytes) {
            Ok(message) => match self.handle_message(now, message) {
                Ok(()) => {}
                Err(Broken::Rule(reason)) => self.disconnect(reason),
                Err(Broken::Store(failed)) => return Err(failed),
            },
            Err(malformed) => {
                self.disconnect(&["the hub sent no message: ", &malformed.text()].concat());
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, now: Now, message: HubMessage) -> Heard<S> {
        if let HubMessage::Welcome(welcome) = message {
            if self.connection.state != Transport::Greeting {
                return Err("the hub sent a second welcome".into());
            }
            if welcome.version != VERSION {
                return Err("the hub speaks another version".into());
            }
            self.connection.state = Transport::Up;
            self.connection.boot = welcome.boot;
            if welcome.packs {
                self.connection.packing = self.config.packing;
            }
            let event = ClientEvent::Welcomed { hub_ms: welcome.now_ms };
            self.tell(event);
            for name in self.documents.keys().cloned().collect::<Vec<_>>() {
                self.advance(&name).map_err(Broken::Store)?;
            }
            return Ok(());
        }
        if self.connection.state != Transport::Up {
            return Err("the hub did not begin with a welcome".into());
        }
        let Some(channel) = message.channel() else { return Ok(()) };
        let name = &self.name_of(channel)?;
        match message {
            HubMessage::Welcome(_) | HubMessage::Pong => Ok(()),
            HubMessage::Opened { channel: _, context, resumed, openings } => {
                if self.phase(name) == Ok(Phase::Opening)
                    && self.resolve_forks(name, &context, &openings).map_err(Broken::Store)?
                {
                    return Ok(());
                }
                self.handle_opened(name, &context, resumed)
            }
            HubMessage::Chunk { channel: _, number, delta, cursor, left } => {
                let delta = self.read_chunk(name, &delta, cursor.is_some(), left)?;
                self.handle_chunk(now, name, number, &delta, cursor)
            }
            HubMessage::Delta { channel: _, seq, delta } => {
                self.handle_delta(now, name, seq, &delta)
            }
            HubMessage::Stored { channel: _, id, seq } => self.handle_stored(name, id, seq),
            HubMessage::Refused { channel: _, id, reason, goes_on } => {
                self.handle_refused(name, id, reason, goes_on)
            }
            HubMessage::InUse { channel: _, replica } => {
                self.give_way(name, replica);
                Ok(())
            }
            HubMessage::Presence { channel: _, replica, shown } => {
                self.handle_presence(name, replica, shown)
            }
            HubMessage::Sync { channel: _, message } => self.handle_sync(name, &message),
            HubMessage::Names { channel: _, names } => self.handle_names(name, &names),
            HubMessage::Unresolved { channel: _, id } => self.handle_unresolved(name, id),
            HubMessage::Held { channel: _, holders } => {
                self.handle_held(now, name, holders);
                Ok(())
            }
        }
    }

    fn name_of(&self, channel: u32) -> Result<String, &'static str> {
        self.channels.get(&channel).cloned().ok_or("the hub named a channel that is not open")
    }

    /// Does what has become possible for a document: opens it, cuts the refill, freezes and sends.
    pub(super) fn advance(&mut self, name: &str) -> Result<(), S::Error> {
        if self.connection.state != Transport::Up {
            return Ok(());
        }
        let Some(opened) = self.documents.get_mut(name) else { return Ok(()) };
        match opened.link.phase {
            // What is said to be here must be on disk.
            Phase::Closed if opened.is_stored() || broken!(OpensBeforeStored) => {
                self.send_open(name);
            }
            Phase::Closed | Phase::Opening => {}
            Phase::CatchingUp if opened.link.compare.is_some() => {}
            Phase::CatchingUp | Phase::Live => {
                // The first word does not wait.
                if opened.link.phase == Phase::Live && opened.link.holds.is_silent() {
                    self.connection.held_ms = 0;
                }
                self.update_brief(name);
                self.cut_refill(name)?;
                self.send_pushes(name)?;
                if S::RECORDS
                    && let Some(opened) = self.documents.get_mut(name)
                    && !opened.lacked.is_empty()
                    && !opened.is_refilling()
                    && !opened.is_cut
                {
                    opened.lacked = CausalContext::default();
                }
            }
        }
        Ok(())
    }

    fn send_open(&mut self, name: &str) {
        let channel = self.channels.len() as u32 + 1;
        let Some(opened) = self.documents.get_mut(name) else { return };
        self.channels.insert(channel, name.to_owned());
        let is_own = |replica| {
            opened.claims.contains_key(&replica)
                || opened.outbox.iter().any(|item| item.replica == replica)
        };
        let said = opened.document.store().context().truncated(CONTEXT_RANGES_MAX / 2, is_own);
        let claims = opened.claims.iter();
        let claims = claims.map(|(replica, Claimed { opening, .. })| Claim {
            replica: *replica,
            opening: *opening,
        });
        let open = ClientMessage::Open {
            channel,
            document: name.to_owned(),
            cursor: opened.cursor,
            context: said.clone(),
            claims: claims.collect(),
            compares: Compare::IS_BUILT,
            unsent: opened.unsent(),
        };
        let phase = Phase::Opening;
        opened.link = Link { phase, channel, said, ..Link::default() };
        let shown: Vec<_> = opened.claims.keys().copied().collect();
        self.send(&open);
        self.send_brief(name, false);
        for replica in shown {
            self.send_presence(name, replica);
        }
    }

    fn handle_opened(&mut self, name: &str, context: &CausalContext, resumed: bool) -> Heard<S> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        if opened.link.phase != Phase::Opening {
            return Err("the hub opened a channel twice".into());
        }
        opened.link.phase = Phase::CatchingUp;
        opened.link.told = context.clone();
        let mut lacking = opened.settled(&opened.link.said).difference(context);
        if S::RECORDS {
            (opened.is_cut, opened.lacked) = (false, lacking.clone());
        }
        if resumed && broken!(NoCompareOnResume) {
            lacking = CausalContext::default();
        }
        // A refill that was cut may have brought all dots that live, and not what died by them.
        let is_cut =
            opened.refill_due && opened.cursor.is_some_and(|at| at.boot != self.connection.boot);
        let is_unsure = (!resumed || is_cut) && !opened.link.said.is_empty();
        let compares =
            Compare::IS_BUILT && !resumed && !opened.link.said.is_empty() && !context.is_empty();
        if !compares && (!lacking.is_empty() || is_unsure) {
            opened.refill = Refill::Wanted(lacking.clone(), None);
        }
        // A hub that knows more of this replica than it does itself has seen a later state of it.
        let behind = opened.author.filter(|author| {
            context.max_of(*author) > opened.document.store().context().max_of(*author)
        });
        self.tell_status(name);
        if let Some(author) = behind {
            self.renew(name, author);
        }
        if compares {
            self.begin_compare(name, lacking).map_err(Broken::Store)?;
        }
        self.advance(name).map_err(Broken::Store)
    }

    fn handle_chunk(
        &mut self,
        now: Now,
        name: &str,
        number: u64,
        delta: &Delta,
        cursor: Option<Cursor>,
    ) -> Heard<S> {
        if self.is_strange(name, delta) {
            self.disconnect(IN_USE);
            return Ok(());
        }
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        if opened.link.phase != Phase::CatchingUp || number != opened.link.next_chunk + 1 {
            return Err("the hub sent chunks out of order".into());
        }
        opened.link.next_chunk = number;
        opened.give_up_compare();
        let then = Then { chunk: Some(number), ..Then::default() };
        if delta.entries.is_empty()
            && cursor.is_none()
            && !broken!(RemovalsInPieces)
            && opened.link.hold(delta)
        {
            // Nothing of it is on disk, and the cursor is not moved before it is.
            self.persist(name, Vec::new(), then);
            return Ok(());
        }
        let mut delta = delta.clone();
        if cursor.is_some() {
            delta.join(std::mem::take(&mut opened.link.held));
        }
        let mut steps = Vec::new();
        let joined = opened.join_remote(now, &delta, &mut steps);
        let (change, renewed) = joined.map_err(Broken::Store)?;
        if let Some(cursor) = cursor {
            opened.link.phase = Phase::Live;
            opened.follow(cursor, &mut steps);
            if HAS_SHORTCUTS && self.name.is_some() {
                opened.caught_up(cursor.seq);
            }
        }
        if let Some(author) = renewed {
            self.renew(name, author);
        }
        self.observe(now, &delta);
        self.accept_remote(now, name, change, steps, then).map_err(Broken::Store)?;
        if cursor.is_some() {
            self.tell_status(name);
        }
        Ok(())
    }

    fn handle_delta(&mut self, now: Now, name: &str, seq: u64, delta: &[u8]) -> Heard<S> {
        let cursor = Cursor { boot: self.connection.boot, seq };
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let delta = &opened.read_delta(delta)?;
        if self.is_strange(name, delta) {
            self.disconnect(IN_USE);
            return Ok(());
        }
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let waits = !delta.notes.is_empty() || opened.link.compare.is_some();
        if waits && opened.link.phase == Phase::CatchingUp && opened.link.hold(delta) {
            return Ok(());
        }
        let mut steps = Vec::new();
        let joined = opened.join_remote(now, delta, &mut steps);
        let (change, renewed) = joined.map_err(Broken::Store)?;
        // A live delta that overtakes the catch-up says nothing of what the catch-up still brings.
        if opened.link.phase == Phase::Live || broken!(CursorByLiveDelta) {
            opened.follow(cursor, &mut steps);
        }
        if HAS_SHORTCUTS && self.name.is_some() {
            opened.is_back(seq, delta);
        }
        if let Some(author) = renewed {
            self.renew(name, author);
        }
        if !steps.is_empty() {
            self.observe(now, delta);
            let then = Then::default();
            self.accept_remote(now, name, change, steps, then).map_err(Broken::Store)?;
        }
        Ok(())
    }

    fn handle_stored(&mut self, name: &str, id: u64, seq: u64) -> Heard<S> {
        let cursor = Cursor { boot: self.connection.boot, seq };
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let sent = opened.link.under_way.remove(&id).ok_or("the hub confirmed an unknown push")?;
        let mut steps = Vec::new();
        if let Some(refill) = sent.refill.filter(|_| HAS_SHORTCUTS && self.name.is_some()) {
            opened.is_back(seq, &refill);
        }
        for key in sent.keys {
            if HAS_SHORTCUTS
                && self.name.is_some()
                && let Some(item) = opened.outbox.find(key)
            {
                let mut dots = CausalContext::default();
                dots.insert_range(item.replica, item.first, item.last);
                opened.is_at_hub(seq, &dots);
            }
            if opened.outbox.settle(key) {
                steps.push(Step::Settle(key));
            }
        }
        if opened.link.phase == Phase::Live {
            opened.follow(cursor, &mut steps);
        }
        if !steps.is_empty() {
            self.persist(name, steps, Then::default());
        }
        self.tell_status(name);
        self.advance(name).map_err(Broken::Store)
    }

    fn handle_refused(&mut self, name: &str, id: u64, reason: String, goes_on: bool) -> Heard<S> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let is_it = |sent: &Sent| sent.refill.is_some() && !sent.keys.is_empty();
        if goes_on && opened.link.under_way.get(&id).is_some_and(is_it) {
            opened.goes_apart = true;
            self.disconnect(REFUSED);
            return Ok(());
        }
        let sent = opened.link.under_way.remove(&id).ok_or("the hub refused an unknown push")?;
        if goes_on {
            opened.take_back(id);
        }
        match sent.keys[..] {
            [key] if sent.refill.is_none() => {
                opened.learn(Some(key)).map_err(Broken::Store)?;
                opened.outbox.park(key, &reason);
                self.persist(name, vec![Step::Park { key, reason }], Then::default());
                if !goes_on {
                    // A copy of this replica wrote something else, or holds it: the hub tells from where on.
                    self.renew(name, key.replica);
                    self.disconnect(IN_USE);
                }
            }
            // Which of them is refused, each alone tells.
            _ => {
                opened.link.goes_alone = sent.keys.last().copied().or(opened.link.goes_alone);
                opened.outbox.unsend(&sent.keys);
            }
        }
        self.tell_status(name);
        self.advance(name).map_err(Broken::Store)
    }

    fn handle_presence(
        &mut self,
        name: &str,
        replica: ReplicaId,
        shown: Option<(String, Vec<u8>)>,
    ) -> Heard<S> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        match shown {
            Some((name, state)) => {
                if opened.peers.len() < REPLICAS_MAX || opened.peers.contains_key(&replica) {
                    opened.peers.insert(replica, Peer { name, state });
                }
            }
            None => {
                opened.peers.remove(&replica);
            }
        }
        let event = ClientEvent::Peers { document: name.to_owned() };
        self.tell(event);
        Ok(())
    }

    /// Cuts what the hub lacks: the entries, then every dead dot, so that nothing that was removed
    /// here stays there. What died by a change in the outbox dies there with that change, which is
    /// whole or not at all. A removal may have taken what took the place of other dead dots, and others may
    /// have taken what a change of the outbox wrote: all of the outbox up to the last such change goes with
    /// these dots in one push, where it has room for them.
    fn cut_refill(&mut self, name: &str) -> Result<(), S::Error> {
        let Some(opened) = self.documents.get_mut(name) else { return Ok(()) };
        if !opened.is_stored() {
            return Ok(());
        }
        if matches!(opened.refill, Refill::Wanted(..)) && !broken!(RefillSplitsRemovals) {
            if DEPENDENTS_WAIT {
                let store = opened.document.store();
                opened.outbox.note_taken(store, &store.live()?)?;
            }
            let frozen = opened.outbox.freeze_removals();
            if !frozen.is_empty() {
                let steps = frozen.iter().copied().map(Step::Freeze).collect();
                self.persist(name, steps, Then { frozen, ..Then::default() });
                return Ok(());
            }
        }
        if let Refill::Wanted(lacking, found) = &opened.refill {
            let part = part(opened.document.store(), lacking)?;
            let pieces = split_entries(part.entries.into_vec(), ChunkSize::default());
            let live = opened.document.store().live()?;
            let mut dead = match found {
                Some(found) => {
                    let mut dead = lacking.clone();
                    dead.union(found);
                    dead
                }
                None => opened.link.said.clone(),
            };
            if Compare::IS_BUILT && found.is_some() {
                let (outbox, said) = (&opened.outbox, &opened.link.said);
                outbox.each(opened.document.store(), |_, delta| {
                    dead.union(&delta.live().intersection(said));
                })?;
            }
            dead = dead.difference(&live);
            if !broken!(RefillTakesOutbox) {
                let outbox = &opened.outbox;
                outbox.each(opened.document.store(), |item, delta| {
                    // Others can have taken something only of what was sent.
                    let is_sent = matches!(item.state, OutboxState::Frozen);
                    let taken = if is_sent { &delta.dead } else { &delta.context() };
                    dead = dead.difference(taken);
                })?;
            }
            let size = ChunkSize { items: REFILL_RANGES_MAX, ..ChunkSize::default() };
            if broken!(RefillWithoutDead) {
                dead = CausalContext::default();
            }
            let mut removed = split(&dead, Vec::new(), size);
            let mut keys = Vec::new();
            if S::HAS_OUTBOX
                && let [dead] = &removed[..]
            {
                let bytes_max = DELTA_BYTES_MAX.saturating_sub(dead.cost());
                opened.outbox.bring_removals(opened.document.store(), bytes_max)?;
            }
            if let [dead] = &mut removed[..]
                && !broken!(RefillSplitsRemovals)
                && !opened.goes_apart
                && let Some(removals) =
                    opened.outbox.removals(DELTA_BYTES_MAX.saturating_sub(dead.cost()))
            {
                keys.extend(removals.iter().map(|item| item.key()));
                dead.join(join_items(&removals));
                opened.outbox.send(&keys);
            }
            if S::HAS_OUTBOX {
                opened.outbox.let_go(&keys);
            }
            let pieces = pieces.into_iter().chain(removed).map(|piece| (piece, Vec::new()));
            let mut pieces: VecDeque<_> = pieces.collect();
            if let Some((_, with)) = pieces.back_mut() {
                *with = keys;
            }
            if broken!(NoRefill) {
                pieces.clear();
            }
            opened.refill = Refill::Pieces(pieces);
        }
        Ok(())
    }

    /// Sends while there is credit: the refill first, then the outbox, frozen on disk before.
    fn send_pushes(&mut self, name: &str) -> Result<(), S::Error> {
        let bytes_max =
            if self.connection.packing.is_some() { PACKED_PUSH_BYTES_MAX } else { PUSH_BYTES_MAX };
        loop {
            let Some(opened) = self.documents.get_mut(name) else { return Ok(()) };
            if opened.link.under_way.len() >= PUSH_CREDIT {
                return Ok(());
            }
            let bytes_max = opened.limited(bytes_max);
            let refilled = match &mut opened.refill {
                Refill::Nothing => None,
                Refill::Wanted(..) => return Ok(()),
                Refill::Pieces(pieces) => pieces.pop_front(),
            };
            let refill = refilled.as_ref().map(|(piece, _)| piece.clone());
            let (delta, keys) = match refilled {
                Some(piece) => piece,
                None => {
                    if S::HAS_OUTBOX {
                        opened.outbox.bring_unsent(opened.document.store(), bytes_max)?;
                    }
                    match &opened.outbox.send_next(bytes_max)[..] {
                        [] => break,
                        items => (join_items(items), items.iter().map(|item| item.key()).collect()),
                    }
                }
            };
            if S::HAS_OUTBOX {
                opened.outbox.let_go(&keys);
            }
            let id = opened.link.last_push + 1;
            if broken!(SettlesUnanswered) {
                for key in &keys {
                    opened.outbox.settle(*key);
                }
                let steps = keys.iter().copied().map(Step::Settle).collect();
                self.persist(name, steps, Then::default());
            }
            let has_dots = self.send_push(name, id, &delta, &keys, refill.is_none())?;
            let Some(opened) = self.documents.get_mut(name) else { return Ok(()) };
            opened.link.last_push = id;
            opened.link.under_way.insert(id, Sent { keys, refill, has_dots });
        }
        let Some(opened) = self.documents.get_mut(name) else { return Ok(()) };
        let bytes_max = opened.limited(bytes_max);
        let frozen = opened.outbox.freeze_next(bytes_max);
        let steps = frozen.iter().copied().map(Step::Freeze).collect();
        self.persist(name, steps, Then { frozen, ..Then::default() });
        Ok(())
    }

    pub(super) fn confirm_chunk(&mut self, name: &str, number: u64) {
        if let Some(channel) = self.channel_of(name) {
            self.send(&ClientMessage::ChunkStored { channel, number });
        }
    }

    pub(super) fn send_claims(&mut self, name: &str, claims: Vec<Claim>) {
        if let Some(channel) = self.channel_of(name) {
            self.send(&ClientMessage::Claim { channel, claims });
        }
    }

    pub(super) fn send_release(&mut self, name: &str, replica: ReplicaId) {
        if let Some(channel) = self.channel_of(name) {
            self.send(&ClientMessage::Release { channel, replicas: vec![replica] });
        }
    }

    pub(super) fn send_presence(&mut self, name: &str, replica: ReplicaId) {
        let Some(channel) = self.channel_of(name) else { return };
        let claimed = self.documents.get(name).and_then(|opened| opened.claims.get(&replica));
        if let Some(Peer { name, state }) = claimed.and_then(|claimed| claimed.shown.clone()) {
            self.send(&ClientMessage::Presence { channel, replica, name, state });
        }
    }

    pub(super) fn channel_of(&self, name: &str) -> Option<u32> {
        let link = &self.documents.get(name)?.link;
        (link.phase != Phase::Closed).then_some(link.channel)
    }

    /// The hub does not take this replica from here: writes under a fresh one, and opens again, so that
    /// what was written as the old one since the document was opened is asked for by the hub.
    fn give_way(&mut self, name: &str, replica: ReplicaId) {
        self.renew(name, replica);
        let Some(opened) = self.documents.get(name) else { return };
        let said = opened.link.said.max_of(replica);
        let waits = opened.outbox.iter().any(|item| item.replica == replica && item.last > said);
        if (waits || !opened.link.under_way.is_empty()) && !broken!(NeverOpensAgain) {
            self.disconnect(IN_USE);
        }
    }

    /// Writes under a fresh incarnation from here on. What is unsent keeps its dots.
    pub(super) fn renew(&mut self, name: &str, replica: ReplicaId) {
        let Some(opened) = self.documents.get_mut(name) else { return };
        let Some(claimed) = opened.claims.remove(&replica) else { return };
        if opened.author != Some(replica) || broken!(NeverRenews) {
            return;
        }
        let is_known = |fresh: ReplicaId| {
            fresh == replica
                || opened.document.store().context().iter().any(|(known, _)| known == fresh)
        };
        let fresh = incarnations(replica, claimed.opening).find(|fresh| !is_known(*fresh));
        let Some(fresh) = fresh else { return };
        opened.author = Some(fresh);
        opened.on_disk.insert(fresh, 0);
        let claim = Claim { replica: fresh, opening: claimed.opening };
        opened.claims.insert(fresh, claimed);
        self.persist(name, vec![Step::Renew(fresh)], Then::default());
        self.send_claims(name, vec![claim]);
        self.send_presence(name, fresh);
        let event = ClientEvent::Renewed { document: name.to_owned(), replica: fresh };
        self.tell(event);
    }

    /// Keeps the clock ahead of what was read.
    pub(super) fn observe(&mut self, now: Now, delta: &Delta) {
        for entry in &delta.entries {
            self.clock.observe(now.unix_ms, entry.stamp);
        }
    }

    fn hear(&mut self, now: Now) {
        self.connection.ping_ms = now.monotonic_ms.saturating_add(PING_MS);
        self.connection.silent_ms = now.monotonic_ms.saturating_add(HUB_SILENCE_MS_MAX);
        // What this frame brings may move the cursor.
        let held_ms = now.monotonic_ms.saturating_add(HELD_MS);
        self.connection.held_ms = self.connection.held_ms.min(held_ms);
    }

    pub(super) fn disconnect(&mut self, reason: &str) {
        self.outputs.push_back(ClientOutput::Disconnect { reason: reason.to_owned() });
        self.handle_disconnected();
    }

    pub(super) fn send(&mut self, message: &ClientMessage) {
        let frame = self.connection.packing.pack(message.encode());
        self.outputs.push_back(ClientOutput::Send(frame));
    }
}

impl Link {
    /// Keeps a delta for the end of the catch-up, where there is room for it.
    fn hold(&mut self, delta: &Delta) -> bool {
        let bytes = self.held_bytes + delta.cost();
        let fits = bytes <= HELD_BYTES_MAX;
        if fits {
            self.held_bytes = bytes;
            if delta.entries.is_empty() && self.held.entries.is_empty() {
                self.held.dead.union(&delta.dead);
                self.held.notes.extend(delta.notes.iter().cloned());
            } else {
                self.held.join(delta.clone());
            }
        }
        fits
    }
}

impl<S: ClientStore> Opened<S> {
    /// The most bytes of items that go as one push.
    fn limited(&self, bytes_max: usize) -> usize {
        let goes_alone = self.link.goes_alone.is_some_and(|last| self.outbox.is_unsent(last));
        if goes_alone { 0 } else { bytes_max }
    }

    /// Takes back what was pushed from a number on: the hub has passed over it, and it goes again, under
    /// these numbers.
    fn take_back(&mut self, id: u64) {
        for behind in (id..=self.link.last_push).rev() {
            let Some(Sent { keys, refill, .. }) = self.link.under_way.remove(&behind) else {
                continue;
            };
            match (&mut self.refill, refill) {
                (Refill::Pieces(pieces), Some(piece)) => pieces.push_front((piece, keys)),
                _ => self.outbox.unsend(&keys),
            }
        }
        self.link.last_push = id - 1;
    }

    /// Whether the hub has not yet confirmed all of what it lacks.
    pub(super) fn is_refilling(&self) -> bool {
        if self.link.compare.is_some() {
            return true;
        }
        match &self.refill {
            Refill::Nothing => false,
            Refill::Wanted(..) => true,
            Refill::Pieces(pieces) => {
                !pieces.is_empty() || self.link.under_way.values().any(|sent| sent.refill.is_some())
            }
        }
    }

    /// Moves the cursor. While the hub is being filled it stays where it was: a client that comes back
    /// from there does so as one that the hub may lack something of.
    fn follow(&mut self, cursor: Cursor, steps: &mut Vec<Step>) {
        if !self.is_refilling() || broken!(CursorDuringRefill) {
            self.cursor = Some(cursor);
            steps.push(Step::Follow(cursor));
        }
    }

    /// Joins what came from the hub, and stores that. Gives the author as well if it was written by
    /// somebody else: a copy of this replica, or one that pretends to be it.
    pub(super) fn join_remote(
        &mut self,
        now: Now,
        delta: &Delta,
        steps: &mut Vec<Step>,
    ) -> Result<(Change, Option<ReplicaId>), S::Error> {
        let last = |opened: &Self, author| opened.document.store().context().max_of(author);
        let before = self.author.map(|author| (author, last(self, author)));
        let change = self.join_and_record(now, delta, steps)?;
        let renewed = before.filter(|(author, before)| last(self, *author) > *before);
        Ok((change, renewed.map(|(author, _)| author)))
    }
}

/// Joins what items hold, two by two, so that none is taken up again for each of the others.
pub(super) fn join_items(items: &[&OutboxItem]) -> Delta {
    let mut deltas: Vec<Delta> = items.iter().map(|item| item.delta.clone()).collect();
    while deltas.len() > 1 {
        let mut rest = deltas.into_iter();
        let mut pairs = Vec::new();
        while let Some(mut one) = rest.next() {
            rest.next().into_iter().for_each(|other| one.join(other));
            pairs.push(one);
        }
        deltas = pairs;
    }
    deltas.pop().unwrap_or_default()
}

/// The incarnations that may follow on one. They are drawn at random, from what was drawn when the
/// replica was opened: copies of one database that renew apart do not meet in the next one.
fn incarnations(replica: ReplicaId, opening: u64) -> impl Iterator<Item = ReplicaId> {
    (0u64..).map(move |turn| {
        let seed = opening ^ turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        replica.with_incarnation(xxh3_64_with_seed(replica.as_bytes(), seed) as u32)
    })
}
