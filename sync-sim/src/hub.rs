//! A hub: a store, and a process with a hub session while it runs.
//!
//! As the real one, it takes inputs in batches, each one transaction, and releases what a batch gives
//! only once it is on disk. A batch is therefore carried out here at the moment at which its
//! transaction ends: nobody can see a difference, and a crash before that takes it whole.

use std::collections::{BTreeSet, VecDeque};

use sync_core::causal::{Dot, ReplicaId};
use sync_core::session::{Boot, ChunkSize, Hub, HubInput, HubOutput, HubStore, MemoryHub, Now};
use sync_core::wire::{Fault, Packing};

use crate::invariant::Invariant;
use crate::kernel::{self, Brought, Downward, Upward};
use crate::marks::Mark;
use crate::measure::CatchUp;
use crate::model::ChangeId;
use crate::queue::Event;
use crate::scenario;
use crate::world::{World, document_name, document_number};

/// The bytes from which on a catch-up counts as large.
const LARGE_BYTES: usize = 4 * 1024;

/// The bytes that a chunk may have beyond its share: frame, cursor and table of replicas.
const CHUNK_OVERHEAD_BYTES: usize = 128;

/// How many snapshots of a hub are kept to come back from.
const SNAPSHOTS_MAX: usize = 4;

/// What a hub has on its disk.
#[derive(Debug, Clone)]
pub(crate) struct HubDisk {
    pub(crate) store: MemoryHub,
    /// The changes that it acknowledged.
    pub(crate) has: BTreeSet<ChangeId>,
}

/// One hub.
#[derive(Debug)]
pub(crate) struct HubHost {
    pub(crate) disk: HubDisk,
    pub(crate) hub: Option<Hub>,
    pub(crate) run: u64,
    pub(crate) clock_ms: i64,
    /// What arrived and is in no batch yet.
    inbox: VecDeque<(u64, HubInput)>,
    /// What is being committed.
    batch: Vec<(u64, HubInput)>,
    /// The disk before the batch, where a mutant carries batches out early.
    before: Option<HubDisk>,
    timer_ms: Option<u64>,
    pub(crate) snapshots: VecDeque<HubDisk>,
}

impl HubHost {
    /// The present start.
    pub(crate) fn boot(&self) -> u64 {
        self.disk.store.boot().boot
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.hub.is_some() && self.inbox.is_empty() && self.batch.is_empty()
    }

    /// Keeps what is on the disk, to come back from.
    pub(crate) fn take_snapshot(&mut self) {
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            self.snapshots.remove(1);
        }
        self.snapshots.push_back(self.disk.clone());
    }
}

