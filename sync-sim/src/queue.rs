//! Virtual time: what is to happen, in order.

use std::collections::BTreeMap;

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The application makes a change somewhere.
    Change,
    /// A fault strikes.
    Fault,
    /// The first frame of a connection arrives.
    Arrive { link: u64, up: bool },
    /// One end of a connection hears that it is over.
    HangUp { link: u64, at_hub: bool },
    /// A device tries to connect.
    Connect { device: usize, run: u64 },
    /// Batches of a device are on disk.
    Synced { device: usize, run: u64 },
    /// A device looks at its deadlines.
    DeviceTimer { device: usize, run: u64 },
    /// A device starts again.
    StartDevice { device: usize },
    /// A line that flaps is cut.
    Flap { device: usize, left: u32 },
    /// A device that was away comes back.
    Return { device: usize },
    /// The batch of a hub is on disk.
    Commit { hub: usize, run: u64 },
    /// A hub looks at its deadlines.
    HubTimer { hub: usize, run: u64 },
    /// A hub starts again.
    StartHub { hub: usize },
}

/// The events to come. Those of one moment happen in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    next: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at_ms: u64, event: Event) {
        self.events.insert((at_ms, self.next), event);
        self.next += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let ((at_ms, _), event) = self.events.pop_first()?;
        Some((at_ms, event))
    }

    /// Drops events, and those that are never due.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&Event) -> bool) {
        self.events.retain(|(at_ms, _), event| *at_ms < u64::MAX && is_kept(event));
    }
}
