//! The client: all documents of one data directory, and their common line to a hub.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::runtime::Runtime;

use sync_core::error::Misuse;
use sync_core::session::{ClientConfig, OutboxItem, Phase};
use sync_core::types::RecordId;
use sync_core::wire::{CHANNELS_MAX, NAME_BYTES_MAX, Packing};

use crate::FileError;
use crate::address::HubAddress;
use crate::clock::{Clock, TimeOfDay};
use crate::contact::Contacts;
use crate::document::DocumentHandle;
use crate::driver::Driver;
use crate::error::{Error, NoRandom, OpenError, SyncError};
use crate::random;
use crate::shared::{Session, Shared, State};
use crate::status::{ClientStatus, Connection, Missing, OfflineReason, Scrubbed};
use crate::store::{self, DRAFT_ID, Damage, Keeping, Limits, Loaded, Progress, Scrub, Store};
use crate::token::TokenSource;
use crate::undo::Histories;

/// How a client is opened.
///
/// ```
/// use sync_client::{Client, Error, Misuse};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let directory = folder.path().join("data");
/// let builder = Client::builder(&directory)
///     .hub("http://127.0.0.1:8787")
///     .agent("a diary, version 3")
///     .document("diary")
///     .document("settings")
///     .offline(true);
/// let client = builder.clone().open()?;
/// client.document("settings")?.set_add("flags", "dark")?.wait_disk()?;
/// let refused = client.document("letters");
/// assert!(matches!(refused, Err(Error::Misuse(Misuse::NotOpen { .. }))));
/// client.shutdown()?;
///
/// // The same again, with one more document.
/// let client = builder.document("letters").open()?;
/// assert_eq!(client.document("settings")?.set("flags")?.len(), 1);
/// assert!(client.document("letters")?.outbox()?.is_empty());
/// # Ok(client.shutdown()?)
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is open before `open()`"]
pub struct Builder {
    directory: PathBuf,
    hub: Option<String>,
    config: ClientConfig,
    documents: Vec<String>,
    is_offline: bool,
    repairs: bool,
    tokens: Option<TokenSource>,
    time_of_day: TimeOfDay,
    keeping: Keeping,
    device_name: Option<String>,
}

impl Builder {
    /// Names the hub: `http://HOST:PORT`, `https://`, `ws://` or `wss://`, with or without a path.
    /// Without a hub everything works and waits in the outbox.
    pub fn hub(mut self, address: impl Into<String>) -> Self {
        self.hub = Some(address.into());
        self
    }

    /// Names this program to the hub, and to others who are online. The default is `sync-client`.
    pub fn agent(mut self, name: impl Into<String>) -> Self {
        self.config.agent = name.into();
        self
    }

    /// Says what this device is called, for those who ask which devices have a change: up to 128 bytes
    /// without control characters, such as `Ada's laptop`. It is told to everybody who may open one of the
    /// documents.
    pub fn device_name(mut self, name: impl Into<String>) -> Self {
        self.device_name = Some(name.into());
        self
    }

