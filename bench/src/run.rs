//! The whole run: starts a process for each measurement and collects the figures.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::callgrind;
use crate::command::Name;
use crate::report;
use crate::workload::{LARGE, Method, OPERATIONS, OPERATIONS_OF_SLOW, SMALL, Unit, WORKLOADS};

/// How many processes measure at once while instructions are counted, which others do not disturb.
const WORKERS: usize = 2;

/// How the whole run is done.
#[derive(Debug, Args)]
pub struct Options {
    /// Leaves out the peers at N = 100,000 that take minutes, and some rounds.
    #[arg(long)]
    pub quick: bool,
    /// Fails if a figure of this core is over its bar.
    #[arg(long)]
    pub check: bool,
    /// Measures only one.
    #[arg(long)]
    pub only: Option<Name>,
    /// Where `core.json` and the files in between go.
    #[arg(long, default_value = "target/bench")]
    pub folder: PathBuf,
}

/// What a figure is of: a workload, its N and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The workload.
    pub workload: &'static str,
    /// How many records the document has.
    pub n: usize,
    /// Whether it is a time, and not what the table of workloads says.
    pub is_time: bool,
}

/// The figures of all.
pub type Figures = BTreeMap<Key, BTreeMap<Name, f64>>;

/// One process, or two for a heap, and what its output means.
#[derive(Debug, Clone, Copy)]
enum Job {
    Prepare(Name, usize),
    Instructions(Name, &'static str, usize),
    Churn(Name),
    Heap(Name),
}

/// Runs `sync-bench core`.
pub fn core(options: &Options) -> Result<()> {
    let run = Run::new(options)?;
    run.at_once(&run.prepares())?;
    run.at_once(&run.counts())?;
    run.rounds()?;
    let figures = run.figures.into_inner().unwrap_or_default();
    let over = report::write(&figures, &options.folder)?;
    if options.check && !over.is_empty() {
        bail!("over the bar: {}", over.join(", "));
    }
    Ok(())
}

struct Run<'a> {
    options: &'a Options,
    program: PathBuf,
    data: PathBuf,
    figures: Mutex<Figures>,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let program = env::current_exe().context("the path of this program")?;
        let data = options.folder.join("data");
        Ok(Self { options, program, data, figures: Mutex::default() })
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        Name::ALL.into_iter().filter(|name| self.options.only.is_none_or(|only| only == *name))
    }

    /// Whether a subject is measured at N = 100,000: what takes minutes is not part of a quick run.
    fn is_large(&self, name: Name) -> bool {
        !self.options.quick || !matches!(name, Name::Automerge | Name::Yrs)
    }

    fn prepares(&self) -> Vec<Job> {
        let large = self.names().filter(|name| self.is_large(*name));
        let large = large.map(|name| Job::Prepare(name, LARGE));
        large.chain(self.names().map(|name| Job::Prepare(name, SMALL))).collect()
    }

    /// What is counted: the longest first, so that no worker waits at the end.
    fn counts(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for name in self.names() {
            if self.is_large(name) {
                jobs.push(Job::Heap(name));
            }
            if !(self.options.quick && name == Name::Automerge) {
                jobs.push(Job::Churn(name));
            }
            for workload in WORKLOADS {
                let is_counted = workload.method == Method::Callgrind
                    && workload.name != "read_touched"
                    && has(name, workload.name)
                    && (workload.n == SMALL || self.is_large(name));
                if is_counted {
                    jobs.push(Job::Instructions(name, workload.name, workload.n));
                }
            }
        }
        jobs.sort_by_key(|job| match job {
            Job::Instructions(name, _, n) => (std::cmp::Reverse(*n), *name != Name::Automerge),
            Job::Prepare(..) | Job::Churn(_) | Job::Heap(_) => (std::cmp::Reverse(LARGE), false),
        });
        jobs
    }

    /// Does jobs, a few at once. The first error ends the run after the jobs that are under way.
    fn at_once(&self, jobs: &[Job]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        eprintln!("bench: {job:?}");
                        if let Err(error) = self.do_job(*job) {
                            let error = error.context(format!("{job:?}"));
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(error);
                            }
                            next.store(jobs.len(), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        failed.into_inner().ok().flatten().map_or(Ok(()), Err)
    }

    fn do_job(&self, job: Job) -> Result<()> {
        match job {
            Job::Prepare(name, n) => {
                let data = self.data.display().to_string();
                self.take_sizes(
                    name,
                    &self.program,
                    &["prepare", name.as_str(), &n.to_string(), &data],
                )
            }
            Job::Churn(name) => self.take_sizes(name, &self.program, &["churn", name.as_str()]),
            Job::Heap(name) => {
                let program = self.program.with_file_name("sync-bench-heap");
                let data = self.data.display().to_string();
                self.take_sizes(name, &program, &["heap", name.as_str(), &data])
            }
            Job::Instructions(name, workload, n) => self.count(name, workload, n),
        }
    }

    /// Runs a process that prints figures of the table by their names.
    fn take_sizes(&self, name: Name, program: &Path, arguments: &[&str]) -> Result<()> {
        for (size, value) in run(program, arguments)? {
            let workload = WORKLOADS.iter().find(|workload| workload.name == size);
            let workload = workload.with_context(|| format!("`{size}` is no workload"))?;
            self.put(Key { workload: workload.name, n: workload.n, is_time: false }, name, value);
        }
        Ok(())
    }

    fn count(&self, name: Name, workload: &'static str, n: usize) -> Result<()> {
        let operations = operations_of(name, workload, n);
        let arguments = self.measure_arguments(name, workload, n, operations);
        let label = format!("{}-{workload}-{n}", name.as_str());
        let parts = callgrind::run(&self.program, &arguments, &self.data, &label)?;
        let per = |count: u64, of: usize| count as f64 / of.max(1) as f64;
        let key = Key { workload, n, is_time: false };
        self.put(key, name, per(parts[0], operations));
        if let Some(read) = parts.get(1) {
            // The dearest of those that wrote: each might have put off something else.
            let read = per(*read, operations);
            let key = Key { workload: "read_touched", n: SMALL, is_time: false };
            let mut figures =
                self.figures.lock().expect("no thread panics while it holds the lock");
            let dearest = figures.entry(key).or_default().entry(name).or_default();
            *dearest = dearest.max(read);
        }
        Ok(())
    }

    fn measure_arguments(&self, name: Name, workload: &str, n: usize, count: usize) -> Vec<String> {
        let data = self.data.display().to_string();
        let (n, count) = (n.to_string(), count.to_string());
        ["measure", name.as_str(), workload, &n, &data, "--count", &count].map(String::from).into()
    }

    /// Times everything that is counted, in rounds over all subjects, and takes the medians.
    fn rounds(&self) -> Result<()> {
        let rounds = if self.options.quick { 3 } else { 5 };
        let mut times: BTreeMap<(Key, Name), Vec<f64>> = BTreeMap::new();
        for round in 1..=rounds {
            eprintln!("bench: times, round {round} of {rounds}");
            for workload in WORKLOADS {
                if workload.method != Method::Callgrind || workload.name == "read_touched" {
                    continue;
                }
                for name in self.names().filter(|name| has(*name, workload.name)) {
                    if workload.n != SMALL && !self.is_large(name) {
                        continue;
                    }
                    let operations = operations_of(name, workload.name, workload.n);
                    let arguments =
                        self.measure_arguments(name, workload.name, workload.n, operations);
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    let measured: BTreeMap<_, _> =
                        run(&self.program, &arguments)?.into_iter().collect();
                    let key = Key { workload: workload.name, n: workload.n, is_time: true };
                    let time = measured["nanoseconds"] / measured["operations"].max(1.0);
                    times.entry((key, name)).or_default().push(time);
                }
            }
        }
        for ((key, name), mut rounds) in times {
            rounds.sort_by(f64::total_cmp);
            self.put(key, name, rounds[rounds.len() / 2]);
        }
        Ok(())
    }

    fn put(&self, key: Key, name: Name, value: f64) {
        let mut figures = self.figures.lock().expect("no thread panics while it holds the lock");
        figures.entry(key).or_default().insert(name, value);
    }
}

