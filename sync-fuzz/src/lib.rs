//! The bodies of the fuzz targets: each takes bytes, and panics where a promise is broken.
//!
//! `cargo xtask fuzz` lets bytes grow that reach ever more of the core; the tests of this crate run
//! the bodies over those that are kept in `corpus`.

mod decoders;
mod frames;
mod pair;
mod peers;
mod source;
#[path = "../../sync-core/tests/it/world.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "the world of the core's own tests"
)]
mod world;

pub use decoders::decoders;
pub use pair::pair;
pub use peers::peers;

/// Runs one input.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 3] = [("decoders", decoders), ("peers", peers), ("pair", pair)];
