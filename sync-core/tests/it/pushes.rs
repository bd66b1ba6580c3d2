//! What waited offline goes as few pushes: how much as one, and what becomes of several items when the
//! hub does not take them.

use sync_core::causal::{CausalContext, Delta, Dot, ReplicaId};
use sync_core::document::Edit;
use sync_core::session::{
    Client, ClientConfig, ClientInput, ClientOutput, Now, OutboxItem, OutboxState, SavedDocument,
};
use sync_core::types::{Field, RecordId};
use sync_core::wire::{
    CHUNK_BYTES, ClientMessage, HubMessage, LABELS_MAX, Push, VERSION, Welcome, decode_client,
    decode_delta, decode_hub, encode_delta,
};

use crate::world::{DOCUMENT, World};

/// Bytes of a text that is an item of the outbox for itself: what is larger is not joined there.
const ITEM_BYTES: usize = 9_000;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn outbox(world: &World, at: usize) -> Vec<OutboxItem> {
    world.devices[at].client.outbox(DOCUMENT).unwrap().cloned().collect()
}

fn bytes(items: &[OutboxItem]) -> usize {
    items.iter().map(|item| encode_delta(&item.delta).len()).sum()
}

/// Entries, notes and ranges of dead dots.
fn parts(items: &[OutboxItem]) -> usize {
    let of_one = |OutboxItem { delta, .. }: &OutboxItem| {
        delta.entries.len() + delta.notes.len() + delta.dead.range_count()
    };
    items.iter().map(of_one).sum()
}

fn write(world: &mut World, at: usize, number: usize, len: usize) {
    world.write(at, &format!("n{number}"), &[("title", &"t".repeat(len))]);
    while world.store_one(at) {}
}

/// The pushes that a device sends once it is connected, up to its credit.
fn pushes(world: &mut World, at: usize) -> Vec<Push> {
    let mut pushes = Vec::new();
    world.connect(at);
    loop {
        let sent = world.waiting(at, true).into_iter().map(|frame| decode_client(frame).unwrap());
        pushes.extend(sent.filter_map(|message| match message {
            ClientMessage::Push(push) => Some(push),
            _ => None,
        }));
        while world.carry(at, true) {}
        if !(world.store_one(at) || world.carry(at, false)) {
            return pushes;
        }
    }
}

#[test]
fn the_bytes_of_items_that_go_as_one_push_are_limited() {
    for (at, limit) in [(0, CHUNK_BYTES), (1, 2 * CHUNK_BYTES)] {
        for beyond in [-1isize, 0, 1] {
            let mut world = World::new(1, 2).packed();
            let count = limit / (ITEM_BYTES + 200);
            (0..count).for_each(|number| write(&mut world, at, number, ITEM_BYTES));
            let overhead = {
                let items = outbox(&world, at);
                assert_eq!(items.len(), count);
                bytes(&items[count - 1..]) - ITEM_BYTES
            };
            let room = limit.checked_add_signed(beyond).unwrap() - bytes(&outbox(&world, at));
            write(&mut world, at, 100, room - overhead);
            // The id of the last record has two letters more.
            let rest = bytes(&outbox(&world, at)) - limit.checked_add_signed(beyond).unwrap();
            let mut world = World::new(1, 2).packed();
            (0..count).for_each(|number| write(&mut world, at, number, ITEM_BYTES));
            write(&mut world, at, 100, room - overhead - rest);
            let items = outbox(&world, at);
            assert_eq!(items.len(), count + 1);
            assert_eq!(Some(bytes(&items)), limit.checked_add_signed(beyond));
            let expected = if beyond > 0 { 2 } else { 1 };
            assert_eq!(pushes(&mut world, at).len(), expected, "{beyond} beyond {limit}");
            world.heal();
        }
    }
}

#[test]
fn several_that_are_not_resolved_come_again_in_full() {
    let mut world = World::new(1, 2);
    let note = "n".repeat(60);
    (0..2).for_each(|at| world.connect(at));
    for title in ["first", "second"] {
        world.write(0, &note, &[("title", title)]);
        world.settle();
    }
    world.disconnect(1);
    world.write(0, &note, &[("title", "mine")]);
    world.settle();
    for text in ["a", "b", "c"] {
        world.write(1, &note, &[("title", &text.repeat(ITEM_BYTES))]);
        while world.store_one(1) {}
    }
    assert_eq!(outbox(&world, 1).len(), 3);
    let sent = pushes(&mut world, 1);
    assert_eq!(sent.iter().map(|push| push.id).collect::<Vec<_>>(), [1, 1], "all three as one");
    assert!(sent[1].delta.len() > sent[0].delta.len(), "the object is named in full");
    world.heal();
    let title = &world.fields(0, &note).unwrap()["title"];
    assert!(*title == "mine" || *title == "c".repeat(ITEM_BYTES));
}

