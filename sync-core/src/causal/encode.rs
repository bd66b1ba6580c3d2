//! The bytes of replica ids, dots, contexts, entries and notes, each alone: as messages, slots and rows hold them.

use super::{
    CausalContext, Dot, Entry, LABEL_BYTES_MAX, Label, Note, PLACE_ID_BYTES_MAX, PlaceId,
    RUN_DOTS_MAX, ReplicaId, Slots,
};
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::small::SmallVec;
use crate::time::Stamp;

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

impl CausalContext {
    /// Writes the context to the end of some bytes, range by range.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, self.range_count());
        for (replica, ranges) in self.iter() {
            for (start, end) in ranges.iter() {
                pack::array(out, 3);
                replica.encode_into(out);
                pack::uint(out, start);
                pack::uint(out, end);
            }
        }
    }

    /// Reads a context.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut context = Self::default();
        for _ in 0..reader.array()? {
            reader.exactly(3)?;
            let replica = ReplicaId::decode(reader)?;
            let (start, end) = (reader.uint()?, reader.uint()?);
            context.insert_range(replica, start, end);
        }
        Ok(context)
    }
}

impl Entry {
    /// Writes the entry to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { first, stamp, label, id, slots } = self;
        pack::array(out, 6);
        first.encode_into(out);
        pack::uint(out, stamp.to_bits());
        pack::bytes(out, label.space());
        pack::array(out, label.len());
        label.names().for_each(|name| pack::bytes(out, name));
        pack::bytes(out, id);
        pack::bytes(out, slots.as_packed());
    }

    /// Reads an entry.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(6)?;
        let first = Dot::decode(reader)?;
        let stamp = Stamp::from_bits(reader.uint()?);
        let space = reader.bytes()?;
        let mut names: SmallVec<[&[u8]; 16]> = SmallVec::new();
        for _ in 0..reader.array()?.min(RUN_DOTS_MAX) {
            names.push(reader.bytes()?);
        }
        let id = PlaceId::new(reader.bytes()?);
        let slots = Slots::from_packed(reader.bytes()?)?;
        let label = Label::new(space, names);
        let entry = Self { first, stamp, label, id, slots };
        entry.check()?;
        Ok(entry)
    }

    /// Checks what the kernel relies on.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        self.label.check()?;
        check_len("an id", self.id.len(), PLACE_ID_BYTES_MAX)?;
        if self.label.len() != self.slots.len() {
            return Err(Malformed::Inconsistent { what: "a run has a name for each slot" });
        }
        if self.first.counter == 0 {
            return Err(Malformed::Inconsistent { what: "counters start at 1" });
        }
        let after = self.first.counter.saturating_add(self.slots.len() as u64);
        let (found, limit) = (after - 1, Dot::COUNTER_MAX);
        if found > limit {
            return Err(Malformed::limit("a counter", found, limit));
        }
        Ok(())
    }
}

impl Label {
    /// Checks that it is within its limit.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        check_len("a label", self.byte_count(), LABEL_BYTES_MAX)
    }
}

impl Note {
    /// Writes the note to the end of some bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { dot, stamp, label, id } = self;
        pack::array(out, 4);
        dot.encode_into(out);
        pack::uint(out, stamp.to_bits());
        pack::bytes(out, label.space());
        pack::bytes(out, id);
    }

    /// Reads a note.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(4)?;
        let dot = Dot::decode(reader)?;
        let stamp = Stamp::from_bits(reader.uint()?);
        let label = Label::new(reader.bytes()?, []);
        label.check()?;
        let id = PlaceId::new(reader.bytes()?);
        check_len("an id", id.len(), PLACE_ID_BYTES_MAX)?;
        Ok(Self { dot, stamp, label, id })
    }
}

pub(crate) fn check_len(what: &'static str, found: usize, limit: usize) -> Result<(), Malformed> {
    if found > limit {
        return Err(Malformed::limit(what, found as u64, limit as u64));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(last: u64) -> Entry {
        Entry {
            first: Dot { replica: ReplicaId::from_bytes([1; 16]), counter: last - 1 },
            stamp: Stamp::from_bits(1),
            label: Label::new(b"space", [&b"name"[..], b"other"]),
            id: PlaceId::new(b"id"),
            slots: Slots::new([Some(&b"value"[..]), Some(b"other")].into_iter()),
        }
    }

    fn is_read(entry: &Entry) -> bool {
        let mut bytes = Vec::new();
        entry.encode_into(&mut bytes);
        let read = Entry::decode(&mut Reader::new(&bytes));
        assert!(read.as_ref().map_or(true, |read| read == entry));
        read.is_ok()
    }

    #[test]
    fn entries_are_read_up_to_their_limits() {
        for (beyond, expected) in [(-1, true), (0, true), (1, false)] {
            let at = |limit: usize| limit.checked_add_signed(beyond).unwrap();
            let last = Dot::COUNTER_MAX.checked_add_signed(beyond as i64).unwrap();
            assert_eq!(is_read(&entry(last)), expected, "a counter");
            let name = vec![b'n'; at(LABEL_BYTES_MAX) - "spaceother".len()];
            let label = Label::new(b"space", [&name[..], b"other"]);
            assert_eq!(is_read(&Entry { label, ..entry(9) }), expected, "a label");
            let id = PlaceId::new(&vec![7; at(PLACE_ID_BYTES_MAX)]);
            assert_eq!(is_read(&Entry { id, ..entry(9) }), expected, "an id");
        }
        assert!(is_read(&entry(2)) && !is_read(&entry(1)), "counters start at 1");
        let label = Label::new(b"space", [&b"name"[..]]);
        assert!(!is_read(&Entry { label, ..entry(9) }), "each slot has a name");
    }
}
