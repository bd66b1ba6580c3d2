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

/// How often a step is given up for somebody who waits before it is carried through. Arbitrary: where others
/// write without a pause, each step takes them some milliseconds, and looking at how one table stands in the
/// file about as long as reading that.
const TRIES_MAX: u32 = 2;

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
    /// How often the next step was given up.
    tries: u32,
    later: Duration,
}

#[derive(Debug)]
enum State {
    Resting(Instant),
    Looking(JoinHandle<(Scrub, Progress)>, Instant),
}

impl Scrubber {
    pub(super) fn new(shared: Arc<Shared>, file: Arc<File>) -> Self {
        let state = State::Resting(Instant::now() + FIRST_AFTER);
        Self { shared, file, scrub: None, state, tries: 0, later: LATER }
    }

    /// Completes at the end of a pass, with what is damaged. May be dropped at any time and called again.
    pub(super) async fn next(&mut self) -> Vec<Damage> {
        loop {
            match &mut self.state {
                State::Resting(until) => {
                    sleep_until(*until).await;
                    let (shared, file) = (self.shared.clone(), self.file.clone());
                    let mut scrub = self.scrub.take().unwrap_or_default();
                    let is_patient = self.tries < TRIES_MAX;
                    let step = spawn_blocking(move || {
                        if is_patient {
                            let progress = shared.undisturbed(|waiting| scrub.step(&file, waiting));
                            return (scrub, progress);
                        }
                        // Its turn is behind a commit, where nothing is being written.
                        let stepped = shared.with_store(move |_, store| {
                            let progress = scrub.step(&store.file(), &Arc::default());
                            Ok((scrub, progress))
                        });
                        stepped.unwrap_or_else(|_| (Scrub::default(), Progress::Later))
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
                    let is_later = matches!(progress, Progress::Later);
                    self.tries = if is_later { self.tries.saturating_add(1) } else { 0 };
                    let (pause, damage) = match progress {
                        Progress::More => (took * (PARTS - 1), None),
                        Progress::Later => (self.later, None),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::Client;

    #[test]
    fn the_file_is_looked_at_to_the_end_while_others_write_without_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let writers = [(); 2].map(|()| {
            let (document, is_over) = (document.clone(), is_over.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    drop(document.change(|edit| edit.count_value("n", 1)).unwrap());
                }
            })
        });
        let shared = client.inner.shared.clone();
        let file = shared.with_store(|_, store| Ok(store.file())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let damage = runtime.block_on(async {
            let later = Duration::from_millis(1);
            let mut scrubber = Scrubber { later, ..Scrubber::new(shared, file) };
            tokio::time::timeout(Duration::from_secs(240), scrubber.next()).await
        });
        assert_eq!(damage.expect("it ends"), []);
        assert_eq!(client.verify().unwrap(), []);
        let bytes = document.export().unwrap();
        assert!(document.import(&bytes).unwrap().entries > 0);
        is_over.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
}
