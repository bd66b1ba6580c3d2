//! What a device says must be so: its frames are on its disk, and its receipts are never early.

use std::collections::BTreeMap;

use sync_core::causal::{CausalContext, Dot};
use sync_core::session::OutboxItem;
use sync_core::wire::Dictionary;

use crate::device::Device;
use crate::invariant::Invariant;
use crate::kernel::{self, Known, Upward};
use crate::marks::Mark;
use crate::model::ChangeId;
use crate::network::Channel;
use crate::world::{World, document_name, document_number};

/// How many of its last changes a process asks the receipt of.
const WATCHED_MAX: usize = 4;

impl World<'_> {
    pub(crate) fn watch(&mut self, device: usize, change: (usize, Dot, ChangeId)) {
        let Some(process) = &mut self.devices[device].process else { return };
        if process.watched.len() >= WATCHED_MAX {
            process.watched.pop_front();
        }
        process.watched.push_back(change);
    }

    /// Asks for the receipts of the latest changes: none may say more than what is so.
    pub(crate) fn check_receipts(&mut self, device: usize) {
        let Device { process: Some(process), disk, .. } = &mut self.devices[device] else { return };
        let mut early = None;
        let (client, model) = (&process.client, &self.model);
        process.watched.retain(|(document, dot, change)| {
            let Ok(receipt) = client.receipt(&document_name(*document), *dot) else { return false };
            if receipt.disk && !disk.has.contains(change) {
                early = Some(format!("{dot} is said to be on disk"));
            }
            if receipt.hub && !model.changes()[*change].was_stored {
                early = Some(format!("{dot} is said to be on the hub's disk"));
            }
            !receipt.hub && !receipt.parked
        });
        if let Some(detail) = early {
            self.fail(Invariant::ReceiptNotEarly, detail);
        }
    }

    /// Sends a frame: what it says of this device must be on its disk.
    pub(crate) fn send_up(&mut self, device: usize, frame: Vec<u8>) {
        let Some(id) = self.devices[device].link else { return };
        let mut is_refill = false;
        match kernel::upward(&frame) {
            Upward::Open { channel, document, context, claims, has_cursor } => {
                let document = document_number(&document);
                let on_disk = &self.devices[device].disk.documents[document].saved.store;
                if !on_disk.context().covers(&context) {
                    let detail = format!("device {device} names what is not on its disk");
                    self.fail(Invariant::DurableBeforeVisible, detail);
                }
                let fresh = Channel {
                    document,
                    has_cursor,
                    claims: claims.into_iter().collect(),
                    pushes: BTreeMap::new(),
                    catch_up: None,
                    dictionary: Dictionary::new(),
                    of_chunks: Dictionary::new(),
                };
                if let Some(link) = self.links.get_mut(&id) {
                    link.channels.insert(channel, fresh);
                }
            }
            Upward::Claim { channel, claims } => {
                let link = self.links.get_mut(&id);
                if let Some(open) = link.and_then(|link| link.channels.get_mut(&channel)) {
                    open.claims.extend(claims);
                }
            }
            Upward::Push { channel, id: number, delta } => {
                is_refill = self.check_push(device, id, channel, number, &delta);
            }
            Upward::Held { channel, replica, seq } => {
                self.check_held(device, id, (channel, replica, seq));
            }
            Upward::Other => {}
        }
        self.transmit(id, true, frame);
        let cut_refills = self.scenario.cut_refills;
        if is_refill && !self.is_healing && self.chance.refills.chance(cut_refills) {
            self.cut_behind(id);
        }
    }

    /// Says whether a push is a part of a refill.
    fn check_push(
        &mut self,
        device: usize,
        link: u64,
        channel: u32,
        number: u64,
        bytes: &[u8],
    ) -> bool {
        let Some(open) = self.links.get_mut(&link).and_then(|link| link.channels.get_mut(&channel))
        else {
            return false;
        };
        let document = open.document;
        let Device { process: Some(process), disk, .. } = &self.devices[device] else {
            return false;
        };
        let Ok(shown) = process.client.document(&document_name(document)) else { return false };
        let written = &disk.documents[document].written;
        let known = Known { shown: shown.store(), written };
        let Some(delta) = known.read(bytes, &open.dictionary) else {
            let detail = format!("device {device} names what it does not have");
            self.accuse(detail);
            return false;
        };
        let delta = &delta;
        let file = &self.devices[device].disk.documents[document].saved;
        if let Some(dot) = kernel::stranger(delta, &file.store) {
            let detail = format!("device {device} sends {dot}, which is not so on its disk");
            self.fail(Invariant::DurableBeforeVisible, detail);
            return false;
        }
        let Some(process) = &self.devices[device].process else { return false };
        let name = document_name(document);
        let Ok(items) = process.client.outbox(&name) else { return false };
        let whole = delta.context();
        let carried = items.filter(|item| whole.covers(&item.delta.context()));
        let carried: Vec<&OutboxItem> = carried.collect();
        let mut of_items = CausalContext::default();
        carried.iter().for_each(|item| of_items.union(&item.delta.context()));
        let mut whole_changes = Vec::new();
        let is_refill = of_items != whole;
        if is_refill {
            if !delta.entries.is_empty() {
                self.marks.hit(Mark::Refilled);
            }
            // A refill may have the removals that wait, and what stands before them.
            let has = &self.devices[device].disk.has;
            whole_changes = self.model.changes_within(document, &whole, has);
        } else if carried.len() > 1 {
            self.marks.hit(Mark::PushedTogether);
        }
        let mut changes = Vec::new();
        let mut unfrozen = None;
        for item in carried {
            let is_frozen = file.outbox.iter().any(|known| known == item);
            let (replica, first, last) = (item.replica, item.first, item.last);
            if !is_frozen {
                unfrozen =
                    Some(format!("device {device} sends {replica}:{last}, not frozen on its disk"));
            }
            let is_copied = self.devices[device].disk.is_copied;
            let before = self.sent_items.insert((document, replica, first), last);
            if before.is_some_and(|before| before != last) && !is_copied {
                unfrozen = Some(format!("{replica}:{last} is sent, and was sent as {before:?}"));
            }
            let has = &self.devices[device].disk.has;
            changes.extend(self.model.changes_between(document, replica, (first, last), has));
            // What was written before the histories of a replica parted goes along.
            let older = kernel::of_kin(&item.delta, replica);
            changes.extend(self.model.changes_within(document, &older, has));
        }
        if let Some(detail) = unfrozen {
            self.fail(Invariant::DurableBeforeVisible, detail);
            return false;
        }
        for change in &changes {
            let change = self.model.change_mut(*change);
            if change.was_sent {
                self.marks.hit(Mark::PushRepeated);
            }
            change.was_sent = true;
        }
        whole_changes.extend(&changes);
        self.pushes.insert((link, channel, number), whole_changes);
        open.pushes.insert(number, changes);
        is_refill
    }
}
