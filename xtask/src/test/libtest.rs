//! Runs `cargo test` and reads the sums that each test binary prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result};

use super::Tally;
use crate::process;
use crate::workspace::Workspace;

/// Runs the tests of some crates.
pub(super) fn run(workspace: &Workspace, crates: &[&str]) -> Result<Tally> {
    let mut command = process::cargo(&workspace.root);
    command.args(["test", "--no-fail-fast"]);
    for name in crates {
        command.args(["--package", name]);
    }
    process::announce(&command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("standard output is a pipe")?;
    let stderr = child.stderr.take().context("standard error is a pipe")?;
    // Two pipes need two readers, or the one that is not read fills up and everything stands.
    let starts = thread::spawn(move || {
        let mut starts = 0;
        forward(stderr, std::io::stderr(), |line| starts += usize::from(is_start(line)));
        starts
    });
    let mut tally = Tally::default();
    let mut reports = 0;
    forward(stdout, std::io::stdout(), |line| {
        if let Some(part) = parse(line) {
            tally = tally + part;
            reports += 1;
        }
    });
    let status = child.wait()?;
    let starts = starts.join().unwrap_or_default();
    if !status.success() {
        tally = tally.with_broken_runners(starts, reports);
    }
    Ok(tally)
}

impl Tally {
    /// Adds one failure for each runner that started and never reported, and at least one in all:
    /// the command failed.
    fn with_broken_runners(mut self, starts: usize, reports: usize) -> Tally {
        self.failed = (self.failed + starts.saturating_sub(reports)).max(1);
        self
    }
}

/// Copies lines as they come and shows each to `see`.
fn forward(from: impl Read, mut to: impl Write, mut see: impl FnMut(&str)) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    // A test may print what is no UTF-8, so lines are bytes.
    while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        see(String::from_utf8_lossy(&line).trim_end());
        // Nobody to print to is no reason to stop the tests.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.clear();
    }
}

/// Whether cargo says here that it starts a test binary.
fn is_start(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Running ") || line.starts_with("Doc-tests ")
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn parse(line: &str) -> Option<Tally> {
    let sums = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |label: &str| -> Option<usize> {
        sums.split(';').find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok())
    };
    Some(Tally {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Tally, is_start, parse};

    #[test]
    fn sums_of_a_test_binary_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s";
        assert_eq!(parse(line), Some(Tally { passed: 12, failed: 3, skipped: 1 }));
        assert_eq!(parse("test sums ... ok"), None);
        assert_eq!(parse("test result: who knows"), None);
    }

    #[test]
    fn starts_of_test_binaries_are_seen() {
        assert!(is_start("     Running unittests src/lib.rs (target/debug/deps/a-1)"));
        assert!(is_start("   Doc-tests sync_core"));
        assert!(!is_start("   Compiling a v0.1.0"));
    }

    #[test]
    fn a_runner_that_broke_off_is_a_failure() {
        let some = Tally { passed: 5, failed: 1, skipped: 0 };
        assert_eq!(some.with_broken_runners(3, 2).failed, 2);
        assert_eq!(some.with_broken_runners(3, 3).failed, 1);
        assert_eq!(Tally::default().with_broken_runners(0, 0).failed, 1);
    }
}
