//! Writing a snapshot.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::column::Column;
use super::frame::{self, Packer};
use super::{Compression, MAGIC, SECTION_BYTES, SECTION_ENTRIES, VERSION};
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
    let mut packer = Packer::new(compression);
    let mut section = Section::default();
    let repeats = store.repeats();
    let mut repeats = repeats.iter().copied().peekable();
    for (order, entry) in (0u32..).zip(store.iter()) {
        let before = repeats.next_if(|(later, _)| *later == order).map(|(_, first)| first);
        section.push(&mut labels, entry, before);
        if section.count >= SECTION_ENTRIES || section.bytes >= SECTION_BYTES {
            std::mem::take(&mut section).finish(&mut body, &mut packer);
        }
    }
    if section.count > 0 {
        section.finish(&mut body, &mut packer);
    }
    write(&mut head, labels.all.len() as u64);
    for label in &labels.all {
        write_bytes(&mut head, label.space());
        write(&mut head, label.len() as u64);
        label.names().for_each(|name| write_bytes(&mut head, name));
    }
    write(&mut head, store.entry_count() as u64);
    frame::write(&mut out, &[head.into()], &[], &mut packer);
    out.extend_from_slice(&body);
    out
}

type SpaceAndName = (Box<[u8]>, Box<[u8]>);

/// Labels in the order in which they were met, and the columns of their slots.
#[derive(Default)]
struct Numbering {
    all: Vec<Label>,
    /// For each label the column of each slot; a dead one has none, and any number.
    columns: Vec<Vec<usize>>,
    numbers: BTreeMap<Label, usize>,
    last: usize,
    /// The column of what has a name in a space.
    by_name: BTreeMap<SpaceAndName, usize>,
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
            let mut columns = Vec::with_capacity(label.len());
            for name in label.names() {
                let next = self.by_name.len();
                columns.push(match name {
                    [] => usize::MAX,
                    _ => *self.by_name.entry((label.space().into(), name.into())).or_insert(next),
                });
            }
            self.columns.push(columns);
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
    /// For each entry 0 for an id that follows, else one more than the place of an entry that has it.
    repeats: Vec<u8>,
    ids: Column,
    /// The slots by space and name.
    slots: Vec<Column>,
    stamp: u64,
    expected: u64,
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
        if self.slots.len() < labels.by_name.len() {
            self.slots.resize_with(labels.by_name.len(), Column::default);
        }
        for (column, slot) in labels.columns[number].iter().zip(slots.iter()) {
            if let Some(slot) = slot {
                self.slots[*column].push(slot);
                self.bytes += slot.len();
            }
        }
        self.count += 1;
    }

    fn finish(self, out: &mut Vec<u8>, packer: &mut Packer) {
        let mut head = Vec::with_capacity(24 * self.count);
        write(&mut head, self.count as u64);
        write(&mut head, self.writers.len() as u64);
        for (replica, count) in &self.writers {
            head.extend_from_slice(replica.as_bytes());
            write(&mut head, *count);
        }
        for column in [&self.labels, &self.gaps, &self.stamps, &self.repeats] {
            head.extend_from_slice(column);
        }
        let (mut columns, mut aside) = (vec![Cow::default()], Vec::new());
        let used = self.slots.iter().filter(|column| column.count > 0);
        for column in std::iter::once(&self.ids).chain(used) {
            let layout = packer.layout(column);
            column.write_head(layout, &mut head);
            let (here, beside) = column.laid_out(layout);
            columns.push(here);
            aside.push(beside);
        }
        columns[0] = head.into();
        frame::write(out, &columns, &aside, packer);
    }
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
