//! Which devices have a change: what they say once it is on their disks, and what is known of that later.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sync_client::{Client, Connection, Device, DeviceId, Error, Misuse, OpenError, Written};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::{NOW_MS, TestHub};
use crate::notes::Notes;
use crate::sync::{PATIENCE, list, open, until};

fn named(folder: &Path, hub: &TestHub, name: &str) -> Client {
    let builder = Client::builder(folder).hub(hub.address()).document("notes");
    builder.device_name(name).time_of_day(|| NOW_MS).open().unwrap()
}

fn insert(client: &Client, text: &str) -> Written {
    let notes = client.document("notes").unwrap().collection("notes");
    notes.insert([("title", text.into())]).unwrap().1
}

fn id_of(client: &Client) -> DeviceId {
    client.document("notes").unwrap().status().replica.into()
}

fn devices(client: &Client) -> Vec<Device> {
    client.document("notes").unwrap().devices()
}

fn ids(devices: &[Device]) -> Vec<DeviceId> {
    devices.iter().map(|device| device.id).collect()
}

/// Goes offline, so that the hub knows that nobody is there.
async fn leave(client: &Client) {
    client.set_offline(true);
    let is_off = |connection: &Connection| !connection.is_online();
    assert!(is_off(&client.wait_connection(PATIENCE, is_off)));
}

#[tokio::test]
async fn who_has_a_change_says_so_once_it_is_on_its_disk_and_that_is_known_without_a_line() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let laptop = named(folders[0].path(), &hub, "laptop");
    let first = insert(&laptop, "first");
    timeout(PATIENCE, first.hub()).await.unwrap().unwrap();
    let alone = first.receipt().unwrap();
    assert!(alone.disk && alone.hub && !alone.parked && alone.devices.is_empty());
    let refused = first.wait_any_device(Duration::from_millis(10));
    assert!(matches!(refused, Err(Error::TimedOut)));

    let phone = named(folders[1].path(), &hub, "phone");
    let holder = timeout(PATIENCE, first.on_any_device()).await.unwrap().unwrap();
    assert_eq!((holder.id, holder.name.as_deref()), (id_of(&phone), Some("phone")));
    assert!((NOW_MS - 5_000..=NOW_MS).contains(&holder.heard_ms), "{}", holder.heard_ms);
    assert_eq!(list(&phone).len(), 1);
    let again = timeout(PATIENCE, first.on_device(id_of(&phone))).await.unwrap().unwrap();
    assert_eq!(again.id, holder.id);

    // What is written while it is away, it is not said to have.
    leave(&phone).await;
    let second = insert(&laptop, "second");
    timeout(PATIENCE, second.hub()).await.unwrap().unwrap();
    assert!(second.receipt().unwrap().devices.is_empty());
    assert_eq!(ids(&first.receipt().unwrap().devices), [id_of(&phone)]);
    let known = devices(&laptop);
    assert!(known.len() == 1 && known[0].lag > 0, "{known:?}");
    let (first, second) = (first.dot(), second.dot());
    laptop.shutdown().unwrap();

    // Without a hub, and after a restart, it is known all the same.
    let offline = Client::open(folders[0].path(), "notes").unwrap();
    let document = offline.document("notes").unwrap();
    assert_eq!(ids(&document.receipt(first).unwrap().devices), [id_of(&phone)]);
    assert!(document.receipt(second).unwrap().devices.is_empty());
    assert!([first, second].iter().all(|dot| !document.receipt(*dot).unwrap().hub), "not heard");
    assert_eq!(devices(&offline).len(), 1);
    assert_eq!(
        (devices(&offline)[0].lag, devices(&offline)[0].heard_ms),
        (known[0].lag, known[0].heard_ms)
    );
    let foreign = sync_client::Dot::new(phone.document("notes").unwrap().status().replica, 1);
    assert!(matches!(document.receipt(foreign), Err(Error::Misuse(Misuse::BadName { .. }))));
    offline.shutdown().unwrap();

    // Both are back: it has everything.
    let laptop = named(folders[0].path(), &hub, "laptop");
    let document = laptop.document("notes").unwrap();
    let mut watch = document.watch_devices();
    phone.set_offline(false);
    let wait = async { while watch.next().await.unwrap().iter().any(|device| device.lag > 0) {} };
    timeout(PATIENCE, wait).await.expect("it is heard of in time");
    assert_eq!(ids(&document.receipt(second).unwrap().devices), [id_of(&phone)]);
}

#[tokio::test]
async fn two_that_are_never_there_together_hear_of_each_other() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let laptop = named(folders[0].path(), &hub, "laptop");
    let written = insert(&laptop, "first");
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    let written = written.dot();
    laptop.shutdown().unwrap();
    let phone = open(folders[1].path(), &hub);
    // It hears of the laptop in answer to what it says itself.
    until_known(&phone, 1).await;
    assert_eq!(devices(&phone)[0].name.as_deref(), Some("laptop"));
    phone.shutdown().unwrap();
    let laptop = named(folders[0].path(), &hub, "laptop");
    until_known(&laptop, 1).await;
    let receipt = laptop.document("notes").unwrap().receipt(written).unwrap();
    assert_eq!(ids(&receipt.devices), ids(&devices(&laptop)));
    assert_eq!(receipt.devices[0].name, None);
}

