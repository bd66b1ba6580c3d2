//! The removal of an object as a whole, which most removals are: it is looked up once, and its rows are
//! taken out in one go.

use super::MemoryStore;
use super::sorted::Position;
use crate::causal::entry::range_of;
use crate::causal::{CausalContext, Entry, Note, ranges_of};
use crate::sort::sort_by;

impl MemoryStore {
    /// See [`PlaceStore::bury`](crate::causal::PlaceStore::bury).
    pub(super) fn bury_object(
        &mut self,
        note: &Note,
        dead: Option<&CausalContext>,
        needed: u8,
        killed: &mut Vec<Entry>,
    ) -> bool {
        let Some((space, place)) = self.object(note) else { return false };
        let Some(head) = self.spaces[space].ids.row(place) else { return false };
        if !self.is_whole(head, note, dead, needed)
            || !self.context.push(note.dot, note.dot.counter)
        {
            return false;
        }
        self.unlink_object(space, place);
        let (mut number, known) = (head, killed.len());
        loop {
            let (next, taken) = self.take_row(number);
            push_parts(killed, taken);
            number = next;
            if number == head {
                break;
            }
        }
        self.tidy();
        if killed.len() > known + 1 {
            let key = |entry: &Entry| (entry.first, entry.slots.live().trailing_zeros());
            sort_by(&mut killed[known..], |a, b| key(a).cmp(&key(b)));
        }
        true
    }

    /// Where the object of a removal stands: its space, and its place there.
    fn object(&self, note: &Note) -> Option<(usize, Position)> {
        let space = self.space(note.label.space()).ok()?;
        let place = self.find_object(&self.spaces[space].ids, &note.id).ok()?;
        Some((space, place))
    }

    /// Whether the rows of an object are all that a removal takes, if it is known what that is, and nothing
    /// about the object is out of the ordinary.
    fn is_whole(&self, head: u32, note: &Note, dead: Option<&CausalContext>, needed: u8) -> bool {
        let (mut has_needed, mut has_plain, mut left) = (false, false, 1);
        for number in self.rows.ring(head) {
            let row = self.view(number);
            let (tags, live) = row.tags();
            has_needed |= tags.has(needed);
            has_plain |= tags.has_plain();
            if let Some(dead) = dead {
                let Some(dead) = dead.of(row.first.replica) else { return false };
                let is_dead = match range_of(row.first.counter, live) {
                    Some((start, end)) => dead.has_all(start, end),
                    None => dead.covers(&ranges_of(row.first.counter, live)),
                };
                if !is_dead {
                    return false;
                }
                left += u64::from(live.count_ones());
            }
        }
        let is_all = dead.is_none_or(|dead| dead.contains(note.dot) && dead.len() == left);
        let is_open = !self.open.is_empty()
            && self.open.contains(&(note.label.space().into(), note.id.clone()));
        has_needed && has_plain && is_all && !is_open
    }
}

