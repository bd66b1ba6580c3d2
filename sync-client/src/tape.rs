//! Checkpoints of a document: states that are kept, what differs from them now, and the proof that the
//! tape leads from them to now.

use std::collections::BTreeMap;

use thiserror::Error as ThisError;

use sync_core::causal::{MemoryStore, PlaceStore};
use sync_core::error::{Malformed, Misuse};
use sync_core::snapshot::{Compression, read_snapshot, write_snapshot};
use sync_core::types::{Field, Place};

use crate::document::DocumentHandle;
use crate::error::Error;
use crate::shared::State;
use crate::store::{Checkpoint, Snapshot, StoreError, Taped};

/// The most bytes of a label. Arbitrary.
pub(crate) const LABEL_BYTES_MAX: usize = 256;

/// The most bytes of a document of which a checkpoint is made or read: it is in memory then, more than
/// once. Arbitrary.
const SCRATCH_BYTES_MAX: u64 = 1 << 30;

/// A document as it was.
pub type PastDocument = sync_core::document::Document<MemoryStore>;

/// Why something about the past was refused. Nothing was changed.
#[derive(Debug, Clone, ThisError)]
#[non_exhaustive]
pub enum TapeError {
    /// There is no such checkpoint, or it went because of a limit.
    #[error("there is no checkpoint {number}")]
    NoSuchCheckpoint {
        /// Its number.
        number: u64,
    },
    /// The document has no tape.
    #[error("nothing was recorded: make a checkpoint first")]
    NoTape,
    /// The tape no longer has everything since then.
    #[error(
        "the tape since checkpoint {number} is no longer whole; it can be read and compared with"
    )]
    Cut {
        /// The checkpoint.
        number: u64,
    },
    /// The tape does not lead from the checkpoint to the document as it is.
    #[error(
        "replaying from checkpoint {number} gives another state, from byte {at} of its snapshot on"
    )]
    Differs {
        /// The checkpoint.
        number: u64,
        /// The first byte that differs.
        at: u64,
    },
    /// The stored snapshot cannot be read.
    #[error("the snapshot of checkpoint {number} cannot be read: {source}")]
    Unreadable {
        /// The checkpoint.
        number: u64,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The client refused.
    #[error(transparent)]
    Client(#[from] Error),
}

impl From<Misuse> for TapeError {
    fn from(misuse: Misuse) -> Self {
        Self::Client(misuse.into())
    }
}

/// What replaying from a checkpoint gave: the document as it is, byte for byte.
#[derive(Debug)]
pub struct Rewound {
    /// The document as it was at the checkpoint.
    pub past: PastDocument,
    /// How many changes were replayed.
    pub changes: usize,
    /// The bytes of the snapshot of now, as they stand and as they were replayed.
    pub bytes: u64,
}

/// A place that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which record, set or value.
    pub place: Place,
    /// Its fields then: none where it was not there. Sets and values have one, without a name.
    pub old: Option<Fields>,
    /// Its fields now.
    pub new: Option<Fields>,
}

type Fields = BTreeMap<String, Field>;

impl DocumentHandle {
    /// Keeps the document as it stands under a label, and from here on a tape of what happens to it. Blocks
    /// until that is on disk; until then nothing else of this client is read or written, and the time grows
    /// with the document. The oldest checkpoints go where the limits say so.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where the label has more than 256 bytes, or the document is larger than 1 GiB or
    /// than the limit of checkpoints; [`Error::Read`] where it cannot be read, and [`Error::Closed`] once
    /// the client is shut down. [`Error::Store`] where the file cannot be written: nothing more is written
    /// until the client is opened again.
    pub fn checkpoint(&self, label: impl Into<String>) -> Result<Checkpoint, Error> {
        let (name, label) = (self.name.clone(), label.into());
        check_len("the label", label.len() as u64, LABEL_BYTES_MAX as u64)?;
        let unix_ms = self.inner.shared.now().unix_ms;
        self.inner.shared.with_store(move |state, store| {
            let snapshot =
                write_snapshot(&scratch(state, &name, SCRATCH_BYTES_MAX)?, Compression::Deflate);
            let what = "the checkpoint";
            check_len(what, snapshot.len() as u64 + 4, store.checkpoint_bytes_max())?;
            let made = store
                .written(|store| store.add_checkpoint(&name, &label, unix_ms, &snapshot))
                .map_err(|failure| state.fail(failure))?;
            state.session.record(&name, store.record_level(&name))?;
            Ok(made)
        })
    }

