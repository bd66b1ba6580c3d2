//! Which device holds what, the hearing half: what others say, and which changes made here that covers.
//!
//! Which changes are below a number, this client knows from what the hub confirmed on the same connection;
//! numbers of one start of a hub are never held against those of another.

use super::{Client, ClientStore, Opened, Step, Then};
use crate::causal::{CausalContext, Delta, Dot, ReplicaId};
use crate::error::{Malformed, Misuse};
use crate::pack::{self, Reader};
use crate::session::Now;
use crate::session::limits::{
    DEVICE_MS_MAX, DEVICES_MAX, GIVEN_UP_RANGES_MAX, HELD_MS, LEVEL_RANGES_MAX, LEVELS_MAX,
};
use crate::types::{NAME_BYTES_MAX, Renaming};
use crate::wire::Holder;

/// How old something may be that has just been said, in milliseconds: a hub passes it on once in a while.
const NEWS_MS_MAX: u64 = 2 * HELD_MS;

/// Another device, as it was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// As whom it wrote then. Devices are told apart by the fingerprint: a fresh incarnation is the same one.
    pub replica: ReplicaId,
    /// What it calls itself; nothing where it does not say.
    pub name: String,
    /// When it said what it has, by this device's clock: milliseconds since 1970.
    pub heard_ms: u64,
    /// Which of the changes that were made here it had on its disk then, as far as that is sure. Of this
    /// device itself: which dots stand for nothing that was written here.
    pub has: CausalContext,
}

/// A device as a step has it.
pub type DeviceBox = Box<Device>;

/// Which changes made here the hub has, by its sequence numbers: each level has everything below it.
#[derive(Debug, Default)]
pub(super) struct Levels(Vec<(u64, CausalContext)>);

/// What is known of other devices.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// By fingerprint: in the order of the replicas, of which none is kin to another.
    known: Vec<Device>,
    /// When each was heard of, as it is on disk.
    noted_ms: Vec<u64>,
    /// When each said it that was heard of in this run, by the monotonic clock.
    run_ms: Vec<Option<i64>>,
}

impl Device {
    /// Writes it to the end of some bytes, for storage.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { replica, name, heard_ms, has } = self;
        pack::array(out, 4);
        replica.encode_into(out);
        pack::str(out, name);
        pack::uint(out, *heard_ms);
        has.encode_into(out);
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(4)?;
        let (replica, name) = (ReplicaId::decode(reader)?, reader.str()?.to_owned());
        let heard_ms = reader.uint()?;
        Ok(Self { replica, name, heard_ms, has: CausalContext::decode(reader)? })
    }
}

impl Levels {
    /// Takes note that the hub has something with all up to a number.
    fn add(&mut self, seq: u64, dots: &CausalContext) {
        let Self(levels) = self;
        let at = levels.partition_point(|(level, _)| *level < seq);
        if levels.get(at).is_none_or(|(level, _)| *level != seq) {
            let below = at.checked_sub(1).and_then(|below| levels.get(below));
            let below = below.map(|(_, has)| has.clone()).unwrap_or_default();
            levels.insert(at, (seq, below));
        }
        levels[at..].iter_mut().for_each(|(_, has)| has.union(dots));
        // Each has what those below it have, and mostly no fewer ranges.
        let ranges = levels.last().map_or(0, |(_, has)| has.range_count());
        let levels_max = (LEVEL_RANGES_MAX / ranges.max(1)).clamp(2, LEVELS_MAX);
        while levels.len() > levels_max {
            // What it had counts from the next one on. The first has what was there before.
            levels.remove(1);
        }
    }

    /// What somebody has who has all up to a number.
    fn up_to(&self, seq: u64) -> CausalContext {
        let after = self.0.partition_point(|(level, _)| *level <= seq);
        let level = after.checked_sub(1).and_then(|at| self.0.get(at));
        level.map(|(_, has)| has.clone()).unwrap_or_default()
    }
}

impl Devices {
    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        let at = self.known.partition_point(|device| device.replica < replica.with_incarnation(0));
        match self.known.get(at) {
            Some(device) if device.replica.is_kin(&replica) => Ok(at),
            Some(_) | None => Err(at),
        }
    }

    /// Takes what a device was heard to have, and when it said so by the monotonic clock. Says whether that
    /// is to be stored.
    fn take(&mut self, device: Device, run_ms: Option<i64>) -> bool {
        match self.position(device.replica) {
            Ok(at) => {
                self.run_ms[at] = run_ms;
                let Device { replica, name, has, .. } = &self.known[at];
                let is_same = (replica, name, has) == (&device.replica, &device.name, &device.has);
                let is_due = device.heard_ms.abs_diff(self.noted_ms[at]) >= DEVICE_MS_MAX;
                if !is_same || is_due {
                    self.noted_ms[at] = device.heard_ms;
                }
                self.known[at] = device;
                !is_same || is_due
            }
            Err(at) => {
                self.noted_ms.insert(at, device.heard_ms);
                self.run_ms.insert(at, run_ms);
                self.known.insert(at, device);
                true
            }
        }
    }

    /// Takes out whoever was heard of the longest ago, where there are too many.
    fn limit(&mut self) -> Option<ReplicaId> {
        if self.known.len() <= DEVICES_MAX {
            return None;
        }
        let oldest = self.known.iter().enumerate().min_by_key(|(_, device)| device.heard_ms);
        let (at, _) = oldest?;
        self.noted_ms.remove(at);
        self.run_ms.remove(at);
        Some(self.known.remove(at).replica)
    }
}