    /// Says who this is, where the hub asks for it.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.config.token = Some(token.into());
        self
    }

    pub(crate) fn with_tokens(mut self, tokens: TokenSource) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Opens with the line switched off, as [`Client::set_offline`] does.
    pub fn offline(mut self, is_offline: bool) -> Self {
        self.is_offline = is_offline;
        self
    }

    /// Looks at every row of the file at opening and takes out what is damaged, in place of an error: see
    /// [`Client::damage`]. What is taken out looks as if it had never been here, so a hub that has it brings
    /// it again. The time that this takes grows with the file.
    pub fn repair(mut self) -> Self {
        self.repairs = true;
        self
    }

    /// Reads the time of day, in milliseconds since 1970, from this in place of the system's clock: for
    /// tests, and for devices that have a better one. It orders concurrent writes for those who read them.
    pub fn time_of_day(mut self, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.time_of_day = TimeOfDay::new(read);
        self
    }

    /// Limits the checkpoints and the tape of each document. The defaults are [`Limits::CHECKPOINTS`] and
    /// [`Limits::TAPE`]. Without a checkpoint nothing is kept.
    pub fn keep_checkpoints(mut self, checkpoints: Limits, tape: Limits) -> Self {
        (self.keeping.checkpoints, self.keeping.tape) = (checkpoints, tape);
        self
    }

    /// Keeps what is needed to undo what is changed here, up to these limits for each document: see
    /// [`DocumentHandle::undo`]. Such as [`Limits::UNDO`]. Where a client is opened without this, what was
    /// kept before is forgotten.
    pub fn keep_undo(mut self, limits: Limits) -> Self {
        self.keeping.undo = Some(limits);
        self
    }

    /// Keeps a feed of what changes, here and elsewhere, up to these limits for each document: see
    /// [`DocumentHandle::feed`]. Such as [`Limits::FEED`]. Where a client is opened without this, what was
    /// kept before is forgotten.
    pub fn keep_feed(mut self, limits: Limits) -> Self {
        self.keeping.feed = Some(limits);
        self
    }

    /// Opens this document. May be called for several.
    pub fn document(mut self, name: impl Into<String>) -> Self {
        self.documents.push(name.into());
        self
    }

    /// Opens the data directory, makes it if there is none, and starts to connect. Never waits for the
    /// network.
    ///
    /// # Errors
    ///
    /// [`OpenError::Misuse`] where no document is named, more than 64 are, or a name is not 1 to 128 bytes
    /// without control characters; [`OpenError::Address`] where the hub's address is none.
    /// [`OpenError::Directory`] and [`OpenError::File`] where the directory or its file cannot be opened,
    /// made or locked, with one variant of [`FileError`](crate::FileError) for each reason;
    /// [`OpenError::Draft`] where it is a backup that did not end;
    /// [`OpenError::Store`] where what stands in the file is damaged or cannot be read.
    /// [`OpenError::NoRandom`] and [`OpenError::Thread`] where the system lacks what is needed. A file that
    /// is refused is left as it was.
    pub fn open(self) -> Result<Client, OpenError> {
        self.open_with(|_| {})
    }

    fn open_with(self, prepare: impl FnOnce(&Store)) -> Result<Client, OpenError> {
        let Self { directory, hub, config, mut documents, is_offline, repairs, .. } = self;
        let (tokens, keeping) = (self.tokens, self.keeping);
        let clock = Clock::new(self.time_of_day);
        check_name("the agent's name", &config.agent)?;
        let device_name = self.device_name.as_deref();
        device_name.map_or(Ok(()), |name| check_name("the device's name", name))?;
        documents.iter().try_for_each(|name| check_name("a document's name", name))?;
        documents.sort();
        documents.dedup();
        if documents.is_empty() {
            return Err(Misuse::BadName { what: "the list of documents" }.into());
        }
        if documents.len() > CHANNELS_MAX {
            let (found, limit) = (documents.len() as u64, CHANNELS_MAX as u64);
            return Err(Misuse::TooLarge { what: "the number of documents", found, limit }.into());
        }
        let hub: Option<HubAddress> = hub.map(|address| address.parse()).transpose()?;
        let path = directory.clone();
        std::fs::create_dir_all(&directory)
            .map_err(|source| OpenError::Directory { path, source })?;
        let mut file = store::open_file(&directory).map_err(|refused| {
            if let FileError::Foreign { path, found: DRAFT_ID, .. } = refused {
                OpenError::Draft { path }
            } else {
                refused.into()
            }
        })?;
        let path = file.path().to_path_buf();
        let damaged = |source| OpenError::Store { path: path.clone(), source };
        let damage = if repairs { Store::repair(&mut file).map_err(damaged)? } else { Vec::new() };
        let mut store = Store::new(file).map_err(damaged)?;
        let ages = clock.ages().clone();
        ages.trust(store.trusted_ms(clock.now().unix_ms).map_err(damaged)?);
        store.forget_old(ages.now_ms()).map_err(damaged)?;
        store.keep(keeping, ages.clone());
        let mut session = Session::new(config);
        session.follow_devices(device_name.unwrap_or_default())?;
        let mut contacts = Contacts::new();
        let mut histories = Histories::new(store.next_undo().map_err(damaged)?, ages);
        for name in &documents {
            let Loaded { saved, replica, contact, devices } = store.load(name).map_err(damaged)?;
            contacts.insert(name.clone(), contact);
            let opening = u64::from_ne_bytes(random::bytes()?);
            session.open(name, saved, replica, opening).map_err(damaged)?;
            session.recall_devices(name, devices)?;
            session.record(name, store.find_kept(name).map_err(damaged)?)?;
            match keeping.undo {
                Some(limits) => {
                    let rows = store.history(name).map_err(damaged)?;
                    histories.keep(name, limits, rows);
                }
                None => store.purge_undo(name).map_err(damaged)?,
            }
        }
        store.opened().map_err(damaged)?;
        prepare(&store);
        let connection = match hub {
            Some(_) if is_offline => Connection::Offline(OfflineReason::SwitchedOff),
            Some(_) => Connection::Connecting,
            None => Connection::Offline(OfflineReason::NoHub),
        };
        let shared = Arc::new(Shared::new(session, connection, is_offline, clock));
        {
            let mut state = shared.lock();
            (state.contacts, state.histories) = (contacts, histories);
        }
        let driver = Driver::new(shared.clone(), store, hub, tokens);
        let (runtime, thread) = start(driver).map_err(OpenError::Thread)?;
        let (runtime, thread) = (Some(runtime), Mutex::new(Some(thread)));
        Ok(Client { inner: Arc::new(Inner { shared, runtime, thread, directory, damage }) })
    }
}

