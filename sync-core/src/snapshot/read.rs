//! Reading a snapshot.

use std::collections::BTreeMap;

use super::column::{Head, SHORT, Values};
use super::{MAGIC, VERSION, frame};
use crate::causal::{
    Builder, CausalContext, Dot, DotRanges, Label, MemoryStore, PlaceId, RUN_DOTS_MAX, ReplicaId,
    Slots, check_len,
};
use crate::error::Malformed;
use crate::pack::varint::{self, read, unzigzag};
use crate::time::Stamp;

/// Reads a snapshot of at most `bytes_max` bytes, compressed or not. Refuses one that is damaged, of a
/// later version, or whose parts contradict each other.
pub fn read_snapshot(bytes: &[u8], bytes_max: usize) -> Result<MemoryStore, Malformed> {
    check_len("a snapshot", bytes.len(), bytes_max)?;
    let Some(([magic @ .., version], mut rest)) = bytes.split_first_chunk::<5>() else {
        return Err(SHORT);
    };
    if *magic != MAGIC {
        return Err(Malformed::Encoding { detail: "it is no snapshot" });
    }
    if *version != VERSION {
        let (found, limit) = (u64::from(*version), u64::from(VERSION));
        return Err(Malformed::limit("the version of a snapshot", found, limit));
    }
    let mut left = bytes_max;
    let (head, aside) = frame::take(&mut rest, &mut left)?;
    end(aside)?;
    let mut head = &*head;
    let context = read_context(&mut head)?;
    let labels = read_labels(&mut head)?;
    let count = usize::try_from(read(&mut head)?).map_err(|_| SHORT)?;
    end(head)?;
    let mut sections = Sections::new(context, &labels);
    while !rest.is_empty() {
        let (columns, aside) = frame::take(&mut rest, &mut left)?;
        sections.read(&columns, aside)?;
    }
    if sections.store.count() != count {
        return Err(Malformed::Inconsistent { what: "a snapshot has as many entries as it says" });
    }
    Ok(sections.store.finish())
}

/// In place of a column, for a slot that is dead.
const NONE: u32 = u32::MAX;

struct Sections<'l> {
    store: Builder<'l>,
    /// The columns of the slots of each label, one label behind the other, and where each ends.
    columns: Vec<u32>,
    ends: Vec<usize>,
    /// How often each label stands in a section, and how many values each column has in it: between
    /// two sections none.
    uses: Vec<usize>,
    counts: Vec<usize>,
    /// Which of the columns of a section is that of a number.
    places: Vec<u32>,
}

impl<'l> Sections<'l> {
    fn new(context: CausalContext, labels: &'l [Label]) -> Self {
        let mut by_name: BTreeMap<(&[u8], &[u8]), u32> = BTreeMap::new();
        let (mut columns, mut ends) = (Vec::new(), Vec::with_capacity(labels.len()));
        for label in labels {
            for name in label.names() {
                let next = by_name.len() as u32;
                columns.push(match name {
                    [] => NONE,
                    _ => *by_name.entry((label.space(), name)).or_insert(next),
                });
            }
            ends.push(columns.len());
        }
        let (uses, counts) = (vec![0; labels.len()], vec![0; by_name.len()]);
        let places = vec![0; by_name.len()];
        Self { store: Builder::new(context, labels), columns, ends, uses, counts, places }
    }

    /// The columns of the slots of a label.
    fn columns_of(&self, label: usize) -> &[u32] {
        let start = label.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.columns[start..self.ends[label]]
    }

    fn read<'a>(&mut self, columns: &'a [u8], mut aside: &'a [u8]) -> Result<(), Malformed> {
        let mut rest = columns;
        let count = read_count(&mut rest, 4)?;
        let mut writers = read_writers(&mut rest)?.into_iter();
        let numbers = self.read_labels(&mut rest, count)?;
        let gaps = read_numbers(&mut rest, count)?;
        let stamps = read_numbers(&mut rest, count)?;
        let repeats = read_numbers(&mut rest, count)?;
        let new = repeats.iter().filter(|before| **before == 0).count();
        let ids = Head::take(&mut rest, new)?;
        let slots = self.read_heads(&mut rest, &numbers)?;
        let mut ids = ids.values(&mut rest, &mut aside)?;
        let slots = slots.into_iter().map(|head| head.values(&mut rest, &mut aside));
        let mut slots = slots.collect::<Result<Vec<_>, _>>()?;
        end(rest)?;
        end(aside)?;

