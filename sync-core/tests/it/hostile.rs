//! Frames that no honest peer sends: never a panic, never harm to others.

use proptest::prelude::*;
use sync_core::causal::{
    CausalContext, Delta, Dot, DotRanges, Entry, Label, PlaceId, ReplicaId, Slots,
};
use sync_core::document::Document;
use sync_core::error::Sure;
use sync_core::session::{Boot, Hub, HubInput, HubOutput, MemoryHub, Now};
use sync_core::time::Stamp;
use sync_core::types::{Place, RecordId};
use sync_core::wire::{
    Claim, ClientMessage, Fault, HubMessage, MESSAGE_BYTES_MAX, Push, REPLICAS_MAX, VERSION,
    decode_client, decode_delta, decode_hub, encode_delta,
};

use crate::golden_cases::{files, replica, unhex};
use crate::world::{DOCUMENT, World};

/// A hub with one honest pair of connections and one that is not.
struct Bench {
    hub: Hub,
    store: MemoryHub,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryHub::new(Boot { hub: 1, boot: 2 });
        let mut bench = Self { hub: Hub::new(), store, now: Now::default() };
        for connection in 1..=3 {
            bench.input(connection, HubInput::Connected);
        }
        bench
    }

    fn input(&mut self, connection: u64, input: HubInput) -> Vec<HubOutput> {
        let Ok(()) = self.hub.handle(&mut self.store, self.now, connection, input);
        std::iter::from_fn(|| self.hub.poll()).collect()
    }

    fn say(&mut self, connection: u64, message: &ClientMessage) -> Vec<HubOutput> {
        self.input(connection, HubInput::Frame(message.encode()))
    }

    /// The fault with which the hub closes a connection for a frame.
    fn fault(&mut self, connection: u64, frame: Vec<u8>) -> Option<Fault> {
        self.input(connection, HubInput::Frame(frame)).into_iter().find_map(|output| match output {
            HubOutput::Close { connection: closed, fault } if closed == connection => Some(fault),
            HubOutput::Close { .. } | HubOutput::Send { .. } => None,
        })
    }

    fn join(&mut self, connection: u64, writer: u8) {
        self.say(connection, &hello());
        self.say(connection, &open(1, "d", &[writer]));
    }

    /// Whether a change of connection 2 still reaches connection 3.
    fn assert_serves(&mut self, id: u64) {
        let delta = encode_delta(&write(2, id));
        let outputs = self.say(
            2,
            &ClientMessage::Push(Push { channel: 1, id, delta: delta.clone(), skips: false }),
        );
        let relayed = outputs.iter().any(|output| match output {
            HubOutput::Send { connection: 3, frame } => {
                matches!(decode_hub(frame), Ok(HubMessage::Delta { delta: sent, .. }) if sent == delta)
            }
            HubOutput::Send { .. } | HubOutput::Close { .. } => false,
        });
        assert!(relayed, "the hub goes on serving the others");
    }
}

fn hello() -> ClientMessage {
    ClientMessage::Hello { version: VERSION, token: None, agent: "a".into(), packs: false }
}

fn claims(writers: &[u8]) -> Vec<Claim> {
    writers
        .iter()
        .map(|writer| Claim { replica: replica(*writer), opening: u64::from(*writer) })
        .collect()
}

fn open(channel: u32, document: &str, writers: &[u8]) -> ClientMessage {
    let (document, claims) = (document.into(), claims(writers));
    ClientMessage::Open {
        channel,
        document,
        cursor: None,
        context: CausalContext::default(),
        claims,
        compares: false,
        unsent: Vec::new(),
    }
}

/// A delta of one dot.
fn write(writer: u8, counter: u64) -> Delta {
    let first = Dot::new(replica(writer), counter);
    let label = Label::new(b"space", [&b"name"[..]]);
    let (stamp, id, slots) = (Stamp::default(), PlaceId::default(), slot(&[2]));
    Delta { entries: [Entry { first, stamp, label, id, slots }].into(), ..Delta::default() }
}

/// The slots of a run of one dot.
fn slot(bytes: &[u8]) -> Slots {
    Slots::new([Some(bytes)].into_iter())
}

fn push(writer: u8, id: u64, counter: u64) -> Vec<u8> {
    let delta = encode_delta(&write(writer, counter));
    ClientMessage::Push(Push { channel: 1, id, delta, skips: false }).encode()
}

