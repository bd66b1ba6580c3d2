//! The proofs that take long, at their full size: the ordinary run has them small.

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// A proof: the test that it is, and the variable that says how large it is.
struct Proof {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    /// Which of the target's tests; all where empty.
    test: &'static str,
    variable: &'static str,
    size: &'static str,
}

/// The target of a crate's own tests.
const LIB: &str = "lib";

const PROOFS: [Proof; 11] = [
    Proof {
        name: "churn",
        package: "sync-core",
        target: "heap",
        test: "",
        variable: "SYNC_RECORDS",
        size: "1000000",
    },
    Proof {
        name: "first-sync",
        package: "sync-hub",
        target: "first_sync",
        test: "",
        variable: "SYNC_MEGABYTES",
        size: "200",
    },
    Proof {
        name: "power",
        package: "sync-client",
        target: "faults",
        test: "after_any_power_cut",
        variable: "SYNC_CUTS",
        size: "50000",
    },
    Proof {
        name: "power-by-call",
        package: "sync-client",
        target: "faults",
        test: "the_power_may_fail_at_every_call_of_a_life",
        variable: "SYNC_CUTS",
        size: "5000",
    },
    Proof {
        name: "hub-power",
        package: "sync-hub",
        target: "it",
        test: "after_any_power_cut",
        variable: "SYNC_CUTS",
        size: "10000",
    },
    Proof {
        name: "kills",
        package: "sync-client",
        target: "it",
        test: "what_was_said_to_be_on_disk_is_there_after_a_kill",
        variable: "SYNC_KILLS",
        size: "1000",
    },
    Proof {
        name: "hub-kills",
        package: "sync-hub",
        target: "it",
        test: "lost_when_the_hub_is_killed",
        variable: "SYNC_KILLS",
        size: "200",
    },
    Proof {
        name: "flips",
        package: "sync-client",
        target: "faults",
        test: "a_flipped_bit",
        variable: "SYNC_FLIPS",
        size: "1500",
    },
    Proof {
        name: "repairs",
        package: "sync-client",
        target: "faults",
        test: "after_a_repair",
        variable: "SYNC_FLIPS",
        size: "20000",
    },
    Proof {
        name: "tape",
        package: "sync-client",
        target: "it",
        test: "replaying_gives_the_same_bytes",
        variable: "SYNC_HISTORIES",
        size: "1000",
    },
    Proof {
        name: "proxy",
        package: "sync-client",
        target: LIB,
        test: "whatever_a_line_does_all_agree_in_the_end",
        variable: "SYNC_MINUTES",
        size: "120",
    },
];

/// Which proofs.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `churn`, a million records that come and go; `first-sync`, 200 MB over a line that is cut;
    /// `power`, `power-by-call` and `hub-power`, power cuts; `kills` and `hub-kills`, processes killed;
    /// `proxy`, two hours of bad lines in simulated time; `flips` and `repairs`, damaged files; `tape`,
    /// histories replayed. All where not given.
    proof: Option<String>,
}

/// Runs `cargo xtask long`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = |proof: &&Proof| options.proof.as_deref().is_none_or(|name| name == proof.name);
    let proofs: Vec<&Proof> = PROOFS.iter().filter(chosen).collect();
    if proofs.is_empty() {
        bail!("there is no such proof; there are {}", PROOFS.map(|proof| proof.name).join(", "));
    }
    for Proof { package, target, test, variable, size, .. } in proofs {
        let mut command = process::cargo(&workspace.root);
        command.args(["test", "--release", "--package", package]);
        if *target == LIB {
            command.arg("--lib");
        } else {
            command.args(["--test", target]);
        }
        process::run(command.args([test, "--", "--nocapture"]).env(variable, size))?;
    }
    Ok(())
}
