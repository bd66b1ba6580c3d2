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
use crate::causal::{CausalContext, Dot, Entry, PlaceId, PlaceStore, ReplicaId};
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::types::element::{self, kind};
use crate::types::opening::reverter;
use crate::types::place::{Space, is_collection, is_place};
use crate::types::{Content, Element, Record, Renaming};

/// Whether it is noted what counters stood at that go. Browsers undo nothing yet, and their module is smaller
/// without.
pub(super) const NOTES_GONE_SHARES: bool = cfg!(not(target_arch = "wasm32"));

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
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
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
    /// Whose share it went to, and who wrote that.
    pub(super) owner: ReplicaId,
    pub(super) by: ReplicaId,
}

/// A dot whose element stands under another one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// As what it was written before.
    pub old: Dot,
    /// As what it stands from here on.
    pub new: Dot,
}

/// What one place had before a change, and what is left of the change.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    own: Record,
    killed: Record,
    counts: Vec<Count>,
}

impl Before {
    /// The same where a part of a replica's history stands under another one.
    pub(super) fn renamed(&self, renaming: &Renaming) -> Self {
        let renamed = |record: &Record| {
            let mut elements = record.elements().to_vec();
            elements.iter_mut().for_each(|one| one.claim.dot = renaming.dot(one.claim.dot));
            Record::of(elements)
        };
        let Self { own, killed, counts } = self;
        Self { own: renamed(own), killed: renamed(killed), counts: counts.clone() }
    }
}

/// By place, what a change had replaced and what is left of it.
pub(super) type Places = BTreeMap<(Space, PlaceId), Before>;

