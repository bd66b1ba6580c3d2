//! Joins a document that was exported into this one.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The file that `export` wrote.
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

impl Import {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let imported = notes.document.import_from(&self.from)?;
        notes.print(&json!({ "entries": imported.entries, "new": imported.new }), || {
            vec![format!("{} changes were new", imported.new)]
        })
    }
}
