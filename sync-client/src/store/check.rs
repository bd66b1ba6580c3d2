//! What a damaged row is, and taking out what is damaged.
//!
//! What is taken out leaves the context of its document too, and the document's cursor is forgotten: it
//! looks like something that was never seen, not like something that was removed, so a hub that has it
//! brings it again.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, params};

use sync_core::causal::{CausalContext, ReplicaId};

use super::rows::{self, DocumentRow, Key};
use super::steps::write_document;
use super::{StoreError, devices, dots, feed, history, tape};
use crate::contact::Contact;
use crate::random;

/// A row of the local store that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The table; none where SQLite's own structure is damaged.
    pub table: Option<&'static str>,
    /// The key of the row, or what SQLite says.
    pub row: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.table {
            Some(table) => write!(f, "row {} of table {table}", self.row),
            None => f.write_str(&self.row),
        }
    }
}

/// A damaged row: which, and how it is found again.
pub(super) struct Found {
    pub(super) damage: Damage,
    at: At,
}

pub(super) enum At {
    Row(i64),
    Context {
        document: i64,
        replica: Vec<u8>,
    },
    /// All contexts of a document.
    Contexts(i64),
    Item {
        document: i64,
        replica: Vec<u8>,
        last: i64,
    },
}

/// Looks at everything, within a transaction, and takes out what is damaged. Gives what that was.
pub(super) fn repair(connection: &Connection) -> Result<Vec<Damage>, StoreError> {
    let mut damage = structure(connection, None)?;
    let mut lost = Vec::new();
    let is_broken = !damage.is_empty();
    if is_broken {
        let strays = stray_rows(connection)?;
        for number in &strays {
            connection.execute("DELETE FROM entries NOT INDEXED WHERE rowid = ?1", [number])?;
        }
        if !strays.is_empty() {
            lost.extend(every_document(connection)?);
        }
    }
    for Found { damage: row, at } in damaged_rows(connection)? {
        lost.extend(take_out(connection, row.table, &at)?);
        damage.push(row);
    }
    if is_broken {
        connection.execute_batch("REINDEX")?;
        if let Some(Damage { row, .. }) = structure(connection, None)?.pop() {
            return Err(StoreError::Damaged { table: "structure", row });
        }
    }
    // An index may name a document that the table does not have, so this is known once they are made anew.
    if take_out_of_none(connection)? || !are_known(connection, &lost)? {
        lost.extend(every_document(connection)?);
        damage.push(Damage { table: Some("documents"), row: "one that is missing".to_owned() });
    }
    if !damage.is_empty() {
        // What stands open has no checksum: it is found again.
        connection.execute("DELETE FROM open_places", [])?;
        connection.execute("UPDATE documents SET is_settled = 0", [])?;
        // What is here no longer follows from what stands on a tape.
        tape::cut_all(connection)?;
        connection.execute_batch("DELETE FROM feed; DELETE FROM feeds")?;
    }
    for lost in &lost {
        forget(connection, lost)?;
    }
    Ok(damage)
}

/// What may be lost where it is not known of which document it was.
fn every_document(connection: &Connection) -> Result<Vec<Lost>, StoreError> {
    let mut all = connection.prepare("SELECT id FROM documents NOT INDEXED")?;
    let numbers = all.query_map([], |row| row.get(0))?;
    Ok(numbers.map(|number| number.map(Lost::Dots)).collect::<rusqlite::Result<_>>()?)
}

/// Takes out what stands under a number that no document has: it was of one whose number is another now, and
/// which looks empty. Says whether something did.
fn take_out_of_none(connection: &Connection) -> Result<bool, StoreError> {
    let mut count = 0;
    let of_documents = [
        "contexts",
        "entries",
        "outbox",
        "conflicts",
        "checkpoints",
        "tape",
        "undo",
        "feed",
        "feeds",
        "devices",
    ];
    for table in of_documents {
        let sql = format!("DELETE FROM {table} WHERE document NOT IN (SELECT id FROM documents)");
        count += connection.execute(&sql, [])?;
    }
    Ok(count > 0)
}

