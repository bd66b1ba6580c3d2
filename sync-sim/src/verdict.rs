//! The end of a run, held against the reference model.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{CausalContext, Dot, MemoryStore};
use sync_core::error::Sure;
use sync_core::session::OutboxState;
use sync_core::types::{Conflict, Place};

use crate::device::Device;
use crate::invariant::Invariant;
use crate::kernel::{self, Counter, Register};
use crate::marks::Mark;
use crate::model::{Change, ChangeId};
use crate::world::{World, document_name};

/// What is beyond help in one document: dots that hubs took as two things, what came after them, and
/// everything about the places that these belong to. Each of the two has left its writer, as a hub that
/// lost its tail was given the other, or as two hubs know nothing of each other; whoever has one of
/// them holds it for the dot, and nobody is left who could name it anew in the place of all.
#[derive(Debug, Default)]
struct Spoiled {
    dots: BTreeSet<Dot>,
    places: BTreeSet<String>,
}

/// How a dot was taken the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// By a change that a living disk has, or that a hub acknowledged.
    Surely,
    /// By one that went with every disk that had it; some may have heard of it.
    Perhaps,
}

impl World<'_> {
    /// Holds every document against the model.
    pub(crate) fn judge(&mut self) {
        for document in 0..self.scenario.documents {
            let name = document_name(document);
            let states = self.hubs.iter().map(|hub| hub.disk.store.state(&name).cloned());
            let states: Vec<_> = states.map(Option::unwrap_or_default).collect();
            let spoiled = self.spoiled(document);
            self.compare(document, &states, &spoiled);
            self.hold_against_model(document, &states[0], &spoiled);
            self.check_counters(document, &states[0], &spoiled);
            self.check_context(document, &states[0], &spoiled);
            self.ask_application(document, &states[0], &spoiled);
        }
    }

    /// Finds what copies may have spoiled.
    fn spoiled(&mut self, document: usize) -> Spoiled {
        let mut spoiled = Spoiled::default();
        let twice = self.model.taken_twice(document);
        self.tally.taken_twice += u64::from(!twice.is_empty());
        let mut stuck = None;
        for (at, device) in self.devices.iter().enumerate() {
            let outbox = &device.disk.documents[document].saved.outbox;
            let is_parked = |state: &OutboxState| matches!(state, OutboxState::Parked { .. });
            // What depends on an item that is parked waits with it.
            let has_parked = outbox.iter().any(|item| is_parked(&item.state));
            for item in outbox {
                if has_parked && !twice.is_empty() {
                    spoiled.dots.extend(kernel::dots(&item.delta.context()));
                } else {
                    stuck = Some(format!("device {at} has {:?} as {:?}", item.key(), item.state));
                }
            }
        }
        let own = |change: &Change| change.document == document && !change.is_void;
        for change in self.model.changes().iter().filter(|change| own(change)) {
            if twice.get(&change.replica).is_some_and(|first| change.last >= *first) {
                spoiled.dots.extend(dots_of(change));
                spoiled.dots.extend(&change.kills);
                spoiled.places.extend(change.live.iter().map(|brought| brought.place.clone()));
                spoiled.places.extend(change.removed.iter().cloned());
            }
        }
        if !spoiled.dots.is_empty() {
            let places = spoiled.dots.iter().filter_map(|dot| self.model.place_of(document, *dot));
            spoiled.places.extend(places.cloned().collect::<Vec<_>>());
            let known = spoiled.dots.iter().filter_map(|dot| self.model.change_of(document, *dot));
            let known: BTreeSet<ChangeId> = known.collect();
            for (id, change) in self.model.changes().iter().enumerate() {
                let mut places = change.live.iter().map(|b| &b.place).chain(&change.removed);
                let is_hit = known.contains(&id)
                    || places.any(|place| spoiled.places.contains(place))
                    || change.kills.iter().any(|dot| spoiled.dots.contains(dot));
                if own(change) && is_hit {
                    spoiled.dots.extend(dots_of(change));
                    spoiled.dots.extend(&change.kills);
                }
            }
        }
        if let Some(detail) = stuck {
            self.fail(Invariant::OutboxEmpty, detail);
        }
        spoiled
    }

    /// Every device and hub has one state, in memory and on disk.
    fn compare(&mut self, document: usize, states: &[MemoryStore], spoiled: &Spoiled) {
        let name = document_name(document);
        let mut findings = Vec::new();
        let mut diverged = 0;
        let hub = &states[0];
        let mut look = |who: String, other: &MemoryStore, findings: &mut Vec<String>| {
            if other != hub {
                match difference(hub, other, spoiled) {
                    Some(found) => findings.push(format!("{who}, {name}: {found}")),
                    None => diverged += 1,
                }
            }
        };
        for (at, other) in states.iter().enumerate().skip(1) {
            look(format!("hub {at}"), other, &mut findings);
        }
        for (at, device) in self.devices.iter().enumerate() {
            let Some(process) = &device.process else { continue };
            let Ok(opened) = process.client.document(&name) else { continue };
            look(format!("device {at}"), opened.store(), &mut findings);
            if *opened.store() != device.disk.documents[document].saved.store {
                findings
                    .push(format!("the disk of device {at} has another {name} than its process"));
            }
        }
        self.tally.apart_by_twice += diverged;
        if !findings.is_empty() {
            self.fail(Invariant::Converged, findings.join("; "));
        }
    }

    /// Whether a change must be there: a living disk has it, or a hub acknowledged it and went on.
    fn is_promised(&self, id: ChangeId) -> bool {
        self.devices.iter().any(|device| device.disk.has.contains(&id))
            || self.hubs.iter().any(|hub| hub.disk.has.contains(&id))
    }

    fn taken(&self, document: usize, context: &CausalContext) -> BTreeMap<Dot, Taken> {
        let mut taken = BTreeMap::new();
        for (id, change) in self.model.changes().iter().enumerate() {
            if change.document != document || change.is_void {
                continue;
            }
            let how = if self.is_promised(id) {
                Taken::Surely
            } else if change.was_sent || dots_of(change).any(|dot| context.contains(dot)) {
                Taken::Perhaps
            } else {
                continue;
            };
            for dot in &change.kills {
                let known = taken.entry(*dot).or_insert(how);
                if how == Taken::Surely {
                    *known = how;
                }
            }
        }
        taken
    }

    /// Element by element: alive is what was written and not taken the place of.
    fn hold_against_model(&mut self, document: usize, hub: &MemoryStore, spoiled: &Spoiled) {
        let taken = self.taken(document, hub.context());
        let live = kernel::live(hub);
        let mut found = None;
        for (id, change) in self.model.changes().iter().enumerate() {
            if change.document != document || change.is_void {
                continue;
            }
            let is_promised = self.is_promised(id);
            if !is_promised && !dots_of(change).any(|dot| hub.context().contains(dot)) {
                self.marks.hit(Mark::GoneWithItsDisks);
            }
            for brought in &change.live {
                let dot = Dot::new(change.replica, brought.counter);
                let (is, how) = (live.get(&dot).copied(), taken.get(&dot).copied());
                if spoiled.dots.contains(&dot) || spoiled.places.contains(&brought.place) {
                    let is_lost = is_promised && how.is_none() && is != Some(brought.content);
                    self.tally.lost_to_twice += u64::from(is_lost);
                    continue;
                }
                if !is_promised && self.model.is_contested(document, dot.replica, dot.counter) {
                    // Its writer gave it another name, or is no more.
                    continue;
                }
                let is_expected = is_promised || hub.context().contains(dot);
                let place = format!("{} of {}", brought.field, brought.place);
                match (is, how) {
                    (Some(_), Some(Taken::Surely)) => {
                        let detail = format!("{dot}, {place} was taken and is there");
                        found = found.or(Some((Invariant::NoResurrection, detail)));
                    }
                    (Some(content), _) if content != brought.content => {
                        let detail = format!("{dot}, {place} stands for something else");
                        found = found.or(Some((Invariant::OneContentPerDot, detail)));
                    }
                    (None, None) if is_expected => {
                        let detail = format!("{dot}, {place}, change {id}, is gone");
                        found = found.or(Some((Invariant::NoLostWrite, detail)));
                    }
                    (None, Some(Taken::Perhaps)) if is_promised => {
                        self.tally.lost_with_successor += 1;
                    }
                    _ => {}
                }
            }
        }
        if let Some(detail) = self.shown_by_copies(document, &live, spoiled) {
            found = found.or(Some((Invariant::NoResurrection, detail)));
        }
        let written = self.model.written(document);
        let stranger =
            live.keys().find(|dot| !written.contains(dot) && !spoiled.dots.contains(dot));
        if let Some(dot) = stranger {
            let detail = format!("{dot} is there and nobody wrote it");
            found = found.or(Some((Invariant::NoResurrection, detail)));
        }
        if let Some((invariant, detail)) = found {
            self.fail(invariant, format!("{}: {detail}", document_name(document)));
        }
    }

    /// A record that is shown although nothing of it is left but what was asserted again.
    fn shown_by_copies(
        &self,
        document: usize,
        live: &BTreeMap<Dot, u64>,
        spoiled: &Spoiled,
    ) -> Option<String> {
        let mut kept: BTreeMap<&String, bool> = BTreeMap::new();
        let changes = self.model.changes().iter();
        for change in changes.filter(|change| change.document == document && !change.is_void) {
            let alive = change
                .live
                .iter()
                .filter(|brought| live.contains_key(&Dot::new(change.replica, brought.counter)));
            for brought in alive {
                *kept.entry(&brought.place).or_default() |= brought.copy_of.is_none();
            }
        }
        let process = self.devices.iter().find_map(|device| device.process.as_ref())?;
        let opened = process.client.document(&document_name(document)).ok()?;
        let mut shown = opened.collections().sure().into_iter().flat_map(|collection| {
            let records = opened.records(&collection).sure().into_iter();
            records.map(move |(id, _)| format!("{collection}/{id}"))
        });
        let place = shown
            .find(|place| kept.get(place) == Some(&false) && !spoiled.places.contains(place))?;
        Some(format!("{place} is shown, and only copies are left of it"))
    }

    /// Each counter stands at what was added by the changes that are promised, and by those of which a hub
    /// took and has that, though nobody else does. A share that only changes took which went with every
    /// disk that had them is gone as any other write that somebody heard the end of, and not its
    /// successor: with all that was ever added to it. A counter is left out where earlier openings of a
    /// replica were added up, and a copy went on with one of them.
    fn check_counters(&mut self, document: usize, hub: &MemoryStore, spoiled: &Spoiled) {
        if !spoiled.dots.is_empty() {
            return;
        }
        let is_there = |id: ChangeId, change: &Change, counter: &Counter| {
            let (first, last) = change.share_of(counter);
            let is_kept = change.was_taken && kernel::has_seen(hub, change.replica, first, last);
            self.is_promised(id) || is_kept
        };
        let (live, taken) = (kernel::live(hub), self.taken(document, hub.context()));
        let is_lost = |dot: Dot| {
            let is_dead = hub.context().contains(dot) && !live.contains_key(&dot);
            is_dead && taken.get(&dot) == Some(&Taken::Perhaps)
        };
        let mut expected = self.model.counts(document, is_there, is_lost);
        let (before, apart) = (expected.len(), self.model.added_up_apart(document, is_there));
        expected.retain(|counter, _| !apart.contains(counter));
        self.tally.added_up_apart += (before - expected.len()) as u64;
        let process = self.devices.iter().find_map(|device| device.process.as_ref());
        let opened = process.map(|process| process.client.document(&document_name(document)));
        let Some(Ok(opened)) = opened else { return };
        let found = kernel::counts(opened);
        // An insertion that took every share of a counter left none.
        let stands_at = |counter: &Counter| found.get(counter).copied().unwrap_or(0);
        let wrong = expected.iter().find(|(counter, sum)| stands_at(counter) != **sum);
        self.tally.counters += expected.len() as u64;
        if let Some(((place, path), sum)) = wrong {
            let is = stands_at(&(place.clone(), path.clone()));
            let detail = format!("d{document}: {path} of {place} stands at {is}, not at {sum}");
            self.fail(Invariant::CountersExact, detail);
        }
    }

    /// A gap is of what went with every disk that had it: nobody can say what became of those dots.
    fn check_context(&mut self, document: usize, hub: &MemoryStore, spoiled: &Spoiled) {
        let context = hub.context();
        let (ranges, replicas) = (context.range_count(), context.replica_count());
        let gaps = kernel::gaps(context);
        self.tally.gaps += gaps.range_count() as u64;
        let is_gone = |dot: Dot| spoiled.dots.contains(&dot) || self.is_gone(document, dot);
        if !kernel::dots(&gaps).all(is_gone) {
            let detail = format!("{ranges} ranges for {replicas} replicas: {context:?}");
            self.fail(Invariant::ContextCompact, detail);
        }
    }

    /// Whether a dot is of changes of which none must be there. Or of none, and stands for a dot of one that
    /// nobody had as a whole who wrote again what was around it: it keeps its own dots.
    fn is_gone(&self, document: usize, dot: Dot) -> bool {
        let gone: Vec<bool> = self.are_gone(document, dot).collect();
        let mut originals = self.model.originals(document, dot);
        match gone.is_empty() {
            true => originals.any(|dot| self.are_gone(document, dot).next().is_some()),
            false => gone.into_iter().all(|is_gone| is_gone),
        }
    }

    /// Of each change that a dot is of, whether it must not be there.
    fn are_gone(&self, document: usize, dot: Dot) -> impl Iterator<Item = bool> {
        let changes = self.model.changes().iter().enumerate();
        let of_dot = changes.filter(move |(_, change)| {
            (change.document, change.replica) == (document, dot.replica)
                && (change.first..=change.last).contains(&dot.counter)
        });
        of_dot.map(|(id, change)| change.is_void || !self.is_promised(id))
    }

    /// A device that removed a record, and keeps what it was.
    fn remover(&self, document: usize, place: &str) -> Option<usize> {
        let key = (document, place.to_owned());
        let keeps = |device: &Device| {
            device.process.as_ref().is_some_and(|process| process.removed.contains(&key))
        };
        self.devices.iter().position(keeps)
    }

    fn ask_application(&mut self, document: usize, hub: &MemoryStore, spoiled: &Spoiled) {
        let name = document_name(document);
        let lacking = self.model.lacking(document, &kernel::live(hub));
        let lacks = |register: &&Register| {
            let (place, field) = *register;
            let is_torn = !lacking.taken_out.contains(*register);
            is_torn && !kernel::fields(hub, place).iter().any(|(_, there)| there == field)
        };
        self.tally.torn += lacking.torn.iter().filter(lacks).count() as u64;
        let mut found = None;
        let (mut partial, mut unexplained) = (0, 0);
        for (at, device) in self.devices.iter().enumerate() {
            let Some(process) = &device.process else { continue };
            let Ok(opened) = process.client.document(&name) else { continue };
            if let Err(detail) = self.workload.check(opened, &lacking) {
                found = Some(format!("device {at}, {name}: {detail}"));
            }
            if at == 0 {
                let conflicts = opened.conflicts().sure();
                let is_partial = |(_, conflict): &&(Place, Conflict)| {
                    matches!(conflict, Conflict::Partial { .. })
                };
                partial = conflicts.iter().filter(is_partial).count();
                for (place, conflict) in conflicts.iter().filter(is_partial) {
                    let place = kernel::name_of(place);
                    unexplained += u64::from(!self.model.was_in_part(document, &place));
                    if let Some(remover) = self.remover(document, &place) {
                        let detail =
                            format!("{place} stands in parts, and device {remover} removed it");
                        found = found.or(Some(format!("{name}: {detail}")));
                    }
                    self.trace.note(self.now_ms, &[50], || {
                        format!("{name}: {place} stands in parts: {conflict:?}")
                    });
                }
            }
        }
        self.tally.partial_records += partial as u64;
        if partial > 0 {
            self.marks.hit(Mark::RecordPartial);
        }
        let is_copied = self.devices.iter().any(|device| device.disk.is_copied);
        if unexplained > 0 && !is_copied {
            // Every device that edited the record had the whole of it, and is still there.
            found = found.or(Some(format!("{name}: {unexplained} records stand in parts")));
        }
        if let Some(detail) = found {
            if !spoiled.places.is_empty() {
                self.tally.apart_by_twice += 1;
            } else {
                self.fail(Invariant::RecordsWhole, detail);
            }
        }
    }
}

fn dots_of(change: &Change) -> impl Iterator<Item = Dot> + use<> {
    let replica = change.replica;
    (change.first..=change.last).map(move |counter| Dot::new(replica, counter))
}

/// The first difference of two states that copies do not explain.
fn difference(hub: &MemoryStore, other: &MemoryStore, spoiled: &Spoiled) -> Option<String> {
    let (ours, theirs) = (kernel::live(hub), kernel::live(other));
    let mut dots: BTreeSet<Dot> = BTreeSet::new();
    dots.extend(ours.iter().filter(|(dot, is)| theirs.get(dot) != Some(is)).map(|(dot, _)| *dot));
    dots.extend(theirs.iter().filter(|(dot, is)| ours.get(dot) != Some(is)).map(|(dot, _)| *dot));
    let (known, seen) = (hub.context(), other.context());
    dots.extend(kernel::dots(&known.difference(seen)));
    dots.extend(kernel::dots(&seen.difference(known)));
    let dot = dots.into_iter().find(|dot| !spoiled.dots.contains(dot))?;
    Some(format!(
        "{dot} is {:?} at the hub and {:?} there; seen: {}, {}",
        ours.get(&dot),
        theirs.get(&dot),
        known.contains(dot),
        seen.contains(dot)
    ))
}
