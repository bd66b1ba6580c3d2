//! What sessions keep and say at most: each limit at its value, one below and one above it.

use std::collections::BTreeMap;

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Label, MemoryStore, Note, PlaceId, RUN_DOTS_MAX, ReplicaId,
    Slots,
};
use sync_core::pack::varint;
use sync_core::reconcile::{Limits, Mode, Reconciler};
use sync_core::session::{
    Boot, Client, ClientConfig, ClientInput, ClientOutput, Hub, HubInput, HubOutput, MemoryHub,
    Now, SavedDocument, Step,
};
use sync_core::time::Stamp;
use sync_core::types::RecordId;
use sync_core::wire::{
    Claim, ClientMessage, Cursor, HubMessage, Push, SYNC_MESSAGES_MAX, SYNC_SESSION_BYTES_MAX,
    VERSION, Welcome, decode_client, decode_delta, decode_hub, encode_delta,
};

use crate::world::{DOCUMENT, World};

/// Counters up to here are dead at both sides: positions of a comparison, as many as one likes.
const DEAD_MAX: u64 = 1 << 50;

/// As `DIED_MAX` of the hub.
const DIED_MAX: u64 = 1 << 16;

/// As `AT_ONCE_MAX` of the hub.
const AT_ONCE_MAX: u32 = 4;

/// As `HELD_BYTES_MAX` of the client.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// As `REFILL_RANGES_MAX` of the client.
const REFILL_RANGES_MAX: usize = 3_000;

/// As `ENTRIES_MAX` of the conflict log.
const CONFLICTS_MAX: usize = 1_000;

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
    Delta { entries, ..Delta::default() }
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
        let heard = self.say(1, &ClientMessage::Push(Push { channel, id, delta }));
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
        let runs = (0..=DIED_MAX / RUN_DOTS_MAX as u64)
            .map(|run| entry(1 + run * RUN_DOTS_MAX as u64, RUN_DOTS_MAX));
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
        bench.push(1, &dead(1, count));
        assert_eq!(bench.compare(1, &parts).is_some(), count <= DIED_MAX, "{count}");
    }
}

#[test]
fn the_comparisons_of_a_connection_at_a_time_are_limited() {
    let mut bench = Bench::new(AT_ONCE_MAX + 1, &[of_entries(vec![entry(1, 1)])]);
    let own = dead(1, 1);
    let mut store = MemoryStore::default();
    store.join(&own);
    for channel in 1..=AT_ONCE_MAX + 1 {
        bench.open(2, channel, own.dead.clone());
        let context = store.context().clone();
        let mut initiator = Reconciler::initiator(context, Mode::PushPull, Limits::default());
        let hello = initiator.start(&store).unwrap();
        assert_eq!(bench.compare(channel, &hello).is_some(), channel <= AT_ONCE_MAX, "{channel}");
    }
}

/// A client that hears what a test likes, and stores at once.
struct Listener {
    client: Client,
    steps: Vec<Step>,
    sent: Vec<ClientMessage>,
}

impl Listener {
    /// Opens a document that has a context, at a hub with nothing.
    fn new(context: CausalContext) -> Self {
        let mut client = Client::new(ClientConfig::default());
        let store = MemoryStore::load(context, []);
        let saved = SavedDocument { store, ..SavedDocument::default() };
        client.open(DOCUMENT, saved, replica(9), 1);
        let mut listener = Self { client, steps: Vec::new(), sent: Vec::new() };
        listener.input(ClientInput::Connected);
        let welcome = Welcome { version: VERSION, hub: 1, boot: 2, now_ms: 0, packs: false };
        listener.hear(&HubMessage::Welcome(welcome));
        let context = CausalContext::default();
        let openings = Vec::new();
        listener.hear(&HubMessage::Opened { channel: 1, context, resumed: false, openings });
        listener
    }

    fn hear(&mut self, message: &HubMessage) {
        self.input(ClientInput::Frame(message.encode()));
    }

    fn input(&mut self, input: ClientInput) {
        self.client.handle(Now::default(), input);
        while let Some(output) = self.client.poll() {
            match output {
                ClientOutput::Send(frame) => self.sent.push(decode_client(&frame).unwrap()),
                ClientOutput::Persist(persist) => {
                    self.steps.extend(persist.steps);
                    self.client.handle(Now::default(), ClientInput::Persisted(persist.id));
                }
                ClientOutput::Disconnect { reason } => panic!("{reason}"),
                ClientOutput::Event(_) => {}
            }
        }
    }
}

