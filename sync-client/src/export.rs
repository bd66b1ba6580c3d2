//! A document as one portable file, which browsers read and write too: `docs/export.md` has the form.
//!
//! It has every entry and all that was seen, with checksums, and nothing of this device. To import one is
//! to join it.

mod file;

use std::any::Any;
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use sync_core::causal::Delta;
use sync_core::document::Author;
use sync_core::error::{Malformed, Misuse, Sure};
use sync_core::session::{ChunkSize, Now, Page};
use sync_core::time::Stamp;
use sync_core::wire::{DELTA_BYTES_MAX, REPLICAS_MAX};

use crate::document::DocumentHandle;
use crate::error::Error;
use crate::shared::State;
use crate::store::StoreError;
use crate::{Document, Refused};

/// The most bytes of a document that goes into one file, and of such a file. Arbitrary: writing and
/// reading one holds it in memory, a few times over.
pub const EXPORT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why a document was not written as a file, or a file not read. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The file is damaged, or is none of this kind.
    #[error("this is no whole export of a document ({0}); export it again, or take another copy")]
    Damaged(Malformed),
    /// The file was written by a later version.
    #[error(
        "this export has format {found}, and this program knows formats up to {known}; update it"
    )]
    Newer {
        /// The version in the file.
        found: u64,
        /// The version that is known.
        known: u64,
    },
    /// The document is too large for one file, or holds something that no hub takes.
    #[error("{what} is {found}, and the limit is {limit}; copy the data with a backup instead")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The client refused it, or its store failed.
    #[error(transparent)]
    Client(#[from] Error),
    /// The system refused the file.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<Malformed> for TransferError {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Limit(excess) if excess.what == file::VERSION_OF => {
                Self::Newer { found: excess.found, known: excess.limit }
            }
            Malformed::Limit(excess) => {
                Self::TooLarge { what: excess.what, found: excess.found, limit: excess.limit }
            }
            Malformed::Encoding { .. }
            | Malformed::Checksum { .. }
            | Malformed::Dangling
            | Malformed::Inconsistent { .. }
            | _ => Self::Damaged(malformed),
        }
    }
}

/// What an import brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// How many entries the file has: records, or parts of them that were written later, and members.
    pub entries: usize,
    /// How many dots (fields that were written, and removals) were not here before.
    pub new: u64,
}

/// Why a check was not passed.
enum Refusal {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

impl From<Misuse> for Refusal {
    fn from(misuse: Misuse) -> Self {
        Self::Error(misuse.into())
    }
}

impl DocumentHandle {
    /// The document as it is here, also what the hub has not acknowledged, as a file for
    /// [`import`](Self::import) on any device: compressed, at most [`EXPORT_BYTES_MAX`] bytes. It has
    /// nothing of this device, and none of the conflict log.
    ///
    /// Nothing else is read or changed while the document is read, and it is held in memory.
    ///
    /// # Errors
    ///
    /// [`TransferError::TooLarge`] where the document has more than [`EXPORT_BYTES_MAX`] bytes;
    /// [`TransferError::Client`] where it cannot be read.
    pub fn export(&self) -> Result<Vec<u8>, TransferError> {
        self.export_of(EXPORT_BYTES_MAX)
    }

    /// The same of a document with at most so many bytes.
    fn export_of(&self, bytes_max: usize) -> Result<Vec<u8>, TransferError> {
        let what = "the bytes of the document";
        let limit = bytes_max as u64;
        let store = self.read(|document| document.store().to_memory(bytes_max))?;
        let store = store.map_err(|found| TransferError::TooLarge { what, found, limit })?;
        let pieces = ChunkSize::default().cut(store.to_delta());
        drop(store);
        Ok(file::write(&pieces)?)
    }

    /// Writes what [`export`](Self::export) gives to a file, under another name until all of it is on
    /// the disk. A file of this name is replaced.
    ///
    /// # Errors
    ///
    /// As [`Self::export`]; [`TransferError::Io`] where the file cannot be written: what had its name
    /// before stays.
    pub fn export_to(&self, path: impl AsRef<Path>) -> Result<(), TransferError> {
        let path = path.as_ref();
        let bytes = self.export()?;
        let refused = |source| TransferError::Io { path: path.to_path_buf(), source };
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| fs::rename(&draft, path)).and_then(|()| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if cfg!(unix) {
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Ok(())
        });
        if renamed.is_err() {
            // What is left is only a draft.
            let _ = fs::remove_file(&draft);
        }
        renamed.map_err(refused)
    }

    /// Joins an exported document into this one, as if another device had sent it: what was deleted here
    /// stays deleted, and what clashes is a conflict. The file is looked at as a whole before anything is
    /// changed, and what it brings is on disk, all of it, when this is done. What the hub lacks of it
    /// goes there like something that the hub has lost: it is not in the outbox, and
    /// [`Status::is_refilling`](crate::Status::is_refilling) says whether it is still under way.
    ///
    /// Blocks, and nothing else is read or changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`TransferError::Damaged`], [`TransferError::Newer`] and [`TransferError::TooLarge`] by what the
    /// file is; [`TransferError::Client`] where the client is shut down or its store fails. Nothing was
    /// changed, and where the store fails while it is written, nothing of the file is there once this
    /// client is opened again.
    pub fn import(&self, bytes: &[u8]) -> Result<Imported, TransferError> {
        self.import_by(bytes, |_, _, _| Ok(()))
    }

