//! How much memory a process takes that has a large document open.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::data::{Record, Records};
use crate::ours::{self, Writer};

/// How many records are imported before they count as settled.
const SLICE: usize = 50_000;

/// Makes a file with so many records that a hub has, or none of which it has.
pub(crate) fn make(folder: &Path, n: usize, is_settled: bool) -> Result<()> {
    let mut records = Records::new(9);
    for _ in 0..n.div_ceil(SLICE) {
        let some: Vec<Record> = records.by_ref().take(SLICE).collect();
        ours::import(folder, &some)?;
        if is_settled {
            ours::forget_outbox(folder)?;
        }
    }
    Ok(())
}

/// What a process does with it: opens, reads some, lists all in pages, and writes.
pub(crate) fn work(folder: &Path) -> Result<()> {
    let writer = Writer::open(folder)?;
    let some: Vec<Record> = Records::new(9).take(1_000).collect();
    some.iter().try_for_each(|record| writer.get(record).map(|_| ()))?;
    let count = writer.read_pages()?;
    let more: Vec<Record> = Records::new(10).take(1_000).collect();
    writer.write_together(&more, 4)?;
    println!("{count} {}", peak_bytes()?);
    Ok(())
}

/// Works in a process of its own, and gives its peak in bytes.
pub(crate) fn measure(folder: &Path) -> Result<f64> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).arg("work").arg(folder).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (_, bytes) = text.trim().split_once(' ').context("two numbers are said")?;
    Ok(bytes.parse()?)
}

fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.context("the system tells the peak")?.trim().trim_end_matches(" kB");
    Ok(kilobytes.parse::<u64>()? * 1_024)
}
