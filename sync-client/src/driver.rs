//! The background thread of a client: it commits what was changed, owns the socket, and turns
//! what the session says into disk and network.
//!
//! One loop around a `match`. It never sends what the store has not confirmed: the session gives the
//! bytes of a delta only after [`ClientInput::Persisted`].

mod line;
mod scrubber;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sync_core::session::{Backoff, ClientEvent, ClientInput, ClientOutput, Phase};
use sync_core::wire::{CHANNELS_MAX, Fault, MESSAGE_BYTES_MAX, PUSH_CREDIT};
use tokio::time::sleep;

use self::line::{Line, LineEvent, Queue, Why};
use self::scrubber::Scrubber;
use crate::address::HubAddress;
use crate::error::LineError;
use crate::random;
use crate::shared::Shared;
use crate::status::{Connection, Event, OfflineReason, Scrubbed};
use crate::store::{Damage, Store, StoreError};

/// How many bytes may wait for the socket; a line that takes too little is given up. All that the
/// protocol's credit allows fits, for as many documents as a connection may have: or else a slow line
/// would be given up again and again with nothing sent.
const QUEUE_BYTES_MAX: usize = CHANNELS_MAX * (PUSH_CREDIT + 1) * MESSAGE_BYTES_MAX;

/// How long the hub may take for its welcome, in milliseconds. Arbitrary.
const WELCOME_MS_MAX: u64 = 15_000;

