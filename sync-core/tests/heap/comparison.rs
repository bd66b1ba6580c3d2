//! Messages of a comparison that are made to cost much, at each of its steps.

use sync_core::causal::{Delta, Dot, Entry, Label, MemoryStore, PlaceId, Slots};
use sync_core::pack::varint;
use sync_core::session::{
    Client, ClientConfig, ClientInput, ClientOutput, Hub, HubInput, HubOutput, MemoryHub, Now,
    SavedDocument,
};
use sync_core::time::Stamp;
use sync_core::wire::{ClientMessage, HubMessage, Push, decode_client, decode_hub, encode_delta};

use crate::hostile::{HANDLING_MAX, hub, replica};
use crate::meter::Meter;

/// What the answer to a message of a comparison takes besides, of the small document that is compared.
const COMPARING_BYTES: usize = 64 * 1024;

/// Messages of a comparison that say much, in the form of each kind or of none.
fn of_comparisons() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for kind in 0..=10 {
        for byte in [0, 0xff] {
            for len in [30, 190_000] {
                let mut message = vec![byte; len];
                message[0] = kind;
                messages.push(message);
            }
        }
    }
    let context = |replicas: u64, ranges: u64| {
        let mut context = Vec::new();
        varint::write(&mut context, replicas);
        for number in 0..replicas {
            context.extend(u128::from(number + 1_000).to_be_bytes());
            varint::write(&mut context, ranges);
            (0..ranges).for_each(|_| context.push(0));
        }
        context
    };
    let wide = [context(1, 65_536), context(10_000, 1), context(4_000, 16)];
    for context in &wide {
        messages.push([&[3][..], &[7; 16], &[1], context].concat());
        // Nothing changes but for what is new; then sums, and parts that differ.
        let sums = [&[9; 8][..], &[100, 100, 64], &[5; 256]].concat();
        messages.push([&[4, 0, 0][..], context, &sums].concat());
    }
    // Where both have seen the same, a change is two bytes.
    messages.push([&[4, 0, 0, 0][..], &[9; 8], &[100, 64], &[5; 256]].concat());
    // How many differ, and what does.
    messages.push([&[7][..], &[0xff; 9], &[1]].concat());
    for (is_last, count) in [(0, 65_000), (1, 65_000), (0, 190_000)] {
        let mut message = vec![8, is_last];
        message.extend([9; 8]);
        message.push(100);
        varint::write(&mut message, count);
        (0..count).for_each(|_| message.push(0));
        message.extend([0, 0]);
        messages.push(message);
    }
    messages
}

/// A document of some hundred live dots and of many dead ones. At one of the two sides a few more are
/// dead.
fn compared(is_part_dead: bool) -> MemoryStore {
    let mut store = MemoryStore::default();
    let run = |at: u64| Entry {
        first: Dot::new(replica(0), 1 + at * 50),
        stamp: Stamp::default(),
        label: Label::new(b"s", [&b"n"[..]; 50]),
        id: PlaceId::default(),
        slots: Slots::new([Some(&b"x"[..]); 50].into_iter()),
    };
    let mut delta = Delta { entries: (0..16).map(run).collect(), ..Delta::default() };
    delta.dead.insert_range(replica(0), 801, 1 << 50);
    store.join(&delta);
    if is_part_dead {
        let dead = (1..=13).map(|number| Dot::new(replica(0), 61 * number)).collect();
        store.join(&Delta { dead, ..Delta::default() });
    }
    store
}

/// Both sides of a comparison, of which so many messages have arrived.
fn comparison(messages: usize) -> (Hub, MemoryHub, Client) {
    let (mut hub, mut store) = hub();
    let delta = encode_delta(&compared(false).to_delta());
    let push = ClientMessage::Push(Push { channel: 1, id: 1, delta, skips: false });
    let Ok(()) = hub.handle(&mut store, Now::default(), 1, HubInput::Frame(push.encode()));
    let Ok(()) = hub.handle(&mut store, Now::default(), 2, HubInput::Connected);
    while hub.poll().is_some() {}
    let mut client = Client::new(ClientConfig::default());
    let saved = SavedDocument { store: compared(true), ..SavedDocument::default() };
    client.open("d", saved, replica(9), 1);
    client.handle(Now::default(), ClientInput::Connected);
    let mut arrived = 0;
    loop {
        let mut has_said = false;
        while let Some(output) = client.poll() {
            let ClientOutput::Send(frame) = output else { continue };
            let is_sync = matches!(decode_client(&frame), Ok(ClientMessage::Sync { .. }));
            if is_sync && arrived == messages {
                return (hub, store, client);
            }
            arrived += usize::from(is_sync);
            has_said = true;
            let Ok(()) = hub.handle(&mut store, Now::default(), 2, HubInput::Frame(frame));
        }
        while let Some(output) = hub.poll() {
            let HubOutput::Send { connection: 2, frame } = output else { continue };
            let is_sync = matches!(decode_hub(&frame), Ok(HubMessage::Sync { .. }));
            if is_sync && arrived == messages {
                return (hub, store, client);
            }
            arrived += usize::from(is_sync);
            has_said = true;
            client.handle(Now::default(), ClientInput::Frame(frame.to_vec()));
        }
        assert!(has_said, "the comparison takes more than {arrived} messages");
    }
}

#[test]
fn a_hostile_message_of_a_comparison_costs_a_few_times_its_bytes() {
    let meter = Meter::new();
    let mut worst = [(0, String::new()), (0, String::new())];
    for arrived in 0..4 {
        for message in of_comparisons() {
            let name = format!("{:?} of {} bytes after {arrived}", &message[..4], message.len());
            let (mut hub, mut store, mut client) = comparison(arrived);
            let up = ClientMessage::Sync { channel: 1, message: message.clone() }.encode();
            let down = HubMessage::Sync { channel: 1, message }.encode();
            let len = up.len();
            let count = meter.start();
            let Ok(()) = hub.handle(&mut store, Now::default(), 2, HubInput::Frame(up));
            while hub.poll().is_some() {}
            let at_hub = count.peak().saturating_sub(HANDLING_MAX * len);
            let count = meter.start();
            client.handle(Now::default(), ClientInput::Frame(down));
            while client.poll().is_some() {}
            let at_client = count.peak().saturating_sub(HANDLING_MAX * len);
            for (worst, bytes) in worst.iter_mut().zip([at_hub, at_client]) {
                if bytes > worst.0 {
                    *worst = (bytes, name.clone());
                }
            }
        }
    }
    println!("beside {HANDLING_MAX} times the bytes, hub and client: {worst:?}");
    assert!(worst.iter().all(|(bytes, _)| *bytes <= COMPARING_BYTES));
}
