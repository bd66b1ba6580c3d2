//! Shows how far everything is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value as Json, json};

use sync_client::{Connection, Phase};

use crate::notes::Notes;

/// How long to wait for the hub's answer.
const WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        let settled = |connection: &Connection| !matches!(connection, Connection::Connecting);
        notes.client.wait_connection(WAIT, settled);
        let (json, line) = state(notes)?;
        notes.print(&json, || vec![line])
    }
}

/// How everything is, as JSON and as a line.
pub(crate) fn state(notes: &Notes) -> Result<(Json, String)> {
    let status = notes.document.status();
    let reason = match &status.connection {
        Connection::Offline(reason) => Some(reason.to_string()),
        Connection::Online | Connection::Connecting => None,
    };
    let connection = status.connection.to_string();
    let seen: BTreeMap<_, _> = notes.document.read(|document| {
        let context = document.store().context().iter();
        Ok(context.map(|(replica, ranges)| (replica.to_string(), ranges.max())).collect())
    })?;
    let json = json!({
        "document": notes.document.name(),
        "connection": connection,
        "reason": reason,
        "phase": phase(status.phase),
        "pending": status.pending,
        "parked": status.parked,
        "replica": status.replica.to_string(),
        "seen": seen,
    });
    let because = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let parked = match status.parked {
        0 => String::new(),
        parked => format!(", {parked} refused by the hub"),
    };
    Ok((json, format!("{connection}{because}, {} pending{parked}", status.pending)))
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Opening => "opening",
        Phase::CatchingUp => "catching-up",
        Phase::Live => "live",
    }
}
