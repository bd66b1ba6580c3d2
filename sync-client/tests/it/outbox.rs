//! What waits for the hub: listed, set aside, given up, exported.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_client::{
    BadExport, Client, Field, ITEM_PLACES_MAX, ItemKey, ItemState, OutboxError, OutboxState, Place,
    SyncError, Waiting, read_export,
};
use tempfile::TempDir;

use crate::hub::{NOW_MS, TestHub};
use crate::sync::{PATIENCE, list, until};

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// A client whose clock says what it is told.
fn open(folder: &Path, hub: &TestHub) -> (Client, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(NOW_MS));
    let own = clock.clone();
    let builder = Client::builder(folder).hub(hub.address()).document("notes");
    (builder.time_of_day(move || own.load(Ordering::Relaxed)).open().unwrap(), clock)
}

fn items(client: &Client) -> Vec<Waiting> {
    client.outbox_page(None, usize::MAX).unwrap().items
}

/// Makes a change that the hub refuses, and gives its item once it is parked.
async fn poisoned(client: &Client, clock: &AtomicU64, change: impl FnOnce()) -> Waiting {
    clock.store(NOW_MS + YEAR_MS, Ordering::Relaxed);
    change();
    clock.store(NOW_MS, Ordering::Relaxed);
    until(client, || {
        items(client).iter().any(|item| matches!(item.state, ItemState::Parked { .. }))
    })
    .await;
    items(client).remove(0)
}

fn fields(title: &str) -> [(&'static str, Field); 2] {
    [("title", title.into()), ("body", "stays".into())]
}

#[tokio::test]
async fn what_is_given_up_is_taken_back_here_and_what_it_took_the_place_of_comes_from_the_hub() {
    let hub = TestHub::start();
    hub.refuse_future();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let ((a, clock), (b, _)) = (open(folders[0].path(), &hub), open(folders[1].path(), &hub));
    let notes = a.document("notes").unwrap().collection("notes");
    let (id, written) = notes.insert(fields("first")).unwrap();
    written.hub().await.unwrap();
    let before = list(&a);
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 4] = [
        ("an edit", Box::new(|| drop(notes.update(&id, [("title", "wrong".into())]).unwrap()))),
        ("a new field", Box::new(|| drop(notes.update(&id, [("new", "wrong".into())]).unwrap()))),
        ("a removal", Box::new(|| drop(notes.remove(&id).unwrap()))),
        ("an insert", Box::new(|| drop(notes.insert(fields("wrong")).unwrap()))),
    ];
    for (name, change) in changes {
        let item = poisoned(&a, &clock, change).await;
        assert!(matches!(a.retry_item(&item.key), Ok(())), "{name}");
        until(&a, || matches!(items(&a)[0].state, ItemState::Parked { .. })).await;
        let export = a.export_outbox(std::slice::from_ref(&item.key)).unwrap();
        let dropped = a.drop_item(&item.key).unwrap();
        assert_eq!((&dropped.item, &dropped.export), (&item, &export), "{name}");
        assert!(!item.places.is_empty());
        a.sync(PATIENCE).await.unwrap();
        until(&a, || list(&a) == before).await;
        assert_eq!(items(&a), [], "{name}");
    }
    // All agree, also after a new start and with what is written since.
    notes.update(&id, [("title", "second".into())]).unwrap().hub().await.unwrap();
    a.shutdown().unwrap();
    drop((a, notes));
    let (a, _) = open(folders[0].path(), &hub);
    a.sync(PATIENCE).await.unwrap();
    until(&b, || list(&a) == list(&b)).await;
    assert_eq!(list(&a)[0].text("title"), Some("second"));
    assert_eq!(list(&a)[0].fields.len(), 2);
    let document = a.document("notes").unwrap();
    assert!(document.collection("notes").conflicts().unwrap().is_empty());
}

