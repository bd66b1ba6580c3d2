//! Which device holds what: what is said, passed on and kept, and the limits of that.

use std::collections::{BTreeMap, VecDeque};

use sync_core::causal::{CausalContext, Delta, Dot, ReplicaId};
use sync_core::error::{Malformed, Misuse};
use sync_core::session::limits::{
    DEVICES_MAX, HELD_BY_ONE_MAX, HELD_DOCUMENTS_MAX, HELD_MS, LEVELS_MAX,
};
use sync_core::session::{
    Boot, Client, ClientConfig, ClientInput, ClientOutput, Device, Hub, HubInput, HubOutput,
    HubStore, MemoryHub, Now, PersistId, Receipt, SavedDocument, Step,
};
use sync_core::types::Value;
use sync_core::wire::{
    CLAIMS_MAX, Claim, ClientMessage, Fault, HOLDERS_MAX, Holder, HubMessage, NAME_BYTES_MAX, Push,
    VERSION, decode_client, decode_hub, encode_delta,
};

const DOCUMENT: &str = "d";

/// The calendar when the clock stands at 0.
const UNIX_MS: u64 = 1_700_000_000_000;

fn replica(number: u32) -> ReplicaId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ReplicaId::from_bytes(bytes).with_incarnation(0)
}

fn dead(replica: ReplicaId, counter: u64) -> Delta {
    let dead = [Dot::new(replica, counter)].into_iter().collect();
    Delta { dead, ..Delta::default() }
}

/// A hub, and connections over which a test says what it likes.
struct Bench {
    hub: Hub,
    store: MemoryHub,
    now_ms: u64,
    /// How far the calendar was set back.
    set_back_ms: u64,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryHub::new(Boot { hub: 1, boot: 2 });
        Self { hub: Hub::new(), store, now_ms: 0, set_back_ms: 0 }
    }

    fn now(&self) -> Now {
        let unix_ms = UNIX_MS + self.now_ms - self.set_back_ms;
        Now { monotonic_ms: self.now_ms, unix_ms }
    }

    fn heard(&mut self) -> Vec<(u64, Result<HubMessage, Fault>)> {
        let outputs = std::iter::from_fn(|| self.hub.poll());
        let heard = outputs.map(|output| match output {
            HubOutput::Send { connection, frame } => (connection, Ok(decode_hub(&frame).unwrap())),
            HubOutput::Close { connection, fault } => (connection, Err(fault)),
        });
        heard.collect()
    }

    fn input(&mut self, connection: u64, input: HubInput) -> Vec<(u64, Result<HubMessage, Fault>)> {
        let now = self.now();
        let Ok(()) = self.hub.handle(&mut self.store, now, connection, input);
        self.heard()
    }

    fn say(
        &mut self,
        connection: u64,
        message: &ClientMessage,
    ) -> Vec<(u64, Result<HubMessage, Fault>)> {
        self.input(connection, HubInput::Frame(message.encode()))
    }

    fn connect(&mut self, connection: u64) {
        self.input(connection, HubInput::Connected);
        let (version, token, agent) = (VERSION, None, "a".into());
        self.say(connection, &ClientMessage::Hello { version, token, agent, packs: false });
    }

    /// Connects, and opens a document as a replica of the connection's number.
    fn join(&mut self, connection: u64, document: &str) {
        self.join_as(connection, document, replica(connection as u32), 1);
    }

    fn join_as(&mut self, connection: u64, document: &str, replica: ReplicaId, opening: u64) {
        self.connect(connection);
        let open = ClientMessage::Open {
            channel: 1,
            document: document.into(),
            cursor: None,
            context: CausalContext::default(),
            claims: vec![Claim { replica, opening }],
            compares: false,
            unsent: Vec::new(),
        };
        self.say(connection, &open);
    }

    fn push(&mut self, connection: u64, id: u64) {
        let delta = encode_delta(&dead(replica(connection as u32), id));
        self.say(connection, &ClientMessage::Push(Push { channel: 1, id, delta, skips: false }));
    }

    /// Says what is held. Gives what everybody hears of that at once.
    fn hold(&mut self, connection: u64, seq: u64, name: Option<&str>) -> Vec<(u64, Vec<Holder>)> {
        let replica = replica(connection as u32);
        let name = name.map(str::to_owned);
        let heard = self.say(connection, &ClientMessage::Held { channel: 1, replica, seq, name });
        told(heard)
    }

    fn wait(&mut self, ms: u64) -> Vec<(u64, Vec<Holder>)> {
        self.now_ms += ms;
        self.hub.handle_timeout(self.now());
        told(self.heard())
    }

    fn leave(&mut self, connection: u64) {
        self.input(connection, HubInput::Disconnected);
    }
}

