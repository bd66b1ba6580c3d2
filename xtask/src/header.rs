//! Writes the header of the C ABI anew, after a change of what it says.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Has the test that looks at the header write it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut command = process::cargo(&workspace.root);
    command.args(["test", "--quiet", "--package=sync-native", "--test=it", "header"]);
    process::run(command.env("SYNC_WRITE_HEADER", "1"))
}
