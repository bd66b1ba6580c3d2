//! The tasks of this workspace, run as `cargo xtask …`: `setup`, `demo`, `test`, `sim`, `zoo`,
//! `fuzz`, `long`, `coverage`, `mutants`, `bench`, `header`, `lint`, `size`.
//!
//! A fresh machine needs Rust and Node; `demo` and `test` fetch what else they need. This crate
//! depends on nothing else in the workspace, so it builds when the rest does not.

mod bench;
mod coverage;
mod demo;
mod fuzz;
mod header;
mod lint;
mod long;
mod mutants;
mod packages;
mod process;
mod setup;
mod sim;
mod size;
mod test;
mod wasm;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Needs;
use crate::test::Suite;
use crate::wasm::toolchain::Choice;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Tasks of this workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Looks at what is missing on this machine and gets it.
    Setup {
        /// Where the compiler for WASM comes from; remembered until `cargo clean`.
        #[arg(long, value_enum)]
        wasm: Option<Choice>,
    },
    /// Builds the WASM module and the npm package.
    Build,
    /// Builds everything in release mode and serves the notes app.
    Demo {
        /// The port on this machine; 0 takes a free one.
        #[arg(long, default_value_t = 8787)]
        port: u16,
        /// Where the hub keeps its data; `data` in the repository where not given.
        #[arg(long)]
        data_dir: Option<PathBuf>,
    },
    /// Runs every suite, the browser included, or those that are named.
    Test {
        #[arg(value_enum)]
        suites: Vec<Suite>,
    },
    /// Runs the simulator over many seeds, or shows one.
    Sim(sim::Choice),
    /// Breaks rules of the core and its drivers on purpose, and looks whether the simulator notices.
    Zoo(sim::Zoo),
    /// Looks for inputs that break a promise, with nightly and cargo-fuzz.
    Fuzz(fuzz::Options),
    /// Runs the proofs that take long at their full size.
    Long(long::Options),
    /// Measures which lines of the core its tests reach.
    Coverage,
    /// Changes the causal module in small ways and looks whether a test notices.
    Mutants(mutants::Options),
    /// Measures this core beside its peers and a floor.
    Bench(bench::Options),
    /// Writes the header of the C ABI anew.
    Header,
    /// Checks format, clippy, layering, texts and types.
    Lint,
    /// Prints the size of the WASM module.
    Size,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup { wasm } => {
            if let Some(choice) = wasm {
                wasm::toolchain::remember(&workspace, choice)?;
            }
            setup::run(&workspace, Needs::everything())
        }
        Task::Build => {
            setup::run(&workspace, Needs::package())?;
            packages::build_package(&workspace)
        }
        Task::Demo { port, data_dir } => demo::run(&workspace, port, data_dir),
        Task::Test { suites } => test::run(&workspace, &suites),
        Task::Sim(choice) => sim::run(&workspace, &choice),
        Task::Zoo(zoo) => sim::zoo(&workspace, &zoo),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Long(options) => long::run(&workspace, &options),
        Task::Coverage => coverage::run(&workspace),
        Task::Mutants(options) => mutants::run(&workspace, &options),
        Task::Bench(options) => bench::run(&workspace, &options),
        Task::Header => header::run(&workspace),
        Task::Lint => lint::run(&workspace),
        Task::Size => size::run(&workspace),
    }
}