fn told(heard: Vec<(u64, Result<HubMessage, Fault>)>) -> Vec<(u64, Vec<Holder>)> {
    let held = heard.into_iter().map(|(to, message)| match message {
        Ok(HubMessage::Held { channel: 1, holders }) => (to, holders),
        other => panic!("{other:?}"),
    });
    held.collect()
}

fn holder(number: u32, seq: u64, age_ms: u64, name: &str) -> Holder {
    Holder { replica: replica(number), seq, age_ms, name: name.into() }
}

#[test]
fn what_is_held_is_passed_on_once_in_a_while_to_those_who_ask() {
    let mut bench = Bench::new();
    for connection in 1..=4 {
        bench.join(connection, DOCUMENT);
    }
    bench.join(5, "other");
    (1..=3).for_each(|id| bench.push(1, id));
    // The first one who asks hears nothing: nobody has said anything.
    assert_eq!(bench.hold(2, 0, Some("two")), []);
    assert_eq!(bench.hub.poll_timeout(), Some(HELD_MS));
    assert_eq!(bench.wait(HELD_MS - 1), []);
    assert_eq!(bench.wait(1), [], "nobody else asks");
    // Who asks is told at once what was said; who says more asks no second time.
    assert_eq!(bench.hold(4, 1, Some("")), [(4, vec![holder(2, 0, HELD_MS, "two")])]);
    assert_eq!(bench.hold(4, 2, Some("")), []);
    assert_eq!(bench.hold(1, 2, None), []);
    bench.now_ms += 10;
    assert_eq!(bench.hold(1, 3, None), []);
    let both = |age| vec![holder(1, 3, age, ""), holder(4, 2, age + 10, "")];
    let age = HELD_MS - 10;
    assert_eq!(bench.wait(HELD_MS - 11), []);
    // Of each the last; to the second and the fourth, not to those who do not ask, nor elsewhere.
    assert_eq!(bench.wait(1), [(2, both(age)), (4, both(age))]);
    assert_eq!(bench.wait(10 * HELD_MS), [], "there is nothing new");
    // Who left is remembered.
    bench.leave(1);
    bench.leave(2);
    bench.join(6, DOCUMENT);
    let heard = bench.hold(6, 3, Some("six"));
    let (to, holders) = &heard[0];
    assert_eq!((*to, holders.len(), heard.len()), (6, 3, 1));
    assert_eq!((holders[0].replica, holders[0].seq), (replica(1), 3));
}

#[test]
fn who_has_all_of_a_document_has_it_whatever_changes_elsewhere() {
    let mut bench = Bench::new();
    bench.join(1, DOCUMENT);
    bench.join(2, "other");
    bench.push(1, 1);
    (1..=5).for_each(|id| bench.push(2, id));
    assert_eq!(bench.store.seq(), 6);
    bench.hold(1, 1, None);
    bench.join(3, DOCUMENT);
    assert_eq!(bench.hold(3, 6, Some("")), [(3, vec![holder(1, 6, 0, "")])]);
    bench.push(1, 2);
    bench.leave(3);
    bench.join(4, DOCUMENT);
    let heard = bench.hold(4, 7, Some(""));
    assert_eq!(heard, [(4, vec![holder(1, 1, 0, ""), holder(3, 6, 0, "")])]);
}

