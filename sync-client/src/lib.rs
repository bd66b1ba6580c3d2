//! Offline-first documents in native programs: local state and outbox in SQLite, sync with a hub over
//! WebSocket.
//!
//! Everything works without a network. Records are read from the file as they are asked for, and each
//! write gives a [`Written`] that tells when the change is on this disk and when it is on the hub's disk, and never
//! earlier. The same calls serve blocking and async programs.
//!
//! ```
//! use sync_client::{Client, members};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let directory = folder.path().join("data");
//! let client = Client::builder(&directory).document("notes").open()?; // .hub("http://127.0.0.1:8787")
//! let notes = client.document("notes")?.collection("notes");
//! let tags = members(["home", "shop"]);
//! let (id, written) = notes.insert([("title", "Buy milk".into()), ("tags", tags)])?;
//! written.wait_disk()?; // or: written.disk().await?, and written.hub().await?
//! notes.update(&id, [("title", "Buy oat milk".into())])?.wait_disk()?;
//! for note in notes.list()? {
//!     println!("{} {}", note.id, note.text("title").unwrap_or("untitled"));
//! }
//! client.shutdown()?;
//! # let client = Client::open(&directory, "notes")?;
//! # let notes = client.document("notes")?.collection("notes");
//! # assert_eq!(notes.get(&id)?.unwrap().text("title"), Some("Buy oat milk"));
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is opened on a data directory, which belongs to one client at a time. Its documents are
//! named at opening. A background thread commits, sends and receives; nothing that an application calls
//! waits for the network but what says so.

mod address;
mod client;
mod clock;
mod document;
mod driver;
mod error;
mod random;
mod shared;
mod status;
mod store;
mod written;

pub use address::HubAddress;
pub use client::{Builder, Client, Subscription};
pub use document::{Clash, Collection, DocumentHandle, Item, Logged, members};
pub use error::{AddressError, Error, LineError, NoRandom, OpenError, SyncError};
pub use status::{Connection, Event, Missing, OfflineReason, Scrubbed, Status};
pub use store::{Damage, DocumentStore, StoreError};
pub use sync_core::causal::{Dot, ReplicaId};
pub use sync_core::error::Misuse;
pub use sync_core::session::{LogEntry, OutboxItem, OutboxState, Peer, Phase, Side};
pub use sync_core::types::{Conflict, Field, Place, RecordId, Value, Version, Written as Writing};
pub use written::Written;

/// A document, as [`DocumentHandle::read`] shows it.
pub type Document = sync_core::document::Document<DocumentStore>;
/// A change that is being made, by [`DocumentHandle::change`].
pub type Edit<'a> = sync_core::document::Edit<'a, DocumentStore>;
/// Why a change is not made.
pub type Refused = sync_core::document::Refused<StoreError>;
