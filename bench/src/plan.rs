//! What is measured: the kinds of measured parts, and the files that they start from.
//!
//! Everything that does not belong to a measured part is done before, in an ordinary process, and
//! kept in files: the snapshots, the deltas of another replica, the message of an exchange.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::data::{self, Generator, Model, Operation};
use crate::subject::Subject;
use crate::workload::{CHURN_ROUNDS, LARGE, OPERATIONS, SMALL};

/// The replica that made the document.
pub const AUTHOR: u32 = 1;

/// The replica whose deltas are applied.
pub const REMOTE: u32 = 2;

/// The replica that is measured.
pub const LOCAL: u32 = 3;

/// The files of one subject at one N.
#[derive(Debug, Clone)]
pub struct Files(PathBuf);

impl Files {
    /// The files below a folder.
    pub fn new(folder: &Path, subject: &str, n: usize) -> Self {
        Self(folder.join(format!("{subject}-{n}")))
    }

    /// Reads one.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.0.join(name);
        fs::read(&path).with_context(|| path.display().to_string())
    }

    /// Reads a list of deltas.
    pub fn read_deltas(&self, name: &str) -> Result<Vec<Vec<u8>>> {
        let deltas: Deltas = rmp_serde::from_slice(&self.read(name)?)?;
        Ok(deltas.0.into_iter().map(serde_bytes::ByteBuf::into_vec).collect())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::write(self.0.join(name), bytes)?;
        Ok(())
    }

    fn write_deltas(&self, name: &str, deltas: Vec<Vec<u8>>) -> Result<()> {
        let deltas = deltas.into_iter().map(serde_bytes::ByteBuf::from).collect();
        self.write(name, &rmp_serde::to_vec(&Deltas(deltas))?)
    }
}

#[derive(Serialize, Deserialize)]
struct Deltas(Vec<serde_bytes::ByteBuf>);

/// The operations of a measured part, and the model before them.
pub struct Part {
    /// What the document holds before.
    pub before: Model,
    /// What is done: one to warm up, and then as many as asked for. Libraries that load lazily take
    /// the whole document in at the first write, which is no cost of an operation.
    pub operations: Vec<Operation>,
}

impl Part {
    /// Edits of one field, on a fresh document.
    #[must_use]
    pub fn edits(n: usize, count: usize) -> Self {
        let before = data::model(&data::fresh(n));
        let operations = truncated(Generator::new(3).edits(&before, 1 + OPERATIONS), count);
        Self { before, operations }
    }

    /// Records that are added to a fresh document.
    #[must_use]
    pub fn inserts(n: usize, count: usize) -> Self {
        let before = data::model(&data::fresh(n));
        let operations = truncated(Generator::new(4).inserts(1 + OPERATIONS), count);
        Self { before, operations }
    }

    /// Records that are removed from a fresh document.
    #[must_use]
    pub fn removes(n: usize, count: usize) -> Self {
        let before = data::model(&data::fresh(n));
        let operations = truncated(Generator::new(5).removes(&before, 1 + OPERATIONS), count);
        Self { before, operations }
    }

    /// What a replica did offline, on an aged document.
    #[must_use]
    pub fn offline(n: usize) -> Self {
        let mut before = data::model(&data::fresh(n));
        for operation in ageing(n) {
            data::perform(&mut before, &operation);
        }
        let operations = Generator::new(6).offline(&before);
        Self { before, operations }
    }

    /// What the document holds after.
    #[must_use]
    pub fn after(&self) -> Model {
        let mut model = self.before.clone();
        for operation in &self.operations {
            data::perform(&mut model, operation);
        }
        model
    }
}

fn truncated(mut operations: Vec<Operation>, count: usize) -> Vec<Operation> {
    operations.truncate(1 + count);
    operations
}

fn ageing(n: usize) -> Vec<Operation> {
    Generator::new(2).ageing(&data::model(&data::fresh(n)))
}

/// Compares a document with the model.
pub fn check<S: Subject>(subject: &S, model: &Model) -> Result<()> {
    let mut records = Model::new();
    subject.read_all(&mut |record| {
        records.insert(record.id, record);
    });
    ensure!(records.len() == model.len(), "{} records, not {}", records.len(), model.len());
    ensure!(records == *model, "a record is not as in the model");
    Ok(())
}

