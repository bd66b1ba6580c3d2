//! The join of a delta into a store: the least upper bound of two states.

use crate::small::SmallVec;
use crate::sort::sort_by;

use super::entry::{mask_of, ranges_of};
use super::{CausalContext, Delta, Dot, DotRanges, DotStore, Entry, EntryView};

/// What a join changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joined {
    /// Which slots of which entry of the delta became live: its index and a mask.
    pub added: SmallVec<[(usize, u64); 1]>,
    /// What was live and is no more: entries with only these slots.
    pub killed: Vec<Entry>,
    /// Dots that were never seen and arrived dead.
    pub unseen: CausalContext,
    /// Dots that are live here with other bytes: two writers used one name. What is here stays.
    pub clashes: Vec<Dot>,
}

impl Joined {
    /// Whether the delta brought nothing new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.killed.is_empty() && self.unseen.is_empty()
    }

    /// A delta without what of its entries was not taken from it.
    #[must_use]
    pub fn taken_of(&self, delta: &Delta) -> Delta {
        let taken =
            self.added.iter().filter_map(|(at, mask)| Some(delta.entries.get(*at)?.only(*mask)));
        Delta { entries: taken.collect(), ..delta.clone() }
    }

    /// Dots that died here or that were never seen and arrived dead.
    #[must_use]
    pub fn buried(&self) -> CausalContext {
        let mut buried = self.unseen.clone();
        for killed in &self.killed {
            buried.insert_ranges(killed.replica(), &killed.live_ranges());
        }
        buried
    }
}

/// Joins a delta into a store: commutative, associative and idempotent.
///
/// No dot that the delta declares dead may be live in one of its entries; the wire decoder refuses
/// that.
pub fn join<S: DotStore>(store: &mut S, delta: &Delta) -> Result<Joined, S::Error> {
    join_over(store, delta, Vec::new(), |_, _| Ok(None)).map(|(joined, _)| joined)
}

/// As [`join`], with an empty vector for what dies; `overwrite` may put an entry in place of one dot that the
/// delta declares dead, and give that: nothing of both is looked at again. Gives these entries too, by their
/// places in the delta; they are not among what was added, nor is what died by that.
pub(crate) fn join_over<S: DotStore>(
    store: &mut S,
    delta: &Delta,
    killed: Vec<Entry>,
    mut overwrite: impl FnMut(&mut S, &Entry) -> Result<Option<Dot>, S::Error>,
) -> Result<(Joined, Vec<usize>), S::Error> {
    let mut joined = Joined { killed, ..Joined::default() };
    let (mut overwritten, mut replaced) = (Vec::new(), Vec::new());
    for (at, entry) in delta.entries.iter().enumerate() {
        if crate::small::HAS_SHORTCUTS
            && let Some(dot) = overwrite(store, entry)?
        {
            overwritten.push(at);
            replaced.push(dot);
            continue;
        }
        let fresh = add(store, entry, &mut joined)?;
        if fresh != 0 {
            joined.added.push((at, fresh));
        }
    }
    if !crate::small::HAS_SHORTCUTS || replaced.is_empty() {
        bury(store, &delta.dead, &mut joined)?;
    } else {
        // Those of each replica are in order by that.
        sort_by(&mut replaced, |a, b| a.counter.cmp(&b.counter));
        bury(store, &delta.dead.difference(&replaced.into_iter().collect()), &mut joined)?;
    }
    Ok((joined, overwritten))
}

/// Kills what is live of some dots, and sees the others.
fn bury<S: DotStore>(
    store: &mut S,
    dead: &CausalContext,
    joined: &mut Joined,
) -> Result<(), S::Error> {
    for (replica, ranges) in dead.iter() {
        let seen = store.seen(replica)?;
        let (is_seen, max) = (seen.covers(ranges), seen.max());
        if !is_seen {
            joined.unseen.insert_ranges(replica, &ranges.difference(&seen));
        }
        for (start, end) in ranges.iter() {
            // What was never seen is not live.
            if start <= max && !broken!(JoinKeepsDead) {
                store.kill(replica, start, end, &mut joined.killed)?;
            }
        }
        if !is_seen && !broken!(JoinForgetsUnseen) {
            store.see(replica, ranges)?;
        }
    }
    Ok(())
}

