//! Which changes share a commit: the driver's turns one by one, with a clock that stands still unless the
//! test moves it, on a disk whose syncs take as long as the test says.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sync_core::causal::Dot;
use sync_core::types::Value;
use sync_faults::Disk;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::advance;

use super::Driver;
use super::opened::{DOCUMENT, opened};
use crate::clock::TimeOfDay;
use crate::committer::REST_MAX;
use crate::shared::{BACKLOG_MAX, Shared};

/// So long that who rests or gathers afterwards does so for as long as anybody may.
const SLOW: Duration = Duration::from_secs(10);

/// How many write at the same time.
const WRITERS: usize = 8;

/// A driver that does nothing but what the test asks for.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) driver: Option<Driver>,
    disk: Disk,
    pub(super) runtime: Runtime,
    pub(super) folder: TempDir,
}

impl Desk {
    pub(super) fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        let entered = runtime.enter();
        let (shared, mut driver) = opened(folder.path(), "desk", TimeOfDay::default(), None);
        while driver.turn() {}
        drop(entered);
        Self { shared, driver: Some(driver), disk, runtime, folder }
    }

    pub(super) fn change(&self, number: usize) -> Dot {
        change(&self.shared, number)
    }

    pub(super) fn pass(&self, time: Duration) {
        self.runtime.block_on(advance(time));
    }

    /// Whether the driver commits, in one sync or in none.
    pub(super) fn turn(&mut self) -> bool {
        let _entered = self.runtime.enter();
        let before = self.disk.calls().syncs;
        let is_busy = self.driver.as_mut().unwrap().turn();
        assert_eq!(self.disk.calls().syncs - before, u64::from(is_busy));
        is_busy
    }

    /// Commits a change that nobody waits for, which takes long. Meanwhile something happens.
    fn commit_slowly<T>(&mut self, meanwhile: impl FnOnce(&Self) -> T) -> T {
        self.pass(REST_MAX);
        self.shared.change(DOCUMENT, |edit| edit.count_value("c", 1)).unwrap();
        self.disk.hold_syncs();
        let (mut driver, handle) = (self.driver.take().unwrap(), self.runtime.handle().clone());
        let commit = thread::spawn(move || {
            let _entered = handle.enter();
            assert!(driver.turn());
            driver
        });
        self.disk.wait_held();
        let done = meanwhile(self);
        self.pass(SLOW);
        self.disk.release_syncs();
        self.driver = Some(commit.join().unwrap());
        done
    }
}

fn change(shared: &Shared, number: usize) -> Dot {
    let value = Value::Int(number.cast_signed() as i64);
    shared.change(DOCUMENT, |edit| edit.set_add("s", &value)).unwrap().1
}

/// A writer that makes a change, and waits for the disk once it is told to.
struct Writer {
    go: Sender<()>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(shared: Arc<Shared>, number: usize) -> Self {
        let (go, told) = channel();
        let thread = thread::spawn(move || {
            let dot = change(&shared, number);
            told.recv().unwrap();
            shared.hurry();
            shared.wait_until(None, |state| state.disk(DOCUMENT, dot)).unwrap().unwrap();
        });
        Self { go, thread }
    }
}

#[test]
fn those_who_stand_in_line_during_a_commit_share_the_next_one() {
    let mut desk = Desk::open();
    let writers = desk.commit_slowly(|desk| {
        let writer = |number| Writer::start(desk.shared.clone(), number);
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        until(|| desk.shared.changing() == WRITERS);
        writers
    });
    until(|| desk.shared.lock().backlog == WRITERS);
    for (before, writer) in writers.iter().enumerate() {
        assert!(!desk.turn(), "{before} wait of {WRITERS} who are expected");
        writer.go.send(()).unwrap();
        until(|| desk.shared.lock().awaited == before + 1);
    }
    assert!(desk.turn(), "one commit, with one sync");
    writers.into_iter().for_each(|writer| writer.thread.join().unwrap());
    let state = desk.shared.lock();
    assert_eq!(state.session.document(DOCUMENT).unwrap().set("s").unwrap().len(), WRITERS);
    assert_eq!(state.backlog, 0);
    drop(state);
    assert!(!desk.turn(), "nothing is left");
}

#[test]
fn who_waits_is_kept_waiting_for_others_only_so_long() {
    for (time, is_over) in [(-1, false), (0, true), (1, true)] {
        let mut desk = Desk::open();
        let came = desk.commit_slowly(|desk| {
            let shared = desk.shared.clone();
            // They came too late for it, and never wait for the disk.
            let others: Vec<_> = (0..2)
                .map(|number| {
                    let shared = shared.clone();
                    thread::spawn(move || change(&shared, number))
                })
                .collect();
            until(|| shared.changing() == 2);
            others
        });
        for other in came {
            other.join().unwrap();
        }
        desk.change(2);
        desk.shared.hurry();
        assert!(!desk.turn());
        desk.pass(rest(time));
        assert_eq!(desk.turn(), is_over, "{time}");
    }
}

#[test]
fn what_nobody_waits_for_rests_only_so_long() {
    for (time, is_over) in [(-1, false), (0, true), (1, true)] {
        let mut desk = Desk::open();
        desk.commit_slowly(|_| ());
        desk.change(0);
        assert!(!desk.turn());
        desk.pass(rest(time));
        assert_eq!(desk.turn(), is_over, "{time}");
    }
}

#[test]
fn many_changes_that_nobody_waits_for_share_a_commit_and_only_so_many() {
    let mut desk = Desk::open();
    desk.commit_slowly(|_| ());
    for round in 0..2 {
        for number in 1..BACKLOG_MAX / 2 {
            desk.change(round * BACKLOG_MAX + number);
            assert!(!desk.turn(), "after {number}");
        }
        desk.change(round * BACKLOG_MAX);
        assert!(desk.turn());
        desk.commit_slowly(|_| ());
    }
    let state = desk.shared.lock();
    let set = state.session.document(DOCUMENT).unwrap().set("s").unwrap();
    assert_eq!(set.len(), BACKLOG_MAX, "nothing is lost");
}

/// Waits for what other threads do.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

/// The longest time that a commit waits for others, and so many milliseconds more or fewer.
fn rest(ms: i64) -> Duration {
    Duration::from_millis((REST_MAX.as_millis() as u64).checked_add_signed(ms).unwrap())
}
