//! Frames that are made to cost much: what it takes to read one and to hand it to a session is no more
//! than a few times its bytes, and an error costs no more than an answer.

use std::collections::BTreeSet;

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Few, Label, Note, PlaceId, ReplicaId, Slots,
};
use sync_core::checksum::crc32;
use sync_core::pack::varint;
use sync_core::session::{
    Boot, Client, ClientConfig, ClientInput, Hub, HubInput, HubOutput, MemoryHub, Now,
    SavedDocument,
};
use sync_core::snapshot::{INFLATION_MAX, read_snapshot};
use sync_core::time::Stamp;
use sync_core::types::Opening;
use sync_core::wire::{
    Claim, ClientMessage, Cursor, DELTA_BYTES_MAX, Dictionary, HOLDERS_MAX, Holder, HubMessage,
    MESSAGE_BYTES_MAX, Names, OPENINGS_MAX, PACKED_TIMES_MAX, Packing, Push, VERSION, Welcome,
    decode_client, decode_hub, encode_delta, write_delta,
};

use crate::meter::Meter;

/// How many times the bytes of a frame may be allocated to read it: an entry takes five bytes at least,
/// and some hundred once it is read.
const READING_MAX: usize = 32;

/// How many times the bytes of a frame may be allocated to read it, join it and answer it.
pub(crate) const HANDLING_MAX: usize = 96;

/// What a session allocates whatever the frame.
const BASE_BYTES: usize = 16 * 1024;

/// What reading a packed frame allocates besides: the window, and its tables.
const UNPACKING_BYTES: usize = 64 * 1024;

/// What packing a frame allocates beside twice its bytes.
const PACKING_BYTES: usize = 512 * 1024;

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut frame = crc32(body).to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

pub(crate) fn replica(number: usize) -> ReplicaId {
    ReplicaId::from_bytes((number as u128 + 1).to_be_bytes())
}

fn of_replicas(count: usize) -> CausalContext {
    (0..count).map(|number| Dot::new(replica(number), Dot::COUNTER_MAX)).collect()
}

fn of_ranges(count: usize) -> CausalContext {
    (0..count as u64).map(|number| Dot::new(replica(0), 1 + 2 * number)).collect()
}

/// As many entries as fit, each as small as it can be, about one object or each about its own.
fn small_entries(is_one_object: bool) -> Delta {
    let label = Label::new(b"s", [&b""[..]]);
    let entries = (0..if is_one_object { 20_000u16 } else { 14_000 }).map(|number| {
        let id = number.to_be_bytes();
        Entry {
            first: Dot::new(replica(0), 1 + u64::from(number)),
            stamp: Stamp::from_bits(u64::MAX),
            label: label.clone(),
            id: PlaceId::new(if is_one_object { &[] } else { &id }),
            slots: Slots::new([Some(&b""[..])].into_iter()),
        }
    });
    Delta { entries: entries.collect(), ..Delta::default() }
}

fn small_notes() -> Delta {
    let label = Label::new(b"s", []);
    let notes = (0..16_000u64).map(|number| Note {
        dot: Dot::new(replica(0), 1 + number),
        stamp: Stamp::from_bits(u64::MAX),
        label: label.clone(),
        id: PlaceId::default(),
    });
    let mut dead = CausalContext::default();
    dead.insert_range(replica(0), 1, 16_000);
    Delta { entries: Few::new(), dead, notes: notes.collect() }
}

fn many_labels() -> Delta {
    let entries = (0..4_000u64).map(|number| Entry {
        first: Dot::new(replica(0), 1 + number),
        stamp: Stamp::default(),
        label: Label::new(&(number as u16).to_be_bytes(), [&b"n"[..]]),
        id: PlaceId::default(),
        slots: Slots::new([Some(&b""[..])].into_iter()),
    });
    Delta { entries: entries.collect(), ..Delta::default() }
}

