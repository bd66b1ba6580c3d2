//! The entries of exactly the dots that a comparison found to be lacking, in chunks.

use super::gaps::{Gaps, end_of};
use crate::causal::{CausalContext, Delta, Dot, DotRanges, Entry, ReplicaId};
use crate::session::chunks::ChunkSize;
use crate::session::hub_store::{DocumentId, HubStore, Page};
use crate::small::Few;

/// What a client lacks, and how far it was sent.
#[derive(Debug)]
pub(super) struct Parts {
    /// Dots that the client has not seen; from the front they are taken out as they are sent.
    left: CausalContext,
    /// What died: dots that the client has seen live, and those of `left` that found no room.
    pub(super) dead: CausalContext,
}

impl Parts {
    pub(super) fn new(lacking: CausalContext, dead: CausalContext) -> Self {
        Self { left: lacking, dead }
    }

    /// How many dots are yet to be sent.
    pub(super) fn dot_count(&self) -> u64 {
        self.left.len()
    }

    /// Whether all entries were sent.
    pub(super) fn is_sent(&self) -> bool {
        self.left.is_empty()
    }

    /// The next entries, with the dead dots between them and up to the next one: the client never saw these,
    /// so they take nothing from it, and its context stays in one piece. Those within runs come last, as
    /// what took their place may be yet to come. About so many bytes, and at most so many ranges of dead
    /// dots.
    pub(super) fn next<S: HubStore>(
        &mut self,
        store: &S,
        document: DocumentId,
        gaps: &mut Gaps,
        ChunkSize { bytes, items }: ChunkSize,
    ) -> Result<Delta, S::Error> {
        let mut delta = Delta::default();
        let mut room = bytes;
        while room > 0
            && delta.dead.range_count() < items
            && let Some((replica, start, end)) = first_range(&self.left)
        {
            let page = store.overlapping(document, replica, start, end, room)?;
            let next = match page.entries.last() {
                Some((_, last)) if !page.is_last => {
                    let from = last.last().saturating_add(1);
                    store.overlapping(document, replica, from, end, 1)?.entries.pop()
                }
                Some(_) | None => None,
            };
            // What lies beyond the last entry of a full page comes with the next.
            let next = next.map(|(_, entry)| entry.first);
            let until = next.map_or(end, |next| next.counter.saturating_sub(1).clamp(start, end));
            let firsts: Vec<Dot> = page.entries.iter().map(|(_, entry)| entry.first).collect();
            let mut firsts = firsts.into_iter().skip(1).chain(next);
            let mut runs = DotRanges::default();
            let mut live = DotRanges::default();
            for (_, mut entry) in page.entries {
                runs.insert(entry.first.counter, end_of(&entry, firsts.next()));
                let Some(entry) = entry.take(start, until) else { continue };
                room = room.saturating_sub(Page::cost(&entry));
                live.union(&entry.live_ranges());
                put(&mut delta.entries, entry);
            }
            // Costs of ranges that hold nothing count too, so that a chunk ends.
            room = room.saturating_sub(8);
            let died = DotRanges::of(start..=until).difference(&live);
            let died = CausalContext::of_one(replica, died);
            let kept = gaps.keep(&died, &CausalContext::of_one(replica, runs));
            self.dead.union(&kept);
            let between = died.difference(&kept);
            for (from, to) in between.of(replica).iter().flat_map(|between| between.iter()) {
                let fits = delta.dead.range_count() < items;
                let dead = if fits { &mut delta.dead } else { &mut self.dead };
                dead.insert_range(replica, from, to);
            }
            self.left.remove_range(replica, start, until);
        }
        Ok(delta)
    }
}

fn first_range(dots: &CausalContext) -> Option<(ReplicaId, u64, u64)> {
    let (replica, ranges) = dots.iter().next()?;
    ranges.iter().next().map(|(start, end)| (replica, start, end))
}

/// Adds an entry; parts of one run become one.
fn put(entries: &mut Few<Entry>, entry: Entry) {
    let is_part = |last: &&mut Entry| last.first == entry.first;
    match entries.last_mut().filter(is_part) {
        Some(last) => {
            last.overlay(&entry);
        }
        None => entries.push(entry),
    }
}
