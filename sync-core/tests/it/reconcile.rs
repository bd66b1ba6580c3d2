//! Anti-entropy between two copies: what is found is the difference of the sets, and what it costs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use sync_core::causal::{CausalContext, Dot, Fingerprints, ReplicaId};
use sync_core::reconcile::{
    Difference, Indexed, Limits, LiveDots, Mode, ReconcileError, Reconciler,
};

/// A copy of a document: what was seen, and the contents of what is live.
#[derive(Debug, Clone, Default)]
struct Copy {
    context: CausalContext,
    live: BTreeMap<ReplicaId, Vec<(u64, u64)>>,
    fingerprints: Fingerprints,
}

impl LiveDots for Copy {
    type Error = Infallible;

    fn live(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Infallible> {
        let live = self.live.get(&replica).map_or(&[][..], Vec::as_slice);
        let from = live.partition_point(|(counter, _)| *counter < start);
        let to = live.partition_point(|(counter, _)| *counter <= end);
        Ok(live[from..to.max(from)].iter().copied().take(limit).collect())
    }
}

impl Copy {
    /// A document of live dots, as many of each replica.
    fn dense(replicas: u16, each: u64) -> Self {
        let mut copy = Self::default();
        for index in 0..replicas {
            let id = replica(index);
            copy.context.insert_range(id, 1, each);
            let contents: Vec<u64> = (1..=each).map(|counter| content(id, counter)).collect();
            copy.fingerprints.insert_run(Dot::new(id, 1), &contents);
            copy.live.insert(id, (1..=each).zip(contents).collect());
        }
        copy
    }

    fn add(&mut self, dot: Dot, content: u64) {
        self.context.insert(dot);
        let live = self.live.entry(dot.replica).or_default();
        let at = live.partition_point(|(counter, _)| *counter < dot.counter);
        live.insert(at, (dot.counter, content));
        self.fingerprints.insert(dot, content);
    }

    fn kill(&mut self, dot: Dot) {
        let live = self.live.entry(dot.replica).or_default();
        if let Ok(at) = live.binary_search_by_key(&dot.counter, |(counter, _)| *counter) {
            let (_, content) = live.remove(at);
            self.fingerprints.remove(dot, content);
        }
    }

    /// Removes a dot as a user does: with a dot for the removal.
    fn remove(&mut self, by: ReplicaId, dot: Dot) {
        self.kill(dot);
        self.context.insert(Dot::new(by, self.context.max_of(by) + 1));
    }

    fn alter(&mut self, dot: Dot) {
        self.kill(dot);
        self.add(dot, 7);
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.live.get(&dot.replica).is_some_and(|live| {
            live.binary_search_by_key(&dot.counter, |(counter, _)| *counter).is_ok()
        })
    }

