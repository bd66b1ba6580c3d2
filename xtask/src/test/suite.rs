//! The suites: what each builds first, and what it runs.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{Tally, libtest, node};
use crate::lint;
use crate::packages;
use crate::process;
use crate::setup::{self, Needs};
use crate::sim;
use crate::workspace::Workspace;

/// The suites in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Format, clippy, layering, texts and types.
    Lint,
    /// These tasks themselves.
    Xtask,
    /// The kernel.
    Core,
    /// Devices and hubs under faults, one run for each seed.
    Sim,
    /// The native client and its files.
    Client,
    /// The C ABI, with programs in C.
    Native,
    /// The hub.
    Hub,
    /// The npm package in Node.
    Wasm,
    /// The notes app in Chromium, with hub and native client.
    Browser,
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Suite::Lint => "lint",
            Suite::Xtask => "xtask",
            Suite::Core => "core",
            Suite::Sim => "sim",
            Suite::Client => "client",
            Suite::Native => "native",
            Suite::Hub => "hub",
            Suite::Wasm => "wasm",
            Suite::Browser => "browser",
        })
    }
}

impl Suite {
    /// What has to be on this machine.
    pub(super) fn needs(self, in_ci: bool) -> Needs {
        match self {
            Suite::Lint => lint::needs(),
            Suite::Xtask | Suite::Core | Suite::Sim | Suite::Client | Suite::Hub => {
                Needs::default()
            }
            // Without valgrind a test is skipped, which CI takes for a failure.
            Suite::Native => Needs { compiler: true, valgrind: in_ci, ..Needs::default() },
            Suite::Wasm => Needs::package(),
            Suite::Browser => {
                Needs { package: true, demo: true, browser: true, ..Needs::default() }
            }
        }
    }
}

/// Builds what a suite needs and runs it.
pub(super) fn run(workspace: &Workspace, suite: Suite) -> Result<Tally> {
    match suite {
        Suite::Lint => Ok(lint::checks(workspace)),
        Suite::Xtask => libtest::run(workspace, &["xtask"]),
        Suite::Core => libtest::run(workspace, &["sync-core", "sync-fuzz"]),
        Suite::Sim => Ok(libtest::run(workspace, &["sync-sim"])? + sim::suite(workspace)?),
        Suite::Client => libtest::run(workspace, &["sync-faults", "sync-sqlite", "sync-client"]),
        Suite::Native => libtest::run(workspace, &["sync-native"]),
        Suite::Hub => libtest::run(workspace, &["sync-hub"]),
        Suite::Wasm => {
            packages::build_package(workspace)?;
            node::run(workspace, "wasm", &workspace.package(), "test", &[])
        }
        Suite::Browser => browser(workspace),
    }
}

/// The tests find hub, client, app and browser by these variables.
fn browser(workspace: &Workspace) -> Result<Tally> {
    packages::build_package(workspace)?;
    packages::build_demo(workspace)?;
    let hub = built(workspace, &["--package=sync-hub", "--bin=sync-hub"], "sync-hub")?;
    let notes = built(workspace, &["--package=sync-client", "--example=notes"], "examples/notes")?;
    let chromium = setup::find_chromium().context("Chromium is missing")?;
    let variables = [
        ("SYNC_HUB_BIN", hub),
        ("SYNC_NOTES_BIN", notes),
        ("SYNC_DEMO_DIST", workspace.demo_dist()),
        ("CHROMIUM_BIN", chromium),
    ];
    node::run(workspace, "browser", &workspace.demo(), "e2e", &variables)
}

/// Builds a program as the other tests build it, and returns its path.
fn built(workspace: &Workspace, selection: &[&str], file: &str) -> Result<PathBuf> {
    process::run(process::cargo(&workspace.root).args(["build", "--quiet"]).args(selection))?;
    let path = workspace.target.join("debug").join(file);
    if !path.is_file() {
        bail!("{} was built, but is not in its place", workspace.relative(&path).display());
    }
    Ok(path)
}
