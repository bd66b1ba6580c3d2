//! Everything that there is in a run, and the loop that moves it.

use std::collections::BTreeMap;

use sync_core::causal::{CausalContext, ReplicaId};

use crate::device::Device;
use crate::hub::HubHost;
use crate::invariant::{Invariant, Violation};
use crate::marks::{Mark, Marks};
use crate::measure::Tally;
use crate::model::{ChangeId, Model};
use crate::network::Link;
use crate::queue::{Event, Queue};
use crate::{Random, Scenario, Trace, Workload};

/// The calendar at the start of a run, in milliseconds since 1970.
const START_UNIX_MS: i64 = 1_700_000_000_000;

/// The most events of a run: far above what any takes that ends.
const EVENTS_MAX: u64 = 4_000_000;

/// The chances of a run: a stream for each part, so that one does not shift another.
#[derive(Debug)]
pub(crate) struct Chances {
    pub(crate) network: Random,
    pub(crate) disk: Random,
    pub(crate) fault: Random,
    pub(crate) application: Random,
    pub(crate) identity: Random,
    pub(crate) refills: Random,
}

/// A run under way.
pub(crate) struct World<'w> {
    pub(crate) scenario: Scenario,
    pub(crate) workload: &'w mut dyn Workload,
    pub(crate) chance: Chances,
    pub(crate) now_ms: u64,
    pub(crate) queue: Queue,
    pub(crate) devices: Vec<Device>,
    pub(crate) hubs: Vec<HubHost>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) next_link: u64,
    pub(crate) model: Model,
    /// The last dot of every item that was sent, by document, replica and first dot.
    pub(crate) sent_items: BTreeMap<(usize, ReplicaId, u64), u64>,
    /// Everything that a device ever had on its disk, by document and fingerprint.
    pub(crate) had: BTreeMap<(usize, ReplicaId), CausalContext>,
    /// The changes that each push had whole, by connection, channel and number. A push may arrive when
    /// its connection is no more.
    pub(crate) pushes: BTreeMap<(u64, u32, u64), Vec<ChangeId>>,
    /// Over which connection each replica last wrote that it had claimed, by hub and document.
    pub(crate) writers: BTreeMap<(usize, usize, ReplicaId), u64>,
    pub(crate) marks: Marks,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    pub(crate) changes_left: u64,
    /// Changes that come one right after the other, while a device is away.
    pub(crate) rush: u64,
    /// Whether faults have ended.
    pub(crate) is_healing: bool,
    pub(crate) tally: Tally,
    pub(crate) events: u64,
}

/// How a document is called.
pub(crate) fn document_name(document: usize) -> String {
    format!("d{document}")
}

/// Which document has this name.
pub(crate) fn document_number(name: &str) -> usize {
    name.get(1..).and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl<'w> World<'w> {
    pub(crate) fn new(scenario: Scenario, workload: &'w mut dyn Workload) -> Self {
        let random = Random::new(scenario.seed);
        let chance = Chances {
            network: random.stream(2),
            disk: random.stream(3),
            fault: random.stream(4),
            application: random.stream(5),
            identity: random.stream(6),
            refills: random.stream(7),
        };
        let mut world = Self {
            workload,
            chance,
            now_ms: 1,
            queue: Queue::default(),
            devices: Vec::new(),
            hubs: Vec::new(),
            links: BTreeMap::new(),
            next_link: 1,
            model: Model::new(scenario.documents),
            sent_items: BTreeMap::new(),
            had: BTreeMap::new(),
            pushes: BTreeMap::new(),
            writers: BTreeMap::new(),
            marks: Marks::default(),
            trace: Trace::new(scenario.is_traced),
            violation: None,
            changes_left: scenario.changes,
            rush: 0,
            is_healing: false,
            tally: Tally::default(),
            events: 0,
            scenario,
        };
        if world.scenario.documents > 1 {
            world.marks.hit(Mark::ManyDocuments);
        }
        for _ in 0..world.scenario.hubs {
            world.add_hub();
        }
        for _ in 0..world.scenario.devices {
            world.add_device();
        }
        world
    }

    /// Lets faults strike until the application has made its changes.
    pub(crate) fn run_under_faults(&mut self) {
        self.queue.put(self.now_ms, Event::Change);
        if !self.scenario.faults.is_empty() {
            self.queue.put(self.now_ms, Event::Fault);
        }
        while self.changes_left > 0 && self.violation.is_none() {
            self.step();
        }
    }

    /// Does what is due next. Says whether there was anything.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at_ms, event)) = self.queue.pop() else { return false };
        self.now_ms = self.now_ms.max(at_ms);
        self.events += 1;
        if self.events > EVENTS_MAX {
            self.fail(Invariant::QuietInTime, "the run does not end".to_owned());
            return false;
        }
        match event {
            Event::Change => self.change_somewhere(),
            Event::Fault => self.strike(),
            Event::Arrive { link, up } => self.arrive(link, up),
            Event::HangUp { link, at_hub } => self.hang_up(link, at_hub),
            Event::Connect { device, run } => self.connect(device, run),
            Event::Synced { device, run } => self.synced(device, run),
            Event::DeviceTimer { device, run } => self.device_timer(device, run),
            Event::StartDevice { device } => self.start_device(device),
            Event::Flap { device, left } => self.flap(device, left),
            Event::Return { device } => self.come_back(device),
            Event::Commit { hub, run } => self.commit(hub, run),
            Event::HubTimer { hub, run } => self.hub_timer(hub, run),
            Event::StartHub { hub } => self.start_hub(hub),
        }
        true
    }

    /// The calendar by a clock that is off.
    pub(crate) fn unix_ms(&self, clock_ms: i64) -> u64 {
        let unix = START_UNIX_MS.saturating_add(clock_ms).saturating_add_unsigned(self.now_ms);
        u64::try_from(unix).unwrap_or(0)
    }

    /// Ends the run with what was found first.
    pub(crate) fn fail(&mut self, invariant: Invariant, detail: String) {
        self.trace.note(self.now_ms, &[90], || format!("VIOLATION {invariant:?}: {detail}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, detail });
        }
    }

    pub(crate) fn note(&mut self, numbers: &[u64], text: impl FnOnce() -> String) {
        self.trace.note(self.now_ms, numbers, text);
    }
}
