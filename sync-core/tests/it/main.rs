//! The tests of the crate's public surface, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "in a test, what is not expected is a failure"
)]

mod access;
mod alone;
mod brief;
mod chaos;
mod client_limits;
mod compare;
mod copies;
mod deltas;
mod documents;
mod edges;
mod fingerprints;
mod found;
mod golden;
mod golden_cases;
mod held;
mod hostile;
mod imports;
mod laws;
mod limits;
mod overwrite;
mod pack;
mod packed;
mod places;
mod poison;
mod protocol;
mod pushes;
mod reconcile;
mod repair;
mod revert;
mod session_limits;
mod sessions;
mod snapshot;
mod stores;
mod storm;
mod types;
mod undo;
mod world;
