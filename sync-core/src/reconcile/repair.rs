//! Repair: two copies that ought to be equal are compared, and what differs is exchanged.
//!
//! First a [`Reconciler`] on each side finds what differs; then each side that gives sends one delta of
//! exactly that, and the other takes it. Deltas are handed over as they are: who drives both sides
//! encodes and cuts them.

use super::{Difference, Limits, Mode, ReconcileError, Reconciler, Summary};
use crate::causal::{CausalContext, Delta, DotRanges, DotStore, Entry, EntryView, join, part};

/// What holds of a dot that both sides have seen and that lives on one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was removed, as [`join`] has it: it dies on the other side as well.
    Removed,
    /// It was lost, as by a damaged disk: it comes back. So does what was removed on one side only.
    Lost,
}

/// What one side says to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum RepairMessage {
    /// A message of the comparison.
    Compare(Vec<u8>),
    /// What the other side is to take over.
    Give(Delta),
}

/// What a repair changed on one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Dots that became live.
    pub added: u64,
    /// Dots that were live and are no more.
    pub killed: u64,
    /// Dots whose content was replaced by that of the other side.
    pub replaced: u64,
}

/// One side of a repair, as a state machine without IO.
///
/// The initiator sends what [`start`](Self::start) gives; then each side passes what it receives to
/// [`handle`](Self::handle) and sends what that gives, in order, until both are
/// [done](Self::repaired).
///
/// Of two contents of one dot, which only a fault or a cheat brings about, that of the run with the
/// later stamp stays, then with the greater first dot, space and id; within one run that with the
/// greater name and bytes: the same on both sides. Where only one side takes over, the other side's
/// content stays. A run that stands in the way of one that stays goes as a whole.
///
/// Afterwards the copies are equal, if the mode is [`Mode::PushPull`] and nothing else changed them.
/// Where runs stood in each other's way it may take a second repair, which finds what the first left.
#[derive(Debug)]
pub struct Repair {
    reconciler: Reconciler,
    mode: Mode,
    verdict: Verdict,
    is_initiator: bool,
    difference: Option<Difference>,
    repaired: Option<Repaired>,
}

impl Repair {
    /// Makes the side that begins.
    #[must_use]
    pub fn initiator(context: CausalContext, mode: Mode, verdict: Verdict, limits: Limits) -> Self {
        let reconciler = Reconciler::initiator(context, Mode::PushPull, limits);
        Self::new(reconciler, mode, verdict, true)
    }

    /// Makes the side that is asked, with the same mode and verdict as the initiator.
    #[must_use]
    pub fn responder(context: CausalContext, mode: Mode, verdict: Verdict, limits: Limits) -> Self {
        Self::new(Reconciler::responder(context, limits), mode, verdict, false)
    }

    fn new(reconciler: Reconciler, mode: Mode, verdict: Verdict, is_initiator: bool) -> Self {
        let (difference, repaired) = (None, None);
        Self { reconciler, mode, verdict, is_initiator, difference, repaired }
    }

    /// Gives the first message. Only the initiator may call it, once.
    ///
    /// # Errors
    ///
    /// Those of [`Reconciler::start`].
    pub fn start<E, S>(&mut self, store: &S) -> Result<RepairMessage, ReconcileError<E>>
    where
        S: Summary<Error = E>,
    {
        self.reconciler.start(store).map(RepairMessage::Compare)
    }

    /// Takes a message and gives what to say to it.
    ///
    /// # Errors
    ///
    /// Those of [`Reconciler::handle`]. After any error the repair is over; what was taken over until
    /// then does no harm.
    pub fn handle<E, S>(
        &mut self,
        store: &mut S,
        message: RepairMessage,
    ) -> Result<Vec<RepairMessage>, ReconcileError<E>>
    where
        S: Summary<Error = E> + DotStore<Error = E>,
    {
        let mut answers = Vec::new();
        match message {
            RepairMessage::Compare(bytes) => {
                let answer = self.reconciler.handle(store, &bytes)?;
                answers.extend(answer.map(RepairMessage::Compare));
                if let Some(difference) = self.reconciler.difference() {
                    if self.gives() {
                        let dots = difference.to_give(self.verdict);
                        let given = part(store, &dots).map_err(ReconcileError::Store)?;
                        answers.push(RepairMessage::Give(given));
                    }
                    if !self.takes() {
                        self.repaired = Some(Repaired::default());
                    }
                    self.difference = Some(difference);
                }
            }
            RepairMessage::Give(given) => {
                let difference = self.difference.as_ref().filter(|_| self.repaired.is_none());
                let difference = difference.ok_or(ReconcileError::Unexpected { kind: 0 })?;
                let is_mutual = self.mode == Mode::PushPull;
                let repaired = difference.take(store, given, self.verdict, is_mutual);
                self.repaired = Some(repaired.map_err(ReconcileError::Store)?);
            }
        }
        Ok(answers)
    }

