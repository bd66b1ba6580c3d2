//! Anti-entropy: finding what differs between two copies of a document, without a common log.
//!
//! Elements are live dots with a hash of their content ([`EntryView::hashes`]); never an encoding,
//! since parties with different live masks cut the same entries differently. [`Fingerprints`] sums
//! them up as they come and go. [`Reconciler`] is one session between two sides: first one hash of context and
//! live dots; then the contexts, after which what only one side has *seen* is known without hashing;
//! then, of the dots that both have seen, which are live on one side only. The contexts tell which
//! side is right: a dot that both have seen and that is live on one side was removed on the other.
//!
//! Sources: Meyer, *Range-Based Set Reconciliation*, 2023; Yang, Gilad, Alizadeh, *Practical Rateless
//! Set Reconciliation*, SIGCOMM 2024; Bellare, Micciancio, *A New Paradigm for Collision-free Hashing*,
//! 1997.

mod answerer;
mod asker;
mod codec;
mod coded;
mod contexts;
mod found;
mod list;
mod reconciler;
mod repair;
mod space;
mod summary;

pub use reconciler::Reconciler;
pub use repair::{Repair, RepairMessage, Repaired, Verdict};
pub use summary::{Indexed, LiveDots, Summary};

use thiserror::Error;

use crate::causal::CausalContext;
#[cfg(doc)]
use crate::causal::{EntryView, Fingerprints};
use crate::error::Malformed;

/// Who is to know in the end what differs. Both contexts are known to both in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// The responder, so that it takes over what the initiator has.
    Push = 0,
    /// The initiator, so that it takes over what the responder has.
    Pull = 1,
    /// Both.
    PushPull = 2,
}

impl Mode {
    fn of(byte: u8) -> Option<Self> {
        [Self::Push, Self::Pull, Self::PushPull].into_iter().find(|mode| *mode as u8 == byte)
    }
}

/// What one session may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one message, at least 1,024. Both contexts must fit into one.
    pub message_bytes_max: usize,
    /// The most bytes of all messages, both ways.
    pub session_bytes_max: u64,
    /// The most messages, both ways.
    pub messages_max: u32,
    /// The most ranges of positions that differ; each takes 16 bytes of memory. Beyond this, sending
    /// the document is the better repair.
    pub ranges_max: usize,
}

impl Default for Limits {
    /// Messages of 192 KiB, 256 of them, 16 MiB in all, 262,144 ranges: arbitrary, and enough for a
    /// list of a hundred million positions.
    fn default() -> Self {
        Self {
            message_bytes_max: 192 * 1_024,
            session_bytes_max: 16 * 1_024 * 1_024,
            messages_max: 256,
            ranges_max: 1 << 18,
        }
    }
}

impl Limits {
    fn sane(mut self) -> Self {
        self.message_bytes_max = self.message_bytes_max.max(1_024);
        self
    }
}

/// What differs between two copies, seen from one of them.
///
/// To become the join of both, a side takes over the entries and removals of `unseen_here`, drops
/// `live_here`, and settles `conflicting`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Dots that only this side has seen, live or dead.
    pub unseen_there: CausalContext,
    /// Dots that only the other side has seen, live or dead.
    pub unseen_here: CausalContext,
    /// Dots that both have seen and that are live here only: the other side has seen them removed.
    pub live_here: CausalContext,
    /// Dots that both have seen and that are live there only: this side has seen them removed.
    pub live_there: CausalContext,
    /// Dots that are live on both sides with different content. It takes a fault to get there.
    pub conflicting: CausalContext,
    /// Whether the last three are known. The side that was not meant to learn them may not know them.
    pub knows_live: bool,
}

/// Why a session ended. It is to be begun anew, or not at all with a peer that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReconcileError<E> {
    /// The peer sent bytes that are no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The peer sent a message when it was not its turn, or one that does not answer the last.
    #[error("message of kind {kind} was not to be sent here")]
    Unexpected {
        /// The message's first byte.
        kind: u8,
    },
    /// The session costs more than it may.
    #[error("{what} are more than the limit of {limit}")]
    Budget {
        /// What is limited.
        what: &'static str,
        /// The most that is allowed.
        limit: u64,
    },
    /// Sums still differ after everything that was found: the document changed meanwhile, or the peer
    /// does not tell the truth.
    #[error("what was found does not explain the difference")]
    Unresolved,
    /// The store failed.
    #[error("the store failed")]
    Store(E),
}
