//! Writing a snapshot.

use std::collections::BTreeMap;

use super::section::Column;
use super::{Compression, MAGIC, SECTION_BYTES, SECTION_ENTRIES, VERSION, form};
use crate::causal::{CausalContext, EntryView, Label, MemoryStore, ReplicaId};
use crate::pack::varint::{write, zigzag};

/// Writes a store as a snapshot.
#[must_use]
pub fn write_snapshot(store: &MemoryStore, compression: Compression) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    let mut head = Vec::new();
    write_context(&mut head, store.context());
    let mut labels = Numbering::default();
    let mut body = Vec::new();
    let mut section = Section::default();
    let repeats = store.repeats();
    let mut repeats = repeats.iter().copied().peekable();
    for (order, entry) in (0u32..).zip(store.iter()) {
        let before = repeats.next_if(|(later, _)| *later == order).map(|(_, first)| first);
        section.push(&mut labels, entry, before);
        if section.count >= SECTION_ENTRIES || section.bytes >= SECTION_BYTES {
            body.extend_from_slice(&std::mem::take(&mut section).finish(&labels, compression));
        }
    }
    if section.count > 0 {
        body.extend_from_slice(&section.finish(&labels, compression));
    }
    write(&mut head, labels.all.len() as u64);
    for label in &labels.all {
        write_bytes(&mut head, label.space());
        write(&mut head, label.len() as u64);
        label.names().for_each(|name| write_bytes(&mut head, name));
    }
    write(&mut head, store.entry_count() as u64);
    write_framed(&mut out, head, compression);
    out.extend_from_slice(&body);
    out
}

/// Labels in the order in which they were met.
#[derive(Default)]
struct Numbering {
    all: Vec<Label>,
    numbers: BTreeMap<Label, usize>,
    last: usize,
}

impl Numbering {
    fn number(&mut self, label: &Label) -> usize {
        if self.all.get(self.last).is_some_and(|last| last.is_same(label)) {
            return self.last;
        }
        let next = self.all.len();
        self.last = *self.numbers.entry(label.clone()).or_insert(next);
        if self.last == next {
            self.all.push(label.clone());
        }
        self.last
    }
}

/// Entries as columns.
#[derive(Default)]
struct Section {
    count: usize,
    bytes: usize,
    /// Replicas, and how many entries in a row are theirs.
    writers: Vec<(ReplicaId, u64)>,
    labels: Vec<u8>,
    gaps: Vec<u8>,
    stamps: Vec<u8>,
    /// For each entry 0 for an id that follows, else how far back the object stood first.
    repeats: Vec<u8>,
    ids: Column,
    /// For each label a column for each of its slots.
    slots: Vec<Vec<Column>>,
    stamp: u64,
    expected: u64,
    order: u32,
}

impl Section {
    fn push(&mut self, labels: &mut Numbering, entry: EntryView<'_>, before: Option<u32>) {
        let EntryView { first, stamp, label, id, slots } = entry;
        match self.writers.last_mut() {
            Some((replica, count)) if *replica == first.replica => *count += 1,
            Some(_) | None => {
                self.writers.push((first.replica, 1));
                self.expected = 1;
            }
        }
        let number = labels.number(label);
        write(&mut self.labels, number as u64);
        write(&mut self.gaps, first.counter.wrapping_sub(self.expected));
        self.expected = first.counter + slots.len() as u64;
        write(&mut self.stamps, zigzag(stamp.to_bits().wrapping_sub(self.stamp).cast_signed()));
        self.stamp = stamp.to_bits();
        match before {
            Some(first) => write(&mut self.repeats, u64::from(first) + 1),
            None => {
                self.repeats.push(0);
                self.ids.push(id);
            }
        }
        if self.slots.len() <= number {
            self.slots.resize_with(number + 1, Vec::new);
        }
        let columns = &mut self.slots[number];
        if columns.len() < slots.len() {
            columns.resize_with(slots.len(), Column::default);
        }
        for (column, slot) in columns.iter_mut().zip(slots.iter()) {
            if let Some(slot) = slot {
                column.push(slot);
                self.bytes += slot.len();
            }
        }
        self.count += 1;
        self.order += 1;
    }

    fn finish(self, labels: &Numbering, compression: Compression) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes + self.bytes / 8 + 24 * self.count);
        write(&mut body, self.count as u64);
        write(&mut body, self.writers.len() as u64);
        for (replica, count) in &self.writers {
            body.extend_from_slice(replica.as_bytes());
            write(&mut body, *count);
        }
        for column in [&self.labels, &self.gaps, &self.stamps, &self.repeats] {
            body.extend_from_slice(column);
        }
        self.ids.write(&mut body);
        for (columns, label) in self.slots.iter().zip(&labels.all) {
            for (column, name) in columns.iter().zip(label.names()) {
                if !name.is_empty() {
                    column.write(&mut body);
                }
            }
        }
        let mut out = Vec::new();
        write_framed(&mut out, body, compression);
        out
    }
}

/// Writes how the bytes stand, how many they are and were, their checksum, and the bytes.
fn write_framed(out: &mut Vec<u8>, body: Vec<u8>, compression: Compression) {
    let (form, raw, bytes) = match compression {
        Compression::None => (form::PLAIN, body.len(), body),
        #[cfg(feature = "deflate")]
        Compression::Deflate => {
            let packed = miniz_oxide::deflate::compress_to_vec(&body, 6);
            if packed.len() < body.len() {
                (form::DEFLATE, body.len(), packed)
            } else {
                (form::PLAIN, body.len(), body)
            }
        }
    };
    out.push(form);
    write(out, raw as u64);
    if form == form::DEFLATE {
        write(out, bytes.len() as u64);
    }
    out.extend_from_slice(&crate::checksum::crc32(&bytes).to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn write_context(out: &mut Vec<u8>, context: &CausalContext) {
    write(out, context.replica_count() as u64);
    for (replica, ranges) in context.iter() {
        out.extend_from_slice(replica.as_bytes());
        write(out, ranges.range_count() as u64);
        ranges.to_gaps().into_iter().for_each(|gap| write(out, gap));
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