/// All that the thread owns.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    store: Store,
    hub: Option<HubAddress>,
    line: Line,
    queue: Queue,
    backoff: Backoff,
    /// When the hub's welcome must be here, by the monotonic clock.
    welcome_by_ms: Option<u64>,
    /// Since when a document is live on the present connection, by the monotonic clock.
    live_since_ms: Option<u64>,
    /// Why the last connection or attempt ended.
    lost: Option<Why>,
    /// Why the hub turned this client away for good.
    turned_away: Option<Why>,
    scrubber: Scrubber,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, store: Store, hub: Option<HubAddress>) -> Self {
        let scrubber = Scrubber::new(shared.clone(), store.file());
        Self {
            shared,
            store,
            hub,
            scrubber,
            line: Line::Off,
            queue: Queue::new(),
            backoff: Backoff::default(),
            welcome_by_ms: None,
            live_since_ms: None,
            lost: None,
            turned_away: None,
        }
    }

    /// Runs until the client is shut down.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let ending = Ending(&shared);
        loop {
            let is_busy = self.turn();
            let is_stopping = self.steer().await;
            self.publish();
            if is_stopping && !is_busy && !self.has_outputs() {
                break;
            }
            let wait = self.wait_ms();
            tokio::select! {
                biased;
                event = self.line.next(&shared.clock, &mut self.queue) => self.handle_line(event),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => self.handle_timeout(),
                () = shared.wake.notified() => {}
                damage = self.scrubber.next() => self.tell_scrubbed(damage),
                () = std::future::ready(()), if is_busy => {}
            }
        }
        self.line.hang_up(&mut self.queue).await;
        drop((self.store, ending));
    }

    /// Does what the session asks for. Gives whether there may be more.
    fn turn(&mut self) -> bool {
        let (outputs, is_busy) = self.store_changes();
        if is_busy {
            self.shared.tell_turn();
        }
        for output in outputs {
            match output {
                // Stored with the others.
                ClientOutput::Persist(_) => {}
                ClientOutput::Send(frame) => self.send(frame),
                ClientOutput::Disconnect { reason } => {
                    self.end_line(LineError::GivenUp { reason });
                }
                ClientOutput::Event(event) => self.tell(event),
            }
        }
        is_busy
    }

    /// Takes everything that the session asks for, and commits what it changed. All of it: what is new in
    /// a document is never committed without what the same change put into the outbox. Gives whether
    /// anything was stored.
    fn store_changes(&mut self) -> (Vec<ClientOutput>, bool) {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        if let Some(failure) = &state.failure {
            self.store.fail(failure.clone());
        }
        let outputs: Vec<_> = std::iter::from_fn(|| state.session.poll()).collect();
        state.backlog = 0;
        let batches = outputs.iter().filter_map(|output| match output {
            ClientOutput::Persist(batch) => Some(batch),
            ClientOutput::Send(_) | ClientOutput::Disconnect { .. } | ClientOutput::Event(_) => {
                None
            }
        });
        let batches: Vec<_> = batches.collect();
        if batches.is_empty() {
            return (outputs, false);
        }
        let mut written = batches.iter().try_for_each(|batch| self.store.write(batch));
        written = written.and_then(|()| self.store.commit());
        match written {
            Ok(()) => {
                for batch in batches {
                    if state.failure.is_none() {
                        state.handle(now, ClientInput::Persisted(batch.id));
                    }
                }
            }
            Err(failure) => {
                state.fail(failure);
            }
        }
        drop(state);
        (outputs, true)
    }

    fn send(&mut self, frame: Vec<u8>) {
        // The session may say something more to a line that has just ended.
        if !self.line.is_up() {
            return;
        }
        self.queue.push_back(frame.into());
        if is_overfull(&self.queue) {
            self.end_line(LineError::GivenUp { reason: "the line takes too little".to_owned() });
        }
    }

    fn tell(&mut self, event: ClientEvent) {
        let event = match event {
            ClientEvent::Changed { document, places } => Event::Changed { document, places },
            ClientEvent::Status { document } => {
                let phase = self.shared.lock().session.phase(&document);
                if phase == Ok(Phase::Live) {
                    self.live_since_ms.get_or_insert(self.shared.now().monotonic_ms);
                }
                Event::Status { document }
            }
            ClientEvent::Peers { document } => Event::Peers { document },
            ClientEvent::Conflict { document, entry } => Event::Conflict { document, entry },
            ClientEvent::Renewed { document, replica } => Event::Renewed { document, replica },
            ClientEvent::Welcomed { hub_ms } => {
                self.welcome_by_ms = None;
                self.lost = None;
                let skew = self.shared.clock.compare(hub_ms);
                let Some(behind_ms) = skew else { return };
                Event::ClockSkew { behind_ms }
            }
        };
        self.shared.tell(Some(event));
    }

    /// Does what handles asked for. Gives whether to stop.
    async fn steer(&mut self) -> bool {
        let (is_off, is_stopping) = {
            let mut state = self.shared.lock();
            if std::mem::take(&mut state.is_retry_wanted) {
                self.turned_away = None;
                self.backoff.reset();
                if let Line::Waiting(until) = &mut self.line {
                    *until = 0;
                }
            }
            let is_off = state.is_switched_off || state.failure.is_some();
            (is_off, state.is_stopping)
        };
        let is_wanted = self.hub.is_some() && !is_off && self.turned_away.is_none();
        if is_wanted && self.line.is_off() && !is_stopping {
            self.line = Line::Waiting(0);
        } else if !is_wanted && !self.line.is_off() {
            // What is queued must not leave any more.
            self.queue.clear();
            self.welcome_by_ms = None;
            self.lost = None;
            self.handle(ClientInput::Disconnected);
            self.line.hang_up(&mut self.queue).await;
        }
        is_stopping
    }

    /// Makes the state of the line known.
    fn publish(&mut self) {
        let mut state = self.shared.lock();
        let connection = if let Some(failure) = &state.failure {
            Connection::Offline(OfflineReason::Store(failure.clone()))
        } else if self.hub.is_none() {
            Connection::Offline(OfflineReason::NoHub)
        } else if state.is_switched_off {
            Connection::Offline(OfflineReason::SwitchedOff)
        } else if let Some(why) = &self.turned_away {
            Connection::Offline(OfflineReason::TurnedAway(why.clone()))
        } else {
            match (&self.line, &self.lost) {
                (Line::Up(_), _) if state.session.is_connected() => Connection::Online,
                (Line::Waiting(_) | Line::Off, Some(why)) => {
                    Connection::Offline(OfflineReason::Lost(why.clone()))
                }
                (Line::Up(_) | Line::Connecting(_) | Line::Waiting(_) | Line::Off, _) => {
                    Connection::Connecting
                }
            }
        };
        let is_same = state.connection.is_same(&connection);
        if !is_same {
            state.connection = connection.clone();
        }
        drop(state);
        if !is_same {
            self.shared.tell(Some(Event::Connection(connection)));
        }
        self.shared.tell_turn();
    }

    fn has_outputs(&self) -> bool {
        self.shared.lock().backlog > 0
    }

    fn handle_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Due => {
                if let Some(hub) = &self.hub {
                    self.line = Line::connect(hub);
                }
            }
            LineEvent::Connected => {
                let now = self.shared.now();
                self.welcome_by_ms = Some(now.monotonic_ms.saturating_add(WELCOME_MS_MAX));
                self.live_since_ms = None;
                self.handle(ClientInput::Connected);
            }
            LineEvent::Frame(frame) => self.handle(ClientInput::Frame(frame.into())),
            LineEvent::Ended(error) => self.end_line(error),
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.shared.now().monotonic_ms;
        if self.welcome_by_ms.is_some_and(|by| by <= now) {
            self.end_line(LineError::Silent { ms: WELCOME_MS_MAX });
        } else {
            self.handle(ClientInput::Timeout);
        }
    }

    /// Takes leave of a line that has ended, and plans the next attempt.
    fn end_line(&mut self, error: LineError) {
        self.queue.clear();
        self.welcome_by_ms = None;
        let now_ms = self.shared.now().monotonic_ms;
        let live_ms = self.live_since_ms.take().map_or(0, |since| now_ms.saturating_sub(since));
        let error = Arc::new(error);
        match *error {
            LineError::Closed { code, .. } if Fault::is_final(code) => {
                self.turned_away = Some(error);
                self.line = Line::Off;
            }
            LineError::Closed { .. }
            | LineError::Unreachable(_)
            | LineError::Silent { .. }
            | LineError::Status { .. }
            | LineError::Lost
            | LineError::GivenUp { .. }
            | LineError::Transport(_) => {
                self.lost = Some(error);
                // Without a random number there is no jitter, and the wait is as long as it can be.
                let jitter = random::bytes().map_or(u32::MAX, u32::from_ne_bytes);
                let wait = u64::from(self.backoff.next_ms(live_ms, jitter));
                self.line = Line::Waiting(now_ms.saturating_add(wait));
            }
        }
        self.handle(ClientInput::Disconnected);
    }

    fn handle(&self, input: ClientInput) {
        let now = self.shared.now();
        self.shared.lock().handle(now, input);
    }

    /// Takes note of the end of a pass over the file.
    fn tell_scrubbed(&self, damage: Vec<Damage>) {
        let mut state = self.shared.lock();
        state.scrubbed = Scrubbed { passes: state.scrubbed.passes + 1, damage };
        let scrubbed = state.scrubbed.clone();
        drop(state);
        self.shared.tell(Some(Event::Scrubbed(scrubbed)));
    }

    /// How long until something is due.
    fn wait_ms(&self) -> Option<Duration> {
        let due = self.shared.lock().session.poll_timeout();
        let due = [due, self.welcome_by_ms].into_iter().flatten().min()?;
        Some(Duration::from_millis(due.saturating_sub(self.shared.now().monotonic_ms)))
    }
}

