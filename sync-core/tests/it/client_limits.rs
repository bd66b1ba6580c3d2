//! What the session of a client keeps and says at most: each limit at its value, one below and one above
//! it.

use std::collections::BTreeMap;

use sync_core::causal::{CausalContext, Delta, Dot, Label, MemoryStore, Note, PlaceId, ReplicaId};
use sync_core::document::{Author, Document};
use sync_core::error::Misuse;
use sync_core::session::limits::{
    CHANGE_BYTES_MAX, HELD_BYTES_MAX, HUB_SILENCE_MS_MAX, JOIN_BYTES_MAX, LOG_ENTRIES_MAX, PING_MS,
    REFILL_RANGES_MAX, TAKEN_MAX,
};
use sync_core::session::{
    Client, ClientConfig, ClientInput, ClientOutput, LogEntry, Now, OutboxItem, Peer,
    SavedDocument, Step,
};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId};
use sync_core::wire::{
    ClientMessage, Cursor, DELTA_BYTES_MAX, HubMessage, NAME_BYTES_MAX, PRESENCE_BYTES_MAX,
    VERSION, Welcome, decode_client, decode_delta, encode_delta,
};

use crate::world::{DOCUMENT, World};

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn range(start: u64, end: u64) -> CausalContext {
    let mut context = CausalContext::default();
    context.insert_range(replica(1), start, end);
    context
}

fn dead(start: u64, end: u64) -> Delta {
    Delta { dead: range(start, end), ..Delta::default() }
}

/// A client that hears what a test likes, and stores at once.
struct Listener {
    client: Client,
    steps: Vec<Step>,
    sent: Vec<ClientMessage>,
}

impl Listener {
    /// Opens a document that has a context, at a hub with nothing.
    fn new(context: CausalContext) -> Self {
        Self::at_hub(MemoryStore::load(context, []), CausalContext::default(), false)
    }

    /// Opens a document with this state at a hub that has this context.
    fn at_hub(store: MemoryStore, context: CausalContext, resumed: bool) -> Self {
        let mut client = Client::new(ClientConfig::default());
        let saved = SavedDocument { store, ..SavedDocument::default() };
        client.open(DOCUMENT, saved, replica(9), 1);
        let mut listener = Self { client, steps: Vec::new(), sent: Vec::new() };
        listener.input(ClientInput::Connected);
        let welcome = Welcome { version: VERSION, hub: 1, boot: 2, now_ms: 0, packs: false };
        listener.hear(&HubMessage::Welcome(welcome));
        let openings = Vec::new();
        listener.hear(&HubMessage::Opened { channel: 1, context, resumed, openings });
        listener
    }

    fn hear(&mut self, message: &HubMessage) {
        self.input(ClientInput::Frame(message.encode()));
    }

    fn input(&mut self, input: ClientInput) {
        self.client.handle(Now::default(), input);
        self.drain();
    }

    /// Takes what the client says, and stores what it wants stored.
    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                ClientOutput::Send(frame) => self.sent.push(decode_client(&frame).unwrap()),
                ClientOutput::Persist(persist) => {
                    self.steps.extend(persist.steps);
                    self.client.handle(Now::default(), ClientInput::Persisted(persist.id));
                }
                ClientOutput::Disconnect { reason } => panic!("{reason}"),
                ClientOutput::Event(_) => {}
            }
        }
    }
}

/// Removals from a counter on that cost so many bytes, as many as a frame takes.
fn removals(first: u64, cost: usize) -> (Delta, u64) {
    let note = |counter, id: usize| Note {
        dot: Dot::new(replica(1), counter),
        stamp: Stamp::default(),
        label: Label::new(b"s", []),
        id: PlaceId::new(&vec![b'i'; id]),
    };
    let base = dead(first, first).cost();
    let each = Delta { notes: [note(first, 100)].into(), ..dead(first, first) }.cost() - base;
    let count = ((cost - base) / each).min(700) as u64;
    let last = first + count - 1;
    let mut delta = dead(first, last);
    delta.notes = (first..=last).map(|counter| note(counter, 100)).collect();
    let rest = cost - delta.cost();
    // What is left goes into a longer id of as many notes as it takes.
    let mut rest = if rest < 100_000 { rest } else { 0 };
    for one in &mut delta.notes {
        let more = rest.min(60);
        one.id = PlaceId::new(&vec![b'i'; 100 + more]);
        rest -= more;
    }
    (delta, last + 1)
}

