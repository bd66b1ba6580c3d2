//! Rows that the disk has altered: found, taken out, and brought again by the hub.

use std::path::Path;

use rusqlite::Connection;
use sync_client::{Client, Error};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, list, open};

const TABLES: [&str; 5] = ["identity", "documents", "contexts", "entries", "outbox"];

/// Flips a bit in the body of each row of a table. Gives how many rows that were.
fn damage(folder: &Path, table: &str) -> usize {
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
