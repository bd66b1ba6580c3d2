//! Shows the notes, and what happens to them, until interrupted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use tokio::signal::unix::{SignalKind, signal};

use sync_client::{Event, Item, Place, RecordId};

use crate::commands::Notes;
use crate::note::{self, COLLECTION};

pub(crate) fn watch(notes: &Notes) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
        let mut events = notes.client.subscribe();
        notes.document.show("notes", Vec::new())?;
        let mut shown = Shown::default();
        shown.notes(notes)?;
        shown.state(notes)?;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            };
            match event {
                None => return Ok(()),
                Some(Event::Changed { places, .. }) => {
                    let ids = places.iter().filter_map(id);
                    for id in ids {
                        shown.note(notes, id)?;
                    }
                }
                Some(Event::Peers { .. }) => shown.peers(notes)?,
                Some(Event::Missed) => {
                    shown.notes(notes)?;
                    shown.peers(notes)?;
                    shown.state(notes)?;
                }
                Some(_) => shown.state(notes)?,
            }
        }
    })
}

fn id(place: &Place) -> Option<&RecordId> {
    match place {
        Place::Record { collection, id } if collection == COLLECTION => Some(id),
        Place::Record { .. } | Place::Set { .. } => None,
    }
}

/// What was printed last, so that nothing is printed twice.
#[derive(Default)]
struct Shown {
    notes: BTreeMap<RecordId, Item>,
    state: Json,
    peers: Vec<String>,
}

impl Shown {
    fn notes(&mut self, notes: &Notes) -> Result<()> {
        let ids: Vec<_> = notes.notes.list().into_iter().map(|note| note.id).collect();
        let gone: Vec<_> = self.notes.keys().filter(|id| !ids.contains(id)).cloned().collect();
        ids.iter().chain(&gone).try_for_each(|id| self.note(notes, id))
    }

    fn note(&mut self, notes: &Notes, id: &RecordId) -> Result<()> {
        match notes.notes.get(id) {
            Some(note) if self.notes.get(id) == Some(&note) => Ok(()),
            Some(note) => {
                notes.print(&json!({ "note": note::json(&note) }), || vec![note::line(&note)])?;
                self.notes.insert(id.clone(), note);
                Ok(())
            }
            None if self.notes.remove(id).is_some() => {
                notes.print(&json!({ "removed": id.as_str() }), || vec![format!("{id}  removed")])
            }
            None => Ok(()),
        }
    }

    fn state(&mut self, notes: &Notes) -> Result<()> {
        let (json, line) = notes.state();
        if json == self.state {
            return Ok(());
        }
        self.state.clone_from(&json);
        notes.print(&json!({ "status": json }), || vec![format!("* {line}")])
    }

    fn peers(&mut self, notes: &Notes) -> Result<()> {
        let peers = notes.document.peers();
        let peers: Vec<_> = peers.into_values().map(|peer| peer.name).collect();
        if peers == self.peers {
            return Ok(());
        }
        self.peers = peers;
        let line = match &self.peers[..] {
            [] => "* nobody else is online".to_owned(),
            peers => format!("* also online: {}", peers.join(", ")),
        };
        notes.print(&json!({ "online": self.peers }), || vec![line])
    }
}
