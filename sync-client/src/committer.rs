//! The commits of a client: what its session asks to be stored, one transaction for all that comes together.
//!
//! The driver commits, or whoever waits for the disk and is not async: then nobody has to be woken in between.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use sync_core::causal::Dot;
use sync_core::session::{ClientEvent, ClientInput, ClientOutput, Now, Persist, Phase};
use tokio::time::Instant;

use crate::error::Error;
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

/// How long nobody writes before the write-ahead log goes into the file where it is long, or was left by a
/// process that did not end well. Arbitrary.
pub(crate) const TIDY_AFTER: Duration = Duration::from_secs(1);

/// How long where it is short: what was deleted stands there until then. Arbitrary.
pub(crate) const TIDY_SHORT_AFTER: Duration = Duration::from_secs(60);

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
    /// How often all that was changed has been written, or that has failed.
    commits: u64,
    /// When the driver next sees to commits if nobody wakes it; none where it has to be woken.
    looks_at: Option<Instant>,
    /// When contacts were last stored, by the monotonic clock, and whether they are to be.
    contacts_ms: u64,
    pub(crate) notes_contacts: bool,
    /// Since when nobody has written, where the write-ahead log has something.
    quiet_since: Option<Instant>,
    /// Whether the log is known to be short.
    is_log_short: bool,
}

impl Committer {
    fn new(store: Store) -> Self {
        let now = Instant::now();
        Self {
            quiet_since: store.has_log().then_some(now),
            store,
            batches: Vec::new(),
            outputs: Vec::new(),
            rests_until: now,
            gathers_until: now,
            expected: 0,
            due: None,
            commits: 0,
            looks_at: None,
            contacts_ms: 0,
            notes_contacts: false,
            is_log_short: false,
        }
    }

    /// Until when a commit waits for more changes: until then the driver does not look after it by itself.
    pub(crate) fn rest(&mut self) -> Option<Instant> {
        self.looks_at = self.due;
        self.due
    }

    /// Whether the driver has to be woken for changes that nobody waits for.
    pub(crate) fn is_unattended(&self) -> bool {
        self.looks_at.is_none()
    }

    /// When the write-ahead log is to be looked at, where nobody writes before.
    pub(crate) fn tidies_at(&self) -> Option<Instant> {
        let after = if self.is_log_short { TIDY_SHORT_AFTER } else { TIDY_AFTER };
        self.quiet_since.map(|since| since + after)
    }

    /// Lets the write-ahead log go into the file where it is long, or nobody has written for long.
    pub(crate) fn tidy(&mut self) {
        if self.tidies_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        if !self.is_log_short && !self.store.has_long_log() {
            self.is_log_short = true;
            return;
        }
        self.store.empty_log();
        (self.quiet_since, self.is_log_short) = (None, false);
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
        self.commits += 1;
        let batches = std::mem::take(&mut self.batches);
        (state.backlog, state.awaited) = (0, 0);
        let mut written = batches.iter().try_for_each(|batch| self.store.write(batch));
        let news = state.histories.take_news();
        written = written.and_then(|()| self.store.write_histories(&news));
        if notes_contacts && !state.lacks_time {
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
        (self.quiet_since, self.is_log_short) = (Some(end), false);
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
    /// As long as the driver has the turn to tell, nobody else tells what came later.
    pub(crate) fn store_changes(&self) -> (Vec<ClientOutput>, bool, MutexGuard<'_, ()>) {
        let now = self.now();
        let mut state = self.lock();
        let mut committer = self.committer();
        // Whoever has it waits for nothing.
        let telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(committer) = &mut *committer else { return (Vec::new(), false, telling) };
        // Of what changes from here on it knows nothing.
        committer.looks_at = None;
        let is_busy = committer.store_changes(&mut state, now, || self.changing());
        self.commits.note(committer.commits, state.failure.is_some());
        (std::mem::take(&mut committer.outputs), is_busy, telling)
    }

    /// Blocks until a change is on disk, or cannot be. Whoever waits stores what is to be stored, where nothing
    /// speaks for leaving it to another one who waits, or to the driver.
    pub(crate) fn wait_disk(&self, document: &str, dot: Dot) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(ended) = state.disk(document, dot) {
            return ended;
        }
        state.awaited += 1;
        loop {
            let attempt = self.try_store(&mut state);
            let (ended, next) = (state.disk(document, dot), attempt.next);
            // Whoever is woken may want the lock.
            drop(state);
            self.tell_stored(attempt);
            if let Some(ended) = ended {
                return ended;
            }
            // Who may share the commit need not come, and the driver is not woken for that.
            if next.is_some_and(|(number, until)| self.commits.wait(number, until)) {
                return Ok(());
            }
            state = self.lock();
            if next.is_none() && state.disk(document, dot).is_none() {
                state = self.wait_for_turn(state);
            }
            if let Some(ended) = state.disk(document, dot) {
                return ended;
            }
        }
    }

    /// Stores what is to be stored, for somebody who waits, where nothing speaks against that.
    fn try_store(&self, state: &mut State) -> Attempt<'_> {
        let mut committer = self.committer();
        let is_free = state.jobs.is_empty() && state.check().is_ok();
        let Some(committer) = committer.as_mut().filter(|_| is_free) else {
            return Attempt { wakes_driver: true, ..Attempt::default() };
        };
        let is_attended = committer.quiet_since.is_some() && !committer.is_log_short;
        let is_busy = committer.store_changes(state, self.now(), || self.changing());
        if is_busy {
            // What the session says to what was stored; it may have more to be stored.
            committer.poll(state);
        }
        self.commits.note(committer.commits, state.failure.is_some());
        // What the driver has taken to tell comes first.
        let telling = self.telling.try_lock().ok();
        let events = telling.as_ref().map_or_else(Vec::new, |_| committer.take_events(state));
        let is_over = committer.outputs.is_empty()
            && (committer.batches.is_empty() || committer.due.is_some())
            && (is_attended || committer.quiet_since.is_none());
        let due = committer.due.filter(|_| !is_busy && is_over);
        let next = due.map(|due| (committer.commits + 1, due));
        Attempt { events, telling, is_busy, wakes_driver: !is_over, next }
    }

