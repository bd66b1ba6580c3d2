//! What handles and the driver share: the session under a lock, and the ways to wake each other.
//!
//! Handles read and change documents under the lock, in a transaction that the driver commits, under the
//! lock too. It is never held during a call to the network. Sending is the driver's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};

use sync_core::causal::{Delta, Dot, ReplicaId};
use sync_core::error::Misuse;
use sync_core::session::{self, ClientInput, Now, OutboxItem, OutboxTotals, Peer, Phase, Standing};

use crate::clock::Clock;
use crate::committer::{Commits, Committer};
use crate::contact::{Contact, Contacts};
use crate::error::Error;
use crate::jobs::Jobs;
use crate::status::{ClientStatus, Connection, Event, Missing, OfflineReason, Scrubbed, Status};
use crate::store::{DocumentStore, StoreError};
use crate::undo::Histories;
use crate::{Document, Edit, Refused};

/// The session of a client whose documents are in its file.
pub(crate) type Session = session::Client<DocumentStore>;

/// Why a change reaches nobody that is in no outbox.
const GIVEN_UP: &str = "it was given up, or written anew";

/// How many changes may wait for the disk before writers wait too. Arbitrary: far more than a disk
/// takes in one go, far less than memory holds.
pub(crate) const BACKLOG_MAX: usize = 1_024;

/// Why a change is not on the hub that depends on one which the hub refused.
const WAITING: &str = "it depends on a change that was refused, and waits with that";

/// How many events a slow subscriber may lag behind; it is told that it missed others.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) session: Session,
    /// As the driver last saw it.
    pub(crate) connection: Connection,
    pub(crate) is_switched_off: bool,
    /// Set to try again after the hub turned this client away.
    pub(crate) is_retry_wanted: bool,
    pub(crate) is_stopping: bool,
    /// Set when the driver has ended.
    pub(crate) is_ended: bool,
    /// Changes made since the last commit.
    pub(crate) backlog: usize,
    /// How many have begun to wait for the disk since the last commit.
    pub(crate) awaited: usize,
    /// What looking at the file in the background has found.
    pub(crate) scrubbed: Scrubbed,
    /// What can be undone.
    pub(crate) histories: Histories,
    /// The last entry of each feed that is on disk, by document.
    pub(crate) feed_ends: BTreeMap<String, u64>,
    /// Set by the first failure of the store.
    pub(crate) failure: Option<Arc<StoreError>>,
    /// When the hub was last heard, by document.
    pub(crate) contacts: Contacts,
    /// Whether the hub that is heard does not know the time: then the time at which it is heard is only this
    /// device's, which a later run is not to trust for it.
    pub(crate) lacks_time: bool,
    /// What the driver is to do once all is on disk.
    pub(crate) jobs: Jobs,
}

/// One for each open client.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    state: Mutex<State>,
    /// Locked only under the lock of the state, but for a look; none once the driver has ended.
    pub(crate) committer: Mutex<Option<Committer>>,
    /// Whose turn it is to tell events, so that they come in the order of commits. Locked under the others;
    /// nobody but the driver takes another lock while it has the turn.
    pub(crate) telling: Mutex<()>,
    /// Counts the commits, for threads that wait for the disk.
    pub(crate) commits: Commits,
    /// How many wait for the lock.
    waiting: Arc<AtomicUsize>,
    /// How many of them to make a change.
    changing: AtomicUsize,
    /// Wakes the driver.
    pub(crate) wake: Notify,
    /// Wakes threads that wait for the driver.
    turned: Condvar,
    /// Wakes tasks that wait for the driver.
    turns: watch::Sender<u64>,
    events: broadcast::Sender<Option<Event>>,
}

