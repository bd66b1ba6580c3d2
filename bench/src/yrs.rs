//! Yrs: a root map of maps, a transaction for each operation, updates of version 1.

use ::yrs::updates::decoder::Decode;
use ::yrs::updates::encoder::Encode;
use ::yrs::{
    Any, ClientID, Doc, Map, MapPrelim, MapRef, Number, Options, Out, ReadTxn, StateVector,
    Transact, TransactionMut, Update,
};

use crate::data::{Field, Id, Operation, Record};
use crate::subject::{self, RECORDS, Subject};

/// A document of Yrs.
pub struct Yrs {
    document: Doc,
    records: MapRef,
}

impl Yrs {
    fn record<T: ReadTxn>(id: Id, map: &MapRef, transaction: &T) -> Option<Record> {
        let any = |name: &str| match map.get(transaction, name)? {
            Out::Any(any) => Some(any),
            _ => None,
        };
        let text = |name: &str| match any(name)? {
            Any::String(text) => Some(text.to_string()),
            _ => None,
        };
        let (title, body) = (text("title")?, text("body")?);
        let flag = matches!(any("flag")?, Any::Bool(true));
        let time = match any("time")? {
            Any::Number(Number::Int(time)) => time,
            Any::Number(Number::Float(time)) => time as i64,
            _ => return None,
        };
        Some(Record { id, title, body, flag, time })
    }

    fn map_of<T: ReadTxn>(&self, id: &Id, transaction: &T) -> Option<MapRef> {
        match self.records.get(transaction, &subject::key(id))? {
            Out::YMap(map) => Some(map),
            _ => None,
        }
    }

    fn perform(&self, operation: &Operation, transaction: &mut TransactionMut<'_>) {
        match operation {
            Operation::Insert(record) => {
                let key = subject::key(&record.id);
                // The fields one by one: a filled map would write them in the order of its hashes.
                let map = self.records.insert(transaction, key, MapPrelim::default());
                map.insert(transaction, "title", record.title.as_str());
                map.insert(transaction, "body", record.body.as_str());
                map.insert(transaction, "flag", record.flag);
                map.insert(transaction, "time", Any::Number(record.time.into()));
            }
            Operation::Edit(id, field) => {
                let map = self.map_of(id, transaction).expect("the record is there");
                match field {
                    Field::Title(title) => map.insert(transaction, "title", title.as_str()),
                    Field::Body(body) => map.insert(transaction, "body", body.as_str()),
                    Field::Flag(flag) => map.insert(transaction, "flag", *flag),
                };
            }
            Operation::Remove(id) => {
                self.records.remove(transaction, &subject::key(id)).expect("the record is there");
            }
        }
    }
}

impl Subject for Yrs {
    fn new(replica: u32) -> Self {
        // Ids of 32 bits, as Yjs and former releases draw them: 53 bits would only add bytes.
        let client = fastrand::Rng::with_seed(replica.into()).u32(1 << 28..);
        let document = Doc::with_options(Options::with_client_id(ClientID::new(client.into())));
        let records = document.get_or_insert_map(RECORDS);
        Self { document, records }
    }

    fn load(snapshot: &[u8], replica: u32) -> Self {
        let mut loaded = Self::new(replica);
        loaded.apply(snapshot);
        loaded
    }

    fn write(&mut self, operation: &Operation) {
        let mut transaction = self.document.transact_mut();
        self.perform(operation, &mut transaction);
    }

    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8> {
        let mut transaction = self.document.transact_mut();
        self.perform(operation, &mut transaction);
        transaction.encode_update_v1()
    }

    fn apply(&mut self, delta: &[u8]) {
        let update = Update::decode_v1(delta).expect("an update of this library");
        self.document.transact_mut().apply_update(update).expect("an update of this library");
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.document.transact().encode_state_as_update_v1(&StateVector::default())
    }

    fn snapshot_plain(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn read(&self, id: &Id) -> Option<Record> {
        let transaction = self.document.transact();
        Self::record(*id, &self.map_of(id, &transaction)?, &transaction)
    }

    fn read_all(&self, each: &mut dyn FnMut(Record)) {
        let transaction = self.document.transact();
        for (key, value) in self.records.iter(&transaction) {
            let Out::YMap(map) = value else { continue };
            let id = subject::id(key).expect("keys are ids");
            each(Self::record(id, &map, &transaction).expect("records are whole"));
        }
    }

    fn summary(&mut self) -> Vec<u8> {
        self.document.transact().state_vector().encode_v1()
    }

    fn exchange(&mut self, _: &[u8], summary: &[u8], _: &[Operation]) -> Vec<u8> {
        let seen = StateVector::decode_v1(summary).expect("a state vector of this library");
        self.document.transact().encode_state_as_update_v1(&seen)
    }
}