/// A client with items of the outbox, at a hub that a test plays.
struct Played {
    client: Client,
    pushes: Vec<Push>,
}

impl Played {
    /// With so many changes of its own.
    fn new(count: usize) -> Self {
        let mut played = Self::with_outbox(Vec::new());
        let text = Field::from("t".repeat(ITEM_BYTES));
        for number in 0..count {
            let id = RecordId::new(format!("n{number}")).unwrap();
            let change = |edit: &mut Edit<'_>| edit.insert("notes", &id, [("title", &text)]);
            played.client.change(Now::default(), DOCUMENT, change).unwrap();
            played.drain();
        }
        played.connect();
        played
    }

    fn with_outbox(outbox: Vec<OutboxItem>) -> Self {
        let mut client = Client::new(ClientConfig::default());
        let mut saved: SavedDocument = SavedDocument { outbox, ..SavedDocument::default() };
        saved.outbox.iter().for_each(|item| {
            saved.store.join(&item.delta);
        });
        client.open(DOCUMENT, saved, replica(1), 1);
        Self { client, pushes: Vec::new() }
    }

    fn connect(&mut self) {
        self.client.handle(Now::default(), ClientInput::Connected);
        let welcome = Welcome { version: VERSION, hub: 1, boot: 2, now_ms: 0, packs: false };
        let (context, openings) = (CausalContext::default(), Vec::new());
        let opened = HubMessage::Opened { channel: 1, context, resumed: false, openings };
        self.hear(&HubMessage::Welcome(welcome));
        self.hear(&opened);
    }

    fn hear(&mut self, message: &HubMessage) {
        assert_eq!(decode_hub(&message.encode()).as_ref(), Ok(message));
        self.client.handle(Now::default(), ClientInput::Frame(message.encode()));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                ClientOutput::Send(frame) => {
                    if let ClientMessage::Push(push) = decode_client(&frame).unwrap() {
                        self.pushes.push(push);
                    }
                }
                ClientOutput::Persist(persist) => {
                    self.client.handle(Now::default(), ClientInput::Persisted(persist.id));
                }
                ClientOutput::Disconnect { .. } | ClientOutput::Event(_) => {}
            }
        }
    }

    /// How many records each push is about.
    fn records(&self) -> Vec<usize> {
        let of_one = |push: &Push| {
            let delta = decode_delta(&push.delta).unwrap();
            delta.entries.iter().filter(|entry| entry.label.len() > 1).count()
        };
        self.pushes.iter().map(of_one).collect()
    }
}

/// An item of so many parts: ranges of dots of somebody else, and its own.
fn item(last: u64, parts: usize) -> OutboxItem {
    let others = (0..parts as u64 - 1).map(|at| Dot::new(replica(1 + last as u8), 1 + 2 * at));
    let mut dead: CausalContext = others.collect();
    dead.insert(Dot::new(replica(1), last));
    let delta = Delta { dead, ..Delta::default() };
    let (replica, state) = (replica(1), OutboxState::Pending);
    OutboxItem { replica, first: last, last, changes: 1, state, delta }
}

#[test]
fn the_parts_of_items_that_go_as_one_push_are_limited() {
    for beyond in [-1isize, 0, 1] {
        let limit = LABELS_MAX.checked_add_signed(beyond).unwrap();
        let items = vec![item(1, 2_000), item(2, limit - 2_000)];
        assert_eq!(parts(&items), limit);
        let mut played = Played::with_outbox(items);
        played.connect();
        let of_outbox =
            |push: &&Push| decode_delta(&push.delta).unwrap().dead.of(replica(1)).is_some();
        let expected = if beyond > 0 { 2 } else { 1 };
        assert_eq!(played.pushes.iter().filter(of_outbox).count(), expected, "{beyond}");
    }
}

#[test]
fn of_several_that_are_refused_each_is_sent_alone() {
    let mut played = Played::new(3);
    assert_eq!(played.records(), [3]);
    let refused = |id| HubMessage::Refused { channel: 1, id, reason: "no".into(), goes_on: false };
    played.hear(&refused(1));
    assert_eq!(played.records(), [3, 1, 1, 1], "which of them is it?");
    played.hear(&HubMessage::Stored { channel: 1, id: 2, seq: 1 });
    played.hear(&refused(3));
    let states: Vec<_> =
        played.client.outbox(DOCUMENT).unwrap().map(|item| item.state.clone()).collect();
    let parked = OutboxState::Parked { reason: "no".into() };
    assert_eq!(states, [parked, OutboxState::Frozen], "the one that was refused alone is kept");
}

#[test]
fn several_that_are_stored_leave_the_outbox_together() {
    let mut played = Played::new(3);
    played.hear(&HubMessage::Stored { channel: 1, id: 1, seq: 1 });
    assert_eq!(played.client.outbox(DOCUMENT).unwrap().count(), 0);
}
