//! Whatever the bytes are: an error, or something that is written and read again as it is.

use sync_core::causal::{Delta, MemoryStore};
use sync_core::document::{Document, Undo};
use sync_core::error::Sure;
use sync_core::pack::Reader;
use sync_core::session::{OutboxState, decode_log, encode_log};
use sync_core::snapshot::{Compression, read_snapshot, write_snapshot};
use sync_core::types::{Place, Value};
use sync_core::wire::{Packing, decode_client, decode_delta, decode_hub, encode_delta};

use crate::frames::{bent, delta, sealed};
use crate::source::Source;

/// The most bytes of a snapshot that is read.
const SNAPSHOT_BYTES_MAX: usize = 1 << 20;

/// Feeds a decoder: the first byte says which, and whether as they are or in a valid frame.
pub fn decoders(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    match source.below(8) {
        0 => frame(source.rest()),
        1 => frame(&sealed(source.rest())),
        2 => frame(&bent(&mut source)),
        3 => delta_bytes(source.rest()),
        4 => {
            let delta = delta(&mut source);
            delta_bytes(&encode_delta(&delta));
        }
        5 => snapshot(source.rest()),
        6 => snapshot_of(&delta(&mut source)),
        _ => stored(source.rest()),
    }
}

fn frame(bytes: &[u8]) {
    let packing = Packing::from_bytes(0);
    if let Ok(message) = decode_client(bytes) {
        let frame = message.encode();
        assert_eq!(decode_client(&frame).as_ref(), Ok(&message));
        assert_eq!(decode_client(&packing.pack(frame)).as_ref(), Ok(&message));
    }
    if let Ok(message) = decode_hub(bytes) {
        let frame = message.encode();
        assert_eq!(decode_hub(&frame).as_ref(), Ok(&message));
        assert_eq!(decode_hub(&packing.pack(frame)).as_ref(), Ok(&message));
    }
}

fn delta_bytes(bytes: &[u8]) {
    let Ok(delta) = decode_delta(bytes) else { return };
    assert_eq!(decode_delta(&encode_delta(&delta)).as_ref(), Ok(&delta));
    let mut document = Document::default();
    document.join(&delta).sure();
    assert!(!document.join(&delta).sure().is_new, "a delta twice brings nothing");
    assert!(document.store().context().covers(&delta.context()));
    let mut other = MemoryStore::default();
    for entry in &delta.entries {
        other.join(&Delta { entries: [entry.clone()].into(), ..Delta::default() });
    }
    other.join(&delta);
    read_all(&document);
    snapshot_of(&delta);
}

/// Reads everything that an application can.
fn read_all(document: &Document) {
    for collection in document.collections().sure() {
        for (_, record) in document.records(&collection).sure() {
            assert!(record.is_shown());
            let _ = record.fields();
        }
    }
    for name in ["tags", "count"] {
        document.set(name).sure();
        document.counter(name).sure();
        document.value(name).sure();
        document.elements(&Place::Set { name: name.into() }).sure();
    }
    document.conflicts().sure();
}

fn snapshot(bytes: &[u8]) {
    let Ok(store) = read_snapshot(bytes, SNAPSHOT_BYTES_MAX) else { return };
    let again = write_snapshot(&store, Compression::None);
    let read = read_snapshot(&again, SNAPSHOT_BYTES_MAX);
    assert_eq!(read.as_ref(), Ok(&store));
    let loaded = Document::load(store.clone()).sure();
    read_all(&loaded);
    let mut joined = MemoryStore::default();
    joined.join(&store.to_delta());
    assert_eq!(joined, store, "a state is a delta");
}

fn snapshot_of(delta: &Delta) {
    let mut store = MemoryStore::default();
    store.join(delta);
    for compression in [Compression::None, Compression::Deflate] {
        let bytes = write_snapshot(&store, compression);
        assert_eq!(read_snapshot(&bytes, SNAPSHOT_BYTES_MAX).as_ref(), Ok(&store));
    }
}

fn stored(bytes: &[u8]) {
    if let Ok(entry) = decode_log(bytes) {
        assert_eq!(decode_log(&encode_log(&entry)).as_ref(), Ok(&entry));
    }
    if let Ok(value) = Value::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        value.encode_into(&mut again);
        assert_eq!(Value::decode(&mut Reader::new(&again)).as_ref(), Ok(&value));
    }
    if let Ok(undo) = Undo::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        undo.encode_into(&mut again);
        assert_eq!(Undo::decode(&mut Reader::new(&again)).as_ref(), Ok(&undo));
    }
    if let Ok(state) = OutboxState::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        state.encode_into(&mut again);
        assert_eq!(OutboxState::decode(&mut Reader::new(&again)).as_ref(), Ok(&state));
    }
}
