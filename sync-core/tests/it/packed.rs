//! Frames that are packed: between whom, which, and what is made of damaged and hostile ones.

use std::collections::BTreeSet;

use sync_core::causal::{CausalContext, Delta, Dot, Entry, Label, PlaceId, ReplicaId, Slots};
use sync_core::checksum::crc32;
use sync_core::error::Malformed;
use sync_core::pack;
use sync_core::session::{Boot, Hub, HubInput, HubOutput, MemoryHub, Now};
use sync_core::time::Stamp;
use sync_core::wire::{
    Claim, ClientMessage, HubMessage, MESSAGE_BYTES_MAX, PACKED_BYTES_MIN, PACKED_TIMES_MAX,
    Packing, Push, VERSION, decode_client, decode_hub, encode_delta,
};

use crate::world::{Random, World};

const FROM_CLIENT: u8 = 11;
const FROM_HUB: u8 = 77;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

/// A delta of one slot: as many bytes, of which a part repeats.
fn delta(bytes: usize, random_bytes: usize) -> Delta {
    let mut random = Random(5);
    let slot: Vec<u8> =
        (0..bytes).map(|at| if at < random_bytes { random.next() as u8 } else { b'x' }).collect();
    let entry = Entry {
        first: Dot::new(replica(1), 1),
        stamp: Stamp::default(),
        label: Label::new(b"s", [&b"n"[..]]),
        id: PlaceId::new(b"id"),
        slots: Slots::new([Some(&slot[..])].into_iter()),
    };
    Delta { entries: [entry].into(), ..Delta::default() }
}

fn push(bytes: usize, random_bytes: usize) -> ClientMessage {
    let delta = encode_delta(&delta(bytes, random_bytes));
    ClientMessage::Push(Push { channel: 1, id: 1, delta, skips: false })
}

fn is_packed(frame: &[u8]) -> bool {
    [FROM_CLIENT, FROM_HUB].contains(&frame[5])
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut frame = crc32(body).to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// A packed frame by hand.
fn packed(kind: u8, len: usize, bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0x92, kind, 0x92];
    pack::uint(&mut body, len as u64);
    pack::bytes(&mut body, bytes);
    sealed(&body)
}

/// Bytes as DEFLATE that does not compress, in blocks of at most 65,535 bytes.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut blocks = bytes.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        out.extend((block.len() as u16).to_le_bytes());
        out.extend((!(block.len() as u16)).to_le_bytes());
        out.extend(block);
    }
    out
}

/// What was compressed in a packed frame.
fn compressed(frame: &[u8]) -> (usize, Vec<u8>) {
    let mut reader = pack::Reader::new(&frame[7..]);
    (reader.narrow().unwrap(), reader.bytes().unwrap().to_vec())
}

/// A frame of a hub of exactly so many bytes, all but a few zeros in a field that a later version added.
fn zeros(bytes: usize) -> Vec<u8> {
    let mut body = vec![0x92, 68, 0x94, 1, 1, 0xc4, 0, 0xc6];
    body.extend(((bytes - 4 - body.len() - 4) as u32).to_be_bytes());
    body.resize(bytes - 4, 0);
    sealed(&body)
}

/// Such a frame as DEFLATE, of which so many bytes stand as they are.
fn deflated(frame: &[u8], as_it_is: usize) -> Vec<u8> {
    let mut out = stored(&frame[..as_it_is]);
    // Another block follows.
    out[0] = 0;
    let zeros = frame.len() - as_it_is;
    out.extend(fixed_zeros([zeros / 258, zeros % 258]));
    out
}

/// A last block of fixed codes: so many runs of 258 zeros, and then so many zeros, behind a zero.
fn fixed_zeros([runs, rest]: [usize; 2]) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |code: u32, count: u32| (0..count).rev().for_each(|at| bits.push(code >> at & 1));
    // The last one, and of type 1, whose lowest bit comes first.
    put(0b110, 3);
    for _ in 0..runs {
        // The length 258, at the distance 1.
        put(0b1100_0101, 8);
        put(0, 5);
    }
    (0..rest).for_each(|_| put(0x30, 8));
    put(0, 7);
    let byte = |bits: &[u32]| bits.iter().rev().fold(0u8, |byte, bit| byte << 1 | *bit as u8);
    bits.chunks(8).map(byte).collect()
}