    /// The checkpoints that are kept, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file cannot be read, and [`Error::Closed`] once the client is shut down.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, Error> {
        let name = self.name.clone();
        self.inner.shared.with_store(move |_, store| Ok(store.checkpoints(&name)?))
    }

    /// Lets a checkpoint go, and what of the tape no other one needs. Gives whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the file cannot be written: nothing more is written until the client is
    /// opened again. [`Error::Read`] where it cannot be read, and [`Error::Closed`] once the client is shut
    /// down.
    pub fn drop_checkpoint(&self, number: u64) -> Result<bool, Error> {
        let name = self.name.clone();
        self.inner.shared.with_store(move |state, store| {
            let is_gone = store
                .written(|store| store.drop_checkpoint(&name, number))
                .map_err(|failure| state.fail(failure))?;
            state.session.record(&name, store.record_level(&name))?;
            Ok(is_gone)
        })
    }

    /// Lets all checkpoints go, and the tape.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the file cannot be written: nothing more is written until the client is
    /// opened again. [`Error::Read`] where it cannot be read, and [`Error::Closed`] once the client is shut
    /// down.
    pub fn purge_checkpoints(&self) -> Result<(), Error> {
        let name = self.name.clone();
        self.inner.shared.with_store(move |state, store| {
            store
                .written(|store| store.purge_checkpoints(&name))
                .map_err(|failure| state.fail(failure))?;
            state.session.record(&name, store.record_level(&name))?;
            Ok(())
        })
    }

    /// The document as it was at a checkpoint, in memory. A checkpoint is named by its number.
    ///
    /// # Errors
    ///
    /// [`TapeError::NoSuchCheckpoint`]; [`TapeError::Unreadable`] where what is kept of it is damaged;
    /// [`TapeError::Client`] where the file cannot be read or the client is shut down.
    pub fn past(&self, checkpoint: u64) -> Result<PastDocument, TapeError> {
        let name = self.name.clone();
        let kept =
            self.inner.shared.with_store(move |_, store| Ok(store.snapshot(&name, checkpoint)?));
        document(restore(checkpoint, kept?)?.1)
    }

    /// What is not as it was at a checkpoint: places in the order of their kinds and names, with their fields
    /// then and now.
    ///
    /// # Errors
    ///
    /// As [`Self::past`].
    pub fn diff(&self, checkpoint: u64) -> Result<Vec<Difference>, TapeError> {
        let past = self.past(checkpoint)?;
        Ok(self.read(|now| differences(&past, now))?)
    }

    /// Restores a checkpoint in a scratch copy, replays there what the tape has since then, and compares the
    /// snapshots of that and of the document as it is, byte for byte. Both are in memory meanwhile.
    ///
    /// # Errors
    ///
    /// [`TapeError::Differs`] where they are not the same; [`TapeError::Cut`] where the tape no longer has
    /// all since then; [`TapeError::Client`] also where the document is larger than 1 GiB; or else as
    /// [`past`](Self::past).
    pub fn rewind(&self, checkpoint: u64) -> Result<Rewound, TapeError> {
        let name = self.name.clone();
        let kept = self.inner.shared.with_store(move |state, store| {
            let snapshot = store.snapshot(&name, checkpoint)?;
            let after = snapshot.as_ref().map_or(0, |snapshot| snapshot.after);
            let tape = store.tape(&name, after)?.unwrap_or_default();
            Ok((snapshot, tape, scratch(state, &name, SCRATCH_BYTES_MAX)?))
        });
        let (snapshot, tape, now) = kept?;
        let (is_whole, mut scratch) = restore(checkpoint, snapshot)?;
        if !is_whole {
            return Err(TapeError::Cut { number: checkpoint });
        }
        let past = document(scratch.clone())?;
        tape.iter().for_each(|taped| taped.replay(&mut scratch));
        let replayed = write_snapshot(&scratch, Compression::None);
        let now = write_snapshot(&now, Compression::None);
        if replayed != now {
            let same = replayed.iter().zip(&now).take_while(|(one, other)| one == other);
            return Err(TapeError::Differs { number: checkpoint, at: same.count() as u64 });
        }
        let changes = tape.iter().filter(|taped| matches!(taped, Taped::Change(_))).count();
        Ok(Rewound { past, changes, bytes: now.len() as u64 })
    }
}

