//! Clients without a valid cursor compare with the hub, whatever happens meanwhile.

use std::collections::BTreeMap;

use sync_core::causal::{CausalContext, Delta, Dot, ReplicaId};
use sync_core::session::{Boot, ChunkSize, Hub, HubInput, HubOutput, MemoryHub, Now};
use sync_core::wire::{
    Claim, ClientMessage, HubMessage, Push, SYNC_BYTES_MAX, SYNC_TRIES_MAX, decode_hub,
    encode_delta,
};

use crate::world::{DOCUMENT, World};

/// Two devices that have the same records, the second one offline since.
fn parted(seed: u64, records: usize, size: ChunkSize) -> World {
    let mut world = World::with_chunk_size(seed, 2, size);
    (0..2).for_each(|at| world.connect(at));
    for number in 0..records {
        let body = "b".repeat(200);
        world.write(number % 2, &format!("n{number}"), &[("title", "t"), ("body", &body)]);
    }
    world.settle();
    world.disconnect(1);
    world.sent_down.clear();
    world
}

/// Makes every cursor so far worthless.
fn forget(world: &mut World) {
    world.write(0, "last", &[("title", "t")]);
    world.settle();
    let seq = sync_core::session::HubStore::seq(&world.store);
    world.store.forget_removals(seq);
}

#[test]
fn a_client_without_a_valid_cursor_receives_what_it_lacks_and_no_more() {
    let mut world = parted(1, 400, ChunkSize::default());
    world.write(0, "n3", &[("title", "new")]);
    assert!(world.remove(0, "n8"));
    world.write(1, "n5", &[("title", "other")]);
    assert!(world.remove(1, "n9"));
    world.settle();
    forget(&mut world);
    world.connect(1);
    world.settle();
    let bytes = world.sent_down[&1];
    println!("{bytes} bytes down");
    assert!(bytes < 4_096, "{bytes} bytes of about 100,000");
    world.heal();
    for at in 0..2 {
        assert_eq!(world.fields(at, "n3").unwrap()["title"], "new");
        assert_eq!(world.fields(at, "n5").unwrap()["title"], "other");
        assert!(world.fields(at, "n8").is_none() && world.fields(at, "n9").is_none());
    }
}

#[test]
fn two_hubs_that_were_filled_by_others_are_compared_too() {
    let mut world = parted(2, 300, ChunkSize::default());
    let other = world.empty_hub();
    world.restart_hub(other);
    world.connect(0);
    world.settle();
    world.connect(1);
    world.settle();
    let bytes = world.sent_down[&1];
    println!("{bytes} bytes down");
    assert!(bytes < 1_024, "{bytes}");
    world.heal();
}

#[test]
fn what_happens_during_a_comparison_is_neither_lost_nor_undone() {
    for seed in 0..60 {
        let size = ChunkSize { bytes: 1 << (seed % 12), items: 1 + seed as usize % 5 };
        let mut world = parted(seed, 40, size);
        world.write(0, "n3", &[("title", "new")]);
        assert!(world.remove(0, "n8"));
        world.write(1, "n5", &[("title", "other")]);
        assert!(world.remove(1, "n9"));
        forget(&mut world);
        world.connect(1);
        for step in 0..60 {
            for at in [0, 1] {
                match world.random.below(4) {
                    0 => drop(world.store_one(at)),
                    1 => drop(world.carry(at, true)),
                    2 => drop(world.carry(at, false)),
                    _ => {}
                }
            }
            match (world.random.below(14), step % 2) {
                (0, at) => world.write(at, &format!("n{}", step % 12), &[("title", "meanwhile")]),
                (1, at) => drop(world.remove(at, &format!("n{}", 12 + step % 9))),
                (2, 0) => {
                    world.disconnect(1);
                    world.connect(1);
                }
                _ => {}
            }
        }
        world.heal();
        let shown = |at| -> BTreeMap<_, _> {
            (0..40).map(|n| (n, world.fields(at, &format!("n{n}")))).collect()
        };
        assert_eq!(shown(0), shown(1), "seed {seed}");
    }
}

