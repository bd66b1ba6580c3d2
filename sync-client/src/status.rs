//! What a client tells of itself: connection, progress, events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use sync_core::causal::ReplicaId;
use sync_core::session::{LogEntry, Phase, Progress};
use sync_core::types::Place;

use crate::contact::Contact;
use crate::error::LineError;
use crate::store::{Damage, StoreError};

/// How the line to the hub is.
#[derive(Debug, Clone)]
pub enum Connection {
    /// The hub has welcomed this client.
    Online,
    /// An attempt is under way.
    Connecting,
    /// No connection, and why.
    Offline(OfflineReason),
}

/// Why there is no connection.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum OfflineReason {
    /// The client was opened without the address of a hub.
    #[error("no hub was named")]
    NoHub,
    /// The application switched the line off.
    #[error("switched off")]
    SwitchedOff,
    /// The last attempt failed or the connection was lost; another attempt follows by itself.
    #[error("{0}; trying again")]
    Lost(Arc<LineError>),
    /// The hub turned this client away for good: no attempt follows until the application asks.
    #[error("{0}; not trying again until told to")]
    TurnedAway(Arc<LineError>),
    /// There is no token that the hub may accept; it is asked for again, until there is one.
    #[error("{0}; asking for a token again")]
    NoToken(Arc<LineError>),
    /// The local store failed, so nothing may be received or sent.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// The client was shut down.
    #[error("shut down")]
    Closed,
}

impl Connection {
    /// Whether the hub has welcomed this client.
    #[must_use]
    pub fn is_online(&self) -> bool {
        matches!(self, Self::Online)
    }

    /// The cause that the present state has in common with equal ones: the same for two values that
    /// say the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Online, Self::Online) | (Self::Connecting, Self::Connecting) => true,
            (Self::Offline(a), Self::Offline(b)) => a.to_string() == b.to_string(),
            (Self::Online | Self::Connecting | Self::Offline(_), _) => false,
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Connecting => "connecting",
            Self::Offline(_) => "offline",
        })
    }
}

/// How a document is. What is not known is none, and nothing is said to be safe that is not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The line to the hub.
    pub connection: Connection,
    /// How far the document is with the hub.
    pub phase: Phase,
    /// Changes that the hub has not acknowledged.
    pub pending: usize,
    /// No less than the bytes of these on the wire.
    pub pending_bytes: u64,
    /// Changes that the hub refused and that are kept here.
    pub parked: usize,
    /// No less than the bytes of these on the wire.
    pub parked_bytes: u64,
    /// Whether the hub lacks something else that is here, as after it lost something or after an import,
    /// and has not confirmed all of it; also while there is no connection, where the last one was lost over
    /// that. Before the first connection of this run nothing of it is known, and this is false.
    pub is_refilling: bool,
    /// How many dots (fields that were written, and removals) are not here that the hub had when it
    /// opened the document on this connection; or a part of them, where the hub has seen more than it
    /// may tell. None while the hub has said nothing on this connection.
    pub lag: Option<u64>,
    /// For how long not all that the hub had has been known to be here, in milliseconds: in a document
    /// that is live, since the hub was last heard. None where it never was.
    pub lag_ms: Option<u64>,
    /// When the hub was last heard, and when all that it had was here.
    pub contact: Contact,
    /// How far the catch-up is that is under way.
    pub progress: Option<Progress>,
    /// How many records and values clash at present.
    pub conflicts: u64,
    /// Who writes here; none once the client has ended.
    pub replica: ReplicaId,
}

impl Status {
    /// What is known of a document of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            connection: Connection::Offline(OfflineReason::Closed),
            phase: Phase::Closed,
            pending: 0,
            pending_bytes: 0,
            parked: 0,
            parked_bytes: 0,
            is_refilling: false,
            lag: None,
            lag_ms: None,
            contact: Contact::default(),
            progress: None,
            conflicts: 0,
            replica: ReplicaId::from_bytes([0; 16]),
        }
    }

    /// Whether another one says the same, but for the time that goes by.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.connection.is_same(&other.connection) && self.counts() == other.counts()
    }

    fn counts(&self) -> impl PartialEq + use<> {
        let Self { phase, pending, pending_bytes, parked, parked_bytes, is_refilling, .. } = *self;
        let Self { lag, progress, conflicts, replica, .. } = *self;
        let outbox = (pending, pending_bytes, parked, parked_bytes);
        (phase, outbox, is_refilling, lag, progress, conflicts, replica)
    }
}

