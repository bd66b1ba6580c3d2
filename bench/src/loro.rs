//! Loro: a root map of maps, a commit for each operation.

use ::loro::{Container, ExportMode, LoroDoc, LoroMap, LoroValue, ValueOrContainer, VersionVector};

use crate::data::{Field, Id, Operation, Record};
use crate::subject::{self, RECORDS, Subject};

/// A document of Loro.
pub struct Loro {
    document: LoroDoc,
    records: LoroMap,
}

impl Loro {
    fn of(document: LoroDoc, replica: u32) -> Self {
        let peer = fastrand::Rng::with_seed(replica.into()).u64(..u64::MAX);
        document.set_peer_id(peer).expect("nothing is uncommitted");
        let records = document.get_map(RECORDS);
        Self { document, records }
    }

    fn map_of(&self, id: &Id) -> Option<LoroMap> {
        match self.records.get(&subject::key(id))? {
            ValueOrContainer::Container(Container::Map(map)) => Some(map),
            _ => None,
        }
    }

    fn record(id: Id, map: &LoroMap) -> Option<Record> {
        let value = |name| match map.get(name)? {
            ValueOrContainer::Value(value) => Some(value),
            ValueOrContainer::Container(_) => None,
        };
        let text = |name| match value(name)? {
            LoroValue::String(text) => Some(text.to_string()),
            _ => None,
        };
        let (title, body) = (text("title")?, text("body")?);
        let LoroValue::Bool(flag) = value("flag")? else { return None };
        let LoroValue::I64(time) = value("time")? else { return None };
        Some(Record { id, title, body, flag, time })
    }
}

fn put(map: &LoroMap, name: &str, value: impl Into<LoroValue>) {
    map.insert(name, value).expect("the map is attached");
}

impl Subject for Loro {
    fn new(replica: u32) -> Self {
        Self::of(LoroDoc::new(), replica)
    }

    fn load(snapshot: &[u8], replica: u32) -> Self {
        let loaded = Self::of(LoroDoc::new(), replica);
        loaded.document.import(snapshot).expect("a snapshot of this library");
        loaded
    }

    fn write(&mut self, operation: &Operation) {
        match operation {
            Operation::Insert(record) => {
                let map = self.records.insert_container(&subject::key(&record.id), LoroMap::new());
                let map = map.expect("the map is attached");
                put(&map, "title", record.title.as_str());
                put(&map, "body", record.body.as_str());
                put(&map, "flag", record.flag);
                put(&map, "time", record.time);
            }
            Operation::Edit(id, field) => {
                let map = self.map_of(id).expect("the record is there");
                match field {
                    Field::Title(title) => put(&map, "title", title.as_str()),
                    Field::Body(body) => put(&map, "body", body.as_str()),
                    Field::Flag(flag) => put(&map, "flag", *flag),
                }
            }
            Operation::Remove(id) => {
                self.records.delete(&subject::key(id)).expect("the record is there");
            }
        }
        self.document.commit();
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        let before = self.document.oplog_vv();
        self.write(operation);
        self.document.export(ExportMode::updates(&before)).expect("the history is whole")
    }

    fn apply(&mut self, delta: &[u8]) {
        self.document.import(delta).expect("an update of this library");
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.document.export(ExportMode::Snapshot).expect("the history is whole")
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn read(&self, id: &Id) -> Option<Record> {
        Self::record(*id, &self.map_of(id)?)
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        // By key: a walk over the map reads a copy of what was loaded, and leaves the work of taking
        // it in to the first write.
        for key in self.records.keys() {
            let id = subject::id(&key).expect("keys are ids");
            each(self.read(&id).expect("the key was listed"));
        }
    }

    fn summary(&mut self) -> Vec<u8> {
        self.document.oplog_vv().encode()
    }

    fn exchange(&mut self, _: &[u8], summary: &[u8], _: &[Operation]) -> Vec<u8> {
        let seen = VersionVector::decode(summary).expect("a vector of this library");
        self.document.export(ExportMode::updates(&seen)).expect("the history is whole")
    }
}