fn code(fault: Option<Fault>) -> Option<u16> {
    fault.map(|fault| fault.close_code())
}

#[test]
fn each_kind_of_wrong_frame_has_its_close_code() {
    let many: CausalContext = (0..=REPLICAS_MAX as u128)
        .map(|n| Dot::new(ReplicaId::from_bytes(n.to_be_bytes()), 1))
        .collect();
    let wide = ClientMessage::Open {
        channel: 2,
        document: "d".into(),
        cursor: None,
        context: many,
        claims: Vec::new(),
        compares: false,
        unsent: Vec::new(),
    };
    let mut broken = push(1, 1, 1);
    broken[9] ^= 1;
    let long = "x".repeat(129);
    let cases: Vec<(&str, bool, Vec<u8>, u16)> = vec![
        ("not a frame", true, vec![1, 2], 4400),
        ("a flipped bit", true, broken, 4400),
        ("a hub's message", true, HubMessage::Pong.encode(), 4400),
        ("an empty frame", true, Vec::new(), 4400),
        ("too large a frame", true, vec![0; MESSAGE_BYTES_MAX + 1], 4413),
        ("too long a name", true, open(2, &long, &[]).encode(), 4413),
        ("too many replicas", true, wide.encode(), 4413),
        ("no hello first", false, open(1, "d", &[1]).encode(), 4409),
        (
            "another version",
            false,
            ClientMessage::Hello { version: 9, token: None, agent: String::new(), packs: false }
                .encode(),
            4406,
        ),
        ("a second hello", true, hello().encode(), 4409),
        ("a channel twice", true, open(1, "d", &[]).encode(), 4409),
        (
            "an unknown channel",
            true,
            ClientMessage::ChunkStored { channel: 7, number: 1 }.encode(),
            4409,
        ),
        (
            "a chunk that was not sent",
            true,
            ClientMessage::ChunkStored { channel: 1, number: 9 }.encode(),
            4409,
        ),
        ("a push out of order", true, push(1, 2, 1), 4409),
        ("a gap in the counters", true, push(1, 1, 2), 4409),
        ("the last counter of all", true, push(1, 1, u64::MAX - 1), 4413),
    ];
    for (name, joined, frame, expected) in cases {
        let mut bench = Bench::new();
        bench.join(2, 2);
        bench.join(3, 3);
        bench.assert_serves(1);
        if joined {
            bench.join(1, 1);
        }
        let fault = bench.fault(1, frame);
        assert_eq!(code(fault.clone()), Some(expected), "{name}: {fault:?}");
        assert!(fault.is_some_and(|fault| fault.close_reason().len() <= 123));
        bench.assert_serves(2);
    }
}

#[test]
fn a_replica_that_is_not_claimed_is_refused_and_the_connection_goes_on() {
    let mut bench = Bench::new();
    bench.join(1, 1);
    bench.join(2, 2);
    bench.join(3, 3);
    let outputs = bench.input(1, HubInput::Frame(push(2, 1, 1)));
    let refused = outputs.iter().any(|output| match output {
        HubOutput::Send { connection: 1, frame } => {
            matches!(decode_hub(frame), Ok(HubMessage::Refused { id: 1, .. }))
        }
        HubOutput::Send { .. } | HubOutput::Close { .. } => false,
    });
    assert!(refused, "{outputs:?}");
    assert_eq!(bench.fault(1, push(1, 2, 1)), None);
    bench.assert_serves(1);
}

