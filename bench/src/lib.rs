//! The same record workload on this core, on its peers and on a floor, in one run.
//!
//! `sync-bench core` is what `cargo xtask bench core` runs. It starts itself again for each
//! measurement: under callgrind for instructions, plain for time and sizes, and as
//! `sync-bench-heap`, which counts what is allocated, for the heap. See [`workload`] for the table of
//! workloads and bars, [`data`] for the records and [`subject`] for what a library has to do.

pub mod automerge;
pub mod callgrind;
pub mod command;
pub mod data;
pub mod floor;
pub mod loro;
pub mod measure;
pub mod ours;
pub mod plan;
pub mod report;
pub mod run;
pub mod subject;
pub mod workload;
pub mod yrs;

pub use command::main;
