//! Changes of this replica: each takes fresh dots, and supersedes the dots that it replaces.

mod compare;
mod counters;
mod records;
mod values;

use std::mem::take;

use super::target::Targets;
use super::undo::Replaced;
use super::{Document, Edited, Left, Refused};
use crate::causal::{
    CausalContext, Delta, Dot, DotRanges, Entry, EntryView, Label, MemoryStore, Note, PlaceId,
    PlaceStore, RUN_DOTS_MAX, ReplicaId, ranges_of,
};
use crate::error::Misuse;
use crate::small::Few;
use crate::time::Stamp;
use crate::types::Record;
use crate::types::element::kind;
use crate::types::place::Space;

/// Who changes a document, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The replica that the new dots are of.
    pub replica: ReplicaId,
    /// The stamp of the whole change.
    pub stamp: Stamp,
}

/// A change being made. Each step sees the ones before it.
#[derive(Debug)]
pub struct Edit<'a, S = MemoryStore> {
    document: &'a mut Document<S>,
    author: Author,
    /// The last counter that this replica had seen of itself before.
    before: u64,
    seen: u64,
    next: u64,
    /// What it did so far; how to undo that only in part.
    made: &'a mut Edited<()>,
    /// Removals of what was here in part.
    in_part: Vec<Dot>,
    /// What it said to be dead that was never here.
    written_off: CausalContext,
}

/// What a step of a change gives.
pub(super) type Step<S> = Result<(), Refused<<S as crate::causal::DotStore>::Error>>;

/// The last counter of a replica after which it makes one more change. What a change may have of dots behind
/// it can still be read by everyone. Nobody counts so far: somebody said so of this replica.
const LAST_COUNTER_MAX: u64 = Dot::COUNTER_MAX - (1 << 32);

impl<'a, S: PlaceStore> Edit<'a, S> {
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    pub(super) fn new(
        document: &'a mut Document<S>,
        author: Author,
        made: &'a mut Edited<()>,
    ) -> Result<Self, Refused<S::Error>> {
        let seen = document.store.seen(author.replica).map_err(Refused::Store)?;
        let before = seen.max();
        if before > LAST_COUNTER_MAX {
            let (found, limit) = (before, LAST_COUNTER_MAX);
            let what = "the counter of the replica";
            return Err(Misuse::TooLarge { what, found, limit }.into());
        }
        let (seen, next) = (before, before + 1);
        // Where a store failed, something may be left. That in browsers never does.
        if crate::small::HAS_SHORTCUTS {
            document.forget_killed();
        }
        let (in_part, written_off) = (Vec::new(), CausalContext::default());
        Ok(Self { document, author, before, seen, next, made, in_part, written_off })
    }

    /// Applies the change whole, or not at all if it has failed or is too large.
    #[inline]
    pub(super) fn finish<T>(
        &mut self,
        outcome: Result<T, Refused<S::Error>>,
        bytes_max: usize,
    ) -> Result<T, Refused<S::Error>> {
        match (outcome, self.check_size(bytes_max)) {
            (Ok(value), Ok(())) => {
                self.conclude();
                Ok(value)
            }
            (Err(refused), _) => Err(self.refuse(refused)),
            (Ok(_), Err(misuse)) => Err(self.refuse(misuse.into())),
        }
    }

    /// Notes how to undo what was done.
    #[inline(never)]
    fn conclude(&mut self) {
        let (author, before) = (self.author, self.before);
        let killed = &mut self.document.killed;
        // What the change itself wrote and took back was not there before.
        killed.retain(|entry| !is_new(entry, author, before));
        let killed = Replaced::of(killed);
        self.document.forget_killed();
        let Edited { delta, undo, .. } = &mut *self.made;
        if !delta.notes.is_empty() {
            let is_whole = |note: &&Note| !self.in_part.contains(&note.dot);
            self.document.kept.put(delta.notes.iter().filter(is_whole), &killed);
        }
        undo.added = CausalContext::of_one(author.replica, DotRanges::of(before + 1..=self.seen));
        undo.killed = killed;
    }

    /// Puts everything back as it was, and gives why.
    #[inline(never)]
    fn refuse(&mut self, refused: Refused<S::Error>) -> Refused<S::Error> {
        self.take_back().map_or_else(Refused::Store, |()| refused)
    }

