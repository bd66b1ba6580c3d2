//! Taking back what one device wrote, on several others at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_client::{
    Client, Collection, DocumentHandle, FeedError, Field, ItemState, Limits, RecordId, TapeError,
    Which, members,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::{NOW_MS, TestHub};
use crate::sync::{PATIENCE, until};
use crate::tape::switch_on;

/// Devices with a common document of six records: one that is taken back, three that do that, each with a
/// checkpoint from before, and one that writes meanwhile.
struct Devices {
    _hub: TestHub,
    _folders: Vec<TempDir>,
    clients: Vec<Client>,
    documents: Vec<DocumentHandle>,
    notes: Vec<Collection>,
    ids: Vec<RecordId>,
}

fn fields() -> [(&'static str, Field); 3] {
    [("title", "base".into()), ("tags", members(["x"])), ("n", Field::Counter(10))]
}

async fn devices() -> Devices {
    let hub = TestHub::start();
    let folders: Vec<_> = (0..5).map(|_| TempDir::new().unwrap()).collect();
    let open = |folder: &TempDir| {
        Client::builder(folder.path()).hub(hub.address()).document("notes").open().unwrap()
    };
    let clients: Vec<_> = folders.iter().map(open).collect();
    let documents: Vec<_> =
        clients.iter().map(|client| client.document("notes").unwrap()).collect();
    let notes: Vec<_> = documents.iter().map(|document| document.collection("notes")).collect();
    let ids: Vec<_> = (0..6).map(|_| notes[1].insert(fields()).unwrap().0).collect();
    let last = notes[1].put(&ids[0], &["place", "city"], "old".into()).unwrap();
    timeout(PATIENCE, last.hub()).await.unwrap().unwrap();
    for (client, notes) in clients.iter().zip(&notes) {
        let has_all = || {
            let first = notes.get(&ids[0]).unwrap();
            notes.list().unwrap().len() == ids.len() && first.unwrap().fields.len() == 4
        };
        until(client, has_all).await;
    }
    for document in &documents[1..4] {
        let _ = document.checkpoint("before").unwrap();
    }
    Devices { _hub: hub, _folders: folders, clients, documents, notes, ids }
}

impl Devices {
    /// The first one does what is to be taken back, and the others hear of it.
    async fn spam(&self) {
        let Self { clients, notes, ids, .. } = self;
        let spam = [("title", "spam".into()), ("tags", members(["spam"]))];
        let _ = notes[0].update(&ids[0], spam).unwrap();
        let _ = notes[0].put(&ids[0], &["place", "city"], "spam".into()).unwrap();
        let _ = notes[0].update(&ids[5], [("title", "spam".into())]).unwrap();
        let _ = notes[0].count(&ids[1], &["n"], 1_000).unwrap();
        let _ = notes[0].remove(&ids[2]).unwrap();
        let _ = notes[0].insert(fields()).unwrap();
        let (_, last) = notes[0].insert(fields()).unwrap();
        timeout(PATIENCE, last.hub()).await.unwrap().unwrap();
        for (client, notes) in clients[1..].iter().zip(&notes[1..]) {
            let has_all =
                || notes.get(&ids[2]).unwrap().is_none() && notes.list().unwrap().len() == 7;
            until(client, has_all).await;
        }
    }

    /// What the first one did is taken back by three, two of them offline, and the last one writes
    /// meanwhile: also where the first one has written, and over that.
    fn take_back(&self) {
        let Self { clients, documents, notes, ids, .. } = self;
        clients[2..4].iter().for_each(|client| client.set_offline(true));
        let _ = notes[4].update(&ids[0], [("body", "kept".into())]).unwrap();
        let _ = notes[4].update(&ids[5], [("title", "kept".into())]).unwrap();
        let _ = notes[4].count(&ids[1], &["n"], 1).unwrap();
        let _ = notes[4].update(&ids[3], [("title", "kept".into())]).unwrap();
        let author = documents[0].status().replica;
        for document in &documents[1..4] {
            let done = document.revert(&Which::by(author)).unwrap();
            assert_eq!((done.written.len(), done.unclear.len()), (1, 0));
        }
        let _ = notes[4].update(&ids[4], [("title", "kept".into())]).unwrap();
        clients[2..4].iter().for_each(switch_on);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_take_back_what_one_wrote_while_a_fourth_writes() {
    let devices = devices().await;
    let mut expected = devices.notes[1].list().unwrap();
    devices.spam().await;
    devices.take_back();
    let Devices { clients, documents, notes, ids, .. } = &devices;
    for (at, id) in ids.iter().enumerate() {
        let item = expected.iter_mut().find(|item| item.id == *id).unwrap();
        match at {
            0 => item.fields.insert("body".to_owned(), "kept".into()),
            1 => item.fields.insert("n".to_owned(), Field::Counter(11)),
            3 | 4 => item.fields.insert("title".to_owned(), "kept".into()),
            _ => None,
        };
    }
    // Two took back what the fourth had written over, and did not know of that: all of it is kept.
    expected.retain(|item| item.id != ids[5]);
    for (client, notes) in clients.iter().zip(notes) {
        let clash = || notes.conflicts().unwrap().into_iter().find(|clash| clash.id == ids[5]);
        let is_there = || {
            let mut items = notes.list().unwrap();
            items.retain(|item| item.id != ids[5]);
            items.iter_mut().for_each(|item| item.is_in_conflict = false);
            items == expected && clash().is_some()
        };
        until(client, is_there).await;
        let versions = clash().unwrap().versions;
        let mut texts: Vec<_> =
            versions.iter().filter_map(|version| version.fields["title"].as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts, ["base", "kept"]);
    }
    for client in clients {
        client.sync(PATIENCE).await.unwrap();
    }
    for (client, own) in clients.iter().zip(notes) {
        until(client, || own.list().unwrap() == notes[0].list().unwrap()).await;
    }
    for document in &documents[1..4] {
        let checkpoint = document.checkpoints().unwrap()[0].number;
        document.rewind(checkpoint).unwrap();
    }
}

/// What is given up of the outbox is no change that a tape could hold.
#[tokio::test]
async fn what_is_given_up_ends_tape_and_feed_and_what_is_written_again_does_not() {
    let hub = TestHub::start();
    hub.refuse_future();
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(AtomicU64::new(NOW_MS));
    let own = clock.clone();
    let builder = Client::builder(folder.path()).hub(hub.address()).document("notes");
    let builder = builder.time_of_day(move || own.load(Ordering::Relaxed));
    let client = builder.keep_feed(Limits::FEED).open().unwrap();
    let document = client.document("notes").unwrap();
    for gives_up in [false, true] {
        let checkpoint = document.checkpoint("before").unwrap().number;
        let cursor = document.feed_end().unwrap();
        clock.store(NOW_MS + 365 * 24 * 3_600_000, Ordering::Relaxed);
        let _ = document.collection("notes").insert(fields()).unwrap();
        clock.store(NOW_MS, Ordering::Relaxed);
        let parked = || {
            let items = client.outbox_page(None, 10).unwrap().items;
            items.into_iter().find(|item| matches!(item.state, ItemState::Parked { .. }))
        };
        until(&client, || parked().is_some()).await;
        if gives_up {
            client.drop_item(&parked().unwrap().key).unwrap();
        } else {
            client.rewrite_item(&parked().unwrap().key).unwrap();
        }
        client.sync(PATIENCE).await.unwrap();
        let rewound = document.rewind(checkpoint);
        let is_cut = matches!(rewound, Err(TapeError::Cut { .. }));
        assert_eq!((rewound.is_ok(), is_cut), (!gives_up, gives_up));
        let feed = document.feed(cursor, &[], 10);
        let is_gone = matches!(feed, Err(FeedError::Gone));
        assert_eq!((feed.is_ok(), is_gone), (!gives_up, gives_up));
    }
    // From here on all is as before.
    let checkpoint = document.checkpoint("after").unwrap().number;
    let _ = document.collection("notes").insert(fields()).unwrap();
    assert_eq!(document.rewind(checkpoint).unwrap().changes, 1);
}
