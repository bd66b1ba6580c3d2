//! Numbers and dots on a live session: what they save on the line, and what becomes of a name that the
//! other side does not find.

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, EntryView, Label, MemoryStore, PlaceId, PlaceStore,
    ReplicaId, Slots,
};
use sync_core::error::{Malformed, Sure};
use sync_core::session::{Boot, Hub, HubInput, HubOutput, MemoryHub, Now, Phase};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId, Value};
use sync_core::wire::{
    Claim, ClientMessage, DELTA_BYTES_MAX, DICTIONARY_BYTES_MAX, DICTIONARY_ITEMS_MAX, Dictionary,
    Fault, HubMessage, InFull, Names, PUSH_CREDIT, Push, VERSION, decode_client, decode_delta,
    decode_hub, encode_delta, write_delta,
};

use crate::world::{DOCUMENT, Random, World};

fn record_id(random: &mut Random) -> RecordId {
    RecordId::from_uuid(std::array::from_fn(|_| random.next() as u8))
}

fn text(random: &mut Random, len: usize) -> Field {
    let text: String = (0..len).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    Field::from(text.as_str())
}

/// A record: a title of 20 bytes, a body of 200, a flag and a time.
fn record(random: &mut Random) -> [(&'static str, Field); 4] {
    let (title, body) = (text(random, 20), text(random, 200));
    let time = Field::Register(Value::Int(1_700_000_000_000 + random.below(1 << 30) as i64));
    [("title", title), ("body", body), ("flag", false.into()), ("time", time)]
}

fn fields(fields: &[(&'static str, Field)]) -> Vec<(&'static str, Field)> {
    fields.to_vec()
}

impl World {
    fn insert(&mut self, at: usize, id: &RecordId, fields: &[(&'static str, Field)]) {
        let pairs = fields.iter().map(|(name, field)| (*name, field));
        self.change(at, |edit| edit.insert("notes", id, pairs)).unwrap();
    }

    fn update(&mut self, at: usize, id: &RecordId, name: &'static str, field: &Field) {
        self.change(at, |edit| edit.update("notes", id, [(name, field)])).unwrap();
    }

    fn delete(&mut self, at: usize, id: &RecordId) {
        self.change(at, |edit| edit.remove("notes", id)).unwrap();
    }

    /// Two devices that are live on a document of so many records, by a third one that has gone.
    fn with_records(count: usize) -> (Self, Vec<RecordId>) {
        let mut world = Self::new(1, 3);
        let mut random = Random(5);
        let ids: Vec<_> = (0..count).map(|_| record_id(&mut random)).collect();
        for ids in ids.chunks(50) {
            let records: Vec<_> = ids.iter().map(|id| (id, record(&mut random))).collect();
            let change = world.change(2, |edit| {
                for (id, fields) in &records {
                    edit.insert("notes", id, fields.iter().map(|(name, field)| (*name, field)))?;
                }
                Ok(())
            });
            change.unwrap();
        }
        (0..3).for_each(|at| world.connect(at));
        world.settle();
        // One of each kind has been on the line, so that all names have numbers.
        for at in 0..2 {
            for id in &ids[10 * at..10 * at + 1] {
                world.touch(at, id);
                world.delete(at, id);
            }
            world.insert(at, &record_id(&mut random), &record(&mut random));
            world.settle();
        }
        world.disconnect(2);
        (world, ids)
    }

    fn touch(&mut self, at: usize, id: &RecordId) {
        for name in ["flag", "title", "body"] {
            self.update(at, id, name, &text(&mut Random(9), 20));
            self.settle();
        }
    }

    /// Lets a change of device 0 arrive at device 1. Gives the bytes of its deltas, up and down.
    fn bytes_of_change(&mut self) -> (usize, usize) {
        while self.store_one(0) {}
        let up = self.waiting(0, true).iter().map(|frame| push_bytes(frame)).sum();
        while self.carry(0, true) {}
        let down = self.waiting(1, false).iter().map(|frame| delta_bytes(frame)).sum();
        self.settle();
        (up, down)
    }
}

fn push_bytes(frame: &[u8]) -> usize {
    match decode_client(frame) {
        Ok(ClientMessage::Push(push)) => push.delta.len(),
        _ => 0,
    }
}

fn delta_bytes(frame: &[u8]) -> usize {
    match decode_hub(frame) {
        Ok(HubMessage::Delta { delta, .. }) => delta.len(),
        _ => 0,
    }
}

#[test]
fn what_changes_cost_on_a_live_session() {
    let (mut world, ids) = World::with_records(2_000);
    let mut random = Random(7);
    let mut sizes = vec![Vec::new(); 5];
    for ids in ids[100..].chunks_exact(4).take(50) {
        for (kind, sizes) in sizes.iter_mut().enumerate() {
            match kind {
                0 => world.update(0, &ids[0], "flag", &true.into()),
                1 => world.update(0, &ids[1], "title", &text(&mut random, 20)),
                2 => world.update(0, &ids[2], "body", &text(&mut random, 200)),
                3 => world.insert(0, &record_id(&mut random), &fields(&record(&mut random))),
                _ => world.delete(0, &ids[3]),
            }
            sizes.push(world.bytes_of_change());
        }
    }
    let median = |sizes: &[(usize, usize)], of: fn(&(usize, usize)) -> usize| {
        let mut sizes: Vec<_> = sizes.iter().map(of).collect();
        sizes.sort_unstable();
        sizes[sizes.len() / 2]
    };
    let up: Vec<_> = sizes.iter().map(|sizes| median(sizes, |(up, _)| *up)).collect();
    let down: Vec<_> = sizes.iter().map(|sizes| median(sizes, |(_, down)| *down)).collect();
    for bytes in [up, down] {
        assert!(bytes.iter().all(|bytes| *bytes > 0), "{bytes:?}");
        assert!(bytes[0] <= 30 && bytes.iter().sum::<usize>() <= 620, "{bytes:?}");
    }
    assert_eq!(world.dangled, 0);
    world.heal();
}

#[test]
fn what_a_thousand_offline_changes_cost() {
    let (mut world, ids) = World::with_records(2_000);
    let mut random = Random(8);
    world.disconnect(0);
    for (kind, id) in (0..1_000).zip(&ids[100..]) {
        match kind % 40 {
            0..14 => world.update(0, id, "flag", &true.into()),
            14..21 => world.update(0, id, "title", &text(&mut random, 20)),
            21..28 => world.update(0, id, "body", &text(&mut random, 200)),
            28..36 => world.insert(0, &record_id(&mut random), &fields(&record(&mut random))),
            _ => world.delete(0, id),
        }
    }
    let codec = world.bytes_as_one(0, 1);
    world.connect(0);
    let (mut up, mut down) = (0, 0);
    for _ in 0..10_000 {
        while world.store_one(0) {}
        up += world.waiting(0, true).iter().map(|frame| push_bytes(frame)).sum::<usize>();
        while world.carry(0, true) {}
        down += world.waiting(1, false).iter().map(|frame| delta_bytes(frame)).sum::<usize>();
        while world.carry(1, false) || world.store_one(1) {}
        if !world.carry(0, false) {
            break;
        }
    }
    // Each item has a head of its own, and says when its first change was in full.
    let about = codec * 98 / 100..codec * 102 / 100;
    assert!(about.contains(&up), "{up} bytes up, {codec} as one");
    assert!(about.contains(&down), "{down} bytes down, {codec} as one");
    assert_eq!(world.dangled, 0);
    world.heal();
}

/// Names objects by the dots of somebody who has them: where there is one, by one that dies.
struct Base<'a>(&'a MemoryStore, &'a CausalContext);

impl Names for Base<'_> {
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot> {
        let mut dots = Vec::new();
        let show = &mut |entry: EntryView<'_>| dots.extend(entry.live().map(|(dot, _)| dot));
        self.0.at(space, id, show).sure();
        let begins = |dot: &&Dot| {
            self.1.of(dot.replica).is_some_and(|ranges| ranges.position(dot.counter).is_some())
        };
        dots.iter().find(begins).or(dots.first()).copied()
    }
}

impl World {
    /// The bytes of what waits in the outbox of a device, as one delta for another device that lacks
    /// nothing else.
    fn bytes_as_one(&self, at: usize, of: usize) -> usize {
        let mut all = Delta::default();
        let items = self.devices[at].client.outbox(DOCUMENT).unwrap();
        items.for_each(|item| all.join(item.delta.clone()));
        let mut dictionary = Dictionary::new();
        dictionary.learn(&all);
        let base = self.devices[of].client.document(DOCUMENT).unwrap().store();
        let mut bytes = Vec::new();
        write_delta(&mut bytes, &all, &dictionary, &Base(base, &all.dead));
        bytes.len()
    }
}

/// Two live devices, and a note of which the title was written again.
fn two() -> World {
    let mut world = World::new(3, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "first"), ("body", "b")]);
    world.write(0, "other", &[("title", "t")]);
    world.settle();
    world.write(0, "n", &[("title", "second")]);
    world.settle();
    world
}

fn unresolved(world: &World, at: usize) -> usize {
    let frames = world.waiting(at, false).into_iter();
    frames.filter(|frame| matches!(decode_hub(frame), Ok(HubMessage::Unresolved { .. }))).count()
}

#[test]
fn a_push_that_names_what_another_took_comes_again_with_those_behind_it() {
    let mut world = two();
    world.write(0, "n", &[("title", "mine")]);
    while world.store_one(0) {}
    for (at, title) in ["one", "two", "three"].iter().enumerate() {
        world.write(1, "n", &[("title", title)]);
        while world.store_one(1) {}
        assert_eq!(world.waiting(1, true).len(), at + 1, "each is a push of its own");
    }
    while world.carry(0, true) {}
    while world.carry(1, true) {}
    assert_eq!(unresolved(&world, 1), 1, "for the first of the three");
    world.heal();
    assert_eq!(world.dangled, 0);
    let titles = world.conflicting_titles("n");
    assert!(titles.contains(&"mine".to_owned()) && titles.contains(&"three".to_owned()));
    // What comes after is short again.
    world.write(1, "other", &[("title", "later")]);
    while world.store_one(1) {}
    let bytes: usize = world.waiting(1, true).iter().map(|frame| push_bytes(frame)).sum();
    assert!((1..40).contains(&bytes), "{bytes} bytes");
    world.heal();
}

impl World {
    /// The titles of a note that stand side by side.
    fn conflicting_titles(&self, id: &str) -> Vec<String> {
        let document = self.devices[0].client.document(DOCUMENT).unwrap();
        let Ok(conflicts) = document.conflicts();
        assert!(!conflicts.is_empty(), "the titles of {id} clash");
        let shown = format!("{conflicts:?} {:?}", self.fields(0, id));
        ["mine", "three"]
            .iter()
            .filter(|title| shown.contains(*title))
            .map(ToString::to_string)
            .collect()
    }
}

#[test]
fn a_change_of_what_was_removed_here_meanwhile_is_found() {
    for is_removed in [false, true] {
        let mut world = two();
        // The title that the other one replaces is gone here, and the hub does not know.
        if is_removed {
            assert!(world.remove(1, "n"));
        } else {
            world.write(1, "n", &[("title", "mine")]);
        }
        world.write(0, "n", &[("title", "third")]);
        while world.store_one(0) {}
        while world.carry(0, true) {}
        let down: usize = world.waiting(1, false).iter().map(|frame| delta_bytes(frame)).sum();
        assert!((1..40).contains(&down), "it names a dot: {down} bytes");
        world.heal();
        assert_eq!(world.dangled, 0);
        assert_eq!(world.fields(0, "n"), world.fields(1, "n"));
    }
}

/// Whether each Brief that a device says asks for dots.
fn briefs(world: &World, at: usize) -> Vec<bool> {
    let frames = world.waiting(at, true).into_iter();
    let briefs = frames.filter_map(|frame| match decode_client(frame) {
        Ok(ClientMessage::Brief { dots, .. }) => Some(dots),
        _ => None,
    });
    briefs.collect()
}

#[test]
fn who_does_not_know_what_it_took_asks_for_no_dots_until_the_hub_has_that() {
    let mut world = two();
    world.write(1, "n", &[("title", "mine")]);
    while world.store_one(1) {}
    world.crash(1);
    world.write(0, "n", &[("title", "third")]);
    world.connect(1);
    let mut said = Vec::new();
    for _ in 0..100 {
        while world.store_one(1) {}
        said.extend(briefs(&world, 1));
        let is_live = world.devices[1].client.phase(DOCUMENT).unwrap() == Phase::Live;
        let is_empty = world.devices[1].client.outbox(DOCUMENT).unwrap().count() == 0;
        assert!(is_empty || !said.contains(&true), "not before the outbox is empty");
        while world.carry(1, true) {}
        if is_live && is_empty && said.contains(&true) {
            break;
        }
        world.carry(1, false);
    }
    assert_eq!(said, [false, true]);
    world.heal();
    assert_eq!(world.dangled, 0);
}

/// Names every object by one dot.
struct By(Dot);

impl Names for By {
    fn dot_of(&self, _space: &[u8], _id: &PlaceId) -> Option<Dot> {
        Some(self.0)
    }
}

fn replica(number: u128) -> ReplicaId {
    ReplicaId::from_bytes(number.to_be_bytes())
}

fn entry(writer: u128, counter: u64, id: &[u8]) -> Delta {
    let (first, stamp) = (Dot::new(replica(writer), counter), Stamp::default());
    let label = Label::new(b"\x01notes", [&b"\x01title"[..]]);
    let slots = Slots::new([Some(&b"\xa1x"[..])].into_iter());
    let entry = Entry { first, stamp, label, id: PlaceId::new(id), slots };
    Delta { entries: [entry].into(), ..Delta::default() }
}

fn by_dot(delta: &Delta, dot: Dot) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_delta(&mut bytes, delta, &Dictionary::new(), &By(dot));
    bytes
}

#[test]
fn a_client_that_finds_no_object_opens_again_once_and_then_hears_ids() {
    let mut world = two();
    let delta = by_dot(&entry(99, 1, b"x"), Dot::new(replica(98), 7));
    world.hear(1, HubMessage::Delta { channel: 1, seq: 1, delta }.encode());
    assert_eq!(world.dangled, 1);
    world.tolerant = false;
    world.disconnect(1);
    let cursor_before = world.devices[1].disk.cursor;
    world.write(0, "n", &[("title", "third")]);
    world.connect(1);
    let mut said = Vec::new();
    for _ in 0..50 {
        while world.store_one(1) {}
        said.extend(briefs(&world, 1));
        while world.carry(1, true) {}
        world.carry(1, false);
    }
    assert_eq!(said, [false], "it asks for dots no more");
    assert!(world.devices[1].disk.cursor.is_some() && cursor_before.is_some());
    world.write(0, "n", &[("title", "fourth")]);
    world.heal();
    assert_eq!(world.dangled, 1);
    assert_eq!(world.fields(1, "n").unwrap()["title"], "fourth");
}

#[test]
fn a_client_gives_up_a_hub_that_breaks_the_rules_of_names() {
    let twice = {
        let mut dictionary = Dictionary::new();
        dictionary.add_replica(replica(7));
        dictionary.encode_since((0, 0))
    };
    let names = |names: &[u8]| HubMessage::Names { channel: 1, names: names.to_vec() }.encode();
    let unresolved = HubMessage::Unresolved { channel: 1, id: 1 }.encode();
    for (what, frames) in [
        ("a name twice", vec![names(&twice), names(&twice)]),
        ("no names", vec![names(&[9])]),
        ("a push that was never sent", vec![unresolved]),
    ] {
        let mut world = World::new(4, 1);
        world.connect(0);
        world.settle();
        for frame in frames {
            assert!(world.devices[0].client.is_connected(), "{what}");
            world.hear(0, frame);
        }
        assert!(!world.devices[0].client.is_connected(), "{what}");
    }
}

#[test]
fn a_dictionary_takes_as_much_as_its_limits_say() {
    let replicas = |count: usize| {
        let mut dictionary = Dictionary::new();
        (0..count as u128).for_each(|number| dictionary.add_replica(replica(number)));
        Dictionary::new().extend(&dictionary.encode_since((0, 0)))
    };
    assert_eq!(replicas(DICTIONARY_ITEMS_MAX - 1), Ok(()));
    assert_eq!(replicas(DICTIONARY_ITEMS_MAX), Ok(()));
    assert!(matches!(replicas(DICTIONARY_ITEMS_MAX + 1), Err(Malformed::Limit { .. })));
    let labels = |bytes: usize| {
        let mut dictionary = Dictionary::new();
        for part in 0..16u8 {
            let last = if part == 15 { bytes - 15 * 4_096 } else { 4_096 };
            let name = vec![part; last - 1];
            dictionary.add_label(Label::new(b"s", [&name[..]]));
        }
        Dictionary::new().extend(&dictionary.encode_since((0, 0)))
    };
    assert_eq!(labels(DICTIONARY_BYTES_MAX - 1), Ok(()));
    assert_eq!(labels(DICTIONARY_BYTES_MAX), Ok(()));
    assert!(matches!(labels(DICTIONARY_BYTES_MAX + 1), Err(Malformed::Limit { .. })));
}

#[test]
fn a_dictionary_learns_no_more_than_it_may_hold() {
    let mut dictionary = Dictionary::new();
    for number in 0..3_000u64 {
        let mut delta = entry(number.into(), 1, b"x");
        let name = [number.to_be_bytes().as_slice(), &[7; 100]].concat();
        delta.entries[0].label = Label::new(b"s", [&name[..]]);
        dictionary.learn(&delta);
    }
    assert_eq!(dictionary.replicas().len(), DICTIONARY_ITEMS_MAX);
    let bytes: usize = dictionary.labels().iter().map(Label::byte_count).sum();
    assert!((DICTIONARY_BYTES_MAX - 109..=DICTIONARY_BYTES_MAX).contains(&bytes), "{bytes}");
    assert_eq!(Dictionary::new().extend(&dictionary.encode_since((0, 0))), Ok(()));
    for (count, learned) in [(15, 15), (16, 16), (17, 0)] {
        let mut wide = Dictionary::new();
        let dead: CausalContext = (0..count).map(|number| Dot::new(replica(number), 1)).collect();
        wide.learn(&Delta { dead, ..Delta::default() });
        assert_eq!(wide.counts(), (learned, 0), "a refill names many who are of no interest");
    }
}

/// A delta of one entry, with a label of so many bytes.
fn labelled(number: u64, bytes: usize) -> Delta {
    let mut delta = entry(number.into(), 1, b"x");
    let mut name = number.to_be_bytes().to_vec();
    name.resize(bytes - 1, 7);
    delta.entries[0].label = Label::new(b"s", [&name[..]]);
    delta
}

#[test]
fn the_chunks_of_a_catch_up_name_each_replica_and_each_label_once() {
    let (mut hub, mut client) = (Dictionary::new(), Dictionary::new());
    let delta = labelled(1, 100);
    let lens = [(); 3].map(|()| {
        let bytes = hub.write_chunk(&delta);
        assert_eq!(client.read_chunk(&bytes), Ok(delta.clone()));
        bytes.len()
    });
    // The replica, and the label with its count of names and two lengths.
    assert_eq!(lens, [lens[0], lens[0] - 16 - 100 - 3, lens[1]]);
    let second = hub.write_chunk(&delta);
    assert!(Dictionary::new().read_chunk(&second).is_err(), "it counts on those before it");
}

#[test]
fn what_chunks_number_is_limited() {
    // Of small labels the count is limited, of large ones their bytes.
    for (bytes, room) in [(20, DICTIONARY_ITEMS_MAX), (1_024, DICTIONARY_BYTES_MAX / 1_024)] {
        for count in [room - 1, room, room + 1] {
            let (mut hub, mut client) = (Dictionary::new(), Dictionary::new());
            let last = (0..count as u64).map(|number| {
                let delta = labelled(number, bytes);
                let is_read = client.read_chunk(&hub.write_chunk(&delta)) == Ok(delta.clone());
                assert!(is_read, "{number} of {bytes} bytes");
                delta
            });
            let last = last.last().unwrap();
            let numbered = count.min(room);
            let replicas = count.min(DICTIONARY_ITEMS_MAX);
            assert_eq!([hub.counts(), client.counts()], [(replicas, numbered); 2]);
            let again = hub.write_chunk(&last).len();
            let first = encode_delta(&last).len();
            assert_eq!(first - again > bytes, count <= room, "{count} labels of {bytes} bytes");
        }
    }
}

struct Bench {
    hub: Hub,
    store: MemoryHub,
}

impl Bench {
    /// A hub with a connection that writes as replica 1, which has written one entry.
    fn new() -> Self {
        let mut bench = Self { hub: Hub::new(), store: MemoryHub::new(Boot { hub: 1, boot: 2 }) };
        bench.input(HubInput::Connected);
        let hello =
            ClientMessage::Hello { version: VERSION, token: None, agent: "a".into(), packs: false };
        bench.say(&hello);
        let open = ClientMessage::Open {
            channel: 1,
            document: DOCUMENT.into(),
            cursor: None,
            context: CausalContext::default(),
            claims: vec![Claim { replica: replica(1), opening: 1 }],
            compares: false,
            unsent: Vec::new(),
        };
        bench.say(&open);
        bench.say(&ClientMessage::Brief { channel: 1, dots: false });
        assert_eq!(bench.push(1, encode_delta(&entry(1, 1, b"x"))).len(), 2, "names, and stored");
        bench
    }

    fn input(&mut self, input: HubInput) -> Vec<HubOutput> {
        let Ok(()) = self.hub.handle(&mut self.store, Now::default(), 1, input);
        std::iter::from_fn(|| self.hub.poll()).collect()
    }

    fn say(&mut self, message: &ClientMessage) -> Vec<HubOutput> {
        self.input(HubInput::Frame(message.encode()))
    }

    /// What the hub answers to a push, or the code with which it closes.
    fn push(&mut self, id: u64, delta: Vec<u8>) -> Vec<Result<HubMessage, u16>> {
        let outputs = self.say(&ClientMessage::Push(Push { channel: 1, id, delta, skips: false }));
        let answers = outputs.into_iter().map(|output| match output {
            HubOutput::Send { frame, .. } => Ok(decode_hub(&frame).unwrap()),
            HubOutput::Close { fault, .. } => Err(Fault::close_code(&fault)),
        });
        answers.collect()
    }
}

#[test]
fn pushes_behind_one_that_was_not_resolved_are_passed_over() {
    let unknown = by_dot(&entry(1, 2, b"x"), Dot::new(replica(1), 9));
    let full = |counter| encode_delta(&entry(1, counter, b"x"));
    let unresolved = vec![Ok(HubMessage::Unresolved { channel: 1, id: 2 })];
    let mut bench = Bench::new();
    assert_eq!(bench.push(2, unknown.clone()), unresolved);
    for behind in 3..=PUSH_CREDIT as u64 + 1 {
        assert_eq!(bench.push(behind, full(behind)), [], "{behind}");
    }
    assert_eq!(bench.push(2, unknown.clone()), unresolved, "as often as it is asked");
    assert_eq!(bench.push(2, full(2)), [Ok(HubMessage::Stored { channel: 1, id: 2, seq: 2 })]);
    assert_eq!(bench.push(3, full(3)), [Ok(HubMessage::Stored { channel: 1, id: 3, seq: 3 })]);
    assert_eq!(bench.push(5, full(5)), [Err(4409)], "nothing stands open any more");
    let mut bench = Bench::new();
    assert_eq!(bench.push(2, unknown), unresolved);
    assert_eq!(bench.push(PUSH_CREDIT as u64 + 2, full(9)), [Err(4409)], "beyond the credit");
}

#[test]
fn a_number_that_nobody_gave_is_a_fault() {
    let known = {
        let mut dictionary = Dictionary::new();
        dictionary.learn(&entry(1, 1, b"x"));
        dictionary
    };
    let written = |dictionary: &Dictionary| {
        let mut bytes = Vec::new();
        write_delta(&mut bytes, &entry(1, 2, b"x"), dictionary, &InFull);
        bytes
    };
    let stored = Ok(HubMessage::Stored { channel: 1, id: 2, seq: 2 });
    assert_eq!(Bench::new().push(2, written(&known)), [stored]);
    for is_label in [false, true] {
        let mut beyond = Dictionary::new();
        if is_label {
            beyond.add_replica(replica(1));
            beyond.add_label(Label::new(b"s", [&b"n"[..]]));
        } else {
            beyond.add_replica(replica(5));
        }
        beyond.learn(&entry(1, 1, b"x"));
        assert_eq!(Bench::new().push(2, written(&beyond)), [Err(4400)], "label: {is_label}");
    }
}

#[test]
fn what_is_too_large_in_full_is_too_large_in_short() {
    for (beyond, is_taken) in [(-1isize, true), (0, true), (1, false)] {
        let mut bench = Bench::new();
        assert_eq!(bench.push(2, encode_delta(&entry(1, 2, &[7; 150]))).len(), 1);
        let mut delta = Delta::default();
        for counter in 0..1_700 {
            // Every second id is another one, so that none is that of the one before.
            let id: &[u8] = if counter % 2 == 0 { &[7; 150] } else { b"x" };
            delta.entries.extend(entry(1, 3 + counter, id).entries);
        }
        let mut bytes_with = |slot: usize| {
            let last = delta.entries.last_mut().unwrap();
            last.slots = Slots::new([Some(&vec![7; slot][..])].into_iter());
            encode_delta(&delta).len()
        };
        let bytes_max = DELTA_BYTES_MAX.checked_add_signed(beyond).unwrap();
        let slot = 20_000 + bytes_max - bytes_with(20_000);
        assert_eq!(bytes_with(slot), bytes_max);
        let bytes = {
            struct Two;
            impl Names for Two {
                fn dot_of(&self, _space: &[u8], id: &PlaceId) -> Option<Dot> {
                    Some(Dot::new(replica(1), if id.len() == 1 { 1 } else { 2 }))
                }
            }
            let mut bytes = Vec::new();
            write_delta(&mut bytes, &delta, &Dictionary::new(), &Two);
            bytes
        };
        assert!(decode_delta(&bytes).is_err() && bytes.len() < DELTA_BYTES_MAX / 2);
        let answers = bench.push(3, bytes);
        assert_eq!(answers.iter().any(Result::is_ok), is_taken, "{beyond}: {answers:?}");
        assert_eq!(answers.contains(&Err(4413)), !is_taken, "{beyond}: {answers:?}");
    }
}
