//! What is wanted in a place against what is there.

use crate::small::SmallVec;

use super::{Edit, Step};
use crate::causal::{CausalContext, Dot, EntryView, PlaceId, PlaceStore};
use crate::document::Refused;
use crate::document::target::{Leaf, Targets};
use crate::document::undo::NOTES_GONE_SHARES;
use crate::types::Record;
use crate::types::element::{self, SEPARATOR, kind};
use crate::types::place::Space;

impl<S: PlaceStore> Edit<'_, S> {
    /// Compares what is wanted at some paths with what is there; the shares of wanted counters stay.
    pub(super) fn compare(
        &self,
        space: &[u8],
        id: &[u8],
        targets: &mut Targets,
        roots: &[&str],
        counters: &[String],
    ) -> Result<Compared, Refused<S::Error>> {
        let mut compared = Compared::default();
        let show = &mut |entry: EntryView<'_>| {
            let (tags, live) = entry.tags();
            compared.exists |= tags.has(kind::EXISTS);
            compared.is_original |= tags.has_plainly(kind::EXISTS);
            compared.originals += (live & entry.label.plain()).count_ones();
            // Only the slots of these names are read.
            let within = |root: &&str| entry.label.within(root.as_bytes(), SEPARATOR as u8);
            let wanted = live & roots.iter().map(within).fold(0, |wanted, root| wanted | root);
            let first = entry.first;
            for (slot, bytes) in entry.slots.among(wanted) {
                let [tag, path @ ..] = entry.label.name(slot) else { continue };
                let tag_alone = tag & !kind::COPY;
                if tag_alone == kind::EXISTS {
                    continue;
                }
                let is_original = tag & kind::COPY == 0;
                let counter = first.counter + slot as u64;
                let dot = Dot::new(first.replica, counter);
                let Ok(value) = element::value_bytes(*tag, bytes) else { continue };
                let is_counter = tag_alone == kind::COUNTER
                    && counters.iter().any(|wanted| wanted.as_bytes() == path);
                let mut at = if is_counter { Kept::Always } else { Kept::Never };
                compared.has_gone_share |= tag_alone == kind::COUNTER && !is_counter;
                for (index, (name, bytes, leaf)) in targets.leaves_mut().enumerate() {
                    if name.len() != path.len() + 1 || name[0] != tag_alone || &name[1..] != path {
                        continue;
                    }
                    if bytes == value {
                        *(if is_original { &mut leaf.same } else { &mut leaf.copied }) += 1;
                        at = Kept::With(index);
                    } else if tag_alone != kind::MEMBER {
                        leaf.other += 1;
                        at = Kept::With(index);
                    }
                }
                compared.dots.push(Hit { dot, at, is_original });
            }
        };
        self.document.store.at(space, id, show).map_err(Refused::Store)?;
        Ok(compared)
    }

    /// Writes what is wanted and not there, in place of what is there and not wanted.
    pub(super) fn replace(
        &mut self,
        space: &Space,
        id: &PlaceId,
        targets: &mut Targets,
        found: &Compared,
    ) -> Step<S> {
        // A copy counts for nothing where an original says that the record exists.
        let copies_count = !found.is_original;
        let is_kept =
            |leaf: &Leaf| leaf.other == 0 && (leaf.same > 0 || (copies_count && leaf.copied > 0));
        let leaves = targets.leaves();
        let mut originals = found.originals;
        let mut gone = CausalContext::default();
        for Hit { dot, at, is_original } in &found.dots {
            let is_gone = match at {
                Kept::Always => false,
                Kept::Never => true,
                Kept::With(at) => !is_kept(&leaves[*at]),
            };
            if is_gone {
                gone.insert(*dot);
                originals -= u32::from(*is_original);
            }
        }
        targets.retain(|leaf| !is_kept(leaf));
        if NOTES_GONE_SHARES && found.has_gone_share {
            self.note_gone_shares(space, id, &gone)?;
        }
        // Where nothing but copies would be left, for which nobody stands, the record is written whole.
        if targets.is_empty() && !gone.is_empty() && originals == 0 {
            let mut record = self.record_at(space, id)?;
            let dots = record.claims().map(|claim| claim.dot).collect();
            record.retain(|dot| !gone.contains(dot));
            if !record.elements().is_empty() {
                return self.write_whole(space, id, &record, dots);
            }
        }
        self.write(space, id, targets, gone)
    }

    /// Writes every distinct thing that a record holds anew, in place of some dots.
    pub(super) fn write_whole(
        &mut self,
        space: &Space,
        id: &PlaceId,
        record: &Record,
        dots: CausalContext,
    ) -> Step<S> {
        let mut targets = Targets::default();
        targets.push_existence();
        for (path, content) in record.distinct() {
            let written = element::Written::new(path, &content, None);
            targets.push_raw(&written.name, &written.bytes);
        }
        self.write(space, id, &mut targets, dots)
    }
}

/// What is live in a place, and what becomes of that which is where a change writes.
#[derive(Debug, Default)]
pub(super) struct Compared {
    exists: bool,
    /// Whether an original says that the record exists.
    is_original: bool,
    originals: u32,
    /// Whether a share of a counter is where a change writes something else.
    has_gone_share: bool,
    dots: SmallVec<[Hit; 2]>,
}

impl Compared {
    pub(super) fn is_shown(&self) -> bool {
        self.exists && self.originals > 0
    }
}

/// A live dot where a change writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    dot: Dot,
    at: Kept,
    is_original: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    Always,
    Never,
    /// With the leaf of this index.
    With(usize),
}
