//! Shows the notes, and what happens to them, until interrupted.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};

use sync_client::{Event, Item, Place, RecordId};

use crate::note::{self, COLLECTION};
use crate::notes::Notes;
use crate::status::state;

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {}

impl Watch {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        watch(notes)
    }
}

fn watch(notes: &Notes) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ended = pin!(ended().context("signals cannot be received")?);
        let mut events = notes.client.subscribe();
        notes.document.show("notes", Vec::new())?;
        let mut shown = Shown::default();
        shown.notes(notes)?;
        shown.state(notes)?;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut ended => return Ok(()),
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

/// Listens from here on; completes when the program is asked to end.
fn ended() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // Where signals cannot be received, the system ends the program.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn id(place: &Place) -> Option<&RecordId> {
    match place {
        Place::Record { collection, id } if collection == COLLECTION => Some(id),
        Place::Record { .. } | Place::Set { .. } | Place::Value { .. } => None,
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
        let ids: Vec<_> = notes.notes.list()?.into_iter().map(|note| note.id).collect();
        let gone: Vec<_> = self.notes.keys().filter(|id| !ids.contains(id)).cloned().collect();
        ids.iter().chain(&gone).try_for_each(|id| self.note(notes, id))
    }

    fn note(&mut self, notes: &Notes, id: &RecordId) -> Result<()> {
        match notes.notes.get(id)? {
            Some(note) if self.notes.get(id) == Some(&note) => Ok(()),
            Some(note) => {
                notes.print(&json!({ "note": note::json(&note) }), || vec![note::line(&note)])?;
                self.notes.insert(id.clone(), note);
                Ok(())
            }
            None if self.notes.remove(id).is_some() => notes
                .print(&json!({ "removed": id.to_string() }), || vec![format!("{id}  removed")]),
            None => Ok(()),
        }
    }

    fn state(&mut self, notes: &Notes) -> Result<()> {
        let (json, line) = state(notes)?;
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
