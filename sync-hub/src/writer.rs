//! The thread that owns the protocol and the store: group commit.
//!
//! It takes all inputs that wait, up to a bound, handles them in one transaction, brings that to the
//! disk, and only then lets the outputs go. When the storage fails, the outputs of the batch are
//! dropped, all connections are closed, and it starts over from what is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use sync_core::session::{ConnectionId, Counts, Hub, HubInput, HubOutput, HubStore};
use sync_core::wire::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::options::{Limits, Options};
use crate::outgoing::{Receiver, Sender, queue};
use crate::socket::Admitted;
use crate::store::{SqliteHub, StoreError};

/// The most inputs of one transaction; the others wait for the next. Arbitrary.
const BATCH_MAX: usize = 512;

/// From how many bytes of outputs on, which are held back, a transaction takes no more inputs. Arbitrary.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The name of the database in the data folder.
pub(crate) const DATABASE: &str = "hub.db";

/// From how many bytes on of what is not in the file it is not held any longer. Arbitrary.
pub(crate) const HELD_LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long to wait before opening a database again that could not be opened.
const REOPEN_MS: u64 = 1_000;

/// The room that a frame takes while it waits: its connection's and everybody's.
pub(crate) type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What connections tell the writer.
pub(crate) enum Event {
    /// With what its token grants and its hello, where a token was asked for.
    Connected(ConnectionId, Sender, Admitted),
    Frame(ConnectionId, Vec<u8>, Permits),
    /// The peer broke the protocol below the messages.
    Broken(ConnectionId, Fault),
    Disconnected(ConnectionId),
    /// Leave the file as it is: answered by a number and the sequence number that is in it, or why not.
    Hold(oneshot::Sender<Result<(u64, u64), String>>),
    /// The file that was held under a number may change again: answered by whether it did not until now.
    Release(u64, Option<oneshot::Sender<bool>>),
    /// Close everything and end.
    Stop,
}

/// Without the bytes of frames: one of them has a token.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(connection, ..) => write!(f, "Connected({connection})"),
            Self::Frame(connection, frame, _) => {
                write!(f, "Frame({connection}, {} bytes)", frame.len())
            }
            Self::Broken(connection, fault) => write!(f, "Broken({connection}, {fault:?})"),
            Self::Disconnected(connection) => write!(f, "Disconnected({connection})"),
            Self::Hold(_) => f.write_str("Hold"),
            Self::Release(number, _) => write!(f, "Release({number})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// What anyone may ask about the writer.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) metrics: Metrics,
    pub(crate) seq: AtomicU64,
    pub(crate) connections: AtomicUsize,
    pub(crate) is_failing: AtomicBool,
}

impl Health {
    fn new() -> Self {
        Self {
            metrics: Metrics::new(),
            seq: AtomicU64::default(),
            connections: AtomicUsize::default(),
            is_failing: AtomicBool::default(),
        }
    }
}

/// Talks to the writer.
#[derive(Debug, Clone)]
pub(crate) struct WriterHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    events: mpsc::Sender<Event>,
    last_connection: AtomicU64,
    incoming: Arc<Semaphore>,
    limits: Limits,
    clock: Clock,
    health: Arc<Health>,
}

impl WriterHandle {
    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn clock(&self) -> Clock {
        self.shared.clock
    }

    pub(crate) fn health(&self) -> &Health {
        &self.shared.health
    }

    /// Tells the writer. A writer that has ended has closed all connections itself.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.shared.events.send(event);
    }

    /// Registers a connection.
    pub(crate) fn connect(&self, admitted: Admitted) -> (ConnectionId, Receiver) {
        let connection = self.shared.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = queue(self.shared.limits.outgoing_bytes_max);
        self.send(Event::Connected(connection, sender, admitted));
        (connection, receiver)
    }

    /// Waits until there is room for so many bytes beside those of all other connections.
    pub(crate) async fn admit(&self, bytes: u32) -> Option<OwnedSemaphorePermit> {
        let most = u32::try_from(self.shared.limits.incoming_bytes_max_in_all).unwrap_or(u32::MAX);
        self.shared.incoming.clone().acquire_many_owned(bytes.min(most)).await.ok()
    }
}

/// A writer that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) handle: WriterHandle,
    pub(crate) thread: JoinHandle<()>,
    /// Resolves when the thread has ended, for whatever reason.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// Opens the store and starts the thread.