#[test]
fn what_a_copy_wrote_as_the_same_dot_is_told_to_nobody() {
    let mut bench = Bench::new();
    bench.join(1, 1);
    bench.join(3, 3);
    bench.input(1, HubInput::Frame(push(1, 1, 1)));
    bench.input(1, HubInput::Disconnected);
    bench.join(2, 1);
    // What else is in the delta, in the same run or beside it, is told.
    let named = |names: &[&[u8]], slots: &[Option<&[u8]>]| {
        let label = Label::new(b"space", names.iter().copied());
        let slots = Slots::new(slots.iter().copied());
        Entry { label, slots, ..write(1, 1).entries[0].clone() }
    };
    let run = named(&[b"name", b"more"], &[Some(&[1]), Some(&[2])]);
    let other = named(&[b"name"], &[Some(&[1])]);
    let beside = write(1, 3).entries[0].clone();
    for (id, entries, counter) in [(1, vec![run], 2), (2, vec![other, beside], 3)] {
        let entries = entries.into_iter().collect();
        let delta = encode_delta(&Delta { entries, ..Delta::default() });
        let push = Push { channel: 1, id, delta, skips: false };
        let outputs = bench.say(2, &ClientMessage::Push(push));
        let mut told = Vec::new();
        let mut is_refused = false;
        for output in &outputs {
            let HubOutput::Send { connection, frame } = output else { panic!("{output:?}") };
            match (connection, decode_hub(frame)) {
                (2, Ok(HubMessage::Refused { goes_on: false, .. })) => is_refused = true,
                (3, Ok(HubMessage::Delta { delta, .. })) => {
                    let delta = decode_delta(&delta).unwrap();
                    told.extend(delta.live().iter().map(|(_, ranges)| ranges.clone()));
                }
                _ => {}
            }
        }
        assert!(is_refused, "{outputs:?}");
        assert_eq!(told, [DotRanges::of(counter..=counter)]);
    }
}

/// Frames with a right checksum: what gets past it.
fn sealed(body: Vec<u8>) -> Vec<u8> {
    let mut frame = crc32fast::hash(&body).to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

fn golden_frames() -> Vec<Vec<u8>> {
    let frames = files().remove("frames.json").unwrap();
    frames.as_array().unwrap().iter().map(|case| unhex(case["hex"].as_str().unwrap())).collect()
}

/// A golden frame with some bytes changed, put in or cut off, and the checksum made right again.
fn bent_frame() -> impl Strategy<Value = Vec<u8>> {
    let frames = golden_frames();
    let bends =
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 0..6);
    (prop::sample::select(frames), bends).prop_map(|(frame, bends)| {
        let mut body = frame[4..].to_vec();
        for (at, byte, how) in bends {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => {
                    body.remove(at);
                }
                _ => body.truncate(at),
            }
        }
        sealed(body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_client(&bytes).is_ok();
        let _ = decode_delta(&bytes).is_ok();
        let frame = sealed(bytes);
        let _ = decode_client(&frame).is_ok();
        let _ = decode_hub(&frame).is_ok();
    }

    #[test]
    fn bent_frames_never_panic_a_hub(frames in proptest::collection::vec(bent_frame(), 1..6)) {
        let mut bench = Bench::new();
        bench.join(2, 2);
        bench.join(3, 3);
        bench.say(1, &hello());
        bench.say(1, &open(1, "notes", &[1]));
        for frame in frames {
            bench.input(1, HubInput::Frame(frame));
        }
        bench.assert_serves(1);
    }

    #[test]
    fn bent_frames_never_panic_a_client(frames in proptest::collection::vec(bent_frame(), 1..6)) {
        let mut world = World::new(1, 2);
        world.connect(0);
        world.settle();
        world.write(0, "n", &[("title", "kept")]);
        for frame in frames {
            world.hear(0, frame);
        }
        let fields = world.fields(0, "n").unwrap();
        prop_assert_eq!(fields["title"].as_str(), "kept");
        let document = world.devices[0].client.document(DOCUMENT).unwrap();
        let _ = document.conflicts().sure();
    }
}

#[test]
fn a_nested_bomb_in_a_frame_is_an_error() {
    for depth in [1_000, 60_000] {
        let mut body = vec![0x92, 5];
        body.extend(vec![0x91; depth]);
        assert!(decode_client(&sealed(body)).is_err());
    }
    // Bytes that no value has are kept and passed on, and not read.
    let mut bomb = write(1, 1);
    bomb.entries[0].label = Label::new(b"\x01notes", [&b"\x01title"[..]]);
    bomb.entries[0].id = RecordId::new("n").unwrap().as_place_id().clone();
    bomb.entries[0].slots = slot(&[0x91; 60_000]);
    let mut document = Document::default();
    assert!(document.join(&bomb).sure().is_new);
    let place = Place::Record { collection: "notes".into(), id: RecordId::new("n").unwrap() };
    assert_eq!(document.elements(&place).sure().elements(), []);
    assert_eq!(document.conflicts().sure(), []);
    assert_eq!(document.store().to_delta(), bomb);
}
