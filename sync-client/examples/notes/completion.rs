//! Prints what a shell needs to complete this program's commands.

use std::io;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::args::Args;

#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    /// For which shell.
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut Args::command(), "notes", &mut script);
        io::Write::write_all(&mut io::stdout().lock(), &script).context("standard output is closed")
    }
}
