//! The labels in use, each once in memory.

use crate::small::BTreeSet;

use crate::causal::Label;

/// How many labels fitted last are remembered, and how many exchanges. Arbitrary: a few for each field of
/// most records.
const RECENT: usize = 32;

/// Every label in use, once.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    all: BTreeSet<Label>,
    recent: Vec<Fitted>,
    exchanges: Vec<Exchange>,
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

/// What follows from the labels of a row and of an entry of one slot: whether that would take the place of
/// one of the row's.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    of: Label,
    by: Label,
    live: u64,
    pub(super) place: Place,
    /// Whether both labels are of one space.
    pub(super) is_of_space: bool,
    /// The label of the entry, as it is kept.
    pub(super) new: Label,
}

/// The slot of a row that an entry would take the place of.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// None has this name.
    Nowhere,
    /// This one, which leaves one label behind and takes the other along.
    At { slot: usize, left: Label, taken: Label },
    /// It takes a closer look.
    Unclear,
}

impl Labels {
    /// What follows if an entry of one slot has this label, and a row of its object that one with these live
    /// slots.
    #[inline]
    pub(super) fn exchange(&mut self, of: &Label, live: u64, by: &Label) -> &Exchange {
        let is_it =
            |known: &Exchange| known.by.is_same(by) && known.of.is_same(of) && known.live == live;
        let at = self.exchanges.iter().position(is_it);
        let at = at.unwrap_or_else(|| self.find_exchange(of, live, by));
        &self.exchanges[at]
    }

    #[inline(never)]
    fn find_exchange(&mut self, of: &Label, live: u64, by: &Label) -> usize {
        let like = of.slots_like(by);
        let slot = like.trailing_zeros() as usize;
        let place = if of.tags().has_high() || of.has_control() {
            Place::Unclear
        } else if like == 0 {
            Place::Nowhere
        } else if like.is_power_of_two() && live & like != 0 && of.name(slot) == by.name(0) {
            let (left, taken) = (self.fitted(of, live & !like), self.fitted(of, like));
            Place::At { slot, left, taken }
        } else {
            Place::Unclear
        };
        let new = self.fitted(by, 1);
        let is_of_space = of.is_in_space_of(by);
        let (of, by) = (of.clone(), by.clone());
        let found = Exchange { of, by, live, place, is_of_space, new };
        if self.exchanges.len() == RECENT {
            self.turn = (self.turn + 1) % RECENT;
            self.exchanges.swap_remove(self.turn);
        }
        self.exchanges.push(found);
        self.exchanges.len() - 1
    }

    /// The one label that says the same with names for the live slots alone.
    #[inline]
    pub(super) fn fitted(&mut self, label: &Label, live: u64) -> Label {
        if !crate::small::HAS_SHORTCUTS {
            return self.find_fitted(label, live);
        }
        let is_it = |known: &&mut Fitted| known.live == live && known.of == *label;
        match self.recent.iter_mut().find(is_it) {
            Some(known) => {
                if !known.of.is_same(label) {
                    // It is found faster the next time.
                    known.of = label.clone();
                }
                known.label.clone()
            }
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
            self.exchanges.clear();
            self.all.retain(|label| label.clone_count() > 1);
            self.kept = self.all.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A label of three fields; of each number there is another.
    fn label(number: usize) -> Label {
        let name = |field: &str| format!("r{field}{number}").into_bytes();
        let names = ["title", "body", "done"].map(name);
        Label::new(b"notes", names.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_label_is_kept_once_with_names_for_what_is_live() {
        let mut labels = Labels::default();
        // Some come again while they are remembered, and all once they no longer are.
        for round in 0..3 {
            for number in (0..4 * RECENT).flat_map(|number| [number, number, number / 2]) {
                for live in [0b111, 0b101, 0b010, 0] {
                    let fitted = labels.fitted(&label(number), live);
                    assert_eq!(fitted, label(number).only(live), "{round} {number} {live:b}");
                    assert!(fitted.is_same(labels.all.get(&fitted).unwrap()));
                }
            }
        }
    }

    #[test]
    fn what_takes_the_place_of_a_slot_is_found_whatever_is_remembered() {
        let mut labels = Labels::default();
        for number in (0..3 * RECENT).chain(0..3 * RECENT) {
            let of = labels.fitted(&label(number), 0b111);
            for slot in 0..3 {
                let by = labels.fitted(&Label::new(b"notes", [of.name(slot)]), 1);
                let Exchange { place, new, .. } = labels.exchange(&of, 0b111, &by);
                let Place::At { slot: found, left, taken } = place else {
                    panic!("{number}: {place:?}")
                };
                assert_eq!((*found, new), (slot, &by));
                assert_eq!((left, taken), (&of.only(!(1 << slot)), &of.only(1 << slot)));
            }
            for other in 0..RECENT / 2 {
                let other = Label::new(b"notes", [format!("rother{other}").as_bytes()]);
                assert!(matches!(labels.exchange(&of, 0b111, &other).place, Place::Nowhere));
            }
            let third = Label::new(b"notes", [of.name(2)]);
            assert!(matches!(labels.exchange(&of, 0b011, &third).place, Place::Unclear));
            assert!(matches!(labels.exchange(&of, 0b111, &third).place, Place::At { slot: 2, .. }));
            let another_kind = Label::new(b"notes", [&[b"l", &of.name(0)[1..]].concat()[..]]);
            assert!(matches!(labels.exchange(&of, 0b111, &another_kind).place, Place::Unclear));
        }
    }

    #[test]
    fn labels_out_of_use_are_dropped() {
        let mut labels = Labels::default();
        let in_use: Vec<Label> =
            (0..100).map(|number| labels.fitted(&label(number), 0b111)).collect();
        for number in 100..5_000 {
            labels.fitted(&label(number), 0b111);
            // Twice what was left the last time, and some.
            assert!(labels.all.len() <= 2 * 100 + 64 + RECENT, "{}", labels.all.len());
        }
        for (number, known) in in_use.iter().enumerate() {
            assert!(labels.fitted(&label(number), 0b111).is_same(known));
        }
    }
}
