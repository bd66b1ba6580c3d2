//! What the browser's store holds: states and deltas in sealed pieces, rows of the outbox, cursors.
//!
//! A piece is four bytes of CRC-32 (little-endian) over the rest, then an encoded delta. What is larger
//! than one delta may be on the wire stands in several pieces, entries first and dead dots last.

use js_sys::{Array, Object};
use sync_core::causal::{Delta, Dot, Few, MemoryStore, ReplicaId};
use sync_core::checksum::crc32;
use sync_core::pack::Reader;
use sync_core::session::{ChunkSize, OutboxItem, OutboxState};
use sync_core::types::Renaming;
use sync_core::wire::{
    CONTEXT_RANGES_MAX, Cursor, DELTA_BYTES_MAX, REPLICAS_MAX, decode_delta, encode_delta,
};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure;
use crate::object::{bytes_of, get, get_count, get_text, js_bytes, number, object, put};

/// The most ranges of dead dots in one piece. Arbitrary: far below what a delta may hold.
const RANGES_MAX: usize = 4_000;

/// Joins pieces of a state into fewer. Gives nothing where one of them is damaged.
#[wasm_bindgen]
pub fn fold(pieces: &Array) -> Option<Array> {
    let (deltas, damaged) = open_pieces(pieces);
    if damaged > 0 {
        return None;
    }
    let mut store = MemoryStore::default();
    for delta in &deltas {
        store.join(delta);
    }
    Some(seal_all(store.to_delta()))
}

/// Pieces once a part of a replica's history stands under another one. A damaged piece stays as it is.
#[wasm_bindgen]
pub fn renamed(pieces: &Array, renaming: &JsValue) -> Result<Array, JsValue> {
    let renaming = renaming_from_js(renaming)?;
    let piece = |piece: JsValue| {
        let delta = bytes_of(&piece).ok().and_then(|bytes| open_piece(&bytes));
        delta.map_or(piece, |delta| seal(&encode_delta(&renaming.delta(delta))))
    };
    Ok(pieces.iter().map(piece).collect())
}

/// What begins the replica under which it stands.
#[wasm_bindgen]
pub fn renaming_mark(renaming: &JsValue) -> Result<Array, JsValue> {
    let entries = renaming_from_js(renaming)?.mark().into_iter().collect();
    Ok(seal_all(Delta { entries, ..Delta::default() }))
}

/// A row of the outbox then; nothing where it is damaged.
#[wasm_bindgen]
pub fn renamed_item(row: &JsValue, renaming: &JsValue) -> Result<JsValue, JsValue> {
    let renaming = renaming_from_js(renaming)?;
    let (items, _) = items_from_js(&Array::of1(row))?;
    let item = items.into_iter().next().map(|item| item_to_js(&item.renamed(&renaming)));
    Ok(item.unwrap_or(JsValue::UNDEFINED))
}

pub(crate) fn renaming_to_js(renaming: &Renaming) -> JsValue {
    let mut bytes = Vec::new();
    renaming.encode_into(&mut bytes);
    js_bytes(&bytes)
}

pub(crate) fn renaming_from_js(js: &JsValue) -> Result<Renaming, JsValue> {
    let bytes = bytes_of(js)?;
    Renaming::decode(&mut Reader::new(&bytes)).map_err(|malformed| failure::malformed(&malformed))
}

/// Reads pieces, and counts those that are damaged.
pub(crate) fn open_pieces(pieces: &Array) -> (Vec<Delta>, u32) {
    let mut deltas = Vec::new();
    let mut damaged = 0;
    for piece in pieces.iter() {
        match bytes_of(&piece).ok().and_then(|bytes| open_piece(&bytes)) {
            Some(delta) => deltas.push(delta),
            None => damaged += 1,
        }
    }
    (deltas, damaged)
}

fn open_piece(bytes: &[u8]) -> Option<Delta> {
    let (checksum, body) = bytes.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*checksum) == crc32(body)).then_some(())?;
    decode_delta(body).ok()
}

