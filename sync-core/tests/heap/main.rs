//! What the heap holds, by an allocator that counts: a binary of its own, since it counts everything.

#![allow(clippy::unwrap_used, reason = "in a test, what is not expected is a failure")]

mod churn;
mod comparison;
mod hostile;
mod meter;
