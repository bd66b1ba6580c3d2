//! Lets libFuzzer look for inputs that break a promise, with the nightly toolchain that it needs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::setup::install_tool;
use crate::workspace::Workspace;

/// The targets, as `sync-fuzz` names them.
const TARGETS: [&str; 3] = ["decoders", "peers", "pair"];

/// The most bytes of an input: enough for a few hundred events or a few frames.
const INPUT_BYTES_MAX: usize = 4096;

/// What is fuzzed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of `decoders`, `peers` and `pair`; all of them, one after another, where not given.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// Runs `cargo xtask fuzz`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = |name: &&str| options.target.as_deref().is_none_or(|target| target == *name);
    let targets: Vec<&str> = TARGETS.into_iter().filter(chosen).collect();
    if targets.is_empty() {
        bail!("there is no such target; there are {}", TARGETS.join(", "));
    }
    check_nightly(workspace)?;
    install_tool(workspace, "cargo-fuzz")?;
    for target in targets {
        fuzz(workspace, target, options.seconds)?;
    }
    Ok(())
}

/// The sanitizers and the coverage that libFuzzer steers by are only in nightly compilers.
fn check_nightly(workspace: &Workspace) -> Result<()> {
    let mut ask = process::program("rustup", &workspace.root);
    if process::ask(ask.args(["run", "nightly", "rustc", "--version"])).is_none() {
        bail!(
            "fuzzing needs a nightly compiler beside the one of this workspace. \
             Run: rustup toolchain install nightly --profile minimal"
        );
    }
    Ok(())
}

fn fuzz(workspace: &Workspace, target: &str, seconds: u32) -> Result<()> {
    let package = workspace.root.join("sync-fuzz");
    let grown = workspace.target.join("fuzz").join(target);
    let (inputs, failures) = (grown.join("inputs"), grown.join("failures"));
    for folder in [&inputs, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = process::program("cargo", &workspace.root);
    command.args(["+nightly", "fuzz", "run", "--fuzz-dir"]).arg(&package);
    command.args(["--features=targets", "--sanitizer=none"]);
    command.arg("--target-dir").arg(workspace.target.join("fuzz/build"));
    command.arg(target).arg(&inputs).arg(package.join("corpus").join(target));
    command.args(["--", "-timeout=60", "-rss_limit_mb=2048"]);
    command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", failures.display()));
    // What a release is linked with takes minutes, and hides where an input failed.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    process::run(&mut command).with_context(|| failed(workspace, target, &failures))
}

fn failed(workspace: &Workspace, target: &str, failures: &Path) -> String {
    let kept = Path::new("sync-fuzz/corpus").join(target);
    format!(
        "an input of `{target}` fails: see {}. Copied to {}, it is run by `cargo test -p sync-fuzz`",
        workspace.relative(failures).display(),
        kept.display()
    )
}
