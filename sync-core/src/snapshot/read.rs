//! Reading a snapshot.

use smallvec::SmallVec;

use super::section::{SHORT, Values};
use super::{MAGIC, SECTION_BYTES_MAX, VERSION, form};
use crate::causal::{
    CausalContext, Dot, DotRanges, Entry, Label, MemoryStore, PlaceId, RUN_DOTS_MAX, ReplicaId,
    Slots, check_len,
};
use crate::error::Malformed;
use crate::pack::varint::{read, unzigzag};
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
        return Err(Malformed::Limit { what: "the version of a snapshot", found, limit });
    }
    let mut left = bytes_max;
    let head = take_framed(&mut rest, &mut left)?;
    let mut head = &*head;
    let context = read_context(&mut head)?;
    let labels = read_labels(&mut head)?;
    let count = usize::try_from(read(&mut head)?).map_err(|_| SHORT)?;
    end(head)?;
    let mut builder = Builder { labels: &labels, ids: Vec::new(), entries: Vec::new() };
    while !rest.is_empty() {
        let body = take_framed(&mut rest, &mut left)?;
        builder.read_section(&body)?;
    }
    if builder.entries.len() != count {
        return Err(Malformed::Inconsistent { what: "a snapshot has as many entries as it says" });
    }
    let (entries, store) = (builder.entries, MemoryStore::load(context, []));
    fill(store, entries)
}

/// Adds entries in the order of dots, which overlap nowhere and were all seen.
fn fill(mut store: MemoryStore, entries: Vec<Entry>) -> Result<MemoryStore, Malformed> {
    let mut before: Option<(ReplicaId, u64)> = None;
    for entry in entries {
        entry.check()?;
        let (replica, last) = (entry.replica(), entry.last());
        if before.is_some_and(|before| before >= (replica, entry.first.counter)) {
            return Err(Malformed::Inconsistent { what: "entries stand in the order of dots" });
        }
        before = Some((replica, last));
        if !store.append(entry) {
            return Err(Malformed::Inconsistent { what: "every live dot was seen" });
        }
    }
    Ok(store)
}

struct Builder<'l> {
    labels: &'l [Label],
    /// The id of each entry so far.
    ids: Vec<PlaceId>,
    entries: Vec<Entry>,
}

impl Builder<'_> {
    fn read_section(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut rest = body;
        let count = read_count(&mut rest, 4)?;
        let writers = read_count(&mut rest, 17)?;
        let mut firsts: Vec<(ReplicaId, u64)> = Vec::with_capacity(writers);
        for _ in 0..writers {
            let (id, behind) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            rest = behind;
            firsts.push((ReplicaId::from_bytes(*id), read(&mut rest)?));
        }
        let mut numbers: Vec<u32> = Vec::with_capacity(count);
        let mut uses = vec![0usize; self.labels.len()];
        for _ in 0..count {
            let number = read(&mut rest)?;
            let at = usize::try_from(number).map_err(|_| SHORT)?;
            let uses = uses.get_mut(at);
            *uses.ok_or(Malformed::Inconsistent { what: "a number is one that was given" })? += 1;
            numbers.push(number as u32);
        }
        let mut gaps = take_numbers(&mut rest, count)?;
        let mut stamps = take_numbers(&mut rest, count)?;
        let start = rest;
        let mut new = 0;
        for _ in 0..count {
            new += usize::from(read(&mut rest)? == 0);
        }
        let mut repeats = &start[..start.len() - rest.len()];
        let mut ids = Values::take(&mut rest, new)?;
        let mut columns: Vec<SmallVec<[Values<'_>; 8]>> = Vec::with_capacity(self.labels.len());
        for (label, uses) in self.labels.iter().zip(&uses) {
            let mut of_label = SmallVec::new();
            for name in label.names().filter(|_| *uses > 0) {
                of_label.push(match name {
                    [] => Values::default(),
                    _ => Values::take(&mut rest, *uses)?,
                });
            }
            columns.push(of_label);
        }
        end(rest)?;

        self.entries.reserve(count);
        self.ids.reserve(count);
        let mut writers = firsts.into_iter();
        let (mut writer, mut left, mut expected, mut stamp) = (None, 0, 1u64, 0u64);
        for number in numbers {
            while left == 0 {
                let (replica, count) = writers.next().ok_or(SHORT)?;
                (writer, left, expected) = (Some(replica), count, 1);
            }
            left -= 1;
            let number = number as usize;
            let label = &self.labels[number];
            let counter = expected.wrapping_add(read(&mut gaps)?);
            expected = counter.wrapping_add(label.len() as u64);
            stamp = stamp.wrapping_add(unzigzag(read(&mut stamps)?).cast_unsigned());
            let id = match read(&mut repeats)?.checked_sub(1) {
                None => PlaceId::new(ids.next()?),
                Some(before) => {
                    let before = usize::try_from(before).ok().and_then(|at| self.ids.get(at));
                    let what = "an object stood where it is said to";
                    before.cloned().ok_or(Malformed::Inconsistent { what })?
                }
            };
            let mut slots: SmallVec<[Option<&[u8]>; 8]> = SmallVec::new();
            for (name, column) in label.names().zip(&mut columns[number]) {
                slots.push(if name.is_empty() { None } else { Some(column.next()?) });
            }
            let replica = writer.ok_or(SHORT)?;
            self.ids.push(id.clone());
            self.entries.push(Entry {
                first: Dot::new(replica, counter),
                stamp: Stamp::from_bits(stamp),
                label: label.clone(),
                id,
                slots: Slots::new(slots.iter().copied()),
            });
        }
        Ok(())
    }
}

