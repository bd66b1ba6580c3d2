//! The causal dot store: entries under one causal context.
//!
//! A dot that is in the context and has no live slot was removed, so there are no tombstones
//! (Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018; Bieniusa et al., *An
//! optimized conflict-free replicated set*, 2012). This module knows no types and no user data:
//! labels, ids and slots are opaque bytes.

mod compare;
mod content;
mod context;
mod delta;
mod dot;
mod encode;
mod entry;
mod fingerprints;
mod join;
mod label;
mod memory;
mod part;
mod place_id;
mod ranges;
mod slots;
mod store;

pub use crate::small::Few;
pub use compare::{Causality, VersionVector};
pub use context::CausalContext;
pub use delta::{Delta, Note};
pub use dot::{Dot, ReplicaId};
pub(crate) use encode::check_len;
pub(crate) use entry::ranges_of;
pub use entry::{Entry, EntryView};
pub(crate) use fingerprints::mix;
pub use fingerprints::{ElementKey, Fingerprints, Root, Sum, Total, context_hash};
pub(crate) use join::join_over;
pub use join::{Joined, join};
pub use label::{LABEL_BYTES_MAX, Label};
pub(crate) use memory::Builder;
pub use memory::MemoryStore;
pub use part::part;
pub use place_id::{PLACE_ID_BYTES_MAX, PlaceId};
pub use ranges::DotRanges;
pub use slots::{RUN_DOTS_MAX, Slots};
pub use store::{DotStore, Object, Overwrite, PlaceStore};