    /// Tells what came of an attempt.
    fn tell_stored(&self, attempt: Attempt<'_>) {
        attempt.events.into_iter().for_each(|event| self.tell(Some(event)));
        drop(attempt.telling);
        if attempt.is_busy {
            self.tell_turn();
        }
        if attempt.wakes_driver {
            self.wake.notify_one();
        }
    }
}

/// What came of storing for somebody who waits.
#[derive(Debug, Default)]
struct Attempt<'a> {
    events: Vec<Event>,
    /// The turn to tell them.
    telling: Option<MutexGuard<'a, ()>>,
    /// Whether anything was stored.
    is_busy: bool,
    /// Whether something is left for the driver.
    wakes_driver: bool,
    /// Which commit is waited for, and until when, where others may share it.
    next: Option<(u64, Instant)>,
}

/// The commits as those count them who wait for the disk: they need no lock to hear of one, and so do not
/// stand in each other's way when they are all woken.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    count: AtomicU64,
    /// Whether there are no more.
    is_over: AtomicBool,
    /// Whether somebody may wait who has not been told.
    is_news: AtomicBool,
    /// Who waits: at most once for each wait since the last commit.
    waiting: Mutex<Vec<Thread>>,
}

impl Commits {
    fn note(&self, count: u64, is_over: bool) {
        let was_over = self.is_over.fetch_or(is_over, Ordering::SeqCst);
        if self.count.swap(count, Ordering::SeqCst) != count || was_over != is_over {
            self.is_news.store(true, Ordering::SeqCst);
        }
    }

