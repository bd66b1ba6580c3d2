//! This core, through its public `Document`.
//!
//! Deltas are encoded as on a connection that has been open for a while: both sides have numbered the
//! replicas and labels that were named before, and objects are named by dots that the other side has.
//! An exchange is everything that a client puts on the line, from its Hello on.

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Label, MemoryStore, PlaceId, PlaceStore, ReplicaId,
};
use sync_core::document::{Author, Document, Edit, Edited, Refused};
use sync_core::error::Sure;
use sync_core::session::{Client, ClientConfig, ClientInput, ClientOutput, Now, SavedDocument};
use sync_core::snapshot::{Compression, read_snapshot, write_snapshot};
use sync_core::time::HybridClock;
use sync_core::types::{FieldRef as Written, Record as Elements, RecordId, ValueRef};
use sync_core::wire::{
    ClientMessage, Cursor, Dictionary, HubMessage, Names, Objects, Packing, VERSION, Welcome,
    decode_client, encode_delta, read_delta, write_delta,
};

use crate::data::{Field, Id, Operation, Record};
use crate::subject::{RECORDS, Subject};

/// The time at which everything is written, in milliseconds since 1970: the core reads no clock.
const NOW_MS: u64 = 1_760_000_000_000;

/// The most bytes of a snapshot. Arbitrary, far above what is measured.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// What an exchange begins with, to tell it from a delta.
const EXCHANGE: &[u8] = b"frames";

/// The document of an exchange, the opening of its writer, and where the hub was left. Arbitrary.
const DOCUMENT: &str = "records";
const OPENING: u64 = 0x9e37_79b9_7f4a_7c15;
const CURSOR: Cursor = Cursor { boot: 0x6a09_e667_f3bc_c909, seq: 100_000 };

/// A document of this core.
pub struct Ours {
    document: Document,
    replica: ReplicaId,
    clock: HybridClock,
    now_ms: u64,
    /// What was seen when the document was loaded: the other side has it.
    base: CausalContext,
    /// What both sides have numbered.
    dictionary: Dictionary,
}

impl Ours {
    fn of(document: Document, replica: u32) -> Self {
        let id = fastrand::Rng::with_seed(replica.into()).u128(..);
        let mut dictionary = Dictionary::default();
        for (replica, _) in document.context().iter() {
            dictionary.add_replica(replica);
        }
        for entry in document.store().iter() {
            dictionary.add_label(entry.label.clone());
        }
        Self {
            base: document.context().clone(),
            document,
            replica: ReplicaId::from_bytes(id.to_be_bytes()),
            clock: HybridClock::default(),
            now_ms: NOW_MS,
            dictionary,
        }
    }

    fn perform(&mut self, operation: &Operation) -> Result<Edited<()>, Refused> {
        self.now_ms += 1_000;
        let author = Author { replica: self.replica, stamp: self.clock.tick(self.now_ms) };
        self.document.edit(author, usize::MAX, |edit| perform(edit, operation))
    }

    fn encode(&self, delta: &Delta, killed: &[Entry]) -> Vec<u8> {
        let names = Known { store: self.document.store(), killed, base: &self.base };
        let mut bytes = Vec::new();
        write_delta(&mut bytes, delta, &self.dictionary, &names);
        bytes
    }

    fn join(&mut self, bytes: &[u8]) {
        let known = Known { store: self.document.store(), killed: &[], base: &self.base };
        let delta = read_delta(bytes, &self.dictionary, &known);
        let delta = delta.as_ref().expect("a delta of this core");
        self.document.join(delta).sure();
        // As both sides do.
        self.dictionary.learn(delta);
    }
}

/// Objects by dots, and dots by objects.
struct Known<'a> {
    store: &'a MemoryStore,
    killed: &'a [Entry],
    base: &'a CausalContext,
}

