//! A deterministic simulator of devices and hubs: real sessions of `sync-core`, with a network, disks
//! and clocks that fail as a seed says.
//!
//! A run has two parts. Under faults, safety is checked at every step; then faults end, and everything
//! must come to one state within a bound, as in TigerBeetle's simulator. That state is held against a
//! reference model that knows nothing of the implementation: what was written is there, unless
//! something that saw it took its place.
//!
//! One seed replays one run exactly: there is one thread, virtual time, and one source of chance. The
//! hash of a [`Trace`] tells two runs apart.
//!
//! ```
//! use sync_core::document::{Document, Edit, Refused};
//! use sync_core::error::Sure;
//! use sync_sim::{Lacking, Random, Scenario, Workload};
//!
//! /// People check in and out of a room; nobody is in it twice.
//! struct Room;
//!
//! impl Workload for Room {
//!     fn change(&mut self, random: &mut Random, edit: &mut Edit<'_>) -> Result<(), Refused> {
//!         let person = format!("person {}", random.below(5));
//!         if random.chance(500) {
//!             edit.set_add("room", &person.as_str().into())
//!         } else {
//!             edit.set_remove("room", &person.as_str().into())
//!         }
//!     }
//!
//!     fn check(&mut self, document: &Document, _: &Lacking) -> Result<(), String> {
//!         let there = document.set("room").sure().len();
//!         if there <= 5 { Ok(()) } else { Err(format!("{there} people")) }
//!     }
//! }
//!
//! for seed in 0..10 {
//!     let report = sync_sim::run(Scenario::swarm(seed), &mut Room);
//!     assert_eq!(report.violation, None, "seed {seed}");
//! }
//! ```

mod device;
mod disk;
mod faults;
mod heal;
mod holders;
mod hub;
mod invariant;
mod kernel;
mod marks;
mod measure;
mod model;
mod network;
mod promises;
mod queue;
mod random;
mod scenario;
pub mod sweep;
mod trace;
mod verdict;
mod workload;
mod world;
pub mod zoo;

pub use invariant::{Invariant, Violation};
pub use marks::{Mark, Marks};
pub use measure::{CatchUps, Tally};
pub use random::Random;
pub use scenario::{Fault, Scenario};
pub use trace::Trace;
pub use workload::{Lacking, Notes, Workload};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What was reached.
    pub marks: Marks,
    /// What it cost, and what copies spoiled.
    pub tally: Tally,
    /// What happened.
    pub trace: Trace,
}

/// Runs a scenario with an application.
pub fn run(scenario: Scenario, workload: &mut dyn Workload) -> Report {
    let mut world = world::World::new(scenario, workload);
    world.run_under_faults();
    if world.violation.is_none() && world.heal() {
        world.judge();
    }
    Report {
        seed: world.scenario.seed,
        violation: world.violation,
        marks: world.marks,
        tally: world.tally,
        trace: world.trace,
    }
}
