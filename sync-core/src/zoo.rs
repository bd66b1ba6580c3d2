//! The bug zoo: rules of this crate that a simulation breaks on purpose, one at a time, to show that it
//! would notice. Only with the feature `zoo`; without it there is neither this module nor a trace of
//! it in the code.

use std::cell::Cell;

thread_local! {
    static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
}

macro_rules! mutants {
    ($($(#[doc = $text:literal])* $name:ident = $word:literal,)*) => {
        /// A rule to break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant { $($(#[doc = $text])* $name,)* }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it is called in files and on command lines.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

mutants! {
    /// A join takes an entry again whose dots have died: a delete comes back.
    JoinRevives = "join-revives",
    /// Of an entry of which a part is new, a join takes all: dead slots come back to life.
    JoinIgnoresMask = "join-ignores-the-live-mask",
    /// A join does not remember dots that arrive dead.
    JoinForgetsUnseen = "join-forgets-unseen",
    /// A join leaves live what a delta declares dead.
    JoinKeepsDead = "join-keeps-dead",
    /// What was asserted again counts as if somebody had written it: a delete is undone by copies.
    CopiesCount = "delete-undone-by-copies",
    /// Only what a delete took is asserted again: half a record.
    CopiesInPart = "half-a-record",
    /// A record that an edit kept is not asserted again by whoever holds it.
    NobodyAsserts = "nobody-asserts",
    /// Whoever removed a record forgets what it held.
    DeleterForgets = "deleter-forgets",
    /// A document is opened with what is not on disk.
    OpensBeforeStored = "opens-before-stored",
    /// An item is sent that is not on disk.
    SendsBeforeStored = "sends-before-stored",
    /// An item is sent that is not frozen on disk.
    SendsBeforeFrozen = "sends-before-frozen",
    /// A change is joined into an item that was sent.
    JoinsIntoFrozen = "joins-into-an-item-in-flight",
    /// An item that takes the place of another does not say so.
    ReplacesInSilence = "outbox-item-not-replaced",
    /// What was being sent when a connection ended is not sent again.
    NeverSendsAgain = "queue-stuck-after-a-cut",
    /// An item leaves the outbox as it is sent.
    SettlesUnanswered = "settles-without-an-answer",
    /// A live delta moves the cursor while a catch-up is under way.
    CursorByLiveDelta = "cursor-moved-by-a-live-delta",
    /// A refill under way does not hold the cursor.
    CursorDuringRefill = "cursor-moved-during-a-refill",
    /// A hub that lost something gets nothing back.
    NoRefill = "no-refill",
    /// A hub that accepts the cursor is not compared with.
    NoCompareOnResume = "valid-cursor-on-a-restored-hub",
    /// A refill has no dead dots.
    RefillWithoutDead = "refill-without-dead-dots",
    /// A refill takes what went before a removal that still waits in the outbox.
    RefillSplitsRemovals = "refill-splits-removals",
    /// A refill takes what an item of the outbox took.
    RefillTakesOutbox = "refill-takes-what-the-outbox-took",
    /// The removals of a catch-up are joined as they come.
    RemovalsInPieces = "removals-in-pieces",
    /// A replica that is in use writes on.
    NeverRenews = "never-renews",
    /// A replica in use is given up, and the document not opened again.
    NeverOpensAgain = "in-use-and-not-opened-again",
    /// A second opening may claim a live replica.
    TwoOwners = "two-owners-of-one-replica",
    /// A hub confirms a dot of which it keeps another content.
    TwoContents = "two-contents-confirmed",
    /// A hub does not say which openings of a replica it knows.
    OpeningsUntold = "openings-not-told",
    /// A hub takes what a client wrote as a replica of which another one brought something meanwhile.
    StrangersUnseen = "strangers-not-seen",
    /// What is written again as a fresh replica stays seen as the old one.
    RenamesWithoutForgetting = "written-again-and-not-forgotten",
    /// All that waits is written again, also what was written before the histories parted.
    RenamesTooMuch = "written-again-from-before-the-fork",
    /// A hub takes no dots that it should ask for.
    NothingWanted = "wanted-not-asked",
    /// Changes are not passed on.
    NoRelay = "relay-missing",
    /// What arrives while a catch-up is under way is not passed on to that client.
    SeamNotCovered = "snapshot-seam",
    /// Objects are named by dots to those who may not have them yet.
    DotsBeforeLive = "dots-before-live",
    /// What was under way behind a push that could not be resolved is taken.
    TakesBehindUnresolved = "takes-behind-an-unresolved-push",
    /// A push that could not be resolved is not sent again.
    ForgetsUnresolved = "unresolved-and-not-sent-again",
    /// Every dot of the document comes with the first page of a catch-up.
    ContextFirst = "context-before-entries",
    /// Removals of what a client never saw are left out of its catch-up.
    UnseenLeftOut = "unseen-removals-left-out",
    /// The horizon is asked only as a catch-up begins.
    HorizonAskedOnce = "horizon-passes-a-catch-up",
    /// A cursor of a start that the hub does not know is taken.
    AnyBoot = "hub-grown-past-a-cursor",
    /// Removals that were forgotten are no reason to refuse a cursor.
    NoHorizon = "horizon-not-asked",
    /// A client says that it holds what is not on its disk.
    HeldBeforeStored = "held-before-stored",
    /// Whoever is heard to hold something is taken to have every change made here.
    HoldersHaveAll = "holders-have-all",
    /// A hub passes on that a device holds everything, though it said less.
    HoldersRaised = "holders-raised",
}

/// Breaks a rule on this thread from here on, or none.
pub fn set(mutant: Option<Mutant>) {
    ON.set(mutant);
}

/// Whether a rule is broken.
#[must_use]
pub fn is_on(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}
