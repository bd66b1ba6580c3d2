//! Which device holds what, the saying half: up to where everything is on this one's disk.
//!
//! A device says it by a sequence number of the hub's present start, once its own cursor stands there on its
//! disk.

use super::connection::Link;
use super::devices::Levels;
use super::{Client, ClientOutput, ClientStore, Opened, PersistId, Phase};
use crate::session::Now;
use crate::session::limits::HELD_MS;
use crate::small::HAS_SHORTCUTS;
use crate::wire::{ClientMessage, Cursor};

/// What one connection says of what is here, and knows of what the hub has.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The number that was said last.
    said: Option<u64>,
    /// The number to be said next, and the batch with which that is on disk.
    next: Option<u64>,
    with: PersistId,
    #[cfg_attr(target_arch = "wasm32", expect(dead_code))]
    pub(super) levels: Levels,
}

impl Held {
    /// Whether nothing was said.
    pub(super) fn is_silent(&self) -> bool {
        self.said.is_none()
    }
}

impl<S: ClientStore> Client<S> {
    /// Says of each document up to where all is on disk, where that has moved.
    pub(super) fn tell_held(&mut self, now: Now) {
        let Self { documents, connection, outputs, name, next_persist, .. } = self;
        connection.held_ms = u64::MAX;
        for (_, Opened { link, cursor, storing, author, .. }) in
            documents.iter_mut().map(|(name, opened)| (name, &mut **opened))
        {
            let Link { phase: Phase::Live, channel, holds, .. } = link else { continue };
            let here = cursor.filter(|cursor| cursor.boot == connection.boot);
            let (Some(Cursor { seq, .. }), Some(replica)) = (here, *author) else { continue };
            match storing.front() {
                Some((first, _)) if *first <= holds.with && !broken!(HeldBeforeStored) => {}
                first => {
                    if first.is_none() || broken!(HeldBeforeStored) {
                        holds.next = Some(seq);
                    }
                    if let Some(seq) = holds.next.filter(|_| holds.said != holds.next) {
                        holds.said = holds.next;
                        let name = if HAS_SHORTCUTS { name.clone() } else { None };
                        let message = ClientMessage::Held { channel: *channel, replica, seq, name };
                        outputs.push_back(ClientOutput::Send(message.encode()));
                    }
                    // What is not on disk yet, all batches up to the last one bring there.
                    (holds.next, holds.with) = (Some(seq), *next_persist - 1);
                }
            }
            if holds.said != Some(seq) {
                connection.held_ms = now.monotonic_ms.saturating_add(HELD_MS);
            }
        }
    }
}
