//! A hub and clients under one seed: queues for the network, a disk for each, and faults.

use std::collections::{BTreeMap, VecDeque};

use sync_core::causal::{Dot, ReplicaId};
use sync_core::document::Refused;
use sync_core::error::{Misuse, Sure};
use sync_core::session::{
    Boot, ChunkSize, Client, ClientConfig, ClientInput, ClientOutput, ConnectionId, Hub, HubInput,
    HubOutput, IN_USE, MemoryHub, NOT_HERE, Now, OutboxItem, OutboxState, Persist, Phase,
    SavedDocument, Standing, Step,
};
use sync_core::types::{Field, Opening, RecordId, Value};
use sync_core::wire::Packing;

pub(crate) const DOCUMENT: &str = "d";

/// A small generator (SplitMix64, Steele et al. 2014), so that a seed replays a run.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// One device: its client, its disk, and its line to the hub.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) client: Client,
    pub(crate) disk: SavedDocument,
    pub(crate) replica: ReplicaId,
    storing: VecDeque<Persist>,
    line: Option<Line>,
}

#[derive(Debug)]
struct Line {
    connection: ConnectionId,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) store: MemoryHub,
    pub(crate) devices: Vec<Device>,
    pub(crate) random: Random,
    pub(crate) now: Now,
    pub(crate) closed: Vec<String>,
    chunk_size: ChunkSize,
    packing: Packing,
    /// Whether a client may hang up, since its hub is hostile.
    pub(crate) tolerant: bool,
    /// How often a device hung up since the hub named an object that it did not find.
    pub(crate) dangled: usize,
    /// Bytes that the hub sent, for each device.
    pub(crate) sent_down: BTreeMap<usize, usize>,
    next_connection: ConnectionId,
}

/// Every second device packs frames, where any does.
fn config(number: usize, packing: Packing) -> ClientConfig {
    let packing = if number % 2 == 1 { packing } else { Packing::NONE };
    ClientConfig { agent: format!("device {number}"), token: None, packing }
}

impl World {
    pub(crate) fn new(seed: u64, devices: usize) -> Self {
        Self::with_chunk_size(seed, devices, ChunkSize::default())
    }

    pub(crate) fn with_chunk_size(seed: u64, devices: usize, chunk_size: ChunkSize) -> Self {
        let mut random = Random(seed);
        let store = MemoryHub::new(Boot { hub: random.next(), boot: random.next() });
        let mut world = Self {
            hub: Hub::with_chunk_size(chunk_size),
            store,
            devices: Vec::new(),
            random,
            now: Now { monotonic_ms: 1, unix_ms: 1_700_000_000_000 },
            closed: Vec::new(),
            chunk_size,
            packing: Packing::NONE,
            tolerant: false,
            dangled: 0,
            sent_down: BTreeMap::new(),
            next_connection: 1,
        };
        (0..devices).for_each(|_| world.add_device());
        world
    }

    /// Lets every second device, and the hub for it, pack every frame that becomes smaller by it.
    pub(crate) fn packed(mut self) -> Self {
        self.packing = Packing::from_bytes(0);
        (0..self.devices.len()).for_each(|at| self.crash(at));
        let store = self.store.clone();
        self.restart_hub(store);
        self
    }

    pub(crate) fn add_device(&mut self) {
        let number = self.devices.len();
        let mut fingerprint = [0; 12];
        fingerprint[0] = number as u8 + 1;
        let replica = ReplicaId::from_fingerprint(fingerprint);
        let mut client = Client::new(config(number, self.packing));
        client.open(DOCUMENT, SavedDocument::default(), replica, self.random.next());
        let disk = SavedDocument::default();
        self.devices.push(Device { client, disk, replica, storing: VecDeque::new(), line: None });
    }

    /// Adds a device that starts from a copy of another one's disk, and gives its number.
    pub(crate) fn copy_device(&mut self, at: usize) -> usize {
        self.add_device();
        let copy = self.devices.len() - 1;
        let (disk, replica) = (self.devices[at].disk.clone(), self.devices[at].replica);
        self.devices[copy].disk = disk;
        self.devices[copy].replica = replica;
        self.crash(copy);
        copy
    }

