//! The disk under a folder: its calls, its faults, and what it has without power.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::raw::c_int;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::ffi;

use crate::image::Image;
use crate::random::Random;
use crate::vfs;

/// A log that SQLite makes syncs its folder with its own first sync.
const LOGS: c_int =
    ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;

/// Before it come no frames in a write-ahead log, in bytes.
const LOG_HEADER_BYTES: usize = 32;

/// What a call asks for, by the error that it gives when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Call {
    Open = ffi::SQLITE_CANTOPEN,
    Read = ffi::SQLITE_IOERR_READ,
    Write = ffi::SQLITE_IOERR_WRITE,
    Truncate = ffi::SQLITE_IOERR_TRUNCATE,
    Sync = ffi::SQLITE_IOERR_FSYNC,
    Size = ffi::SQLITE_IOERR_FSTAT,
    Delete = ffi::SQLITE_IOERR_DELETE,
    Access = ffi::SQLITE_IOERR_ACCESS,
}

/// What goes wrong while the power is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A sync gives an error.
    SyncFails,
    /// A write finds no room, and nothing of it is written.
    DiskFull,
    /// A write ends with an error after half of its bytes.
    HalfWritten,
}

/// Which syncs reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// All that SQLite asks for.
    All,
    /// All but those by which a commit to a write-ahead log becomes durable, which is what SQLite
    /// leaves out with `synchronous=NORMAL`.
    Normal,
    /// None, as with `synchronous=OFF`.
    Off,
}

/// How often a disk was called since it was mounted or its power came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Every call that the power can fail at.
    pub all: u64,
    /// Those that write.
    pub writes: u64,
    /// Those that sync.
    pub syncs: u64,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    /// At which of the calls that it is about, counted from 1.
    at: u64,
    is_lasting: bool,
}

#[derive(Debug)]
struct State {
    is_off: bool,
    calls: Calls,
    cut_at: Option<u64>,
    plan: Option<Plan>,
    reads_fail: bool,
    syncs: Syncs,
    /// Whether syncs wait, and how many do.
    holds_syncs: bool,
    held: usize,
    random: Random,
    /// How many files are open.
    open: usize,
    /// By inode, so that a file that is renamed stays the one it was.
    images: BTreeMap<u64, Image>,
    /// What stood at a name when its folder was last synced, where that has changed.
    unsure: BTreeMap<PathBuf, Option<Image>>,
}

/// A disk under a folder. It is taken away when the last handle goes.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mounted>);

#[derive(Debug)]
pub(crate) struct Mounted {
    folder: PathBuf,
    state: Mutex<State>,
    /// Wakes who waits for a sync that waits, and that one.
    moved: Condvar,
}

static MOUNTED: Mutex<Vec<Weak<Mounted>>> = Mutex::new(Vec::new());

/// The disk that a path lies on.
pub(crate) fn of(path: &Path) -> Option<Arc<Mounted>> {
    let mounted = MOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    mounted.iter().filter_map(Weak::upgrade).find(|disk| path.starts_with(&disk.folder))
}

impl Disk {
    /// Puts a disk that works under a folder, which must be there and stay until it is taken away.
    ///
    /// # Panics
    ///
    /// When the folder is not there or SQLite refuses the VFS.
    #[must_use]
    pub fn mount(folder: &Path) -> Self {
        vfs::register();
        let folder = fs::canonicalize(folder).expect("a disk is mounted at a folder");
        let state = State {
            is_off: false,
            calls: Calls::default(),
            cut_at: None,
            plan: None,
            reads_fail: false,
            syncs: Syncs::All,
            holds_syncs: false,
            held: 0,
            random: Random(0),
            open: 0,
            images: BTreeMap::new(),
            unsure: BTreeMap::new(),
        };
        let (state, moved) = (Mutex::new(state), Condvar::new());
        let disk = Arc::new(Mounted { folder, state, moved });
        let mut mounted = MOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        mounted.retain(|disk| disk.strong_count() > 0);
        mounted.push(Arc::downgrade(&disk));
        Self(disk)
    }

