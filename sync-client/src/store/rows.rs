//! What the bodies of rows hold: MessagePack arrays under a checksum, each with the key of its row.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use sync_core::causal::{DotRanges, Entry, ReplicaId};
use sync_core::session::{OutboxItem, OutboxState};
use sync_core::wire::{Cursor, decode_delta, encode_delta};
use sync_sqlite::{seal, unseal};

use super::StoreError;

/// Who this store is, before any incarnation.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) fingerprint: ByteBuf,
}

/// A document, without its state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DocumentRow {
    pub(super) name: String,
    pub(super) replica: ReplicaId,
    pub(super) cursor: Option<Cursor>,
}

/// The counters seen of a replica.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ContextRow {
    pub(super) replica: ReplicaId,
    pub(super) gaps: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OutboxRow {
    replica: ReplicaId,
    first: u64,
    last: u64,
    changes: u32,
    state: OutboxState,
    delta: ByteBuf,
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

pub(super) fn write<T: Serialize>(row: &T) -> Vec<u8> {
    // Writing numbers, text and bytes into memory cannot fail.
    seal(&rmp_serde::to_vec(row).expect("plain data serializes"))
}

pub(super) fn read<T: DeserializeOwned>(at: Key<'_>, body: &[u8]) -> Result<T, StoreError> {
    let bytes = unseal(body).map_err(|_| at.damaged())?;
    rmp_serde::from_slice(bytes).map_err(|_| at.damaged())
}

pub(super) fn write_context(replica: ReplicaId, ranges: &DotRanges) -> Vec<u8> {
    write(&ContextRow { replica, gaps: ranges.to_gaps() })
}

pub(super) fn read_context(replica: ReplicaId, body: &[u8]) -> Result<DotRanges, StoreError> {
    let at = Key { table: "contexts", key: &replica };
    let row: ContextRow = read(at, body)?;
    if row.replica != replica {
        return Err(at.damaged());
    }
    DotRanges::from_gaps(&row.gaps).map_err(|_| at.damaged())
}

pub(super) fn read_entry(replica: ReplicaId, first: i64, body: &[u8]) -> Result<Entry, StoreError> {
    let key = format!("{replica}:{first}");
    let at = Key { table: "entries", key: &key };
    let entry: Entry = read(at, body)?;
    let is_same = entry.replica() == replica && counter(entry.first.counter) == first;
    if is_same { Ok(entry) } else { Err(at.damaged()) }
}

pub(super) fn write_item(item: &OutboxItem) -> Vec<u8> {
    let OutboxItem { replica, first, last, changes, state, delta } = item;
    let (state, delta) = (state.clone(), ByteBuf::from(encode_delta(delta)));
    write(&OutboxRow {
        replica: *replica,
        first: *first,
        last: *last,
        changes: *changes,
        state,
        delta,
    })
}

pub(super) fn read_item(
    replica: ReplicaId,
    last: i64,
    body: &[u8],
) -> Result<OutboxItem, StoreError> {
    let key = format!("{replica}:{last}");
    let at = Key { table: "outbox", key: &key };
    let row: OutboxRow = read(at, body)?;
    if row.replica != replica || counter(row.last) != last {
        return Err(at.damaged());
    }
    let delta = decode_delta(&row.delta).map_err(|_| at.damaged())?;
    let OutboxRow { replica, first, last, changes, state, delta: _ } = row;
    Ok(OutboxItem { replica, first, last, changes, state, delta })
}

/// A counter as SQLite keeps it. The wire refuses counters beyond.
pub(super) fn counter(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}
