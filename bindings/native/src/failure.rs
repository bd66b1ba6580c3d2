//! Failures: a code, and a text that is kept for the thread that made the call.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sync_client::{
    BackupError, Error, FeedError, FileError, Misuse, OpenError, OutboxError, StoreError,
    SyncError, TapeError, TransferError,
};

use crate::code::Code;

/// Why a call did not do what it is for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn misuse(text: impl Into<String>) -> Self {
        Self::new(Code::Misuse, text)
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Does what a call is for. Whatever it does, no panic goes on into the caller.
pub(crate) fn guard(run: impl FnOnce() -> Result<(), Failure>) -> Code {
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let text = "a fault of this library; close the client, open it again, and report it";
        Err(Failure::new(Code::Panicked, text))
    });
    match outcome {
        Ok(()) => Code::Ok,
        Err(Failure { code, text }) => {
            keep(text);
            code
        }
    }
}

fn keep(text: String) {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    // A thread that ends has nobody left to read it.
    let _ = LAST.try_with(|last| last.replace(text));
}

/// The text of the last failure on this thread. What it points to stays until the next failure on this
/// thread, or the thread's end.
pub(crate) fn last() -> *const std::ffi::c_char {
    const NONE: &CStr = c"";
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(NONE.as_ptr())
}

impl From<Misuse> for Failure {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what later versions add is told by its text"
    )]
    fn from(misuse: Misuse) -> Self {
        let code = match misuse {
            Misuse::NoSuchRecord { .. }
            | Misuse::RecordExists { .. }
            | Misuse::NoSuchVersion { .. }
            | Misuse::NotOpen { .. } => Code::NotFound,
            _ => Code::Misuse,
        };
        Self::new(code, misuse.to_string())
    }
}

impl From<OpenError> for Failure {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what later versions add is told by its text"
    )]
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        let code = match error {
            OpenError::File(file) => of_file(&file),
            OpenError::Store { source, .. } => of_store(&source, Code::Open),
            OpenError::Address(_) => Code::Address,
            OpenError::Misuse(misuse) => return misuse.into(),
            OpenError::NoRandom(_) | OpenError::Thread(_) => Code::System,
            _ => Code::Open,
        };
        Self { code, text }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "as above")]
fn of_file(file: &FileError) -> Code {
    match file {
        FileError::NotADatabase { .. } | FileError::Foreign { .. } => Code::Foreign,
        FileError::Newer { .. } => Code::Newer,
        FileError::InUse { .. } => Code::InUse,
        FileError::NotWritable { .. } => Code::NotWritable,
        FileError::DiskFull { .. } => Code::DiskFull,
        FileError::Damaged { .. } => Code::Damaged,
        _ => Code::Open,
    }
}

/// SQLite's own number for a disk that is full.
const SQLITE_FULL: i32 = 13;

#[allow(clippy::wildcard_enum_match_arm, reason = "as above")]
fn of_store(failure: &StoreError, otherwise: Code) -> Code {
    match failure {
        StoreError::Sqlite(error) => match error.sqlite_error() {
            Some(error) if error.extended_code & 0xff == SQLITE_FULL => Code::DiskFull,
            _ => otherwise,
        },
        StoreError::Damaged { .. } => Code::Damaged,
        StoreError::Closed => Code::Closed,
        StoreError::NoRandom(_) => Code::System,
        _ => otherwise,
    }
}

impl From<Error> for Failure {
    #[allow(clippy::wildcard_enum_match_arm, reason = "as above")]
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let code = match error {
            Error::Misuse(misuse) => return misuse.into(),
            Error::Store(failure) => of_store(&failure, Code::Store),
            Error::Read(failure) => of_store(&failure, Code::Read),
            Error::Parked { .. } => Code::Parked,
            Error::TimedOut => Code::TimedOut,
            Error::Closed => Code::Closed,
            Error::NoRandom(_) => Code::System,
            _ => Code::Other,
        };
        Self { code, text }
    }
}

/// A file that was named, and not the client's own.
fn of_io(error: &io::Error) -> Code {
    if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { Code::File }
}

/// The codes of an error that may hold one of the client.
macro_rules! codes {
    ($error:ident { $($variant:pat => $code:expr,)* }) => {
        impl From<$error> for Failure {
            #[allow(
                clippy::wildcard_enum_match_arm,
                reason = "what later versions add is told by its text"
            )]
            fn from(error: $error) -> Self {
                let text = error.to_string();
                let code = match error {
                    $($variant => $code,)*
                    $error::Client(error) => return error.into(),
                    _ => Code::Other,
                };
                Self { code, text }
            }
        }
    };
}

codes!(OutboxError {
    OutboxError::NoSuchItem => Code::NotFound,
    OutboxError::InFlight => Code::Busy,
    OutboxError::NotParked | OutboxError::Needed { .. } => Code::Misuse,
});

codes!(BackupError {
    BackupError::Exists { .. } => Code::Exists,
    BackupError::Io { source, .. } => of_io(&source),
    BackupError::Copy(failure) => of_store(&failure, Code::File),
});

codes!(TransferError {
    TransferError::Damaged(_) => Code::Damaged,
    TransferError::Newer { .. } => Code::Newer,
    TransferError::TooLarge { .. } => Code::Misuse,
    TransferError::Io { source, .. } => of_io(&source),
});

codes!(TapeError {
    TapeError::NoSuchCheckpoint { .. } | TapeError::NoTape => Code::NotFound,
    TapeError::Cut { .. } => Code::Gone,
    TapeError::Differs { .. } | TapeError::Unreadable { .. } => Code::Damaged,
});

codes!(FeedError {
    FeedError::NotKept => Code::Misuse,
    FeedError::Gone => Code::Gone,
});

codes!(SyncError {
    SyncError::TimedOut { .. } => Code::TimedOut,
    SyncError::Parked { .. } => Code::Parked,
    SyncError::Offline(_) => Code::Offline,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here_and_the_text_is_of_the_last_failure_on_this_thread() {
        assert_eq!(guard(|| Err(Failure::misuse("with a \0 in it"))), Code::Misuse);
        let text = || LAST.with(|last| last.borrow().to_str().unwrap().to_owned());
        assert_eq!(text(), "with a   in it");
        assert_eq!(guard(|| Ok(())), Code::Ok);
        assert_eq!(text(), "with a   in it");
        assert_eq!(guard(|| panic!("on purpose")), Code::Panicked);
        assert!(text().contains("a fault of this library"));
        let elsewhere = std::thread::spawn(|| LAST.with(|last| last.borrow().is_empty()));
        assert!(elsewhere.join().unwrap());
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = |code| {
            // SQLite's own error, as it comes out of a statement.
            let failure = StoreError::Sqlite(sync_client_error(code));
            of_store(&failure, Code::Store)
        };
        assert_eq!(full(13), Code::DiskFull);
        assert_eq!(full(13 | 1 << 8), Code::DiskFull);
        assert_eq!(full(10), Code::Store);
    }

    fn sync_client_error(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }
}
