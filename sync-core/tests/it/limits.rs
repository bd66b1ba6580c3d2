//! Every limit of the protocol's page at its value, one below and one above it, each where it is held.

use std::collections::BTreeMap;

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, LABEL_BYTES_MAX, Label, Note, PLACE_ID_BYTES_MAX, PlaceId,
    RUN_DOTS_MAX, ReplicaId, Slots,
};
use sync_core::document::{Author, Document, Refused};
use sync_core::error::{Malformed, Misuse, Sure};
use sync_core::pack::Reader;
use sync_core::session::{
    Boot, ChunkSize, Client, ClientConfig, ClientInput, Hub, HubInput, HubOutput, MemoryHub, Now,
    SavedDocument,
};
use sync_core::time::{SKEW_MS_MAX, Stamp};
use sync_core::types::{Field, MARKS_MAX, Opening, RecordId, VALUE_DEPTH_MAX, Value};
use sync_core::wire::{
    CHANNELS_MAX, CHUNK_CREDIT, CLAIMS_MAX, CONTEXT_RANGES_MAX, Claim, ClientMessage,
    DELTA_BYTES_MAX, HubMessage, LABELS_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, OPENINGS_MAX,
    PRESENCE_BYTES_MAX, PUSH_CREDIT, Push, REPLICAS_MAX, SYNC_BYTES_MAX, SYNC_TRIES_MAX, VERSION,
    Welcome, decode_client, decode_delta, decode_hub, encode_delta,
};

use crate::world::{DOCUMENT, World};

fn replica(number: usize) -> ReplicaId {
    ReplicaId::from_bytes((number as u128 + 1).to_be_bytes())
}

fn entry(counter: u64, label: Label, id: &[u8]) -> Entry {
    let slots = Slots::new((0..label.len()).map(|_| Some(&b"x"[..])));
    let (first, stamp) = (Dot::new(replica(0), counter), Stamp::default());
    Entry { first, stamp, label, id: PlaceId::new(id), slots }
}

fn of_entries(entries: Vec<Entry>) -> Delta {
    Delta { entries: entries.into(), ..Delta::default() }
}

fn of_replicas(count: usize) -> CausalContext {
    (0..count).map(|number| Dot::new(replica(number), 1)).collect()
}

fn of_ranges(count: usize) -> CausalContext {
    (0..count as u64).map(|number| Dot::new(replica(0), 1 + 2 * number)).collect()
}

fn open(document: &str, context: CausalContext, claims: Vec<Claim>) -> ClientMessage {
    let (channel, document, cursor, compares) = (1, document.into(), None, false);
    ClientMessage::Open { channel, document, cursor, context, claims, compares, unsent: Vec::new() }
}

/// With so many openings, each as long as it can be.
fn opened(context: CausalContext, count: usize) -> HubMessage {
    let one = |at| (replica(at), Opening { first: Dot::COUNTER_MAX, opening: u64::MAX });
    HubMessage::Opened {
        channel: 1,
        context,
        resumed: true,
        openings: (0..count).map(one).collect(),
    }
}

fn claims(count: usize) -> Vec<Claim> {
    (0..count).map(|number| Claim { replica: replica(number), opening: 1 }).collect()
}

fn client_reads(message: &ClientMessage) -> Result<(), Malformed> {
    decode_client(&message.encode()).map(|_| ())
}

fn reads_delta(delta: &Delta) -> Result<(), Malformed> {
    decode_delta(&encode_delta(delta)).map(|_| ())
}

/// A frame of so many bytes, all but a few in a field that a later version added.
fn frame_of(bytes: usize) -> Result<(), Malformed> {
    let head = [0x92, 6, 0x93, 1, 1, 0xc6];
    let room = bytes - 4 - head.len() - 4;
    let mut body = head.to_vec();
    body.extend((room as u32).to_be_bytes());
    body.extend(vec![0; room]);
    let mut frame = crc32fast::hash(&body).to_le_bytes().to_vec();
    frame.extend(body);
    assert_eq!(frame.len(), bytes);
    decode_client(&frame).map(|_| ())
}

