//! What stands in the file after a restart, and after a kill.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use sync_client::{Client, Collection, Error, Field, Limits, OutboxState, RecordId};
use sync_faults::{Campaign, Random};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{list, open};

const DIRECTORY: &str = "SYNC_CLIENT_TEST_DIRECTORY";
const FIRST: &str = "SYNC_CLIENT_TEST_FIRST";
const RECORDS: &str = "SYNC_CLIENT_TEST_RECORDS";

/// How often the writer of one directory is killed. Arbitrary.
const KILLS: u64 = 10;

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
    let before = (list(&client), client.outbox().unwrap(), document.status().replica);
    assert_eq!(before.0.len(), 1);
    // Not waited for: the shutdown does.
    client.shutdown().unwrap();
    assert!(matches!(notes.list(), Err(Error::Closed)));
    drop((client, document, notes));

    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    assert_eq!((list(&client), client.outbox().unwrap(), document.status().replica), before);
    assert_eq!(document.set("seen").unwrap().len(), 1);
    assert_eq!(document.status().replica.incarnation(), 0);
    assert_ne!(document.status().replica.as_bytes()[..12], [0; 12]);
    // New dots go on where the old ones ended.
    let last = before.1.last().unwrap().1.last;
    let (_, written) = document.collection("notes").insert(title("next")).unwrap();
    assert_eq!(written.dot().replica, before.2);
    assert!(written.dot().counter > last);
}

#[test]
fn a_panic_of_the_caller_while_reading_ends_nothing_else() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    let reads = || document.read(|_| -> Result<(), _> { panic!("while reading") });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(reads)).is_err());
    let (id, written) = document.collection("notes").insert(title("later")).unwrap();
    written.wait_disk().unwrap();
    assert!(document.collection("notes").get(&id).unwrap().is_some());
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
    let note = client.document("notes").unwrap().collection("notes").get(&id).unwrap().unwrap();
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

/// How often the disk was synced meanwhile, until all is on it.
fn syncs_of(change: impl FnOnce(&Collection)) -> u64 {
    let folder = sync_faults::folder();
    let disk = sync_faults::Disk::mount(folder.path());
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let before = disk.calls().syncs;
    change(&notes);
    client.shutdown().unwrap();
    disk.calls().syncs - before
}

/// Who waits for the same commit as others is tested where the driver's turns are, turn by turn.
#[test]
fn a_change_that_is_waited_for_is_synced_and_those_that_nobody_waits_for_share_syncs() {
    let alone = syncs_of(|notes| {
        (0..200).for_each(|_| notes.insert(title("x")).unwrap().1.wait_disk().unwrap());
    });
    assert!(alone >= 200, "{alone} syncs for 200 changes that were waited for one by one");
    let syncs = syncs_of(|notes| (0..1_000).for_each(|_| drop(notes.insert(title("x")).unwrap())));
    println!("{syncs} syncs for 1,000 changes that nobody waited for");
    assert!(syncs < 500, "{syncs} syncs for 1,000 changes that nobody waited for");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what never comes is to fail, not to hang")]
fn what_nobody_waits_for_is_on_disk_soon() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    for _ in 0..20 {
        let (_, written) = notes.insert(title("x")).unwrap();
        let start = std::time::Instant::now();
        while !written.is_on_disk() {
            assert!(start.elapsed() < std::time::Duration::from_secs(240));
            std::thread::yield_now();
        }
    }
}

#[test]
fn documents_of_one_store_are_apart_and_stores_are_different_writers() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let client = Client::builder(folders[0].path()).document("one").document("two").open().unwrap();
    let one = client.document("one").unwrap();
    one.collection("notes").insert(title("x")).unwrap().1.wait_disk().unwrap();
    assert!(client.document("two").unwrap().collection("notes").list().unwrap().is_empty());
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
    let patience = crate::sync::PATIENCE;
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
    let outbox = client.document("notes").unwrap().outbox().unwrap();
    assert_eq!(outbox[0].state, OutboxState::Frozen);
    assert_eq!(outbox.iter().map(|item| item.changes).sum::<u32>(), 2);
    assert_eq!(list(&client).len(), 3);
}

