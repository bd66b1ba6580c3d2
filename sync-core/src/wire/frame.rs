//! Messages as frames.
//!
//! A frame is four bytes of CRC-32 (little-endian) over the rest, then a MessagePack array of the
//! message's type and its body. A body is an array of the message's fields; what stands beyond those
//! that are known here, a later version put there, and it is passed over.

use super::contexts::{read_context, read_replicas, write_context, write_replicas};
#[cfg(not(target_arch = "wasm32"))]
use super::message::Holder;
use super::message::{Claim, ClientMessage, Cursor, Holders, HubMessage, Push, Token, Welcome};
#[cfg(feature = "deflate")]
use super::packed::unpack;
use super::{
    DELTA_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, OPENINGS_MAX, PRESENCE_BYTES_MAX,
    SYNC_BYTES_MAX, check_len,
};
use crate::causal::ReplicaId;
use crate::checksum::crc32;
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::small::HAS_SHORTCUTS;
use crate::types::Opening;

/// The most bytes that channel, number and flag add to the delta of a push.
const PUSH_BYTES: usize = 17;

/// The most bytes of a packed frame beside what is compressed: checksum, two arrays, type, and two
/// lengths.
#[cfg(feature = "deflate")]
pub(super) const PACKED_HEAD_BYTES_MAX: usize = 4 + 3 + 5 + 5;

const HELLO: u8 = 1;
const OPEN: u8 = 2;
const CLAIM: u8 = 3;
const RELEASE: u8 = 4;
const PUSH: u8 = 5;
const CHUNK_STORED: u8 = 6;
const CLIENT_PRESENCE: u8 = 7;
const PING: u8 = 8;
const CLIENT_SYNC: u8 = 9;
const BRIEF: u8 = 10;
#[cfg(feature = "deflate")]
const CLIENT_PACKED: u8 = 11;
const CLIENT_HELD: u8 = 12;
const WELCOME: u8 = 65;
const OPENED: u8 = 66;
const CHUNK: u8 = 67;
const DELTA: u8 = 68;
const STORED: u8 = 69;
const REFUSED: u8 = 70;
const IN_USE: u8 = 71;
const HUB_PRESENCE: u8 = 72;
const PONG: u8 = 73;
const HUB_SYNC: u8 = 74;
const NAMES: u8 = 75;
const UNRESOLVED: u8 = 76;
#[cfg(feature = "deflate")]
const HUB_PACKED: u8 = 77;
const HUB_HELD: u8 = 78;

impl ClientMessage {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello { version, token, agent, packs } => {
                start(&mut out, HELLO, 3 + usize::from(*packs));
                pack::uint(&mut out, (*version).into());
                match token {
                    Some(Token(token)) => pack::str(&mut out, token),
                    None => pack::nil(&mut out),
                }
                pack::str(&mut out, agent);
                put_flag(&mut out, *packs);
            }
            Self::Open { channel, document, cursor, context, claims, compares, unsent } => {
                start_on(&mut out, OPEN, 7, *channel);
                pack::str(&mut out, document);
                write_cursor(&mut out, *cursor);
                write_context(&mut out, context);
                write_claims(&mut out, claims);
                pack::bool(&mut out, *compares);
                write_replicas(&mut out, unsent);
            }
            Self::Claim { channel, claims } => {
                start_on(&mut out, CLAIM, 2, *channel);
                write_claims(&mut out, claims);
            }
            Self::Release { channel, replicas } => {
                start_on(&mut out, RELEASE, 2, *channel);
                write_replicas(&mut out, replicas);
            }
            Self::Push(Push { channel, id, delta, skips }) => {
                start_on(&mut out, PUSH, 3 + usize::from(*skips), *channel);
                pack::uint(&mut out, *id);
                pack::bytes(&mut out, delta);
                put_flag(&mut out, *skips);
            }
            Self::ChunkStored { channel, number } => {
                start_on(&mut out, CHUNK_STORED, 2, *channel);
                pack::uint(&mut out, *number);
            }
            Self::Presence { channel, replica, name, state } => {
                start_on(&mut out, CLIENT_PRESENCE, 4, *channel);
                replica.encode_into(&mut out);
                pack::str(&mut out, name);
                pack::bytes(&mut out, state);
            }
            Self::Ping => start_empty(&mut out, PING),
            Self::Sync { channel, message } => put_sync(&mut out, CLIENT_SYNC, *channel, message),
            Self::Brief { channel, dots } => {
                start_on(&mut out, BRIEF, 2, *channel);
                pack::bool(&mut out, *dots);
            }
            Self::Held { channel, replica, seq, name } => {
                let name = name.as_ref().filter(|_| HAS_SHORTCUTS);
                start_on(&mut out, CLIENT_HELD, 3 + usize::from(name.is_some()), *channel);
                replica.encode_into(&mut out);
                pack::uint(&mut out, *seq);
                if let Some(name) = name {
                    pack::str(&mut out, name);
                }
            }
        }
        seal(out)
    }
}