impl Names for Known<'_> {
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot> {
        let mut dot = None;
        for killed in self.killed {
            if dot.is_none() && killed.id == *id && killed.label.space() == space {
                let taken = killed.live().next().map(|(dot, _)| dot);
                dot = taken.filter(|dot| self.base.contains(*dot));
            }
        }
        if dot.is_none() {
            let show = &mut |entry: sync_core::causal::EntryView<'_>| {
                let known = entry.live().map(|(dot, _)| dot).find(|dot| self.base.contains(*dot));
                dot = dot.or(known);
            };
            self.store.at(space, id, show).sure();
        }
        dot
    }
}

impl Objects for Known<'_> {
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        let entry = self.store.entry_of(dot)?;
        Some((entry.label.clone(), entry.id.clone()))
    }
}

fn fields(record: &Record) -> [(&'static str, Written<'_>); 4] {
    [
        ("title", Written::Register(ValueRef::String(&record.title))),
        ("body", Written::Register(ValueRef::String(&record.body))),
        ("flag", Written::Register(ValueRef::Bool(record.flag))),
        ("time", Written::Register(ValueRef::Int(record.time))),
    ]
}

fn written(field: &Field) -> (&'static str, Written<'_>) {
    let (name, value) = match field {
        Field::Title(title) => ("title", ValueRef::String(title)),
        Field::Body(body) => ("body", ValueRef::String(body)),
        Field::Flag(flag) => ("flag", ValueRef::Bool(*flag)),
    };
    (name, Written::Register(value))
}

/// The fields of a record, as far as they were shown.
#[derive(Default)]
struct Fields {
    title: Option<String>,
    body: Option<String>,
    flag: Option<bool>,
    time: Option<i64>,
}

impl Fields {
    fn take(&mut self, path: &str, value: ValueRef<'_>) {
        match (path, value) {
            ("title", ValueRef::String(text)) => self.title = Some(text.to_owned()),
            ("body", ValueRef::String(text)) => self.body = Some(text.to_owned()),
            ("flag", ValueRef::Bool(truth)) => self.flag = Some(truth),
            ("time", ValueRef::Int(number)) => self.time = Some(number),
            _ => {}
        }
    }

    fn record(self, id: Id) -> Option<Record> {
        let Self { title, body, flag, time } = self;
        Some(Record { id, title: title?, body: body?, flag: flag?, time: time? })
    }
}

impl Subject for Ours {
    fn new(replica: u32) -> Self {
        Self::of(Document::default(), replica)
    }

    fn load(snapshot: &[u8], replica: u32) -> Self {
        let store = read_snapshot(snapshot, SNAPSHOT_BYTES_MAX).expect("this core wrote it");
        Self::of(Document::load(store).sure(), replica)
    }

    fn write(&mut self, operation: &Operation) {
        let edited = self.perform(operation);
        assert!(std::hint::black_box(&edited).is_ok(), "the operation fits the document");
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        let edited = self.perform(operation);
        let edited = edited.as_ref().expect("the operation fits the document");
        let bytes = self.encode(&edited.delta, edited.undo.replaced());
        // As both sides do.
        self.dictionary.learn(&edited.delta);
        bytes
    }