/// What stands after so many changes of the endless writer.
fn written(changes: u64) -> BTreeMap<RecordId, String> {
    let mut records = BTreeMap::new();
    for at in 0..changes {
        let id = id_of(at);
        if is_removal(at) {
            records.remove(&id)
        } else {
            records.insert(id, at.to_string())
        };
    }
    records
}

/// Three changes are of one record: an insert, an update, and a removal or another update.
fn id_of(at: u64) -> RecordId {
    RecordId::new(format!("r{}", at / 3)).unwrap()
}

fn is_removal(at: u64) -> bool {
    at % 6 == 5
}

/// Opens what the endless writer writes; with tape, undo and feed, or without.
fn open_writer(folder: &Path, records: bool) -> Client {
    if !records {
        return Client::open(folder, "notes").unwrap();
    }
    let builder = Client::builder(folder).document("notes");
    let client = builder.keep_undo(Limits::UNDO).keep_feed(Limits::FEED).open().unwrap();
    let document = client.document("notes").unwrap();
    if document.checkpoints().unwrap().is_empty() {
        document.checkpoint("first").unwrap();
    }
    client
}

/// Not a test of its own: writes until it is killed, and says what is on disk.
#[test]
fn endless_writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let client = open_writer(Path::new(&directory), std::env::var_os(RECORDS).is_some());
    let notes = client.document("notes").unwrap().collection("notes");
    for at in first.. {
        let (id, fields) = (id_of(at), title(&at.to_string()));
        let written = match at % 3 {
            0 => notes.insert_with_id(&id, fields),
            _ if is_removal(at) => notes.remove(&id),
            _ => notes.update(&id, fields),
        };
        written.unwrap().wait_disk().unwrap();
        println!("<{at}>");
    }
}

/// Lets the writer go on, kills it once it has said so much, and gives how many changes it said.
fn kill_writer(directory: &Path, first: u64, said: u64, records: bool) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap());
    if records {
        child.env(RECORDS, "1");
    }
    let mut child = child
        .args(["--exact", "store::endless_writer", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut safe = first;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, at)) = line.rsplit_once('<') else { continue };
        // The last line may be cut off.
        let Some(at) = at.strip_suffix('>') else { break };
        safe = at.parse::<u64>().unwrap() + 1;
        if safe == first + said + 1 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    safe
}

/// Kills the writer of one directory a few times.
fn kills(seed: u64) -> u64 {
    let mut random = Random(seed);
    let folder = sync_faults::folder();
    let records = random.once_in(2);
    let mut found = 0;
    for round in 0..KILLS {
        let safe = kill_writer(folder.path(), found, random.below(20), records);
        assert!(safe > found, "the writer got to write in round {round}");
        let client = open_writer(folder.path(), records);
        let stand: BTreeMap<_, _> = list(&client)
            .into_iter()
            .map(|item| (item.id.clone(), item.text("title").unwrap().to_owned()))
            .collect();
        // One change may be on disk that there was no time to tell of.
        let as_said = [safe, safe + 1].into_iter().find(|changes| written(*changes) == stand);
        found = as_said.unwrap_or_else(|| panic!("{safe} changes were said, {stand:?} is there"));
        let document = client.document("notes").unwrap();
        if records {
            // The past has all that is there, and of each change how to undo it.
            let first = document.checkpoints().unwrap()[0].number;
            assert_eq!(document.rewind(first).unwrap().changes as u64, found);
            assert_eq!(document.undo_depth().0 as u64, found);
        }
        // Every change that is here waits for the hub too: state and outbox are one transaction.
        let pending = client.document("notes").unwrap().status().pending;
        assert_eq!(pending as u64, found);
    }
    KILLS
}

#[test]
fn what_was_said_to_be_on_disk_is_there_after_a_kill() {
    let campaign = Campaign {
        package: "sync-client",
        target: "it",
        test: "what_was_said_to_be_on_disk_is_there_after_a_kill",
        unit: "kills",
        variable: "SYNC_KILLS",
        ordinary: 20,
    };
    campaign.run(kills);
}
