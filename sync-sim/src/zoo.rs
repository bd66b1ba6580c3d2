//! The bug zoo: rules that are broken on purpose, each of which an invariant must catch, on a seed
//! that passes when nothing is broken.

use crate::Violation;
use crate::sweep::{Sweep, run_seed, sweep};

/// Rules of drivers that a run may break, by name, each with what it does.
pub const DRIVERS: &[(&str, &str)] = &[
    ("disk-confirms-early", "a device confirms a batch before it is on disk"),
    ("disk-tears-batches", "a crash leaves the first steps of a batch"),
    ("disk-forgets-freezing", "a crash takes the note that an item was frozen"),
    ("hub-acks-early", "a hub answers before its transaction ends"),
    ("network-reorders", "frames of one connection overtake each other"),
];

/// The names of all rules that can be broken.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let drivers = DRIVERS.iter().map(|(name, _)| *name);
    #[cfg(feature = "zoo")]
    let core = sync_core::zoo::Mutant::ALL.iter().map(|mutant| mutant.name());
    #[cfg(not(feature = "zoo"))]
    let core = [];
    drivers.chain(core).collect()
}

/// Breaks a rule of the core on this thread, where the name is one of them.
pub(crate) fn break_core(name: Option<&str>) {
    #[cfg(feature = "zoo")]
    {
        let all = sync_core::zoo::Mutant::ALL.iter().copied();
        sync_core::zoo::set(all.into_iter().find(|mutant| Some(mutant.name()) == name));
    }
    #[cfg(not(feature = "zoo"))]
    let _ = name;
}

/// What became of a mutant.
#[derive(Debug, Clone)]
pub enum Found {
    /// This seed catches it, and passes without it.
    Caught(u64, Violation),
    /// So many seeds did not.
    Survived(u64),
}

/// Whether a seed catches a mutant and passes without it.
#[must_use]
pub fn catches(name: &str, seed: u64) -> Option<Violation> {
    let violation = run_seed(seed, Some(name), false).violation?;
    run_seed(seed, None, false).violation.is_none().then_some(violation)
}

/// Looks for a seed that catches a mutant: the kept one first, then all below a bound.
#[must_use]
pub fn hunt(name: &str, kept: Option<u64>, seeds_max: u64, threads: usize) -> Found {
    if let Some(violation) = kept.and_then(|seed| catches(name, seed)) {
        return Found::Caught(kept.unwrap_or(0), violation);
    }
    let mut first = 0;
    while first < seeds_max {
        let last = (first + 250).min(seeds_max);
        let found = sweep(&Sweep {
            seeds: (first..last).collect(),
            threads,
            mutant: Some(name.to_owned()),
            failures_max: 4,
            on_failure: None,
            on_progress: None,
        });
        for (seed, _) in found.failures {
            if let Some(violation) = catches(name, seed) {
                return Found::Caught(seed, violation);
            }
        }
        first = last;
    }
    Found::Survived(seeds_max)
}

/// Reads the seeds kept for mutants: on each line a name and a seed.
#[must_use]
pub fn kept(text: &str) -> Vec<(String, u64)> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    pairs.collect()
}
