//! A terminal client on the same document as the notes app.

mod add;
mod args;
mod backup;
mod checkpoint;
mod completion;
mod conflicts;
mod devices;
mod edit;
mod export;
mod feed;
mod import;
mod keep;
mod ls;
mod note;
mod notes;
mod outbox;
mod progress;
mod purge;
mod revert;
mod rm;
mod status;
mod sync;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    match notes::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notes: {error:#}");
            ExitCode::FAILURE
        }
    }
}
