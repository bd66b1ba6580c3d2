//! The records of every workload: drawn from a seed, the same for all subjects.
//!
//! The vocabulary and its exponent are measured choices: with them the sizes of the peers' snapshots
//! match those that the bars were set beside, so that figures of both can be compared.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// How many different words there are. Measured, see the head of this file.
const VOCABULARY: usize = 400;

/// The exponent of Zipf's law: the word of rank `r` has the weight `1 / r^s`. Measured.
const EXPONENT: f64 = 0.6;

/// How many bytes of words a body has.
pub const BODY_BYTES: usize = 200;

/// How many bytes a title has.
pub const TITLE_BYTES: usize = 20;

/// The first moment of the records, in milliseconds since 1970. Arbitrary.
const EPOCH_MS: i64 = 1_750_000_000_000;

/// The bytes of a UUID.
pub type Id = [u8; 16];

/// What all subjects store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The id: a UUID of version 4.
    pub id: Id,
    /// Letters and digits, 20 bytes.
    pub title: String,
    /// Words, 200 bytes.
    pub body: String,
    /// A flag.
    pub flag: bool,
    /// Milliseconds since 1970.
    pub time: i64,
}

/// One field with the value that an edit writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// The title.
    Title(String),
    /// The body.
    Body(String),
    /// The flag.
    Flag(bool),
}

/// One operation of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Adds a record.
    Insert(Record),
    /// Writes one field of a record.
    Edit(Id, Field),
    /// Removes a record.
    Remove(Id),
}

impl Operation {
    /// The record that it is about.
    #[must_use]
    pub fn id(&self) -> Id {
        match self {
            Self::Insert(record) => record.id,
            Self::Edit(id, _) | Self::Remove(id) => *id,
        }
    }
}

/// What the records are, told plainly: the reference that every subject is compared with.
pub type Model = BTreeMap<Id, Record>;

/// Does an operation to the model.
pub fn perform(model: &mut Model, operation: &Operation) {
    match operation {
        Operation::Insert(record) => {
            model.insert(record.id, record.clone());
        }
        Operation::Edit(id, field) => {
            if let Some(record) = model.get_mut(id) {
                match field.clone() {
                    Field::Title(title) => record.title = title,
                    Field::Body(body) => record.body = body,
                    Field::Flag(flag) => record.flag = flag,
                }
            }
        }
        Operation::Remove(id) => {
            model.remove(id);
        }
    }
}

/// Draws records and operations. Two of one seed draw the same.
#[derive(Debug)]
pub struct Generator {
    random: Rng,
    words: Vec<String>,
    /// For each word the sum of the weights up to it.
    weights: Vec<f64>,
    time: i64,
}

