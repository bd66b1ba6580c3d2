//! What goes wrong, and how.

use sync_core::session::ClientInput;

use crate::device::Device;
use crate::hub::HubDisk;
use crate::marks::Mark;
use crate::queue::Event;
use crate::scenario::Fault;
use crate::world::World;

/// Ten years, in milliseconds.
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3_600 * 1_000;

/// One year, in milliseconds.
const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// The most devices of a run, copies included.
const DEVICES_MAX: usize = 7;

/// How many changes are made while a device is away for a year.
const AWAY_CHANGES: (u64, u64) = (1_500, 3_000);

impl World<'_> {
    /// Lets a fault strike, and says when the next one will.
    pub(crate) fn strike(&mut self) {
        let wait = self.chance.fault.below(2 * self.scenario.fault_ms + 1);
        self.queue.put(self.now_ms + 1 + wait, Event::Fault);
        let fault = self.scenario.faults[self.chance.fault.index(self.scenario.faults.len())];
        let device = self.chance.fault.index(self.devices.len());
        let hub = self.chance.fault.index(self.hubs.len());
        self.note(&[30, fault as u64, device as u64], || format!("fault {fault:?}"));
        if self.chance.fault.chance(400) {
            self.hubs[hub].take_snapshot();
        }
        match fault {
            Fault::Cut => {
                if let Some(id) = self.devices[device].link {
                    self.cut(id);
                }
            }
            Fault::HoldUp => self.hold(device, [false, true], Mark::OneWayUp),
            Fault::HoldDown => self.hold(device, [true, false], Mark::OneWayDown),
            Fault::Partition => self.hold(device, [true, true], Mark::FrameHeldByPartition),
            Fault::Flap => {
                let left = 5 + self.chance.fault.below(30) as u32;
                self.marks.hit(Mark::Flapping);
                self.queue.put(self.now_ms, Event::Flap { device, left });
            }
            Fault::Offline => self.go_offline(device),
            Fault::CrashDevice => {
                self.crash_device(device);
                self.start_device_later(device);
            }
            Fault::CrashHub => self.restart_hub(hub),
            Fault::LoseTail => {
                let disk = self.hubs[hub].snapshots.back().cloned();
                self.replace_hub(hub, disk, Mark::HubLostTail);
            }
            Fault::RestoreHub => {
                let disk = self.hubs[hub].snapshots.front().cloned();
                self.replace_hub(hub, disk, Mark::HubRestored);
            }
            Fault::WipeHub => {
                let disk = self.empty_disk();
                self.replace_hub(hub, Some(disk), Mark::HubWiped);
            }
            Fault::Forget => self.forget_removals(hub),
            Fault::SkewClock => {
                let by_ms = self.chance.fault.below(600_000) as i64 - 300_000;
                self.move_clock(device, hub, by_ms, false);
            }
            Fault::JumpClock => {
                let is_ahead = self.chance.fault.chance(500);
                let by_ms = if is_ahead { TEN_YEARS_MS } else { -TEN_YEARS_MS };
                self.move_clock(device, hub, by_ms, true);
            }
            Fault::RestoreDevice => self.restore_device(device),
            Fault::CloneDevice => self.clone_device(device),
            Fault::Sleep => {
                self.marks.hit(Mark::Slept);
                self.now_ms += 1_000 * (600 + self.chance.fault.below(8 * 3_600));
            }
            Fault::AwayForAYear => self.go_away(device),
            Fault::Roam => self.roam(device),
        }
    }

    fn some_time(&mut self) -> u64 {
        let scale = [200, 2_000, 20_000, 120_000][self.chance.fault.index(4)];
        1 + self.chance.fault.below(scale)
    }

    fn hold(&mut self, device: usize, [down, up]: [bool; 2], mark: Mark) {
        let until = self.now_ms + self.some_time();
        let held = &mut self.devices[device].held_ms;
        for (is_held, end) in [down, up].into_iter().zip(held) {
            if is_held {
                *end = until.max(*end);
            }
        }
        self.marks.hit(mark);
    }

    pub(crate) fn flap(&mut self, device: usize, left: u32) {
        let run = self.devices[device].run;
        match self.devices[device].link {
            Some(id) => self.cut(id),
            None => self.connect(device, run),
        }
        if left > 0 && !self.is_healing {
            let wait = 10 + self.chance.fault.below(200);
            self.queue.put(self.now_ms + wait, Event::Flap { device, left: left - 1 });
        }
    }

    fn go_offline(&mut self, device: usize) {
        let until = self.now_ms + self.some_time();
        self.devices[device].offline_ms = until;
        self.disconnect(device);
    }

    /// Ends a device's connection in good order.
    pub(crate) fn disconnect(&mut self, device: usize) {
        if self.devices[device].link.is_some() {
            self.close_at_device(device);
            self.at_device(device, ClientInput::Disconnected);
            self.connect_later(device);
        }
    }

    fn start_device_later(&mut self, device: usize) {
        let at = self.now_ms + self.some_time();
        self.queue.put(at, Event::StartDevice { device });
    }

    fn restart_hub(&mut self, hub: usize) {
        self.crash_hub(hub);
        let at = self.now_ms + self.some_time();
        self.queue.put(at, Event::StartHub { hub });
    }

    /// A hub comes back with other data than it had.
    fn replace_hub(&mut self, hub: usize, disk: Option<HubDisk>, mark: Mark) {
        let Some(disk) = disk else { return };
        self.marks.hit(mark);
        self.restart_hub(hub);
        self.hubs[hub].disk = disk;
    }

    /// The clock of a device, or sometimes of a hub, moves by so much; or back, where it jumped before.
    fn move_clock(&mut self, device: usize, hub: usize, by_ms: i64, is_jump: bool) {
        let of_hub = self.chance.fault.chance(200);
        let clock =
            if of_hub { &mut self.hubs[hub].clock_ms } else { &mut self.devices[device].clock_ms };
        let before = *clock;
        *clock = if is_jump && before != 0 { 0 } else { before + by_ms };
        if !of_hub && *clock < before {
            let Device { disk, doubts, .. } = &mut self.devices[device];
            doubts.set_back(disk);
        }
        self.marks.hit(match (is_jump, by_ms > 0) {
            (false, _) => Mark::ClockSkewed,
            (true, true) => Mark::ClockJumpedAhead,
            (true, false) => Mark::ClockJumpedBack,
        });
    }

    /// The first time takes a backup, another one puts it back.
    fn restore_device(&mut self, device: usize) {
        let Some(mut backup) = self.devices[device].backup.take() else {
            self.devices[device].backup = Some(self.devices[device].disk.clone());
            return;
        };
        self.marks.hit(Mark::DeviceRestored);
        self.crash_device(device);
        backup.is_copied = true;
        let gone: Vec<_> = self.devices[device].disk.has.difference(&backup.has).copied().collect();
        self.devices[device].disk = backup;
        for id in gone {
            let disks =
                self.devices.iter().flat_map(|device| [Some(&device.disk), device.backup.as_ref()]);
            let is_elsewhere = disks.flatten().any(|disk| disk.has.contains(&id));
            if !is_elsewhere && !self.model.changes()[id].was_sent {
                self.marks.hit(Mark::GoneWithItsDisks);
                self.model.forget(id);
            }
        }
        self.start_device_later(device);
    }

    fn clone_device(&mut self, device: usize) {
        if self.devices.len() >= DEVICES_MAX {
            return;
        }
        self.marks.hit(Mark::DeviceCloned);
        self.devices[device].disk.is_copied = true;
        let disk = self.devices[device].disk.clone();
        self.add_device_with(disk);
    }

    fn go_away(&mut self, device: usize) {
        if self.devices.len() < 2 || self.scenario.faults.is_empty() {
            return;
        }
        self.scenario.faults.retain(|fault| *fault != Fault::AwayForAYear);
        if self.scenario.faults.is_empty() {
            self.scenario.faults.push(Fault::Cut);
        }
        self.rush = self.chance.fault.between(AWAY_CHANGES);
        self.devices[device].offline_ms = u64::MAX;
        self.disconnect(device);
    }

    /// The year is over, and whoever was away comes back.
    pub(crate) fn pass_a_year(&mut self) {
        self.now_ms += YEAR_MS;
        for device in 0..self.devices.len() {
            if self.devices[device].offline_ms == u64::MAX {
                self.marks.hit(Mark::AwayForAYear);
                self.queue.put(self.now_ms, Event::Return { device });
            }
        }
    }

    pub(crate) fn come_back(&mut self, device: usize) {
        self.devices[device].offline_ms = 0;
        self.connect_later(device);
    }

    fn roam(&mut self, device: usize) {
        if self.hubs.len() < 2 {
            return;
        }
        self.marks.hit(Mark::Roamed);
        self.disconnect(device);
        self.devices[device].hub = (self.devices[device].hub + 1) % self.hubs.len();
    }
}
