//! Deltas as bytes: numbers of variable length, in columns.
//!
//! Replicas and labels are named by their number: first those that stand at the front of a delta, then
//! those of the dictionary that both sides have. The reader's may have grown meanwhile. An object is
//! named by its id, or by a dot that belongs to it and that the reader has; two bytes then say whether
//! both mean the same.

mod single;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::contexts::checked;
use super::dictionary::Table;
use super::{CONTEXT_RANGES_MAX, DELTA_BYTES_MAX, Dictionary, LABELS_MAX, REPLICAS_MAX};
use crate::causal::{
    CausalContext, Delta, Dot, DotRanges, Entry, LABEL_BYTES_MAX, Label, Note, PLACE_ID_BYTES_MAX,
    PlaceId, RUN_DOTS_MAX, ReplicaId, Slots, check_len,
};
use crate::error::Malformed;
use crate::pack::varint::{read, unzigzag, write, zigzag};
use crate::small::SmallVec;
use crate::sort::sort_by;
use crate::time::Stamp;

/// An id stands in full: its length and its bytes.
const ID_FULL: u64 = 0;
/// The id is that of the entry or note before.
const ID_SAME: u64 = 1;
/// The id is that of an entry which the reader has: its replica's number and its counter follow.
const ID_OF_DOT: u64 = 2;
/// From here on: the id is that of the first dot of a range of dead ones, counted from here.
const ID_OF_DEAD: u64 = 3;

/// How to name objects by dots.
pub trait Names {
    /// A dot of this object that the reader has as a live one, if one is known.
    fn dot_of(&self, space: &[u8], id: &PlaceId) -> Option<Dot>;
}

/// How to find objects by dots.
pub trait Objects {
    /// The space and the id of the entry whose run has this dot.
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)>;
}

/// Names every object by its id.
#[derive(Debug, Clone, Copy, Default)]
pub struct InFull;

impl Names for InFull {
    fn dot_of(&self, _space: &[u8], _id: &PlaceId) -> Option<Dot> {
        None
    }
}

impl Objects for InFull {
    fn object_of(&self, _dot: Dot) -> Option<(Label, PlaceId)> {
        None
    }
}

static EMPTY: Dictionary = Dictionary::new();

/// Encodes a delta that stands for itself, as it is stored in an outbox.
#[must_use]
pub fn encode_delta(delta: &Delta) -> Vec<u8> {
    let mut out = Vec::new();
    write_delta(&mut out, delta, &EMPTY, &InFull);
    out
}

/// Decodes a delta that stands for itself. Refuses one whose parts contradict each other or that is
/// over a limit.
pub fn decode_delta(bytes: &[u8]) -> Result<Delta, Malformed> {
    check_len("a delta", bytes.len(), DELTA_BYTES_MAX)?;
    read_delta(bytes, &EMPTY, &InFull)
}

/// Numbers within one delta. While it is written, those of the dictionary come first, since nobody knows
/// yet how many stand at its front.
struct Numbers<'a, T> {
    known: &'a Table<T>,
    new: SmallVec<[T; 2]>,
    last: usize,
}

impl<'a, T: Ord + Clone> Numbers<'a, T> {
    fn new(known: &'a Table<T>) -> Self {
        Self { known, new: SmallVec::new(), last: 0 }
    }

    #[inline]
    fn get(&self, number: usize) -> Option<&T> {
        match number.checked_sub(self.known.len()) {
            Some(new) => self.new.get(new),
            None => self.known.item(number),
        }
    }

    /// The number of an item; a fresh one where it has none.
    #[inline]
    fn number(&mut self, item: &T) -> u64 {
        // Mostly it is the one before.
        if self.get(self.last) != Some(item) {
            self.last = self.find(item);
        }
        self.last as u64
    }