/// As whom counters are counted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountedBy {
    /// As everything else that this replica counts.
    Author,
    /// By a share that is the same whoever does it, so that it counts once.
    All,
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

    /// What the change added and what stands under another dot again is still that change's. Says whether
    /// there was any of that.
    pub fn follow(&mut self, again: &[Again]) -> bool {
        let mut has_any = false;
        for Again { old, new } in again {
            if self.added.contains(*old) {
                self.added.insert(*new);
                has_any = true;
            }
        }
        has_any
    }

    /// What the change added and what was written anew is still that change's: by the dots that stand for
    /// it, or where none does, by the last of those. Says whether it had any of that.
    pub fn follow_rewritten(&mut self, was: &CausalContext, again: &[Again], last: Dot) -> bool {
        let is_hit = !self.added.intersection(was).is_empty();
        if is_hit && !self.follow(again) {
            self.added.insert(last);
        }
        is_hit
    }

    /// Takes dots out that were given up. Says whether the change had any of them.
    pub fn give_up(&mut self, dots: &CausalContext) -> bool {
        let is_hit = !self.added.intersection(dots).is_empty();
        if is_hit {
            self.added = self.added.difference(dots);
        }
        is_hit
    }

    /// Whether something that the change added is in a document, or has not come back to it yet.
    pub fn is_left<S: PlaceStore>(&self, document: &Document<S>) -> Result<bool, S::Error> {
        for (replica, ranges) in self.added.iter() {
            let seen = document.store().seen(replica)?;
            if !ranges.difference(&seen).is_empty() {
                return Ok(true);
            }
            for (start, end) in ranges.iter() {
                let known = document.store().overlapping(replica, start, end)?;
                if known.iter().any(|entry| !entry.live_ranges().intersection(ranges).is_empty()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Writes it to the end of some bytes, for storage.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 3);
        self.added.encode_into(out);
        pack::array(out, self.replaced().len());
        self.replaced().iter().for_each(|entry| entry.encode_into(out));
        pack::array(out, self.counts.len());
        for Count { space, id, path, amount, owner, by } in &self.counts {
            pack::array(out, 6);
            pack::bytes(out, space);
            pack::bytes(out, id);
            pack::str(out, path);
            pack::int(out, *amount);
            owner.encode_into(out);
            by.encode_into(out);
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(3)?;
        let added = CausalContext::decode(reader)?;
        let mut undo = Self { added, ..Self::default() };
        let killed = (0..reader.array()?).map(|_| Entry::decode(reader));
        let mut killed = killed.collect::<Result<Vec<_>, _>>()?;
        undo.killed = Replaced::of(&mut killed);
        for _ in 0..reader.array()? {
            reader.exactly(6)?;
            undo.counts.push(Count {
                space: Space::from_slice(reader.bytes()?),
                id: PlaceId::new(reader.bytes()?),
                path: reader.str()?.to_owned(),
                amount: reader.int()?,
                owner: ReplicaId::decode(reader)?,
                by: ReplicaId::decode(reader)?,
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
        let places = self.places_of(undo).map_err(Refused::Store)?;
        self.edit(author, bytes_max, |edit| edit.undo_places(&places, CountedBy::Author))
    }

    /// What a change had replaced and what is left of it, by place.
    pub(super) fn places_of(&self, undo: &Undo) -> Result<Places, S::Error> {
        let mut places = Places::new();
        for (replica, ranges) in undo.added.iter() {
            for (start, end) in ranges.iter() {
                for entry in self.store().overlapping(replica, start, end)? {
                    if !is_place(entry.label.space()) {
                        continue;
                    }
                    let key = (Space::from_slice(entry.label.space()), entry.id.clone());
                    let own = &mut places.entry(key).or_default().own;
                    own.add(entry.view());
                    own.retain(|dot| undo.added.contains(dot));
                }
            }
        }
        for killed in undo.replaced().iter().filter(|killed| is_place(killed.label.space())) {
            let key = (Space::from_slice(killed.label.space()), killed.id.clone());
            places.entry(key).or_default().killed.add(killed.view());
        }
        for count in &undo.counts {
            let key = (count.space.clone(), count.id.clone());
            places.entry(key).or_default().counts.push(count.clone());
        }
        Ok(places)
    }
}

impl<S: PlaceStore> Edit<'_, S> {
    /// Undoes a change of any replica within this one. What others have written since stays. What it wrote
    /// and is not here, as where it is still to come back from a hub, is dead when it comes. Gives the dots
    /// as which elements of it stand again.
    pub fn undo(&mut self, undo: &Undo) -> Result<Vec<Again>, Refused<S::Error>> {
        let places = self.document().places_of(undo).map_err(Refused::Store)?;
        let mut unseen = CausalContext::default();
        for (replica, ranges) in undo.added.iter() {
            let seen = self.document().store().seen(replica).map_err(Refused::Store)?;
            unseen.insert_ranges(replica, &ranges.difference(&seen));
        }
        let again = self.undo_places(&places, CountedBy::Author)?;
        self.write_off(unseen)?;
        Ok(again)
    }

    fn undo_places(
        &mut self,
        places: &Places,
        counted_by: CountedBy,
    ) -> Result<Vec<Again>, Refused<S::Error>> {
        let mut again = Vec::new();
        for ((space, id), before) in places {
            undo_place(self, (space, id), before, counted_by, &mut again)?;
        }
        Ok(again)
    }
}

pub(super) fn undo_place<S: PlaceStore>(
    edit: &mut Edit<'_, S>,
    (space, id): (&Space, &PlaceId),
    Before { own, killed, counts }: &Before,
    counted_by: CountedBy,
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
    if held { Ok(()) } else { undo_counts(edit, space, id, counts, counted_by) }
}

/// Takes back what the change added to counters of a place.
fn undo_counts<S: PlaceStore>(
    edit: &mut Edit<'_, S>,
    space: &Space,
    id: &PlaceId,
    counts: &[Count],
    counted_by: CountedBy,
) -> Result<(), Refused<S::Error>> {
    for Count { path, amount, owner, .. } in counts {
        let path: Vec<&str> = match path.as_str() {
            "" => Vec::new(),
            path => path.split(element::SEPARATOR).collect(),
        };
        let amount = amount.saturating_neg();
        match counted_by {
            CountedBy::Author => edit.add_share(space, id, &path, amount)?,
            CountedBy::All => edit.add_share_of(reverter(*owner), space, id, &path, amount)?,
        }
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
            change.follow(again);
            self.bytes += change.byte_count();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }
}
