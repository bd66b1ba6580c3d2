//! The workloads and the bars: one table, in the order in which it is printed.

use std::fmt;

/// How many records the ordinary documents have.
pub const SMALL: usize = 10_000;

/// How many records the large documents have.
pub const LARGE: usize = 100_000;

/// How many operations of one kind are measured.
pub const OPERATIONS: usize = 200;

/// How many are measured where one costs more than 100,000 instructions.
pub const OPERATIONS_OF_SLOW: usize = 20;

/// How often the churn inserts and removes.
pub const CHURN_ROUNDS: usize = 10;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Instructions under callgrind, for each operation or record.
    Instructions,
    /// Bytes.
    Bytes,
    /// Nanoseconds for each operation or record: the median of the rounds.
    Nanoseconds,
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Instructions => "instructions",
            Self::Bytes => "bytes",
            Self::Nanoseconds => "ns",
        })
    }
}

/// What our figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// At most this.
    AtMost(f64),
    /// At most so many times the figure of another workload at N = 10,000.
    AtMostTimes(f64, &'static str),
}

/// How a figure is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A process under callgrind.
    Callgrind,
    /// Lengths of what was encoded, in an ordinary process.
    Sizes,
    /// The bytes that live allocations asked for, in a process that counts them.
    Heap,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// As in the table of the bars.
    pub name: &'static str,
    /// How many records the document has.
    pub n: usize,
    /// What its figure counts. Less is better in all.
    pub unit: Unit,
    /// How it is measured.
    pub method: Method,
    /// What our figure has to be.
    pub bar: Bar,
}

/// Every workload.
pub const WORKLOADS: [Workload; 21] = [
    instructions("insert", SMALL, Bar::AtMost(4_000.0)),
    instructions("edit", SMALL, Bar::AtMost(3_500.0)),
    instructions("remove", SMALL, Bar::AtMost(2_500.0)),
    instructions("apply_edit", SMALL, Bar::AtMost(2_500.0)),
    instructions("apply_add", SMALL, Bar::AtMost(5_000.0)),
    instructions("apply_remove", SMALL, Bar::AtMost(2_500.0)),
    instructions("apply_edit_100k", LARGE, Bar::AtMostTimes(1.2, "apply_edit")),
    instructions("apply_add_100k", LARGE, Bar::AtMostTimes(1.2, "apply_add")),
    instructions("apply_remove_100k", LARGE, Bar::AtMostTimes(1.2, "apply_remove")),
    instructions("load", SMALL, Bar::AtMost(8_000.0)),
    instructions("read_touched", SMALL, Bar::AtMost(1_500.0)),
    bytes("snapshot_bytes", SMALL, Bar::AtMost(930_000.0)),
    bytes("snapshot_bytes_aged", SMALL, Bar::AtMost(660_000.0)),
    instructions("snapshot", SMALL, Bar::AtMost(16_000.0)),
    instructions("snapshot_plain", SMALL, Bar::AtMost(2_400.0)),
    bytes("exchange_bytes", LARGE, Bar::AtMost(42_000.0)),
    instructions("exchange_apply", LARGE, Bar::AtMost(6_000.0)),
    bytes("toggle_delta_bytes", SMALL, Bar::AtMost(30.0)),
    bytes("delta_bytes_sum", SMALL, Bar::AtMost(620.0)),
    heap("heap_bytes_per_record", LARGE, Bar::AtMost(400.0)),
    bytes("churn_bytes_per_removed", SMALL, Bar::AtMost(0.01)),
];

const fn line(name: &'static str, n: usize, (unit, method): (Unit, Method), bar: Bar) -> Workload {
    Workload { name, n, unit, method, bar }
}

const fn instructions(name: &'static str, n: usize, bar: Bar) -> Workload {
    line(name, n, (Unit::Instructions, Method::Callgrind), bar)
}

const fn bytes(name: &'static str, n: usize, bar: Bar) -> Workload {
    line(name, n, (Unit::Bytes, Method::Sizes), bar)
}

const fn heap(name: &'static str, n: usize, bar: Bar) -> Workload {
    line(name, n, (Unit::Bytes, Method::Heap), bar)
}
