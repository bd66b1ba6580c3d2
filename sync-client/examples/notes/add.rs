//! Adds a note.

use anyhow::Result;
use serde_json::json;

use sync_client::members;

use crate::notes::{Notes, stored};

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The note's title.
    title: String,
    /// The note's text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    body: String,
    /// A tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

impl Add {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self { title, body, tags } = self;
        let fields = [("title", title.as_str().into()), ("body", body.as_str().into())];
        let tags = ("tags", members(tags.iter().map(String::as_str)));
        let (id, written) = notes.notes.insert(fields.into_iter().chain([tags]))?;
        stored(&written)?;
        notes.print(&json!({ "id": id.to_string() }), || vec![id.to_string()])
    }
}
