//! What the session of a hub keeps and says at most: each limit at its value, one below and one above it.

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Label, MemoryStore, PlaceId, RUN_DOTS_MAX, ReplicaId, Slots,
};
use sync_core::pack::varint;
use sync_core::reconcile::{Limits, Mode, Reconciler};
use sync_core::session::limits::{
    CLIENT_SILENCE_MS_MAX, COMPARISONS_MAX, DIED_MAX, FOUND_RANGES_MAX, GAPPED_RANGES_MAX,
    HELLO_MS_MAX, SHOWN_BYTES_MAX, WRITERS_MAX,
};
use sync_core::session::{Boot, Hub, HubInput, HubOutput, MemoryHub, Now};
use sync_core::time::Stamp;
use sync_core::types::Opening;
use sync_core::wire::{
    CLAIMS_MAX, CONTEXT_RANGES_MAX, Claim, ClientMessage, Dictionary, Fault, HubMessage,
    PRESENCE_BYTES_MAX, Push, REPLICAS_MAX, SYNC_MESSAGES_MAX, SYNC_SESSION_BYTES_MAX, VERSION,
    decode_hub, encode_delta,
};

/// Counters up to here are dead at both sides: positions of a comparison, as many as one likes.
const DEAD_MAX: u64 = 1 << 50;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn entry(first: u64, dots: usize) -> Entry {
    let slots = Slots::new((0..dots).map(|_| Some(&b"x"[..])));
    let label = Label::new(b"s", (0..dots).map(|_| &b"n"[..]));
    let (first, stamp) = (Dot::new(replica(1), first), Stamp::default());
    Entry { first, stamp, label, id: PlaceId::new(b"id"), slots }
}

fn range(start: u64, end: u64) -> CausalContext {
    let mut context = CausalContext::default();
    context.insert_range(replica(1), start, end);
    context
}

fn dead(start: u64, end: u64) -> Delta {
    Delta { dead: range(start, end), ..Delta::default() }
}

fn of_entries(entries: Vec<Entry>) -> Delta {
    Delta { entries: entries.into(), ..Delta::default() }
}

/// A hub, and a client of it that says what a test likes.
struct Bench {
    hub: Hub,
    store: MemoryHub,
    pushes: u64,
}

impl Bench {
    /// A hub whose documents have what replica 1 pushed over connection 1.
    fn new(documents: u32, deltas: &[Delta]) -> Self {
        let (hub, store) = (Hub::new(), MemoryHub::new(Boot { hub: 1, boot: 2 }));
        let mut bench = Self { hub, store, pushes: 0 };
        bench.connect(1);
        for channel in 1..=documents {
            bench.open(1, channel, CausalContext::default());
            bench.pushes = 0;
            deltas.iter().for_each(|delta| bench.push(channel, delta));
        }
        bench.connect(2);
        bench
    }

    fn input(&mut self, connection: u64, input: HubInput) -> Vec<HubMessage> {
        let Ok(()) = self.hub.handle(&mut self.store, Now::default(), connection, input);
        let outputs = std::iter::from_fn(|| self.hub.poll());
        let heard = outputs.filter_map(|output| match output {
            HubOutput::Send { connection: to, frame } if to == connection => {
                Some(decode_hub(&frame).unwrap())
            }
            HubOutput::Send { .. } => None,
            HubOutput::Close { fault, .. } => panic!("{fault}"),
        });
        heard.collect()
    }

    /// Says something, and gives for what the hub closes the connection.
    fn fault_of(&mut self, connection: u64, message: &ClientMessage) -> Option<Fault> {
        let input = HubInput::Frame(message.encode());
        let Ok(()) = self.hub.handle(&mut self.store, Now::default(), connection, input);
        let outputs = std::iter::from_fn(|| self.hub.poll());
        let faults = outputs.filter_map(|output| match output {
            HubOutput::Close { fault, .. } => Some(fault),
            HubOutput::Send { .. } => None,
        });
        faults.last()
    }

    fn say(&mut self, connection: u64, message: &ClientMessage) -> Vec<HubMessage> {
        self.input(connection, HubInput::Frame(message.encode()))
    }

