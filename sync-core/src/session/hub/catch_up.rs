//! What a client missed, in chunks: entries first, removals last.
//!
//! An entry that arrives after its removal would be covered already; a removal that arrives before a
//! concurrent edit would leave half a record. A dot enters the client's context only with its entry or
//! as dead, never before.

use super::gaps::{Gaps, end_of};
use super::parts::Parts;
use crate::causal::{CausalContext, Delta, Dot, Note};
use crate::session::chunks::{ChunkSize, split};
use crate::session::hub_store::{Buried, DocumentId, HubStore, Page};
use crate::sort::sort_by;
use crate::wire::{CHUNK_CREDIT, Cursor, Dictionary, Fault, HubMessage};

/// How far the catch-up of one channel is.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Where the client resumes; none compares everything.
    resume: Option<Cursor>,
    /// What the client had when it opened the channel.
    theirs: CausalContext,
    gaps: Gaps,
    /// The sequence number up to which this catch-up brings the client.
    up_to: u64,
    /// About how many bytes of entries are still to come, where that is known.
    left: u64,
    sent: u64,
    confirmed: u64,
    /// What the chunks have numbered.
    names: Dictionary,
    stage: Stage,
    size: ChunkSize,
}

#[derive(Debug)]
enum Stage {
    /// Entries after this one.
    Entries(Option<Position>),
    /// What a comparison found.
    Parts(Parts),
    /// Removals, in pieces.
    Removals(std::vec::IntoIter<Delta>),
    Done,
}

/// The last entry that was sent.
#[derive(Debug, Clone, Copy)]
struct Position {
    seq: u64,
    first: Dot,
    /// The last dot before the next entry.
    last: Dot,
}

impl CatchUp {
    pub(super) fn new(
        resume: Option<Cursor>,
        theirs: CausalContext,
        up_to: u64,
        size: ChunkSize,
    ) -> Self {
        // Only what comes in the order of dots leaves gaps.
        let gaps = if resume.is_none() { Gaps::of(&theirs) } else { Gaps::default() };
        let stage = Stage::Entries(None);
        let names = Dictionary::new();
        let (left, sent, confirmed) = (0, 0, 0);
        Self { resume, theirs, gaps, up_to, left, sent, confirmed, names, stage, size }
    }

    /// Counts what is to come. What arrived after a cursor is not counted before it is read.
    pub(super) fn count<S: HubStore>(
        mut self,
        store: &S,
        document: DocumentId,
    ) -> Result<Self, S::Error> {
        self.left = match &self.stage {
            Stage::Entries(_) if self.resume.is_none() => store.bytes(document)?,
            Stage::Parts(parts) => {
                // The part of all bytes that its dots are of all dots.
                let (bytes, all) = (store.bytes(document)?, store.context(document)?.len());
                let part = u128::from(bytes) * u128::from(parts.dot_count());
                u64::try_from(part / u128::from(all.max(1))).map_or(bytes, |part| part.min(bytes))
            }
            Stage::Entries(_) | Stage::Removals(_) | Stage::Done => 0,
        };
        Ok(self)
    }

    /// A catch-up with what a comparison found: dots that the client has not seen, and such as live
    /// there and have died here.
    pub(super) fn of(
        lacking: CausalContext,
        dead: CausalContext,
        theirs: CausalContext,
        up_to: u64,
        size: ChunkSize,
    ) -> Self {
        let stage = Stage::Parts(Parts::new(lacking, dead));
        Self { stage, ..Self::new(None, theirs, up_to, size) }
    }

    pub(super) fn has_credit(&self) -> bool {
        self.sent - self.confirmed < CHUNK_CREDIT
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.is_done() && self.confirmed == self.sent
    }

    /// Takes the client's word that a chunk is on its disk.
    pub(super) fn confirm(&mut self, number: u64) -> Result<(), Fault> {
        if number != self.confirmed + 1 || number > self.sent {
            return Err(Fault::OutOfOrder("chunks are confirmed one by one".into()));
        }
        self.confirmed = number;
        Ok(())
    }

    /// The next chunk.
    pub(super) fn next<S: HubStore>(
        &mut self,
        store: &S,
        document: DocumentId,
        channel: u32,
    ) -> Result<HubMessage, S::Error> {
        let delta = loop {
            match &mut self.stage {
                Stage::Entries(after) => {
                    let after = *after;
                    let delta = self.entries(store, document, after)?;
                    if !delta.is_empty() {
                        break delta;
                    }
                }
                Stage::Parts(parts) => {
                    let delta = parts.next(store, document, &mut self.gaps, self.size)?;
                    let bytes: usize = delta.entries.iter().map(Page::cost).sum();
                    self.left = self.left.saturating_sub(bytes as u64);
                    if parts.is_sent() {
                        let pieces = split(&parts.dead, Vec::new(), self.size);
                        self.stage = Stage::Removals(pieces.into_iter());
                    }
                    if !delta.is_empty() {
                        break delta;
                    }
                }
                Stage::Removals(pieces) => {
                    let delta = pieces.next().unwrap_or_default();
                    if pieces.len() == 0 {
                        self.stage = Stage::Done;
                    }
                    break delta;
                }
                Stage::Done => break Delta::default(),
            }
        };
        self.sent += 1;
        let cursor = Cursor { boot: store.boot().boot, seq: self.up_to };
        let cursor = self.is_done().then_some(cursor);
        if !matches!(self.stage, Stage::Entries(_) | Stage::Parts(_)) {
            self.left = 0;
        }
        let delta = self.names.write_chunk(&delta);
        Ok(HubMessage::Chunk { channel, number: self.sent, delta, cursor, left: self.left })
    }

