//! The tests of the crate's public surface, in one binary.

mod documents;
mod golden;
mod golden_cases;
mod hostile;
mod laws;
mod sessions;
mod world;
