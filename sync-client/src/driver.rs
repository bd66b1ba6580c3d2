//! The background thread of a client: it commits what was changed, owns the socket, and turns
//! what the session says into disk and network.
//!
//! One loop around a `match`; the commits are [`committer`](crate::committer)'s. It never sends what the store has not confirmed: the session gives the
//! bytes of a delta only after [`ClientInput::Persisted`].

mod line;
#[cfg(test)]
mod opened;
mod scrubber;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod times;
#[cfg(test)]
mod weather;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sync_core::session::{Backoff, ClientEvent, ClientInput, ClientOutput, Phase};
use sync_core::time::TIME_MS_MIN;
use sync_core::wire::{CHANNELS_MAX, Fault, MESSAGE_BYTES_MAX, PUSH_CREDIT};
use tokio::time::{Instant, sleep, sleep_until};

use self::line::{Dial, Line, LineEvent, Queue, Why};
use self::scrubber::Scrubber;
use crate::address::HubAddress;
use crate::committer::Committer;
use crate::error::LineError;
use crate::random;
use crate::shared::Shared;
use crate::status::{Connection, Event, OfflineReason, Scrubbed};
use crate::store::{Damage, Store, StoreError};
use crate::token::TokenSource;

/// How many bytes may wait for the socket; a line that takes too little is given up. All that the
/// protocol's credit allows fits, for as many documents as a connection may have: or else a slow line
/// would be given up again and again with nothing sent.
const QUEUE_BYTES_MAX: usize = CHANNELS_MAX * (PUSH_CREDIT + 1) * MESSAGE_BYTES_MAX;

/// How long the hub may take for its welcome, in milliseconds. Arbitrary.
const WELCOME_MS_MAX: u64 = 15_000;

/// How old contacts on disk may be on a line that is idle, in milliseconds. Arbitrary: it wakes the disk.
const CONTACT_IDLE_MS_MAX: u64 = 600_000;

/// The close code of a hub that does not accept a token.
const UNAUTHORIZED: u16 = 4401;

