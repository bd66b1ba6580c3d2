//! Packages from Debian, where this process may install them.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Installs packages, or fails with the commands for a person to run.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let list = packages.join(" ");
    if process::find("apt-get").is_none() {
        bail!(
            "{purpose} is missing, and there is no apt-get here to install it with.\n\
             On Debian: sudo apt-get update && sudo apt-get install --yes --no-install-recommends {list}\n\
             Elsewhere, install what your system calls it, and run this again."
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "{purpose} is missing, and only root may install it. Run:\n\
             sudo apt-get update && sudo apt-get install --yes --no-install-recommends {list}\n\
             and then this again."
        );
    }
    process::run(apt_get().args(["--quiet", "update"]))?;
    process::run(
        apt_get().args(["--quiet", "install", "--yes", "--no-install-recommends"]).args(packages),
    )
}

/// Waits for another installation that is under way instead of failing.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
    command
}