impl Generator {
    /// Starts a sequence of its own. The words are the same for every seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (vocabulary, exponent) = (VOCABULARY, EXPONENT);
        let mut sum = 0.0;
        let weights = (1..=vocabulary).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        let weights = weights.collect();
        let words = words(vocabulary);
        Self { random: Rng::with_seed(seed), words, weights, time: EPOCH_MS }
    }

    /// Draws a record with a new id.
    pub fn record(&mut self) -> Record {
        let mut id = self.random.u128(..).to_be_bytes();
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        self.time += self.random.i64(0..60_000);
        let (title, body) = (self.title(), self.body());
        Record { id, title, body, flag: self.random.bool(), time: self.time }
    }

    /// Draws so many records.
    pub fn records(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.record()).collect()
    }

    /// Draws letters and digits.
    fn title(&mut self) -> String {
        (0..TITLE_BYTES).map(|_| self.random.alphanumeric()).collect()
    }

    /// Draws words up to the number of bytes.
    fn body(&mut self) -> String {
        let mut text = String::with_capacity(BODY_BYTES + 16);
        while text.len() < BODY_BYTES {
            if !text.is_empty() {
                text.push(' ');
            }
            let total = self.weights.last().copied().unwrap_or_default();
            let drawn = self.random.f64() * total;
            let rank = self.weights.partition_point(|sum| *sum <= drawn);
            text.push_str(&self.words[rank.min(self.words.len() - 1)]);
        }
        text.truncate(BODY_BYTES);
        text
    }

    /// Draws different records of the model that are not in `taken`, and takes them.
    pub fn pick(&mut self, model: &Model, taken: &mut BTreeSet<Id>, count: usize) -> Vec<Id> {
        let mut ids: Vec<_> = model.keys().filter(|id| !taken.contains(*id)).copied().collect();
        let mut picked = Vec::with_capacity(count);
        while picked.len() < count && !ids.is_empty() {
            let index = self.random.usize(..ids.len());
            picked.push(ids.swap_remove(index));
        }
        taken.extend(&picked);
        picked
    }

    /// An edit of the flag of a record: the opposite of what it is.
    pub fn toggle(&mut self, model: &Model, id: Id) -> Operation {
        let flag = model.get(&id).is_some_and(|record| record.flag);
        Operation::Edit(id, Field::Flag(!flag))
    }

    /// An edit of the title of a record.
    pub fn retitle(&mut self, id: Id) -> Operation {
        Operation::Edit(id, Field::Title(self.title()))
    }

    /// An edit of the body of a record.
    pub fn rewrite(&mut self, id: Id) -> Operation {
        Operation::Edit(id, Field::Body(self.body()))
    }

    /// Edits of one field each, in the shares of the exchange: half flags, the rest titles and bodies.
    pub fn edits(&mut self, model: &Model, count: usize) -> Vec<Operation> {
        let ids = self.pick(model, &mut BTreeSet::new(), count);
        let edits = ids.into_iter().enumerate().map(|(index, id)| match index % 4 {
            0 | 2 => self.toggle(model, id),
            1 => self.retitle(id),
            _ => self.rewrite(id),
        });
        edits.collect()
    }

    /// Records that are added.
    pub fn inserts(&mut self, count: usize) -> Vec<Operation> {
        (0..count).map(|_| Operation::Insert(self.record())).collect()
    }

    /// Removals of different records.
    pub fn removes(&mut self, model: &Model, count: usize) -> Vec<Operation> {
        let ids = self.pick(model, &mut BTreeSet::new(), count);
        ids.into_iter().map(Operation::Remove).collect()
    }

    /// Makes a fresh document an aged one: edits of one field in a tenth of the records, then
    /// removals of three tenths.
    pub fn ageing(&mut self, model: &Model) -> Vec<Operation> {
        let mut operations = self.edits(model, model.len() / 10);
        operations.extend(self.removes(model, model.len() * 3 / 10));
        operations
    }

    /// The thousand operations of a replica that was offline, mixed.
    pub fn offline(&mut self, model: &Model) -> Vec<Operation> {
        let mut taken = BTreeSet::new();
        let mut operations = Vec::new();
        for id in self.pick(model, &mut taken, 350) {
            operations.push(self.toggle(model, id));
        }
        for id in self.pick(model, &mut taken, 175) {
            operations.push(self.retitle(id));
        }
        for id in self.pick(model, &mut taken, 175) {
            operations.push(self.rewrite(id));
        }
        operations.extend(self.inserts(200));
        let removed = self.pick(model, &mut taken, 100);
        operations.extend(removed.into_iter().map(Operation::Remove));
        self.random.shuffle(&mut operations);
        operations
    }
}

/// The records of a fresh document.
#[must_use]
pub fn fresh(n: usize) -> Vec<Record> {
    Generator::new(1).records(n)
}

/// Records by id.
#[must_use]
pub fn model(records: &[Record]) -> Model {
    records.iter().map(|record| (record.id, record.clone())).collect()
}

/// Different words of 3 to 10 letters, the same in every run.
fn words(count: usize) -> Vec<String> {
    let mut random = Rng::with_seed(0);
    let mut known = BTreeSet::new();
    let mut words = Vec::with_capacity(count);
    while words.len() < count {
        let length = random.usize(3..=10);
        let word: String = (0..length).map(|_| random.lowercase()).collect();
        if known.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}
