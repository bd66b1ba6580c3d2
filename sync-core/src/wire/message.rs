//! Messages and frames.
//!
//! A frame is four bytes of CRC-32 (little-endian) over the rest, then a MessagePack array of the
//! message's type and its body.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::delta::{ContextOnWire, DeltaOnWire};
use super::{DELTA_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PRESENCE_BYTES_MAX};
use crate::causal::{CausalContext, Delta, ReplicaId};
use crate::error::Malformed;

/// How far a client has followed a hub: the hub's start and the sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Names one start of one hub, at random.
    pub boot: u64,
    /// The sequence number of the last change that is here.
    pub seq: u64,
}

/// That a connection writes for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The replica.
    pub replica: ReplicaId,
    /// Drawn at random when the replica was opened, so that a clone is told from a reconnect.
    pub opening: u64,
}

/// The hub's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of this connection.
    pub version: u16,
    /// Names the hub's data directory.
    pub hub: u64,
    /// Names this start of the hub.
    pub boot: u64,
    /// The hub's clock, in milliseconds since 1970.
    pub now_ms: u64,
}

/// A delta that a client hands to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The channel of the document.
    pub channel: u32,
    /// Numbers the pushes of a channel, growing by one from 1.
    pub id: u64,
    /// The delta.
    pub delta: Delta,
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
        token: Option<String>,
        /// What others are shown as who is online.
        agent: String,
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
        state: ByteBuf,
    },
    /// Asks for a [`HubMessage::Pong`].
    Ping,
}

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
    },
    /// A part of the catch-up.
    Chunk {
        /// The channel.
        channel: u32,
        /// Counts the chunks of a catch-up, from 1.
        number: u64,
        /// A part of the hub's state.
        delta: Delta,
        /// Set on the last chunk: how far the client is with it.
        cursor: Option<Cursor>,
    },
    /// A delta of another connection, as it happens.
    Delta {
        /// The channel.
        channel: u32,
        /// How far the client is with it, once it has caught up.
        cursor: Cursor,
        /// The delta.
        delta: Delta,
    },
    /// A push is on the hub's disk.
    Stored {
        /// The channel.
        channel: u32,
        /// The push.
        id: u64,
        /// How far the client is with it, once it has caught up.
        cursor: Cursor,
    },
    /// A push was refused; the client keeps it.
    Refused {
        /// The channel.
        channel: u32,
        /// The push.
        id: u64,
        /// Why, for a person.
        reason: String,
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
        shown: Option<(String, ByteBuf)>,
    },
    /// Answers a ping.
    Pong,
}

/// The most bytes that channel and number add to the delta of a push.
const PUSH_BYTES: usize = 16;

const HELLO: u8 = 1;
const OPEN: u8 = 2;
const CLAIM: u8 = 3;
const RELEASE: u8 = 4;
const PUSH: u8 = 5;
const CHUNK_STORED: u8 = 6;
const CLIENT_PRESENCE: u8 = 7;
const PING: u8 = 8;
const WELCOME: u8 = 65;
const OPENED: u8 = 66;
const CHUNK: u8 = 67;
const DELTA: u8 = 68;
const STORED: u8 = 69;
const REFUSED: u8 = 70;
const IN_USE: u8 = 71;
const HUB_PRESENCE: u8 = 72;
const PONG: u8 = 73;

impl ClientMessage {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version, token, agent } => frame(HELLO, &(version, token, agent)),
            Self::Open { channel, document, cursor, context, claims } => {
                frame(OPEN, &(channel, document, cursor, ContextOnWire::from(context), claims))
            }
            Self::Claim { channel, claims } => frame(CLAIM, &(channel, claims)),
            Self::Release { channel, replicas } => frame(RELEASE, &(channel, replicas)),
            Self::Push(Push { channel, id, delta }) => {
                frame(PUSH, &(channel, id, DeltaOnWire::from(delta)))
            }
            Self::ChunkStored { channel, number } => frame(CHUNK_STORED, &(channel, number)),
            Self::Presence { channel, replica, name, state } => {
                frame(CLIENT_PRESENCE, &(channel, replica, name, state))
            }
            Self::Ping => frame(PING, &()),
        }
    }
}

impl HubMessage {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Welcome(welcome) => frame(WELCOME, welcome),
            Self::Opened { channel, context, resumed } => {
                frame(OPENED, &(channel, ContextOnWire::from(context), resumed))
            }
            Self::Chunk { channel, number, delta, cursor } => {
                frame(CHUNK, &(channel, number, DeltaOnWire::from(delta), cursor))
            }
            Self::Delta { channel, cursor, delta } => {
                frame(DELTA, &(channel, cursor, DeltaOnWire::from(delta)))
            }
            Self::Stored { channel, id, cursor } => frame(STORED, &(channel, id, cursor)),
            Self::Refused { channel, id, reason } => frame(REFUSED, &(channel, id, reason)),
            Self::InUse { channel, replica } => frame(IN_USE, &(channel, replica)),
            Self::Presence { channel, replica, shown } => {
                frame(HUB_PRESENCE, &(channel, replica, shown))
            }
            Self::Pong => frame(PONG, &()),
        }
    }
}