impl Shared {
    pub(crate) fn new(
        session: Session,
        connection: Connection,
        is_switched_off: bool,
        clock: Clock,
    ) -> Self {
        let state = State {
            session,
            connection,
            is_switched_off,
            is_retry_wanted: false,
            is_stopping: false,
            is_ended: false,
            backlog: 0,
            awaited: 0,
            scrubbed: Scrubbed::default(),
            histories: Histories::default(),
            feed_ends: BTreeMap::new(),
            failure: None,
            contacts: Contacts::new(),
            lacks_time: false,
            jobs: Jobs::default(),
        };
        Self {
            clock,
            state: Mutex::new(state),
            committer: Mutex::default(),
            telling: Mutex::default(),
            commits: Commits::default(),
            waiting: Arc::default(),
            changing: AtomicUsize::default(),
            wake: Notify::new(),
            turned: Condvar::new(),
            turns: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS_MAX),
        }
    }

    /// After a panic under the lock nothing more is accepted or committed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state.unwrap_or_else(|poisoned| close(poisoned))
    }

    /// Does something under the lock that is given up when somebody waits for it: then the number is not 0.
    pub(crate) fn undisturbed<T>(&self, work: impl FnOnce(&Arc<AtomicUsize>) -> T) -> T {
        let _state = self.lock();
        work(&self.waiting)
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Tells everyone who waits that the driver has done something.
    pub(crate) fn tell_turn(&self) {
        self.turned.notify_all();
        self.commits.tell();
        self.turns.send_modify(|turns| *turns = turns.wrapping_add(1));
    }

    /// Tells subscribers; `None` is the last event of all.
    pub(crate) fn tell(&self, event: Option<Event>) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Option<Event>> {
        self.events.subscribe()
    }

    /// Asks the driver to look at what was set under the lock.
    pub(crate) fn steer(&self, set: impl FnOnce(&mut State)) {
        set(&mut self.lock());
        self.wake.notify_one();
    }

    /// Reads a document.
    pub(crate) fn read<T>(
        &self,
        document: &str,
        read: impl FnOnce(&Document) -> Result<T, StoreError>,
    ) -> Result<T, Error> {
        let mut state = self.lock();
        let found = state.session.document(document)?;
        // A panic of the caller's closure is none of the client's.
        let outcome = catch_unwind(AssertUnwindSafe(|| read(found)));
        match outcome {
            // New entries go into the file before anything is read. Whoever writes next is to hear of this.
            Ok(Err(failure)) if found.store().is_spoiled() && state.failure.is_none() => {
                Err(state.fail(Arc::new(failure)))
            }
            outcome => {
                drop(state);
                Ok(outcome.unwrap_or_else(|panic| resume_unwind(panic))?)
            }
        }
    }

    /// Makes a change. Waits while too many changes wait for the disk.
    pub(crate) fn change<T>(
        &self,
        document: &str,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Refused>,
    ) -> Result<(T, Dot), Error> {
        let note = |state: &mut State, made, now: Now| {
            state.note_change(document, now.unix_ms);
            made
        };
        self.change_by(document, |_| (), |(), edit| change(edit), note)
    }

    /// Makes a change out of what is found under the lock, and takes note of it there.
    pub(crate) fn change_by<P, T, U>(
        &self,
        document: &str,
        find: impl FnOnce(&State) -> P,
        change: impl FnOnce(&P, &mut Edit<'_>) -> Result<T, Refused>,
        note: impl FnOnce(&mut State, T, Now) -> U,
    ) -> Result<(U, Dot), Error> {
        self.changing.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        self.changing.fetch_sub(1, Ordering::Relaxed);
        loop {
            state.check()?;
            if state.has_room() {
                break;
            }
            state = self.wait_for_turn(state);
        }
        // A panic of the caller's closure must not leave half a change behind.
        let mut panicked = None;
        let now = self.now();
        let failures = state.failures(document);
        let found = find(&state);
        let outcome = state.session.change(now, document, |edit| {
            catch_unwind(AssertUnwindSafe(|| change(&found, edit))).unwrap_or_else(|panic| {
                panicked = Some(panic);
                Err(Misuse::Empty.into())
            })
        });
        state.backlog += 1;
        let outcome = match outcome {
            Err(Refused::Store(failure)) => Err(state.fail(Arc::new(failure))),
            // The caller's closure went on, though a step of it was made by halves.
            _ if state.failures(document) > failures => {
                Err(state.fail(Arc::new(StoreError::TakenBack)))
            }
            Err(Refused::Misuse(misuse)) => Err(Error::Misuse(misuse)),
            Ok((made, dot)) => Ok((note(&mut state, made, now), dot)),
        };
        let wakes_driver = self.wakes_driver(&state);
        drop(state);
        if wakes_driver {
            self.wake.notify_one();
        }
        match panicked {
            Some(panic) => resume_unwind(panic),
            None => outcome,
        }
    }

    /// Whether the driver is to hear of a change, which it does not see by itself before long.
    fn wakes_driver(&self, state: &State) -> bool {
        // Who listens hears of a change before it is on disk.
        state.is_urgent()
            || self.events.receiver_count() > 0
            || self.committer().as_ref().is_none_or(Committer::is_unattended)
    }

    /// How many wait for the lock to make a change.
    pub(crate) fn changing(&self) -> usize {
        self.changing.load(Ordering::Relaxed)
    }

    /// Tells the driver that somebody waits for the disk.
    pub(crate) fn hurry(&self) {
        self.steer(|state| state.awaited += 1);
    }

    /// Waits for the driver to have done something.
    pub(crate) fn wait_for_turn<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.turned.wait(state).unwrap_or_else(|poisoned| close(poisoned))
    }

    /// Waits for that for so long.
    fn wait_for_turn_in<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Duration,
    ) -> MutexGuard<'a, State> {
        match self.turned.wait_timeout(state, time) {
            Ok((state, _)) => state,
            Err(poisoned) => close(PoisonError::new(poisoned.into_inner().0)),
        }
    }

    /// Counts the turns of the driver.
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// Waits until `check` gives something. It is asked after each turn of the driver.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut(&State) -> Option<T>) -> T {
        let mut turns = self.turns.subscribe();
        loop {
            if let Some(value) = check(&self.lock()) {
                return value;
            }
            // The sender lives as long as `self`.
            let _ = turns.changed().await;
        }
    }

    /// When this time from now is over, by the monotonic clock in milliseconds.
    pub(crate) fn deadline(&self, timeout: Duration) -> u64 {
        self.now().monotonic_ms.saturating_add(timeout.as_millis().min(1 << 60) as u64)
    }

    /// Blocks until `check` gives something, or a deadline is over.
    pub(crate) fn wait_until<T>(
        &self,
        deadline: Option<u64>,
        mut check: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(value) = check(&state) {
                return Some(value);
            }
            state = match deadline {
                None => self.wait_for_turn(state),
                Some(deadline) => {
                    let left = deadline.saturating_sub(self.now().monotonic_ms);
                    if left == 0 {
                        return None;
                    }
                    self.wait_for_turn_in(state, Duration::from_millis(left))
                }
            };
        }
    }
}

