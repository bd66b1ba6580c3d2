//! This core, through its public `Document`.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_bytes::ByteBuf;
use sync_core::causal::{CausalContext, Delta, Dot, DotRanges, Entry, MemoryStore, ReplicaId};
use sync_core::document::{Author, Document};
use sync_core::time::HybridClock;
use sync_core::types::{Field as Written, Record as Elements, RecordId, Value};
use sync_core::wire::{decode_delta, encode_delta};

use crate::data::{Field, Id, Operation, Record};
use crate::subject::{RECORDS, Subject};

/// The time at which everything is written, in milliseconds since 1970: the core reads no clock.
const NOW_MS: u64 = 1_760_000_000_000;

/// The most dots of one part of an exchange. Arbitrary; a part must fit into one message.
const PART_DELTAS: usize = 100;

/// A context as this file stores it.
type ContextOnDisk = Vec<(ByteBuf, Vec<u64>)>;

/// An entry as this file stores it.
type EntryOnDisk = (ByteBuf, u64, ByteBuf, Vec<Option<ByteBuf>>);

/// A document of this core.
pub struct Ours {
    document: Document,
    replica: ReplicaId,
    clock: HybridClock,
    now_ms: u64,
    since_load: Vec<Delta>,
}

impl Ours {
    fn of(document: Document, replica: u32) -> Self {
        let id = fastrand::Rng::with_seed(replica.into()).u128(..);
        let replica = ReplicaId::from_bytes(id.to_be_bytes());
        let (clock, now_ms) = (HybridClock::default(), NOW_MS);
        Self { document, replica, clock, now_ms, since_load: Vec::new() }
    }

    fn perform(&mut self, operation: &Operation) -> Delta {
        self.now_ms += 1_000;
        let author = Author { replica: self.replica, stamp: self.clock.tick(self.now_ms) };
        let id = record_id(&operation.id());
        let edited = self.document.edit(author, usize::MAX, |edit| match operation {
            Operation::Insert(record) => edit.insert(RECORDS, &id, &fields(record)),
            Operation::Edit(_, field) => edit.update(RECORDS, &id, &written(field)),
            Operation::Remove(_) => edit.remove(RECORDS, &id),
        });
        edited.expect("the operation fits the document").delta
    }
}

fn record_id(id: &Id) -> RecordId {
    let hex = format!("{:032x}", u128::from_be_bytes(*id));
    let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    RecordId::new(text).expect("a UUID is an id")
}

fn id_of(id: &RecordId) -> Id {
    let hex: String = id.as_str().chars().filter(|letter| *letter != '-').collect();
    u128::from_str_radix(&hex, 16).expect("ids are UUIDs").to_be_bytes()
}

fn fields(record: &Record) -> BTreeMap<String, Written> {
    BTreeMap::from([
        ("title".to_owned(), Written::Register(Value::String(record.title.clone()))),
        ("body".to_owned(), Written::Register(Value::String(record.body.clone()))),
        ("flag".to_owned(), Written::Register(Value::Bool(record.flag))),
        ("time".to_owned(), Written::Register(Value::Int(record.time))),
    ])
}

fn written(field: &Field) -> BTreeMap<String, Written> {
    let (name, value) = match field {
        Field::Title(title) => ("title", Value::String(title.clone())),
        Field::Body(body) => ("body", Value::String(body.clone())),
        Field::Flag(flag) => ("flag", Value::Bool(*flag)),
    };
    BTreeMap::from([(name.to_owned(), Written::Register(value))])
}

fn record(id: Id, elements: &Elements) -> Option<Record> {
    let fields = elements.fields();
    let value = |name: &str| match fields.get(name)? {
        Written::Register(value) => Some(value),
        Written::Set(_) => None,
    };
    Some(Record {
        id,
        title: value("title")?.as_str()?.to_owned(),
        body: value("body")?.as_str()?.to_owned(),
        flag: value("flag")?.as_bool()?,
        time: value("time")?.as_int()?,
    })
}

impl Subject for Ours {
    fn new(replica: u32) -> Self {
        Self::of(Document::default(), replica)
    }

    fn load(snapshot: &[u8], replica: u32) -> Self {
        let mut bytes = Vec::new();
        DeflateDecoder::new(snapshot).read_to_end(&mut bytes).expect("deflate packed it");
        let (context, entries): (ContextOnDisk, Vec<EntryOnDisk>) =
            rmp_serde::from_slice(&bytes).expect("this file wrote it");
        let mut seen = CausalContext::default();
        let id = |bytes: &[u8]| ReplicaId::from_slice(bytes).expect("16 bytes were written");
        for (replica, gaps) in context {
            seen.set(id(&replica), DotRanges::from_gaps(&gaps).expect("ranges were written"));
        }
        let entries = entries.into_iter().map(|(replica, counter, header, slots)| {
            let first = Dot::new(id(&replica), counter);
            Entry { first, header, slots }
        });
        Self::of(Document::load(MemoryStore::load(seen, entries)), replica)
    }

    fn write(&mut self, operation: &Operation) {
        self.perform(operation);
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        let delta = self.perform(operation);
        let bytes = encode_delta(&delta);
        self.since_load.push(delta);
        bytes
    }

    fn apply(&mut self, delta: &[u8]) {
        let mut rest = delta;
        // An exchange is parts with their lengths before them; a single delta is itself.
        if let Some(parts) = delta.strip_prefix(b"parts") {
            rest = parts;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let (part, after) = after.split_at(u32::from_le_bytes(*length) as usize);
                self.document.join(&decode_delta(part).expect("a delta of this core"));
                rest = after;
            }
        } else {
            self.document.join(&decode_delta(rest).expect("a delta of this core"));
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let plain = self.snapshot_plain().expect("there is one");
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&plain).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        let store = self.document.store();
        let bytes = |id: ReplicaId| ByteBuf::from(id.as_bytes().to_vec());
        let context = store.context().iter();
        let context: ContextOnDisk =
            context.map(|(id, ranges)| (bytes(id), ranges.to_gaps())).collect();
        let entries = store.iter().map(|entry| {
            let Entry { first, header, slots } = entry.clone();
            (bytes(first.replica), first.counter, header, slots)
        });
        let entries: Vec<EntryOnDisk> = entries.collect();
        Some(rmp_serde::to_vec(&(context, entries)).expect("plain data serializes"))
    }

    fn read(&self, id: &Id) -> Option<Record> {
        record(*id, &self.document.record(RECORDS, &record_id(id))?)
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        for (id, elements) in self.document.records(RECORDS) {
            each(record(id_of(id), &elements).expect("records are whole"));
        }
    }

    fn summary(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn exchange(&mut self, _: &[u8]) -> Vec<u8> {
        let mut message = b"parts".to_vec();
        for deltas in self.since_load.chunks(PART_DELTAS) {
            let mut part = Delta::default();
            for delta in deltas {
                part.join(delta);
            }
            let part = encode_delta(&part);
            message.extend((part.len() as u32).to_le_bytes());
            message.extend(part);
        }
        message
    }
}
