//! Which compiler makes WASM: the target of rustup's toolchain, or Debian's own Rust.
//!
//! Rustup is the ordinary way. Debian's Rust serves where rustup cannot download: it compiles the
//! standard library from Debian's source package.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::process;
use crate::setup;
use crate::workspace::Workspace;

/// The target triple of browsers.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages: compiler, source of the standard library. The linker's is named by its version.
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// One way to compile WASM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Rustup,
    Debian,
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Way::Rustup => "the toolchain's own WASM target",
            Way::Debian => "Debian's Rust",
        })
    }
}

/// What a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// Rustup's target, else Debian's Rust.
    Auto,
    /// Rustup's target only.
    Rustup,
    /// Debian's Rust only.
    Debian,
}

/// Keeps a choice for the tasks that follow.
pub(crate) fn remember(workspace: &Workspace, choice: Choice) -> Result<()> {
    let file = choice_file(workspace);
    if let Some(word) = word(choice) {
        fs::create_dir_all(workspace.cache())?;
        fs::write(&file, word).with_context(|| format!("cannot write {}", file.display()))
    } else if file.exists() {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    } else {
        Ok(())
    }
}

/// Finds the compiler in force, and gets it where it is missing.
pub(crate) fn obtain(workspace: &Workspace) -> Result<Way> {
    match remembered(workspace) {
        Choice::Rustup => obtain_rustup(workspace).map(|()| Way::Rustup),
        Choice::Debian => obtain_debian().map(|()| Way::Debian),
        Choice::Auto => {
            if has_rustup(workspace) {
                return Ok(Way::Rustup);
            }
            if has_debian() {
                return Ok(Way::Debian);
            }
            match obtain_rustup(workspace) {
                Ok(()) => Ok(Way::Rustup),
                Err(error) => {
                    eprintln!("setup: {error:#}");
                    eprintln!("setup: trying Debian's Rust instead");
                    obtain_debian().map(|()| Way::Debian).with_context(|| {
                        format!(
                            "nothing here compiles WASM. Either run\n\
                             rustup target add {TARGET}\n\
                             or get Debian's Rust"
                        )
                    })
                }
            }
        }
    }
}

/// The path of Debian's compiler, which a rustup installation hides on the search path.
pub(crate) fn debian_rustc() -> Option<PathBuf> {
    let files = process::ask(Command::new("dpkg").args(["-L", "rustc-web"]))?;
    files.lines().map(Path::new).find(|file| file.ends_with("bin/rustc")).map(Path::to_owned)
}

/// The linker of the LLVM that Debian's compiler has: an older one does not know all that it is asked for.
pub(crate) fn debian_linker() -> Option<String> {
    debian_llvm().map(|version| format!("wasm-ld-{version}"))
}

/// The main version of the LLVM that Debian's compiler has.
fn debian_llvm() -> Option<String> {
    let told = process::ask(Command::new(debian_rustc()?).arg("-vV"))?;
    let version = told.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next().map(str::to_owned)
}

fn obtain_rustup(workspace: &Workspace) -> Result<()> {
    if has_rustup(workspace) {
        return Ok(());
    }
    if process::find("rustup").is_none() {
        bail!("the Rust in use has no target {TARGET}, and there is no rustup to add it");
    }
    process::run(process::program("rustup", &workspace.root).args(["target", "add", TARGET]))?;
    if !has_rustup(workspace) {
        bail!(
            "rustup added {TARGET} to another toolchain than the one in use; run:\n\
             rustup target add {TARGET} --toolchain NAME"
        );
    }
    Ok(())
}

/// Whether the compiler that cargo uses has the target's standard library.
fn has_rustup(workspace: &Workspace) -> bool {
    let mut rustc = process::program("rustc", &workspace.root);
    process::ask(rustc.args(["--print", "target-libdir", "--target", TARGET]))
        .and_then(|folder| fs::read_dir(folder.trim()).ok())
        .is_some_and(|mut files| files.next().is_some())
}

fn obtain_debian() -> Result<()> {
    if has_debian() {
        return Ok(());
    }
    setup::install_packages(&PACKAGES, "a compiler for WASM")?;
    let llvm = debian_llvm().context("Debian's rustc does not say which LLVM it has")?;
    let linker = format!("lld-{llvm}");
    setup::install_packages(&[&linker], "a linker for WASM")?;
    if !has_debian() {
        let packages = PACKAGES.join(" ");
        bail!("Debian's packages {packages} {linker} are there, but not what they should hold");
    }
    Ok(())
}

fn has_debian() -> bool {
    let Some(rustc) = debian_rustc().filter(|rustc| rustc.is_file()) else { return false };
    let Some(sysroot) = process::ask(Command::new(rustc).args(["--print", "sysroot"])) else {
        return false;
    };
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
    library.is_dir() && debian_linker().is_some_and(|linker| process::find(&linker).is_some())
}

fn remembered(workspace: &Workspace) -> Choice {
    let kept = fs::read_to_string(choice_file(workspace)).ok();
    [Choice::Rustup, Choice::Debian]
        .into_iter()
        .find(|choice| kept.is_some() && kept.as_deref() == word(*choice))
        .unwrap_or(Choice::Auto)
}

fn word(choice: Choice) -> Option<&'static str> {
    match choice {
        Choice::Auto => None,
        Choice::Rustup => Some("rustup"),
        Choice::Debian => Some("debian"),
    }
}

fn choice_file(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("wasm-toolchain")
}
