//! The bytes of an exported document: a head, and pieces of its state as a zlib stream (RFC 1950).

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;

use sync_core::causal::{Delta, MemoryStore};
use sync_core::checksum::crc32;
use sync_core::error::{Excess, Malformed};
use sync_core::wire::{DELTA_BYTES_MAX, decode_delta, encode_delta};

/// What the bytes begin with; the version follows.
const MAGIC: &[u8; 7] = b"SyncDoc";

/// The version that is written.
const VERSION: u8 = 1;

/// What is over its limit where the version is not known.
pub(super) const VERSION_OF: &str = "the version of an export";

/// The most pieces of a file. Arbitrary: far more than what 256 MiB of notes are cut into.
const PIECES_MAX: usize = 65_536;

/// The most ranges of dots that a file may speak of. Arbitrary: 16 MiB of memory, and far more than documents
/// have.
const RANGES_MAX: usize = 1 << 20;

/// How many bytes say how many bytes follow the head.
const LEN_BYTES: usize = 4;

/// How many bytes stand before each piece: its length and its checksum.
const HEAD_BYTES: usize = 8;

const DAMAGED: Malformed = Malformed::Encoding { detail: "the packed pieces of an export" };

/// Writes pieces of a state.
pub(super) fn write(pieces: &[Delta]) -> Result<Vec<u8>, Malformed> {
    if pieces.len() > PIECES_MAX {
        return Err(limit(PIECES, pieces.len(), PIECES_MAX));
    }
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    for piece in pieces {
        let body = encode_delta(piece);
        let len = u32::try_from(body.len()).expect("a delta is far below 4 GiB");
        let head = [len.to_le_bytes(), crc32(&body).to_le_bytes()].concat();
        packed.write_all(&head).and_then(|()| packed.write_all(&body)).expect(IN_MEMORY);
    }
    let packed = packed.finish().expect(IN_MEMORY);
    let len = u32::try_from(packed.len());
    let len = len.map_err(|_| limit("the bytes of the file", packed.len(), u32::MAX as usize))?;
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

/// What there may be too many of.
const PIECES: &str = "the number of pieces of an export";

const IN_MEMORY: &str = "a list of bytes takes what is written";

/// Reads what [`write`] wrote, of at most so many bytes, packed and unpacked.
pub(super) fn read(bytes: &[u8], bytes_max: usize) -> Result<MemoryStore, Malformed> {
    read_by(bytes, bytes_max, RANGES_MAX)
}

/// The same, of at most so many ranges of dots.
fn read_by(bytes: &[u8], bytes_max: usize, ranges_max: usize) -> Result<MemoryStore, Malformed> {
    if bytes.len() > bytes_max {
        return Err(limit("the bytes of the file", bytes.len(), bytes_max));
    }
    const HEAD: Malformed = Malformed::Encoding { detail: "the head of an export" };
    let rest = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first);
    let (version, rest) = rest.ok_or(HEAD)?;
    if *version != VERSION {
        return Err(limit(VERSION_OF, usize::from(*version), usize::from(VERSION)));
    }
    let (len, packed) = rest.split_first_chunk::<LEN_BYTES>().ok_or(HEAD)?;
    if u32::from_le_bytes(*len) as usize != packed.len() {
        return Err(Malformed::Encoding { detail: "the length of an export" });
    }
    let mut packed = ZlibDecoder::new(packed);
    let mut store = MemoryStore::default();
    let mut total = 0;
    let mut count = 0;
    while let Some(len) = read_len(&mut packed)? {
        count += 1;
        if count > PIECES_MAX {
            return Err(limit(PIECES, count, PIECES_MAX));
        }
        if len > DELTA_BYTES_MAX {
            return Err(limit("a piece of an export", len, DELTA_BYTES_MAX));
        }
        total += HEAD_BYTES + len;
        if total > bytes_max {
            return Err(limit("the bytes of the document", total, bytes_max));
        }
        store.join(&read_piece(&mut packed, len)?);
        let ranges = store.context().range_count();
        if ranges > ranges_max {
            return Err(limit("the number of ranges of dots", ranges, ranges_max));
        }
    }
    // What stands behind is none of it.
    if packed.into_inner().is_empty() { Ok(store) } else { Err(DAMAGED) }
}

