//! Repair of copies that ought to be equal: what was lost, came back or was altered, over real stores.

use proptest::prelude::*;
use sync_core::causal::{
    Delta, Dot, DotStore, Entry, Label, MemoryStore, PlaceId, ReplicaId, Slots, part,
};
use sync_core::reconcile::{Limits, Mode, Repair, RepairMessage, Repaired, Verdict};
use sync_core::time::Stamp;

use crate::laws::{deed, history};

/// What a repair came to: what it changed on both sides, and the comparison's messages.
struct Run {
    repaired: [Repaired; 2],
    messages: Vec<usize>,
    given: [usize; 2],
}

fn repair(stores: &mut [MemoryStore; 2], mode: Mode, verdict: Verdict) -> Run {
    let context = |store: &MemoryStore| store.context().clone();
    let mut sides = [
        Repair::initiator(context(&stores[0]), mode, verdict, Limits::default()),
        Repair::responder(context(&stores[1]), mode, verdict, Limits::default()),
    ];
    let mut run = Run { repaired: Default::default(), messages: Vec::new(), given: [0, 0] };
    let mut queue = std::collections::VecDeque::new();
    queue.push_back((1, sides[0].start(&stores[0]).unwrap()));
    while let Some((to, message)) = queue.pop_front() {
        match &message {
            RepairMessage::Compare(bytes) => run.messages.push(bytes.len()),
            RepairMessage::Give(delta) => {
                run.given[1 - to] = delta.entries.len() + delta.dead.range_count();
            }
        }
        let answers = sides[to].handle(&mut stores[to], message).unwrap();
        queue.extend(answers.into_iter().map(|answer| (1 - to, answer)));
    }
    run.repaired = sides.each_ref().map(|side| side.repaired().unwrap().clone());
    run
}

fn joined<'a>(deltas: impl IntoIterator<Item = &'a Delta>) -> MemoryStore {
    let mut store = MemoryStore::default();
    deltas.into_iter().for_each(|delta| drop(store.join(delta)));
    store
}

fn replica(byte: u8) -> ReplicaId {
    ReplicaId::from_bytes([byte; 16])
}

fn record(replica: ReplicaId, number: u64, stamp: u64, body: &[u8]) -> Entry {
    Entry {
        first: Dot::new(replica, number * 5 + 1),
        stamp: Stamp::from_ms(stamp),
        label: Label::new(b"\x01notes", [&b"\0"[..], b"\x01t", b"\x01b", b"\x01d", b"\x01a"]),
        id: PlaceId::new(&u128::from(number).to_be_bytes()),
        slots: Slots::new([&b""[..], b"title", body, b"\xc2", b"\x07"].into_iter().map(Some)),
    }
}

/// A document of so many live dots of four replicas.
fn dense(dots: u64) -> MemoryStore {
    let mut store = MemoryStore::default();
    for id in 1..=4 {
        for number in 0..dots / 20 {
            let entry = record(replica(id), number, number, b"a body");
            store.join(&Delta { entries: [entry].into(), ..Delta::default() });
        }
    }
    store
}

/// Drops what lives in a range without a trace: its dots stay seen.
fn lose(store: &mut MemoryStore, replica: ReplicaId, start: u64, end: u64) -> Vec<Entry> {
    let mut lost = Vec::new();
    let Ok(()) = store.kill(replica, start, end, &mut lost);
    lost
}

/// Brings back what was removed, as a damaged index does.
fn raise(store: &mut MemoryStore, entries: Vec<Entry>) {
    for entry in entries {
        assert_eq!(store.add(entry), Ok(true));
    }
}

fn alter(store: &mut MemoryStore, replica: ReplicaId, number: u64, stamp: u64, body: &[u8]) {
    lose(store, replica, number * 5 + 1, number * 5 + 5);
    raise(store, vec![record(replica, number, stamp, body)]);
}

fn assert_same(stores: &[MemoryStore; 2]) {
    assert!(stores[0] == stores[1]);
    assert_eq!(stores[0].root(), stores[1].root());
}

proptest! {
    #[test]
    fn copies_of_one_history_become_their_join(
        deeds in proptest::collection::vec((0usize..3, deed()), 1..60),
        bits: (u64, u64),
    ) {
        let deltas = history::<MemoryStore>(&deeds);
        let pick = |bits: u64| {
            let picked = deltas.iter().enumerate().filter(|(at, _)| bits >> (at % 64) & 1 == 1);
            joined(picked.map(|(_, delta)| delta))
        };
        let before = [pick(bits.0), pick(bits.1)];
        let join = joined(&[before[0].to_delta(), before[1].to_delta()]);
        for (mode, expected) in [
            (Mode::PushPull, [&join, &join]),
            (Mode::Push, [&before[0], &join]),
            (Mode::Pull, [&join, &before[1]]),
        ] {
            let mut stores = before.clone();
            repair(&mut stores, mode, Verdict::Removed);
            prop_assert_eq!(&stores[0], expected[0]);
            prop_assert_eq!(&stores[1], expected[1]);
        }
    }

    #[test]
    fn damage_of_every_kind_is_repaired_alike_on_both_sides(
        lost in proptest::collection::vec((0usize..2, 1u8..5, 1u64..240, 0u64..12), 0..20),
        altered in proptest::collection::vec((0usize..2, 1u8..5, 0u64..48, 40u64..60), 0..10),
        is_lost: bool,
    ) {
        let mut stores = [dense(1_000), dense(1_000)];
        for (side, id, start, length) in lost {
            lose(&mut stores[side], replica(id), start, start + length);
        }
        for (side, id, number, stamp) in altered {
            alter(&mut stores[side], replica(id), number, stamp, &[side as u8]);
        }
        let verdict = if is_lost { Verdict::Lost } else { Verdict::Removed };
        repair(&mut stores, Mode::PushPull, verdict);
        // A second one settles what stood in the way of an altered run, and then nothing is left.
        repair(&mut stores, Mode::PushPull, verdict);
        assert_same(&stores);
        let run = repair(&mut stores, Mode::PushPull, verdict);
        prop_assert_eq!(run.repaired, [Repaired::default(), Repaired::default()]);
        prop_assert_eq!(run.messages.len(), 2);
    }
}

