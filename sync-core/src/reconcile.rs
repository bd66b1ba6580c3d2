//! Anti-entropy: finding what differs between two copies of a document, without a common log.
//!
//! Elements are live dots with a hash of their content. [`Fingerprints`] sums them up incrementally.

mod buckets;
mod codec;
mod coded;
mod element;
mod fingerprints;
mod space;
mod summary;

pub use element::{ElementKey, Root, Sum, Total, content_hash, context_hash, header_hash};
pub use fingerprints::Fingerprints;
pub use summary::{Indexed, LiveDots, Summary};
