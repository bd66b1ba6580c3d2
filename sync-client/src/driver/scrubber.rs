//! When the file is looked at in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::shared::Shared;
use crate::store::{Damage, File, Progress, Scrub};

/// How long after opening the first pass begins. Arbitrary: a program that starts has other things to do.
const FIRST_AFTER: Duration = Duration::from_millis(200);

/// How long somebody who waited is let alone. Arbitrary.
const LATER: Duration = Duration::from_millis(500);

/// How long after a pass the next one begins. Arbitrary: what rots does so over months.
const NEXT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Of how much time a step takes one part, so that a pass costs a tenth of a core. Arbitrary.
const PARTS: u32 = 10;

/// Looks at the file, a step at a time, on a thread that may block.
#[derive(Debug)]
pub(super) struct Scrubber {
    shared: Arc<Shared>,
    file: Arc<File>,
    scrub: Option<Scrub>,
    state: State,
}

#[derive(Debug)]
enum State {
    Resting(Instant),
    Looking(JoinHandle<(Scrub, Progress)>, Instant),
}

impl Scrubber {
    pub(super) fn new(shared: Arc<Shared>, file: Arc<File>) -> Self {
        let state = State::Resting(Instant::now() + FIRST_AFTER);
        Self { shared, file, scrub: None, state }
    }

    /// Completes at the end of a pass, with what is damaged. May be dropped at any time and called again.
    pub(super) async fn next(&mut self) -> Vec<Damage> {
        loop {
            match &mut self.state {
                State::Resting(until) => {
                    sleep_until(*until).await;
                    let (shared, file) = (self.shared.clone(), self.file.clone());
                    let mut scrub = self.scrub.take().unwrap_or_default();
                    let step = spawn_blocking(move || {
                        let progress = shared.undisturbed(|waiting| scrub.step(&file, waiting));
                        (scrub, progress)
                    });
                    self.state = State::Looking(step, Instant::now());
                }
                State::Looking(step, since) => {
                    let (ended, now) = (step.await, Instant::now());
                    let took = now - *since;
                    // A step that panicked begins anew.
                    let begins_anew = |_| (Scrub::default(), Progress::Later);
                    let (scrub, progress) = ended.unwrap_or_else(begins_anew);
                    self.scrub = Some(scrub);
                    let (pause, damage) = match progress {
                        Progress::More => (took * (PARTS - 1), None),
                        Progress::Later => (LATER, None),
                        Progress::Over(damage) => (NEXT_AFTER, Some(damage)),
                    };
                    self.state = State::Resting(now + pause);
                    if let Some(damage) = damage {
                        return damage;
                    }
                }
            }
        }
    }
}
