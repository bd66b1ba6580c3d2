//! The protocol as state machines without IO: one for a client, one for a hub.
//!
//! Each takes inputs by `handle…` with the time, and gives outputs by `poll`. A driver owns the
//! sockets, the disk and the clock, and is a loop around a `match`.

mod backoff;
mod chunks;
mod client;
mod hub;
mod hub_store;
pub mod limits;
mod memory_hub;
mod names;

pub use backoff::Backoff;
pub use chunks::ChunkSize;
pub use client::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientStore, Device, DeviceBox,
    IN_USE, Immediate, ItemError, ItemHead, ItemSpan, LogEntry, NOT_HERE, OutboxItem, OutboxState,
    OutboxTotals, Outline, Parting, Peer, Persist, PersistId, Phase, Progress, Receipt,
    RecordLevel, Recorded, RecordedBox, Rewritten, SavedDocument, Side, Standing, Step, decode_log,
    encode_log,
};
pub use hub::{ConnectionId, Counts, Documents, Grant, Hub, HubInput, HubOutput, Rule};
pub use hub_store::{Boot, Buried, DocumentId, HubStore, Page};
pub use memory_hub::MemoryHub;

/// A time by a clock that never goes back and a time by the calendar, both from the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Milliseconds since an arbitrary start, never going back: for deadlines.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970: for stamps.
    pub unix_ms: u64,
}