/// Marks of openings: all of one replica, or each of another.
fn marks(is_one_replica: bool) -> Delta {
    let mark = |number: usize| {
        let (of, first) = if is_one_replica { (0, 1 + number) } else { (number, 1) };
        Opening { first: first as u64, opening: u64::MAX }.mark(replica(of))
    };
    let entries = (0..if is_one_replica { 4_000 } else { 3_000 }).map(mark).collect();
    Delta { entries, ..Delta::default() }
}

fn deltas() -> Vec<(&'static str, Delta)> {
    let dead = |dead| Delta { dead, ..Delta::default() };
    vec![
        ("marks of one replica", marks(true)),
        ("marks of many replicas", marks(false)),
        ("entries of one object", small_entries(true)),
        ("entries of many objects", small_entries(false)),
        ("notes", small_notes()),
        ("labels", many_labels()),
        ("replicas", dead(of_replicas(4_096))),
        ("ranges", dead(of_ranges(8_192))),
    ]
}

/// The types of all messages.
fn kinds() -> impl Iterator<Item = u8> {
    (1..=12).chain(65..=78)
}

/// Frames that say how much follows, and end there; and such as nest as deep as they are long.
fn broken() -> Vec<(String, Vec<u8>)> {
    let mut frames = Vec::new();
    for kind in kinds() {
        for (name, count) in [
            ("array", &[0xdd, 0xff, 0xff, 0xff, 0xff][..]),
            ("text", &[0xdb, 0xff, 0xff, 0xff, 0xff]),
            ("bytes", &[0xc6, 0xff, 0xff, 0xff, 0xff]),
            ("map", &[0xdf, 0xff, 0xff, 0xff, 0xff]),
        ] {
            for fields in 0..6 {
                let mut body = vec![0x92, kind, 0x96];
                body.extend(vec![1; fields]);
                body.extend_from_slice(count);
                frames.push((format!("type {kind}: a {name} at {fields}"), sealed(&body)));
            }
        }
        for item in [0x91, 0x81, 0x90, 0xc0] {
            let mut body = vec![0x92, kind];
            body.extend(vec![item; 60_000]);
            frames.push((format!("type {kind}: {item:x} again and again"), sealed(&body)));
            // In a field that a later version added.
            let mut body = vec![0x92, kind, 0xdc, 0x00, 0x10];
            body.extend([1; 8]);
            body.extend(vec![item; 60_000]);
            frames.push((format!("type {kind}: {item:x} beyond its fields"), sealed(&body)));
        }
    }
    frames
}

fn from_client() -> Vec<(String, Vec<u8>)> {
    let claims = |count| (0..count).map(|at| Claim { replica: replica(at), opening: 1 }).collect();
    let open = |context, claims| ClientMessage::Open {
        channel: 2,
        document: "d".into(),
        cursor: Some(Cursor { boot: u64::MAX, seq: u64::MAX }),
        context,
        claims,
        compares: true,
        unsent: Vec::new(),
    };
    let mut unsent = open(CausalContext::default(), claims(256));
    if let ClientMessage::Open { unsent, .. } = &mut unsent {
        *unsent = (0..14_000).map(replica).collect();
    }
    let long = "x".repeat(200_000);
    let mut messages = vec![
        ("open, unsent", unsent),
        (
            "hello",
            ClientMessage::Hello {
                version: VERSION,
                token: Some(sync_core::wire::Token(long)),
                agent: "a".into(),
                packs: false,
            },
        ),
        ("open, replicas", open(of_replicas(4_095), Vec::new())),
        ("open, ranges", open(of_ranges(8_192), Vec::new())),
        ("open, claims", open(CausalContext::default(), claims(10_000))),
        ("claim", ClientMessage::Claim { channel: 1, claims: claims(12_000) }),
        (
            "release",
            ClientMessage::Release { channel: 1, replicas: (0..13_000).map(replica).collect() },
        ),
        ("chunk stored", ClientMessage::ChunkStored { channel: 1, number: u64::MAX }),
        (
            "presence",
            ClientMessage::Presence {
                channel: 1,
                replica: replica(0),
                name: "n".repeat(128),
                state: vec![0; 4_096],
            },
        ),
        ("ping", ClientMessage::Ping),
    ];
    for kind in 0..12 {
        let mut message = vec![0xff; 190_000];
        message[0] = kind;
        messages.push(("sync", ClientMessage::Sync { channel: 1, message }));
    }
    messages.push(("brief", ClientMessage::Brief { channel: 1, dots: true }));
    for seq in [0, u64::MAX] {
        let name = Some("n".repeat(128));
        let held = ClientMessage::Held { channel: 1, replica: replica(0), seq, name };
        messages.push(("held", held));
    }
    for (name, delta) in deltas() {
        let delta = encode_delta(&delta);
        messages.push((name, ClientMessage::Push(Push { channel: 1, id: 1, delta, skips: false })));
    }
    messages.into_iter().map(|(name, message)| (name.to_owned(), message.encode())).collect()
}

