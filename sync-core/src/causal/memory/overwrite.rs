//! The change that is by far the most common: one element in place of another of the same name. What
//! follows from it is known beforehand, so the row is looked up once and nothing is looked at twice.

use super::MemoryStore;
use super::labels::Place;
use super::rows::Row;
use crate::causal::{CausalContext, Dot, Entry, Label, Overwrite};

/// Which live dot an entry may take the place of.
enum Replaced<'a> {
    /// This one.
    One(Dot),
    /// One of these.
    Among(&'a CausalContext),
    /// Whichever there is, if that says something else.
    Any,
}

impl MemoryStore {
    /// See [`PlaceStore::overwrite`](crate::causal::PlaceStore::overwrite).
    #[inline]
    pub(super) fn overwrite_row(
        &mut self,
        entry: &Entry,
        dead: Option<Dot>,
        killed: Option<&mut Vec<Entry>>,
        needed: u8,
    ) -> Overwrite {
        let head = match dead {
            Some(dead) => self.row_of_dot(dead),
            None => self.row_of(entry.label.space(), &entry.id),
        };
        let replaced = dead.map_or(Replaced::Any, Replaced::One);
        let done = head.and_then(|head| self.overwrite_at(head, entry, replaced, killed, needed));
        done.unwrap_or(Overwrite::StepByStep)
    }

    /// As [`overwrite_row`](Self::overwrite_row), of whichever live dot is among `dead`. Gives that if it was
    /// done.
    #[inline]
    pub(super) fn overwrite_one(
        &mut self,
        entry: &Entry,
        dead: &CausalContext,
        killed: &mut Vec<Entry>,
        needed: u8,
    ) -> Option<Dot> {
        let head = self.row_of(entry.label.space(), &entry.id)?;
        match self.overwrite_at(head, entry, Replaced::Among(dead), Some(killed), needed)? {
            Overwrite::Done(dot) => Some(dot),
            Overwrite::Same | Overwrite::StepByStep => None,
        }
    }

    /// Does it, by a row of the object, or nothing.
    fn overwrite_at(
        &mut self,
        head: u32,
        entry: &Entry,
        replaced: Replaced<'_>,
        killed: Option<&mut Vec<Entry>>,
        needed: u8,
    ) -> Option<Overwrite> {
        let Entry { first, label, id, slots, .. } = entry;
        let new = slots.only_slot().filter(|_| label.len() == 1)?;
        let Exchanged { row, slot, left, taken, new: label } =
            self.exchanged(head, entry, killed.is_some(), needed)?;
        let known = self.view(row);
        let (span, bytes) = known.slots.find(slot)?;
        let old = Dot::new(known.first.replica, known.first.counter + slot as u64);
        match replaced {
            Replaced::One(dot) if dot != old => return None,
            Replaced::Among(dots) if !dots.contains(old) => return None,
            Replaced::Any if bytes == new => return Some(Overwrite::Same),
            Replaced::One(_) | Replaced::Among(_) | Replaced::Any => {}
        }
        let (was, is) = (known.content(slot, bytes), entry.view().content(0, new));
        let (writer, at) = self.see_next(*first, first.counter)?;
        let sum = self.fingerprints.change_one(*first, is, true);
        let (id, stamp, counter) = (id.clone(), entry.stamp, first.counter);
        let slots = slots.clone();
        self.link_to(row, Row { id, stamp, counter, label, slots, sum, writer, next: 0 }, at);
        self.take_slot(row, &span, was, left, killed.zip(taken));
        Some(Overwrite::Done(old))
    }

    /// The row and the slot that an entry takes the place of, if there is nothing else to it, by a row of the
    /// object.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn exchanged(
        &mut self,
        head: u32,
        entry: &Entry,
        is_taken: bool,
        needed: u8,
    ) -> Option<Exchanged> {
        let Entry { label, id, .. } = entry;
        let is_plain = label.tag(0).is_some_and(|(tag, ..)| tag & 0x80 == 0 && tag != needed);
        let Self { rows, labels, open, .. } = self;
        let mut row = rows.of(head);
        if !is_plain || row.id != *id {
            return None;
        }
        let (mut found, mut has_needed, mut number) = (None, false, head);
        loop {
            has_needed |= row.label.tags().has_plainly(needed);
            let known = labels.exchange(&row.label, row.slots.live(), label);
            if !known.is_of_space {
                return None;
            }
            match &known.place {
                Place::Nowhere => {}
                Place::At { slot, left, taken } if found.is_none() => {
                    let (left, taken) = (left.clone(), is_taken.then(|| taken.clone()));
                    let new = known.new.clone();
                    found = Some(Exchanged { row: number, slot: *slot, left, taken, new });
                }
                Place::At { .. } | Place::Unclear => return None,
            }
            number = row.next;
            if number == head {
                break;
            }
            row = rows.of(number);
        }
        let is_open = !open.is_empty() && open.contains(&(label.space().into(), id.clone()));
        found.filter(|_| has_needed && !is_open)
    }
}

