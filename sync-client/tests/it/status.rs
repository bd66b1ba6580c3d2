//! What a client tells of itself: never more than it knows.

use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use sync_client::{Changes, Client, Connection, Phase, Place, Progress, Status};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::TestHub;
use crate::notes::Notes;
use crate::sync::{PATIENCE, open, until};

fn status(client: &Client) -> Status {
    client.document("notes").unwrap().status()
}

fn insert(client: &Client, text: &str) -> sync_client::Written {
    let notes = client.document("notes").unwrap().collection("notes");
    notes.insert([("title", text.into())]).unwrap().1
}

#[tokio::test]
async fn what_waits_is_counted_until_the_hub_has_it_on_its_disk() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    assert_eq!((status(&client).pending, status(&client).pending_bytes), (0, 0));
    hub.hold();
    let written = insert(&client, &"x".repeat(500));
    written.disk().await.unwrap();
    hub.until_stored("notes", written.dot()).await;
    // It is on the hub, and the hub has not said so.
    let waiting = status(&client);
    assert_eq!((waiting.pending, waiting.parked, waiting.parked_bytes), (1, 0, 0));
    assert!((500..1_000).contains(&waiting.pending_bytes), "{}", waiting.pending_bytes);
    assert_eq!(client.status().pending(), 1);
    assert_eq!(client.status().pending_bytes(), waiting.pending_bytes);
    hub.release();
    written.hub().await.unwrap();
    assert_eq!((status(&client).pending, status(&client).pending_bytes), (0, 0));
    hub.refuse("no room");
    let refused = insert(&client, "refused");
    refused.hub().await.unwrap_err();
    let refused = status(&client);
    assert_eq!((refused.pending, refused.parked, client.status().parked()), (0, 1, 1));
    assert!(refused.parked_bytes > 0);
}

