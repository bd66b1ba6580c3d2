//! The hub on a disk that fails: what it acknowledged or showed to anybody is there.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{CausalContext, Delta, Dot};
use sync_core::wire::{Cursor, HubMessage, decode_delta};
use sync_faults::{Campaign, Disk, Fault, Random, Syncs};
use sync_hub::Options;
use tempfile::TempDir;

use crate::client::{Client, TestHub, block_on, insert, removal, replica};

/// How often the power fails in one history. Arbitrary; each life has a writer of its own.
const CUTS: u64 = 10;

const HISTORIES: Campaign = Campaign {
    package: "sync-hub",
    target: "it",
    test: "what_was_acknowledged_is_there_after_any_power_cut",
    unit: "power cuts",
    variable: "SYNC_CUTS",
    ordinary: 200,
};

/// A data directory on a disk that fails, and what must be in it.
struct Site {
    folder: TempDir,
    disk: Disk,
    lives: u8,
    /// Whether a life that goes well ends without power.
    is_cut_at_end: bool,
    /// What each dot that was pushed holds.
    pushed: BTreeMap<Dot, Vec<u8>>,
    /// Dots of inserts that were acknowledged or heard by somebody else.
    there: BTreeSet<Dot>,
    /// Dots of which somebody pushed a removal, and of those one that was acknowledged or heard.
    leaving: BTreeSet<Dot>,
    gone: BTreeSet<Dot>,
    /// How far a client that only listens has come.
    listener: Option<(Cursor, CausalContext)>,
}

impl Site {
    fn new() -> Self {
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        let (pushed, there, leaving, gone) = Default::default();
        Self {
            folder,
            disk,
            lives: 0,
            is_cut_at_end: false,
            pushed,
            there,
            leaving,
            gone,
            listener: None,
        }
    }

    /// One life of the hub with a writer and a listener; ends when enough was pushed or they are cut
    /// off. Gives whether all was acknowledged.
    async fn live(&mut self, random: &mut Random, pushes: u64) -> bool {
        self.lives += 1;
        let Ok(hub) = TestHub::try_start(Options::new(self.folder.path())).await else {
            return false;
        };
        let is_well = self.write(&hub, random, pushes).await.is_some();
        if is_well && self.is_cut_at_end {
            self.disk.cut();
        }
        hub.stop().await;
        is_well
    }

    async fn write(&mut self, hub: &TestHub, random: &mut Random, pushes: u64) -> Option<()> {
        let mut listener = Client::try_hello(hub.address).await?;
        let caught = listener.try_catch_up("d", None, CausalContext::default(), &[]).await?;
        self.listener = Some((caught.cursor, caught.context));
        let writer = replica(self.lives);
        let mut client = Client::try_hello(hub.address).await?;
        client.try_catch_up("d", None, CausalContext::default(), &[writer]).await?;
        let mut sent: BTreeMap<u64, Vec<Dot>> = BTreeMap::new();
        for counter in 1..=pushes {
            let dot = Dot::new(writer, counter);
            let old = self.there.iter().nth(random.below(self.there.len() as u64 + 1) as usize);
            let delta = match old.filter(|_| random.once_in(4)) {
                Some(old) => {
                    self.leaving.insert(*old);
                    sent.insert(counter, vec![*old]);
                    removal(dot, &[*old])
                }
                None => {
                    let text = vec![random.draw() as u8; random.below(3_000) as usize];
                    sent.insert(counter, Vec::new());
                    let delta = insert(writer, counter, &text);
                    self.pushed.insert(dot, text);
                    delta
                }
            };
            client.try_push(counter, &delta).await?;
            if random.once_in(2) {
                self.hear_stored(&mut client, counter, &mut sent).await?;
            }
        }
        self.hear_stored(&mut client, pushes, &mut sent).await?;
        // What others heard is as good as acknowledged.
        while let Some(message) = listener.try_hear().await {
            if let HubMessage::Delta { delta, .. } = message {
                let delta = decode_delta(&delta).unwrap();
                let is_last = delta_has(&delta, Dot::new(writer, pushes));
                self.note(&delta);
                if is_last {
                    return Some(());
                }
            }
        }
        None
    }

    /// Hears until a push is acknowledged.
    async fn hear_stored(
        &mut self,
        client: &mut Client,
        until: u64,
        sent: &mut BTreeMap<u64, Vec<Dot>>,
    ) -> Option<()> {
        while sent.contains_key(&until) {
            if let HubMessage::Stored { id, .. } = client.try_hear().await? {
                match &sent.remove(&id).expect("it was pushed and not yet acknowledged")[..] {
                    [] => drop(self.there.insert(Dot::new(replica(self.lives), id))),
                    removed => self.gone.extend(removed),
                }
            }
        }
        Some(())
    }

    fn note(&mut self, delta: &Delta) {
        let live = delta.entries.iter().flat_map(|entry| entry.live()).map(|(dot, _)| dot);
        self.there.extend(live);
        self.gone.extend(self.pushed.keys().filter(|dot| delta.dead.contains(**dot)));
    }

