//! What must hold in every run, by name.

use std::fmt;

/// Something that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An accepted change that a living disk has, or that a hub acknowledged, is in the final state
    /// unless something that saw it took its place.
    NoLostWrite,
    /// What was removed or replaced does not come back.
    NoResurrection,
    /// No record is listed in parts.
    RecordsWhole,
    /// A counter stands at the sum of what was added to it, each once.
    CountersExact,
    /// A dot has one meaning.
    OneContentPerDot,
    /// Bytes of a delta are on disk before they are on the network, and an item that was sent never
    /// changes.
    DurableBeforeVisible,
    /// A hub lets one connection at a time write as a replica.
    OneWriter,
    /// What a hub acknowledges is on its disk.
    AckAfterHubDisk,
    /// A receipt never says more than what is so.
    ReceiptNotEarly,
    /// Whoever is said to have a change has had it on disk.
    HeldOnDisk,
    /// In the end everybody who asks knows that the others have its changes.
    HoldersKnown,
    /// In the end the hub and every device hold one state, in memory and on disk.
    Converged,
    /// After the faults end, everything is quiet within a bound.
    QuietInTime,
    /// In the end no outbox holds anything, but for what a copy wrote.
    OutboxEmpty,
    /// In the end a context has one range for each replica, but for what no disk has.
    ContextCompact,
    /// A catch-up costs at most 1.2 times what the client did not have, and a constant.
    CatchUpCheap,
    /// Nobody is accused of breaking the protocol.
    NoFalseAccusation,
    /// A change takes the place only of what it is about.
    OnlyItsOwnPlace,
    /// What the workload itself requires.
    Application,
    /// Nothing panics.
    NoPanic,
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.invariant, self.detail)
    }
}
