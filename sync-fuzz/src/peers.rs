//! A client and a hub that hear anything at all.

use sync_core::error::Sure;
use sync_core::session::{ConnectionId, HubInput};
use sync_core::wire::{ClientMessage, Holder, HubMessage, Packing, Push, VERSION, encode_delta};

use crate::frames::{bent, claims, context, cursor, delta, openings, replica, sealed};
use crate::source::Source;
use crate::world::{DOCUMENT, World};

/// How many inputs there are at most.
const STEPS_MAX: usize = 200;

/// Connections of whoever keeps no rule; those of the honest devices have lower numbers.
const HOSTILE: ConnectionId = 1_000;

/// Feeds a client session or a hub session.
pub fn peers(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    if source.below(2) == 0 { client(source) } else { hub(source) }
}

/// Whatever a hub says, a client keeps on disk what it shows.
fn client(mut source: Source<'_>) {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(1, "n0", &[("title", "theirs")]);
    world.settle();
    for step in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        match source.below(16) {
            0 => world.hear(0, source.piece().to_vec()),
            1 => world.hear(0, sealed(source.piece())),
            2..6 => world.hear(0, bent(&mut source)),
            6..12 => {
                let message = hub_message(&mut source, &world);
                world.hear(0, packed(step, message.encode()));
            }
            12 => world.write(0, "n0", &[("title", &step.to_string())]),
            13 => world.disconnect(0),
            14 => {
                world.connect(0);
                world.carry(0, true);
                world.carry(0, false);
                world.carry(0, true);
            }
            _ => world.crash(0),
        }
    }
    while world.store_one(0) {}
    let device = &world.devices[0];
    let document = device.client.document(DOCUMENT).expect("the document is open");
    assert_eq!(document.store(), &device.disk.store, "what is shown is on disk");
    document.conflicts().sure();
}

fn hub_message(source: &mut Source<'_>, world: &World) -> HubMessage {
    use sync_core::session::HubStore as _;
    let channel = 1;
    let boot = world.store.boot().boot;
    match source.below(8) {
        0 | 1 => HubMessage::Delta { channel, seq: source.number_in(32), delta: written(source) },
        2 | 3 => {
            let number = source.number_in(8);
            let is_last = source.below(2) == 0;
            let cursor = is_last.then(|| cursor(source, boot));
            HubMessage::Chunk {
                channel,
                number,
                delta: encode_delta(&delta(source)),
                cursor,
                left: 0,
            }
        }
        4 => {
            let (id, seq) = (source.number_in(8), source.number_in(32));
            HubMessage::Stored { channel, id, seq }
        }
        5 => HubMessage::Refused {
            channel,
            id: source.number_in(8),
            reason: "no".into(),
            goes_on: false,
        },
        6 => {
            let own = world.devices[0].replica;
            let replica = if source.below(2) == 0 { own } else { replica(source) };
            HubMessage::InUse { channel, replica }
        }
        _ => match source.byte() {
            192.. => {
                let (context, resumed) = (context(source), source.below(2) == 0);
                HubMessage::Opened { channel, context, resumed, openings: openings(source) }
            }
            kind if kind % 4 == 0 => HubMessage::Sync { channel, message: source.piece().to_vec() },
            kind if kind % 4 == 1 => HubMessage::Names { channel, names: source.piece().to_vec() },
            kind if kind % 4 == 2 => {
                let (replica, seq, age_ms) = (replica(source), source.number_in(8), 0);
                let holders = vec![Holder { replica, seq, age_ms, name: "x".into() }];
                HubMessage::Held { channel, holders }
            }
            _ => HubMessage::Unresolved { channel, id: source.number_in(8) },
        },
    }
}

/// Every second frame packed, where that makes it smaller.
fn packed(step: usize, frame: Vec<u8>) -> Vec<u8> {
    let packing = if step % 2 == 1 { Packing::from_bytes(0) } else { Packing::NONE };
    packing.pack(frame)
}

/// A delta as it stands for itself, or any bytes in its place, which may name things by numbers and dots.
fn written(source: &mut Source<'_>) -> Vec<u8> {
    if source.below(4) == 0 { source.piece().to_vec() } else { encode_delta(&delta(source)) }
}

/// Whatever clients say, a hub goes on with those that keep the rules.
fn hub(mut source: Source<'_>) {
    let mut world = World::new(1, 2);
    world.connect(0);
    world.write(0, "n0", &[("title", "theirs")]);
    world.settle();
    let mut hostile = [HOSTILE, HOSTILE + 1];
    let mut pushes = [0; 2];
    for connection in hostile {
        world.at_hub(connection, HubInput::Connected);
    }
    for step in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        let at = source.below(2);
        let input = match source.below(16) {
            0 => HubInput::Frame(source.piece().to_vec()),
            1 => HubInput::Frame(sealed(source.piece())),
            2..6 => HubInput::Frame(bent(&mut source)),
            6 => HubInput::Disconnected,
            7 => {
                hostile[at] += 2;
                pushes[at] = 0;
                world.at_hub(hostile[at], HubInput::Connected);
                HubInput::Frame(hello().encode())
            }
            8..12 => {
                pushes[at] += 1;
                let id = if source.below(16) == 0 { source.number_in(4) } else { pushes[at] };
                let push = Push { channel: 1, id, delta: written(&mut source), skips: false };
                HubInput::Frame(packed(step, ClientMessage::Push(push).encode()))
            }
            _ => HubInput::Frame(client_message(&mut source).encode()),
        };
        world.at_hub(hostile[at], input);
    }
    for connection in hostile {
        world.at_hub(connection, HubInput::Disconnected);
    }
    world.closed.clear();
    world.heal();
}

fn hello() -> ClientMessage {
    ClientMessage::Hello { version: VERSION, token: None, agent: "a".into(), packs: false }
}

fn client_message(source: &mut Source<'_>) -> ClientMessage {
    let channel = 1;
    match source.below(8) {
        0 => hello(),
        1 | 2 => ClientMessage::Open {
            channel,
            document: DOCUMENT.into(),
            cursor: (source.below(2) == 0).then(|| cursor(source, 1)),
            context: context(source),
            claims: claims(source),
            compares: source.below(2) == 0,
            unsent: vec![replica(source)],
        },
        3 => ClientMessage::Claim { channel, claims: claims(source) },
        4 => ClientMessage::Release { channel, replicas: vec![replica(source)] },
        5 => ClientMessage::ChunkStored { channel, number: source.number_in(4) },
        6 => ClientMessage::Presence {
            channel,
            replica: replica(source),
            name: "x".into(),
            state: source.piece().to_vec(),
        },
        _ => match source.below(3) {
            0 => ClientMessage::Sync { channel, message: source.piece().to_vec() },
            1 => ClientMessage::Held {
                channel,
                replica: replica(source),
                seq: source.number_in(8),
                name: (source.below(2) == 0).then(|| "x".into()),
            },
            _ => ClientMessage::Brief { channel, dots: source.below(2) == 0 },
        },
    }
}
