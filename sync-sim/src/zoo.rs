//! The bug zoo: rules that are broken on purpose, each of which an invariant must catch, on a seed
//! that passes when nothing is broken.

use crate::sweep::{Sweep, run_seed, sweep};
use crate::{Invariant, Tally, Violation};

/// Rules of drivers that a run may break, by name, each with what it does.
pub const DRIVERS: &[(&str, &str)] = &[
    ("disk-confirms-early", "a device confirms a batch before it is on disk"),
    ("disk-tears-batches", "a crash leaves the first steps of a batch"),
    ("disk-forgets-freezing", "a crash takes the note that an item was frozen"),
    ("hub-acks-early", "a hub answers before its transaction ends"),
    ("network-reorders", "frames of one connection overtake each other"),
];

/// Rules whose breach harms only copies of databases: what they spoil counts.
const OF_COPIES: &[&str] = &["never-renews", "two-owners-of-one-replica", "two-contents-confirmed"];

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
    let broken = run_seed(seed, Some(name), false);
    let violation = broken.violation.or_else(|| spoiled(name, &broken.tally))?;
    let whole = run_seed(seed, None, false);
    let is_spoiled =
        violation.invariant == Invariant::NoLostWrite && spoiled(name, &whole.tally).is_some();
    (whole.violation.is_none() && !is_spoiled).then_some(violation)
}

/// What a mutant of the rules for copies lost, beside what copies lose anyway.
fn spoiled(name: &str, tally: &Tally) -> Option<Violation> {
    let is_spoiled = OF_COPIES.contains(&name) && tally.is_marred_by_copies();
    is_spoiled.then(|| Violation {
        invariant: Invariant::NoLostWrite,
        detail: format!(
            "copies: {} lost, {} apart",
            tally.lost_to_copies, tally.diverged_by_copies
        ),
    })
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
            failures_max: if OF_COPIES.contains(&name) { usize::MAX } else { 4 },
            is_strict: OF_COPIES.contains(&name),
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
