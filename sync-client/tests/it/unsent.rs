//! Much that waits for a hub: it stands in the file, and is read as it is needed.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use sync_client::{Client, Error, ItemState, OpenError, RecordId, SyncError, read_export};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, list, open, until};

/// How many records are written: several pushes of several items each.
const RECORDS: usize = 400;

/// How many bytes of text each has.
const BYTES: usize = 500;

/// Writes records without a line, each by itself, and ends.
fn write(folder: &Path, name: &str) -> Vec<RecordId> {
    let client = Client::open(folder, "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let text = |number| format!("{name} {number:0>width$}", width = BYTES);
    let insert = |number| notes.insert([("title", text(number).into())]).unwrap().0;
    let ids = (0..RECORDS).map(insert).collect();
    client.shutdown().unwrap();
    ids
}

/// How each item stands, and how many changes it has.
fn standings(client: &Client) -> Vec<(ItemState, u32)> {
    let page = client.outbox_page(None, usize::MAX).unwrap();
    page.items.into_iter().map(|item| (item.state, item.changes)).collect()
}

#[tokio::test]
async fn what_was_written_without_a_line_is_listed_exported_and_sent_after_opening_again() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    write(folders[0].path(), "alone");
    let client = Client::open(folders[0].path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    let (expected, outbox) = (list(&client), document.outbox().unwrap());
    let page = client.outbox_page(None, usize::MAX).unwrap();
    assert!(outbox.len() > 10, "{}", outbox.len());
    let key = |at: usize| page.items[at].key.dot;
    assert!(outbox.iter().enumerate().all(|(at, item)| item.key() == key(at)));
    assert_eq!(page.items.iter().map(|item| item.place_count).sum::<usize>(), RECORDS);
    let all = read_export(&client.export_outbox(&[]).unwrap()).unwrap();
    assert!(all.iter().map(|exported| &exported.item).eq(&outbox));
    let two = [page.items[3].key.clone(), page.items[7].key.clone()];
    let some = read_export(&client.export_outbox(&two).unwrap()).unwrap();
    assert_eq!(
        some.iter().map(|exported| exported.item.key()).collect::<Vec<_>>(),
        [key(3), key(7)]
    );
    client.shutdown().unwrap();
    drop((client, document));
    // A connection that is lost in the middle sends the rest again.
    let client = open(folders[0].path(), &hub);
    until(&client, || standings(&client).len() < outbox.len()).await;
    hub.cut();
    client.sync(PATIENCE).await.unwrap();
    assert_eq!(list(&client), expected);
    let other = open(folders[1].path(), &hub);
    other.sync(PATIENCE).await.unwrap();
    assert_eq!(list(&other), expected);
    assert_eq!(other.verify().unwrap(), []);
}

#[tokio::test]
async fn what_depends_on_an_item_that_is_set_aside_waits_with_it_however_much_is_between() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let ids = write(folders[0].path(), "alone");
    let client = Client::open(folders[0].path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let _ = notes.update(&ids[0], [("more", "of the first".into())]).unwrap();
    let first = client.outbox_page(None, 1).unwrap().items.remove(0).key;
    client.park_item(&first, "later").unwrap();
    let parked = ItemState::Parked { reason: "later".to_owned() };
    let check = |client: &Client| {
        let stand = standings(client);
        let [(one, _), between @ .., (last, _)] = &stand[..] else { panic!("{stand:?}") };
        assert_eq!((one, last), (&parked, &ItemState::Waiting));
        assert!(between.iter().all(|(state, _)| *state == ItemState::Pending), "{stand:?}");
    };
    check(&client);
    notes.insert([("title", "of nothing".into())]).unwrap().1.wait_disk().unwrap();
    assert_eq!(standings(&client).last().unwrap().0, ItemState::Pending, "it is its own item");
    client.shutdown().unwrap();
    drop((client, notes));

    let client = open(folders[0].path(), &hub);
    let expected = list(&client);
    until(&client, || standings(&client).len() == 2).await;
    check(&client);
    let other = open(folders[1].path(), &hub);
    other.sync(PATIENCE).await.unwrap();
    assert!(list(&other).len() < expected.len());
    client.retry_item(&first).unwrap();
    client.sync(PATIENCE).await.unwrap();
    until(&other, || list(&other) == expected).await;
}

#[tokio::test]
async fn what_is_given_up_or_written_anew_of_much_leaves_the_rest() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    write(folders[0].path(), "alone");
    let client = Client::open(folders[0].path(), "notes").unwrap();
    let items = client.outbox_page(None, usize::MAX).unwrap().items;
    let [gone, anew] = [&items[2], &items[5]];
    for item in [gone, anew] {
        client.park_item(&item.key, "looked at").unwrap();
    }
    let dropped = client.drop_item(&gone.key).unwrap();
    assert_eq!(dropped.item.changes, gone.changes);
    client.rewrite_item(&anew.key).unwrap();
    let expected = list(&client);
    assert_eq!(expected.len(), RECORDS - gone.place_count);
    client.shutdown().unwrap();
    drop(client);
    let [client, other] = [0, 1].map(|at| open(folders[at].path(), &hub));
    client.sync(PATIENCE).await.unwrap();
    assert_eq!(list(&client), expected);
    until(&other, || list(&other) == expected).await;
}

