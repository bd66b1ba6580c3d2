//! The same with deltas that nobody who keeps the rules writes: dots that others have taken, runs in one
//! another's way, the end of what never was, removals of a part.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use sync_core::causal::{EntryView, Note};
use sync_core::document::Author;

use super::*;

/// Existences and elements, plain and as copies of a record that was asserted again.
const NAMES: [&[u8]; 7] =
    [b"\0", b"\x01title", b"\x01body", b"\x03title", b"\x80", b"\x81title", b"\x02title"];

const IDS: [&[u8]; 4] = [b"", b"a", b"aaaaaaaab", b"aaaaaaaac"];

#[derive(Debug, Clone)]
enum Step {
    Hear { run: Option<Run>, dead: Vec<Killed> },
    Remove { by: u8, ahead: u64, object: Index, spared: u8, more: Option<Killed> },
    Edit { by: u8, what: u8, value: i64, bytes_max: usize },
}

/// A run of dots: for each slot that lives its name and one of two values.
#[derive(Debug, Clone)]
struct Run {
    by: u8,
    first: First,
    stamp: u64,
    object: About,
    slots: Vec<Option<(usize, bool)>>,
}

#[derive(Debug, Clone, Copy)]
enum First {
    At(u64),
    /// Behind all that was seen of the replica: the next one, or one later.
    Ahead(u64),
}

#[derive(Debug, Clone)]
enum About {
    Known(Index),
    Any { is_other: bool, id: usize },
}

#[derive(Debug, Clone)]
enum Killed {
    /// What the run has the first name of, as an edit has it.
    Like,
    Live(Index),
    Any {
        by: u8,
        counter: u64,
    },
}

