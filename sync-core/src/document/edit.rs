//! Changes of this replica: each takes fresh dots, and supersedes the dots that it replaces.

use smallvec::SmallVec;
use std::mem::take;

use super::target::{Leaf, Targets, check_path};
use super::undo::Count;
use super::{Document, Edited, Left, Refused, Touched, Undo, member_id};
use crate::causal::{
    CausalContext, Delta, Dot, DotRanges, Entry, EntryView, MemoryStore, Note, PlaceId, PlaceStore,
    RUN_DOTS_MAX, ReplicaId, Slots, ranges_of,
};
use crate::error::Misuse;
use crate::time::Stamp;
use crate::types::element::{self, SEPARATOR, kind};
use crate::types::place::{Space, collection_space, set_space, value_space};
use crate::types::{Content, Field, Record, RecordId, Share, Value, check_name};

/// Who changes a document, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The replica that the new dots are of.
    pub replica: ReplicaId,
    /// The stamp of the whole change.
    pub stamp: Stamp,
}

/// A change being made. Each step sees the ones before it.
#[derive(Debug)]
pub struct Edit<'a, S = MemoryStore> {
    document: &'a mut Document<S>,
    author: Author,
    /// The last counter that this replica had seen of itself before.
    before: u64,
    seen: u64,
    next: u64,
    delta: Delta,
    killed: Vec<Entry>,
    counts: Vec<Count>,
    touched: Touched,
}

/// What a step of a change gives.
pub(super) type Step<S> = Result<(), Refused<<S as crate::causal::DotStore>::Error>>;
type Dots = SmallVec<[Dot; 8]>;

impl<'a, S: PlaceStore> Edit<'a, S> {
    pub(super) fn new(
        document: &'a mut Document<S>,
        author: Author,
    ) -> Result<Self, Refused<S::Error>> {
        let seen = document.store.seen(author.replica).map_err(Refused::Store)?;
        let before = seen.max();
        let (seen, next) = (before, before + 1);
        let (delta, touched, counts) = (Delta::default(), Touched::default(), Vec::new());
        let killed = take(&mut document.killed);
        Ok(Self { document, author, before, seen, next, delta, killed, counts, touched })
    }

    #[inline]
    pub(super) fn finish<T>(
        &mut self,
        outcome: Result<T, Refused<S::Error>>,
        bytes_max: usize,
    ) -> Result<Edited<T>, Refused<S::Error>> {
        let (found, limit) = (self.delta.cost(), bytes_max);
        let outcome = outcome.and_then(|value| {
            if found <= limit {
                return Ok(value);
            }
            let (found, limit) = (found as u64, limit as u64);
            Err(Misuse::TooLarge { what: "the change", found, limit }.into())
        });
        match outcome {
            Ok(value) => {
                let Self { author, before, seen, .. } = *self;
                let (document, mut killed) = (&mut *self.document, take(&mut self.killed));
                let (delta, touched) = (take(&mut self.delta), take(&mut self.touched));
                let counts = take(&mut self.counts);
                let mut added = CausalContext::default();
                added.insert_range(author.replica, before + 1, seen);
                // What the change itself wrote and took back was not there before.
                killed.retain(|entry| !is_new(entry, author, before));
                let replaced = killed.drain(..).collect();
                if killed.capacity() <= KILLED_MAX {
                    document.killed = killed;
                }
                let killed = replaced;
                document.kept.put(&delta.notes, &killed);
                Ok(Edited { value, delta, touched, undo: Undo { added, killed, counts } })
            }
            Err(refused) => {
                self.take_back().map_err(Refused::Store)?;
                Err(refused)
            }
        }
    }

    /// Puts everything back as it was.
    fn take_back(&mut self) -> Result<(), S::Error> {
        let Author { replica, .. } = self.author;
        let store = &mut self.document.store;
        store.kill(replica, self.before + 1, self.next - 1, &mut Vec::new())?;
        store.unsee(replica, &DotRanges::of(self.before + 1..=self.next - 1))?;
        for entry in self.killed.drain(..) {
            if !is_new(&entry, self.author, self.before) {
                store.add(entry)?;
            }
        }
        for (label, id) in take(&mut self.touched).iter() {
            self.document.settle(label.space(), id)?;
        }
        Ok(())
    }

