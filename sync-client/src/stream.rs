//! Streams of what happens, and of how things are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use sync_core::causal::ReplicaId;
use sync_core::session::Peer;
use sync_core::types::Place;

use crate::client::Client;
use crate::document::DocumentHandle;
use crate::shared::{Shared, State};
use crate::status::{ClientStatus, Event, Status};

/// What a broadcast gave, and the receiver to ask again.
type Received = (Result<Option<Event>, RecvError>, broadcast::Receiver<Option<Event>>);

/// What happens in a client, from when it was subscribed to: a [`Stream`], which ends when the client is
/// shut down. It does not keep the client open. Whoever lags behind gets [`Event::Missed`] in place of
/// what is gone.
pub struct Subscription {
    /// The next event; none once the last one was taken.
    next: Option<BoxFuture<'static, Received>>,
}

impl Subscription {
    pub(crate) fn new(events: broadcast::Receiver<Option<Event>>) -> Self {
        Self { next: Some(receive(events)) }
    }

    /// The next event; none after the client was shut down. Dropping what this gives loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// Blocks until the next event. Not to be called within an async runtime.
    pub fn wait_next(&mut self) -> Option<Event> {
        futures::executor::block_on(self.next())
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (event, events) = ready!(next.poll_unpin(context));
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => Some(Event::Missed),
            Err(RecvError::Closed) => None,
        };
        self.next = event.is_some().then(|| receive(events));
        Poll::Ready(event)
    }
}

fn receive(mut events: broadcast::Receiver<Option<Event>>) -> BoxFuture<'static, Received> {
    async move { (events.recv().await, events) }.boxed()
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("is_over", &self.next.is_none()).finish()
    }
}

/// What changed in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These places changed, here or elsewhere: read them.
    Places(BTreeSet<Place>),
    /// This was asked too seldom, and changes are gone: read everything again.
    Missed,
}

/// The changes of one document, from when it was asked for: a [`Stream`], which ends when the client is
/// shut down. It does not keep the client open.
#[derive(Debug)]
pub struct ChangeStream {
    document: Arc<str>,
    events: Subscription,
}

impl Stream for ChangeStream {
    type Item = Changes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Changes>> {
        loop {
            match ready!(self.events.poll_event(context)) {
                None => return Poll::Ready(None),
                Some(Event::Missed) => return Poll::Ready(Some(Changes::Missed)),
                Some(Event::Changed { document, places }) if *document == *self.document => {
                    return Poll::Ready(Some(Changes::Places(places)));
                }
                Some(
                    Event::Changed { .. }
                    | Event::Status { .. }
                    | Event::Peers { .. }
                    | Event::Conflict { .. }
                    | Event::Renewed { .. }
                    | Event::Connection(_)
                    | Event::ClockSkew { .. }
                    | Event::Scrubbed(_),
                ) => {}
            }
        }
    }
}

/// Reads something at a time, in milliseconds since 1970.
type Read<T> = Box<dyn Fn(&State, u64) -> Option<T> + Send>;

/// How something is: a [`Stream`] that gives it at once, and again whenever it has become different. Who
/// asks seldom gets the newest only. Ends when the client is shut down, and does not keep it open.
pub struct Watch<T> {
    shared: Arc<Shared>,
    read: Read<T>,
    is_same: fn(&T, &T) -> bool,
    last: Option<T>,
    /// The driver's next turn; none once the client has ended.
    turn: Option<BoxFuture<'static, watch::Receiver<u64>>>,
}

impl<T: Clone> Watch<T> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        read: impl Fn(&State, u64) -> Option<T> + Send + 'static,
        is_same: fn(&T, &T) -> bool,
    ) -> Self {
        // A turn that ends between subscribing and the first look is looked at twice.
        let mut turns = shared.turns();
        turns.mark_changed();
        let turn = Some(turned(turns));
        Self { shared, read: Box::new(read), is_same, last: None, turn }
    }

    /// How it is once it has become different from what was given last; none after the client was shut
    /// down. Dropping what this gives loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// Blocks until it has become different. Not to be called within an async runtime.
    pub fn wait_next(&mut self) -> Option<T> {
        futures::executor::block_on(self.next())
    }

    fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        while let Some(turn) = &mut self.turn {
            let turns = ready!(turn.poll_unpin(context));
            let now_ms = self.shared.now().unix_ms;
            let state = self.shared.lock();
            let found = (self.read)(&state, now_ms);
            self.turn = (!state.is_ended).then(|| turned(turns));
            drop(state);
            if let Some(found) = found
                && !self.last.as_ref().is_some_and(|last| (self.is_same)(last, &found))
            {
                self.last = Some(found.clone());
                return Poll::Ready(Some(found));
            }
        }
        Poll::Ready(None)
    }
}

