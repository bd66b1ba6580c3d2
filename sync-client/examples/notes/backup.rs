//! Copies everything into another directory, while it may be in use.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The directory for the copy; made if there is none. It can be used as --data.
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

impl Backup {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let path = notes.client.backup(&self.to)?.display().to_string();
        notes.print(&json!({ "path": path }), || vec![path.clone()])
    }
}
