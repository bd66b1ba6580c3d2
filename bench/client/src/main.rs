//! The native client beside plain SQLite, in one run: ratios of medians over interleaved rounds.

#![allow(clippy::disallowed_methods, reason = "what is measured is time")]

mod data;
mod memory;
mod ours;
mod plain;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use tempfile::TempDir;

use crate::data::{Record, Records};
use crate::ours::Writer;
use crate::plain::Plain;

/// How many threads write at the same time.
const THREADS: usize = 8;

#[derive(Parser)]
#[command(about = "The native client beside plain SQLite")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures everything, prints a table and writes a file.
    Client(Options),
    /// Works on a large file and says its peak of memory.
    #[command(hide = true)]
    Work { folder: PathBuf },
    /// Imports once, for a profiler.
    #[command(hide = true)]
    Import { n: usize, folder: PathBuf },
    /// Imports once into plain SQLite, for a profiler.
    #[command(hide = true)]
    ImportPlain { n: usize, folder: PathBuf },
    /// Writes one by one, for a profiler.
    #[command(hide = true)]
    Write { n: usize, folder: PathBuf },
    /// Writes from several threads, for a profiler.
    #[command(hide = true)]
    Together { n: usize, folder: PathBuf },
    /// Inserts in as many batches into plain SQLite, for a profiler.
    #[command(hide = true)]
    TogetherPlain { n: usize, folder: PathBuf },
}

#[derive(Args)]
struct Options {
    /// A tenth of the records, and fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Fails if a figure is over its bar.
    #[arg(long)]
    check: bool,
    /// Measures memory only, with a million records.
    #[arg(long)]
    memory: bool,
    /// Where `client.json` and the files in between go.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

/// One line of the table.
struct Figure {
    workload: &'static str,
    n: usize,
    unit: &'static str,
    ours: f64,
    floor: f64,
    /// How many times the floor it may be.
    bar: Option<f64>,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Client(options) => client(&options),
        Task::Work { folder } => memory::work(&folder),
        Task::Import { n, folder } => {
            let records: Vec<_> = Records::new(1).take(n).collect();
            println!("{:?}", ours::import(&folder, &records)?.on_disk);
            Ok(())
        }
        Task::ImportPlain { n, folder } => {
            let records: Vec<_> = Records::new(1).take(n).collect();
            println!("{:?}", Plain::open(&folder)?.import(&records)?);
            Ok(())
        }
        Task::Write { n, folder } => {
            let records: Vec<_> = Records::new(2).take(n).collect();
            let times = Writer::open(&folder)?.write_each(&records)?;
            println!("{} us", median(times));
            Ok(())
        }
        Task::Together { n, folder } => {
            let records: Vec<_> = Records::new(2).take(n).collect();
            println!("{:?}", Writer::open(&folder)?.write_together(&records, THREADS)?);
            Ok(())
        }
        Task::TogetherPlain { n, folder } => {
            let records: Vec<_> = Records::new(2).take(n).collect();
            println!("{:?}", import_in_batches(&Plain::open(&folder)?, &records)?);
            Ok(())
        }
    }
}

fn client(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.folder)?;
    let figures = if options.memory { memory_at(options, 1_000_000)? } else { all(options)? };
    report(&figures, options)
}

/// As many at once as threads write.
fn import_in_batches(plain: &Plain, records: &[Record]) -> Result<Duration> {
    records.chunks(THREADS).map(|batch| plain.import(batch)).sum()
}

fn memory_at(options: &Options, n: usize) -> Result<Vec<Figure>> {
    let peak = |n, is_settled| {
        let folder = TempDir::new_in(&options.folder)?;
        memory::make(folder.path(), n, is_settled)?;
        memory::measure(folder.path())
    };
    // The floor is a process with a thousand records.
    let floor = peak(1_000, true)?;
    let figure = |workload, n, ours, bar| Figure { workload, n, unit: "bytes", ours, floor, bar };
    // 200 MB is the bar, also of what no hub has.
    Ok(vec![
        figure("peak_memory", n, peak(n, true)?, Some(2e8 / floor)),
        figure("peak_unsent", n, peak(n, false)?, Some(2e8 / floor)),
    ])
}

