//! Sizes just under the limits, and peers that use the rules against others.

use std::collections::BTreeMap;

use sync_core::causal::{CausalContext, Delta, Dot, Entry, Label, PlaceId, ReplicaId, Slots};
use sync_core::error::Sure;
use sync_core::session::{Boot, Hub, HubInput, HubOutput, MemoryHub, Now, OutboxState};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId, Value};
use sync_core::wire::{
    Claim, ClientMessage, Dictionary, HubMessage, MESSAGE_BYTES_MAX, Push, VERSION, decode_client,
    decode_hub, encode_delta,
};

use crate::world::{DOCUMENT, World};

fn two() -> World {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    world
}

fn large_field(world: &mut World, at: usize, id: &str, bytes: usize) {
    world.write(at, id, &[("body", &"x".repeat(bytes))]);
    world.settle();
}

#[test]
fn an_empty_hub_is_filled_with_entries_of_every_size() {
    let mut world = two();
    for (number, bytes) in [60_000, 150_000, 60_000, 163_000, 1, 65_000, 120_000].iter().enumerate()
    {
        large_field(&mut world, 0, &format!("n{number}"), *bytes);
    }
    let empty = world.empty_hub();
    world.restart_hub(empty);
    world.heal();
    assert!(world.fields(1, "n6").is_some());
}

#[test]
fn many_small_removals_offline_still_fit_into_messages() {
    let mut world = two();
    let members = |step: usize| -> BTreeMap<String, Field> {
        let members = (0..9_000).step_by(step).map(Value::Int);
        BTreeMap::from([("s".to_owned(), Field::Set(members.collect()))])
    };
    let ids = ["a", "b", "c"].map(|id| RecordId::new(id).unwrap());
    for id in &ids {
        world.change(0, |edit| edit.insert("notes", id, &members(1))).unwrap();
    }
    world.settle();
    world.disconnect(0);
    for id in &ids {
        world.change(0, |edit| edit.update("notes", id, &members(2))).unwrap();
        world.store_one(0);
    }
    world.heal();
    let document = world.devices[1].client.document(DOCUMENT).unwrap();
    let fields = document.record("notes", &ids[2]).sure().unwrap().fields();
    assert_eq!(fields["s"], members(2)["s"]);
}

#[test]
fn a_record_of_the_largest_fields_is_asserted_again() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    let mut bytes = 164_000;
    loop {
        let field = BTreeMap::from([("body".to_owned(), Field::from("x".repeat(bytes)))]);
        let id = RecordId::new("n").unwrap();
        if world.change(0, |edit| edit.update("notes", &id, &field)).is_ok() {
            break;
        }
        bytes -= 1;
    }
    world.settle();
    world.disconnect(0);
    world.write(0, "n", &[("title", "edited")]);
    world.remove(1, "n");
    world.settle();
    world.heal();
    let fields = world.fields(1, "n").expect("the note is there");
    assert_eq!((fields["title"].as_str(), fields["body"].len()), ("edited", bytes));
}

#[test]
fn a_removal_that_comes_in_pieces_leaves_no_copies() {
    use sync_core::session::ChunkSize;
    let mut world = World::with_chunk_size(7, 3, ChunkSize { bytes: 500, items: 3 });
    (0..3).for_each(|at| world.connect(at));
    for number in 0..20 {
        world.write(0, &format!("n{number}"), &[("title", "t")]);
        world.settle();
        world.write(1, &format!("n{number}"), &[("body", "b")]);
        world.settle();
    }
    world.disconnect(2);
    for number in 0..20 {
        world.remove(0, &format!("n{number}"));
        world.settle();
    }
    world.heal();
    assert_eq!(world.entry_count(), 0, "deleted means deleted");
    assert_eq!(world.devices[2].client.conflict_log(DOCUMENT).unwrap().len(), 0);
}

#[test]
fn a_removal_that_overtakes_a_catch_up_leaves_no_copies() {
    use sync_core::session::ChunkSize;
    let mut world = World::with_chunk_size(7, 3, ChunkSize { bytes: 300, items: 3 });
    (0..3).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    world.write(1, "n", &[("body", "b")]);
    world.settle();
    world.disconnect(2);
    for number in 0..20 {
        world.write(0, &format!("m{number}"), &[("title", "t")]);
    }
    world.write(1, "n", &[("body", "c")]);
    world.settle();
    world.connect(2);
    assert!(world.carry(2, true) && world.carry(2, false) && world.carry(2, true), "hello, open");
    world.remove(0, "n");
    while world.store_one(0) || world.carry(0, true) || world.carry(0, false) {}
    world.heal();
    let left = world.entry_count();
    assert_eq!(left, 20, "deleted means deleted");
}