#[test]
fn a_frame_is_packed_from_a_size_on_where_it_becomes_smaller() {
    let frame_of = |bytes: usize, random_bytes| {
        let overhead = push(1_000, 0).encode().len() - 1_000;
        let frame = push(bytes - overhead, random_bytes).encode();
        assert_eq!(frame.len(), bytes);
        frame
    };
    for (bytes, is_smaller) in
        [(PACKED_BYTES_MIN - 1, false), (PACKED_BYTES_MIN, true), (PACKED_BYTES_MIN + 1, true)]
    {
        let frame = frame_of(bytes, 500);
        let sent = Packing::LARGE.pack(frame.clone());
        assert_eq!(is_packed(&sent), is_smaller, "{bytes} bytes");
        assert_eq!(sent.len() < frame.len(), is_smaller);
        assert_eq!(decode_client(&sent), decode_client(&frame));
        assert_eq!(Packing::NONE.pack(frame.clone()), frame);
        let noise = frame_of(bytes, usize::MAX);
        assert_eq!(Packing::LARGE.pack(noise.clone()), noise, "nothing is gained");
    }
    for message in [
        HubMessage::Delta { channel: 1, seq: 1, delta: vec![7; 20_000] },
        HubMessage::Chunk {
            channel: 1,
            number: 1,
            delta: encode_delta(&delta(20_000, 5_000)),
            cursor: None,
            left: 0,
        },
    ] {
        let sent = Packing::LARGE.pack(message.encode());
        let is_read = sent.len() * PACKED_TIMES_MAX > 20_000;
        assert_eq!(is_packed(&sent), is_read && matches!(message, HubMessage::Chunk { .. }));
        assert_eq!(decode_hub(&sent), Ok(message));
    }
    let other = HubMessage::Names { channel: 1, names: vec![7; 20_000] }.encode();
    assert_eq!(Packing::LARGE.pack(other.clone()), other, "only what has a delta is packed");
}

#[test]
fn what_a_packed_frame_holds_is_limited() {
    for bytes in [MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1] {
        let compressed = deflated(&zeros(bytes), 10_000);
        let read = decode_hub(&packed(FROM_HUB, bytes, &compressed)).map(|_| ());
        let is_over = bytes > MESSAGE_BYTES_MAX;
        assert_eq!(matches!(read, Err(Malformed::Limit { .. })), is_over, "{bytes}: {read:?}");
        assert_eq!(read.is_ok(), !is_over, "{bytes}: {read:?}");
    }
}

#[test]
fn how_many_times_its_bytes_a_packed_frame_holds_is_limited() {
    let as_it_is = 800;
    let compressed_len = |bytes: usize| {
        let zeros = bytes - as_it_is;
        5 + as_it_is + (3 + zeros / 258 * 13 + zeros % 258 * 8 + 7).div_ceil(8)
    };
    for beyond in [-1, 0, 1] {
        let times = |bytes: &usize| {
            let limit = compressed_len(*bytes) * PACKED_TIMES_MAX;
            limit.checked_add_signed(beyond) == Some(*bytes)
        };
        let bytes = (10_000..MESSAGE_BYTES_MAX).find(times).unwrap();
        let compressed = deflated(&zeros(bytes), as_it_is);
        assert_eq!(compressed.len(), compressed_len(bytes));
        let read = decode_hub(&packed(FROM_HUB, bytes, &compressed)).map(|_| ());
        assert_eq!(matches!(read, Err(Malformed::Limit { .. })), beyond > 0, "{bytes}: {read:?}");
        assert_eq!(read.is_ok(), beyond <= 0, "{bytes}: {read:?}");
    }
    // A sender keeps to it: what would become still smaller goes as it is.
    let frame = push(50_000, 0).encode();
    assert_eq!(Packing::LARGE.pack(frame.clone()), frame);
}

