//! What the bodies of rows hold: MessagePack arrays under a checksum, each with the key of its row.

use rusqlite::Row;

use sync_core::causal::{Dot, DotRanges, Entry, ReplicaId};
use sync_core::error::Malformed;
use sync_core::pack::{self, Kind, Reader};
use sync_core::session::{ItemHead, LogEntry, OutboxItem, OutboxState, Outline, decode_log};
use sync_core::wire::{Cursor, decode_delta, encode_delta};
use sync_sqlite::{SEAL_BYTES, add_seal, unseal};

use super::StoreError;
use crate::contact::Contact;

/// About how many bytes an entry has besides what its names and values have. Measured.
const ENTRY_BYTES: usize = 64;

/// A document, without its state.
#[derive(Debug, Clone)]
pub(super) struct DocumentRow {
    pub(super) name: String,
    pub(super) replica: ReplicaId,
    pub(super) cursor: Option<Cursor>,
    pub(super) contact: Contact,
}

/// Which row a body belongs to, for the error that names it.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) table: &'static str,
    pub(super) key: &'a dyn std::fmt::Display,
}

impl Key<'_> {
    pub(super) fn damaged(&self) -> StoreError {
        StoreError::Damaged { table: self.table, row: self.key.to_string() }
    }
}

/// Writes who this store is, before any incarnation.
pub(super) fn write_identity(fingerprint: &[u8; 12]) -> Vec<u8> {
    body(1, |out| pack::bytes(out, fingerprint))
}

pub(super) fn read_identity(at: Key<'_>, body: &[u8]) -> Result<[u8; 12], StoreError> {
    read(at, body, 1, Reader::bytes_of)
}

pub(super) fn write_document(row: &DocumentRow) -> Vec<u8> {
    let Contact { heard_ms, current_ms } = row.contact;
    body(5, |out| {
        pack::str(out, &row.name);
        row.replica.encode_into(out);
        match &row.cursor {
            Some(cursor) => cursor.encode_into(out),
            None => pack::nil(out),
        }
        for moment in [heard_ms, current_ms] {
            match moment {
                Some(ms) => pack::uint(out, ms),
                None => pack::nil(out),
            }
        }
    })
}

pub(super) fn read_document(at: Key<'_>, body: &[u8]) -> Result<DocumentRow, StoreError> {
    take(at, body, |reader| {
        let beyond = reader.at_least(3)?;
        let (name, replica) = (reader.str()?.to_owned(), ReplicaId::decode(reader)?);
        let cursor = reader.option(Cursor::decode)?;
        let contact = match beyond {
            // A client before this did not note it.
            0 => Contact::default(),
            2 => Contact {
                heard_ms: reader.option(Reader::uint)?,
                current_ms: reader.option(Reader::uint)?,
            },
            _ => return Err(Malformed::Encoding { detail: "a document has 3 or 5 parts" }),
        };
        Ok(DocumentRow { name, replica, cursor, contact })
    })
}

/// Reads a row of the columns name, body.
pub(super) fn read_document_row(row: &Row<'_>) -> Result<DocumentRow, StoreError> {
    let name: String = row.get(0)?;
    let at = Key { table: "documents", key: &name };
    let row = read_document(at, row.get_ref(1)?.as_blob()?)?;
    if row.name == name { Ok(row) } else { Err(at.damaged()) }
}

pub(super) fn write_context(replica: ReplicaId, ranges: &DotRanges) -> Vec<u8> {
    body(2, |out| {
        replica.encode_into(out);
        let gaps = ranges.to_gaps();
        pack::array(out, gaps.len());
        gaps.iter().for_each(|gap| pack::uint(out, *gap));
    })
}

/// Reads a row of the columns replica, body.
pub(super) fn read_context_row(row: &Row<'_>) -> Result<(ReplicaId, DotRanges), StoreError> {
    let replica = ReplicaId::from_bytes(row.get(0)?);
    Ok((replica, read_context(replica, row.get_ref(1)?.as_blob()?)?))
}

