//! The change feed: every field that changed, here or elsewhere, in the order in which it did.

use std::time::Duration;

use thiserror::Error as ThisError;

use sync_core::causal::{Dot, ReplicaId};
use sync_core::types::{Field, Place};

use crate::document::DocumentHandle;
use crate::error::Error;
use crate::shared::State;
use crate::store::{FeedRow, Store};

/// How far a feed was followed: to be kept by the application, with what it made of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedCursor(u64);

impl FeedCursor {
    /// The cursor as a number, to be stored.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// A cursor that was stored.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

/// A field that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// Where the feed is behind this entry.
    pub cursor: FeedCursor,
    /// Names the change that did this: its last dot. One change may have several entries, and an entry that
    /// is read twice has the same one each time.
    pub change: Dot,
    /// Which record, set or value. Of a set of the document there is one entry for each member.
    pub place: Place,
    /// The names of nested maps, then of the field. Empty where a record came or went, which has all its
    /// fields as a map; and of sets and values.
    pub path: Vec<String>,
    /// What the field held; none where it was not there.
    pub old: Option<Field>,
    /// What it holds; none where it is not there any more.
    pub new: Option<Field>,
    /// Who changed it; none where several replicas' changes came as one, and it is not known whose it was.
    pub author: Option<ReplicaId>,
    /// When it was changed or arrived here, by this device's clock: milliseconds since 1970.
    pub unix_ms: u64,
}

impl FeedEntry {
    fn of(row: FeedRow) -> Self {
        let FeedRow { position, unix_ms, change, field } = row;
        Self {
            cursor: FeedCursor(position),
            change,
            place: field.place,
            path: field.path,
            old: field.old,
            new: field.new,
            author: field.by.map(|by| by.replica),
            unix_ms,
        }
    }
}

/// A part of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// What is wanted, in order.
    pub entries: Vec<FeedEntry>,
    /// Where to go on.
    pub next: FeedCursor,
    /// Whether there may be more at once.
    pub has_more: bool,
}

/// Why a feed cannot be read.
#[derive(Debug, Clone, ThisError)]
#[non_exhaustive]
pub enum FeedError {
    /// [`Builder::keep_feed`](crate::Builder::keep_feed) did not ask for one.
    #[error("no feed is kept; ask for one with keep_feed when the client is opened")]
    NotKept,
    /// Entries behind the cursor are gone, by the limits of the feed or since it was not kept for a time.
    #[error(
        "the feed no longer has what came next; take its end, read the state anew, and go on there"
    )]
    Gone,
    /// The client refused.
    #[error(transparent)]
    Client(#[from] Error),
}

impl DocumentHandle {
    /// The oldest place from which the feed can be followed.
    ///
    /// # Errors
    ///
    /// [`FeedError::NotKept`]; [`FeedError::Client`] where the client is shut down or its store failed.
    pub fn feed_begin(&self) -> Result<FeedCursor, FeedError> {
        Ok(self.feed_bounds()?.0)
    }

    /// The end of the feed: from here on nothing is missed of what comes. Whoever reads the state after
    /// asking for this, and follows from here, has everything.
    ///
    /// # Errors
    ///
    /// [`FeedError::NotKept`]; [`FeedError::Client`] where the client is shut down or its store failed.
    pub fn feed_end(&self) -> Result<FeedCursor, FeedError> {
        Ok(self.feed_bounds()?.1)
    }

    fn feed_bounds(&self) -> Result<(FeedCursor, FeedCursor), FeedError> {
        let name = self.name.clone();
        let found = self.inner.shared.with_store(move |_, store| Ok(store.feed_bounds(&name)?))?;
        let (begin, end) = found.ok_or(FeedError::NotKept)?;
        Ok((FeedCursor(begin), FeedCursor(end)))
    }

