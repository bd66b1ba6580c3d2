//! What waits for the hub, opened to the user: listed, set aside, sent again, written anew, given up,
//! exported.

mod export;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use sync_core::causal::Dot;
use sync_core::session::{Immediate, ItemError, Now, OutboxItem, OutboxState, Standing};
use sync_core::types::Place;
use sync_core::wire::encode_delta;

pub use self::export::{BadExport, ExportedItem, read_export};
use crate::client::Client;
use crate::error::Error;
use crate::shared::State;
use crate::store::{DocumentStore, StoreError};
use crate::{Refused, ReplicaId};

/// The most items of a page of the outbox.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// The most places that are named of one item. Arbitrary: as many as a person reads.
pub const ITEM_PLACES_MAX: usize = 16;

/// What a client does is done in its file at once.
impl Immediate for DocumentStore {}

/// Names an item of the outbox: its document and the last dot in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// The document.
    pub document: String,
    /// The last dot that the item wrote.
    pub dot: Dot,
}

/// `REPLICA:COUNTER@DOCUMENT`.
impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.dot, self.document)
    }
}

/// The text is none that a key is written as.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no item of an outbox; write REPLICA:COUNTER@DOCUMENT as the list shows it")]
pub struct BadKey {
    /// What was given.
    pub text: String,
}

impl FromStr for ItemKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let read = || {
            let (dot, document) = text.split_once('@')?;
            let (replica, counter) = dot.split_once(':')?;
            let replica: ReplicaId = replica.parse().ok()?;
            let dot = Dot::new(replica, counter.parse().ok()?);
            Some(Self { document: document.to_owned(), dot })
        };
        read().ok_or_else(|| BadKey { text: text.to_owned() })
    }
}

/// Where an item of the outbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemState {
    /// It is sent as soon as there is a connection.
    Pending,
    /// It was sent, and the hub has not answered.
    InFlight,
    /// It depends on an item that is parked, and goes with that.
    Waiting,
    /// The hub refused it, or [`Client::park_item`] set it aside.
    Parked {
        /// What the hub says, or the application.
        reason: String,
    },
}

/// An item of the outbox, as it is listed: one delta, of one change or of several that followed each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which item.
    pub key: ItemKey,
    /// Where it is.
    pub state: ItemState,
    /// Its bytes as they are sent.
    pub bytes: usize,
    /// How many changes are in it.
    pub changes: u32,
    /// When the first of these was made, by the clock of then; none where nothing says it, as of an item
    /// whose change was taken back.
    pub since: Option<SystemTime>,
    /// The records, sets and values that it is about, up to [`ITEM_PLACES_MAX`] of them. A change that only
    /// takes fields out names none.
    pub places: Vec<Place>,
    /// How many there are in all.
    pub place_count: usize,
}

impl Waiting {
    /// How long it waits. A change of the future, by a clock that was wrong, waits for no time.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        Some(now.duration_since(self.since?).unwrap_or_default())
    }

    fn new(document: &str, item: &OutboxItem, standing: Standing<'_>) -> Self {
        let state = match standing {
            Standing::Pending => ItemState::Pending,
            Standing::InFlight => ItemState::InFlight,
            Standing::Waiting => ItemState::Waiting,
            Standing::Parked { reason } => ItemState::Parked { reason: reason.to_owned() },
        };
        let places = places(item);
        let since = item.since_ms().map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
        Self {
            key: ItemKey { document: document.to_owned(), dot: item.key() },
            state,
            bytes: encode_delta(&item.delta).len(),
            changes: item.changes,
            since,
            place_count: places.len(),
            places: places.into_iter().take(ITEM_PLACES_MAX).collect(),
        }
    }
}

fn places(item: &OutboxItem) -> BTreeSet<Place> {
    let entries = item.delta.entries.iter();
    let entries = entries.filter_map(|entry| Place::of(entry.label.space(), &entry.id));
    let notes = item.delta.notes.iter();
    entries.chain(notes.filter_map(|note| Place::of(note.label.space(), &note.id))).collect()
}

/// A page of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxPage {
    /// The items, by document, in the order in which they are sent.
    pub items: Vec<Waiting>,
    /// After which item the next page begins; none on the last one.
    pub next: Option<ItemKey>,
}

