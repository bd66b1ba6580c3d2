//! Many runs, each decided by its seed, until there were enough of what they count.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The variable that names the one seed to run.
const SEED: &str = "SYNC_SEED";

/// A test that is one run for each seed.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// The package of the test.
    pub package: &'static str,
    /// Its test target.
    pub target: &'static str,
    /// Its name within the target.
    pub test: &'static str,
    /// What runs count, such as `cuts`.
    pub unit: &'static str,
    /// The variable that says how many there are to be.
    pub variable: &'static str,
    /// How many where the variable is not set.
    pub ordinary: u64,
}

impl Campaign {
    /// Runs seeds from 0 on until their counts come to what is asked for, or the one seed that
    /// `SYNC_SEED` names.
    ///
    /// # Panics
    ///
    /// When a run panics, after the command that repeats it was printed; when a variable is set to
    /// something that is no number.
    pub fn run(&self, run: impl Fn(u64) -> u64 + Sync) {
        if let Some(seed) = variable(SEED) {
            let count = run(seed);
            println!("seed {seed}: {count} {}", self.unit);
            return;
        }
        let wanted = variable(self.variable).unwrap_or(self.ordinary);
        let (next, done, has_failed) =
            (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let work = || {
            while done.load(Ordering::Relaxed) < wanted && !has_failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                    Ok(count) => done.fetch_add(count, Ordering::Relaxed),
                    Err(panic) => {
                        has_failed.store(true, Ordering::Relaxed);
                        let Self { package, target, test, .. } = self;
                        eprintln!(
                            "seed {seed} failed; again by: \
                             {SEED}={seed} cargo test -p {package} --test {target} {test}"
                        );
                        resume_unwind(panic);
                    }
                };
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        });
        println!("{}: {} {}", self.test, done.into_inner(), self.unit);
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, not {text:?}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const CAMPAIGN: Campaign = Campaign {
        package: "sync-faults",
        target: "none",
        test: "none",
        unit: "units",
        variable: "SYNC_FAULTS_UNITS",
        ordinary: 100,
    };

    #[test]
    fn seeds_run_once_each_until_there_are_enough() {
        let seen = Mutex::new(Vec::new());
        CAMPAIGN.run(|seed| {
            seen.lock().unwrap().push(seed);
            7
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert!(seen.len() >= 15 && seen.iter().zip(0..).all(|(seed, at)| *seed == at));
    }

    #[test]
    #[should_panic(expected = "seed 3")]
    fn a_run_that_fails_fails_the_campaign() {
        CAMPAIGN.run(|seed| if seed == 3 { panic!("seed 3") } else { 1 });
    }
}