    /// How often it was called.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.state().calls
    }

    /// Lets the power fail during a call, counted from 1 with those that were. Every call after it
    /// fails until [`restart`](Self::restart).
    pub fn cut_at(&self, call: u64) {
        self.0.state().cut_at = Some(call);
    }

    /// Lets the power fail between two calls.
    pub fn cut(&self) {
        self.0.state().is_off = true;
    }

    /// Whether the power has failed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.state().is_off
    }

    /// Lets a call fail, counted from 1 with those that were of its kind; with `is_lasting` every one
    /// from there on.
    pub fn fail(&self, fault: Fault, at: u64, is_lasting: bool) {
        self.0.state().plan = Some(Plan { fault, at, is_lasting });
    }

    /// Ends every fault but the lack of power.
    pub fn mend(&self) {
        self.0.state().plan = None;
        self.0.state().reads_fail = false;
    }

    /// Lets every read fail from here on.
    pub fn fail_reads(&self) {
        self.0.state().reads_fail = true;
    }

    /// Says which syncs reach the disk from here on.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.0.state().syncs = syncs;
    }

    /// Lets every sync wait from here on, until [`release_syncs`](Self::release_syncs).
    pub fn hold_syncs(&self) {
        self.0.state().holds_syncs = true;
    }

    /// Blocks until a sync waits.
    pub fn wait_held(&self) {
        let mut state = self.0.state();
        while state.held == 0 {
            state = self.0.wait(state);
        }
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        self.0.state().holds_syncs = false;
        self.0.moved.notify_all();
    }

    /// Brings the power back, or cuts it for a moment where it is there, and leaves in the folder what
    /// was on the disk. The counts begin anew, and no fault is planned.
    ///
    /// # Panics
    ///
    /// When a file is still open, or the folder cannot be written.
    pub fn restart(&self, seed: u64) {
        let mut state = self.0.state();
        assert_eq!(state.open, 0, "nobody survives without power");
        let mut random = Random(seed);
        for (path, before) in std::mem::take(&mut state.unsure) {
            if random.once_in(2) {
                restore(&path, before.as_ref(), &mut random).expect("the folder can be written");
            }
        }
        let images = std::mem::take(&mut state.images);
        for (path, inode) in inodes(&self.0.folder).expect("the folder can be read") {
            if let Some(image) = images.get(&inode).filter(|image| image.is_unsure()) {
                overwrite(&path, &image.survive(&mut random)).expect("the file can be written");
            }
        }
        let (syncs, random) = (state.syncs, Random(seed));
        *state = State {
            is_off: false,
            calls: Calls::default(),
            cut_at: None,
            plan: None,
            reads_fail: false,
            syncs,
            holds_syncs: false,
            held: 0,
            random,
            open: 0,
            images: BTreeMap::new(),
            unsure: BTreeMap::new(),
        };
    }
}

/// The files in a folder.
fn inodes(folder: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let file = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.path(), entry.metadata()?.ino()))
    };
    fs::read_dir(folder)?.map(file).collect()
}

/// Writes a file anew. Not by way of an empty one, after which some file systems wait for the disk.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

/// Takes back what happened to a name.
fn restore(path: &Path, before: Option<&Image>, random: &mut Random) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match before {
        Some(image) => overwrite(path, &image.survive(random)),
        None => Ok(()),
    }
}

/// How a call goes on.
enum Turn {
    Well,
    /// The power fails while it is under way.
    Cut,
    Fault(Fault),
}

impl State {
    fn enter(&mut self, call: Call) -> Result<Turn, c_int> {
        if self.is_off {
            return Err(call as c_int);
        }
        self.calls.all += 1;
        self.calls.writes += u64::from(call == Call::Write);
        self.calls.syncs += u64::from(call == Call::Sync);
        if self.cut_at == Some(self.calls.all) {
            self.is_off = true;
            return Ok(Turn::Cut);
        }
        let Some(Plan { fault, at, is_lasting }) = &self.plan else { return Ok(Turn::Well) };
        let (count, is_it) = match fault {
            Fault::SyncFails => (self.calls.syncs, call == Call::Sync),
            Fault::DiskFull | Fault::HalfWritten => (self.calls.writes, call == Call::Write),
        };
        let is_due = is_it && (count == *at || *is_lasting && count > *at);
        Ok(if is_due { Turn::Fault(*fault) } else { Turn::Well })
    }

    /// Enters a call that changes nothing.
    fn look(&mut self, call: Call) -> Result<(), c_int> {
        match self.enter(call)? {
            Turn::Well => Ok(()),
            Turn::Cut | Turn::Fault(_) => Err(call as c_int),
        }
    }

    fn sync_folder(&mut self, folder: Option<&Path>) {
        if self.syncs != Syncs::Off {
            self.unsure.retain(|path, _| path.parent() != folder);
        }
    }
}

