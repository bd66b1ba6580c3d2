//! The tests of the crate's public surface, in one binary.

mod documents;
mod laws;
mod sessions;
mod world;
