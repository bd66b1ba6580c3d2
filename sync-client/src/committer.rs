//! The commits of a client: what its session asks to be stored, one transaction for all that comes together.
//!
//! The driver commits, or whoever waits for the disk and is not async: then nobody has to be woken in between.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use sync_core::session::{ClientEvent, ClientInput, ClientOutput, Now, Persist, Phase};
use tokio::time::Instant;

use crate::shared::{Shared, State};
use crate::status::Event;
use crate::store::Store;

/// How many times as long as the last commit took the next one waits for more changes, where nobody waits
/// for it: then the disk is busy, and the documents are locked, for at most a fifth of the time.
const REST_TIMES: u32 = 4;

/// How long a commit waits for more changes, at most. Arbitrary: what a power cut takes of what nobody
/// waited for.
pub(crate) const REST_MAX: Duration = Duration::from_millis(100);

/// How old contacts on disk may be when something else is stored, in milliseconds. Arbitrary.
pub(crate) const CONTACT_MS_MAX: u64 = 60_000;

/// How long nobody writes before the write-ahead log goes into the file. Arbitrary.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// The store of a client, and what is to be written to it.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) store: Store,
    /// What is to be stored by the next commit.
    batches: Vec<Persist>,
    /// What the session asked for besides, for the driver.
    outputs: Vec<ClientOutput>,
    /// Until when the next commit may wait for more changes, where nobody waits for it.
    rests_until: Instant,
    /// Until when it may where somebody does.
    gathers_until: Instant,
    /// How many are to be expected that write at about the same time and wait.
    expected: usize,
    /// Until when the next commit does wait.
    due: Option<Instant>,
    /// When contacts were last stored, by the monotonic clock, and whether they are to be.
    contacts_ms: u64,
    pub(crate) notes_contacts: bool,
    /// Since when the write-ahead log is long and nobody has written.
    quiet_since: Option<Instant>,
}

impl Committer {
    fn new(store: Store) -> Self {
        let now = Instant::now();
        Self {
            store,
            batches: Vec::new(),
            outputs: Vec::new(),
            rests_until: now,
            gathers_until: now,
            expected: 0,
            due: None,
            contacts_ms: 0,
            notes_contacts: false,
            quiet_since: None,
        }
    }

    /// Until when a commit waits for more changes.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// When the write-ahead log is to go into the file, where nobody writes before.
    pub(crate) fn tidies_at(&self) -> Option<Instant> {
        self.quiet_since.map(|since| since + TIDY_AFTER)
    }

    /// Lets the write-ahead log go into the file.
    pub(crate) fn tidy(&mut self) {
        if self.tidies_at().is_some_and(|at| at <= Instant::now()) {
            self.store.shorten_log();
            self.quiet_since = None;
        }
    }

    /// Lets contacts be stored with what is stored next, where those on disk are as old as this.
    pub(crate) fn note_contacts_older(&mut self, now: Now, ms: u64) {
        self.notes_contacts |= self.are_contacts_older(now, ms);
    }

    fn are_contacts_older(&self, now: Now, ms: u64) -> bool {
        now.monotonic_ms.saturating_sub(self.contacts_ms) >= ms
    }

    /// Takes what the session asks for.
    fn poll(&mut self, state: &mut State) {
        while let Some(output) = state.session.poll() {
            match output {
                ClientOutput::Persist(batch) => self.batches.push(batch),
                ClientOutput::Send(_)
                | ClientOutput::Disconnect { .. }
                | ClientOutput::Event(_) => self.outputs.push(output),
            }
        }
    }

    /// Whether nothing is left for the driver to do.
    fn is_over(&self) -> bool {
        self.batches.is_empty() && self.outputs.is_empty()
    }

