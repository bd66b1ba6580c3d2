//! Backups of the file, and documents as portable files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sync_client::{
    BackupError, Client, EXPORT_BYTES_MAX, Error, Phase, ReplicaId, SyncError, TransferError,
};
use sync_core::causal::{Delta, Dot, Entry, Label, PlaceId, Slots};
use sync_core::checksum::crc32;
use sync_core::session::Page;
use sync_core::time::Stamp;
use sync_core::wire::{DELTA_BYTES_MAX, REPLICAS_MAX, encode_delta};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, list, open, until};

fn alone(folder: &Path) -> Client {
    Client::open(folder, "notes").unwrap()
}

fn insert(client: &Client, text: &str) -> sync_client::RecordId {
    let notes = client.document("notes").unwrap().collection("notes");
    let (id, written) = notes.insert([("title", text.into())]).unwrap();
    written.wait_disk().unwrap();
    id
}

fn titles(client: &Client) -> Vec<String> {
    let mut titles: Vec<_> =
        list(client).iter().map(|item| item.text("title").unwrap().to_owned()).collect();
    titles.sort();
    titles
}

#[tokio::test]
async fn a_backup_is_another_replica_and_what_was_unsent_is_there_once() {
    let hub = TestHub::start();
    let folders = [(); 3].map(|()| TempDir::new().unwrap());
    let client = open(folders[0].path(), &hub);
    let synced = insert(&client, "synced");
    client.sync(PATIENCE).await.unwrap();
    client.set_offline(true);
    let counted = client.document("notes").unwrap();
    let (tally, _written) =
        counted.collection("n").insert([("n", sync_client::Field::Counter(1))]).unwrap();
    insert(&client, "unsent");
    let deleted = insert(&client, "MARKER-deleted");
    let notes = counted.collection("notes");
    notes.remove(&deleted).unwrap().wait_disk().unwrap();
    let folder = folders[1].path().join("backup");
    let path = client.backup(&folder).unwrap();
    assert!(matches!(client.backup(&folder), Err(BackupError::Exists { .. })));
    // Nobody's identity is in it.
    let fingerprint = client.document("notes").unwrap().status().replica;
    let bytes = fs::read(&path).unwrap();
    let own = &fingerprint.as_bytes()[..12];
    let standing = |bytes: &[u8]| bytes.windows(12).filter(|window| *window == own).count();
    assert!(standing(&bytes) > 0, "dots keep their names");

    // The client goes on, and the backup is used beside it.
    insert(&client, "later");
    notes.update(&synced, [("title", "changed by one".into())]).unwrap().wait_disk().unwrap();
    let restored = open(&folder, &hub);
    let document = restored.document("notes").unwrap();
    assert_ne!(&document.status().replica.as_bytes()[..12], own);
    assert_eq!(titles(&restored), ["synced", "unsent"]);
    insert(&restored, "from the backup");
    document.collection("n").count(&tally, &["n"], 10).unwrap().wait_disk().unwrap();
    restored.sync(PATIENCE).await.unwrap();
    client.set_offline(false);
    client.sync(PATIENCE).await.unwrap();
    let third = open(folders[2].path(), &hub);
    third.sync(PATIENCE).await.unwrap();
    let expected = ["changed by one", "from the backup", "later", "unsent"];
    for client in [&client, &restored, &third] {
        until(client, || titles(client) == expected).await;
        let tallies = client.document("notes").unwrap().collection("n");
        until(client, || tallies.get(&tally).unwrap().unwrap().count("n") == 11).await;
        assert_eq!(client.document("notes").unwrap().status().conflicts, 0);
    }
    // It is an ordinary file, and its identity stays from then on.
    let replica = document.status().replica;
    assert_eq!(restored.verify().unwrap(), []);
    drop((restored, document));
    assert_eq!(alone(&folder).document("notes").unwrap().status().replica, replica);
}

#[test]
fn of_two_backups_into_one_folder_at_once_one_is_there_and_whole() {
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    let clients = [0, 1].map(|at: usize| alone(folders[at].path()));
    for (count, client) in [100, 200].iter().zip(&clients) {
        (0..*count).for_each(|number| drop(insert(client, &format!("{number}"))));
    }
    for _ in 0..20 {
        let folder = TempDir::new().unwrap();
        let done = std::thread::scope(|scope| {
            let begun =
                clients.each_ref().map(|client| scope.spawn(|| client.backup(folder.path())));
            begun.map(|backup| backup.join().unwrap())
        });
        let refused = done.iter().filter(|done| matches!(done, Err(BackupError::Exists { .. })));
        assert_eq!((refused.count(), done.iter().filter(|done| done.is_ok()).count()), (1, 1));
        let count = if done[0].is_ok() { 100 } else { 200 };
        assert_eq!(list(&alone(folder.path())).len(), count);
    }
}

