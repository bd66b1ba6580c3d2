//! What is read, as JSON.

use std::time::UNIX_EPOCH;

use serde_json::{Value as Json, json};

use sync_client::{
    Checkpoint, Clash, Conflict, Connection, Damage, Difference, Event, FeedEntry, FeedPage,
    ItemState, LogEntry, Logged, Peer, Place, ReplicaId, Scrubbed, Side, Status, Version, Waiting,
    Writing,
};

use crate::clients::SYNC_LIST_MAX;
use crate::json::{of_bytes, of_field, of_fields, of_value};

pub(crate) fn connection(connection: &Connection) -> Json {
    let reason = match connection {
        Connection::Online | Connection::Connecting => None,
        Connection::Offline(reason) => Some(reason.to_string()),
    };
    json!({ "connection": connection.to_string(), "reason": reason })
}

pub(crate) fn status(status: &Status) -> Json {
    let mut shape = connection(&status.connection);
    shape["phase"] = json!(status.phase.name());
    shape["pending"] = json!(status.pending);
    shape["pending_bytes"] = json!(status.pending_bytes);
    shape["parked"] = json!(status.parked);
    shape["parked_bytes"] = json!(status.parked_bytes);
    shape["refilling"] = json!(status.is_refilling);
    shape["lag"] = json!(status.lag);
    shape["lag_ms"] = json!(status.lag_ms);
    shape["heard_ms"] = json!(status.contact.heard_ms);
    shape["current_ms"] = json!(status.contact.current_ms);
    let progress = status.progress.as_ref();
    shape["progress"] =
        json!(progress.map(|now| json!({ "received": now.received, "total": now.total })));
    shape["conflicts"] = json!(status.conflicts);
    shape["replica"] = json!(status.replica.to_string());
    shape
}

/// An item of the outbox.
pub(crate) fn waiting(item: &Waiting) -> Json {
    let (state, reason) = match &item.state {
        ItemState::Pending => ("pending", None),
        ItemState::InFlight => ("in-flight", None),
        ItemState::Waiting => ("waiting", None),
        ItemState::Parked { reason } => ("parked", Some(reason)),
        _ => ("other", None),
    };
    let since = item.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    json!({
        "key": item.key.to_string(),
        "document": item.key.document,
        "state": state,
        "reason": reason,
        "bytes": item.bytes,
        "changes": item.changes,
        "since_ms": since.map(|since| since.as_millis() as u64),
        "places": item.places.iter().map(place).collect::<Vec<_>>(),
        "place_count": item.place_count,
    })
}

fn place(place: &Place) -> Json {
    match place {
        Place::Record { collection, id } => {
            json!({ "collection": collection, "id": id.to_string() })
        }
        Place::Set { name } => json!({ "set": name }),
        Place::Value { name } => json!({ "value": name }),
    }
}

pub(crate) fn event(event: &Event) -> Json {
    match event {
        Event::Changed { document, places } => {
            let places: Vec<_> = places.iter().map(place).collect();
            json!({ "event": "changed", "document": document, "places": places })
        }
        Event::Status { document } => json!({ "event": "status", "document": document }),
        Event::Peers { document } => json!({ "event": "peers", "document": document }),
        Event::Conflict { document, entry } => {
            json!({ "event": "conflict", "document": document, "entry": log_entry(entry) })
        }
        Event::Renewed { document, replica } => json!({
            "event": "renewed", "document": document, "replica": replica.to_string(),
        }),
        Event::Connection(now) => {
            let mut shape = connection(now);
            shape["event"] = json!("connection");
            shape
        }
        Event::ClockSkew { behind_ms } => json!({ "event": "clock", "behind_ms": behind_ms }),
        Event::Scrubbed(now) => {
            let mut shape = scrubbed(now);
            shape["event"] = json!("scrubbed");
            shape
        }
        Event::Missed => json!({ "event": "missed" }),
        _ => json!({ "event": "other" }),
    }
}

pub(crate) fn clash(clash: &Clash) -> Json {
    let record = clash.item.as_ref().map(|item| of_fields(&item.fields));
    json!({
        "id": clash.id.to_string(),
        "fields": record,
        "conflicts": clash.conflicts.iter().map(conflict).collect::<Vec<_>>(),
        "versions": clash.versions.iter().map(version).collect::<Vec<_>>(),
    })
}