/// What was lost by giving an item up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The item as it was listed.
    pub item: Waiting,
    /// The item as [`Client::export_outbox`] writes it, for whoever wants it after all.
    pub export: Vec<u8>,
}

/// Why nothing was done with an item of the outbox.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// There is no item of this key.
    #[error("the outbox has no such item; the hub may have taken it since")]
    NoSuchItem,
    /// The item was sent to the hub, or is about to be, and the hub has not answered.
    #[error("the item may have reached the hub; connect, and wait for its answer")]
    InFlight,
    /// The item is not set aside.
    #[error("the item is not parked; park it first")]
    NotParked,
    /// Another item depends on this one.
    #[error("item {by} depends on this one; give that up first")]
    Needed {
        /// The first that does.
        by: ItemKey,
    },
    /// The client refused it.
    #[error(transparent)]
    Client(#[from] Error),
}

impl Client {
    /// A page of what the hub has not acknowledged, of all documents, beginning after an item: up to
    /// `limit` of them, and no more than [`PAGE_ITEMS_MAX`]. Where that item is gone by now, the page begins
    /// with the first of its document, so that nothing is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where the item's document is not open; [`Error::Read`] where the file cannot be read.
    pub fn outbox_page(&self, after: Option<&ItemKey>, limit: usize) -> Result<OutboxPage, Error> {
        let limit = limit.clamp(1, PAGE_ITEMS_MAX);
        let state = self.inner().shared.lock();
        let mut page = OutboxPage { items: Vec::new(), next: None };
        let from = after.map_or("", |after| &after.document);
        for name in state.session.names().filter(|name| *name >= from) {
            let after = after.filter(|after| after.document == name).map(|after| after.dot);
            let passed = after.and_then(|after| {
                state.session.spans(name).ok()?.position(|(span, _)| span.key() == after)
            });
            let skipped = passed.map_or(0, |at| at + 1);
            for (span, standing) in state.session.spans(name)?.skip(skipped) {
                if page.items.len() == limit {
                    page.next = page.items.last().map(|item| item.key.clone());
                    return Ok(page);
                }
                let item = state.item(name, span.key())?;
                page.items.extend(item.map(|item| Waiting::new(name, &item, standing)));
            }
        }
        Ok(page)
    }

    /// Sets an item aside that was never sent, and what depends on it waits with it. The reason is the
    /// application's.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NoSuchItem`], [`OutboxError::InFlight`]; [`OutboxError::Client`] where the file
    /// cannot be written.
    pub fn park_item(&self, key: &ItemKey, reason: &str) -> Result<(), OutboxError> {
        self.on_item(key, |state, _| state.session.park_item(&key.document, key.dot, reason))
    }

    /// Lets a parked item be sent again as it is, and what waits with it.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NoSuchItem`], [`OutboxError::NotParked`]; [`OutboxError::Client`] where the file
    /// cannot be written.
    pub fn retry_item(&self, key: &ItemKey) -> Result<(), OutboxError> {
        self.on_item(key, |state, _| state.session.retry_item(&key.document, key.dot))
    }