    fn find(&mut self, item: &T) -> usize {
        self.known.number(item).unwrap_or_else(|| {
            let at = self.new.iter().position(|new| new == item).unwrap_or_else(|| {
                self.new.push(item.clone());
                self.new.len() - 1
            });
            self.known.len() + at
        })
    }

    /// A number as it is written.
    #[inline]
    fn written(&self, number: u64) -> u64 {
        let known = self.known.len() as u64;
        number.checked_sub(known).unwrap_or_else(|| number + self.new.len() as u64)
    }

    /// What a number stands for that was read.
    #[inline]
    fn item(&self, number: u64) -> Result<&T, Malformed> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let item = match number.checked_sub(self.new.len()) {
            Some(known) => self.known.item(known),
            None => self.new.get(number),
        };
        item.ok_or(Malformed::Inconsistent { what: "a number is one that was given" })
    }
}

/// Encodes a delta for a reader who has the same dictionary and the objects that are named by dots.
pub fn write_delta(out: &mut Vec<u8>, delta: &Delta, dictionary: &Dictionary, names: &dyn Names) {
    if crate::small::HAS_SHORTCUTS && single::write_single(out, delta, dictionary, names) {
        return;
    }
    let Delta { entries, dead, notes } = delta;
    if out.capacity() == 0 {
        // What names take comes on top of that only where they are new to the reader.
        let slots = entries.iter().map(|entry| entry.slots.as_packed().len() + 32);
        let room = slots.sum::<usize>() + 32 * (1 + notes.len()) + 16 * dead.range_count();
        *out = Vec::with_capacity(room);
    }
    let mut replicas = Numbers::new(dictionary.replica_table());
    let mut labels = Numbers::new(dictionary.label_table());
    let of_dead: SmallVec<[u64; 4]> =
        dead.iter().map(|(replica, _)| replicas.number(&replica)).collect();
    let mut ids = IdWriter { dead, names, last: None };
    let mut columns: SmallVec<[Column<'_>; 2]> = SmallVec::new();
    for Entry { first, stamp, label, id, .. } in entries {
        let (replica, number) = (replicas.number(&first.replica), labels.number(label));
        let (counter, len, named) = (first.counter, label.len(), ids.name(label.space(), id));
        let stamp = stamp.to_bits();
        columns.push(Column { label: number, replica, counter, len, stamp, id, named });
    }
    for Note { dot, stamp, label, id } in notes {
        let (replica, number) = (replicas.number(&dot.replica), labels.number(label));
        let (counter, named, stamp) = (dot.counter, ids.name(label.space(), id), stamp.to_bits());
        columns.push(Column { label: number, replica, counter, len: 1, stamp, id, named });
    }
    for column in &mut columns {
        if let Named::OfDot { replica, number, .. } = &mut column.named {
            *number = replicas.number(replica);
        }
    }

    write_replicas(out, &replicas.new);
    write_labels(out, &labels.new);
    write_dead(out, dead, of_dead.iter().map(|number| replicas.written(*number)));
    write(out, entries.len() as u64);
    write(out, notes.len() as u64);
    columns.iter().for_each(|column| write(out, labels.written(column.label)));
    let mut counters = Counters::default();
    for Column { replica, counter, len, .. } in &columns {
        write(out, replicas.written(*replica));
        let expected = counters.expected(*replica);
        write(out, zigzag(counter.wrapping_sub(*expected).cast_signed()));
        *expected = counter.wrapping_add(*len as u64);
    }
    let mut before = 0;
    for Column { stamp, .. } in &columns {
        write(out, zigzag(stamp.wrapping_sub(before).cast_signed()));
        before = *stamp;
    }
    let mut check = None;
    for Column { named, id, .. } in &columns {
        if named.is_by_dot() {
            check = Some(checked_with(check, id));
        }
        named.write(out, id, |number| replicas.written(number));
    }
    out.extend(check.iter().flat_map(|check| check_bytes(*check)));
    for entry in entries {
        out.extend_from_slice(entry.slots.as_packed());
    }
}

/// Takes an id that is named by a dot into the check of a delta.
fn checked_with(check: Option<u64>, id: &PlaceId) -> u64 {
    xxh3_64_with_seed(id, check.unwrap_or(0))
}

fn check_bytes(check: u64) -> [u8; 2] {
    (check as u16).to_le_bytes()
}

pub(super) fn write_replicas(out: &mut Vec<u8>, replicas: &[ReplicaId]) {
    write(out, replicas.len() as u64);
    replicas.iter().for_each(|replica| out.extend_from_slice(replica.as_bytes()));
}

pub(super) fn write_labels(out: &mut Vec<u8>, labels: &[Label]) {
    write(out, labels.len() as u64);
    for label in labels {
        write_bytes(out, label.space());
        write(out, label.len() as u64);
        label.names().for_each(|name| write_bytes(out, name));
    }
}

fn write_dead(out: &mut Vec<u8>, dead: &CausalContext, numbers: impl Iterator<Item = u64>) {
    write(out, dead.replica_count() as u64);
    for ((_, ranges), number) in dead.iter().zip(numbers) {
        write_ranges(out, number, ranges);
    }
}

/// Writes the dead dots of the replica of a number.
#[inline]
fn write_ranges(out: &mut Vec<u8>, number: u64, ranges: &DotRanges) {
    write(out, number);
    write(out, ranges.range_count() as u64);
    let mut last = 0;
    for (start, end) in ranges.iter() {
        write(out, start - last);
        write(out, end - start);
        last = end;
    }
}

/// What every entry and note has: one item for each column.
struct Column<'a> {
    label: u64,
    replica: u64,
    counter: u64,
    len: usize,
    stamp: u64,
    id: &'a PlaceId,
    named: Named,
}

