//! Taking back what somebody wrote, as ordinary changes that reach everyone.

use std::borrow::Cow;
use std::ops::Range;

use sync_core::causal::ReplicaId;
use sync_core::document::{Reversal, Reverting};
use sync_core::error::Misuse;
use sync_core::session::Recorded;
use sync_core::types::{Place, Renaming};

use crate::document::DocumentHandle;
use crate::error::Error;
use crate::store::Taped;
use crate::tape::TapeError;
use crate::written::Written;

/// Which changes are to be taken back: those for which everything that is said here holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Which {
    /// Those since the checkpoint of this number.
    pub since: Option<u64>,
    /// Those of one author.
    pub author: Option<ReplicaId>,
    /// Those of one device: of everyone with the fingerprint of this replica, whichever the incarnation.
    pub device: Option<ReplicaId>,
    /// Those that were made or arrived here at these times, by this device's clock: milliseconds since 1970.
    pub unix_ms: Option<Range<u64>>,
}

impl Which {
    /// Everything since the checkpoint of this number.
    #[must_use]
    pub fn since(checkpoint: u64) -> Self {
        Self { since: Some(checkpoint), ..Self::default() }
    }

    /// Everything that an author wrote.
    #[must_use]
    pub fn by(author: ReplicaId) -> Self {
        Self { author: Some(author), ..Self::default() }
    }

    /// Everything that a device wrote, of which this is one replica.
    #[must_use]
    pub fn of_device(replica: ReplicaId) -> Self {
        Self { device: Some(replica), ..Self::default() }
    }

    /// Everything that was made or arrived here between two times, in milliseconds since 1970.
    #[must_use]
    pub fn between(unix_ms: Range<u64>) -> Self {
        Self { unix_ms: Some(unix_ms), ..Self::default() }
    }

    fn has(&self, unix_ms: u64, replica: ReplicaId) -> bool {
        self.author.is_none_or(|author| author == replica)
            && self.device.is_none_or(|device| device.is_kin(&replica))
            && self.unix_ms.as_ref().is_none_or(|times| times.contains(&unix_ms))
    }
}

/// What taking back did.
#[derive(Debug)]
#[must_use = "the changes are not yet on disk"]
pub struct Reverted {
    /// The changes that it made: several where one would be too large, none where there was nothing to take
    /// back.
    pub written: Vec<Written>,
    /// Places where something went while several replicas' changes came as one, as after a time offline, so
    /// that it is not known who took it. What went stays away there.
    pub unclear: Vec<Place>,
}

/// What is to be taken back, and how much of the document's replicas was renamed before that was found.
struct Wanted {
    reversal: Reversal,
    unclear: Vec<Place>,
    renamings: usize,
}

impl DocumentHandle {
    /// Takes back changes that the tape has, whoever made them: what they wrote and is still there goes, and
    /// what they replaced comes again, where nobody else has written anything since. That is an ordinary
    /// change, or several where one would be too large. Whoever takes back the same elsewhere, at the same
    /// time, comes to the same.
    ///
    /// # Errors
    ///
    /// [`TapeError::NoTape`] where there is no checkpoint, [`TapeError::NoSuchCheckpoint`] where the one
    /// that is named is not there, and [`TapeError::Cut`] where the tape no longer has all since that one.
    /// [`TapeError::Client`] where the file cannot be read or written or the client is shut down, and where
    /// one place alone is too large for a change: those before it have been taken back then.
    pub fn revert(&self, which: &Which) -> Result<Reverted, TapeError> {
        let Wanted { reversal, unclear, renamings } = self.wanted(which)?;
        let mut written = Vec::new();
        let mut left = Vec::new();
        left.push(0..reversal.len());
        while let Some(places) = left.pop() {
            if places.is_empty() {
                continue;
            }
            let before = self.last_dot();
            let made = self.inner.shared.change_by(
                &self.name,
                // What was found to be a copy's since is taken back under its new name.
                |state| Ok(state.session.renamings(&self.name)?[renamings..].to_vec()),
                |since: &Result<Vec<Renaming>, Misuse>, edit| {
                    let mut reversal = Cow::Borrowed(&reversal);
                    for renaming in since.as_ref().map_err(Misuse::clone)? {
                        reversal = Cow::Owned(reversal.renamed(renaming));
                    }
                    edit.revert(&reversal, places.clone())
                },
                |state, (), now| state.note_change(&self.name, now.unix_ms),
            );
            match made.map(|((), dot)| self.written(dot)) {
                Ok(made) if Some(made.dot()) != before => written.push(made),
                Ok(_) => {}
                Err(Error::Misuse(Misuse::TooLarge { .. })) if places.len() > 1 => {
                    let middle = places.start + places.len() / 2;
                    left.extend([middle..places.end, places.start..middle]);
                }
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(Reverted { written, unclear })
    }

    fn last_dot(&self) -> Option<sync_core::causal::Dot> {
        let state = self.inner.shared.lock();
        let replica = state.session.replica(&self.name).ok()?;
        let context = state.session.document(&self.name).ok()?.store().context();
        Some(sync_core::causal::Dot::new(replica, context.max_of(replica)))
    }

    /// What is to be taken back, by the tape.
    fn wanted(&self, which: &Which) -> Result<Wanted, TapeError> {
        let (name, which) = (self.name.clone(), which.clone());
        self.inner.shared.with_store(move |state, store| {
            let after = match which.since {
                None => 0,
                Some(number) => match store.snapshot(&name, number)? {
                    None => return Ok(Err(TapeError::NoSuchCheckpoint { number })),
                    Some(found) if !found.checkpoint.is_whole => {
                        return Ok(Err(TapeError::Cut { number }));
                    }
                    Some(found) => found.after,
                },
            };
            let Some(tape) = store.tape(&name, after)? else { return Ok(Err(TapeError::NoTape)) };
            let mut reverting = Reverting::default();
            for Recorded { delta, undo, unix_ms, .. } in renamed(tape) {
                reverting.add(&delta, &undo, |replica| which.has(unix_ms, replica));
            }
            let unclear = reverting.unclear().cloned().collect();
            let reversal = reverting.reversal(state.session.document(&name)?)?;
            let renamings = state.session.renamings(&name)?.len();
            Ok(Ok(Wanted { reversal, unclear, renamings }))
        })?
    }
}

/// The changes of a tape, under the replicas as which they stand from its end on.
fn renamed(tape: Vec<Taped>) -> Vec<Recorded> {
    let mut changes: Vec<Recorded> = Vec::new();
    for taped in tape {
        match taped {
            Taped::Change(recorded) => changes.push(*recorded),
            Taped::Renaming(renaming) => {
                let all = changes.into_iter().map(|one| one.renamed(&renaming));
                changes = all.collect();
            }
        }
    }
    changes
}
