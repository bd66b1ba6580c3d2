//! One session of anti-entropy between two sides, as a state machine without IO.
//!
//! ```text
//! initiator                                       responder
//!   hello: hash of the context, root      ─────▶
//!                                         ◀─────  equal (the end), or: root, context if it differs
//!   context's change, sums of 64 parts    ─────▶
//!                                         ◀─────  done, or: which parts differ, and of these
//!                                                 coded symbols, a list, or the sums of their parts
//!   more …                                ─────▶
//!                                         ◀─────  … more symbols, or the next piece of the list
//!   what differs, the sum of the rest     ─────▶
//!                                         ◀─────  done, or: sums of parts without what is settled
//! ```
//!
//! Whoever sent sums of parts last is the asker, who works out what differs; the other answers. An
//! answer of sums makes the answerer the asker: the recursion of Meyer, *Range-Based Set
//! Reconciliation*, 2023. Scattered differences are answered by the table of Yang, Gilad, Alizadeh,
//! *Practical Rateless Set Reconciliation*, SIGCOMM 2024. Where most positions are live or dead, or
//! many differ, a list of what is live is smaller than either.

use super::answerer::About;
use super::codec::{Reader, broken};
use super::coded::Decoder;
use super::contexts::{put_change, put_context, take_change, take_context};
use super::found::Found;
use super::space::{Places, Space, View};
use super::summary::Summary;
use super::{Difference, Limits, Mode, ReconcileError};
use crate::causal::CausalContext;
use crate::causal::{Root, Sum, context_hash, mix};
use crate::error::Malformed;

/// The first byte of each message.
pub(super) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const EQUAL: u8 = 2;
    pub(crate) const CONTEXT: u8 = 3;
    pub(crate) const PARTS: u8 = 4;
    pub(crate) const CODED: u8 = 5;
    pub(crate) const LISTED: u8 = 6;
    pub(crate) const MORE: u8 = 7;
    pub(crate) const DIFFERENCE: u8 = 8;
    pub(crate) const DONE: u8 = 9;
}

/// How often sums are compared again after a difference was found. The first time finds everything
/// but contents that differ behind equal dots of a list, and what 32 bits mistook; the second finds
/// those.
const PASSES_MAX: u8 = 3;

/// Whose turn it is, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The initiator has not begun.
    Idle,
    /// The responder has heard nothing.
    AwaitHello,
    /// The initiator has said hello.
    AwaitContext,
    /// The responder has said that something differs.
    AwaitParts,
    /// The asker has sent sums of parts.
    Asked,
    /// The asker has asked for more of an answer.
    AwaitMore,
    /// The answerer has sent symbols or a list.
    Answered,
    /// The asker has sent some of what differs, and more is to come.
    Telling,
    /// The asker has sent all that differs.
    Told,
    Finished,
    Failed,
}

/// One side of a session that finds what differs between two copies of a document.
///
/// The initiator calls [`start`](Self::start) and sends what it gives; then both pass what they
/// receive to [`handle`](Self::handle) and send what that gives, until [`is_finished`](Self::is_finished).
/// Messages are strictly in turns, reliable and in order; a session that is cut is begun anew.
///
/// **Rounds.** Equal copies take 1 round trip, copies that differ only in what one of them has not
/// seen take 2, others 3. Each further batch of symbols, where the number of differences was
/// underestimated, and each further piece of a list add 1, a level of the recursion ½, and contents
/// that differ behind equal dots of a list at least 1½. All are below [`Limits::messages_max`].
///
/// **Memory**, beside both contexts and what was found (16 bytes a range, see
/// [`Limits::ranges_max`]): 40 bytes for each range of the common context, at most 140 bytes for each
/// coded symbol (at most 65,536 of them; a list is cheaper long before), 1 MiB for a list in the
/// making. Decoding takes no more than 16 bytes for each byte of a message.
#[derive(Debug)]
pub struct Reconciler {
    pub(super) limits: Limits,
    pub(super) is_initiator: bool,
    pub(super) mode: Mode,
    context: CausalContext,
    peer_context: CausalContext,
    own_root: Option<Root>,
    pub(super) state: State,
    /// Mixed into the hashes of parts and the table, so that no collision is the same in two sessions
    /// or twice in one.
    salt: u64,
    pub(super) space: Space,
    pub(super) all: Places,
    pub(super) pass: u8,
    /// The places in question, the same on both sides.
    pub(super) domain: Places,
    /// Into how many parts the asker has cut the domain.
    pub(super) part_count: usize,
    /// What was found in earlier passes.
    pub(super) found: Found,
    /// What was found in this pass.
    pub(super) fresh: Found,
    /// Asker: what the sender of symbols has that is not known in full elsewhere.
    pub(super) decoder: Option<Decoder>,
    /// Asker: the peer's unsettled sum over everything, where it was sent.
    pub(super) peer_sum: Option<Sum>,
    /// Asker: the peer's live dots in the domain. Answerer: its own.
    pub(super) coded_count: u64,
    /// Answerer: symbols sent of this domain.
    pub(super) symbols_sent: usize,
    /// So many symbols were not enough for a domain around this one.
    pub(super) too_few: usize,
    /// Answerer: whether lists carry hashes.
    pub(super) has_hashes: bool,
    /// Up to which offset of the domain a list was sent.
    pub(super) listed: u64,
    /// Asker: what of `fresh` was not told.
    pub(super) untold: Found,
    byte_count: u64,
    message_count: u32,
    pub(super) knows_live: bool,
}

