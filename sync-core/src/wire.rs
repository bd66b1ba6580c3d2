//! The wire: messages as checksummed MessagePack frames, their limits and close codes.
//!
//! `docs/protocol.md` is the normative description.

mod contexts;
mod delta;
mod dictionary;
mod fault;
mod frame;
mod message;
mod packed;

pub use delta::{InFull, Names, Objects, decode_delta, encode_delta, read_delta, write_delta};
pub use dictionary::Dictionary;
pub use fault::Fault;
pub use frame::{decode_client, decode_hub, presence_key};
pub use message::{
    Claim, ClientMessage, Cursor, Holder, Holders, HubMessage, Push, Token, Welcome,
};
pub use packed::Packing;

use crate::error::Malformed;

pub use crate::types::NAME_BYTES_MAX;

/// The protocol version that this crate speaks.
pub const VERSION: u16 = 1;

/// The most bytes of a frame.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// From how many bytes on a frame is packed. Arbitrary: a change of one record stays as it is.
pub const PACKED_BYTES_MIN: usize = 1024;

/// How many times its compressed bytes a packed frame may hold. Arbitrary: text and numbers come to less
/// than half of that, and more would let a few bytes cost a lot.
pub const PACKED_TIMES_MAX: usize = 32;

/// The most bytes of an encoded delta. Leaves room for the rest of a message.
pub const DELTA_BYTES_MAX: usize = 160 * 1024;

/// The most labels that a delta may bring along: no fewer than there can be entries and notes in a
/// chunk that is made within its limits, each of which is reckoned with 56 bytes at least.
pub const LABELS_MAX: usize = 4096;

const _: () = assert!((CHUNK_BYTES + DELTA_BYTES_MAX) / 56 <= LABELS_MAX);

/// The most replicas, and the most labels, that a dictionary numbers. Arbitrary: the first 128 of each
/// take one byte.
pub const DICTIONARY_ITEMS_MAX: usize = 1024;

/// The most bytes of all labels of a dictionary. Arbitrary; with the replicas they fit into a frame.
pub const DICTIONARY_BYTES_MAX: usize = 64 * 1024;

/// How many bytes of entries a chunk of a catch-up or a refill aims at.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The most replicas that the context of one document may name. Arbitrary.
pub const REPLICAS_MAX: usize = 4096;

/// The most ranges that a context on the wire may have: they fit into a frame. Either side may say that
/// it has seen less than it has; what it is then sent again changes nothing.
pub const CONTEXT_RANGES_MAX: usize = 8 * 1024;

/// The most channels (open documents) of one connection. Arbitrary.
pub const CHANNELS_MAX: usize = 64;

/// The most replicas that one connection may claim in one document. Arbitrary; a browser profile
/// claims one for each tab.
pub const CLAIMS_MAX: usize = 256;

/// The most marks of openings that a client is told of when it opens a document. Arbitrary; they fit
/// into a frame with the largest context that a hub says.
pub const OPENINGS_MAX: usize = 2048;

/// The most bytes of a presence state.
pub const PRESENCE_BYTES_MAX: usize = 4 * 1024;

/// The most devices of a document of which a hub keeps what they said that they hold, and that one message
/// tells of. Arbitrary; they fit into a frame with the longest names.
pub const HOLDERS_MAX: usize = 128;

/// The most bytes of one message of a comparison.
pub const SYNC_BYTES_MAX: usize = 192 * 1024;

/// The most bytes of all messages of the comparisons of a channel, both ways. Arbitrary: what a list of
/// thirty million dots takes.
pub const SYNC_SESSION_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The most messages of one comparison, both ways. Arbitrary; an honest one takes 2 to 16.
pub const SYNC_MESSAGES_MAX: u32 = 64;

/// How often a comparison may be begun on one channel: the document may change meanwhile.
pub const SYNC_TRIES_MAX: u32 = 3;

/// How many chunks of a catch-up may be under way without an acknowledgement, for each channel.
pub const CHUNK_CREDIT: u64 = 4;

/// How many pushes may be under way without an acknowledgement, for each channel.
pub const PUSH_CREDIT: usize = 8;

fn check_len(what: &'static str, found: usize, limit: usize) -> Result<(), Malformed> {
    if found > limit {
        return Err(Malformed::limit(what, found as u64, limit as u64));
    }
    Ok(())
}
