//! What a change wants to stand in a place, as names and bytes of slots.

use smallvec::SmallVec;
use std::ops::Range;

use crate::causal::{LABEL_BYTES_MAX, Label, RUN_DOTS_MAX};
use crate::error::Misuse;
use crate::types::element::{SEPARATOR, kind};
use crate::types::{Content, Field, Share, VALUE_DEPTH_MAX, Value, check_name};

/// The most names of a field's path. Arbitrary.
const PATH_NAMES_MAX: usize = 16;

/// The most bytes of a field's path. Arbitrary; far below the limit of a label.
const PATH_BYTES_MAX: usize = 512;

/// Elements to be written: names and bytes, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Targets {
    buffer: Vec<u8>,
    leaves: SmallVec<[Leaf; 8]>,
}

/// One element to be written.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    start: u32,
    middle: u32,
    end: u32,
    /// How many live elements say just this.
    pub(super) same: u32,
    /// How many copies there say the same.
    pub(super) copied: u32,
    /// How many live elements of its name say something else.
    pub(super) other: u32,
}

impl Leaf {
    #[inline]
    fn name_range(&self) -> Range<usize> {
        self.start as usize..self.middle as usize
    }

    #[inline]
    fn bytes_range(&self) -> Range<usize> {
        self.middle as usize..self.end as usize
    }
}

/// Up to how many bytes a buffer is kept for the next change. Arbitrary.
const BUFFER_BYTES_MAX: usize = 4096;

impl Targets {
    /// Writes into a buffer that was used before.
    pub(super) fn with(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { buffer, leaves: SmallVec::new() }
    }

    /// The buffer, for the next change.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        if self.buffer.capacity() > BUFFER_BYTES_MAX { Vec::new() } else { self.buffer }
    }

    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(super) fn leaves_mut(&mut self) -> impl Iterator<Item = (&[u8], &[u8], &mut Leaf)> {
        let buffer = &self.buffer;
        self.leaves
            .iter_mut()
            .map(move |leaf| (&buffer[leaf.name_range()], &buffer[leaf.bytes_range()], leaf))
    }

    pub(super) fn name(&self, leaf: &Leaf) -> &[u8] {
        &self.buffer[leaf.name_range()]
    }

    pub(super) fn bytes(&self, leaf: &Leaf) -> &[u8] {
        &self.buffer[leaf.bytes_range()]
    }

    /// Adds an element whose name and bytes are known.
    pub(super) fn push_raw(&mut self, name: &[u8], bytes: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(name);
        let middle = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        self.finish(start, middle);
    }

    /// Adds that a record exists.
    pub(super) fn push_existence(&mut self) {
        self.push_raw(&[kind::EXISTS], &[]);
    }

    fn finish(&mut self, start: usize, middle: usize) {
        let at = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (start, middle, end) = (at(start), at(middle), at(self.buffer.len()));
        self.leaves.push(Leaf { start, middle, end, same: 0, copied: 0, other: 0 });
    }

    fn push_name(&mut self, kind: u8, path: &[&str]) -> usize {
        let start = self.buffer.len();
        self.buffer.push(kind);
        for (at, name) in path.iter().enumerate() {
            if at > 0 {
                self.buffer.push(SEPARATOR as u8);
            }
            self.buffer.extend_from_slice(name.as_bytes());
        }
        start
    }

    pub(super) fn push_value(
        &mut self,
        kind: u8,
        path: &[&str],
        value: &Value,
    ) -> Result<(), Misuse> {
        if matches!(value, Value::List(_) | Value::Map(_)) {
            check_value(value)?;
        }
        let start = self.push_name(kind, path);
        let middle = self.buffer.len();
        value.encode_into(&mut self.buffer);
        self.finish(start, middle);
        Ok(())
    }

    /// Adds a share of a counter.
    pub(super) fn push_share(&mut self, path: &[&str], share: Share) {
        let start = self.push_name(kind::COUNTER, path);
        let middle = self.buffer.len();
        Content::Share(share).encode_into(&mut self.buffer);
        self.finish(start, middle);
    }

    /// Adds what a field wants. A counter is none of it: what it wants depends on what it has.
    pub(super) fn push_field<'a>(
        &mut self,
        path: &mut SmallVec<[&'a str; 4]>,
        field: &'a Field,
    ) -> Result<(), Misuse> {
        match field {
            Field::Register(value) => self.push_value(kind::REGISTER, path, value),
            Field::Latest(value) => self.push_value(kind::LATEST, path, value),
            Field::Set(members) => {
                members.iter().try_for_each(|member| self.push_value(kind::MEMBER, path, member))
            }
            Field::Counter(_) => Ok(()),
            Field::Map(fields) => fields.iter().try_for_each(|(name, field)| {
                check_name("a field's name", name)?;
                path.push(name);
                check_path(path)?;
                self.push_field(path, field)?;
                path.pop();
                Ok(())
            }),
        }
    }

    /// How many of the first leaves fit into one run. At least one does, since a path is short.
    pub(super) fn run_len(&self, space: &[u8], leaves: &[usize]) -> usize {
        let mut bytes = space.len();
        let fits = leaves.iter().take(RUN_DOTS_MAX).take_while(|leaf| {
            bytes += self.leaves[**leaf].name_range().len();
            bytes <= LABEL_BYTES_MAX
        });
        fits.count().max(1)
    }

    /// The label of some of the leaves.
    pub(super) fn label(&self, labels: &mut Labels, space: &[u8], leaves: &[usize]) -> Label {
        let names = || leaves.iter().map(|leaf| self.name(&self.leaves[*leaf]));
        labels.find(space, leaves.len(), names)
    }
}

/// Checks the length of a path.
pub(super) fn check_path(path: &[&str]) -> Result<(), Misuse> {
    let bytes: usize = path.iter().map(|name| name.len() + 1).sum();
    for (what, found, limit) in [
        ("the number of names in a path", path.len(), PATH_NAMES_MAX),
        ("the bytes of a path", bytes, PATH_BYTES_MAX),
    ] {
        if found > limit {
            return Err(Misuse::TooLarge { what, found: found as u64, limit: limit as u64 });
        }
    }
    Ok(())
}

pub(super) fn check_value(value: &Value) -> Result<(), Misuse> {
    let (found, limit) = (value.depth() as u64, VALUE_DEPTH_MAX as u64);
    if found > limit {
        return Err(Misuse::TooLarge { what: "the depth of a value", found, limit });
    }
    Ok(())
}

/// How many labels are remembered. Arbitrary.
const LABELS_MAX: usize = 64;

/// Labels that were written lately, so that a change does not make one anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels(Vec<Label>);

impl Labels {
    fn find<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        space: &[u8],
        len: usize,
        names: impl Fn() -> I,
    ) -> Label {
        let is_it = |label: &Label| {
            label.len() == len && label.space() == space && label.names().eq(names())
        };
        match self.0.iter().position(is_it) {
            Some(0) => self.0[0].clone(),
            Some(at) => {
                self.0.swap(at, at - 1);
                self.0[at - 1].clone()
            }
            None => {
                let label = Label::new(space, names());
                self.0.truncate(LABELS_MAX - 1);
                self.0.push(label.clone());
                label
            }
        }
    }

    /// The label of a note: a space alone.
    pub(super) fn of_space(&mut self, space: &[u8]) -> Label {
        self.find(space, 0, std::iter::empty)
    }
}
