//! A record of what happens to a document, for drivers that keep one: a tape, a history or a feed.
//!
//! Nothing is recorded before somebody asks for it.

use super::{Client, ClientStore, Opened, Step, join_step};
use crate::causal::{CausalContext, Delta, Entry, Note};
use crate::document::{Change, FieldChange, Undo};
use crate::error::{Malformed, Misuse};
use crate::pack::{self, Reader};
use crate::session::Now;
use crate::types::Renaming;

/// A change as it was made here or joined, in the order in which that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The change. It may bring what was known already.
    pub delta: Delta,
    /// What it added and replaced here.
    pub undo: Undo,
    /// When it was made or arrived, by this device's clock: milliseconds since 1970.
    pub unix_ms: u64,
    /// Which fields it changed, where that was asked for. It is not stored with the rest.
    pub changes: Vec<FieldChange>,
}

/// A record as a step has it.
#[cfg(not(target_arch = "wasm32"))]
pub type RecordedBox = Box<Recorded>;
/// No record: the module for browsers keeps none, and is smaller without.
#[cfg(target_arch = "wasm32")]
pub type RecordedBox = std::convert::Infallible;

#[cfg(not(target_arch = "wasm32"))]
fn boxed(recorded: Recorded) -> Option<RecordedBox> {
    Some(Box::new(recorded))
}

#[cfg(target_arch = "wasm32")]
fn boxed(_: Recorded) -> Option<RecordedBox> {
    None
}

/// How much of a document is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RecordLevel {
    /// Nothing.
    #[default]
    Nothing,
    /// Each change, and what it replaced.
    Changes,
    /// Also which fields it changed.
    Fields,
}

/// What of a document is recorded.
#[derive(Debug, Default)]
pub(super) struct Recording {
    level: RecordLevel,
    /// The last own change.
    last: Option<Undo>,
}

impl Recorded {
    /// Writes it to the end of some bytes, for storage. A catch-up may bring more at once than a message
    /// may hold.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { delta, undo, unix_ms, .. } = self;
        pack::array(out, 5);
        pack::array(out, delta.entries.len());
        delta.entries.iter().for_each(|entry| entry.encode_into(out));
        delta.dead.encode_into(out);
        pack::array(out, delta.notes.len());
        delta.notes.iter().for_each(|note| note.encode_into(out));
        undo.encode_into(out);
        pack::uint(out, *unix_ms);
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(5)?;
        let mut delta = Delta::default();
        for _ in 0..reader.array()? {
            delta.entries.push(Entry::decode(reader)?);
        }
        delta.dead = CausalContext::decode(reader)?;
        for _ in 0..reader.array()? {
            delta.notes.push(Note::decode(reader)?);
        }
        let (undo, unix_ms) = (Undo::decode(reader)?, reader.uint()?);
        Ok(Self { delta, undo, unix_ms, changes: Vec::new() })
    }

    /// The same where a part of a replica's history stands under another one.
    #[must_use]
    pub fn renamed(self, renaming: &Renaming) -> Self {
        let Self { delta, undo, unix_ms, changes } = self;
        Self { delta: renaming.delta(delta), undo: undo.renamed(renaming), unix_ms, changes }
    }
}

impl<S: ClientStore> Client<S> {
    /// Says whether [`Step::Record`] follows on each delta that a document takes, from here on. Only for
    /// stores that keep a record.
    pub fn record(&mut self, document: &str, level: RecordLevel) -> Result<(), Misuse> {
        let recording = &mut self.opened_mut(document)?.recording;
        *recording = Recording { level, last: None };
        Ok(())
    }

    /// How to undo the last change that was made here, once: none where the document is not recorded.
    pub fn take_undo(&mut self, document: &str) -> Result<Option<Undo>, Misuse> {
        Ok(self.opened_mut(document)?.recording.last.take())
    }
}

impl<S: ClientStore> Opened<S> {
    /// Whether a record is kept. Where the store keeps none, all of this is left out of the program.
    pub(super) fn is_recorded(&self) -> bool {
        S::RECORDS && self.recording.level > RecordLevel::Nothing
    }

    /// Notes that a change was made here.
    pub(super) fn made(&mut self, undo: &Undo) {
        if self.is_recorded() {
            self.recording.last = Some(undo.clone());
        }
    }

    /// Joins a delta of others, and stores that if it brought anything.
    pub(super) fn join_and_record(
        &mut self,
        now: Now,
        delta: &Delta,
        steps: &mut Vec<Step>,
    ) -> Result<Change, S::Error> {
        if !self.is_recorded() {
            let change = self.document.join(delta)?;
            if change.is_new {
                steps.push(join_step::<S>(delta));
            }
            return Ok(change);
        }
        let (change, undo) = self.document.join_and_record(delta)?;
        if change.is_new {
            self.joined(now.unix_ms, delta, || undo, steps)?;
        }
        Ok(change)
    }

    /// Stores that a delta was joined, and how to undo that where that is recorded.
    pub(super) fn joined(
        &self,
        unix_ms: u64,
        delta: &Delta,
        undo: impl FnOnce() -> Undo,
        steps: &mut Vec<Step>,
    ) -> Result<(), S::Error> {
        steps.push(join_step::<S>(delta));
        self.changed(unix_ms, delta, undo, steps)
    }

    /// Records a change, where that is asked for.
    pub(super) fn changed(
        &self,
        unix_ms: u64,
        delta: &Delta,
        undo: impl FnOnce() -> Undo,
        steps: &mut Vec<Step>,
    ) -> Result<(), S::Error> {
        if self.is_recorded() {
            let undo = undo();
            let changes = match self.recording.level {
                RecordLevel::Fields => self.document.field_changes(delta, &undo)?,
                RecordLevel::Nothing | RecordLevel::Changes => Vec::new(),
            };
            let recorded = Recorded { delta: delta.clone(), undo, unix_ms, changes };
            steps.push(Step::Record(boxed(recorded)));
        }
        Ok(())
    }
}
