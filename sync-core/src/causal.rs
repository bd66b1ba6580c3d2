//! The causal dot store: entries under one causal context.
//!
//! A dot that is in the context and has no live slot was removed, so there are no tombstones
//! (Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018; Bieniusa et al., *An
//! optimized conflict-free replicated set*, 2012). This module knows no types, no names and no user
//! data: headers and slots are opaque bytes.

mod compare;
mod context;
mod delta;
mod dot;
mod encode;
mod join;
mod ranges;
mod store;

pub use compare::{Causality, VersionVector};
pub use context::CausalContext;
pub use delta::{Delta, Entry, Note, RUN_DOTS_MAX};
pub use dot::{Dot, ReplicaId};
pub use join::{Joined, Killed, Run, join};
pub use ranges::DotRanges;
pub use store::{DotStore, MemoryStore};