#[test]
fn the_removals_that_wait_for_the_end_of_a_catch_up_are_limited() {
    for beyond in [-1isize, 0, 1] {
        let mut listener = Listener::new(CausalContext::default());
        let limit = HELD_BYTES_MAX.checked_add_signed(beyond).unwrap();
        let (mut held, mut counter, mut number) = (0, 1, 0);
        while held < limit {
            let left = limit - held;
            let (delta, next) = removals(counter, left.min(100_000));
            let cost = delta.cost();
            let fits = held + cost <= HELD_BYTES_MAX;
            (number, counter, held) = (number + 1, next, held + cost);
            let delta = encode_delta(&delta);
            let chunk = HubMessage::Chunk { channel: 1, number, delta, cursor: None, left: 0 };
            listener.hear(&chunk);
            let is_joined = listener.steps.iter().any(|step| matches!(step, Step::Join(_)));
            assert_eq!(is_joined, !fits, "{held} of {HELD_BYTES_MAX}");
        }
        assert_eq!(held, limit);
        let cursor = Some(Cursor { boot: 2, seq: 1 });
        let (number, delta) = (number + 1, encode_delta(&Delta::default()));
        listener.hear(&HubMessage::Chunk { channel: 1, number, delta, cursor, left: 0 });
        let context = listener.client.document(DOCUMENT).unwrap().context();
        assert_eq!(context, &range(1, counter - 1), "nothing of it is lost");
    }
}

#[test]
fn the_ranges_of_a_push_of_a_refill_are_limited() {
    for count in [REFILL_RANGES_MAX - 1, REFILL_RANGES_MAX, REFILL_RANGES_MAX + 1] {
        let dots = (0..count as u64).map(|number| Dot::new(replica(1), 1 + 2 * number));
        let listener = Listener::new(dots.collect());
        let pushes = listener.sent.iter().filter_map(|message| match message {
            ClientMessage::Push(push) => Some(decode_delta(&push.delta).unwrap()),
            _ => None,
        });
        let ranges: Vec<usize> = pushes.map(|delta| delta.dead.range_count()).collect();
        let most = count.min(REFILL_RANGES_MAX);
        let rest: Vec<usize> = (count > most).then_some(count - most).into_iter().collect();
        assert_eq!(ranges, [vec![most], rest].concat());
    }
}

#[test]
fn the_conflict_log_is_limited_and_the_oldest_go() {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    let clash = |world: &mut World, ids: std::ops::Range<usize>| {
        (0..2).for_each(|at| world.disconnect(at));
        for at in 0..2 {
            for number in ids.clone() {
                let title = format!("of {at}");
                world.write(at, &format!("n{number}"), &[("title", &title)]);
            }
        }
        (0..2).for_each(|at| world.connect(at));
        world.settle();
    };
    let logged = |world: &World| -> BTreeMap<String, u64> {
        let log = world.devices[0].client.conflict_log(DOCUMENT).unwrap();
        log.iter().map(|(entry, _)| (entry.record.clone(), entry.seen_ms)).collect()
    };
    let id = |number: usize| RecordId::new(format!("n{number}")).unwrap().to_string();
    clash(&mut world, 0..1);
    world.now.unix_ms += 1_000;
    clash(&mut world, 1..LOG_ENTRIES_MAX - 1);
    assert_eq!(logged(&world).len(), LOG_ENTRIES_MAX - 1);
    clash(&mut world, LOG_ENTRIES_MAX - 1..LOG_ENTRIES_MAX);
    assert_eq!(logged(&world).len(), LOG_ENTRIES_MAX);
    assert!(logged(&world).contains_key(&id(0)));
    clash(&mut world, LOG_ENTRIES_MAX..LOG_ENTRIES_MAX + 1);
    let log = logged(&world);
    assert_eq!(log.len(), LOG_ENTRIES_MAX);
    assert!(!log.contains_key(&id(0)), "the oldest has gone");
    assert!((1..=LOG_ENTRIES_MAX).all(|number| log.contains_key(&id(number))));
}

