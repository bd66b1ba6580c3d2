//! Where entries and context live: the traits that the kernel and the documents work on.

use std::borrow::Cow;

use super::{CausalContext, Dot, DotRanges, Entry, EntryView, Note, PlaceId, ReplicaId};

/// A place for one document's entries and context, by dots. The kernel touches only what a delta
/// names, so a document need not fit into memory.
pub trait DotStore {
    /// What goes wrong in the place.
    type Error;

    /// The counters seen of a replica.
    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, Self::Error>;

    /// Notes that counters of a replica were seen.
    fn see(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Self::Error>;

    /// Takes counters of a replica back out of what was seen: the change that brought them failed, or
    /// their entries are damaged and must be fetched again.
    fn unsee(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), Self::Error>;

    /// The entries of a replica whose runs overlap `start..=end`, in order.
    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, Self::Error>;

    /// Adds an entry. Where a part of the same run is known, its live slots are laid over that, as
    /// [`Entry::overlay`] does. Gives false, and adds nothing, where it overlaps another run: nobody who
    /// keeps the rules writes that.
    fn add(&mut self, entry: Entry) -> Result<bool, Self::Error>;

    /// Takes the live dots among `start..=end` out, and puts what they were into `killed`: for each run
    /// an entry with only these slots.
    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), Self::Error>;
}

/// What became of an entry that was to take the place of a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It did, of this dot.
    Done(Dot),
    /// The live dot has the same bytes: nothing was done.
    Same,
    /// Nothing was done, and it is to be done step by step.
    StepByStep,
}

/// A space, and the id of an object in it.
pub type Object = (Box<[u8]>, PlaceId);

/// How many ids are looked at in one go. Arbitrary.
const PAGE_IDS: usize = 1024;

/// The same entries by the objects that they are about: what documents read.
pub trait PlaceStore: DotStore {
    /// Shows every entry of an object, in no particular order.
    fn at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(EntryView<'_>),
    ) -> Result<(), Self::Error>;

    /// Shows every entry of an object at once, in no particular order.
    fn all_at(
        &self,
        space: &[u8],
        id: &[u8],
        show: &mut dyn FnMut(&[EntryView<'_>]),
    ) -> Result<(), Self::Error> {
        let mut entries = Vec::new();
        self.at(space, id, &mut |entry| entries.push(entry.to_entry()))?;
        show(&entries.iter().map(Entry::view).collect::<Vec<_>>());
        Ok(())
    }

    /// Shows the objects of a space in the order of their ids, beginning after `after`, at most `limit` of
    /// them: every entry of one at once.
    fn each(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        show: &mut dyn FnMut(&[EntryView<'_>]),
    ) -> Result<(), Self::Error> {
        let (mut after, mut left) = (after.map(PlaceId::new), limit);
        loop {
            let wanted = left.min(PAGE_IDS);
            let ids = self.ids(space, after.as_deref(), wanted)?;
            for id in &ids {
                self.all_at(space, id, show)?;
            }
            left -= wanted;
            after = ids.last().cloned();
            if ids.len() < wanted || left == 0 {
                return Ok(());
            }
        }
    }

    /// The ids of a space in their order, beginning after `after`: at most `limit` of them.
    fn ids(
        &self,
        space: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<PlaceId>, Self::Error>;

    /// The spaces that hold anything, in order.
    fn spaces(&self) -> Result<Vec<Box<[u8]>>, Self::Error>;

    /// Adds an entry of one new dot in place of a live one, if nothing else follows from that: both are
    /// about one object and have one name, to which no other live dot of the object has one that differs
    /// at most in the first byte; a name of the object begins with the byte `needed`, and this name does
    /// not; no name of it begins with a byte that has the highest bit, or has a control character behind
    /// its first byte; and nothing about it stands open. The new dot is seen by that. Does nothing
    /// otherwise, or where the store does not do this faster than step by step.
    ///
    /// The live one is `dead`; without that whichever there is, unless it has the same bytes. What it was
    /// goes to `killed`, if that is there.
    fn overwrite(
        &mut self,
        _entry: &Entry,
        _dead: Option<Dot>,
        _killed: Option<&mut Vec<Entry>>,
        _needed: u8,
    ) -> Result<Overwrite, Self::Error> {
        Ok(Overwrite::StepByStep)
    }

    /// Adds an entry of an object that has none, if its dots are above all that was seen of their replica.
    /// They are seen by that. Does nothing otherwise, or where the store does not do this faster than step by
    /// step, and says so.
    fn begin(&mut self, _entry: &Entry) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// Takes out everything that is live of the object of a removal, if nothing else follows from that: a
    /// name of it begins with the byte `needed`, but perhaps for the highest bit, another one or the same
    /// with a byte without that; nothing about it stands open; the removal's dot is above all that was seen
    /// of its replica; and `dead` has this dot and what is live of the object, and nothing else, where that
    /// is given. The dot is seen by that, and what was live goes to `killed`, in the order of dots. Does
    /// nothing otherwise, or where the store does not do this faster than step by step, and says so.
    fn bury(
        &mut self,
        _note: &Note,
        _dead: Option<&CausalContext>,
        _needed: u8,
        _killed: &mut Vec<Entry>,
    ) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// As [`overwrite`](Self::overwrite), of whichever live dot is among `dead`. Gives that if it was done.
    fn overwrite_one_of(
        &mut self,
        _entry: &Entry,
        _dead: &CausalContext,
        _killed: &mut Vec<Entry>,
        _needed: u8,
    ) -> Result<Option<Dot>, Self::Error> {
        Ok(None)
    }

    /// Notes whether something about an object stands open, so that it is found without a search.
    fn set_open(&mut self, space: &[u8], id: &[u8], is_open: bool) -> Result<(), Self::Error>;

    /// Whether something about an object stands open.
    fn is_open(&self, space: &[u8], id: &[u8]) -> Result<bool, Self::Error>;

    /// The objects that stand open, in order.
    fn open(&self) -> Result<Vec<Object>, Self::Error>;
}