/// A delta of so many bytes.
fn delta_of(bytes: usize) -> Result<(), Malformed> {
    let mut delta = of_entries(vec![entry(1, Label::new(b"s", [&b"n"[..]]), b"")]);
    let mut sized = |slot: usize| {
        delta.entries[0].slots = Slots::new([Some(&vec![0; slot][..])].into_iter());
        encode_delta(&delta)
    };
    let overhead = sized(bytes).len() - bytes;
    let delta = sized(bytes - overhead);
    assert_eq!(delta.len(), bytes);
    decode_delta(&delta).map(|_| ())
}

/// The first part of a delta: no replica, one label of so many names, each of one byte.
fn delta_with_names(count: usize) -> Vec<u8> {
    let mut bytes = vec![0, 1, 1, b's', count as u8];
    (0..count).for_each(|_| bytes.extend([1, b'n']));
    bytes.extend([0, 0, 0]);
    bytes
}

fn presence(name: usize, state: usize) -> ClientMessage {
    let (name, state) = ("n".repeat(name), vec![0; state]);
    ClientMessage::Presence { channel: 1, replica: replica(0), name, state }
}

fn nested(depth: usize) -> Result<Value, Malformed> {
    let mut bytes = vec![0x91; depth - 1];
    bytes.push(0x90);
    Value::decode(&mut Reader::new(&bytes))
}

fn counter(counter: u64) -> Delta {
    let mut dead = CausalContext::default();
    dead.insert(Dot::new(replica(0), counter));
    Delta { dead, ..Delta::default() }
}

