//! Changes the causal module in every small way that compiles, and looks whether a test notices.

use anyhow::{Result, bail};

use crate::process;
use crate::setup::install_tool;
use crate::workspace::Workspace;

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
    command.args(["--file", "sync-core/src/causal.rs", "--jobs=1", "--baseline=skip"]);
    command.args(["--timeout=120", "--build-timeout=600", "--in-place"]);
    command.arg("--output").arg(&output);
    if let Some(shard) = &options.shard {
        command.args(["--shard", shard]);
    }
    // The kernel's own tests, and those of what stands on it and is quick.
    command.args(["--", "--lib", "--test=it", "--", "--skip=chaos", "--skip=bent_frames"]);
    process::announce(&command);
    let status = command.status()?;
    println!("what no test noticed: {}", output.join("mutants.out/missed.txt").display());
    if !status.success() {
        bail!("some changes were not noticed");
    }
    Ok(())
}