/// The additions to a dictionary: replicas, and labels without a name.
fn names(replicas: usize, labels: usize) -> Vec<u8> {
    let mut names = Vec::new();
    varint::write(&mut names, replicas as u64);
    (0..replicas).for_each(|at| names.extend(replica(at).as_bytes()));
    varint::write(&mut names, labels as u64);
    for at in 0..labels {
        names.extend([2, 0, 0, 0]);
        let end = names.len();
        names[end - 3..end - 1].copy_from_slice(&(at as u16).to_le_bytes());
    }
    names
}

fn from_hub() -> Vec<(String, Vec<u8>)> {
    let channel = 1;
    let held = |count| {
        let holder = |at| Holder {
            replica: replica(at),
            seq: u64::MAX,
            age_ms: u64::MAX,
            name: String::new(),
        };
        HubMessage::Held { channel, holders: (1..=count).map(holder).collect() }
    };
    let of_openings = |context, openings| {
        let resumed = true;
        HubMessage::Opened { channel, context, resumed, openings }
    };
    let opened = |context| of_openings(context, Vec::new());
    let one = |at: usize| Opening { first: at as u64 + 1, opening: u64::MAX };
    let each = |count| (0..count).map(|at| (replica(at), one(at))).collect();
    let of_one = (0..OPENINGS_MAX).map(|at| (replica(9), one(at))).collect();
    let mut messages = vec![
        (
            "welcome",
            HubMessage::Welcome(Welcome {
                version: VERSION,
                hub: u64::MAX,
                boot: u64::MAX,
                now_ms: u64::MAX,
                packs: true,
            }),
        ),
        ("opened, replicas", opened(of_replicas(4_095))),
        ("opened, ranges", opened(of_ranges(8_192))),
        ("opened, openings", of_openings(of_replicas(OPENINGS_MAX), each(OPENINGS_MAX))),
        ("opened, openings of one", of_openings(of_replicas(10), of_one)),
        ("opened, too many", of_openings(CausalContext::default(), each(7_000))),
        ("stored", HubMessage::Stored { channel, id: u64::MAX, seq: u64::MAX }),
        (
            "refused",
            HubMessage::Refused { channel, id: 1, reason: "x".repeat(200_000), goes_on: false },
        ),
        ("in use", HubMessage::InUse { channel, replica: replica(usize::MAX - 1) }),
        (
            "presence",
            HubMessage::Presence {
                channel,
                replica: replica(0),
                shown: Some(("n".repeat(100_000), vec![0; 100_000])),
            },
        ),
        ("pong", HubMessage::Pong),
        ("sync", HubMessage::Sync { channel, message: vec![3; 190_000] }),
        ("names, replicas", HubMessage::Names { channel, names: names(1_024, 0) }),
        ("names, labels", HubMessage::Names { channel, names: names(0, 1_024) }),
        ("names, too many", HubMessage::Names { channel, names: names(12_000, 0) }),
        ("unresolved", HubMessage::Unresolved { channel, id: u64::MAX }),
        ("held", held(HOLDERS_MAX)),
        ("held, too many", held(6_000)),
    ];
    for (name, delta) in deltas() {
        let delta = encode_delta(&delta);
        let chunk = delta.clone();
        messages.push((
            name,
            HubMessage::Chunk { channel, number: 1, delta: chunk, cursor: None, left: 0 },
        ));
        messages.push((name, HubMessage::Delta { channel, seq: u64::MAX, delta }));
    }
    messages.into_iter().map(|(name, message)| (name.to_owned(), message.encode())).collect()
}

