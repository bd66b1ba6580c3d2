//! Causal contexts in messages: one in full, the other as what is different in it.

use super::codec::{Reader, broken, put_range, take_range};
use crate::causal::{CausalContext, DotRanges, ReplicaId};
use crate::error::Malformed;
use crate::pack::varint;

/// The most ranges of one context: 1 MiB of memory, and as much again for each 8,000 replicas.
/// Arbitrary.
const RANGES_MAX: usize = 1 << 16;

/// Appends a context: for each replica its 16 bytes and its ranges.
pub(super) fn put_context(bytes: &mut Vec<u8>, context: &CausalContext) {
    varint::write(bytes, context.replica_count() as u64);
    for (replica, ranges) in context.iter() {
        bytes.extend_from_slice(replica.as_bytes());
        put_ranges(bytes, ranges);
    }
}

/// Reads what [`put_context`] wrote.
pub(super) fn take_context(reader: &mut Reader<'_>) -> Result<CausalContext, Malformed> {
    let mut context = CausalContext::default();
    let (mut last, mut count) = (None, 0);
    // An id, a count and a range of at least one byte.
    for _ in 0..reader.count(18)? {
        let replica = ReplicaId::from_bytes(reader.array()?);
        if last.is_some_and(|last| last >= replica) {
            return Err(broken("replicas are not in order"));
        }
        last = Some(replica);
        let ranges = take_ranges(reader)?;
        if ranges.is_empty() {
            return Err(broken("a replica without a dot"));
        }
        count += ranges.range_count();
        check_count(count)?;
        context.set(replica, ranges);
    }
    Ok(context)
}

/// Appends what one must know to make `context` of `base`.
pub(super) fn put_change(bytes: &mut Vec<u8>, base: &CausalContext, context: &CausalContext) {
    let changed = base
        .iter()
        .enumerate()
        .filter(|(_, (replica, ranges))| context.of(*replica) != Some(*ranges));
    let changed: Vec<_> = changed.collect();
    varint::write(bytes, changed.len() as u64);
    let mut next = 0;
    for (index, (replica, _)) in changed {
        varint::write(bytes, (index - next) as u64);
        next = index + 1;
        put_ranges(bytes, context.of(replica).unwrap_or(&DotRanges::default()));
    }
    let mut added = CausalContext::default();
    for (replica, ranges) in context.iter().filter(|(replica, _)| base.of(*replica).is_none()) {
        added.set(replica, ranges.clone());
    }
    put_context(bytes, &added);
}

/// Reads what [`put_change`] wrote, and gives the context.
pub(super) fn take_change(
    reader: &mut Reader<'_>,
    base: &CausalContext,
) -> Result<CausalContext, Malformed> {
    let mut context = base.clone();
    let mut replicas = base.iter();
    // A gap and a count.
    for _ in 0..reader.count(2)? {
        let skipped = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
        let changed = replicas.nth(skipped);
        let (replica, _) = changed.ok_or_else(|| broken("a replica is not in the context"))?;
        context.set(replica, take_ranges(reader)?);
    }
    let added = take_context(reader)?;
    for (replica, ranges) in added.iter() {
        if base.of(replica).is_some() {
            return Err(broken("a replica is in the context already"));
        }
        context.set(replica, ranges.clone());
    }
    check_count(context.range_count())?;
    Ok(context)
}

fn check_count(count: usize) -> Result<(), Malformed> {
    if count > RANGES_MAX {
        let (found, limit) = (count as u64, RANGES_MAX as u64);
        return Err(Malformed::limit("the ranges of a context", found, limit));
    }
    Ok(())
}

fn put_ranges(bytes: &mut Vec<u8>, ranges: &DotRanges) {
    varint::write(bytes, ranges.range_count() as u64);
    let mut last = None;
    for (start, end) in ranges.iter() {
        put_range(bytes, last.map_or(start - 1, |last: u64| start - last - 2), end - start + 1);
        last = Some(end);
    }
}

fn take_ranges(reader: &mut Reader<'_>) -> Result<DotRanges, Malformed> {
    let mut ranges = DotRanges::default();
    let mut last = None;
    let count = reader.count(1)?;
    check_count(count)?;
    for _ in 0..count {
        // Stores keep counters as signed numbers of 64 bits.
        let (start, end) = take_range(reader, last, i64::MAX as u64)?;
        ranges.insert(start + 1, end);
        last = Some(end);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context() -> impl Strategy<Value = CausalContext> {
        proptest::collection::vec((0u8..6, 1u64..60, 0u64..20), 0..12).prop_map(|parts| {
            let mut context = CausalContext::default();
            for (id, start, length) in parts {
                context.insert_range(ReplicaId::from_bytes([id; 16]), start, start + length);
            }
            context
        })
    }

    proptest! {
        #[test]
        fn contexts_come_back(a in context(), b in context()) {
            let mut bytes = Vec::new();
            put_context(&mut bytes, &a);
            put_change(&mut bytes, &a, &b);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(take_context(&mut reader).unwrap(), a.clone());
            prop_assert_eq!(take_change(&mut reader, &a).unwrap(), b);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            base in context(), bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = take_context(&mut Reader::new(&bytes));
            let _ = take_change(&mut Reader::new(&bytes), &base);
        }
    }

    #[test]
    fn the_ranges_of_a_context_are_limited() {
        let of_ranges = |count: u64| {
            let mut context = CausalContext::default();
            for at in 0..count {
                let replica = ReplicaId::from_bytes([(at % 2) as u8; 16]);
                context.insert_range(replica, 1 + at * 2, 1 + at * 2);
            }
            context
        };
        let most = RANGES_MAX as u64;
        for (count, is_taken) in [(most - 1, true), (most, true), (most + 1, false)] {
            let (mut bytes, context) = (Vec::new(), of_ranges(count));
            put_context(&mut bytes, &context);
            assert_eq!(take_context(&mut Reader::new(&bytes)).is_ok(), is_taken, "{count}");
            // Half of it is there already.
            let (mut bytes, mut base) = (Vec::new(), of_ranges(most));
            base.set(ReplicaId::from_bytes([0; 16]), DotRanges::default());
            put_change(&mut bytes, &base, &context);
            let taken = take_change(&mut Reader::new(&bytes), &base);
            assert_eq!(taken.is_ok(), is_taken, "{count}");
        }
    }

    #[test]
    fn a_change_of_nothing_is_two_bytes() {
        let mut context = CausalContext::default();
        for id in 0..200 {
            context.insert_range(ReplicaId::from_bytes([id; 16]), 1, 9);
        }
        let mut bytes = Vec::new();
        put_change(&mut bytes, &context, &context);
        assert_eq!(bytes, [0, 0]);
    }
}