/// Whether each document that something was lost of is there.
fn are_known(connection: &Connection, lost: &[Lost]) -> Result<bool, StoreError> {
    let mut found = connection.prepare("SELECT 1 FROM documents WHERE id = ?1")?;
    let number = |lost: &Lost| match *lost {
        Lost::Level(document) | Lost::Dots(document) => document,
    };
    let known = lost.iter().map(|lost| found.exists([number(lost)]));
    Ok(known.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().all(|is_known| is_known))
}

/// What a document lacks.
enum Lost {
    /// Changes of the outbox, or how far its hub was followed: what is here is whole.
    Level(i64),
    /// What was here of some dots.
    Dots(i64),
}

/// The entries whose document is not the one that they were written for: each index has that too.
fn stray_rows(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT number FROM (
                   SELECT rowid AS number, document AS of, replica AS by, first AS start,
                          space AS within, place AS at
                   FROM entries NOT INDEXED)
               WHERE NOT EXISTS (
                   SELECT 1 FROM entries INDEXED BY places
                   WHERE document = of AND space = within AND place = at AND rowid = number)
               AND NOT EXISTS (
                   SELECT 1 FROM entries INDEXED BY sqlite_autoindex_entries_1
                   WHERE document = of AND replica = by AND first = start AND rowid = number)";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut strays = Vec::new();
    while let Some(row) = rows.next()? {
        strays.push(row.get(0)?);
    }
    Ok(strays)
}

/// What SQLite finds damaged of its own structure, the indexes included: of a table, or of everything.
pub(super) fn structure(
    connection: &Connection,
    table: Option<&str>,
) -> Result<Vec<Damage>, StoreError> {
    let table = table.map_or_else(String::new, |table| format!("({table})"));
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check{table}"))?;
    let mut rows = statement.query([])?;
    let mut damage = Vec::new();
    while let Some(row) = rows.next()? {
        let row: String = row.get(0)?;
        if row != "ok" {
            damage.push(Damage { table: None, row });
        }
    }
    Ok(damage)
}

/// Reads a row, of which the key comes last.
pub(super) type Look = fn(&Row<'_>) -> Result<(), StoreError>;

/// How each table with a number for each row is read.
pub(super) const TABLES: [(&str, &str, Look); 10] = [
    ("identity", "SELECT body, id FROM identity", |row| {
        let at = Key { table: "identity", key: &1 };
        rows::read_identity(at, row.get_ref(0)?.as_blob()?).map(|_| ())
    }),
    ("documents", "SELECT name, body, id FROM documents", |row| {
        rows::read_document_row(row).map(|_| ())
    }),
    ("entries", "SELECT replica, first, last, space, place, body, rowid FROM entries", |row| {
        rows::read_entry(row).map(|_| ())
    }),
    ("conflicts", "SELECT key, body, rowid FROM conflicts", |row| {
        rows::read_conflict(row).map(|_| ())
    }),
    (
        "checkpoints",
        "SELECT position, document, unix_ms, body, snapshot, position FROM checkpoints",
        tape::look_at_checkpoint,
    ),
    ("tape", "SELECT position, document, unix_ms, body, position FROM tape", tape::look_at_tape),
    ("undo", "SELECT position, document, unix_ms, body, position FROM undo", history::look),
    ("feed", "SELECT position, document, unix_ms, body, position FROM feed", feed::look),
    ("feeds", "SELECT document, body, document FROM feeds", feed::look_at_head),
    ("devices", "SELECT number, fingerprint, body, number FROM devices", devices::look),
];

fn damaged_rows(connection: &Connection) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for (table, sql, look) in TABLES {
        let mut statement = connection.prepare(sql)?;
        let key = statement.column_count() - 1;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(key)?;
            let damage = damage_of(table, number, look(row));
            found.extend(damage.map(|damage| Found { damage, at: At::Row(number) }));
        }
    }
    found.extend(damaged_contexts(connection)?);
    found.extend(unseen(connection)?);
    found.extend(damaged_items(connection, None, -1)?.0);
    Ok(found)
}

