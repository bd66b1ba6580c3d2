//! What can go wrong, one enum for each boundary: opening, writing, the line to the hub, syncing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use sync_core::error::Misuse;

use crate::status::Missing;
use crate::store::StoreError;
use crate::token::TokenError;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandom;

/// Why a client was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory could not be made.
    #[error("the data directory {path} could not be made ({source}); choose another path")]
    Directory {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file in the data directory was not opened. It is untouched.
    #[error(transparent)]
    File(#[from] sync_sqlite::OpenError),
    /// The file is the draft of a backup that did not end. It is untouched.
    #[error(
        "{path} is the draft of a backup that did not end; delete it and make the backup again"
    )]
    Draft {
        /// Where.
        path: PathBuf,
    },
    /// What stands in the file could not be read.
    #[error("{path}: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StoreError,
    },
    /// The hub's address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No document was named, or one whose name cannot be used.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The system gave no random bytes.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// The system gave no thread or event queue.
    #[error("the background thread could not be started ({0})")]
    Thread(io::Error),
}

/// Why a text is no address of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not start with a scheme that is spoken.
    #[error("{address:?} is no hub address; write http://HOST:PORT or ws://HOST:PORT/sync")]
    Scheme {
        /// What was given.
        address: String,
    },
    /// The rest is not a host with an optional port and path.
    #[error("{address:?} has no valid host, port or path; write http://HOST:PORT")]
    Invalid {
        /// What was given.
        address: String,
    },
    /// The address asks for TLS, which this build does not have.
    #[error("{address:?} asks for TLS, which this build lacks; enable the feature `tls`")]
    NoTls {
        /// What was given.
        address: String,
    },
}

/// Why something was refused by an open client. Nothing was changed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that cannot be done.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The local store failed. What it had confirmed before is safe; nothing more is written until the
    /// client is opened again.
    #[error("nothing more is written until this is opened again: {0}")]
    Store(Arc<StoreError>),
    /// Something could not be read from the local store.
    #[error("this could not be read: {0}")]
    Read(Arc<StoreError>),
    /// The hub refused the change; it is kept here and listed in the outbox.
    #[error("the hub refused the change ({reason}); it is kept here")]
    Parked {
        /// What the hub says.
        reason: String,
    },
    /// The document would not be as the application wants it.
    #[error("the document would break a rule of the application; nothing was changed")]
    Violated,
    /// It did not come about in the time that was given.
    #[error("the time is over")]
    TimedOut,
    /// The client was shut down.
    #[error("the client is shut down")]
    Closed,
    /// The system gave no random bytes for an id.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

impl From<StoreError> for Error {
    fn from(failure: StoreError) -> Self {
        if matches!(failure, StoreError::Closed) {
            Self::Closed
        } else {
            Self::Read(Arc::new(failure))
        }
    }
}

/// Why the line to the hub is down.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LineError {
    /// Nobody was reached.
    #[error("the hub was not reached ({0})")]
    Unreachable(io::Error),
    /// Nobody answered in time.
    #[error("the hub did not answer within {ms} ms")]
    Silent {
        /// How long was waited, in milliseconds.
        ms: u64,
    },
    /// Something answered that is no hub.
    #[error("what answers there is no hub (HTTP status {status})")]
    Status {
        /// The status of the answer.
        status: u16,
    },
    /// The hub closed the connection.
    #[error("the hub closed the connection ({code}: {reason})")]
    Closed {
        /// The close code.
        code: u16,
        /// What the hub says.
        reason: String,
    },
    /// The connection ended without a word.
    #[error("the connection was lost")]
    Lost,
    /// The source of tokens gave none.
    #[error("there is no token ({0})")]
    NoToken(TokenError),
    /// The source of tokens gives the one that the hub did not accept.
    #[error("the hub did not accept the token, and there is no other one")]
    TokenEnded,
    /// The session gave the connection up.
    #[error("the connection was given up: {reason}")]
    GivenUp {
        /// Why.
        reason: String,
    },
    /// The peer does not speak WebSocket as it should, or sent more than is allowed.
    #[error("the connection failed ({0})")]
    Transport(Box<tokio_tungstenite::tungstenite::Error>),
}

/// Why a sync did not end with everything on the hub and the hub's state here.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Something is still missing.
    #[error("the time is over: {}", list(.missing))]
    TimedOut {
        /// What is missing, for each document that is not done.
        missing: Vec<Missing>,
    },
    /// The hub refused changes; they are kept here and listed in the outbox.
    #[error("the hub refused changes: {}", list(.missing))]
    Parked {
        /// What is missing, for each document with such changes.
        missing: Vec<Missing>,
    },
    /// The client does not try to reach a hub, and will not before it is told to.
    #[error("not connecting: {0}")]
    Offline(crate::status::OfflineReason),
    /// The client is shut down, or its store failed.
    #[error(transparent)]
    Client(#[from] Error),
}

fn list(missing: &[Missing]) -> String {
    let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
