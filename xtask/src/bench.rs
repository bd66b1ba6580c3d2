//! Builds the benchmark in release mode and runs it. Valgrind, which counts the instructions, is got
//! when it is first needed.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::process;
use crate::setup::install_packages;
use crate::workspace::Workspace;

/// What of the benchmark is run, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What is measured.
    #[arg(value_enum)]
    suite: Suite,
    /// Finishes within ten minutes once built: leaves out what takes long.
    #[arg(long)]
    quick: bool,
    /// Fails if a figure of this core is over its bar.
    #[arg(long)]
    check: bool,
    /// Measures only one: `ours`, `automerge`, `yrs`, `loro` or `floor`.
    #[arg(long)]
    only: Option<String>,
}

/// What can be measured.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Suite {
    /// The core beside its peers.
    Core,
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    obtain_valgrind()?;
    let mut build = process::cargo(&workspace.root);
    process::run(build.args(["build", "--release", "--package=sync-bench"]))?;
    let mut bench = process::program(workspace.target.join("release/sync-bench"), &workspace.root);
    match options.suite {
        Suite::Core => bench.arg("core"),
    };
    if options.quick {
        bench.arg("--quick");
    }
    if options.check {
        bench.arg("--check");
    }
    if let Some(only) = &options.only {
        bench.args(["--only", only]);
    }
    process::run(bench.arg("--folder").arg(workspace.target.join("bench")))
}

fn obtain_valgrind() -> Result<PathBuf> {
    if let Some(valgrind) = process::find("valgrind") {
        return Ok(valgrind);
    }
    // Valgrind needs the symbols of the C library's loader.
    install_packages(&["valgrind", "libc6-dbg"], "valgrind")?;
    process::find("valgrind").context("valgrind was installed and is still not on the search path")
}
