//! Resolves everything that clashes in a note in favour of one author.

use anyhow::{Result, bail};

use sync_client::{Clash, Conflict, ReplicaId};

use crate::note::COLLECTION;
use crate::notes::{Notes, record, stored};

#[derive(Debug, clap::Args)]
pub(crate) struct Keep {
    /// The note's id.
    id: String,
    /// The author as `conflicts` lists it, or the start of it.
    author: String,
}

impl Keep {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let id = &record(&self.id)?;
        let clashes = notes.notes.conflicts()?;
        let Some(clash) = clashes.iter().find(|clash| clash.id == *id) else {
            bail!("nothing clashes in note {id}; see `notes conflicts`");
        };
        let authors = authors(clash);
        let named: Vec<_> =
            authors.iter().filter(|known| known.to_string().starts_with(&self.author)).collect();
        let [author] = named[..] else {
            let list: Vec<_> = authors.iter().map(|author| format!("\n  {author}")).collect();
            bail!("name one of the authors of note {id}:{}", list.concat());
        };
        let ((), written) = notes.document.change(|edit| {
            for conflict in &clash.conflicts {
                match conflict {
                    Conflict::Field { .. } => {}
                    Conflict::EditKept { removal: Some(removal), .. }
                        if removal.replica == *author =>
                    {
                        return edit.remove(COLLECTION, id);
                    }
                    Conflict::EditKept { .. } => edit.adopt(COLLECTION, id)?,
                    Conflict::Partial { .. } => edit.restore(COLLECTION, id)?,
                }
            }
            let has_fields = clash.versions.iter().any(|version| version.author == *author);
            if has_fields { edit.keep(COLLECTION, id, *author) } else { Ok(()) }
        })?;
        stored(&written)?;
        notes.done()
    }
}

/// Everyone whose side can be kept.
pub(crate) fn authors(clash: &Clash) -> Vec<ReplicaId> {
    let mut authors: Vec<_> = clash.versions.iter().map(|version| version.author).collect();
    for conflict in &clash.conflicts {
        match conflict {
            Conflict::Field { .. } => {}
            Conflict::EditKept { edit, removal } => {
                authors.push(edit.replica);
                authors.extend(removal.map(|removal| removal.replica));
            }
            Conflict::Partial { edits } => authors.extend(edits.iter().map(|edit| edit.replica)),
        }
    }
    authors.sort();
    authors.dedup();
    authors
}
