//! A device: a disk, and a process with a client session while it runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync_core::causal::{Dot, MemoryStore, ReplicaId};
use sync_core::session::{
    Backoff, Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, HubInput, IN_USE, Now,
    Persist,
};

use sync_core::types::Renaming;
use sync_core::wire::Packing;

use crate::disk::{Batch, Disk};
use crate::holders::Doubts;
use crate::invariant::Invariant;
use crate::kernel::{self, Accepted};
use crate::marks::Mark;
use crate::model::{ChangeId, Effects, Maker};
use crate::network::Link;
use crate::queue::Event;
use crate::world::{World, document_name, document_number};

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
    /// Counts the runs of the process, so that what was meant for an earlier one is told apart.
    pub(crate) run: u64,
    pub(crate) link: Option<u64>,
    /// The hub that it speaks with.
    pub(crate) hub: usize,
    /// How far its calendar is off, in milliseconds.
    pub(crate) clock_ms: i64,
    /// Until when nothing gets down or up.
    pub(crate) held_ms: [u64; 2],
    /// Until when it does not try to connect.
    pub(crate) offline_ms: u64,
    pub(crate) backup: Option<Disk>,
    pub(crate) doubts: Doubts,
}

/// A process of a device.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) client: Client,
    pub(crate) storing: VecDeque<Batch>,
    backoff: Backoff,
    connected_ms: u64,
    timer_ms: Option<u64>,
    /// What the change that was just made did, as the application sees it.
    effects: Effects,
    /// The last counter that it wrote as each replica.
    written: BTreeMap<(usize, ReplicaId), u64>,
    /// Its latest changes that are not known to be on a hub's disk.
    pub(crate) watched: VecDeque<(usize, Dot, ChangeId)>,
    /// What it had in part before the change that was just made.
    in_part: BTreeSet<String>,
    /// Records that it held whole until it removed them, and that did not exist again since.
    pub(crate) removed: BTreeSet<(usize, String)>,
}

/// Whether a device asks what others hold. Every fourth one only says what it holds itself, as a browser.
pub(crate) fn asks(device: usize) -> bool {
    device % 4 != 3
}

