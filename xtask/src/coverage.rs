//! Measures which lines of the core its tests reach, and fails where these are too few.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;
use crate::setup::{install_component, install_tool};
use crate::workspace::Workspace;

/// How much of the lines of `sync-core` must be reached, in percent.
const LINES_MIN: f64 = 95.0;

/// The crates whose tests are run: the core's own, and the inputs that fuzzing found.
const PACKAGES: [&str; 2] = ["sync-core", "sync-fuzz"];

/// Runs `cargo xtask coverage`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    install_component(workspace, "llvm-tools")?;
    install_tool(workspace, "cargo-llvm-cov")?;
    let report = workspace.cache().join("coverage.json");
    std::fs::create_dir_all(workspace.cache())?;
    let mut command = process::cargo(&workspace.root);
    command.args(["llvm-cov", "--json", "--ignore-filename-regex", "sync-fuzz|tests/|/examples/"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    process::run(command.arg("--output-path").arg(&report))?;
    let text = std::fs::read_to_string(&report)?;
    let report: Value = serde_json::from_str(&text).context("the report is JSON")?;
    let root = workspace.root.to_string_lossy().into_owned();
    for (missed, file) in missed(&report) {
        println!("{missed:>5} lines missed in {}", file.trim_start_matches(&root));
    }
    let reached = reached(&report["data"][0]["totals"]["lines"])?;
    println!("{reached:.2} % of the lines of sync-core are reached");
    if reached < LINES_MIN {
        bail!("{reached:.2} % are fewer than {LINES_MIN} %");
    }
    Ok(())
}

/// The files with lines that no test reaches, those with most of them first.
fn missed(report: &Value) -> Vec<(u64, &str)> {
    let files = report["data"][0]["files"].as_array().into_iter().flatten();
    let mut missed: Vec<(u64, &str)> = files
        .filter_map(|file| {
            let lines = &file["summary"]["lines"];
            let missed = lines["count"].as_u64()?.saturating_sub(lines["covered"].as_u64()?);
            Some((missed, file["filename"].as_str()?)).filter(|(missed, _)| *missed > 0)
        })
        .collect();
    missed.sort_unstable_by(|one, other| other.cmp(one));
    missed
}

fn reached(lines: &Value) -> Result<f64> {
    let count = lines["count"].as_f64().filter(|count| *count > 0.0);
    let covered = lines["covered"].as_f64();
    let (Some(count), Some(covered)) = (count, covered) else { bail!("the report has no lines") };
    Ok(100.0 * covered / count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{missed, reached};

    #[test]
    fn files_that_are_reached_whole_are_not_named() {
        let file = |name: &str, covered: u64| json!({ "filename": name, "summary": { "lines": { "count": 9, "covered": covered } } });
        let report = json!({ "data": [{ "files": [file("a", 9), file("b", 8), file("c", 1)] }] });
        assert_eq!(missed(&report), [(8, "c"), (1, "b")]);
    }

    #[test]
    fn a_report_without_lines_is_no_success() {
        assert!(reached(&json!({ "count": 0, "covered": 0 })).is_err());
        assert_eq!(reached(&json!({ "count": 200, "covered": 190 })).ok(), Some(95.0));
    }
}
