//! What waits to be sent on a connection: bounded in bytes, and of what a replica shows only the last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sync_core::wire::{Fault, presence_key};
use tokio::sync::{Notify, oneshot};

/// What a waiting frame counts for beside its bytes.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 256;

/// What a connection is to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Frame(Arc<[u8]>),
    Close(Fault),
}

/// The writer's end of a connection. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Sender {
    queue: Arc<Queue>,
    bytes_max: usize,
    /// Dropped with this: from then on the connection has a deadline.
    _ending: oneshot::Sender<()>,
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) queue: Arc<Queue>,
    pub(crate) ending: oneshot::Receiver<()>,
}

/// What waits, and what is being written.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Outgoing>,
    /// How many items were taken from the front.
    taken: u64,
    /// Which item says what a replica shows, counted from the first that ever was.
    shown: BTreeMap<Box<[u8]>, u64>,
    /// The bytes of what waits or is being written.
    bytes: usize,
    is_ended: bool,
}

/// The queue of a connection.
pub(crate) fn queue(bytes_max: usize) -> (Sender, Receiver) {
    let (ends, ending) = oneshot::channel();
    let queue = Arc::new(Queue::default());
    (Sender { queue: queue.clone(), bytes_max, _ending: ends }, Receiver { queue, ending })
}

impl Sender {
    /// Queues a frame. False when the peer reads too slowly; nothing is queued then.
    pub(crate) fn send(&self, frame: Arc<[u8]>) -> bool {
        let mut waiting = self.queue.lock();
        let older = waiting.older(&frame);
        let before = older.map_or(0, |at| waiting.items.get(at).map_or(0, Outgoing::cost));
        let bytes = waiting.bytes - before + cost(&frame);
        if bytes > self.bytes_max {
            return false;
        }
        waiting.bytes = bytes;
        if let Some(item) = older.and_then(|at| waiting.items.get_mut(at)) {
            *item = Outgoing::Frame(frame);
            return true;
        }
        let number = waiting.taken + waiting.items.len() as u64;
        if let Some(key) = presence_key(&frame) {
            waiting.shown.insert(key.into(), number);
        }
        waiting.items.push_back(Outgoing::Frame(frame));
        drop(waiting);
        self.queue.changed.notify_one();
        true
    }

    /// Closes the connection behind what is queued, which has a deadline from here on.
    pub(crate) fn close(self, fault: Fault) {
        self.queue.lock().items.push_back(Outgoing::Close(fault));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.queue.lock().is_ended = true;
        self.queue.changed.notify_one();
    }
}

impl Queue {
    /// Waits for the next item. None when the writer has let go.
    pub(crate) async fn next(&self) -> Option<Outgoing> {
        loop {
            {
                let mut waiting = self.lock();
                let item = waiting.take();
                if item.is_some() || waiting.is_ended {
                    return item;
                }
            }
            self.changed.notified().await;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Notes that a frame was written.
    pub(crate) fn written(&self, cost: usize) {
        let mut waiting = self.lock();
        waiting.bytes = waiting.bytes.saturating_sub(cost);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under the lock can fail half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Where an older frame waits that says what the same replica shows.
    fn older(&self, frame: &[u8]) -> Option<usize> {
        let number = self.shown.get(presence_key(frame)?)?;
        usize::try_from(number.checked_sub(self.taken)?).ok()
    }

    fn take(&mut self) -> Option<Outgoing> {
        let item = self.items.pop_front()?;
        self.taken += 1;
        if let Outgoing::Frame(frame) = &item
            && let Some(key) = presence_key(frame)
        {
            self.shown.remove(key);
        }
        Some(item)
    }
}

impl Outgoing {
    fn cost(&self) -> usize {
        match self {
            Self::Frame(frame) => cost(frame),
            Self::Close(_) => 0,
        }
    }
}

/// What a frame counts for.
pub(crate) fn cost(frame: &[u8]) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use sync_core::causal::ReplicaId;
    use sync_core::wire::{HubMessage, decode_hub};

    use super::*;

    fn shown(channel: u32, number: u8, state: Option<u8>) -> HubMessage {
        let replica = ReplicaId::from_bytes([number; 16]);
        let shown = state.map(|state| ("name".to_owned(), vec![state; 1_000]));
        HubMessage::Presence { channel, replica, shown }
    }

    fn send(sender: &Sender, message: &HubMessage) -> bool {
        sender.send(message.encode().into())
    }

    async fn heard(queue: &Queue) -> Option<HubMessage> {
        let Some(Outgoing::Frame(frame)) = queue.next().await else { return None };
        queue.written(cost(&frame));
        Some(decode_hub(&frame).expect("a frame of a hub"))
    }

    #[tokio::test]
    async fn of_what_a_replica_shows_only_the_last_waits() {
        let (sender, Receiver { queue, ending: _ending }) = queue(16 * 1024);
        assert!(send(&sender, &shown(1, 7, Some(0))));
        assert_eq!(heard(&queue).await, Some(shown(1, 7, Some(0))), "what has gone is gone");
        for state in 0..200 {
            for (channel, number) in [(1, 7), (1, 8), (300, 7), (70_000, 7)] {
                assert!(send(&sender, &shown(channel, number, Some(state))), "{state}");
            }
            assert!(state != 0 || send(&sender, &HubMessage::Pong));
        }
        assert!(send(&sender, &shown(1, 8, None)));
        for expected in [
            shown(1, 7, Some(199)),
            shown(1, 8, None),
            shown(300, 7, Some(199)),
            shown(70_000, 7, Some(199)),
            HubMessage::Pong,
        ] {
            assert_eq!(heard(&queue).await, Some(expected));
        }
        assert!(queue.is_empty());
        assert!(send(&sender, &shown(1, 8, Some(1))), "a later one is not lost");
        sender.close(Fault::GoingAway);
        assert_eq!(heard(&queue).await, Some(shown(1, 8, Some(1))));
        assert!(matches!(queue.next().await, Some(Outgoing::Close(Fault::GoingAway))));
        assert!(queue.next().await.is_none());
        assert_eq!(queue.lock().bytes, 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_with_what_is_being_written() {
        let frame: Arc<[u8]> = HubMessage::Pong.encode().into();
        let (sender, Receiver { queue, ending: _ending }) = queue(3 * cost(&frame));
        assert!((0..3).all(|_| sender.send(frame.clone())), "at the bound");
        assert!(!sender.send(frame.clone()), "above it");
        assert!(queue.next().await.is_some());
        assert!(!sender.send(frame.clone()), "it is not yet written");
        queue.written(cost(&frame));
        assert!(sender.send(frame));
        let many = |number| shown(1, number, Some(0));
        assert!((0..100).any(|number| !send(&sender, &many(number))), "many replicas count each");
    }
}
