//! Offline-first documents in native programs: local state and outbox in SQLite, sync with a hub over
//! WebSocket.
//!
//! Everything works without a network. Records are read from the file as they are asked for, and each write
//! gives a [`Written`] that tells when the change is on this disk and when it is on the hub's disk, and
//! never earlier. The same calls serve blocking and async programs.
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

#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

mod address;
mod backup;
mod client;
mod clock;
mod committer;
mod contact;
mod devices;
mod document;
mod driver;
mod error;
mod export;
mod feed;
mod jobs;
mod outbox;
mod purge;
mod random;
mod revert;
mod shared;
mod status;
mod store;
mod stream;
mod tape;
mod token;
mod typed;
mod undo;
mod written;

pub use address::HubAddress;
pub use backup::BackupError;
pub use client::{Builder, Client};
pub use contact::Contact;
pub use devices::{Device, DeviceId, Receipt};
pub use document::{Clash, Collection, DocumentHandle, Item, Logged, members};
pub use error::{AddressError, Error, LineError, NoRandom, OpenError, SyncError};
pub use export::{EXPORT_BYTES_MAX, Imported, TransferError};
pub use feed::{FeedCursor, FeedEntry, FeedError, FeedPage};
pub use outbox::{
    BadExport, BadKey, Dropped, ExportedItem, ITEM_PLACES_MAX, ItemKey, ItemState, OutboxError,
    OutboxPage, PAGE_ITEMS_MAX, Waiting, read_export,
};
pub use revert::{Reverted, Which};
pub use status::{ClientStatus, Connection, Event, Missing, OfflineReason, Scrubbed, Status};
pub use store::{Checkpoint, Damage, DocumentStore, Keeper, Kept, Limits, StoreError};
pub use stream::{ChangeStream, Changes, Subscription, Watch};
pub use sync_core::causal::{Dot, ReplicaId};
pub use sync_core::document::Page as RecordPage;
pub use sync_core::error::Misuse;
pub use sync_core::session::{LogEntry, OutboxItem, OutboxState, Peer, Phase, Progress, Side};
pub use sync_core::types::{
    Conflict, Field, Place, Record, RecordId, Value, Version, Written as Writing,
};
#[doc(inline)]
pub use sync_sqlite::OpenError as FileError;
pub use tape::{Difference, PastDocument, Rewound, TapeError};
pub use token::TokenError;
pub use typed::{Count, Members, Typed, TypedError};
pub use written::Written;

/// A document, as [`DocumentHandle::read`] shows it.
pub type Document = sync_core::document::Document<DocumentStore>;
/// A change that is being made, by [`DocumentHandle::change`].
pub type Edit<'a> = sync_core::document::Edit<'a, DocumentStore>;
/// Why a change is not made.
pub type Refused = sync_core::document::Refused<StoreError>;
