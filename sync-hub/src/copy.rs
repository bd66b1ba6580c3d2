//! Backups of a hub's database, and putting them back.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use sync_sqlite::OpenError;
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
    let bytes = match Operator::connect(data_dir).map_err(refused(data_dir))? {
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
            })?
        }
        None => {
            // Nobody else opens it as long as this does.
            let database = store::open(&from)?;
            database.checkpoint().map_err(StoreError::from)?;
            copy(&from, to, || Ok(()))?
        }
    };
    Ok(bytes)
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
    let draft = data_dir.join(format!("{DATABASE}.new"));
    // One that was cut may be there.
    let _ = fs::remove_file(&draft);
    copy_file(from, &draft)?;
    let kept = set_aside(&path)?;
    fs::rename(&draft, &path).map_err(refused(&path))?;
    sync_folder(&path)?;
    Ok(kept)
}

/// Renames a database with its log, under the first name that is free.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, CopyError> {
    if !path.exists() {
        return Ok(None);
    }
    let name = |number: u32| path.with_extension(format!("db.before-{number}"));
    let Some(kept) = (1..).map(name).find(|name| !name.exists()) else { return Ok(None) };
    // It has one only where it could not be opened.
    let (log, kept_log) = (with_suffix(path, "-wal"), with_suffix(&kept, "-wal"));
    match fs::rename(&log, kept_log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(&log)(error)),
        _ => {}
    }
    fs::rename(path, &kept).map_err(refused(path))?;
    Ok(Some(kept))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Copies a file under another name first, and gives it its own once `is_whole` says so and it was looked at.
fn copy(
    from: &Path,
    to: &Path,
    is_whole: impl FnOnce() -> Result<(), CopyError>,
) -> Result<u64, CopyError> {
    let draft = with_suffix(to, ".part");
    let written = copy_file(from, &draft).and_then(|bytes| {
        is_whole()?;
        check(&draft)?;
        // Not over one that has come meanwhile.
        fs::hard_link(&draft, to).map_err(refused(to))?;
        sync_folder(to)?;
        Ok(bytes)
    });
    // Whole or not, it has no use under this name.
    let _ = fs::remove_file(&draft);
    written
}

fn copy_file(from: &Path, to: &Path) -> Result<u64, CopyError> {
    let mut source = File::open(from).map_err(refused(from))?;
    let mut target = File::create_new(to).map_err(refused(to))?;
    let bytes = io::copy(&mut source, &mut target).map_err(refused(to))?;
    target.sync_all().map_err(refused(to))?;
    Ok(bytes)
}

fn sync_folder(path: &Path) -> Result<(), CopyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused(folder))
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
