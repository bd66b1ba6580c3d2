//! Rows as sealed MessagePack. Each body says again where it stands, so that a row under a wrong key
//! is found as well as a damaged one.

use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::causal::{CausalContext, Dot, DotRanges, Entry, Note, RUN_DOTS_MAX, ReplicaId};
use sync_core::session::{Buried, DocumentId};
use sync_sqlite::{seal, unseal};

use super::{Damage, StoreError, replica};

/// A row of the entries.
#[derive(Debug)]
pub(super) struct StoredEntry {
    /// The number at which it arrived.
    pub(super) seq: u64,
    pub(super) entry: Entry,
}

impl StoredEntry {
    /// Writes the body.
    pub(super) fn body(&self, document: DocumentId) -> Vec<u8> {
        write(&(document, self.seq, &self.entry))
    }

    /// Reads a row of the columns replica, first, last, live, seq, body.
    pub(super) fn read(document: DocumentId, row: &Row<'_>) -> Result<Self, StoreError> {
        let number = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let (first, last, live, seq) = (number(1)?, number(2)?, row.get::<_, i64>(3)?, number(4)?);
        let key = replica(row, 0)?;
        let damaged = || {
            let key = row.get_ref(0).ok().and_then(|key| key.as_blob().ok());
            let replica = key.unwrap_or_default().to_vec();
            StoreError::Damaged(Damage::Entry { document, replica, first })
        };
        let body = row.get_ref(5)?.as_blob().map_err(|_| damaged())?;
        let (of, at, entry): (DocumentId, u64, Entry) = read(body).ok_or_else(damaged)?;
        let is_sound = of == document
            && at == seq
            && Some(entry.first.replica) == key
            && entry.first.counter == first
            && (1..=RUN_DOTS_MAX).contains(&entry.slots.len())
            && entry.last() == last
            && live_mask(&entry) == live;
        if is_sound { Ok(Self { seq, entry }) } else { Err(damaged()) }
    }
}

/// One bit for each live dot of a run, from the lowest.
pub(super) fn live_mask(entry: &Entry) -> i64 {
    let bits = entry.slots.iter().zip(0u32..).filter(|(slot, _)| slot.is_some());
    bits.fold(0u64, |mask, (_, bit)| mask | 1u64.wrapping_shl(bit)).cast_signed()
}

/// The counters that a mask says are live.
pub(super) fn live_ranges(first: u64, mask: i64) -> DotRanges {
    let mask = mask.cast_unsigned();
    let live = (0u64..64).filter(|bit| mask >> bit & 1 == 1);
    live.filter_map(|bit| first.checked_add(bit)).map(|counter| (counter, counter)).collect()
}

/// Writes what was seen of a replica.
pub(super) fn write_seen(document: DocumentId, replica: ReplicaId, ranges: &DotRanges) -> Vec<u8> {
    write(&(document, replica, ranges.to_gaps()))
}

/// Reads a row of the columns replica, ranges.
pub(super) fn read_seen(
    document: DocumentId,
    row: &Row<'_>,
) -> Result<(ReplicaId, DotRanges), StoreError> {
    let key = row.get_ref(0)?.as_blob().unwrap_or_default();
    let body = row.get_ref(1)?.as_blob().unwrap_or_default();
    let found = read::<(DocumentId, ReplicaId, Vec<u64>)>(body)
        .filter(|(of, replica, _)| *of == document && replica.as_bytes() == key)
        .and_then(|(_, replica, gaps)| Some((replica, DotRanges::from_gaps(&gaps).ok()?)));
    found.ok_or_else(|| StoreError::Damaged(Damage::Context { document, replica: key.to_vec() }))
}

type Removal = (DocumentId, u64, Vec<(ReplicaId, Vec<u64>)>, Vec<Note>);

/// Writes what was removed at a number.
pub(super) fn write_removal(document: DocumentId, seq: u64, buried: &Buried) -> Vec<u8> {
    let dots: Vec<_> = buried.dots.iter().map(|(id, ranges)| (id, ranges.to_gaps())).collect();
    write(&(document, seq, dots, &buried.notes))
}

/// Reads a row of the columns seq, body.
pub(super) fn read_removal(document: DocumentId, row: &Row<'_>) -> Result<Buried, StoreError> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let damaged = || StoreError::Damaged(Damage::Removal { document, seq });
    let body = row.get_ref(1)?.as_blob().map_err(|_| damaged())?;
    let removal = read::<Removal>(body).filter(|removal| (removal.0, removal.1) == (document, seq));
    let (_, _, replicas, notes) = removal.ok_or_else(damaged)?;
    let mut dots = CausalContext::default();
    for (replica, gaps) in replicas {
        dots.set(replica, DotRanges::from_gaps(&gaps).map_err(|_| damaged())?);
    }
    Ok(Buried { dots, notes })
}

/// What a body says of its dots, whatever the other columns say.
pub(super) fn read_body(body: &[u8]) -> Option<(Dot, DotRanges)> {
    let (_, _, entry): (DocumentId, u64, Entry) = read(body)?;
    Some((entry.first, entry.live_ranges()))
}

fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Writing plain data into memory cannot fail.
    seal(&rmp_serde::to_vec(value).expect("plain data serializes"))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    rmp_serde::from_slice(unseal(body).ok()?).ok()
}