#[test]
fn the_removals_of_a_refill_leave_no_copies() {
    let mut world = two();
    for number in 0..900 {
        world.write(0, &format!("n{number}"), &[("title", "t")]);
        while world.store_one(0) || world.carry(0, true) || world.carry(0, false) {}
    }
    world.settle();
    for number in 0..900 {
        world.write(1, &format!("n{number}"), &[("body", "b")]);
        while world.store_one(1) || world.carry(1, true) || world.carry(1, false) {}
    }
    world.settle();
    let backup = world.store.clone();
    world.disconnect(1);
    for number in (0..900).step_by(2) {
        world.remove(0, &format!("n{number}"));
        while world.store_one(0) || world.carry(0, true) || world.carry(0, false) {}
    }
    world.settle();
    world.disconnect(0);
    world.restart_hub(backup);
    world.connect(1);
    world.settle();
    world.heal();
    let left = world.entry_count();
    let log = world.devices[1].client.conflict_log(DOCUMENT).unwrap().len();
    assert_eq!((left, log), (900, 0), "two entries of each record that was kept, and no conflict");
}

#[test]
fn a_refill_does_not_remove_what_a_change_that_waits_replaces() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    world.disconnect(0);
    world.write(0, "n", &[("title", "new")]);
    while world.store_one(0) {}
    let empty = world.empty_hub();
    world.restart_hub(empty);
    world.connect(1);
    world.settle();
    world.connect(0);
    // Until the change itself arrives, the old title stands.
    for _ in 0..100 {
        world.carry(0, true);
        world.carry(0, false);
        world.store_one(0);
        world.carry(1, false);
        let fields = world.fields(1, "n").expect("the note is there");
        assert!(fields.contains_key("title"), "a part of a change arrived");
    }
    world.heal();
    assert_eq!(world.fields(1, "n").unwrap()["title"], "new");
}

#[test]
fn what_died_of_a_change_that_waits_dies_at_a_hub_that_lost_it_too() {
    let mut world = World::new(7, 3);
    (0..3).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "t"), ("body", "b")]);
    world.settle();
    let backup = world.store.clone();
    world.disconnect(2);
    // The hub takes an edit, which others remove with the record, and its answer is lost.
    world.write(0, "n", &[("title", "new")]);
    while world.store_one(0) || world.carry(0, true) {}
    world.disconnect(0);
    world.settle();
    assert!(world.remove(1, "n"));
    world.settle();
    world.disconnect(1);
    world.connect(0);
    while world.fields(0, "n").is_some() || world.is_storing(0) {
        world.carry(0, true);
        world.carry(0, false);
        world.store_one(0);
    }
    assert_eq!(world.devices[0].disk.outbox.len(), 1, "the edit waits still");
    world.disconnect(0);
    world.restart_hub(backup);
    world.connect(2);
    world.settle();
    world.connect(0);
    world.settle();
    assert_eq!(world.fields(2, "n"), None, "deleted means deleted");
    world.heal();
    assert_eq!(world.fields(0, "n"), None);
}

#[test]
fn what_was_refused_takes_nothing_from_others() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    world.disconnect(0);
    world.write(0, "n", &[("title", "refused")]);
    while world.store_one(0) {}
    for item in &mut world.devices[0].disk.outbox {
        item.state = OutboxState::Parked { reason: "no".into() };
    }
    world.crash(0);
    let empty = world.empty_hub();
    world.restart_hub(empty);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    assert_eq!(world.fields(1, "n").unwrap()["title"], "t");
}

#[test]
fn who_finds_its_replica_written_by_another_takes_a_fresh_one() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    let replica = world.devices[0].replica;
    let mut delta = Delta::default();
    delta.dead.insert_range(replica, 3, i64::MAX as u64);
    let frame = HubMessage::Delta { channel: 1, seq: 1, delta: encode_delta(&delta) }.encode();
    world.hear(0, frame);
    assert_ne!(world.devices[0].replica, replica);
    world.write(0, "m", &[("title", "later")]);
    world.settle();
    assert_eq!(world.fields(1, "m").unwrap()["title"], "later");
}

#[test]
fn the_last_incarnation_is_followed_by_another_fingerprint() {
    let mut world = two();
    for _ in 0..3 {
        let replica = world.devices[0].replica;
        let last = replica.with_incarnation(u32::MAX);
        let mut delta = Delta::default();
        delta.dead.insert(Dot::new(last, 1));
        let delta = encode_delta(&delta);
        world.hear(0, HubMessage::Delta { channel: 1, seq: 1, delta }.encode());
        world.hear(0, HubMessage::InUse { channel: 1, replica }.encode());
        assert_ne!(world.devices[0].replica, last);
        assert_ne!(world.devices[0].replica, replica);
    }
}

