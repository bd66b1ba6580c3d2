//! Lists the notes.

use anyhow::Result;
use serde_json::Value as Json;

use crate::note;
use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

impl Ls {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        let found = notes.notes.list()?;
        let json: Json = found.iter().map(note::json).collect();
        notes.print(&json, || found.iter().map(note::line).collect())
    }
}
