//! The checks that need no running program: format, clippy, layering, texts and types.
//!
//! Each check counts as one test, so `cargo xtask test` sums them like those of any other suite.

mod crates;
mod layers;
mod pages;
mod texts;

use anyhow::{Result, bail};

use crate::packages;
use crate::process;
use crate::setup::{self, Needs};
use crate::test::Tally;
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<()>;

/// Cheapest first: what fails for a reason of form fails within seconds.
const CHECKS: [(&str, Check); 8] = [
    ("texts of tracked files", texts::check),
    ("tests and files that the pages name", pages::check),
    ("arrows between modules of sync-core", layers::check),
    ("arrows between crates", crates::check),
    ("format", format),
    ("clippy", clippy),
    ("types of bindings/js", package_types),
    ("types of demo-web", demo_types),
];

/// What the checks need on this machine.
pub(crate) fn needs() -> Needs {
    Needs { linters: true, package: true, demo: true, ..Needs::default() }
}

/// Runs `cargo xtask lint`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run(workspace, needs())?;
    let tally = checks(workspace);
    println!("{tally}");
    if tally.failed > 0 {
        bail!("{} of the checks failed", tally.failed);
    }
    Ok(())
}

/// Runs every check, whatever the others say.
pub(crate) fn checks(workspace: &Workspace) -> Tally {
    let mut tally = Tally::default();
    for (name, check) in CHECKS {
        match check(workspace) {
            Ok(()) => {
                println!("lint: {name} ... ok");
                tally.passed += 1;
            }
            Err(error) => {
                println!("lint: {name} ... FAILED\n{error:#}");
                tally.failed += 1;
            }
        }
    }
    tally
}

fn format(workspace: &Workspace) -> Result<()> {
    process::run(process::cargo(&workspace.root).args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut command = process::cargo(&workspace.root);
    // The benchmark brings its peers along, which takes longer to build than everything else.
    command.args(["clippy", "--quiet", "--workspace", "--exclude", "sync-bench", "--all-targets"]);
    command.args(["--", "-D", "warnings"]);
    process::run(&mut command)
}

fn package_types(workspace: &Workspace) -> Result<()> {
    // The types of the generated modules are part of what is checked.
    packages::build_package(workspace)
}

fn demo_types(workspace: &Workspace) -> Result<()> {
    packages::npm_run(workspace, &workspace.demo(), "check")
}

/// One message out of many findings; `Ok` where there are none.
fn report(findings: Vec<String>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}", findings.join("\n"))
}
