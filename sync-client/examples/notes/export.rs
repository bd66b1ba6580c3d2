//! Writes the document as one portable file.

use std::path::PathBuf;

use anyhow::Result;

use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The file; one of this name is replaced.
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

impl Export {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        notes.document.export_to(&self.to)?;
        notes.done()
    }
}
