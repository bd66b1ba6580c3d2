//! This core, through its public `Document`.
//!
//! Deltas are encoded as on a connection that has been open for a while: both sides have numbered the
//! replicas and labels that were named before, and objects are named by dots that the other side has.

use flate2::Compression as Level;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{Read, Write};

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Label, MemoryStore, PlaceId, PlaceStore, ReplicaId,
};
use sync_core::document::{Author, Document, Edited, Undo};
use sync_core::error::Sure;
use sync_core::snapshot::{Compression, read_snapshot, write_snapshot};
use sync_core::time::HybridClock;
use sync_core::types::{Field as Written, Record as Elements, RecordId, Value};
use sync_core::wire::{Dictionary, Names, Objects, read_delta, write_delta};

use crate::data::{Field, Id, Operation, Record};
use crate::subject::{RECORDS, Subject};

/// The time at which everything is written, in milliseconds since 1970: the core reads no clock.
const NOW_MS: u64 = 1_760_000_000_000;

/// The most bytes of a snapshot. Arbitrary, far above what is measured.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// A document of this core.
pub struct Ours {
    document: Document,
    replica: ReplicaId,
    clock: HybridClock,
    now_ms: u64,
    /// What was seen when the document was loaded: the other side has it.
    base: CausalContext,
    /// What both sides have numbered when the document was loaded, and by now.
    base_dictionary: Dictionary,
    dictionary: Dictionary,
    since_load: Vec<(Delta, Undo)>,
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
            base_dictionary: dictionary.clone(),
            dictionary,
            since_load: Vec::new(),
        }
    }

    fn perform(&mut self, operation: &Operation) -> Edited<()> {
        self.now_ms += 1_000;
        let author = Author { replica: self.replica, stamp: self.clock.tick(self.now_ms) };
        let edited = match operation {
            Operation::Insert(record) => {
                let fields = fields(record);
                let fields = fields.iter().map(|(name, field)| (*name, field));
                let id = RecordId::from_uuid(record.id);
                self.document.edit(author, usize::MAX, |edit| edit.insert(RECORDS, &id, fields))
            }
            Operation::Edit(id, field) => {
                let (name, field) = written(field);
                let id = RecordId::from_uuid(*id);
                self.document
                    .edit(author, usize::MAX, |edit| edit.update(RECORDS, &id, [(name, &field)]))
            }
            Operation::Remove(id) => {
                let id = RecordId::from_uuid(*id);
                self.document.edit(author, usize::MAX, |edit| edit.remove(RECORDS, &id))
            }
        };
        edited.expect("the operation fits the document")
    }

    fn encode(&self, delta: &Delta, killed: &[Entry], dictionary: &Dictionary) -> Vec<u8> {
        let names = Known { store: self.document.store(), killed, base: &self.base };
        let mut bytes = Vec::new();
        write_delta(&mut bytes, delta, dictionary, &names);
        bytes
    }

    /// Numbers what a delta names, as both sides do.
    fn learn(&mut self, delta: &Delta) {
        for entry in &delta.entries {
            self.dictionary.add_replica(entry.first.replica);
            self.dictionary.add_label(entry.label.clone());
        }
        for note in &delta.notes {
            self.dictionary.add_replica(note.dot.replica);
            self.dictionary.add_label(note.label.clone());
        }
    }

    fn join(&mut self, bytes: &[u8]) {
        let known = Known { store: self.document.store(), killed: &[], base: &self.base };
        let delta = read_delta(bytes, &self.dictionary, &known).expect("a delta of this core");
        self.document.join(&delta).sure();
        self.learn(&delta);
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
        let of_it = |entry: &&Entry| entry.id == *id && entry.label.space() == space;
        let killed = self.killed.iter().filter(of_it).flat_map(Entry::live);
        let mut dot = killed.map(|(dot, _)| dot).find(|dot| self.base.contains(*dot));
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

fn fields(record: &Record) -> [(&'static str, Written); 4] {
    [
        ("title", Written::Register(Value::String(record.title.clone()))),
        ("body", Written::Register(Value::String(record.body.clone()))),
        ("flag", Written::Register(Value::Bool(record.flag))),
        ("time", Written::Register(Value::Int(record.time))),
    ]
}

fn written(field: &Field) -> (&'static str, Written) {
    let (name, value) = match field {
        Field::Title(title) => ("title", Value::String(title.clone())),
        Field::Body(body) => ("body", Value::String(body.clone())),
        Field::Flag(flag) => ("flag", Value::Bool(*flag)),
    };
    (name, Written::Register(value))
}

fn record(id: Id, elements: &Elements) -> Option<Record> {
    let (mut title, mut body, mut flag, mut time) = (None, None, None, None);
    elements.read(&mut |path, value| match (path, value) {
        ("title", Value::String(text)) => title = Some(text),
        ("body", Value::String(text)) => body = Some(text),
        ("flag", Value::Bool(truth)) => flag = Some(truth),
        ("time", Value::Int(number)) => time = Some(number),
        _ => {}
    });
    Some(Record { id, title: title?, body: body?, flag: flag?, time: time? })
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
        std::hint::black_box(self.perform(operation));
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        let Edited { delta, undo, .. } = self.perform(operation);
        let bytes = self.encode(&delta, undo.replaced(), &self.dictionary);
        self.learn(&delta);
        self.since_load.push((delta, undo));
        bytes
    }

    fn apply(&mut self, delta: &[u8]) {
        match delta.strip_prefix(b"deflated") {
            Some(packed) => {
                let mut bytes = Vec::new();
                DeflateDecoder::new(packed).read_to_end(&mut bytes).expect("deflate packed it");
                self.join(&bytes);
            }
            None => self.join(delta),
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        write_snapshot(self.document.store(), Compression::Deflate)
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        Some(write_snapshot(self.document.store(), Compression::None))
    }

    fn read(&self, id: &Id) -> Option<Record> {
        record(*id, &self.document.record(RECORDS, &RecordId::from_uuid(*id)).sure()?)
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        let show = &mut |id: RecordId, elements| {
            let id = id.as_place_id()[..].try_into().expect("ids are UUIDs");
            each(record(id, &elements).expect("records are whole"));
        };
        self.document.each_record(RECORDS, show).sure();
    }

    fn summary(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn exchange(&mut self, _: &[u8]) -> Vec<u8> {
        let mut all = Delta::default();
        let mut killed = Vec::new();
        for (delta, undo) in self.since_load.drain(..) {
            all.join(delta);
            killed.extend_from_slice(undo.replaced());
        }
        let bytes = self.encode(&all, &killed, &self.base_dictionary);
        let mut encoder = DeflateEncoder::new(b"deflated".to_vec(), Level::default());
        encoder.write_all(&bytes).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    }
}