impl HubMessage {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Welcome(Welcome { version, hub, boot, now_ms, packs }) => {
                start(&mut out, WELCOME, 4 + usize::from(*packs));
                for number in [u64::from(*version), *hub, *boot, *now_ms] {
                    pack::uint(&mut out, number);
                }
                put_flag(&mut out, *packs);
            }
            Self::Opened { channel, context, resumed, openings } => {
                start_on(&mut out, OPENED, 4, *channel);
                write_context(&mut out, context);
                pack::bool(&mut out, *resumed);
                write_openings(&mut out, openings);
            }
            Self::Chunk { channel, number, delta, cursor, left } => {
                start_on(&mut out, CHUNK, 4 + usize::from(*left > 0), *channel);
                pack::uint(&mut out, *number);
                pack::bytes(&mut out, delta);
                write_cursor(&mut out, *cursor);
                if *left > 0 {
                    pack::uint(&mut out, *left);
                }
            }
            Self::Delta { channel, seq, delta } => {
                start_on(&mut out, DELTA, 3, *channel);
                pack::uint(&mut out, *seq);
                pack::bytes(&mut out, delta);
            }
            Self::Stored { channel, id, seq } => {
                start_on(&mut out, STORED, 3, *channel);
                pack::uint(&mut out, *id);
                pack::uint(&mut out, *seq);
            }
            Self::Refused { channel, id, reason, goes_on } => {
                start_on(&mut out, REFUSED, 3 + usize::from(*goes_on), *channel);
                pack::uint(&mut out, *id);
                pack::str(&mut out, reason);
                put_flag(&mut out, *goes_on);
            }
            Self::InUse { channel, replica } => {
                start_on(&mut out, IN_USE, 2, *channel);
                replica.encode_into(&mut out);
            }
            Self::Presence { channel, replica, shown } => {
                start_on(&mut out, HUB_PRESENCE, 3, *channel);
                replica.encode_into(&mut out);
                match shown {
                    Some((name, state)) => {
                        pack::array(&mut out, 2);
                        pack::str(&mut out, name);
                        pack::bytes(&mut out, state);
                    }
                    None => pack::nil(&mut out),
                }
            }
            Self::Pong => start_empty(&mut out, PONG),
            Self::Sync { channel, message } => put_sync(&mut out, HUB_SYNC, *channel, message),
            Self::Names { channel, names } => {
                start_on(&mut out, NAMES, 2, *channel);
                pack::bytes(&mut out, names);
            }
            Self::Unresolved { channel, id } => {
                start_on(&mut out, UNRESOLVED, 2, *channel);
                pack::uint(&mut out, *id);
            }
            Self::Held { channel, holders } => {
                start_on(&mut out, HUB_HELD, 2, *channel);
                write_holders(&mut out, holders);
            }
        }
        seal(out)
    }
}

/// Reads a frame that a client sent.
pub fn decode_client(bytes: &[u8]) -> Result<ClientMessage, Malformed> {
    let (kind, body) = open(bytes)?;
    #[cfg(feature = "deflate")]
    if kind == CLIENT_PACKED {
        return open_packed(body, &[PUSH], read_client);
    }
    if kind == CLIENT_HELD {
        return read_client_held(body);
    }
    read_client(kind, body)
}

