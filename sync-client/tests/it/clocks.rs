//! Clocks that are wrong by a year, and are set while a client runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sync_client::{Builder, Client, Collection, Event, Field, Keeper, Limits, RecordId};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, list, until};

/// What the hub's clock says, always.
const HUB_MS: u64 = 1_800_000_000_000;
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1_000;

/// A clock that stands still until it is set.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn at(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

fn builder(folder: &Path, clock: &Clock) -> Builder {
    let clock = clock.clone();
    let read = move || clock.0.load(Ordering::Relaxed);
    Client::builder(folder).document("notes").time_of_day(read)
}

fn open(folder: &Path, hub: &TestHub, clock: &Clock) -> Client {
    builder(folder, clock).hub(hub.address()).open().unwrap()
}

/// How much is kept of the past, by what keeps it.
fn kept(client: &Client) -> Vec<(Keeper, u64)> {
    let kept = client.document("notes").unwrap().kept().unwrap();
    kept.into_iter().map(|kept| (kept.keeper, kept.entries)).collect()
}

#[tokio::test]
async fn what_is_kept_is_not_too_old_before_somebody_trustworthy_says_how_late_it_is() {
    for (has_hub, hears_it) in [(false, false), (true, false), (true, true)] {
        let hub = TestHub::start();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        // Everything is of a long time ago, by the hub's clock.
        let then = Clock::at(HUB_MS - YEAR_MS);
        let all = |folder: &Path, clock: &Clock| {
            builder(folder, clock).keep_undo(Limits::UNDO).keep_feed(Limits::FEED)
        };
        let folder = folders[0].path();
        let client = all(folder, &then).open().unwrap();
        if has_hub {
            client.shutdown().unwrap();
            drop(client);
            let now = Clock::at(HUB_MS);
            let clash = |client: &Client, text: &str| {
                let id = RecordId::new("n").unwrap();
                drop(notes(client).insert_with_id(&id, title(text)).unwrap());
            };
            let client = all(folder, &now).hub(hub.address()).offline(true).open().unwrap();
            let other = open(folders[1].path(), &hub, &now);
            clash(&client, "one");
            clash(&other, "other");
            client.set_offline(false);
            client.sync(PATIENCE).await.unwrap();
            until(&client, || kept(&client)[0].1 > 0).await;
            client.shutdown().unwrap();
        } else {
            client.shutdown().unwrap();
        }
        let right = Clock::at(if has_hub { HUB_MS } else { HUB_MS - YEAR_MS });
        let client = all(folder, &right).open().unwrap();
        let document = client.document("notes").unwrap();
        document.checkpoint("here").unwrap();
        document.set_add("s", "x").unwrap().wait_disk().unwrap();
        let before = kept(&client);
        assert!(before.iter().all(|(keeper, entries)| {
            *entries > 0 || (*keeper == Keeper::ConflictLog && !has_hub)
        }));
        client.shutdown().unwrap();
        drop((client, document));
        // The clock is years ahead, at opening and while it is written.
        let wrong = Clock::at(HUB_MS + 3 * YEAR_MS);
        let builder = all(folder, &wrong);
        let client = if hears_it { builder.hub(hub.address()) } else { builder }.open().unwrap();
        if hears_it {
            client.sync(PATIENCE).await.unwrap();
        }
        client.document("notes").unwrap().set_add("s", "y").unwrap().wait_disk().unwrap();
        let more = kept(&client);
        for ((keeper, before), (_, now)) in before.iter().zip(&more) {
            assert!(now >= before, "{keeper:?}: {before}, then {now}");
        }
        assert_eq!(client.document("notes").unwrap().undo_depth().0 as u64, more[3].1);
        client.shutdown().unwrap();
    }
}

#[tokio::test]
async fn a_hub_without_the_time_makes_no_clock_one_that_is_trusted() {
    let (hub, folder) = (TestHub::start(), TempDir::new().unwrap());
    hub.lose_time();
    let all = |clock: &Clock| {
        let builder = builder(folder.path(), clock);
        builder.keep_undo(Limits::UNDO).hub(hub.address()).open().unwrap()
    };
    // What is written while the clock is wrong would say how late it is, so nothing is.
    for ahead in [0, 3 * YEAR_MS, 3 * YEAR_MS] {
        let client = all(&Clock::at(HUB_MS + ahead));
        client.sync(PATIENCE).await.unwrap();
        let document = client.document("notes").unwrap();
        if ahead == 0 {
            document.set_add("s", "x").unwrap().wait_disk().unwrap();
        }
        assert_eq!(document.undo_depth().0, 1, "{ahead} ahead");
        assert!(document.status().contact.heard_ms.is_some());
        client.shutdown().unwrap();
    }
}