/// How a client is, over all its documents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientStatus {
    /// The line to the hub.
    pub connection: Connection,
    /// When the hub was last heard, in milliseconds since 1970 by this device's clock.
    pub heard_ms: Option<u64>,
    /// How each document is, by name.
    pub documents: BTreeMap<String, Status>,
}

impl ClientStatus {
    /// Changes that the hub has not acknowledged, without those that it refused.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.documents.values().map(|status| status.pending).sum()
    }

    /// No less than the bytes of these on the wire.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.documents.values().map(|status| status.pending_bytes).sum()
    }

    /// Changes that the hub refused and that are kept here.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.documents.values().map(|status| status.parked).sum()
    }

    /// Whether another one says the same, but for the time that goes by.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (own, others) = (&self.documents, &other.documents);
        self.connection.is_same(&other.connection)
            && own.keys().eq(others.keys())
            && own.values().zip(others.values()).all(|(one, other)| one.is_same(other))
    }
}

/// What a document still lacks of being in sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The document.
    pub document: String,
    /// How far it is with the hub.
    pub phase: Phase,
    /// Changes that the hub has not acknowledged.
    pub pending: usize,
    /// Changes that the hub refused.
    pub parked: usize,
    /// Whether the hub lacks something else that is here.
    pub is_refilling: bool,
    /// Why there is no connection.
    pub offline: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, phase, pending, parked, is_refilling, offline } = self;
        write!(f, "document {document}:")?;
        if *pending > 0 {
            write!(f, " {pending} changes are not on the hub;")?;
        }
        if *parked > 0 {
            write!(f, " {parked} changes were refused;")?;
        }
        if *is_refilling {
            write!(f, " the hub is being given what it lacks;")?;
        }
        match (phase, offline) {
            (_, Some(reason)) => write!(f, " {reason}"),
            (Phase::Closed, None) => write!(f, " the hub has not answered"),
            (Phase::Opening, None) => write!(f, " the hub is opening the document"),
            (Phase::CatchingUp, None) => write!(f, " the hub's state is still on its way"),
            (Phase::Live, None) => write!(f, " the hub's state is here"),
        }
    }
}

/// What looking at the file in the background has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// How often the whole file was looked at since it was opened.
    pub passes: u64,
    /// What the last pass found that is not as it was written, up to 100 rows.
    pub damage: Vec<Damage>,
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Records or sets changed, here or elsewhere.
    Changed {
        /// The document.
        document: String,
        /// Which places.
        places: BTreeSet<Place>,
    },
    /// The outbox or the phase of a document changed.
    Status {
        /// The document.
        document: String,
    },
    /// Who else is online changed.
    Peers {
        /// The document.
        document: String,
    },
    /// A conflict was seen, or its sides changed.
    Conflict {
        /// The document.
        document: String,
        /// The entry of the conflict log.
        entry: LogEntry,
    },
    /// The document is written under a fresh incarnation from here on.
    Renewed {
        /// The document.
        document: String,
        /// The replica.
        replica: ReplicaId,
    },
    /// The line to the hub changed.
    Connection(Connection),
    /// This device's clock is wrong by more than a minute, as the hub's tells. What is written from here on
    /// has the hub's time. Tell whoever uses the device to set its clock.
    ClockSkew {
        /// By how many milliseconds it is behind; negative where it is ahead.
        behind_ms: i64,
    },
    /// The whole file was looked at in the background.
    Scrubbed(Scrubbed),
    /// The subscriber was too slow and events are gone: read the state again.
    Missed,
}
