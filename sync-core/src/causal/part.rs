//! The part of a state that is about some dots.

use super::entry::mask_of;
use super::{CausalContext, Delta, DotRanges, DotStore, Entry};
use crate::small::Few;

/// The part of a store's state that is about the given dots: entries with these live dots, and those
/// that are dead.
pub fn part<S: DotStore>(store: &S, dots: &CausalContext) -> Result<Delta, S::Error> {
    let mut part = Delta::default();
    for (replica, ranges) in dots.iter() {
        let mut live = DotRanges::default();
        let mut next = 0;
        for (start, end) in ranges.iter() {
            // An entry that reaches over several ranges is met once.
            let from = start.max(next);
            for entry in store.overlapping(replica, from, end)? {
                if entry.first.counter < next {
                    continue;
                }
                next = entry.last().saturating_add(1);
                take(&mut part.entries, &mut live, entry, ranges);
            }
        }
        let dead = store.seen(replica)?.intersection(ranges).difference(&live);
        part.dead.insert_ranges(replica, &dead);
    }
    Ok(part)
}

/// Takes of an entry what is among the ranges.
fn take(entries: &mut Few<Entry>, live: &mut DotRanges, entry: Entry, ranges: &DotRanges) {
    let first = entry.first.counter;
    let touching = ranges.overlapping(first, entry.last());
    let mask = touching.fold(0, |mask, (start, end)| mask | mask_of(first, start, end));
    let of_it = entry.slots.live();
    let entry = match of_it & mask {
        0 => return,
        some if some == of_it => entry,
        some => entry.only(some),
    };
    live.union(&entry.live_ranges());
    entries.push(entry);
}
