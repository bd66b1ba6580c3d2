//! Node, and the npm packages that the package and the app are built with.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// The oldest Node that everything here runs on: Vite's own lower bound.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// Checks that Node and npm are there and new enough.
pub(super) fn check_node() -> Result<()> {
    let (major, minor) = OLDEST_NODE;
    let Some(printed) = process::ask(Command::new("node").arg("--version")) else {
        bail!("Node is missing: install Node {major}.{minor} or newer, and run this again");
    };
    let version = parse_version(&printed).with_context(|| format!("node --version: {printed}"))?;
    if version < OLDEST_NODE {
        bail!("Node {} is too old: install {major}.{minor} or newer", printed.trim());
    }
    if process::find("npm").is_none() {
        bail!("npm is missing: install the one that belongs to your Node, and run this again");
    }
    Ok(())
}

/// Runs `npm ci` where what is installed is missing or older than the lock file.
pub(super) fn install(workspace: &Workspace, directory: &Path) -> Result<()> {
    let lock = directory.join("package-lock.json");
    let wanted = changed(&lock)
        .with_context(|| format!("{} is missing", workspace.relative(&lock).display()))?;
    // npm writes this list last, so an installation that broke off is not taken for a whole one.
    let installed = changed(&directory.join("node_modules/.package-lock.json"));
    if installed.is_some_and(|installed| installed >= wanted) {
        return Ok(());
    }
    eprintln!("setup: npm packages of {}", workspace.relative(directory).display());
    process::run(process::program("npm", directory).args(["ci", "--no-audit", "--no-fund"]))
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// Major and minor number of `v20.19.1`.
fn parse_version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(parse_version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(parse_version("v22.0.0-nightly"), Some((22, 0)));
        assert_eq!(parse_version("node"), None);
    }
}
