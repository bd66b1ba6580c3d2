//! Marks: what a sweep must have reached at least once, each fault and each way of recovery that can
//! be seen from outside. A simulation that never gets there shows nothing about it.

macro_rules! marks {
    ($($(#[doc = $text:literal])* $name:ident,)*) => {
        /// Something that must happen in some run of a sweep.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark { $($(#[doc = $text])* $name,)* }

        impl Mark {
            /// All marks, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it says.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

marks! {
    /// A connection was cut with frames under way, which are lost.
    FramesLost,
    /// A frame arrived from a connection that its sender had given up.
    FrameOfADeadConnection,
    /// A push came again over a later connection.
    PushRepeated,
    /// A frame waited for the end of a partition.
    FrameHeldByPartition,
    /// Nothing went up, while frames came down.
    OneWayUp,
    /// Nothing came down, while frames went up.
    OneWayDown,
    /// The end of a connection was not told to the other side.
    HalfOpen,
    /// A line came and went many times a second.
    Flapping,
    /// A client gave up a silent hub.
    ClientTimedOut,
    /// A hub gave up a silent connection.
    HubTimedOut,
    /// A connection took over from an older one of the same opening.
    Superseded,
    /// A device crashed.
    DeviceCrashed,
    /// A crash took changes that were not on disk.
    UnsyncedLost,
    /// A crash left on disk what was never confirmed.
    UnconfirmedSurvived,
    /// A hub crashed.
    HubCrashed,
    /// A crash of a hub took a batch that was under way.
    HubBatchLost,
    /// A crash of a hub left a batch on disk, and took its acknowledgements.
    HubBatchUnanswered,
    /// A hub lost its tail.
    HubLostTail,
    /// A hub came back from an old backup.
    HubRestored,
    /// A hub came back with nothing.
    HubWiped,
    /// A hub that had lost something was given something back.
    Refilled,
    /// A connection ended behind a part of a refill.
    RefillCut,
    /// A hub forgot removals.
    Forgot,
    /// A clock was off by up to minutes.
    ClockSkewed,
    /// A clock jumped by ten years into the future.
    ClockJumpedAhead,
    /// A clock jumped back by ten years.
    ClockJumpedBack,
    /// A device came back from a backup.
    DeviceRestored,
    /// A device was cloned.
    DeviceCloned,
    /// A replica found itself in use, or behind, and writes under a fresh incarnation.
    Renewed,
    /// A client opened again, so that the hub asks for what it wrote as a replica that is in use.
    OpenedAgain,
    /// A push was refused.
    Refused,
    /// A copy of a database wrote again as a fresh replica what it had written since it was made.
    WrittenAgain,
    /// Two devices gave one dot two meanings.
    DotContested,
    /// A device was away for a year and thousands of changes.
    AwayForAYear,
    /// Everybody slept for hours.
    Slept,
    /// A device changed from one hub to another.
    Roamed,
    /// A catch-up began at a cursor.
    Resumed,
    /// A catch-up compared everything.
    Compared,
    /// A cursor was not good any more.
    CursorRefused,
    /// A catch-up came in many chunks.
    ManyChunks,
    /// A catch-up was cut.
    CatchUpCut,
    /// A delta of another device overtook a catch-up.
    CatchUpOvertaken,
    /// A frame was packed on its way to a hub.
    PackedUp,
    /// A frame was packed on its way to a device.
    PackedDown,
    /// A push named something by a dot that was gone at its hub.
    Unresolved,
    /// Several items of the outbox went as one push.
    PushedTogether,
    /// Changes were joined into one item of the outbox.
    OutboxJoined,
    /// Two versions of a field stood side by side.
    FieldConflict,
    /// An edit met a delete, and the record was asserted again.
    RecordAsserted,
    /// An edit met a delete, and nobody asserted the record.
    RecordPartial,
    /// A change wrote what a removal elsewhere did not see.
    DeleteMetEdit,
    /// Several documents shared a connection.
    ManyDocuments,
    /// A change was gone with every disk that had it.
    GoneWithItsDisks,
    /// A device heard that another one has changes of it.
    Held,
    /// A device heard of another one again, which is not known to have all that it had.
    HeldLess,
}

/// How often each mark was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Vec<u64>);

impl Default for Marks {
    fn default() -> Self {
        Self(vec![0; Mark::ALL.len()])
    }
}

impl Marks {
    /// Reaches a mark.
    pub(crate) fn hit(&mut self, mark: Mark) {
        if let Some(count) = self.0.get_mut(mark as usize) {
            *count += 1;
        }
    }

    /// How often a mark was reached.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.0.get(mark as usize).copied().unwrap_or(0)
    }

    /// The marks that were never reached.
    #[must_use]
    pub fn missing(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| self.count(*mark) == 0).collect()
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (own, theirs) in self.0.iter_mut().zip(&other.0) {
            *own += theirs;
        }
    }
}
