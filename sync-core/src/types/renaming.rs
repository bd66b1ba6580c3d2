//! What a copy of a database wrote as a replica of which others have another history, under a replica
//! of its own.

use super::element;
use super::opening::Opening;
use crate::causal::{
    CausalContext, Delta, Dot, DotRanges, DotStore, Entry, Note, ReplicaId, Slots, join,
};
use crate::error::Malformed;
use crate::pack::{self, Reader};

/// That the counters `first..=last` of one replica are those of another one, in order.
///
/// Where it is made, nobody else has read what they stand for. Whoever else holds the same makes the
/// same of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renaming {
    /// As whom it was written.
    pub from: ReplicaId,
    /// From which counter on.
    pub first: u64,
    /// Up to which one.
    pub last: u64,
    /// As whom it stands from here on.
    pub to: ReplicaId,
    /// The opening under which the first of these was written, where its mark is an earlier one: it
    /// begins the new replica.
    pub mark: Option<u64>,
}

impl Renaming {
    /// The counter that follows on the new replica's mark.
    fn at(&self) -> u64 {
        1 + u64::from(self.mark.is_some())
    }

    fn has(&self, counter: u64) -> bool {
        (self.first..=self.last).contains(&counter)
    }

    fn counter(&self, counter: u64) -> u64 {
        self.at().saturating_add(counter.saturating_sub(self.first)).min(Dot::COUNTER_MAX)
    }

    /// The counters of the new replica that stand for those of the old one, its mark among them.
    pub(crate) fn counters(&self, seen: &DotRanges) -> DotRanges {
        let mut renamed = DotRanges::default();
        if self.mark.is_some() {
            renamed.insert(1, 1);
        }
        for (start, end) in seen.intersection(&self.range()).iter() {
            renamed.insert(self.counter(start), self.counter(end));
        }
        renamed
    }

    /// Which counter of the old replica a counter of the new one stands for.
    pub(crate) fn before(&self, counter: u64) -> Option<u64> {
        Some(self.first.saturating_add(counter.checked_sub(self.at())?))
    }

    /// A dot as it is from here on.
    #[must_use]
    pub fn dot(&self, dot: Dot) -> Dot {
        if dot.replica == self.from && self.has(dot.counter) {
            return Dot::new(self.to, self.counter(dot.counter));
        }
        dot
    }

    /// The counter that an opening which began in the range begins at from here on.
    #[must_use]
    pub fn opening(&self, one: Opening) -> Opening {
        Opening { first: self.counter(one.first), ..one }
    }

    /// The mark that begins the new replica.
    #[must_use]
    pub fn mark(&self) -> Option<Entry> {
        self.mark.map(|opening| Opening { first: 1, opening }.mark(self.to))
    }

    pub(crate) fn context(&self, context: &CausalContext) -> CausalContext {
        let mut renamed = context.clone();
        let Some(ranges) = context.of(self.from) else { return renamed };
        for (start, end) in ranges.intersection(&self.range()).iter() {
            renamed.remove_range(self.from, start, end);
            renamed.insert_range(self.to, self.counter(start), self.counter(end));
        }
        renamed
    }

    pub(crate) fn range(&self) -> DotRanges {
        DotRanges::of(self.first.max(1)..=self.last)
    }

    /// An entry as it is from here on: what its copies say of other dots goes along.
    pub(crate) fn entry(&self, entry: Entry) -> Entry {
        let first = self.dot(entry.first);
        if first == entry.first {
            return entry;
        }
        if let Some(one) = Opening::read(entry.view()) {
            return self.opening(one).mark(self.to);
        }
        let slots: Vec<_> = (0..)
            .zip(entry.slots.iter())
            .map(|(at, slot)| {
                let kind = entry.label.name(at).first().copied().unwrap_or_default();
                slot.map(|bytes| element::with_dots(kind, bytes, |dot| self.dot(dot)))
            })
            .collect();
        let slots = Slots::new(slots.iter().map(Option::as_deref));
        Entry { first, slots, ..entry }
    }

    /// A delta as it is from here on.
    #[must_use]
    pub fn delta(&self, delta: Delta) -> Delta {
        let Delta { entries, dead, notes } = delta;
        let renamed = |note: Note| Note { dot: self.dot(note.dot), ..note };
        Delta {
            entries: entries.into_iter().map(|entry| self.entry(entry)).collect(),
            dead: self.context(&dead),
            notes: notes.into_iter().map(renamed).collect(),
        }
    }

    /// Makes it so in a store. What it has of the new replica already stays as it is: somebody else who
    /// held the same was first.
    pub fn apply<S: DotStore>(&self, store: &mut S) -> Result<(), S::Error> {
        let seen = store.seen(self.from)?.intersection(&self.range());
        if seen.is_empty() {
            return Ok(());
        }
        let mut killed = Vec::new();
        store.kill(self.from, self.first, self.last, &mut killed)?;
        if !broken!(RenamesWithoutForgetting) {
            store.unsee(self.from, &seen)?;
        }
        let mut moved = Delta { entries: killed.into(), ..Delta::default() };
        moved.dead.insert_ranges(self.from, &seen);
        moved.dead = moved.dead.difference(&moved.live());
        let mut moved = self.delta(moved);
        moved.entries.extend(self.mark());
        join(store, &moved)?;
        Ok(())
    }

    /// Writes it to the end of some bytes, for storage.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 5);
        self.from.encode_into(out);
        pack::uint(out, self.first);
        pack::uint(out, self.last);
        self.to.encode_into(out);
        match self.mark {
            Some(opening) => pack::uint(out, opening),
            None => pack::nil(out),
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(5)?;
        Ok(Self {
            from: ReplicaId::decode(reader)?,
            first: reader.uint()?,
            last: reader.uint()?,
            to: ReplicaId::decode(reader)?,
            mark: reader.option(Reader::uint)?,
        })
    }
}
