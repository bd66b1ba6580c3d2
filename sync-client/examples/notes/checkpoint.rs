//! Keeps the document as it is, lists what was kept, compares, and replays.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};

use sync_client::{Difference, Field};

use crate::note::{field_json, place_text};
use crate::notes::Notes;

/// Keeps the document as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    /// What to call it.
    label: String,
}

impl Checkpoint {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let made = notes.document.checkpoint(&self.label)?;
        notes.print(&json!({ "number": made.number }), || vec![made.number.to_string()])
    }
}

/// Lists what was kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoints {
    /// Let this one go.
    #[arg(long, value_name = "NUMBER")]
    drop: Option<u64>,
}

impl Checkpoints {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        if let Some(number) = self.drop
            && !notes.document.drop_checkpoint(number)?
        {
            bail!("there is no checkpoint {number}; see `notes checkpoints`");
        }
        let all = notes.document.checkpoints()?;
        let json: Json = all
            .iter()
            .map(|one| {
                json!({
                    "number": one.number,
                    "label": one.label,
                    "at_ms": one.unix_ms,
                    "bytes": one.bytes,
                    "whole": one.is_whole,
                })
            })
            .collect();
        notes.print(&json, || {
            let lines = all.iter().map(|one| {
                let mark = if one.is_whole { "" } else { " (cannot be replayed)" };
                format!("{}  {}, {} bytes{mark}", one.number, one.label, one.bytes)
            });
            lines.collect()
        })
    }
}

/// Shows what is not as it was.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The number of the checkpoint.
    checkpoint: u64,
}

impl Diff {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let found = notes.document.diff(self.checkpoint)?;
        let side = |fields: &Option<BTreeMap<String, Field>>| {
            let fields = fields.as_ref()?;
            let all = fields.iter().map(|(name, field)| (name.clone(), field_json(field)));
            Some(all.collect::<serde_json::Map<_, _>>())
        };
        let json = |one: &Difference| {
            json!({
                "place": place_text(&one.place),
                "old": side(&one.old),
                "new": side(&one.new),
            })
        };
        let all: Json = found.iter().map(json).collect();
        notes.print(&all, || found.iter().flat_map(lines).collect())
    }
}

fn lines(one: &Difference) -> Vec<String> {
    let mut lines = vec![place_text(&one.place)];
    let none = BTreeMap::new();
    let (old, new) = (one.old.as_ref().unwrap_or(&none), one.new.as_ref().unwrap_or(&none));
    for (sign, of, other) in [('-', old, new), ('+', new, old)] {
        let changed = of.iter().filter(|(name, field)| other.get(*name) != Some(field));
        lines.extend(changed.map(|(name, field)| format!("  {sign} {name} {}", field_json(field))));
    }
    lines
}

/// Replays what came since, and compares byte for byte.
#[derive(Debug, clap::Args)]
pub(crate) struct Rewind {
    /// The number of the checkpoint.
    checkpoint: u64,
}

impl Rewind {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let done = notes.document.rewind(self.checkpoint)?;
        let (changes, bytes) = (done.changes, done.bytes);
        let json = json!({ "changes": changes, "bytes": bytes });
        notes.print(&json, || vec![format!("{changes} changes replayed: the same {bytes} bytes")])
    }
}