impl World<'_> {
    pub(crate) fn empty_disk(&mut self) -> HubDisk {
        let boot = Boot { hub: self.chance.identity.bits(), boot: self.chance.identity.bits() };
        HubDisk { store: MemoryHub::new(boot), has: BTreeSet::new() }
    }

    pub(crate) fn add_hub(&mut self) {
        let disk = self.empty_disk();
        self.hubs.push(HubHost {
            disk,
            hub: Some(self.fresh_hub()),
            run: 1,
            clock_ms: 0,
            inbox: VecDeque::new(),
            batch: Vec::new(),
            before: None,
            timer_ms: None,
            snapshots: VecDeque::new(),
        });
    }

    fn fresh_hub(&self) -> Hub {
        let hub = match self.scenario.chunk {
            Some((bytes, items)) => Hub::with_chunk_size(ChunkSize { bytes, items }),
            None => Hub::new(),
        };
        hub.with_packing(self.scenario.packed.map_or(Packing::NONE, Packing::from_bytes))
    }

    pub(crate) fn start_hub(&mut self, hub: usize) {
        if self.hubs[hub].hub.is_some() {
            return;
        }
        let boot = self.chance.identity.bits();
        let fresh = self.fresh_hub();
        let host = &mut self.hubs[hub];
        host.disk.store.restart(boot);
        host.hub = Some(fresh);
        host.run += 1;
        host.timer_ms = None;
        self.note(&[20, hub as u64], || format!("hub {hub} starts"));
    }

    /// Ends a hub's process. The batch under way is on its disk or not.
    pub(crate) fn crash_hub(&mut self, hub: usize) {
        if self.hubs[hub].hub.is_none() {
            return;
        }
        self.marks.hit(Mark::HubCrashed);
        let batch = std::mem::take(&mut self.hubs[hub].batch);
        let survives = self.chance.disk.chance(500);
        self.note(&[21, hub as u64, u64::from(survives)], || format!("hub {hub} crashes"));
        let host = &mut self.hubs[hub];
        let before = host.before.take();
        if !batch.is_empty() {
            if survives {
                self.marks.hit(Mark::HubBatchUnanswered);
                if before.is_none() {
                    self.carry_out(hub, batch);
                }
            } else {
                self.marks.hit(Mark::HubBatchLost);
                if let Some(before) = before {
                    host.disk = before;
                }
            }
        }
        let host = &mut self.hubs[hub];
        host.hub = None;
        host.run += 1;
        host.inbox.clear();
        let open = self.links.iter().filter(|(_, link)| link.hub == hub && link.at_hub);
        for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close_at_hub(id);
        }
    }

    /// Hands an input to a hub.
    pub(crate) fn at_hub(&mut self, hub: usize, link: u64, input: HubInput) {
        if self.hubs[hub].hub.is_none() {
            return;
        }
        self.hubs[hub].inbox.push_back((link, input));
        self.begin_batch(hub);
    }

    fn begin_batch(&mut self, hub: usize) {
        let delay = self.chance.disk.between(self.scenario.hub_disk_ms);
        let is_early = self.scenario.is_mutant("hub-acks-early");
        let host = &mut self.hubs[hub];
        if !host.batch.is_empty() || host.inbox.is_empty() {
            return;
        }
        host.batch = host.inbox.drain(..).collect();
        self.queue.put(self.now_ms + delay, Event::Commit { hub, run: host.run });
        if is_early {
            host.before = Some(host.disk.clone());
            let batch = host.batch.clone();
            let sent = self.carry_out(hub, batch);
            self.release(hub, sent);
        }
    }

    pub(crate) fn commit(&mut self, hub: usize, run: u64) {
        if self.hubs[hub].run != run {
            return;
        }
        let batch = std::mem::take(&mut self.hubs[hub].batch);
        self.note(&[22, hub as u64, batch.len() as u64], || {
            format!("hub {hub} commits {} inputs", batch.len())
        });
        if self.hubs[hub].before.take().is_none() {
            let outputs = self.carry_out(hub, batch);
            self.release(hub, outputs);
        }
        self.set_hub_timer(hub);
        self.begin_batch(hub);
    }

    fn now_of_hub(&self, hub: usize) -> Now {
        Now { monotonic_ms: self.now_ms, unix_ms: self.unix_ms(self.hubs[hub].clock_ms) }
    }

    /// Carries out a batch, and gives what is to be sent once it is on disk.
    fn carry_out(&mut self, hub: usize, batch: Vec<(u64, HubInput)>) -> Vec<HubOutput> {
        let now = self.now_of_hub(hub);
        let mut outputs = Vec::new();
        for (link, input) in batch {
            if let HubInput::Frame(frame) = &input {
                self.measure(hub, link, frame);
            }
            let pushed = self.pushed(link, &input);
            let fresh = self.not_taken(hub, pushed);
            let host = &mut self.hubs[hub];
            let Some(session) = &mut host.hub else { return outputs };
            let Ok(()) = session.handle(&mut host.disk.store, now, link, input);
            while let Some(output) = session.poll() {
                outputs.push(output);
            }
            let rest = self.not_taken(hub, fresh.clone());
            for id in fresh.into_iter().filter(|id| !rest.contains(id)) {
                self.model.change_mut(id).was_taken = true;
            }
        }
        outputs
    }

    /// The changes that a push has whole.
    fn pushed(&self, id: u64, input: &HubInput) -> Vec<ChangeId> {
        let HubInput::Frame(frame) = input else { return Vec::new() };
        let Upward::Push { channel, id: number, .. } = kernel::upward(frame) else {
            return Vec::new();
        };
        self.pushes.get(&(id, channel, number)).cloned().unwrap_or_default()
    }

    /// Those of some changes whose dots a hub has not all seen.
    fn not_taken(&self, hub: usize, mut changes: Vec<ChangeId>) -> Vec<ChangeId> {
        changes.retain(|id| {
            let change = &self.model.changes()[*id];
            let state = self.hubs[hub].disk.store.state(&document_name(change.document));
            !state.is_some_and(|state| {
                kernel::has_seen(state, change.replica, change.first, change.last)
            })
        });
        changes
    }

    /// Begins to measure a catch-up: what the client lacks of what the hub has.
    fn measure(&mut self, hub: usize, id: u64, frame: &[u8]) {
        let Upward::Open { channel, document, .. } = kernel::upward(frame) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let process = self.devices[link.device].process.as_ref();
        let client = process.and_then(|process| process.client.document(&document).ok());
        let store = &self.hubs[hub].disk.store;
        let needed = match (store.state(&document), client) {
            (Some(state), Some(client)) => {
                kernel::lacking_bytes(state, store.notes(&document), client.store())
            }
            (None, _) | (_, None) => 0,
        };
        if let Some(channel) = link.channels.get_mut(&channel) {
            channel.document = document_number(&document);
            channel.catch_up =
                Some(CatchUp { needed, sent: 0, chunks: 0, note_bytes: 0, is_resumed: false });
        }
    }

    fn release(&mut self, hub: usize, outputs: Vec<HubOutput>) {
        for output in outputs {
            match output {
                HubOutput::Send { connection, frame } => {
                    let frame = frame.to_vec();
                    self.look_at(hub, connection, &frame);
                    let is_open = self.links.get(&connection).is_some_and(|link| link.at_hub);
                    if is_open {
                        self.transmit(connection, false, frame);
                    }
                }
                HubOutput::Close { connection, fault } => self.closed(hub, connection, &fault),
            }
        }
    }

    fn closed(&mut self, hub: usize, connection: u64, fault: &Fault) {
        self.note(&[23, hub as u64, connection], || {
            format!("hub {hub} closes {connection}: {fault}")
        });
        if *fault == Fault::Superseded {
            self.marks.hit(Mark::Superseded);
        } else if matches!(fault, Fault::Timeout(_)) {
            self.marks.hit(Mark::HubTimedOut);
        } else {
            self.accuse(format!("hub {hub} closes {connection}: {fault}"));
        }
        self.close_at_hub(connection);
    }

    /// Looks at what a hub says: it must be true.
    fn look_at(&mut self, hub: usize, id: u64, frame: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match kernel::downward(frame) {
            Downward::Opened { channel, resumed } => {
                let Some(open) = link.channels.get_mut(&channel) else { return };
                let mark = match (open.has_cursor, resumed) {
                    (_, true) => Mark::Resumed,
                    (true, false) => Mark::CursorRefused,
                    (false, false) => Mark::Compared,
                };
                if let Some(catch_up) = &mut open.catch_up {
                    catch_up.is_resumed = resumed;
                }
                self.marks.hit(mark);
            }
            Downward::Chunk { channel, is_last, delta } => {
                let Some(open) = link.channels.get_mut(&channel) else { return };
                let Some(mut catch_up) = open.catch_up else { return };
                catch_up.sent += kernel::plain_len(frame);
                catch_up.chunks += 1;
                catch_up.note_bytes += kernel::note_bytes(&delta, &mut open.of_chunks);
                open.catch_up = (!is_last).then_some(catch_up);
                if is_last {
                    self.end_catch_up(catch_up);
                } else if catch_up.is_resumed
                    && !self.is_healing
                    && self.scenario.faults.contains(&scenario::Fault::Forget)
                    && self.chance.fault.chance(50)
                {
                    // The horizon passes a client in the middle of its catch-up.
                    self.forget_removals(hub);
                }
            }
            Downward::Delta { channel } => {
                let Some(open) = link.channels.get_mut(&channel) else { return };
                if let Some(catch_up) = &mut open.catch_up {
                    // What overtakes a catch-up may come again with it.
                    catch_up.needed += kernel::plain_len(frame);
                    self.marks.hit(Mark::CatchUpOvertaken);
                }
            }
            Downward::Stored { channel, id: number } => {
                let Some(open) = link.channels.get_mut(&channel) else { return };
                let document = open.document;
                let changes = open.pushes.remove(&number).unwrap_or_default();
                let claims = open.claims.clone();
                self.check_writers(hub, id, document, &changes, &claims);
                self.check_stored(hub, document, changes);
            }
            Downward::InUse { channel, replica } => {
                let Some(open) = link.channels.get_mut(&channel) else { return };
                open.claims.remove(&replica);
            }
            Downward::Refused => self.marks.hit(Mark::Refused),
            Downward::Unresolved => self.marks.hit(Mark::Unresolved),
            Downward::Names { .. } | Downward::Other => {}
        }
    }

    /// Nobody else writes as a replica over a connection that the hub holds for open.
    fn check_writers(
        &mut self,
        hub: usize,
        id: u64,
        document: usize,
        changes: &[ChangeId],
        claims: &BTreeSet<ReplicaId>,
    ) {
        let replicas = changes.iter().map(|change| self.model.changes()[*change].replica);
        let mut other = None;
        for replica in replicas.filter(|replica| claims.contains(replica)) {
            let before = self.writers.insert((hub, document, replica), id);
            let before = before.filter(|before| *before != id);
            if before.and_then(|id| self.links.get(&id)).is_some_and(|link| link.at_hub) {
                other = Some(format!("hub {hub} lets {before:?} and {id} write as {replica}"));
            }
        }
        if let Some(detail) = other {
            self.fail(Invariant::OneWriter, detail);
        }
    }

    fn check_stored(&mut self, hub: usize, document: usize, changes: Vec<ChangeId>) {
        let host = &mut self.hubs[hub];
        // Before its batch is on disk, the hub has what it had.
        let disk = host.before.as_ref().unwrap_or(&host.disk);
        let state = disk.store.state(&document_name(document));
        let mut early = None;
        let mut stored = Vec::new();
        for id in changes {
            let change = self.model.change_mut(id);
            let has_all = state.is_some_and(|state| {
                kernel::has_seen(state, change.replica, change.first, change.last)
            });
            if !has_all {
                early = Some(format!("hub {hub} acknowledged {}:{}", change.replica, change.last));
            }
            let other = change.live.iter().find(|brought| {
                let dot = Dot::new(change.replica, brought.counter);
                let there = state.and_then(|state| kernel::content_in(state, dot));
                there.is_some_and(|there| there != brought.content)
            });
            if let Some(Brought { counter, .. }) = other {
                let dot = Dot::new(change.replica, *counter);
                early = Some(format!("hub {hub} acknowledged {dot}, and has something else"));
            }
            change.was_stored = true;
            stored.push(id);
        }
        host.disk.has.extend(stored);
        if let Some(detail) = early {
            self.fail(Invariant::AckAfterHubDisk, detail);
        }
    }

    fn end_catch_up(&mut self, catch_up: CatchUp) {
        if catch_up.chunks > 8 {
            self.marks.hit(Mark::ManyChunks);
        }
        if !catch_up.is_resumed {
            self.tally.compared.take(catch_up);
            return;
        }
        self.tally.resumed.take(catch_up);
        if self.scenario.chunk.is_none() && catch_up.needed >= LARGE_BYTES {
            self.tally.large.take(catch_up);
            let bound = catch_up.needed * 6 / 5 + catch_up.chunks * CHUNK_OVERHEAD_BYTES;
            if catch_up.sent > bound {
                let CatchUp { needed, sent, note_bytes, .. } = catch_up;
                let detail = format!(
                    "{sent} bytes, {note_bytes} of them notes, for {needed} that the client lacked"
                );
                self.fail(Invariant::CatchUpCheap, detail);
            }
        }
    }

    fn set_hub_timer(&mut self, hub: usize) {
        let host = &mut self.hubs[hub];
        let Some(due) = host.hub.as_ref().and_then(Hub::poll_timeout) else { return };
        if host.timer_ms.is_none_or(|set| due < set) {
            host.timer_ms = Some(due);
            self.queue.put(due, Event::HubTimer { hub, run: host.run });
        }
    }

    pub(crate) fn hub_timer(&mut self, hub: usize, run: u64) {
        if self.hubs[hub].run != run {
            return;
        }
        let now = self.now_of_hub(hub);
        let host = &mut self.hubs[hub];
        host.timer_ms = None;
        let Some(session) = &mut host.hub else { return };
        session.handle_timeout(now);
        let mut outputs = Vec::new();
        while let Some(output) = session.poll() {
            outputs.push(output);
        }
        self.release(hub, outputs);
        self.set_hub_timer(hub);
    }

    /// A hub forgets the removals up to some number.
    pub(crate) fn forget_removals(&mut self, hub: usize) {
        let store = &mut self.hubs[hub].disk.store;
        let seq = store.seq();
        let up_to =
            if self.chance.fault.chance(500) { seq } else { self.chance.fault.below(seq + 1) };
        store.forget_removals(up_to);
        self.marks.hit(Mark::Forgot);
        self.note(&[24, hub as u64, up_to], || format!("hub {hub} forgets removals up to {up_to}"));
    }
}