/// How many bytes a packed frame holds, where it is one that may hold as many.
fn held(frame: &[u8]) -> Option<usize> {
    let [_, _, _, _, 0x92, 11 | 77, 0x92, body @ ..] = frame else { return None };
    let mut reader = sync_core::pack::Reader::new(body);
    let (len, bytes) = (reader.uint().ok()? as usize, reader.bytes().ok()?);
    (len <= MESSAGE_BYTES_MAX && len <= bytes.len() * PACKED_TIMES_MAX).then_some(len)
}

/// Frames in packed ones, and packed ones that say much of little.
fn packed(kind: u8, frames: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let packed = frames
        .into_iter()
        .map(|(name, frame)| (format!("packed {name}"), Packing::from_bytes(0).pack(frame)));
    let mut packed: Vec<_> = packed.filter(|(_, frame)| held(frame).is_some()).collect();
    assert!(packed.len() >= 3, "{} are smaller", packed.len());
    // What follows a block of DEFLATE that does not end, or ends at once, or is filled up.
    for (name, start, room) in [("no end", &[0x02][..], 0), ("an end", &[0x03, 0x00], 0)]
        .into_iter()
        .chain([("blocks of nothing", &[0u8, 0, 0, 0xff, 0xff][..], 8_000)])
    {
        for len in [0, 1, 1_000, 262_144, 262_145, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = start.to_vec();
            while bytes.len() < room {
                bytes.extend_from_slice(start);
            }
            let mut body = vec![0x92, kind, 0x92];
            sync_core::pack::uint(&mut body, len);
            sync_core::pack::bytes(&mut body, &bytes);
            packed.push((format!("packed, {name}, says {len}"), sealed(&body)));
        }
    }
    packed
}

/// What came of the frames of one side: the largest multiple of the bytes, and of which frame.
#[derive(Default)]
struct Worst(usize, String);

impl Worst {
    fn take(&mut self, name: &str, frame: &[u8], peak: usize, most: usize) {
        assert!(frame.len() <= MESSAGE_BYTES_MAX, "{name}: {} bytes", frame.len());
        let (len, base) = match held(frame) {
            Some(held) => (held.max(frame.len()), BASE_BYTES + UNPACKING_BYTES),
            None => (frame.len(), BASE_BYTES),
        };
        let times = peak.saturating_sub(base).div_ceil(len);
        assert!(times <= most, "{name}: {peak} bytes of heap for {len} of a frame");
        if times > self.0 {
            *self = Self(times, name.to_owned());
        }
    }
}

pub(crate) fn hub() -> (Hub, MemoryHub) {
    let (mut hub, mut store) = (Hub::new(), MemoryHub::new(Boot { hub: 1, boot: 2 }));
    let hello =
        ClientMessage::Hello { version: VERSION, token: None, agent: "a".into(), packs: false };
    let open = ClientMessage::Open {
        channel: 1,
        document: "d".into(),
        cursor: None,
        context: CausalContext::default(),
        claims: vec![Claim { replica: replica(0), opening: 1 }],
        compares: false,
        unsent: Vec::new(),
    };
    let inputs =
        [HubInput::Connected, HubInput::Frame(hello.encode()), HubInput::Frame(open.encode())];
    for input in inputs {
        let Ok(()) = hub.handle(&mut store, Now::default(), 1, input);
    }
    while hub.poll().is_some() {}
    (hub, store)
}

