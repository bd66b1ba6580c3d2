//! Takes back what was changed: what somebody did, or one's own last change.

use anyhow::{Result, bail};
use serde_json::json;

use sync_client::{ReplicaId, Which, Written};

use crate::note::place_text;
use crate::notes::{Notes, stored};

/// Takes back what the tape has, where all that is said here holds.
#[derive(Debug, clap::Args)]
pub(crate) struct Revert {
    /// What was changed since this checkpoint.
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// What this author changed: the start of its id, as `feed` shows it.
    #[arg(long, value_name = "AUTHOR")]
    author: Option<String>,
    /// What the device of this author changed, also under other ids.
    #[arg(long, value_name = "AUTHOR")]
    device: Option<String>,
    /// What was changed or arrived from this time on, in milliseconds since 1970.
    #[arg(long, value_name = "MS")]
    from: Option<u64>,
    /// What was changed or arrived before this time, in milliseconds since 1970.
    #[arg(long, value_name = "MS")]
    until: Option<u64>,
}

impl Revert {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self { since, from, until, .. } = self;
        let find = |author: &Option<String>| {
            author.as_ref().map(|author| replica(notes, author)).transpose()
        };
        let is_timed = from.is_some() || until.is_some();
        let which = Which {
            since: *since,
            author: find(&self.author)?,
            device: find(&self.device)?,
            unix_ms: is_timed.then(|| from.unwrap_or(0)..until.unwrap_or(u64::MAX)),
        };
        if which == Which::default() {
            bail!("say what to take back, by --since, --author, --device, --from or --until");
        }
        let done = notes.document.revert(&which)?;
        done.written.iter().try_for_each(stored)?;
        let unclear: Vec<_> = done.unclear.iter().map(place_text).collect();
        let json = json!({ "changes": done.written.len(), "unclear": unclear });
        notes.print(&json, || {
            let unclear = unclear.iter().map(|place| {
                format!("{place}: it is not known who took something away here; it stays away")
            });
            unclear.collect()
        })
    }
}

/// The replica of the document whose id begins so.
fn replica(notes: &Notes, start: &str) -> Result<ReplicaId> {
    let known: Vec<ReplicaId> = notes.document.read(|document| {
        Ok(document.store().context().iter().map(|(replica, _)| replica).collect())
    })?;
    let named: Vec<_> = known.iter().filter(|one| one.to_string().starts_with(start)).collect();
    if let [replica] = named[..] {
        return Ok(*replica);
    }
    let list: Vec<_> = known.iter().map(|one| format!("\n  {one}")).collect();
    bail!("name one of the authors:{}", list.concat());
}

/// Undoes the last change that was made here.
#[derive(Debug, clap::Args)]
pub(crate) struct Undo {}

impl Undo {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        turned(notes, notes.document.undo()?, "nothing to undo")
    }
}

/// Does again what was undone last.
#[derive(Debug, clap::Args)]
pub(crate) struct Redo {}

impl Redo {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        turned(notes, notes.document.redo()?, "nothing to redo")
    }
}

fn turned(notes: &Notes, written: Option<Written>, nothing: &'static str) -> Result<()> {
    let Some(written) = written else { bail!(nothing) };
    stored(&written)?;
    notes.done()
}
