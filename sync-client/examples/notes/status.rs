//! Shows how far everything is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value as Json, json};

use sync_client::{Connection, Kept};

use crate::devices;
use crate::notes::Notes;
use crate::progress::bytes;

/// How long to wait for the hub's answer.
const WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        let Self {} = self;
        let settled = |connection: &Connection| !matches!(connection, Connection::Connecting);
        notes.client.wait_connection(WAIT, settled);
        let (mut json, line) = state(notes)?;
        let status = notes.document.status();
        let kept = notes.document.kept()?;
        json["heard_ms"] = json!(status.contact.heard_ms);
        json["current_ms"] = json!(status.contact.current_ms);
        json["lag_ms"] = json!(status.lag_ms);
        let devices = notes.document.devices();
        json["devices"] = devices.iter().map(devices::json_of).collect();
        json["kept"] = kept.iter().map(kept_json).collect();
        notes.print(&json, || {
            let mut lines = vec![line];
            if status.pending > 0 {
                lines.push(format!("waiting: at most {}", bytes(status.pending_bytes)));
            }
            if status.is_refilling {
                lines.push("the hub is being given what it lacks".to_owned());
            }
            lines.push(match (status.lag, status.lag_ms) {
                (Some(0), _) => "all that the hub had is here".to_owned(),
                (Some(lag), _) => format!("behind the hub by {lag} changes of fields"),
                (None, Some(ms)) => format!("all that the hub had was here {} ago", time(ms)),
                (None, None) => "never all here that the hub had".to_owned(),
            });
            if let Some(at) = status.contact.heard_ms.filter(|_| !status.connection.is_online()) {
                let ago = notes.now_ms().saturating_sub(at);
                lines.push(format!("last contact with the hub {} ago", time(ago)));
            }
            lines.push(format!("in conflict: {}", status.conflicts));
            lines.extend(devices.iter().map(|device| devices::line(notes, device)));
            lines.extend(kept.iter().map(kept_line));
            lines
        })
    }
}

/// How everything is, as JSON and as a line: what is different only since time goes by is not in it.
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
    let progress = status
        .progress
        .map(|progress| json!({ "received": progress.received, "total": progress.total }));
    let json = json!({
        "document": notes.document.name(),
        "connection": connection,
        "reason": reason,
        "phase": status.phase.name(),
        "pending": status.pending,
        "pending_bytes": status.pending_bytes,
        "parked": status.parked,
        "parked_bytes": status.parked_bytes,
        "refilling": status.is_refilling,
        "lag": status.lag,
        "progress": progress,
        "conflicts": status.conflicts,
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

fn kept_json(kept: &Kept) -> Json {
    json!({
        "keeper": kept.keeper.name(),
        "entries": kept.entries,
        "bytes": kept.bytes,
        "entries_max": kept.entries_max,
        "bytes_max": kept.bytes_max,
        "age_ms_max": kept.age_ms_max,
    })
}

fn kept_line(kept: &Kept) -> String {
    format!(
        "{}: {} entries, {} (at most {} entries, {}, {})",
        kept.keeper.name(),
        kept.entries,
        bytes(kept.bytes),
        kept.entries_max,
        bytes(kept.bytes_max),
        time(kept.age_ms_max),
    )
}

/// A span of time for a person.
pub(crate) fn time(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (count, unit) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}
