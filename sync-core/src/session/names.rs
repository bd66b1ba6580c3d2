//! Objects by dots: what deltas on a live session name them by, in place of their ids.

use crate::causal::{CausalContext, Dot, Entry, Label, PlaceId};
use crate::wire::Names;

/// Runs, and the objects that they are about.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

#[derive(Debug)]
struct Run {
    first: Dot,
    last: u64,
    label: Label,
    id: PlaceId,
}

impl Runs {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the run that an entry is of.
    pub(super) fn add(&mut self, entry: &Entry) {
        let Entry { first, label, id, .. } = entry;
        let found = self.0.binary_search_by_key(first, |run| run.first);
        let (label, id) = (label.clone(), id.clone());
        let run = Run { first: *first, last: entry.last(), label, id };
        match found {
            Ok(at) => self.0[at] = run,
            Err(at) => self.0.insert(at, run),
        }
    }

    /// The object of the run that has a dot.
    pub(super) fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        let after = self.0.partition_point(|run| run.first <= dot);
        let run = self.0.get(after.checked_sub(1)?)?;
        let has = run.first.replica == dot.replica && dot.counter <= run.last;
        has.then(|| (run.label.clone(), run.id.clone()))
    }

    /// The objects of which some dots are dead in a delta, each by one of these dots: where there is
    /// one, by the first of a range. Only runs are taken whose first dot the reader has.
    pub(super) fn among(&self, dead: &CausalContext, is_there: impl Fn(Dot) -> bool) -> Dots {
        let (mut starts, mut others) = (Dots::default(), Vec::new());
        for Run { first, last, label, id } in &self.0 {
            let Some(ranges) = dead.of(first.replica) else { continue };
            let mut overlapping = ranges.overlapping(first.counter, *last);
            let Some((start, _)) = overlapping.next().filter(|_| is_there(*first)) else {
                continue;
            };
            let start = if start < first.counter {
                overlapping.next().map(|(start, _)| start)
            } else {
                Some(start)
            };
            match start {
                Some(start) => starts.add(Dot::new(first.replica, start), label, id),
                None => others.push((*first, label, id)),
            }
        }
        for (dot, label, id) in others {
            starts.add(dot, label, id);
        }
        starts
    }
}

/// Objects, each with a dot of it, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Dots(Vec<(PlaceId, Label, Dot)>);

impl Dots {
    /// Adds an object, if it has no dot yet.
    pub(super) fn add(&mut self, dot: Dot, label: &Label, id: &PlaceId) {
        if self.dot_of(label.space(), id).is_none() {
            let at = self.0.partition_point(|(known, _, _)| known < id);
            self.0.insert(at, (id.clone(), label.clone(), dot));
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        other.0.iter().for_each(|(id, label, dot)| self.add(*dot, label, id));
    }
}

impl Names for Dots {
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot> {
        let from = self.0.partition_point(|(known, _, _)| known < id);
        let mut same = self.0[from..].iter().take_while(|(known, _, _)| known == id);
        same.find(|(_, label, _)| label.space() == space).map(|(_, _, dot)| *dot)
    }
}
