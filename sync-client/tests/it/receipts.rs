//! Receipts of changes that were made before a restart: never early.

use std::fs;
use std::path::Path;

use sync_client::{Client, Dot, Error, Misuse, Receipt};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::repair::damage;
use crate::sync::{PATIENCE, open};

/// Inserts a record, and gives the last dot of that once it is on disk.
fn insert(client: &Client, title: &str) -> Dot {
    let notes = client.document("notes").unwrap().collection("notes");
    let (_, written) = notes.insert([("title", title.into())]).unwrap();
    written.wait_disk().unwrap();
    written.dot()
}

/// Writes without a line, and ends.
fn insert_alone(folder: &Path, title: &str) -> Dot {
    let client = Client::open(folder, "notes").unwrap();
    let dot = insert(&client, title);
    client.shutdown().unwrap();
    dot
}

fn receipt(client: &Client, dot: Dot) -> Receipt {
    client.document("notes").unwrap().receipt(dot).unwrap()
}

/// Whether it is on this disk, on the hub's, and kept from it.
fn safety(client: &Client, dot: Dot) -> (bool, bool, bool) {
    let Receipt { disk, hub, parked, .. } = receipt(client, dot);
    (disk, hub, parked)
}

#[tokio::test]
async fn what_an_outbox_had_that_was_damaged_is_not_on_the_hub_before_the_hub_says_so() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    let sent = insert(&client, "sent");
    client.sync(PATIENCE).await.unwrap();
    client.shutdown().unwrap();
    let unsent = insert_alone(folder.path(), "unsent");
    assert!(damage(folder.path(), "outbox") > 0);
    for repairs in [true, false] {
        let builder = Client::builder(folder.path()).document("notes");
        let client = if repairs { builder.repair() } else { builder }.open().unwrap();
        for dot in [sent, unsent] {
            assert_eq!(safety(&client, dot), (true, false, false), "repairs: {repairs}");
        }
        client.shutdown().unwrap();
    }
    let client = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    assert!(hub.has("notes", unsent));
    for dot in [sent, unsent] {
        assert_eq!(safety(&client, dot), (true, true, false));
    }
}

#[tokio::test]
async fn what_was_given_up_or_written_anew_is_never_on_the_hub_also_after_restarts() {
    for is_dropped in [true, false] {
        let hub = TestHub::start();
        let folder = TempDir::new().unwrap();
        let client = Client::open(folder.path(), "notes").unwrap();
        let gone = insert(&client, "gone");
        let item = client.outbox_page(None, 1).unwrap().items.remove(0);
        client.park_item(&item.key, "to be given up").unwrap();
        if is_dropped {
            client.drop_item(&item.key).unwrap();
        } else {
            client.rewrite_item(&item.key).unwrap();
        }
        let kept = insert(&client, "kept");
        client.shutdown().unwrap();
        for _ in 0..2 {
            let client = open(folder.path(), &hub);
            client.sync(PATIENCE).await.unwrap();
            assert_eq!(safety(&client, kept), (true, true, false));
            assert_eq!(safety(&client, gone), (true, false, true), "dropped: {is_dropped}");
            client.shutdown().unwrap();
        }
    }
}

#[tokio::test]
async fn what_stands_under_another_name_since_a_copy_wrote_is_not_taken_for_what_the_copy_wrote() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [original, copy] = [folders[0].path(), folders[1].path()];
    let client = open(original, &hub);
    let shared = insert(&client, "shared");
    client.sync(PATIENCE).await.unwrap();
    client.shutdown().unwrap();
    fs::copy(original.join("client.db"), copy.join("client.db")).unwrap();
    let (own, other) = (insert_alone(original, "own"), insert_alone(copy, "other"));
    assert_eq!(own, other);
    let first = open(original, &hub);
    first.sync(PATIENCE).await.unwrap();
    for _ in 0..3 {
        let second = open(copy, &hub);
        second.sync(PATIENCE).await.unwrap();
        assert_eq!(safety(&second, shared), (true, true, false));
        let Receipt { hub, parked, .. } = receipt(&second, other);
        // As long as it is the same run, its new name is known.
        assert!(hub != parked);
        second.shutdown().unwrap();
    }
    let second = open(copy, &hub);
    second.sync(PATIENCE).await.unwrap();
    assert_eq!(safety(&second, other), (true, false, true));
    assert_eq!(safety(&first, own), (true, true, false));
}

#[test]
fn what_is_not_here_has_no_receipt() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let last = insert(&client, "last");
    let document = client.document("notes").unwrap();
    for (beyond, is_here) in [(-1, true), (0, true), (1, false)] {
        let counter = last.counter.checked_add_signed(beyond).unwrap();
        match document.receipt(Dot::new(last.replica, counter)) {
            Ok(receipt) => assert!(is_here && receipt.disk && !receipt.hub),
            Err(Error::Misuse(Misuse::BadName { .. })) => assert!(!is_here),
            Err(other) => panic!("{other}"),
        }
    }
}