/// Adds the live dots of an entry that were never seen. Gives their slots.
fn add<S: DotStore>(store: &mut S, entry: &Entry, joined: &mut Joined) -> Result<u64, S::Error> {
    let replica = entry.replica();
    let first = entry.first.counter;
    let live = entry.slots.live();
    let seen = store.seen(replica)?;
    let fresh = if broken!(JoinRevives) { live } else { live & !seen_mask(&seen, first) };
    if fresh != live {
        for known in store.overlapping(replica, first, entry.last())? {
            clashes(known.view(), entry.view(), &mut joined.clashes);
        }
    }
    if fresh == 0 {
        return Ok(0);
    }
    let new = ranges_of(first, fresh);
    let entry =
        if fresh == live || broken!(JoinIgnoresMask) { entry.clone() } else { entry.only(fresh) };
    if !store.add(entry)? {
        let refused = new.iter().flat_map(|(start, end)| start..=end);
        joined.clashes.extend(refused.map(|counter| Dot::new(replica, counter)));
        return Ok(0);
    }
    store.see(replica, &new)?;
    Ok(fresh)
}

/// The slots of a run from `first` that were seen.
fn seen_mask(seen: &DotRanges, first: u64) -> u64 {
    if seen.max() < first {
        return 0;
    }
    let touching = seen.overlapping(first, first.saturating_add(63));
    touching.fold(0, |mask, (start, end)| mask | mask_of(first, start, end))
}

/// Finds the dots that are live in both and do not say the same.
fn clashes(known: EntryView<'_>, new: EntryView<'_>, clashes: &mut Vec<Dot>) {
    let same_place =
        known.stamp == new.stamp && known.id == new.id && known.label.space() == new.label.space();
    for (dot, name, bytes) in new.named() {
        let other = known.named().find(|(other, _, _)| *other == dot);
        if other.is_some_and(|other| !same_place || (other.1, other.2) != (name, bytes)) {
            clashes.push(dot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Label, MemoryStore, PlaceId, ReplicaId, Slots};
    use crate::error::Sure;
    use crate::time::Stamp;

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([1; 16]), counter)
    }

    /// A run from dot 10 with a live slot for each that has bytes.
    fn run(slots: &[Option<&str>]) -> Entry {
        let name = |slot: &Option<&str>| slot.map_or(&b""[..], |_| b"name");
        let label = Label::new(b"space", slots.iter().map(name));
        let slots = Slots::new(slots.iter().map(|slot| slot.map(str::as_bytes)));
        Entry { first: dot(10), stamp: Stamp::from_bits(1), label, id: PlaceId::new(b"id"), slots }
    }

    fn delta(entry: Entry) -> Delta {
        Delta { entries: [entry].into(), ..Delta::default() }
    }

    fn dead(counters: &[u64]) -> Delta {
        Delta { dead: counters.iter().map(|at| dot(*at)).collect(), ..Delta::default() }
    }

    #[test]
    fn whoever_says_something_else_under_a_live_dot_is_noticed() {
        let known = run(&[Some("a"), Some("b"), None]);
        let others = [
            (run(&[Some("a"), Some("x"), None]), vec![11]),
            (run(&[Some("x"), Some("x"), Some("c")]), vec![10, 11]),
            (run(&[None, Some("b"), Some("c")]), vec![]),
            (Entry { stamp: Stamp::from_bits(2), ..known.clone() }, vec![10, 11]),
            (Entry { id: PlaceId::new(b"other"), ..known.clone() }, vec![10, 11]),
            (
                Entry { label: Label::new(b"other", known.label.names()), ..known.clone() },
                vec![10, 11],
            ),
            (
                Entry {
                    label: Label::new(b"space", [&b"name"[..], b"other", b""]),
                    ..known.clone()
                },
                vec![11],
            ),
        ];
        for (other, expected) in others {
            let mut store = MemoryStore::default();
            store.join(&delta(known.clone()));
            let joined = store.join(&delta(other.clone()));
            let clashes: Vec<u64> = joined.clashes.iter().map(|dot| dot.counter).collect();
            assert_eq!(clashes, expected, "{other:?}");
            let kept: Vec<Entry> = store.overlapping(dot(10).replica, 10, 11).sure();
            let kept =
                kept.iter().flat_map(Entry::live).take(2).map(|(dot, bytes)| (dot.counter, bytes));
            assert_eq!(
                kept.collect::<Vec<_>>(),
                [(10, &b"a"[..]), (11, b"b")],
                "what is here stays"
            );
        }
    }

    #[test]
    fn a_join_is_empty_if_it_brings_nothing_new() {
        let mut store = MemoryStore::default();
        let steps = [
            (delta(run(&[Some("a"), Some("b")])), false),
            (delta(run(&[Some("a"), None])), true),
            (dead(&[10]), false),
            (dead(&[10]), true),
            (dead(&[10, 12]), false),
            (delta(run(&[Some("a"), None, Some("c")])), true),
        ];
        for (step, is_empty) in steps {
            assert_eq!(store.join(&step).is_empty(), is_empty, "{step:?}");
        }
    }
}
