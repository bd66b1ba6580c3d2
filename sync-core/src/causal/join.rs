//! The join of a delta into a store: the least upper bound of two states.

use serde_bytes::ByteBuf;

use super::{CausalContext, Delta, Dot, DotStore, Entry};

/// A dot that was live until a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Killed {
    /// The dot.
    pub dot: Dot,
    /// The header of its entry.
    pub header: ByteBuf,
    /// Its slot, which is gone from the store.
    pub slot: ByteBuf,
    /// The run that it was part of.
    pub run: Run,
}

/// Where a run of dots starts, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The counter of the first dot.
    pub start: u64,
    /// The number of dots.
    pub len: usize,
}

/// What a join changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joined {
    /// Dots that became live: entries with only these slots.
    pub added: Vec<Entry>,
    /// Dots that were live and are no more.
    pub killed: Vec<Killed>,
    /// Dots that died here or that were never seen and arrived dead.
    pub buried: CausalContext,
    /// Dots that are live here with other bytes: two writers used one name. What is here stays.
    pub clashes: Vec<Dot>,
}

impl Joined {
    /// Whether the delta brought nothing new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.buried.is_empty()
    }
}

/// Joins a delta into a store: commutative, associative and idempotent.
///
/// The delta's entries must have all live dots in its context; the wire decoder refuses others.
pub fn join<S: DotStore>(store: &mut S, delta: &Delta) -> Result<Joined, S::Error> {
    let mut joined = Joined::default();
    for entry in &delta.entries {
        add(store, entry, &mut joined)?;
    }
    for (replica, ranges) in delta.dead().iter() {
        let mut seen = store.seen(replica)?;
        joined.buried.insert_ranges(replica, &ranges.difference(&seen));
        for (start, end) in ranges.iter() {
            for entry in store.overlapping(replica, start, end)? {
                kill(store, entry, start, end, &mut joined)?;
            }
        }
        if !seen.covers(ranges) {
            seen.union(ranges);
            store.set_seen(replica, seen)?;
        }
    }
    Ok(joined)
}

/// Adds the live dots of an entry that were never seen.
fn add<S: DotStore>(store: &mut S, entry: &Entry, joined: &mut Joined) -> Result<(), S::Error> {
    let replica = entry.replica();
    let mut seen = store.seen(replica)?;
    let live = entry.live_ranges();
    let fresh = live.difference(&seen);
    if fresh != live {
        for known in store.overlapping(replica, entry.first.counter, entry.last())? {
            let seen = known.live().filter(|(dot, _)| !fresh.contains(dot.counter));
            let other = seen.filter(|(dot, slot)| {
                let same = |(live, bytes): (Dot, &ByteBuf)| {
                    live == *dot && bytes == *slot && known.header == entry.header
                };
                live.contains(dot.counter) && !entry.live().any(same)
            });
            joined.clashes.extend(other.map(|(dot, _)| dot));
        }
    }
    if fresh.is_empty() {
        return Ok(());
    }
    let mut added = entry.clone();
    for (counter, slot) in (entry.first.counter..).zip(&mut added.slots) {
        if !fresh.contains(counter) {
            *slot = None;
        }
    }
    let known = store.overlapping(replica, entry.first.counter, entry.first.counter)?;
    let merged = match known.into_iter().find(|known| known.first == entry.first) {
        Some(known) => merge(known, &added),
        None => added.clone(),
    };
    store.put(merged, true)?;
    seen.union(&fresh);
    store.set_seen(replica, seen)?;
    joined.added.push(added);
    Ok(())
}

/// Lays the live slots of `added` over the run that is known.
fn merge(mut known: Entry, added: &Entry) -> Entry {
    if known.slots.len() < added.slots.len() {
        known.slots.resize(added.slots.len(), None);
    }
    for (own, new) in known.slots.iter_mut().zip(&added.slots) {
        if new.is_some() {
            own.clone_from(new);
        }
    }
    known
}

/// Kills the dots `start..=end` of a run.
fn kill<S: DotStore>(
    store: &mut S,
    mut entry: Entry,
    start: u64,
    end: u64,
    joined: &mut Joined,
) -> Result<(), S::Error> {
    let replica = entry.replica();
    let run = Run { start: entry.first.counter, len: entry.slots.len() };
    let mut touched = false;
    for (counter, slot) in (entry.first.counter..).zip(&mut entry.slots) {
        if !(start..=end).contains(&counter) {
            continue;
        }
        if let Some(slot) = slot.take() {
            let dot = Dot::new(replica, counter);
            joined.killed.push(Killed { dot, header: entry.header.clone(), slot, run });
            joined.buried.insert(dot);
            touched = true;
        }
    }
    match (touched, entry.is_dead()) {
        (false, _) => Ok(()),
        (true, true) => store.remove(entry.first),
        (true, false) => store.put(entry, false),
    }
}