fn start(driver: Driver) -> io::Result<(Arc<Runtime>, JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runtime = Arc::new(runtime);
    let own = runtime.clone();
    let thread = thread::Builder::new().name("sync-client".to_owned());
    Ok((runtime, thread.spawn(move || own.block_on(driver.run()))?))
}

fn check_name(what: &'static str, name: &str) -> Result<(), Misuse> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Misuse::BadName { what });
    }
    if name.len() > NAME_BYTES_MAX {
        let (found, limit) = (name.len() as u64, NAME_BYTES_MAX as u64);
        return Err(Misuse::TooLarge { what, found, limit });
    }
    Ok(())
}

/// What all handles of one client hold together. The last one to go shuts it down.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    /// The driver's; none while this is being dropped.
    runtime: Option<Arc<Runtime>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    directory: PathBuf,
    damage: Vec<Damage>,
}

impl Inner {
    /// Stops the driver once everything that was accepted is on disk.
    fn shut_down(&self) {
        self.shared.steer(|state| state.is_stopping = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A driver that panicked has said so to everyone who waits.
            let _ = thread.join();
        }
    }
}

impl Inner {
    /// A sleep on the driver's timer, so that no other runtime is needed.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        let sleep = self.runtime.as_ref().map(|runtime| {
            let _entered = runtime.enter();
            tokio::time::sleep(time)
        });
        async move {
            if let Some(sleep) = sleep {
                sleep.await;
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut_down();
        // Dropping a runtime may block, which is not allowed within another one.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

/// The documents of one data directory, open for reading and writing, and their line to a hub.
///
/// Handles are cheap to clone and may be used from any thread. Records are read from the file when they
/// are asked for, so a document may be larger than memory. Reading and changing never waits for the
/// network; it may wait for one commit that is under way, and writers wait while more than a thousand
/// changes have not reached the disk. What nobody waits for may be a tenth of a second late on disk, so that
/// more changes share a commit. When the last handle goes, the client is shut down.
///
/// ```
/// use std::time::Duration;
/// use sync_client::{Client, Connection, OfflineReason, SyncError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let directory = folder.path().join("data");
/// let client = Client::open(&directory, "notes")?;
/// let notes = client.document("notes")?.collection("notes");
/// let (id, written) = notes.insert([("title", "Buy milk".into())])?;
/// written.wait_disk()?;
///
/// // Without a hub everything works, and waits.
/// assert!(matches!(client.connection(), Connection::Offline(OfflineReason::NoHub)));
/// assert_eq!(client.document("notes")?.status().pending, 1);
/// let refused = client.wait_sync(Duration::from_secs(1));
/// assert!(matches!(refused, Err(SyncError::Offline(_))));
///
/// client.shutdown()?;
/// assert!(notes.remove(&id).is_err());
/// let again = Client::open(&directory, "notes")?;
/// assert!(again.document("notes")?.collection("notes").get(&id)?.is_some());
/// # Ok(again.shutdown()?)
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

impl Client {
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Prepares to open a data directory. Each directory belongs to one client at a time.
    pub fn builder(directory: impl AsRef<Path>) -> Builder {
        let directory = directory.as_ref().to_path_buf();
        let agent = "sync-client".to_owned();
        let config = ClientConfig { agent, packing: Packing::LARGE, ..ClientConfig::default() };
        Builder {
            directory,
            hub: None,
            config,
            documents: Vec::new(),
            is_offline: false,
            repairs: false,
            tokens: None,
            time_of_day: TimeOfDay::default(),
            keeping: Keeping::default(),
            device_name: None,
        }
    }

    /// Opens one document without a hub.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub fn open(directory: impl AsRef<Path>, document: &str) -> Result<Self, OpenError> {
        Self::builder(directory).document(document).open()
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// What was damaged in the file and was taken out at opening, where [`Builder::repair`] asked for that.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.inner.damage
    }

    /// Looks at the whole file now, and gives what is not as it was written, up to 100 rows. Others read and
    /// write in between, though they may wait for a step of it. The time grows with the file.
    /// [`Builder::repair`] takes out what this finds.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file cannot be read at all, [`Error::Store`] where the store had failed, and
    /// [`Error::Closed`] once the client is shut down. Damage is no error.
    pub fn verify(&self) -> Result<Vec<Damage>, Error> {
        let mut scrub = Scrub::default();
        loop {
            // Its turn is behind a commit, where nothing is being written, and nothing gives it up.
            let step = self.inner.shared.with_store(move |_, store| {
                let progress = scrub.step(&store.file(), &Arc::default());
                Ok((scrub, progress))
            });
            match step? {
                (_, Progress::Over(damage)) => return Ok(damage),
                (looked, Progress::More | Progress::Later) => scrub = looked,
            }
        }
    }

    /// What looking at the file in the background has found so far. A pass begins soon after opening and
    /// each day from then on, and costs a tenth of a core. Each ends with
    /// [`Event::Scrubbed`](crate::Event::Scrubbed). What one finds, [`Builder::repair`] takes out at the
    /// next opening.
    #[must_use]
    pub fn scrubbed(&self) -> Scrubbed {
        self.inner.shared.lock().scrubbed.clone()
    }

    /// A document that was named at opening.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] with [`Misuse::NotOpen`] where it was not named.
    pub fn document(&self, name: &str) -> Result<DocumentHandle, Error> {
        self.inner.shared.lock().session.document(name)?;
        Ok(DocumentHandle { inner: self.inner.clone(), name: name.into() })
    }

    /// How the line to the hub is.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.inner.shared.lock().connection.clone()
    }

    /// How the client is, over all its documents.
    #[must_use]
    pub fn status(&self) -> ClientStatus {
        let now_ms = self.inner.shared.now().unix_ms;
        self.inner.shared.lock().client_status(now_ms)
    }

    /// Blocks until the line is as wanted, or the time is over. Gives how it is then.
    pub fn wait_connection(
        &self,
        timeout: Duration,
        is_wanted: impl Fn(&Connection) -> bool,
    ) -> Connection {
        let shared = &self.inner.shared;
        let deadline = shared.deadline(timeout);
        let mut seen = self.connection();
        // Asked without the lock, so that it may use this client.
        while !is_wanted(&seen) {
            let changed = shared.wait_until(Some(deadline), |state| {
                let is_over = state.is_ended || !state.connection.is_same(&seen);
                is_over.then(|| (state.connection.clone(), state.is_ended))
            });
            match changed {
                Some((connection, false)) => seen = connection,
                Some((connection, true)) => return connection,
                None => return self.connection(),
            }
        }
        seen
    }

    /// What the hub has not acknowledged, of all documents, in order. All of it is read:
    /// [`Self::outbox_page`] gives it in pages.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file cannot be read; [`Error::Closed`] once the client was shut down.
    pub fn outbox(&self) -> Result<Vec<(String, OutboxItem)>, Error> {
        let state = self.inner.shared.lock();
        let mut all = Vec::new();
        for name in state.session.names() {
            all.extend(state.items(name)?.into_iter().map(|item| (name.to_owned(), item)));
        }
        Ok(all)
    }

    /// Switches the line off or on. While it is off nothing is sent or received, and changes wait in
    /// the outbox.
    pub fn set_offline(&self, is_offline: bool) {
        self.inner.shared.steer(|state| {
            state.is_switched_off = is_offline;
            state.is_retry_wanted |= !is_offline;
        });
    }

    /// Tries to connect at once, also after the hub turned this client away.
    pub fn reconnect(&self) {
        self.inner.shared.steer(|state| state.is_retry_wanted = true);
    }

    /// Completes once nothing waits for the hub and the hub's state is here, in all documents. Ends
    /// early where no attempt to connect is to be expected. Works in any async runtime.
    ///
    /// # Errors
    ///
    /// [`SyncError::TimedOut`] with what is missing, [`SyncError::Parked`] where the hub refused changes and
    /// nothing else is missing, [`SyncError::Offline`] where no attempt to connect is to be expected, and
    /// [`SyncError::Client`] where the store failed or the client is shut down.
    pub async fn sync(&self, timeout: Duration) -> Result<(), SyncError> {
        let done = pin!(self.inner.shared.until(synced));
        match select(done, pin!(self.inner.sleep(timeout))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), _)) => Err(self.timed_out()),
        }
    }

    /// Blocks until nothing waits for the hub and the hub's state is here, in all documents.
    ///
    /// # Errors
    ///
    /// As [`Self::sync`].
    pub fn wait_sync(&self, timeout: Duration) -> Result<(), SyncError> {
        let outcome =
            self.inner.shared.wait_until(Some(self.inner.shared.deadline(timeout)), synced);
        outcome.unwrap_or_else(|| Err(self.timed_out()))
    }

    /// Ends the client once everything that was accepted is on disk. Takes a moment to say goodbye to
    /// the hub, at most. The data directory can be opened again afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store had failed: what was accepted last may not be on disk. The client
    /// is shut down all the same.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.inner.shut_down();
        match &self.inner.shared.lock().failure {
            Some(failure) => Err(Error::Store(failure.clone())),
            None => Ok(()),
        }
    }

    fn timed_out(&self) -> SyncError {
        let mut missing = self.inner.shared.lock().missing();
        missing.retain(|missing| !is_synced(missing));
        SyncError::TimedOut { missing }
    }
}