fn read_client(kind: u8, mut body: Reader<'_>) -> Result<ClientMessage, Malformed> {
    let body = &mut body;
    let mut beyond;
    let message = match kind {
        HELLO => {
            beyond = body.at_least(3)?;
            let (version, token, agent) = (body.narrow()?, body.option(Reader::str)?, body.str()?);
            let token = token.map(|token| Token(token.to_owned()));
            check_len("the agent's name", agent.len(), NAME_BYTES_MAX)?;
            let packs = read_flag(body, &mut beyond)?;
            ClientMessage::Hello { version, token, agent: agent.to_owned(), packs }
        }
        OPEN => {
            beyond = body.at_least(7)?;
            let (channel, document) = (body.narrow()?, body.str()?);
            check_len("the document's name", document.len(), NAME_BYTES_MAX)?;
            if document.is_empty() {
                return Err(Malformed::Inconsistent { what: "a document has a name" });
            }
            let document = document.to_owned();
            let cursor = body.option(Cursor::decode)?;
            let (context, claims) = (read_context(body)?, read_claims(body)?);
            let (compares, unsent) = (body.bool()?, read_replicas(body)?);
            ClientMessage::Open { channel, document, cursor, context, claims, compares, unsent }
        }
        CLAIM => {
            beyond = body.at_least(2)?;
            ClientMessage::Claim { channel: body.narrow()?, claims: read_claims(body)? }
        }
        RELEASE => {
            beyond = body.at_least(2)?;
            ClientMessage::Release { channel: body.narrow()?, replicas: read_replicas(body)? }
        }
        PUSH => {
            // What comes in must fit into the frames that go out.
            check_len("a push", body.rest_len(), DELTA_BYTES_MAX + PUSH_BYTES)?;
            beyond = body.at_least(3)?;
            let (channel, id) = (body.narrow()?, body.uint()?);
            let delta = body.bytes()?;
            check_len("a delta", delta.len(), DELTA_BYTES_MAX)?;
            let (delta, skips) = (delta.into(), read_flag(body, &mut beyond)?);
            ClientMessage::Push(Push { channel, id, delta, skips })
        }
        CHUNK_STORED => {
            beyond = body.at_least(2)?;
            ClientMessage::ChunkStored { channel: body.narrow()?, number: body.uint()? }
        }
        CLIENT_PRESENCE => {
            beyond = body.at_least(4)?;
            let (channel, replica) = (body.narrow()?, ReplicaId::decode(body)?);
            let (name, state) = read_shown(body)?;
            check_len("a name", name.len(), NAME_BYTES_MAX)?;
            check_len("a presence state", state.len(), PRESENCE_BYTES_MAX)?;
            ClientMessage::Presence { channel, replica, name, state }
        }
        PING => {
            beyond = 1;
            ClientMessage::Ping
        }
        CLIENT_SYNC => {
            let (channel, message);
            (channel, message, beyond) = take_sync(body)?;
            ClientMessage::Sync { channel, message }
        }
        BRIEF => {
            beyond = body.at_least(2)?;
            ClientMessage::Brief { channel: body.narrow()?, dots: body.bool()? }
        }
        _ => return Err(Malformed::Inconsistent { what: "the type is one that a client sends" }),
    };
    body.skip_all(beyond)?;
    body.end()?;
    Ok(message)
}

/// Reads a frame that a hub sent.
pub fn decode_hub(bytes: &[u8]) -> Result<HubMessage, Malformed> {
    let (kind, body) = open(bytes)?;
    #[cfg(feature = "deflate")]
    if kind == HUB_PACKED {
        return open_packed(body, &[CHUNK, DELTA], read_hub);
    }
    // The module for browsers does not ask for it.
    #[cfg(not(target_arch = "wasm32"))]
    if kind == HUB_HELD {
        return read_hub_held(body);
    }
    read_hub(kind, body)
}

