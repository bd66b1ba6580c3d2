//! What each command does.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use serde_json::{Value as Json, json};

use sync_client::{
    Clash, Client, Collection, Conflict, Connection, DocumentHandle, Field, Phase, RecordId,
    ReplicaId, Written, members,
};

use crate::args::{Args, Command};
use crate::note::{self, COLLECTION};
use crate::watch::watch;

/// How long `status` waits for the hub's answer.
const STATUS_WAIT: Duration = Duration::from_secs(3);

/// An open document, and how to print.
pub(crate) struct Notes {
    pub(crate) client: Client,
    pub(crate) document: DocumentHandle,
    pub(crate) notes: Collection,
    hub: Option<String>,
    pub(crate) is_json: bool,
}

/// Runs a command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let notes = Notes::open(args)?;
    let done = notes.run(&args.command);
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
        let connects =
            matches!(args.command, Command::Watch | Command::Sync { .. } | Command::Status);
        if let Some(hub) = args.hub.as_ref().filter(|_| connects) {
            builder = builder.hub(hub);
        }
        let client = builder.open()?;
        let document = client.document(&args.doc)?;
        let notes = document.collection(COLLECTION);
        Ok(Self { client, document, notes, hub: args.hub.clone(), is_json: args.json })
    }

    fn run(&self, command: &Command) -> Result<()> {
        match command {
            Command::Add { title, body, tags } => {
                let fields = [("title", title.as_str().into()), ("body", body.as_str().into())];
                let tags = ("tags", members(tags.iter().map(String::as_str)));
                let (id, written) = self.notes.insert(fields.into_iter().chain([tags]))?;
                stored(&written)?;
                self.print(&json!({ "id": id.to_string() }), || vec![id.to_string()])
            }
            Command::Edit { id, title, body, tags, no_tags } => {
                let mut fields: Vec<(&str, Field)> = Vec::new();
                fields.extend(title.as_deref().map(|title| ("title", title.into())));
                fields.extend(body.as_deref().map(|body| ("body", body.into())));
                if *no_tags || !tags.is_empty() {
                    fields.push(("tags", members(tags.iter().map(String::as_str))));
                }
                stored(&self.notes.update(&record(id)?, fields)?)?;
                self.done()
            }
            Command::Rm { id } => {
                stored(&self.notes.remove(&record(id)?)?)?;
                self.done()
            }
            Command::Ls => self.ls(),
            Command::Watch => watch(self),
            Command::Status => self.status(),
            Command::Sync { timeout } => self.sync(*timeout),
            Command::Conflicts => self.conflicts(),
            Command::Keep { id, author } => self.keep(&record(id)?, author),
        }
    }

    fn ls(&self) -> Result<()> {
        let notes = self.notes.list()?;
        let json: Json = notes.iter().map(note::json).collect();
        self.print(&json, || notes.iter().map(note::line).collect())
    }

    fn status(&self) -> Result<()> {
        let settled = |connection: &Connection| !matches!(connection, Connection::Connecting);
        self.client.wait_connection(STATUS_WAIT, settled);
        let (json, line) = self.state()?;
        self.print(&json, || vec![line])
    }

    /// How everything is, as JSON and as a line.
    pub(crate) fn state(&self) -> Result<(Json, String)> {
        let status = self.document.status();
        let reason = match &status.connection {
            Connection::Offline(reason) => Some(reason.to_string()),
            Connection::Online | Connection::Connecting => None,
        };
        let connection = status.connection.to_string();
        let seen: BTreeMap<_, _> = self.document.read(|document| {
            let context = document.store().context().iter();
            Ok(context.map(|(replica, ranges)| (replica.to_string(), ranges.max())).collect())
        })?;
        let json = json!({
            "document": self.document.name(),
            "connection": connection,
            "reason": reason,
            "phase": phase(status.phase),
            "pending": status.pending,
            "parked": status.parked,
            "replica": status.replica.to_string(),
            "seen": seen,
        });
        let because = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let parked = match status.parked {
            0 => String::new(),
            parked => format!(", {parked} refused by the hub"),
        };
        Ok((json, format!("{connection}{because}, {} pending{parked}", status.pending)))
    }

    fn sync(&self, timeout: Duration) -> Result<()> {
        if self.hub.is_none() {
            bail!("no hub to sync with; name one with --hub URL");
        }
        self.client.wait_sync(timeout)?;
        self.print(&self.state()?.0, || vec!["in sync".to_owned()])
    }

    fn conflicts(&self) -> Result<()> {
        let open = self.notes.conflicts()?;
        let log = self.document.conflict_log()?;
        let clash = |clash: &Clash| {
            json!({
                "id": clash.id.to_string(),
                "note": clash.item.as_ref().map(note::json),
                "conflicts": clash.conflicts.iter().map(note::conflict_json).collect::<Vec<_>>(),
                "authors": authors(clash).iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        let json = json!({
            "open": open.iter().map(clash).collect::<Vec<_>>(),
            "log": log.iter().map(note::logged_json).collect::<Vec<_>>(),
        });
        self.print(&json, || {
            let mut lines = vec![format!("in conflict: {}", open.len())];
            for clash in &open {
                lines.push(clash.item.as_ref().map_or(clash.id.to_string(), note::line));
                lines.extend(clash.conflicts.iter().flat_map(note::conflict_lines));
            }
            lines.push(format!("conflict log: {}", log.len()));
            lines.extend(log.iter().flat_map(note::logged_lines));
            lines
        })
    }

    /// Resolves everything that clashes in a note in favour of one author.
    fn keep(&self, id: &RecordId, author: &str) -> Result<()> {
        let clashes = self.notes.conflicts()?;
        let Some(clash) = clashes.iter().find(|clash| clash.id == *id) else {
            bail!("nothing clashes in note {id}; see `notes conflicts`");
        };
        let authors = authors(clash);
        let named: Vec<_> =
            authors.iter().filter(|known| known.to_string().starts_with(author)).collect();
        let [author] = named[..] else {
            let list: Vec<_> = authors.iter().map(|author| format!("\n  {author}")).collect();
            bail!("name one of the authors of note {id}:{}", list.concat());
        };
        let ((), written) = self.document.change(|edit| {
            for conflict in &clash.conflicts {
                match conflict {
                    Conflict::Field { .. } => {}
                    Conflict::EditKept { removal: Some(removal), .. }
                        if removal.replica == *author =>
                    {
                        return edit.remove(COLLECTION, id);
                    }
                    Conflict::EditKept { .. } => edit.adopt(COLLECTION, id)?,
                    Conflict::Partial { .. } => edit.restore(COLLECTION, id)?,
                }
            }
            let has_fields = clash.versions.iter().any(|version| version.author == *author);
            if has_fields { edit.keep(COLLECTION, id, *author) } else { Ok(()) }
        })?;
        stored(&written)?;
        self.done()
    }

    /// Prints the outcome of a change that has no other.
    fn done(&self) -> Result<()> {
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
fn stored(written: &Written) -> Result<()> {
    written.wait_disk().context("the change is not on disk")
}

fn record(id: &str) -> Result<RecordId> {
    RecordId::new(id).with_context(|| format!("{id:?} is no note's id"))
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Opening => "opening",
        Phase::CatchingUp => "catching-up",
        Phase::Live => "live",
    }
}

/// Everyone whose side can be kept.
fn authors(clash: &Clash) -> Vec<ReplicaId> {
    let mut authors: Vec<_> = clash.versions.iter().map(|version| version.author).collect();
    for conflict in &clash.conflicts {
        match conflict {
            Conflict::Field { .. } => {}
            Conflict::EditKept { edit, removal } => {
                authors.push(edit.replica);
                authors.extend(removal.map(|removal| removal.replica));
            }
            Conflict::Partial { edits } => authors.extend(edits.iter().map(|edit| edit.replica)),
        }
    }
    authors.sort();
    authors.dedup();
    authors
}