#[tokio::test]
async fn the_last_contact_is_known_after_a_restart_and_lag_only_from_what_the_hub_has_said() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    assert_eq!(status(&client).contact.heard_ms, None);
    client.sync(PATIENCE).await.unwrap();
    let online = status(&client);
    assert_eq!(online.lag, Some(0));
    assert!(online.contact.current_ms.is_some());
    assert!(online.lag_ms.is_some_and(|ms| ms < 60_000));
    client.shutdown().unwrap();
    drop(client);
    let client = Client::builder(folder.path()).document("notes").open().unwrap();
    let offline = status(&client);
    assert!(offline.contact.heard_ms >= online.contact.heard_ms);
    assert!(offline.contact.current_ms >= online.contact.current_ms);
    assert_eq!(offline.lag, None, "nobody knows");
    assert_eq!(client.status().heard_ms, offline.contact.heard_ms);
    drop(client);

    // Another device writes, and this one is told of it while it has not come.
    let other = TempDir::new().unwrap();
    let writer = open(other.path(), &hub);
    for number in 0..400 {
        let _ = insert(&writer, &format!("{number} {}", "y".repeat(1_000)));
    }
    writer.sync(PATIENCE).await.unwrap();
    let client = Client::builder(folder.path()).hub(hub.address()).document("notes");
    let client = client.offline(true).open().unwrap();
    let mut watch = client.document("notes").unwrap().watch();
    client.set_offline(false);
    let mut lags = Vec::new();
    let seen = async {
        while let Some(status) = watch.next().await {
            lags.extend(status.lag.map(|lag| (lag, status.phase)));
            if status.phase == Phase::Live {
                break;
            }
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    assert!(lags.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{lags:?}");
    assert_eq!(lags.last(), Some(&(0, Phase::Live)));
    assert!(lags[0].0 > 400 && lags[0].1 == Phase::CatchingUp, "{lags:?}");
    assert_eq!(status(&client).lag, Some(0));
}

#[tokio::test]
async fn a_first_sync_tells_how_many_bytes_of_how_many_have_come() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let writer = open(folders[0].path(), &hub);
    for number in 0..4_000 {
        let _ = insert(&writer, &format!("{number} {}", "y".repeat(1_000)));
    }
    writer.sync(PATIENCE).await.unwrap();
    let builder = Client::builder(folders[1].path()).hub(hub.address()).document("notes");
    let client = builder.offline(true).open().unwrap();
    let mut watch = client.document("notes").unwrap().watch();
    client.set_offline(false);
    let mut steps: Vec<Progress> = Vec::new();
    let seen = async {
        while let Some(status) = watch.next().await {
            steps.extend(status.progress.filter(|progress| progress.total.is_some()));
            if status.phase == Phase::Live {
                assert_eq!(status.progress, None);
                break;
            }
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    assert!(steps.len() > 2, "{steps:?}");
    assert!(steps.windows(2).all(|pair| pair[0].received <= pair[1].received), "{steps:?}");
    for Progress { received, total } in steps {
        let total = total.unwrap();
        assert!(received < total && (4_000_000..4_800_000).contains(&total), "{received} {total}");
    }
}

#[tokio::test]
async fn a_watch_gives_the_newest_state_once_and_changes_come_one_by_one() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    let (mut watch, mut changes) = (document.watch(), document.changes());
    let first = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert_eq!(first.pending, 0);
    assert!(matches!(first.connection, Connection::Offline(_)));
    // Nothing more is said until something is different.
    assert!(timeout(Duration::from_millis(50), watch.next()).await.is_err());
    let mut ids = Vec::new();
    for number in 0..20 {
        let notes = document.collection("notes");
        let (id, written) = notes.insert([("n", i64::from(number).into())]).unwrap();
        written.disk().await.unwrap();
        ids.push(id);
    }
    let newest = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert!(newest.pending > 1, "{}", newest.pending);
    for id in ids {
        let change = timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
        let Changes::Places(places) = change else { panic!("{change:?}") };
        let expected = Place::Record { collection: "notes".to_owned(), id };
        assert!(places.contains(&expected), "{places:?}");
    }
    let (mut again, mut all) = (document.watch(), client.subscribe());
    drop(document);
    client.shutdown().unwrap();
    drop(client);
    // All of them end, and say what was last before.
    timeout(PATIENCE, async {
        while watch.next().await.is_some() {}
        while again.next().await.is_some() {}
        while changes.next().await.is_some() {}
        while StreamExt::next(&mut all).await.is_some() {}
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn presence_ends_when_a_client_goes_whichever_way_it_does() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let stays = open(folders[0].path(), &hub);
    let mut peers = stays.document("notes").unwrap().watch_peers();
    assert!(peers.next().await.unwrap().is_empty());
    for is_dropped in [true, false] {
        let goes = open(folders[1].path(), &hub);
        goes.document("notes").unwrap().show("laptop", vec![1, 2]).unwrap();
        let shown = timeout(PATIENCE, peers.next()).await.unwrap().unwrap();
        let peer = shown.values().next().unwrap();
        assert_eq!((shown.len(), &peer.name[..], &peer.state[..]), (1, "laptop", &[1, 2][..]));
        if is_dropped {
            drop(goes);
        } else {
            goes.set_offline(true);
        }
        let gone = timeout(PATIENCE, peers.next()).await.unwrap().unwrap();
        assert!(gone.is_empty(), "{gone:?}");
    }
    // A program that is killed says nothing; its system closes the connection.
    let notes = Notes::at(folders[1].path());
    let mut watch = notes.command(&["--hub", hub.address(), "watch"]);
    let mut killed = watch.stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(timeout(PATIENCE, peers.next()).await.unwrap().unwrap().len(), 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(timeout(PATIENCE, peers.next()).await.unwrap().unwrap().is_empty());
    // While the line is down nobody is known to be online.
    let goes = open(folders[1].path(), &hub);
    goes.document("notes").unwrap().show("laptop", Vec::new()).unwrap();
    assert_eq!(timeout(PATIENCE, peers.next()).await.unwrap().unwrap().len(), 1);
    stays.set_offline(true);
    until(&stays, || stays.document("notes").unwrap().peers().is_empty()).await;
}