fn read_hub(kind: u8, mut body: Reader<'_>) -> Result<HubMessage, Malformed> {
    let body = &mut body;
    let mut beyond;
    let message = match kind {
        WELCOME => {
            beyond = body.at_least(4)?;
            HubMessage::Welcome(Welcome {
                version: body.narrow()?,
                hub: body.uint()?,
                boot: body.uint()?,
                now_ms: body.uint()?,
                packs: read_flag(body, &mut beyond)?,
            })
        }
        OPENED => {
            beyond = body.at_least(4)?;
            let (channel, context) = (body.narrow()?, read_context(body)?);
            let (resumed, openings) = (body.bool()?, read_openings(body)?);
            HubMessage::Opened { channel, context, resumed, openings }
        }
        CHUNK => {
            beyond = body.at_least(4)?;
            let (channel, number) = (body.narrow()?, body.uint()?);
            // A hub may put as much into a chunk as fits.
            let delta = body.bytes()?.into();
            let cursor = body.option(Cursor::decode)?;
            let left = read_left(body, &mut beyond)?;
            HubMessage::Chunk { channel, number, delta, cursor, left }
        }
        DELTA => {
            beyond = body.at_least(3)?;
            let (channel, seq) = (body.narrow()?, body.uint()?);
            HubMessage::Delta { channel, seq, delta: body.bytes()?.into() }
        }
        STORED => {
            beyond = body.at_least(3)?;
            let (channel, id) = (body.narrow()?, body.uint()?);
            HubMessage::Stored { channel, id, seq: body.uint()? }
        }
        REFUSED => {
            beyond = body.at_least(3)?;
            let (channel, id) = (body.narrow()?, body.uint()?);
            let reason = body.str()?.to_owned();
            HubMessage::Refused { channel, id, reason, goes_on: read_flag(body, &mut beyond)? }
        }
        IN_USE => {
            beyond = body.at_least(2)?;
            HubMessage::InUse { channel: body.narrow()?, replica: ReplicaId::decode(body)? }
        }
        HUB_PRESENCE => {
            beyond = body.at_least(3)?;
            let (channel, replica) = (body.narrow()?, ReplicaId::decode(body)?);
            let shown = body.option(|body| {
                body.exactly(2)?;
                read_shown(body)
            })?;
            HubMessage::Presence { channel, replica, shown }
        }
        PONG => {
            beyond = 1;
            HubMessage::Pong
        }
        HUB_SYNC => {
            let (channel, message);
            (channel, message, beyond) = take_sync(body)?;
            HubMessage::Sync { channel, message }
        }
        NAMES => {
            beyond = body.at_least(2)?;
            HubMessage::Names { channel: body.narrow()?, names: body.bytes()?.into() }
        }
        UNRESOLVED => {
            beyond = body.at_least(2)?;
            HubMessage::Unresolved { channel: body.narrow()?, id: body.uint()? }
        }
        _ => return Err(Malformed::Inconsistent { what: "the type is one that a hub sends" }),
    };
    body.skip_all(beyond)?;
    body.end()?;
    Ok(message)
}

/// What tells frames of a hub about one replica's presence from others, without a look at the rest: of
/// those that wait for one connection, only the last is of use.
#[must_use]
pub fn presence_key(frame: &[u8]) -> Option<&[u8]> {
    let [_, _, _, _, 0x92, HUB_PRESENCE, 0x93, rest @ ..] = frame else { return None };
    let channel = match rest.first()? {
        0xcc => 2,
        0xcd => 3,
        0xce => 5,
        _ => 1,
    };
    rest.get(..channel + ReplicaId::ENCODED_LEN)
}

fn put_sync(out: &mut Vec<u8>, kind: u8, channel: u32, message: &[u8]) {
    start_on(out, kind, 2, channel);
    pack::bytes(out, message);
}

/// Reads a message of a comparison: the channel, the bytes, and how many fields stand beyond.
fn take_sync(body: &mut Reader<'_>) -> Result<(u32, Vec<u8>, usize), Malformed> {
    let beyond = body.at_least(2)?;
    let (channel, message) = (body.narrow()?, body.bytes()?);
    check_len("a message of a comparison", message.len(), SYNC_BYTES_MAX)?;
    Ok((channel, message.into(), beyond))
}

