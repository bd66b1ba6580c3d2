//! Automerge: a map of maps below the root, a change for each operation.

use ::automerge::transaction::Transactable;
use ::automerge::{
    ActorId, AutoCommit, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value,
};

use crate::data::{Field, Id, Operation, Record};
use crate::subject::{self, RECORDS, Subject};

/// A document of Automerge.
pub struct Automerge {
    document: AutoCommit,
    records: ObjId,
}

fn actor(replica: u32) -> ActorId {
    let id = fastrand::Rng::with_seed(replica.into()).u128(..);
    ActorId::from(id.to_be_bytes())
}

impl Automerge {
    fn put(&mut self, map: &ObjId, name: &str, value: impl Into<ScalarValue>) {
        self.document.put(map, name, value).expect("the map is there");
    }

    fn map_of(&self, id: &Id) -> Option<ObjId> {
        let found = self.document.get(&self.records, subject::key(id)).expect("the map is there");
        found.map(|(_, map)| map)
    }

    fn scalar(&self, map: &ObjId, name: &str) -> Option<ScalarValue> {
        let (value, _) = self.document.get(map, name).ok()??;
        if let Value::Scalar(scalar) = value { Some(scalar.into_owned()) } else { None }
    }

    fn record(&self, id: Id, map: &ObjId) -> Option<Record> {
        let text = |name| match self.scalar(map, name)? {
            ScalarValue::Str(text) => Some(text.to_string()),
            _ => None,
        };
        let (title, body) = (text("title")?, text("body")?);
        let flag = self.scalar(map, "flag")?.as_bool()?;
        let time = self.scalar(map, "time")?.as_i64()?;
        Some(Record { id, title, body, flag, time })
    }
}

impl Subject for Automerge {
    fn new(replica: u32) -> Self {
        let mut document = AutoCommit::new().with_actor(actor(replica));
        let records = document.put_object(ROOT, RECORDS, ObjType::Map).expect("the root is there");
        document.commit();
        Self { document, records }
    }

    fn load(snapshot: &[u8], replica: u32) -> Self {
        let document = AutoCommit::load(snapshot).expect("a snapshot of this library");
        let document = document.with_actor(actor(replica));
        let found = document.get(ROOT, RECORDS).expect("the root is there");
        let (_, records) = found.expect("the map was made with the document");
        Self { document, records }
    }

    fn write(&mut self, operation: &Operation) {
        match operation {
            Operation::Insert(record) => {
                let (records, key) = (self.records.clone(), subject::key(&record.id));
                let map = self.document.put_object(&records, key, ObjType::Map);
                let map = map.expect("the map is there");
                self.put(&map, "title", record.title.as_str());
                self.put(&map, "body", record.body.as_str());
                self.put(&map, "flag", record.flag);
                self.put(&map, "time", record.time);
            }
            Operation::Edit(id, field) => {
                let map = self.map_of(id).expect("the record is there");
                match field {
                    Field::Title(title) => self.put(&map, "title", title.as_str()),
                    Field::Body(body) => self.put(&map, "body", body.as_str()),
                    Field::Flag(flag) => self.put(&map, "flag", *flag),
                }
            }
            Operation::Remove(id) => {
                let deleted = self.document.delete(&self.records, subject::key(id));
                deleted.expect("the record is there");
            }
        }
        self.document.commit();
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        self.write(operation);
        let mut change = self.document.get_last_local_change().expect("an operation was done");
        change.bytes().into_owned()
    }

    fn apply(&mut self, delta: &[u8]) {
        self.document.load_incremental(delta).expect("changes of this library");
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.document.save()
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        Some(self.document.save_nocompress())
    }

    fn read(&self, id: &Id) -> Option<Record> {
        self.record(*id, &self.map_of(id)?)
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        for key in self.document.keys(&self.records) {
            let id = subject::id(&key).expect("keys are ids");
            each(self.read(&id).expect("the key was listed"));
        }
    }

    fn summary(&mut self) -> Vec<u8> {
        self.document.get_heads().iter().flat_map(|head| head.0).collect()
    }

    fn exchange(&mut self, _: &[u8], summary: &[u8], _: &[Operation]) -> Vec<u8> {
        let (heads, _) = summary.as_chunks::<32>();
        let heads: Vec<_> = heads.iter().map(|head| ChangeHash(*head)).collect();
        self.document.save_after(&heads)
    }
}