/// A hub with a document of a few dots, and a connection that has opened it with a context.
fn opened(context: CausalContext) -> (Hub, MemoryHub) {
    let mut hub = Hub::new();
    let mut store = MemoryHub::new(Boot { hub: 1, boot: 2 });
    for (connection, said) in [(1, CausalContext::default()), (2, context)] {
        let claims = vec![Claim { replica: replica(connection as u8), opening: 1 }];
        feed(&mut hub, &mut store, connection, HubInput::Connected);
        let hello =
            ClientMessage::Hello { version: 1, token: None, agent: String::new(), packs: false };
        let open = ClientMessage::Open {
            channel: 1,
            document: DOCUMENT.into(),
            cursor: None,
            context: said,
            claims,
            compares: true,
            unsent: Vec::new(),
        };
        let mut messages = vec![hello, open];
        if connection == 1 {
            let delta =
                Delta { dead: [Dot::new(replica(1), 1)].into_iter().collect(), ..Delta::default() };
            messages.push(ClientMessage::Push(Push {
                channel: 1,
                id: 1,
                delta: encode_delta(&delta),
                skips: false,
            }));
        }
        for message in messages {
            let outputs = feed(&mut hub, &mut store, connection, HubInput::Frame(message.encode()));
            assert_eq!(closed(&outputs), None);
        }
    }
    (hub, store)
}

fn replica(byte: u8) -> ReplicaId {
    ReplicaId::from_bytes([byte; 16])
}

fn feed(hub: &mut Hub, store: &mut MemoryHub, connection: u64, input: HubInput) -> Vec<HubOutput> {
    let Ok(()) = hub.handle(store, Now::default(), connection, input);
    std::iter::from_fn(|| hub.poll()).collect()
}

fn closed(outputs: &[HubOutput]) -> Option<u16> {
    outputs.iter().find_map(|output| match output {
        HubOutput::Close { fault, .. } => Some(fault.close_code()),
        HubOutput::Send { .. } => None,
    })
}

fn heard(outputs: &[HubOutput]) -> Vec<HubMessage> {
    let frames = outputs.iter().filter_map(|output| match output {
        HubOutput::Send { frame, .. } => Some(decode_hub(frame).unwrap()),
        HubOutput::Close { .. } => None,
    });
    frames.collect()
}

#[test]
fn a_comparison_that_breaks_the_rules_ends_with_a_code() {
    let context: CausalContext = [Dot::new(replica(2), 1)].into_iter().collect();
    let sync =
        |message: &[u8]| ClientMessage::Sync { channel: 1, message: message.into() }.encode();
    let first = [&[1u8, 2][..], &[7; 24]].concat();
    let mut larger = vec![0; SYNC_BYTES_MAX + 1];
    larger[0] = 1;
    for (name, messages, code) in [
        ("no first message", vec![&[4u8, 0][..]], 4409),
        ("of no kind", vec![&first, &[99]], 4409),
        ("out of turn", vec![&first, &[9]], 4409),
        ("cut short", vec![&first[..7]], 4400),
        ("too long", vec![&larger[..]], 4413),
        ("begun too often", vec![&first; SYNC_TRIES_MAX as usize + 1], 4413),
        ("after its end", vec![&[], &first], 4409),
    ] {
        let (mut hub, mut store) = opened(context.clone());
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            let outputs = feed(&mut hub, &mut store, 2, HubInput::Frame(sync(message)));
            assert_eq!(closed(&outputs), None, "{name}");
        }
        let outputs = feed(&mut hub, &mut store, 2, HubInput::Frame(sync(last)));
        assert_eq!(closed(&outputs), Some(code), "{name}");
    }
}

#[test]
fn nothing_is_sent_before_the_client_has_said_how() {
    let context: CausalContext = [Dot::new(replica(2), 1)].into_iter().collect();
    let (mut hub, mut store) = opened(context);
    let stored = ClientMessage::ChunkStored { channel: 1, number: 1 };
    let everything = ClientMessage::Sync { channel: 1, message: Vec::new() };
    let outputs = feed(&mut hub, &mut store, 2, HubInput::Frame(everything.encode()));
    assert!(matches!(heard(&outputs)[..], [HubMessage::Chunk { number: 1, .. }]), "{outputs:?}");
    let outputs = feed(&mut hub, &mut store, 2, HubInput::Frame(stored.encode()));
    assert_eq!(closed(&outputs), None);
}
