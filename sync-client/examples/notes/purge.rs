//! Empties what is kept of deleted notes.

use anyhow::Result;

use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Purge {}

impl Purge {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        notes.client.purge()?;
        notes.done()
    }
}