    fn check_size(&self, bytes_max: usize) -> Result<(), Misuse> {
        let (found, limit) = (self.made.delta.cost(), bytes_max);
        if found <= limit || self.made.delta.is_empty() {
            return Ok(());
        }
        Err(Misuse::TooLarge { what: "the change", found: found as u64, limit: limit as u64 })
    }

    /// Puts everything back as it was.
    fn take_back(&mut self) -> Result<(), S::Error> {
        let Author { replica, .. } = self.author;
        let store = &mut self.document.store;
        store.kill(replica, self.before + 1, self.next - 1, &mut Vec::new())?;
        store.unsee(replica, &DotRanges::of(self.before + 1..=self.next - 1))?;
        if crate::small::HAS_SHORTCUTS {
            for (replica, ranges) in self.written_off.iter() {
                store.unsee(replica, ranges)?;
            }
        }
        for entry in self.document.killed.drain(..) {
            if !is_new(&entry, self.author, self.before) {
                store.add(entry)?;
            }
        }
        for (label, id) in take(&mut self.made.touched).iter() {
            self.document.settle(label.space(), id)?;
        }
        Ok(())
    }

    /// The document with the steps so far.
    #[must_use]
    pub fn document(&self) -> &Document<S> {
        self.document
    }

    fn record_at(&self, space: &[u8], id: &[u8]) -> Result<Record, Refused<S::Error>> {
        self.document.record_at(space, id).map_err(Refused::Store)
    }

    /// Finds what is live in a place.
    fn look(&self, space: &[u8], id: &[u8]) -> Result<Found, Refused<S::Error>> {
        let mut found = Found::default();
        let show = &mut |entry: EntryView<'_>| found.add(entry);
        self.document.store.at(space, id, show).map_err(Refused::Store)?;
        Ok(found)
    }

    /// Removes dots of a place under a dot of the removal's own.
    pub(super) fn bury(&mut self, space: &Space, id: &PlaceId, mut dead: CausalContext) -> Step<S> {
        let dot = Dot::new(self.author.replica, self.next);
        self.next += 1;
        let label = self.document.labels.of_space(space);
        let note = Note { dot, stamp: self.author.stamp, label, id: id.clone() };
        dead.insert(dot);
        let known = self.document.killed.len();
        self.step(Delta { entries: Few::new(), dead, notes: Few::one(note) })?;
        self.look_whether_whole(space, id, known, dot)
    }

    /// Notes where a removal, under this dot, took a record that was here in part. It killed all entries but
    /// for so many of the first.
    pub(super) fn look_whether_whole(
        &mut self,
        space: &[u8],
        id: &PlaceId,
        known: usize,
        dot: Dot,
    ) -> Step<S> {
        let mut taken = self.document.killed[known..].iter();
        let none = CausalContext::default();
        let was_whole = self.document.was_whole(space, id, &mut taken, &none);
        self.note_whether_whole(dot, was_whole)
    }

    fn note_whether_whole(&mut self, dot: Dot, was_whole: Result<bool, S::Error>) -> Step<S> {
        if !was_whole.map_err(Refused::Store)? {
            self.in_part.push(dot);
        }
        Ok(())
    }

    /// Writes elements in runs, and supersedes dots. A step that only removes takes a dot of its own.
    pub(super) fn write(
        &mut self,
        space: &Space,
        id: &PlaceId,
        targets: &mut Targets,
        dead: CausalContext,
    ) -> Step<S> {
        if targets.is_empty() && dead.is_empty() {
            return Ok(());
        }
        let mut delta = Delta { dead, ..Delta::default() };
        let Author { replica, stamp } = self.author;
        if targets.is_empty() {
            delta.dead.insert(Dot::new(replica, self.next));
            self.next += 1;
        }
        let mut written = 0;
        while written < targets.leaves().len() {
            let (label, slots) = targets.run(&mut self.document.labels, space, written);
            let first = Dot::new(replica, self.next);
            written += slots.len();
            self.next += slots.len() as u64;
            delta.entries.push(Entry { first, stamp, label, id: id.clone(), slots });
        }
        // A run of the most dots goes on: who has it alone knows that by the dot behind it.
        if delta.entries.last().is_some_and(|last| last.slots.len() == RUN_DOTS_MAX) {
            delta.dead.insert(self.take_dot());
        }
        self.step(delta)
    }

    /// Says that dots are dead that were never here.
    pub(super) fn write_off(&mut self, unseen: CausalContext) -> Step<S> {
        if unseen.is_empty() {
            return Ok(());
        }
        self.written_off.union(&unseen);
        for (replica, ranges) in unseen.iter() {
            self.document.store.see(replica, ranges).map_err(Refused::Store)?;
        }
        let mut delta = Delta { dead: unseen, ..Delta::default() };
        delta.dead.insert(self.take_dot());
        self.step(delta)
    }

