//! A delta of one entry, or of one note: what most changes are. Each of its columns is one item, so it is
//! written and read from front to back, to and from the same bytes as any other.

use super::{
    ID_FULL, ID_OF_DEAD, ID_OF_DOT, ID_SAME, IdWriter, Named, Names, Objects, check_bytes,
    checked_with, nth_range, take, write_ranges,
};
use crate::causal::{
    CausalContext, Delta, Dot, DotRanges, Entry, LABEL_BYTES_MAX, Note, PLACE_ID_BYTES_MAX,
    PlaceId, ReplicaId, Slots,
};
use crate::pack::varint::{self, unzigzag, write, zigzag};
use crate::small::Few;
use crate::time::Stamp;
use crate::wire::Dictionary;

/// Writes such a delta if the dictionary has all that it names. Does nothing, and says so, otherwise.
pub(super) fn write_single(
    out: &mut Vec<u8>,
    delta: &Delta,
    dictionary: &Dictionary,
    names: &dyn Names,
) -> bool {
    let Delta { entries, dead, notes } = delta;
    let (first, stamp, label, id, slots) = match (&entries[..], &notes[..]) {
        ([Entry { first, stamp, label, id, slots }], []) => (first, stamp, label, id, Some(slots)),
        ([], [Note { dot, stamp, label, id }]) => (dot, stamp, label, id, None),
        _ => return false,
    };
    let number = |replica: &ReplicaId| dictionary.replica_table().number(replica);
    let (Some(replica), Some(label_number)) =
        (number(&first.replica), dictionary.label_table().number(label))
    else {
        return false;
    };
    let named = match (IdWriter { dead, names, last: None }).name(label.space(), id) {
        Named::OfDot { replica, counter, .. } => match number(&replica) {
            Some(number) => Named::OfDot { replica, number: number as u64, counter },
            None => return false,
        },
        named @ (Named::InFull | Named::Same | Named::OfDead(_)) => named,
    };
    let start = out.len();
    // No replica and no label stands at the front.
    out.extend_from_slice(&[0, 0]);
    write(out, dead.replica_count() as u64);
    for (replica, ranges) in dead.iter() {
        let Some(number) = number(&replica) else {
            out.truncate(start);
            return false;
        };
        write_ranges(out, number as u64, ranges);
    }
    out.extend_from_slice(&[entries.len() as u8, notes.len() as u8]);
    write(out, label_number as u64);
    write(out, replica as u64);
    write(out, zigzag(first.counter.cast_signed()));
    write(out, zigzag(stamp.to_bits().cast_signed()));
    let is_checked = named.is_by_dot();
    named.write(out, id, |number| number);
    if is_checked {
        out.extend_from_slice(&check_bytes(checked_with(None, id)));
    }
    out.extend_from_slice(slots.map(Slots::as_packed).unwrap_or_default());
    true
}