fn version(version: &Version) -> Json {
    json!({
        "author": version.author.to_string(),
        "at_ms": version.stamp.ms(),
        "fields": of_fields(&version.nested()),
    })
}

fn conflict(conflict: &Conflict) -> Json {
    match conflict {
        Conflict::Field { name, values } => {
            let values: Vec<_> = values.iter().map(writing).collect();
            json!({ "kind": "field", "field": name, "values": values })
        }
        Conflict::EditKept { edit, removal } => json!({
            "kind": "edit-kept",
            "editor": edit.replica.to_string(),
            "remover": removal.map(|removal| removal.replica.to_string()),
        }),
        Conflict::Partial { edits } => json!({
            "kind": "partial",
            "editors": edits.iter().map(|edit| edit.replica.to_string()).collect::<Vec<_>>(),
        }),
    }
}

fn writing(writing: &Writing) -> Json {
    json!({
        "author": writing.claim.origin().replica.to_string(),
        "at_ms": writing.claim.stamp.ms(),
        "value": of_value(&writing.value),
    })
}

pub(crate) fn logged(logged: &Logged) -> Json {
    let mut shape = log_entry(&logged.entry);
    shape["open"] = json!(logged.is_open);
    shape
}

fn log_entry(entry: &LogEntry) -> Json {
    json!({
        "collection": entry.collection,
        "id": entry.record,
        "field": entry.field,
        "sides": entry.sides.iter().map(side).collect::<Vec<_>>(),
        "seen_ms": entry.seen_ms,
    })
}

fn side(side: &Side) -> Json {
    json!({
        "author": side.author.to_string(),
        "at_ms": side.at.map(|stamp| stamp.ms()),
        "deleted": side.is_delete,
        "value": side.value.as_ref().map(of_value),
    })
}

pub(crate) fn peer(replica: &ReplicaId, peer: &Peer) -> Json {
    json!({
        "replica": replica.to_string(), "name": peer.name, "state": of_bytes(&peer.state),
    })
}

pub(crate) fn checkpoint(checkpoint: &Checkpoint) -> Json {
    json!({
        "number": checkpoint.number,
        "label": checkpoint.label,
        "at_ms": checkpoint.unix_ms,
        "bytes": checkpoint.bytes,
        "whole": checkpoint.is_whole,
    })
}

pub(crate) fn difference(difference: &Difference) -> Json {
    json!({
        "place": place(&difference.place),
        "old": difference.old.as_ref().map(of_fields),
        "new": difference.new.as_ref().map(of_fields),
    })
}

/// What taking back did: the numbers of the changes, and where it is not known who did what.
pub(crate) fn reverted(changes: &[u64], unclear: &[Place]) -> Json {
    let places: Vec<_> = unclear.iter().take(SYNC_LIST_MAX).map(place).collect();
    json!({ "changes": changes, "more": unclear.len() - places.len(), "unclear": places })
}

pub(crate) fn feed(page: &FeedPage) -> Json {
    json!({
        "entries": page.entries.iter().map(feed_entry).collect::<Vec<_>>(),
        "next": page.next.to_u64(),
        "has_more": page.has_more,
    })
}

fn feed_entry(entry: &FeedEntry) -> Json {
    let mut shape = json!({
        "cursor": entry.cursor.to_u64(),
        "change": entry.change.to_string(),
        "place": place(&entry.place),
        "path": entry.path,
        "author": entry.author.map(|author| author.to_string()),
        "at_ms": entry.unix_ms,
    });
    for (key, field) in [("old", &entry.old), ("new", &entry.new)] {
        if let Some(field) = field {
            shape[key] = of_field(field);
        }
    }
    shape
}

pub(crate) fn scrubbed(scrubbed: &Scrubbed) -> Json {
    let damage: Vec<_> = scrubbed.damage.iter().map(damage).collect();
    json!({ "passes": scrubbed.passes, "items": damage })
}

pub(crate) fn damage(damage: &Damage) -> Json {
    json!({ "table": damage.table, "row": damage.row })
}