    /// As [`import`](Self::import), once `check` has found that the document is as it should be with what
    /// the file brings. The check sees that document before anything of the file is here for anybody else,
    /// under a lock: it must not use this client. Where it says no, or fails, or panics, nothing is left of
    /// the file.
    ///
    /// # Errors
    ///
    /// [`TransferError::Client`] with [`Error::Violated`] where the check says no, and with
    /// [`Error::Read`] where it cannot read; or else as [`import`](Self::import). A panic of the check
    /// goes on into the caller.
    pub fn import_guarded(
        &self,
        bytes: &[u8],
        check: impl FnOnce(&Document) -> Result<bool, StoreError>,
    ) -> Result<Imported, TransferError> {
        self.import_by(bytes, |state, now, pieces| {
            let replica = state.session.replica(&self.name)?;
            let author = Author { replica, stamp: Stamp::from_ms(now.unix_ms) };
            let store = state.session.document(&self.name)?.store();
            let looked = store.try_out(|mut document| {
                for piece in pieces {
                    for orphan in &document.join(piece)?.orphans {
                        document.assert(author, DELTA_BYTES_MAX, orphan)?;
                    }
                }
                Ok(catch_unwind(AssertUnwindSafe(|| check(&document))))
            });
            match looked {
                Ok(Ok(Ok(true))) => Ok(()),
                Ok(Ok(Ok(false))) => Err(Refusal::Error(Error::Violated)),
                Ok(Ok(Err(failure))) => Err(Refusal::Error(failure.into())),
                Ok(Err(panic)) => Err(Refusal::Panic(panic)),
                Err(failure) => Err(Refusal::Error(state.fail(Arc::new(failure)))),
            }
        })
    }

    fn import_by(
        &self,
        bytes: &[u8],
        check: impl FnOnce(&mut State, Now, &[Delta]) -> Result<(), Refusal>,
    ) -> Result<Imported, TransferError> {
        let store = file::read(bytes, EXPORT_BYTES_MAX)?;
        let entries = store.entry_count();
        let mut file = sync_core::document::Document::new(store);
        let shared = &self.inner.shared;
        let mut locked = shared.lock();
        locked.check()?;
        // A copy of this database, or of another one, may have written the same dots.
        let parting =
            locked.session.parting(&self.name, &file).map_err(|refused| match refused {
                Refused::Misuse(misuse) => Error::Misuse(misuse),
                Refused::Store(failure) => locked.fail(Arc::new(failure)),
            })?;
        for renaming in &parting.there {
            file.rename(renaming).sure();
        }
        let state = file.store().to_delta();
        for entry in &state.entries {
            let (what, found, limit) = ("an entry", Page::cost(entry), DELTA_BYTES_MAX);
            if found > limit {
                let (found, limit) = (found as u64, limit as u64);
                return Err(TransferError::TooLarge { what, found, limit });
            }
        }
        let seen = state.context();
        let own = locked.session.document(&self.name).map_err(Error::from)?.store().context();
        let replicas = seen.iter().filter(|(replica, _)| own.of(*replica).is_none()).count();
        let (found, limit) = (own.replica_count() + parting.here.len() + replicas, REPLICAS_MAX);
        if found > limit {
            let (what, found, limit) = ("the number of replicas", found as u64, limit as u64);
            return Err(TransferError::TooLarge { what, found, limit });
        }
        if !parting.here.is_empty() {
            locked.part(&self.name, &file, &parting.here)?;
        }
        drop(file);
        let own = locked.session.document(&self.name).map_err(Error::from)?.store().context();
        let new = seen.difference(own).len();
        let now = shared.now();
        let pieces: Vec<Delta> = ChunkSize::default().cut(state).into_iter().collect();
        match check(&mut locked, now, &pieces) {
            Ok(()) => {}
            Err(Refusal::Error(error)) => return Err(error.into()),
            Err(Refusal::Panic(panic)) => {
                drop(locked);
                resume_unwind(panic);
            }
        }
        for piece in &pieces {
            locked.import(now, &self.name, piece)?;
        }
        // The hub hears what it lacks when the document is opened.
        locked.session.reopen("the hub is told of an import");
        drop(locked);
        // Others may write on and on: this has its turn behind the next commit.
        shared.with_store(|_, _| Ok(()))?;
        Ok(Imported { entries, new })
    }

    /// Reads a file that [`export_to`](Self::export_to) wrote, and joins it as [`import`](Self::import)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`Self::import`]; [`TransferError::Io`] where the file cannot be read.
    pub fn import_from(&self, path: impl AsRef<Path>) -> Result<Imported, TransferError> {
        let path = path.as_ref();
        let refused = |source| TransferError::Io { path: path.to_path_buf(), source };
        let found = fs::metadata(path).map_err(refused)?.len();
        let limit = EXPORT_BYTES_MAX as u64;
        if found > limit {
            return Err(TransferError::TooLarge { what: "the bytes of the file", found, limit });
        }
        self.import(&fs::read(path).map_err(refused)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    #[test]
    fn the_bytes_of_a_document_that_is_exported_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let document = Client::open(folder.path(), "notes").unwrap().document("notes").unwrap();
        for number in 0..100 {
            let text = format!("number {number}");
            let _ = document.collection("notes").insert([("title", text.into())]).unwrap();
        }
        let Err(TransferError::TooLarge { found: bytes, limit: 0, .. }) = document.export_of(0)
        else {
            panic!("a document without bytes");
        };
        let bytes = bytes as usize;
        let whole = document.export().unwrap();
        assert!(bytes > whole.len() / 2, "{bytes} of {}", whole.len());
        for (bytes_max, is_written) in [(bytes - 1, false), (bytes, true), (bytes + 1, true)] {
            match document.export_of(bytes_max) {
                Ok(exported) => assert!(is_written && exported == whole),
                Err(TransferError::TooLarge { found, limit, .. }) => {
                    assert!(!is_written && found > limit && limit == bytes_max as u64);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}