    fn connect(&mut self, connection: u64) {
        self.input(connection, HubInput::Connected);
        let (version, token, agent) = (VERSION, None, "a".into());
        self.say(connection, &ClientMessage::Hello { version, token, agent, packs: false });
    }

    fn open(&mut self, connection: u64, channel: u32, context: CausalContext) {
        let open = ClientMessage::Open {
            channel,
            document: format!("d{channel}"),
            cursor: None,
            context,
            claims: vec![Claim { replica: replica(connection as u8), opening: 1 }],
            compares: true,
            unsent: Vec::new(),
        };
        self.say(connection, &open);
    }

    fn push(&mut self, channel: u32, delta: &Delta) {
        self.pushes += 1;
        let (id, delta) = (self.pushes, encode_delta(delta));
        let heard = self.say(1, &ClientMessage::Push(Push { channel, id, delta, skips: false }));
        assert!(heard.iter().any(|message| matches!(message, HubMessage::Stored { .. })));
    }

    /// Says a part of a comparison. Gives the hub's, or none where it sends everything.
    fn compare(&mut self, channel: u32, message: &[u8]) -> Option<Vec<u8>> {
        let message = ClientMessage::Sync { channel, message: message.into() };
        match &self.say(2, &message)[..] {
            [HubMessage::Sync { message, .. }] => Some(message.clone()),
            heard => {
                assert!(matches!(heard[0], HubMessage::Chunk { .. }), "{heard:?}");
                None
            }
        }
    }
}

#[test]
fn the_gaps_that_a_channel_declares_are_limited() {
    for (asked, is_taken) in [
        (CONTEXT_RANGES_MAX - 2, true),
        (CONTEXT_RANGES_MAX - 1, true),
        (CONTEXT_RANGES_MAX, false),
    ] {
        let mut bench = Bench::new(0, &[]);
        let wanted = (1..=asked as u64).map(|at| Dot::new(replica(9), 2 * at)).collect();
        bench.open(1, 1, wanted);
        let mut id = 0;
        let mut push = |bench: &mut Bench, counter, skips| {
            id += 1;
            let delta = encode_delta(&dead(counter, counter));
            let push = ClientMessage::Push(Push { channel: 1, id, delta, skips });
            let input = HubInput::Frame(push.encode());
            let Ok(()) = bench.hub.handle(&mut bench.store, Now::default(), 1, input);
            let mut outputs = std::iter::from_fn(|| bench.hub.poll());
            !outputs.any(|output| matches!(output, HubOutput::Close { .. }))
        };
        assert!(push(&mut bench, 1, false));
        assert_eq!(push(&mut bench, 3, true), is_taken, "{asked}");
        if is_taken {
            assert!(push(&mut bench, 2, false), "what was declared may come later");
            assert!(!push(&mut bench, 5, false), "no other gap is taken");
        }
    }
}

/// A comparison in which the hub waits for what differs. Gives how many messages there were, and their
/// bytes.
fn compared(bench: &mut Bench) -> (u32, u64) {
    let mut own = MemoryStore::default();
    own.join(&dead(1, DEAD_MAX + 1));
    bench.open(2, 1, own.context().clone());
    let mut initiator =
        Reconciler::initiator(own.context().clone(), Mode::PushPull, Limits::default());
    let hello = initiator.start(&own).unwrap();
    let context = bench.compare(1, &hello).unwrap();
    let parts = initiator.handle(&own, &context).unwrap().unwrap();
    let answer = bench.compare(1, &parts).unwrap();
    let messages = [hello, context, parts, answer];
    (4, messages.iter().map(|message| message.len() as u64).sum())
}

/// A hub that has one dot live of all that both sides have seen.
fn with_one_difference() -> Bench {
    Bench::new(1, &[dead(1, DEAD_MAX), of_entries(vec![entry(DEAD_MAX + 1, 1)])])
}

