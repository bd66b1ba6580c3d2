//! Items of an outbox as bytes: `docs/outbox.md` has the form.

use thiserror::Error;

use sync_core::causal::{Delta, ReplicaId};
use sync_core::checksum::crc32;
use sync_core::error::Malformed;
use sync_core::pack::{self, Reader};
use sync_core::session::{OutboxItem, OutboxState};
use sync_core::wire::{decode_delta, encode_delta};

/// What the bytes begin with.
const MAGIC: &[u8; 8] = b"SyOutbx1";

/// An item that was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedItem {
    /// Its document.
    pub document: String,
    /// The item.
    pub item: OutboxItem,
}

/// Why bytes are no export of an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadExport {
    /// They do not begin as one does.
    #[error("this is no exported outbox, or one of a later version")]
    Foreign,
    /// The checksum does not fit: something was lost or altered.
    #[error("the exported outbox is damaged; copy it again")]
    Damaged,
    /// The checksum fits, and what it is over is no export all the same.
    #[error("the exported outbox cannot be read: {0}")]
    Malformed(#[from] Malformed),
}

/// Items that are being written.
#[derive(Debug, Default)]
pub(super) struct Export {
    rows: Vec<u8>,
    count: usize,
}

impl Export {
    pub(super) fn add(&mut self, document: &str, item: &OutboxItem) {
        let OutboxItem { replica, first, last, changes, state, delta } = item;
        let Self { rows, count } = self;
        *count += 1;
        pack::array(rows, 7);
        pack::str(rows, document);
        replica.encode_into(rows);
        pack::uint(rows, *first);
        pack::uint(rows, *last);
        pack::uint(rows, (*changes).into());
        state.encode_into(rows);
        pack::bytes(rows, &encode_delta(delta));
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        pack::array(&mut bytes, self.count);
        bytes.append(&mut self.rows);
        let checksum = crc32(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// Reads what [`Client::export_outbox`](crate::Client::export_outbox) wrote. The whole is read or nothing.
///
/// # Errors
///
/// A [`BadExport`] that says what is wrong with the bytes.
pub fn read_export(bytes: &[u8]) -> Result<Vec<ExportedItem>, BadExport> {
    let Some((body, checksum)) = bytes.split_last_chunk::<4>() else {
        return Err(BadExport::Foreign);
    };
    let rows = body.strip_prefix(MAGIC).ok_or(BadExport::Foreign)?;
    if crc32(body) != u32::from_le_bytes(*checksum) {
        return Err(BadExport::Damaged);
    }
    let mut reader = Reader::new(rows);
    let mut items = Vec::new();
    for _ in 0..reader.array()? {
        items.push(read_item(&mut reader)?);
    }
    reader.end()?;
    Ok(items)
}

fn read_item(reader: &mut Reader<'_>) -> Result<ExportedItem, Malformed> {
    reader.exactly(7)?;
    let document = reader.str()?.to_owned();
    let replica = ReplicaId::decode(reader)?;
    let (first, last, changes) = (reader.uint()?, reader.uint()?, reader.narrow()?);
    let (state, delta) = (OutboxState::decode(reader)?, reader.bytes()?);
    let delta: Delta = decode_delta(delta)?;
    let item = OutboxItem { replica, first, last, changes, state, delta };
    Ok(ExportedItem { document, item })
}
