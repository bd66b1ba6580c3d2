//! Changes the causal module in every small way that compiles, and looks whether a test notices.

use anyhow::{Result, bail};

use crate::process;
use crate::setup::install_tool;
use crate::workspace::Workspace;

/// Words of the names of tests that are quick, and about the kernel or what stands right on it.
const TESTS: [&str; 12] = [
    "causal",
    "deltas",
    "documents",
    "edges",
    "fingerprints",
    "golden",
    "laws",
    "overwrite",
    "places",
    "reconcile",
    "snapshot",
    "stores",
];

/// Which changes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The files that are changed; the whole causal module where not given.
    #[arg(long, default_value = "sync-core/src/causal/**/*.rs")]
    file: String,
    /// Only one part of the changes, such as `1/4`.
    #[arg(long)]
    shard: Option<String>,
}

/// Runs `cargo xtask mutants`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    install_tool(workspace, "cargo-mutants")?;
    let output = workspace.target.join("mutants");
    std::fs::create_dir_all(&output)?;
    let mut command = process::cargo(&workspace.root);
    command.args(["mutants", "--package=sync-core", "--file", &options.file]);
    // Without a change the tests must pass: how long that takes says when a change hangs.
    command.args(["--jobs=1", "--timeout-multiplier=5"]).arg("--output").arg(&output);
    command.env("CARGO_TARGET_DIR", output.join("build"));
    if let Some(shard) = &options.shard {
        command.args(["--shard", shard]);
    }
    command.args(["--", "--lib", "--test=it", "--"]).args(TESTS);
    process::announce(&command);
    let status = command.status()?;
    println!("what no test noticed: {}", output.join("mutants.out/missed.txt").display());
    if !status.success() {
        bail!("some changes were not noticed");
    }
    Ok(())
}
