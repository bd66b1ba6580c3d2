//! Who is said to have what: it must have been on that disk, and in the end everybody is to know.

use std::collections::BTreeSet;

use sync_core::causal::ReplicaId;
use sync_core::session::Step;
use sync_core::wire::Cursor;

use crate::device::{Device, asks};
use crate::disk::Disk;
use crate::invariant::Invariant;
use crate::marks::Mark;
use crate::world::{World, document_name};

/// How long after all is quiet everybody knows who has what, in virtual milliseconds: a few times what it
/// takes to say it and to pass it on.
const HEARD_MS_MAX: u64 = 10_000;

/// How a device is named: replicas of one fingerprint are one.
fn device_of(replica: ReplicaId) -> ReplicaId {
    replica.with_incarnation(0)
}

/// Whom a device heard of last by a clock that was set back since. A process that began since does not know
/// which of two words about them is the later one, where both are a while old.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubts {
    set_back: BTreeSet<(usize, ReplicaId)>,
    begun: BTreeSet<(usize, ReplicaId)>,
}

impl Doubts {
    /// The clock is set back.
    pub(crate) fn set_back(&mut self, disk: &Disk) {
        for (document, file) in disk.documents.iter().enumerate() {
            let known = file.devices.iter().map(|known| (document, device_of(known.replica)));
            self.set_back.extend(known);
        }
    }

    /// A process begins.
    pub(crate) fn begin(&mut self) {
        self.begun.extend(self.set_back.iter().copied());
    }

    /// The device has on disk what it hears anew.
    pub(crate) fn hear(&mut self, document: usize, steps: &[Step]) {
        for step in steps {
            if let Step::Know(known) = step {
                let key = (document, device_of(known.replica));
                self.set_back.remove(&key);
                self.begun.remove(&key);
            }
        }
    }

    fn has(&self, document: usize, replica: ReplicaId) -> bool {
        self.begun.contains(&(document, device_of(replica)))
    }
}

impl World<'_> {
    /// Takes note of what a device has on its disk.
    pub(crate) fn note_had(&mut self, device: usize, document: usize) {
        let file = &self.devices[device].disk.documents[document];
        let had = self.had.entry((document, device_of(file.replica))).or_default();
        had.union(file.saved.store.context());
    }

    /// What a device says that it holds, its disk must say as well, and have.
    pub(crate) fn check_held(
        &mut self,
        device: usize,
        link: u64,
        (channel, replica, seq): (u32, ReplicaId, u64),
    ) {
        let Some(link) = self.links.get(&link) else { return };
        let Some(document) = link.channels.get(&channel).map(|open| open.document) else { return };
        let boot = link.boot;
        let file = &self.devices[device].disk.documents[document];
        let is_so = |at: Cursor| at.boot == boot && at.seq >= seq;
        if !file.saved.cursor.is_some_and(is_so) || !file.replica.is_kin(&replica) {
            let detail = format!("device {device} says that it has all up to {seq}");
            self.fail(Invariant::HeldOnDisk, detail);
        }
    }

    /// Looks at what a device is about to know of others.
    pub(crate) fn check_claims(&mut self, device: usize, document: usize, steps: &[Step]) {
        for step in steps {
            let Step::Know(known) = step else { continue };
            // What it says of itself is no claim.
            if known.replica.is_kin(&self.devices[device].disk.documents[document].replica) {
                continue;
            }
            let mut before = self.devices[device].disk.documents[document].devices.iter();
            let before = before.rfind(|before| before.replica.is_kin(&known.replica));
            if before.is_some_and(|before| !known.has.covers(&before.has)) {
                self.marks.hit(Mark::HeldLess);
            }
            if !known.has.is_empty() {
                self.marks.hit(Mark::Held);
            }
            let had = self.had.get(&(document, device_of(known.replica)));
            let lacking = had.map_or_else(|| known.has.clone(), |had| known.has.difference(had));
            // Whoever has the other of two things that a dot was taken as does not take this one.
            if !lacking.is_empty() && !self.model.is_any_taken_twice() {
                let detail = format!(
                    "device {device} takes {} to have {lacking:?}, which it never had",
                    known.name
                );
                self.fail(Invariant::HeldOnDisk, detail);
            }
        }
    }

    /// Waits for the last words, and looks whether everybody has heard them. Of copies nobody says which
    /// of them it is.
    pub(crate) fn hear_of_all(&mut self) {
        let until = self.now_ms + HEARD_MS_MAX;
        while self.now_ms < until && self.violation.is_none() && self.step() {}
        if self.model.is_any_taken_twice() {
            return;
        }
        let mut unheard = None;
        for (at, device) in self.devices.iter().enumerate() {
            let Device { process: Some(process), disk, doubts, .. } = device else { continue };
            if !asks(at) || disk.is_copied {
                continue;
            }
            for document in 0..self.scenario.documents {
                let name = document_name(document);
                for (other, of_other) in self.devices.iter().enumerate() {
                    let replica = of_other.disk.documents[document].replica;
                    let is_doubted = doubts.has(document, replica);
                    if other == at || of_other.disk.is_copied || is_doubted {
                        continue;
                    }
                    let mut known = process.client.devices(&name).into_iter().flatten();
                    let known = known.find(|known| known.replica.is_kin(&replica));
                    let lag = known.map(|known| process.client.lag_of(&name, known));
                    if lag != Some(Ok(0)) {
                        unheard = Some(format!(
                            "device {at}, {name}: what is known of device {other} lacks {lag:?}"
                        ));
                    }
                }
            }
        }
        if let Some(detail) = unheard {
            self.fail(Invariant::HoldersKnown, detail);
        }
    }
}