        let mut packed = Vec::new();
        let (mut replica, mut left, mut expected, mut stamp) = (None, 0, 1u64, 0u64);
        for (at, number) in numbers.into_iter().enumerate() {
            while left == 0 {
                let (next, count) = writers.next().ok_or(SHORT)?;
                (replica, left, expected) = (Some(next), count, 1);
            }
            left -= 1;
            let run = self.columns_of(number);
            let counter = expected.wrapping_add(gaps[at]);
            expected = counter.wrapping_add(run.len() as u64);
            stamp = stamp.wrapping_add(unzigzag(stamps[at]).cast_unsigned());
            let id = match repeats[at].checked_sub(1) {
                None => PlaceId::new(ids.take()),
                Some(before) => {
                    let what = "an object stood where it is said to";
                    self.store.id(before).cloned().ok_or(Malformed::Inconsistent { what })?
                }
            };
            let slots = read_run(run, &self.places, &mut slots, &mut packed);
            let first = Dot::new(replica.ok_or(SHORT)?, counter);
            self.store.push(first, Stamp::from_bits(stamp), number, id, slots)?;
        }
        if left > 0 || writers.next().is_some() {
            return Err(Malformed::Inconsistent {
                what: "a section has the entries of its writers",
            });
        }
        Ok(())
    }

    /// Reads the number of each entry's label, and counts the values of each column.
    fn read_labels(&mut self, rest: &mut &[u8], count: usize) -> Result<Vec<usize>, Malformed> {
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            let number = usize::try_from(read(rest)?).map_err(|_| SHORT)?;
            let uses = self.uses.get_mut(number);
            *uses.ok_or(Malformed::Inconsistent { what: "a number is one that was given" })? += 1;
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Takes the heads of the columns of these entries' slots: what none of them has is not there.
    fn read_heads<'a>(
        &mut self,
        rest: &mut &'a [u8],
        numbers: &[usize],
    ) -> Result<Vec<Head<'a>>, Malformed> {
        let mut used = Vec::new();
        for number in numbers {
            // Each label once: its uses are taken with the first.
            let uses = std::mem::take(&mut self.uses[*number]);
            if uses == 0 {
                continue;
            }
            let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
            for column in self.columns[start..self.ends[*number]].iter().filter(|at| **at != NONE) {
                let count = &mut self.counts[*column as usize];
                if *count == 0 {
                    used.push(*column);
                }
                *count += uses;
            }
        }
        used.sort_unstable();
        let mut columns = Vec::with_capacity(used.len());
        for column in used {
            self.places[column as usize] = columns.len() as u32;
            let count = std::mem::take(&mut self.counts[column as usize]);
            columns.push(Head::take(rest, count)?);
        }
        Ok(columns)
    }
}

/// Takes the next value of the column of each live slot of a run, and packs them.
fn read_run(
    run: &[u32],
    places: &[u32],
    columns: &mut [Values<'_>],
    packed: &mut Vec<u8>,
) -> Slots {
    packed.clear();
    packed.push(run.len() as u8);
    let mut live = 0;
    for (slot, column) in run.iter().enumerate() {
        let place = places.get(*column as usize).map_or(usize::MAX, |place| *place as usize);
        match columns.get_mut(place) {
            Some(column) => {
                let value = column.take();
                varint::write(packed, value.len() as u64 + 1);
                if !value.is_empty() {
                    packed.extend_from_slice(value);
                }
                live |= 1 << (slot & 63);
            }
            None => packed.push(0),
        }
    }
    Slots::of(packed, live)
}

/// Reads the replicas, and how many entries in a row are theirs.
fn read_writers(rest: &mut &[u8]) -> Result<Vec<(ReplicaId, u64)>, Malformed> {
    let count = read_count(rest, 17)?;
    let mut writers = Vec::with_capacity(count);
    for _ in 0..count {
        let (id, behind) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
        *rest = behind;
        writers.push((ReplicaId::from_bytes(*id), read(rest)?));
    }
    Ok(writers)
}

/// Takes so many numbers off the front.
fn read_numbers(rest: &mut &[u8], count: usize) -> Result<Vec<u64>, Malformed> {
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        numbers.push(read(rest)?);
    }
    Ok(numbers)
}

/// A count of things that take no less than `least` bytes each.
fn read_count(bytes: &mut &[u8], least: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(read(bytes)?).unwrap_or(usize::MAX);
    if count > bytes.len() / least { Err(SHORT) } else { Ok(count) }
}

fn end(rest: &[u8]) -> Result<(), Malformed> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Malformed::Encoding { detail: "something follows its end" })
}

fn read_context(bytes: &mut &[u8]) -> Result<CausalContext, Malformed> {
    let mut context = CausalContext::default();
    let mut last = None;
    for _ in 0..read_count(bytes, 18)? {
        let (id, rest) = bytes.split_first_chunk::<16>().ok_or(SHORT)?;
        *bytes = rest;
        let count = read_count(bytes, 2)?;
        let gaps = (0..2 * count).map(|_| read(bytes)).collect::<Result<Vec<_>, _>>()?;
        let ranges = DotRanges::from_gaps(&gaps)?;
        if ranges.is_empty() || last.is_some_and(|last| last >= *id) {
            let what = "replicas stand in the order of ids, and were seen";
            return Err(Malformed::Inconsistent { what });
        }
        last = Some(*id);
        let (found, limit) = (ranges.max(), Dot::COUNTER_MAX);
        if found > limit {
            return Err(Malformed::limit("a counter", found, limit));
        }
        context.set(ReplicaId::from_bytes(*id), ranges);
    }
    Ok(context)
}

fn read_labels(bytes: &mut &[u8]) -> Result<Vec<Label>, Malformed> {
    let count = read_count(bytes, 2)?;
    let mut labels = Vec::new();
    for _ in 0..count {
        let space = take_bytes(bytes)?;
        let names = read_count(bytes, 1)?;
        check_len("the dots of an entry", names, RUN_DOTS_MAX)?;
        let names = (0..names).map(|_| take_bytes(bytes)).collect::<Result<Vec<_>, _>>()?;
        labels.push(Label::new(space, names));
    }
    Ok(labels)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = read_count(bytes, 1)?;
    let (taken, rest) = bytes.split_at_checked(len).ok_or(SHORT)?;
    *bytes = rest;
    Ok(taken)
}