/// Removals from a counter on that cost so many bytes, as many as a frame takes.
fn removals(first: u64, cost: usize) -> (Delta, u64) {
    let note = |counter, id: usize| Note {
        dot: Dot::new(replica(1), counter),
        stamp: Stamp::default(),
        label: Label::new(b"s", []),
        id: PlaceId::new(&vec![b'i'; id]),
    };
    let base = dead(first, first).cost();
    let each = Delta { notes: vec![note(first, 100)], ..dead(first, first) }.cost() - base;
    let count = ((cost - base) / each).min(700) as u64;
    let last = first + count - 1;
    let mut delta = dead(first, last);
    delta.notes = (first..=last).map(|counter| note(counter, 100)).collect();
    let rest = cost - delta.cost();
    // What is left goes into a longer id of as many notes as it takes.
    let mut rest = if rest < 100_000 { rest } else { 0 };
    for one in &mut delta.notes {
        let more = rest.min(60);
        one.id = PlaceId::new(&vec![b'i'; 100 + more]);
        rest -= more;
    }
    (delta, last + 1)
}

#[test]
fn the_removals_that_wait_for_the_end_of_a_catch_up_are_limited() {
    for beyond in [-1isize, 0, 1] {
        let mut listener = Listener::new(CausalContext::default());
        let limit = HELD_BYTES_MAX.checked_add_signed(beyond).unwrap();
        let (mut held, mut counter, mut number) = (0, 1, 0);
        while held < limit {
            let left = limit - held;
            let (delta, next) = removals(counter, left.min(100_000));
            let cost = delta.cost();
            let fits = held + cost <= HELD_BYTES_MAX;
            (number, counter, held) = (number + 1, next, held + cost);
            let chunk = HubMessage::Chunk { channel: 1, number, delta, cursor: None };
            listener.hear(&chunk);
            let is_joined = listener.steps.iter().any(|step| matches!(step, Step::Join(_)));
            assert_eq!(is_joined, !fits, "{held} of {HELD_BYTES_MAX}");
        }
        assert_eq!(held, limit);
        let cursor = Some(Cursor { boot: 2, seq: 1 });
        let (number, delta) = (number + 1, Delta::default());
        listener.hear(&HubMessage::Chunk { channel: 1, number, delta, cursor });
        let context = listener.client.document(DOCUMENT).unwrap().context();
        assert_eq!(context, &range(1, counter - 1), "nothing of it is lost");
    }
}

#[test]
fn the_ranges_of_a_push_of_a_refill_are_limited() {
    for count in [REFILL_RANGES_MAX - 1, REFILL_RANGES_MAX, REFILL_RANGES_MAX + 1] {
        let dots = (0..count as u64).map(|number| Dot::new(replica(1), 1 + 2 * number));
        let listener = Listener::new(dots.collect());
        let pushes = listener.sent.iter().filter_map(|message| match message {
            ClientMessage::Push(push) => Some(decode_delta(&push.delta).unwrap()),
            _ => None,
        });
        let ranges: Vec<usize> = pushes.map(|delta| delta.dead.range_count()).collect();
        let most = count.min(REFILL_RANGES_MAX);
        let rest: Vec<usize> = (count > most).then_some(count - most).into_iter().collect();
        assert_eq!(ranges, [vec![most], rest].concat());
    }
}

#[test]
fn the_conflict_log_is_limited_and_the_oldest_go() {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    let clash = |world: &mut World, ids: std::ops::Range<usize>| {
        (0..2).for_each(|at| world.disconnect(at));
        for at in 0..2 {
            for number in ids.clone() {
                let title = format!("of {at}");
                world.write(at, &format!("n{number}"), &[("title", &title)]);
            }
        }
        (0..2).for_each(|at| world.connect(at));
        world.settle();
    };
    let logged = |world: &World| -> BTreeMap<String, u64> {
        let log = world.devices[0].client.conflict_log(DOCUMENT).unwrap();
        log.map(|(entry, _)| (entry.record.clone(), entry.seen_ms)).collect()
    };
    let id = |number: usize| RecordId::new(format!("n{number}")).unwrap().to_string();
    clash(&mut world, 0..1);
    world.now.unix_ms += 1_000;
    clash(&mut world, 1..CONFLICTS_MAX - 1);
    assert_eq!(logged(&world).len(), CONFLICTS_MAX - 1);
    clash(&mut world, CONFLICTS_MAX - 1..CONFLICTS_MAX);
    assert_eq!(logged(&world).len(), CONFLICTS_MAX);
    assert!(logged(&world).contains_key(&id(0)));
    clash(&mut world, CONFLICTS_MAX..CONFLICTS_MAX + 1);
    let log = logged(&world);
    assert_eq!(log.len(), CONFLICTS_MAX);
    assert!(!log.contains_key(&id(0)), "the oldest has gone");
    assert!((1..=CONFLICTS_MAX).all(|number| log.contains_key(&id(number))));
}
