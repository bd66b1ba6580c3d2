//! What a run is: how many devices and hubs, how long the wires are, and which faults are on.

use crate::Random;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A connection ends, with what is under way on it.
    Cut,
    /// For a while nothing gets up from a device.
    HoldUp,
    /// For a while nothing gets down to a device.
    HoldDown,
    /// For a while nothing gets either way.
    Partition,
    /// For a while the line of a device is cut many times a second.
    Flap,
    /// A device is switched off by its user for minutes, and on again.
    Offline,
    /// A device crashes.
    CrashDevice,
    /// A hub crashes.
    CrashHub,
    /// A hub crashes and loses the last of what it had acknowledged.
    LoseTail,
    /// A hub comes back from an old backup.
    RestoreHub,
    /// A hub comes back with nothing.
    WipeHub,
    /// A hub forgets removals.
    Forget,
    /// The clock of a device or hub is off from here on.
    SkewClock,
    /// The clock of a device or hub jumps by ten years, ahead or back.
    JumpClock,
    /// A device comes back from a backup of its database.
    RestoreDevice,
    /// A copy of a device's database is opened on another device; both go on.
    CloneDevice,
    /// Everything sleeps for hours.
    Sleep,
    /// A device goes away, and comes back after a year and thousands of changes. At most once in a run.
    AwayForAYear,
    /// A device changes to another hub.
    Roam,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 19] = [
        Self::Cut,
        Self::HoldUp,
        Self::HoldDown,
        Self::Partition,
        Self::Flap,
        Self::Offline,
        Self::CrashDevice,
        Self::CrashHub,
        Self::LoseTail,
        Self::RestoreHub,
        Self::WipeHub,
        Self::Forget,
        Self::SkewClock,
        Self::JumpClock,
        Self::RestoreDevice,
        Self::CloneDevice,
        Self::Sleep,
        Self::AwayForAYear,
        Self::Roam,
    ];

    /// How many of a thousand runs have it, and how often it strikes there. Arbitrary; rare where it
    /// hides others or takes long.
    fn odds(self) -> (u32, u32) {
        match self {
            Self::Cut | Self::CrashDevice => (500, 8),
            Self::Offline => (400, 6),
            Self::CrashHub => (400, 4),
            Self::HoldUp | Self::HoldDown | Self::Partition => (250, 4),
            Self::LoseTail | Self::Forget => (250, 3),
            Self::Flap | Self::SkewClock | Self::JumpClock => (200, 2),
            Self::RestoreHub | Self::RestoreDevice | Self::CloneDevice => (150, 2),
            Self::WipeHub | Self::Sleep => (150, 1),
            Self::Roam => (1_000, 6),
            Self::AwayForAYear => (12, 16),
        }
    }
}

/// From how many bytes on frames are packed, where they are: small, as what is written here is.
const PACKED_BYTES: usize = 64;

/// One run, but for what the application does. Every field may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Draws everything that is left to chance.
    pub seed: u64,
    /// How many devices there are at first.
    pub devices: usize,
    /// How many hubs there are. They know nothing of each other: devices that roam carry what there
    /// is from one to the other.
    pub hubs: usize,
    /// How many documents every device has open.
    pub documents: usize,
    /// How many changes the application makes while faults strike.
    pub changes: u64,
    /// The average time between two changes, in milliseconds.
    pub change_ms: u64,
    /// The average time between two faults, in milliseconds.
    pub fault_ms: u64,
    /// The faults that strike, each as often as it stands here.
    pub faults: Vec<Fault>,
    /// How long a frame takes, in milliseconds: at least and at most.
    pub delay_ms: (u64, u64),
    /// How long a device's disk takes, in milliseconds.
    pub disk_ms: (u64, u64),
    /// How long a hub's disk takes, in milliseconds.
    pub hub_disk_ms: (u64, u64),
    /// How many of a thousand ends of connections are never told to the other side.
    pub half_open: u32,
    /// How many of a thousand pushes of a refill are the last that the hub hears over that connection.
    pub cut_refills: u32,
    /// About how many bytes of entries a chunk of a catch-up has; none for the hub's own size.
    pub chunk: Option<(usize, usize)>,
    /// From how many bytes on frames are packed, by every second device and by hubs for these; none
    /// packs nothing.
    pub packed: Option<usize>,
    /// Breaks a rule of the driver on purpose, by name, to show that it would be found.
    pub mutant: Option<String>,
    /// Whether the text of every event is kept.
    pub is_traced: bool,
}

impl Scenario {
    /// Three devices, a hub, one document, and nothing goes wrong.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            devices: 3,
            hubs: 1,
            documents: 1,
            changes: 60,
            change_ms: 200,
            fault_ms: 1_000,
            faults: Vec::new(),
            delay_ms: (1, 50),
            disk_ms: (1, 10),
            hub_disk_ms: (1, 10),
            half_open: 0,
            cut_refills: 0,
            chunk: None,
            packed: None,
            mutant: None,
            is_traced: false,
        }
    }

    /// Draws a run from its seed: which faults are on, how often they strike, how large and slow
    /// everything is (swarm testing: Groce et al., *Swarm Testing*, 2012).
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut random = Random::new(seed).stream(1);
        let hubs = if random.chance(150) { 2 } else { 1 };
        let mut faults = Vec::new();
        for fault in Fault::ALL {
            let (odds, weight) = fault.odds();
            let weight = 1 + random.below(u64::from(weight) * 2);
            if random.chance(odds) && (fault != Fault::Roam || hubs > 1) {
                faults.extend((0..weight).map(|_| fault));
            }
        }
        let change_ms = [5, 60, 400, 3_000][random.index(4)];
        let slow = [1, 5, 40, 400][random.index(4)];
        let small = (1 << random.below(12), 1 + random.index(6));
        Self {
            devices: 2 + random.index(4),
            hubs,
            documents: [1, 1, 1, 2, 3][random.index(5)],
            changes: 20 + random.below(80),
            change_ms,
            fault_ms: change_ms * (1 + random.below(6)),
            faults,
            delay_ms: (1, slow * 4),
            disk_ms: (1, [2, 20, 200][random.index(3)]),
            hub_disk_ms: (1, [2, 20, 200][random.index(3)]),
            half_open: [0, 0, 100, 400][random.index(4)],
            cut_refills: if Random::new(seed).stream(13).chance(60) { 400 } else { 0 },
            chunk: random.chance(700).then_some(small),
            packed: Random::new(seed).stream(12).chance(500).then_some(PACKED_BYTES),
            ..Self::calm(seed)
        }
    }

    pub(crate) fn is_mutant(&self, name: &str) -> bool {
        self.mutant.as_deref() == Some(name)
    }
}