#[tokio::test]
async fn what_others_depend_on_is_not_given_up_before_them() {
    let hub = TestHub::start();
    hub.refuse_future();
    let folder = TempDir::new().unwrap();
    let (client, clock) = open(folder.path(), &hub);
    let notes = client.document("notes").unwrap().collection("notes");
    let mut id = None;
    let poison =
        poisoned(&client, &clock, || id = Some(notes.insert(fields("x")).unwrap().0)).await;
    let edit = notes.update(&id.unwrap(), [("title", "y".into())]).unwrap();
    let waits = edit.hub().await.unwrap_err().to_string();
    assert!(waits.contains("depends on a change that was refused"), "{waits}");
    let later = items(&client)[1].clone();
    assert_eq!(later.state, ItemState::Waiting);
    let needed = client.drop_item(&poison.key);
    assert!(matches!(needed, Err(OutboxError::Needed { by }) if by == later.key));
    assert!(matches!(client.drop_item(&later.key), Err(OutboxError::NotParked)));
    client.park_item(&later.key, "to be given up").unwrap();
    client.drop_item(&later.key).unwrap();
    client.drop_item(&poison.key).unwrap();
    client.sync(PATIENCE).await.unwrap();
    assert_eq!((list(&client).len(), items(&client).len()), (0, 0));
    assert!(matches!(client.drop_item(&poison.key), Err(OutboxError::NoSuchItem)));
}

#[tokio::test]
async fn a_change_that_waits_is_set_aside_and_sent_again() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let (client, _) = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    client.set_offline(true);
    until(&client, || !client.connection().is_online()).await;
    let notes = client.document("notes").unwrap().collection("notes");
    let (_, first) = notes.insert(fields("x")).unwrap();
    first.disk().await.unwrap();
    let key = items(&client)[0].key.clone();
    client.park_item(&key, "not yet").unwrap();
    let (_, second) = notes.insert(fields("y")).unwrap();
    client.set_offline(false);
    second.hub().await.unwrap();
    assert!(matches!(client.sync(PATIENCE).await, Err(SyncError::Parked { .. })));
    let [item] = &items(&client)[..] else { panic!("one waits") };
    assert_eq!((&item.key, &item.state), (&key, &ItemState::Parked { reason: "not yet".into() }));
    assert_eq!(client.retry_all().unwrap(), 1);
    first.hub().await.unwrap();
    client.sync(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_may_have_reached_the_hub_is_not_set_aside() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let (client, _) = open(folder.path(), &hub);
    let notes = client.document("notes").unwrap().collection("notes");
    client.sync(PATIENCE).await.unwrap();
    hub.hold();
    let written = notes.insert(fields("sent")).unwrap().1;
    hub.until_stored("notes", written.dot()).await;
    client.set_offline(true);
    until(&client, || !client.connection().is_online()).await;
    let item = items(&client).remove(0);
    let refused = client.park_item(&item.key, "to be given up");
    assert!(matches!(refused, Err(OutboxError::InFlight)), "{refused:?}");
    assert!(matches!(client.drop_item(&item.key), Err(OutboxError::NotParked)));
}

#[tokio::test]
async fn who_waits_for_a_change_that_was_given_up_or_written_anew_hears_so() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let (client, _) = open(folder.path(), &hub);
    until(&client, || client.connection().is_online()).await;
    for is_dropped in [true, false] {
        client.set_offline(true);
        until(&client, || !client.connection().is_online()).await;
        let notes = client.document("notes").unwrap().collection("notes");
        let written = notes.insert(fields("x")).unwrap().1;
        let item = items(&client).remove(0);
        client.park_item(&item.key, "to be given up").unwrap();
        if is_dropped {
            client.drop_item(&item.key).unwrap();
        } else {
            client.rewrite_item(&item.key).unwrap();
        }
        client.set_offline(false);
        client.sync(PATIENCE).await.unwrap();
        assert!(!written.is_on_hub());
        let reason = written.wait_hub(PATIENCE).unwrap_err().to_string();
        assert!(reason.contains("given up, or written anew"), "{reason}");
        assert_eq!(list(&client).len(), usize::from(!is_dropped));
    }
}

