//! What a peer can do wrong, and the close code that says so.

use std::borrow::Cow;

use crate::error::{Excess, Malformed};

/// A reason to close a connection. The codes stand in `docs/protocol.md`, and a test holds the table
/// there against this enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The frame is no message.
    #[error("the frame is no message: {0}")]
    Malformed(Malformed),
    /// The token is missing, wrong or has ended.
    #[error("the token was not accepted: {0}")]
    Unauthorized(Cow<'static, str>),
    /// The token does not allow this.
    #[error("not allowed: {0}")]
    Forbidden(Cow<'static, str>),
    /// No common protocol version.
    #[error("protocol version {offered} is not spoken here; version {spoken} is")]
    Version {
        /// What the peer speaks.
        offered: u16,
        /// What is spoken here.
        spoken: u16,
    },
    /// Nothing was received for too long.
    #[error("nothing was received in time: {0}")]
    Timeout(Cow<'static, str>),
    /// A message that is not allowed at this point.
    #[error("out of order: {0}")]
    OutOfOrder(Cow<'static, str>),
    /// A frame or count over its limit.
    #[error("too large: {what} is {found}, and the limit is {limit}")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The peer reads more slowly than it is sent to; it should come back and catch up.
    #[error("reading too slowly; reconnect to catch up")]
    SlowConsumer,
    /// Another connection of the same opening took over.
    #[error("another connection of this replica took over")]
    Superseded,
    /// The storage failed; nothing that was acknowledged is lost.
    #[error("the storage failed; try again later")]
    Storage,
    /// The hub is stopping.
    #[error("the hub is stopping; reconnect later")]
    GoingAway,
}

impl Fault {
    /// The WebSocket close code (RFC 6455, 7.4).
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Malformed(_) => 4400,
            Self::Unauthorized(_) => 4401,
            Self::Forbidden(_) => 4403,
            Self::Version { .. } => 4406,
            Self::Timeout(_) => 4408,
            Self::OutOfOrder(_) => 4409,
            Self::TooLarge { .. } => 4413,
            Self::SlowConsumer => 4429,
            Self::Superseded => 4430,
            Self::Storage => 1011,
            Self::GoingAway => 1001,
        }
    }

    /// The reason as it is sent: at most 123 bytes (RFC 6455, 5.5).
    #[must_use]
    pub fn close_reason(&self) -> String {
        let mut reason = self.to_string();
        while reason.len() > 123 {
            reason.pop();
        }
        reason
    }

    /// Whether a client that is closed with this code should stop trying until a person acts.
    #[must_use]
    pub fn is_final(close_code: u16) -> bool {
        matches!(close_code, 4401 | 4403 | 4406)
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Limit(excess) => {
                let Excess { what, found, limit } = *excess;
                Self::TooLarge { what, found, limit }
            }
            Malformed::Encoding { .. }
            | Malformed::Checksum { .. }
            | Malformed::Dangling
            | Malformed::Inconsistent { .. } => Self::Malformed(malformed),
        }
    }
}
