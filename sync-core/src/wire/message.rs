//! What a client and a hub say to each other.

use std::fmt;

use crate::causal::{CausalContext, ReplicaId};
use crate::types::Opening;

/// Who somebody is, as only they and the hub may know.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

/// Without what it says.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How far a client has followed a hub: the hub's start and the sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Names one start of one hub, at random.
    pub boot: u64,
    /// The sequence number of the last change that is here.
    pub seq: u64,
}

/// That a connection writes for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The replica.
    pub replica: ReplicaId,
    /// Drawn at random when the replica was opened, so that a clone is told from a reconnect.
    pub opening: u64,
}

/// The hub's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version of this connection.
    pub version: u16,
    /// Names the hub's data directory.
    pub hub: u64,
    /// Names this start of the hub.
    pub boot: u64,
    /// The hub's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// Whether large frames may be packed, either way.
    pub packs: bool,
}

/// A delta that a client hands to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The channel of the document.
    pub channel: u32,
    /// Numbers the pushes of a channel, growing by one from 1.
    pub id: u64,
    /// The delta, as [`write_delta`](super::write_delta) writes it for the other side.
    pub delta: Vec<u8>,
    /// Whether the counters before it that the hub lacks wait at the client: something was refused.
    pub skips: bool,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientMessage {
    /// The first message of a connection.
    Hello {
        /// The version that the client speaks.
        version: u16,
        /// Who this is, where the hub asks for it.
        token: Option<Token>,
        /// What others are shown as who is online.
        agent: String,
        /// Whether it reads packed frames.
        packs: bool,
    },
    /// Opens a document.
    Open {
        /// Names the document in what follows, on this connection.
        channel: u32,
        /// The document's name.
        document: String,
        /// How far the client has followed.
        cursor: Option<Cursor>,
        /// Everything that the client has seen.
        context: CausalContext,
        /// For whom it writes.
        claims: Vec<Claim>,
        /// Whether it would rather compare than receive everything, where its cursor is not valid.
        compares: bool,
        /// Whose unconfirmed changes it has besides.
        unsent: Vec<ReplicaId>,
    },
    /// Claims more replicas.
    Claim {
        /// The channel.
        channel: u32,
        /// For whom it writes too.
        claims: Vec<Claim>,
    },
    /// Gives replicas up; they are no longer online.
    Release {
        /// The channel.
        channel: u32,
        /// For whom it no longer writes.
        replicas: Vec<ReplicaId>,
    },
    /// Hands over a delta.
    Push(Push),
    /// Confirms a chunk: it is on the client's disk.
    ChunkStored {
        /// The channel.
        channel: u32,
        /// The chunk's number.
        number: u64,
    },
    /// Says that a replica is online, and what it shows of itself.
    Presence {
        /// The channel.
        channel: u32,
        /// A replica that this connection claims.
        replica: ReplicaId,
        /// Its name, as shown to others.
        name: String,
        /// Opaque bytes.
        state: Vec<u8>,
    },
    /// Asks for a [`HubMessage::Pong`].
    Ping,
    /// A message of the comparison that takes the place of a catch-up with everything.
    Sync {
        /// The channel.
        channel: u32,
        /// What a [`Reconciler`](crate::reconcile::Reconciler) says; nothing asks for everything.
        message: Vec<u8>,
    },
    /// Keeps the hub's dictionary from here on.
    Brief {
        /// The channel.
        channel: u32,
        /// Whether it finds objects by dots, too: its catch-up is over, and it knows of what it removed
        /// and the hub has not confirmed.
        dots: bool,
    },
    /// Says up to where everything is on the client's disk.
    Held {
        /// The channel.
        channel: u32,
        /// A replica that this connection claims: who says so.
        replica: ReplicaId,
        /// A sequence number of the hub's present start: all that the document had up to it is here.
        seq: u64,
        /// What others are told that this device is called; where it is set, the client asks to be told of
        /// theirs.
        name: Option<String>,
    },
}

/// What a device holds, as a hub passes it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// As whom the device writes.
    pub replica: ReplicaId,
    /// A sequence number of the hub's present start: all that the document had up to it was on the device's
    /// disk when it said so.
    pub seq: u64,
    /// How long ago that was, in milliseconds.
    pub age_ms: u64,
    /// What the device calls itself; nothing where it does not say.
    pub name: String,
}