#[test]
fn what_is_written_behind_something_given_up_stands_in_the_same_items_after_a_restart() {
    let folder = TempDir::new().unwrap();
    for is_dropped in [true, false] {
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        let notes = document.collection("notes");
        let _ = notes.insert(fields("given up")).unwrap();
        let item = items(&client).pop().unwrap();
        client.park_item(&item.key, "to be given up").unwrap();
        let _ = notes.insert(fields("stays")).unwrap();
        if is_dropped {
            client.drop_item(&item.key).unwrap();
        } else {
            client.rewrite_item(&item.key).unwrap();
        }
        for number in 0..3 {
            notes.insert(fields(&number.to_string())).unwrap().1.wait_disk().unwrap();
        }
        let outbox = |client: &Client| {
            let mut items = client.document("notes").unwrap().outbox().unwrap();
            items.sort_by_key(|item| item.key());
            items
        };
        let before = outbox(&client);
        client.shutdown().unwrap();
        drop((client, document, notes));
        let client = Client::open(folder.path(), "notes").unwrap();
        assert_eq!(outbox(&client), before, "{is_dropped}");
        let ranges: Vec<_> = before.iter().map(|item| (item.first, item.last)).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
        let _ = notes_of(&client).insert(fields("later")).unwrap().1.wait_disk();
        let ranges: Vec<_> = outbox(&client).iter().map(|item| (item.first, item.last)).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
        client.shutdown().unwrap();
    }
}

fn notes_of(client: &Client) -> sync_client::Collection {
    client.document("notes").unwrap().collection("notes")
}

#[test]
fn the_outbox_is_listed_in_pages_and_of_each_item_so_many_places() {
    let folder = TempDir::new().unwrap();
    let documents = ["a", "b", "c"];
    let builder = documents
        .iter()
        .fold(Client::builder(folder.path()), |builder, name| builder.document(*name));
    let client = builder.open().unwrap();
    for (count, name) in
        [ITEM_PLACES_MAX - 1, ITEM_PLACES_MAX, ITEM_PLACES_MAX + 1].iter().zip(documents)
    {
        let document = client.document(name).unwrap();
        let add = |edit: &mut sync_client::Edit<'_>| {
            (0..*count).try_for_each(|number| edit.set_add(&format!("s{number}"), &"x".into()))
        };
        document.change(add).unwrap().1.wait_disk().unwrap();
    }
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = client.outbox_page(after.as_ref(), 1).unwrap();
        assert_eq!(page.items.len(), 1);
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, items(&client));
    for ((item, name), count) in all.iter().zip(documents).zip(ITEM_PLACES_MAX - 1..) {
        assert_eq!((item.key.document.as_str(), item.changes), (name, 1));
        assert_eq!((item.place_count, item.places.len()), (count, count.min(ITEM_PLACES_MAX)));
        assert!(matches!(&item.places[0], Place::Set { name } if name == "s0"));
        assert_eq!(item.key.to_string().parse::<ItemKey>().unwrap(), item.key);
        assert!(item.since.is_some());
    }
    // After what is gone, its document is shown from its beginning.
    let mut gone = all[1].key.clone();
    gone.dot.counter += 1;
    assert_eq!(client.outbox_page(Some(&gone), 10).unwrap().items, all[1..]);
    for text in ["", "x", "1@a", "x:1@a", "00:1@a"] {
        assert!(text.parse::<ItemKey>().is_err(), "{text}");
    }
}

#[test]
fn what_is_exported_is_read_as_it_was_and_nothing_of_what_is_damaged() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    notes.insert(fields("x")).unwrap().1.wait_disk().unwrap();
    let key = items(&client)[0].key.clone();
    client.park_item(&key, "kept").unwrap();
    notes.insert(fields("y")).unwrap().1.wait_disk().unwrap();
    let bytes = client.export_outbox(&[]).unwrap();
    let exported = read_export(&bytes).unwrap();
    assert!(exported.iter().all(|one| one.document == "notes"));
    let read: Vec<_> = exported.into_iter().map(|one| one.item).collect();
    assert_eq!(read, client.document("notes").unwrap().outbox().unwrap());
    assert_eq!(read[0].state, OutboxState::Parked { reason: "kept".into() });
    let one = client.export_outbox(std::slice::from_ref(&key)).unwrap();
    assert_eq!(read_export(&one).unwrap().len(), 1);
    assert_eq!(read_export(&[]), Err(BadExport::Foreign));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let expected = if at < 8 { BadExport::Foreign } else { BadExport::Damaged };
        assert_eq!(read_export(&bad), Err(expected), "byte {at}");
        assert!(read_export(&bytes[..at]).is_err());
    }
}
