//! Builds what npm builds: the package with the WASM inside, and the notes app on top of it.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::wasm;
use crate::workspace::Workspace;

/// Builds the WASM module and the npm package around it.
pub(crate) fn build_package(workspace: &Workspace) -> Result<()> {
    wasm::build(workspace).context("the WASM module")?;
    npm_run(workspace, &workspace.package(), "build")
}

/// Builds the notes app, from a package that is built.
pub(crate) fn build_demo(workspace: &Workspace) -> Result<()> {
    npm_run(workspace, &workspace.demo(), "build")?;
    let page = workspace.demo_dist().join("index.html");
    if !page.is_file() {
        bail!("the app was built, but {} is missing", workspace.relative(&page).display());
    }
    Ok(())
}

/// Runs a script of a `package.json`.
pub(crate) fn npm_run(workspace: &Workspace, directory: &Path, script: &str) -> Result<()> {
    if !directory.join("package.json").is_file() {
        bail!("{} has no package.json", workspace.relative(directory).display());
    }
    process::run(process::program("npm", directory).args(["run", "--silent", script]))
        .with_context(|| format!("in {}", workspace.relative(directory).display()))
}
