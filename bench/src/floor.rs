//! The floor: what the same would cost if nothing had to be merged.
//!
//! A hash map of structs; operations as MessagePack; a snapshot as columns with deflate, and as
//! MessagePack where it is plain. It has no history, so an exchange is the operations since the load.

use std::collections::HashMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::data::{Field, Id, Operation, Record, TITLE_BYTES};
use crate::subject::Subject;

/// A hash map of records.
pub struct Floor {
    records: HashMap<Id, Record>,
}

impl Floor {
    fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Insert(record) => {
                self.records.insert(record.id, record.clone());
            }
            Operation::Edit(id, field) => {
                let record = self.records.get_mut(id).expect("the record is there");
                match field.clone() {
                    Field::Title(title) => record.title = title,
                    Field::Body(body) => record.body = body,
                    Field::Flag(flag) => record.flag = flag,
                }
            }
            Operation::Remove(id) => {
                self.records.remove(id).expect("the record is there");
            }
        }
    }

    /// The records by id, as a snapshot has them: hashes have no order that lasts.
    fn sorted(&self) -> Vec<&Record> {
        let mut records: Vec<_> = self.records.values().collect();
        records.sort_by_key(|record| record.time);
        records
    }
}

fn deflate(column: &[u8], into: &mut Vec<u8>) {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(column).expect("a vector takes everything");
    let packed = encoder.finish().expect("a vector takes everything");
    into.extend((packed.len() as u32).to_le_bytes());
    into.extend(packed);
}

fn inflate(from: &mut &[u8]) -> Vec<u8> {
    let (length, rest) = from.split_first_chunk::<4>().expect("a column starts with its length");
    let (packed, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
    *from = rest;
    let mut column = Vec::new();
    DeflateDecoder::new(packed).read_to_end(&mut column).expect("a column that deflate packed");
    column
}

impl Subject for Floor {
    fn new(_: u32) -> Self {
        Self { records: HashMap::new() }
    }

    fn load(snapshot: &[u8], replica: u32) -> Self {
        let mut from = snapshot;
        let [ids, titles, bodies, flags, times] = [(); 5].map(|()| inflate(&mut from));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text was written");
        let mut loaded = Self::new(replica);
        let mut time = 0;
        let mut bodies = bodies.split(|byte| *byte == 0);
        for (index, id) in ids.as_chunks::<16>().0.iter().enumerate() {
            let title = text(&titles[index * TITLE_BYTES..][..TITLE_BYTES]);
            let body = text(bodies.next().expect("a body for each id"));
            let step = times.as_chunks::<8>().0[index];
            time += i64::from_le_bytes(step);
            let flag = flags[index] == 1;
            loaded.records.insert(*id, Record { id: *id, title, body, flag, time });
        }
        loaded
    }

    fn write(&mut self, operation: &Operation) {
        self.perform(operation);
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        self.perform(operation);
        rmp_serde::to_vec(&[operation]).expect("plain data serializes")
    }

    fn apply(&mut self, delta: &[u8]) {
        let operations: Vec<Operation> = rmp_serde::from_slice(delta).expect("a floor wrote it");
        for operation in &operations {
            self.perform(operation);
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let records = self.sorted();
        let mut ids = Vec::new();
        let (mut titles, mut bodies) = (Vec::new(), Vec::new());
        let (mut flags, mut times) = (Vec::new(), Vec::new());
        let mut last = 0;
        for record in records {
            ids.extend(record.id);
            titles.extend(record.title.as_bytes());
            bodies.extend(record.body.as_bytes());
            bodies.push(0);
            flags.push(u8::from(record.flag));
            times.extend((record.time - last).to_le_bytes());
            last = record.time;
        }
        let mut snapshot = Vec::new();
        for column in [ids, titles, bodies, flags, times] {
            deflate(&column, &mut snapshot);
        }
        snapshot
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        Some(rmp_serde::to_vec(&self.sorted()).expect("plain data serializes"))
    }

    fn read(&self, id: &Id) -> Option<Record> {
        self.records.get(id).cloned()
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        #[allow(clippy::iter_over_hash_type, reason = "the trait asks for no order")]
        for record in self.records.values() {
            each(record.clone());
        }
    }

    fn summary(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn exchange(&mut self, _: &[u8], _: &[u8], done: &[Operation]) -> Vec<u8> {
        rmp_serde::to_vec(done).expect("plain data serializes")
    }
}
