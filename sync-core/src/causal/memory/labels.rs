//! The labels in use, each once in memory.

use crate::small::BTreeSet;

use crate::causal::Label;

/// How many labels fitted last are remembered. Arbitrary: a few for each field of most records.
const RECENT: usize = 32;

/// Every label in use, once.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    all: BTreeSet<Label>,
    recent: Vec<Fitted>,
    turn: usize,
    /// How many there were after those out of use were last dropped.
    kept: usize,
}

/// A label, the live slots, and the label that names only these.
#[derive(Debug, Clone)]
struct Fitted {
    of: Label,
    live: u64,
    label: Label,
}

impl Labels {
    /// The one label that says the same with names for the live slots alone.
    #[inline]
    pub(super) fn fitted(&mut self, label: &Label, live: u64) -> Label {
        if !crate::small::HAS_SHORTCUTS {
            return self.find_fitted(label, live);
        }
        let is_it = |known: &&Fitted| known.live == live && known.of == *label;
        match self.recent.iter().find(is_it) {
            Some(known) => known.label.clone(),
            None => self.find_fitted(label, live),
        }
    }

    #[inline(never)]
    fn find_fitted(&mut self, label: &Label, live: u64) -> Label {
        let dead_names =
            label.names().enumerate().any(|(slot, name)| live >> slot & 1 == 0 && !name.is_empty());
        let wanted = if dead_names { label.only(live) } else { label.clone() };
        let fitted = match self.all.get(&wanted) {
            Some(known) => known.clone(),
            None => {
                self.drop_unused();
                self.all.insert(wanted.clone());
                wanted
            }
        };
        if !crate::small::HAS_SHORTCUTS {
            return fitted;
        }
        let found = Fitted { of: label.clone(), live, label: fitted.clone() };
        if self.recent.len() < RECENT {
            self.recent.push(found);
        } else {
            self.turn = (self.turn + 1) % RECENT;
            self.recent[self.turn] = found;
        }
        fitted
    }

    /// Drops what no row has, each time that twice as many have come together.
    fn drop_unused(&mut self) {
        if self.all.len() >= 2 * self.kept + 64 {
            self.recent.clear();
            self.all.retain(|label| label.clone_count() > 1);
            self.kept = self.all.len();
        }
    }
}
