//! A first sync of a large document over a line that is cut again and again, with the hub's store on
//! disk: it ends, little is sent twice, and neither side holds more than a little of it.
//!
//! Hub and client are the real state machines. The bytes that are under way when the line is cut are
//! lost, and so is what the client has not stored yet of what arrived.

#![allow(clippy::unwrap_used, reason = "in a test, what is not expected is a failure")]

#[path = "../../../sync-core/tests/heap/meter.rs"]
mod meter;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use sync_core::causal::{MemoryStore, ReplicaId, join};
use sync_core::document::{Author, Document};
use sync_core::error::Sure;
use sync_core::session::{
    Buried, Client, ClientConfig, ClientInput, ClientOutput, Hub, HubInput, HubOutput, HubStore,
    Now, Persist, Phase, SavedDocument,
};
use sync_core::time::Stamp;
use sync_core::types::{Field, RecordId};
use sync_core::wire::{
    CHUNK_CREDIT, ClientMessage, DELTA_BYTES_MAX, HubMessage, Packing, decode_client, decode_hub,
};
use sync_faults::Random;
use sync_hub::SqliteHub;

use crate::meter::Meter;

const DOCUMENT: &str = "d";

/// How large the document is where `SYNC_MEGABYTES` does not say otherwise.
const MEGABYTES: usize = 10;

/// How many bytes of text a record has.
const RECORD_BYTES: usize = 2_000;

/// The most bytes of heap that the hub holds at any time: chunks that it makes, and those under way.
const HUB_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What an `Arc` has before what it holds: two counts.
const ARC_BYTES: i64 = 16;

/// The most bytes of heap that the client holds at any time beyond its document.
const CLIENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What goes over a connection beside chunks: a greeting, contexts, and what compares them.
const GREETING_BYTES_MAX: usize = 4 * 1024;

/// Text that nothing packs well.
fn text(random: &mut Random, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.push_str(&format!("{:016x}", random.draw()));
    }
    text
}

/// Writes records into a hub's store, as many as the bytes take.
fn fill(store: &mut SqliteHub, bytes: usize) {
    let replica = ReplicaId::from_bytes([9; 16]);
    let mut random = Random(7);
    let document = store.open(DOCUMENT).unwrap();
    let mut number = 0;
    for seq in 1..=(bytes / RECORD_BYTES).div_ceil(50) as u64 {
        store.begin().unwrap();
        let seen = MemoryStore::load(store.context(document).unwrap(), []);
        let author = Author { replica, stamp: Stamp::from_ms(1_700_000_000_000 + seq) };
        let edited = Document::new(seen).edit(author, DELTA_BYTES_MAX, |edit| {
            for _ in 0..50 {
                number += 1;
                let id = RecordId::new(format!("record {number}")).unwrap();
                edit.insert(
                    "notes",
                    &id,
                    [("body", &Field::from(text(&mut random, RECORD_BYTES)))],
                )?;
            }
            Ok(())
        });
        join(&mut store.document(document, seq), &edited.unwrap().delta).unwrap();
        store.record(document, seq, Buried::default()).unwrap();
        store.commit().unwrap();
    }
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    connections: u64,
    /// Bytes of chunks that the hub sent, those that were lost included, and of everything.
    chunk_bytes: usize,
    all_bytes: usize,
    chunk_bytes_max: usize,
    /// Bytes of chunks that were sent and not confirmed when the line was cut.
    lost_bytes: usize,
    /// The most that the hub had allocated, and the most that the client needed beside what stays.
    hub_peak: usize,
    client_peak: usize,
}

/// A hub, its store, and the frames that are under way.
struct Line {
    hub: Hub,
    store: SqliteHub,
    down: VecDeque<Arc<[u8]>>,
    /// The bytes of each chunk that is not confirmed.
    unconfirmed: VecDeque<usize>,
    counts: Counts,
    /// What the calls of the hub have left allocated.
    hub_held: i64,
    meter: Meter,
}

impl Line {
    fn new(folder: &Path, megabytes: usize) -> Self {
        let mut store = SqliteHub::open(&folder.join("hub.db"), 100_000).unwrap();
        if megabytes > 0 {
            fill(&mut store, megabytes * 1_000_000);
        }
        let (down, unconfirmed) = (VecDeque::new(), VecDeque::new());
        let (hub, counts, meter) = (Hub::new(), Counts::default(), Meter::new());
        Self { hub, store, down, unconfirmed, counts, hub_held: 0, meter }
    }

