//! The benchmark, and each of its measurements but that of the heap.

use std::process::ExitCode;

fn main() -> ExitCode {
    sync_bench::main(None)
}
