//! Deltas and contexts as MessagePack: replica ids stand once, in a table.

use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

use super::{CONTEXT_RANGES_MAX, DELTA_BYTES_MAX, NOTE_BYTES_MAX, REPLICAS_MAX, check_len};
use crate::causal::{CausalContext, Delta, Dot, DotRanges, Entry, Note, ReplicaId};
use crate::error::Malformed;
use crate::pack::{self, Reader};

/// The highest counter that is taken in: stores keep counters as signed numbers of 64 bits.
const COUNTER_MAX: u64 = i64::MAX as u64;

/// Encodes a delta alone, as it is stored in an outbox.
#[must_use]
pub fn encode_delta(delta: &Delta) -> Vec<u8> {
    let mut out = Vec::new();
    write_delta(&mut out, delta);
    out
}

/// Decodes a delta. Refuses one whose parts contradict each other or that is over a limit.
pub fn decode_delta(bytes: &[u8]) -> Result<Delta, Malformed> {
    check_len("a delta", bytes.len(), DELTA_BYTES_MAX)?;
    let mut reader = Reader::new(bytes);
    let delta = read_delta(&mut reader)?;
    reader.end()?;
    Ok(delta)
}

/// Writes a delta: an array of the replica table, the context, the entries and the notes.
pub(super) fn write_delta(out: &mut Vec<u8>, delta: &Delta) {
    out.reserve(delta.cost());
    // The context iterates in the order of ids.
    let table: Vec<_> = delta.context.iter().map(|(replica, _)| replica).collect();
    let dot = |out: &mut Vec<u8>, dot: Dot| {
        let index = table.binary_search(&dot.replica).ok();
        let index = index.expect("every dot of an entry or a note is in the context");
        pack::uint(out, index as u64);
        pack::uint(out, dot.counter);
    };
    pack::array(out, 4);
    write_replicas(out, &table);
    pack::array(out, table.len());
    for (index, (_, ranges)) in (0..).zip(delta.context.iter()) {
        pack::array(out, 2);
        pack::uint(out, index);
        write_ranges(out, ranges);
    }
    pack::array(out, delta.entries.len());
    for entry in &delta.entries {
        pack::array(out, 4);
        dot(out, entry.first);
        entry.encode_run_into(out);
    }
    pack::array(out, delta.notes.len());
    for note in &delta.notes {
        pack::array(out, 3);
        dot(out, note.dot);
        pack::bytes(out, &note.text);
    }
}

/// Reads a delta, and refuses what [`decode_delta`] refuses but for its bytes.
pub(super) fn read_delta(reader: &mut Reader<'_>) -> Result<Delta, Malformed> {
    reader.exactly(4)?;
    let table = read_replicas(reader)?;
    check_len("the replicas of a delta", table.len(), REPLICAS_MAX)?;
    let replica = |reader: &mut Reader<'_>| {
        let id = table.get(reader.narrow::<u32>()? as usize).copied();
        id.ok_or(Malformed::Inconsistent { what: "an index is within the replica table" })
    };
    let mut delta = Delta { context: read_ranges_of(reader, replica)?, ..Delta::default() };

    // No vector is made as long as is claimed: an entry is larger here than the least of its bytes.
    let mut firsts = BTreeSet::new();
    for _ in 0..reader.array()? {
        reader.exactly(4)?;
        let first = Dot::new(replica(reader)?, reader.uint()?);
        let entry = Entry::decode_run(first, reader)?;
        check_entry(&entry)?;
        let live = entry.live_ranges();
        if !delta.context.of(entry.replica()).is_some_and(|ranges| ranges.covers(&live)) {
            return Err(Malformed::Inconsistent { what: "every live dot is in the context" });
        }
        if !firsts.insert(first) {
            return Err(Malformed::Inconsistent { what: "an entry stands once in a delta" });
        }
        delta.entries.push(entry);
    }
    for _ in 0..reader.array()? {
        reader.exactly(3)?;
        let dot = Dot::new(replica(reader)?, reader.uint()?);
        let text = reader.bytes()?;
        check_len("a note", text.len(), NOTE_BYTES_MAX)?;
        if !delta.context.contains(dot) {
            return Err(Malformed::Inconsistent { what: "a note's dot is in the context" });
        }
        delta.notes.push(Note { dot, text: ByteBuf::from(text) });
    }
    Ok(delta)
}

/// Writes a context: for each replica its ranges, as in a delta.
pub(super) fn write_context(out: &mut Vec<u8>, context: &CausalContext) {
    pack::array(out, context.replica_count());
    for (replica, ranges) in context.iter() {
        pack::array(out, 2);
        replica.encode_into(out);
        write_ranges(out, ranges);
    }
}

/// Reads a context.
pub(super) fn read_context(reader: &mut Reader<'_>) -> Result<CausalContext, Malformed> {
    read_ranges_of(reader, ReplicaId::decode)
}

/// Writes ids.
pub(super) fn write_replicas(out: &mut Vec<u8>, replicas: &[ReplicaId]) {
    pack::array(out, replicas.len());
    for replica in replicas {
        replica.encode_into(out);
    }
}

/// Reads ids.
pub(super) fn read_replicas(reader: &mut Reader<'_>) -> Result<Vec<ReplicaId>, Malformed> {
    let len = reader.list(ReplicaId::ENCODED_LEN)?;
    let mut replicas = Vec::with_capacity(len);
    for _ in 0..len {
        replicas.push(ReplicaId::decode(reader)?);
    }
    Ok(replicas)
}

/// Reads an array of pairs: a replica, named as `replica` reads it, and its ranges.
fn read_ranges_of(
    reader: &mut Reader<'_>,
    replica: impl Fn(&mut Reader<'_>) -> Result<ReplicaId, Malformed>,
) -> Result<CausalContext, Malformed> {
    let len = reader.array()?;
    check_len("the replicas of a context", len, REPLICAS_MAX)?;
    let mut context = CausalContext::default();
    let mut range_count = 0;
    for _ in 0..len {
        reader.exactly(2)?;
        let id = replica(reader)?;
        let numbers = reader.array()?;
        range_count += numbers / 2;
        check_len("the ranges of a context", range_count, CONTEXT_RANGES_MAX)?;
        let ranges = read_ranges(reader, numbers)?;
        if context.of(id).is_some() {
            return Err(Malformed::Inconsistent { what: "a replica stands once in a context" });
        }
        context.set(id, ranges);
    }
    Ok(context)
}

fn write_ranges(out: &mut Vec<u8>, ranges: &DotRanges) {
    pack::array(out, ranges.range_count() * 2);
    for number in ranges.to_gaps() {
        pack::uint(out, number);
    }
}

/// Reads ranges whose counters can be stored.
fn read_ranges(reader: &mut Reader<'_>, numbers: usize) -> Result<DotRanges, Malformed> {
    let mut gaps = Vec::with_capacity(numbers);
    for _ in 0..numbers {
        gaps.push(reader.uint()?);
    }
    let ranges = DotRanges::from_gaps(&gaps)?;
    let (found, limit) = (ranges.max(), COUNTER_MAX);
    if found > limit {
        return Err(Malformed::Limit { what: "a counter", found, limit });
    }
    Ok(ranges)
}

/// Checks what the kernel relies on in a run.
fn check_entry(entry: &Entry) -> Result<(), Malformed> {
    let last = entry.first.counter.checked_add(entry.slots.len() as u64);
    if entry.first.counter == 0 || last.is_none_or(|last| last > COUNTER_MAX) || entry.is_dead() {
        return Err(Malformed::Inconsistent { what: "an entry has live dots, from counter 1" });
    }
    Ok(())
}
