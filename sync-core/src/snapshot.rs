//! A whole state in a compact form: columns, a dictionary of labels and replicas, a checksum for each
//! section, and compression on request.
//!
//! A snapshot is `SYNS`, a version, the context, the labels, and sections of entries in the order of
//! dots. `docs/snapshot.md` has every byte.

mod column;
#[cfg(feature = "deflate")]
mod deflate;
mod frame;
mod read;
mod write;

pub use read::read_snapshot;
pub use write::write_snapshot;

/// What a snapshot begins with.
const MAGIC: [u8; 4] = *b"SYNS";

/// The version that is written.
const VERSION: u8 = 1;

/// How many entries a section has at most. Arbitrary: enough for compression, and a bound on memory.
const SECTION_ENTRIES: usize = 16 * 1024;

/// The most bytes of a frame before compression. What is larger than that was not written here.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// DEFLATE makes at most so many bytes of one (1,032; RFC 1951), here with some to spare.
const INFLATION_MAX: usize = 1_100;

/// The most bytes of values that can be taken as numbers: those of a UUID.
const NUMBER_BYTES_MAX: usize = 16;

/// After how many bytes of slots a section ends. Arbitrary.
const SECTION_BYTES: usize = 4 * 1024 * 1024;

/// Whether and how sections are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Bytes as they are.
    #[default]
    None,
    /// DEFLATE (RFC 1951).
    #[cfg(feature = "deflate")]
    Deflate,
}

/// How the bytes of a section stand in a snapshot.
mod form {
    pub(super) const PLAIN: u8 = 0;
    pub(super) const DEFLATE: u8 = 1;
}