fn all(options: &Options) -> Result<Vec<Figure>> {
    let (n, rounds, writes) = if options.quick { (10_000, 3, 20) } else { (100_000, 7, 50) };
    let records: Vec<Record> = Records::new(1).take(n).collect();
    let mut more = Records::new(2);
    let mut times = Times::default();
    for round in 0..rounds {
        eprintln!("bench: round {} of {rounds}", round + 1);
        let folder = TempDir::new_in(&options.folder)?;
        let path = folder.path();
        // Who comes first changes with each round.
        for is_ours in [round % 2 == 1, round % 2 == 0] {
            if is_ours {
                let took = ours::import(path, &records)?;
                times.ours("import", took.on_disk);
                times.ours("import_closed", took.closed);
            } else {
                let plain = Plain::open(path)?;
                let took = plain.import(&records)?;
                times.floor("import", took);
                times.floor("import_closed", took + plain.close()?);
            }
        }
        let one = &records[round * 7 % n];
        times.ours("open_unsent", ours::open_and_read(path, one)?);
        times.floor("open_unsent", plain::open_and_read(path)?);
        ours::forget_outbox(path)?;
        for _ in 0..3 {
            times.ours("open", ours::open_and_read(path, one)?);
            times.floor("open", plain::open_and_read(path)?);
        }
        let (plain, writer) = (Plain::open(path)?, Writer::open(path)?);
        for record in records.iter().skip(round).step_by(n / 100) {
            times.ours("read_one", writer.get(record)?);
            times.floor("read_one", plain.get(record)?);
        }
        for record in more.by_ref().take(writes).collect::<Vec<_>>() {
            let record = [record];
            times.floor("write_one", plain.import(&record)?);
            writer.write_each(&record)?.into_iter().for_each(|took| times.ours("write_one", took));
        }
        let together: Vec<Record> = more.by_ref().take(writes * THREADS).collect();
        times.ours("write_together", writer.write_together(&together, THREADS)?);
        times.floor("write_together", import_in_batches(&plain, &together)?);
    }
    let bars = [
        ("import", n, Some(1.5)),
        ("import_closed", n, None),
        ("write_one", 1, Some(1.3)),
        ("write_together", writes * THREADS, Some(1.5)),
        ("open", n, Some(2.0)),
        ("open_unsent", n, None),
        ("read_one", 1, None),
    ];
    let mut figures: Vec<_> =
        bars.into_iter().map(|(of, n, bar)| times.figure(of, n, bar)).collect();
    figures.push(offline_bytes(options)?);
    Ok(figures)
}

/// The bytes that wait for the hub after a thousand edits of ten records, beside those of the ten edits
/// that are left of them.
fn offline_bytes(options: &Options) -> Result<Figure> {
    let records: Vec<Record> = Records::new(3).take(10).collect();
    let mut texts = Records::new(4);
    let edits: Vec<_> = (0..1_000).map(|at| (&records[at % 10], texts.text(20))).collect();
    let mut bytes = Vec::new();
    for edits in [&edits[..], &edits[990..]] {
        let folder = TempDir::new_in(&options.folder)?;
        ours::import(folder.path(), &records)?;
        ours::forget_outbox(folder.path())?;
        bytes.push(Writer::open(folder.path())?.edit(edits)? as f64);
    }
    let (workload, n, unit, bar) = ("offline_edits", edits.len(), "bytes", None);
    Ok(Figure { workload, n, unit, ours: bytes[0], floor: bytes[1], bar })
}

/// What was measured, by workload: of this client and of the floor.
#[derive(Default)]
struct Times(std::collections::BTreeMap<&'static str, [Vec<Duration>; 2]>);

impl Times {
    fn ours(&mut self, workload: &'static str, took: Duration) {
        self.0.entry(workload).or_default()[0].push(took);
    }

    fn floor(&mut self, workload: &'static str, took: Duration) {
        self.0.entry(workload).or_default()[1].push(took);
    }

    fn figure(&mut self, workload: &'static str, n: usize, bar: Option<f64>) -> Figure {
        let [ours, floor] = self.0.remove(workload).unwrap_or_default().map(median);
        Figure { workload, n, unit: "microseconds", ours, floor, bar }
    }
}

/// In microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

fn report(figures: &[Figure], options: &Options) -> Result<()> {
    let mut over = Vec::new();
    let mut list = Vec::new();
    println!(
        "{:<16} {:>9} {:<12} {:>14} {:>14} {:>8} {:>8}",
        "workload", "n", "unit", "ours", "floor", "ratio", "bar"
    );
    for Figure { workload, n, unit, ours, floor, bar } in figures {
        let ratio = ours / floor;
        let bar_text = bar.map_or("-".to_owned(), |bar| format!("{bar:.2}"));
        println!(
            "{workload:<16} {n:>9} {unit:<12} {ours:>14.1} {floor:>14.1} {ratio:>8.2} {bar_text:>8}"
        );
        if bar.is_some_and(|bar| ratio > bar) {
            over.push(*workload);
        }
        list.push(json!({
            "workload": workload,
            "n": n,
            "unit": unit,
            "lower_is_better": true,
            "ours": ours,
            "peers": {},
            "floor": floor,
        }));
    }
    let name = if options.memory { "client-memory.json" } else { "client.json" };
    write(&options.folder.join(name), &serde_json::to_string_pretty(&list)?)?;
    if options.check && !over.is_empty() {
        bail!("over the bar: {}", over.join(", "));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(fs::write(path, format!("{text}\n"))?)
}