/// For each replica by its number, the counter that follows on its last dot in a delta.
#[derive(Default)]
struct Counters(SmallVec<[(u64, u64); 4]>);

impl Counters {
    #[inline]
    fn expected(&mut self, number: u64) -> &mut u64 {
        let at = self.0.iter().position(|(known, _)| *known == number).unwrap_or_else(|| {
            self.0.push((number, 0));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

enum Named {
    InFull,
    Same,
    OfDot { replica: ReplicaId, number: u64, counter: u64 },
    OfDead(u64),
}

impl Named {
    /// Whether a dot says which object it is.
    fn is_by_dot(&self) -> bool {
        matches!(self, Self::OfDot { .. } | Self::OfDead(_))
    }

    fn write(&self, out: &mut Vec<u8>, id: &PlaceId, written: impl Fn(u64) -> u64) {
        match self {
            Self::InFull => {
                write(out, ID_FULL);
                write_bytes(out, id);
            }
            Self::Same => write(out, ID_SAME),
            Self::OfDot { number, counter, .. } => {
                write(out, ID_OF_DOT);
                write(out, written(*number));
                write(out, *counter);
            }
            Self::OfDead(range) => write(out, ID_OF_DEAD + range),
        }
    }
}

struct IdWriter<'a> {
    dead: &'a CausalContext,
    names: &'a dyn Names,
    last: Option<&'a PlaceId>,
}

impl<'a> IdWriter<'a> {
    fn name(&mut self, space: &[u8], id: &'a PlaceId) -> Named {
        if self.last.replace(id).is_some_and(|last| last == id) {
            return Named::Same;
        }
        match self.names.dot_of(space, id) {
            None => Named::InFull,
            Some(dot) => {
                let Dot { replica, counter } = dot;
                let of_dot = Named::OfDot { replica, number: 0, counter };
                self.range_of(dot).map_or(of_dot, Named::OfDead)
            }
        }
    }

    /// Which range of dead dots begins with a dot.
    fn range_of(&self, dot: Dot) -> Option<u64> {
        let mut before = 0;
        for (replica, ranges) in self.dead.iter() {
            if replica == dot.replica {
                return ranges.position(dot.counter).map(|at| before + at as u64);
            }
            before += ranges.range_count() as u64;
        }
        None
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn read_bytes<'a>(bytes: &mut &'a [u8], limit: usize) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(read(bytes)?).unwrap_or(usize::MAX);
    check_len("the length of a name or id", len, limit)?;
    take(bytes, len)
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(SHORT)?;
    *bytes = rest;
    Ok(taken)
}

const SHORT: Malformed = Malformed::Encoding { detail: "it ends too early" };

/// A count of things that take no less than `least` bytes each.
#[inline]
fn read_count(bytes: &mut &[u8], least: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(read(bytes)?).unwrap_or(usize::MAX);
    if count > bytes.len() / least { Err(SHORT) } else { Ok(count) }
}

/// Decodes a delta with the dictionary and the objects that its writer counts on. Refuses one whose
/// parts contradict each other or that is over a limit; [`Malformed::Dangling`] is for an object that
/// is not here, and asks for the delta in full. How many bytes there may be is up to the caller: a
/// chunk has an entry of the largest size on top of others.
pub fn read_delta(
    bytes: &[u8],
    dictionary: &Dictionary,
    objects: &dyn Objects,
) -> Result<Delta, Malformed> {
    if crate::small::HAS_SHORTCUTS {
        let mut delta = Delta::default();
        if single::read_single(bytes, dictionary, objects, &mut delta).is_some() {
            return Ok(delta);
        }
    }
    let mut reader = Reader { rest: bytes };
    let delta = reader.read(dictionary, objects)?;
    reader.end()?;
    check(&delta)?;
    Ok(delta)
}

pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl Reader<'_> {
    pub(super) fn read_replicas(&mut self) -> Result<SmallVec<[ReplicaId; 2]>, Malformed> {
        let count = read_count(&mut self.rest, 16)?;
        check_len("the replicas of a delta", count, REPLICAS_MAX)?;
        (0..count).map(|_| ReplicaId::from_slice(take(&mut self.rest, 16)?).ok_or(SHORT)).collect()
    }

    pub(super) fn read_labels(&mut self) -> Result<SmallVec<[Label; 2]>, Malformed> {
        let count = read_count(&mut self.rest, 2)?;
        check_len("the labels of a delta", count, LABELS_MAX)?;
        (0..count).map(|_| self.read_label()).collect()
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Malformed::Encoding { detail: "something follows its end" })
    }

    fn read(&mut self, dictionary: &Dictionary, objects: &dyn Objects) -> Result<Delta, Malformed> {
        let mut replicas = Numbers::new(dictionary.replica_table());
        if !self.takes_zero() {
            replicas.new = self.read_replicas()?;
        }
        let mut labels = Numbers::new(dictionary.label_table());
        if !self.takes_zero() {
            labels.new = self.read_labels()?;
        }
        let dead = self.read_dead(&replicas)?;
        let count = read_count(&mut self.rest, 1)?;
        let notes = read_count(&mut self.rest, 1)?;
        if count.saturating_add(notes) > self.rest.len() / 5 {
            return Err(SHORT);
        }
        let mut delta = Delta { dead, ..Delta::default() };
        self.read_columns(&replicas, &labels, (count, notes), objects, &mut delta)?;
        Ok(delta)
    }

    /// Takes a count that is zero: on a connection that stands nothing is named anew.
    #[inline]
    fn takes_zero(&mut self) -> bool {
        let [0, rest @ ..] = self.rest else { return false };
        self.rest = rest;
        true
    }

    fn read_label(&mut self) -> Result<Label, Malformed> {
        let space = read_bytes(&mut self.rest, PLACE_ID_BYTES_MAX)?;
        let count = read_count(&mut self.rest, 1)?;
        check_len("the dots of an entry", count, RUN_DOTS_MAX)?;
        let mut names: SmallVec<[&[u8]; 16]> = SmallVec::new();
        for _ in 0..count {
            names.push(read_bytes(&mut self.rest, LABEL_BYTES_MAX)?);
        }
        let label = Label::new(space, names);
        check_len("a label", label.byte_count(), LABEL_BYTES_MAX)?;
        Ok(label)
    }

    fn read_dead(&mut self, replicas: &Numbers<'_, ReplicaId>) -> Result<CausalContext, Malformed> {
        let mut dead = CausalContext::default();
        let count = read_count(&mut self.rest, 4)?;
        check_len("the replicas of a context", count, REPLICAS_MAX)?;
        let mut range_count = 0;
        for _ in 0..count {
            let replica = *replicas.item(read(&mut self.rest)?)?;
            let count = read_count(&mut self.rest, 2)?;
            range_count += count;
            check_len("the ranges of a context", range_count, CONTEXT_RANGES_MAX)?;
            let mut ranges = DotRanges::default();
            for _ in 0..count {
                ranges.push_gap(read(&mut self.rest)?, read(&mut self.rest)?)?;
            }
            if !dead.put(replica, checked(ranges)?) {
                return Err(Malformed::Inconsistent { what: "a replica stands once in a context" });
            }
        }
        Ok(dead)
    }

    fn read_columns(
        &mut self,
        replicas: &Numbers<'_, ReplicaId>,
        labels: &Numbers<'_, Label>,
        (count, notes): (usize, usize),
        objects: &dyn Objects,
        delta: &mut Delta,
    ) -> Result<(), Malformed> {
        let Delta { entries, dead, notes: read_notes } = delta;
        let dot = Dot::new(ReplicaId::from_bytes([0; 16]), 0);
        let mut wrong = false;
        entries.reserve_exact(count);
        for _ in 0..count {
            let label = labels.item(read(&mut self.rest)?)?.clone();
            wrong |= label.is_empty();
            let (id, slots) = (PlaceId::default(), Slots::none());
            entries.push(Entry { first: dot, stamp: Stamp::default(), label, id, slots });
        }
        read_notes.reserve_exact(notes);
        for _ in 0..notes {
            let label = labels.item(read(&mut self.rest)?)?.clone();
            wrong |= !label.is_empty();
            read_notes.push(Note { dot, stamp: Stamp::default(), label, id: PlaceId::default() });
        }
        if wrong {
            return Err(Malformed::Inconsistent { what: "a run has slots, and a note none" });
        }
        let mut counters = Counters::default();
        for Entry { first, label, .. } in &mut *entries {
            *first = self.read_dot(replicas, &mut counters, label.len())?;
        }
        for Note { dot, .. } in &mut *read_notes {
            *dot = self.read_dot(replicas, &mut counters, 1)?;
        }
        let mut before = 0u64;
        let entry_stamps = entries.iter_mut().map(|entry| &mut entry.stamp);
        for stamp in entry_stamps.chain(read_notes.iter_mut().map(|note| &mut note.stamp)) {
            before = before.wrapping_add(unzigzag(read(&mut self.rest)?).cast_unsigned());
            *stamp = Stamp::from_bits(before);
        }
        let mut ids = IdReader { objects, replicas, dead, last: None, check: None, named_bytes: 0 };
        let entry_ids = entries.iter_mut().map(|entry| (&entry.label, &mut entry.id));
        let note_ids = read_notes.iter_mut().map(|note| (&note.label, &mut note.id));
        for (label, id) in entry_ids.chain(note_ids) {
            *id = ids.read(&mut self.rest, label)?;
            ids.last = Some(id);
        }
        if let Some(check) = ids.check
            && take(&mut self.rest, 2)? != check_bytes(check)
        {
            return Err(Malformed::Dangling);
        }
        for entry in entries {
            entry.slots = Slots::take(&mut self.rest)?;
        }
        Ok(())
    }

    #[inline]
    fn read_dot(
        &mut self,
        replicas: &Numbers<'_, ReplicaId>,
        counters: &mut Counters,
        len: usize,
    ) -> Result<Dot, Malformed> {
        let number = read(&mut self.rest)?;
        let replica = *replicas.item(number)?;
        let expected = counters.expected(number);
        let counter = expected.wrapping_add(unzigzag(read(&mut self.rest)?).cast_unsigned());
        *expected = counter.wrapping_add(len as u64);
        Ok(Dot::new(replica, counter))
    }
}

struct IdReader<'a> {
    objects: &'a dyn Objects,
    replicas: &'a Numbers<'a, ReplicaId>,
    dead: &'a CausalContext,
    last: Option<&'a PlaceId>,
    check: Option<u64>,
    /// The bytes of ids that are named by dots.
    named_bytes: usize,
}