/// Devices as a message names them.
#[cfg(not(target_arch = "wasm32"))]
pub type Holders = Vec<Holder>;
/// No devices: the module for browsers does not ask for them, and is smaller without.
#[cfg(target_arch = "wasm32")]
pub type Holders = std::convert::Infallible;

/// What the hub says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubMessage {
    /// Answers the hello.
    Welcome(Welcome),
    /// A document is open; a catch-up follows.
    Opened {
        /// The channel.
        channel: u32,
        /// Everything that the hub has seen. What the client has beyond it is asked for.
        context: CausalContext,
        /// Whether the catch-up starts from the client's cursor.
        resumed: bool,
        /// The marks that the hub has of the replicas which the client writes for or has changes of.
        openings: Vec<(ReplicaId, Opening)>,
    },
    /// A part of the catch-up.
    Chunk {
        /// The channel.
        channel: u32,
        /// Counts the chunks of a catch-up, from 1.
        number: u64,
        /// A part of the hub's state, as [`Dictionary::write_chunk`](super::Dictionary::write_chunk) writes it.
        delta: Vec<u8>,
        /// Set on the last chunk: how far the client is with it.
        cursor: Option<Cursor>,
        /// About how many bytes of entries are still to come; 0 where that is not known, too.
        left: u64,
    },
    /// A delta of another connection, as it happens.
    Delta {
        /// The channel.
        channel: u32,
        /// How far the client is with it, once it has caught up: a number of the hub's present start.
        seq: u64,
        /// The delta, as [`write_delta`](super::write_delta) writes it for the client.
        delta: Vec<u8>,
    },
    /// A push is on the hub's disk.
    Stored {
        /// The channel.
        channel: u32,
        /// The push.
        id: u64,
        /// How far the client is with it, once it has caught up: a number of the hub's present start.
        seq: u64,
    },
    /// A push was refused; the client keeps it.
    Refused {
        /// The channel.
        channel: u32,
        /// The push.
        id: u64,
        /// Why, for a person.
        reason: String,
        /// Whether it is about what stands in the delta: the replica stays, and what was pushed behind it
        /// comes again, under numbers from this one on.
        goes_on: bool,
    },
    /// A replica is claimed by another opening that is connected: write under a fresh incarnation.
    InUse {
        /// The channel.
        channel: u32,
        /// The replica.
        replica: ReplicaId,
    },
    /// A replica came online, changed what it shows, or went.
    Presence {
        /// The channel.
        channel: u32,
        /// The replica.
        replica: ReplicaId,
        /// Its name and what it shows; `None` when it went.
        shown: Option<(String, Vec<u8>)>,
    },
    /// Answers a ping.
    Pong,
    /// The other side's part in a comparison.
    Sync {
        /// The channel.
        channel: u32,
        /// What a [`Reconciler`](crate::reconcile::Reconciler) says.
        message: Vec<u8>,
    },
    /// Replicas and labels that have numbers from here on.
    Names {
        /// The channel.
        channel: u32,
        /// What [`Dictionary::extend`](super::Dictionary::extend) adds.
        names: Vec<u8>,
    },
    /// A push names an object by a dot that is not here. It was not taken, nor were those behind it.
    Unresolved {
        /// The channel.
        channel: u32,
        /// The push.
        id: u64,
    },
    /// What devices said that they hold.
    Held {
        /// The channel.
        channel: u32,
        /// Of each that has said something new, the last.
        holders: Holders,
    },
}

impl HubMessage {
    /// Says what devices hold, where there are any.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn held(channel: u32, holders: Vec<Holder>) -> Option<Self> {
        (!holders.is_empty()).then_some(Self::Held { channel, holders })
    }

    /// There is no hub in a browser.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn held(_: u32, _: Vec<Holder>) -> Option<Self> {
        None
    }

    /// The channel, where it is about a document.
    #[must_use]
    pub fn channel(&self) -> Option<u32> {
        match self {
            Self::Welcome(_) | Self::Pong => None,
            Self::Opened { channel, .. }
            | Self::Chunk { channel, .. }
            | Self::Delta { channel, .. }
            | Self::Stored { channel, .. }
            | Self::Refused { channel, .. }
            | Self::InUse { channel, .. }
            | Self::Presence { channel, .. }
            | Self::Sync { channel, .. }
            | Self::Names { channel, .. }
            | Self::Unresolved { channel, .. }
            | Self::Held { channel, .. } => Some(*channel),
        }
    }
}
