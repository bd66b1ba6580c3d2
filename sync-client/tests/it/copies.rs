//! A file that is copied while nobody looks: what is written on both sides is there on both.

use std::fs;
use std::path::Path;

use sync_client::{Client, Field, RecordId};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, list, open, until};

/// Writes as if without a line, and ends.
fn write_alone(folder: &Path, id: &RecordId, name: &str, likes: i64) {
    let client = Client::open(folder, "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let _ = notes.count(id, &["likes"], likes).unwrap();
    let own = notes.insert([("title", Field::from(name))]).unwrap().0;
    let gone = notes.insert([("title", "gone".into())]).unwrap().0;
    let _ = notes.update(&own, [("title", Field::from(format!("{name}, edited")))]).unwrap();
    notes.remove(&gone).unwrap().wait_disk().unwrap();
    client.shutdown().unwrap();
}

#[tokio::test]
async fn a_copied_file_and_its_original_write_and_lose_nothing() {
    for first_is_copy in [false, true] {
        let hub = TestHub::start();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let client = open(folders[0].path(), &hub);
        let notes = client.document("notes").unwrap().collection("notes");
        let fields = [("title", "shared".into()), ("likes", Field::Counter(5))];
        let (id, written) = notes.insert(fields).unwrap();
        timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
        client.shutdown().unwrap();
        // What is unsent when the copy is made keeps its dots on both sides.
        let client = Client::open(folders[0].path(), "notes").unwrap();
        let unsent = client.document("notes").unwrap().collection("notes");
        unsent.insert([("title", "unsent".into())]).unwrap().1.wait_disk().unwrap();
        client.shutdown().unwrap();
        let [original, copy] = &folders;
        fs::copy(original.path().join("client.db"), copy.path().join("client.db")).unwrap();

        write_alone(original.path(), &id, "original", 1);
        write_alone(copy.path(), &id, "copy", 10);
        let mut order = [original.path(), copy.path()];
        if first_is_copy {
            order.reverse();
        }
        let mut clients = Vec::new();
        for folder in order {
            let client = open(folder, &hub);
            until(&client, || client.outbox().unwrap().is_empty()).await;
            clients.push(client);
        }
        for client in &clients {
            until(client, || list(client).len() == 4 && client.outbox().unwrap().is_empty()).await;
            let notes = list(client);
            let mut titles: Vec<_> = notes.iter().filter_map(|note| note.text("title")).collect();
            titles.sort_unstable();
            assert_eq!(titles, ["copy, edited", "original, edited", "shared", "unsent"]);
            let notes = client.document("notes").unwrap().collection("notes");
            until(client, || notes.get(&id).unwrap().unwrap().count("likes") == 16).await;
        }
        // And so it stays when the file is opened again.
        let known = list(&clients[1]);
        clients.pop().unwrap().shutdown().unwrap();
        let again = Client::open(order[1], "notes").unwrap();
        assert_eq!(list(&again), known);
        assert_eq!(again.outbox().unwrap().len(), 0);
    }
}