fn know(device: Device) -> Step {
    Step::Know(Box::new(device))
}

impl<S: ClientStore> Client<S> {
    /// Asks hubs which devices hold what, and lets others be told how this one is called, from the next time
    /// on that a document is opened at a hub. The name may be empty.
    pub fn follow_devices(&mut self, name: &str) -> Result<(), Misuse> {
        if name.len() > NAME_BYTES_MAX {
            let (found, limit) = (name.len() as u64, NAME_BYTES_MAX as u64);
            return Err(Misuse::TooLarge { what: "the name of the device", found, limit });
        }
        self.name = Some(name.to_owned());
        Ok(())
    }

    /// Says at once what is held, before this goes.
    pub fn say_held(&mut self, now: Now) {
        if self.is_connected() {
            self.tell_held(now);
        }
    }

    /// Takes what was stored of other devices, when a document is opened.
    pub fn recall_devices(
        &mut self,
        document: &str,
        devices: impl IntoIterator<Item = Device>,
    ) -> Result<(), Misuse> {
        let Opened { devices: known, author, given_up, .. } = self.opened_mut(document)?;
        for device in devices {
            if author.is_some_and(|author| author.is_kin(&device.replica)) {
                given_up.union(&device.has);
            } else {
                known.take(device, None);
            }
        }
        Ok(())
    }

    /// Which other devices are known to have had something of a document, and what of the changes that were
    /// made here; in the order of their replicas.
    pub fn devices(&self, document: &str) -> Result<impl Iterator<Item = &Device>, Misuse> {
        Ok(self.opened(document)?.devices.known.iter())
    }

    /// Which other devices had a change on their disks when they were last heard of. It was made here, and
    /// this is how far it is known: none before the hub has it.
    pub fn holders(&self, document: &str, dot: Dot) -> Result<Vec<&Device>, Misuse> {
        let opened = self.opened(document)?;
        let dot = opened.renamed.iter().fold(dot, |dot, renaming| renaming.dot(dot));
        if opened.given_up.contains(dot) || opened.outbox.waits(dot).is_some() {
            return Ok(Vec::new());
        }
        let has = |device: &&Device| device.has.contains(dot);
        Ok(opened.devices.known.iter().filter(has).collect())
    }

    /// How many dots that were written here a device is not known to have.
    pub fn lag_of(&self, document: &str, device: &Device) -> Result<u64, Misuse> {
        let opened = self.opened(document)?;
        Ok(opened.own(opened.document.store().context()).difference(&device.has).len())
    }

    /// Takes what other devices were heard to hold.
    pub(super) fn handle_held(&mut self, now: Now, name: &str, holders: Vec<Holder>) {
        let Some(opened) = self.documents.get_mut(name) else { return };
        let mut steps = Vec::new();
        for Holder { replica, seq, age_ms, name } in holders {
            // What a copy of this database says is not that of another device.
            if opened.author.is_none_or(|author| author.is_kin(&replica)) {
                continue;
            }
            let heard_ms = now.unix_ms.saturating_sub(age_ms);
            let run_ms = now.monotonic_ms.cast_signed().saturating_sub_unsigned(age_ms);
            // What is new comes in order. Of what is not, another hub may have told something later, by both
            // clocks: one may have been set back meanwhile, and the other stands while the machine sleeps.
            let is_later = |at: usize| {
                let known_ms = opened.devices.known[at].heard_ms;
                (heard_ms..=now.unix_ms).contains(&known_ms)
                    && opened.devices.run_ms[at].is_none_or(|known_ms| known_ms >= run_ms)
            };
            if age_ms > NEWS_MS_MAX && opened.devices.position(replica).is_ok_and(is_later) {
                continue;
            }
            let mut has = opened.link.holds.levels.up_to(seq);
            if broken!(HoldersHaveAll) {
                has = opened.own(opened.document.store().context());
            }
            let device = Device { replica, name, heard_ms, has };
            if opened.devices.take(device.clone(), Some(run_ms)) {
                steps.push(know(device));
            }
            steps.extend(opened.devices.limit().map(Step::Forget));
        }
        self.persist(name, steps, Then::default());
    }
}

impl<S: ClientStore> Opened<S> {
    /// What of a context was written here, under any incarnation.
    fn own(&self, context: &CausalContext) -> CausalContext {
        let mut own = CausalContext::default();
        let Some(author) = self.author else { return own };
        for (replica, ranges) in context.iter().filter(|(replica, _)| replica.is_kin(&author)) {
            own.insert_ranges(replica, ranges);
        }
        own
    }

