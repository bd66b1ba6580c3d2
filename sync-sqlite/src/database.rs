//! Opening, creating and migrating a file under a lock.
//!
//! The schema's version and the application's id are always in the main file, never only in a
//! write-ahead log: a file is created under another name and renamed, and migrations run with a
//! rollback journal.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use thiserror::Error;

use crate::header::{Found, look};

/// How long a statement waits for another program that reads the file. Arbitrary.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// How many compiled statements are kept. Arbitrary: more than client and hub have.
const STATEMENTS_MAX: usize = 64;

/// What a file is for and how its tables come about.
#[derive(Debug, Clone, Copy)]
pub struct Schema<'a> {
    /// Tells the files of this application from those of others. Not 0.
    pub application_id: u32,
    /// The version that this program knows: the number of migrations.
    pub version: u32,
    /// Step `n` leads from version `n` to version `n + 1`, in one transaction.
    pub migrations: &'a [&'a str],
}

/// Why a file was not opened. For all but the last four the file is untouched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is something else.
    #[error("{path} is not a database; choose another path, or move it away to start anew")]
    NotADatabase {
        /// Where.
        path: PathBuf,
    },
    /// A database of another application.
    #[error(
        "{path} belongs to another application (id {found:#010x}, expected {expected:#010x}); \
         choose another path"
    )]
    Foreign {
        /// Where.
        path: PathBuf,
        /// The id in the file.
        found: u32,
        /// The id of the schema.
        expected: u32,
    },
    /// Written by a later version of this program.
    #[error(
        "{path} has format {found}, and this program knows formats up to {known}; \
         update the program"
    )]
    Newer {
        /// Where.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version of the schema.
        known: u32,
    },
    /// Open in another program, or twice in this one.
    #[error("{path} is already in use; stop the other program, or choose another path")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The file or its folder may not be written.
    #[error("{path} or its folder may not be written; check its owner and permissions ({source})")]
    NotWritable {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("{path} could not be read or made ({source}); check that the folder exists")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no room for what opening writes.
    #[error("{path} could not be opened, since the disk is full; free space, then open it again")]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// Its pages are not what SQLite wrote.
    #[error(
        "{path} is damaged ({source}); restore it from a backup, or move it away to start anew"
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// SQLite refused something else.
    #[error("{path} could not be opened by SQLite ({source}); check the disk, then open it again")]
    Sqlite {
        /// Where.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// An open file, locked against every other opening for as long as this lives.
#[derive(Debug)]
pub struct Database {
    // Dropped before the lock, so that nobody finds the file unlocked while it is being closed.
    connection: Connection,
    path: PathBuf,
    _lock: Lock,
}

/// The lock beside the file. It is given up by word: closing alone would leave it held for as long as a
/// process that was just forked has its copy of the handle.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing gives it up too.
        let _ = self.0.unlock();
    }
}

impl Database {
    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the write-ahead log into the file and empties it, so that what was deleted is gone from
    /// both.
    pub fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Opens a file, makes it if there is none, and brings it up to the schema's version.
///
/// The connection writes ahead with `synchronous=FULL`, checks foreign keys, overwrites what is
/// deleted, and holds the file exclusively. The lock is on a file beside it, `<file>.lock`, which
/// stays.
///
/// # Panics
///
/// When the schema's version is not the number of its migrations, or its id is 0.
pub fn open(path: impl AsRef<Path>, schema: &Schema<'_>) -> Result<Database, OpenError> {
    assert_eq!(schema.version as usize, schema.migrations.len(), "one migration for each version");
    assert_ne!(schema.application_id, 0, "0 is the id of no application");
    let path = resolve(path.as_ref())?;
    // Whoever closes a file gives up all locks that its process has on it by POSIX rules, also those
    // of SQLite: a file that is open in this process must not even be looked at.
    let held = match lock(&path, false) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        held => Some(held?),
    };
    check(&path, schema)?;
    let lock = match held {
        Some(lock) => lock,
        None => lock(&path, true)?,
    };
    // Another process may have made or migrated the file before the lock was taken.
    if check(&path, schema)?.is_none() {
        create(&path, schema)?;
    }
    renew_log(&path).map_err(|source| refused(&path, source))?;
    let connection = connect(&path, schema).map_err(|source| failed(&path, source))?;
    Ok(Database { connection, path, _lock: lock })
}

/// Follows links, so that one file has one lock.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let resolved = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let name = path.file_name().ok_or(error);
            name.and_then(|name| Ok(fs::canonicalize(folder.unwrap_or(Path::new(".")))?.join(name)))
        }
        resolved => resolved,
    };
    resolved.map_err(|source| refused(path, source))
}