#[test]
fn of_a_conflict_log_that_is_longer_the_latest_are_loaded() {
    for count in [LOG_ENTRIES_MAX - 1, LOG_ENTRIES_MAX, LOG_ENTRIES_MAX + 1] {
        let entry = |number: usize| LogEntry {
            collection: "notes".into(),
            // The oldest is not the first by its key.
            record: format!("n{}", number ^ 1),
            field: None,
            sides: Vec::new(),
            seen_ms: number as u64,
        };
        let log = (0..count).map(entry).collect();
        let mut client = Client::new(ClientConfig::default());
        let saved: SavedDocument = SavedDocument { log, ..SavedDocument::default() };
        client.open(DOCUMENT, saved, replica(1), 1);
        let loaded = client.conflict_log(DOCUMENT).unwrap();
        let loaded: Vec<u64> = loaded.iter().map(|(entry, _)| entry.seen_ms).collect();
        assert_eq!(loaded.len(), count.min(LOG_ENTRIES_MAX));
        assert_eq!(loaded.contains(&0), count <= LOG_ENTRIES_MAX);
    }
}

fn body(bytes: usize) -> [(&'static str, Field); 1] {
    [("body", Field::from("x".repeat(bytes)))]
}

#[test]
fn the_bytes_of_a_change_are_limited() {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    let insert = |world: &mut World, id: &str, bytes| {
        let id = RecordId::new(id).unwrap();
        let fields = body(bytes);
        let fields = fields.each_ref().map(|(name, field)| (*name, field));
        let state =
            |world: &World| world.devices[0].client.document(DOCUMENT).unwrap().store().clone();
        let before = state(world);
        let inserted = world.change(0, |edit| edit.insert("notes", &id, fields));
        assert_eq!(state(world) == before, inserted.is_err(), "all of it or nothing");
        world.settle();
        inserted
    };
    let far = 2 * CHANGE_BYTES_MAX;
    let Err(Misuse::TooLarge { found, limit, .. }) = insert(&mut world, "a", far) else {
        panic!("it is too large")
    };
    assert_eq!(limit, CHANGE_BYTES_MAX as u64);
    let most = CHANGE_BYTES_MAX - (found as usize - far);
    assert_eq!(insert(&mut world, "a", most - 1), Ok(()));
    assert_eq!(insert(&mut world, "b", most), Ok(()));
    assert!(matches!(insert(&mut world, "c", most + 1), Err(Misuse::TooLarge { .. })));
    world.heal();
    assert_eq!(world.fields(1, "b").unwrap()["body"].len(), most);
}

#[test]
fn the_first_change_of_an_opening_has_room_for_its_mark() {
    let write = |bytes| {
        let mut world = World::new(1, 1);
        let id = RecordId::new("n").unwrap();
        let fields = body(bytes);
        let fields = fields.each_ref().map(|(name, field)| (*name, field));
        world.change(0, |edit| edit.insert("notes", &id, fields)).map(|()| world)
    };
    let far = 2 * CHANGE_BYTES_MAX;
    let Err(Misuse::TooLarge { found, limit, .. }) = write(far) else { panic!("it is too large") };
    let most = limit as usize - (found as usize - far);
    assert!(write(most - 1).is_ok() && write(most + 1).is_err());
    let mut world = write(most).unwrap();
    let bytes = |item: &OutboxItem| encode_delta(&item.delta).len();
    let outbox = world.devices[0].client.outbox(DOCUMENT).unwrap();
    assert!(outbox.map(bytes).all(|bytes| bytes <= DELTA_BYTES_MAX));
    world.heal();
    assert_eq!(world.fields(0, "n").unwrap()["body"].len(), most);
}

#[test]
fn the_bytes_up_to_which_changes_are_joined_are_limited() {
    let written = |bytes| -> Vec<OutboxItem> {
        let mut world = World::new(1, 1);
        world.write(0, "a", &[("body", "x")]);
        world.write(0, "b", &[("body", &"x".repeat(bytes))]);
        world.devices[0].client.outbox(DOCUMENT).unwrap().cloned().collect()
    };
    let apart = written(JOIN_BYTES_MAX);
    assert_eq!(apart.len(), 2);
    let overhead = apart.iter().map(|item| item.delta.cost()).sum::<usize>() - JOIN_BYTES_MAX;
    for (beyond, count) in [(-1isize, 1), (0, 1), (1, 2)] {
        let items = written((JOIN_BYTES_MAX - overhead).checked_add_signed(beyond).unwrap());
        assert_eq!(items.len(), count, "{beyond} beyond");
        assert_eq!(items.iter().map(|item| item.changes).sum::<u32>(), 2);
    }
}

#[test]
fn what_is_remembered_of_what_own_changes_took_is_limited() {
    for count in [TAKEN_MAX - 1, TAKEN_MAX, TAKEN_MAX + 1] {
        let ids: Vec<_> = (0..count).map(|at| RecordId::new(format!("n{at}")).unwrap()).collect();
        let mut document = Document::default();
        let author = Author { replica: replica(1), stamp: Stamp::from_ms(1) };
        let no_fields = BTreeMap::<String, Field>::new();
        for id in &ids {
            document.edit(author, usize::MAX, |edit| edit.insert("c", id, &no_fields)).unwrap();
        }
        let context = document.context().clone();
        let mut listener = Listener::at_hub(document.store().clone(), context, true);
        let cursor = Some(Cursor { boot: 2, seq: 1 });
        let delta = encode_delta(&Delta::default());
        listener.hear(&HubMessage::Chunk { channel: 1, number: 1, delta, cursor, left: 0 });
        let finds_dots = |listener: &Listener| {
            let mut briefs = listener.sent.iter().filter_map(|message| match message {
                ClientMessage::Brief { dots, .. } => Some(*dots),
                _ => None,
            });
            briefs.next_back()
        };
        assert_eq!(finds_dots(&listener), Some(true));
        for part in ids.chunks(64) {
            let remove = |edit: &mut sync_core::document::Edit<'_>| {
                part.iter().try_for_each(|id| edit.remove("c", id))
            };
            listener.client.change(Now::default(), DOCUMENT, remove).unwrap();
            listener.drain();
        }
        assert_eq!(finds_dots(&listener), Some(count <= TAKEN_MAX), "{count}");
        // Once the hub has all of it, there is nothing to remember.
        for id in 1.. {
            if listener.client.outbox(DOCUMENT).unwrap().next().is_none() {
                break;
            }
            listener.hear(&HubMessage::Stored { channel: 1, id, seq: 1 + id });
        }
        assert_eq!(finds_dots(&listener), Some(true));
    }
}