    /// The dot that the next element gets.
    pub(super) fn next_dot(&self) -> Dot {
        Dot::new(self.author.replica, self.next)
    }

    /// Takes a dot.
    pub(super) fn take_dot(&mut self) -> Dot {
        let dot = self.next_dot();
        self.next += 1;
        dot
    }

    /// Who changes the document, and when.
    pub(super) fn author(&self) -> Author {
        self.author
    }

    /// How many dots the change has so far.
    pub(crate) fn dot_count(&self) -> u64 {
        self.next - 1 - self.before
    }

    pub(super) fn step(&mut self, delta: Delta) -> Step<S> {
        // All of this is new here, and what it supersedes was read here: there is nothing to compare.
        let Document { store, killed, .. } = &mut *self.document;
        for entry in &delta.entries {
            store.add(entry.clone()).map_err(Refused::Store)?;
        }
        let known = killed.len();
        for (replica, ranges) in delta.dead.iter() {
            for (start, end) in ranges.iter() {
                // The dot of a removal was never live.
                if replica != self.author.replica || start <= self.seen {
                    store.kill(replica, start, end, killed).map_err(Refused::Store)?;
                }
            }
        }
        let new = DotRanges::of(self.seen + 1..=self.next - 1);
        store.see(self.author.replica, &new).map_err(Refused::Store)?;
        self.seen = self.next - 1;
        let mut unsettled = Vec::new();
        let (mut last, mut is_open): (Option<(&Label, &PlaceId)>, _) = (None, false);
        for Entry { label, id, .. } in delta.entries.iter().chain(&killed[known..]) {
            let is_it = |(of, other): (&Label, &PlaceId)| other == id && of.is_in_space_of(label);
            if !last.replace((label, id)).is_some_and(is_it) {
                self.made.touched.push(label, id);
                is_open = store.is_open(label.space(), id).map_err(Refused::Store)?;
            }
            // What this replica writes in full knowledge opens nothing; only copies do.
            if is_open || label.tags().has_high() {
                unsettled.push((label.clone(), id.clone()));
            }
        }
        for (label, id) in unsettled {
            let left = self.document.settle(label.space(), &id).map_err(Refused::Store)?;
            if matches!(left, Left::Record { .. }) {
                self.document.kept.forget(label.space(), &id);
            }
        }
        self.made.delta.join(delta);
        Ok(())
    }

    /// Notes that an entry, which has the next dots, was put in place of others.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn wrote(&mut self, entry: Entry, dead: CausalContext) {
        self.next = entry.last() + 1;
        self.seen = self.next - 1;
        self.made.touched.push(&entry.label, &entry.id);
        if dead.is_empty() {
            // What has the next dots is behind all others, and dead nowhere.
            self.made.delta.entries.push(entry);
        } else if self.made.delta.is_empty() {
            self.made.delta.entries.push(entry);
            self.made.delta.dead = dead;
        } else {
            self.made.delta.join(Delta { entries: Few::one(entry), dead, notes: Few::new() });
        }
    }

    /// Notes that a removal, which has the next dot, took all that was live of a place.
    fn took(&mut self, note: Note, dead: CausalContext) {
        self.seen = self.next;
        self.next += 1;
        if self.made.delta.is_empty() {
            self.made.delta.dead = dead;
            self.made.delta.notes.push(note);
        } else {
            self.made.delta.join(Delta { entries: Few::new(), dead, notes: Few::one(note) });
        }
    }
}

/// Whether a change itself wrote an entry: its runs begin behind all that was there before.
fn is_new(entry: &Entry, author: Author, before: u64) -> bool {
    entry.replica() == author.replica && entry.first.counter > before
}

/// What is live in a place.
#[derive(Debug, Default)]
struct Found {
    exists: bool,
    has_original: bool,
    dots: CausalContext,
}

impl Found {
    fn add(&mut self, entry: EntryView<'_>) {
        let (tags, live) = entry.tags();
        self.exists |= tags.has(kind::EXISTS);
        self.has_original |= tags.has_plain();
        self.dots.insert_ranges(entry.first.replica, &ranges_of(entry.first.counter, live));
    }

    fn is_shown(&self) -> bool {
        self.exists && self.has_original
    }
}
