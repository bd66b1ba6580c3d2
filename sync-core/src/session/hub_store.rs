//! What a hub keeps, behind a trait: state with sequence numbers, not history.

use crate::causal::{CausalContext, Dot, DotStore, Entry, Note, ReplicaId, Sum, Total};
use crate::types::Opening;
use crate::wire::Cursor;

/// Numbers a document within one store.
pub type DocumentId = u64;

/// One start of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Names the data directory, drawn at random when it was made.
    pub hub: u64,
    /// Names this start, drawn at random.
    pub boot: u64,
}

/// Entries of one page of a catch-up, in order, and whether more may follow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Each entry with the sequence number at which it arrived.
    pub entries: Vec<(u64, Entry)>,
    /// Whether this page reaches the end.
    pub is_last: bool,
}

impl Page {
    /// About how many bytes an entry takes on the wire, so that a page fits into one frame: its bytes,
    /// its dot with a share of the replica table, and for each slot its frame and its part in the
    /// context.
    #[must_use]
    pub fn cost(entry: &Entry) -> usize {
        entry.byte_count() + 64 + 2 * entry.slots.len()
    }
}

/// What was removed after a sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buried {
    /// The dots that died, or that arrived dead.
    pub dots: CausalContext,
    /// What is said of the removals.
    pub notes: Vec<Note>,
}

impl Buried {
    /// Adds what one change removed. Its notes are left out where it took nothing of what is known: they
    /// would speak of objects that nobody there ever had. So are those of removals that are known.
    pub fn add(&mut self, other: Self, known: &CausalContext) {
        if !other.notes.is_empty() && !other.dots.intersection(known).is_empty() {
            let is_new = |note: &Note| !known.contains(note.dot);
            self.notes.extend(other.notes.into_iter().filter(is_new));
        }
        self.dots.union(&other.dots);
    }
}

/// The storage of a hub. All calls between two commits belong to one transaction of the driver: it
/// releases the hub's outputs only once that transaction is on disk.
pub trait HubStore {
    /// What goes wrong in the storage.
    type Error;

    /// The entries and the context of one document. An entry that is put as fresh gets the sequence
    /// number that the view was made with.
    type Document<'a>: DotStore<Error = Self::Error>
    where
        Self: 'a;

    /// This start of the hub.
    fn boot(&self) -> Boot;

    /// The sequence number of the last change, of all documents.
    fn seq(&self) -> u64;

    /// Whether changes after the cursor can be told exactly: its boot is known, that boot came as far
    /// as the cursor's number, and no removal after it was forgotten.
    fn can_resume(&self, document: DocumentId, cursor: Cursor) -> Result<bool, Self::Error>;

    /// Finds or makes a document.
    fn open(&mut self, name: &str) -> Result<DocumentId, Self::Error>;

    /// Everything that was seen of a document.
    fn context(&self, document: DocumentId) -> Result<CausalContext, Self::Error>;

    /// The dots of a document that are live.
    fn live(&self, document: DocumentId) -> Result<CausalContext, Self::Error>;

    /// The last marks of a replica that are live, in order: as many as are kept ([`MARKS_MAX`]).
    ///
    /// [`MARKS_MAX`]: crate::types::MARKS_MAX
    fn openings(
        &self,
        document: DocumentId,
        replica: ReplicaId,
    ) -> Result<Vec<Opening>, Self::Error>;

    /// Views a document for a join at a sequence number.
    fn document(&mut self, document: DocumentId, seq: u64) -> Self::Document<'_>;

    /// Records a change: the sequence number is used, and these dots died or arrived dead at it.
    fn record(&mut self, document: DocumentId, seq: u64, buried: Buried)
    -> Result<(), Self::Error>;

    /// About how many bytes all entries of a document have, as [`Page::cost`] counts them.
    fn bytes(&self, document: DocumentId) -> Result<u64, Self::Error>;

    /// Entries that arrived after `seq`, in the order of (sequence number, first dot), beginning after
    /// `after`; about `bytes` of them.
    fn arrived(
        &self,
        document: DocumentId,
        seq: u64,
        after: Option<(u64, Dot)>,
        bytes: usize,
    ) -> Result<Page, Self::Error>;

    /// All entries in the order of their first dots, beginning after `after`; about `bytes` of them.
    fn entries(
        &self,
        document: DocumentId,
        after: Option<Dot>,
        bytes: usize,
    ) -> Result<Page, Self::Error>;

    /// What was buried after `seq`, each change by [`Buried::add`] for somebody who knows of `known`.
    fn buried(
        &self,
        document: DocumentId,
        seq: u64,
        known: &CausalContext,
    ) -> Result<Buried, Self::Error>;

    /// The entries of a replica whose runs overlap `start..=end`, in order; about `bytes` of them.
    fn overlapping(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        bytes: usize,
    ) -> Result<Page, Self::Error>;

    /// What all live dots of a document sum up to.
    fn total(&self, document: DocumentId) -> Result<Total, Self::Error>;

    /// What the live dots `start..=end` of a replica sum up to.
    fn sum(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Sum, Self::Error>;

    /// The first live dots of a replica among `start..=end`, as counter and
    /// [hash](crate::causal::EntryView::hashes): `limit` of them, or all if they are fewer.
    fn items(
        &self,
        document: DocumentId,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Self::Error>;
}
