//! Undo and redo as forward writes.
//!
//! Undoing a change supersedes what it wrote and is still there, and writes again what it replaced,
//! where nobody has written anything else since. That is a change like any other, which reaches
//! everyone and can be undone in turn: that is redo.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::edit::{Author, Edit};
use super::target::Targets;
use super::{Document, Edited, Refused};
use crate::causal::{CausalContext, Dot, Entry, PlaceId, PlaceStore};
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::types::element::{self, kind};
use crate::types::place::{Space, is_collection};
use crate::types::{Content, Element, Record};

/// What is needed to undo a change: the dots that it added, and what it replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Undo {
    pub(super) added: CausalContext,
    pub(super) killed: Replaced,
    pub(super) counts: Vec<Count>,
}

/// What a change replaced: entries with only the slots that it took.
#[derive(Debug, Clone, Default)]
pub(super) enum Replaced {
    #[default]
    Nothing,
    /// Mostly it is a part of one run.
    One(Entry),
    /// Shared with what the document keeps of removals.
    Shared(Arc<[Entry]>),
}

impl Replaced {
    /// Takes the entries out of a vector.
    pub(super) fn of(killed: &mut Vec<Entry>) -> Self {
        match killed.len() {
            0 => Self::Nothing,
            1 => killed.pop().map_or(Self::Nothing, Self::One),
            _ => Self::Shared(killed.drain(..).collect()),
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match self {
            Self::Nothing => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Shared(entries) => entries,
        }
    }
}

impl PartialEq for Replaced {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl Eq for Replaced {}

/// What was added to a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) space: Space,
    pub(super) id: PlaceId,
    pub(super) path: String,
    pub(super) amount: i64,
}

/// A dot whose element stands under another one again.
#[derive(Debug, Clone, Copy)]
struct Again {
    old: Dot,
    new: Dot,
}

/// What one place had before a change, and what is left of the change.
#[derive(Default)]
struct Before {
    own: Record,
    killed: Record,
    counts: Vec<Count>,
}

impl Undo {
    /// Whether there is nothing to undo.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.replaced().is_empty() && self.counts.is_empty()
    }

    /// What the change replaced: entries with only the slots that it took.
    #[must_use]
    pub fn replaced(&self) -> &[Entry] {
        self.killed.entries()
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        let entries = self.replaced().iter().map(|entry| entry.byte_count() + 96);
        let counts = self.counts.iter().map(|count| count.path.len() + count.id.len() + 112);
        entries.sum::<usize>() + counts.sum::<usize>() + 40 * self.added.range_count()
    }

    /// Writes it to the end of some bytes, for storage.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 3);
        let ranges = self.added.iter().flat_map(|(replica, ranges)| {
            ranges.iter().map(move |(start, end)| (replica, start, end))
        });
        pack::array(out, self.added.range_count());
        for (replica, start, end) in ranges {
            pack::array(out, 3);
            replica.encode_into(out);
            pack::uint(out, start);
            pack::uint(out, end);
        }
        pack::array(out, self.replaced().len());
        self.replaced().iter().for_each(|entry| entry.encode_into(out));
        pack::array(out, self.counts.len());
        for Count { space, id, path, amount } in &self.counts {
            pack::array(out, 4);
            pack::bytes(out, space);
            pack::bytes(out, id);
            pack::str(out, path);
            pack::int(out, *amount);
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(3)?;
        let mut undo = Self::default();
        for _ in 0..reader.array()? {
            reader.exactly(3)?;
            let replica = crate::causal::ReplicaId::decode(reader)?;
            let (start, end) = (reader.uint()?, reader.uint()?);
            undo.added.insert_range(replica, start, end);
        }
        let killed = (0..reader.array()?).map(|_| Entry::decode(reader));
        let mut killed = killed.collect::<Result<Vec<_>, _>>()?;
        undo.killed = Replaced::of(&mut killed);
        for _ in 0..reader.array()? {
            reader.exactly(4)?;
            undo.counts.push(Count {
                space: Space::from_slice(reader.bytes()?),
                id: PlaceId::new(reader.bytes()?),
                path: reader.str()?.to_owned(),
                amount: reader.int()?,
            });
        }
        Ok(undo)
    }
}

