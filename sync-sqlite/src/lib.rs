//! Guarded opening of the SQLite files of client and hub, and checksums for their rows.
//!
//! A file is looked at before SQLite touches it. One that is not a database, belongs to another
//! application, comes from a newer version or is open elsewhere gives an error of its own and is left
//! as it is, byte for byte, with no new file beside it.

mod database;
mod header;
mod seal;

pub use database::{Database, OpenError, Schema, open, sync_folder, with_suffix};
pub use seal::{BrokenSeal, SEAL_BYTES, add_seal, seal, unseal};
