//! The proofs of the core that take long, at their full size: the ordinary run has them small.

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// A proof: the test that it is, and the variable that says how large it is.
struct Proof {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    variable: &'static str,
    size: &'static str,
}

const PROOFS: [Proof; 2] = [
    Proof {
        name: "churn",
        package: "sync-core",
        test: "heap",
        variable: "SYNC_RECORDS",
        size: "1000000",
    },
    Proof {
        name: "first-sync",
        package: "sync-hub",
        test: "first_sync",
        variable: "SYNC_MEGABYTES",
        size: "200",
    },
];

/// Which proofs.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `churn`, a million records that come and go, or `first-sync`, 200 MB over a line that is cut;
    /// both where not given.
    proof: Option<String>,
}

/// Runs `cargo xtask long`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = |proof: &&Proof| options.proof.as_deref().is_none_or(|name| name == proof.name);
    let proofs: Vec<&Proof> = PROOFS.iter().filter(chosen).collect();
    if proofs.is_empty() {
        bail!("there is no such proof; there are {}", PROOFS.map(|proof| proof.name).join(", "));
    }
    for Proof { package, test, variable, size, .. } in proofs {
        let mut command = process::cargo(&workspace.root);
        command.args(["test", "--release", "--package", package, "--test", test]);
        process::run(command.args(["--", "--nocapture"]).env(variable, size))?;
    }
    Ok(())
}