fn close<'a>(poisoned: PoisonError<MutexGuard<'a, State>>) -> MutexGuard<'a, State> {
    let mut state = poisoned.into_inner();
    // What it did so far must not be committed.
    state.fail(Arc::new(StoreError::Panicked));
    state.is_ended = true;
    state
}

impl State {
    /// Whether a commit does not wait for more changes.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_stopping || self.failure.is_some() || self.backlog >= BACKLOG_MAX / 2
    }

    /// Whether a change need not wait for those before it.
    fn has_room(&self) -> bool {
        self.backlog < BACKLOG_MAX
    }

    /// How many reads and writes of the file have failed so far.
    fn failures(&self, document: &str) -> u64 {
        self.session.document(document).map_or(0, |document| document.store().failures())
    }

    /// Gives the session what came from outside.
    pub(crate) fn handle(&mut self, now: Now, input: ClientInput) {
        if let Err(failure) = self.session.handle(now, input) {
            self.fail(Arc::new(failure));
        }
        self.follow_renamings();
    }

    /// Lets what waits here of some replicas stand under other ones, where a file has another history of them.
    pub(crate) fn part(
        &mut self,
        document: &str,
        file: &sync_core::document::Document,
        replicas: &[ReplicaId],
    ) -> Result<(), Error> {
        let parted = self.session.part(document, file, replicas).map_err(|refused| match refused {
            Refused::Misuse(misuse) => Error::Misuse(misuse),
            Refused::Store(failure) => self.fail(Arc::new(failure)),
        });
        self.follow_renamings();
        parted
    }

    /// Joins what came neither from here nor from the hub.
    pub(crate) fn import(&mut self, now: Now, document: &str, delta: &Delta) -> Result<(), Error> {
        self.session.import(now, document, delta).map_err(|refused| match refused {
            Refused::Misuse(misuse) => Error::Misuse(misuse),
            Refused::Store(failure) => self.fail(Arc::new(failure)),
        })
    }

    /// Takes note of a failure of the store. The first one is given for everything after it.
    pub(crate) fn fail(&mut self, failure: Arc<StoreError>) -> Error {
        Error::Store(self.failure.get_or_insert(failure).clone())
    }

    /// Whether anything more is accepted.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(Error::Store(failure.clone()));
        }
        if self.is_ended || self.is_stopping { Err(Error::Closed) } else { Ok(()) }
    }

    /// Whether the wait for the disk has ended, and how.
    pub(crate) fn disk(&self, document: &str, dot: Dot) -> Option<Result<(), Error>> {
        match self.session.is_on_disk(document, dot) {
            Ok(true) => Some(Ok(())),
            Ok(false) => self.ended(),
            Err(misuse) => Some(Err(misuse.into())),
        }
    }

    /// Whether the wait for the hub has ended, and how.
    pub(crate) fn hub(&self, document: &str, dot: Dot) -> Option<Result<(), Error>> {
        match self.session.receipt(document, dot) {
            Ok(receipt) if receipt.hub => Some(Ok(())),
            Ok(receipt) if receipt.parked => {
                let reason = self.reason(document, dot).unwrap_or_else(|| GIVEN_UP.to_owned());
                Some(Err(Error::Parked { reason }))
            }
            Ok(_) => self.ended(),
            Err(misuse) => Some(Err(misuse.into())),
        }
    }

    /// How a document is.
    pub(crate) fn status(&self, document: &str, now_ms: u64) -> Result<Status, Misuse> {
        let contact = self.contacts.get(document).copied().unwrap_or_default();
        let totals = self.session.totals(document)?;
        Ok(Status {
            connection: self.connection.clone(),
            phase: self.session.phase(document)?,
            is_refilling: self.session.is_refilling(document)?,
            lag: self.session.lag(document)?,
            lag_ms: contact.current_ms.map(|at| now_ms.saturating_sub(at)),
            contact,
            progress: self.session.progress(document)?,
            conflicts: self.session.document(document)?.store().open_count(),
            replica: self.session.replica(document)?,
            pending: totals.pending,
            pending_bytes: totals.pending_bytes as u64,
            parked: totals.parked,
            parked_bytes: totals.parked_bytes as u64,
        })
    }

    /// How all documents are.
    pub(crate) fn client_status(&self, now_ms: u64) -> ClientStatus {
        let names = self.session.names();
        let documents =
            names.filter_map(|name| Some((name.into(), self.status(name, now_ms).ok()?)));
        ClientStatus {
            connection: self.connection.clone(),
            heard_ms: self.contacts.values().filter_map(|contact| contact.heard_ms).max(),
            documents: documents.collect(),
        }
    }

    /// Who else is online in a document.
    pub(crate) fn peers(&self, document: &str) -> Result<BTreeMap<ReplicaId, Peer>, Misuse> {
        let peers = self.session.peers(document)?;
        Ok(peers.map(|(replica, peer)| (*replica, peer.clone())).collect())
    }

    /// Takes note that the hub was just heard.
    pub(crate) fn hear(&mut self, now_ms: u64) {
        if !self.session.is_connected() {
            return;
        }
        for name in self.session.names() {
            let phase = self.session.phase(name).unwrap_or_default();
            if matches!(phase, Phase::Closed | Phase::Opening) {
                continue;
            }
            if !self.contacts.contains_key(name) {
                self.contacts.insert(name.to_owned(), Contact::default());
            }
            if let Some(contact) = self.contacts.get_mut(name) {
                contact.heard_ms = Some(now_ms);
                if phase == Phase::Live {
                    contact.current_ms = Some(now_ms);
                }
            }
        }
    }

    /// What each document lacks of being in sync, the refused changes included.
    pub(crate) fn missing(&self) -> Vec<Missing> {
        let offline = match &self.connection {
            Connection::Online | Connection::Connecting => None,
            Connection::Offline(reason) => Some(reason.to_string()),
        };
        let all = self.session.names().filter_map(|name| {
            let (document, offline) = (name.to_owned(), offline.clone());
            let OutboxTotals { pending, parked, .. } = self.session.totals(name).ok()?;
            let phase = self.session.phase(name).ok()?;
            let is_refilling = self.session.is_refilling(name).ok()?;
            Some(Missing { document, phase, pending, parked, is_refilling, offline })
        });
        all.collect()
    }

    /// Why no attempt to connect is to be expected.
    pub(crate) fn resting(&self) -> Option<OfflineReason> {
        match &self.connection {
            Connection::Online
            | Connection::Connecting
            | Connection::Offline(OfflineReason::Lost(_) | OfflineReason::NoToken(_)) => None,
            // The driver is about to hear that this has ended.
            Connection::Offline(OfflineReason::SwitchedOff) if !self.is_switched_off => None,
            Connection::Offline(OfflineReason::TurnedAway(_)) if self.is_retry_wanted => None,
            Connection::Offline(reason) => Some(reason.clone()),
        }
    }

    pub(crate) fn ended(&self) -> Option<Result<(), Error>> {
        if let Some(failure) = &self.failure {
            return Some(Err(Error::Store(failure.clone())));
        }
        self.is_ended.then_some(Err(Error::Closed))
    }

    /// What the hub has not acknowledged of a document, in order.
    pub(crate) fn items(&self, document: &str) -> Result<Vec<OutboxItem>, Error> {
        let spans = self.session.spans(document)?;
        let items = spans.map(|(span, _)| self.item(document, span.key()));
        items.filter_map(Result::transpose).collect()
    }

    /// An item that the hub has not acknowledged.
    pub(crate) fn item(&self, document: &str, key: Dot) -> Result<Option<OutboxItem>, Error> {
        match self.session.item(document, key) {
            Ok(item) => Ok(item.map(Cow::into_owned)),
            Err(Refused::Misuse(misuse)) => Err(misuse.into()),
            Err(Refused::Store(failure)) => Err(failure.into()),
        }
    }

    fn reason(&self, document: &str, dot: Dot) -> Option<String> {
        let mut items = self.session.spans(document).ok()?;
        items.find_map(|(span, standing)| {
            let is_it = span.contains(dot);
            match standing {
                Standing::Parked { reason } if is_it => Some(reason.to_owned()),
                Standing::Waiting if is_it => Some(WAITING.to_owned()),
                Standing::Pending
                | Standing::InFlight
                | Standing::Waiting
                | Standing::Parked { .. } => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use sync_core::session::ClientConfig;
    use sync_core::types::Value;

    use super::*;
    use crate::clock::TimeOfDay;
    use crate::error::LineError;
    use crate::store::{Loaded, Store, open_file};

    #[test]
    fn the_changes_that_wait_for_the_disk_are_limited_and_the_next_waits() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(open_file(folder.path()).unwrap()).unwrap();
        let Loaded { saved, replica, .. } = store.load("d").unwrap();
        let mut session = Session::new(ClientConfig::default());
        session.open("d", saved, replica, 1).unwrap();
        let connection = Connection::Offline(OfflineReason::NoHub);
        let shared =
            Arc::new(Shared::new(session, connection, false, Clock::new(TimeOfDay::default())));
        let change = |shared: &Shared, number: usize| {
            let value = Value::Int(number as i64);
            shared.change("d", |edit| edit.set_add("s", &value)).unwrap();
        };
        for number in 0..BACKLOG_MAX {
            assert!(shared.lock().has_room(), "after {number}");
            change(&shared, number);
        }
        assert!(!shared.lock().has_room());
        let own = shared.clone();
        let writer = std::thread::spawn(move || change(&own, BACKLOG_MAX));
        // As the driver does once it has nothing to store.
        shared.lock().backlog = 0;
        shared.tell_turn();
        writer.join().unwrap();
        let state = shared.lock();
        assert_eq!(state.backlog, 1);
        let set = state.session.document("d").unwrap().set("s").unwrap();
        assert_eq!(set.len(), BACKLOG_MAX + 1, "nothing is lost");
    }

    #[test]
    fn who_reads_first_after_a_full_disk_hides_it_from_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(open_file(folder.path()).unwrap()).unwrap();
        let Loaded { saved, replica, .. } = store.load("d").unwrap();
        store.opened().unwrap();
        store.fill_up();
        let mut session = Session::new(ClientConfig::default());
        session.open("d", saved, replica, 1).unwrap();
        let connection = Connection::Offline(OfflineReason::NoHub);
        let shared = Shared::new(session, connection, false, Clock::new(TimeOfDay::default()));
        // They wait to be written together.
        let text: sync_core::types::Field = "x".repeat(4_000).as_str().into();
        let insert = |edit: &mut Edit<'_>| {
            (0..12).try_for_each(|at| {
                let id = sync_core::types::RecordId::new(format!("r{at}")).unwrap();
                edit.insert("notes", &id, [("text", &text)])
            })
        };
        shared.change("d", insert).unwrap();
        let is_full = |outcome: Result<(), Error>| match outcome {
            Err(Error::Store(failure)) => matches!(*failure, StoreError::Sqlite(_)),
            other => panic!("{other:?}"),
        };
        assert!(is_full(shared.read("d", |document| document.records("notes").map(drop))));
        assert!(is_full(shared.change("d", |edit| edit.set_add("s", &"x".into())).map(drop)));
    }

    #[test]
    fn who_was_just_told_to_connect_again_does_not_rest() {
        let session = Session::new(ClientConfig::default());
        let off = Connection::Offline(OfflineReason::SwitchedOff);
        let shared = Shared::new(session, off, true, Clock::new(TimeOfDay::default()));
        assert!(shared.lock().resting().is_some());
        shared.lock().is_switched_off = false;
        assert!(shared.lock().resting().is_none());
        let away = OfflineReason::TurnedAway(Arc::new(LineError::Lost));
        shared.lock().connection = Connection::Offline(away);
        assert!(shared.lock().resting().is_some());
        shared.lock().is_retry_wanted = true;
        assert!(shared.lock().resting().is_none());
    }
}
