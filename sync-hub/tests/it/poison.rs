//! A change that the hub refuses among a thousand, by real clients, files and sockets.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sync_client::{
    Client, Connection, Field, ItemKey, ItemState, OutboxPage, RecordId, SyncError, Waiting,
};
use tempfile::TempDir;

use crate::client::TestHub;

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
const RECORDS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// How wrong a device's clock is, in milliseconds.
#[derive(Clone, Default)]
struct Wrong(Arc<AtomicI64>);

impl Wrong {
    fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }

    #[allow(clippy::disallowed_methods, reason = "the clock that is then wrong")]
    fn unix_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        now.checked_add_signed(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

fn open(folder: &Path, hub: &TestHub, wrong: &Wrong) -> Client {
    let (address, wrong) = (format!("http://{}", hub.address), wrong.clone());
    let builder = Client::builder(folder).hub(address).document("notes").offline(true);
    builder.time_of_day(move || wrong.unix_ms()).open().unwrap()
}

fn title(text: &str) -> [(&'static str, Field); 1] {
    [("title", text.into())]
}

fn outbox(client: &Client) -> Vec<Waiting> {
    let OutboxPage { items, next } = client.outbox_page(None, 100).unwrap();
    assert_eq!(next, None);
    items
}

fn count(client: &Client) -> usize {
    client.document("notes").unwrap().collection("notes").list().unwrap().len()
}

/// Connects, until only what was refused is lacking.
fn sync(client: &Client) -> Result<(), SyncError> {
    client.set_offline(false);
    assert!(client.wait_connection(PATIENCE, Connection::is_online).is_online());
    client.wait_sync(PATIENCE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_changes_the_one_that_is_refused_is_edited_sent_again_and_delivered() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let done = tokio::task::spawn_blocking(move || {
        one_among_many(&hub);
        hub
    });
    done.await.unwrap().stop().await;
}

fn one_among_many(hub: &TestHub) {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let wrong = Wrong::default();
    let (a, b) =
        (open(folders[0].path(), hub, &wrong), open(folders[1].path(), hub, &Wrong::default()));
    let notes = a.document("notes").unwrap().collection("notes");
    let mut poison: Option<RecordId> = None;
    // A day of work without a line; the clock is wrong for one change.
    wrong.set(-6 * HOUR_MS);
    for number in 0..RECORDS {
        if number == RECORDS / 2 {
            wrong.set(YEAR_MS);
            poison = Some(notes.insert(title("poison")).unwrap().0);
            wrong.set(-6 * HOUR_MS);
        } else {
            drop(notes.insert(title(&number.to_string())).unwrap());
        }
    }
    let poison = poison.unwrap();
    wrong.set(-3 * HOUR_MS);
    drop(notes.update(&poison, [("body", "depends on it".into())]).unwrap());
    wrong.set(0);

    assert!(matches!(sync(&a), Err(SyncError::Parked { .. })));
    sync(&b).unwrap();
    assert_eq!((count(&a), count(&b)), (RECORDS, RECORDS - 1));
    let items = outbox(&a);
    let [parked, waiting] = &items[..] else { panic!("{items:?}") };
    let ItemState::Parked { reason } = &parked.state else { panic!("{parked:?}") };
    assert!(reason.contains("the clock was wrong"), "{reason}");
    assert_eq!((parked.changes, parked.place_count, &waiting.state), (1, 1, &ItemState::Waiting));
    assert!(waiting.age(SystemTime::UNIX_EPOCH).unwrap().is_zero());
    let status = a.document("notes").unwrap().status();
    assert_eq!((status.pending, status.parked), (0, 2));

    // It is known after a new start, and what comes later goes its way.
    let key: ItemKey = parked.key.to_string().parse().unwrap();
    a.shutdown().unwrap();
    drop((a, notes));
    let a = open(folders[0].path(), hub, &wrong);
    let notes = a.document("notes").unwrap().collection("notes");
    assert!(matches!(sync(&a), Err(SyncError::Parked { .. })));
    notes.insert(title("later")).unwrap().1.wait_hub(PATIENCE).unwrap();
    assert_eq!(outbox(&a).len(), 2);
    // As it is, it is refused again.
    assert_eq!(a.retry_all().unwrap(), 1);
    assert!(matches!(a.wait_sync(PATIENCE), Err(SyncError::Parked { .. })));

    drop(notes.update(&poison, title("mended")).unwrap());
    a.rewrite_item(&key).unwrap();
    sync(&a).unwrap();
    assert_eq!(outbox(&a), []);
    let notes_b = b.document("notes").unwrap().collection("notes");
    let mut events = b.subscribe();
    while notes_b.get(&poison).unwrap().is_none_or(|note| note.fields.len() < 2)
        || count(&b) <= RECORDS
    {
        events.wait_next().unwrap();
    }
    let note = notes_b.get(&poison).unwrap().unwrap();
    assert_eq!((note.text("title"), note.text("body")), (Some("mended"), Some("depends on it")));
    assert_eq!(notes.list().unwrap(), notes_b.list().unwrap());
    assert!(notes_b.conflicts().unwrap().is_empty());
}