    fn connection(&self) -> u64 {
        self.counts.connections
    }

    fn at_hub(&mut self, input: HubInput) {
        let connection = self.connection();
        if let HubInput::Frame(frame) = &input
            && matches!(decode_client(frame).unwrap(), ClientMessage::ChunkStored { .. })
        {
            self.unconfirmed.pop_front().expect("the chunk was sent");
        }
        let count = self.meter.start();
        self.store.begin().unwrap();
        self.hub.handle(&mut self.store, Now::default(), connection, input).unwrap();
        self.store.commit().unwrap();
        let mut sent = Vec::new();
        while let Some(output) = self.hub.poll() {
            match output {
                HubOutput::Send { frame, .. } => sent.push(frame),
                HubOutput::Close { fault, .. } => panic!("the hub closes: {fault}"),
            }
        }
        let peak = count.peak() as i64 + self.hub_held;
        self.counts.hub_peak = self.counts.hub_peak.max(peak.max(0) as usize);
        self.hub_held += count.held() - (sent.capacity() * size_of::<Arc<[u8]>>()) as i64;
        for frame in sent {
            self.count_frame(&frame);
            self.down.push_back(frame);
        }
    }

    fn count_frame(&mut self, frame: &[u8]) {
        self.counts.all_bytes += frame.len();
        if matches!(decode_hub(frame).unwrap(), HubMessage::Chunk { .. }) {
            self.counts.chunk_bytes += frame.len();
            self.unconfirmed.push_back(frame.len());
            self.counts.chunk_bytes_max = self.counts.chunk_bytes_max.max(frame.len());
        }
    }

    /// Takes a frame that arrives, which the hub holds no longer.
    fn arrive(&mut self) -> Option<Arc<[u8]>> {
        let frame = self.down.pop_front()?;
        self.hub_held -= frame.len() as i64 + ARC_BYTES;
        Some(frame)
    }

    fn connect(&mut self) {
        self.counts.connections += 1;
        self.at_hub(HubInput::Connected);
    }

    /// Loses everything that is under way.
    fn cut(&mut self) {
        assert!(self.unconfirmed.len() as u64 <= CHUNK_CREDIT, "{:?}", self.unconfirmed);
        self.counts.lost_bytes += self.unconfirmed.drain(..).sum::<usize>();
        while self.arrive().is_some() {}
        self.at_hub(HubInput::Disconnected);
    }
}

/// A client and what its disk has yet to do.
struct Device {
    client: Client,
    storing: VecDeque<Persist>,
    stored: BTreeMap<&'static str, usize>,
}

impl Device {
    fn new() -> Self {
        let packing = Packing::LARGE;
        let mut client = Client::new(ClientConfig { agent: "a".into(), token: None, packing });
        let replica = ReplicaId::from_bytes([1; 16]);
        client.open(DOCUMENT, SavedDocument::default(), replica, 1);
        Self { client, storing: VecDeque::new(), stored: BTreeMap::new() }
    }

    /// Takes an input, lets the disk store all but the last batches, and says what there is to send.
    fn take(&mut self, line: &mut Line, input: ClientInput, unstored: usize) -> Vec<Vec<u8>> {
        let mut sends = Vec::new();
        let count = line.meter.start();
        self.client.handle(Now::default(), input);
        loop {
            while let Some(output) = self.client.poll() {
                match output {
                    ClientOutput::Send(frame) => sends.push(frame),
                    ClientOutput::Persist(persist) => self.storing.push_back(persist),
                    ClientOutput::Disconnect { reason } => panic!("the client hangs up: {reason}"),
                    ClientOutput::Event(_) => {}
                }
            }
            if self.storing.len() <= unstored {
                break;
            }
            let Some(persist) = self.storing.pop_front() else { break };
            *self.stored.entry("batches").or_default() += 1;
            self.client.handle(Now::default(), ClientInput::Persisted(persist.id));
        }
        let transient = count.peak() as i64 - count.held().max(0);
        line.counts.client_peak = line.counts.client_peak.max(transient.max(0) as usize);
        sends
    }

