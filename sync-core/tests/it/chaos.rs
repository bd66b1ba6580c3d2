//! Everything at once, by chance: changes, delays, lost lines, crashes, a hub that restarts, loses its
//! tail, or loses everything. In the end one state everywhere, and nothing lost.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::error::Sure;
use sync_core::session::{ChunkSize, HubStore, MemoryHub};
use sync_core::types::Conflict;

use crate::world::{DOCUMENT, Random, World};

#[test]
fn random_faults_lose_nothing() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let many = 0..number("SYNC_SEEDS").unwrap_or(500);
    for seed in number("SYNC_SEED").map_or(many, |seed| seed..seed + 1) {
        let run = std::panic::catch_unwind(|| {
            let mut chaos = Chaos::new(seed);
            (0..300).for_each(|step| chaos.step(step));
            chaos.check();
        });
        if run.is_err() {
            panic!(
                "seed {seed} failed; replay: SYNC_SEED={seed} cargo test -p sync-core random_faults"
            );
        }
    }
}

struct Chaos {
    world: World,
    choose: Random,
    backup: Option<MemoryHub>,
    /// Every value that was written to a field of a record.
    written: BTreeMap<(String, &'static str), BTreeSet<String>>,
    removed: BTreeSet<String>,
    /// Records that a device wrote since all of its changes were last on disk.
    recent: BTreeMap<usize, BTreeSet<String>>,
    /// Records with a write that a crash may have taken before anyone was told that it is safe.
    unsafe_ids: BTreeSet<String>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut choose = Random(seed ^ 0xfa17);
        let size = ChunkSize { bytes: 1 << choose.below(12), items: 1 + choose.below(6) };
        let world = World::with_chunk_size(seed, 2 + choose.below(3), size);
        Self {
            world: if seed % 2 == 1 { world.packed() } else { world },
            choose,
            backup: None,
            written: BTreeMap::new(),
            removed: BTreeSet::new(),
            recent: BTreeMap::new(),
            unsafe_ids: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: usize) {
        let at = self.choose.below(self.world.devices.len());
        match self.choose.below(100) {
            0..16 => self.write(at, step),
            16..19 => {
                let id = format!("n{}", self.choose.below(6));
                if self.world.remove(at, &id) {
                    self.removed.insert(id);
                }
            }
            19..22 => self.world.disconnect(at),
            22..30 => self.world.connect(at),
            30..32 => {
                if self.world.is_storing(at) {
                    self.unsafe_ids.extend(self.recent.remove(&at).unwrap_or_default());
                }
                self.world.crash(at);
            }
            32..38 => self.harm_hub(),
            38..58 => {
                self.world.store_one(at);
                if !self.world.is_storing(at) {
                    self.recent.remove(&at);
                }
            }
            58..79 => {
                self.world.carry(at, true);
            }
            _ => {
                self.world.carry(at, false);
            }
        }
    }

    fn write(&mut self, at: usize, step: usize) {
        let id = format!("n{}", self.choose.below(6));
        let field = ["title", "body"][self.choose.below(2)];
        let value = step.to_string();
        self.world.write(at, &id, &[(field, &value)]);
        self.written.entry((id.clone(), field)).or_default().insert(value);
        self.recent.entry(at).or_default().insert(id);
    }

    fn harm_hub(&mut self) {
        match self.choose.below(20) {
            0..4 => {
                let store = self.world.store.clone();
                self.world.restart_hub(store);
            }
            4..8 => self.backup = Some(self.world.store.clone()),
            8..11 => {
                if let Some(store) = self.backup.clone() {
                    self.world.restart_hub(store);
                }
            }
            11 => {
                let empty = self.world.empty_hub();
                self.world.restart_hub(empty);
            }
            12..16 => {
                let seq = self.world.store.seq();
                self.world.store.forget_removals(seq);
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        self.world.heal();
        for ((id, field), values) in &self.written {
            let excused = self.removed.contains(id) || self.unsafe_ids.contains(id);
            let fields = self.world.fields(0, id);
            match fields.as_ref().and_then(|fields| fields.get(*field)) {
                Some(value) => {
                    assert!(values.contains(value), "nobody wrote {value} to {id}.{field}")
                }
                None => assert!(excused, "{id}.{field} is gone and nobody removed it"),
            }
        }
        let conflicts = self.world.devices[0].client.document(DOCUMENT).unwrap().conflicts().sure();
        let is_partial = |conflict: &Conflict| matches!(conflict, Conflict::Partial { .. });
        assert!(!conflicts.iter().any(|(_, conflict)| is_partial(conflict)), "half a record");
    }
}