impl World<'_> {
    pub(crate) fn add_device(&mut self) {
        let mut fingerprint = [0; 12];
        fingerprint[..8].copy_from_slice(&self.chance.identity.bits().to_be_bytes());
        fingerprint[8..].copy_from_slice(&(self.devices.len() as u32).to_be_bytes());
        let replica = ReplicaId::from_fingerprint(fingerprint);
        let disk = Disk::new(replica, self.scenario.documents);
        self.add_device_with(disk);
    }

    pub(crate) fn add_device_with(&mut self, disk: Disk) {
        let device = self.devices.len();
        self.devices.push(Device {
            disk,
            process: None,
            run: 0,
            link: None,
            hub: device % self.scenario.hubs,
            clock_ms: 0,
            held_ms: [0; 2],
            offline_ms: 0,
            backup: None,
            doubts: Doubts::default(),
        });
        self.start_device(device);
    }

    /// Starts a device's process on what is on its disk.
    pub(crate) fn start_device(&mut self, device: usize) {
        if self.devices[device].process.is_some() {
            return;
        }
        let packed = self.scenario.packed.filter(|_| device.is_multiple_of(2));
        let packing = packed.map_or(Packing::NONE, Packing::from_bytes);
        let config = ClientConfig { agent: format!("device {device}"), token: None, packing };
        let mut client = Client::new(config);
        if asks(device) {
            let _ = client.follow_devices(&format!("device {device}"));
        }
        for (number, file) in self.devices[device].disk.documents.iter().enumerate() {
            let opening = self.chance.identity.bits();
            let name = document_name(number);
            client.open(&name, file.saved.clone(), file.replica, opening);
            if asks(device) {
                let _ = client.recall_devices(&name, file.devices.clone());
            }
        }
        self.devices[device].run += 1;
        self.devices[device].doubts.begin();
        self.devices[device].process = Some(Process {
            client,
            storing: VecDeque::new(),
            backoff: Backoff::default(),
            connected_ms: self.now_ms,
            timer_ms: None,
            effects: Effects::default(),
            written: BTreeMap::new(),
            watched: VecDeque::new(),
            in_part: BTreeSet::new(),
            removed: BTreeSet::new(),
        });
        self.note(&[3, device as u64], || format!("device {device} starts"));
        self.drain(device);
        self.connect_later(device);
    }

    /// Ends a device's process. Of what was on its way to the disk, any first part is there.
    pub(crate) fn crash_device(&mut self, device: usize) {
        let Some(process) = self.devices[device].process.take() else { return };
        self.devices[device].run += 1;
        self.marks.hit(Mark::DeviceCrashed);
        let kept = self.chance.disk.index(process.storing.len() + 1);
        if self.scenario.is_mutant("disk-forgets-freezing") {
            self.devices[device].disk.thaw();
        }
        self.note(&[4, device as u64, kept as u64], || {
            format!("device {device} crashes; {kept} of {} batches survive", process.storing.len())
        });
        let is_torn = self.scenario.is_mutant("disk-tears-batches");
        for (at, mut batch) in process.storing.into_iter().enumerate() {
            if is_torn && at == kept {
                let steps = self.chance.disk.index(batch.persist.steps.len() + 1);
                batch.persist.steps.truncate(steps);
                self.put_on_disk(device, batch);
            } else if at < kept {
                self.marks.hit(Mark::UnconfirmedSurvived);
                self.put_on_disk(device, batch);
            } else {
                for change in batch.changes {
                    self.marks.hit(Mark::UnsyncedLost);
                    self.model.forget(change);
                }
            }
        }
        self.close_at_device(device);
    }

    fn put_on_disk(&mut self, device: usize, batch: Batch) {
        let document = batch.document;
        let renamings = kernel::renamings(&batch.persist.steps);
        for (removal, place, dead) in kernel::removals(&batch.persist.steps) {
            let store = &self.devices[device].disk.documents[document].saved.store;
            self.model.hear(document, removal, &dead, kernel::fields(store, &place));
        }
        self.devices[device].doubts.hear(document, &batch.persist.steps);
        if let Err(violation) = self.devices[device].disk.apply(batch) {
            self.fail(violation.invariant, violation.detail);
        }
        for renaming in renamings {
            self.rename_changes(device, document, &renaming);
        }
        self.note_had(device, document);
        let store = &self.devices[device].disk.documents[document].saved.store;
        self.model.complete(document, device, store);
    }

    /// What a device has under other dots from here on.
    fn rename_changes(&mut self, device: usize, document: usize, renaming: &Renaming) {
        self.marks.hit(Mark::WrittenAgain);
        let Device { disk, process, .. } = &mut self.devices[device];
        let saved = &disk.documents[document].saved;
        let name = document_name(document);
        let hubs = self.hubs.iter().filter_map(|hub| hub.disk.store.state(&name));
        let hubs: Vec<&MemoryStore> = hubs.collect();
        let (moved, count) = self.model.rename(document, renaming, &disk.has, saved, &hubs);
        for (old, new) in moved {
            disk.has.remove(&old);
            disk.has.insert(new);
            let watched = process.iter_mut().flat_map(|process| &mut process.watched);
            watched
                .filter(|(_, _, change)| *change == old)
                .for_each(|(_, _, change)| *change = new);
        }
        self.tally.written_again += count;
        self.note(&[10, device as u64], || format!("device {device} has on disk {renaming:?}"));
    }

    fn now_of(&self, device: usize) -> Now {
        Now { monotonic_ms: self.now_ms, unix_ms: self.unix_ms(self.devices[device].clock_ms) }
    }

    /// Hands an input to a device, if its process runs.
    pub(crate) fn at_device(&mut self, device: usize, input: ClientInput) {
        let now = self.now_of(device);
        let Some(process) = &mut self.devices[device].process else { return };
        process.client.handle(now, input);
        self.drain(device);
    }

    /// Lets the application make a change on some device that runs.
    pub(crate) fn change_somewhere(&mut self) {
        if self.rush > 0 {
            self.rush -= 1;
            self.queue.put(self.now_ms + 3, Event::Change);
            if self.rush == 0 {
                self.pass_a_year();
            }
        } else {
            self.changes_left = self.changes_left.saturating_sub(1);
            let wait = self.chance.application.below(2 * self.scenario.change_ms + 1);
            self.queue.put(self.now_ms + wait, Event::Change);
        }
        let device = self.chance.application.index(self.devices.len());
        let document = self.chance.application.index(self.scenario.documents);
        self.change(device, document);
    }

    fn change(&mut self, device: usize, document: usize) {
        let now = self.now_of(device);
        let name = document_name(document);
        let (workload, random) = (&mut *self.workload, &mut self.chance.application);
        let Some(process) = &mut self.devices[device].process else { return };
        let opened = process.client.document(&name);
        process.in_part = opened.map(|opened| kernel::in_part(opened.store())).unwrap_or_default();
        let before = process.client.document(&name).map(kernel::counts).unwrap_or_default();
        let had = process.client.document(&name).map(kernel::registers).unwrap_or_default();
        let changed = process.client.change(now, &name, |edit| workload.change(random, edit));
        let mut after = process.client.document(&name).map(kernel::counts).unwrap_or_default();
        for (counter, count) in before {
            *after.entry(counter).or_default() -= count;
        }
        after.retain(|_, amount| *amount != 0);
        let taken_out = process.client.document(&name).map(|opened| kernel::taken_out(opened, had));
        process.effects = Effects { counted: after, taken_out: taken_out.unwrap_or_default() };
        if changed.is_ok() {
            self.tally.changes += 1;
        }
        self.drain(device);
        if let Some(process) = &mut self.devices[device].process {
            process.effects = Effects::default();
            process.in_part.clear();
        }
    }

    /// Does everything that a client asks for.
    pub(crate) fn drain(&mut self, device: usize) {
        loop {
            let Some(process) = &mut self.devices[device].process else { return };
            let Some(output) = process.client.poll() else { break };
            match output {
                ClientOutput::Send(frame) => self.send_up(device, frame),
                ClientOutput::Persist(persist) => self.begin_storing(device, persist),
                ClientOutput::Disconnect { reason } => self.give_up(device, &reason),
                ClientOutput::Event(event) => self.see(device, &event),
            }
        }
        self.forget_removed(device);
        self.check_receipts(device);
        self.set_device_timer(device);
    }

    fn see(&mut self, device: usize, event: &ClientEvent) {
        match event {
            ClientEvent::Renewed { document, replica } => {
                self.marks.hit(Mark::Renewed);
                self.note(&[5, device as u64], || {
                    format!("device {device} writes {document} as {replica} from here on")
                });
            }
            ClientEvent::Conflict { entry, .. } => {
                let is_delete = entry.sides.iter().any(|side| side.is_delete);
                if is_delete {
                    self.marks.hit(Mark::DeleteMetEdit);
                } else if entry.field.is_some() {
                    self.marks.hit(Mark::FieldConflict);
                }
            }
            ClientEvent::Changed { .. }
            | ClientEvent::Status { .. }
            | ClientEvent::Peers { .. }
            | ClientEvent::Welcomed { .. } => {}
        }
    }

    /// The client ends its connection.
    fn give_up(&mut self, device: usize, reason: &str) {
        self.note(&[6, device as u64], || format!("device {device} hangs up: {reason}"));
        if reason == "the hub is silent" {
            self.marks.hit(Mark::ClientTimedOut);
        } else if reason == IN_USE {
            self.marks.hit(Mark::OpenedAgain);
        } else {
            self.accuse(format!("device {device} hangs up: {reason}"));
        }
        self.close_at_device(device);
        self.connect_later(device);
    }

    /// Somebody says that another one broke the protocol.
    pub(crate) fn accuse(&mut self, detail: String) {
        if self.model.is_any_taken_twice() {
            self.tally.restless_by_twice += 1;
        } else {
            self.fail(Invariant::NoFalseAccusation, detail);
        }
    }

    /// What the model is to know of a device that made a change.
    fn maker(&self, device: usize, name: &str, accepted: &Accepted) -> Maker {
        let Device { process: Some(process), disk, .. } = &self.devices[device] else {
            return Maker::default();
        };
        let waiting = process.storing.iter().filter(|batch| batch.persist.document == name);
        let renamed = waiting.flat_map(|batch| kernel::renamings(&batch.persist.steps));
        let opened = process.client.document(name).ok();
        let seen = opened.map(|opened| opened.context().clone()).unwrap_or_default();
        let by_copies =
            opened.map(|opened| kernel::by_copies(opened, accepted)).unwrap_or_default();
        let mut in_part = process.in_part.clone();
        in_part.retain(|place| accepted.live.iter().any(|brought| brought.place == *place));
        let renamed = renamed.map(|renaming| renaming.to).collect();
        let in_part = in_part.into_iter().map(|place| (place, device)).collect();
        Maker { is_copied: disk.is_copied, in_part, seen, by_copies, renamed }
    }

    /// Notes which records a device held whole until it removed them: it keeps what they were.
    fn note_removed(&mut self, device: usize, document: usize, accepted: &Accepted) {
        let Some(process) = &mut self.devices[device].process else { return };
        for place in &accepted.removed {
            let is_of_it = |dot: &&Dot| self.model.is_existence_of(document, **dot, place);
            let is_whole = !process.in_part.contains(place);
            if is_whole && accepted.kills.iter().find(is_of_it).is_some() {
                process.removed.insert((document, place.clone()));
            }
        }
    }

    /// Forgets records that were removed and exist again.
    fn forget_removed(&mut self, device: usize) {
        let Some(process) = &mut self.devices[device].process else { return };
        let client = &process.client;
        process.removed.retain(|(document, place)| {
            let opened = client.document(&document_name(*document));
            opened.is_ok_and(|opened| !kernel::exists(opened, place))
        });
    }

    fn begin_storing(&mut self, device: usize, persist: Persist) {
        let document = document_number(&persist.document);
        self.check_claims(device, document, &persist.steps);
        for renaming in kernel::renamings(&persist.steps) {
            let Some(process) = &mut self.devices[device].process else { return };
            let Ok(opened) = process.client.document(&persist.document) else { continue };
            let last = opened.context().max_of(renaming.to);
            process.written.insert((document, renaming.to), last);
            process.removed.retain(|(of, _)| *of != document);
        }
        let mut changes = Vec::new();
        for accepted in kernel::accepted(&persist.steps) {
            self.check_first(device, document, &accepted);
            if accepted.is_joined {
                self.marks.hit(Mark::OutboxJoined);
            }
            if accepted.live.iter().any(|brought| brought.copy_of.is_some()) {
                self.marks.hit(Mark::RecordAsserted);
            }
            let dot = Dot::new(accepted.replica, accepted.last);
            let is_traced = self.scenario.is_traced;
            let text = if is_traced { format!("{accepted:?}") } else { String::new() };
            let process = self.devices[device].process.as_mut();
            let effects = process.map(|process| std::mem::take(&mut process.effects));
            let maker = self.maker(device, &persist.document, &accepted);
            self.note_removed(device, document, &accepted);
            match self.model.accept(document, accepted, effects.unwrap_or_default(), maker) {
                Ok((change, is_contested)) => {
                    if is_contested {
                        self.marks.hit(Mark::DotContested);
                    }
                    self.note(&[7, device as u64, dot.counter], || {
                        format!("device {device} makes change {change} of d{document}: {text}")
                    });
                    changes.push(change);
                    self.watch(device, (document, dot, change));
                }
                Err(violation) => self.fail(violation.invariant, violation.detail),
            }
        }
        let delay = self.chance.disk.between(self.scenario.disk_ms);
        let is_early = self.scenario.is_mutant("disk-confirms-early");
        let id = persist.id;
        let Some(process) = &mut self.devices[device].process else { return };
        if process.storing.is_empty() {
            let run = self.devices[device].run;
            self.queue.put(self.now_ms + delay, Event::Synced { device, run });
        }
        let Some(process) = &mut self.devices[device].process else { return };
        process.storing.push_back(Batch { document, persist, changes });
        if is_early {
            self.at_device(device, ClientInput::Persisted(id));
        }
    }

    /// Some of the oldest batches are on disk.
    pub(crate) fn synced(&mut self, device: usize, run: u64) {
        if self.devices[device].run != run {
            return;
        }
        let Some(process) = &mut self.devices[device].process else { return };
        let group = 1 + self.chance.disk.index(process.storing.len());
        let batches: Vec<_> = process.storing.drain(..group.min(process.storing.len())).collect();
        let has_more = !process.storing.is_empty();
        let mut ids = Vec::new();
        for batch in batches {
            ids.push(batch.persist.id);
            self.put_on_disk(device, batch);
        }
        self.note(&[8, device as u64, ids.len() as u64], || {
            format!("device {device} has {} batches on disk", ids.len())
        });
        if has_more {
            let delay = self.chance.disk.between(self.scenario.disk_ms);
            self.queue.put(self.now_ms + delay, Event::Synced { device, run });
        }
        if !self.scenario.is_mutant("disk-confirms-early") {
            for id in ids {
                self.at_device(device, ClientInput::Persisted(id));
            }
        }
    }

    /// A change begins right behind what its replica wrote before.
    fn check_first(&mut self, device: usize, document: usize, accepted: &Accepted) {
        let Accepted { replica, first, last, .. } = accepted;
        let Device { process: Some(process), disk, .. } = &mut self.devices[device] else { return };
        let on_disk = disk.documents[document].saved.store.context().max_of(*replica);
        let written = process.written.entry((document, *replica)).or_insert(on_disk);
        let before = std::mem::replace(written, *last);
        if *first != before + 1 {
            let detail = format!("a change of {replica} begins at {first}, after {before}");
            self.fail(Invariant::OneContentPerDot, detail);
        }
    }

    /// Tries to connect a while from now.
    pub(crate) fn connect_later(&mut self, device: usize) {
        let random = self.chance.network.bits() as u32;
        let now = self.now_ms;
        let Device { process: Some(process), run, offline_ms, .. } = &mut self.devices[device]
        else {
            return;
        };
        let wait = process.backoff.next_ms(now.saturating_sub(process.connected_ms), random);
        process.connected_ms = now;
        let at = (now + u64::from(wait)).max(*offline_ms);
        self.queue.put(at, Event::Connect { device, run: *run });
    }

    pub(crate) fn connect(&mut self, device: usize, run: u64) {
        let Device { process, link, held_ms, offline_ms, hub, run: own, .. } =
            &self.devices[device];
        if *own != run || process.is_none() || link.is_some() {
            return;
        }
        let is_held = held_ms.iter().chain([offline_ms]).any(|until| *until > self.now_ms);
        let hub = *hub;
        if is_held || self.hubs[hub].hub.is_none() {
            self.connect_later(device);
            return;
        }
        let id = self.next_link;
        self.next_link += 1;
        let boot = self.hubs[hub].boot();
        self.links.insert(id, Link::new(device, hub, boot));
        self.devices[device].link = Some(id);
        if let Some(process) = &mut self.devices[device].process {
            process.connected_ms = self.now_ms;
        }
        self.note(&[9, device as u64, id], || {
            format!("device {device} connects by {id} to hub {hub}")
        });
        self.at_hub(hub, id, HubInput::Connected);
        self.at_device(device, ClientInput::Connected);
    }

    fn set_device_timer(&mut self, device: usize) {
        let run = self.devices[device].run;
        let Some(process) = &mut self.devices[device].process else { return };
        let Some(due) = process.client.poll_timeout() else { return };
        if process.timer_ms.is_none_or(|set| due < set) {
            process.timer_ms = Some(due);
            self.queue.put(due, Event::DeviceTimer { device, run });
        }
    }

    pub(crate) fn device_timer(&mut self, device: usize, run: u64) {
        if self.devices[device].run != run {
            return;
        }
        let now = self.now_ms;
        let Some(process) = &mut self.devices[device].process else { return };
        process.timer_ms = None;
        if process.client.poll_timeout().is_some_and(|due| due <= now) {
            self.at_device(device, ClientInput::Timeout);
        }
        self.set_device_timer(device);
    }
}
