//! Rows as sealed MessagePack. Each body says again where it stands, so that a row under a wrong key
//! is found as well as a damaged one.

use rusqlite::Row;
use sync_core::causal::{CausalContext, Dot, DotRanges, Entry, Note, ReplicaId};
use sync_core::error::Malformed;
use sync_core::pack::{self, Reader};
use sync_core::session::{Buried, DocumentId};
use sync_sqlite::{seal, unseal};

use super::{Damage, StoreError, replica};

/// A row of the entries.
#[derive(Debug)]
pub(super) struct StoredEntry {
    /// The number at which it arrived.
    pub(super) seq: u64,
    pub(super) entry: Entry,
    /// How many bytes its body has in the file; none where it has no row yet.
    pub(super) bytes: usize,
}

impl StoredEntry {
    /// Writes the body.
    pub(super) fn body(&self, document: DocumentId) -> Vec<u8> {
        body(3, document, |out| {
            pack::uint(out, self.seq);
            self.entry.encode_into(out);
        })
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
        let (of, (at, entry)) = read(body, 3, read_numbered).ok_or_else(damaged)?;
        let is_sound = of == document
            && at == seq
            && Some(entry.first.replica) == key
            && entry.first.counter == first
            && entry.last() == last
            && entry.slots.live().cast_signed() == live;
        if is_sound { Ok(Self { seq, entry, bytes: body.len() }) } else { Err(damaged()) }
    }
}

/// The counters that a mask says are live.
pub(super) fn live_ranges(first: u64, mask: i64) -> DotRanges {
    let mask = mask.cast_unsigned();
    let live = (0u64..64).filter(|bit| mask >> bit & 1 == 1);
    live.filter_map(|bit| first.checked_add(bit)).map(|counter| (counter, counter)).collect()
}

/// Writes what was seen of a replica.
pub(super) fn write_seen(document: DocumentId, replica: ReplicaId, ranges: &DotRanges) -> Vec<u8> {
    body(3, document, |out| {
        replica.encode_into(out);
        write_ranges(out, ranges);
    })
}

/// Reads a row of the columns replica, ranges.
pub(super) fn read_seen(
    document: DocumentId,
    row: &Row<'_>,
) -> Result<(ReplicaId, DotRanges), StoreError> {
    let key = row.get_ref(0)?.as_blob().unwrap_or_default();
    let body = row.get_ref(1)?.as_blob().unwrap_or_default();
    let found = read(body, 3, |reader| Ok((ReplicaId::decode(reader)?, read_ranges(reader)?)));
    let found = found.filter(|(of, (replica, _))| *of == document && replica.as_bytes() == key);
    let damaged = || StoreError::Damaged(Damage::Context { document, replica: key.to_vec() });
    found.map(|(_, seen)| seen).ok_or_else(damaged)
}

/// Writes what was removed at a number.
pub(super) fn write_removal(document: DocumentId, seq: u64, buried: &Buried) -> Vec<u8> {
    body(4, document, |out| {
        pack::uint(out, seq);
        pack::array(out, buried.dots.replica_count());
        for (replica, ranges) in buried.dots.iter() {
            pack::array(out, 2);
            replica.encode_into(out);
            write_ranges(out, ranges);
        }
        pack::array(out, buried.notes.len());
        buried.notes.iter().for_each(|note| note.encode_into(out));
    })
}

/// Reads a row of the columns seq, body.
pub(super) fn read_removal(document: DocumentId, row: &Row<'_>) -> Result<Buried, StoreError> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let damaged = || StoreError::Damaged(Damage::Removal { document, seq });
    let body = row.get_ref(1)?.as_blob().map_err(|_| damaged())?;
    let found = read(body, 4, |reader| Ok((reader.uint()?, read_buried(reader)?)));
    let found = found.filter(|(of, (at, _))| (*of, *at) == (document, seq));
    found.map(|(_, (_, buried))| buried).ok_or_else(damaged)
}

fn read_buried(reader: &mut Reader<'_>) -> Result<Buried, Malformed> {
    let mut dots = CausalContext::default();
    for _ in 0..reader.array()? {
        reader.exactly(2)?;
        dots.set(ReplicaId::decode(reader)?, read_ranges(reader)?);
    }
    let notes = (0..reader.array()?).map(|_| Note::decode(reader)).collect::<Result<_, _>>()?;
    Ok(Buried { dots, notes })
}

/// What a body says of its dots, whatever the other columns say.
pub(super) fn read_body(body: &[u8]) -> Option<(Dot, DotRanges)> {
    let (_, (_, entry)) = read(body, 3, read_numbered)?;
    Some((entry.first, entry.live_ranges()))
}

/// The number at which an entry arrived, and the entry.
fn read_numbered(reader: &mut Reader<'_>) -> Result<(u64, Entry), Malformed> {
    Ok((reader.uint()?, Entry::decode(reader)?))
}

fn write_ranges(out: &mut Vec<u8>, ranges: &DotRanges) {
    let gaps = ranges.to_gaps();
    pack::array(out, gaps.len());
    gaps.iter().for_each(|gap| pack::uint(out, *gap));
}

fn read_ranges(reader: &mut Reader<'_>) -> Result<DotRanges, Malformed> {
    let gaps = (0..reader.array()?).map(|_| reader.uint()).collect::<Result<Vec<_>, _>>()?;
    DotRanges::from_gaps(&gaps)
}

/// The body of a row: an array of so many items, of which the first is the document.
fn body(items: usize, document: DocumentId, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    pack::array(&mut out, items);
    pack::uint(&mut out, document);
    write(&mut out);
    seal(&out)
}

/// Reads the body of a row: the document, and the other items.
fn read<'a, T>(
    body: &'a [u8],
    items: usize,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Option<(DocumentId, T)> {
    let mut reader = Reader::new(unseal(body).ok()?);
    reader.exactly(items).ok()?;
    let found = (reader.uint().ok()?, read(&mut reader).ok()?);
    reader.end().ok()?;
    Some(found)
}