#[tokio::test]
async fn an_export_reaches_a_third_device_through_the_hub_of_a_second() {
    let hub = TestHub::start();
    let folders = [(); 4].map(|()| TempDir::new().unwrap());
    let [writer, reader, third] =
        [alone(folders[0].path()), open(folders[1].path(), &hub), open(folders[2].path(), &hub)];
    for number in 0..300 {
        insert(&writer, &format!("{number:03} {}", "x".repeat(2_000)));
    }
    let gone = insert(&writer, "gone");
    let notes = writer.document("notes").unwrap().collection("notes");
    notes.remove(&gone).unwrap().wait_disk().unwrap();
    for client in [&reader, &third] {
        client.sync(PATIENCE).await.unwrap();
    }
    insert(&reader, "own");
    reader.sync(PATIENCE).await.unwrap();
    hub.hold_acknowledgements();
    let file = folders[3].path().join("notes.sync");
    writer.document("notes").unwrap().export_to(&file).unwrap();
    let document = reader.document("notes").unwrap();
    let imported = document.import_from(&file).unwrap();
    assert_eq!(imported.entries, 301, "records, and the mark of the writer's opening");
    assert!(imported.new > 600);
    assert_eq!(list(&reader).len(), 301);
    // It is not said to be on the hub before the hub says so.
    until(&reader, || document.status().phase == Phase::Live).await;
    let waiting = document.status();
    assert!(waiting.is_refilling && waiting.pending == 0);
    match reader.sync(Duration::from_millis(200)).await {
        Err(SyncError::TimedOut { missing }) => assert!(missing[0].is_refilling),
        other => panic!("{other:?}"),
    }
    hub.release();
    reader.sync(PATIENCE).await.unwrap();
    let status = document.status();
    assert!(!status.is_refilling && status.pending == 0);
    until(&third, || titles(&third) == titles(&reader)).await;
    // Again it brings nothing, and what was deleted since stays so.
    let first = list(&reader)[0].id.clone();
    document.collection("notes").remove(&first).unwrap().wait_hub(PATIENCE).unwrap();
    assert_eq!(document.import_from(&file).unwrap().new, 0);
    assert_eq!(list(&reader).len(), 300);
    until(&third, || list(&third).len() == 300).await;
    // Whoever wrote it hears of all, once it has a hub.
    drop((writer, notes));
    let writer = open(folders[0].path(), &hub);
    writer.sync(PATIENCE).await.unwrap();
    until(&writer, || titles(&writer) == titles(&reader)).await;
    drop((reader, document));
    // It was on the disk when the import was done.
    assert_eq!(list(&alone(folders[1].path())).len(), 300);
}

#[tokio::test]
async fn what_two_copies_of_a_database_wrote_is_imported_side_by_side() {
    for knows_first in [false, true] {
        let hub = TestHub::start();
        let folders = [(); 3].map(|()| TempDir::new().unwrap());
        let [original, copy, third] = [0, 1, 2].map(|at: usize| folders[at].path());
        let client = open(original, &hub);
        insert(&client, "shared");
        client.sync(PATIENCE).await.unwrap();
        client.shutdown().unwrap();
        fs::copy(original.join("client.db"), copy.join("client.db")).unwrap();
        let copy = alone(copy);
        insert(&copy, "by the copy");
        let file = copy.document("notes").unwrap().export().unwrap();
        let first = open(original, &hub);
        let reader = open(third, &hub);
        reader.sync(PATIENCE).await.unwrap();
        reader.set_offline(!knows_first);
        until(&reader, || reader.connection().is_online() == knows_first).await;
        insert(&first, "by the original");
        first.sync(PATIENCE).await.unwrap();
        reader.set_offline(true);
        until(&reader, || !reader.connection().is_online()).await;
        assert_eq!(list(&reader).len(), 1 + usize::from(knows_first));
        reader.document("notes").unwrap().import(&file).unwrap();
        assert_eq!(list(&reader).len(), 2 + usize::from(knows_first));
        // What is not known when it is imported is found after a restart too.
        reader.shutdown().unwrap();
        drop(reader);
        let reader = open(third, &hub);
        let expected = ["by the copy", "by the original", "shared"];
        for client in [&reader, &first] {
            until(client, || titles(client) == expected).await;
        }
        reader.sync(PATIENCE).await.unwrap();
        assert_eq!(reader.document("notes").unwrap().status().conflicts, 0);
    }
}