/// Looks at the file and gives its version, none where there is nothing.
fn check(path: &Path, schema: &Schema<'_>) -> Result<Option<u32>, OpenError> {
    let (path, known) = (path.to_path_buf(), schema.version);
    match look(&path).map_err(|source| refused(&path, source))? {
        Found::Nothing => Ok(None),
        Found::NotADatabase => Err(OpenError::NotADatabase { path }),
        Found::Database { application_id: found, .. } if found != schema.application_id => {
            Err(OpenError::Foreign { path, found, expected: schema.application_id })
        }
        Found::Database { user_version: found, .. } if found > known => {
            Err(OpenError::Newer { path, found, known })
        }
        Found::Database { user_version, .. } => {
            let writable = OpenOptions::new().read(true).write(true).open(&path);
            writable.map_err(|source| refused(&path, source))?;
            Ok(Some(user_version))
        }
    }
}

/// Takes the lock beside the file, and makes its file if asked.
fn lock(path: &Path, make: bool) -> Result<Lock, OpenError> {
    let beside = with_suffix(path, ".lock");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(make).truncate(false).open(beside);
    let file = file.map_err(|source| refused(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(refused(path, source)),
    }
}

/// Makes the file under another name and renames it once it is whole.
fn create(path: &Path, schema: &Schema<'_>) -> Result<(), OpenError> {
    let draft = with_suffix(path, ".new");
    for leftover in [&draft, &with_suffix(&draft, "-journal")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(refused(path, error));
            }
            _ => {}
        }
    }
    let made = || -> rusqlite::Result<()> {
        let mut connection = Connection::open(&draft)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut connection, schema)?;
        connection.close().map_err(|(_, error)| error)
    };
    made().map_err(|source| failed(path, source))?;
    set_aside(path)?;
    let renamed = fs::rename(&draft, path).and_then(|()| sync_folder(path));
    renamed.map_err(|source| refused(path, source))
}

/// Renames the logs of a file that is no longer there: SQLite would play them into the new one.
fn set_aside(path: &Path) -> Result<(), OpenError> {
    for log in ["-wal", "-journal"].map(|suffix| with_suffix(path, suffix)) {
        match fs::rename(&log, with_suffix(&log, ".left")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(refused(path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Brings a write-ahead log that was left to the disk, under a name of its own first.
///
/// After a sync that failed, the system shows what may not be on the disk, and takes it for written
/// whenever it is synced again: without this, what is committed behind it would be lost with the power.
/// Without room for it the log stays as it is. So it does beside shared memory: another program may be
/// using it.
fn renew_log(path: &Path) -> io::Result<()> {
    let log = with_suffix(path, "-wal");
    let is_left = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    if !is_left || with_suffix(path, "-shm").exists() {
        return Ok(());
    }
    let draft = with_suffix(&log, ".new");
    match fs::copy(&log, &draft).and_then(|_| File::open(&draft)?.sync_all()) {
        Ok(()) => {
            fs::rename(&draft, &log)?;
            sync_folder(path)
        }
        Err(error) if error.kind() == io::ErrorKind::StorageFull => fs::remove_file(&draft),
        Err(error) => Err(error),
    }
}

/// Opens a file that was checked, migrates it, and sets the connection up.
fn connect(path: &Path, schema: &Schema<'_>) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Or else a statement is compiled again whenever some of its parameters change.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Set before the first read, so that the write-ahead log needs no shared memory.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    if version(&connection)? < schema.version {
        connection.pragma_update(None, "journal_mode", "DELETE")?;
        migrate(&mut connection, schema)?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let refused = Some(format!("it stays in journal mode {mode}"));
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            refused,
        ));
    }
    Ok(connection)
}

/// Runs the steps that are missing, each in one transaction with its version.
fn migrate(connection: &mut Connection, schema: &Schema<'_>) -> rusqlite::Result<()> {
    let from = version(connection)?;
    for (number, step) in (1u32..).zip(schema.migrations).skip(from as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        // SQLite takes the id as a signed number.
        transaction.pragma_update(None, "application_id", schema.application_id.cast_signed())?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes a rename durable, or a new name.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The path of what SQLite, or a lock, has beside a file.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What an error of SQLite's means for the one who opens.
fn failed(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Damaged { path, source }
        }
        _ => OpenError::Sqlite { path, source },
    }
}

/// Tells what the reader can do something about from other errors.
fn refused(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_path_buf();
    let kind = source.kind();
    if matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        OpenError::NotWritable { path, source }
    } else if kind == io::ErrorKind::StorageFull {
        OpenError::DiskFull { path }
    } else {
        OpenError::Io { path, source }
    }
}