    /// Takes note that there are no more.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.is_news.store(true, Ordering::SeqCst);
    }

    /// Tells those who wait.
    pub(crate) fn tell(&self) {
        if self.is_news.swap(false, Ordering::SeqCst) {
            let waiting = std::mem::take(&mut *self.waiting());
            waiting.iter().for_each(Thread::unpark);
        }
    }

    /// Waits for a commit. Gives whether it has come; otherwise time is over, or there are no more, or somebody
    /// else woke this thread.
    fn wait(&self, number: u64, until: Instant) -> bool {
        // Before the look: who comes after it is told.
        self.waiting().push(thread::current());
        if !self.has(number) && !self.is_over.load(Ordering::SeqCst) {
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        self.has(number)
    }

    /// Whether a commit has come, and none has failed.
    fn has(&self, number: u64) -> bool {
        self.count.load(Ordering::SeqCst) >= number && !self.is_over.load(Ordering::SeqCst)
    }

    /// Nobody panics under this lock.
    fn waiting(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sync_core::session::ClientConfig;
    use sync_core::types::Value;

    use super::*;
    use crate::clock::{Clock, TimeOfDay};
    use crate::shared::BACKLOG_MAX;
    use crate::shared::Session;
    use crate::status::{Connection, OfflineReason};
    use crate::store::{LONG_LOG_BYTES, Loaded, open_file};

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

    /// Waits for the disk but for the waiting. Gives until when others are waited for.
    fn store_now(shared: &Shared) -> Option<Instant> {
        let mut state = shared.lock();
        state.awaited += 1;
        let attempt = shared.try_store(&mut state);
        drop(state);
        let due = attempt.next.map(|(_, due)| due);
        shared.tell_stored(attempt);
        due
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
            store_now(&shared);
            assert!(is_on_disk(&shared, dot));
            let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok().flatten()).collect();
            assert!(told.iter().any(|event| matches!(event, Event::Changed { .. })));
        }
        let (outputs, is_busy, _telling) = shared.store_changes();
        assert!(outputs.is_empty() && !is_busy, "nothing is left for the driver");
    }

    #[test]
    fn what_came_later_is_not_told_before_what_the_driver_is_about_to_tell() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let mut events = shared.subscribe();
        set_add(&shared, 0);
        let (first, _, telling) = shared.store_changes();
        let dot = set_add(&shared, 1);
        store_now(&shared);
        assert!(is_on_disk(&shared, dot) && events.try_recv().is_err());
        drop(telling);
        let (second, _, telling) = shared.store_changes();
        drop(telling);
        let is_change = |output: &ClientOutput| {
            matches!(output, ClientOutput::Event(ClientEvent::Changed { .. }))
        };
        assert!(first.iter().any(is_change) && second.iter().any(is_change));
        set_add(&shared, 2);
        store_now(&shared);
        assert!(events.try_recv().is_ok(), "nobody else tells any more");
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
        assert!(store_now(&shared).is_some(), "others are waited for");
        assert!(!is_on_disk(&shared, dots[0]));
        assert!(store_now(&shared).is_none());
        assert!(dots.iter().all(|dot| is_on_disk(&shared, *dot)));
    }

    #[test]
    fn who_waits_for_a_commit_hears_of_it_of_the_end_and_when_time_is_over() {
        let (soon, late) = (Instant::now(), Instant::now() + Duration::from_secs(600));
        let commits = Commits::default();
        assert!(!commits.wait(1, soon), "nothing has come");
        let wait = |number| {
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| commits.wait(number, late));
                match number {
                    1 => commits.note(1, false),
                    _ => commits.end(),
                }
                commits.tell();
                waits.join().unwrap()
            })
        };
        assert!(wait(1) && commits.wait(1, soon));
        assert!(!wait(2), "there are no more");
        commits.note(3, true);
        assert!(!commits.wait(3, late), "it has failed");
    }

    #[test]
    fn after_the_end_of_the_store_nothing_is_said_to_be_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let dot = set_add(&shared, 1);
        drop(shared.committer().take());
        store_now(&shared);
        assert!(!is_on_disk(&shared, dot));
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_is_emptied_after_a_while_of_quiet_by_its_length_and_not_before() {
        let ms = Duration::from_millis(1);
        for (bytes, after) in [(1, TIDY_SHORT_AFTER), (LONG_LOG_BYTES as usize, TIDY_AFTER)] {
            let folder = tempfile::tempdir().unwrap();
            let shared = shared(&folder);
            let log = folder.path().join("client.db-wal");
            let len = || std::fs::metadata(&log).map_or(0, |log| log.len());
            // What opening wrote is in the log.
            shared.committer().as_mut().unwrap().store.empty_log();
            assert_eq!(len(), 0);
            let dots: Vec<_> = (0..bytes.div_ceil(60_000))
                .map(|number| {
                    let text = format!("{number}{:060000}", 0);
                    shared
                        .change("d", |edit| edit.set_value("v", &Value::from(text).into()))
                        .unwrap()
                        .1
                })
                .collect();
            store_now(&shared);
            assert!(is_on_disk(&shared, *dots.last().unwrap()));
            let mut committer = shared.committer().take().unwrap();
            assert_eq!(committer.store.has_long_log(), after == TIDY_AFTER);
            let begun = committer.quiet_since.unwrap();
            while let Some(at) = committer.tidies_at() {
                assert!(len() > 0);
                tokio::time::advance(at.saturating_duration_since(Instant::now()) - ms).await;
                committer.tidy();
                assert!(len() > 0 && committer.tidies_at() == Some(at), "it is too early");
                tokio::time::advance(ms).await;
                committer.tidy();
            }
            assert_eq!((len(), begun.elapsed()), (0, after));
        }
    }

    #[test]
    fn a_log_that_was_left_is_as_a_long_one() {
        let folder = tempfile::tempdir().unwrap();
        let left = {
            let shared = shared(&folder);
            store_now(&shared);
            let left = tempfile::tempdir().unwrap();
            for name in ["client.db", "client.db-wal"] {
                std::fs::copy(folder.path().join(name), left.path().join(name)).unwrap();
            }
            left
        };
        let store = |folder: &tempfile::TempDir| Store::new(open_file(folder.path()).unwrap());
        let (left, closed) = (store(&left).unwrap(), store(&folder).unwrap());
        assert!(left.has_log() && left.has_long_log());
        assert!(!closed.has_log() && !closed.has_long_log());
        left.empty_log();
        assert!(!left.has_log() && !left.has_long_log());
    }

    #[test]
    fn the_driver_is_woken_for_a_change_unless_it_looks_by_itself_before_long() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(&folder);
        let is_woken = || {
            let woken = shared.wake.notified();
            tokio::pin!(woken);
            woken.enable()
        };
        is_woken();
        set_add(&shared, 1);
        assert!(is_woken(), "it sleeps for ever");
        let rests = Instant::now() + Duration::from_secs(600);
        shared.committer().as_mut().unwrap().rests_until = rests;
        assert!(!shared.store_changes().1);
        set_add(&shared, 2);
        assert!(is_woken(), "it has looked, and does not sleep yet");
        assert_eq!(shared.committer().as_mut().unwrap().rest(), Some(rests));
        set_add(&shared, 3);
        assert!(!is_woken());
        let events = shared.subscribe();
        set_add(&shared, 4);
        assert!(is_woken(), "somebody is to hear of it");
        drop(events);
        shared.lock().backlog = BACKLOG_MAX;
        shared.lock().backlog -= 1;
        set_add(&shared, 5);
        assert!(is_woken(), "there are many");
    }
}
