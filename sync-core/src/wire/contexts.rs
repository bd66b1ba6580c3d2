//! Contexts and replica ids in messages, as MessagePack.

use super::{CONTEXT_RANGES_MAX, REPLICAS_MAX};
use crate::causal::{CausalContext, Dot, DotRanges, ReplicaId, check_len};
use crate::error::Malformed;
use crate::pack::{self, Reader};

/// Writes a context: for each replica its ranges.
pub(super) fn write_context(out: &mut Vec<u8>, context: &CausalContext) {
    pack::array(out, context.replica_count());
    for (replica, ranges) in context.iter() {
        pack::array(out, 2);
        replica.encode_into(out);
        pack::array(out, ranges.range_count() * 2);
        for number in ranges.to_gaps() {
            pack::uint(out, number);
        }
    }
}

/// Reads a context.
pub(super) fn read_context(reader: &mut Reader<'_>) -> Result<CausalContext, Malformed> {
    let len = reader.array()?;
    check_len("the replicas of a context", len, REPLICAS_MAX)?;
    let mut context = CausalContext::default();
    let mut range_count = 0;
    for _ in 0..len {
        reader.exactly(2)?;
        let id = ReplicaId::decode(reader)?;
        let numbers = reader.array()?;
        range_count += numbers / 2;
        check_len("the ranges of a context", range_count, CONTEXT_RANGES_MAX)?;
        let gaps = (0..numbers).map(|_| reader.uint()).collect::<Result<Vec<_>, _>>()?;
        let ranges = checked(DotRanges::from_gaps(&gaps)?)?;
        if context.of(id).is_some() {
            return Err(Malformed::Inconsistent { what: "a replica stands once in a context" });
        }
        context.set(id, ranges);
    }
    Ok(context)
}

/// Refuses counters that cannot be stored.
pub(super) fn checked(ranges: DotRanges) -> Result<DotRanges, Malformed> {
    let (found, limit) = (ranges.max(), Dot::COUNTER_MAX);
    if found > limit {
        return Err(Malformed::limit("a counter", found, limit));
    }
    Ok(ranges)
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