/// Takes so many numbers off the front, as they stand.
fn take_numbers<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let start = *rest;
    for _ in 0..count {
        read(rest)?;
    }
    Ok(&start[..start.len() - rest.len()])
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
    for _ in 0..read_count(bytes, 18)? {
        let (id, rest) = bytes.split_first_chunk::<16>().ok_or(SHORT)?;
        *bytes = rest;
        let count = read_count(bytes, 2)?;
        let gaps = (0..2 * count).map(|_| read(bytes)).collect::<Result<Vec<_>, _>>()?;
        let ranges = DotRanges::from_gaps(&gaps)?;
        let (found, limit) = (ranges.max(), Dot::COUNTER_MAX);
        if found > limit {
            return Err(Malformed::Limit { what: "a counter", found, limit });
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

/// Takes a section off the front: the bytes as they were before compression, of which no more are made
/// than are left of the limit.
fn take_framed<'a>(
    rest: &mut &'a [u8],
    left: &mut usize,
) -> Result<std::borrow::Cow<'a, [u8]>, Malformed> {
    let (form, behind) = rest.split_first().ok_or(SHORT)?;
    *rest = behind;
    let raw = usize::try_from(read(rest)?).unwrap_or(usize::MAX);
    check_len("a section of a snapshot", raw, (*left).min(SECTION_BYTES_MAX))?;
    *left -= raw;
    let len = match *form {
        form::PLAIN => raw,
        form::DEFLATE => usize::try_from(read(rest)?).unwrap_or(usize::MAX),
        _ => return Err(Malformed::Encoding { detail: "a section of an unknown form" }),
    };
    let (checksum, behind) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
    let (bytes, behind) = behind.split_at_checked(len).ok_or(SHORT)?;
    *rest = behind;
    let (expected, found) = (u32::from_le_bytes(*checksum), crate::checksum::crc32(bytes));
    if expected != found {
        return Err(Malformed::Checksum { expected, found });
    }
    if *form == form::PLAIN {
        return Ok(bytes.into());
    }
    inflate(bytes, raw).map(Into::into)
}

#[cfg(feature = "deflate")]
fn inflate(bytes: &[u8], raw: usize) -> Result<Vec<u8>, Malformed> {
    let inflated = miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, raw).ok();
    let inflated = inflated.filter(|inflated| inflated.len() == raw);
    inflated.ok_or(Malformed::Encoding { detail: "a section is not compressed as it says" })
}

#[cfg(not(feature = "deflate"))]
fn inflate(_bytes: &[u8], _raw: usize) -> Result<Vec<u8>, Malformed> {
    Err(Malformed::Encoding { detail: "a section is compressed, which is not built in" })
}