pub(crate) fn start(options: &Options) -> Result<Running, StoreError> {
    let limits = options.limits;
    let path = options.data_dir.join(DATABASE);
    let store = SqliteHub::open(&path, limits.removals_max)?;
    let health = Arc::new(Health::new());
    health.seq.store(store.seq(), Ordering::Relaxed);
    let clock = Clock::start();
    let (events, inbox) = mpsc::channel();
    let shared = Shared {
        events,
        last_connection: AtomicU64::new(0),
        incoming: Arc::new(Semaphore::new(limits.incoming_bytes_max_in_all)),
        limits,
        clock,
        health: health.clone(),
    };
    let writer = Writer {
        hub: new_hub(&limits),
        store: Some(store),
        path,
        limits,
        clock,
        health,
        connections: BTreeMap::new(),
        waiting: VecDeque::new(),
        reopen_ms: 0,
        counted: Counts::default(),
        held: None,
        holds: 0,
        asked: Vec::new(),
    };
    let (ends, ended) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _ends = ends;
        writer.run(&inbox);
    });
    Ok(Running { handle: WriterHandle { shared: Arc::new(shared) }, thread, ended })
}

/// A hub without connections, within these limits.
fn new_hub(limits: &Limits) -> Hub {
    Hub::new().with_stamp_ahead(limits.stamp_ahead_ms_max)
}

struct Writer {
    hub: Hub,
    /// None while the database cannot be opened.
    store: Option<SqliteHub>,
    path: PathBuf,
    limits: Limits,
    clock: Clock,
    health: Arc<Health>,
    connections: BTreeMap<ConnectionId, Sender>,
    /// What was received and not yet handled.
    waiting: VecDeque<Event>,
    /// When to try to open the database again, by the monotonic clock.
    reopen_ms: u64,
    /// What the hub had done when that was last added to the metrics.
    counted: Counts,
    /// Under which number the file is held.
    held: Option<u64>,
    /// How often it was.
    holds: u64,
    /// What operators ask, until nobody waits for what was committed before.
    asked: Vec<Event>,
}