#[test]
fn what_a_replica_shows_is_limited() {
    for beyond in [-1isize, 0, 1] {
        let limits = [NAME_BYTES_MAX, PRESENCE_BYTES_MAX];
        let [name, state] = limits.map(|limit| limit.checked_add_signed(beyond).unwrap());
        for (name, state) in [(name, 1), (1, state)] {
            let mut listener = Listener::new(CausalContext::default());
            let shown = Peer { name: "n".repeat(name), state: vec![0; state] };
            let done = listener.client.show(DOCUMENT, replica(9), shown);
            // What is said can be read, or this panics.
            listener.drain();
            let is_said = matches!(listener.sent.last(), Some(ClientMessage::Presence { .. }));
            assert_eq!(is_said, beyond <= 0, "{name} and {state} bytes");
            assert_eq!(matches!(done, Err(Misuse::TooLarge { .. })), !is_said, "{done:?}");
        }
    }
}

#[test]
fn how_long_a_hub_may_be_silent_is_limited() {
    let mut client = Listener::new(CausalContext::default()).client;
    let mut at = |ms| {
        client.handle(Now { monotonic_ms: ms, ..Now::default() }, ClientInput::Timeout);
        let outputs = std::iter::from_fn(|| client.poll()).filter_map(|output| match output {
            ClientOutput::Send(frame) => Some(format!("{:?}", decode_client(&frame).unwrap())),
            ClientOutput::Disconnect { reason } => Some(reason),
            _ => None,
        });
        (outputs.collect::<Vec<_>>(), client.poll_timeout())
    };
    let (nothing, ping) = (Vec::<String>::new(), vec!["Ping".to_owned()]);
    assert_eq!(at(PING_MS - 1), (nothing.clone(), Some(PING_MS)));
    assert_eq!(at(PING_MS), (ping.clone(), Some(2 * PING_MS)));
    assert_eq!(at(2 * PING_MS - 1), (nothing, Some(2 * PING_MS)));
    assert_eq!(at(HUB_SILENCE_MS_MAX - 1).0, ping);
    assert_eq!(at(HUB_SILENCE_MS_MAX), (vec!["the hub is silent".to_owned()], None));
}