/// Adds an entry for each row of live slots of a run, as they are taken out step by step.
#[inline]
fn push_parts(killed: &mut Vec<Entry>, mut taken: Entry) {
    let live = taken.slots.live();
    let from_first = live >> (live.trailing_zeros() & 63);
    if from_first & from_first.wrapping_add(1) == 0 {
        killed.push(taken);
        return;
    }
    let live = taken.live_ranges();
    killed.extend(live.iter().filter_map(|(start, end)| taken.take(start, end)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, DotStore, Label, PlaceId, PlaceStore, ReplicaId, Slots};
    use crate::error::Sure;
    use crate::time::Stamp;

    /// What the names of existences begin with.
    const NEEDED: u8 = 1;
    const PLAIN: [&[u8]; 3] = [b"\x01", b"\x02title", b"\x02body"];

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([1; 16]), counter)
    }

    fn entry(counter: u64, id: &str, names: &[&[u8]]) -> Entry {
        let slot = |name: &&[u8]| (!name.is_empty()).then_some(&b"value"[..]);
        Entry {
            first: dot(counter),
            stamp: Stamp::from_bits(counter),
            label: Label::new(b"notes", names.iter().copied()),
            id: PlaceId::new(id.as_bytes()),
            slots: Slots::new(names.iter().map(slot)),
        }
    }

    fn store(entries: &[Entry]) -> MemoryStore {
        let mut store = MemoryStore::default();
        for entry in entries {
            store.see(entry.replica(), &entry.live_ranges()).sure();
            assert!(store.add(entry.clone()).sure());
        }
        store
    }

    fn note(counter: u64, id: &str) -> Note {
        let label = Label::new(b"notes", []);
        Note {
            dot: dot(counter),
            stamp: Stamp::from_bits(9),
            label,
            id: PlaceId::new(id.as_bytes()),
        }
    }

    #[test]
    fn only_a_removal_of_just_what_there_is_is_done_in_one_go() {
        let rows = [entry(1, "a", &PLAIN), entry(4, "a", &PLAIN), entry(7, "b", &PLAIN)];
        let dead = |dots: &[u64]| -> CausalContext { dots.iter().copied().map(dot).collect() };
        let whole = [1, 2, 3, 4, 5, 6, 20];
        let cases = [
            (note(20, "a"), whole.to_vec(), true),
            // Something more, as many more as make the product of the rows, and something less.
            (note(20, "a"), [&whole[..], &[7]].concat(), false),
            (note(20, "a"), [&whole[..], &[7, 8]].concat(), false),
            (note(20, "a"), whole[1..].to_vec(), false),
            (note(20, "a"), [&whole[1..], &[7]].concat(), false),
            // Without its own dot, alone and with another one in place of that.
            (note(20, "a"), whole[..6].to_vec(), false),
            (note(20, "a"), [&whole[..6], &[19]].concat(), false),
            // A dot that was seen, and an object that is not there.
            (note(9, "a"), [&whole[..6], &[9]].concat(), false),
            (note(20, "c"), vec![20], false),
        ];
        for (note, dots, is_done) in cases {
            let (mut store, mut killed) = (store(&rows), Vec::new());
            let dead = dead(&dots);
            assert_eq!(
                store.bury(&note, Some(&dead), NEEDED, &mut killed).sure(),
                is_done,
                "{dots:?}"
            );
            let mut expected = self::store(&rows);
            let mut one_by_one = Vec::new();
            if is_done {
                for (start, end) in dead.of(dot(1).replica).unwrap().iter() {
                    expected.kill(dot(1).replica, start, end, &mut one_by_one).sure();
                }
                expected.see(dot(1).replica, dead.of(dot(1).replica).unwrap()).sure();
            }
            assert_eq!((store, killed), (expected, one_by_one), "{dots:?}");
        }
    }

    #[test]
    fn an_object_that_is_out_of_the_ordinary_is_not_removed_in_one_go() {
        let cases: [(&[&[u8]], bool); 6] = [
            (&PLAIN, true),
            // An existence that is a copy will do, and so does a plain one without anything else.
            (&[b"\x81", b"\x02title"], true),
            (&[b"\x01"], true),
            (&[b"\x81", b"\x82title"], false),
            (&[b"\x02title"], false),
            (&[b"\x82title"], false),
        ];
        for (names, is_done) in cases {
            let one = entry(1, "a", names);
            for (open, is_done) in [("b", is_done), ("a", false)] {
                let mut store = store(std::slice::from_ref(&one));
                store.set_open(b"notes", open.as_bytes(), true).sure();
                let done = store.bury(&note(9, "a"), None, NEEDED, &mut Vec::new()).sure();
                assert_eq!(done, is_done, "{names:?}, and {open} is open");
            }
        }
    }

    #[test]
    fn what_dies_is_shown_as_it_dies_step_by_step() {
        let gaps: [&[usize]; 4] = [&[0, 1], &[0, 2], &[1, 2, 4], &[32, 40]];
        for live in gaps {
            let mut names = vec![&b""[..]; 64];
            for (slot, name) in live.iter().zip(PLAIN) {
                names[*slot] = name;
            }
            // One run before the other by its dots, and behind it in the order in which they came.
            let rows = [entry(100, "a", &names), entry(1, "a", &PLAIN)];
            let (mut store, mut killed) = (store(&rows), Vec::new());
            let mut step_by_step = self::store(&rows);
            assert!(store.bury(&note(200, "a"), None, NEEDED, &mut killed).sure());
            let mut expected = Vec::new();
            for (start, end) in self::store(&rows).live().of(dot(1).replica).unwrap().iter() {
                step_by_step.kill(dot(1).replica, start, end, &mut expected).sure();
            }
            assert_eq!(killed, expected, "{live:?}");
            assert_eq!(store.entry_count(), 0);
        }
    }
}
