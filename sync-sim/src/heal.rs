//! The end of a run: faults stop, and everything must come to rest within a bound.

use sync_core::session::{Phase, Standing};

use crate::invariant::Invariant;
use crate::queue::Event;
use crate::world::{World, document_name};

/// How long healing may take, in virtual milliseconds: several times what a half-open connection, a
/// silent hub and the longest wait before an attempt take together.
const QUIET_MS_MAX: u64 = 15 * 60 * 1_000;

impl World<'_> {
    /// Ends the faults, lets everybody meet, and waits until all is quiet. Says whether it is.
    pub(crate) fn heal(&mut self) -> bool {
        self.is_healing = true;
        let is_fault = |event: &Event| {
            matches!(
                event,
                Event::Change | Event::Fault | Event::Flap { .. } | Event::Return { .. }
            )
        };
        self.queue.retain(|event| !is_fault(event));
        self.note(&[40], || "faults end".to_owned());
        for hub in 0..self.hubs.len() {
            self.start_hub(hub);
        }
        for device in 0..self.devices.len() {
            let state = &mut self.devices[device];
            (state.held_ms, state.offline_ms) = ([0; 2], 0);
            self.start_device(device);
            if self.devices[device].link.is_none() {
                self.connect_later(device);
            }
        }
        // What one hub has comes to the other with the devices, and what that makes of it back.
        let rounds: &[usize] = if self.hubs.len() > 1 { &[0, 1, 0, 1] } else { &[0] };
        for hub in rounds {
            for device in 0..self.devices.len() {
                if self.devices[device].hub != *hub {
                    self.devices[device].hub = *hub;
                    self.disconnect(device);
                }
            }
            if !self.settle() {
                return false;
            }
        }
        // Whoever comes back to a hub that has everything finds nothing to do.
        (0..self.devices.len()).for_each(|device| self.disconnect(device));
        let is_quiet = self.settle();
        if is_quiet {
            self.hear_of_all();
        }
        is_quiet
    }

    /// Waits until everything is quiet. Says whether it came to that.
    fn settle(&mut self) -> bool {
        let deadline = self.now_ms + QUIET_MS_MAX;
        while self.violation.is_none() {
            if self.is_quiet() {
                return true;
            }
            if self.now_ms > deadline || !self.step() {
                break;
            }
        }
        if self.violation.is_none() {
            self.restless();
        }
        false
    }

    fn restless(&mut self) {
        if self.model.is_any_taken_twice() {
            self.tally.restless_by_twice += 1;
            return;
        }
        let mut detail = Vec::new();
        for (at, device) in self.devices.iter().enumerate() {
            let Some(process) = &device.process else { continue };
            for document in 0..self.scenario.documents {
                let name = document_name(document);
                let phase = process.client.phase(&name).unwrap_or_default();
                let waiting = process.client.outbox(&name).into_iter().flatten().count();
                if phase != Phase::Live || waiting > 0 {
                    detail.push(format!("device {at} {name}: {phase:?}, {waiting} in the outbox"));
                }
            }
        }
        for (id, link) in self.links.iter().filter(|(_, link)| !link.is_quiet()) {
            let ends = (link.at_device, link.at_hub);
            let frames = (link.up.frames.len(), link.down.frames.len());
            detail.push(format!("connection {id} of device {}: {ends:?}, {frames:?}", link.device));
        }
        self.fail(Invariant::QuietInTime, detail.join("; "));
    }

    fn is_quiet(&self) -> bool {
        let links = self.links.len() == self.devices.len()
            && self.links.values().all(crate::network::Link::is_quiet);
        links
            && self.hubs.iter().all(crate::hub::HubHost::is_quiet)
            && (0..self.devices.len()).all(|device| self.is_device_quiet(device))
    }

    fn is_device_quiet(&self, device: usize) -> bool {
        let Some(process) = &self.devices[device].process else { return false };
        process.storing.is_empty()
            && (0..self.scenario.documents).all(|document| {
                let name = document_name(document);
                let is_kept =
                    |standing| matches!(standing, Standing::Parked { .. } | Standing::Waiting);
                process.client.phase(&name) == Ok(Phase::Live)
                    && process
                        .client
                        .standings(&name)
                        .is_ok_and(|mut items| items.all(|(_, standing)| is_kept(standing)))
            })
    }
}