impl Mounted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.moved.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(self: Arc<Self>, path: &Path, flags: c_int) -> Result<OpenFile, c_int> {
        let mut state = self.state();
        state.look(Call::Open)?;
        let (is_new, can_make) = (!path.exists(), flags & ffi::SQLITE_OPEN_CREATE != 0);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(can_make).truncate(false).open(path);
        let file = file.map_err(|_| Call::Open as c_int)?;
        let inode = file.metadata().map_err(|_| Call::Open as c_int)?.ino();
        if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            // What was replaced since by other means is gone, and its inode may come again.
            let inodes = inodes(&self.folder).map_err(|_| Call::Open as c_int)?;
            state.images.retain(|inode, _| inodes.values().any(|there| there == inode));
        }
        if is_new {
            state.unsure.entry(path.to_path_buf()).or_insert(None);
            state.images.insert(inode, Image::default());
        } else if let Entry::Vacant(unknown) = state.images.entry(inode) {
            unknown.insert(Image::of(fs::read(path).map_err(|_| Call::Open as c_int)?));
        }
        state.open += 1;
        drop(state);
        let is_log = flags & ffi::SQLITE_OPEN_WAL != 0;
        let syncs_folder = is_new && flags & LOGS != 0;
        Ok(OpenFile { disk: self, file, inode, path: path.to_path_buf(), is_log, syncs_folder })
    }

    pub(crate) fn delete(&self, path: &Path, syncs_folder: bool) -> Result<(), c_int> {
        let mut state = self.state();
        let turn = state.enter(Call::Delete)?;
        let inode = match fs::metadata(path) {
            Ok(metadata) => metadata.ino(),
            Err(_) => return Err(ffi::SQLITE_IOERR_DELETE_NOENT),
        };
        let image = state.images.remove(&inode);
        // What was made and deleted since the folder was synced never was on the disk.
        if !matches!(state.unsure.get(path), Some(None)) {
            let image = image.unwrap_or_else(|| Image::of(fs::read(path).unwrap_or_default()));
            state.unsure.entry(path.to_path_buf()).or_insert(Some(image));
        }
        fs::remove_file(path).map_err(|_| Call::Delete as c_int)?;
        match turn {
            Turn::Well | Turn::Fault(_) => {
                if syncs_folder {
                    state.sync_folder(path.parent());
                }
                Ok(())
            }
            Turn::Cut => Err(Call::Delete as c_int),
        }
    }

    /// Whether a file is there. One without bytes does not count, as on the platform.
    pub(crate) fn is_there(&self, path: &Path) -> Result<bool, c_int> {
        self.state().look(Call::Access)?;
        Ok(fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0))
    }
}

/// A file that SQLite has open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    disk: Arc<Mounted>,
    file: File,
    inode: u64,
    path: PathBuf,
    /// Whether it is a write-ahead log.
    is_log: bool,
    /// Whether its next sync is one of its folder too.
    syncs_folder: bool,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.disk.state().open -= 1;
    }
}

impl OpenFile {
    /// Fills the buffer; with zeros and an error where the file is too short.
    pub(crate) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), c_int> {
        let mut state = self.disk.state();
        state.look(Call::Read)?;
        if state.reads_fail {
            return Err(Call::Read as c_int);
        }
        drop(state);
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => {
                    buffer[filled..].fill(0);
                    return Err(ffi::SQLITE_IOERR_SHORT_READ);
                }
                Ok(read) => filled += read,
                Err(_) => return Err(Call::Read as c_int),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), c_int> {
        let mut state = self.disk.state();
        let turn = state.enter(Call::Write)?;
        let (bytes, result) = match turn {
            Turn::Well => (bytes, Ok(())),
            Turn::Cut => (bytes, Err(Call::Write as c_int)),
            Turn::Fault(Fault::HalfWritten) => {
                (&bytes[..bytes.len() / 2], Err(Call::Write as c_int))
            }
            Turn::Fault(Fault::DiskFull | Fault::SyncFails) => return Err(ffi::SQLITE_FULL),
        };
        self.file.write_all_at(bytes, at).map_err(|_| Call::Write as c_int)?;
        if let Some(image) = state.images.get_mut(&self.inode) {
            image.write(at as usize, bytes);
            image.has_fresh_frames |= self.is_log && at as usize >= LOG_HEADER_BYTES;
        }
        result
    }

    pub(crate) fn truncate(&self, len: u64) -> Result<(), c_int> {
        let mut state = self.disk.state();
        let turn = state.enter(Call::Truncate)?;
        self.file.set_len(len).map_err(|_| Call::Truncate as c_int)?;
        if let Some(image) = state.images.get_mut(&self.inode) {
            image.truncate(len as usize);
        }
        match turn {
            Turn::Well | Turn::Fault(_) => Ok(()),
            Turn::Cut => Err(Call::Truncate as c_int),
        }
    }

    pub(crate) fn sync(&mut self) -> Result<(), c_int> {
        let disk = self.disk.clone();
        let mut state = disk.state();
        if state.holds_syncs {
            state.held += 1;
            disk.moved.notify_all();
            while state.holds_syncs {
                state = disk.wait(state);
            }
            state.held -= 1;
        }
        let turn = state.enter(Call::Sync)?;
        let State { images, random, syncs, .. } = &mut *state;
        let Some(image) = images.get_mut(&self.inode) else { return Ok(()) };
        let is_commit = std::mem::take(&mut image.has_fresh_frames);
        match turn {
            Turn::Well => {}
            Turn::Cut => return Err(Call::Sync as c_int),
            Turn::Fault(_) => {
                image.fail_sync(random);
                return Err(Call::Sync as c_int);
            }
        }
        match syncs {
            Syncs::Off => return Ok(()),
            Syncs::Normal if is_commit => return Ok(()),
            Syncs::All | Syncs::Normal => image.sync(),
        }
        if std::mem::take(&mut self.syncs_folder) {
            state.sync_folder(self.path.parent());
        }
        Ok(())
    }

    pub(crate) fn size(&self) -> Result<u64, c_int> {
        self.disk.state().look(Call::Size)?;
        self.file.metadata().map(|metadata| metadata.len()).map_err(|_| Call::Size as c_int)
    }
}
