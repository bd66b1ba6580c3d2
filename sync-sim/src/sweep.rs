//! Many seeds over all cores, and the seeds that once failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::{Invariant, Marks, Notes, Random, Report, Scenario, Tally, Trace, Violation, run};

/// How many runs a sweep must have before all marks must have been reached.
pub const MARKS_AFTER_RUNS: u64 = 500;

/// After how many runs a sweep tells how far it is.
const PROGRESS_RUNS: u64 = 5_000;

/// What a sweep is.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// The seeds, in order.
    pub seeds: Vec<u64>,
    /// How many threads.
    pub threads: usize,
    /// A rule of the driver to break.
    pub mutant: Option<String>,
    /// How many failures end it.
    pub failures_max: usize,
    /// What is told of each failure as it happens.
    pub on_failure: Option<fn(u64, &Violation)>,
    /// What is told every so many runs.
    pub on_progress: Option<fn(&Summary)>,
}

/// What a sweep came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// The first failures by seed.
    pub failures: Vec<(u64, Violation)>,
    /// What was reached.
    pub marks: Marks,
    /// The sums.
    pub tally: Tally,
}

/// Runs one seed of this project's own workload.
#[must_use]
pub fn run_seed(seed: u64, mutant: Option<&str>, is_traced: bool) -> Report {
    let scenario =
        Scenario { mutant: mutant.map(str::to_owned), is_traced, ..Scenario::swarm(seed) };
    crate::zoo::break_core(mutant);
    let mut notes = Notes::draw(&mut Random::new(seed).stream(9));
    let ended = catch_unwind(AssertUnwindSafe(|| run(scenario, &mut notes)));
    crate::zoo::break_core(None);
    ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let detail = text.unwrap_or_default();
        let violation = Some(Violation { invariant: Invariant::NoPanic, detail });
        let (marks, tally, trace) = (Marks::default(), Tally::default(), Trace::default());
        Report { seed, violation, marks, tally, trace }
    })
}

/// Runs all seeds of a sweep.
#[must_use]
pub fn sweep(sweep: &Sweep) -> Summary {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = sweep.seeds.get(at as usize) else { return };
            let report = run_seed(*seed, sweep.mutant.as_deref(), false);
            let Ok(mut summary) = summary.lock() else { return };
            let before = summary.failures.len();
            summary.take(report);
            if let (Some(tell), Some((seed, violation))) =
                (sweep.on_failure, summary.failures.get(before))
            {
                tell(*seed, violation);
            }
            if let Some(tell) = sweep.on_progress.filter(|_| summary.runs % PROGRESS_RUNS == 0) {
                tell(&summary);
            }
            if summary.failures.len() >= sweep.failures_max {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_default();
    summary.failures.sort_by_key(|(seed, _)| *seed);
    summary
}

impl Summary {
    fn take(&mut self, report: Report) {
        self.runs += 1;
        self.marks.add(&report.marks);
        self.tally.add(&report.tally);
        if let Some(violation) = report.violation {
            self.failures.push((report.seed, violation));
        }
    }
}

/// Reads the seeds that once failed: on each line a seed, then what it found.
#[must_use]
pub fn kept_seeds(text: &str) -> Vec<u64> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}