    /// A page of entries that the client lacks. Where they come in the order of dots, the dead dots
    /// between them and up to the next one that the client never saw come along: they take nothing from
    /// it, and its context stays in one piece, so that a first sync that is cut goes on where it was. But
    /// for those within runs: what took their place may be yet to come. Moves on to the removals after
    /// the last one.
    fn entries<S: HubStore>(
        &mut self,
        store: &S,
        document: DocumentId,
        after: Option<Position>,
    ) -> Result<Delta, S::Error> {
        let first = after.map(|after| after.first);
        let page = match self.resume {
            Some(cursor) => {
                let after = after.map(|after| (after.seq, after.first));
                store.arrived(document, cursor.seq, after, self.size.bytes)?
            }
            None => store.entries(document, first, self.size.bytes)?,
        };
        let bytes: usize = page.entries.iter().map(|(_, entry)| Page::cost(entry)).sum();
        self.left = self.left.saturating_sub(bytes as u64);
        let next = match page.entries.last() {
            Some((_, last)) if self.resume.is_none() && !page.is_last => {
                store.entries(document, Some(last.first), 1)?.entries.pop()
            }
            Some(_) | None => None,
        };
        let next = next.map(|(_, entry)| entry.first);
        let end = page.entries.last().map(|(seq, entry)| Position {
            seq: *seq,
            first: entry.first,
            last: next.map_or(Dot::new(entry.replica(), entry.last()), |next| {
                Dot::new(next.replica, next.counter.saturating_sub(1))
            }),
        });
        self.stage = match end {
            Some(end) if !page.is_last => Stage::Entries(Some(end)),
            Some(_) | None => Stage::Removals(self.removals(store, document)?.into_iter()),
        };
        let mut delta = Delta::default();
        let mut runs = CausalContext::default();
        let mut sent = CausalContext::default();
        let firsts: Vec<Dot> = page.entries.iter().map(|(_, entry)| entry.first).collect();
        let mut firsts = firsts.into_iter().skip(1).chain(next);
        for (_, entry) in page.entries {
            let live = entry.live_ranges();
            let end = end_of(&entry, firsts.next());
            runs.insert_range(entry.replica(), entry.first.counter, end);
            sent.insert_ranges(entry.replica(), &live);
            if self.theirs.of(entry.replica()).is_some_and(|seen| seen.covers(&live)) {
                continue;
            }
            delta.entries.push(entry);
        }
        if let (None, Some(end)) = (self.resume, end) {
            let between = store.context(document)?.between(after.map(|after| after.last), end.last);
            let between = if broken!(ContextFirst) { store.context(document)? } else { between };
            let between = between.difference(&self.theirs).difference(&sent);
            let between = between.difference(&self.gaps.keep(&between, &runs));
            // What does not fit comes with the removals.
            let dots = between.iter().flat_map(|(replica, ranges)| {
                ranges.iter().map(move |(start, end)| (replica, start, end))
            });
            for (replica, start, end) in dots.take(self.size.items) {
                delta.dead.insert_range(replica, start, end);
            }
        }
        Ok(delta)
    }

    /// The removals that the client may lack, in pieces. Without a valid cursor these are all dead
    /// dots of the document, which cost what its gaps cost, not what was ever removed.
    fn removals<S: HubStore>(
        &self,
        store: &S,
        document: DocumentId,
    ) -> Result<Vec<Delta>, S::Error> {
        // The hub may have forgotten removals since the catch-up began, so the cursor is asked again.
        let resume = match self.resume {
            Some(cursor) if broken!(HorizonAskedOnce) => Some(cursor),
            Some(cursor) => store.can_resume(document, cursor)?.then_some(cursor),
            None => None,
        };
        let Buried { dots, notes } = match resume {
            Some(cursor) => {
                let Buried { dots, notes } = store.buried(document, cursor.seq, &self.theirs)?;
                Buried { dots, notes: latest(notes) }
            }
            None => {
                let dots = store.context(document)?.difference(&store.live(document)?);
                Buried { dots, notes: Vec::new() }
            }
        };
        let dots = if broken!(UnseenLeftOut) { dots.intersection(&self.theirs) } else { dots };
        Ok(split(&dots, notes, self.size))
    }
}

/// Of the notes about an object the latest: one says that it was removed as well as many do.
fn latest(mut notes: Vec<Note>) -> Vec<Note> {
    sort_by(&mut notes, |a, b| {
        let of_place = (a.label.space(), &a.id).cmp(&(b.label.space(), &b.id));
        of_place.then((b.stamp, b.dot).cmp(&(a.stamp, a.dot)))
    });
    notes.dedup_by(|b, a| a.id == b.id && a.label.space() == b.label.space());
    notes
}
