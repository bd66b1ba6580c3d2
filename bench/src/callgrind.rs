//! Runs a measurement under callgrind and reads how many instructions each measured part took.
//!
//! `--toggle-collect` switches counting on when the measured function is entered and off when it is
//! left, and `--dump-after` writes a file and starts from zero each time it is left. So the n-th file
//! is the n-th part, and nothing else is in it.
//!
//! Only that part is instrumented, which takes fifty times the time: the process says when its measured
//! parts begin and end, and `vgdb`, which comes with valgrind, switches callgrind on and off meanwhile.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::measure::{BEGIN, END, MEASURED_PART};

/// The same function by a pattern: of two options for one name callgrind heeds only the last.
const COLLECTED: &str = "*sync_bench_measured_part*";

/// Runs a program with these arguments, and returns the instructions of its measured parts.
pub fn run(program: &Path, arguments: &[String], folder: &Path, label: &str) -> Result<Vec<u64>> {
    fs::create_dir_all(folder)?;
    let out = folder.join(format!("callgrind.{label}"));
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COLLECTED}"))
        .arg(format!("--dump-after={MEASURED_PART}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(arguments)
        .arg("--watched")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start valgrind")?;
    let watched = watch(&mut child).with_context(|| format!("{label} under valgrind"));
    if watched.is_err() {
        child.kill().ok();
    }
    let status = child.wait()?;
    watched?;
    if !status.success() {
        bail!("{label} under valgrind: {status}");
    }
    let mut counts = Vec::new();
    for part in 1.. {
        let file = folder.join(format!("callgrind.{label}.{part}"));
        let Ok(text) = fs::read_to_string(&file) else { break };
        fs::remove_file(&file)?;
        // The last file is written at the end of the process, and counts nothing.
        counts.extend(count_in(&text).with_context(|| file.display().to_string())?);
    }
    fs::remove_file(&out).ok();
    if counts.is_empty() {
        bail!("{label}: callgrind saw no measured part");
    }
    Ok(counts)
}

/// Switches instrumentation as the process asks for it.
fn watch(child: &mut Child) -> Result<()> {
    let process = format!("--pid={}", child.id());
    let mut answers = child.stdin.take().context("the process has no input")?;
    let output = child.stdout.take().context("the process has no output")?;
    for line in BufReader::new(output).lines() {
        let state = match line?.as_str() {
            BEGIN => "on",
            END => "off",
            _ => continue,
        };
        let switch = Command::new("vgdb").args([&process, "instrumentation", state]).output();
        let switch = switch.context("cannot start vgdb, which comes with valgrind")?;
        if !switch.status.success() {
            bail!("vgdb: {}", String::from_utf8_lossy(&switch.stderr).trim());
        }
        writeln!(answers, "{state}")?;
    }
    Ok(())
}

/// The instructions of a file that was written as the measured part was left; `None` for another.
fn count_in(text: &str) -> Result<Option<u64>> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    if !value("desc: Trigger: ").is_some_and(|trigger| trigger.starts_with("--dump-after")) {
        return Ok(None);
    }
    let count = value("totals: ").or_else(|| value("summary: ")).context("no totals")?;
    Ok(Some(count.trim().parse().context("totals that are no number")?))
}

#[cfg(test)]
mod tests {
    use super::count_in;

    #[test]
    fn only_dumps_of_the_measured_part_count() {
        let dump = "desc: Trigger: --dump-after=*part*\n\nsummary: 12\n\n\ntotals: 12\n";
        assert_eq!(count_in(dump).unwrap(), Some(12));
        let end = "desc: Trigger: Program termination\n\ntotals: 0\n";
        assert_eq!(count_in(end).unwrap(), None);
        assert!(count_in("desc: Trigger: --dump-after=*part*\n").is_err());
    }
}
