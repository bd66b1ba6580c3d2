//! The bytes of replica ids, dots, entries and notes, each alone: as messages, slots and rows hold them.

use serde_bytes::ByteBuf;

use super::{Dot, Entry, Note, ReplicaId};
use crate::error::Malformed;
use crate::pack::{self, Reader};

impl ReplicaId {
    /// How many bytes an encoded id takes.
    pub const ENCODED_LEN: usize = 18;

    /// Writes the id to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::bytes(out, self.as_bytes());
    }

    /// Reads an id.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.bytes_of().map(Self::from_bytes)
    }
}

impl Dot {
    /// Writes the dot to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 2);
        self.replica.encode_into(out);
        pack::uint(out, self.counter);
    }

    /// Reads a dot.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(2)?;
        Ok(Self { replica: ReplicaId::decode(reader)?, counter: reader.uint()? })
    }
}

impl Entry {
    /// Writes the entry to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 3);
        self.first.encode_into(out);
        self.encode_run_into(out);
    }

    /// Reads an entry.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(3)?;
        let first = Dot::decode(reader)?;
        Self::decode_run(first, reader)
    }

    /// Writes header and slots, as two items.
    pub(crate) fn encode_run_into(&self, out: &mut Vec<u8>) {
        pack::bytes(out, &self.header);
        pack::array(out, self.slots.len());
        for slot in &self.slots {
            match slot {
                Some(slot) => pack::bytes(out, slot),
                None => pack::nil(out),
            }
        }
    }

    /// Reads header and slots.
    pub(crate) fn decode_run(first: Dot, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let header = ByteBuf::from(reader.bytes()?);
        let len = reader.array()?;
        if len > super::RUN_DOTS_MAX {
            let (found, limit) = (len as u64, super::RUN_DOTS_MAX as u64);
            return Err(Malformed::Limit { what: "the dots of an entry", found, limit });
        }
        let mut slots = Vec::with_capacity(len);
        for _ in 0..len {
            slots.push(reader.option(Reader::bytes)?.map(ByteBuf::from));
        }
        Ok(Self { first, header, slots })
    }
}

impl Note {
    /// Writes the note to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 2);
        self.dot.encode_into(out);
        pack::bytes(out, &self.text);
    }

    /// Reads a note.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(2)?;
        Ok(Self { dot: Dot::decode(reader)?, text: ByteBuf::from(reader.bytes()?) })
    }
}