fn client() -> Client {
    let mut client = Client::new(ClientConfig::default());
    client.open("d", SavedDocument::default(), replica(9), 1);
    client.handle(Now::default(), ClientInput::Connected);
    let welcome = Welcome { version: VERSION, hub: 1, boot: 2, now_ms: 0, packs: false };
    let context = CausalContext::default();
    let opened = HubMessage::Opened { channel: 1, context, resumed: false, openings: Vec::new() };
    for message in [HubMessage::Welcome(welcome), opened] {
        client.handle(Now::default(), ClientInput::Frame(message.encode()));
    }
    while client.poll().is_some() {}
    client
}

#[test]
fn a_hostile_frame_costs_a_few_times_its_bytes() {
    let meter = Meter::new();
    let (mut reading, mut handling) = (Worst::default(), Worst::default());
    let (up, down) = (packed(11, from_client()), packed(77, from_hub()));
    let plain = from_client().into_iter().chain(from_hub()).chain(broken());
    for (name, frame) in plain.chain(up.clone()).chain(down.clone()) {
        let count = meter.start();
        let _ = decode_client(&frame).is_ok();
        let _ = decode_hub(&frame).is_ok();
        reading.take(&name, &frame, count.peak(), READING_MAX);
    }
    for (name, frame) in from_client().into_iter().chain(broken()).chain(up) {
        let (mut hub, mut store) = hub();
        let input = HubInput::Frame(frame.clone());
        let count = meter.start();
        let Ok(()) = hub.handle(&mut store, Now::default(), 1, input);
        while hub.poll().is_some() {}
        handling.take(&format!("hub: {name}"), &frame, count.peak(), HANDLING_MAX);
    }
    for (name, frame) in from_hub().into_iter().chain(broken()).chain(down) {
        let mut client = client();
        let input = ClientInput::Frame(frame.clone());
        let count = meter.start();
        client.handle(Now::default(), input);
        while client.poll().is_some() {}
        handling.take(&format!("client: {name}"), &frame, count.peak(), HANDLING_MAX);
    }
    println!("reading takes up to {} times ({})", reading.0, reading.1);
    println!("handling takes up to {} times ({})", handling.0, handling.1);
}

#[test]
fn every_kind_of_message_is_among_them() {
    let _meter = Meter::new();
    let (up, down) = (from_client(), from_hub());
    let packed = [packed(11, up.clone()), packed(77, down.clone())].concat();
    let all = [up, down, packed].concat();
    let found: BTreeSet<u8> = all.iter().map(|(_, frame)| frame[5]).collect();
    assert!(found.into_iter().eq(kinds()));
}

#[test]
fn packing_a_frame_costs_little_beside_its_bytes() {
    let meter = Meter::new();
    for (name, frame) in from_client().into_iter().chain(from_hub()) {
        let (len, packing) = (frame.len(), Packing::from_bytes(0));
        let count = meter.start();
        drop(packing.pack(frame));
        let peak = count.peak();
        assert!(peak <= PACKING_BYTES + 2 * len, "{name}: {peak} bytes of heap for {len}");
    }
}

/// Names two objects by their dots.
struct Two;

impl Names for Two {
    fn dot_of(&self, _space: &[u8], id: &PlaceId) -> Option<Dot> {
        Some(Dot::new(replica(0), if id[0] == 1 { 1 } else { 2 }))
    }
}

/// The two objects, with the longest ids, as they were written.
fn objects() -> [Entry; 2] {
    [1, 2].map(|number| Entry {
        first: Dot::new(replica(0), number.into()),
        stamp: Stamp::default(),
        label: Label::new(b"s", [&b""[..]]),
        id: PlaceId::new(&[number; 160]),
        slots: Slots::new([Some(&b""[..])].into_iter()),
    })
}