fn run(slots: impl Strategy<Value = Vec<Option<(usize, bool)>>>) -> impl Strategy<Value = Run> {
    let first = prop_oneof![(0..2u64).prop_map(First::Ahead), (1..29u64).prop_map(First::At)];
    let object = prop_oneof![
        4 => any::<Index>().prop_map(About::Known),
        1 => (prop::bool::weighted(0.2), 0..IDS.len())
            .prop_map(|(is_other, id)| About::Any { is_other, id }),
    ];
    (1..3u8, first, 0..4u64, object, slots).prop_map(|(by, first, stamp, object, slots)| Run {
        by,
        first,
        stamp,
        object,
        slots,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let any_dot = || (1..3u8, 1..29u64).prop_map(|(by, counter)| Killed::Any { by, counter });
    let live = || any::<Index>().prop_map(Killed::Live);
    let killed = prop_oneof![12 => Just(Killed::Like), 3 => live(), 5 => any_dot()];
    let name = prop_oneof![1 => Just(0), 4 => Just(1), 2 => Just(2), 1 => Just(3)];
    let one = (name, any::<bool>()).prop_map(|slot| vec![Some(slot)]);
    let slot = prop::option::weighted(0.8, (0..NAMES.len(), any::<bool>()));
    let many = prop::collection::vec(slot, 1..4);
    let dead = prop::collection::vec(prop_oneof![live(), any_dot()], 0..4);
    let spared = prop_oneof![4 => Just(0), 1 => 1..8u8];
    let more = prop::option::weighted(0.2, prop_oneof![live(), any_dot()]);
    let remove = (1..3u8, 0..2u64, any::<Index>(), spared, more);
    let bytes_max = prop_oneof![3 => Just(usize::MAX), 1 => Just(100)];
    prop_oneof![
        3 => (run(one), killed).prop_map(|(run, dead)| Step::Hear { run: Some(run), dead: vec![dead] }),
        2 => (run(many), dead.clone()).prop_map(|(run, dead)| Step::Hear { run: Some(run), dead }),
        1 => dead.prop_map(|dead| Step::Hear { run: None, dead }),
        2 => remove.prop_map(|(by, ahead, object, spared, more)| Step::Remove {
            by,
            ahead,
            object,
            spared,
            more,
        }),
        2 => (1..4u8, 0..4u8, 0..2i64, bytes_max)
            .prop_map(|(by, what, value, bytes_max)| Step::Edit { by, what, value, bytes_max }),
    ]
}

fn replica(by: u8) -> ReplicaId {
    ReplicaId::from_bytes([by; 16])
}

/// What a delta is made against: its parts are chosen among what is there.
struct Known<'a> {
    store: &'a MemoryStore,
    /// All counters are above this.
    base: u64,
}

impl<'a> Known<'a> {
    fn entry(&self, index: &Index) -> Option<EntryView<'a>> {
        let count = self.store.entry_count();
        (count > 0).then(|| self.store.iter().nth(index.index(count)).unwrap())
    }

    fn first(&self, by: u8, first: First) -> Dot {
        let replica = replica(by);
        let ahead = self.store.context().max_of(replica).max(self.base) + 1;
        Dot::new(
            replica,
            match first {
                First::At(counter) => self.base + counter,
                First::Ahead(more) => ahead + more,
            },
        )
    }

    fn run(&self, run: &Run) -> Option<Entry> {
        let (known, space, id): (_, &[u8], _) = match &run.object {
            About::Known(index) => (self.entry(index), b"\x01notes", 0),
            About::Any { is_other: false, id } => (None, b"\x01notes", *id),
            About::Any { is_other: true, id } => (None, b"\x01other", *id),
        };
        let names = run.slots.iter().map(|slot| slot.map_or(&b""[..], |(name, _)| NAMES[name]));
        let slots: Vec<_> = run.slots.iter().map(|slot| slot.map(value)).collect();
        let entry = Entry {
            first: self.first(run.by, run.first),
            stamp: Stamp::from_bits(run.stamp),
            label: Label::new(known.map_or(space, |known| known.label.space()), names),
            id: known.map_or_else(|| PlaceId::new(IDS[id]), |known| known.id.clone()),
            slots: Slots::new(slots.into_iter()),
        };
        Some(entry).filter(|entry| entry.slots.live() != 0 && entry.last() <= Dot::COUNTER_MAX)
    }

    fn killed(&self, killed: &Killed, entry: Option<&Entry>) -> Option<Dot> {
        match killed {
            Killed::Like => self.store.iter().find_map(|known| {
                let is_of_it = |entry: &&Entry| {
                    known.id == &entry.id && known.label.space() == entry.label.space()
                };
                let name = entry.filter(is_of_it)?.label.name(0);
                known.named().find(|(_, known, _)| *known == name).map(|(dot, _, _)| dot)
            }),
            Killed::Live(index) => {
                let entry = self.entry(index)?;
                let live: Vec<Dot> = entry.live().map(|(dot, _)| dot).collect();
                Some(live[index.index(live.len())])
            }
            Killed::Any { by, counter } => Some(Dot::new(replica(*by), self.base + counter)),
        }
    }

    /// The removal of an object, but for some of its entries, by a dot.
    fn removal(
        &self,
        dot: Dot,
        object: &Index,
        spared: u8,
        more: Option<&Killed>,
    ) -> Option<Delta> {
        let object = self.entry(object)?;
        let is_of_it = |known: &EntryView<'_>| {
            known.id == object.id && known.label.space() == object.label.space()
        };
        let entries = (0..).zip(self.store.iter().filter(is_of_it));
        let entries = entries.filter(|(at, _)| spared.checked_shr(*at).unwrap_or(0) & 1 == 0);
        let dots = entries.flat_map(|(_, known)| known.live().map(|(dot, _)| dot));
        let more = more.and_then(|more| self.killed(more, None));
        let dead = dots.chain([dot]).chain(more).collect();
        let label = Label::new(object.label.space(), []);
        let note = Note { dot, stamp: Stamp::from_bits(5), label, id: object.id.clone() };
        let removal = Delta { dead, notes: [note].into(), ..Delta::default() };
        Some(removal).filter(|_| dot.counter <= Dot::COUNTER_MAX)
    }

    fn hears(&self, run: Option<&Run>, dead: &[Killed]) -> Delta {
        let entry = run.and_then(|run| self.run(run));
        let dead = dead.iter().filter_map(|killed| self.killed(killed, entry.as_ref()));
        let mut delta = Delta { dead: dead.collect(), ..Delta::default() };
        delta.entries = entry.into_iter().collect();
        delta.dead = delta.dead.difference(&delta.live());
        delta
    }
}

