//! The hub: relays and stores deltas over WebSocket, with SQLite embedded.
//!
//! One thread owns the protocol's state machine and the store. It handles the inputs of all
//! connections in batches, one transaction each, and lets go of what the state machine said only once
//! that transaction is on disk. No document is loaded into memory to relay it: memory follows
//! connections, not data.
//!
//! ```no_run
//! # async fn run() -> Result<(), sync_hub::HubError> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
//! let server = sync_hub::HubServer::open(listener, sync_hub::Options::new("data"))?;
//! server.run(std::future::pending()).await
//! # }
//! ```

mod access;
mod clock;
mod control;
mod copy;
mod doors;
mod http;
mod meter;
mod metrics;
mod options;
mod outgoing;
mod server;
mod socket;
mod store;
mod tls;
mod writer;

pub use access::{
    Claims, KEYS_MAX, SECRET_BYTES_MIN, TokenError, TokenKeys, inspect_token, new_secret,
    sign_token,
};
pub use copy::{CopyError, backup, restore};
pub use meter::HELLO_BYTES_MAX;
pub use options::{Limits, Options};
pub use server::{HEADER_BYTES_MAX, HubError, HubServer};
pub use store::{BOOTS_MAX, Damage, SqliteDocument, SqliteHub, StoreError};
pub use tls::{Tls, TlsError};
