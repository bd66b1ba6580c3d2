//! Undo and redo of what was changed here, across restarts and with others.

use std::path::Path;

use sync_client::{
    Client, Collection, DocumentHandle, Field, Item, ItemKey, Limits, RecordId, members,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, until};

struct Device {
    client: Client,
    document: DocumentHandle,
    notes: Collection,
}

impl Device {
    fn open(folder: &Path, hub: Option<&TestHub>) -> Self {
        let builder = Client::builder(folder).document("notes").keep_undo(Limits::UNDO);
        let client = match hub {
            Some(hub) => builder.hub(hub.address()),
            None => builder,
        };
        let client = client.open().unwrap();
        let document = client.document("notes").unwrap();
        let notes = document.collection("notes");
        Self { client, document, notes }
    }

    fn restart(self, folder: &Path) -> Self {
        self.client.shutdown().unwrap();
        drop(self);
        Self::open(folder, None)
    }

    /// A counter that stands at zero is as one that never was.
    fn shown(&self) -> Vec<Item> {
        let mut items = self.notes.list().unwrap();
        let zero = Field::Counter(0);
        items.iter_mut().for_each(|item| item.fields.retain(|_, field| *field != zero));
        items
    }

    fn undo(&self) -> bool {
        self.document.undo().unwrap().is_some()
    }

    fn redo(&self) -> bool {
        self.document.redo().unwrap().is_some()
    }
}

/// Makes changes of all kinds, each alone. Gives what was shown before the first one and after each.
fn changes(device: &Device, id: &str) -> Vec<Vec<Item>> {
    let notes = &device.notes;
    let mut shown = vec![device.shown()];
    let id = RecordId::new(id).unwrap();
    let fields = [("title", "a".into()), ("tags", members(["x"])), ("n", Field::Counter(2))];
    let _ = notes.insert_with_id(&id, fields).unwrap();
    shown.push(device.shown());
    let _ = notes.update(&id, [("title", "b".into()), ("tags", members(["y"]))]).unwrap();
    shown.push(device.shown());
    let _ = notes.count(&id, &["n"], 5).unwrap();
    shown.push(device.shown());
    let _ = notes.put(&id, &["place", "city"], "c".into()).unwrap();
    shown.push(device.shown());
    let _ = notes.unset(&id, &["n"]).unwrap();
    shown.push(device.shown());
    let _ = notes.remove(&id).unwrap();
    shown.push(device.shown());
    shown
}

#[test]
fn every_change_is_undone_and_redone_also_after_a_restart_between() {
    for restarts in [false, true] {
        let folder = TempDir::new().unwrap();
        let mut device = Device::open(folder.path(), None);
        let shown = changes(&device, "n");
        let last = shown.len() - 1;
        for round in 0..2 {
            for state in shown[..last].iter().rev() {
                assert!(device.undo());
                if restarts {
                    device = device.restart(folder.path());
                }
                assert_eq!(&device.shown(), state, "round {round}");
            }
            assert!(!device.undo());
            assert_eq!(device.document.undo_depth(), (0, last));
            // Not so the mark that says who wrote.
            let replica = device.document.status().replica;
            let marks = device.document.read(|document| document.openings(replica)).unwrap();
            assert!(!marks.is_empty());
            for state in &shown[1..] {
                assert!(device.redo());
                if restarts {
                    device = device.restart(folder.path());
                }
                assert_eq!(&device.shown(), state, "round {round}");
            }
            assert!(!device.redo());
            assert_eq!(device.document.undo_depth(), (last, 0));
        }
        assert!(device.undo());
        let _ = device.notes.insert([("title", "new".into())]).unwrap();
        assert_eq!(device.document.undo_depth(), (last, 0), "what was undone is gone");
        assert!(!device.redo());
    }
}