fn value((name, is_other): (usize, bool)) -> &'static [u8] {
    match (NAMES[name], is_other) {
        (b"\0" | b"\x80", _) => b"",
        (_, false) => b"\xa1t",
        (_, true) => b"\xa1u",
    }
}

fn edit<S: Store>(device: &mut Device<S>, step: (u8, u8, i64, usize)) -> String {
    let (by, what, value, bytes_max) = step;
    let author = Author { replica: replica(by), stamp: Stamp::from_bits(9) };
    let id = RecordId::from_uuid(*b"aaaaaaaaaaaaaaaa");
    let value = Field::Register(Value::from(value));
    let edited = device.document.edit(author, bytes_max, |edit| match what {
        0 => edit.insert("notes", &id, [("title", &value), ("body", &value)]),
        1 => edit.update("notes", &id, [("title", &value)]),
        2 => {
            edit.remove("notes", &id)?;
            edit.insert("notes", &id, [("title", &value), ("body", &value)])
        }
        _ => edit.remove("notes", &id),
    });
    format!("{:?}", edited.map(|edited| (edited.delta, edited.undo)))
}

fn hear<S: Store>(device: &mut Device<S>, delta: &Delta) -> String {
    let Change { touched, orphans, is_new } = device.document.join(delta).sure();
    let mut places: Vec<_> = touched.places().iter().map(|place| format!("{place:?}")).collect();
    places.sort();
    let orphans: Vec<_> = orphans.iter().map(|one| (one.place(), one.edit, one.removal)).collect();
    format!("{places:?} {orphans:?} {is_new}")
}

/// Whether the store in memory takes a delta in one go: as an overwrite, and as a removal.
fn takes_at_once(store: &MemoryStore, delta: &Delta) -> [bool; 2] {
    let mut store = store.clone();
    let only_dead = delta.dead.iter().next().filter(|_| delta.dead.range_count() == 1);
    match (&delta.entries[..], &delta.notes[..], only_dead) {
        ([entry], [], Some((replica, dead))) => {
            let dead = Some(Dot::new(replica, dead.max()));
            let done = store.overwrite(entry, dead, None, 0).sure();
            [matches!(done, Overwrite::Done(_)), false]
        }
        ([], [note], _) => [false, store.bury(note, Some(&delta.dead), 0, &mut Vec::new()).sure()],
        _ => [false, false],
    }
}

#[test]
fn what_breaks_the_rules_is_taken_in_one_go_as_step_by_step() {
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(200) };
    let bases = prop_oneof![6 => Just(0), 1 => Just(Dot::COUNTER_MAX - 30)];
    let steps = prop::collection::vec(step(), 1..40);
    let at_once = Cell::new([0, 0]);
    let run = TestRunner::new(config).run(&(bases, any::<bool>(), steps), |case| {
        let (base, has_record, steps) = case;
        let mut fast = Device::<MemoryStore>::new(1);
        let mut plain = Device::<PagedStore>::new(1);
        if has_record {
            let insert = (1, 0, 0, usize::MAX);
            prop_assert_eq!(edit(&mut fast, insert), edit(&mut plain, insert));
        }
        for step in &steps {
            let known = Known { store: fast.document.store(), base };
            let delta = match step {
                Step::Edit { by, what, value, bytes_max } => {
                    let step = (*by, *what, *value, *bytes_max);
                    prop_assert_eq!(edit(&mut fast, step), edit(&mut plain, step));
                    is_same(&fast, &plain);
                    continue;
                }
                Step::Hear { run, dead } => Some(known.hears(run.as_ref(), dead)),
                Step::Remove { by, ahead, object, spared, more } => {
                    let dot = known.first(*by, First::Ahead(*ahead));
                    known.removal(dot, object, *spared, more.as_ref())
                }
            };
            let Some(delta) = delta.filter(|delta| !delta.is_empty()) else { continue };
            let [overwrites, burials] = takes_at_once(fast.document.store(), &delta);
            at_once.update(|[one, other]| {
                [one + usize::from(overwrites), other + usize::from(burials)]
            });
            prop_assert_eq!(hear(&mut fast, &delta), hear(&mut plain, &delta));
            is_same(&fast, &plain);
        }
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    let [overwrites, burials] = at_once.get();
    assert!(overwrites >= 10 && burials >= 10, "{overwrites} overwrites and {burials} removals");
}
