//! Lists, maps and sets that mostly hold a few items.
//!
//! Native builds keep the few items of a list in place, and have the trees of the standard library. What
//! these take is compiled anew for each type of item, several kilobytes of it, so the module for browsers
//! has vectors of the same names, which do the same.

mod few;
#[cfg(any(test, target_arch = "wasm32"))]
mod list;
mod map;
#[cfg(any(test, target_arch = "wasm32"))]
mod set;

pub use few::Few;
pub(crate) use map::SortedMap;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use smallvec::SmallVec;
#[cfg(not(target_arch = "wasm32"))]
pub use std::collections::{BTreeMap, BTreeSet};

#[cfg(target_arch = "wasm32")]
pub(crate) use list::SmallVec;
#[cfg(target_arch = "wasm32")]
pub use {map::SortedMap as BTreeMap, set::SortedSet as BTreeSet};

/// Whether the most common cases are done in fewer steps than by the general way. Each such way is code
/// beside that one, and the module for browsers is smaller without.
pub(crate) const HAS_SHORTCUTS: bool = cfg!(not(target_arch = "wasm32"));
