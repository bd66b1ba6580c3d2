//! Deletes a note.

use anyhow::Result;

use crate::notes::{Notes, record, stored};

#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The note's id.
    id: String,
}

impl Rm {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        stored(&notes.notes.remove(&record(&self.id)?)?)?;
        notes.done()
    }
}
