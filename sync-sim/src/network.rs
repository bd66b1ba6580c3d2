//! The network: connections with a delay, in order within one, that end in the middle of anything.
//!
//! A frame that was sent may arrive after its sender has given the connection up, and then between the
//! frames of a later one. The end of a connection may never be told to the other side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync_core::causal::ReplicaId;
use sync_core::session::{ClientInput, HubInput};
use sync_core::wire::Dictionary;

use crate::kernel::{self, Downward};
use crate::marks::Mark;
use crate::measure::CatchUp;
use crate::model::ChangeId;
use crate::queue::Event;
use crate::world::World;

/// One connection of a device to a hub.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) device: usize,
    pub(crate) hub: usize,
    /// The start of the hub that it is to.
    pub(crate) boot: u64,
    pub(crate) up: Way,
    pub(crate) down: Way,
    /// Whether the device holds it for open.
    pub(crate) at_device: bool,
    /// Whether the hub does.
    pub(crate) at_hub: bool,
    /// Whether nothing passes any more.
    is_cut: bool,
    pub(crate) channels: BTreeMap<u32, Channel>,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    pub(crate) frames: VecDeque<(u64, Vec<u8>)>,
    last_due_ms: u64,
}

/// One document on a connection.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) document: usize,
    pub(crate) has_cursor: bool,
    /// As whom the device is to write.
    pub(crate) claims: BTreeSet<ReplicaId>,
    /// Changes by the number of the push that has them whole.
    pub(crate) pushes: BTreeMap<u64, Vec<ChangeId>>,
    pub(crate) catch_up: Option<CatchUp>,
    /// What the device was told that has numbers.
    pub(crate) dictionary: Dictionary,
    /// What the chunks of its catch-up have numbered.
    pub(crate) of_chunks: Dictionary,
}

impl Link {
    pub(crate) fn new(device: usize, hub: usize, boot: u64) -> Self {
        Self {
            device,
            hub,
            boot,
            up: Way::default(),
            down: Way::default(),
            at_device: true,
            at_hub: true,
            is_cut: false,
            channels: BTreeMap::new(),
        }
    }

    fn way(&mut self, up: bool) -> &mut Way {
        if up { &mut self.up } else { &mut self.down }
    }

    /// Whether both ends hold it for open and nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_empty = self.up.frames.is_empty() && self.down.frames.is_empty();
        self.at_device && self.at_hub && !self.is_cut && is_empty
    }
}