/// An open document in memory, of at most so many bytes.
fn scratch(state: &State, name: &str, limit: u64) -> Result<MemoryStore, Error> {
    let store = state.session.document(name)?.store();
    let bytes_max = usize::try_from(limit).unwrap_or(usize::MAX);
    store
        .to_memory(bytes_max)?
        .map_err(|found| Misuse::TooLarge { what: "the document in memory", found, limit }.into())
}

/// A checkpoint in memory, and whether the tape has everything since.
fn restore(number: u64, kept: Option<Snapshot>) -> Result<(bool, MemoryStore), TapeError> {
    let kept = kept.ok_or(TapeError::NoSuchCheckpoint { number })?;
    let bytes_max = usize::try_from(2 * SCRATCH_BYTES_MAX).unwrap_or(usize::MAX);
    let read = read_snapshot(&kept.bytes, bytes_max);
    let store = read.map_err(|source| TapeError::Unreadable { number, source })?;
    Ok((kept.checkpoint.is_whole, store))
}

fn document(store: MemoryStore) -> Result<PastDocument, TapeError> {
    let Ok(document) = PastDocument::load(store);
    Ok(document)
}

fn check_len(what: &'static str, found: u64, limit: u64) -> Result<(), Misuse> {
    if found > limit { Err(Misuse::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// Where two documents differ.
fn differences(past: &PastDocument, now: &crate::Document) -> Result<Vec<Difference>, StoreError> {
    let Ok(past_spaces) = past.store().spaces();
    let mut spaces = now.store().spaces()?;
    spaces.extend(past_spaces);
    spaces.sort();
    spaces.dedup();
    let mut found = Vec::new();
    let mut names = now.collections()?;
    let Ok(past_names) = past.collections();
    names.extend(past_names);
    names.sort();
    names.dedup();
    for collection in names {
        let Ok(records) = past.records(&collection);
        let mut before: BTreeMap<_, _> =
            records.into_iter().map(|(id, record)| (id, record.fields())).collect();
        let mut differ = Vec::new();
        now.each_record(&collection, &mut |id, record| {
            let (old, new) = (before.remove(&id), Some(record.fields()));
            if old != new {
                differ.push((id, old, new));
            }
        })?;
        differ.extend(before.into_iter().map(|(id, old)| (id, Some(old), None)));
        differ.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        found.extend(differ.into_iter().map(|(id, old, new)| {
            let collection = collection.clone();
            Difference { place: Place::Record { collection, id }, old, new }
        }));
    }
    for space in spaces {
        let place = Place::of(&space, &sync_core::causal::PlaceId::default());
        let Some(place @ (Place::Set { .. } | Place::Value { .. })) = place else { continue };
        let Ok(old) = past.elements(&place);
        let (old, new) = (old.fields(), now.elements(&place)?.fields());
        if old != new {
            let some = |fields: Fields| Some(fields).filter(|fields| !fields.is_empty());
            found.push(Difference { place, old: some(old), new: some(new) });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    #[test]
    fn the_bytes_of_a_document_in_memory_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(folder.path(), "notes").unwrap();
        let notes = client.document("notes").unwrap().collection("notes");
        let _ = notes.insert([("title", "x".into())]).unwrap();
        let state = client.inner().shared.lock();
        let bytes = match scratch(&state, "notes", 0) {
            Err(Error::Misuse(Misuse::TooLarge { found, limit: 0, .. })) => found,
            other => panic!("{other:?}"),
        };
        for (limit, is_taken) in [(bytes - 1, false), (bytes, true), (bytes + 1, true)] {
            match scratch(&state, "notes", limit) {
                Ok(store) => assert!(is_taken && store.entry_count() == 2, "and the mark"),
                Err(Error::Misuse(Misuse::TooLarge { found, limit: told, .. })) => {
                    assert!(!is_taken && found == bytes && told == limit);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}