impl Writer {
    fn run(mut self, inbox: &mpsc::Receiver<Event>) {
        // Says so also when this thread panics.
        let _failing = FailingWhenDropped(self.health.clone());
        loop {
            if self.waiting.is_empty() {
                match inbox.recv_timeout(self.pause()) {
                    Ok(event) => self.waiting.push_back(event),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
            self.take_in(inbox);
            if self.turn() {
                break;
            }
        }
    }

    /// Takes what else has come, up to what a batch may have.
    fn take_in(&mut self, inbox: &mpsc::Receiver<Event>) {
        while self.waiting.len() < BATCH_MAX
            && let Ok(event) = inbox.try_recv()
        {
            self.waiting.push_back(event);
        }
    }

    /// How long there is nothing to do but to wait for inputs.
    fn pause(&self) -> Duration {
        let reopen = self.store.is_none().then_some(self.reopen_ms);
        let due = [self.hub.poll_timeout(), reopen].into_iter().flatten().min();
        let now_ms = self.clock.now().monotonic_ms;
        due.map_or(Duration::from_secs(3_600), |due| {
            Duration::from_millis(due.saturating_sub(now_ms))
        })
    }

    /// Handles one batch. True when it is time to end.
    fn turn(&mut self) -> bool {
        let is_stopping = match self.batch() {
            Ok((outputs, is_stopping)) => {
                // First, so that whoever hears of something finds the hub that far.
                self.publish();
                self.release(outputs);
                self.answer_operators();
                is_stopping
            }
            Err(Failure::Storage(error)) => {
                self.recover(&error);
                false
            }
            Err(Failure::Down { is_stopping }) => is_stopping,
        };
        if is_stopping {
            self.stop();
        }
        self.publish();
        is_stopping
    }

    /// Says how things are to whoever asks. Without a store the last number stands.
    fn publish(&mut self) {
        let metrics = &self.health.metrics;
        if let Some(store) = &self.store {
            self.health.seq.store(store.seq(), Ordering::Relaxed);
            metrics.seq.set(i64::try_from(store.seq()).unwrap_or(i64::MAX));
        }
        let connections = self.hub.connection_count();
        self.health.connections.store(connections, Ordering::Relaxed);
        metrics.connections.set(gauged(connections));
        metrics.documents.set(gauged(self.hub.document_count()));
        let counts = self.hub.counts();
        if counts != self.counted {
            metrics.add(&self.counted, &counts);
            self.counted = counts;
        }
        self.health.is_failing.store(self.store.is_none(), Ordering::Relaxed);
    }

    /// Handles what waits in one transaction, and gives the outputs once it is on disk.
    fn batch(&mut self) -> Result<(Vec<HubOutput>, bool), Failure> {
        let now = self.clock.now();
        self.hub.handle_timeout(now);
        let mut outputs: Vec<_> = std::iter::from_fn(|| self.hub.poll()).collect();
        if self.store.is_none() && now.monotonic_ms >= self.reopen_ms {
            self.reopen();
        }
        let Some(store) = &mut self.store else {
            return Err(Failure::Down { is_stopping: self.refuse_all() });
        };
        if self.waiting.is_empty() {
            return Ok((outputs, false));
        }
        let mut is_stopping = false;
        let mut bytes = 0;
        let mut inputs = 0u32;
        let start = Instant::now();
        store.begin()?;
        while bytes < BATCH_BYTES_MAX
            && let Some(event) = self.waiting.pop_front()
        {
            inputs += 1;
            match event {
                Event::Connected(id, sender, admitted) => {
                    self.connections.insert(id, sender);
                    self.hub.handle(store, now, id, HubInput::Connected)?;
                    if let Some((grant, hello)) = admitted {
                        self.hub.handle(store, now, id, HubInput::Granted(grant))?;
                        self.hub.handle(store, now, id, HubInput::Frame(hello))?;
                    }
                }
                Event::Frame(id, frame, _permits) => {
                    self.health.metrics.heard.add(&frame);
                    self.hub.handle(store, now, id, HubInput::Frame(frame))?;
                }
                Event::Broken(id, fault) => self.hub.close(id, fault),
                Event::Disconnected(id) => {
                    self.connections.remove(&id);
                    self.hub.handle(store, now, id, HubInput::Disconnected)?;
                }
                asked @ (Event::Hold(_) | Event::Release(..)) => self.asked.push(asked),
                Event::Stop => {
                    is_stopping = true;
                    break;
                }
            }
            while let Some(output) = self.hub.poll() {
                bytes += size(&output);
                outputs.push(output);
            }
        }
        store.commit()?;
        let metrics = &self.health.metrics;
        metrics.commit_inputs.observe(f64::from(inputs));
        metrics.commit_seconds.observe(start.elapsed().as_secs_f64());
        Ok((outputs, is_stopping))
    }

    /// Does what operators ask.
    fn answer_operators(&mut self) {
        for asked in std::mem::take(&mut self.asked) {
            // Who has gone meanwhile is told by their connection.
            match asked {
                Event::Hold(reply) => {
                    let _ = reply.send(self.hold_file());
                }
                Event::Release(number, reply) => {
                    let is_unchanged = self.held == Some(number);
                    if is_unchanged {
                        self.let_file_go();
                    }
                    let _ = reply.map(|reply| reply.send(is_unchanged));
                }
                Event::Connected(..)
                | Event::Frame(..)
                | Event::Broken(..)
                | Event::Disconnected(_)
                | Event::Stop => {}
            }
        }
        self.limit_hold(HELD_LOG_BYTES_MAX);
    }

    /// Leaves the file as it is, for one at a time. Gives a number and the sequence number that is in it.
    fn hold_file(&mut self) -> Result<(u64, u64), String> {
        let Some(store) = self.store.as_ref().filter(|_| self.held.is_none()) else {
            return Err("somebody else copies the file".to_owned());
        };
        // All that is committed is in the log still, where this fails.
        store.hold().map_err(|error| error.to_string())?;
        self.holds += 1;
        self.held = Some(self.holds);
        Ok((self.holds, store.seq()))
    }

    /// Holds the file no longer where more than so many bytes are not in it.
    fn limit_hold(&mut self, bytes_max: u64) {
        let log_bytes = || self.store.as_ref().map_or(0, SqliteHub::log_bytes);
        if self.held.is_some() && log_bytes() > bytes_max {
            self.let_file_go();
        }
    }

    fn let_file_go(&mut self) {
        self.held = None;
        if let Some(store) = &self.store
            && let Err(error) = store.release()
        {
            tracing::warn!("the write-ahead log grows until the hub is started anew: {error}");
        }
    }

    /// Lets outputs go. What they are about is on disk.
    fn release(&mut self, outputs: Vec<HubOutput>) {
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front().or_else(|| self.hub.poll()) {
            match output {
                HubOutput::Send { connection, frame } => {
                    self.health.metrics.said.add(&frame);
                    let sent = self.connections.get(&connection).is_none_or(|to| to.send(frame));
                    if !sent {
                        self.hub.close(connection, Fault::SlowConsumer);
                        self.close(connection, Fault::SlowConsumer);
                    }
                }
                HubOutput::Close { connection, fault } => self.close(connection, fault),
            }
        }
    }

    fn close(&mut self, connection: ConnectionId, fault: Fault) {
        if let Some(sender) = self.connections.remove(&connection) {
            tracing::info!(connection, code = fault.close_code(), "closing: {fault}");
            self.health.metrics.closed(fault.close_code());
            sender.close(fault);
        }
    }

    /// Starts over from what is on disk, without connections.
    fn recover(&mut self, error: &StoreError) {
        tracing::error!("the storage failed, so all connections are closed: {error}");
        self.health.metrics.storage_failures.inc();
        self.forget_connections(&Fault::Storage);
        // Dropping the store takes back what was not committed.
        (self.store, self.held) = (None, None);
        if self.reopen()
            && let StoreError::Damaged(damage) = error
            && let Some(store) = &mut self.store
        {
            match store.repair(damage) {
                Ok(()) => tracing::warn!("{damage} was taken out, to be filled in by clients"),
                Err(error) => {
                    tracing::error!("{damage} could not be taken out: {error}");
                    self.store = None;
                }
            }
        }
    }

    /// Opens the database again; a new start, since nobody knows what the last one left.
    fn reopen(&mut self) -> bool {
        self.reopen_ms = self.clock.now().monotonic_ms.saturating_add(REOPEN_MS);
        match SqliteHub::open(&self.path, self.limits.removals_max) {
            Ok(store) => {
                tracing::info!(seq = store.seq(), "the database is open again");
                self.store = Some(store);
                true
            }
            Err(error) => {
                tracing::error!("the database cannot be opened: {error}");
                false
            }
        }
    }

    /// Turns away whoever comes while there is no storage. True when it is time to end.
    fn refuse_all(&mut self) -> bool {
        let mut is_stopping = false;
        for event in self.waiting.drain(..) {
            match event {
                Event::Connected(_, sender, _) => sender.close(Fault::Storage),
                Event::Stop => is_stopping = true,
                Event::Hold(reply) => {
                    let _ = reply.send(Err("the storage fails; the log says why".to_owned()));
                }
                Event::Release(_, reply) => {
                    let _ = reply.map(|reply| reply.send(false));
                }
                Event::Frame(..) | Event::Broken(..) | Event::Disconnected(..) => {}
            }
        }
        is_stopping
    }

    fn stop(&mut self) {
        self.forget_connections(&Fault::GoingAway);
        for event in self.waiting.drain(..) {
            if let Event::Connected(_, sender, _) = event {
                sender.close(Fault::GoingAway);
            }
        }
        // Closing the database moves its write-ahead log into the file.
        self.store = None;
    }

    fn forget_connections(&mut self, fault: &Fault) {
        self.publish();
        (self.hub, self.counted) = (new_hub(&self.limits), Counts::default());
        for (_, sender) in std::mem::take(&mut self.connections) {
            self.health.metrics.closed(fault.close_code());
            sender.close(fault.clone());
        }
    }
}

/// Why a batch came to nothing.
enum Failure {
    Storage(StoreError),
    /// There is no storage at present.
    Down {
        is_stopping: bool,
    },
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

struct FailingWhenDropped(Arc<Health>);

impl Drop for FailingWhenDropped {
    fn drop(&mut self) {
        self.0.is_failing.store(true, Ordering::Relaxed);
    }
}

fn gauged(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn size(output: &HubOutput) -> usize {
    match output {
        HubOutput::Send { frame, .. } => frame.len(),
        HubOutput::Close { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use sync_core::causal::{CausalContext, Delta, Dot, Entry, Label, PlaceId, ReplicaId, Slots};
    use sync_core::time::Stamp;
    use sync_core::wire::{Claim, ClientMessage, HubMessage, Push, VERSION, encode_delta};
    use tempfile::TempDir;

    use super::*;

    fn writer(folder: &TempDir) -> Writer {
        let (path, limits) = (folder.path().join("hub.db"), Limits::default());
        Writer {
            hub: Hub::new(),
            store: Some(SqliteHub::open(&path, limits.removals_max).unwrap()),
            path,
            limits,
            clock: Clock::start(),
            health: Arc::new(Health::new()),
            connections: BTreeMap::new(),
            waiting: VecDeque::new(),
            reopen_ms: 0,
            counted: Counts::default(),
            held: None,
            holds: 0,
            asked: Vec::new(),
        }
    }

    fn replica(number: u64) -> ReplicaId {
        ReplicaId::from_bytes(u128::from(number).to_be_bytes())
    }

    fn frame(connection: ConnectionId, message: &ClientMessage) -> Event {
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Event::Frame(connection, message.encode(), (permit(), permit()))
    }

    /// Lets a connection write to the one document.
    fn join(writer: &mut Writer, connection: ConnectionId) {
        let (sender, _receiver) = queue(usize::MAX);
        let (version, token, agent) = (VERSION, None, String::new());
        let hello = ClientMessage::Hello { version, token, agent, packs: false };
        let open = ClientMessage::Open {
            channel: 1,
            document: "d".into(),
            cursor: None,
            context: CausalContext::default(),
            claims: vec![Claim { replica: replica(connection), opening: 1 }],
            compares: false,
            unsent: Vec::new(),
        };
        let stored = ClientMessage::ChunkStored { channel: 1, number: 1 };
        writer.waiting.push_back(Event::Connected(connection, sender, None));
        writer.waiting.extend([hello, open, stored].map(|message| frame(connection, &message)));
        assert!(writer.batch().is_ok());
    }

    /// A delta of one slot of so many bytes.
    fn delta(bytes: usize) -> Vec<u8> {
        delta_at(1, bytes)
    }

    fn delta_at(counter: u64, bytes: usize) -> Vec<u8> {
        let entry = Entry {
            first: Dot::new(replica(1), counter),
            stamp: Stamp::default(),
            label: Label::new(b"s", [&b"n"[..]]),
            id: PlaceId::default(),
            slots: Slots::new([Some(&vec![0; bytes][..])].into_iter()),
        };
        encode_delta(&Delta { entries: [entry].into(), ..Delta::default() })
    }

    #[test]
    fn the_inputs_of_a_batch_are_limited_and_the_others_wait() {
        let folder = TempDir::new().unwrap();
        for count in [BATCH_MAX - 1, BATCH_MAX, BATCH_MAX + 1] {
            let mut writer = writer(&folder);
            let (events, inbox) = mpsc::channel();
            (0..count).for_each(|_| events.send(Event::Disconnected(1)).unwrap());
            writer.take_in(&inbox);
            assert_eq!(writer.waiting.len(), count.min(BATCH_MAX));
            assert!(writer.batch().is_ok());
            writer.take_in(&inbox);
            assert_eq!(writer.waiting.len(), count.saturating_sub(BATCH_MAX));
        }
    }

    #[test]
    fn the_outputs_of_a_batch_are_limited_and_other_inputs_wait() {
        const MEMBERS: usize = 128;
        let pong = HubMessage::Pong.encode().len();
        let stored = HubMessage::Stored { channel: 1, id: 1, seq: 1 }.encode().len();
        for (beyond, left) in [(-1isize, 0), (0, 1), (1, 1)] {
            let folder = TempDir::new().unwrap();
            let mut writer = writer(&folder);
            (1..=1 + MEMBERS as u64).for_each(|connection| join(&mut writer, connection));
            // Some answers, so that what is relayed makes exactly the rest.
            let most = BATCH_BYTES_MAX.checked_add_signed(beyond).unwrap();
            let rest = |pings: usize| most - stored - pings * pong;
            let pings = (0..).find(|pings| rest(*pings).is_multiple_of(MEMBERS)).unwrap();
            let relayed = |bytes: usize| {
                HubMessage::Delta { channel: 1, seq: 1, delta: delta(bytes) }.encode().len()
            };
            let bytes = rest(pings) / MEMBERS;
            let bytes = bytes - (relayed(bytes) - bytes);
            assert_eq!(MEMBERS * relayed(bytes), rest(pings));
            let push =
                ClientMessage::Push(Push { channel: 1, id: 1, delta: delta(bytes), skips: false });
            writer.waiting.extend((0..pings).map(|_| frame(2, &ClientMessage::Ping)));
            writer.waiting.push_back(frame(1, &push));
            writer.waiting.push_back(frame(2, &ClientMessage::Ping));
            let Ok((outputs, _)) = writer.batch() else { panic!("the storage is there") };
            assert!(outputs.iter().map(size).sum::<usize>() >= most);
            assert_eq!(writer.waiting.len(), left, "{beyond} beyond");
            assert!(writer.batch().is_ok());
            assert_eq!(writer.waiting.len(), 0);
        }
    }

    /// Holds the file: the number, or why not.
    fn hold(writer: &mut Writer) -> Result<u64, String> {
        let (reply, mut replied) = oneshot::channel();
        writer.waiting.push_back(Event::Hold(reply));
        assert!(!writer.turn());
        replied.try_recv().unwrap().map(|(number, _)| number)
    }

    fn release(writer: &mut Writer, number: u64) -> bool {
        let (reply, mut replied) = oneshot::channel();
        writer.waiting.push_back(Event::Release(number, Some(reply)));
        assert!(!writer.turn());
        replied.try_recv().unwrap()
    }

    fn push(writer: &mut Writer, id: u64, bytes: usize) {
        let delta = delta_at(id, bytes);
        let push = ClientMessage::Push(Push { channel: 1, id, delta, skips: false });
        writer.waiting.push_back(frame(1, &push));
        assert!(writer.batch().is_ok());
    }

    #[test]
    fn a_file_that_is_held_stays_as_it_is_while_others_write() {
        let folder = TempDir::new().unwrap();
        let mut writer = writer(&folder);
        join(&mut writer, 1);
        push(&mut writer, 1, 1_000);
        let number = hold(&mut writer).unwrap();
        // A copy by another process, so that the locks of this one stay.
        let copy = || {
            let output = std::process::Command::new("cat").arg(writer_path(&folder)).output();
            output.unwrap().stdout
        };
        let before = copy();
        // More than goes into the file by itself.
        for id in 2..=60 {
            push(&mut writer, id, 100_000);
        }
        assert!(copy() == before, "nothing goes into the file");
        assert!(release(&mut writer, number));
        assert!(!release(&mut writer, number), "it was released");
        push(&mut writer, 61, 0);
        assert!(copy() != before, "what waited goes into the file");
    }

    fn writer_path(folder: &TempDir) -> PathBuf {
        folder.path().join("hub.db")
    }

    #[test]
    fn a_file_is_held_for_one_at_a_time_and_not_for_ever() {
        let folder = TempDir::new().unwrap();
        let mut writer = writer(&folder);
        join(&mut writer, 1);
        let first = hold(&mut writer).unwrap();
        assert!(hold(&mut writer).unwrap_err().contains("somebody else"));
        assert!(!release(&mut writer, first + 1), "of somebody else");
        push(&mut writer, 1, 1_000);
        let bytes = writer.store.as_ref().unwrap().log_bytes();
        for (bytes_max, is_held) in [(bytes + 1, true), (bytes, true), (bytes - 1, false)] {
            writer.limit_hold(bytes_max);
            assert_eq!(writer.held.is_some(), is_held, "{bytes_max} of {bytes}");
        }
        assert!(!release(&mut writer, first));
        let second = hold(&mut writer).unwrap();
        writer.recover(&StoreError::OutOfRange(0));
        assert!(!release(&mut writer, second), "a file that was opened anew has changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_cannot_be_opened_is_tried_again_after_a_while() {
        for (wait_ms, is_there) in
            [(REOPEN_MS - 1, false), (REOPEN_MS, true), (REOPEN_MS + 1, true)]
        {
            let folder = TempDir::new().unwrap();
            let mut writer = writer(&folder);
            writer.store = None;
            std::fs::rename(&writer.path, folder.path().join("elsewhere")).unwrap();
            std::fs::create_dir(&writer.path).unwrap();
            assert!(!writer.turn());
            assert!(writer.health.is_failing.load(Ordering::Relaxed));
            assert_eq!(writer.pause(), Duration::from_millis(REOPEN_MS));
            std::fs::remove_dir(&writer.path).unwrap();
            tokio::time::advance(Duration::from_millis(wait_ms)).await;
            assert_eq!(writer.pause(), Duration::from_millis(REOPEN_MS.saturating_sub(wait_ms)));
            assert!(!writer.turn());
            assert_eq!(writer.store.is_some(), is_there, "after {wait_ms} ms");
            assert_eq!(writer.health.is_failing.load(Ordering::Relaxed), !is_there);
        }
    }
}