    /// What a plain comparison of sets says.
    fn against(&self, other: &Self) -> Difference {
        let common = self.context.intersection(&other.context);
        let mut difference = Difference {
            unseen_there: self.context.difference(&other.context),
            unseen_here: other.context.difference(&self.context),
            knows_live: true,
            ..Difference::default()
        };
        let replicas: BTreeSet<_> = self.live.keys().chain(other.live.keys()).collect();
        for replica in replicas {
            let of = |copy: &Self| copy.live.get(replica).cloned().unwrap_or_default();
            let (mine, theirs) = (of(self), of(other));
            if mine == theirs {
                continue;
            }
            // Both are sorted, so that one walk over both meets every difference.
            let (mut m, mut t) = (mine.iter().peekable(), theirs.iter().peekable());
            loop {
                let order = match (m.peek(), t.peek()) {
                    (Some((mine, _)), Some((theirs, _))) => mine.cmp(theirs),
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (None, None) => break,
                };
                let (counter, place) = match order {
                    Ordering::Less => (m.next().unwrap().0, &mut difference.live_here),
                    Ordering::Greater => (t.next().unwrap().0, &mut difference.live_there),
                    Ordering::Equal => {
                        let (mine, theirs) = (m.next().unwrap(), t.next().unwrap());
                        if mine == theirs {
                            continue;
                        }
                        (mine.0, &mut difference.conflicting)
                    }
                };
                if common.contains(Dot::new(*replica, counter)) {
                    place.insert(Dot::new(*replica, counter));
                }
            }
        }
        difference
    }
}

fn replica(index: u16) -> ReplicaId {
    let mut bytes = [9; 16];
    bytes[..2].copy_from_slice(&index.to_be_bytes());
    ReplicaId::from_bytes(bytes)
}

fn dot(index: u16, counter: u64) -> Dot {
    Dot::new(replica(index), counter)
}

fn content(replica: ReplicaId, counter: u64) -> u64 {
    (counter ^ u64::from(replica.as_bytes()[1])).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// What a session came to.
struct Run {
    differences: [Difference; 2],
    messages: Vec<Vec<u8>>,
}

impl Run {
    fn byte_count(&self) -> usize {
        self.messages.iter().map(Vec::len).sum()
    }
}

type Failure = ReconcileError<Infallible>;

fn run(a: &Copy, b: &Copy, mode: Mode, limits: Limits) -> Result<Run, Failure> {
    let stores = [a, b].map(|copy| Indexed { fingerprints: &copy.fingerprints, live: copy });
    let mut sides = [
        Reconciler::initiator(a.context.clone(), mode, limits),
        Reconciler::responder(b.context.clone(), limits),
    ];
    let mut messages = vec![sides[0].start(&stores[0])?];
    while let Some(answer) = {
        let to = messages.len() % 2;
        sides[to].handle(&stores[to], messages.last().unwrap())?
    } {
        messages.push(answer);
    }
    assert!(sides.iter().all(Reconciler::is_finished));
    let differences = sides.each_ref().map(|side| side.difference().unwrap());
    let spent = (messages.len() as u32, messages.iter().map(|bytes| bytes.len() as u64).sum());
    assert!(sides.iter().all(|side| side.spent() == spent));
    Ok(Run { differences, messages })
}

/// Runs a session in each direction, checks what it finds, and gives the dearer one's messages and
/// bytes.
fn check(a: &Copy, b: &Copy) -> (usize, usize) {
    let mut most = (0, 0);
    for (a, b) in [(a, b), (b, a)] {
        let run = run(a, b, Mode::PushPull, Limits::default()).unwrap();
        let [first, second] = &run.differences;
        assert!(*first == a.against(b), "the initiator's difference");
        assert!(*second == b.against(a), "the responder's difference");
        most = most.max((run.messages.len(), run.byte_count()));
        let kinds: Vec<_> = run.messages.iter().map(|bytes| (bytes[0], bytes.len())).collect();
        println!("kind and bytes of each message: {kinds:?}");
    }
    most
}

/// `count` different dots of a document of `replicas` replicas, strewn over all of it.
fn strewn(replicas: u16, each: u64, count: u64, seed: u64) -> Vec<Dot> {
    let mut state = seed;
    let mut chosen = BTreeSet::new();
    while (chosen.len() as u64) < count {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 24) % (u64::from(replicas) * each);
        chosen.insert(dot((at / each) as u16, at % each + 1));
    }
    chosen.into_iter().collect()
}

#[derive(Debug, Clone)]
enum Deed {
    Add { who: u16, count: u64 },
    Kill { who: u16, from: u64, count: u64 },
    Alter { who: u16, at: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0u16..5, 1u64..400).prop_map(|(who, count)| Deed::Add { who, count }),
        4 => (0u16..5, 1u64..900, 1u64..200)
            .prop_map(|(who, from, count)| Deed::Kill { who, from, count }),
        4 => (0u16..5, 1u64..900, 1u64..3)
            .prop_map(|(who, from, count)| Deed::Kill { who, from, count }),
        1 => (0u16..5, 1u64..900).prop_map(|(who, at)| Deed::Alter { who, at }),
    ]
}

fn act(copy: &mut Copy, deed: &Deed) {
    match *deed {
        Deed::Add { who, count } => {
            let max = copy.context.max_of(replica(who));
            for counter in max + 1..=max + count {
                copy.add(dot(who, counter), content(replica(who), counter));
            }
        }
        Deed::Kill { who, from, count } => {
            for counter in from..from + count {
                copy.kill(dot(who, counter));
            }
        }
        Deed::Alter { who, at } => {
            if copy.is_live(dot(who, at)) {
                copy.alter(dot(who, at));
            }
        }
    }
}