/// Writes a flag at the end of a body, where it is set.
fn put_flag(out: &mut Vec<u8>, is_set: bool) {
    if is_set {
        pack::bool(out, true);
    }
}

/// Reads a flag at the end of a body, where it stands.
fn read_flag(body: &mut Reader<'_>, beyond: &mut usize) -> Result<bool, Malformed> {
    let Some(left) = beyond.checked_sub(1) else { return Ok(false) };
    *beyond = left;
    body.bool()
}

fn read_left(body: &mut Reader<'_>, beyond: &mut usize) -> Result<u64, Malformed> {
    let Some(left) = beyond.checked_sub(1) else { return Ok(0) };
    *beyond = left;
    body.uint()
}

/// Reads the frame in a packed one, which is of one of these types.
#[cfg(feature = "deflate")]
fn open_packed<T>(
    mut body: Reader<'_>,
    kinds: &[u8],
    read: impl FnOnce(u8, Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let frame = unpack(&mut body)?;
    match open(&frame)? {
        (kind, body) if kinds.contains(&kind) => read(kind, body),
        _ => Err(Malformed::Inconsistent { what: "a packed frame holds one with a delta" }),
    }
}

/// The type under which a frame is packed, where it is one that may be, and whether a client sends it.
#[cfg(feature = "deflate")]
pub(super) fn packed_kind(frame: &[u8]) -> Option<(u8, bool)> {
    match frame.get(5)? {
        &PUSH => Some((CLIENT_PACKED, true)),
        &CHUNK | &DELTA => Some((HUB_PACKED, false)),
        _ => None,
    }
}

/// Writes a packed frame: how many bytes it holds, and these compressed.
#[cfg(feature = "deflate")]
pub(super) fn encode_packed(kind: u8, len: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + PACKED_HEAD_BYTES_MAX);
    start(&mut out, kind, 2);
    pack::uint(&mut out, len as u64);
    pack::bytes(&mut out, bytes);
    seal(out)
}

/// Starts a frame whose body is an array of so many fields.
fn start(out: &mut Vec<u8>, kind: u8, fields: usize) {
    open_body(out, kind);
    pack::array(out, fields);
}

/// Starts a frame whose first field is the channel.
fn start_on(out: &mut Vec<u8>, kind: u8, fields: usize, channel: u32) {
    start(out, kind, fields);
    pack::uint(out, channel.into());
}

/// Starts a frame whose body is nil.
fn start_empty(out: &mut Vec<u8>, kind: u8) {
    open_body(out, kind);
    pack::nil(out);
}

fn open_body(out: &mut Vec<u8>, kind: u8) {
    // Room for the checksum.
    out.extend_from_slice(&[0; 4]);
    pack::array(out, 2);
    pack::uint(out, kind.into());
}

/// Writes the checksum of a frame.
fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some((checksum, rest)) = frame.split_first_chunk_mut() {
        *checksum = crc32(rest).to_le_bytes();
    }
    frame
}

/// Checks length and checksum of a frame, and gives type and body: every frame starts with an array of
/// two and a type below 128, one byte each.
fn open(bytes: &[u8]) -> Result<(u8, Reader<'_>), Malformed> {
    check_len("a frame", bytes.len(), MESSAGE_BYTES_MAX)?;
    let Some((checksum, rest)) = bytes.split_first_chunk() else {
        return Err(Malformed::Inconsistent { what: "a frame has a checksum" });
    };
    let (expected, found) = (u32::from_le_bytes(*checksum), crc32(rest));
    if expected != found {
        return Err(Malformed::Checksum { expected, found });
    }
    match rest {
        [0x92, kind @ 0..0x80, body @ ..] => Ok((*kind, Reader::new(body))),
        _ => Err(Malformed::Inconsistent { what: "a frame is an array of type and body" }),
    }
}

fn write_cursor(out: &mut Vec<u8>, cursor: Option<Cursor>) {
    match cursor {
        Some(cursor) => cursor.encode_into(out),
        None => pack::nil(out),
    }
}

impl Cursor {
    /// Writes the cursor to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 2);
        pack::uint(out, self.boot);
        pack::uint(out, self.seq);
    }

    /// Reads a cursor.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(2)?;
        Ok(Self { boot: reader.uint()?, seq: reader.uint()? })
    }
}