    /// Takes note that the hub has something with all up to a number, as far as it was written here.
    pub(super) fn is_at_hub(&mut self, seq: u64, dots: &CausalContext) {
        let own = self.own(dots);
        if !own.is_empty() {
            self.link.holds.levels.add(seq, &own);
        }
    }

    /// The same of a delta that others gave back to the hub, or that it was given again from here.
    pub(super) fn is_back(&mut self, seq: u64, delta: &Delta) {
        let own = self.own(&delta.context());
        if !own.is_empty() {
            let own = self.settled(&own).intersection(self.document.store().context());
            self.is_at_hub(seq, &own);
        }
    }

    /// Takes note of what the hub had when the document was opened, once the catch-up with that is over.
    pub(super) fn caught_up(&mut self, seq: u64) {
        let both = self.own(&self.link.said).intersection(&self.link.told);
        let both = self.settled(&both);
        self.is_at_hub(seq, &both);
    }

    /// Takes note that a part of a replica's history stands under another one: by the old dots, devices
    /// have something else.
    pub(super) fn rename_at_devices(&mut self, renaming: &Renaming, steps: &mut Vec<Step>) {
        for device in &mut self.devices.known {
            let before = device.has.clone();
            device.has.remove_range(renaming.from, renaming.first, Dot::COUNTER_MAX);
            if device.has != before {
                steps.push(know(device.clone()));
            }
        }
        let Renaming { from, first, last, .. } = *renaming;
        if self.author.is_some_and(|author| author.is_kin(&from)) {
            let mut dots = CausalContext::default();
            dots.insert_range(from, first, last);
            self.give_up(&dots, steps);
        }
    }

    /// Takes note, also for later runs, that dots stand for nothing any more that was written here.
    pub(super) fn give_up(&mut self, dots: &CausalContext, steps: &mut Vec<Step>) {
        self.given_up.union(dots);
        if self.given_up.range_count() > GIVEN_UP_RANGES_MAX {
            // Too much is taken for given up then, and never too little.
            let all: Vec<_> = self.given_up.iter().map(|(of, ranges)| (of, ranges.max())).collect();
            all.into_iter().for_each(|(of, last)| self.given_up.insert_range(of, 1, last));
        }
        let Some(replica) = self.author else { return };
        let (name, heard_ms, has) = (String::new(), 0, self.given_up.clone());
        steps.push(know(Device { replica, name, heard_ms, has }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ClientConfig, SavedDocument};

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16]).with_incarnation(0)
    }

    /// Dots of so many ranges.
    fn scattered(ranges: usize) -> CausalContext {
        (1..=ranges as u64).map(|at| Dot::new(replica(1), 2 * at)).collect()
    }

    #[test]
    fn the_ranges_of_all_levels_are_limited() {
        for (ranges, levels_max) in [
            (LEVEL_RANGES_MAX / 4, 4),
            (LEVEL_RANGES_MAX / 4 + 1, 3),
            (LEVEL_RANGES_MAX / 2, 2),
            (LEVEL_RANGES_MAX, 2),
            (LEVEL_RANGES_MAX + 1, 2),
        ] {
            let (mut levels, dots) = (Levels::default(), scattered(ranges));
            for seq in 1..=6 {
                levels.add(seq, &dots);
                assert_eq!(levels.0.len(), levels_max.min(seq as usize), "{ranges}");
            }
            assert_eq!(levels.up_to(1), dots);
            assert_eq!(levels.up_to(0), CausalContext::default());
        }
    }

    #[test]
    fn what_is_known_to_be_given_up_is_limited_and_never_too_little() {
        for ranges in [GIVEN_UP_RANGES_MAX - 1, GIVEN_UP_RANGES_MAX, GIVEN_UP_RANGES_MAX + 1] {
            let mut client: Client = Client::new(ClientConfig::default());
            let Ok(()) = client.open("d", SavedDocument::default(), replica(1), 1);
            let (opened, mut steps) = (client.documents.get_mut("d").unwrap(), Vec::new());
            let dots = scattered(ranges);
            opened.give_up(&dots, &mut steps);
            let [Step::Know(told)] = &steps[..] else { panic!("{steps:?}") };
            assert!(told.has.covers(&dots) && told.has.range_count() <= GIVEN_UP_RANGES_MAX);
            assert_eq!(told.has == dots, ranges <= GIVEN_UP_RANGES_MAX, "{ranges}");
            // A later run knows it, and nothing of itself as of another device.
            let mut again: Client = Client::new(ClientConfig::default());
            let Ok(()) = again.open("d", SavedDocument::default(), replica(1), 2);
            again.recall_devices("d", [(**told).clone()]).unwrap();
            assert!(again.receipt("d", Dot::new(replica(1), 2)).unwrap().parked);
            assert_eq!(again.devices("d").unwrap().count(), 0);
        }
    }
}