/// The length of the next piece; nothing at the end, where the stream's checksum was right.
fn read_len(packed: &mut impl Read) -> Result<Option<usize>, Malformed> {
    let mut len = [0; 4];
    let mut filled = 0;
    while filled < len.len() {
        match packed.read(&mut len[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(DAMAGED),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(DAMAGED),
        }
    }
    Ok(Some(u32::from_le_bytes(len) as usize))
}

fn read_piece(packed: &mut impl Read, len: usize) -> Result<Delta, Malformed> {
    let mut checksum = [0; 4];
    let mut body = vec![0; len];
    let read = packed.read_exact(&mut checksum).and_then(|()| packed.read_exact(&mut body));
    read.map_err(|_| DAMAGED)?;
    let (expected, found) = (u32::from_le_bytes(checksum), crc32(&body));
    if expected == found {
        decode_delta(&body)
    } else {
        Err(Malformed::Checksum { expected, found })
    }
}

fn limit(what: &'static str, found: usize, limit: usize) -> Malformed {
    Malformed::Limit(Box::new(Excess { what, found: found as u64, limit: limit as u64 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::causal::{Dot, ReplicaId};

    #[test]
    fn what_unpacks_to_more_than_is_taken_is_refused() {
        let dead = |last| {
            let mut delta = Delta::default();
            delta.dead.insert_range(ReplicaId::from_bytes([7; 16]), 1, last);
            delta
        };
        let pieces: Vec<Delta> = (1..=400).map(dead).collect();
        let len: usize = pieces.iter().map(|piece| HEAD_BYTES + encode_delta(piece).len()).sum();
        let bytes = write(&pieces).unwrap();
        assert!(bytes.len() < len / 2);
        let store = read(&bytes, len).unwrap();
        assert!(store.context().contains(Dot::new(ReplicaId::from_bytes([7; 16]), 400)));
        assert!(read(&bytes, len + 1).is_ok());
        assert!(matches!(read(&bytes, len - 1), Err(Malformed::Limit(_))));
    }

    #[test]
    fn the_ranges_of_dots_of_all_pieces_are_limited() {
        let piece = |at: u64| {
            let dots =
                [at, at + 2].map(|counter| Dot::new(ReplicaId::from_bytes([7; 16]), counter));
            Delta { dead: dots.into_iter().collect(), ..Delta::default() }
        };
        let bytes = write(&[piece(1), piece(11), piece(21)]).unwrap();
        for (ranges_max, is_taken) in [(5, false), (6, true), (7, true)] {
            let read = read_by(&bytes, usize::MAX, ranges_max);
            assert_eq!(read.is_ok(), is_taken, "{ranges_max}");
            assert!(is_taken || matches!(read, Err(Malformed::Limit(_))));
        }
        // No more dots, and fewer ranges.
        let bytes = write(&[piece(1), piece(2)]).unwrap();
        assert!(read_by(&bytes, usize::MAX, 2).is_ok() && read_by(&bytes, usize::MAX, 1).is_err());
    }

    /// A file of these unpacked bytes.
    fn file(write: impl FnOnce(&mut ZlibEncoder<Vec<u8>>)) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        write(&mut packed);
        let packed = packed.finish().unwrap();
        [b"SyncDoc\x01", &(packed.len() as u32).to_le_bytes()[..], &packed].concat()
    }

    #[test]
    fn there_are_only_so_many_pieces() {
        for (count, is_taken) in
            [(PIECES_MAX - 1, true), (PIECES_MAX, true), (PIECES_MAX + 1, false)]
        {
            let written = write(&vec![Delta::default(); count]);
            assert_eq!(written.is_ok(), is_taken);
            let piece = encode_delta(&Delta::default());
            let head = [(piece.len() as u32).to_le_bytes(), crc32(&piece).to_le_bytes()].concat();
            let bytes = file(|packed| {
                for _ in 0..count {
                    packed.write_all(&head).unwrap();
                    packed.write_all(&piece).unwrap();
                }
            });
            let read = read(&bytes, usize::MAX);
            assert_eq!(read.map(|store| store.entry_count()).ok(), is_taken.then_some(0));
        }
    }

    #[test]
    fn a_piece_is_no_longer_than_a_delta() {
        for (beyond, is_over) in [(0, false), (1, true)] {
            let len = DELTA_BYTES_MAX as u32 + beyond;
            let bytes = file(|packed| packed.write_all(&len.to_le_bytes()).unwrap());
            let refused = read(&bytes, usize::MAX).unwrap_err();
            assert_eq!(matches!(refused, Malformed::Limit(_)), is_over, "{refused}");
        }
    }
}