#[test]
fn objects_that_are_named_by_dots_cost_a_few_times_the_bytes() {
    let meter = Meter::new();
    let mut handling = Worst::default();
    for count in [800, 15_000] {
        let objects = objects();
        let entries = (0..count).map(|number| {
            let first = Dot::new(replica(0), 3 + number as u64);
            Entry { first, ..objects[number % 2].clone() }
        });
        let delta = Delta { entries: entries.collect(), ..Delta::default() };
        let mut bytes = Vec::new();
        write_delta(&mut bytes, &delta, &Dictionary::new(), &Two);
        assert!(bytes.len() <= DELTA_BYTES_MAX);
        let first = Delta { entries: objects.iter().cloned().collect(), ..Delta::default() };
        let push = |id, delta| {
            HubInput::Frame(
                ClientMessage::Push(Push { channel: 1, id, delta, skips: false }).encode(),
            )
        };
        let (mut hub, mut store) = hub();
        let Ok(()) = hub.handle(&mut store, Now::default(), 1, push(1, encode_delta(&first)));
        while hub.poll().is_some() {}
        let input = push(2, bytes.clone());
        let count = meter.start();
        let Ok(()) = hub.handle(&mut store, Now::default(), 1, input);
        while hub.poll().is_some() {}
        handling.take("hub", &bytes, count.peak(), HANDLING_MAX);
        let mut client = client();
        let relayed =
            |seq, delta| ClientInput::Frame(HubMessage::Delta { channel: 1, seq, delta }.encode());
        client.handle(Now::default(), relayed(1, encode_delta(&first)));
        while client.poll().is_some() {}
        let input = relayed(2, bytes.clone());
        let count = meter.start();
        client.handle(Now::default(), input);
        while client.poll().is_some() {}
        handling.take("client", &bytes, count.peak(), HANDLING_MAX);
    }
    println!("it takes up to {} times ({})", handling.0, handling.1);
}

#[test]
fn a_snapshot_that_says_more_than_can_be_in_it_costs_nothing() {
    let meter = Meter::new();
    let compressed = vec![0xff; 1_000];
    let most = compressed.len() * INFLATION_MAX + INFLATION_MAX - 1;
    for (raw, is_tried) in [(most - 1, true), (most, true), (most + 1, false)] {
        let mut snapshot = b"SYNS\x01\x01".to_vec();
        for len in [raw, compressed.len(), 0] {
            varint::write(&mut snapshot, len as u64);
        }
        snapshot.extend(crc32(&compressed).to_le_bytes());
        snapshot.extend(&compressed);
        let count = meter.start();
        assert!(read_snapshot(&snapshot, usize::MAX).is_err());
        let peak = count.peak();
        assert_eq!(peak > BASE_BYTES, is_tried, "{peak} bytes of heap for {raw}");
        assert!(peak <= raw + UNPACKING_BYTES);
    }
}

#[test]
fn what_is_broken_is_an_error() {
    let _meter = Meter::new();
    for (name, frame) in broken() {
        assert!(decode_client(&frame).is_err() && decode_hub(&frame).is_err(), "{name}");
        let (mut hub, mut store) = hub();
        let Ok(()) = hub.handle(&mut store, Now::default(), 1, HubInput::Frame(frame));
        let closes = std::iter::from_fn(|| hub.poll())
            .any(|output| matches!(output, HubOutput::Close { .. }));
        assert!(closes, "{name}");
    }
}

#[test]
fn nested_values_need_little_stack() {
    let _meter = Meter::new();
    const _: () = assert!(60_000 < DELTA_BYTES_MAX);
    let run = || {
        for (_, frame) in broken() {
            let _ = decode_client(&frame).is_ok();
            let _ = decode_hub(&frame).is_ok();
        }
        let mut value = vec![0x91; 60_000];
        value.push(0xc0);
        let mut reader = sync_core::pack::Reader::new(&value);
        assert!(sync_core::types::Value::decode(&mut reader).is_err());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}