/// Whether more waits for the socket than may.
fn is_overfull(queue: &Queue) -> bool {
    queue.iter().map(Bytes::len).sum::<usize>() > QUEUE_BYTES_MAX
}

/// Tells everyone that the driver has ended, however it ends.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if std::thread::panicking() {
            state.fail(Arc::new(StoreError::Panicked));
        }
        state.is_ended = true;
        state.connection = Connection::Offline(match &state.failure {
            Some(failure) => OfflineReason::Store(failure.clone()),
            None => OfflineReason::Closed,
        });
        drop(state);
        self.0.tell(None);
        self.0.tell_turn();
    }
}

#[cfg(test)]
mod tests {
    use sync_core::wire::DELTA_BYTES_MAX;

    use super::*;

    #[test]
    fn what_waits_for_the_socket_is_limited() {
        const { assert!(CHANNELS_MAX * PUSH_CREDIT * (DELTA_BYTES_MAX + 64) < QUEUE_BYTES_MAX) };
        let frame = Bytes::from(vec![0; MESSAGE_BYTES_MAX]);
        let full: Queue = (0..QUEUE_BYTES_MAX / frame.len()).map(|_| frame.clone()).collect();
        for (last, is_too_much) in [(frame.len() - 1, false), (frame.len(), false)] {
            let mut queue = full.clone();
            queue.pop_back();
            queue.push_back(frame.slice(..last));
            assert_eq!(is_overfull(&queue), is_too_much);
        }
        let mut queue = full;
        queue.push_back(frame.slice(..1));
        assert!(is_overfull(&queue));
    }
}
