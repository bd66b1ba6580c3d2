//! What programs in C are compiled and looked at with.

use anyhow::{Result, bail};

use super::debian;
use crate::process;

/// Makes sure that there is a compiler for C, which SQLite is built with too.
pub(super) fn compiler() -> Result<()> {
    obtain("cc", &["gcc", "libc6-dev"], "a compiler for C")
}

/// Makes sure that there is valgrind.
pub(super) fn valgrind() -> Result<()> {
    obtain("valgrind", &["valgrind"], "valgrind")
}

fn obtain(program: &str, packages: &[&str], purpose: &str) -> Result<()> {
    if process::find(program).is_some() {
        return Ok(());
    }
    debian::install(packages, purpose)?;
    if process::find(program).is_none() {
        bail!("{purpose} was installed, and `{program}` is still not on the search path");
    }
    Ok(())
}