/// A part of what differs, of so many bytes, to which the hub says that it wants the rest.
fn difference(len: usize) -> Vec<u8> {
    let of_head = |head: usize| {
        let mut message = vec![8, 0];
        message.extend([0; 9]);
        let room = len - message.len() - head - 2;
        // Positions far apart take 5 bytes each, and nearer ones 4.
        let near = (5 - room % 5) % 5;
        let far = (room - 4 * near) / 5;
        varint::write(&mut message, (far + near) as u64);
        (0..far).for_each(|_| varint::write(&mut message, 1 << 29));
        (0..near).for_each(|_| varint::write(&mut message, 1 << 22));
        message.extend([0, 0]);
        message
    };
    (1..=3).map(of_head).find(|message| message.len() == len).unwrap()
}

#[test]
fn the_messages_of_a_comparison_are_limited() {
    let mut bench = with_one_difference();
    let (mut messages, _) = compared(&mut bench);
    let small = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    while messages < SYNC_MESSAGES_MAX {
        assert_eq!(bench.compare(1, &small), Some(vec![7, 0]), "after {messages}");
        messages += 2;
    }
    assert_eq!(messages, SYNC_MESSAGES_MAX);
    assert_eq!(bench.compare(1, &small), None, "one more");
}

#[test]
fn the_bytes_of_a_comparison_are_limited() {
    for beyond in [-1i64, 0, 1] {
        let mut bench = with_one_difference();
        let (_, mut bytes) = compared(&mut bench);
        let limit = SYNC_SESSION_BYTES_MAX.checked_add_signed(beyond).unwrap();
        let answer = [7, 0];
        while bytes < limit {
            let left = (limit - bytes) as usize - answer.len();
            // The last but one leaves enough for another.
            let len = if left > 160_000 { 140_000 } else { left };
            let heard = bench.compare(1, &difference(len));
            bytes += (len + answer.len()) as u64;
            assert_eq!(heard.is_some(), bytes <= SYNC_SESSION_BYTES_MAX, "after {bytes}");
        }
        assert_eq!(bytes, limit);
    }
}

#[test]
fn what_dies_during_a_comparison_is_limited() {
    for count in [DIED_MAX - 1, DIED_MAX, DIED_MAX + 1] {
        let runs = (0..=DIED_MAX / RUN_DOTS_MAX)
            .map(|run| entry(1 + (run * RUN_DOTS_MAX) as u64, RUN_DOTS_MAX));
        let live: Vec<Delta> =
            runs.collect::<Vec<_>>().chunks(64).map(|part| of_entries(part.to_vec())).collect();
        let mut bench = Bench::new(1, &live);
        let mut own = MemoryStore::default();
        own.join(&dead(1, 10));
        bench.open(2, 1, own.context().clone());
        let context = own.context().clone();
        let mut initiator = Reconciler::initiator(context, Mode::PushPull, Limits::default());
        let hello = initiator.start(&own).unwrap();
        let context = bench.compare(1, &hello).unwrap();
        let parts = initiator.handle(&own, &context).unwrap().unwrap();
        bench.push(1, &dead(1, count as u64));
        assert_eq!(bench.compare(1, &parts).is_some(), count <= DIED_MAX, "{count}");
    }
}

#[test]
fn the_comparisons_of_a_connection_at_a_time_are_limited() {
    let at_once = COMPARISONS_MAX as u32;
    let mut bench = Bench::new(at_once + 1, &[of_entries(vec![entry(1, 1)])]);
    let own = dead(1, 1);
    let mut store = MemoryStore::default();
    store.join(&own);
    for channel in 1..=at_once + 1 {
        bench.open(2, channel, own.dead.clone());
        let context = store.context().clone();
        let mut initiator = Reconciler::initiator(context, Mode::PushPull, Limits::default());
        let hello = initiator.start(&store).unwrap();
        assert_eq!(bench.compare(channel, &hello).is_some(), channel <= at_once, "{channel}");
    }
}

#[test]
fn the_ranges_that_a_comparison_finds_to_differ_are_limited() {
    for count in [FOUND_RANGES_MAX - 1, FOUND_RANGES_MAX, FOUND_RANGES_MAX + 1] {
        let mut bench = with_one_difference();
        compared(&mut bench);
        let mut message = vec![8, 0];
        message.extend([0; 9]);
        varint::write(&mut message, count as u64);
        // Every second position, in one byte each.
        message.resize(message.len() + count, 0);
        message.extend([0, 0]);
        assert_eq!(bench.compare(1, &message).is_some(), count <= FOUND_RANGES_MAX, "{count}");
    }
}

