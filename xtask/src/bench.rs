//! Builds a benchmark in release mode and runs it. Valgrind, which counts the instructions of the core's, is
//! got when it is first needed.

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
    /// Measures only one in `core`: `ours`, `automerge`, `yrs`, `loro` or `floor`.
    #[arg(long)]
    only: Option<String>,
    /// Measures the peak of memory in `client`, with a million records, and nothing else.
    #[arg(long)]
    memory: bool,
}

/// What can be measured.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Suite {
    /// The core beside its peers.
    Core,
    /// The native client beside plain SQLite.
    Client,
}

impl Suite {
    /// Its package, which has one program of this name.
    fn package(self) -> &'static str {
        match self {
            Self::Core => "sync-bench",
            Self::Client => "sync-bench-client",
        }
    }
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let package = options.suite.package();
    let mut build = process::cargo(&workspace.root);
    process::run(build.args(["build", "--release", "--package", package]))?;
    let program = workspace.target.join("release").join(package);
    let mut bench = process::program(program, &workspace.root);
    match options.suite {
        Suite::Core => {
            obtain_valgrind()?;
            bench.arg("core")
        }
        Suite::Client => bench.arg("client"),
    };
    if options.quick {
        bench.arg("--quick");
    }
    if options.check {
        bench.arg("--check");
    }
    if options.memory {
        bench.arg("--memory");
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