impl World<'_> {
    /// Puts a frame onto a connection.
    pub(crate) fn transmit(&mut self, id: u64, up: bool, frame: Vec<u8>) {
        let delay = self.chance.network.between(self.scenario.delay_ms);
        let is_reordering = self.scenario.is_mutant("network-reorders");
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.is_cut {
            return;
        }
        self.tally.frames += 1;
        if kernel::is_packed(&frame) {
            self.marks.hit(if up { Mark::PackedUp } else { Mark::PackedDown });
        }
        let way = link.way(up);
        let due = (self.now_ms + delay).max(way.last_due_ms);
        way.last_due_ms = due;
        if is_reordering && !way.frames.is_empty() && self.chance.network.chance(100) {
            let before = way.frames.len() - 1;
            way.frames.insert(before, (due, frame));
        } else {
            way.frames.push_back((due, frame));
        }
        self.queue.put(due, Event::Arrive { link: id, up });
    }

    /// Until when nothing passes in a direction, if so.
    fn held_until(&self, device: usize, up: bool) -> Option<u64> {
        let until = self.devices[device].held_ms[usize::from(up)];
        (until > self.now_ms).then_some(until)
    }

    pub(crate) fn arrive(&mut self, id: u64, up: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (device, hub) = (link.device, link.hub);
        let is_due = link.way(up).frames.front().is_some_and(|(due, _)| *due <= self.now_ms);
        if !is_due {
            return;
        }
        if let Some(until) = self.held_until(device, up) {
            self.marks.hit(Mark::FrameHeldByPartition);
            self.queue.put(until, Event::Arrive { link: id, up });
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some((_, frame)) = link.way(up).frames.pop_front() else { return };
        let is_dead = !link.at_device;
        self.note(&[1, id, u64::from(up), kernel::digest(&frame)], || {
            let way = if up { "up from" } else { "down to" };
            format!("frame {way} device {device} over {id}: {}", kernel::describe(up, &frame))
        });
        if up {
            if is_dead {
                self.marks.hit(Mark::FrameOfADeadConnection);
            }
            self.at_hub(hub, id, HubInput::Frame(frame));
        } else if !is_dead {
            if let Downward::Names { channel, names } = kernel::downward(&frame)
                && let Some(link) = self.links.get_mut(&id)
                && let Some(open) = link.channels.get_mut(&channel)
            {
                // The device says itself whether these are names.
                let _ = open.dictionary.extend(&names);
            }
            self.at_device(device, ClientInput::Frame(frame));
        }
        self.forget_link(id);
    }

    /// Ends a connection from the side of the device. Of what it sent, a part may still arrive.
    pub(crate) fn close_at_device(&mut self, device: usize) {
        let Some(id) = self.devices[device].link.take() else { return };
        self.drop_tail(id, true);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.at_device = false;
        link.down.frames.clear();
        if link.channels.values().any(|channel| channel.catch_up.is_some()) {
            self.marks.hit(Mark::CatchUpCut);
        }
        self.tell_end(id, true);
    }

    /// Ends a connection from the side of the hub.
    pub(crate) fn close_at_hub(&mut self, id: u64) {
        self.drop_tail(id, false);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.at_hub = false;
        link.up.frames.clear();
        self.tell_end(id, false);
    }

    /// Cuts a connection in the middle.
    pub(crate) fn cut(&mut self, id: u64) {
        self.drop_tail(id, true);
        self.drop_tail(id, false);
        if let Some(link) = self.links.get_mut(&id) {
            link.is_cut = true;
        }
        self.tell_end(id, true);
        self.tell_end(id, false);
    }

    /// Cuts a connection behind what is under way on it.
    pub(crate) fn cut_behind(&mut self, id: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_cut = true;
        }
        self.marks.hit(Mark::RefillCut);
        self.tell_end(id, true);
        self.tell_end(id, false);
    }

    /// Loses the last frames of a direction, any number of them.
    fn drop_tail(&mut self, id: u64, up: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let way = link.way(up);
        let kept = self.chance.network.index(way.frames.len() + 1);
        if kept < way.frames.len() {
            way.frames.truncate(kept);
            self.marks.hit(Mark::FramesLost);
        }
    }

    /// Lets an end hear that the connection is over, after what is still under way to it; or not at
    /// all.
    fn tell_end(&mut self, id: u64, at_hub: bool) {
        let delay = self.chance.network.between(self.scenario.delay_ms);
        let is_told = self.is_healing || !self.chance.network.chance(self.scenario.half_open);
        let Some(link) = self.links.get_mut(&id) else { return };
        if is_told {
            let due = (self.now_ms + delay).max(link.way(at_hub).last_due_ms);
            self.queue.put(due, Event::HangUp { link: id, at_hub });
        } else {
            self.marks.hit(Mark::HalfOpen);
        }
        self.forget_link(id);
    }

    pub(crate) fn hang_up(&mut self, id: u64, at_hub: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (device, hub) = (link.device, link.hub);
        if let Some(until) = self.held_until(device, at_hub) {
            self.queue.put(until, Event::HangUp { link: id, at_hub });
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        if at_hub && link.at_hub {
            link.at_hub = false;
            link.up.frames.clear();
            self.at_hub(hub, id, HubInput::Disconnected);
        } else if !at_hub && link.at_device {
            link.at_device = false;
            link.down.frames.clear();
            if link.channels.values().any(|channel| channel.catch_up.is_some()) {
                self.marks.hit(Mark::CatchUpCut);
            }
            self.devices[device].link = None;
            self.note(&[2, id], || format!("device {device} hears that {id} is over"));
            self.at_device(device, ClientInput::Disconnected);
            self.connect_later(device);
        }
        self.forget_link(id);
    }

    /// Drops a connection that is of no use to anybody.
    fn forget_link(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        if !link.at_device && !link.at_hub {
            self.links.remove(&id);
        }
    }
}