/// What is wrong with a row that was read.
pub(super) fn damage_of(
    table: &'static str,
    number: i64,
    looked: Result<(), StoreError>,
) -> Option<Damage> {
    let row = match looked {
        Ok(()) => return None,
        Err(StoreError::Damaged { row, .. }) => row,
        // A column holds something of another kind.
        Err(_) => number.to_string(),
    };
    Some(Damage { table: Some(table), row })
}

pub(super) fn damaged_contexts(connection: &Connection) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    let mut statement = connection.prepare("SELECT replica, body, document FROM contexts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (replica, document): (Vec<u8>, i64) = (row.get(0)?, row.get(2)?);
        let of = <[u8; 16]>::try_from(&replica[..]).map(ReplicaId::from_bytes);
        let is_known = connection
            .prepare_cached("SELECT 1 FROM documents WHERE id = ?1")?
            .exists([document])?;
        if !is_known || rows::read_context_row(row).is_err() {
            let row = of.map_or_else(|_| document.to_string(), |of| of.to_string());
            let damage = Damage { table: Some("contexts"), row };
            found.push(Found { damage, at: At::Context { document, replica } });
        }
    }
    Ok(found)
}

/// A row of an outbox: its document, replica and last counter.
pub(super) type ItemKey = (i64, Vec<u8>, i64);

/// The damaged ones of some rows of outboxes behind one, all where the limit is negative. Gives the last of
/// these rows too, where there may be more.
pub(super) fn damaged_items(
    connection: &Connection,
    after: Option<&ItemKey>,
    limit: i64,
) -> Result<(Vec<Found>, Option<ItemKey>), StoreError> {
    let sql = "SELECT replica, last, body, position, head, document FROM outbox
               WHERE (document, replica, last) > (?1, ?2, ?3)
               ORDER BY document, replica, last LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let (document, replica, last) = after.cloned().unwrap_or((i64::MIN, Vec::new(), 0));
    let mut rows = statement.query(params![document, replica, last, limit])?;
    let (mut found, mut key, mut count) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let (replica, last, document): (Vec<u8>, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(5)?);
        (key, count) = (Some((document, replica.clone(), last)), count + 1);
        let damage = damage_of("outbox", last, rows::look_at_outbox_row(row));
        let at = At::Item { document, replica, last };
        found.extend(damage.map(|damage| Found { damage, at }));
    }
    Ok((found, key.filter(|_| count == limit)))
}

/// The documents with an entry that their contexts lack: a context stands elsewhere.
fn unseen(connection: &Connection) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    let mut documents = connection.prepare("SELECT id FROM documents")?;
    let mut numbers = documents.query([])?;
    while let Some(row) = numbers.next()? {
        let document: i64 = row.get(0)?;
        let seen = dots::read_context(connection, document, |_| Ok(()))?;
        let live = live_of(connection, document)?;
        if !live.difference(&seen).is_empty() {
            let damage = Damage { table: Some("contexts"), row: document.to_string() };
            found.push(Found { damage, at: At::Contexts(document) });
        }
    }
    Ok(found)
}

/// The live dots of what can be read of the entries of a document.
fn live_of(connection: &Connection, document: i64) -> Result<CausalContext, StoreError> {
    let mut live = CausalContext::default();
    let sql = "SELECT replica, first, last, space, place, body FROM entries WHERE document = ?1";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([document])?;
    while let Some(row) = rows.next()? {
        if let Ok(entry) = rows::read_entry(row) {
            live.insert_ranges(entry.replica(), &entry.live_ranges());
        }
    }
    Ok(live)
}

