//! Compiles the crate `sync-wasm` for the browser.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::sweep::TABLE_BASE;
use super::toolchain::{self, TARGET, Way};
use crate::process;
use crate::workspace::Workspace;

/// The profile in the workspace's `Cargo.toml` that only this build uses.
const PROFILE: &str = "wasm";

/// Compiles and returns the module's path.
///
/// The crate type is named here because cargo does not optimise across crates (LTO) where one
/// compilation makes an `rlib` too.
pub(super) fn run(workspace: &Workspace, way: Way) -> Result<PathBuf> {
    // Debian's compiler has a folder of its own, so that it does not throw out the other's work.
    let target = match way {
        Way::Rustup => workspace.target.clone(),
        Way::Debian => workspace.target.join("wasm-debian"),
    };
    let mut command = process::cargo(&workspace.root);
    command.args(["rustc", "--package=sync-wasm", "--lib", "--crate-type=cdylib"]);
    command.args(["--profile", PROFILE, "--target", TARGET]);
    set_flags(&mut command);
    match way {
        Way::Rustup => {}
        Way::Debian => use_debian(&mut command)?,
    }
    command.arg("--target-dir").arg(&target);
    process::run(&mut command)?;
    Ok(target.join(TARGET).join(PROFILE).join("sync_wasm.wasm"))
}

/// Debian's compiler counts as a stable one; building the standard library needs the unstable
/// option all the same.
fn use_debian(command: &mut Command) -> Result<()> {
    let rustc = toolchain::debian_rustc().context("Debian's rustc is not installed")?;
    let linker = toolchain::debian_linker().context("Debian's rustc names no LLVM")?;
    command
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        // Set by cargo for this task, and pointing at the libraries of another compiler.
        .env_remove("LD_LIBRARY_PATH")
        .arg("-Zbuild-std=std,panic_abort");
    Ok(())
}

/// Keeps the folders of this machine out of the module's panic messages, each constant in a part of memory
/// of its own with a list of where its address stands, and the numbers of functions apart from others.
fn set_flags(command: &mut Command) {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut flags = "-Clink-arg=--no-merge-data-segments\u{1f}-Clink-arg=--emit-relocs".to_owned();
    flags += &format!("\u{1f}-Clink-arg=--table-base={TABLE_BASE}");
    if let Some(home) = home {
        let sources = home.join("registry/src");
        // Separated by this character, so that a folder with a blank in its name stays whole.
        flags += &format!("\u{1f}--remap-path-prefix={}=deps", sources.display());
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags);
}