impl<S: PlaceStore> Document<S> {
    /// Undoes a change of any replica: applied whole, or not at all when the change would be larger
    /// than `bytes_max`. What others have written since stays.
    pub fn undo(
        &mut self,
        author: Author,
        bytes_max: usize,
        undo: &Undo,
    ) -> Result<Edited<()>, Refused<S::Error>> {
        let edited = self.undo_changes(author, bytes_max, undo)?;
        let Edited { delta, touched, undo, .. } = edited;
        Ok(Edited { value: (), delta, touched, undo })
    }

    fn undo_changes(
        &mut self,
        author: Author,
        bytes_max: usize,
        undo: &Undo,
    ) -> Result<Edited<Vec<Again>>, Refused<S::Error>> {
        let mut places: BTreeMap<(Space, PlaceId), Before> = BTreeMap::new();
        for (replica, ranges) in undo.added.iter() {
            for (start, end) in ranges.iter() {
                let known = self.store().overlapping(replica, start, end);
                for entry in known.map_err(Refused::Store)? {
                    let key = (Space::from_slice(entry.label.space()), entry.id.clone());
                    let own = &mut places.entry(key).or_default().own;
                    own.add(entry.view());
                    own.retain(|dot| undo.added.contains(dot));
                }
            }
        }
        for killed in undo.replaced() {
            let key = (Space::from_slice(killed.label.space()), killed.id.clone());
            places.entry(key).or_default().killed.add(killed.view());
        }
        for count in &undo.counts {
            let key = (count.space.clone(), count.id.clone());
            places.entry(key).or_default().counts.push(count.clone());
        }
        self.edit(author, bytes_max, |edit| {
            let mut again = Vec::new();
            for ((space, id), before) in &places {
                undo_place(edit, space, id, before, &mut again)?;
            }
            Ok(again)
        })
    }
}

fn undo_place<S: PlaceStore>(
    edit: &mut Edit<'_, S>,
    space: &Space,
    id: &PlaceId,
    Before { own, killed, counts }: &Before,
    again: &mut Vec<Again>,
) -> Result<(), Refused<S::Error>> {
    let current = edit.document().record_at(space, id).map_err(Refused::Store)?;
    let is_own = |dot: Dot| own.claims().any(|claim| claim.dot == dot);
    let has_other = |is_it: &dyn Fn(&Element) -> bool| {
        current.elements().iter().any(|element| !is_own(element.claim.dot) && is_it(element))
    };
    let exists = |element: &Element| element.content == Content::Exists;
    let held = killed.elements().iter().any(exists);
    if is_collection(space) {
        let brought = own.elements().iter().any(exists);
        if brought && !held && !has_other(&exists) {
            let dots = current.claims().map(|claim| claim.dot).collect();
            return edit.bury(space, id, dots);
        }
        // Somebody has removed the record since; to bring it back is not what is asked for.
        if !held && !current.is_shown() {
            return Ok(());
        }
    }
    let mut targets = Targets::default();
    let mut sources: Vec<Vec<Dot>> = Vec::new();
    let mut from = |is_it: &dyn Fn(&Element) -> bool| {
        let same = killed.elements().iter().filter(|element| is_it(element));
        sources.push(same.map(|element| element.claim.dot).collect());
    };
    if held && !has_other(&exists) {
        targets.push_raw(&[kind::EXISTS], &[]);
        from(&exists);
    }
    for (path, content) in killed.distinct() {
        let taken = |element: &Element| {
            element.path() == path
                && match (&element.content, &content) {
                    (Content::Member(a), Content::Member(b)) => a == b,
                    (Content::Share(a), Content::Share(b)) => a.owner == b.owner,
                    (Content::Register(_) | Content::Latest(_), _) => {
                        matches!(content, Content::Register(_) | Content::Latest(_))
                    }
                    _ => false,
                }
        };
        let is_share = matches!(content, Content::Share(_));
        if (!is_share || held) && !has_other(&taken) {
            let written = element::Written::new(path, &content, None);
            targets.push_raw(&written.name, &written.bytes);
            from(&|element| element.path() == path && element.content == content);
        }
    }
    let Dot { replica, counter } = edit.next_dot();
    for (new, sources) in (counter..).map(|counter| Dot::new(replica, counter)).zip(sources) {
        again.extend(sources.into_iter().map(|old| Again { old, new }));
    }
    // Where the record comes back as it was, its counters do so too.
    let elements = own.elements().iter();
    let gone = elements.filter(|element| held || !matches!(element.content, Content::Share(_)));
    let gone = gone.map(|element| element.claim.dot).collect();
    edit.write(space, id, &mut targets, gone)?;
    if held { Ok(()) } else { undo_counts(edit, space, id, counts) }
}