fn replica_of(number: usize) -> ReplicaId {
    ReplicaId::from_bytes((number as u128 + 1).to_be_bytes())
}

/// An Open of the first document by whoever writes as these replicas.
fn open_as(numbers: std::ops::Range<usize>, unsent: Vec<ReplicaId>) -> ClientMessage {
    let claim = |number| Claim { replica: replica_of(number), opening: 1 };
    ClientMessage::Open {
        channel: 1,
        document: "d1".into(),
        cursor: None,
        context: CausalContext::default(),
        claims: numbers.map(claim).collect(),
        compares: false,
        unsent,
    }
}

#[test]
fn the_bytes_of_presence_that_a_newcomer_is_told_of_are_limited() {
    const { assert!(SHOWN_BYTES_MAX == CLAIMS_MAX * PRESENCE_BYTES_MAX) };
    for (beyond, told) in [(-1isize, CLAIMS_MAX), (0, CLAIMS_MAX), (1, CLAIMS_MAX - 1)] {
        let mut bench = Bench::new(0, &[]);
        bench.connect(1);
        bench.say(1, &open_as(0..CLAIMS_MAX, Vec::new()));
        for number in 0..CLAIMS_MAX {
            // A name of one byte, and in the last one a byte more or less.
            let last = if number + 1 == CLAIMS_MAX { beyond } else { 0 };
            let state = vec![0; (PRESENCE_BYTES_MAX - 1).checked_add_signed(last).unwrap()];
            let (replica, name) = (replica_of(number), "n".into());
            bench.say(1, &ClientMessage::Presence { channel: 1, replica, name, state });
        }
        let heard = bench.say(2, &open_as(0..0, Vec::new()));
        let shown = |message: &&HubMessage| matches!(message, HubMessage::Presence { .. });
        assert_eq!(heard.iter().filter(shown).count(), told, "{beyond} beyond");
    }
}

#[test]
fn the_replicas_whose_marks_are_told_are_limited() {
    let all = WRITERS_MAX + 1;
    let mut bench = Bench::new(0, &[]);
    for (connection, first) in (3..).zip((0..all).step_by(CLAIMS_MAX)) {
        let own = first..all.min(first + CLAIMS_MAX);
        bench.connect(connection);
        bench.say(connection, &open_as(own.clone(), Vec::new()));
        let mark = |number| Opening { first: 1, opening: 1 }.mark(replica_of(number));
        let delta = encode_delta(&of_entries(own.map(mark).collect()));
        bench
            .say(connection, &ClientMessage::Push(Push { channel: 1, id: 1, delta, skips: false }));
    }
    for (connection, count) in (10..).zip([WRITERS_MAX - 1, WRITERS_MAX, WRITERS_MAX + 1]) {
        bench.connect(connection);
        let heard = bench.say(connection, &open_as(0..0, (0..count).map(replica_of).collect()));
        let told = heard.iter().find_map(|message| match message {
            HubMessage::Opened { openings, .. } => Some(openings.len()),
            _ => None,
        });
        assert_eq!(told, Some(count.min(WRITERS_MAX)), "{count}");
    }
}

#[test]
fn the_replicas_that_a_channel_has_claimed_are_limited() {
    for count in [REPLICAS_MAX - 1, REPLICAS_MAX, REPLICAS_MAX + 1] {
        let mut bench = Bench::new(0, &[]);
        // What was not sent counts, and what was let go as well.
        bench.say(1, &open_as(0..CLAIMS_MAX, Vec::new()));
        let mut closed = None;
        for first in (0..count).step_by(CLAIMS_MAX) {
            let replicas = (first..count.min(first + CLAIMS_MAX)).map(replica_of);
            let claim = |replica| Claim { replica, opening: 1 };
            let claims = replicas.clone().map(claim).collect();
            closed = bench.fault_of(1, &ClientMessage::Claim { channel: 1, claims });
            bench.fault_of(1, &ClientMessage::Release { channel: 1, replicas: replicas.collect() });
        }
        let code = closed.as_ref().map(Fault::close_code);
        assert_eq!(code, (count > REPLICAS_MAX).then_some(4413), "{count}: {closed:?}");
    }
}