    /// Lets all parked items be sent again as they are. Gives how many there were.
    ///
    /// # Errors
    ///
    /// [`OutboxError::Client`] where the file cannot be written.
    pub fn retry_all(&self) -> Result<usize, OutboxError> {
        let mut count = 0;
        for key in self.parked() {
            match self.retry_item(&key) {
                Ok(()) => count += 1,
                // Somebody else has done something about it meanwhile.
                Err(OutboxError::NoSuchItem | OutboxError::NotParked) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Writes again what a parked item wrote and is still there, as a change of now: what the hub refuses for
    /// when it was written, it takes so. The item's own dots die, so nobody ever has both.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NoSuchItem`], [`OutboxError::NotParked`]; [`OutboxError::Client`] where what would be
    /// written is too large for a change, or the file cannot be written.
    pub fn rewrite_item(&self, key: &ItemKey) -> Result<(), OutboxError> {
        self.on_item(key, |state, now| {
            let State { session, histories, .. } = state;
            let rewritten = session.rewrite_item(now, &key.document, key.dot)?;
            histories.rewrite(&key.document, &rewritten);
            Ok(())
        })
    }

    /// Gives a parked item up, and says what is lost by that.
    ///
    /// What it wrote is taken back here, and reaches nobody. What it overwrote or removed is not on this
    /// device any more, and comes back from the hub with the next connection; until then these fields are
    /// missing here. What no hub has is gone: without one, or before the hub had it, nothing brings it back.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NoSuchItem`], [`OutboxError::NotParked`]; [`OutboxError::Needed`] where another item
    /// depends on it; [`OutboxError::Client`] where the file cannot be written.
    pub fn drop_item(&self, key: &ItemKey) -> Result<Dropped, OutboxError> {
        let item = self.on_item(key, |state, _| {
            let State { session, histories, .. } = state;
            let item = session.drop_item(&key.document, key.dot)?;
            let document = session.document(&key.document)?;
            let forgotten = histories.give_up(&key.document, &item, document);
            forgotten.map_err(Refused::Store)?;
            Ok(item)
        })?;
        let standing = match &item.state {
            OutboxState::Parked { reason } => Standing::Parked { reason },
            OutboxState::Pending | OutboxState::Frozen => Standing::Pending,
        };
        let mut export = export::Export::default();
        export.add(&key.document, &item);
        let export = export.into_bytes();
        Ok(Dropped { item: Waiting::new(&key.document, &item, standing), export })
    }

    /// Writes items to bytes with a checksum, as `docs/outbox.md` says: those with these keys, or all where
    /// none is named. [`read_export`] reads them.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NoSuchItem`] where a key names none: nothing is written then; [`OutboxError::Client`] where
    /// the file cannot be read.
    pub fn export_outbox(&self, keys: &[ItemKey]) -> Result<Vec<u8>, OutboxError> {
        let state = self.inner().shared.lock();
        if !keys.iter().all(|key| has(&state, key)) {
            return Err(OutboxError::NoSuchItem);
        }
        let is_wanted = |name: &str, dot: Dot| {
            keys.is_empty() || keys.iter().any(|key| key.document == name && key.dot == dot)
        };
        let mut export = export::Export::default();
        for name in state.session.names() {
            for (span, _) in state.session.spans(name).map_err(Error::from)? {
                if is_wanted(name, span.key())
                    && let Some(item) = state.item(name, span.key())?
                {
                    export.add(name, &item);
                }
            }
        }
        Ok(export.into_bytes())
    }

    fn parked(&self) -> Vec<ItemKey> {
        let state = self.inner().shared.lock();
        let mut parked = Vec::new();
        for name in state.session.names() {
            for (span, standing) in state.session.spans(name).into_iter().flatten() {
                if matches!(standing, Standing::Parked { .. }) {
                    parked.push(ItemKey { document: name.to_owned(), dot: span.key() });
                }
            }
        }
        parked
    }

    fn on_item<T>(
        &self,
        key: &ItemKey,
        work: impl FnOnce(&mut State, Now) -> Result<T, ItemError<StoreError>>,
    ) -> Result<T, OutboxError> {
        let shared = &self.inner().shared;
        let mut state = shared.lock();
        state.check()?;
        let done = work(&mut state, shared.now());
        // Nothing is over before it is on disk.
        state.backlog += 1;
        let done = done.map_err(|refused| match refused {
            ItemError::NoSuchItem => OutboxError::NoSuchItem,
            ItemError::InFlight => OutboxError::InFlight,
            ItemError::NotParked => OutboxError::NotParked,
            ItemError::Needed { by: dot } => {
                OutboxError::Needed { by: ItemKey { document: key.document.clone(), dot } }
            }
            ItemError::Refused(Refused::Store(failure)) => state.fail(Arc::new(failure)).into(),
            ItemError::Refused(Refused::Misuse(misuse)) => Error::Misuse(misuse).into(),
        });
        drop(state);
        shared.wake.notify_one();
        done
    }
}

fn has(state: &State, key: &ItemKey) -> bool {
    let mut spans = state.session.spans(&key.document).into_iter().flatten();
    spans.any(|(span, _)| span.key() == key.dot)
}
