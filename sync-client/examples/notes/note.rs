//! Notes as they are written and shown: records of the collection `notes`.

use serde_json::{Value as Json, json};

use sync_client::{Conflict, Field, Item, Logged, Place, Side, Value, Writing};

/// The collection that the notes app uses too.
pub(crate) const COLLECTION: &str = "notes";

/// A note as JSON.
pub(crate) fn json(note: &Item) -> Json {
    json!({
        "id": note.id.to_string(),
        "title": note.text("title").unwrap_or_default(),
        "body": note.text("body").unwrap_or_default(),
        "tags": tags(note),
    })
}

/// A note as one line.
pub(crate) fn line(note: &Item) -> String {
    let title = note.text("title").unwrap_or_default();
    let tags: String = tags(note).iter().map(|tag| format!(" #{tag}")).collect();
    let mark = if note.is_in_conflict { " (in conflict)" } else { "" };
    format!("{}  {title}{tags}{mark}", note.id)
}

fn tags(note: &Item) -> Vec<&str> {
    note.members("tags").filter_map(Value::as_str).collect()
}

/// What clashes, as JSON.
pub(crate) fn conflict_json(conflict: &Conflict) -> Json {
    match conflict {
        Conflict::Field { name, values } => {
            let values: Vec<_> = values.iter().map(writing_json).collect();
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

/// What clashes, as lines.
pub(crate) fn conflict_lines(conflict: &Conflict) -> Vec<String> {
    match conflict {
        Conflict::Field { name, values } => {
            let line = |writing: &Writing| {
                let author = writing.claim.origin().replica;
                format!("  {name} by {author}: {}", value_json(&writing.value))
            };
            values.iter().map(line).collect()
        }
        Conflict::EditKept { edit, removal } => {
            let mut lines = vec![format!("  edited by {}", edit.replica)];
            lines.extend(removal.map(|removal| format!("  deleted by {}", removal.replica)));
            lines
        }
        Conflict::Partial { edits } => {
            let line = |edit: &sync_client::Dot| {
                format!("  only an edit by {} is left of this deleted note", edit.replica)
            };
            edits.iter().map(line).collect()
        }
    }
}

fn writing_json(writing: &Writing) -> Json {
    json!({
        "author": writing.claim.origin().replica.to_string(),
        "at_ms": writing.claim.stamp.ms(),
        "value": value_json(&writing.value),
    })
}

/// An entry of the conflict log, as JSON.
pub(crate) fn logged_json(logged: &Logged) -> Json {
    let entry = &logged.entry;
    let side = |side: &Side| {
        json!({
            "author": side.author.to_string(),
            "at_ms": side.at.map(|stamp| stamp.ms()),
            "deleted": side.is_delete,
            "value": side.value.as_ref().map(value_json),
        })
    };
    json!({
        "note": entry.record,
        "field": entry.field,
        "sides": entry.sides.iter().map(side).collect::<Vec<_>>(),
        "seen_ms": entry.seen_ms,
        "open": logged.is_open,
    })
}

/// An entry of the conflict log, as lines.
pub(crate) fn logged_lines(logged: &Logged) -> Vec<String> {
    let entry = &logged.entry;
    let state = if logged.is_open { "open" } else { "resolved" };
    let what = entry.field.as_deref().unwrap_or("edited and deleted");
    let side = |side: &Side| {
        let value = side.value.as_ref().map(value_json);
        match (side.is_delete, value) {
            (true, _) => format!("  deleted by {}", side.author),
            (false, Some(value)) => format!("  {value} by {}", side.author),
            (false, None) => format!("  edited by {}", side.author),
        }
    };
    let mut lines = vec![format!("{}  {what} ({state})", entry.record)];
    lines.extend(entry.sides.iter().map(side));
    lines
}

/// A value as JSON; bytes as a list of numbers.
fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!(bytes),
        Value::List(items) => items.iter().map(value_json).collect(),
        Value::Map(items) => {
            items.iter().map(|(key, item)| (key.clone(), value_json(item))).collect()
        }
    }
}

/// A field as JSON: a set as a list, a counter as a number.
pub(crate) fn field_json(field: &Field) -> Json {
    match field {
        Field::Register(value) | Field::Latest(value) => value_json(value),
        Field::Set(members) => members.iter().map(value_json).collect(),
        Field::Counter(sum) => json!(sum),
        Field::Map(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), field_json(field))).collect()
        }
    }
}

/// A place as a word.
pub(crate) fn place_text(place: &Place) -> String {
    match place {
        Place::Record { collection, id } => format!("{collection}/{id}"),
        Place::Set { name } | Place::Value { name } => name.clone(),
    }
}