struct Bench {
    hub: Hub,
    store: MemoryHub,
}

impl Bench {
    fn new() -> Self {
        Self { hub: Hub::new(), store: MemoryHub::new(Boot { hub: 1, boot: 2 }) }
    }

    fn input(&mut self, connection: u64, input: HubInput) -> Vec<HubOutput> {
        let Ok(()) = self.hub.handle(&mut self.store, Now::default(), connection, input);
        std::iter::from_fn(|| self.hub.poll()).collect()
    }

    fn say(&mut self, connection: u64, message: &ClientMessage) -> Vec<HubOutput> {
        assert!(decode_client(&message.encode()).is_ok(), "the frame is within the limits");
        self.input(connection, HubInput::Frame(message.encode()))
    }

    fn open(
        &mut self,
        connection: u64,
        channel: u32,
        context: CausalContext,
        claims: Vec<Claim>,
    ) -> Vec<HubOutput> {
        if channel == 1 {
            self.input(connection, HubInput::Connected);
            let hello = ClientMessage::Hello {
                version: VERSION,
                token: None,
                agent: "a".into(),
                packs: false,
            };
            self.say(connection, &hello);
        }
        let (document, cursor) = (DOCUMENT.into(), None);
        self.say(
            connection,
            &ClientMessage::Open {
                channel,
                document,
                cursor,
                context,
                claims,
                compares: false,
                unsent: Vec::new(),
            },
        )
    }

    /// What a connection hears, decoded as a client does it; the whole catch-up.
    fn first_sync(&mut self, connection: u64) -> Vec<HubMessage> {
        let mut outputs = self.open(connection, 1, CausalContext::default(), Vec::new());
        let mut heard = Vec::new();
        while !outputs.is_empty() {
            let mut next = Vec::new();
            for output in outputs {
                let HubOutput::Send { frame, .. } = output else { panic!("{output:?}") };
                assert!(frame.len() <= MESSAGE_BYTES_MAX, "{} bytes", frame.len());
                let message = decode_hub(&frame).expect("a client can read it");
                if let HubMessage::Chunk { channel, number, .. } = message {
                    next.extend(
                        self.say(connection, &ClientMessage::ChunkStored { channel, number }),
                    );
                }
                heard.push(message);
            }
            outputs = next;
        }
        heard
    }
}

fn replica(number: u128) -> ReplicaId {
    ReplicaId::from_bytes(number.to_be_bytes())
}

fn claim(number: u128) -> Claim {
    Claim { replica: replica(number), opening: 9 }
}

fn entry(writer: u128, counter: u64, slots: Vec<Option<Vec<u8>>>) -> Delta {
    let label = Label::new(b"space", slots.iter().map(|_| &b"name"[..]));
    let slots = Slots::new(slots.iter().map(Option::as_deref));
    let (first, stamp) = (Dot::new(replica(writer), counter), Stamp::default());
    let entry = Entry { first, stamp, label, id: PlaceId::default(), slots };
    Delta { entries: [entry].into(), ..Delta::default() }
}

#[test]
fn a_run_that_is_written_in_parts_does_not_outgrow_a_message() {
    let mut bench = Bench::new();
    bench.open(1, 1, CausalContext::default(), vec![claim(1)]);
    for part in 0..4u64 {
        let mut slots = vec![None; part as usize];
        slots.push(Some(vec![7; 150_000]));
        let delta = encode_delta(&entry(1, 1, slots));
        let push = Push { channel: 1, id: part + 1, delta, skips: false };
        bench.say(1, &ClientMessage::Push(push));
    }
    bench.first_sync(2);
}