    /// What changed behind a cursor, at most `limit` entries and at least one if there is any: in these
    /// collections, or in everything where none is named. Only what is on disk is told, so an entry is told
    /// again after a crash rather than not at all. A page may be empty though there is more: of what is not
    /// wanted, only so much is passed over in one go.
    ///
    /// # Errors
    ///
    /// [`FeedError::NotKept`]; [`FeedError::Gone`] where what comes behind the cursor is no longer kept;
    /// [`FeedError::Client`] where the file cannot be read, or the client is shut down.
    pub fn feed(
        &self,
        after: FeedCursor,
        collections: &[&str],
        limit: usize,
    ) -> Result<FeedPage, FeedError> {
        let name = self.name.clone();
        let wanted: Vec<String> = collections.iter().map(|name| (*name).to_owned()).collect();
        let limit = limit.max(1);
        self.inner.shared.with_store(move |_, store| {
            let Some((gone, last)) = store.feed_bounds(&name)? else {
                return Ok(Err(FeedError::NotKept));
            };
            if after.0 < gone || after.0 > last {
                return Ok(Err(FeedError::Gone));
            }
            let (mut entries, mut next) = (Vec::new(), after);
            let has_more = store.feed(&name, after.0, |row| {
                if entries.len() >= limit {
                    return false;
                }
                next = FeedCursor(row.position);
                if is_wanted(&row.field.place, &wanted) {
                    entries.push(FeedEntry::of(row));
                }
                true
            })?;
            Ok(Ok(FeedPage { entries, next, has_more }))
        })?
    }

    /// As [`feed`](Self::feed), and blocks until there is something that is wanted, or the time is over.
    ///
    /// # Errors
    ///
    /// [`FeedError::NotKept`]; [`FeedError::Gone`] where what comes behind the cursor is no longer kept;
    /// [`FeedError::Client`] where the file cannot be read, or the client is shut down.
    pub fn wait_feed(
        &self,
        after: FeedCursor,
        collections: &[&str],
        limit: usize,
        timeout: Duration,
    ) -> Result<FeedPage, FeedError> {
        let shared = &self.inner.shared;
        let deadline = shared.deadline(timeout);
        let mut next = after;
        loop {
            let page = self.feed(next, collections, limit)?;
            next = page.next;
            let is_over = || {
                let news = shared.wait_until(Some(deadline), |state| self.has_news(state, next));
                news.is_none()
            };
            if !page.entries.is_empty() || (!page.has_more && is_over()) {
                return Ok(page);
            }
        }
    }

    /// As [`feed`](Self::feed), once there is something that is wanted. May be dropped at any time and
    /// called again. Works in any async runtime.
    ///
    /// # Errors
    ///
    /// [`FeedError::NotKept`]; [`FeedError::Gone`] where what comes behind the cursor is no longer kept;
    /// [`FeedError::Client`] where the file cannot be read, or the client is shut down.
    pub async fn next_feed(
        &self,
        after: FeedCursor,
        collections: &[&str],
        limit: usize,
    ) -> Result<FeedPage, FeedError> {
        let mut next = after;
        loop {
            let page = self.feed(next, collections, limit)?;
            next = page.next;
            if !page.entries.is_empty() {
                return Ok(page);
            }
            if !page.has_more {
                self.inner.shared.until(|state| self.has_news(state, next)).await;
            }
        }
    }

    /// Forgets the feed. Whoever follows it is told that something is gone. Blocks until that is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where it could not be deleted, [`Error::Closed`].
    pub fn purge_feed(&self) -> Result<(), Error> {
        let name = self.name.clone();
        self.inner.shared.with_store(move |state, store| {
            let purged = store.written(|store| store.purge_feed(&name));
            purged.map_err(|failure| state.fail(failure))
        })
    }

    /// Whether the feed may have more, or never will.
    fn has_news(&self, state: &State, after: FeedCursor) -> Option<()> {
        let end = state.feed_ends.get(&*self.name).copied().unwrap_or(0);
        (end > after.0 || state.is_ended || state.failure.is_some()).then_some(())
    }
}

impl State {
    /// Takes note of the ends of all feeds, all of which is on disk.
    pub(crate) fn note_feed_ends(&mut self, store: &Store) {
        for (name, end) in store.feed_ends() {
            if self.feed_ends.get(name) != Some(&end) {
                self.feed_ends.insert(name.to_owned(), end);
            }
        }
    }
}

fn is_wanted(place: &Place, collections: &[String]) -> bool {
    collections.is_empty()
        || matches!(place, Place::Record { collection, .. } if collections.contains(collection))
}