fn copies() -> impl Strategy<Value = (Copy, Copy)> {
    let deeds = || proptest::collection::vec(deed(), 0..12);
    (deeds(), deeds(), deeds()).prop_map(|(shared, ours, theirs)| {
        let mut a = Copy::default();
        shared.iter().for_each(|deed| act(&mut a, deed));
        let mut b = a.clone();
        ours.iter().for_each(|deed| act(&mut a, deed));
        theirs.iter().for_each(|deed| act(&mut b, deed));
        (a, b)
    })
}

proptest! {
    #[test]
    fn what_is_found_is_the_difference_of_the_sets((a, b) in copies(), small: bool) {
        let mut limits = Limits::default();
        if small {
            limits.message_bytes_max = 1_024;
        }
        for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
            let run = run(&a, &b, mode, limits).unwrap();
            let [first, second] = run.differences;
            prop_assert!(first.knows_live || mode == Mode::Push);
            prop_assert!(second.knows_live || mode == Mode::Pull);
            for (found, expected) in [(first, a.against(&b)), (second, b.against(&a))] {
                prop_assert_eq!(&found.unseen_here, &expected.unseen_here);
                prop_assert_eq!(&found.unseen_there, &expected.unseen_there);
                if found.knows_live {
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn a_damaged_message_ends_the_session_or_does_no_harm(
        (a, b) in copies(), at in 0usize..8, byte in 0usize..2_000, flip in 1u8..=255, cut: bool,
    ) {
        let stores = [&a, &b].map(|copy| Indexed { fingerprints: &copy.fingerprints, live: copy });
        let limits = Limits { messages_max: 100, ..Limits::default() };
        let mut sides = [
            Reconciler::initiator(a.context.clone(), Mode::PushPull, limits),
            Reconciler::responder(b.context.clone(), limits),
        ];
        let mut message = sides[0].start(&stores[0]).unwrap();
        for turn in 0..200 {
            if turn == at {
                let place = byte % message.len();
                if cut {
                    message.truncate(place);
                } else {
                    message[place] ^= flip;
                }
            }
            let to = (turn + 1) % 2;
            match sides[to].handle(&stores[to], &message) {
                Ok(Some(answer)) => message = answer,
                Ok(None) => break,
                Err(_) => {
                    prop_assert!(sides[to].difference().is_none());
                    prop_assert!(sides[to].handle(&stores[to], &message).is_err());
                    break;
                }
            }
            prop_assert!(turn < 150, "endless");
        }
    }

    #[test]
    fn arbitrary_messages_are_refused_or_answered(
        (a, b) in copies(), turns in 0usize..6,
        messages in proptest::collection::vec(
            (1u8..11, proptest::collection::vec(any::<u8>(), 0..80)), 1..4),
    ) {
        let stores = [&a, &b].map(|copy| Indexed { fingerprints: &copy.fingerprints, live: copy });
        let mut sides = [
            Reconciler::initiator(a.context.clone(), Mode::PushPull, Limits::default()),
            Reconciler::responder(b.context.clone(), Limits::default()),
        ];
        let mut message = sides[0].start(&stores[0]).unwrap();
        let mut to = 1;
        for _ in 0..turns {
            match sides[to].handle(&stores[to], &message).unwrap() {
                Some(answer) => message = answer,
                None => break,
            }
            to = 1 - to;
        }
        for (kind, rest) in messages {
            let _ = sides[to].handle(&stores[to], &[&[kind], &rest[..]].concat());
        }
    }
}

#[test]
fn equal_copies_of_a_million_agree_in_one_hash_each_way() {
    for (replicas, each) in [(1u16, 1_000_000), (1_000, 1_000)] {
        let copy = Copy::dense(replicas, each);
        let run = run(&copy, &copy, Mode::PushPull, Limits::default()).unwrap();
        let lengths: Vec<_> = run.messages.iter().map(Vec::len).collect();
        println!("{replicas} replicas: {lengths:?}");
        assert!(lengths.len() == 2 && lengths.iter().all(|bytes| *bytes <= 64), "{lengths:?}");
        assert!(run.differences.iter().all(|difference| difference.knows_live));
        let bytes = copy.fingerprints.heap_bytes();
        println!("heap of the fingerprints: {bytes}");
        assert!(bytes <= 4_000_000 / 4, "{bytes}");
    }
}

#[test]
fn one_difference_among_a_million_takes_three_round_trips_and_four_kibibytes() {
    let base = Copy::dense(4, 250_000);
    let target = dot(2, 123_456);
    let with = |deed: &dyn Fn(&mut Copy)| {
        let mut copy = base.clone();
        deed(&mut copy);
        copy
    };
    let cases = [
        ("removed", with(&|copy| copy.remove(replica(1), target))),
        ("lost", with(&|copy| copy.kill(target))),
        ("altered", with(&|copy| copy.alter(target))),
        ("added", with(&|copy| copy.add(dot(3, 250_001), 5))),
        ("added in disorder", with(&|copy| copy.add(dot(3, 250_007), 5))),
    ];
    for (name, copy) in cases {
        let (messages, bytes) = check(&base, &copy);
        println!("{name}: {messages} messages, {bytes} bytes");
        assert!(messages <= 6 && bytes <= 4_096, "{name}: {messages} messages, {bytes} bytes");
    }
}

/// Strews differences over a document of a hundred thousand live dots, where some were removed before
/// the copies parted, and gives the messages and the bytes for each difference.
fn scattered(
    count: u64,
    is_aged: bool,
    deed: fn(&mut [Copy; 2], u64, Dot),
    seed: u64,
) -> (usize, f64) {
    let each = if is_aged { 28_572 } else { 20_000 };
    let mut base = Copy::dense(5, each);
    if is_aged {
        strewn(5, each, 5 * each - 100_000, 77).into_iter().for_each(|dot| base.kill(dot));
    }
    let mut copies = [base.clone(), base];
    let mut dots = strewn(5, each, if is_aged { 3 * count } else { count }, seed);
    dots.retain(|dot| copies[0].is_live(*dot));
    // Strewn over all of the document, however many are left.
    let step = dots.len() as u64 / count;
    let chosen = dots.iter().enumerate().filter(|(at, _)| (*at as u64).is_multiple_of(step));
    for (at, (_, dot)) in (0..count).zip(chosen) {
        deed(&mut copies, at, *dot);
    }
    let (messages, bytes) = check(&copies[0], &copies[1]);
    (messages, bytes as f64 / count as f64)
}

#[test]
fn scattered_differences_among_a_hundred_thousand_take_sixty_bytes_each() {
    type Case = (&'static str, usize, fn(&mut [Copy; 2], u64, Dot));
    let cases: [Case; 3] = [
        ("removed there", 6, |copies, _, dot| copies[1].remove(replica(1), dot)),
        ("removed on both sides", 8, |copies, at, dot| {
            copies[at as usize % 2].remove(replica(at as u16 % 2), dot);
        }),
        ("removed and altered", 16, |copies, at, dot| match at % 4 {
            0 => copies[0].remove(replica(0), dot),
            1 => copies[1].remove(replica(1), dot),
            _ => copies[1].alter(dot),
        }),
    ];
    for (count, is_aged) in
        [(100, false), (100, true), (1_000, true), (10_000, false), (10_000, true)]
    {
        for (name, messages_max, deed) in cases {
            let (messages, each) = scattered(count, is_aged, deed, count + 5);
            let text = format!(
                "{count} {name}, aged {is_aged}: {messages} messages, {each:.1} bytes each"
            );
            println!("{text}");
            assert!(each <= 60.0, "{text}");
            assert!(messages <= messages_max, "{text}");
        }
    }
}

#[test]
fn clustered_differences_cost_little() {
    let base = Copy::dense(4, 250_000);
    let mut whole = base.clone();
    (100_001..=110_000).for_each(|counter| whole.kill(dot(1, counter)));
    let mut every_other = base.clone();
    (100_001..=110_000).step_by(2).for_each(|counter| every_other.kill(dot(1, counter)));
    let mut altered = base.clone();
    (100_001..=100_100).for_each(|counter| altered.alter(dot(1, counter)));
    let cases =
        [("whole", whole, 1_000), ("every other", every_other, 8_000), ("altered", altered, 8_000)];
    for (name, copy, bytes_max) in cases {
        let (messages, bytes) = check(&base, &copy);
        println!("{name}: {messages} messages, {bytes} bytes");
        assert!(bytes <= bytes_max, "{name}: {bytes} bytes");
        assert!(messages <= 12, "{name}: {messages} messages");
    }
}

/// A peer that keeps to the form of messages and never comes to an end: whatever it hears, it says
/// that everything differs, asks for more, or tells nonsense.
fn hostile_answer(heard: &[u8], part_count: &mut usize, plan: u64, turn: u64) -> Vec<u8> {
    let parts = |about: u8, bits: usize| {
        let mut bytes = vec![4, about];
        bytes.extend(std::iter::repeat_n(0xFF, bits / 8));
        // A sum, a count, a count of parts and their hashes.
        bytes.extend_from_slice(&[turn as u8; 8]);
        bytes.extend_from_slice(&[1, 1, 64]);
        bytes.extend_from_slice(&[turn as u8; 256]);
        bytes
    };
    match heard[0] {
        // Its own parts were sent before, or the other side's are to be answered.
        4 => {
            let before = *part_count;
            *part_count = 64;
            parts(1, before)
        }
        5..=7 if plan == 3 => {
            let mut bytes = vec![8, 0];
            bytes.extend_from_slice(&[turn as u8; 8]);
            bytes.extend_from_slice(&[1, 1, (turn % 60) as u8 * 2, 0, 0]);
            bytes
        }
        5 | 6 => vec![7, 127],
        8 => parts(3, 0),
        7 => vec![7, 0],
        kind => panic!("kind {kind} is not expected"),
    }
}

#[test]
fn a_peer_that_never_ends_is_left_within_the_budget() {
    let (mut a, mut b) = (Copy::dense(3, 4_000), Copy::dense(3, 4_000));
    strewn(3, 4_000, 3_000, 1).into_iter().for_each(|dot| a.kill(dot));
    strewn(3, 4_000, 3_000, 2).into_iter().for_each(|dot| b.kill(dot));
    let stores = [&a, &b].map(|copy| Indexed { fingerprints: &copy.fingerprints, live: copy });
    for plan in 0..4 {
        let limits = Limits { messages_max: 64, ..Limits::default() };
        let mut honest = Reconciler::initiator(a.context.clone(), Mode::PushPull, limits);
        let mut other = Reconciler::responder(b.context.clone(), limits);
        let hello = honest.start(&stores[0]).unwrap();
        let context = other.handle(&stores[1], &hello).unwrap().unwrap();
        let mut said = honest.handle(&stores[0], &context).unwrap().unwrap();
        let (mut part_count, mut bytes, mut turns) = (64, 0, plan % 3);
        let failure = loop {
            bytes += said.len();
            turns += 1;
            assert!(turns < 70, "endless");
            let answer = hostile_answer(&said, &mut part_count, plan, turns);
            match honest.handle(&stores[0], &answer) {
                Ok(answer) => said = answer.expect("this peer never says that it is done"),
                Err(failure) => break failure,
            }
        };
        println!("plan {plan}: {turns} turns, {bytes} bytes: {failure}");
        assert!(bytes < 64 * 1_024, "{bytes} bytes for {turns} small messages");
        assert!(honest.difference().is_none() && !honest.is_finished());
    }
}

#[test]
fn each_budget_ends_a_session() {
    let (a, mut b) = (Copy::dense(3, 4_000), Copy::dense(3, 4_000));
    strewn(3, 4_000, 600, 2).into_iter().for_each(|dot| b.kill(dot));
    let full = run(&a, &b, Mode::PushPull, Limits::default()).unwrap();
    // Ranges of positions: those of one replica go on where those of the one before end.
    let mut ranges = CausalContext::default();
    for (index, gone) in (0..3).map(|index| (index, a.against(&b).live_here)) {
        for (start, end) in gone.of(replica(index)).unwrap().iter() {
            let before = u64::from(index) * 4_000;
            ranges.insert_range(replica(0), before + start, before + end);
        }
    }
    let enough = Limits {
        session_bytes_max: full.byte_count() as u64,
        messages_max: full.messages.len() as u32,
        ranges_max: ranges.range_count(),
        ..Limits::default()
    };
    run(&a, &b, Mode::PushPull, enough).unwrap();
    let wide = Limits::default();
    run(&a, &b, Mode::PushPull, Limits { ranges_max: enough.ranges_max + 1, ..wide }).unwrap();
    for (exceeded, limits) in [
        ("bytes of a session", Limits { session_bytes_max: enough.session_bytes_max - 1, ..wide }),
        ("messages of a session", Limits { messages_max: enough.messages_max - 1, ..wide }),
        ("the ranges of what differs", Limits { ranges_max: enough.ranges_max - 1, ..wide }),
    ] {
        let failure = run(&a, &b, Mode::PushPull, limits).err();
        let Some(ReconcileError::Budget { what, .. }) = failure else {
            panic!("{exceeded}: {failure:?}");
        };
        assert_eq!(what, exceeded);
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_unread() {
    let copy = Copy::dense(1, 10);
    let store = Indexed { fingerprints: &copy.fingerprints, live: &copy };
    let limits = Limits { message_bytes_max: 2_000, ..Limits::default() };
    for bytes in [1_999, 2_000, 2_001] {
        let mut side = Reconciler::responder(copy.context.clone(), limits);
        let failure = side.handle(&store, &vec![1; bytes]).unwrap_err();
        let refused = ReconcileError::Budget { what: "bytes of a message", limit: 2_000 };
        assert_eq!(failure == refused, bytes > 2_000, "{bytes}: {failure}");
    }
}

#[test]
fn a_document_that_changes_meanwhile_is_an_error_or_a_true_difference() {
    let (a, mut b) = (Copy::dense(2, 3_000), Copy::dense(2, 3_000));
    strewn(2, 3_000, 40, 5).into_iter().for_each(|dot| b.remove(replica(7), dot));
    let mut unresolved = 0;
    for at in 1..8 {
        let mut changing = b.clone();
        let mut sides = [
            Reconciler::initiator(a.context.clone(), Mode::PushPull, Limits::default()),
            Reconciler::responder(b.context.clone(), Limits::default()),
        ];
        let first = Indexed { fingerprints: &a.fingerprints, live: &a };
        let mut message = sides[0].start(&first).unwrap();
        let outcome = loop {
            let store = Indexed { fingerprints: &changing.fingerprints, live: &changing };
            match sides[1].handle(&store, &message) {
                Ok(Some(answer)) => message = answer,
                other => break other.map(|_| ()),
            }
            if sides[1].spent().0 == at * 2 {
                changing.kill(dot(1, 2_000));
            }
            match sides[0].handle(&first, &message) {
                Ok(Some(answer)) => message = answer,
                other => break other.map(|_| ()),
            }
        };
        match outcome {
            Ok(()) => {
                let found = sides[0].difference().unwrap();
                assert!(found == a.against(&b) || found == a.against(&changing), "at {at}");
            }
            Err(failure) => {
                assert_eq!(failure, ReconcileError::Unresolved, "at {at}");
                unresolved += 1;
            }
        }
    }
    println!("{unresolved} unresolved");
}

#[test]
fn the_same_copies_say_the_same_bytes() {
    let (mut a, mut b) = (Copy::dense(3, 2_000), Copy::dense(3, 2_000));
    strewn(3, 2_000, 2_000, 3).into_iter().for_each(|dot| {
        a.kill(dot);
        b.kill(dot);
    });
    strewn(3, 2_000, 30, 4).into_iter().for_each(|dot| b.remove(replica(0), dot));
    b.alter(dot(2, 77));
    let bytes = || run(&a, &b, Mode::PushPull, Limits::default()).unwrap().messages.concat();
    assert_eq!(bytes(), bytes());
    // On every machine: sums, symbols and choices depend on nothing else.
    assert_eq!(crc32fast::hash(&bytes()), 1_671_219_613);
}
