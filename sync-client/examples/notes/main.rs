//! A terminal client on the same document as the notes app.

mod args;
mod commands;
mod note;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    match commands::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notes: {error:#}");
            ExitCode::FAILURE
        }
    }
}