/// Reads a frame that a client sent.
pub fn decode_client(bytes: &[u8]) -> Result<ClientMessage, Malformed> {
    let body = open_frame(bytes)?;
    let (kind, body) = split(body)?;
    Ok(match kind {
        HELLO => {
            let (version, token, agent) = read::<(u16, Option<String>, String)>(body)?;
            check_len("the agent's name", agent.len(), NAME_BYTES_MAX)?;
            ClientMessage::Hello { version, token, agent }
        }
        OPEN => {
            type Open = (u32, String, Option<Cursor>, ContextOnWire, Vec<Claim>);
            let (channel, document, cursor, context, claims) = read::<Open>(body)?;
            check_len("the document's name", document.len(), NAME_BYTES_MAX)?;
            if document.is_empty() {
                return Err(Malformed::Inconsistent { what: "a document has a name" });
            }
            let context = context.try_into()?;
            ClientMessage::Open { channel, document, cursor, context, claims }
        }
        CLAIM => {
            let (channel, claims) = read(body)?;
            ClientMessage::Claim { channel, claims }
        }
        RELEASE => {
            let (channel, replicas) = read(body)?;
            ClientMessage::Release { channel, replicas }
        }
        PUSH => {
            // What comes in must fit into the frames that go out.
            check_len("a push", body.len(), DELTA_BYTES_MAX + PUSH_BYTES)?;
            let (channel, id, delta) = read::<(u32, u64, DeltaOnWire)>(body)?;
            ClientMessage::Push(Push { channel, id, delta: delta.try_into()? })
        }
        CHUNK_STORED => {
            let (channel, number) = read(body)?;
            ClientMessage::ChunkStored { channel, number }
        }
        CLIENT_PRESENCE => {
            let (channel, replica, name, state) = read::<(u32, ReplicaId, String, ByteBuf)>(body)?;
            check_len("a name", name.len(), NAME_BYTES_MAX)?;
            check_len("a presence state", state.len(), PRESENCE_BYTES_MAX)?;
            ClientMessage::Presence { channel, replica, name, state }
        }
        PING => ClientMessage::Ping,
        _ => return Err(Malformed::Inconsistent { what: "the type is one that a client sends" }),
    })
}

/// Reads a frame that a hub sent.
pub fn decode_hub(bytes: &[u8]) -> Result<HubMessage, Malformed> {
    let body = open_frame(bytes)?;
    let (kind, body) = split(body)?;
    Ok(match kind {
        WELCOME => HubMessage::Welcome(read(body)?),
        OPENED => {
            let (channel, context, resumed) = read::<(u32, ContextOnWire, bool)>(body)?;
            HubMessage::Opened { channel, context: context.try_into()?, resumed }
        }
        CHUNK => {
            type Chunk = (u32, u64, DeltaOnWire, Option<Cursor>);
            let (channel, number, delta, cursor) = read::<Chunk>(body)?;
            HubMessage::Chunk { channel, number, delta: delta.try_into()?, cursor }
        }
        DELTA => {
            let (channel, cursor, delta) = read::<(u32, Cursor, DeltaOnWire)>(body)?;
            HubMessage::Delta { channel, cursor, delta: delta.try_into()? }
        }
        STORED => {
            let (channel, id, cursor) = read(body)?;
            HubMessage::Stored { channel, id, cursor }
        }
        REFUSED => {
            let (channel, id, reason) = read(body)?;
            HubMessage::Refused { channel, id, reason }
        }
        IN_USE => {
            let (channel, replica) = read(body)?;
            HubMessage::InUse { channel, replica }
        }
        HUB_PRESENCE => {
            let (channel, replica, shown) = read(body)?;
            HubMessage::Presence { channel, replica, shown }
        }
        PONG => HubMessage::Pong,
        _ => return Err(Malformed::Inconsistent { what: "the type is one that a hub sends" }),
    })
}

fn frame<T: Serialize>(kind: u8, body: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    // Writing plain data into memory cannot fail.
    rmp_serde::encode::write(&mut bytes, &(kind, body)).expect("plain data serializes");
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn open_frame(bytes: &[u8]) -> Result<&[u8], Malformed> {
    check_len("a frame", bytes.len(), MESSAGE_BYTES_MAX)?;
    let Some((checksum, body)) = bytes.split_first_chunk::<4>() else {
        return Err(Malformed::Inconsistent { what: "a frame has a checksum" });
    };
    let (expected, found) = (u32::from_le_bytes(*checksum), crc32fast::hash(body));
    if expected != found {
        return Err(Malformed::Checksum { expected, found });
    }
    Ok(body)
}

/// Splits off the type: every frame starts with an array of two and a type below 128, one byte each.
fn split(body: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    match body {
        [0x92, kind @ 0..0x80, rest @ ..] => Ok((*kind, rest)),
        _ => Err(Malformed::Inconsistent { what: "a frame is an array of type and body" }),
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    let malformed = |_| Malformed::Encoding { detail: "message" };
    let mut deserializer = rmp_serde::Deserializer::new(body);
    let value = T::deserialize(&mut deserializer).map_err(malformed)?;
    if deserializer.get_ref().is_empty() {
        Ok(value)
    } else {
        Err(Malformed::Inconsistent { what: "a frame ends with its message" })
    }
}

fn check_len(what: &'static str, found: usize, limit: usize) -> Result<(), Malformed> {
    if found > limit {
        return Err(Malformed::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}