    /// Lets the hub refuse what lies further in the future.
    pub(crate) fn with_stamp_ahead(mut self, ms_max: u64) -> Self {
        self.hub = std::mem::take(&mut self.hub).with_stamp_ahead(ms_max);
        self
    }

    /// Does something with a device's client.
    pub(crate) fn with_client<T>(
        &mut self,
        at: usize,
        work: impl FnOnce(&mut Client, Now) -> T,
    ) -> T {
        let done = work(&mut self.devices[at].client, self.now);
        self.drain(at);
        done
    }

    /// How many connections there were.
    pub(crate) fn connection_count(&self) -> u64 {
        self.next_connection - 1
    }

    /// Makes a change on a device.
    pub(crate) fn change(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut sync_core::document::Edit<'_>) -> Result<(), Refused>,
    ) -> Result<(), Misuse> {
        self.now.unix_ms += 1;
        let done = self.devices[at].client.change(self.now, DOCUMENT, change);
        self.drain(at);
        Ok(done.map(|_| ())?)
    }

    /// Writes fields of a record, which is made where it is not there.
    pub(crate) fn write(&mut self, at: usize, id: &str, fields: &[(&str, &str)]) {
        let id = RecordId::new(id).unwrap();
        let fields: BTreeMap<_, _> =
            fields.iter().map(|(k, v)| ((*k).to_owned(), Field::from(*v))).collect();
        let written = self.change(at, |edit| match edit.document().record("notes", &id).sure() {
            Some(_) => edit.update("notes", &id, &fields),
            None => edit.insert("notes", &id, &fields),
        });
        written.unwrap();
    }

    pub(crate) fn remove(&mut self, at: usize, id: &str) -> bool {
        let id = RecordId::new(id).unwrap();
        self.change(at, |edit| edit.remove("notes", &id)).is_ok()
    }

    pub(crate) fn fields(&self, at: usize, id: &str) -> Option<BTreeMap<String, String>> {
        let record = self.devices[at]
            .client
            .document(DOCUMENT)
            .unwrap()
            .record("notes", &RecordId::new(id).unwrap())
            .sure()?;
        let text = |field| match field {
            Field::Register(Value::String(text)) => text,
            other => format!("{other:?}"),
        };
        Some(record.fields().into_iter().map(|(name, field)| (name, text(field))).collect())
    }

    /// How many entries the hub has of what applications wrote.
    pub(crate) fn entry_count(&self) -> usize {
        let state = self.store.state(DOCUMENT).unwrap();
        state.iter().filter(|entry| Opening::read(*entry).is_none()).count()
    }

    /// The last dot that a device wrote.
    pub(crate) fn last_dot(&self, at: usize) -> Dot {
        let Device { client, replica, .. } = &self.devices[at];
        Dot::new(*replica, client.document(DOCUMENT).unwrap().context().max_of(*replica))
    }

    pub(crate) fn connect(&mut self, at: usize) {
        if self.devices[at].line.is_some() {
            return;
        }
        let connection = self.next_connection;
        self.next_connection += 1;
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.devices[at].line = Some(Line { connection, up, down });
        self.at_hub(connection, HubInput::Connected);
        self.devices[at].client.handle(self.now, ClientInput::Connected);
        self.drain(at);
    }

    /// Ends a device's connection, and the hub does not hear of it.
    pub(crate) fn drop_line(&mut self, at: usize) {
        if self.devices[at].line.take().is_some() {
            self.devices[at].client.handle(self.now, ClientInput::Disconnected);
            self.drain(at);
        }
    }

    pub(crate) fn disconnect(&mut self, at: usize) {
        if let Some(line) = self.devices[at].line.take() {
            self.at_hub(line.connection, HubInput::Disconnected);
            self.devices[at].client.handle(self.now, ClientInput::Disconnected);
            self.drain(at);
        }
    }

    /// Ends a device's process: what was not on disk is gone.
    pub(crate) fn crash(&mut self, at: usize) {
        self.disconnect(at);
        let opening = self.random.next();
        let device = &mut self.devices[at];
        device.storing.clear();
        device.client = Client::new(config(at, self.packing));
        device.client.open(DOCUMENT, device.disk.clone(), device.replica, opening);
        self.drain(at);
    }