/// Whether the wait for everything has ended, and how.
fn synced(state: &State) -> Option<Result<(), SyncError>> {
    if let Some(failure) = &state.failure {
        return Some(Err(Error::Store(failure.clone()).into()));
    }
    if state.is_ended {
        return Some(Err(Error::Closed.into()));
    }
    if let Some(reason) = state.resting() {
        return Some(Err(SyncError::Offline(reason)));
    }
    let mut missing = state.missing();
    if !missing.iter().all(is_synced) {
        return None;
    }
    missing.retain(|missing| missing.parked > 0);
    Some(if missing.is_empty() { Ok(()) } else { Err(SyncError::Parked { missing }) })
}

fn is_synced(missing: &Missing) -> bool {
    missing.pending == 0 && missing.phase == Phase::Live && !missing.is_refilling
}

/// A fresh record id: a UUID of version 7, so that ids order by time.
pub(crate) fn new_record_id(shared: &Shared) -> Result<RecordId, NoRandom> {
    Ok(RecordId::from_time(shared.now().unix_ms, random::bytes()?))
}

#[cfg(test)]
mod tests {
    use sync_faults::{Disk, Fault};

    use super::*;
    use crate::status::Connection;

    #[test]
    fn after_a_failed_commit_nothing_more_is_written_until_it_is_opened_again() {
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        let builder = Client::builder(folder.path()).hub("http://127.0.0.1:9").document("notes");
        let client = builder.clone().open().unwrap();
        let notes = client.document("notes").unwrap().collection("notes");
        let (small, written) = notes.insert([("title", "small".into())]).unwrap();
        written.wait_disk().unwrap();
        disk.fail(Fault::DiskFull, 1, true);
        let (_, lost) = notes.insert([("title", "lost".into())]).unwrap();
        assert!(matches!(lost.wait_disk(), Err(Error::Store(_))));
        assert!(matches!(lost.wait_hub(Duration::from_secs(60)), Err(Error::Store(_))));
        assert!(written.is_on_disk() && !lost.is_on_disk());
        disk.mend();
        // What would fit is refused too, and what is there can still be read.
        assert!(matches!(notes.insert([("title", "late".into())]), Err(Error::Store(_))));
        assert_eq!(notes.list().unwrap().len(), 1);
        let connection = client.wait_connection(Duration::from_secs(60), |connection| {
            matches!(connection, Connection::Offline(OfflineReason::Store(_)))
        });
        assert!(connection.to_string() == "offline");
        assert!(matches!(client.shutdown(), Err(Error::Store(_))));
        drop((client, notes, written, lost));

        let client = builder.open().unwrap();
        let notes = client.document("notes").unwrap().collection("notes");
        assert!(notes.get(&small).unwrap().is_some());
        assert_eq!(notes.list().unwrap().len(), 1);
        notes.insert([("title", "late".into())]).unwrap().1.wait_disk().unwrap();
    }