/// Takes a damaged row out. Gives the document that lacks something by that.
fn take_out(
    connection: &Connection,
    table: Option<&str>,
    at: &At,
) -> Result<Option<Lost>, StoreError> {
    match at {
        At::Context { document, replica } => {
            let sql = "DELETE FROM contexts WHERE document = ?1 AND replica = ?2";
            connection.execute(sql, params![document, replica])?;
            Ok(Some(Lost::Dots(*document)))
        }
        At::Contexts(document) => Ok(Some(Lost::Dots(*document))),
        At::Item { document, replica, last } => {
            let sql = "DELETE FROM outbox WHERE document = ?1 AND replica = ?2 AND last = ?3";
            connection.execute(sql, params![document, replica, last])?;
            Ok(Some(Lost::Level(*document)))
        }
        At::Row(number) => match table {
            Some("identity") => {
                connection.execute("DELETE FROM identity", [])?;
                Ok(None)
            }
            Some("documents") => Ok(Some(Lost::Level(*number))),
            Some(
                table @ ("conflicts" | "checkpoints" | "tape" | "undo" | "feed" | "feeds"
                | "devices"),
            ) => {
                let sql = format!("DELETE FROM {table} WHERE rowid = ?1");
                connection.execute(&sql, [number])?;
                Ok(None)
            }
            _ => {
                let sql = "SELECT document FROM entries WHERE rowid = ?1";
                let document = connection.query_row(sql, [number], |row| row.get(0)).optional()?;
                connection.execute("DELETE FROM entries WHERE rowid = ?1", [number])?;
                Ok(document.map(Lost::Dots))
            }
        },
    }
}

/// Forgets how far the hub of a document was followed, so that the two are compared.
///
/// Where dots are lost, what was seen is made again from what is here: what is lacking looks as if it had
/// never been here, and what was removed is heard of again from whoever knows. What the outbox holds is
/// joined when the document is opened. From then on it is written under a fresh incarnation, since counters
/// of the old one may be unknown.
fn forget(connection: &Connection, lost: &Lost) -> Result<(), StoreError> {
    let (Lost::Level(document) | Lost::Dots(document)) = *lost;
    let sql = "SELECT name, body FROM documents WHERE id = ?1";
    let row = |row: &Row<'_>| {
        Ok((row.get_ref(0)?.as_bytes()?.to_vec(), row.get_ref(1)?.as_bytes()?.to_vec()))
    };
    let found = connection.query_row(sql, [document], row).optional()?;
    // What stood there was taken out already.
    let Some((name, body)) = found else { return Ok(()) };
    if matches!(lost, Lost::Dots(_)) {
        make_contexts(connection, document)?;
    }
    let at = Key { table: "documents", key: &document };
    let known = rows::read_document(at, &body);
    let is_fresh = matches!(lost, Lost::Dots(_)) || known.is_err();
    let mut row = match known {
        Ok(row) => row,
        // The name stands beside what is damaged, and is not damaged too.
        Err(_) => {
            let name = String::from_utf8(name).map_err(|_| at.damaged())?;
            DocumentRow {
                name,
                replica: ReplicaId::from_fingerprint(random::bytes()?),
                cursor: None,
                contact: Contact::default(),
            }
        }
    };
    if is_fresh {
        row.replica = row.replica.with_incarnation(u32::from_ne_bytes(random::bytes()?));
    }
    row.cursor = None;
    connection
        .execute("UPDATE documents SET name = ?2 WHERE id = ?1", params![document, row.name])?;
    write_document(connection, document, &row)
}

fn make_contexts(connection: &Connection, document: i64) -> Result<(), StoreError> {
    let seen = live_of(connection, document)?;
    connection.execute("DELETE FROM contexts WHERE document = ?1", [document])?;
    for (replica, ranges) in seen.iter() {
        let sql = "INSERT INTO contexts (document, replica, body) VALUES (?1, ?2, ?3)";
        let body = rows::write_context(replica, ranges);
        connection.execute(sql, params![document, replica.as_bytes(), body])?;
    }
    Ok(())
}