impl IdReader<'_> {
    fn read(&mut self, rest: &mut &[u8], label: &Label) -> Result<PlaceId, Malformed> {
        let dot = match read(rest)? {
            ID_FULL => return Ok(PlaceId::new(read_bytes(rest, PLACE_ID_BYTES_MAX)?)),
            ID_SAME => {
                let what = "the first id stands in full";
                return self.last.cloned().ok_or(Malformed::Inconsistent { what });
            }
            ID_OF_DOT => {
                let replica = *self.replicas.item(read(rest)?)?;
                let counter = read(rest)?;
                let (found, limit) = (counter, Dot::COUNTER_MAX);
                if found > limit {
                    return Err(Malformed::limit("a counter", found, limit));
                }
                Dot::new(replica, counter)
            }
            range => nth_range(self.dead, range - ID_OF_DEAD)?,
        };
        let object = self.objects.object_of(dot).filter(|(of, _)| of.is_in_space_of(label));
        let (_, id) = object.ok_or(Malformed::Dangling)?;
        self.check = Some(checked_with(self.check, &id));
        self.named_bytes += id.len();
        check_len("the ids of a delta", self.named_bytes, DELTA_BYTES_MAX)?;
        Ok(id)
    }
}

/// The first dot of a range of dead ones.
fn nth_range(dead: &CausalContext, mut number: u64) -> Result<Dot, Malformed> {
    for (replica, ranges) in dead.iter() {
        let count = ranges.range_count() as u64;
        if number < count {
            let range = ranges.iter().nth(number as usize);
            if let Some((start, _)) = range {
                return Ok(Dot::new(replica, start));
            }
        }
        number = number.saturating_sub(count);
    }
    Err(Malformed::Inconsistent { what: "a range is one that was given" })
}

/// Checks what the kernel relies on.
fn check(delta: &Delta) -> Result<(), Malformed> {
    let Delta { entries, dead, notes } = delta;
    for entry in entries {
        entry.check()?;
        if let Some(dead) = dead.of(entry.replica())
            && dead.overlaps(entry.first.counter, entry.last())
            && entry.live().any(|(dot, _)| dead.contains(dot.counter))
        {
            return Err(Malformed::Inconsistent { what: "a dot is live or dead" });
        }
    }
    if entries.len() > 1 {
        let span = |entry: &Entry| (entry.first, entry.last());
        let mut spans: SmallVec<[(Dot, u64); 8]> = entries.iter().map(span).collect();
        sort_by(&mut spans, Ord::cmp);
        let overlap = |pair: &[(Dot, u64)]| {
            pair[0].0.replica == pair[1].0.replica && pair[0].1 >= pair[1].0.counter
        };
        if spans.windows(2).any(overlap) {
            return Err(Malformed::Inconsistent { what: "runs do not overlap in a delta" });
        }
    }
    if notes.iter().any(|note| !dead.contains(note.dot)) {
        return Err(Malformed::Inconsistent { what: "the dot of a removal is dead" });
    }
    Ok(())
}