    /// Opens the hub when all is well again, and looks at what is there.
    async fn check(&self) -> Result<(), String> {
        let hub = TestHub::try_start(Options::new(self.folder.path())).await;
        let hub = hub.map_err(|error| format!("it does not start again: {error}"))?;
        let mut client = Client::hello(hub.address).await;
        let all = client.catch_up("d", None, CausalContext::default(), &[]).await;
        let mut found = BTreeMap::new();
        for (dot, text) in all.delta.entries.iter().flat_map(|entry| entry.live()) {
            found.insert(dot, text.to_vec());
        }
        let resumed = match &self.listener {
            Some((cursor, context)) => {
                let mut client = Client::hello(hub.address).await;
                client.catch_up("d", Some(*cursor), context.clone(), &[]).await.resumed
            }
            None => true,
        };
        drop(client);
        hub.stop().await;
        if !resumed {
            return Err("a client is asked to start over".to_owned());
        }
        for (dot, text) in &found {
            if self.pushed.get(dot) != Some(text) {
                return Err(format!("{dot:?} has another content than was pushed"));
            }
        }
        let lost = self.there.difference(&self.leaving).find(|dot| !found.contains_key(dot));
        if let Some(dot) = lost {
            return Err(format!("{dot:?} was acknowledged and is not there"));
        }
        match self.gone.iter().find(|dot| found.contains_key(dot)) {
            Some(dot) => Err(format!("the removal of {dot:?} was acknowledged, and it is there")),
            None => Ok(()),
        }
    }
}

fn delta_has(delta: &Delta, dot: Dot) -> bool {
    let mut live = delta.entries.iter().flat_map(|entry| entry.live());
    delta.dead.contains(dot) || live.any(|(own, _)| own == dot)
}

async fn history(seed: u64, syncs: Syncs) -> Result<u64, String> {
    let mut random = Random(seed);
    let mut site = Site::new();
    site.disk.set_syncs(syncs);
    for _ in 0..CUTS {
        site.disk.cut_at(1 + random.below(400));
        let pushes = 1 + random.below(30);
        site.is_cut_at_end = random.once_in(2);
        if !site.live(&mut random, pushes).await && !site.disk.is_off() {
            return Err("it fails, though it has power".to_owned());
        }
        site.disk.restart(random.draw());
        site.check().await?;
        site.disk.restart(random.draw());
    }
    site.check().await?;
    Ok(CUTS)
}

#[test]
fn what_was_acknowledged_is_there_after_any_power_cut() {
    HISTORIES
        .run(|seed| block_on(history(seed, Syncs::All)).unwrap_or_else(|wrong| panic!("{wrong}")));
}

#[test]
fn a_hub_that_leaves_out_syncs_is_caught() {
    const COUNT: u64 = 24;
    for syncs in [Syncs::Normal, Syncs::Off] {
        // A client that finds something else than it was told ends there, too.
        let is_well = |seed: &u64| {
            std::panic::catch_unwind(|| block_on(history(*seed, syncs)))
                .is_ok_and(|told| told.is_ok())
        };
        let caught = (0..COUNT).filter(|seed| !is_well(seed)).count();
        println!("{syncs:?}: {caught} of {COUNT}");
        assert!(caught >= COUNT as usize / 2, "{syncs:?}: {caught} of {COUNT}");
    }
}

/// How many pushes a life has that is to fail at every call. Arbitrary.
const PUSHES: u64 = 6;

/// One fault at one call, and what comes after it.
async fn fail(fault: Fault, at: u64, is_lasting: bool, seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let mut site = Site::new();
    site.disk.fail(fault, at, is_lasting);
    for _ in 0..2 {
        site.live(&mut random, PUSHES).await;
    }
    if is_lasting && site.live(&mut random, PUSHES).await {
        return Err("it acknowledges what it cannot store".to_owned());
    }
    site.disk.mend();
    site.check().await?;
    if !site.live(&mut random, PUSHES).await {
        return Err("it does not work again".to_owned());
    }
    // What was read after a failure, and what was written since, outlive a power cut.
    site.disk.restart(random.draw());
    site.check().await
}

#[test]
fn nothing_acknowledged_is_lost_by_a_fault_at_any_call_once_or_for_ever() {
    let mut site = Site::new();
    assert!(block_on(site.live(&mut Random(0), PUSHES)));
    let calls = site.disk.calls();
    let cases: Vec<(Fault, u64, bool)> = [
        (Fault::SyncFails, calls.syncs),
        (Fault::DiskFull, calls.writes),
        (Fault::HalfWritten, calls.writes),
    ]
    .into_iter()
    .flat_map(|(fault, count)| {
        (1..=count).flat_map(move |at| [(fault, at, false), (fault, at, true)])
    })
    .collect();
    let campaign = Campaign {
        test: "nothing_acknowledged_is_lost_by_a_fault_at_any_call_once_or_for_ever",
        unit: "faults",
        variable: "SYNC_FAULTS",
        ordinary: cases.len() as u64,
        ..HISTORIES
    };
    campaign.run(|seed| {
        let (fault, at, is_lasting) = cases[seed as usize % cases.len()];
        block_on(fail(fault, at, is_lasting, seed))
            .unwrap_or_else(|wrong| panic!("{fault:?} at {at}, for ever: {is_lasting}: {wrong}"));
        1
    });
}