    #[test]
    fn the_names_and_the_number_of_documents_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let of_documents = |count: usize| {
            let builder = Client::builder(folder.path());
            (0..count).fold(builder, |builder, number| builder.document(format!("d{number}")))
        };
        let named = |bytes| Client::builder(folder.path()).document("d".repeat(bytes));
        let by = |bytes| named(1).agent("a".repeat(bytes));
        for beyond in [-1isize, 0, 1] {
            let [channels, name] = [CHANNELS_MAX, NAME_BYTES_MAX]
                .map(|limit| limit.checked_add_signed(beyond).unwrap());
            for builder in [of_documents(channels), named(name), by(name)] {
                let opened = builder.open();
                let is_refused = matches!(opened, Err(OpenError::Misuse(Misuse::TooLarge { .. })));
                assert_eq!((opened.is_ok(), is_refused), (beyond <= 0, beyond > 0));
            }
        }
    }

    #[test]
    fn a_panic_in_a_change_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            document.change(|edit| {
                edit.set_add("seen", &"half".into())?;
                panic!("in the middle");
                #[allow(unreachable_code, reason = "gives the closure its type")]
                Ok(())
            })
        }));
        assert!(panicked.is_err());
        assert!(document.set("seen").unwrap().is_empty());
        document.set_add("seen", "whole").unwrap().wait_disk().unwrap();
        assert_eq!(document.set("seen").unwrap().len(), 1);
    }

    #[test]
    fn an_error_of_the_store_that_a_change_passes_over_ends_it_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let builder = Client::builder(folder.path()).document("notes");
        let client = builder.clone().open_with(Store::fill_up).unwrap();
        let document = client.document("notes").unwrap();
        let [large, small] = ["large", "small"].map(|id| RecordId::new(id).unwrap());
        let outcome = document.change(|edit| {
            let text: sync_core::types::Field = "x".repeat(100_000).as_str().into();
            assert!(edit.insert("notes", &large, [("title", &text)]).is_err());
            edit.insert("notes", &small, [("title", &"x".into())])
        });
        assert!(matches!(outcome, Err(Error::Store(_))));
        drop((document, client));
        let client = builder.open().unwrap();
        let document = client.document("notes").unwrap();
        assert!(document.collection("notes").list().unwrap().is_empty());
        assert!(document.outbox().unwrap().is_empty());
    }
}