#[test]
fn what_is_no_whole_export_is_refused_and_leaves_nothing() {
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    let [writer, reader] = [0, 1].map(|at: usize| alone(folders[at].path()));
    for number in 0..20 {
        insert(&writer, &format!("number {number}"));
    }
    let document = reader.document("notes").unwrap();
    let bytes = writer.document("notes").unwrap().export().unwrap();
    let before = fs::read(folders[1].path().join("client.db-wal")).unwrap();
    let is_damaged = |bytes: &[u8]| match document.import(bytes) {
        Err(TransferError::Damaged(_) | TransferError::TooLarge { .. }) => true,
        Err(other) => panic!("{other}"),
        Ok(_) => false,
    };
    assert!(is_damaged(&[&bytes[..], &[0]].concat()));
    for len in 0..bytes.len() {
        // What ends behind the head lacks entries that it counts.
        assert!(is_damaged(&bytes[..len]), "{len} of {}", bytes.len());
    }
    // The byte before the last checksum has bits that stand for nothing.
    for at in (0..bytes.len()).filter(|at| *at != VERSION_AT && *at != bytes.len() - 5) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(is_damaged(&flipped), "a bit of byte {at}");
    }
    let mut newer = bytes.clone();
    newer[VERSION_AT] = 2;
    assert!(matches!(document.import(&newer), Err(TransferError::Newer { found: 2, known: 1 })));
    let none = folders[1].path().join("none");
    assert!(matches!(document.import_from(&none), Err(TransferError::Io { .. })));
    assert!(list(&reader).is_empty());
    assert_eq!(fs::read(folders[1].path().join("client.db-wal")).unwrap(), before);
    reader.shutdown().unwrap();
    let closed = document.import(&bytes);
    assert!(matches!(closed, Err(TransferError::Client(Error::Closed))));
    let reader = alone(folders[1].path());
    assert_eq!(reader.document("notes").unwrap().import(&bytes).unwrap().entries, 21);
    assert_eq!(list(&reader), list(&writer));
}

/// Which byte of an export says its version.
const VERSION_AT: usize = 7;

/// A file of pieces, as `docs/export.md` has it.
fn file(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    for piece in pieces {
        packed.write_all(&(piece.len() as u32).to_le_bytes()).unwrap();
        packed.write_all(&crc32(piece).to_le_bytes()).unwrap();
        packed.write_all(piece).unwrap();
    }
    let packed = packed.finish().unwrap();
    [b"SyncDoc\x01", &(packed.len() as u32).to_le_bytes()[..], &packed].concat()
}

#[test]
fn files_of_the_first_version_are_read() {
    for (name, title) in
        [("export-1.sync", "from a native client"), ("export-1-browser.sync", "from a browser")]
    {
        let folder = TempDir::new().unwrap();
        let client = alone(folder.path());
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
        client.document("notes").unwrap().import_from(file).unwrap();
        let listed = list(&client);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].text("title"), Some(title));
        assert!(listed[0].members("tags").eq([&"kept".into()]));
    }
}

/// An entry of so many bytes.
fn entry(bytes: usize) -> Entry {
    let slot = vec![0xc0; bytes];
    Entry {
        first: Dot::new(replica(0), 1),
        stamp: Stamp::from_ms(1),
        label: Label::new(b"\x03v", [&b"\x01"[..]]),
        id: PlaceId::new(b""),
        slots: Slots::new([Some(&slot[..])].into_iter()),
    }
}

fn replica(number: usize) -> ReplicaId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    ReplicaId::from_bytes(id)
}

/// A piece in which so many replicas have written, with an entry of so many bytes.
fn piece(replicas: usize, bytes: usize) -> Delta {
    let dead = (1..replicas).map(|number| Dot::new(replica(number), 1)).collect();
    Delta { entries: vec![entry(bytes)].into(), dead, ..Delta::default() }
}

#[test]
fn what_no_hub_would_take_is_not_imported() {
    let cost = Page::cost(&entry(100_000)) - 100_000;
    for beyond in [-1isize, 0, 1] {
        let [replicas, bytes] = [REPLICAS_MAX, DELTA_BYTES_MAX - cost]
            .map(|limit| limit.checked_add_signed(beyond).unwrap());
        for piece in [piece(replicas, 1), piece(1, bytes)] {
            let folder = TempDir::new().unwrap();
            let client = alone(folder.path());
            let file = file(&[encode_delta(&piece)]);
            let imported = client.document("notes").unwrap().import(&file);
            let is_refused = matches!(imported, Err(TransferError::TooLarge { .. }));
            assert_eq!((imported.is_ok(), is_refused), (beyond <= 0, beyond > 0), "{imported:?}");
        }
    }
    // A file of the most bytes is looked at.
    let folder = TempDir::new().unwrap();
    let document = alone(folder.path()).document("notes").unwrap();
    for (beyond, is_looked_at) in [(0, true), (1, false)] {
        let zeros = vec![0; EXPORT_BYTES_MAX + beyond];
        let refused = document.import(&zeros).unwrap_err();
        assert_eq!(matches!(refused, TransferError::Damaged(_)), is_looked_at, "{refused}");
    }
}