#[test]
fn a_number_that_the_hub_has_not_reached_is_a_fault_and_foreign_replicas_are_not_taken() {
    for (seq, is_taken) in [(1, true), (2, true), (3, false), (u64::MAX, false)] {
        let mut bench = Bench::new();
        bench.join(1, DOCUMENT);
        (1..=2).for_each(|id| bench.push(1, id));
        let held = ClientMessage::Held { channel: 1, replica: replica(1), seq, name: None };
        let heard = bench.say(1, &held);
        let codes: Vec<_> =
            heard.iter().map(|(_, said)| said.as_ref().unwrap_err().close_code()).collect();
        assert_eq!(codes, if is_taken { vec![] } else { vec![4409] }, "{seq}");
    }
    let mut bench = Bench::new();
    bench.join(1, DOCUMENT);
    bench.join(2, DOCUMENT);
    bench.hold(2, 0, Some(""));
    bench.wait(HELD_MS);
    let of_another = ClientMessage::Held { channel: 1, replica: replica(9), seq: 0, name: None };
    assert!(bench.say(1, &of_another).is_empty());
    assert_eq!(bench.wait(HELD_MS), []);
    let elsewhere = ClientMessage::Held { channel: 2, replica: replica(1), seq: 0, name: None };
    assert_eq!(bench.say(1, &elsewhere)[0].1.as_ref().unwrap_err().close_code(), 4409);
}

#[test]
fn what_comes_late_over_an_older_connection_is_not_taken() {
    let mut bench = Bench::new();
    // A device, and the same again after its file was put back; the hub does not know that the first is gone.
    let same = |incarnation| replica(1).with_incarnation(incarnation);
    bench.join_as(1, DOCUMENT, same(0), 1);
    bench.join_as(2, DOCUMENT, same(5), 2);
    bench.join(3, DOCUMENT);
    (1..=2).for_each(|id| bench.push(3, id));
    let held = |incarnation, seq| ClientMessage::Held {
        channel: 1,
        replica: same(incarnation),
        seq,
        name: None,
    };
    bench.say(1, &held(0, 1));
    bench.say(2, &held(5, 0));
    bench.say(1, &held(0, 2));
    let heard = bench.hold(3, 2, Some(""));
    let back = Holder { replica: same(5), seq: 0, age_ms: 0, name: String::new() };
    assert_eq!(heard, [(3, vec![back.clone()])]);
    // Also when the newer one has gone.
    bench.leave(2);
    bench.say(1, &held(0, 2));
    assert_eq!(
        bench.wait(HELD_MS),
        [(3, vec![Holder { age_ms: HELD_MS, ..back }, holder(3, 2, HELD_MS, "")])]
    );
}