#[test]
fn what_is_read_is_limited() {
    type Case = (&'static str, usize, fn(usize) -> Result<(), Malformed>);
    let cases: [Case; 20] = [
        ("bytes of a frame", MESSAGE_BYTES_MAX, frame_of),
        ("bytes of a delta", DELTA_BYTES_MAX, delta_of),
        ("bytes of a delta that is pushed", DELTA_BYTES_MAX, |bytes| {
            client_reads(&ClientMessage::Push(Push {
                channel: 1,
                id: 1,
                delta: vec![0; bytes],
                skips: false,
            }))
        }),
        ("labels of a delta", LABELS_MAX, |count| {
            let label = |number: usize| Label::new(&number.to_be_bytes(), [&b"n"[..]]);
            let entries = (0..count).map(|number| entry(1 + number as u64, label(number), b""));
            reads_delta(&of_entries(entries.collect()))
        }),
        ("bytes of a label", LABEL_BYTES_MAX, |bytes| {
            let label = Label::new(b"space", [&vec![b'n'; bytes - 5][..]]);
            reads_delta(&of_entries(vec![entry(1, label, b"")]))
        }),
        ("bytes of a space", PLACE_ID_BYTES_MAX, |bytes| {
            let label = Label::new(&vec![b's'; bytes], [&b"n"[..]]);
            reads_delta(&of_entries(vec![entry(1, label, b"")]))
        }),
        ("bytes of an id", PLACE_ID_BYTES_MAX, |bytes| {
            let label = Label::new(b"s", [&b"n"[..]]);
            reads_delta(&of_entries(vec![entry(1, label, &vec![b'i'; bytes])]))
        }),
        ("dots of an entry", RUN_DOTS_MAX, |count| {
            decode_delta(&delta_with_names(count)).map(|_| ())
        }),
        ("replicas of a context", REPLICAS_MAX, |count| {
            client_reads(&open("d", of_replicas(count), Vec::new()))
        }),
        ("replicas of a delta", REPLICAS_MAX, |count| {
            reads_delta(&Delta { dead: of_replicas(count), ..Delta::default() })
        }),
        ("ranges of a context", CONTEXT_RANGES_MAX, |count| {
            client_reads(&open("d", of_ranges(count), Vec::new()))
        }),
        ("ranges of a delta", CONTEXT_RANGES_MAX, |count| {
            reads_delta(&Delta { dead: of_ranges(count), ..Delta::default() })
        }),
        ("openings", OPENINGS_MAX, |count| {
            decode_hub(&opened(CausalContext::default(), count).encode()).map(|_| ())
        }),
        ("bytes of a document's name", NAME_BYTES_MAX, |bytes| {
            client_reads(&open(&"d".repeat(bytes), CausalContext::default(), Vec::new()))
        }),
        ("bytes of an agent's name", NAME_BYTES_MAX, |bytes| {
            let agent = "a".repeat(bytes);
            client_reads(&ClientMessage::Hello {
                version: VERSION,
                token: None,
                agent,
                packs: false,
            })
        }),
        ("bytes of a replica's name", NAME_BYTES_MAX, |bytes| client_reads(&presence(bytes, 0))),
        ("bytes of a presence state", PRESENCE_BYTES_MAX, |bytes| {
            client_reads(&presence(1, bytes))
        }),
        ("bytes of a message of a comparison", SYNC_BYTES_MAX, |bytes| {
            client_reads(&ClientMessage::Sync { channel: 1, message: vec![0; bytes] })?;
            decode_hub(&HubMessage::Sync { channel: 1, message: vec![0; bytes] }.encode())?;
            Ok(())
        }),
        ("depth of a value", VALUE_DEPTH_MAX, |depth| nested(depth).map(|_| ())),
        ("counter", Dot::COUNTER_MAX as usize, |number| reads_delta(&counter(number as u64))),
    ];
    for (what, limit, read) in cases {
        for below in [limit - 1, limit] {
            assert_eq!(read(below), Ok(()), "{what}: {below} of {limit}");
        }
        let error = read(limit + 1).expect_err(what);
        assert!(matches!(error, Malformed::Limit { .. }), "{what}: {error:?}");
    }
}

fn decodes_entry(counter: u64, label: Label, id: usize) -> Result<(), Malformed> {
    let mut bytes = Vec::new();
    entry(counter, label, &vec![b'i'; id]).encode_into(&mut bytes);
    Entry::decode(&mut Reader::new(&bytes)).map(|_| ())
}

fn decodes_note(space: usize, id: usize) -> Result<(), Malformed> {
    let (dot, label) = (Dot::new(replica(0), 1), Label::new(&vec![b's'; space], []));
    let note = Note { dot, stamp: Stamp::default(), label, id: PlaceId::new(&vec![b'i'; id]) };
    let mut bytes = Vec::new();
    note.encode_into(&mut bytes);
    Note::decode(&mut Reader::new(&bytes)).map(|_| ())
}

#[test]
fn entries_and_notes_on_their_own_are_limited() {
    type Case = (&'static str, usize, fn(usize) -> Result<(), Malformed>);
    let cases: [Case; 5] = [
        ("bytes of a label", LABEL_BYTES_MAX, |bytes| {
            decodes_entry(1, Label::new(b"space", [&vec![b'n'; bytes - 5][..]]), 1)
        }),
        ("bytes of an id", PLACE_ID_BYTES_MAX, |bytes| {
            decodes_entry(1, Label::new(b"s", [&b"n"[..]]), bytes)
        }),
        ("the last counter of an entry", Dot::COUNTER_MAX as usize, |last| {
            decodes_entry(last as u64 - 1, Label::new(b"s", [&b"n"[..], b"n"]), 1)
        }),
        ("bytes of a note's space", LABEL_BYTES_MAX, |bytes| decodes_note(bytes, 1)),
        ("bytes of a note's id", PLACE_ID_BYTES_MAX, |bytes| decodes_note(1, bytes)),
    ];
    for (what, limit, decode) in cases {
        for below in [limit - 1, limit] {
            assert_eq!(decode(below), Ok(()), "{what}: {below} of {limit}");
        }
        let error = decode(limit + 1).expect_err(what);
        assert!(matches!(error, Malformed::Limit { .. }), "{what}: {error:?}");
    }
    let zeroth = decodes_entry(0, Label::new(b"s", [&b"n"[..]]), 1);
    assert!(matches!(zeroth, Err(Malformed::Inconsistent { .. })), "{zeroth:?}");
}

#[test]
fn names_that_applications_choose_are_limited() {
    let author = Author { replica: replica(0), stamp: Stamp::from_ms(1) };
    let id = RecordId::new("n").unwrap();
    let mut document = Document::default();
    let no_fields = BTreeMap::<String, Field>::new();
    document.edit(author, usize::MAX, |edit| edit.insert("c", &id, &no_fields)).unwrap();
    let mut writes = |path: Vec<String>| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = Field::from("v");
        document.edit(author, usize::MAX, |edit| edit.put("c", &id, &path, &value)).is_ok()
    };
    for (count, is_taken) in [(15, true), (16, true), (17, false)] {
        assert_eq!(writes(vec!["p".to_owned(); count]), is_taken, "{count} names");
    }
    for (bytes, is_taken) in [(127, true), (128, true), (129, false)] {
        assert_eq!(writes(vec!["p".repeat(bytes)]), is_taken, "a name of {bytes} bytes");
    }
    // One more byte counts for each name.
    for (last, is_taken) in [(123, true), (124, true), (125, false)] {
        let path = [128, 128, 128, last].map(|bytes| "p".repeat(bytes));
        assert_eq!(writes(path.to_vec()), is_taken, "a path of {} bytes", 3 * 129 + last + 1);
    }
    for (bytes, is_taken) in [(127, true), (128, true), (129, false)] {
        assert_eq!(RecordId::new("r".repeat(bytes)).is_ok(), is_taken, "an id of {bytes} bytes");
        let name = "c".repeat(bytes);
        let insert = document.edit(author, usize::MAX, |edit| edit.insert(&name, &id, &no_fields));
        assert_eq!(insert.is_ok(), is_taken, "a collection's name of {bytes} bytes");
    }
    for (depth, is_taken) in [(31, true), (32, true), (33, false)] {
        let nested = (1..depth).fold(Value::List(Vec::new()), |value, _| Value::List(vec![value]));
        let field = Field::from(nested);
        let put = document.edit(author, usize::MAX, |edit| edit.put("c", &id, &["v"], &field));
        assert_eq!(put.is_ok(), is_taken, "a value of depth {depth}");
    }
}

/// A hub, and what it says to one connection.
struct Bench {
    hub: Hub,
    store: MemoryHub,
}

impl Bench {
    fn new() -> Self {
        Self::with_chunk_size(ChunkSize::default())
    }

    fn with_chunk_size(size: ChunkSize) -> Self {
        let store = MemoryHub::new(Boot { hub: 1, boot: 2 });
        let mut bench = Self { hub: Hub::with_chunk_size(size), store };
        bench.connect(1);
        bench
    }

    fn connect(&mut self, connection: u64) {
        let Ok(()) =
            self.hub.handle(&mut self.store, Now::default(), connection, HubInput::Connected);
        let hello =
            ClientMessage::Hello { version: VERSION, token: None, agent: "a".into(), packs: false };
        self.say(connection, &hello).unwrap();
    }

    /// What the hub answers, or the code with which it closes.
    fn say(&mut self, connection: u64, message: &ClientMessage) -> Result<Vec<HubMessage>, u16> {
        let frame = HubInput::Frame(message.encode());
        let Ok(()) = self.hub.handle(&mut self.store, Now::default(), connection, frame);
        let mut heard = Vec::new();
        while let Some(output) = self.hub.poll() {
            match output {
                HubOutput::Send { connection: to, frame } if to == connection => {
                    heard.push(decode_hub(&frame).unwrap());
                }
                HubOutput::Send { .. } => {}
                HubOutput::Close { fault, .. } => return Err(fault.close_code()),
            }
        }
        Ok(heard)
    }
}

fn push(id: u64, delta: &Delta) -> ClientMessage {
    ClientMessage::Push(Push { channel: 1, id, delta: encode_delta(delta), skips: false })
}

#[test]
fn the_replicas_of_a_document_are_limited_beside_those_that_are_there() {
    for (count, is_taken) in [(-1, true), (0, true), (1, false)] {
        let mut bench = Bench::new();
        let own = vec![Claim { replica: replica(REPLICAS_MAX), opening: 1 }];
        bench.say(1, &open("d", CausalContext::default(), own)).unwrap();
        let mut delta = of_entries(vec![entry(1, Label::new(b"s", [&b"n"[..]]), b"")]);
        delta.entries[0].first.replica = replica(REPLICAS_MAX);
        bench.say(1, &push(1, &delta)).unwrap();
        bench.connect(2);
        let theirs = of_replicas((REPLICAS_MAX as isize - 1 + count) as usize);
        let answer = bench.say(2, &open("d", theirs, Vec::new()));
        assert_eq!(answer.err(), (!is_taken).then_some(4413), "{count}");
    }
}

#[test]
fn the_replicas_that_pushes_bring_are_limited() {
    let mut bench = Bench::new();
    // As many as there may be but for one, which the hub has lost and takes from whoever has them.
    let others = of_replicas(REPLICAS_MAX - 1);
    bench.say(1, &open("d", others.clone(), Vec::new())).unwrap();
    let lost = Delta { dead: others, ..Delta::default() };
    bench.say(1, &push(1, &lost)).unwrap();
    bench.connect(2);
    let writers = [REPLICAS_MAX - 1, REPLICAS_MAX].map(replica);
    let claims = writers.map(|replica| Claim { replica, opening: 1 }).to_vec();
    bench.say(2, &open("d", CausalContext::default(), claims)).unwrap();
    for (id, replica) in (1..).zip(writers) {
        let mut delta = of_entries(vec![entry(1, Label::new(b"s", [&b"n"[..]]), b"")]);
        delta.entries[0].first.replica = replica;
        let is_taken = id == 1;
        assert_eq!(bench.say(2, &push(id, &delta)).err(), (!is_taken).then_some(4413), "{id}");
    }
}

#[test]
fn the_bytes_of_an_entry_that_grows_are_limited() {
    for (beyond, is_taken) in [(-1isize, true), (0, true), (1, false)] {
        let mut bench = Bench::new();
        bench.say(1, &open("d", CausalContext::default(), claims(1))).unwrap();
        let part = |slots: &[Option<Vec<u8>>]| {
            let mut part = entry(1, Label::new(b"s", slots.iter().map(|_| &b"n"[..])), b"");
            part.slots = Slots::new(slots.iter().map(Option::as_deref));
            part
        };
        let first = part(&[Some(vec![1; DELTA_BYTES_MAX / 2])]);
        let room = (DELTA_BYTES_MAX - first.byte_count()).checked_add_signed(beyond).unwrap();
        let second = part(&[None, Some(vec![2; room])]);
        bench.say(1, &push(1, &of_entries(vec![first]))).unwrap();
        let answer = bench.say(1, &push(2, &of_entries(vec![second])));
        assert_eq!(answer.err(), (!is_taken).then_some(4413), "{beyond} beyond");
    }
}

#[test]
fn the_claims_of_a_channel_are_limited() {
    for (count, is_taken) in [(CLAIMS_MAX - 1, true), (CLAIMS_MAX, true), (CLAIMS_MAX + 1, false)] {
        let mut bench = Bench::new();
        let answer = bench.say(1, &open("d", CausalContext::default(), claims(count)));
        assert_eq!(answer.err(), (!is_taken).then_some(4413), "{count} at once");
        let mut bench = Bench::new();
        bench.say(1, &open("d", CausalContext::default(), Vec::new())).unwrap();
        let claim = |claim| ClientMessage::Claim { channel: 1, claims: vec![claim] };
        let faults = claims(count).into_iter().filter_map(|one| bench.say(1, &claim(one)).err());
        assert_eq!(faults.last(), (!is_taken).then_some(4413), "{count} one by one");
    }
}

#[test]
fn the_openings_that_are_told_fit_into_a_frame() {
    // As much as a hub says of its context, with counters that take the most bytes.
    let mut context = CausalContext::default();
    for at in 0..CONTEXT_RANGES_MAX / 2 {
        context.insert_range(replica(at), 1 << 62, Dot::COUNTER_MAX);
    }
    let largest = opened(context, OPENINGS_MAX);
    assert_eq!(decode_hub(&largest.encode()), Ok(largest));

    // One more replica than can be told of with all its marks.
    let replicas = OPENINGS_MAX / MARKS_MAX + 1;
    let mut bench = Bench::new();
    bench.say(1, &open("d", CausalContext::default(), claims(replicas))).unwrap();
    for at in 0..replicas {
        let marks = (1..=MARKS_MAX as u64).map(|first| Opening { first, opening: first });
        let marks = of_entries(marks.map(|one| one.mark(replica(at))).collect());
        bench.say(1, &push(1 + at as u64, &marks)).unwrap();
    }
    bench.connect(2);
    let mut reader = open("d", CausalContext::default(), Vec::new());
    if let ClientMessage::Open { unsent, .. } = &mut reader {
        *unsent = (0..replicas).map(replica).collect();
    }
    let told = bench.say(2, &reader);
    let told = told.unwrap().into_iter().find_map(|message| match message {
        HubMessage::Opened { openings, .. } => Some(openings),
        _ => None,
    });
    let mut counts: BTreeMap<ReplicaId, usize> = BTreeMap::new();
    for (of, _) in told.unwrap() {
        *counts.entry(of).or_default() += 1;
    }
    let all = (0..replicas - 1).map(|at| (replica(at), MARKS_MAX)).collect();
    assert_eq!(counts, all);
}

#[test]
fn the_channels_of_a_connection_are_limited() {
    let mut bench = Bench::new();
    for number in 1..=CHANNELS_MAX as u32 + 1 {
        let mut message = open("d", CausalContext::default(), Vec::new());
        if let ClientMessage::Open { channel, .. } = &mut message {
            *channel = number;
        }
        let is_taken = number as usize <= CHANNELS_MAX;
        assert_eq!(bench.say(1, &message).err(), (!is_taken).then_some(4413), "{number}");
    }
}

#[test]
fn the_comparisons_of_a_channel_are_limited() {
    let mut bench = Bench::new();
    bench.say(1, &open("d", CausalContext::default(), claims(1))).unwrap();
    let delta = of_entries(vec![entry(1, Label::new(b"s", [&b"n"[..]]), b"")]);
    bench.say(1, &push(1, &delta)).unwrap();
    bench.connect(2);
    let mut message = open("d", of_ranges(3), Vec::new());
    if let ClientMessage::Open { compares, .. } = &mut message {
        *compares = true;
    }
    bench.say(2, &message).unwrap();
    // A hello: its kind, its mode, a context's hash, a root.
    let mut first = vec![1, 2];
    first.extend([7; 24]);
    let first = ClientMessage::Sync { channel: 1, message: first };
    for number in 1..=SYNC_TRIES_MAX + 1 {
        let is_taken = number <= SYNC_TRIES_MAX;
        assert_eq!(bench.say(2, &first).err(), (!is_taken).then_some(4413), "{number}");
    }
}

#[test]
fn the_chunks_that_are_unconfirmed_are_limited() {
    let mut bench = Bench::with_chunk_size(ChunkSize { bytes: 1, items: 1 });
    bench.say(1, &open("d", CausalContext::default(), claims(1))).unwrap();
    for id in 1..=10 {
        let delta = of_entries(vec![entry(id, Label::new(b"s", [&b"n"[..]]), &id.to_be_bytes())]);
        bench.say(1, &push(id, &delta)).unwrap();
    }
    bench.connect(2);
    let heard = bench.say(2, &open("d", CausalContext::default(), Vec::new())).unwrap();
    let chunks = |heard: &[HubMessage]| {
        heard.iter().filter(|message| matches!(message, HubMessage::Chunk { .. })).count() as u64
    };
    assert_eq!(chunks(&heard), CHUNK_CREDIT);
    for number in 1..=6 {
        let confirmed = ClientMessage::ChunkStored { channel: 1, number };
        assert_eq!(chunks(&bench.say(2, &confirmed).unwrap()), 1, "one for one");
    }
}

#[test]
fn the_pushes_that_are_unanswered_are_limited() {
    let mut world = World::new(1, 1);
    world.connect(0);
    world.settle();
    let before = world.frames_up(0);
    for number in 0..2 * PUSH_CREDIT {
        world.write(0, &format!("n{number}"), &[("title", &"t".repeat(9_000))]);
        while world.store_one(0) {}
        let waiting = world.frames_up(0) - before;
        assert_eq!(waiting, (number + 1).min(PUSH_CREDIT), "after {number} more");
    }
    world.heal();
}

#[test]
fn a_stamp_of_the_far_future_pulls_no_clock() {
    let stamp_of = |ahead_ms: u64| {
        let mut world = World::new(1, 1);
        world.connect(0);
        world.settle();
        let label = Label::new(b"s", [&b"n"[..]]);
        let mut delta = of_entries(vec![entry(1, label, b"")]);
        let now_ms = world.now.unix_ms;
        delta.entries[0].stamp = Stamp::from_ms(now_ms.saturating_add(ahead_ms));
        let delta = encode_delta(&delta);
        world.hear(0, HubMessage::Delta { channel: 1, seq: 1, delta }.encode());
        world.write(0, "n", &[("title", "t")]);
        let outbox = world.devices[0].client.outbox(DOCUMENT).unwrap();
        let stamps = outbox.flat_map(|item| item.delta.entries.iter().map(|entry| entry.stamp));
        stamps.max().unwrap().ms() - now_ms
    };
    assert!(stamp_of(SKEW_MS_MAX - 1) >= SKEW_MS_MAX - 1);
    assert!(stamp_of(SKEW_MS_MAX) >= SKEW_MS_MAX);
    for ahead_ms in [SKEW_MS_MAX + 10, 1 << 40, u64::MAX] {
        assert!(stamp_of(ahead_ms) <= SKEW_MS_MAX + 1, "{ahead_ms}");
    }
}

#[test]
fn a_client_shows_no_more_peers_than_a_document_has_replicas() {
    let (mut client, now) = (Client::new(ClientConfig::default()), Now::default());
    let saved: SavedDocument = SavedDocument::default();
    client.open(DOCUMENT, saved, replica(0), 1);
    client.handle(now, ClientInput::Connected);
    let mut hear = |message: HubMessage| {
        client.handle(now, ClientInput::Frame(message.encode()));
        client.peers(DOCUMENT).unwrap().map(|(_, peer)| peer.name.clone()).collect::<Vec<_>>()
    };
    let packs = false;
    hear(HubMessage::Welcome(Welcome { version: VERSION, hub: 1, boot: 1, now_ms: 0, packs }));
    let mut show = |number: usize, name: &str| {
        let shown = Some((name.to_owned(), Vec::new()));
        hear(HubMessage::Presence { channel: 1, replica: replica(number), shown })
    };
    for number in 1..REPLICAS_MAX {
        show(number, "a");
    }
    assert_eq!(show(REPLICAS_MAX, "a").len(), REPLICAS_MAX);
    assert_eq!(show(REPLICAS_MAX + 1, "b").len(), REPLICAS_MAX);
    // Who is known is still heard.
    assert!(!show(REPLICAS_MAX + 2, "b").contains(&"b".to_owned()));
    assert!(show(7, "b").contains(&"b".to_owned()));
}

#[test]
fn a_replica_that_is_said_to_have_counted_far_makes_no_change_that_nobody_reads() {
    let most = Dot::COUNTER_MAX - (1 << 32);
    for seen in [most - 1, most, most + 1, Dot::COUNTER_MAX] {
        let mut document = Document::default();
        let mut said = Delta::default();
        said.dead.insert_range(replica(1), 1, seen);
        document.join(&said).sure();
        let author = Author { replica: replica(1), stamp: Stamp::from_ms(1) };
        let id = RecordId::new("n").unwrap();
        let edited = document.edit(author, usize::MAX, |edit| {
            edit.insert("notes", &id, [("title", &Field::from("x"))])
        });
        match edited {
            Ok(edited) => {
                assert!(seen <= most);
                assert_eq!(decode_delta(&encode_delta(&edited.delta)).unwrap(), edited.delta);
            }
            Err(Refused::Misuse(Misuse::TooLarge { found, limit, .. })) => {
                assert_eq!((found, limit, seen > most), (seen, most, true));
            }
            Err(refused) => panic!("{refused}"),
        }
    }
}