/// Takes back what the change added to counters of a place.
fn undo_counts<S: PlaceStore>(
    edit: &mut Edit<'_, S>,
    space: &Space,
    id: &PlaceId,
    counts: &[Count],
) -> Result<(), Refused<S::Error>> {
    for Count { path, amount, .. } in counts {
        let path: Vec<&str> = match path.as_str() {
            "" => Vec::new(),
            path => path.split(element::SEPARATOR).collect(),
        };
        edit.add_share(space, id, &path, amount.saturating_neg())?;
    }
    Ok(())
}

/// What one replica can undo and redo: its last changes, up to a number of bytes.
#[derive(Debug, Clone)]
pub struct History {
    done: VecDeque<Undo>,
    undone: Vec<Undo>,
    bytes: usize,
    bytes_max: usize,
}

impl History {
    /// Keeps up to so many bytes; the oldest changes go first.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { done: VecDeque::new(), undone: Vec::new(), bytes: 0, bytes_max }
    }

    /// Notes a change. What was undone before can no longer be redone.
    pub fn record(&mut self, undo: Undo) {
        for undone in self.undone.drain(..) {
            self.bytes -= undone.byte_count();
        }
        self.push(undo);
    }

    fn push(&mut self, undo: Undo) {
        if undo.is_empty() {
            return;
        }
        self.bytes += undo.byte_count();
        self.done.push_back(undo);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.done.pop_front() else { break };
            self.bytes -= oldest.byte_count();
        }
    }

    /// How many changes can be undone, and how many redone.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.done.len(), self.undone.len())
    }

    /// Undoes the last change. Gives nothing where there is none.
    pub fn undo<S: PlaceStore>(
        &mut self,
        document: &mut Document<S>,
        author: Author,
        bytes_max: usize,
    ) -> Result<Option<Edited<()>>, Refused<S::Error>> {
        let Some(last) = self.done.back() else { return Ok(None) };
        let edited = document.undo_changes(author, bytes_max, last)?;
        if let Some(last) = self.done.pop_back() {
            self.bytes -= last.byte_count();
        }
        let Edited { value: again, delta, touched, undo } = edited;
        self.follow(&again);
        self.bytes += undo.byte_count();
        self.undone.push(undo.clone());
        Ok(Some(Edited { value: (), delta, touched, undo }))
    }

    /// Does again what was undone last. Gives nothing where there is nothing.
    pub fn redo<S: PlaceStore>(
        &mut self,
        document: &mut Document<S>,
        author: Author,
        bytes_max: usize,
    ) -> Result<Option<Edited<()>>, Refused<S::Error>> {
        let Some(last) = self.undone.last() else { return Ok(None) };
        let edited = document.undo_changes(author, bytes_max, last)?;
        if let Some(last) = self.undone.pop() {
            self.bytes -= last.byte_count();
        }
        let Edited { value: again, delta, touched, undo } = edited;
        self.follow(&again);
        self.push(undo.clone());
        Ok(Some(Edited { value: (), delta, touched, undo }))
    }

    /// What a change added and what stands under another dot again is still that change's.
    fn follow(&mut self, again: &[Again]) {
        for change in self.done.iter_mut().chain(&mut self.undone) {
            self.bytes -= change.byte_count();
            for Again { old, new } in again {
                if change.added.contains(*old) {
                    change.added.insert(*new);
                }
            }
            self.bytes += change.byte_count();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }
}