/// Makes the files of a subject at one N, and returns the sizes that are seen on the way.
pub fn prepare<S: Subject>(files: &Files, n: usize) -> Result<BTreeMap<String, f64>> {
    let mut sizes = BTreeMap::new();
    let mut document = S::new(AUTHOR);
    for record in data::fresh(n) {
        document.write(&Operation::Insert(record));
    }
    let fresh = document.snapshot();
    files.write("fresh", &fresh)?;
    drop(document);

    for (name, part) in [
        ("edits", Part::edits(n, OPERATIONS)),
        ("inserts", Part::inserts(n, OPERATIONS)),
        ("removes", Part::removes(n, OPERATIONS)),
    ] {
        let mut remote = S::load(&fresh, REMOTE);
        let deltas = part.operations.iter().map(|operation| remote.write_and_encode(operation));
        files.write_deltas(name, deltas.collect())?;
        check(&remote, &part.after())?;
    }

    let mut ageing_author = S::load(&fresh, AUTHOR + 10);
    for operation in ageing(n) {
        ageing_author.write(&operation);
    }
    let aged = ageing_author.snapshot();
    files.write("aged", &aged)?;
    drop(ageing_author);

    let part = Part::offline(n);
    let mut remote = S::load(&aged, REMOTE);
    let summary = S::load(&aged, LOCAL).summary();
    check(&remote, &part.before)?;
    for operation in &part.operations {
        remote.write_and_encode(operation);
    }
    check(&remote, &part.after())?;
    let message = remote.exchange(&aged, &summary, &part.operations);
    files.write("exchange", &message)?;

    if n == SMALL {
        sizes.insert("snapshot_bytes".to_owned(), fresh.len() as f64);
        sizes.insert("snapshot_bytes_aged".to_owned(), aged.len() as f64);
        sizes.extend(delta_sizes::<S>(&fresh));
    }
    if n == LARGE {
        sizes.insert("exchange_bytes".to_owned(), message.len() as f64);
    }
    Ok(sizes)
}

/// The bytes of the deltas of a session that goes on: for each kind the median, and their sum.
fn delta_sizes<S: Subject>(fresh: &[u8]) -> BTreeMap<String, f64> {
    let model = data::model(&data::fresh(SMALL));
    let mut generator = Generator::new(7);
    let mut taken = std::collections::BTreeSet::new();
    let mut session = S::load(fresh, LOCAL);
    let mut lengths = vec![Vec::new(); 5];
    for _ in 0..OPERATIONS {
        let ids = generator.pick(&model, &mut taken, 4);
        let operations = [
            generator.toggle(&model, ids[0]),
            generator.retitle(ids[1]),
            generator.rewrite(ids[2]),
            Operation::Insert(generator.record()),
            Operation::Remove(ids[3]),
        ];
        for (kind, operation) in operations.iter().enumerate() {
            lengths[kind].push(session.write_and_encode(operation).len());
        }
    }
    let medians = lengths.into_iter().map(|mut lengths| {
        lengths.sort_unstable();
        lengths[lengths.len() / 2] as f64
    });
    let medians: Vec<_> = medians.collect();
    BTreeMap::from([
        ("toggle_delta_bytes".to_owned(), medians[0]),
        ("delta_bytes_sum".to_owned(), medians.iter().sum()),
    ])
}

/// Inserts and removes again and again, and returns what the snapshot then has for each removal.
pub fn churn<S: Subject>() -> Result<f64> {
    let mut document = S::new(AUTHOR);
    let mut generator = Generator::new(8);
    for _ in 0..CHURN_ROUNDS {
        let records = generator.records(SMALL);
        for record in &records {
            document.write(&Operation::Insert(record.clone()));
        }
        for record in &records {
            document.write(&Operation::Remove(record.id));
        }
    }
    check(&document, &Model::new())?;
    Ok(document.snapshot().len() as f64 / (CHURN_ROUNDS * SMALL) as f64)
}
