//! Runs the simulator in release mode: many seeds of everything at once, or one again.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process;
use crate::test::Tally;
use crate::workspace::Workspace;

/// How many seeds the ordinary test run has.
const SEEDS_OF_SUITE: u64 = 500;

/// Which runs, and what to print of them.
#[derive(Args, Default)]
pub(crate) struct Choice {
    /// How many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; the only one where their number is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints how often each fault and each way of recovery was reached.
    #[arg(long)]
    marks: bool,
    /// Prints every event of one run.
    #[arg(long)]
    trace: bool,
    /// Breaks a rule on purpose, by name: the run should fail.
    #[arg(long)]
    mutant: Option<String>,
    /// How many failures end the run.
    #[arg(long)]
    failures: Option<u64>,
}

/// Runs `cargo xtask sim`.
pub(crate) fn run(workspace: &Workspace, choice: &Choice) -> Result<()> {
    let status = command(workspace, choice).status().context("cannot start the simulator")?;
    if !status.success() {
        bail!("the simulator found something");
    }
    Ok(())
}

/// Which rules to break.
#[derive(Args, Default)]
pub(crate) struct Zoo {
    /// Within how many seeds a broken rule must be noticed; 20,000 where not given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The name of one rule; all of them where not given.
    #[arg(long)]
    mutant: Option<String>,
    /// Tries only the seeds that are kept.
    #[arg(long)]
    kept: bool,
}

/// Runs `cargo xtask zoo`.
pub(crate) fn zoo(workspace: &Workspace, zoo: &Zoo) -> Result<()> {
    if !zoo_command(workspace, zoo).status().context("cannot start the simulator")?.success() {
        bail!("the simulator did not notice everything");
    }
    Ok(())
}

fn zoo_command(workspace: &Workspace, zoo: &Zoo) -> Command {
    let mut command = process::cargo(&workspace.root);
    command.args(["run", "--quiet", "--release", "--package=sync-sim", "--features=zoo", "--"]);
    command.arg(if zoo.kept { "--zoo-kept" } else { "--zoo" });
    if let Some(seeds) = zoo.seeds {
        command.args(["--seeds".to_owned(), seeds.to_string()]);
    }
    if let Some(mutant) = &zoo.mutant {
        command.args(["--mutant", mutant]);
    }
    command
}

/// Runs the seeds of the ordinary test run, and those that catch a broken rule. Each is counted as one
/// test.
pub(crate) fn suite(workspace: &Workspace) -> Result<Tally> {
    let choice = Choice { seeds: Some(SEEDS_OF_SUITE), marks: true, ..Choice::default() };
    let zoo = Zoo { kept: true, ..Zoo::default() };
    let seeds = count(command(workspace, &choice))?;
    let mutants = count(zoo_command(workspace, &zoo))?;
    Ok(seeds + mutants)
}

/// Runs the simulator, and counts what it says.
fn count(mut command: Command) -> Result<Tally> {
    process::announce(&command);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("standard output is a pipe")?;
    let (mut runs, mut failed) = (0, 0);
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        runs = parse(&line).unwrap_or(runs);
        failed += usize::from(line.starts_with("FAILED"));
    }
    if !child.wait()?.success() {
        failed = failed.max(1);
    }
    Ok(Tally { passed: runs.saturating_sub(failed), failed, skipped: 0 })
}

/// Reads `500 runs in …` or `40 mutants, …`.
fn parse(line: &str) -> Option<usize> {
    let (count, _) = line.split_once(" runs in ").or_else(|| line.split_once(" mutants, "))?;
    count.parse().ok()
}

fn command(workspace: &Workspace, choice: &Choice) -> Command {
    let mut command = process::cargo(&workspace.root);
    command.args(["run", "--quiet", "--release", "--package=sync-sim", "--"]);
    let numbers =
        [("--seeds", choice.seeds), ("--seed", choice.seed), ("--failures", choice.failures)];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.args([name.to_owned(), number.to_string()]);
        }
    }
    let flags = [("--marks", choice.marks), ("--trace", choice.trace)];
    command.args(flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name));
    if let Some(mutant) = &choice.mutant {
        command.args(["--mutant", mutant]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_number_of_runs_is_read() {
        assert_eq!(parse("500 runs in 3.1 s: 161 a second on 2 threads"), Some(500));
        assert_eq!(parse("40 mutants, up to 0 seeds each"), Some(40));
        assert_eq!(parse("seeds 0 to 499"), None);
    }
}