impl Key {
    /// What the figure counts.
    #[must_use]
    pub fn unit(&self) -> Unit {
        let workload = WORKLOADS.iter().find(|workload| workload.name == self.workload);
        match workload {
            Some(workload) if !self.is_time => workload.unit,
            Some(_) | None => Unit::Nanoseconds,
        }
    }
}

/// Whether a subject has such a workload: Yrs and Loro make one kind of snapshot.
fn has(name: Name, workload: &str) -> bool {
    workload != "snapshot_plain" || !matches!(name, Name::Yrs | Name::Loro)
}

/// By how many operations, or records, a figure is divided.
fn operations_of(name: Name, workload: &str, n: usize) -> usize {
    match workload {
        "load" | "snapshot" | "snapshot_plain" => n,
        "exchange_apply" => 1_000,
        "remove" | "apply_remove" | "apply_remove_100k" if name == Name::Yrs => OPERATIONS_OF_SLOW,
        _ if name == Name::Automerge => OPERATIONS_OF_SLOW,
        _ => OPERATIONS,
    }
}

/// Runs a process that prints lines of a name and a number.
fn run(program: &Path, arguments: &[&str]) -> Result<Vec<(String, f64)>> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", arguments.join(" "), output.status);
    }
    let printed = String::from_utf8(output.stdout)?;
    let lines = printed.lines().map(|line| {
        let (name, value) = line.split_once(' ').context("a line without a number")?;
        Ok((name.to_owned(), value.parse()?))
    });
    lines.collect()
}