#[test]
fn a_first_sync_past_many_dead_replicas_stays_within_messages() {
    let mut bench = Bench::new();
    let holes = |writer| {
        let mut context = CausalContext::default();
        (0..4_000u64)
            .for_each(|n| context.insert(Dot::new(replica(writer), 1 + n * 1_000_000_000_000)));
        context
    };
    bench.open(1, 1, CausalContext::default(), vec![claim(1), claim(u128::MAX)]);
    let push = |id, delta: Delta| {
        ClientMessage::Push(Push { channel: 1, id, delta: encode_delta(&delta), skips: false })
    };
    bench.say(1, &push(1, entry(1, 1, vec![Some(vec![7; 60_000])])));
    bench.say(1, &push(2, entry(u128::MAX, 1, vec![Some(vec![7; 150_000])])));
    for (channel, writer) in (2..12).zip(10..) {
        bench.open(1, channel, holes(writer), Vec::new());
        let delta = Delta { dead: holes(writer), ..Delta::default() };
        let delta = encode_delta(&delta);
        bench.say(1, &ClientMessage::Push(Push { channel, id: 1, delta, skips: false }));
    }
    let heard = bench.first_sync(2);
    let (mut context, mut names) = (CausalContext::default(), Dictionary::new());
    for message in heard {
        if let HubMessage::Chunk { delta, .. } = message {
            context.union(&names.read_chunk(&delta).unwrap().context());
        }
    }
    assert_eq!(&context, bench.store.state(DOCUMENT).unwrap().context());
}

#[test]
fn a_replica_that_went_is_no_longer_shown_to_whoever_comes() {
    let mut bench = Bench::new();
    bench.open(1, 1, CausalContext::default(), vec![claim(1)]);
    let presence = ClientMessage::Presence {
        channel: 1,
        replica: replica(1),
        name: "one".into(),
        state: vec![],
    };
    bench.say(1, &presence);
    bench.open(3, 1, CausalContext::default(), Vec::new());
    // The same opening comes back on another line, shows nothing, and goes.
    bench.open(2, 1, CausalContext::default(), vec![claim(1)]);
    bench.input(2, HubInput::Disconnected);
    let heard = bench.first_sync(4);
    assert!(!heard.iter().any(|message| matches!(message, HubMessage::Presence { .. })));
}

#[test]
fn who_shows_much_does_not_drown_whoever_comes() {
    let mut bench = Bench::new();
    for channel in 1..=64u32 {
        let writers = (0..256).map(|n| u128::from(channel) * 1_000 + n);
        bench.open(1, channel, CausalContext::default(), writers.clone().map(claim).collect());
        for writer in writers {
            let state = vec![0; 4_096];
            let (replica, name) = (replica(writer), "x".into());
            bench.say(1, &ClientMessage::Presence { channel, replica, name, state });
        }
    }
    let outputs = bench.open(2, 1, CausalContext::default(), Vec::new());
    let sent: usize = outputs
        .iter()
        .map(|output| match output {
            HubOutput::Send { connection: 2, frame } => frame.len(),
            HubOutput::Send { .. } | HubOutput::Close { .. } => 0,
        })
        .sum();
    assert!(sent < 2 * 1024 * 1024, "{sent} bytes");
}

#[test]
fn removals_of_many_replicas_fit_into_a_refill() {
    let mut world = two();
    let mut delta = Delta::default();
    for number in 0..4_000u128 {
        let replica = ReplicaId::from_bytes((number << 64 | 7).to_be_bytes());
        delta.dead.insert(Dot::new(replica, i64::MAX as u64 - 9));
    }
    let delta = encode_delta(&delta);
    world.hear(0, HubMessage::Delta { channel: 1, seq: 1, delta }.encode());
    world.tolerant = false;
    world.disconnect(0);
    world.heal();
}

#[test]
fn who_shows_what_holds_a_token_shows_only_that_there_is_one() {
    use sync_core::session::{Client, ClientConfig, ClientInput, Now};
    const SECRET: &str = "s3cret";
    let bytes = format!("{:?}", SECRET.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']);
    let config =
        ClientConfig { agent: "a".into(), token: Some(SECRET.into()), ..ClientConfig::default() };
    let mut client: Client = Client::new(config.clone());
    let Ok(()) = client.handle(Now { monotonic_ms: 1, unix_ms: 1 }, ClientInput::Connected);
    let shown_client = format!("{client:?}");
    let Some(output) = client.poll() else { panic!("it says hello") };
    let sync_core::session::ClientOutput::Send(frame) = output.clone() else {
        panic!("{output:?}")
    };
    let hello = sync_core::wire::decode_client(&frame).unwrap();
    let ClientMessage::Hello { token, .. } = &hello else { panic!("{hello:?}") };
    assert_eq!(token.as_ref().map(|token| &*token.0), Some(SECRET));
    let input = HubInput::Frame(frame);
    for shown in [
        format!("{config:?}"),
        format!("{hello:?}"),
        format!("{output:?}"),
        format!("{input:?}"),
        shown_client,
    ] {
        assert!(!shown.contains(SECRET) && !shown.contains(bytes), "{shown}");
    }
    assert!(format!("{hello:?}").contains("token: Some((hidden))"));
}
