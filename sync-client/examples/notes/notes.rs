//! The open notes, and what all commands do alike.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap::error::ErrorKind;
use serde_json::{Value as Json, json};

use sync_client::{Client, Collection, DocumentHandle, Limits, RecordId, Written};

use crate::args::{Args, Command};
use crate::note::COLLECTION;

/// An open document, and how to print.
pub(crate) struct Notes {
    pub(crate) client: Client,
    pub(crate) document: DocumentHandle,
    pub(crate) notes: Collection,
    pub(crate) hub: Option<String>,
    pub(crate) is_json: bool,
}

/// Runs a command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Command::Completion(completion) = &args.command {
        return completion.run();
    }
    let notes = Notes::open(args)?;
    let done = args.command.run(&notes);
    let closed = notes.client.shutdown().context("not everything is on disk");
    done.and(closed)
}

impl Notes {
    fn open(args: &Args) -> Result<Self> {
        let Some(data) = &args.data else {
            // Clap does not know arguments that are both global and required.
            let error = "no data directory; name one with --data DIR";
            Args::command().error(ErrorKind::MissingRequiredArgument, error).exit();
        };
        let mut builder = Client::builder(data).agent("notes").document(&args.doc);
        builder = builder.keep_undo(Limits::UNDO).keep_feed(Limits::FEED);
        if let Some(hub) = args.hub.as_ref().filter(|_| args.command.connects()) {
            builder = builder.hub(hub);
        }
        if let Some(name) = &args.device {
            builder = builder.device_name(name);
        }
        let client = builder.open()?;
        let document = client.document(&args.doc)?;
        let notes = document.collection(COLLECTION);
        Ok(Self { client, document, notes, hub: args.hub.clone(), is_json: args.json })
    }

    /// The time by this device's clock, in milliseconds since 1970.
    #[allow(clippy::disallowed_methods, reason = "for a person")]
    pub(crate) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or_default().as_millis() as u64
    }

    /// Prints the outcome of a change that has no other.
    pub(crate) fn done(&self) -> Result<()> {
        if self.is_json { self.print(&json!({}), Vec::new) } else { Ok(()) }
    }

    /// Prints JSON on one line, or lines.
    pub(crate) fn print(&self, json: &Json, lines: impl FnOnce() -> Vec<String>) -> Result<()> {
        let lines = if self.is_json { vec![json.to_string()] } else { lines() };
        let mut out = io::stdout().lock();
        for line in lines {
            writeln!(out, "{line}").context("standard output is closed")?;
        }
        out.flush().context("standard output is closed")
    }
}

/// Waits until a change is on disk.
pub(crate) fn stored(written: &Written) -> Result<()> {
    written.wait_disk().context("the change is not on disk")
}

/// Reads a note's id.
pub(crate) fn record(id: &str) -> Result<RecordId> {
    RecordId::new(id).with_context(|| format!("{id:?} is no note's id"))
}
