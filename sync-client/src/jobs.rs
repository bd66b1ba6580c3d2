//! What handles let the driver do between two commits, when the file has nothing open.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use crate::error::Error;
use crate::shared::{Shared, State};
use crate::store::Store;

/// How many jobs may wait for the driver before their callers wait too. Arbitrary.
const JOBS_MAX: usize = 16;

type Job = Box<dyn FnOnce(&mut State, &mut Store) + Send>;

/// Jobs that wait.
#[derive(Default)]
pub(crate) struct Jobs(VecDeque<Job>);

impl Jobs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives up all jobs; who waits for them hears that the client has ended.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn take(&mut self) -> Option<Job> {
        self.0.pop_front()
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jobs").field(&self.0.len()).finish()
    }
}

impl Shared {
    /// Does something with the store when all that was changed so far is on disk, and blocks until it is
    /// done. Nothing else is read or changed meanwhile.
    pub(crate) fn with_store<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&mut State, &mut Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, outcome) = sync_channel(1);
        let mut state = self.lock();
        loop {
            state.check()?;
            if state.jobs.0.len() < JOBS_MAX {
                break;
            }
            state = self.wait_for_turn(state);
        }
        state.jobs.0.push_back(Box::new(move |state, store| {
            // Nobody may be waiting any more.
            let _ = done.send(state.check().and_then(|()| job(state, store)));
            // Whoever follows a feed that began anew is to hear of that.
            state.note_feed_ends(store);
        }));
        drop(state);
        self.wake.notify_one();
        outcome.recv().unwrap_or_else(|_| {
            let state = self.lock();
            Err(state.check().err().unwrap_or(Error::Closed))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use sync_core::session::ClientConfig;

    use super::*;
    use crate::clock::{Clock, TimeOfDay};
    use crate::shared::Session;
    use crate::status::{Connection, OfflineReason};

    fn waiting(shared: &Shared) -> usize {
        shared.lock().jobs.0.len()
    }

    #[test]
    fn the_jobs_that_wait_are_limited_and_all_of_them_end_with_the_client() {
        let session = Session::new(ClientConfig::default());
        let connection = Connection::Offline(OfflineReason::NoHub);
        let clock = Clock::new(TimeOfDay::default());
        let shared = Arc::new(Shared::new(session, connection, false, clock));
        let ask = || {
            let shared = shared.clone();
            thread::spawn(move || shared.with_store(|_, _| Ok(())))
        };
        let askers: Vec<_> = (0..=JOBS_MAX).map(|_| ask()).collect();
        while waiting(&shared) < JOBS_MAX {
            thread::yield_now();
        }
        // The one more does not come in while the driver has done nothing.
        for _ in 0..1_000 {
            assert_eq!(waiting(&shared), JOBS_MAX);
            thread::yield_now();
        }
        drop(shared.lock().jobs.take());
        shared.tell_turn();
        while waiting(&shared) < JOBS_MAX {
            thread::yield_now();
        }
        let mut state = shared.lock();
        state.is_ended = true;
        state.jobs.clear();
        drop(state);
        shared.tell_turn();
        for asker in askers {
            assert!(matches!(asker.join().unwrap(), Err(Error::Closed)));
        }
    }
}