fn turned(mut turns: watch::Receiver<u64>) -> BoxFuture<'static, watch::Receiver<u64>> {
    async move {
        // The sender lives in what the watch itself holds.
        let _ = turns.changed().await;
        turns
    }
    .boxed()
}

impl<T: Clone + Unpin> Stream for Watch<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_changed(context)
    }
}

impl<T: fmt::Debug> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Client {
    /// Tells everything that happens from here on.
    ///
    /// ```
    /// use sync_client::{Client, Event, Place};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let client = Client::open(folder.path().join("data"), "notes")?;
    /// let notes = client.document("notes")?.collection("notes");
    /// let mut subscription = client.subscribe();
    /// let (id, written) = notes.insert([("title", "Buy milk".into())])?;
    /// written.wait_disk()?;
    /// client.shutdown()?;
    ///
    /// let mut changed = Vec::new();
    /// while let Some(event) = subscription.wait_next() {
    ///     match event {
    ///         Event::Changed { places, .. } => changed.extend(places),
    ///         Event::Missed => { /* Some are gone: read everything again. */ }
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(changed, [Place::Record { collection: "notes".to_owned(), id }]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(self.inner.shared.subscribe())
    }

    /// How the client is, now and whenever that becomes different.
    #[must_use]
    pub fn watch(&self) -> Watch<ClientStatus> {
        let read = |state: &State, now_ms| Some(state.client_status(now_ms));
        Watch::new(self.inner.shared.clone(), read, ClientStatus::is_same)
    }
}

impl DocumentHandle {
    /// What changes in the document from here on, here or elsewhere.
    #[must_use]
    pub fn changes(&self) -> ChangeStream {
        let events = Subscription::new(self.inner.shared.subscribe());
        ChangeStream { document: self.name.clone(), events }
    }

    /// How the document is with its hub, now and whenever that becomes different.
    #[must_use]
    pub fn watch(&self) -> Watch<Status> {
        let name = self.name.clone();
        let read = move |state: &State, now_ms| state.status(&name, now_ms).ok();
        Watch::new(self.inner.shared.clone(), read, Status::is_same)
    }

    /// Who else is online in the document, now and whenever that becomes different. A peer that goes is
    /// gone from what the hub tells next: at once where its connection ends with a word or is closed by
    /// its system, after 60 seconds of silence otherwise. While this client has no connection it knows
    /// of nobody.
    #[must_use]
    pub fn watch_peers(&self) -> Watch<BTreeMap<ReplicaId, Peer>> {
        let name = self.name.clone();
        let read = move |state: &State, _| state.peers(&name).ok();
        Watch::new(self.inner.shared.clone(), read, |one, other| one == other)
    }
}

#[cfg(test)]
mod tests {
    use sync_core::session::ClientConfig;

    use super::*;
    use crate::clock::{Clock, TimeOfDay};
    use crate::shared::{EVENTS_MAX, Session};
    use crate::status::{Connection, OfflineReason};

    #[test]
    fn how_far_a_subscriber_may_lag_behind_is_limited_and_it_hears_that_it_missed_something() {
        for count in [EVENTS_MAX - 1, EVENTS_MAX, EVENTS_MAX + 1] {
            let session = Session::new(ClientConfig::default());
            let connection = Connection::Offline(OfflineReason::NoHub);
            let clock = Clock::new(TimeOfDay::default());
            let shared = Shared::new(session, connection, false, clock);
            let mut subscription = Subscription::new(shared.subscribe());
            let event = |number: usize| Event::Status { document: number.to_string() };
            (0..count).for_each(|number| shared.tell(Some(event(number))));
            if count > EVENTS_MAX {
                assert!(matches!(subscription.wait_next(), Some(Event::Missed)));
            }
            for number in count.saturating_sub(EVENTS_MAX)..count {
                let heard = subscription.wait_next();
                let is_it = |document: &str| document == number.to_string();
                assert!(matches!(heard, Some(Event::Status { document }) if is_it(&document)));
            }
        }
    }
}