    fn is_live(&self) -> bool {
        self.client.phase(DOCUMENT).unwrap() == Phase::Live && self.storing.is_empty()
    }

    /// Runs one connection until it is cut behind so many bytes, or has brought everything.
    fn run(&mut self, line: &mut Line, mut room: usize, unstored: usize) {
        line.connect();
        let mut sends = self.take(line, ClientInput::Connected, unstored);
        loop {
            for frame in sends.drain(..) {
                line.at_hub(HubInput::Frame(frame));
            }
            let fits = line.down.front().is_some_and(|frame| frame.len() <= room);
            let Some(frame) = line.down.front().filter(|_| fits).map(|frame| frame.to_vec()) else {
                break;
            };
            line.arrive();
            room -= frame.len();
            sends = self.take(line, ClientInput::Frame(frame), unstored);
        }
        let is_idle = line.down.is_empty();
        line.cut();
        if is_idle {
            self.take(line, ClientInput::Timeout, 0);
        }
        if !self.is_live() {
            self.take(line, ClientInput::Disconnected, 0);
        }
    }
}

/// The bytes of chunks of a first sync that nothing cuts, by the hub's own count.
fn needed(folder: &Path) -> usize {
    let mut line = Line::new(folder, 0);
    let mut device = Device::new();
    device.run(&mut line, usize::MAX, 0);
    assert!(device.is_live());
    line.counts.chunk_bytes
}

#[test]
fn a_first_sync_over_a_line_that_is_cut_ends_and_sends_little_twice() {
    let megabytes: usize =
        std::env::var("SYNC_MEGABYTES").map_or(MEGABYTES, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    drop(Line::new(folder.path(), megabytes));
    let needed = needed(folder.path());
    let mut line = Line::new(folder.path(), 0);
    let whole = line.meter.start();
    let mut device = Device::new();
    let mut random = Random(3);
    // At half a megabyte in a second a line of 200 MB is cut every one to three seconds.
    let bytes = megabytes * 1_000_000;
    let least = (bytes / 400).max(250_000);
    while !device.is_live() {
        let room = least + random.index(2 * least);
        let unstored = random.index(3);
        device.run(&mut line, room, unstored);
        assert!(line.counts.connections < 1_000, "it does not end: {:?}", line.counts);
    }
    // The last connection is cut as well, once everything is there.
    let cuts = line.counts.connections as usize;
    let again = line.counts.chunk_bytes - needed;
    let greetings = line.counts.all_bytes - line.counts.chunk_bytes;
    let in_all = whole.held();
    let document = device.client.document(DOCUMENT).unwrap();
    assert_eq!(document.records("notes").sure().len(), (bytes / RECORD_BYTES).div_ceil(50) * 50);
    let store = document.store().clone();
    let batches = device.stored["batches"];
    drop(device);
    let document = whole.held();
    let beyond = (in_all - document).max(0) as usize;
    println!(
        "{megabytes} MB in {cuts} cuts: {needed} bytes of chunks needed, {again} sent again of {} \
         that were not confirmed, {greetings} besides; the hub held up to {}, the client up to {} on the way and {beyond} \
         at the end beyond a document of {document}; {batches} batches stored",
        line.counts.lost_bytes, line.counts.hub_peak, line.counts.client_peak
    );
    assert!(cuts >= 8, "{cuts} cuts");
    // Chunks are cut anew where the line was, so the last of each connection may differ in size.
    let spare = cuts * 1_024;
    let lost = line.counts.lost_bytes;
    assert!(again <= lost + spare, "{again} bytes were sent again, and {lost} were not confirmed");
    let in_flight = CHUNK_CREDIT as usize * line.counts.chunk_bytes_max;
    assert!(lost <= cuts * in_flight, "{lost} bytes were not confirmed in {cuts} cuts");
    assert!(greetings <= cuts * GREETING_BYTES_MAX, "{greetings} bytes beside chunks");
    assert!(line.counts.hub_peak <= HUB_BYTES_MAX, "the hub held {}", line.counts.hub_peak);
    assert!(line.counts.client_peak <= CLIENT_BYTES_MAX, "{}", line.counts.client_peak);
    assert!(beyond <= CLIENT_BYTES_MAX, "the client held {beyond} bytes beyond its document");
    drop(store);
}
