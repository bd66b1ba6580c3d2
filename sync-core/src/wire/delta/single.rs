//! A delta of one entry, or of one note: what most changes are. Each of its columns is one item, so it is
//! written and read from front to back, to and from the same bytes as any other.

use super::{
    ID_FULL, ID_OF_DEAD, ID_OF_DOT, ID_SAME, Names, Objects, check_bytes, checked_with, take,
};
use crate::causal::{
    Delta, Dot, DotRanges, Entry, LABEL_BYTES_MAX, Note, PLACE_ID_BYTES_MAX, PlaceId, ReplicaId,
    Slots,
};
use crate::pack::varint::{self, unzigzag, zigzag};
use crate::time::Stamp;
use crate::wire::Dictionary;

/// Writes such a delta if the dictionary has all that it names, and its dead dots are as few as those that are
/// read from front to back. Does nothing, and says so, otherwise.
pub(super) fn write_single(
    out: &mut Vec<u8>,
    delta: &Delta,
    dictionary: &Dictionary,
    names: &dyn Names,
) -> bool {
    let Delta { entries, dead, notes } = delta;
    let (first, stamp, label, id, slots) = match (&entries[..], &notes[..]) {
        ([Entry { first, stamp, label, id, slots }], []) => {
            (first, stamp, label, id, slots.as_packed())
        }
        ([], [Note { dot, stamp, label, id }]) => (dot, stamp, label, id, &[][..]),
        _ => return false,
    };
    let number = |replica: &ReplicaId| dictionary.replica_table().number(replica);
    let (Some(replica), Some(label_number)) =
        (number(&first.replica), dictionary.label_table().number(label))
    else {
        return false;
    };
    if dead.replica_count() > usize::from(DEAD_REPLICAS_MAX) {
        return false;
    }
    let known = names.dot_of(label.space(), id);
    let (mut head, mut of_dead) = (Head { bytes: [0; HEAD_BYTES], len: 0 }, None);
    // No replica and no label stands at the front.
    head.put(0);
    head.put(0);
    head.put(dead.replica_count() as u64);
    for (range, (replica, ranges)) in (ID_OF_DEAD..).zip(dead.iter()) {
        let (Some(number), Some((start, end))) = (number(&replica), ranges.only()) else {
            return false;
        };
        if known == Some(Dot::new(replica, start)) {
            of_dead = Some(range);
        }
        head.put(number as u64);
        head.put(1);
        head.put(start);
        head.put(end - start);
    }
    head.put(entries.len() as u64);
    head.put(notes.len() as u64);
    head.put(label_number as u64);
    head.put(replica as u64);
    head.put(zigzag(first.counter.cast_signed()));
    head.put(zigzag(stamp.to_bits().cast_signed()));
    let check;
    let id = match (known, of_dead) {
        (None, _) => {
            head.put(ID_FULL);
            head.put(id.len() as u64);
            id
        }
        (Some(dot), range) => {
            head.put(range.unwrap_or(ID_OF_DOT));
            if range.is_none() {
                let Some(number) = number(&dot.replica) else { return false };
                head.put(number as u64);
                head.put(dot.counter);
            }
            check = check_bytes(checked_with(None, id));
            &check[..]
        }
    };
    let head = head.bytes.get(..head.len).unwrap_or_default();
    let len = head.len() + id.len() + slots.len();
    if out.capacity() == 0 {
        // Not all lengths, so that memory is found again that was given back.
        *out = Vec::with_capacity(len.next_multiple_of(ROOM_BYTES));
    } else {
        out.reserve(len);
    }
    out.extend_from_slice(head);
    out.extend_from_slice(id);
    out.extend_from_slice(slots);
    true
}

/// Room is made for a multiple of so many bytes. Arbitrary.
const ROOM_BYTES: usize = 64;

/// What stands before the id: numbers, of which most take one byte.
struct Head {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

/// Room for counters and a stamp of any size, for counts and numbers, and behind them for one more.
const HEAD_BYTES: usize = 144;
const LONG_MAX: usize = 4 + 2 * DEAD_REPLICAS_MAX as usize;
const _: () = assert!(LONG_MAX * varint::LEN_MAX + 16 * 3 + varint::LEN_MAX <= HEAD_BYTES);

impl Head {
    #[inline(always)]
    fn put(&mut self, number: u64) {
        let Some(room) = self.bytes[self.len..].first_chunk_mut() else { return };
        if number < 0x80 {
            room[0] = number as u8;
            self.len += 1;
        } else {
            *room = varint::long(number);
            self.len += varint::len(number);
        }
    }
}

/// Reads such a delta whose names the dictionary has into an empty one. Gives nothing where it is another
/// one, or anything is wrong with it: reading its columns says what.
pub(super) fn read_single(
    bytes: &[u8],
    dictionary: &Dictionary,
    objects: &dyn Objects,
    delta: &mut Delta,
) -> Option<()> {
    let (replicas, labels) = (dictionary.replica_table(), dictionary.label_table());
    let mut rest = bytes.strip_prefix(&[0, 0])?;
    let Delta { entries, dead, notes } = delta;
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
                range => {
                    // Each replica has one range here.
                    let (replica, ranges) = dead.iter().nth((range - ID_OF_DEAD) as usize)?;
                    Dot::new(replica, ranges.only()?.0)
                }
            };
            let (of, id) = objects.object_of(dot)?;
            let is_it = of.is_in_space_of(label)
                && take(&mut rest, 2).ok()? == check_bytes(checked_with(None, &id));
            is_it.then_some(id)?
        }
    };
    let first = Dot::new(replica, counter);
    if is_note {
        (rest.is_empty() && label.is_empty() && dead.contains(first)).then_some(())?;
        notes.push(Note { dot: first, stamp, label: label.clone(), id });
    } else {
        let slots = Slots::from_packed(rest).ok()?;
        let count = slots.len();
        let last = counter.checked_add(count as u64)?.checked_sub(1)?;
        let is_hit =
            |(of, dead): (ReplicaId, &DotRanges)| of == replica && dead.overlaps(counter, last);
        let is_right = !dead.iter().any(is_hit)
            && label.len() == count
            && label.byte_count() <= LABEL_BYTES_MAX
            && counter > 0
            && last <= Dot::COUNTER_MAX;
        is_right.then_some(())?;
        entries.push(Entry { first, stamp, label: label.clone(), id, slots });
    }
    Some(())
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
            let (mut read, mut written) = (Delta::default(), Vec::new());
            let is_read = read_single(&bytes, &dictionary, &InFull, &mut read).is_some();
            let is_written = write_single(&mut written, &delta, &dictionary, &InFull);
            let is_single = count <= DEAD_REPLICAS_MAX;
            assert_eq!((is_read, is_written), (is_single, is_single), "{count} replicas");
            assert!(!is_single || (read == delta && written == bytes));
            assert_eq!(read_delta(&bytes, &dictionary, &InFull), Ok(delta), "in columns too");
        }
    }
}