    fn apply(&mut self, delta: &[u8]) {
        let Some(mut frames) = delta.strip_prefix(EXCHANGE) else { return self.join(delta) };
        while let Some((len, rest)) = frames.split_first_chunk() {
            let (frame, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
            frames = rest;
            if let Ok(ClientMessage::Push(push)) = decode_client(frame) {
                self.join(&push.delta);
            }
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        write_snapshot(self.document.store(), Compression::Deflate)
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        Some(write_snapshot(self.document.store(), Compression::None))
    }

    fn read(&self, id: &Id) -> Option<Record> {
        let mut fields = Fields::default();
        let take = &mut |path: &str, value: ValueRef<'_>| fields.take(path, value);
        let is_there = self.document.read(RECORDS, &RecordId::from_uuid(*id), take).sure();
        fields.record(*id).filter(|_| is_there)
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        let show = &mut |id: RecordId, elements: Elements| {
            let id = id.as_place_id()[..].try_into().expect("ids are UUIDs");
            let mut fields = Fields::default();
            elements.read(&mut |path, value| fields.take(path, value));
            each(fields.record(id).expect("records are whole"));
        };
        self.document.each_record(RECORDS, show).sure();
    }

    fn summary(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn exchange(&mut self, loaded: &[u8], _: &[u8], done: &[Operation]) -> Vec<u8> {
        let store = read_snapshot(loaded, SNAPSHOT_BYTES_MAX).expect("this core wrote it");
        let mut line = Line::new(store, self.replica);
        for operation in done {
            line.write(operation);
        }
        line.connect();
        line.bytes()
    }
}

/// A client that was offline, and what it puts on the line.
struct Line {
    client: Client,
    context: CausalContext,
    now: Now,
    frames: Vec<Vec<u8>>,
}

impl Line {
    fn new(store: MemoryStore, replica: ReplicaId) -> Self {
        let config = ClientConfig { agent: "bench".into(), packing: Packing::LARGE, token: None };
        let mut client = Client::new(config);
        let context = store.context().clone();
        let saved = SavedDocument { store, cursor: Some(CURSOR), ..SavedDocument::default() };
        client.open(DOCUMENT, saved, replica, OPENING);
        let now = Now { monotonic_ms: 0, unix_ms: NOW_MS };
        Self { client, context, now, frames: Vec::new() }
    }

    fn write(&mut self, operation: &Operation) {
        self.now.unix_ms += 1_000;
        let change = |edit: &mut Edit<'_>| perform(edit, operation);
        self.client.change(self.now, DOCUMENT, change).expect("the operation fits the document");
        self.drain();
    }

    /// Connects to a hub that has what was loaded, and stores every push.
    fn connect(&mut self) {
        self.client.handle(self.now, ClientInput::Connected);
        let Cursor { boot, .. } = CURSOR;
        let welcome = Welcome { version: VERSION, hub: 1, boot, now_ms: NOW_MS, packs: true };
        let (context, delta) = (self.context.clone(), encode_delta(&Delta::default()));
        let (channel, openings) = (1, Vec::new());
        for message in [
            HubMessage::Welcome(welcome),
            HubMessage::Opened { channel, context, resumed: true, openings },
            HubMessage::Chunk { channel, number: 1, delta, cursor: Some(CURSOR), left: 0 },
        ] {
            self.hear(&message);
        }
        for id in 1.. {
            if self.client.outbox(DOCUMENT).is_ok_and(|mut items| items.next().is_none()) {
                break;
            }
            self.hear(&HubMessage::Stored { channel, id, seq: CURSOR.seq + id });
        }
    }

    fn hear(&mut self, message: &HubMessage) {
        self.client.handle(self.now, ClientInput::Frame(message.encode()));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                ClientOutput::Send(frame) => self.frames.push(frame),
                ClientOutput::Persist(persist) => {
                    self.client.handle(self.now, ClientInput::Persisted(persist.id));
                }
                ClientOutput::Disconnect { reason } => panic!("the client hangs up: {reason}"),
                ClientOutput::Event(_) => {}
            }
        }
    }

    /// The frames, each behind its length, as a line needs to tell them apart.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = EXCHANGE.to_vec();
        for frame in &self.frames {
            bytes.extend((frame.len() as u32).to_le_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }
}

/// Does an operation within a change.
fn perform<S: PlaceStore>(
    edit: &mut Edit<'_, S>,
    operation: &Operation,
) -> Result<(), Refused<S::Error>> {
    match operation {
        Operation::Insert(record) => {
            edit.insert(RECORDS, &RecordId::from_uuid(record.id), fields(record))
        }
        Operation::Edit(id, field) => {
            edit.update(RECORDS, &RecordId::from_uuid(*id), [written(field)])
        }
        Operation::Remove(id) => edit.remove(RECORDS, &RecordId::from_uuid(*id)),
    }
}