/// A slot of a row that an entry takes the place of.
struct Exchanged {
    row: u32,
    slot: usize,
    /// The label of what is left of the row, and of what is taken, if that is shown.
    left: Label,
    taken: Option<Label>,
    /// The label of the entry, as it is kept.
    new: Label,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{DotStore, PlaceId, PlaceStore, ReplicaId, Slots};
    use crate::error::Sure;
    use crate::time::Stamp;

    /// What the names of existences and of titles begin with.
    const NEEDED: u8 = 1;

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([1; 16]), counter)
    }

    fn entry(counter: u64, space: &str, id: &str, names: &[&[u8]]) -> Entry {
        Entry {
            first: dot(counter),
            stamp: Stamp::from_bits(counter),
            label: Label::new(space.as_bytes(), names.iter().copied()),
            id: PlaceId::new(id.as_bytes()),
            slots: Slots::new(names.iter().map(|_| Some(&b"value"[..]))),
        }
    }

    /// Records `a` and `b` of notes and `a` of others, each with an existence and a title.
    fn store() -> MemoryStore {
        let mut store = MemoryStore::default();
        for (counter, space, id) in [(1, "notes", "a"), (3, "notes", "b"), (5, "others", "a")] {
            let entry = entry(counter, space, id, &[b"\x01", b"\x02title"]);
            store.see(entry.replica(), &entry.live_ranges()).sure();
            assert!(store.add(entry).sure());
        }
        store
    }

    #[test]
    fn only_what_takes_the_place_of_its_like_is_done_in_one_go() {
        let title = |counter| Entry {
            slots: Slots::new([Some(&b"other"[..])].into_iter()),
            ..entry(counter, "notes", "a", &[b"\x02title"])
        };
        let named = |name: &[u8]| entry(7, "notes", "a", &[name]);
        let cases = [
            (title(7), 2, true),
            (title(9), 2, true),
            // Of another record, of another space, and of another field.
            (title(7), 4, false),
            (title(7), 6, false),
            (title(7), 1, false),
            // Dots that were seen, or never were.
            (title(6), 2, false),
            (title(7), 8, false),
            // No record, and no field that is known, is whole in itself, or is no part of an existence.
            (entry(7, "notes", "c", &[b"\x02title"]), 2, false),
            (entry(7, "another", "a", &[b"\x02title"]), 2, false),
            (named(b"\x02body"), 2, false),
            (named(b"\x01"), 1, false),
            (named(b"\x82title"), 2, false),
            (named(b"\x03title"), 2, false),
            (entry(7, "notes", "a", &[b"\x02title", b"\x02body"]), 2, false),
        ];
        for (entry, dead, is_done) in cases {
            let (mut store, mut killed) = (store(), Vec::new());
            let done = store.overwrite(&entry, Some(dot(dead)), Some(&mut killed), NEEDED).sure();
            assert_eq!(done == Overwrite::Done(dot(dead)), is_done, "{entry:?} of {dead}");
            assert_eq!(killed.len(), usize::from(is_done));
            let mut expected = self::store();
            if is_done {
                expected.see(entry.replica(), &entry.live_ranges()).sure();
                assert!(expected.add(entry).sure());
                expected.kill(dot(dead).replica, dead, dead, &mut Vec::new()).sure();
            }
            assert_eq!(store, expected);
        }
        // Where something stands open about the record itself, and not only about another.
        for (open, done) in [("a", Overwrite::StepByStep), ("b", Overwrite::Done(dot(2)))] {
            let mut store = store();
            store.set_open(b"notes", open.as_bytes(), true).sure();
            assert_eq!(
                ["a", "b"].map(|id| store.is_open(b"notes", id.as_bytes()).sure()),
                ["a", "b"].map(|id| id == open)
            );
            assert_eq!(store.overwrite(&title(7), Some(dot(2)), None, NEEDED).sure(), done);
        }
        // What says the same is left alone, where that is asked for.
        let same = entry(7, "notes", "a", &[b"\x02title"]);
        assert_eq!(store().overwrite(&same, None, None, NEEDED).sure(), Overwrite::Same);
    }

    #[test]
    fn a_dot_in_a_run_that_is_known_in_part_is_not_taken_by_another() {
        let mut store = store();
        let part = Entry {
            slots: Slots::new([Some(&b"value"[..]), None, None].into_iter()),
            ..entry(10, "notes", "c", &[b"\x01", b"", b""])
        };
        store.see(part.replica(), &part.live_ranges()).sure();
        assert!(store.add(part).sure());
        assert!(store.see_next(dot(11), 11).is_none() && store.see_next(dot(12), 12).is_none());
        assert!(store.see_next(dot(13), 13).is_some());
    }
}