pub(super) fn read_context(replica: ReplicaId, body: &[u8]) -> Result<DotRanges, StoreError> {
    let at = Key { table: "contexts", key: &replica };
    let (of, ranges) = read(at, body, 2, |reader| {
        let of = ReplicaId::decode(reader)?;
        let gaps = (0..reader.array()?).map(|_| reader.uint()).collect::<Result<Vec<_>, _>>()?;
        Ok((of, DotRanges::from_gaps(&gaps)?))
    })?;
    if of == replica { Ok(ranges) } else { Err(at.damaged()) }
}

pub(super) fn write_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENTRY_BYTES + entry.byte_count() + SEAL_BYTES);
    add_entry(&mut out, entry);
    out
}

/// Appends the body of an entry to others.
pub(super) fn add_entry(out: &mut Vec<u8>, entry: &Entry) {
    let from = out.len();
    entry.encode_into(out);
    add_seal(out, from);
}

/// Reads a row of the columns replica, first, last, space, place, body.
pub(super) fn read_entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let (replica, first): (_, i64) = (ReplicaId::from_bytes(row.get(0)?), row.get(1)?);
    let key = format_args!("{replica}:{first}");
    let at = Key { table: "entries", key: &key };
    let entry = take(at, row.get_ref(5)?.as_blob()?, Entry::decode)?;
    let is_same = entry.replica() == replica
        && counter(entry.first.counter) == first
        && counter(entry.last()) == row.get(2)?
        && entry.label.space() == row.get_ref(3)?.as_blob()?
        && *entry.id == *row.get_ref(4)?.as_blob()?;
    if is_same { Ok(entry) } else { Err(at.damaged()) }
}

/// An item of the outbox as it is read, or what was added to one.
pub(super) struct OutboxRow {
    pub(super) item: OutboxItem,
    /// The key of the row that it was added to.
    pub(super) added_to: Option<Dot>,
}

pub(super) fn write_outbox_row(item: &OutboxItem, added_to: Option<Dot>, position: i64) -> Vec<u8> {
    let delta = encode_delta(&item.delta);
    body_of(7, delta.len() + ENTRY_BYTES, |out| {
        write_place(out, item, added_to, position);
        pack::bytes(out, &delta);
    })
}

/// Writes what body and head begin with: where an item stands, and which dots it is of.
fn write_place(out: &mut Vec<u8>, item: &OutboxItem, added_to: Option<Dot>, position: i64) {
    pack::int(out, position);
    item.replica.encode_into(out);
    pack::uint(out, item.first);
    pack::uint(out, item.last);
    pack::uint(out, item.changes.into());
    match added_to {
        Some(to) => pack::uint(out, to.counter),
        None => item.state.encode_into(out),
    }
}

/// Reads a row of the columns replica, last, body, position, and others. Up to version 3 of the file the body does not
/// have the position.
pub(super) fn read_outbox_row(row: &Row<'_>) -> Result<OutboxRow, StoreError> {
    let (replica, last): (_, i64) = (ReplicaId::from_bytes(row.get(0)?), row.get(1)?);
    let key = format_args!("{replica}:{last}");
    let at = Key { table: "outbox", key: &key };
    let position: i64 = row.get(3)?;
    let (row, is_in_place) = take(at, row.get_ref(2)?.as_blob()?, |reader| {
        let is_in_place = match reader.array()? {
            6 => true,
            7 => reader.int()? == position,
            _ => return Err(Malformed::Encoding { detail: "a row of the outbox" }),
        };
        let replica = ReplicaId::decode(reader)?;
        let (first, last, changes) = (reader.uint()?, reader.uint()?, reader.narrow()?);
        let (state, added_to) = read_standing(reader, replica)?;
        let delta = decode_delta(reader.bytes()?)?;
        let item = OutboxItem { replica, first, last, changes, state, delta };
        Ok((OutboxRow { item, added_to }, is_in_place))
    })?;
    let is_same = row.item.replica == replica && counter(row.item.last) == last;
    let is_later = row.added_to.is_none_or(|to| to.counter < row.item.last);
    if is_same && is_later && is_in_place { Ok(row) } else { Err(at.damaged()) }
}

/// What a session decides by of an item as it is read, or of what was added to one.
#[derive(PartialEq, Eq)]
pub(super) struct OutboxHead {
    pub(super) head: ItemHead,
    /// The key of the row that it was added to.
    pub(super) added_to: Option<Dot>,
}

