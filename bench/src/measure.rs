//! One measurement in a process of its own: what is measured lies between two marks that callgrind
//! knows by their name.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::data::{Id, Model};
use crate::plan::{self, Files, LOCAL, Part};
use crate::subject::Subject;

/// The name of the function that callgrind collects in, with its path.
pub const MEASURED_PART: &str = "sync_bench::measure::sync_bench_measured_part";

/// For how many bytes the allocator looks through what was given back, and does not ask the system.
const SETTLING_BYTES: usize = 100_000;
/// How often: that of glibc sorts 10,000 pieces each time.
const SETTLING_TURNS: usize = 200;

/// What a process says before its measured parts, and waits for a line then.
pub const BEGIN: &str = "begin";
/// What it says after them.
pub const END: &str = "end";

/// Whoever watches a process, and is asked before the measured parts and after them.
#[derive(Debug, Clone, Copy)]
pub enum Watcher {
    /// Nobody.
    None,
    /// Reads what this process prints, and answers each mark with a line.
    Parent,
}

impl Watcher {
    fn pass(self, mark: &str) -> Result<()> {
        let Self::Parent = self else { return Ok(()) };
        writeln!(io::stdout(), "{mark}")?;
        io::stdout().flush()?;
        ensure!(io::stdin().read_line(&mut String::new())? > 0, "nobody answers `{mark}`");
        Ok(())
    }
}

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
    watcher: Watcher,
) -> Result<Measured> {
    match workload.trim_end_matches("_100k") {
        "insert" => write::<S>(Part::inserts(n, count), files, watcher, false),
        "edit" => write::<S>(Part::edits(n, count), files, watcher, true),
        "remove" => write::<S>(Part::removes(n, count), files, watcher, false),
        "apply_edit" => apply::<S>(Part::edits(n, count), files, watcher, "edits"),
        "apply_add" => apply::<S>(Part::inserts(n, count), files, watcher, "inserts"),
        "apply_remove" => apply::<S>(Part::removes(n, count), files, watcher, "removes"),
        "load" => load::<S>(n, files, watcher),
        "snapshot" => snapshot::<S>(n, files, watcher, |document| Some(document.snapshot())),
        "snapshot_plain" => snapshot::<S>(n, files, watcher, S::snapshot_plain),
        "exchange_apply" => exchange::<S>(n, files, watcher),
        _ => bail!("`{workload}` is no workload that is measured in a process of its own"),
    }
}

fn write<S: Subject>(
    part: Part,
    files: &Files,
    watcher: Watcher,
    encode: bool,
) -> Result<Measured> {
    let mut document = loaded::<S>(&files.read("fresh")?, &part.before)?;
    document.write_and_encode(&part.operations[0]);
    let mut bytes = 0;
    watcher.pass(BEGIN)?;
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
    finish(&document, &part, 1, time, watcher)
}

fn apply<S: Subject>(
    part: Part,
    files: &Files,
    watcher: Watcher,
    deltas: &str,
) -> Result<Measured> {
    let deltas = files.read_deltas(deltas)?;
    let mut document = loaded::<S>(&files.read("fresh")?, &part.before)?;
    document.apply(&deltas[0]);
    watcher.pass(BEGIN)?;
    let time = measured(&mut || {
        for delta in &deltas[1..part.operations.len()] {
            document.apply(delta);
        }
    });
    finish(&document, &part, 1, time, watcher)
}

fn exchange<S: Subject>(n: usize, files: &Files, watcher: Watcher) -> Result<Measured> {
    let part = Part::offline(n);
    let message = files.read("exchange")?;
    let mut document = loaded::<S>(&files.read("aged")?, &part.before)?;
    watcher.pass(BEGIN)?;
    let time = measured(&mut || document.apply(&message));
    finish(&document, &part, 0, time, watcher)
}

fn load<S: Subject>(n: usize, files: &Files, watcher: Watcher) -> Result<Measured> {
    let snapshot = files.read("fresh")?;
    let model = Part::inserts(n, 0).before;
    let mut document = None;
    let mut bodies = 0;
    watcher.pass(BEGIN)?;
    let time = measured(&mut || {
        let loaded = S::load(&snapshot, LOCAL);
        loaded.read_all(&mut |record| bodies += black_box(record).body.len());
        document = Some(loaded);
    });
    watcher.pass(END)?;
    black_box(bodies);
    if let Some(document) = document {
        plan::check(&document, &model)?;
    }
    Ok(Measured { operations: n, time, ..Measured::default() })
}

fn snapshot<S: Subject>(
    n: usize,
    files: &Files,
    watcher: Watcher,
    encode: impl Fn(&mut S) -> Option<Vec<u8>>,
) -> Result<Measured> {
    let model = Part::inserts(n, 0).before;
    let mut document = loaded::<S>(&files.read("fresh")?, &model)?;
    let mut bytes = None;
    watcher.pass(BEGIN)?;
    let time = measured(&mut || bytes = encode(&mut document));
    watcher.pass(END)?;
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
    // The check gave back some hundred thousand pieces of memory. The allocator sorts some thousand of
    // them each time that it is asked for a large piece, which is no cost of what is measured.
    for _ in 0..SETTLING_TURNS {
        drop(black_box(Vec::<u8>::with_capacity(SETTLING_BYTES)));
    }
    Ok(document)
}

/// Reads what the operations touched, as a part of its own, and compares everything with the model.
fn finish<S: Subject>(
    document: &S,
    part: &Part,
    warm_up: usize,
    time: Duration,
    watcher: Watcher,
) -> Result<Measured> {
    let measured_operations = &part.operations[warm_up..];
    let ids: Vec<Id> = measured_operations.iter().map(crate::data::Operation::id).collect();
    let mut records = Vec::with_capacity(ids.len());
    let touched_time = measured(&mut || {
        for id in &ids {
            records.push(document.read(id));
        }
    });
    watcher.pass(END)?;
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