fn write_claims(out: &mut Vec<u8>, claims: &[Claim]) {
    pack::array(out, claims.len());
    for Claim { replica, opening } in claims {
        pack::array(out, 2);
        replica.encode_into(out);
        pack::uint(out, *opening);
    }
}

fn read_claims(reader: &mut Reader<'_>) -> Result<Vec<Claim>, Malformed> {
    let len = reader.list(ReplicaId::ENCODED_LEN + 2)?;
    let mut claims = Vec::with_capacity(len);
    for _ in 0..len {
        reader.exactly(2)?;
        claims.push(Claim { replica: ReplicaId::decode(reader)?, opening: reader.uint()? });
    }
    Ok(claims)
}

fn write_openings(out: &mut Vec<u8>, openings: &[(ReplicaId, Opening)]) {
    pack::array(out, openings.len());
    for (replica, Opening { first, opening }) in openings {
        pack::array(out, 3);
        replica.encode_into(out);
        pack::uint(out, *first);
        pack::uint(out, *opening);
    }
}

fn read_openings(reader: &mut Reader<'_>) -> Result<Vec<(ReplicaId, Opening)>, Malformed> {
    let len = reader.list(ReplicaId::ENCODED_LEN + 3)?;
    check_len("the openings", len, OPENINGS_MAX)?;
    let mut openings = Vec::with_capacity(len);
    for _ in 0..len {
        reader.exactly(3)?;
        let replica = ReplicaId::decode(reader)?;
        openings.push((replica, Opening { first: reader.uint()?, opening: reader.uint()? }));
    }
    Ok(openings)
}

fn read_client_held(mut body: Reader<'_>) -> Result<ClientMessage, Malformed> {
    let beyond = body.at_least(3)?;
    let (channel, replica) = (body.narrow()?, ReplicaId::decode(&mut body)?);
    let seq = body.uint()?;
    let name = (beyond > 0).then(|| read_name(&mut body)).transpose()?;
    body.skip_all(beyond.saturating_sub(1))?;
    body.end()?;
    Ok(ClientMessage::Held { channel, replica, seq, name })
}

#[cfg(not(target_arch = "wasm32"))]
fn read_hub_held(mut body: Reader<'_>) -> Result<HubMessage, Malformed> {
    let beyond = body.at_least(2)?;
    let (channel, holders) = (body.narrow()?, read_holders(&mut body)?);
    body.skip_all(beyond)?;
    body.end()?;
    Ok(HubMessage::Held { channel, holders })
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let name = reader.str()?;
    check_len("a name", name.len(), NAME_BYTES_MAX)?;
    Ok(name.to_owned())
}

#[cfg(target_arch = "wasm32")]
fn write_holders(_: &mut Vec<u8>, holders: &Holders) {
    match *holders {}
}

#[cfg(not(target_arch = "wasm32"))]
fn write_holders(out: &mut Vec<u8>, holders: &Holders) {
    pack::array(out, holders.len());
    for Holder { replica, seq, age_ms, name } in holders {
        pack::array(out, 4);
        replica.encode_into(out);
        pack::uint(out, *seq);
        pack::uint(out, *age_ms);
        pack::str(out, name);
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn read_holders(reader: &mut Reader<'_>) -> Result<Holders, Malformed> {
    let len = reader.list(ReplicaId::ENCODED_LEN + 4)?;
    check_len("the devices of a message", len, super::HOLDERS_MAX)?;
    let mut holders = Vec::with_capacity(len);
    for _ in 0..len {
        reader.exactly(4)?;
        let (replica, seq) = (ReplicaId::decode(reader)?, reader.uint()?);
        let (age_ms, name) = (reader.uint()?, read_name(reader)?);
        holders.push(Holder { replica, seq, age_ms, name });
    }
    Ok(holders)
}

fn read_shown(reader: &mut Reader<'_>) -> Result<(String, Vec<u8>), Malformed> {
    Ok((reader.str()?.to_owned(), Vec::from(reader.bytes()?)))
}
