//! Backups of a hub's database, and putting them back.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use sync_sqlite::{OpenError, sync_folder, with_suffix};
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::control::{Answer, Operator, Request};
use crate::store::{self, StoreError};
use crate::writer::DATABASE;

/// Why a backup was not made, or not put back. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The system refused something.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Something is there already.
    #[error("{} is there already; choose another name", .0.display())]
    IsThere(PathBuf),
    /// A hub serves from the folder.
    #[error("a hub serves from {}; stop it first", .0.display())]
    InUse(PathBuf),
    /// The folder has no database.
    #[error("{} has no database of a hub", .0.display())]
    Nothing(PathBuf),
    /// The hub that serves from the folder refused.
    #[error("the hub does not agree: {0}")]
    Refused(String),
    /// The file changed while it was copied.
    #[error(
        "so much was written meanwhile that the copy is not whole; try again at a quieter time"
    )]
    Overtaken,
    /// It is no whole database of a hub.
    #[error("{} is no whole database of a hub: {what}", path.display())]
    NotWhole {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The database could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |error| CopyError::Io { path, error }
}

/// Copies the database of a data folder to a file that is not there yet, also while a hub serves from it.
/// Gives the bytes of the copy.
///
/// What was acknowledged before this was called is in it.
pub fn backup(data_dir: &Path, to: &Path) -> Result<u64, CopyError> {
    if to.exists() {
        return Err(CopyError::IsThere(to.to_owned()));
    }
    let from = data_dir.join(DATABASE);
    if !from.exists() {
        return Err(CopyError::Nothing(data_dir.to_owned()));
    }
    match Operator::connect(data_dir).map_err(refused(data_dir))? {
        Some(mut operator) => {
            let mut ask = |request| operator.ask(&request).map_err(refused(data_dir));
            match ask(Request::Hold)? {
                Answer::Held { .. } => {}
                Answer::Refused { reason } => return Err(CopyError::Refused(reason)),
                Answer::Released { .. } => return Err(CopyError::Overtaken),
            }
            copy(&from, to, || match ask(Request::Release)? {
                Answer::Released { is_unchanged: true } => Ok(()),
                Answer::Refused { reason } => Err(CopyError::Refused(reason)),
                Answer::Released { .. } | Answer::Held { .. } => Err(CopyError::Overtaken),
            })
        }
        None => {
            // Nobody else opens it as long as this does.
            let database = store::open(&from)?;
            database.checkpoint().map_err(StoreError::from)?;
            copy(&from, to, || Ok(()))
        }
    }
}

/// Puts a backup into a data folder, whose hub does not run. A database that is there is kept under another
/// name, which this gives.
///
/// A hub that starts from it is one that lost what came after the backup: its clients fill it again.
pub fn restore(data_dir: &Path, from: &Path) -> Result<Option<PathBuf>, CopyError> {
    check(from)?;
    fs::create_dir_all(data_dir).map_err(refused(data_dir))?;
    let path = data_dir.join(DATABASE);
    // So that all of it is in one file, unless it is damaged.
    if path.exists() {
        match store::open(&path) {
            Ok(database) => database.checkpoint().map_err(StoreError::from)?,
            Err(StoreError::Open(OpenError::InUse { .. })) => {
                return Err(CopyError::InUse(data_dir.to_owned()));
            }
            Err(error) => tracing::warn!("what is there is kept as it is: {error}"),
        }
    }
    let beside = data_dir.join(format!("{DATABASE}.lock"));
    let mut options = File::options();
    let lock = options.read(true).write(true).create(true).truncate(false).open(&beside);
    let lock = lock.map_err(refused(&beside))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(CopyError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => return Err(refused(&beside)(error)),
    }
    let (draft, _) = draft(from, &path)?;
    let kept = keep(&path)?;
    draft.persist(&path).map_err(|failed| refused(&path)(failed.error))?;
    sync_folder(&path).map_err(refused(&path))?;
    Ok(kept)
}

/// Gives a database another name too, the first that is free, so that there is one at any time; its log goes
/// with that.
fn keep(path: &Path) -> Result<Option<PathBuf>, CopyError> {
    if !path.exists() {
        return Ok(None);
    }
    let mut names = (1u32..).map(|number| path.with_extension(format!("db.before-{number}")));
    let Some(kept) = names.find(|name| !name.exists()) else { return Ok(None) };
    fs::hard_link(path, &kept).map_err(refused(&kept))?;
    // It has one only where it could not be opened.
    let log = with_suffix(path, "-wal");
    match fs::rename(&log, with_suffix(&kept, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(&log)(error)),
        _ => Ok(Some(kept)),
    }
}

/// Copies a file, which has its name once `is_whole` says so and it was looked at.
fn copy(
    from: &Path,
    to: &Path,
    is_whole: impl FnOnce() -> Result<(), CopyError>,
) -> Result<u64, CopyError> {
    let (draft, bytes) = draft(from, to)?;
    is_whole()?;
    check(draft.path())?;
    draft.persist_noclobber(to).map_err(|failed| {
        let is_there = failed.error.kind() == io::ErrorKind::AlreadyExists;
        if is_there { CopyError::IsThere(to.to_owned()) } else { refused(to)(failed.error) }
    })?;
    sync_folder(to).map_err(refused(to))?;
    Ok(bytes)
}

/// A copy of a file beside the place where it is to be, gone unless it is put there; and its bytes.
fn draft(from: &Path, to: &Path) -> Result<(NamedTempFile, u64), CopyError> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let draft = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    let mut draft = draft.map_err(refused(to))?;
    let mut source = File::open(from).map_err(refused(from))?;
    let bytes = io::copy(&mut source, &mut draft).map_err(refused(to))?;
    draft.as_file().sync_all().map_err(refused(to))?;
    Ok((draft, bytes))
}

/// Looks whether a file is a whole database of a hub. It has no log of its own.
fn check(path: &Path) -> Result<(), CopyError> {
    let wrong = |what: String| CopyError::NotWhole { path: path.to_owned(), what };
    File::open(path).map_err(refused(path))?;
    let name = path.to_str().ok_or_else(|| wrong("its name is not UTF-8".into()))?;
    let escaped = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let look = || -> rusqlite::Result<(u32, String)> {
        let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let said = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        Ok((id.cast_unsigned(), said))
    };
    match look() {
        Ok((id, _)) if id != store::APPLICATION_ID => {
            Err(wrong("it is of another application".into()))
        }
        Ok((_, said)) if said != "ok" => Err(wrong(said)),
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(error.to_string())),
    }
}
