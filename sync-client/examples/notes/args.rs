//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a note and print its id.
    Add {
        /// The note's title.
        title: String,
        /// The note's text.
        #[arg(long, value_name = "TEXT", default_value = "")]
        body: String,
        /// A tag; may be given several times.
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Change a note; what is not given stays.
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Edit {
        /// The note's id.
        id: String,
        /// The new title.
        #[arg(long, value_name = "TITLE", group = "what")]
        title: Option<String>,
        /// The new text.
        #[arg(long, value_name = "TEXT", group = "what")]
        body: Option<String>,
        /// A tag; all that are given take the place of the old ones.
        #[arg(long = "tag", value_name = "TAG", group = "what")]
        tags: Vec<String>,
        /// Remove all tags.
        #[arg(long, group = "what", conflicts_with = "tags")]
        no_tags: bool,
    },
    /// Delete a note.
    Rm {
        /// The note's id.
        id: String,
    },
    /// List the notes.
    Ls,
    /// Show the notes, then changes as they come, until interrupted.
    Watch,
    /// Show how far everything is.
    Status,
    /// Wait until nothing is pending and the hub's state is here.
    Sync {
        /// How long to wait.
        #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
        timeout: Duration,
    },
    /// Show what clashes, and the conflict log.
    Conflicts,
    /// Resolve what clashes in a note by keeping what one author wrote.
    Keep {
        /// The note's id.
        id: String,
        /// The author as `conflicts` lists it, or the start of it.
        author: String,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