    /// Takes everything that the session asks for, and commits what it changed, or leaves that for a while
    /// so that more changes share the commit. All of it: what is new in a document is never committed without
    /// what the same change put into the outbox. Gives whether anything was stored. `changing` wait for the
    /// lock to make a change.
    fn store_changes(&mut self, state: &mut State, now: Now, changing: impl Fn() -> usize) -> bool {
        if let Some(failure) = &state.failure {
            self.store.fail(failure.clone());
        }
        self.poll(state);
        let is_storing = !self.batches.is_empty();
        let is_due = is_storing && self.are_contacts_older(now, CONTACT_MS_MAX);
        let notes_contacts = std::mem::take(&mut self.notes_contacts) || is_due;
        if !is_storing && !notes_contacts && state.jobs.is_empty() {
            (state.backlog, state.awaited, self.due) = (0, 0, None);
            return false;
        }
        let begun = Instant::now();
        self.due = if notes_contacts || !state.jobs.is_empty() {
            None
        } else {
            self.may_rest_until(state).filter(|due| begun < *due)
        };
        if self.due.is_some() {
            return false;
        }
        let awaited = state.awaited;
        let batches = std::mem::take(&mut self.batches);
        (state.backlog, state.awaited) = (0, 0);
        let mut written = batches.iter().try_for_each(|batch| self.store.write(batch));
        let news = state.histories.take_news();
        written = written.and_then(|()| self.store.write_histories(&news));
        if notes_contacts {
            self.contacts_ms = now.monotonic_ms;
            written = written.and_then(|()| self.store.note_contacts(&state.contacts));
        }
        written = written.and_then(|()| self.store.commit());
        match written {
            Ok(()) => {
                state.note_feed_ends(&self.store);
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
        let (end, took) = (Instant::now(), begun.elapsed());
        self.rests_until = end + took.saturating_mul(REST_TIMES).min(REST_MAX);
        // As long as it took, the next one waits for those who shared it, or came too late for it, where
        // somebody waits for it. A writer who is alone is never waited for.
        self.gathers_until = end + took.min(REST_MAX);
        self.expected = awaited + changing();
        let mut is_busy = is_storing;
        while let Some(job) = state.jobs.take() {
            job(state, &mut self.store);
            is_busy = true;
        }
        self.quiet_since = self.store.has_long_log().then_some(end);
        is_busy
    }

    /// Until when what is to be stored may wait: while it is all of changes made here, of which each is one
    /// batch.
    fn may_rest_until(&self, state: &State) -> Option<Instant> {
        if self.batches.len() > state.backlog || state.is_urgent() {
            return None;
        }
        match state.awaited {
            0 => Some(self.rests_until),
            awaited => (awaited < self.expected).then_some(self.gathers_until),
        }
    }

    /// Takes the events that nobody but subscribers wants to know, up to the first other thing.
    fn take_events(&mut self, state: &State) -> Vec<Event> {
        // The driver notes since when a document is live.
        let is_live = |document: &str| state.session.phase(document) == Ok(Phase::Live);
        let event = |output: &ClientOutput| match output {
            ClientOutput::Event(ClientEvent::Changed { document, places }) => {
                Some(Event::Changed { document: document.clone(), places: places.clone() })
            }
            ClientOutput::Event(ClientEvent::Status { document }) if !is_live(document) => {
                Some(Event::Status { document: document.clone() })
            }
            ClientOutput::Event(_)
            | ClientOutput::Persist(_)
            | ClientOutput::Send(_)
            | ClientOutput::Disconnect { .. } => None,
        };
        let events: Vec<_> = self.outputs.iter().map_while(event).collect();
        self.outputs.drain(..events.len());
        events
    }
}

impl Shared {
    /// Whoever panicked here did so under the lock of the state, which says so.
    pub(crate) fn committer(&self) -> MutexGuard<'_, Option<Committer>> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the store. It is given up at the end of the driver.
    pub(crate) fn take_store(&self, store: Store) {
        *self.committer() = Some(Committer::new(store));
    }

    /// Stores what is to be stored, for the driver: gives what else the session asks for, and whether
    /// anything was stored.
    pub(crate) fn store_changes(&self) -> (Vec<ClientOutput>, bool) {
        let now = self.now();
        let mut state = self.lock();
        let mut committer = self.committer();
        let Some(committer) = &mut *committer else { return (Vec::new(), false) };
        let is_busy = committer.store_changes(&mut state, now, || self.changing());
        (std::mem::take(&mut committer.outputs), is_busy)
    }

    /// Stores what is to be stored, for somebody who waits for the disk, where nothing speaks for leaving it
    /// to the driver.
    pub(crate) fn store_now(&self) {
        let now = self.now();
        let stored = {
            let mut state = self.lock();
            state.awaited += 1;
            let mut committer = self.committer();
            let committer =
                committer.as_mut().filter(|_| state.jobs.is_empty() && state.check().is_ok());
            committer.map(|committer| {
                let was_long = committer.quiet_since.is_some();
                let is_busy = committer.store_changes(&mut state, now, || self.changing());
                if is_busy {
                    // What the session says to what was stored; it may have more to be stored.
                    committer.poll(&mut state);
                }
                let events = committer.take_events(&state);
                let is_over = committer.is_over() && (was_long || committer.quiet_since.is_none());
                (events, is_busy, is_over)
            })
        };
        // Whoever is woken may want the locks.
        let Some((events, is_busy, is_over)) = stored else { return self.wake.notify_one() };
        events.into_iter().for_each(|event| self.tell(Some(event)));
        if is_busy {
            self.tell_turn();
        }
        if !is_over {
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sync_core::session::ClientConfig;
    use sync_core::types::Value;

    use super::*;
    use crate::clock::{Clock, TimeOfDay};
    use crate::shared::Session;
    use crate::status::{Connection, OfflineReason};
    use crate::store::{Loaded, open_file};

    /// A client without its driver.
    fn shared(folder: &tempfile::TempDir) -> Arc<Shared> {
        let mut store = Store::new(open_file(folder.path()).unwrap()).unwrap();
        let Loaded { saved, replica, .. } = store.load("d").unwrap();
        store.opened().unwrap();
        let mut session = Session::new(ClientConfig::default());
        session.open("d", saved, replica, 1).unwrap();
        let connection = Connection::Offline(OfflineReason::NoHub);
        let shared = Shared::new(session, connection, false, Clock::new(TimeOfDay::default()));
        shared.take_store(store);
        Arc::new(shared)
    }

    fn set_add(shared: &Shared, number: i64) -> sync_core::causal::Dot {
        shared.change("d", |edit| edit.set_add("s", &Value::Int(number))).unwrap().1
    }

    fn is_on_disk(shared: &Shared, dot: sync_core::causal::Dot) -> bool {
        matches!(shared.lock().disk("d", dot), Some(Ok(())))
    }

    #[test]
    fn who_waits_for_the_disk_alone_commits_and_tells_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let mut events = shared.subscribe();
        for number in 0..3 {
            let dot = set_add(&shared, number);
            assert!(!is_on_disk(&shared, dot));
            shared.store_now();
            assert!(is_on_disk(&shared, dot));
            let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok().flatten()).collect();
            assert!(told.iter().any(|event| matches!(event, Event::Changed { .. })));
        }
        let (outputs, is_busy) = shared.store_changes();
        assert!(outputs.is_empty() && !is_busy, "nothing is left for the driver");
    }

    #[test]
    fn who_is_not_alone_leaves_the_commit_to_the_last_or_to_the_driver() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let dots = [1, 2].map(|number| set_add(&shared, number));
        {
            let mut committer = shared.committer();
            let committer = committer.as_mut().unwrap();
            committer.expected = 2;
            committer.gathers_until = Instant::now() + Duration::from_secs(600);
        }
        shared.store_now();
        assert!(!is_on_disk(&shared, dots[0]));
        assert!(shared.committer().as_ref().unwrap().due().is_some(), "the driver is to do it");
        shared.store_now();
        assert!(dots.iter().all(|dot| is_on_disk(&shared, *dot)));
        assert!(shared.committer().as_ref().unwrap().due().is_none());
    }

    #[test]
    fn after_the_end_of_the_store_nothing_is_said_to_be_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let dot = set_add(&shared, 1);
        drop(shared.committer().take());
        shared.store_now();
        assert!(!is_on_disk(&shared, dot));
    }

    #[test]
    fn the_log_goes_into_the_file_after_a_while_of_quiet_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let mut committer = shared.committer().take().unwrap();
        assert!(committer.tidies_at().is_none());
        committer.quiet_since = Some(Instant::now());
        committer.tidy();
        assert!(committer.tidies_at().is_some(), "it is too early");
        committer.quiet_since = Some(Instant::now() - TIDY_AFTER);
        committer.tidy();
        assert!(committer.tidies_at().is_none());
    }
}
