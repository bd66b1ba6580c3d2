//! Taking back what somebody wrote, as ordinary changes that reach everyone.

use std::ops::Range;

use sync_core::causal::ReplicaId;
use sync_core::document::Reverting;
use sync_core::error::Misuse;
use sync_core::session::Recorded;
use sync_core::types::Place;

use crate::document::DocumentHandle;
use crate::error::Error;
use crate::store::Taped;
use crate::tape::TapeError;
use crate::written::Written;

/// Which changes are to be taken back: those for which everything that is said here holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Which {
    /// Those since a checkpoint.
    pub since: Option<u64>,
    /// Those of one author.
    pub author: Option<ReplicaId>,
    /// Those of one device: of everyone with the fingerprint of this replica, whichever the incarnation.
    pub device: Option<ReplicaId>,
    /// Those that were made or arrived here at these times, by this device's clock: milliseconds since 1970.
    pub unix_ms: Option<Range<u64>>,
}

impl Which {
    /// Everything since a checkpoint.
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

impl DocumentHandle {
    /// Takes back changes that the tape has, whoever made them: what they wrote and is still there goes, and
    /// what they replaced comes again, where nobody else has written anything since. That is an ordinary
    /// change, or several where one would be too large. Whoever takes back the same elsewhere, at the same
    /// time, comes to the same.
    ///
    /// # Errors
    ///
    /// [`TapeError::NoTape`] where there is no checkpoint, and [`TapeError::Cut`] where the tape no longer
    /// has all since the one that is named. If one place alone is too large for a change, those
    /// before it have been taken back.
    pub fn revert(&self, which: &Which) -> Result<Reverted, TapeError> {
        let reverting = self.reverting(which)?;
        let unclear = reverting.unclear().cloned().collect();
        let reversal = self.read(|document| reverting.reversal(document))?;
        let mut written = Vec::new();
        let mut left = Vec::new();
        left.push(0..reversal.len());
        while let Some(places) = left.pop() {
            if places.is_empty() {
                continue;
            }
            let before = self.last_dot();
            match self.change(|edit| edit.revert(&reversal, places.clone())) {
                Ok(((), made)) if Some(made.dot()) != before => written.push(made),
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
    fn reverting(&self, which: &Which) -> Result<Reverting, TapeError> {
        let (name, since) = (self.name.clone(), which.since);
        let kept = self.inner.shared.with_store(move |_, store| {
            let checkpoints = store.checkpoints(&name)?;
            let found = checkpoints.into_iter().find(|one| Some(one.number) == since);
            let after = match since {
                Some(number) => store.snapshot(&name, number)?.map_or(0, |found| found.after),
                None => 0,
            };
            Ok((found, store.tape(&name, after)?))
        });
        let (found, tape) = kept?;
        match (since, found) {
            (Some(number), None) => return Err(TapeError::NoSuchCheckpoint { number }),
            (Some(number), Some(found)) if !found.is_whole => {
                return Err(TapeError::Cut { number });
            }
            _ => {}
        }
        let mut reverting = Reverting::default();
        for Recorded { delta, undo, unix_ms, .. } in renamed(tape.ok_or(TapeError::NoTape)?) {
            reverting.add(&delta, &undo, |replica| which.has(unix_ms, replica));
        }
        Ok(reverting)
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