    /// The document with the steps so far.
    #[must_use]
    pub fn document(&self) -> &Document<S> {
        self.document
    }

    /// Adds a record.
    pub fn insert<'f, N: AsRef<str>>(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: impl IntoIterator<Item = (N, &'f Field)>,
    ) -> Step<S> {
        let fields: SmallVec<[_; 8]> = fields.into_iter().collect();
        self.insert_fields(collection, id, &by_name(&fields))
    }

    fn insert_fields(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &[(&str, &Field)],
    ) -> Step<S> {
        let space = collection_space(collection)?;
        let place = self.look(&space, id.as_place_id())?;
        if place.is_shown() {
            let (collection, id) = (collection.to_owned(), id.to_string());
            return Err(Misuse::RecordExists { collection, id }.into());
        }
        let mut targets = Targets::with(take(&mut self.document.buffer));
        targets.push_existence();
        push_fields(&mut targets, fields)?;
        self.push_counters(&mut targets, fields);
        self.document.kept.forget(&space, id.as_place_id());
        // What is left of an earlier record of this id, hidden copies or an edit, is superseded.
        let all: SmallVec<[usize; 8]> = (0..targets.leaves().len()).collect();
        self.write_over(&space, id.as_place_id(), &targets, &all, place.dots)?;
        self.document.buffer = targets.into_buffer();
        Ok(())
    }

    /// Writes fields of a record and leaves the others. What a field holds already is left as it is:
    /// of a set only the difference is written, and of a map only the fields that differ.
    pub fn update<'f, N: AsRef<str>>(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: impl IntoIterator<Item = (N, &'f Field)>,
    ) -> Step<S> {
        let fields: SmallVec<[_; 8]> = fields.into_iter().collect();
        self.update_fields(collection, id, &by_name(&fields))
    }

    fn update_fields(
        &mut self,
        collection: &str,
        id: &RecordId,
        fields: &[(&str, &Field)],
    ) -> Step<S> {
        let mut targets = Targets::with(take(&mut self.document.buffer));
        push_fields(&mut targets, fields)?;
        let roots: SmallVec<[&str; 8]> = fields.iter().map(|(name, _)| *name).collect();
        let space = collection_space(collection)?;
        let id_bytes = id.as_place_id();
        let mut counters = Vec::new();
        fields.iter().for_each(|(name, field)| push_counter_paths(&mut counters, name, field));
        let found = self.compare(&space, id_bytes, &mut targets, &roots, &counters)?;
        if !found.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.replace(&space, id_bytes, &targets, found)?;
        for (name, field) in fields.iter().filter(|(_, field)| may_count(field)) {
            self.count_to(&space, id_bytes, &mut SmallVec::from_slice(&[*name]), field)?;
        }
        self.document.buffer = targets.into_buffer();
        Ok(())
    }

    /// Writes one field at a path of nested maps, and leaves its neighbours.
    pub fn put(
        &mut self,
        collection: &str,
        id: &RecordId,
        path: &[&str],
        field: &Field,
    ) -> Step<S> {
        let joined = joined_path(path)?;
        let mut targets = Targets::default();
        let mut names = SmallVec::from_slice(path);
        targets.push_field(&mut names, field)?;
        let space = collection_space(collection)?;
        let id_bytes = id.as_place_id();
        let mut counters = Vec::new();
        push_counter_paths(&mut counters, &joined, field);
        let found = self.compare(&space, id_bytes, &mut targets, &[&joined], &counters)?;
        if !found.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.replace(&space, id_bytes, &targets, found)?;
        self.count_to(&space, id_bytes, &mut SmallVec::from_slice(path), field)
    }

    /// Takes a field out, at a path of nested maps, with all that is below it.
    pub fn unset(&mut self, collection: &str, id: &RecordId, path: &[&str]) -> Step<S> {
        let joined = joined_path(path)?;
        let space = collection_space(collection)?;
        let mut targets = Targets::default();
        let found = self.compare(&space, id.as_place_id(), &mut targets, &[&joined], &[])?;
        if !found.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.replace(&space, id.as_place_id(), &targets, found)
    }

    /// Adds to a counter of a record, at a path of nested maps; a negative amount takes away.
    pub fn count(
        &mut self,
        collection: &str,
        id: &RecordId,
        path: &[&str],
        amount: i64,
    ) -> Step<S> {
        joined_path(path)?;
        let space = collection_space(collection)?;
        if !self.look(&space, id.as_place_id())?.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.add_share(&space, id.as_place_id(), path, amount)
    }

    /// Removes a record: every dot of it that is live here, under a dot of the removal's own.
    pub fn remove(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let space = collection_space(collection)?;
        let place = self.look(&space, id.as_place_id())?;
        if !place.is_shown() {
            return Err(no_such_record(collection, id));
        }
        self.bury_all(&space, id.as_place_id(), place.dots)
    }

    /// Resolves the clashing registers of a record by writing what one author wrote, and for fields
    /// that this author did not write, what is shown.
    pub fn keep(&mut self, collection: &str, id: &RecordId, author: ReplicaId) -> Step<S> {
        let (space, record) = self.find(collection, id, Record::is_shown)?;
        let versions = record.versions();
        let Some(version) = versions.iter().find(|version| version.author == author) else {
            return Err(Misuse::NoSuchVersion { version: author.to_string() }.into());
        };
        let clashing = versions.iter().flat_map(|version| version.fields.keys());
        let clashing: std::collections::BTreeSet<_> = clashing.collect();
        let mut targets = Targets::default();
        let mut superseded = Dots::new();
        for path in clashing {
            if let Some(value) = version.fields.get(path).or(record.value(path)) {
                let written = element::Written::new(path, &Content::Register(value.clone()), None);
                targets.push_raw(&written.name, &written.bytes);
                let same = record.elements().iter().filter(|element| {
                    element.path() == path && matches!(element.content, Content::Register(_))
                });
                superseded.extend(same.map(|element| element.claim.dot));
            }
        }
        let all: SmallVec<[usize; 8]> = (0..targets.leaves().len()).collect();
        self.write(&space, id.as_place_id(), &targets, &all, &superseded)
    }

    /// Settles a record that was kept by an edit: writes it whole, so that nothing about it is a copy.
    pub fn adopt(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let (space, record) = self.find(collection, id, Record::is_shown)?;
        let dots: Dots = record.claims().map(|claim| claim.dot).collect();
        self.write_whole(&space, id.as_place_id(), &record, &dots)
    }

    /// Makes what is left of a partial record a record again.
    pub fn restore(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let (space, record) = self.find(collection, id, is_partial)?;
        let dots: Dots = record.claims().map(|claim| claim.dot).collect();
        self.write_whole(&space, id.as_place_id(), &record, &dots)
    }

    /// Removes what is left of a partial record.
    pub fn dismiss(&mut self, collection: &str, id: &RecordId) -> Step<S> {
        let (space, record) = self.find(collection, id, is_partial)?;
        let dots: Dots = record.claims().map(|claim| claim.dot).collect();
        self.bury(&space, id.as_place_id(), &dots)
    }

    /// Adds a member to a set of the document. Does nothing where it is there.
    pub fn set_add(&mut self, name: &str, value: &Value) -> Step<S> {
        let space = set_space(name)?;
        super::target::check_value(value)?;
        let id = member_id(value);
        if !self.record_at(&space, &id)?.members("").contains(value) {
            let written = element::Written::new("", &Content::Member(value.clone()), None);
            let mut targets = Targets::default();
            targets.push_raw(&written.name, &written.bytes);
            self.write(&space, &id, &targets, &[0], &[])?;
        }
        Ok(())
    }

    /// Removes a member from a set of the document. Does nothing where it is not there.
    pub fn set_remove(&mut self, name: &str, value: &Value) -> Step<S> {
        let space = set_space(name)?;
        let id = member_id(value);
        let record = self.record_at(&space, &id)?;
        let same = record
            .elements()
            .iter()
            .filter(|element| element.content == Content::Member(value.clone()));
        let dots: Dots = same.map(|element| element.claim.dot).collect();
        self.write(&space, &id, &Targets::default(), &[], &dots)
    }

    /// Writes a single value of the document: a register of either kind. Does nothing where it is so.
    pub fn set_value(&mut self, name: &str, field: &Field) -> Step<S> {
        let space = value_space(name)?;
        if !matches!(field, Field::Register(_) | Field::Latest(_)) {
            return Err(Misuse::BadName { what: "a single value is a register; it" }.into());
        }
        let mut targets = Targets::default();
        targets.push_field(&mut SmallVec::new(), field)?;
        let id = PlaceId::default();
        let found = self.compare(&space, &id, &mut targets, &[""], &[])?;
        self.replace(&space, &id, &targets, found)
    }

    /// Adds to a counter of the document; a negative amount takes away.
    pub fn count_value(&mut self, name: &str, amount: i64) -> Step<S> {
        let space = value_space(name)?;
        self.add_share(&space, &PlaceId::default(), &[], amount)
    }

    fn record_at(&self, space: &[u8], id: &[u8]) -> Result<Record, Refused<S::Error>> {
        self.document.record_at(space, id).map_err(Refused::Store)
    }

    fn find(
        &self,
        collection: &str,
        id: &RecordId,
        is_wanted: impl FnOnce(&Record) -> bool,
    ) -> Result<(Space, Record), Refused<S::Error>> {
        let space = collection_space(collection)?;
        let record = self.record_at(&space, id.as_place_id())?;
        if is_wanted(&record) { Ok((space, record)) } else { Err(no_such_record(collection, id)) }
    }

    /// Finds what is live in a place.
    fn look(&self, space: &[u8], id: &[u8]) -> Result<Found, Refused<S::Error>> {
        let mut found = Found::default();
        let show = &mut |entry: EntryView<'_>| found.add(entry);
        self.document.store.at(space, id, show).map_err(Refused::Store)?;
        Ok(found)
    }

    /// Compares what is wanted at some paths with what is there; the shares of wanted counters stay.
    fn compare(
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
            // Only the slots of these names are read.
            let (mut wanted, mut bit) = (0u64, 1);
            for name in entry.label.names().take(RUN_DOTS_MAX) {
                if let [tag, path @ ..] = name
                    && live & bit != 0
                {
                    compared.originals += u32::from(tag & kind::COPY == 0);
                    compared.is_original |= *tag == kind::EXISTS;
                    let is_there = |root: &&str| is_within(path, root);
                    if tag & !kind::COPY != kind::EXISTS && roots.iter().any(is_there) {
                        wanted |= bit;
                    }
                }
                bit <<= 1;
            }
            let first = entry.first;
            for (slot, bytes) in entry.slots.iter().enumerate() {
                if wanted >> slot == 0 {
                    break;
                }
                let Some(bytes) = bytes.filter(|_| wanted >> slot & 1 == 1) else { continue };
                let [tag, path @ ..] = entry.label.name(slot) else { continue };
                let tag_alone = tag & !kind::COPY;
                let is_original = tag & kind::COPY == 0;
                let counter = first.counter + slot as u64;
                let dot = Dot::new(first.replica, counter);
                let Ok(value) = element::value_bytes(*tag, bytes) else { continue };
                let is_counter = tag_alone == kind::COUNTER
                    && counters.iter().any(|wanted| wanted.as_bytes() == path);
                let mut at = if is_counter { Kept::Always } else { Kept::Never };
                for (index, (name, bytes, leaf)) in targets.leaves_mut().enumerate() {
                    if name[0] != tag_alone || &name[1..] != path {
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
    fn replace(
        &mut self,
        space: &Space,
        id: &PlaceId,
        targets: &Targets,
        found: Compared,
    ) -> Step<S> {
        // A copy counts for nothing where an original says that the record exists.
        let copies_count = !found.is_original;
        let is_kept =
            |leaf: &Leaf| leaf.other == 0 && (leaf.same > 0 || (copies_count && leaf.copied > 0));
        let leaves = targets.leaves();
        let missing = leaves.iter().enumerate().filter(|(_, leaf)| !is_kept(leaf));
        let missing: SmallVec<[usize; 8]> = missing.map(|(at, _)| at).collect();
        let mut originals = found.originals;
        let mut gone = Dots::new();
        for Hit { dot, at, is_original } in &found.dots {
            let is_gone = match at {
                Kept::Always => false,
                Kept::Never => true,
                Kept::With(at) => !is_kept(&leaves[*at]),
            };
            if is_gone {
                gone.push(*dot);
                originals -= u32::from(*is_original);
            }
        }
        // Where nothing but copies would be left, for which nobody stands, the record is written whole.
        if missing.is_empty() && !gone.is_empty() && originals == 0 {
            let mut record = self.record_at(space, id)?;
            let dots: Dots = record.claims().map(|claim| claim.dot).collect();
            record.retain(|dot| !gone.contains(&dot));
            if !record.elements().is_empty() {
                return self.write_whole(space, id, &record, &dots);
            }
        }
        self.write(space, id, targets, &missing, &gone)
    }

    /// Writes every distinct thing that a record holds anew, in place of some dots.
    fn write_whole(
        &mut self,
        space: &Space,
        id: &PlaceId,
        record: &Record,
        dots: &[Dot],
    ) -> Step<S> {
        let mut targets = Targets::default();
        targets.push_existence();
        for (path, content) in record.distinct() {
            let written = element::Written::new(path, &content, None);
            targets.push_raw(&written.name, &written.bytes);
        }
        let all: SmallVec<[usize; 8]> = (0..targets.leaves().len()).collect();
        self.write(space, id, &targets, &all, dots)
    }

    /// Puts counters of a new record where they are wanted.
    fn push_counters(&self, targets: &mut Targets, fields: &[(&str, &Field)]) {
        fn walk<'f>(
            targets: &mut Targets,
            owner: ReplicaId,
            path: &mut SmallVec<[&'f str; 4]>,
            field: &'f Field,
        ) {
            match field {
                Field::Counter(sum) => {
                    targets.push_share(path, share(owner, (0, 0), *sum));
                }
                Field::Map(fields) => {
                    for (name, field) in fields {
                        path.push(name);
                        walk(targets, owner, path, field);
                        path.pop();
                    }
                }
                Field::Register(_) | Field::Latest(_) | Field::Set(_) => {}
            }
        }
        for (name, field) in fields.iter().filter(|(_, field)| may_count(field)) {
            walk(targets, self.author.replica, &mut SmallVec::from_slice(&[*name]), field);
        }
    }

    /// Brings the counters of a field to where they are wanted.
    fn count_to<'f>(
        &mut self,
        space: &Space,
        id: &PlaceId,
        path: &mut SmallVec<[&'f str; 4]>,
        field: &'f Field,
    ) -> Step<S> {
        match field {
            Field::Counter(sum) => {
                let joined = path.join("\u{1f}");
                let at = self.record_at(space, id)?.count(&joined);
                self.add_share(space, id, path, sum.saturating_sub(at))
            }
            Field::Map(fields) => fields.iter().try_for_each(|(name, field)| {
                path.push(name);
                self.count_to(space, id, path, field)?;
                path.pop();
                Ok(())
            }),
            Field::Register(_) | Field::Latest(_) | Field::Set(_) => Ok(()),
        }
    }

    /// Replaces this replica's share of a counter.
    pub(super) fn add_share(
        &mut self,
        space: &Space,
        id: &PlaceId,
        path: &[&str],
        amount: i64,
    ) -> Step<S> {
        let owner = self.author.replica;
        let joined = path.join("\u{1f}");
        let record = self.record_at(space, id)?;
        let mut sums = (0, 0);
        let mut gone = Dots::new();
        let mut is_there = false;
        for element in record.elements().iter().filter(|element| element.path() == joined) {
            if let Content::Share(known) = element.content {
                is_there = true;
                if known.owner == owner {
                    sums = (sums.0.max(known.up), sums.1.max(known.down));
                    gone.push(element.claim.dot);
                }
            }
        }
        if amount == 0 && is_there {
            return Ok(());
        }
        let mut targets = Targets::default();
        targets.push_share(path, share(owner, sums, amount));
        self.counts.push(Count { space: space.clone(), id: id.clone(), path: joined, amount });
        self.write(space, id, &targets, &[0], &gone)
    }

    /// Removes dots of a place under a dot of the removal's own.
    pub(super) fn bury(&mut self, space: &Space, id: &PlaceId, dots: &[Dot]) -> Step<S> {
        self.bury_all(space, id, dots.iter().copied().collect())
    }

    fn bury_all(&mut self, space: &Space, id: &PlaceId, mut dead: CausalContext) -> Step<S> {
        let dot = Dot::new(self.author.replica, self.next);
        self.next += 1;
        let label = self.document.labels.of_space(space);
        let note = Note { dot, stamp: self.author.stamp, label, id: id.clone() };
        dead.insert(dot);
        self.step(Delta { entries: Vec::new(), dead, notes: vec![note] })
    }

    /// Writes elements in runs, and supersedes dots. A step that only removes takes a dot of its own.
    pub(super) fn write(
        &mut self,
        space: &Space,
        id: &PlaceId,
        targets: &Targets,
        leaves: &[usize],
        superseded: &[Dot],
    ) -> Step<S> {
        self.write_over(space, id, targets, leaves, superseded.iter().copied().collect())
    }

    fn write_over(
        &mut self,
        space: &Space,
        id: &PlaceId,
        targets: &Targets,
        leaves: &[usize],
        dead: CausalContext,
    ) -> Step<S> {
        if leaves.is_empty() && dead.is_empty() {
            return Ok(());
        }
        let mut delta = Delta { dead, ..Delta::default() };
        let Author { replica, stamp } = self.author;
        if leaves.is_empty() {
            delta.dead.insert(Dot::new(replica, self.next));
            self.next += 1;
        }
        let mut rest = leaves;
        if !rest.is_empty() {
            delta.entries.reserve_exact(1);
        }
        while !rest.is_empty() {
            let run;
            (run, rest) = rest.split_at(targets.run_len(space, rest));
            let label = targets.label(&mut self.document.labels, space, run);
            let slots = run.iter().map(|leaf| targets.bytes(&targets.leaves()[*leaf]));
            let first = Dot::new(replica, self.next);
            self.next += run.len() as u64;
            let (id, slots) = (id.clone(), Slots::of_live(slots));
            delta.entries.push(Entry { first, stamp, label, id, slots });
        }
        self.step(delta)
    }

    /// The dot that the next element gets.
    pub(super) fn next_dot(&self) -> Dot {
        Dot::new(self.author.replica, self.next)
    }

    fn step(&mut self, delta: Delta) -> Step<S> {
        // All of this is new here, and what it supersedes was read here: there is nothing to compare.
        let store = &mut self.document.store;
        for entry in &delta.entries {
            store.add(entry.clone()).map_err(Refused::Store)?;
        }
        let known = self.killed.len();
        for (replica, ranges) in delta.dead.iter() {
            for (start, end) in ranges.iter() {
                // The dot of a removal was never live.
                if replica != self.author.replica || start <= self.seen {
                    store.kill(replica, start, end, &mut self.killed).map_err(Refused::Store)?;
                }
            }
        }
        let new = DotRanges::of(self.seen + 1..=self.next - 1);
        store.see(self.author.replica, &new).map_err(Refused::Store)?;
        self.seen = self.next - 1;
        let mut unsettled = Vec::new();
        for Entry { label, id, .. } in delta.entries.iter().chain(&self.killed[known..]) {
            self.touched.push(label, id);
            // What this replica writes in full knowledge opens nothing; only copies do.
            let is_open = store.is_open(label.space(), id).map_err(Refused::Store)?;
            if is_open || label.tags().has_high() {
                unsettled.push((label.clone(), id.clone()));
            }
        }
        for (label, id) in unsettled {
            let left = self.document.settle(label.space(), &id).map_err(Refused::Store)?;
            if left == Left::Record {
                self.document.kept.forget(label.space(), &id);
            }
        }
        self.delta.join(delta);
        Ok(())
    }
}

/// For how many replaced entries memory is kept. Arbitrary.
const KILLED_MAX: usize = 16;

/// Whether a change itself wrote an entry: its runs begin behind all that was there before.
fn is_new(entry: &Entry, author: Author, before: u64) -> bool {
    entry.replica() == author.replica && entry.first.counter > before
}

/// What is live in a place.
#[derive(Debug, Default)]
struct Found {
    exists: bool,
    has_original: bool,
    dots: CausalContext,
}

impl Found {
    fn add(&mut self, entry: EntryView<'_>) {
        let (tags, live) = entry.tags();
        self.exists |= tags.has(kind::EXISTS);
        self.has_original |= tags.has_plain();
        self.dots.insert_ranges(entry.first.replica, &ranges_of(entry.first.counter, live));
    }

    fn is_shown(&self) -> bool {
        self.exists && self.has_original
    }
}

/// What is live in a place, and what becomes of that which is where a change writes.
#[derive(Debug, Default)]
struct Compared {
    exists: bool,
    /// Whether an original says that the record exists.
    is_original: bool,
    originals: u32,
    dots: SmallVec<[Hit; 4]>,
}

impl Compared {
    fn is_shown(&self) -> bool {
        self.exists && self.originals > 0
    }
}

/// A live dot where a change writes.
#[derive(Debug, Clone, Copy)]
struct Hit {
    dot: Dot,
    at: Kept,
    is_original: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kept {
    Always,
    Never,
    /// With the leaf of this index.
    With(usize),
}

/// The same fields with their names as plain text.
fn by_name<'n, N: AsRef<str>>(fields: &'n [(N, &'n Field)]) -> SmallVec<[(&'n str, &'n Field); 8]> {
    fields.iter().map(|(name, field)| (name.as_ref(), *field)).collect()
}

fn push_fields<'f>(targets: &mut Targets, fields: &[(&'f str, &'f Field)]) -> Result<(), Misuse> {
    for (at, (name, _)) in fields.iter().enumerate() {
        if fields[..at].iter().any(|(other, _)| other == name) {
            return Err(Misuse::Twice { name: (*name).to_owned() });
        }
    }
    for (name, field) in fields {
        check_name("a field's name", name)?;
        match field {
            Field::Register(value) => targets.push_value(kind::REGISTER, &[*name], value)?,
            Field::Latest(value) => targets.push_value(kind::LATEST, &[*name], value)?,
            Field::Set(_) | Field::Counter(_) | Field::Map(_) => {
                targets.push_field(&mut SmallVec::from_slice(&[*name]), field)?;
            }
        }
    }
    Ok(())
}

/// Whether a field is a counter, or may hold one.
fn may_count(field: &Field) -> bool {
    matches!(field, Field::Counter(_) | Field::Map(_))
}

fn joined_path(path: &[&str]) -> Result<String, Misuse> {
    if path.is_empty() {
        return Err(Misuse::BadName { what: "a path" });
    }
    path.iter().try_for_each(|name| check_name("a field's name", name))?;
    check_path(path)?;
    Ok(path.join("\u{1f}"))
}

/// Whether a path is a root or below it.
fn is_within(path: &[u8], root: &str) -> bool {
    if path.len() < root.len() {
        return false;
    }
    match path.strip_prefix(root.as_bytes()) {
        Some([]) => true,
        Some([next, ..]) => *next == SEPARATOR as u8 && !root.is_empty(),
        None => false,
    }
}

/// The paths of the counters in a field that stands at a path.
fn push_counter_paths(paths: &mut Vec<String>, path: &str, field: &Field) {
    match field {
        Field::Counter(_) => paths.push(path.to_owned()),
        Field::Map(fields) => fields.iter().for_each(|(name, field)| {
            if matches!(field, Field::Counter(_) | Field::Map(_)) {
                push_counter_paths(paths, &format!("{path}{SEPARATOR}{name}"), field);
            }
        }),
        Field::Register(_) | Field::Latest(_) | Field::Set(_) => {}
    }
}

fn share(owner: ReplicaId, (up, down): (u64, u64), amount: i64) -> Share {
    let by = amount.unsigned_abs();
    if amount < 0 {
        Share { owner, up, down: down.saturating_add(by) }
    } else {
        Share { owner, up: up.saturating_add(by), down }
    }
}

fn is_partial(record: &Record) -> bool {
    record.existence().next().is_none() && record.has_original()
}

fn no_such_record<E>(collection: &str, id: &RecordId) -> Refused<E> {
    Misuse::NoSuchRecord { collection: collection.to_owned(), id: id.to_string() }.into()
}