    /// What changed here, once nothing is left to do.
    #[must_use]
    pub fn repaired(&self) -> Option<&Repaired> {
        self.repaired.as_ref()
    }

    /// What was found, once the comparison is finished.
    #[must_use]
    pub fn difference(&self) -> Option<&Difference> {
        self.difference.as_ref()
    }

    /// How many messages and how many bytes the comparison took, both ways.
    #[must_use]
    pub fn spent(&self) -> (u32, u64) {
        self.reconciler.spent()
    }

    fn gives(&self) -> bool {
        self.mode == Mode::PushPull || (self.mode == Mode::Push) == self.is_initiator
    }

    fn takes(&self) -> bool {
        self.mode == Mode::PushPull || (self.mode == Mode::Pull) == self.is_initiator
    }
}

impl Difference {
    /// The dots of which the other side needs what is here.
    fn to_give(&self, verdict: Verdict) -> CausalContext {
        let mut dots = self.unseen_there.clone();
        dots.union(&self.conflicting);
        dots.union(match verdict {
            Verdict::Removed => &self.live_there,
            Verdict::Lost => &self.live_here,
        });
        dots
    }

    /// Takes over what the other side gave. Only what was found to differ is taken.
    fn take<S: DotStore>(
        &self,
        store: &mut S,
        given: Delta,
        verdict: Verdict,
        is_mutual: bool,
    ) -> Result<Repaired, S::Error> {
        let mut repaired = Repaired::default();
        let mut back = CausalContext::default();
        let count = |mask: u64| u64::from(mask.count_ones());
        for entry in &given.entries {
            let (replica, live) = (entry.replica(), entry.live_ranges());
            let among =
                |dots: &CausalContext| dots.of(replica).map(|dots| dots.intersection(&live));
            let doubtful = among(&self.conflicting).unwrap_or_default();
            let mut is_taken = true;
            for own in store.overlapping(replica, entry.first.counter, entry.last())? {
                let gives_way = !is_mutual || rank(own.view()) < rank(entry.view());
                let lost = if own.view().is_one_run(entry.view()) {
                    losing(&own, entry, &doubtful, is_mutual)
                } else if gives_way {
                    // Two runs stand in each other's way, so one of them goes as a whole.
                    own.live_ranges()
                } else {
                    is_taken = false;
                    continue;
                };
                repaired.replaced += lost.intersection(&doubtful).len();
                repaired.killed += lost.difference(&doubtful).len();
                back.insert_ranges(replica, &lost);
            }
            let lost = among(&self.live_there).filter(|_| verdict == Verdict::Lost && is_taken);
            back.insert_ranges(replica, &lost.unwrap_or_default());
        }
        let mut dropped = Vec::new();
        for (replica, ranges) in back.iter() {
            for (start, end) in ranges.iter() {
                store.kill(replica, start, end, &mut dropped)?;
            }
            store.unsee(replica, ranges)?;
        }
        let joined = join(store, &given)?;
        let added: u64 = joined.added.iter().map(|(_, mask)| count(*mask)).sum();
        repaired.added = added.saturating_sub(repaired.replaced);
        repaired.killed += joined.killed.iter().map(|entry| count(entry.slots.live())).sum::<u64>();
        Ok(repaired)
    }
}

/// The dots in doubt whose content here gives way to that of another part of the same run.
fn losing(own: &Entry, theirs: &Entry, doubtful: &DotRanges, is_mutual: bool) -> DotRanges {
    let mut lost = DotRanges::default();
    for (dot, name, bytes) in theirs.view().named() {
        let mine = own.view().named().find(|(other, ..)| *other == dot);
        let gives_way = |(_, own_name, own_bytes): (_, _, _)| {
            !is_mutual || (own_name, own_bytes) < (name, bytes)
        };
        if mine.is_some_and(gives_way) && doubtful.contains(dot.counter) {
            lost.insert(dot.counter, dot.counter);
        }
    }
    lost
}

/// What decides between two runs.
fn rank(entry: EntryView<'_>) -> (u64, u64, &[u8], &[u8]) {
    (entry.stamp.to_bits(), entry.first.counter, entry.label.space(), entry.id)
}
