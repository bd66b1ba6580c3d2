//! Rows that the disk has altered: found, taken out, and brought again by the hub.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use sync_client::{Client, Error};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, list, open};

const TABLES: [&str; 5] = ["identity", "documents", "contexts", "entries", "outbox"];

/// Flips a bit in the body of each row of a table. Gives how many rows that were.
pub(crate) fn damage(folder: &Path, table: &str) -> usize {
    let file = Connection::open(folder.join("client.db")).unwrap();
    let mut statement = file.prepare(&format!("SELECT body FROM {table}")).unwrap();
    let bodies = statement.query_map([], |row| row.get(0)).unwrap();
    let bodies: Vec<Vec<u8>> = bodies.map(Result::unwrap).collect();
    for body in &bodies {
        let mut damaged = body.clone();
        damaged[body.len() / 2] ^= 1;
        let sql = format!("UPDATE {table} SET body = ?2 WHERE body = ?1");
        file.execute(&sql, [body, &damaged]).unwrap();
    }
    bodies.len()
}

#[tokio::test]
async fn what_is_damaged_is_taken_out_and_the_hub_brings_it_again() {
    for table in TABLES {
        let hub = TestHub::start();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let client = open(folders[0].path(), &hub);
        let notes = client.document("notes").unwrap().collection("notes");
        let insert = |title: &str| notes.insert([("title", title.into())]).unwrap();
        let (gone, _) = insert("gone");
        let (edited, _) = insert("to be edited");
        let _ = insert("kept");
        client.sync(PATIENCE).await.unwrap();
        let _ = notes.remove(&gone).unwrap();
        let _ = notes.update(&edited, [("title", "edited".into())]).unwrap();
        client.sync(PATIENCE).await.unwrap();
        client.set_offline(true);
        insert("unsent").1.disk().await.unwrap();
        let expected = list(&client);
        let replica = client.document("notes").unwrap().status().replica;
        assert_eq!(client.verify().unwrap(), []);
        client.shutdown().unwrap();

        let count = damage(folders[0].path(), table);
        assert!(count > 0);
        let builder = Client::builder(folders[0].path()).document("notes").hub(hub.address());
        let client = builder.repair().open().unwrap();
        let found = client.damage();
        // Contexts that cannot be read lack what is here, too.
        assert_eq!(found.len(), count + usize::from(table == "contexts"), "{found:?}");
        assert!(found.iter().all(|damage| damage.table == Some(table)), "{found:?}");
        assert_eq!(client.verify().unwrap(), []);
        client.sync(PATIENCE).await.unwrap();
        assert_eq!(list(&client), expected, "{table}");
        // What was counted before may be unknown here.
        let is_fresh = client.document("notes").unwrap().status().replica != replica;
        assert_eq!(is_fresh, !["identity", "outbox"].contains(&table), "{table}");
        let other = open(folders[1].path(), &hub);
        other.sync(PATIENCE).await.unwrap();
        assert_eq!(list(&other), expected, "{table}");
    }
}

#[test]
fn damage_is_found_by_looking_and_by_reading() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let (id, written) = notes.insert([("title", "x".into())]).unwrap();
    written.wait_disk().unwrap();
    client.shutdown().unwrap();
    drop((client, notes));
    damage(folder.path(), "entries");
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    assert!(matches!(notes.get(&id), Err(Error::Read(_))));
    let found = client.verify().unwrap();
    assert!(found.iter().all(|damage| damage.table == Some("entries")), "{found:?}");
    assert!(!found.is_empty() && client.damage().is_empty());
}

/// A removal that is unsent in the second of two documents. Gives what opens both, or the first alone.
async fn unsent_removal(folder: &Path, hub: &TestHub) -> [sync_client::Builder; 2] {
    let first = Client::builder(folder).document("one").hub(hub.address());
    let both = first.clone().document("two");
    let client = both.clone().open().unwrap();
    let notes = client.document("two").unwrap().collection("notes");
    let (gone, _) = notes.insert([("title", "gone".into())]).unwrap();
    let _ = notes.insert([("title", "kept".into())]).unwrap();
    client.sync(PATIENCE).await.unwrap();
    client.set_offline(true);
    notes.remove(&gone).unwrap().disk().await.unwrap();
    client.shutdown().unwrap();
    [both, first]
}