#[tokio::test]
async fn much_that_a_copy_wrote_is_renamed_and_loses_nothing() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [original, copy] = &folders;
    write(original.path(), "before");
    fs::copy(original.path().join("client.db"), copy.path().join("client.db")).unwrap();
    write(original.path(), "original");
    let written = write(copy.path(), "copy");
    let one = open(original.path(), &hub);
    one.sync(PATIENCE).await.unwrap();
    let client = open(copy.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    until(&one, || list(&one).len() == 3 * RECORDS).await;
    until(&client, || list(&client) == list(&one)).await;
    let notes = one.document("notes").unwrap().collection("notes");
    assert!(written.iter().all(|id| notes.get(id).unwrap().is_some()));
    assert!(client.outbox().unwrap().is_empty());
    assert_eq!(client.verify().unwrap(), []);
}

/// Alters a row of the outbox that is neither the first nor the last.
fn alter(folder: &Path, change: &str) {
    let file = Connection::open(folder.join("client.db")).unwrap();
    let middle = "(SELECT last FROM outbox ORDER BY position LIMIT 1 OFFSET 40)";
    let changed = file.execute(&format!("{change} WHERE last = {middle}"), []).unwrap();
    assert_eq!(changed, 1);
}

/// Whether what was altered is told on opening, or when it is sent.
#[derive(PartialEq)]
enum Told {
    Opening,
    Sending,
    Never,
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_told_when_it_is_sent_and_made_good_from_the_document() {
    let flipped = |of: &str, at: usize| {
        let bytes = format!("substr({of}, 1, {at}) || x'ff' || substr({of}, {at} + 2)");
        format!("UPDATE outbox SET {of} = CAST({bytes} AS BLOB)")
    };
    for (change, told) in [
        (flipped("body", 99), Told::Sending),
        ("UPDATE outbox SET position = position + 1000000".to_owned(), Told::Opening),
        (flipped("head", 9), Told::Opening),
        ("UPDATE outbox SET head = x''".to_owned(), Told::Never),
        ("DELETE FROM outbox".to_owned(), Told::Never),
    ] {
        let hub = TestHub::start();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        write(folders[0].path(), "alone");
        alter(folders[0].path(), &change);
        let builder = || {
            let builder = Client::builder(folders[0].path()).document("notes");
            builder.hub(hub.address())
        };
        match told {
            Told::Opening => {
                let refused = builder().open().unwrap_err();
                assert!(matches!(refused, OpenError::Store { .. }), "{refused}");
            }
            Told::Sending => {
                // The bodies are not read before they are needed.
                let client = builder().offline(true).open().unwrap();
                assert_eq!(client.verify().unwrap().len(), 1);
                assert!(matches!(client.outbox(), Err(Error::Read(_))));
                client.set_offline(false);
                let Err(SyncError::Client(error)) = client.sync(PATIENCE).await else {
                    panic!("{change}: nothing is said")
                };
                assert!(error.to_string().contains("open it with repair"), "{error}");
                assert!(client.shutdown().is_err());
            }
            Told::Never => {}
        }
        let is_told = told != Told::Never;
        let builder = if is_told { builder().repair() } else { builder() };
        let client = builder.open().unwrap();
        assert_eq!(client.damage().len(), usize::from(is_told), "{change}");
        let expected = list(&client);
        assert_eq!(expected.len(), RECORDS);
        client.sync(PATIENCE).await.unwrap();
        assert_eq!(list(&client), expected);
        let other = open(folders[1].path(), &hub);
        other.sync(PATIENCE).await.unwrap();
        assert_eq!(list(&other), expected);
    }
}
