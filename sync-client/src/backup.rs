//! Copies of the whole file while it is in use.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::client::Client;
use crate::error::Error;
use crate::store::{FILE, StoreError, strip};

/// Why no backup was made. There is nothing under its name then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is a backup, or something else.
    #[error("{path} exists; choose another folder, or move it away")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The system refused the file.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The client has ended, or its file could not be read.
    #[error(transparent)]
    Client(#[from] Error),
    /// The copy could not be written.
    #[error("the copy could not be written ({0}); free space, then try again")]
    Copy(#[from] StoreError),
}

impl Client {
    /// Copies all documents of this file as they are now into a folder, which is made if there is none:
    /// with outbox, conflict log and cursors, and without the identity. A client that is opened on the
    /// folder, or on a copy of it, is another replica, whatever this one writes from here on; what was
    /// not sent yet keeps its dots, so that nothing of it is there twice. Gives the file's path.
    ///
    /// Blocks until the copy is on its disk; nothing is read, written or received meanwhile, for about as
    /// long as reading the file and writing what is live of it takes. The copy has no free pages: what
    /// was deleted is not in it.
    ///
    /// # Errors
    ///
    /// [`BackupError::Exists`] where the folder has a client's file already; [`BackupError::Io`] and
    /// [`BackupError::Copy`] where the copy cannot be written, of which nothing is left then;
    /// [`BackupError::Client`] where this client was shut down or its file cannot be read.
    pub fn backup(&self, folder: impl AsRef<Path>) -> Result<PathBuf, BackupError> {
        let folder = folder.as_ref().to_path_buf();
        let path = folder.join(FILE);
        let refused = |source| BackupError::Io { path: path.clone(), source };
        fs::create_dir_all(&folder).map_err(refused)?;
        // A log that was left there would be read as the copy's.
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let path = folder.join(format!("{FILE}{suffix}"));
            if path.exists() {
                return Err(BackupError::Exists { path });
            }
        }
        let draft = folder.join(format!("{FILE}.part"));
        let copied = self.copy(&draft).and_then(|()| {
            File::open(&draft).and_then(|file| file.sync_all()).map_err(refused)?;
            fs::rename(&draft, &path).map_err(refused)?;
            #[cfg(unix)]
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(refused)?;
            Ok(())
        });
        if copied.is_err() {
            // What is left is only a draft.
            let _ = fs::remove_file(&draft);
        }
        copied.map(|()| path)
    }

    fn copy(&self, draft: &Path) -> Result<(), BackupError> {
        match fs::remove_file(draft) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::Io { path: draft.to_path_buf(), source });
            }
            _ => {}
        }
        let to = draft.to_path_buf();
        self.inner.shared.with_store(move |_, store| {
            store.copy(&to).map_err(|failure| Error::Read(Arc::new(failure)))
        })?;
        Ok(strip(draft)?)
    }
}
