//! Where a client keeps a document: what its session reads of that beside the document itself.

use std::convert::Infallible;

use super::outbox::{ItemHead, ItemSpan, OutboxItem};
use crate::causal::{CausalContext, MemoryStore, PlaceStore};
use crate::reconcile::Summary;

/// A store of one document in a client.
///
/// What a session changes in it is visible at once, and on disk before
/// [`ClientInput::Persisted`](super::ClientInput::Persisted) says so. After an error the session is not
/// to be used any more: what was changed together with what failed is open.
pub trait ClientStore: PlaceStore {
    /// Whether the session's driver has what is joined into the document without being told, and stores what
    /// is added to an item of the outbox by itself. Then a [`Step::Join`](super::Step::Join) is empty, and a
    /// [`Step::Enqueue`](super::Step::Enqueue) has only what was added.
    const IS_WRITTEN_THROUGH: bool = false;

    /// Whether its driver can keep a record of what happens: see [`Client::record`](super::Client::record).
    const RECORDS: bool = false;

    /// Whether its driver keeps the outbox where this finds it: then the session holds what it decides by, and
    /// asks for the items as it comes to them.
    const HAS_OUTBOX: bool = false;

    /// Whether it says of its places which stand open, as a document found them before.
    fn is_settled(&self) -> bool {
        false
    }

    /// Every dot seen.
    fn context(&self) -> &CausalContext;

    /// The dots that are live.
    fn live(&self) -> Result<CausalContext, Self::Error>;

    /// Makes sure that the live dots are summed up, from here on.
    fn sum_up(&mut self) -> Result<(), Self::Error>;

    /// What a comparison reads of the live dots: what they sum up to is nothing before
    /// [`sum_up`](Self::sum_up).
    fn summary(&self) -> impl Summary<Error = Self::Error>;

    /// Says that the sums are not needed for now.
    fn drop_sums(&mut self) {}

    /// What the outbox had when the document was opened, in order, once: see
    /// [`HAS_OUTBOX`](Self::HAS_OUTBOX).
    fn take_heads(&mut self) -> Vec<ItemHead> {
        Vec::new()
    }

    /// The item of the outbox that has these dots and is on disk. One that is not there whole is an error;
    /// there is none only where no outbox is kept.
    fn item(&self, _: ItemSpan) -> Result<Option<OutboxItem>, Self::Error> {
        Ok(None)
    }
}

impl ClientStore for MemoryStore {
    const RECORDS: bool = crate::small::HAS_SHORTCUTS;

    fn context(&self) -> &CausalContext {
        self.context()
    }

    fn live(&self) -> Result<CausalContext, Infallible> {
        Ok(self.live())
    }

    fn sum_up(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn summary(&self) -> impl Summary<Error = Infallible> {
        self
    }
}
