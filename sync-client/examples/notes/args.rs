//! The command line: what all commands have in common, and which there are.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::notes::Notes;
use crate::{add, conflicts, edit, keep, ls, rm, status, sync, watch};

/// Notes that work without a network and sync with a hub.
#[derive(Debug, Parser)]
#[command(name = "notes")]
pub(crate) struct Args {
    /// The directory with the notes; made if there is none.
    #[arg(long, global = true, value_name = "DIR", env = "NOTES_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The hub that `watch`, `sync` and `status` connect to, as http://HOST:PORT.
    #[arg(long, global = true, value_name = "URL", env = "NOTES_HUB")]
    pub(crate) hub: Option<String>,
    /// The name of the document.
    #[arg(long, global = true, value_name = "NAME", default_value = "notes")]
    pub(crate) doc: String,
    /// Write JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Each command is in a file of its own, with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a note and print its id.
    Add(add::Add),
    /// Change a note; what is not given stays.
    Edit(edit::Edit),
    /// Delete a note.
    Rm(rm::Rm),
    /// List the notes.
    Ls(ls::Ls),
    /// Show the notes, then changes as they come, until interrupted.
    Watch(watch::Watch),
    /// Show how far everything is.
    Status(status::Status),
    /// Wait until nothing is pending and the hub's state is here.
    Sync(sync::Sync),
    /// Show what clashes, and the conflict log.
    Conflicts(conflicts::Conflicts),
    /// Resolve what clashes in a note by keeping what one author wrote.
    Keep(keep::Keep),
}

impl Command {
    /// Whether it uses the hub.
    pub(crate) fn connects(&self) -> bool {
        matches!(self, Self::Watch(_) | Self::Sync(_) | Self::Status(_))
    }

    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        match self {
            Self::Add(add) => add.run(notes),
            Self::Edit(edit) => edit.run(notes),
            Self::Rm(rm) => rm.run(notes),
            Self::Ls(ls) => ls.run(notes),
            Self::Watch(watch) => watch.run(notes),
            Self::Status(status) => status.run(notes),
            Self::Sync(sync) => sync.run(notes),
            Self::Conflicts(conflicts) => conflicts.run(notes),
            Self::Keep(keep) => keep.run(notes),
        }
    }
}