    /// Starts the hub again; `store` is what is on its disk then.
    pub(crate) fn restart_hub(&mut self, store: MemoryHub) {
        for at in 0..self.devices.len() {
            if self.devices[at].line.take().is_some() {
                self.devices[at].client.handle(self.now, ClientInput::Disconnected);
                self.drain(at);
            }
        }
        self.hub = Hub::with_chunk_size(self.chunk_size).with_packing(self.packing);
        self.store = store;
        self.store.restart(self.random.next());
    }

    pub(crate) fn empty_hub(&mut self) -> MemoryHub {
        MemoryHub::new(Boot { hub: self.random.next(), boot: self.random.next() })
    }

    pub(crate) fn is_storing(&self, at: usize) -> bool {
        !self.devices[at].storing.is_empty()
    }

    /// Hands a device a frame that its hub never sent, and stores what it makes of it.
    pub(crate) fn hear(&mut self, at: usize, frame: Vec<u8>) {
        self.tolerant = true;
        self.devices[at].client.handle(self.now, ClientInput::Frame(frame));
        self.drain(at);
        while self.store_one(at) {}
    }

    /// How many frames of a device are under way to the hub.
    pub(crate) fn frames_up(&self, at: usize) -> usize {
        self.devices[at].line.as_ref().map_or(0, |line| line.up.len())
    }

    /// Confirms the oldest batch that a device is storing.
    pub(crate) fn store_one(&mut self, at: usize) -> bool {
        let device = &mut self.devices[at];
        let Some(Persist { id, steps, .. }) = device.storing.pop_front() else { return false };
        for step in steps {
            apply(&mut device.disk, &mut device.replica, step);
        }
        device.client.handle(self.now, ClientInput::Persisted(id));
        self.drain(at);
        true
    }

    /// The frames that wait to be carried.
    pub(crate) fn waiting(&self, at: usize, up: bool) -> Vec<&[u8]> {
        let line = self.devices[at].line.iter();
        let queue = line.flat_map(|line| if up { &line.up } else { &line.down });
        queue.map(Vec::as_slice).collect()
    }

    /// Carries one frame up or down.
    pub(crate) fn carry(&mut self, at: usize, up: bool) -> bool {
        let Some(line) = &mut self.devices[at].line else { return false };
        let connection = line.connection;
        let queue = if up { &mut line.up } else { &mut line.down };
        let Some(frame) = queue.pop_front() else {
            return false;
        };
        if up {
            self.at_hub(connection, HubInput::Frame(frame));
        } else {
            *self.sent_down.entry(at).or_default() += frame.len();
            self.devices[at].client.handle(self.now, ClientInput::Frame(frame));
            self.drain(at);
        }
        true
    }