/// All that the thread owns.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    hub: Option<HubAddress>,
    dial: Dial,
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
    /// Whether somebody wants a connection who may have known that the present one is lost, while that was not
    /// heard here: nothing has come over it since.
    is_doubted: bool,
    scrubber: Scrubber,
    tokens: Option<TokenSource>,
    /// What the source gave last, and what of that the hub did not accept.
    token: Option<String>,
    refused_token: Option<String>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        store: Store,
        hub: Option<HubAddress>,
        tokens: Option<TokenSource>,
    ) -> Self {
        let scrubber = Scrubber::new(shared.clone(), store.file());
        shared.take_store(store);
        Self {
            shared,
            hub,
            dial: Dial::Net,
            scrubber,
            line: Line::Off,
            queue: Queue::new(),
            backoff: Backoff::default(),
            welcome_by_ms: None,
            live_since_ms: None,
            lost: None,
            turned_away: None,
            is_doubted: false,
            tokens,
            token: None,
            refused_token: None,
        }
    }

    /// Runs until the client is shut down.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let ending = Ending(&shared);
        loop {
            let is_busy = self.turn();
            let is_stopping = self.steer().await;
            self.publish(is_busy);
            if is_stopping && !is_busy && !self.has_outputs() {
                break;
            }
            let wait = self.wait_ms();
            let tidy = shared.committer().as_ref().and_then(Committer::tidies_at);
            let due = shared.committer().as_mut().and_then(Committer::rest);
            let rest = due.map(|due| due.saturating_duration_since(Instant::now()));
            tokio::select! {
                biased;
                event = self.line.next(&shared.clock, &mut self.queue) => self.handle_line(event),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => self.handle_timeout(),
                () = sleep(rest.unwrap_or_default()), if rest.is_some() => {}
                () = sleep_until(tidy.unwrap_or_else(Instant::now)), if tidy.is_some() => self.tidy(),
                () = shared.wake.notified() => {}
                damage = self.scrubber.next() => self.tell_scrubbed(damage),
                () = std::future::ready(()), if is_busy => {}
            }
        }
        // What came last and is on disk, others hear before this goes.
        let now = self.shared.now();
        self.shared.lock().session.say_held(now);
        self.turn();
        self.line.hang_up(&mut self.queue).await;
        self.note_contacts();
        self.turn();
        drop(ending);
    }

    /// Does what the session asks for. Gives whether there may be more.
    fn turn(&mut self) -> bool {
        let shared = self.shared.clone();
        let (outputs, is_busy, _telling) = shared.store_changes();
        if is_busy {
            self.shared.tell_turn();
        }
        for output in outputs {
            match output {
                // Stored already.
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
                self.shared.lock().lacks_time = hub_ms < TIME_MS_MIN;
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
                self.refused_token = None;
                self.backoff.reset();
                match &mut self.line {
                    Line::Waiting(until) => *until = 0,
                    Line::Connecting(_) | Line::Up(_) => self.is_doubted = true,
                    Line::Off => {}
                }
                // Who waits is not to find that nothing is tried, before the driver has said otherwise.
                if matches!(state.connection, Connection::Offline(OfflineReason::TurnedAway(_))) {
                    state.connection = Connection::Connecting;
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
    fn publish(&mut self, was_busy: bool) {
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
                (Line::Waiting(_) | Line::Off, Some(why)) if self.lacks_token(why) => {
                    Connection::Offline(OfflineReason::NoToken(why.clone()))
                }
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
        // Who waits for what was stored has heard of it.
        if !was_busy || !is_same {
            self.shared.tell_turn();
        }
    }

    /// Lets the write-ahead log go into the file, while nobody writes.
    fn tidy(&self) {
        let _state = self.shared.lock();
        if let Some(committer) = &mut *self.shared.committer() {
            committer.tidy();
        }
    }

    /// Lets contacts be stored with what is stored next.
    fn note_contacts(&self) {
        if let Some(committer) = &mut *self.shared.committer() {
            committer.notes_contacts = true;
        }
    }

    fn has_outputs(&self) -> bool {
        self.shared.lock().backlog > 0
    }

    fn handle_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Due => {
                if let Some(hub) = &self.hub {
                    let refused = self.refused_token.clone();
                    self.line = Line::connect(self.dial.clone(), hub, self.tokens.clone(), refused);
                }
            }
            LineEvent::Connected(token) => {
                let now = self.shared.now();
                if let Some(token) = token {
                    self.shared.lock().session.set_token(Some(token.clone()));
                    self.token = Some(token);
                }
                self.welcome_by_ms = Some(now.monotonic_ms.saturating_add(WELCOME_MS_MAX));
                self.live_since_ms = None;
                self.handle(ClientInput::Connected);
            }
            LineEvent::Frame(frame) => {
                self.is_doubted = false;
                let now = self.shared.now();
                let mut state = self.shared.lock();
                state.handle(now, ClientInput::Frame(frame.into()));
                state.hear(now.unix_ms);
                drop(state);
                if let Some(committer) = &mut *self.shared.committer() {
                    committer.note_contacts_older(now, CONTACT_IDLE_MS_MAX);
                }
            }
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
        self.note_contacts();
        let now_ms = self.shared.now().monotonic_ms;
        let live_ms = self.live_since_ms.take().map_or(0, |since| now_ms.saturating_sub(since));
        let error = Arc::new(error);
        let is_doubted = std::mem::take(&mut self.is_doubted);
        match *error {
            LineError::Closed { code, .. }
                if Fault::is_final(code) && !self.lacks_token(&error) && !is_doubted =>
            {
                self.turned_away = Some(error);
                self.line = Line::Off;
            }
            LineError::Closed { .. }
            | LineError::Unreachable(_)
            | LineError::Silent { .. }
            | LineError::Status { .. }
            | LineError::Lost
            | LineError::NoToken(_)
            | LineError::TokenEnded
            | LineError::GivenUp { .. }
            | LineError::Transport(_) => {
                if matches!(*error, LineError::Closed { .. }) && self.lacks_token(&error) {
                    self.refused_token = self.token.take();
                }
                self.lost = Some(error);
                // Without a random number there is no jitter, and the wait is as long as it can be.
                let jitter = random::bytes().map_or(u32::MAX, u32::from_ne_bytes);
                let wait = u64::from(self.backoff.next_ms(live_ms, jitter));
                let wait = if is_doubted { 0 } else { wait };
                self.line = Line::Waiting(now_ms.saturating_add(wait));
            }
        }
        self.handle(ClientInput::Disconnected);
    }

    /// Whether the line is down for want of a token that the source may give yet.
    fn lacks_token(&self, why: &LineError) -> bool {
        match why {
            LineError::NoToken(_) | LineError::TokenEnded => true,
            LineError::Closed { code, .. } => *code == UNAUTHORIZED && self.tokens.is_some(),
            LineError::Unreachable(_)
            | LineError::Silent { .. }
            | LineError::Status { .. }
            | LineError::Lost
            | LineError::GivenUp { .. }
            | LineError::Transport(_) => false,
        }
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
        drop(self.0.committer().take());
        let mut state = self.0.lock();
        if std::thread::panicking() {
            state.fail(Arc::new(StoreError::Panicked));
        }
        state.is_ended = true;
        state.jobs.clear();
        self.0.commits.end();
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
    use sync_core::session::ClientConfig;
    use sync_core::wire::DELTA_BYTES_MAX;

    use super::*;
    use crate::clock::{Clock, TimeOfDay};
    use crate::shared::Session;
    use crate::store::open_file;

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

    fn driver(folder: &std::path::Path) -> Driver {
        let store = Store::new(open_file(folder).unwrap()).unwrap();
        let session = Session::new(ClientConfig::default());
        let clock = Clock::new(TimeOfDay::default());
        let shared = Arc::new(Shared::new(session, Connection::Connecting, false, clock));
        Driver::new(shared, store, Some("http://127.0.0.1:9".parse().unwrap()), None)
    }

    fn closed() -> LineError {
        let code = Fault::Forbidden("no".into()).close_code();
        assert!(Fault::is_final(code));
        LineError::Closed { code, reason: String::new() }
    }

    #[tokio::test]
    async fn who_asks_for_a_connection_before_a_loss_was_heard_of_gets_one_at_once() {
        for (error, is_asked) in
            [(LineError::Lost, false), (LineError::Lost, true), (closed(), false), (closed(), true)]
        {
            let is_final = matches!(error, LineError::Closed { .. });
            let folder = tempfile::tempdir().unwrap();
            let mut driver = driver(folder.path());
            for _ in 0..8 {
                driver.backoff.next_ms(0, u32::MAX);
            }
            driver.line = Line::Connecting(Box::pin(std::future::pending()));
            driver.shared.lock().is_retry_wanted = is_asked;
            assert!(!driver.steer().await);
            driver.handle_line(LineEvent::Ended(error));
            driver.publish(false);
            let resting = driver.shared.lock().resting();
            assert_eq!(resting.is_some(), is_final && !is_asked, "{is_asked}");
            let now_ms = driver.shared.now().monotonic_ms;
            let is_due = matches!(driver.line, Line::Waiting(until) if until <= now_ms);
            assert_eq!(is_due, is_asked);
            // What came over the line since says that it was not lost then.
            driver.line = Line::Connecting(Box::pin(std::future::pending()));
            driver.shared.lock().is_retry_wanted = true;
            driver.steer().await;
            driver.handle_line(LineEvent::Frame(Bytes::new()));
            driver.handle_line(LineEvent::Ended(closed()));
            assert!(driver.turned_away.is_some());
        }
    }

    #[tokio::test]
    async fn who_waits_after_asking_for_a_connection_is_not_told_that_nothing_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let mut driver = driver(folder.path());
        driver.line = Line::Connecting(Box::pin(std::future::pending()));
        driver.handle_line(LineEvent::Ended(closed()));
        driver.publish(false);
        assert!(driver.shared.lock().resting().is_some());
        driver.shared.lock().is_retry_wanted = true;
        assert!(driver.shared.lock().resting().is_none());
        // Between taking the wish and the next word about the line.
        driver.steer().await;
        assert!(driver.shared.lock().resting().is_none());
        driver.publish(false);
        assert!(driver.shared.lock().resting().is_none());
    }
}