#[test]
fn the_gaps_that_a_catch_up_leaves_are_limited() {
    let bytes = [0; 20_000];
    // A run that takes a chunk, and the dead dots within.
    let run = |first, count: usize| {
        let slots = (0..=2 * count).map(|at| (at % 2 == 0).then_some(&bytes[..]));
        let run = Entry { slots: Slots::new(slots), ..entry(first, 2 * count + 1) };
        let dead = (0..count as u64).map(|at| Dot::new(replica(1), first + 2 * at + 1)).collect();
        Delta { dead, ..of_entries(vec![run]) }
    };
    let runs = [run(1, 4), run(10, 3)];
    for (beyond, first, second) in [(-1isize, 0, 0), (0, 0, 0), (1, 0, 3), (3, 0, 3), (4, 4, 0)] {
        let mut bench = Bench::new(1, &runs);
        let gapped = (GAPPED_RANGES_MAX - 7).checked_add_signed(beyond).unwrap() as u64;
        let context = (1..=gapped).map(|at| Dot::new(replica(9), 2 * at)).collect();
        let open = ClientMessage::Open {
            channel: 1,
            document: "d1".into(),
            cursor: None,
            context,
            claims: vec![Claim { replica: replica(2), opening: 1 }],
            compares: false,
            unsent: Vec::new(),
        };
        let mut names = Dictionary::new();
        let dead = bench.say(2, &open).into_iter().filter_map(|message| match message {
            HubMessage::Chunk { delta, .. } => {
                Some(names.read_chunk(&delta).unwrap().dead.range_count())
            }
            _ => None,
        });
        assert_eq!(dead.collect::<Vec<_>>(), [first, second, 7], "{beyond} beyond");
    }
}

#[test]
fn how_long_a_client_may_be_silent_is_limited() {
    let (mut hub, mut store) = (Hub::new(), MemoryHub::new(Boot { hub: 1, boot: 2 }));
    let at = |ms| Now { monotonic_ms: 5 + ms, ..Now::default() };
    let mut input = |hub: &mut Hub, ms, connection, input| {
        let Ok(()) = hub.handle(&mut store, at(ms), connection, input);
        while hub.poll().is_some() {}
    };
    let closed = |hub: &mut Hub, ms| -> Vec<(u64, u16)> {
        hub.handle_timeout(at(ms));
        let close = std::iter::from_fn(|| hub.poll()).filter_map(|output| match output {
            HubOutput::Close { connection, fault } => Some((connection, fault.close_code())),
            HubOutput::Send { .. } => None,
        });
        close.collect()
    };
    let (version, token, agent) = (VERSION, None, "a".into());
    let hello = ClientMessage::Hello { version, token, agent, packs: false };
    for connection in [1, 2] {
        input(&mut hub, 0, connection, HubInput::Connected);
    }
    input(&mut hub, 0, 2, HubInput::Frame(hello.encode()));
    assert_eq!(hub.poll_timeout(), Some(5 + HELLO_MS_MAX));
    assert_eq!(closed(&mut hub, HELLO_MS_MAX - 1), []);
    assert_eq!(closed(&mut hub, HELLO_MS_MAX), [(1, 4408)], "it never said hello");
    assert_eq!(hub.poll_timeout(), Some(5 + CLIENT_SILENCE_MS_MAX));
    assert_eq!(closed(&mut hub, CLIENT_SILENCE_MS_MAX - 1), []);
    // Any frame ends the silence.
    let spoke = CLIENT_SILENCE_MS_MAX - 1;
    input(&mut hub, spoke, 2, HubInput::Frame(ClientMessage::Ping.encode()));
    assert_eq!(closed(&mut hub, spoke + CLIENT_SILENCE_MS_MAX - 1), []);
    assert_eq!(closed(&mut hub, spoke + CLIENT_SILENCE_MS_MAX), [(2, 4408)]);
}