impl OutboxRow {
    fn head(&self) -> OutboxHead {
        OutboxHead { head: ItemHead::of(&self.item), added_to: self.added_to }
    }
}

pub(super) fn write_outbox_head(
    item: &OutboxItem,
    added_to: Option<Dot>,
    position: i64,
) -> Vec<u8> {
    body(7, |out| {
        write_place(out, item, added_to, position);
        Outline::of(item).encode_into(out);
    })
}

/// Reads a row of the columns replica, last, body, position, head. Of the body nothing is read where there is a
/// head: up to version 4 of the file there is none.
pub(super) fn read_outbox_head(row: &Row<'_>) -> Result<OutboxHead, StoreError> {
    let head = row.get_ref(4)?.as_blob()?;
    if head.is_empty() {
        return Ok(read_outbox_row(row)?.head());
    }
    let (replica, last): (_, i64) = (ReplicaId::from_bytes(row.get(0)?), row.get(1)?);
    let key = format_args!("{replica}:{last}");
    let at = Key { table: "outbox", key: &key };
    let in_column: i64 = row.get(3)?;
    let (row, position) = read(at, head, 7, |reader| {
        let (position, replica) = (reader.int()?, ReplicaId::decode(reader)?);
        let (first, last, changes) = (reader.uint()?, reader.uint()?, reader.narrow()?);
        let (state, added_to) = read_standing(reader, replica)?;
        let outline = Outline::decode(reader)?;
        let head = ItemHead { replica, first, last, changes, state, outline };
        Ok((OutboxHead { head, added_to }, position))
    })?;
    let is_same = row.head.replica == replica && counter(row.head.last) == last;
    let is_later = row.added_to.is_none_or(|to| to.counter < row.head.last);
    if is_same && is_later && position == in_column { Ok(row) } else { Err(at.damaged()) }
}

/// Looks at a row of the columns replica, last, body, position, head, all of it.
pub(super) fn look_at_outbox_row(row: &Row<'_>) -> Result<(), StoreError> {
    let of_body = read_outbox_row(row)?.head();
    if read_outbox_head(row)? == of_body {
        return Ok(());
    }
    let key = of_body.head.key();
    Err(Key { table: "outbox", key: &key }.damaged())
}

/// Reads where an item is, or the row that this one was added to.
fn read_standing(
    reader: &mut Reader<'_>,
    replica: ReplicaId,
) -> Result<(OutboxState, Option<Dot>), Malformed> {
    if reader.kind()? == Kind::Int {
        return Ok((OutboxState::Pending, Some(Dot::new(replica, reader.uint()?))));
    }
    Ok((OutboxState::decode(reader)?, None))
}

/// Reads a row of the columns key, body.
pub(super) fn read_conflict(row: &Row<'_>) -> Result<LogEntry, StoreError> {
    let key: String = row.get(0)?;
    let at = Key { table: "conflicts", key: &key.replace('\u{1f}', "/") };
    let bytes = unseal(row.get_ref(1)?.as_blob()?).map_err(|_| at.damaged())?;
    let entry = decode_log(bytes).map_err(|_| at.damaged())?;
    if entry.key() == key { Ok(entry) } else { Err(at.damaged()) }
}

/// The body of a row: an array of so many items.
pub(super) fn body(items: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    body_of(items, 0, write)
}

/// The body of a row of about so many bytes.
fn body_of(items: usize, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    pack::array(&mut out, items);
    write(&mut out);
    add_seal(&mut out, 0);
    out
}

/// Reads the body of a row that is an array of so many items.
pub(super) fn read<'a, T>(
    at: Key<'_>,
    body: &'a [u8],
    items: usize,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, StoreError> {
    take(at, body, |reader| reader.exactly(items).and_then(|()| read(reader)))
}

/// Reads the body of a row.
fn take<'a, T>(
    at: Key<'_>,
    body: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, StoreError> {
    let mut reader = Reader::new(unseal(body).map_err(|_| at.damaged())?);
    let row = read(&mut reader).map_err(|_| at.damaged())?;
    reader.end().map_err(|_| at.damaged())?;
    Ok(row)
}

/// A counter as SQLite keeps it. The wire refuses counters beyond.
pub(super) fn counter(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}