#[test]
fn a_lost_entry_comes_back_where_it_is_said_to_be_lost() {
    for (mode, sides) in [(Mode::Push, [0, 1]), (Mode::Pull, [1, 0]), (Mode::PushPull, [0, 1])] {
        let mut stores = [dense(2_000), dense(2_000)];
        let whole = stores[0].clone();
        lose(&mut stores[sides[1]], replica(2), 51, 58);
        let run = repair(&mut stores, mode, Verdict::Lost);
        assert_same(&stores);
        assert!(stores[0] == whole);
        assert_eq!(run.repaired[sides[1]], Repaired { added: 8, ..Repaired::default() });
    }
}

#[test]
fn a_dot_that_came_back_dies_again() {
    let mut stores = [dense(2_000), dense(2_000)];
    let removed = lose(&mut stores[0], replica(2), 51, 55);
    lose(&mut stores[1], replica(2), 51, 55);
    let right = stores[0].clone();
    raise(&mut stores[1], removed);
    let run = repair(&mut stores, Mode::PushPull, Verdict::Removed);
    assert_same(&stores);
    assert!(stores[0] == right);
    assert_eq!(run.repaired[1], Repaired { killed: 5, ..Repaired::default() });
    assert_eq!(run.repaired[0], Repaired::default());
}

#[test]
fn of_two_contents_the_later_one_stays_or_that_of_the_side_that_is_taken_over() {
    let base = dense(2_000);
    for (mode, wins) in [(Mode::PushPull, 1), (Mode::Push, 0), (Mode::Pull, 1)] {
        let mut stores = [base.clone(), base.clone()];
        // Another stamp, so that all five dots differ; and bytes alone, so that one does.
        alter(&mut stores[1], replica(2), 7, 1_000, b"forged");
        alter(&mut stores[1], replica(3), 9, 9, b"b body");
        let expected = stores[wins].clone();
        let run = repair(&mut stores, mode, Verdict::Removed);
        assert_same(&stores);
        assert!(stores[0] == expected, "{mode:?}");
        assert_eq!(run.repaired[1 - wins], Repaired { replaced: 6, ..Repaired::default() });
        assert_eq!(run.repaired[wins], Repaired::default());
    }
}

#[test]
fn one_difference_in_a_real_store_of_a_hundred_thousand_is_found_and_given_alone() {
    let base = dense(100_000);
    let mut changed = base.clone();
    changed.join(&Delta {
        entries: [record(replica(9), 0, 5, b"new")].into(),
        dead: [Dot::new(replica(2), 777)].into_iter().collect(),
        ..Delta::default()
    });
    for mut stores in [[base.clone(), changed.clone()], [changed, base]] {
        let run = repair(&mut stores, Mode::PushPull, Verdict::Removed);
        assert_same(&stores);
        println!("{:?}, given {:?}", run.messages, run.given);
        let bytes: usize = run.messages.iter().sum();
        assert!(run.messages.len() <= 6 && bytes <= 4_096, "{:?}", run.messages);
        assert_eq!(run.given.iter().sum::<usize>(), 2);
    }
}

#[test]
fn scattered_differences_in_real_stores_take_sixty_bytes_each() {
    let base = dense(100_000);
    for count in [100u64, 5_000] {
        let mut stores = [base.clone(), base.clone()];
        for at in 0..count {
            // A prime step strews them over all records of all replicas.
            let place = at * 6_007 % 25_000;
            let dot = Dot::new(replica(1 + (at % 4) as u8), place + 1);
            stores[at as usize / 4 % 2]
                .join(&Delta { dead: [dot].into_iter().collect(), ..Delta::default() });
        }
        let run = repair(&mut stores, Mode::PushPull, Verdict::Removed);
        assert_same(&stores);
        let bytes: usize = run.messages.iter().sum();
        println!("{count}: {:?}, {} bytes each", run.messages, bytes as u64 / count);
        assert!(bytes as u64 <= 60 * count, "{:?}", run.messages);
        let killed: u64 = run.repaired.iter().map(|repaired| repaired.killed).sum();
        assert_eq!(killed, count);
    }
}

#[test]
fn what_is_given_is_the_part_that_was_asked_for() {
    let store = dense(2_000);
    let mut dots = sync_core::causal::CausalContext::default();
    for range in [(3, 3), (5, 9), (11, 11), (13, 14), (9_000, 9_001)] {
        dots.insert_range(replica(1), range.0, range.1);
    }
    let Ok(given) = part(&store, &dots);
    assert_eq!(given.live().of(replica(1)).map(|live| live.len()), Some(9));
    assert!(given.dead.is_empty());
    assert_eq!(given.entries.len(), 3);
}
