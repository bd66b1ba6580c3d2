//! Runs Node's test runner: its readable report goes to the terminal, its TAP to a file, which is
//! where the sums are read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Tally;
use crate::process;
use crate::workspace::Workspace;

/// The longest that one test may take; arbitrary, and far above what any takes.
const TIMEOUT_MS: u32 = 600_000;

/// Runs the files `*.test.mjs` of a folder of a package, one after the other.
pub(super) fn run(
    workspace: &Workspace,
    name: &str,
    package: &Path,
    folder: &str,
    variables: &[(&str, PathBuf)],
) -> Result<Tally> {
    let files = test_files(&package.join(folder))?;
    if files.is_empty() {
        // Node without files would look for some on its own.
        println!("no *.test.mjs in {}", workspace.relative(&package.join(folder)).display());
        return Ok(Tally::default());
    }
    fs::create_dir_all(workspace.cache())?;
    let report = workspace.cache().join(format!("{name}.tap"));
    let mut command = process::program("node", package);
    command
        .args(["--test", "--test-concurrency=1"])
        .arg(format!("--test-timeout={TIMEOUT_MS}"))
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .arg("--test-reporter=tap")
        .arg(format!("--test-reporter-destination={}", report.display()))
        .args(files.iter().map(|file| Path::new(folder).join(file)));
    for (variable, value) in variables {
        command.env(variable, value);
    }
    if report.exists() {
        fs::remove_file(&report)?;
    }
    process::announce(&command);
    let status = command.status().context("cannot start Node")?;
    let tap = fs::read_to_string(&report).unwrap_or_default();
    let Some(mut tally) = parse(&tap) else {
        bail!("Node's test runner broke off: {status}");
    };
    for line in tap.lines().filter(|line| is_empty_file(line)) {
        println!("{line}: the file holds no test; counted as a failure");
    }
    if !status.success() {
        tally.failed = tally.failed.max(1);
    }
    Ok(tally)
}

/// The names of the test files in a folder, in a fixed order.
fn test_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_string_lossy().ends_with(".test.mjs") {
            files.push(PathBuf::from(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the sums at the end of a TAP report; `None` where it has none.
fn parse(tap: &str) -> Option<Tally> {
    let number = |label: &str| -> Option<usize> {
        // From the end: a test may print such lines too, indented or not, but before the sums.
        tap.lines().rev().find_map(|line| line.strip_prefix(label)?.trim().parse().ok())
    };
    let empty = tap.lines().filter(|line| is_empty_file(line)).count();
    Some(Tally {
        passed: number("# pass ")?.saturating_sub(empty),
        failed: number("# fail ")? + number("# cancelled ")? + empty,
        skipped: number("# skipped ")? + number("# todo ")?,
    })
}

/// Whether Node reports here that a file passed as a whole, which it does where the file holds no
/// test: that is a failure, or a suite could pass without any.
fn is_empty_file(line: &str) -> bool {
    line.starts_with("ok ") && line.ends_with(".test.mjs")
}

#[cfg(test)]
mod tests {
    use super::{Tally, parse};

    #[test]
    fn sums_of_a_report_are_read() {
        let tap = "TAP version 13\n# pass 99\nok 1 - a\n1..1\n# tests 7\n# suites 0\n# pass 3\n\
                   # fail 1\n# cancelled 1\n# skipped 1\n# todo 1\n# duration_ms 5.5\n";
        assert_eq!(parse(tap), Some(Tally { passed: 3, failed: 2, skipped: 2 }));
    }

    #[test]
    fn a_file_without_tests_is_a_failure() {
        let tap = "ok 1 - /a/b/empty.test.mjs\nok 2 - b\n# pass 2\n# fail 0\n# cancelled 0\n\
                   # skipped 0\n# todo 0\n";
        assert_eq!(parse(tap), Some(Tally { passed: 1, failed: 1, skipped: 0 }));
    }

    #[test]
    fn a_report_that_breaks_off_has_no_sums() {
        assert_eq!(parse("TAP version 13\nok 1 - a\n"), None);
    }
}
