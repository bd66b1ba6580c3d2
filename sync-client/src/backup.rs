//! Copies of the whole file while it is in use.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::client::Client;
use crate::error::Error;
use crate::store::{FILE, StoreError};

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
        // Another one there ends first.
        #[cfg(unix)]
        let alone = File::open(&folder).map_err(refused)?;
        #[cfg(unix)]
        alone.lock().map_err(refused)?;
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
        // A journal that was left would be played into what is written here.
        let mut journal = draft.as_os_str().to_owned();
        journal.push("-journal");
        for leftover in [draft, Path::new(&journal)] {
            match fs::remove_file(leftover) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::Io { path: leftover.to_path_buf(), source });
                }
                _ => {}
            }
        }
        let to = draft.to_path_buf();
        let copied = self.inner.shared.with_store(move |_, store| Ok(store.copy(&to)));
        copied?.map_err(|failure| {
            if matches!(failure, StoreError::Damaged { .. } | StoreError::Closed) {
                BackupError::Client(failure.into())
            } else {
                BackupError::Copy(failure)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use sync_core::causal::ReplicaId;
    use sync_faults::Disk;

    use super::*;
    use crate::OpenError;

    fn notes(folder: &Path) -> Result<Client, OpenError> {
        Client::open(folder, "notes")
    }

    fn replica(client: &Client) -> ReplicaId {
        client.document("notes").unwrap().status().replica
    }

    fn count(client: &Client) -> usize {
        client.document("notes").unwrap().collection("notes").list().unwrap().len()
    }

    /// What is left of a copy when the power fails at a call; none where it was whole before.
    fn cut(at: u64) -> Option<(Vec<u8>, ReplicaId)> {
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        let client = notes(folder.path()).unwrap();
        let document = client.document("notes").unwrap();
        for number in 0..30usize {
            let text = "x".repeat(number * 100);
            let _ = document.collection("notes").insert([("text", text.as_str().into())]).unwrap();
        }
        document.checkpoint("here").unwrap();
        let own = replica(&client);
        let draft = folder.path().join("draft");
        disk.cut_at(disk.calls().all + at);
        let copied = client.copy(&draft);
        if copied.is_ok() && !disk.is_off() {
            return None;
        }
        disk.cut();
        drop((document, client));
        disk.restart(at);
        Some((fs::read(&draft).unwrap_or_default(), own))
    }

    #[test]
    fn what_is_left_of_a_backup_that_did_not_end_is_nobodys_second_self() {
        let (mut refused, mut opened) = (0, 0);
        for at in 1.. {
            let Some((found, own)) = cut(at) else { break };
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE), &found).unwrap();
            match notes(folder.path()) {
                Ok(client) => {
                    assert_ne!(replica(&client), own, "cut at {at}");
                    assert!([0, 30].contains(&count(&client)), "cut at {at}");
                    opened += 1;
                }
                Err(OpenError::Draft { path }) => {
                    assert_eq!(path.file_name().unwrap(), FILE);
                    assert_eq!(fs::read(path).unwrap(), found, "it is left as it was");
                    refused += 1;
                }
                Err(OpenError::File(_)) => {
                    assert!(!found.starts_with(b"SQLite format 3"), "cut at {at}");
                }
                Err(error) => panic!("cut at {at}: {error}"),
            }
        }
        assert!(refused > 20, "{refused} were refused, {opened} were whole or empty");
    }
}
