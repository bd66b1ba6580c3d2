//! The simulator as a program: runs many seeds, or shows one.

use std::process::ExitCode;
use std::time::Instant;

use sync_sim::sweep::{MARKS_AFTER_RUNS, Summary, Sweep, kept_seeds, run_seed, sweep};
use sync_sim::zoo::{self, Found};
use sync_sim::{CatchUps, Mark, Violation};

/// Seeds that once failed, and what they found.
const KEPT: &str = include_str!("../seeds.txt");

/// The seed that catches each mutant.
const ZOO: &str = include_str!("../zoo.txt");

/// Within how many seeds a mutant must be caught.
const ZOO_SEEDS: u64 = 20_000;

/// How many failures end a sweep. Arbitrary: one is enough to know, a few show what they have in
/// common.
const FAILURES_MAX: usize = 8;

const USAGE: &str = "usage: sync-sim [--seeds N] [--seed S] [--marks] [--trace] [--mutant NAME] [--failures N] [--zoo] [--zoo-kept]";

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    seeds: Option<u64>,
    seed: Option<u64>,
    marks: bool,
    trace: bool,
    mutant: Option<String>,
    failures: Option<u64>,
    zoo: bool,
    zoo_kept: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(arguments) if arguments.trace => show(&arguments),
        Ok(arguments) if arguments.zoo || arguments.zoo_kept => visit_zoo(&arguments),
        Ok(arguments) => run(&arguments),
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match word.as_str() {
            "--seeds" => arguments.seeds = Some(number(value()?)?),
            "--seed" => arguments.seed = Some(number(value()?)?),
            "--marks" => arguments.marks = true,
            "--trace" => arguments.trace = true,
            "--zoo" => arguments.zoo = true,
            "--zoo-kept" => arguments.zoo_kept = true,
            "--failures" => arguments.failures = Some(number(value()?)?),
            "--mutant" => arguments.mutant = Some(value()?),
            _ => return Err(format!("what is {word}?")),
        }
    }
    Ok(arguments)
}

/// Prints the events of one run.
fn show(arguments: &Arguments) -> ExitCode {
    let report = run_seed(arguments.seed.unwrap_or(0), arguments.mutant.as_deref(), true);
    for line in report.trace.lines() {
        println!("{line}");
    }
    println!("{:?}", report.tally);
    println!("trace {:016x}", report.trace.hash());
    match report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

/// Breaks one rule after the other, and prints which seed catches it. With `--zoo-kept` only the seeds
/// that were kept are tried.
fn visit_zoo(arguments: &Arguments) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let kept = zoo::kept(ZOO);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds_max = if arguments.zoo_kept { 0 } else { arguments.seeds.unwrap_or(ZOO_SEEDS) };
    let mut names = zoo::names();
    names.retain(|name| arguments.mutant.as_deref().is_none_or(|wanted| wanted == *name));
    println!("{} mutants, up to {seeds_max} seeds each", names.len());
    let (mut survivors, mut open) = (0, 0);
    for name in &names {
        let seed = kept.iter().find(|(known, _)| known == name).map(|(_, seed)| *seed);
        match zoo::hunt(name, seed, seeds_max, threads) {
            Found::Caught(seed, violation) => {
                let mut detail = violation.to_string();
                if let Some((at, _)) = detail.char_indices().nth(100) {
                    detail.truncate(at);
                }
                println!("{name} {seed} # {detail}");
            }
            Found::Survived(seeds) if ZOO.contains(&format!("# open {name}:")) => {
                open += 1;
                println!("open: {name} survived {seeds} seeds");
            }
            Found::Survived(seeds) => {
                survivors += 1;
                println!("FAILED {name} survived {seeds} seeds");
            }
        }
    }
    let caught = names.len() - survivors - open;
    println!("{caught} mutants caught, {survivors} survived, {open} open");
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> ExitCode {
    let first = arguments.seed.unwrap_or(0);
    let count = arguments.seeds.unwrap_or(if arguments.seed.is_some() { 1 } else { 500 });
    println!("seeds {first} to {}", first.saturating_add(count.saturating_sub(1)));
    // A panic is a finding of its run, and printed with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let kept = if arguments.seed.is_none() && arguments.mutant.is_none() {
        kept_seeds(KEPT)
    } else {
        Vec::new()
    };
    println!("{} kept seeds first", kept.len());
    let mut seeds = kept;
    seeds.extend(first..first.saturating_add(count));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mutant = arguments.mutant.clone();
    let start = clock();
    let failures_max = arguments.failures.map_or(FAILURES_MAX, |max| max as usize);
    let on_failure = Some(tell_failure as fn(u64, &Violation));
    let on_progress = Some(tell_progress as fn(&Summary));
    let sweep_of = Sweep { seeds, threads, mutant, failures_max, on_failure, on_progress };
    let summary = sweep(&sweep_of);
    let seconds = start.elapsed().as_secs_f64().max(1e-9);
    print(&summary, arguments, seconds, threads)
}

fn print(summary: &Summary, arguments: &Arguments, seconds: f64, threads: usize) -> ExitCode {
    let rate = summary.runs as f64 / seconds;
    let tally = &summary.tally;
    println!(
        "{} runs in {seconds:.1} s: {rate:.0} a second on {threads} threads; {} changes, {} frames",
        summary.runs, tally.changes, tally.frames
    );
    for (name, catch_ups) in [
        ("from a cursor", tally.resumed),
        ("from a cursor, large, whole chunks", tally.large),
        ("comparing everything", tally.compared),
    ] {
        print_catch_ups(name, catch_ups);
    }
    println!(
        "copies: {} changes written again; dots that hubs took as two things in {} documents: {} writes \
         lost, {} apart, {} restless",
        tally.written_again,
        tally.taken_twice,
        tally.lost_to_twice,
        tally.apart_by_twice,
        tally.restless_by_twice
    );
    println!(
        "{} counters exact, but for {} of which a copy went on with what was added up",
        tally.counters, tally.added_up_apart
    );
    println!(
        "{} writes replaced by a change that was lost with its disks; {} partial records; {} torn fields; \
         {} gaps of what no disk has",
        tally.lost_with_successor, tally.partial_records, tally.torn, tally.gaps
    );
    if arguments.marks {
        for mark in Mark::ALL {
            println!("{:<24} {:>10}", mark.name(), summary.marks.count(*mark));
        }
    }
    let mut has_failed = !summary.failures.is_empty();
    let missing = summary.marks.missing();
    if summary.runs >= MARKS_AFTER_RUNS && !missing.is_empty() && !has_failed {
        println!("FAILED: never reached {missing:?}");
        has_failed = true;
    }
    if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says how far a sweep is.
fn tell_progress(summary: &Summary) {
    println!("{} so far, {} failed", summary.runs, summary.failures.len());
}

/// Says at once what a run found.
fn tell_failure(seed: u64, violation: &Violation) {
    println!("FAILED seed {seed}: {violation}; replay: cargo xtask sim --seed {seed} --trace");
}

fn print_catch_ups(name: &str, sums: CatchUps) {
    let ratio = sums.sent_bytes as f64 / sums.needed_bytes.max(1) as f64;
    println!(
        "catch-ups {name}: {} in {} chunks, {} bytes for {} needed ({ratio:.2})",
        sums.count, sums.chunks, sums.sent_bytes, sums.needed_bytes
    );
}

/// The clock of this program; the simulation itself has none.
#[allow(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