#[test]
fn a_packed_frame_that_is_not_what_it_says_is_an_error() {
    let plain = push(2_000, 500).encode();
    let (len, bytes) = compressed(&Packing::LARGE.pack(plain.clone()));
    assert_eq!(len, plain.len());
    assert!(decode_client(&packed(FROM_CLIENT, len, &bytes)).is_ok());
    for other in [0, 1, len - 1, len + 1] {
        let read = decode_client(&packed(FROM_CLIENT, other, &bytes));
        assert!(matches!(read, Err(Malformed::Encoding { .. })), "{other}: {read:?}");
    }
    for end in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let read = decode_client(&packed(FROM_CLIENT, len, &bytes[..end]));
        assert!(read.is_err(), "{end} of {}: {read:?}", bytes.len());
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(decode_client(&packed(FROM_CLIENT, len, &longer)).is_err(), "something follows");
    let mut errors = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        match decode_client(&packed(FROM_CLIENT, len, &damaged)) {
            // At the end not every bit is used.
            Ok(read) => assert_eq!(Ok(read), decode_client(&plain), "at {at}"),
            Err(_) => errors += 1,
        }
    }
    assert!(errors + 3 >= bytes.len(), "{errors} of {}", bytes.len());
}

#[test]
fn only_what_has_a_delta_may_be_packed() {
    let again = Packing::from_bytes(0).pack(push(2_000, 500).encode());
    let chunk_delta = encode_delta(&delta(9, 9));
    let chunk =
        HubMessage::Chunk { channel: 1, number: 1, delta: chunk_delta, cursor: None, left: 0 };
    let hub_delta = HubMessage::Delta { channel: 1, seq: 1, delta: Vec::new() };
    for (what, frame, by_client, by_hub) in [
        ("a push", push(9, 9).encode(), true, false),
        ("a chunk", chunk.encode(), false, true),
        ("a delta", hub_delta.encode(), false, true),
        ("a ping", ClientMessage::Ping.encode(), false, false),
        ("a pong", HubMessage::Pong.encode(), false, false),
        ("a packed one", again, false, false),
        ("nothing", Vec::new(), false, false),
    ] {
        let bytes = stored(&frame);
        let read = decode_client(&packed(FROM_CLIENT, frame.len(), &bytes));
        assert_eq!(read.is_ok(), by_client, "{what}: {read:?}");
        let read = decode_hub(&packed(FROM_HUB, frame.len(), &bytes));
        assert_eq!(read.is_ok(), by_hub, "{what}: {read:?}");
        assert!(decode_hub(&packed(FROM_CLIENT, frame.len(), &bytes)).is_err(), "{what}");
        assert!(decode_client(&packed(FROM_HUB, frame.len(), &bytes)).is_err(), "{what}");
    }
}

/// A hub with two connections of one document, each of which packs or does not.
fn relayed(hub: Hub, packs: [bool; 2]) -> Vec<(u64, Vec<u8>)> {
    let (mut hub, mut store) = (hub, MemoryHub::new(Boot { hub: 1, boot: 2 }));
    let mut sent = Vec::new();
    let mut input = |connection, input| {
        let Ok(()) = hub.handle(&mut store, Now::default(), connection, input);
        while let Some(output) = hub.poll() {
            match output {
                HubOutput::Send { connection, frame } => sent.push((connection, frame.to_vec())),
                HubOutput::Close { fault, .. } => panic!("{fault}"),
            }
        }
    };
    for (connection, packs) in [1, 2].into_iter().zip(packs) {
        input(connection, HubInput::Connected);
        let (version, token, agent) = (VERSION, None, "a".into());
        let hello = ClientMessage::Hello { version, token, agent, packs };
        let open = ClientMessage::Open {
            channel: 1,
            document: "d".into(),
            cursor: None,
            context: CausalContext::default(),
            claims: vec![Claim { replica: replica(connection as u8), opening: 1 }],
            compares: false,
            unsent: Vec::new(),
        };
        let stored = ClientMessage::ChunkStored { channel: 1, number: 1 };
        for message in [hello, open, stored] {
            input(connection, HubInput::Frame(message.encode()));
        }
    }
    input(1, HubInput::Frame(Packing::LARGE.pack(push(2_000, 500).encode())));
    input(2, HubInput::Disconnected);
    input(2, HubInput::Connected);
    sent
}