impl Reconciler {
    /// Makes the side that begins. The context must hold every live dot.
    #[must_use]
    pub fn initiator(context: CausalContext, mode: Mode, limits: Limits) -> Self {
        Self::new(context, mode, limits, true)
    }

    /// Makes the side that is asked. The mode is the initiator's.
    #[must_use]
    pub fn responder(context: CausalContext, limits: Limits) -> Self {
        Self::new(context, Mode::PushPull, limits, false)
    }

    fn new(context: CausalContext, mode: Mode, limits: Limits, is_initiator: bool) -> Self {
        Self {
            limits: limits.sane(),
            is_initiator,
            mode,
            context,
            peer_context: CausalContext::default(),
            own_root: None,
            state: if is_initiator { State::Idle } else { State::AwaitHello },
            salt: 0,
            space: Space::default(),
            all: Places::default(),
            pass: 0,
            domain: Places::default(),
            part_count: 0,
            found: Found::default(),
            fresh: Found::default(),
            decoder: None,
            peer_sum: None,
            coded_count: 0,
            symbols_sent: 0,
            too_few: 0,
            has_hashes: false,
            listed: 0,
            untold: Found::default(),
            byte_count: 0,
            message_count: 0,
            knows_live: false,
        }
    }

    /// Gives the first message. Only the initiator may call it, once.
    ///
    /// # Errors
    ///
    /// The store's own, and [`ReconcileError::Unexpected`] when called by the wrong side or twice.
    pub fn start<S: Summary>(&mut self, store: &S) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        if self.state != State::Idle {
            return Err(ReconcileError::Unexpected { kind: 0 });
        }
        let context_hash = context_hash(&self.context);
        let root = Root::of(context_hash, store.total().map_err(ReconcileError::Store)?);
        self.own_root = Some(root);
        let mut bytes = vec![kind::HELLO, self.mode as u8];
        bytes.extend_from_slice(&context_hash.to_le_bytes());
        bytes.extend_from_slice(&root.0);
        self.state = State::AwaitContext;
        self.count(bytes.len())?;
        Ok(bytes)
    }

    /// Takes a message of the other side and gives the answer; `None` when there is none, and then
    /// the session is finished.
    ///
    /// # Errors
    ///
    /// See [`ReconcileError`]. After any error the session is over.
    pub fn handle<S: Summary>(
        &mut self,
        store: &S,
        message: &[u8],
    ) -> Result<Option<Vec<u8>>, ReconcileError<S::Error>> {
        let answer = self.count(message.len()).and_then(|()| self.dispatch(store, message));
        let answer = answer.and_then(|answer| {
            answer.iter().try_for_each(|bytes| self.count(bytes.len()))?;
            Ok(answer)
        });
        if answer.is_err() {
            self.state = State::Failed;
        }
        answer
    }

    /// Whether a message begins a session.
    #[must_use]
    pub fn is_first(message: &[u8]) -> bool {
        message.first() == Some(&kind::HELLO)
    }

    /// Whether there is nothing left to say.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The other side's context, once it is known. From then on what only one side has seen may be
    /// sent, beside this session.
    #[must_use]
    pub fn peer_context(&self) -> Option<&CausalContext> {
        let is_known = !matches!(
            self.state,
            State::Idle
                | State::AwaitHello
                | State::AwaitContext
                | State::AwaitParts
                | State::Failed
        );
        is_known.then_some(&self.peer_context)
    }

    /// What differs, once the session is finished.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        self.is_finished().then(|| Difference {
            unseen_there: self.context.difference(&self.peer_context),
            unseen_here: self.peer_context.difference(&self.context),
            live_here: self.space.dots(&self.found.here),
            live_there: self.space.dots(&self.found.there),
            conflicting: self.space.dots(&self.found.conflicting),
            knows_live: self.knows_live,
        })
    }

    /// How many messages and how many bytes went both ways.
    #[must_use]
    pub fn spent(&self) -> (u32, u64) {
        (self.message_count, self.byte_count)
    }

    fn dispatch<S: Summary>(
        &mut self,
        store: &S,
        message: &[u8],
    ) -> Result<Option<Vec<u8>>, ReconcileError<S::Error>> {
        let mut reader = Reader::new(message);
        let kind = reader.byte()?;
        match (self.state, kind) {
            (State::AwaitHello, kind::HELLO) => self.on_hello(store, reader).map(Some),
            (State::AwaitContext, kind::EQUAL) => {
                reader.end()?;
                self.peer_context = self.context.clone();
                Ok(self.finish())
            }
            (State::AwaitContext, kind::CONTEXT) => self.on_context(store, reader).map(Some),
            (State::AwaitParts | State::Asked | State::AwaitMore | State::Told, kind::PARTS) => {
                self.on_parts(store, reader).map(Some)
            }
            (State::Asked | State::AwaitMore, kind::CODED) => {
                self.on_coded(store, reader).map(Some)
            }
            (State::Asked | State::AwaitMore, kind::LISTED) => {
                self.on_listed(store, reader).map(Some)
            }
            (State::Answered | State::Telling, kind::MORE) => self.on_more(store, reader).map(Some),
            (State::Answered, kind::DIFFERENCE) => self.on_difference(store, reader).map(Some),
            (State::Asked | State::Told | State::Answered, kind::DONE) => {
                reader.end()?;
                // An answerer that hears this was never told what differs.
                self.knows_live = self.state != State::Answered;
                Ok(self.finish())
            }
            _ => Err(ReconcileError::Unexpected { kind }),
        }
    }

    fn on_hello<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let mode = reader.byte()?;
        self.mode = Mode::of(mode).ok_or_else(|| broken("a mode that does not exist"))?;
        let their_context = reader.fixed(8)?;
        let their_root = Root(reader.array()?);
        reader.end()?;
        let own_context = context_hash(&self.context);
        let root = Root::of(own_context, store.total().map_err(ReconcileError::Store)?);
        if root == their_root {
            self.peer_context = self.context.clone();
            self.finish();
            return Ok(vec![kind::EQUAL]);
        }
        self.season(their_root, root);
        let mut bytes = vec![kind::CONTEXT];
        bytes.extend_from_slice(&root.0);
        if own_context == their_context {
            bytes.push(0);
        } else {
            bytes.push(1);
            put_context(&mut bytes, &self.context);
        }
        self.state = State::AwaitParts;
        Ok(bytes)
    }

    fn on_context<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let root = Root(reader.array()?);
        let is_full = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(broken("neither an equal context nor a full one").into()),
        };
        let peer = if is_full { take_context(&mut reader)? } else { self.context.clone() };
        reader.end()?;
        if let Some(own) = self.own_root {
            self.season(own, root);
        }
        self.meet(peer)?;
        let mut change = Vec::new();
        put_change(&mut change, &self.peer_context, &self.context);
        self.ask(store, About::Context(&change))
    }

    /// Reads how the initiator's context differs from this one.
    pub(super) fn take_peer_context(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let peer = take_change(reader, &self.context)?;
        self.meet(peer)
    }

    /// Numbers the dots that both have seen.
    fn meet(&mut self, peer: CausalContext) -> Result<(), Malformed> {
        let common = self.context.intersection(&peer);
        self.peer_context = peer;
        let limit = 1 << 63;
        let what = "the dots that both have seen";
        let space = Space::new(&common);
        self.space = space.ok_or_else(|| Malformed::limit(what, u64::MAX, limit))?;
        self.all = Places::all(self.space.length());
        self.domain = self.all.clone();
        Ok(())
    }

    fn season(&mut self, initiator: Root, responder: Root) {
        let words = |root: Root| {
            let wide = u128::from_le_bytes(root.0);
            (wide as u64, (wide >> 64) as u64)
        };
        let ((a, b), (c, d)) = (words(initiator), words(responder));
        self.salt = mix(a ^ d.rotate_left(32), b, c);
    }

    /// What hashes of this pass are salted with.
    pub(super) fn salt(&self) -> u64 {
        self.salt.wrapping_add(u64::from(self.pass))
    }

    /// Bytes of a position on the wire.
    pub(super) fn width(&self) -> usize {
        super::codec::byte_width(self.space.length().saturating_sub(1))
    }

    /// What this side need not compare any more.
    pub(super) fn settled(&self) -> Places {
        if self.pass == 0 { Places::default() } else { self.found.own() }
    }

    pub(super) fn view<'a, S: Summary>(&'a self, store: &'a S, settled: &'a Places) -> View<'a, S> {
        View { store, space: &self.space, settled }
    }

    /// Takes what this pass found to what was found before.
    pub(super) fn settle<E>(&mut self) -> Result<(), ReconcileError<E>> {
        self.found.merge(&std::mem::take(&mut self.fresh));
        self.check_found(0)
    }

    pub(super) fn check_found<E>(&self, more: usize) -> Result<(), ReconcileError<E>> {
        let found = self.found.range_count() + self.fresh.range_count() + more;
        if found > self.limits.ranges_max {
            let (what, limit) = ("the ranges of what differs", self.limits.ranges_max as u64);
            return Err(ReconcileError::Budget { what, limit });
        }
        Ok(())
    }

    /// Begins to compare again everything that is not settled.
    pub(super) fn next_pass<E>(&mut self) -> Result<(), ReconcileError<E>> {
        self.settle()?;
        self.pass += 1;
        self.too_few = 0;
        if self.pass >= PASSES_MAX {
            return Err(ReconcileError::Unresolved);
        }
        self.domain = self.all.clone();
        Ok(())
    }

    /// Whether the other side is to know what differs.
    pub(super) fn peer_learns(&self) -> bool {
        match self.mode {
            Mode::Push => self.is_initiator,
            Mode::Pull => !self.is_initiator,
            Mode::PushPull => true,
        }
    }

    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        self.found.merge(&std::mem::take(&mut self.fresh));
        if self.state == State::AwaitContext || self.state == State::AwaitHello {
            self.knows_live = true;
        }
        self.decoder = None;
        self.state = State::Finished;
        None
    }

    /// Counts a message of either side against what the session may cost.
    fn count<E>(&mut self, byte_count: usize) -> Result<(), ReconcileError<E>> {
        self.message_count += 1;
        self.byte_count = self.byte_count.saturating_add(byte_count as u64);
        let Limits { message_bytes_max, session_bytes_max, messages_max, .. } = self.limits;
        let exceeded = if byte_count > message_bytes_max {
            Some(("bytes of a message", message_bytes_max as u64))
        } else if self.byte_count > session_bytes_max {
            Some(("bytes of a session", session_bytes_max))
        } else if self.message_count > messages_max {
            Some(("messages of a session", u64::from(messages_max)))
        } else {
            None
        };
        exceeded.map_or(Ok(()), |(what, limit)| Err(ReconcileError::Budget { what, limit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_compared_again_so_often_and_no_more() {
        let mut side = Reconciler::responder(CausalContext::default(), Limits::default());
        for pass in 1..PASSES_MAX {
            assert_eq!(side.next_pass(), Ok::<(), ReconcileError<()>>(()), "{pass}");
        }
        assert_eq!(side.next_pass(), Err::<(), _>(ReconcileError::<()>::Unresolved));
    }
}
