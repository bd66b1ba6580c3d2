//! Tells which fields changed, from a cursor on.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value as Json, json};

use sync_client::{FeedCursor, FeedEntry};

use crate::note::{field_json, place_text};
use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Feed {
    /// Where to go on: the cursor that was printed last. The oldest change that is kept where not given.
    #[arg(long, value_name = "CURSOR")]
    after: Option<u64>,
    /// The most changes.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Wait so many seconds for something new.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

impl Feed {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let document = &notes.document;
        let after = match self.after {
            Some(after) => FeedCursor::from_u64(after),
            None => document.feed_begin()?,
        };
        let page = match self.wait {
            Some(wait) => document.wait_feed(after, &[], self.limit, Duration::from_secs(wait))?,
            None => document.feed(after, &[], self.limit)?,
        };
        let entries: Json = page.entries.iter().map(entry_json).collect();
        let json = json!({
            "entries": entries,
            "next": page.next.to_u64(),
            "more": page.has_more,
        });
        notes.print(&json, || {
            let mut lines: Vec<_> = page.entries.iter().map(line).collect();
            lines.push(format!("cursor: {}", page.next.to_u64()));
            lines
        })
    }
}

fn entry_json(entry: &FeedEntry) -> Json {
    json!({
        "cursor": entry.cursor.to_u64(),
        "change": entry.change.to_string(),
        "place": place_text(&entry.place),
        "path": entry.path,
        "old": entry.old.as_ref().map(field_json),
        "new": entry.new.as_ref().map(field_json),
        "author": entry.author.map(|author| author.to_string()),
        "at_ms": entry.unix_ms,
    })
}

fn line(entry: &FeedEntry) -> String {
    let text = |field: &Option<_>| field.as_ref().map_or(Json::Null, field_json);
    let path: String = entry.path.iter().map(|name| format!(" {name}")).collect();
    let author = entry.author.map(|author| format!(" by {author}")).unwrap_or_default();
    let place = place_text(&entry.place);
    format!("{place}{path}: {} -> {}{author}", text(&entry.old), text(&entry.new))
}