#[tokio::test]
async fn a_removal_that_was_not_sent_outlives_a_repair() {
    for table in ["contexts", "outbox", "documents"] {
        let hub = TestHub::start();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let [both, first] = unsent_removal(folders[0].path(), &hub).await;
        damage(folders[0].path(), table);
        // Its document is not opened by whoever repairs.
        let client = first.repair().open().unwrap();
        assert!(!client.damage().is_empty());
        client.shutdown().unwrap();
        drop(client);
        let client = both.open().unwrap();
        client.sync(PATIENCE).await.unwrap();
        let other = Client::builder(folders[1].path()).document("two").hub(hub.address());
        let other = other.open().unwrap();
        other.sync(PATIENCE).await.unwrap();
        for client in [&client, &other] {
            let notes = client.document("two").unwrap().collection("notes").list().unwrap();
            let titles: Vec<_> = notes.iter().map(|note| note.text("title")).collect();
            assert_eq!(titles, [Some("kept")], "{table}");
        }
    }
}

/// Flips bits of the one place in the file where these bytes stand.
fn flip(folder: &Path, bytes: &[u8], at: usize, bits: u8) {
    let path = folder.join("client.db");
    let mut file = fs::read(&path).unwrap();
    let found: Vec<usize> =
        (0..file.len()).filter(|start| file[*start..].starts_with(bytes)).collect();
    let [found] = found[..] else { panic!("{bytes:?} stand at {found:?}") };
    file[found + at] ^= bits;
    fs::write(path, file).unwrap();
}

#[test]
fn a_document_that_its_index_does_not_name_or_that_has_another_number_gives_no_counter_again() {
    // A row of the index: the length of its head, the kinds of its columns, the name, the number.
    let in_index = (&b"\x03\x13\x01two\x02"[..], 3);
    // A row of the table: its number, the length of its head, the kinds of its columns, the first of which
    // is the number again.
    let in_table = (&b"\x02\x05\x00\x13"[..], 0);
    for (at, ((bytes, in_bytes), bit)) in
        [(in_index, 0x10), ((in_index.0, 6), 1), (in_table, 1)].into_iter().enumerate()
    {
        let folder = TempDir::new().unwrap();
        let builder = Client::builder(folder.path()).document("one").document("two");
        let client = builder.clone().open().unwrap();
        let notes = client.document("two").unwrap().collection("notes");
        let (id, written) = notes.insert([("title", "x".into())]).unwrap();
        written.wait_disk().unwrap();
        let dot = written.dot();
        client.shutdown().unwrap();
        drop((client, notes, written));
        flip(folder.path(), bytes, in_bytes, bit);
        let refused = builder.clone().open().map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("repair"), "{at}: {refused}");
        let client = builder.repair().open().unwrap();
        assert!(!client.damage().is_empty());
        let document = client.document("two").unwrap();
        let is_there = document.collection("notes").get(&id).unwrap().is_some();
        let is_fresh = document.status().replica != dot.replica;
        assert!(is_there || is_fresh, "{at}: the counter is given again");
        assert_eq!(client.verify().unwrap(), []);
        let (_, written) = document.collection("notes").insert([("title", "y".into())]).unwrap();
        assert_ne!(written.dot(), dot);
    }
}

#[test]
fn a_row_of_the_outbox_that_stands_at_another_place_is_damaged() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let (_, written) = notes.insert([("title", "x".into())]).unwrap();
    written.wait_disk().unwrap();
    client.shutdown().unwrap();
    drop((client, notes));
    let file = Connection::open(folder.path().join("client.db")).unwrap();
    assert_eq!(file.execute("UPDATE outbox SET position = position + 1", []).unwrap(), 1);
    drop(file);
    let refused = Client::open(folder.path(), "notes").map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("outbox"), "{refused}");
    let client = Client::builder(folder.path()).document("notes").repair().open().unwrap();
    assert_eq!(client.damage().len(), 1);
    assert_eq!(list(&client).len(), 1, "it is in the document");
}

#[tokio::test]
async fn what_was_in_an_outbox_that_is_gone_reaches_the_hub_all_the_same() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let client = open(folders[0].path(), &hub);
    let notes = client.document("notes").unwrap().collection("notes");
    let (sent, _) = notes.insert([("title", "sent".into())]).unwrap();
    client.sync(PATIENCE).await.unwrap();
    client.set_offline(true);
    let _ = notes.insert([("title", "unsent".into())]).unwrap();
    notes.remove(&sent).unwrap().disk().await.unwrap();
    client.shutdown().unwrap();
    drop((client, notes));
    let file = Connection::open(folders[0].path().join("client.db")).unwrap();
    assert!(file.execute("DELETE FROM outbox", []).unwrap() > 0);
    file.close().unwrap();
    let client = open(folders[0].path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    let other = open(folders[1].path(), &hub);
    other.sync(PATIENCE).await.unwrap();
    let titles: Vec<_> =
        list(&other).iter().map(|note| note.text("title").map(str::to_owned)).collect();
    assert_eq!(titles, [Some("unsent".to_owned())]);
}