/// Reads such a delta whose names the dictionary has. Gives nothing where it is another one, or anything is
/// wrong with it: reading its columns says what.
pub(super) fn read_single(
    bytes: &[u8],
    dictionary: &Dictionary,
    objects: &dyn Objects,
) -> Option<Delta> {
    let (replicas, labels) = (dictionary.replica_table(), dictionary.label_table());
    let mut rest = bytes.strip_prefix(&[0, 0])?;
    let mut dead = CausalContext::default();
    for _ in 0..few(&mut rest, DEAD_REPLICAS_MAX)? {
        let replica = *replicas.item(usize::try_from(number(&mut rest)?).ok()?)?;
        few(&mut rest, 1).filter(|ranges| *ranges == 1)?;
        let start = number(&mut rest)?;
        let end = start.checked_add(number(&mut rest)?)?;
        let is_range = start > 0 && end <= Dot::COUNTER_MAX;
        (is_range && dead.put(replica, DotRanges::of(start..=end))).then_some(())?;
    }
    let is_note = match (few(&mut rest, 1)?, few(&mut rest, 1)?) {
        (1, 0) => false,
        (0, 1) => true,
        _ => return None,
    };
    let label = labels.item(usize::try_from(number(&mut rest)?).ok()?)?;
    let replica = *replicas.item(usize::try_from(number(&mut rest)?).ok()?)?;
    let counter = unzigzag(number(&mut rest)?).cast_unsigned();
    let stamp = Stamp::from_bits(unzigzag(number(&mut rest)?).cast_unsigned());
    let id = match number(&mut rest)? {
        ID_FULL => {
            let len = number(&mut rest).filter(|len| *len <= PLACE_ID_BYTES_MAX as u64)?;
            PlaceId::new(take(&mut rest, len as usize).ok()?)
        }
        ID_SAME => return None,
        named => {
            let dot = match named {
                ID_OF_DOT => Dot::new(
                    *replicas.item(usize::try_from(number(&mut rest)?).ok()?)?,
                    number(&mut rest)?,
                ),
                range => nth_range(&dead, range - ID_OF_DEAD).ok()?,
            };
            let (of, id) = objects.object_of(dot)?;
            let is_it = of.is_in_space_of(label)
                && take(&mut rest, 2).ok()? == check_bytes(checked_with(None, &id));
            is_it.then_some(id)?
        }
    };
    let dot = Dot::new(replica, counter);
    if is_note {
        let is_right = rest.is_empty() && label.is_empty() && dead.contains(dot);
        let note = || Few::one(Note { dot, stamp, label: label.clone(), id });
        is_right.then(|| Delta { entries: Few::new(), dead, notes: note() })
    } else {
        let slots = Slots::from_packed(rest).ok()?;
        let last = counter.checked_add(slots.len() as u64)?.checked_sub(1)?;
        let is_apart = dead.of(replica).is_none_or(|dead| !dead.overlaps(counter, last));
        let is_right = is_apart
            && label.len() == slots.len()
            && label.byte_count() <= LABEL_BYTES_MAX
            && counter > 0
            && last <= Dot::COUNTER_MAX;
        let entry = || Few::one(Entry { first: dot, stamp, label: label.clone(), id, slots });
        is_right.then(|| Delta { entries: entry(), dead, notes: Few::new() })
    }
}

/// The most replicas of its dead dots: the one that wrote them, and the one that removes.
const DEAD_REPLICAS_MAX: u8 = 2;

#[inline]
fn number(bytes: &mut &[u8]) -> Option<u64> {
    varint::take(bytes)
}

/// A count of one byte, if it is not larger than that.
#[inline]
fn few(bytes: &mut &[u8], limit: u8) -> Option<u8> {
    let (count, rest) = bytes.split_first().filter(|(count, _)| **count <= limit)?;
    *bytes = rest;
    Some(*count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Label;
    use crate::wire::delta::{InFull, read_delta, write_delta};

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16])
    }

    #[test]
    fn dead_dots_of_few_replicas_are_read_from_front_to_back() {
        for count in 0..=DEAD_REPLICAS_MAX + 1 {
            let label = Label::new(b"space", [&b"name"[..]]);
            let entry = Entry {
                first: Dot::new(replica(9), 5),
                stamp: Stamp::from_bits(7),
                label: label.clone(),
                id: PlaceId::new(b"id"),
                slots: Slots::new([Some(&b"value"[..])].into_iter()),
            };
            let dead = (1..=count).map(|number| Dot::new(replica(number), 3)).collect();
            let delta = Delta { entries: [entry].into(), dead, ..Delta::default() };
            let mut dictionary = Dictionary::new();
            dictionary.learn(&delta);
            let mut bytes = Vec::new();
            write_delta(&mut bytes, &delta, &dictionary, &InFull);
            let read = read_single(&bytes, &dictionary, &InFull);
            assert_eq!(read.is_some(), count <= DEAD_REPLICAS_MAX, "{count} replicas");
            assert!(read.is_none_or(|read| read == delta));
            assert_eq!(read_delta(&bytes, &dictionary, &InFull), Ok(delta), "in columns too");
        }
    }
}
