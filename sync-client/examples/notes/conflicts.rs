//! Shows what clashes, and the conflict log.

use anyhow::Result;
use serde_json::json;

use sync_client::Clash;

use crate::keep::authors;
use crate::note;
use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Conflicts {}

impl Conflicts {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        let open = notes.notes.conflicts()?;
        let log = notes.document.conflict_log()?;
        let clash = |clash: &Clash| {
            json!({
                "id": clash.id.to_string(),
                "note": clash.item.as_ref().map(note::json),
                "conflicts": clash.conflicts.iter().map(note::conflict_json).collect::<Vec<_>>(),
                "authors": authors(clash).iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        let json = json!({
            "open": open.iter().map(clash).collect::<Vec<_>>(),
            "log": log.iter().map(note::logged_json).collect::<Vec<_>>(),
        });
        notes.print(&json, || {
            let mut lines = vec![format!("in conflict: {}", open.len())];
            for clash in &open {
                lines.push(clash.item.as_ref().map_or(clash.id.to_string(), note::line));
                lines.extend(clash.conflicts.iter().flat_map(note::conflict_lines));
            }
            lines.push(format!("conflict log: {}", log.len()));
            lines.extend(log.iter().flat_map(note::logged_lines));
            lines
        })
    }
}
