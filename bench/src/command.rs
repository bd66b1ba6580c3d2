//! The command line: the whole run, and the single measurements that it starts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::measure::{Measured, Watcher, measure};
use crate::plan::{self, Files, LOCAL};
use crate::subject::Subject;
use crate::workload::{LARGE, OPERATIONS};
use crate::{automerge, floor, loro, ours, run, yrs};

/// Tells how many bytes are allocated, where the allocator counts them.
pub type LiveBytes = fn() -> usize;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Name {
    /// This core.
    Ours,
    /// Automerge.
    Automerge,
    /// Yrs.
    Yrs,
    /// Loro.
    Loro,
    /// What the same costs if nothing has to be merged.
    Floor,
}

impl Name {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Ours, Self::Automerge, Self::Yrs, Self::Loro, Self::Floor];

    /// The name on the command line and in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Automerge => "automerge",
            Self::Yrs => "yrs",
            Self::Loro => "loro",
            Self::Floor => "floor",
        }
    }
}

#[derive(Parser)]
#[command(about = "The same record workload on this core, its peers and a floor")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures everything, prints a table and writes a file.
    Core(run::Options),
    /// Makes the files that measurements start from, and prints the sizes seen on the way.
    Prepare { name: Name, n: usize, data: PathBuf },
    /// Measures one workload.
    Measure {
        name: Name,
        workload: String,
        n: usize,
        data: PathBuf,
        #[arg(long, default_value_t = OPERATIONS)]
        count: usize,
        /// Says when the measured parts begin and end, and waits for a line each time.
        #[arg(long)]
        watched: bool,
    },
    /// Measures what records leave behind that were added and removed.
    Churn { name: Name },
    /// Measures the heap of a large document that was loaded and read.
    Heap { name: Name, data: PathBuf },
}

/// Runs what the command line asks for.
#[must_use]
pub fn main(live_bytes: Option<LiveBytes>) -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Core(options) => run::core(&options),
        Task::Prepare { name, n, data } => {
            let files = Files::new(&data, name.as_str(), n);
            let sizes = match name {
                Name::Ours => plan::prepare::<ours::Ours>(&files, n),
                Name::Automerge => plan::prepare::<automerge::Automerge>(&files, n),
                Name::Yrs => plan::prepare::<yrs::Yrs>(&files, n),
                Name::Loro => plan::prepare::<loro::Loro>(&files, n),
                Name::Floor => plan::prepare::<floor::Floor>(&files, n),
            };
            sizes.map(|sizes| {
                for (size, value) in sizes {
                    println!("{size} {value}");
                }
            })
        }
        Task::Measure { name, workload, n, data, count, watched } => {
            let watcher = if watched { Watcher::Parent } else { Watcher::None };
            let files = Files::new(&data, name.as_str(), n);
            let measured = match name {
                Name::Ours => measure::<ours::Ours>(&workload, n, count, &files, watcher),
                Name::Automerge => {
                    measure::<automerge::Automerge>(&workload, n, count, &files, watcher)
                }
                Name::Yrs => measure::<yrs::Yrs>(&workload, n, count, &files, watcher),
                Name::Loro => measure::<loro::Loro>(&workload, n, count, &files, watcher),
                Name::Floor => measure::<floor::Floor>(&workload, n, count, &files, watcher),
            };
            measured.map(|measured| print(&measured))
        }
        Task::Churn { name } => {
            churn(name).map(|bytes| println!("churn_bytes_per_removed {bytes}"))
        }
        Task::Heap { name, data } => {
            heap(name, &data, live_bytes).map(|bytes| println!("heap_bytes_per_record {bytes}"))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(measured: &Measured) {
    println!("operations {}", measured.operations);
    println!("nanoseconds {}", measured.time.as_nanos());
    println!("touched {}", measured.touched);
    println!("touched_nanoseconds {}", measured.touched_time.as_nanos());
}

fn churn(name: Name) -> Result<f64> {
    match name {
        Name::Ours => plan::churn::<ours::Ours>(),
        Name::Automerge => plan::churn::<automerge::Automerge>(),
        Name::Yrs => plan::churn::<yrs::Yrs>(),
        Name::Loro => plan::churn::<loro::Loro>(),
        Name::Floor => plan::churn::<floor::Floor>(),
    }
}

fn heap(name: Name, data: &std::path::Path, live_bytes: Option<LiveBytes>) -> Result<f64> {
    let live_bytes = live_bytes.context("only `sync-bench-heap` counts what is allocated")?;
    let fresh = Files::new(data, name.as_str(), LARGE).read("fresh")?;
    Ok(match name {
        Name::Ours => heap_of::<ours::Ours>(&fresh, live_bytes),
        Name::Automerge => heap_of::<automerge::Automerge>(&fresh, live_bytes),
        Name::Yrs => heap_of::<yrs::Yrs>(&fresh, live_bytes),
        Name::Loro => heap_of::<loro::Loro>(&fresh, live_bytes),
        Name::Floor => heap_of::<floor::Floor>(&fresh, live_bytes),
    })
}

/// What a document holds after every record was read and let go: live bytes as they were asked for,
/// without the allocator's own, and without the snapshot that it was loaded from.
fn heap_of<S: Subject>(fresh: &[u8], live_bytes: LiveBytes) -> f64 {
    let before = live_bytes();
    let document = S::load(fresh, LOCAL);
    let mut records = 0usize;
    document.read_all(&mut |_| records += 1);
    let after = live_bytes();
    drop(document);
    after.saturating_sub(before) as f64 / records.max(1) as f64
}