    /// Lets everything that is under way arrive. Panics if that does not end.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200_000 {
            let mut moved = false;
            for at in 0..self.devices.len() {
                moved |= self.store_one(at) | self.carry(at, true) | self.carry(at, false);
            }
            if !moved {
                return;
            }
        }
        panic!("the exchange does not end");
    }

    /// Connects everyone, lets everything arrive, and requires one state everywhere.
    pub(crate) fn heal(&mut self) {
        for at in 0..self.devices.len() {
            self.connect(at);
        }
        for _ in 0..8 {
            self.settle();
            (0..self.devices.len()).for_each(|at| self.connect(at));
        }
        assert_eq!(self.closed, Vec::<String>::new(), "no honest connection is closed for a fault");
        let hub = self.store.state(DOCUMENT).unwrap();
        for (at, device) in self.devices.iter().enumerate() {
            let document = device.client.document(DOCUMENT).unwrap();
            assert_eq!(device.client.phase(DOCUMENT).unwrap(), Phase::Live, "device {at}");
            assert_eq!(device.client.outbox(DOCUMENT).unwrap().count(), 0, "device {at}: outbox");
            assert_eq!(document.store(), hub, "device {at} and the hub");
            assert_eq!(&device.disk.store, hub, "the disk of device {at} and the hub");
        }
    }

    pub(crate) fn at_hub(&mut self, connection: ConnectionId, input: HubInput) {
        let Ok(()) = self.hub.handle(&mut self.store, self.now, connection, input);
        while let Some(output) = self.hub.poll() {
            match output {
                HubOutput::Send { connection, frame } => {
                    let lines = self.devices.iter_mut().filter_map(|device| device.line.as_mut());
                    for line in lines.filter(|line| line.connection == connection) {
                        line.down.push_back(frame.to_vec());
                    }
                }
                HubOutput::Close { connection, fault } => {
                    if fault != sync_core::wire::Fault::Superseded {
                        self.closed.push(fault.to_string());
                    }
                    let holds = |device: &Device| {
                        device.line.as_ref().is_some_and(|line| line.connection == connection)
                    };
                    if let Some(at) = self.devices.iter().position(holds) {
                        self.devices[at].line = None;
                        self.devices[at].client.handle(self.now, ClientInput::Disconnected);
                        self.drain(at);
                    }
                }
            }
        }
    }

    fn drain(&mut self, at: usize) {
        let device = &mut self.devices[at];
        while let Some(output) = device.client.poll() {
            match output {
                ClientOutput::Send(frame) => {
                    if let Some(line) = &mut device.line {
                        line.up.push_back(frame);
                    }
                }
                ClientOutput::Persist(persist) => device.storing.push_back(persist),
                ClientOutput::Disconnect { reason }
                    if self.tolerant || reason == IN_USE || reason == NOT_HERE =>
                {
                    assert!(!reason.is_empty());
                    device.line = None;
                    self.dangled += usize::from(reason == NOT_HERE);
                }
                ClientOutput::Disconnect { reason } => panic!("device {at} hangs up: {reason}"),
                ClientOutput::Event(_) => {}
            }
        }
        let totals = device.client.totals(DOCUMENT).unwrap();
        let (mut changes, mut bytes) = ([0; 2], [0; 2]);
        for (item, standing) in device.client.standings(DOCUMENT).unwrap() {
            let at = usize::from(matches!(standing, Standing::Waiting | Standing::Parked { .. }));
            changes[at] += item.changes as usize;
            bytes[at] += item.delta.cost();
        }
        assert_eq!([totals.pending, totals.parked], changes, "device {at}");
        assert!(totals.pending_bytes >= bytes[0] && totals.parked_bytes >= bytes[1]);
    }
}

/// Does to the disk what a step says.
fn apply(disk: &mut SavedDocument, replica: &mut ReplicaId, step: Step) {
    match step {
        Step::Join(delta) => {
            disk.store.join(&delta);
        }
        Step::Record(_) | Step::Know(_) | Step::Forget(_) => {}
        Step::Enqueue { item, replaces } => {
            assert!(item.first <= item.last && !item.delta.is_empty(), "an item says nothing");
            let at = disk.outbox.iter().position(|known| Some(known.key()) == replaces);
            match at {
                Some(at) => {
                    assert_ne!(disk.outbox[at].state, OutboxState::Frozen, "a frozen item changed");
                    disk.outbox[at] = item;
                }
                None => disk.outbox.push(item),
            }
        }
        Step::Freeze(key) => {
            for item in disk.outbox.iter_mut().filter(|item| item.key() == key) {
                item.state = OutboxState::Frozen;
            }
        }
        Step::Settle(key) => disk.outbox.retain(|item: &OutboxItem| item.key() != key),
        Step::Park { key, reason } => {
            for item in disk.outbox.iter_mut().filter(|item| item.key() == key) {
                item.state = OutboxState::Parked { reason: reason.clone() };
            }
        }
        Step::Follow(cursor) => disk.cursor = Some(cursor),
        Step::Log(entry) => {
            disk.log.retain(|known| known.key() != entry.key());
            disk.log.push(entry);
        }
        Step::Renew(fresh) => *replica = fresh,
        Step::Rename(renaming) => {
            renaming.apply(&mut disk.store).sure();
            let items = std::mem::take(&mut disk.outbox).into_iter();
            disk.outbox = items.map(|item| item.renamed(&renaming)).collect();
            disk.cursor = None;
        }
    }
}
