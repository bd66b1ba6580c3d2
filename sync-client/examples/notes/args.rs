//! The command line: what all commands have in common, and which there are.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::notes::Notes;
use crate::{
    add, backup, checkpoint, completion, conflicts, devices, edit, export, feed, import, keep, ls,
    outbox, purge, revert, rm, status, sync, watch,
};

/// Notes that work without a network and sync with a hub.
#[derive(Debug, Parser)]
#[command(name = "notes")]
pub(crate) struct Args {
    /// The directory with the notes; made if there is none.
    #[arg(long, global = true, value_name = "DIR", env = "NOTES_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The hub that `watch`, `sync`, `status` and `devices` connect to, as http://HOST:PORT.
    #[arg(long, global = true, value_name = "URL", env = "NOTES_HUB")]
    pub(crate) hub: Option<String>,
    /// What others are told that this device is called.
    #[arg(long, global = true, value_name = "NAME", env = "NOTES_DEVICE")]
    pub(crate) device: Option<String>,
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
    /// List the other devices, and how much they have of what was written here.
    Devices(devices::Devices),
    /// Wait until nothing is pending and the hub's state is here.
    Sync(sync::Sync),
    /// Show what waits for the hub; retry, rewrite, park, drop and export it.
    Outbox(outbox::Outbox),
    /// Show what clashes, and the conflict log.
    Conflicts(conflicts::Conflicts),
    /// Resolve what clashes in a note by keeping what one author wrote.
    Keep(keep::Keep),
    /// Keep the notes as they are, and print the number of that; from the first time on, what happens to
    /// them is recorded.
    Checkpoint(checkpoint::Checkpoint),
    /// List the checkpoints.
    Checkpoints(checkpoint::Checkpoints),
    /// Show what is not as it was at a checkpoint.
    Diff(checkpoint::Diff),
    /// Replay what came since a checkpoint, and check that it gives the notes as they are.
    Rewind(checkpoint::Rewind),
    /// Take back what was recorded: of an author, since a checkpoint, or of a time.
    Revert(revert::Revert),
    /// Undo the last change that was made here.
    Undo(revert::Undo),
    /// Do again what was undone last.
    Redo(revert::Redo),
    /// Show which fields changed, here and elsewhere.
    Feed(feed::Feed),
    /// Copy everything into another directory.
    Backup(backup::Backup),
    /// Write the document as one portable file.
    Export(export::Export),
    /// Join a document that was exported.
    Import(import::Import),
    /// Empty what is kept of deleted notes: conflict log, checkpoints, undo and feed.
    Purge(purge::Purge),
    /// Print the completion for a shell.
    Completion(completion::Completion),
}

impl Command {
    /// Whether it uses the hub.
    pub(crate) fn connects(&self) -> bool {
        matches!(self, Self::Watch(_) | Self::Sync(_) | Self::Status(_) | Self::Devices(_))
    }

    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        match self {
            Self::Add(add) => add.run(notes),
            Self::Edit(edit) => edit.run(notes),
            Self::Rm(rm) => rm.run(notes),
            Self::Ls(ls) => ls.run(notes),
            Self::Watch(watch) => watch.run(notes),
            Self::Status(status) => status.run(notes),
            Self::Devices(devices) => devices.run(notes),
            Self::Sync(sync) => sync.run(notes),
            Self::Outbox(outbox) => outbox.run(notes),
            Self::Conflicts(conflicts) => conflicts.run(notes),
            Self::Keep(keep) => keep.run(notes),
            Self::Checkpoint(checkpoint) => checkpoint.run(notes),
            Self::Checkpoints(checkpoints) => checkpoints.run(notes),
            Self::Diff(diff) => diff.run(notes),
            Self::Rewind(rewind) => rewind.run(notes),
            Self::Revert(revert) => revert.run(notes),
            Self::Undo(undo) => undo.run(notes),
            Self::Redo(redo) => redo.run(notes),
            Self::Feed(feed) => feed.run(notes),
            Self::Backup(backup) => backup.run(notes),
            Self::Export(export) => export.run(notes),
            Self::Import(import) => import.run(notes),
            Self::Purge(purge) => purge.run(notes),
            Self::Completion(completion) => completion.run(),
        }
    }
}
