//! Snapshots: they give back what was written, and refuse everything else.

use proptest::prelude::*;
use sync_core::causal::{MemoryStore, ReplicaId};
use sync_core::document::{Author, Document};
use sync_core::error::{Malformed, Sure};
use sync_core::snapshot::{Compression, INFLATION_MAX, read_snapshot, write_snapshot};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId, Value};

use super::laws::{deed, history};

const BYTES_MAX: usize = 1 << 24;

fn store(deltas: &[sync_core::causal::Delta]) -> MemoryStore {
    let mut store = MemoryStore::default();
    for delta in deltas {
        store.join(delta);
    }
    store
}

/// A store with entries of many shapes: dead slots, long ids, several replicas, repeated objects.
fn varied() -> MemoryStore {
    let mut document = Document::default();
    for round in 0..400u64 {
        let replica = ReplicaId::from_bytes([(round % 3) as u8 + 1; 16]);
        let author = Author { replica, stamp: Stamp::from_ms(1_000 + round * 7) };
        let id = match round % 4 {
            0 => {
                RecordId::new(format!("a long text as an id, of no fixed length: {round}")).unwrap()
            }
            _ => RecordId::from_time(round, [round as u8; 10]),
        };
        let tags = Field::Set((0..round as i64 % 5).map(Value::Int).collect());
        let body = Field::from("words ".repeat(round as usize % 40));
        let fields = [("body", &body), ("tags", &tags), ("count", &Field::Counter(round as i64))];
        let edited = document.edit(author, usize::MAX, |edit| {
            edit.insert("notes", &id, fields)?;
            if round % 3 == 0 {
                edit.update("notes", &id, [("body", &Field::from("other"))])?;
            }
            if round % 5 == 0 {
                edit.remove("notes", &id)?;
            }
            edit.set_add("set", &Value::Int(round as i64))
        });
        edited.unwrap();
    }
    document.store().clone()
}

fn forms() -> Vec<Compression> {
    vec![Compression::None, Compression::Deflate]
}

#[test]
fn a_snapshot_gives_back_the_state_and_compresses() {
    let store = varied();
    let [plain, deflated] = [Compression::None, Compression::Deflate]
        .map(|compression| write_snapshot(&store, compression));
    for bytes in [&plain, &deflated] {
        let read = read_snapshot(bytes, BYTES_MAX).unwrap();
        assert_eq!(read, store);
        let (a, b) = (Document::load(store.clone()).sure(), Document::load(read).sure());
        assert_eq!(a.records("notes").sure(), b.records("notes").sure());
        assert_eq!(a.set("set").sure(), b.set("set").sure());
    }
    assert!(deflated.len() * 2 < plain.len(), "{} of {}", deflated.len(), plain.len());
    let empty = write_snapshot(&MemoryStore::default(), Compression::Deflate);
    assert_eq!(read_snapshot(&empty, BYTES_MAX).unwrap(), MemoryStore::default());
}

#[test]
fn a_state_of_several_sections_is_read_whole() {
    let mut document = Document::default();
    let replica = ReplicaId::from_bytes([1; 16]);
    let field = Field::from(1i64);
    for round in 0..40_000u64 {
        let author = Author { replica, stamp: Stamp::from_ms(round) };
        let id = RecordId::from_uuid(u128::from(round % 30_000).to_be_bytes());
        let edited = document.edit(author, usize::MAX, |edit| match round < 30_000 {
            true => edit.insert("notes", &id, [("f", &field)]),
            false => edit.update("notes", &id, [("g", &field)]),
        });
        edited.unwrap();
    }
    let bytes = write_snapshot(document.store(), Compression::Deflate);
    assert_eq!(read_snapshot(&bytes, BYTES_MAX).unwrap(), *document.store());
}

#[test]
fn limits_and_versions_are_named() {
    let bytes = write_snapshot(&varied(), Compression::Deflate);
    let read = |bytes: &[u8], max| read_snapshot(bytes, max).unwrap_err();
    assert!(matches!(read(&bytes, bytes.len() - 1), Malformed::Limit { .. }));
    let plain = write_snapshot(&varied(), Compression::None);
    assert!(matches!(read(&plain, plain.len() - 1), Malformed::Limit { .. }));
    assert!(read_snapshot(&plain, plain.len()).is_ok());
    // Compressed it is within the limit, and what comes out of it is not.
    assert!(matches!(read(&bytes, bytes.len() + 10), Malformed::Limit { .. }));
    let (mut too_few, mut enough) = (bytes.len(), BYTES_MAX);
    while enough - too_few > 1 {
        let middle = too_few.midpoint(enough);
        match read_snapshot(&bytes, middle) {
            Ok(_) => enough = middle,
            Err(error) => {
                assert!(matches!(error, Malformed::Limit { .. }));
                too_few = middle;
            }
        }
    }
    // What stands around the columns is no part of what comes out.
    assert!((plain.len() - 100..plain.len()).contains(&enough), "{enough} of {}", plain.len());
    let mut later = bytes.clone();
    later[4] = 2;
    assert!(matches!(read(&later, BYTES_MAX), Malformed::Limit(excess) if excess.found == 2));
    let mut other = bytes.clone();
    other[0] = b'X';
    assert!(matches!(read(&other, BYTES_MAX), Malformed::Encoding { .. }));
    assert!(read_snapshot(&[], BYTES_MAX).is_err());
}

#[test]
fn what_compresses_as_far_as_deflate_can_is_read() {
    let mut document = Document::default();
    let author = Author { replica: ReplicaId::from_bytes([1; 16]), stamp: Stamp::from_ms(1) };
    let field = Field::from("x".repeat(1 << 20));
    let id = RecordId::new("r").unwrap();
    let inserted = document.edit(author, usize::MAX, |edit| edit.insert("n", &id, [("f", &field)]));
    inserted.unwrap();
    let bytes = write_snapshot(document.store(), Compression::Deflate);
    assert!((INFLATION_MAX / 2..INFLATION_MAX).contains(&((1 << 20) / bytes.len())));
    assert_eq!(read_snapshot(&bytes, BYTES_MAX).unwrap(), *document.store());
}

#[test]
fn every_damaged_byte_is_found() {
    for compression in forms() {
        let bytes = write_snapshot(&varied(), compression);
        let step = (bytes.len() / 60).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let read = read_snapshot(&damaged, BYTES_MAX);
            assert!(read.is_err(), "byte {at} of {} of {compression:?}", bytes.len());
            assert!(read_snapshot(&bytes[..at], BYTES_MAX).is_err(), "cut at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_history_is_given_back(deeds in proptest::collection::vec((0usize..3, deed()), 0..40)) {
        let store = store(&history::<MemoryStore>(&deeds));
        for compression in forms() {
            let bytes = write_snapshot(&store, compression);
            let read = read_snapshot(&bytes, BYTES_MAX).unwrap();
            prop_assert_eq!(&read, &store);
            prop_assert_eq!(write_snapshot(&read, compression), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // Checksums that fit, so that what is behind them is reached.
        let mut framed = b"SYNS\x01".to_vec();
        let second = bytes.split_off(bytes.len() / 2);
        for part in [bytes, second] {
            framed.push(0);
            framed.extend_from_slice(&[part.len() as u8]);
            framed.extend_from_slice(&crc32fast::hash(&part).to_le_bytes());
            framed.extend_from_slice(&part);
        }
        let _ = read_snapshot(&framed, BYTES_MAX);
    }
}