#[test]
fn the_devices_of_a_document_are_limited_and_the_oldest_goes_first() {
    for count in [HOLDERS_MAX - 1, HOLDERS_MAX, HOLDERS_MAX + 1] {
        let mut bench = Bench::new();
        for connection in 1..=count as u64 {
            bench.join(connection, DOCUMENT);
            bench.hold(connection, 0, None);
            bench.now_ms += 1;
        }
        // Who asks says nothing of its own: it holds as a replica that it does not claim.
        bench.join(1_000, DOCUMENT);
        let name = Some("x".repeat(NAME_BYTES_MAX));
        let asks = ClientMessage::Held { channel: 1, replica: replica(0), seq: 0, name };
        let heard = told(bench.say(1_000, &asks));
        let [(1_000, holders)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(holders.len(), count.min(HOLDERS_MAX));
        let first = replica(1 + count.saturating_sub(HOLDERS_MAX) as u32);
        assert_eq!(holders[0].replica, first);
    }
}

#[test]
fn nobody_takes_the_place_of_others_by_speaking_for_many_devices() {
    for count in [HELD_BY_ONE_MAX - 1, HELD_BY_ONE_MAX, HELD_BY_ONE_MAX + 1, CLAIMS_MAX] {
        let mut bench = Bench::new();
        bench.join(1_000, DOCUMENT);
        bench.hold(1_000, 0, None);
        bench.connect(1);
        let numbers = 1..=count as u32;
        let claim = |number| Claim { replica: replica(number), opening: 1 };
        let open = ClientMessage::Open {
            channel: 1,
            document: DOCUMENT.into(),
            cursor: None,
            context: CausalContext::default(),
            claims: numbers.clone().map(claim).collect(),
            compares: false,
            unsent: Vec::new(),
        };
        bench.say(1, &open);
        for number in numbers {
            bench.now_ms += 1;
            let replica = replica(number);
            bench.say(1, &ClientMessage::Held { channel: 1, replica, seq: 0, name: None });
        }
        bench.join(2_000, DOCUMENT);
        let heard = bench.hold(2_000, 0, Some(""));
        let told: Vec<_> = heard[0].1.iter().map(|holder| holder.replica).collect();
        let last = (1 + count.saturating_sub(HELD_BY_ONE_MAX) as u32..=count as u32).map(replica);
        assert_eq!(
            told,
            last.chain([replica(1_000)]).collect::<Vec<_>>(),
            "the last, and the other"
        );
    }
}

#[test]
fn the_documents_that_a_hub_remembers_are_limited() {
    for count in [HELD_DOCUMENTS_MAX - 1, HELD_DOCUMENTS_MAX, HELD_DOCUMENTS_MAX + 1] {
        let mut bench = Bench::new();
        for number in 1..=count as u64 {
            bench.join(number, &format!("d{number}"));
            bench.hold(number, 0, None);
            bench.leave(number);
        }
        // One more is opened, and so are the first and the second.
        for (connection, document) in [(1_000, "d0"), (1_001, "d1"), (1_002, "d2")] {
            bench.join(connection, document);
        }
        let is_known = [1_001, 1_002].map(|asks| !bench.hold(asks, 0, Some("")).is_empty());
        assert_eq!(is_known, [count <= HELD_DOCUMENTS_MAX, true], "{count}");
    }
}

#[test]
fn documents_that_nobody_has_open_any_more_are_forgotten_when_the_last_one_goes() {
    for count in [HELD_DOCUMENTS_MAX - 1, HELD_DOCUMENTS_MAX, HELD_DOCUMENTS_MAX + 1] {
        let mut bench = Bench::new();
        let all = 1..=count as u64;
        for number in all.clone() {
            bench.join(number, &format!("d{number}"));
            bench.hold(number, 0, None);
        }
        all.for_each(|number| bench.leave(number));
        // The first one is opened again, so that no more than the others are open to nobody.
        bench.join(1_001, "d1");
        let is_known = !bench.hold(1_001, 0, Some("")).is_empty();
        assert_eq!(is_known, count <= HELD_DOCUMENTS_MAX, "{count}");
    }
}

#[test]
fn messages_have_limits() {
    for (count, is_taken) in
        [(HOLDERS_MAX - 1, true), (HOLDERS_MAX, true), (HOLDERS_MAX + 1, false)]
    {
        let name = "x".repeat(NAME_BYTES_MAX);
        let holders = (0..count as u32).map(|number| holder(number, u64::MAX, u64::MAX, &name));
        let frame = HubMessage::Held { channel: 1, holders: holders.collect() }.encode();
        assert_eq!(decode_hub(&frame).is_ok(), is_taken, "{count}");
    }
    for (len, is_taken) in
        [(NAME_BYTES_MAX - 1, true), (NAME_BYTES_MAX, true), (NAME_BYTES_MAX + 1, false)]
    {
        let name = "x".repeat(len);
        let holders = vec![holder(1, 1, 1, &name)];
        let frames = [
            decode_hub(&HubMessage::Held { channel: 1, holders }.encode()).map(|_| ()),
            decode_client(
                &ClientMessage::Held { channel: 1, replica: replica(1), seq: 1, name: Some(name) }
                    .encode(),
            )
            .map(|_| ()),
        ];
        for decoded in frames {
            match decoded {
                Ok(()) => assert!(is_taken),
                Err(error) => {
                    assert!(!is_taken && matches!(error, Malformed::Limit { .. }), "{error}");
                }
            }
        }
        let mut client = Client::<sync_core::causal::MemoryStore>::new(ClientConfig::default());
        let named = client.follow_devices(&"x".repeat(len));
        assert_eq!(named.is_ok(), is_taken);
        assert!(is_taken || matches!(named, Err(Misuse::TooLarge { .. })));
    }
}

/// A client at a hub, of which a test says what gets to its disk.
struct Writer {
    client: Client,
    storing: VecDeque<PersistId>,
    /// Whether batches wait to be stored.
    is_slow: bool,
    connection: u64,
    said: Vec<u64>,
    steps: Vec<Step>,
}

impl Writer {
    fn new(connection: u64) -> Self {
        let mut client = Client::new(ClientConfig::default());
        client.follow_devices("writer").unwrap();
        let replica = replica(connection as u32);
        client.open(DOCUMENT, SavedDocument::default(), replica, connection);
        let (storing, said, steps) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { client, storing, is_slow: false, connection, said, steps }
    }

    fn connect(&mut self, bench: &mut Bench) {
        bench.input(self.connection, HubInput::Connected);
        self.client.handle(bench.now(), ClientInput::Connected);
        self.run(bench);
    }

    fn change(&mut self, bench: &mut Bench, number: i64) -> Dot {
        let change = self
            .client
            .change(bench.now(), DOCUMENT, |edit| edit.set_add("s", &Value::Int(number)));
        self.run(bench);
        change.unwrap().1
    }

    fn hear(&mut self, bench: &mut Bench, message: &HubMessage) {
        self.client.handle(bench.now(), ClientInput::Frame(message.encode()));
        self.run(bench);
    }

    /// Does what the client asks for, and lets its timer ring.
    fn run(&mut self, bench: &mut Bench) {
        let now = bench.now();
        loop {
            while let Some(output) = self.client.poll() {
                match output {
                    ClientOutput::Send(frame) => {
                        if let Ok(ClientMessage::Held { seq, .. }) = decode_client(&frame) {
                            self.said.push(seq);
                        }
                        for (to, heard) in bench.input(self.connection, HubInput::Frame(frame)) {
                            if to == self.connection {
                                let frame = heard.unwrap().encode();
                                self.client.handle(now, ClientInput::Frame(frame));
                            }
                        }
                    }
                    ClientOutput::Persist(persist) => {
                        self.steps.extend(persist.steps);
                        self.storing.push_back(persist.id);
                    }
                    ClientOutput::Disconnect { reason } => panic!("{reason}"),
                    ClientOutput::Event(_) => {}
                }
            }
            if self.client.poll_timeout().is_some_and(|due| due <= now.monotonic_ms) {
                self.client.handle(now, ClientInput::Timeout);
            } else if self.is_slow || self.storing.is_empty() {
                return;
            }
            if !self.is_slow {
                for id in std::mem::take(&mut self.storing) {
                    self.client.handle(now, ClientInput::Persisted(id));
                }
            }
        }
    }

    fn wait(&mut self, bench: &mut Bench, ms: u64) {
        bench.now_ms += ms;
        self.run(bench);
    }

    fn devices(&self) -> BTreeMap<ReplicaId, Device> {
        let devices = self.client.devices(DOCUMENT).unwrap();
        devices.map(|device| (device.replica, device.clone())).collect()
    }

    /// The devices that have a change.
    fn holders(&self, dot: Dot) -> Vec<ReplicaId> {
        let holders = self.client.holders(DOCUMENT, dot).unwrap();
        holders.into_iter().map(|device| device.replica).collect()
    }
}

#[test]
fn a_client_says_what_is_on_its_disk_and_not_more_often_than_it_may() {
    let mut bench = Bench::new();
    let mut writer = Writer::new(1);
    writer.connect(&mut bench);
    assert_eq!(writer.said, [0], "the first word does not wait");
    writer.change(&mut bench, 1);
    writer.change(&mut bench, 2);
    assert_eq!(writer.said, [0]);
    writer.wait(&mut bench, HELD_MS - 1);
    assert_eq!(writer.said, [0]);
    writer.wait(&mut bench, 1);
    assert_eq!(writer.said, [0, 2]);
    writer.wait(&mut bench, 10 * HELD_MS);
    assert_eq!(writer.said, [0, 2], "nothing has moved");

    // What is not on disk is not said.
    bench.join(2, DOCUMENT);
    bench.push(2, 1);
    writer.is_slow = true;
    let delta = |seq| HubMessage::Delta {
        channel: 1,
        seq,
        delta: encode_delta(&dead(replica(2), seq - 2)),
    };
    writer.hear(&mut bench, &delta(3));
    writer.wait(&mut bench, HELD_MS);
    bench.push(2, 2);
    writer.hear(&mut bench, &delta(4));
    writer.wait(&mut bench, 5 * HELD_MS);
    assert_eq!(writer.said, [0, 2]);
    // The first batch is there, the second is not.
    let first = writer.storing.pop_front().unwrap();
    writer.client.handle(bench.now(), ClientInput::Persisted(first));
    writer.wait(&mut bench, HELD_MS);
    assert_eq!(writer.said, [0, 2, 3]);
    writer.is_slow = false;
    writer.wait(&mut bench, HELD_MS);
    writer.wait(&mut bench, HELD_MS);
    assert_eq!(writer.said, [0, 2, 3, 4]);
}

#[test]
fn changes_are_held_by_whoever_has_all_up_to_where_the_hub_took_them() {
    let mut bench = Bench::new();
    let mut writer = Writer::new(1);
    let early = writer.change(&mut bench, 0);
    writer.connect(&mut bench);
    let late = writer.change(&mut bench, 1);
    let Receipt { disk, hub, .. } = writer.client.receipt(DOCUMENT, late).unwrap();
    assert!(disk && hub);
    let last = bench.store.seq();
    let held = |seq| HubMessage::Held { channel: 1, holders: vec![holder(5, seq, 0, "five")] };
    for (seq, has) in [(0, [false; 2]), (last - 1, [true, false]), (last, [true; 2])] {
        writer.hear(&mut bench, &held(seq));
        let found = [early, late].map(|dot| writer.holders(dot) == [replica(5)]);
        assert_eq!(found, has, "{seq}");
        let device = &writer.devices()[&replica(5)];
        let lag = writer.client.lag_of(DOCUMENT, device).unwrap();
        let own = writer.client.document(DOCUMENT).unwrap().store().context().len();
        assert_eq!(lag, own - device.has.len());
        assert_eq!(lag == 0, has[1]);
    }
    // Whoever says less than before has less; nothing that a hub says does harm.
    writer.hear(&mut bench, &held(0));
    assert!(writer.holders(early).is_empty());
    let absurd = Holder { seq: u64::MAX, age_ms: u64::MAX, ..holder(6, 0, 0, "six") };
    writer.hear(&mut bench, &HubMessage::Held { channel: 1, holders: vec![absurd] });
    assert_eq!(
        (writer.devices()[&replica(6)].heard_ms, writer.holders(late)),
        (0, vec![replica(6)])
    );
    // A change that the hub does not have is held by nobody.
    writer.client.handle(bench.now(), ClientInput::Disconnected);
    let alone = writer.change(&mut bench, 2);
    assert!(writer.holders(alone).is_empty());
    // A copy of this device is none of the others.
    writer.connect(&mut bench);
    let copy = Holder { replica: replica(1).with_incarnation(3), ..holder(1, u64::MAX, 0, "copy") };
    writer.hear(&mut bench, &HubMessage::Held { channel: 1, holders: vec![copy] });
    assert_eq!(writer.devices().len(), 2);
}

#[test]
fn a_fresh_incarnation_is_the_same_device_and_older_news_change_nothing() {
    let mut bench = Bench::new();
    let mut writer = Writer::new(1);
    writer.connect(&mut bench);
    let dot = writer.change(&mut bench, 1);
    let last = bench.store.seq();
    bench.now_ms = 100_000;
    let tell = |writer: &mut Writer, bench: &mut Bench, incarnation, seq, age_ms| {
        let replica = replica(5).with_incarnation(incarnation);
        let holders = vec![Holder { replica, seq, age_ms, name: String::new() }];
        writer.hear(bench, &HubMessage::Held { channel: 1, holders });
        let known = writer.devices();
        assert_eq!(known.len(), 1);
        (known.into_values().next().unwrap(), writer.holders(dot).len())
    };
    let (known, holders) = tell(&mut writer, &mut bench, 0, last, 0);
    assert_eq!((known.heard_ms, holders), (UNIX_MS + 100_000, 1));
    // Another hub heard of it before that.
    let (known, holders) = tell(&mut writer, &mut bench, 3, 0, 50_000);
    assert_eq!((known.replica, holders), (replica(5), 1));
    // What is new counts, by whatever name.
    bench.now_ms += 10;
    let (known, holders) = tell(&mut writer, &mut bench, 3, 0, HELD_MS);
    assert_eq!((known.replica, holders), (replica(5).with_incarnation(3), 0));
    // Where the clock was set back, the moment of the last word lies ahead.
    tell(&mut writer, &mut bench, 3, last, 0);
    bench.now_ms = 20_000;
    let (_, holders) = tell(&mut writer, &mut bench, 3, 0, 5_000);
    assert_eq!(holders, 0);
    // Where it is past that moment again, the other clock tells; what is older by both changes nothing.
    bench.now_ms = 200_000;
    tell(&mut writer, &mut bench, 3, 0, 0);
    (bench.now_ms, bench.set_back_ms) = (240_000, 30_000);
    for (age_ms, expected) in [(50_000, 0), (15_000, 1)] {
        let (_, holders) = tell(&mut writer, &mut bench, 3, last, age_ms);
        assert_eq!(holders, expected, "{age_ms}");
    }
}

#[test]
fn what_is_known_of_devices_is_stored_and_limited() {
    for count in [DEVICES_MAX - 1, DEVICES_MAX, DEVICES_MAX + 1] {
        let mut bench = Bench::new();
        let mut writer = Writer::new(1_000);
        writer.connect(&mut bench);
        let numbers: Vec<_> = (1..=count as u32).collect();
        for part in numbers.chunks(HOLDERS_MAX) {
            bench.now_ms += 10_000;
            let holders = part.iter().map(|number| holder(*number, 0, u64::from(*number), ""));
            writer.hear(&mut bench, &HubMessage::Held { channel: 1, holders: holders.collect() });
        }
        let mut stored = BTreeMap::new();
        for step in std::mem::take(&mut writer.steps) {
            match step {
                Step::Know(device) => drop(stored.insert(device.replica, *device)),
                Step::Forget(replica) => assert!(stored.remove(&replica).is_some()),
                _ => {}
            }
        }
        assert_eq!((stored.len(), &stored), (count.min(DEVICES_MAX), &writer.devices()));
        // The one of the first message that was heard of the longest ago.
        let oldest = replica(HOLDERS_MAX as u32);
        assert_eq!(stored.contains_key(&oldest), count <= DEVICES_MAX);
        let mut again = Writer::new(1_000);
        again.client.recall_devices(DOCUMENT, stored.clone().into_values()).unwrap();
        assert_eq!(again.devices(), stored);
    }
}

#[test]
fn the_levels_are_limited_and_what_is_between_them_counts_later() {
    for count in [LEVELS_MAX - 1, LEVELS_MAX, LEVELS_MAX + 1] {
        let mut bench = Bench::new();
        let mut writer = Writer::new(1);
        let base = writer.change(&mut bench, -1);
        writer.connect(&mut bench);
        let first = bench.store.seq();
        let dots: Vec<_> =
            (1..count as i64).map(|number| writer.change(&mut bench, number)).collect();
        assert_eq!(bench.store.seq(), first + count as u64 - 1);
        let held = |seq| HubMessage::Held { channel: 1, holders: vec![holder(5, seq, 0, "")] };
        let mut has = |seq, dot| {
            writer.hear(&mut bench, &held(seq));
            !writer.holders(dot).is_empty()
        };
        assert!(has(first, base));
        assert_eq!(has(first + 1, dots[0]), count <= LEVELS_MAX, "{count}");
        assert!(has(first + 2, dots[0]) && has(first + 2, dots[1]) && !has(first + 2, dots[2]));
        let last = first + count as u64 - 1;
        assert!(has(last, *dots.last().unwrap()) && !has(last - 1, *dots.last().unwrap()));
    }
}
