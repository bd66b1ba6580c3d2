//! What stands in the file after a restart, and after a kill.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use sync_client::{Client, Field, OutboxState, RecordId};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{list, open};

const DIRECTORY: &str = "SYNC_CLIENT_TEST_DIRECTORY";

fn title(text: &str) -> [(&'static str, Field); 1] {
    [("title", text.into())]
}

#[test]
fn state_outbox_and_identity_outlive_a_restart() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    let notes = document.collection("notes");
    let (kept, _) = notes.insert(title("kept")).unwrap();
    let (gone, _) = notes.insert(title("gone")).unwrap();
    let _ = notes.update(&kept, title("kept and changed")).unwrap();
    let _ = notes.remove(&gone).unwrap();
    let _ = document.set_add("seen", "x").unwrap();
    // Not waited for: the shutdown does.
    client.shutdown().unwrap();
    let before = (list(&client), client.outbox(), document.status().replica);
    assert_eq!(before.0.len(), 1);
    drop((client, document, notes));

    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    assert_eq!((list(&client), client.outbox(), document.status().replica), before);
    assert_eq!(document.set("seen").len(), 1);
    assert_eq!(document.status().replica.incarnation(), 0);
    assert_ne!(document.status().replica.as_bytes()[..12], [0; 12]);
    // New dots go on where the old ones ended.
    let last = before.1.last().unwrap().1.last;
    let (_, written) = document.collection("notes").insert(title("next")).unwrap();
    assert_eq!(written.dot().replica, before.2);
    assert!(written.dot().counter > last);
}

#[test]
fn counters_maps_and_latest_values_outlive_a_restart() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let place = Field::Map([("city".to_owned(), "Ulm".into())].into());
    let color = Field::Latest("red".into());
    let (id, _) = notes.insert([("place", place), ("color", color)]).unwrap();
    let _ = notes.count(&id, &["seen"], 5).unwrap();
    let _ = notes.count(&id, &["seen"], -2).unwrap();
    let _ = notes.put(&id, &["place", "zip"], "89073".into()).unwrap();
    let _ = notes.unset(&id, &["place", "city"]).unwrap();
    client.shutdown().unwrap();
    drop((client, notes));

    let client = Client::open(folder.path(), "notes").unwrap();
    let note = client.document("notes").unwrap().collection("notes").get(&id).unwrap();
    assert_eq!((note.count("seen"), note.text("color")), (3, Some("red")));
    let place = Field::Map([("zip".to_owned(), "89073".into())].into());
    assert_eq!(note.fields.get("place"), Some(&place));
}

#[test]
fn a_shutdown_waits_for_everything_that_was_accepted() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    for at in 0..500 {
        let _ = notes.insert(title(&at.to_string())).unwrap();
    }
    client.shutdown().unwrap();
    drop((client, notes));
    let client = Client::open(folder.path(), "notes").unwrap();
    assert_eq!(list(&client).len(), 500);
    assert_eq!(client.document("notes").unwrap().status().pending, 500);
}

#[test]
fn documents_of_one_store_are_apart_and_stores_are_different_writers() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let client = Client::builder(folders[0].path()).document("one").document("two").open().unwrap();
    let one = client.document("one").unwrap();
    one.collection("notes").insert(title("x")).unwrap().1.wait_disk().unwrap();
    assert!(client.document("two").unwrap().collection("notes").list().is_empty());
    assert!(client.document("three").is_err());
    let other = Client::open(folders[1].path(), "one").unwrap();
    let replica = other.document("one").unwrap().status().replica;
    assert_ne!(replica, one.status().replica);
}

#[test]
fn what_was_sent_stays_frozen_and_what_was_acknowledged_is_gone() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    let patience = std::time::Duration::from_secs(60);
    let notes = client.document("notes").unwrap().collection("notes");
    notes.insert(title("acknowledged")).unwrap().1.wait_hub(patience).unwrap();
    client.wait_sync(patience).unwrap();
    hub.hold();
    let (_, sent) = notes.insert(title("sent")).unwrap();
    futures::executor::block_on(hub.until_stored("notes", sent.dot()));
    let _ = notes.insert(title("not sent")).unwrap();
    client.shutdown().unwrap();
    drop((client, notes, sent));
    let client = Client::open(folder.path(), "notes").unwrap();
    let outbox = client.document("notes").unwrap().outbox();
    assert_eq!(outbox[0].state, OutboxState::Frozen);
    assert_eq!(outbox.iter().map(|item| item.changes).sum::<u32>(), 2);
    assert_eq!(list(&client).len(), 3);
}

/// Not a test of its own: writes until it is killed, and says what is on disk.
#[test]
fn endless_writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let client = Client::open(directory, "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    for at in 0.. {
        let (id, written) = notes.insert(title(&at.to_string())).unwrap();
        written.wait_disk().unwrap();
        println!("<{id}>");
    }
}

fn written_before_kill(directory: &Path, count: usize) -> Vec<RecordId> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::endless_writer", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ids = lines.filter_map(|line| {
        let line = line.unwrap();
        let (_, id) = line.rsplit_once('<')?;
        Some(RecordId::new(id.strip_suffix('>')?).unwrap())
    });
    let ids = ids.take(count).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    ids
}

#[test]
fn what_was_said_to_be_on_disk_is_there_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut safe = Vec::new();
    for round in 1..=8 {
        let ids = written_before_kill(folder.path(), round * 3);
        assert_eq!(ids.len(), round * 3);
        safe.extend(ids);
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        for id in &safe {
            assert!(document.collection("notes").get(id).is_some(), "{id} in round {round}");
        }
        // Every change that is here waits for the hub too: state and outbox are one transaction.
        let count = document.collection("notes").list().len();
        assert_eq!(document.status().pending, count);
    }
}