#[test]
fn only_who_says_so_is_sent_packed_frames() {
    for hub_packs in [false, true] {
        for packs in [false, true] {
            let packing = if hub_packs { Packing::LARGE } else { Packing::NONE };
            let sent = relayed(Hub::new().with_packing(packing), [false, packs]);
            let to = |connection| sent.iter().filter(move |(to, _)| *to == connection);
            let welcome = |connection| {
                let mut frames = to(connection).map(|(_, frame)| decode_hub(frame).unwrap());
                frames.find_map(|message| match message {
                    HubMessage::Welcome(welcome) => Some(welcome.packs),
                    _ => None,
                })
            };
            assert_eq!((welcome(1), welcome(2)), (Some(false), Some(packs && hub_packs)));
            assert!(to(1).all(|(_, frame)| !is_packed(frame)), "the first did not say so");
            let delta_frame = to(2)
                .find(|(_, frame)| matches!(decode_hub(frame).unwrap(), HubMessage::Delta { .. }));
            let (_, frame) = delta_frame.expect("the push was relayed");
            assert_eq!(is_packed(frame), packs && hub_packs);
        }
    }
}

#[test]
fn a_greeting_without_a_word_of_packing_reads_as_none() {
    let hello = |packs| {
        let (version, token, agent) = (VERSION, None, "a".to_owned());
        ClientMessage::Hello { version, token, agent, packs }
    };
    let (silent, packing) = (hello(false).encode(), hello(true).encode());
    assert_eq!(packing.len(), silent.len() + 1);
    assert_eq!(decode_client(&silent), Ok(hello(false)));
    assert_eq!(decode_client(&packing), Ok(hello(true)));
    // What a later version adds is passed over, and the word itself is a truth value.
    let mut later = packing[4..].to_vec();
    later[2] += 1;
    later.push(0xc0);
    assert_eq!(decode_client(&sealed(&later)), Ok(hello(true)));
    let mut no = packing[4..].to_vec();
    *no.last_mut().unwrap() = 0xc2;
    assert_eq!(decode_client(&sealed(&no)), Ok(hello(false)));
    *no.last_mut().unwrap() = 1;
    assert!(decode_client(&sealed(&no)).is_err());
}

/// The types of the frames that wait to go up from a device.
fn kinds_up(world: &World, at: usize) -> Vec<u8> {
    world.waiting(at, true).iter().map(|frame| frame[5]).collect()
}

#[test]
fn what_is_packed_arrives_as_it_was_sent() {
    let mut world = World::new(3, 3).packed();
    let text = "some words that come again, some words that come again. ".repeat(20);
    for at in [0, 1] {
        world.write(at, &format!("n{at}"), &[("title", &text), ("body", &text)]);
    }
    (0..3).for_each(|at| world.connect(at));
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        for at in 0..3 {
            seen.extend(kinds_up(&world, at).into_iter().map(|kind| (at, kind)));
            let down = world.waiting(at, false);
            seen.extend(down.iter().map(|frame| (at, frame[5])));
            while world.store_one(at) {}
            world.carry(at, true);
            world.carry(at, false);
        }
    }
    let packed = |at| seen.contains(&(at, FROM_CLIENT)) || seen.contains(&(at, FROM_HUB));
    assert_eq!([packed(0), packed(1), packed(2)], [false, true, false]);
    assert!(seen.contains(&(1, FROM_CLIENT)) && seen.contains(&(1, FROM_HUB)), "{seen:?}");
    world.heal();
    for at in 0..3 {
        for id in ["n0", "n1"] {
            assert_eq!(world.fields(at, id).unwrap()["title"], text, "{id} at {at}");
        }
    }
}
