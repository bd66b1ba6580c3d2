//! Deltas and contexts as MessagePack: replica ids stand once, in a table.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

use super::{CONTEXT_RANGES_MAX, DELTA_BYTES_MAX, NOTE_BYTES_MAX, REPLICAS_MAX};
use crate::causal::{CausalContext, Delta, Dot, DotRanges, Entry, Note, RUN_DOTS_MAX, ReplicaId};
use crate::error::Malformed;

/// The highest counter that is taken in: stores keep counters as signed numbers of 64 bits.
const COUNTER_MAX: u64 = i64::MAX as u64;

/// A delta as it is sent: an array of the replica table, the context, the entries and the notes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeltaOnWire {
    replicas: Vec<ReplicaId>,
    context: Vec<(u32, Vec<u64>)>,
    entries: Vec<(u32, u64, ByteBuf, Vec<Option<ByteBuf>>)>,
    notes: Vec<(u32, u64, ByteBuf)>,
}

/// A context as it is sent: for each replica its ranges, as in a delta.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ContextOnWire(Vec<(ReplicaId, Vec<u64>)>);

/// Encodes a delta alone, as it is stored in an outbox.
#[must_use]
pub fn encode_delta(delta: &Delta) -> Vec<u8> {
    rmp_serde::to_vec(&DeltaOnWire::from(delta)).expect("plain data serializes")
}

/// Decodes a delta. Refuses one whose parts contradict each other or that is over a limit.
pub fn decode_delta(bytes: &[u8]) -> Result<Delta, Malformed> {
    let limit = DELTA_BYTES_MAX as u64;
    if bytes.len() > DELTA_BYTES_MAX {
        return Err(Malformed::Limit { what: "a delta", found: bytes.len() as u64, limit });
    }
    let on_wire: DeltaOnWire =
        rmp_serde::from_slice(bytes).map_err(|_| Malformed::Encoding { detail: "delta" })?;
    on_wire.try_into()
}

impl From<&Delta> for DeltaOnWire {
    fn from(delta: &Delta) -> Self {
        let replicas: Vec<_> = delta.context.iter().map(|(replica, _)| replica).collect();
        // Every dot of an entry or note is in the context, so every replica has an index.
        let index: BTreeMap<_, _> = replicas.iter().copied().zip(0u32..).collect();
        let context = delta.context.iter().map(|(id, ranges)| (index[&id], ranges.to_gaps()));
        let entries = delta.entries.iter().map(|entry| {
            let Entry { first, header, slots } = entry.clone();
            (index[&first.replica], first.counter, header, slots)
        });
        let notes = delta
            .notes
            .iter()
            .map(|note| (index[&note.dot.replica], note.dot.counter, note.text.clone()));
        Self {
            context: context.collect(),
            entries: entries.collect(),
            notes: notes.collect(),
            replicas,
        }
    }
}

impl TryFrom<DeltaOnWire> for Delta {
    type Error = Malformed;

    fn try_from(on_wire: DeltaOnWire) -> Result<Self, Malformed> {
        let DeltaOnWire { replicas, context, entries, notes } = on_wire;
        limit("the replicas of a delta", replicas.len(), REPLICAS_MAX)?;
        let replica = |index: u32| {
            let id = replicas.get(index as usize).copied();
            id.ok_or(Malformed::Inconsistent { what: "an index is within the replica table" })
        };
        let mut delta = Self::default();
        for (index, gaps) in context {
            delta.context.set(replica(index)?, ranges(&gaps)?);
        }
        limit("the ranges of a context", delta.context.range_count(), CONTEXT_RANGES_MAX)?;
        let mut firsts = BTreeSet::new();
        for (index, counter, header, slots) in entries {
            let entry = Entry { first: Dot::new(replica(index)?, counter), header, slots };
            check_entry(&entry)?;
            let live = entry.live_ranges();
            if !delta.context.of(entry.replica()).is_some_and(|ranges| ranges.covers(&live)) {
                return Err(Malformed::Inconsistent { what: "every live dot is in the context" });
            }
            if !firsts.insert(entry.first) {
                return Err(Malformed::Inconsistent { what: "an entry stands once in a delta" });
            }
            delta.entries.push(entry);
        }
        for (index, counter, text) in notes {
            let dot = Dot::new(replica(index)?, counter);
            limit("a note", text.len(), NOTE_BYTES_MAX)?;
            if !delta.context.contains(dot) {
                return Err(Malformed::Inconsistent { what: "a note's dot is in the context" });
            }
            delta.notes.push(Note { dot, text });
        }
        Ok(delta)
    }
}

/// Checks what the kernel relies on in a run.
pub(super) fn check_entry(entry: &Entry) -> Result<(), Malformed> {
    limit("the dots of an entry", entry.slots.len(), RUN_DOTS_MAX)?;
    let last = entry.first.counter.checked_add(entry.slots.len() as u64);
    if entry.first.counter == 0 || last.is_none_or(|last| last > COUNTER_MAX) || entry.is_dead() {
        return Err(Malformed::Inconsistent { what: "an entry has live dots, from counter 1" });
    }
    Ok(())
}

impl From<&CausalContext> for ContextOnWire {
    fn from(context: &CausalContext) -> Self {
        Self(context.iter().map(|(id, ranges)| (id, ranges.to_gaps())).collect())
    }
}

impl TryFrom<ContextOnWire> for CausalContext {
    type Error = Malformed;

    fn try_from(on_wire: ContextOnWire) -> Result<Self, Malformed> {
        limit("the replicas of a context", on_wire.0.len(), REPLICAS_MAX)?;
        let mut context = Self::default();
        for (id, gaps) in on_wire.0 {
            context.set(id, ranges(&gaps)?);
        }
        limit("the ranges of a context", context.range_count(), CONTEXT_RANGES_MAX)?;
        Ok(context)
    }
}

/// Reads ranges whose counters can be stored.
fn ranges(gaps: &[u64]) -> Result<DotRanges, Malformed> {
    let ranges = DotRanges::from_gaps(gaps)?;
    let (found, limit) = (ranges.max(), COUNTER_MAX);
    if found > limit {
        return Err(Malformed::Limit { what: "a counter", found, limit });
    }
    Ok(ranges)
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), Malformed> {
    if found > limit {
        return Err(Malformed::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}