async fn until_known(client: &Client, count: usize) {
    let mut watch = client.document("notes").unwrap().watch_devices();
    let wait = async { while watch.next().await.unwrap().len() < count {} };
    timeout(PATIENCE, wait).await.expect("they are heard of in time");
}

#[tokio::test]
async fn a_device_that_was_put_back_is_not_said_to_have_more_once_it_is_heard_of() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let laptop = named(folders[0].path(), &hub, "laptop");
    let phone = named(folders[1].path(), &hub, "phone");
    let first = insert(&laptop, "first");
    timeout(PATIENCE, first.on_any_device()).await.unwrap().unwrap();
    phone.shutdown().unwrap();
    let file = folders[1].path().join("client.db");
    let kept = fs::read(&file).unwrap();
    let phone = named(folders[1].path(), &hub, "phone");
    let second = insert(&laptop, "second");
    timeout(PATIENCE, second.on_any_device()).await.unwrap().unwrap();
    phone.shutdown().unwrap();

    // The hub loses everything, and does not give it back: the phone has what it had before.
    leave(&laptop).await;
    fs::write(&file, kept).unwrap();
    hub.lose_everything();
    let phone = named(folders[1].path(), &hub, "phone");
    until(&phone, || list(&phone).len() == 1).await;
    assert_eq!(ids(&second.receipt().unwrap().devices), [id_of(&phone)], "it had it");
    phone.sync(PATIENCE).await.unwrap();
    let third = insert(&phone, "third");
    timeout(PATIENCE, third.hub()).await.unwrap().unwrap();
    phone.shutdown().unwrap();
    // The hub tells of it as it was before the laptop came.
    laptop.set_offline(false);
    let notes = laptop.document("notes").unwrap();
    let lags = || notes.devices().iter().any(|device| device.lag > 0);
    until(&laptop, lags).await;
    // It is given back to the hub, and from there to the phone.
    let phone = named(folders[1].path(), &hub, "phone");
    let holder = timeout(PATIENCE, second.on_any_device()).await.unwrap().unwrap();
    assert_eq!(holder.id, id_of(&phone));
    assert_eq!(list(&phone).len(), 3);
}

#[test]
fn the_name_of_a_device_is_limited() {
    let hub = TestHub::start();
    for (name, is_taken) in [
        ("x".repeat(127), true),
        ("x".repeat(128), true),
        ("x".repeat(129), false),
        (String::new(), false),
        ("a\nb".to_owned(), false),
    ] {
        let folder = TempDir::new().unwrap();
        let builder = Client::builder(folder.path()).hub(hub.address()).document("notes");
        let opened = builder.device_name(&name).open();
        match opened {
            Ok(_) => assert!(is_taken, "{name:?}"),
            Err(OpenError::Misuse(_)) => assert!(!is_taken, "{name:?}"),
            Err(other) => panic!("{name:?}: {other}"),
        }
    }
}

#[tokio::test]
async fn what_is_known_of_devices_is_in_no_backup() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let laptop = named(folders[0].path(), &hub, "laptop");
    let _phone = named(folders[1].path(), &hub, "phone");
    until_known(&laptop, 1).await;
    let copy = TempDir::new().unwrap();
    laptop.backup(copy.path().join("data")).unwrap();
    let restored = Client::open(copy.path().join("data"), "notes").unwrap();
    assert!(devices(&restored).is_empty());
}

#[tokio::test]
async fn the_program_lists_devices() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let notes = Notes::at(folders[0].path());
    assert_eq!(notes.json(&["devices"]), json!([]));
    assert_eq!(notes.run(&["devices"]), "no other device was heard of");
    let laptop = open(folders[0].path(), &hub);
    let written = insert(&laptop, "first");
    let phone = Notes::at(folders[1].path());
    phone.run(&["sync", "--hub", hub.address(), "--device", "the \"phone\""]);
    // It said so before it went.
    let holder = timeout(PATIENCE, written.on_any_device()).await.unwrap().unwrap();
    laptop.shutdown().unwrap();
    drop((laptop, written));
    let device = json!({
        "id": holder.id.to_string(),
        "name": "the \"phone\"",
        "heard_ms": holder.heard_ms,
        "lag": 0,
    });
    assert_eq!(notes.json(&["devices"]), json!([device]));
    assert_eq!(notes.json(&["status"])["devices"], json!([device]));
    let line = notes.run(&["devices"]);
    assert!(
        line.starts_with(&format!("device {} the \\\"phone\\\": had everything", holder.id)),
        "{line}"
    );
    assert!(notes.run(&["status"]).contains("phone\\\": had everything"));
}