#[tokio::test]
async fn what_is_too_old_goes_once_a_hub_has_said_how_late_it_is() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let then = Clock::at(HUB_MS - YEAR_MS);
    let limits = Limits { age_max: Duration::from_secs(3_600), ..Limits::FEED };
    let all = |clock: &Clock| builder(folder.path(), clock).keep_undo(limits).keep_feed(limits);
    let client = all(&then).open().unwrap();
    client.document("notes").unwrap().set_add("s", "x").unwrap().wait_disk().unwrap();
    client.shutdown().unwrap();
    drop(client);
    let now = Clock::at(HUB_MS);
    let client = all(&now).open().unwrap();
    assert_eq!(kept(&client)[3..], [(Keeper::Undo, 1), (Keeper::Feed, 1)]);
    client.shutdown().unwrap();
    drop(client);
    let client = all(&now).hub(hub.address()).open().unwrap();
    client.sync(PATIENCE).await.unwrap();
    client.document("notes").unwrap().set_add("s", "y").unwrap().wait_disk().unwrap();
    assert_eq!(kept(&client)[3..], [(Keeper::Undo, 1), (Keeper::Feed, 1)]);
    assert_eq!(client.document("notes").unwrap().undo_depth(), (1, 0));
}

fn notes(client: &Client) -> Collection {
    client.document("notes").unwrap().collection("notes")
}

fn title(text: &str) -> [(&'static str, Field); 1] {
    [("title", text.into())]
}

#[tokio::test]
async fn clocks_that_are_set_by_a_year_lose_no_write_and_use_no_dot_twice() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let clocks = [HUB_MS + YEAR_MS, HUB_MS - YEAR_MS].map(Clock::at);
    let mut clients: Vec<_> = folders
        .iter()
        .zip(&clocks)
        .map(|(folder, clock)| open(folder.path(), &hub, clock))
        .collect();
    let (shared, written) = notes(&clients[0]).insert([("likes", Field::Counter(0))]).unwrap();
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    until(&clients[1], || list(&clients[1]).len() == 1).await;
    let mut expected = BTreeSet::new();
    let mut dots = BTreeSet::new();
    // Right, a year ahead, a year behind: each after each, with and without a line, running and started anew.
    let settings = [0, 1, 2, 0, 2, 1, 0].map(|at| [HUB_MS, HUB_MS + YEAR_MS, HUB_MS - YEAR_MS][at]);
    for (round, ms) in settings.into_iter().enumerate() {
        for (at, client) in clients.iter_mut().enumerate() {
            clocks[at].set(if at == 0 { ms } else { 2 * HUB_MS - ms });
            client.set_offline(round % 2 == 1);
            if round % 3 == 2 {
                client.shutdown().unwrap();
                *client = open(folders[at].path(), &hub, &clocks[at]);
            }
            let notes = notes(client);
            let kept = format!("{at} in round {round}");
            let id = notes.insert(title("first")).unwrap().0;
            let gone = notes.insert(title("gone")).unwrap().0;
            clocks[at].set(2 * HUB_MS - ms);
            notes.remove(&gone).unwrap().wait_disk().unwrap();
            let written = notes.update(&id, title(&kept)).unwrap();
            assert!(dots.insert(written.dot()), "{:?} is given twice", written.dot());
            notes.count(&shared, &["likes"], 1).unwrap().wait_disk().unwrap();
            expected.insert(kept);
        }
    }
    for client in &clients {
        client.set_offline(false);
    }
    for client in &clients {
        let is_all_here = || {
            let titles: BTreeSet<_> = list(client)
                .iter()
                .filter_map(|note| Some(note.text("title")?.to_owned()))
                .collect();
            titles == expected && client.outbox().unwrap().is_empty()
        };
        until(client, is_all_here).await;
        let likes = || notes(client).get(&shared).unwrap().unwrap().count("likes");
        until(client, || likes() == 2 * settings.len() as i64).await;
    }
    assert_eq!(list(&clients[0]), list(&clients[1]));
    let contexts = [0, 1].map(|at: usize| {
        let document = clients[at].document("notes").unwrap();
        document.read(|document| Ok(document.store().context().clone())).unwrap()
    });
    assert_eq!(contexts[0], contexts[1]);
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_told_and_what_it_writes_wins_for_no_longer_than_it_should() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let (ahead, right) = (Clock::at(HUB_MS + YEAR_MS), Clock::at(HUB_MS));
    let a = open(folders[0].path(), &hub, &ahead);
    let mut events = a.subscribe();
    let told = timeout(PATIENCE, async {
        loop {
            if let Event::ClockSkew { behind_ms } = events.next().await.expect("it is open") {
                return behind_ms;
            }
        }
    });
    assert_eq!(told.await.unwrap(), -(YEAR_MS as i64));
    let b = open(folders[1].path(), &hub, &right);
    let id = RecordId::new("n").unwrap();
    notes(&a).insert_with_id(&id, title("first")).unwrap().wait_disk().unwrap();
    until(&b, || list(&b).len() == 1).await;
    for client in [&a, &b] {
        client.set_offline(true);
        until(client, || !client.connection().is_online()).await;
    }
    // Both write without knowing of each other, the one whose clock is right later.
    notes(&a).update(&id, title("a")).unwrap().wait_disk().unwrap();
    right.set(HUB_MS + 10_000);
    notes(&b).update(&id, title("b")).unwrap().wait_disk().unwrap();
    for client in [&a, &b] {
        client.set_offline(false);
    }
    for client in [&a, &b] {
        until(client, || notes(client).get(&id).unwrap().unwrap().is_in_conflict).await;
        assert_eq!(notes(client).get(&id).unwrap().unwrap().text("title"), Some("b"));
    }
}