/// A delta in pieces: one, unless it is larger than a delta may be, in bytes or in ranges.
pub(crate) fn seal_all(delta: Delta) -> Array {
    let whole = encode_delta(&delta);
    let context = delta.context();
    let is_narrow =
        context.range_count() <= CONTEXT_RANGES_MAX && context.replica_count() <= REPLICAS_MAX;
    if whole.len() <= DELTA_BYTES_MAX && is_narrow {
        return Array::of1(&seal(&whole));
    }
    let size = ChunkSize { items: RANGES_MAX, ..ChunkSize::default() };
    // With notes, so many ranges might be more bytes than a delta may have.
    let pieces = size.cut(Delta { notes: Few::new(), ..delta });
    pieces.iter().map(|piece| seal(&encode_delta(piece))).collect()
}

fn seal(body: &[u8]) -> JsValue {
    let mut bytes = crc32(body).to_le_bytes().to_vec();
    bytes.extend_from_slice(body);
    js_bytes(&bytes)
}

/// A row of the outbox as it is stored.
pub(crate) fn item_to_js(item: &OutboxItem) -> JsValue {
    let OutboxItem { replica, first, last, changes, state, delta } = item;
    let (state, reason) = match state {
        OutboxState::Pending => ("pending", None),
        OutboxState::Frozen => ("frozen", None),
        OutboxState::Parked { reason } => ("parked", Some(reason)),
    };
    let row = Object::new();
    put(&row, "replica", &replica.text().into());
    put(&row, "first", &number(*first));
    put(&row, "last", &number(*last));
    put(&row, "changes", &(*changes).into());
    put(&row, "state", &state.into());
    if let Some(reason) = reason {
        put(&row, "reason", &reason.into());
    }
    put(&row, "delta", &seal(&encode_delta(delta)));
    row.into()
}

/// Reads rows of the outbox, and counts those that are damaged: they are left out.
pub(crate) fn items_from_js(rows: &Array) -> Result<(Vec<OutboxItem>, u32), JsValue> {
    let mut items = Vec::new();
    let mut damaged = 0;
    for row in rows.iter() {
        let Some(delta) = open_piece(&bytes_of(&get(&row, "delta")?)?) else {
            damaged += 1;
            continue;
        };
        let state = match get_text(&row, "state")?.as_str() {
            "pending" => OutboxState::Pending,
            "frozen" => OutboxState::Frozen,
            _ => {
                OutboxState::Parked { reason: get(&row, "reason")?.as_string().unwrap_or_default() }
            }
        };
        items.push(OutboxItem {
            replica: replica_from_js(&get_text(&row, "replica")?)?,
            first: get_count(&row, "first")?,
            last: get_count(&row, "last")?,
            changes: u32::try_from(get_count(&row, "changes")?).unwrap_or(u32::MAX),
            state,
            delta,
        });
    }
    Ok((items, damaged))
}

/// A cursor as it is stored: boot and sequence, 8 bytes each, big-endian.
pub(crate) fn cursor_to_js(cursor: Cursor) -> JsValue {
    js_bytes(&[cursor.boot.to_be_bytes(), cursor.seq.to_be_bytes()].concat())
}

/// Reads a cursor; none where there is none, or none of ours.
pub(crate) fn cursor_from_js(js: &JsValue) -> Option<Cursor> {
    let bytes = bytes_of(js).ok()?;
    let (boot, seq) = bytes.split_at_checked(8)?;
    let boot = u64::from_be_bytes(boot.try_into().ok()?);
    Some(Cursor { boot, seq: u64::from_be_bytes(seq.try_into().ok()?) })
}

/// A dot by its replica and counter.
pub(crate) fn dot_to_js(dot: Dot) -> JsValue {
    object(&[("replica", dot.replica.text().into()), ("counter", number(dot.counter))])
}

/// Reads a replica id.
pub(crate) fn replica_from_js(text: &str) -> Result<ReplicaId, JsValue> {
    text.parse().map_err(|malformed| failure::malformed(&malformed))
}
