//! The parts of the Rust toolchain that a minimal installation leaves out.

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// Gets rustfmt and clippy for the toolchain in use.
pub(super) fn linters(workspace: &Workspace) -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let has = || {
            process::ask(process::cargo(&workspace.root).args([subcommand, "--version"])).is_some()
        };
        if has() {
            continue;
        }
        if process::find("rustup").is_some() {
            let mut add = process::program("rustup", &workspace.root);
            process::run(add.args(["component", "add", component]))?;
        }
        if !has() {
            bail!(
                "`cargo {subcommand}` is missing. Run: rustup component add {component}\n\
                 (without rustup: install your system's package of {component})"
            );
        }
    }
    Ok(())
}

/// Gets a part of the toolchain in use that only rustup has.
pub(crate) fn component(workspace: &Workspace, name: &str) -> Result<()> {
    let mut list = process::program("rustup", &workspace.root);
    let installed = process::ask(list.args(["component", "list", "--installed"]));
    let Some(installed) = installed else {
        bail!("this needs rustup, and its component {name}");
    };
    if installed.lines().any(|line| line.starts_with(name)) {
        return Ok(());
    }
    let mut add = process::program("rustup", &workspace.root);
    process::run(add.args(["component", "add", name]))
}

/// Gets a subcommand of cargo that a long task needs.
pub(crate) fn tool(workspace: &Workspace, name: &str) -> Result<()> {
    if process::find(name).is_some() {
        return Ok(());
    }
    process::run(process::cargo(&workspace.root).args(["install", "--locked", name]))?;
    if process::find(name).is_none() {
        bail!("`{name}` was installed and is still not on the search path");
    }
    Ok(())
}
