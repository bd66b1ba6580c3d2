//! A client without a cursor compares with a hub over SQLite.

use std::collections::VecDeque;

use sync_core::causal::{Delta, Dot, Entry, Label, MemoryStore, PlaceId, ReplicaId, Slots, join};
use sync_core::reconcile::{Limits, Mode, Reconciler};
use sync_core::session::{Hub, HubInput, HubOutput, HubStore, Now};
use sync_core::time::Stamp;
use sync_core::wire::{Claim, ClientMessage, Dictionary, HubMessage, decode_hub};
use sync_hub::SqliteHub;
use tempfile::TempDir;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn record(who: u8, number: u64, body: &[u8]) -> Delta {
    let entry = Entry {
        first: Dot::new(replica(who), number * 5 + 1),
        stamp: Stamp::from_ms(number),
        label: Label::new(b"\x01notes", [&b"\0"[..], b"\x01t", b"\x01b", b"\x01d", b"\x01a"]),
        id: PlaceId::new(&u128::from(number).to_be_bytes()),
        slots: Slots::new([&b""[..], b"title", body, b"\xc2", b"\x07"].into_iter().map(Some)),
    };
    Delta { entries: [entry].into(), ..Delta::default() }
}

fn feed(hub: &mut Hub, store: &mut SqliteHub, input: HubInput) -> Vec<HubMessage> {
    hub.handle(store, Now::default(), 1, input).expect("the store is sound");
    let outputs = std::iter::from_fn(|| hub.poll()).map(|output| match output {
        HubOutput::Send { frame, .. } => decode_hub(&frame).expect("a hub sends messages"),
        HubOutput::Close { fault, .. } => panic!("closed: {fault}"),
    });
    outputs.collect()
}

#[test]
fn a_few_differences_among_many_cost_a_few_kilobytes() {
    let folder = TempDir::new().unwrap();
    let mut sqlite = SqliteHub::open(&folder.path().join("hub.db"), 100_000).unwrap();
    sqlite.begin().unwrap();
    let document = sqlite.open("d").unwrap();
    let mut client = MemoryStore::default();
    for number in 0..4_000 {
        let delta = record(1 + (number % 2) as u8, number / 2, b"a body");
        client.join(&delta);
        join(&mut sqlite.document(document, 1), &delta).unwrap();
    }
    let removal = |who, counter| Delta {
        dead: [Dot::new(replica(who), counter)].into_iter().collect(),
        ..Delta::default()
    };
    for delta in [record(3, 0, b"new"), removal(1, 777), removal(2, 5_001)] {
        join(&mut sqlite.document(document, 2), &delta).unwrap();
    }
    client.join(&removal(2, 9_999));
    sqlite.commit().unwrap();
    sqlite.begin().unwrap();

    let mut hub = Hub::new();
    feed(&mut hub, &mut sqlite, HubInput::Connected);
    let context = client.context().clone();
    let mut side = Reconciler::initiator(context.clone(), Mode::PushPull, Limits::default());
    let hello =
        ClientMessage::Hello { version: 1, token: None, agent: String::new(), packs: false };
    let open = ClientMessage::Open {
        channel: 1,
        document: "d".into(),
        cursor: None,
        context,
        claims: vec![Claim { replica: replica(9), opening: 1 }],
        compares: true,
        unsent: Vec::new(),
    };
    let first = ClientMessage::Sync { channel: 1, message: side.start(&client).unwrap() };
    let (mut bytes, mut chunks, mut syncs) = (0, 0, 0);
    let mut names = Dictionary::new();
    let mut up = VecDeque::from([hello, open, first]);
    while let Some(message) = up.pop_front() {
        let frame = message.encode();
        bytes += frame.len();
        for message in feed(&mut hub, &mut sqlite, HubInput::Frame(frame)) {
            bytes += message.encode().len();
            match message {
                HubMessage::Sync { message, .. } => {
                    syncs += 1;
                    let answer = side.handle(&client, &message).unwrap();
                    up.extend(answer.map(|message| ClientMessage::Sync { channel: 1, message }));
                }
                HubMessage::Chunk { number, delta, .. } => {
                    chunks += 1;
                    client.join(&names.read_chunk(&delta).unwrap());
                    up.push_back(ClientMessage::ChunkStored { channel: 1, number });
                }
                HubMessage::Opened { resumed, .. } => assert!(!resumed),
                _ => {}
            }
        }
    }
    println!("{bytes} bytes, {syncs} messages of the hub, {chunks} chunks");
    assert!(bytes < 4_096 && syncs <= 4 && chunks <= 3, "{bytes} {syncs} {chunks}");
    let found = side.difference().unwrap();
    assert_eq!(found.live_there, [Dot::new(replica(2), 9_999)].into_iter().collect());
    // The client gives what it has removed; then both are one.
    let given = removal(2, 9_999);
    join(&mut sqlite.document(document, 3), &given).unwrap();
    assert_eq!(sqlite.total(document).unwrap(), client.fingerprints().total());
    assert_eq!(&sqlite.context(document).unwrap(), client.context());
}
