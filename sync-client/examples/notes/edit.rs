//! Changes a note.

use anyhow::Result;

use sync_client::{Field, members};

use crate::notes::{Notes, record, stored};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Edit {
    /// The note's id.
    id: String,
    /// The new title.
    #[arg(long, value_name = "TITLE", group = "what")]
    title: Option<String>,
    /// The new text.
    #[arg(long, value_name = "TEXT", group = "what")]
    body: Option<String>,
    /// A tag; all that are given take the place of the old ones.
    #[arg(long = "tag", value_name = "TAG", group = "what")]
    tags: Vec<String>,
    /// Remove all tags.
    #[arg(long, group = "what", conflicts_with = "tags")]
    no_tags: bool,
}

impl Edit {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self { id, title, body, tags, no_tags } = self;
        let mut fields: Vec<(&str, Field)> = Vec::new();
        fields.extend(title.as_deref().map(|title| ("title", title.into())));
        fields.extend(body.as_deref().map(|body| ("body", body.into())));
        if *no_tags || !tags.is_empty() {
            fields.push(("tags", members(tags.iter().map(String::as_str))));
        }
        stored(&notes.notes.update(&record(id)?, fields)?)?;
        notes.done()
    }
}
