//! Runs the suites and sums what their runners report.
//!
//! The last line printed is `N passed, M failed`, with `, K skipped` where that is so, and the exit
//! status is 0 exactly where M is 0. What no runner can report is added to M: a runner that broke
//! off, a suite that ran nothing, and, in CI, whatever was skipped.

mod libtest;
mod node;
mod suite;
mod tally;

use std::env;
use std::process;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

pub(crate) use suite::Suite;
pub(crate) use tally::Tally;

use crate::process::clock;
use crate::setup::{self, Needs};
use crate::workspace::Workspace;

/// One line of the table.
struct Outcome {
    suite: Suite,
    tally: Tally,
    took: Duration,
}

/// Runs the suites given, or all of them, and exits with their status.
pub(crate) fn run(workspace: &Workspace, chosen: &[Suite]) -> Result<()> {
    let suites: Vec<Suite> = Suite::value_variants()
        .iter()
        .copied()
        .filter(|suite| chosen.is_empty() || chosen.contains(suite))
        .collect();
    let in_ci = env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    let needs = suites.iter().fold(Needs::default(), |needs, suite| needs.and(suite.needs(in_ci)));
    setup::run(workspace, needs)?;

    let mut outcomes = Vec::new();
    for suite in suites {
        println!("\n== {suite} ==");
        let start = clock();
        let reported = suite::run(workspace, suite).unwrap_or_else(|error| {
            println!("{suite}: {error:#}");
            Tally { failed: 1, ..Tally::default() }
        });
        let (tally, notes) = judge(reported, in_ci);
        for note in notes {
            println!("{suite}: {note}");
        }
        outcomes.push(Outcome { suite, tally, took: start.elapsed() });
    }
    let total = outcomes.iter().fold(Tally::default(), |total, outcome| total + outcome.tally);
    print_table(&outcomes);
    println!("{total}");
    process::exit(i32::from(total.failed > 0));
}

/// Counts as failed what the runner could not: a suite without tests, and skips in CI.
fn judge(reported: Tally, in_ci: bool) -> (Tally, Vec<String>) {
    let mut tally = reported;
    let mut notes = Vec::new();
    if tally.passed + tally.failed == 0 {
        tally.failed += 1;
        notes.push("no test ran; counted as a failure".to_owned());
    }
    if in_ci && tally.skipped > 0 {
        tally.failed += tally.skipped;
        notes.push(format!("{} skipped; counted as failures in CI", tally.skipped));
        tally.skipped = 0;
    }
    (tally, notes)
}

fn print_table(outcomes: &[Outcome]) {
    println!("\n{:<8} {:>7} {:>7} {:>7} {:>8}", "suite", "passed", "failed", "skipped", "seconds");
    for Outcome { suite, tally, took } in outcomes {
        println!(
            "{:<8} {:>7} {:>7} {:>7} {:>8.1}",
            suite.to_string(),
            tally.passed,
            tally.failed,
            tally.skipped,
            took.as_secs_f64()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, judge};

    #[test]
    fn a_suite_without_tests_fails() {
        let (tally, notes) = judge(Tally { skipped: 2, ..Tally::default() }, false);
        assert_eq!(tally, Tally { failed: 1, skipped: 2, passed: 0 });
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn skips_fail_in_ci_only() {
        let reported = Tally { passed: 3, failed: 0, skipped: 2 };
        assert_eq!(judge(reported, false).0, reported);
        assert_eq!(judge(reported, true).0, Tally { passed: 3, failed: 2, skipped: 0 });
    }
}