#[test]
fn nothing_is_kept_before_it_is_asked_for_and_it_is_forgotten_where_it_is_not() {
    let folder = TempDir::new().unwrap();
    let rows = || -> i64 {
        let file = rusqlite::Connection::open(folder.path().join("client.db")).unwrap();
        file.query_row("SELECT count(*) FROM undo", [], |row| row.get(0)).unwrap()
    };
    let without = || {
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        document.set_add("seen", "x").unwrap().wait_disk().unwrap();
        document.set_remove("seen", "x").unwrap().wait_disk().unwrap();
        assert!(document.undo().unwrap().is_none());
        client.shutdown().unwrap();
    };
    without();
    assert_eq!(rows(), 0);
    let device = Device::open(folder.path(), None);
    changes(&device, "n");
    assert!(device.undo());
    device.client.shutdown().unwrap();
    drop(device);
    assert_eq!(rows(), 6);
    without();
    assert_eq!(rows(), 0);
    let device = Device::open(folder.path(), None);
    changes(&device, "m");
    device.document.purge_undo().unwrap();
    assert!(!device.undo());
    device.client.shutdown().unwrap();
    drop(device);
    assert_eq!(rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_since_stays_and_what_is_of_no_effect_is_passed_over() {
    let hub = TestHub::start();
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    let [a, b] = folders.each_ref().map(|folder| Device::open(folder.path(), Some(&hub)));
    let (id, _) = a.notes.insert([("title", "first".into()), ("body", "first".into())]).unwrap();
    let _ = a.notes.update(&id, [("body", "mine".into())]).unwrap();
    let written = a.notes.update(&id, [("title", "mine".into())]).unwrap();
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    let text = |device: &Device, field: &str| {
        let item = device.notes.get(&id).unwrap()?;
        item.text(field).map(str::to_owned)
    };
    until(&b.client, || text(&b, "title").as_deref() == Some("mine")).await;
    let theirs = b.notes.update(&id, [("title", "theirs".into())]).unwrap();
    timeout(PATIENCE, theirs.hub()).await.unwrap().unwrap();
    until(&a.client, || text(&a, "title").as_deref() == Some("theirs")).await;
    // Of the last change nothing is left.
    let undone = a.document.undo().unwrap().unwrap();
    assert_eq!(a.document.undo_depth(), (1, 1));
    timeout(PATIENCE, undone.hub()).await.unwrap().unwrap();
    for device in [&a, &b] {
        until(&device.client, || text(device, "body").as_deref() == Some("first")).await;
        assert_eq!(text(device, "title").as_deref(), Some("theirs"));
    }
    // Undo is each one's own.
    assert!(b.undo());
    assert_eq!(text(&b, "title").as_deref(), Some("mine"));
    assert!(!b.undo());
}

fn parked(device: &Device) -> ItemKey {
    let key = device.client.outbox_page(None, 100).unwrap().items.pop().unwrap().key;
    device.client.park_item(&key, "to be seen to").unwrap();
    key
}

#[test]
fn what_was_written_anew_before_it_was_sent_is_still_the_last_change() {
    for restarts in [false, true] {
        let folder = TempDir::new().unwrap();
        let mut device = Device::open(folder.path(), None);
        let shown = changes(&device, "n");
        // The last change alone, and then all of them, which are joined.
        assert!(device.undo());
        let key = parked(&device);
        device.client.rewrite_item(&key).unwrap();
        for round in 0..2 {
            if restarts {
                device = device.restart(folder.path());
            }
            for state in shown[..shown.len() - 2].iter().rev() {
                assert!(device.undo());
                assert_eq!(&device.shown(), state, "round {round}");
            }
            assert!(!device.undo());
            for state in &shown[1..shown.len()] {
                assert!(device.redo());
                assert_eq!(&device.shown(), state, "round {round}");
            }
            assert!(!device.redo());
            assert!(device.undo());
            let key = parked(&device);
            device.client.rewrite_item(&key).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_no_change_to_undo_and_what_comes_back_clashes_with_nothing() {
    let hub = TestHub::start();
    for (rewrites, undoes) in [(false, 0), (false, 1), (true, 0), (true, 1), (false, 2), (true, 2)]
    {
        let folder = TempDir::new().unwrap();
        let device = Device::open(folder.path(), Some(&hub));
        let (id, _) =
            device.notes.insert([("title", "first".into()), ("body", "x".into())]).unwrap();
        let sent = device.notes.update(&id, [("title", "second".into())]).unwrap();
        timeout(PATIENCE, sent.hub()).await.unwrap().unwrap();
        device.client.set_offline(true);
        until(&device.client, || !device.client.connection().is_online()).await;
        let _ = device.notes.update(&id, [("title", "third".into())]).unwrap();
        let _ = device.notes.update(&id, [("title", "fourth".into())]).unwrap();
        let mut key = parked(&device);
        if rewrites {
            device.client.rewrite_item(&key).unwrap();
            let items = device.client.outbox_page(None, 100).unwrap().items;
            key = items.into_iter().find(|item| item.place_count > 0).unwrap().key;
            device.client.park_item(&key, "to be given up").unwrap();
        }
        assert_eq!(device.document.undo_depth(), (4, 0));
        device.client.drop_item(&key).unwrap();
        assert_eq!(device.document.undo_depth(), (2, 0));
        // Also while what was overwritten is still to come back.
        for _ in 0..undoes {
            assert!(device.undo(), "{rewrites} {undoes}");
        }
        device.client.set_offline(false);
        device.client.sync(PATIENCE).await.unwrap();
        let read = |device: &Device| device.notes.get(&id).unwrap();
        let title = [Some("second"), Some("first"), None][undoes];
        until(&device.client, || {
            read(&device).as_ref().and_then(|item| item.text("title")) == title
        })
        .await;
        assert!(device.notes.conflicts().unwrap().is_empty(), "{rewrites} {undoes}");
        assert_eq!(read(&device).is_some(), undoes < 2);
        let folder = TempDir::new().unwrap();
        let other = Device::open(folder.path(), Some(&hub));
        other.client.sync(PATIENCE).await.unwrap();
        assert_eq!(read(&other), read(&device), "{rewrites} {undoes}");
        assert!(other.notes.conflicts().unwrap().is_empty());
    }
}
