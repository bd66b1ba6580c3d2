//! Bad lines in simulated time: the driver of real clients, over WebSocket, through a proxy that does to
//! their connections what lines do, to a real hub session. A seed says what happens, and it happens again.
//!
//! All runs in one thread of a runtime whose time goes on when nothing else does, so a minute takes a moment.

pub(super) mod hub;
mod proxy;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sync_core::session::Phase;
use sync_core::types::Value;
use sync_faults::Random;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::hub::{Hub, NOW_MS};
use self::proxy::{FAULTS, Fault, Proxy};
use super::line::Dial;
use super::opened::{DOCUMENT, opened};
use crate::clock::TimeOfDay;
use crate::random;
use crate::shared::Shared;

const SET: &str = "words";
const DEVICES: usize = 3;

/// For how long the lines of a schedule are bad.
const BAD: Duration = Duration::from_secs(60);

/// How long all may take to agree once the lines are good: a half-open connection is noticed after 45
/// seconds, the hub gives one up after 60, and a device then waits for up to 15.
const HEALED: Duration = Duration::from_secs(150);

struct Device {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Device {
    fn open(number: usize, proxy: &Proxy) -> Self {
        let folder = TempDir::new().unwrap();
        let start = Instant::now();
        let day = TimeOfDay::new(move || NOW_MS + start.elapsed().as_millis() as u64);
        let (shared, mut driver) = opened(folder.path(), &format!("device {number}"), day, None);
        let proxy = proxy.clone();
        driver.dial = Dial::Made(Arc::new(move || Box::pin(proxy.clone().dial(number))));
        Self { shared, task: tokio::spawn(driver.run()), _folder: folder }
    }

    fn change(&self, word: &str, is_added: bool) {
        let word = Value::String(word.to_owned());
        let changed = self.shared.change(DOCUMENT, |edit| {
            if is_added { edit.set_add(SET, &word) } else { edit.set_remove(SET, &word) }
        });
        changed.unwrap();
    }

    fn words(&self) -> BTreeSet<Value> {
        self.shared.lock().session.document(DOCUMENT).unwrap().set(SET).unwrap()
    }

    fn is_level(&self) -> bool {
        let state = self.shared.lock();
        state.session.phase(DOCUMENT) == Ok(Phase::Live)
            && state.session.spans(DOCUMENT).unwrap().next().is_none()
    }

    async fn close(self) {
        self.shared.steer(|state| state.is_stopping = true);
        self.task.await.unwrap();
    }
}

/// What a schedule did: how often each fault came, and each dial with its moment in milliseconds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Played {
    counts: [usize; FAULTS],
    restarts: usize,
    dials: Vec<(u64, usize, Fault)>,
    ms: u64,
}

/// Plays one schedule, and requires that all agree in the end.
fn play(seed: u64) -> Played {
    random::seed(Some(seed));
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
    let played = runtime.block_on(async {
        let start = Instant::now();
        let mut random = Random(seed);
        let hub = Hub::start();
        let proxy = Proxy::new(hub.clone(), random.draw());
        let devices: Vec<_> = (0..DEVICES).map(|number| Device::open(number, &proxy)).collect();
        let (mut model, mut restarts, mut count) = (BTreeSet::new(), 0, 0);
        while start.elapsed() < BAD {
            sleep(Duration::from_millis(100 + random.draw() % 1_500)).await;
            let device = (random.draw() % DEVICES as u64) as usize;
            match random.draw() % 20 {
                0 => {
                    restarts += 1;
                    hub.restart(random.draw());
                }
                1 | 2 => {
                    let mine = format!("{device}-");
                    let old = model.iter().find(|word: &&String| word.starts_with(&mine)).cloned();
                    if let Some(old) = old {
                        devices[device].change(&old, false);
                        model.remove(&old);
                    }
                }
                _ => {
                    count += 1;
                    let word = format!("{device}-{count}");
                    devices[device].change(&word, true);
                    model.insert(word);
                }
            }
        }
        proxy.clear_up();
        let cleared = Instant::now();
        let model: BTreeSet<_> = model.into_iter().map(Value::String).collect();
        let agrees = |device: &Device| device.is_level() && device.words() == model;
        while !devices.iter().all(agrees) {
            let left: Vec<_> =
                devices.iter().map(|device| (device.is_level(), device.words().len())).collect();
            assert!(cleared.elapsed() < HEALED, "seed {seed}: {left:?} of {} words", model.len());
            sleep(Duration::from_millis(250)).await;
        }
        let ms = start.elapsed().as_millis() as u64;
        for device in devices {
            device.close().await;
        }
        let (counts, dials) = proxy.played();
        Played { counts, restarts, dials, ms }
    });
    random::seed(None);
    played
}

#[test]
fn whatever_a_line_does_all_agree_in_the_end() {
    let minutes = std::env::var("SYNC_MINUTES").map_or(8, |minutes| minutes.parse().unwrap());
    let first = std::env::var("SYNC_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (mut counts, mut restarts, mut ms, mut seeds) = ([0; FAULTS], 0, 0, first..);
    while ms < minutes * 60_000 {
        let seed = seeds.next().unwrap();
        println!("seed {seed}: SYNC_SEED={seed} SYNC_MINUTES=1 replays it");
        let played = play(seed);
        ms += played.ms;
        restarts += played.restarts;
        counts.iter_mut().zip(played.counts).for_each(|(sum, count)| *sum += count);
    }
    println!("{} s of simulated time, {restarts} restarts of the hub", ms / 1_000);
    for (fault, count) in Fault::ALL.iter().zip(counts) {
        println!("{fault:?}: {count}");
        assert!(minutes < 8 || count > 0, "{fault:?} never came");
    }
    assert!(minutes < 8 || restarts > 0);
}

#[test]
fn a_seed_plays_the_same_again() {
    let played = play(7);
    assert!(played.dials.len() > DEVICES);
    assert_eq!(play(7), played);
}
