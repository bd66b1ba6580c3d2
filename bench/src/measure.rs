//! One measurement in a process of its own: what is measured lies between two marks that callgrind
//! knows by their name.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::data::{Id, Model};
use crate::plan::{self, Files, LOCAL, Part};
use crate::subject::Subject;

/// The name of the function that callgrind collects in, with its path.
pub const MEASURED_PART: &str = "sync_bench::measure::sync_bench_measured_part";

/// What a process measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// How many operations, or records, the first part was about.
    pub operations: usize,
    /// How long the first part took.
    pub time: Duration,
    /// How many records were read in the second part.
    pub touched: usize,
    /// How long that took.
    pub touched_time: Duration,
}

/// Runs a measured part. Called through a pointer and never inlined, so that entering and leaving it
/// is seen in the machine code; what comes after the call keeps it from becoming a jump.
#[inline(never)]
fn sync_bench_measured_part(part: &mut dyn FnMut()) {
    part();
    black_box(());
}

#[inline(never)]
fn measured(part: &mut dyn FnMut()) -> Duration {
    let start = clock();
    sync_bench_measured_part(part);
    start.elapsed()
}

/// The clock of this crate.
#[allow(clippy::disallowed_methods, reason = "the one place of this driver that reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

/// Measures one workload, and checks the state after it.
pub fn measure<S: Subject>(
    workload: &str,
    n: usize,
    count: usize,
    files: &Files,
) -> Result<Measured> {
    match workload.trim_end_matches("_100k") {
        "insert" => write::<S>(Part::inserts(n, count), files, false),
        "edit" => write::<S>(Part::edits(n, count), files, true),
        "remove" => write::<S>(Part::removes(n, count), files, false),
        "apply_edit" => apply::<S>(Part::edits(n, count), files, "edits"),
        "apply_add" => apply::<S>(Part::inserts(n, count), files, "inserts"),
        "apply_remove" => apply::<S>(Part::removes(n, count), files, "removes"),
        "load" => load::<S>(n, files),
        "snapshot" => snapshot::<S>(n, files, |document| Some(document.snapshot())),
        "snapshot_plain" => snapshot::<S>(n, files, S::snapshot_plain),
        "exchange_apply" => exchange::<S>(n, files),
        _ => bail!("`{workload}` is no workload that is measured in a process of its own"),
    }
}

fn write<S: Subject>(part: Part, files: &Files, encode: bool) -> Result<Measured> {
    let mut document = loaded::<S>(&files.read("fresh")?, &part.before)?;
    document.write_and_encode(&part.operations[0]);
    let mut bytes = 0;
    let time = measured(&mut || {
        for operation in &part.operations[1..] {
            if encode {
                bytes += black_box(document.write_and_encode(operation)).len();
            } else {
                document.write(operation);
            }
        }
    });
    black_box(bytes);
    finish(&document, &part, 1, time)
}

fn apply<S: Subject>(part: Part, files: &Files, deltas: &str) -> Result<Measured> {
    let deltas = files.read_deltas(deltas)?;
    let mut document = loaded::<S>(&files.read("fresh")?, &part.before)?;
    document.apply(&deltas[0]);
    let time = measured(&mut || {
        for delta in &deltas[1..part.operations.len()] {
            document.apply(delta);
        }
    });
    finish(&document, &part, 1, time)
}

fn exchange<S: Subject>(n: usize, files: &Files) -> Result<Measured> {
    let part = Part::offline(n);
    let message = files.read("exchange")?;
    let mut document = loaded::<S>(&files.read("aged")?, &part.before)?;
    let time = measured(&mut || document.apply(&message));
    finish(&document, &part, 0, time)
}

fn load<S: Subject>(n: usize, files: &Files) -> Result<Measured> {
    let snapshot = files.read("fresh")?;
    let model = Part::inserts(n, 0).before;
    let mut document = None;
    let mut bodies = 0;
    let time = measured(&mut || {
        let loaded = S::load(&snapshot, LOCAL);
        loaded.read_all(&mut |record| bodies += black_box(record).body.len());
        document = Some(loaded);
    });
    black_box(bodies);
    if let Some(document) = document {
        plan::check(&document, &model)?;
    }
    Ok(Measured { operations: n, time, ..Measured::default() })
}

fn snapshot<S: Subject>(
    n: usize,
    files: &Files,
    encode: impl Fn(&mut S) -> Option<Vec<u8>>,
) -> Result<Measured> {
    let model = Part::inserts(n, 0).before;
    let mut document = loaded::<S>(&files.read("fresh")?, &model)?;
    let mut bytes = None;
    let time = measured(&mut || bytes = encode(&mut document));
    if bytes.is_none() {
        bail!("this subject makes no such snapshot");
    }
    plan::check(&document, &model)?;
    Ok(Measured { operations: n, time, ..Measured::default() })
}

/// A document that was loaded and read, so that nothing of loading is left for the measured part.
fn loaded<S: Subject>(snapshot: &[u8], model: &Model) -> Result<S> {
    let document = S::load(snapshot, LOCAL);
    plan::check(&document, model)?;
    Ok(document)
}

/// Reads what the operations touched, as a part of its own, and compares everything with the model.
fn finish<S: Subject>(
    document: &S,
    part: &Part,
    warm_up: usize,
    time: Duration,
) -> Result<Measured> {
    let measured_operations = &part.operations[warm_up..];
    let ids: Vec<Id> = measured_operations.iter().map(crate::data::Operation::id).collect();
    let mut records = Vec::with_capacity(ids.len());
    let touched_time = measured(&mut || {
        for id in &ids {
            records.push(document.read(id));
        }
    });
    let after = part.after();
    for (id, record) in ids.iter().zip(&records) {
        if after.get(id) != record.as_ref() {
            bail!("a record that was touched reads otherwise than in the model");
        }
    }
    plan::check(document, &after)?;
    let (operations, touched) = (measured_operations.len(), ids.len());
    Ok(Measured { operations, time, touched, touched_time })
}
