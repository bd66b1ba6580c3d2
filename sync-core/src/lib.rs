//! The kernel of the sync SDK: causal dot store, replicated types, wire format and sessions.
//!
//! This crate does no IO. It reads no clock, no random source, no environment and holds no global:
//! time, random bytes and storage come in from a driver, so a run can be replayed exactly.
//! Modules depend on each other one way: `text, error, zoo, checksum, deflate, sort, small, pack, time → causal → reconcile, snapshot →
//! types → document → alone, wire → session`.

/// Whether a rule is broken on purpose. Never so without the feature `zoo`.
macro_rules! broken {
    ($mutant:ident) => {{
        #[cfg(feature = "zoo")]
        let is_on = crate::zoo::is_on(crate::zoo::Mutant::$mutant);
        #[cfg(not(feature = "zoo"))]
        let is_on = crate::is_broken(stringify!($mutant));
        is_on
    }};
}

/// No rule is broken without the feature `zoo`.
#[cfg(not(feature = "zoo"))]
#[inline(always)]
const fn is_broken(_mutant: &str) -> bool {
    false
}

pub mod alone;
pub mod causal;
pub mod checksum;
#[cfg(feature = "deflate")]
mod deflate;
pub mod document;
pub mod error;
pub mod pack;
pub mod reconcile;
pub mod session;
mod small;
pub mod snapshot;
mod sort;
mod text;
pub mod time;
pub mod types;
pub mod wire;
#[cfg(feature = "zoo")]
pub mod zoo;
