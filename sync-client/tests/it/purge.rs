//! What was deleted is in no file of the data directory, once nobody asked for it to be kept.

use std::fs;
use std::path::Path;

use sync_client::{Client, Keeper, Limits};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, open, until};

const MARKER: &str = "MARKER-7f3c9a";

/// The files of a folder that have the marker.
fn marked(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// Two devices that write the same field of a note, so that both sides stand in the conflict log.
async fn clash(hub: &TestHub, folders: &[TempDir; 2]) -> [Client; 2] {
    let clients = [0, 1].map(|at: usize| open(folders[at].path(), hub));
    let notes = clients.each_ref().map(|c| c.document("notes").unwrap().collection("notes"));
    // Notes of all sizes before and behind it, so that pages are split and overflow.
    let mut all = Vec::new();
    for number in 0..300usize {
        let text = format!("{MARKER} {number} {}", "z".repeat(number * 37 % 9_000));
        all.push(notes[0].insert([("title", text.as_str().into())]).unwrap().0);
    }
    for client in &clients {
        client.sync(PATIENCE).await.unwrap();
    }
    until(&clients[1], || notes[1].list().unwrap().len() == 300).await;
    clients.iter().for_each(|client| client.set_offline(true));
    for (at, notes) in notes.iter().enumerate() {
        let text = format!("{MARKER} by {at}");
        let _ = notes.update(&all[7], [("title", text.as_str().into())]).unwrap();
        let _ = notes.update(&all[200], [("body", text.as_str().into())]).unwrap();
    }
    for client in &clients {
        client.set_offline(false);
        client.sync(PATIENCE).await.unwrap();
    }
    until(&clients[0], || notes[0].conflicts().unwrap().len() == 2).await;
    until(&clients[1], || notes[1].conflicts().unwrap().len() == 2).await;
    assert_eq!(clients[0].document("notes").unwrap().status().conflicts, 2);
    for id in &all {
        let _ = notes[0].remove(id).unwrap();
    }
    for (client, notes) in clients.iter().zip(&notes) {
        client.sync(PATIENCE).await.unwrap();
        until(client, || notes.list().unwrap().is_empty()).await;
    }
    clients
}

#[tokio::test]
async fn nothing_of_what_was_deleted_is_left_after_a_purge_and_nothing_else_is_lost() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let clients = clash(&hub, &folders).await;
    for (client, folder) in clients.iter().zip(&folders) {
        let document = client.document("notes").unwrap();
        let (stays, written) =
            document.collection("notes").insert([("title", "stays".into())]).unwrap();
        written.hub().await.unwrap();
        let kept = document.kept().unwrap();
        assert_eq!((kept[0].keeper, kept[0].entries), (Keeper::ConflictLog, 2));
        assert!((100..kept[0].bytes_max).contains(&kept[0].bytes));
        assert!(!marked(folder.path()).is_empty(), "the conflict log has it");
        client.purge().unwrap();
        assert_eq!(marked(folder.path()), Vec::<String>::new());
        assert_eq!(
            (document.kept().unwrap()[0].entries, document.kept().unwrap()[0].bytes),
            (0, 0)
        );
        assert!(document.conflict_log().unwrap().is_empty());
        // It goes on as before, also after another opening.
        assert!(document.collection("notes").get(&stays).unwrap().is_some());
        document.set_add("s", "later").unwrap().hub().await.unwrap();
        assert_eq!(client.verify().unwrap(), []);
        client.shutdown().unwrap();
        assert_eq!(marked(folder.path()), Vec::<String>::new());
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        assert!(document.collection("notes").get(&stays).unwrap().is_some());
        assert!(document.conflict_log().unwrap().is_empty());
        assert!(document.outbox().unwrap().is_empty());
    }
}

#[tokio::test]
async fn without_a_purge_what_nobody_asked_to_keep_is_gone_with_the_end_of_the_client() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    let notes = client.document("notes").unwrap().collection("notes");
    let mut ids = Vec::new();
    for number in 0..300usize {
        let text = format!("{MARKER} {number} {}", "z".repeat(number * 37 % 9_000));
        let (id, _written) = notes.insert([("title", text.as_str().into())]).unwrap();
        ids.push(id);
    }
    client.sync(PATIENCE).await.unwrap();
    for (number, id) in ids.iter().enumerate() {
        let _ = match number % 2 {
            0 => notes.remove(id).unwrap(),
            _ => notes.update(id, [("title", "other".into())]).unwrap(),
        };
    }
    client.sync(PATIENCE).await.unwrap();
    client.shutdown().unwrap();
    assert_eq!(marked(folder.path()), Vec::<String>::new());
}

#[test]
fn what_was_never_sent_joins_with_its_removal() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let (id, _written) = notes.insert([("title", MARKER.into())]).unwrap();
    notes.remove(&id).unwrap().wait_disk().unwrap();
    client.purge().unwrap();
    assert_eq!(marked(folder.path()), Vec::<String>::new());
}

#[test]
fn checkpoints_tape_and_undo_keep_what_was_deleted_until_a_purge() {
    let folder = TempDir::new().unwrap();
    let client = Client::builder(folder.path()).document("notes").keep_undo(Limits::UNDO);
    let client = client.open().unwrap();
    let document = client.document("notes").unwrap();
    let notes = document.collection("notes");
    let (id, _written) = notes.insert([("title", MARKER.into())]).unwrap();
    document.checkpoint("before").unwrap();
    let _ = notes.update(&id, [("title", "other".into()), ("body", MARKER.into())]).unwrap();
    notes.remove(&id).unwrap().wait_disk().unwrap();
    let kept = |keeper| {
        let kept = document.kept().unwrap().into_iter().find(|kept| kept.keeper == keeper);
        kept.map(|kept| (kept.entries > 0, kept.bytes > 0))
    };
    let keepers = [Keeper::Checkpoints, Keeper::Tape, Keeper::Undo];
    assert_eq!(keepers.map(kept), [Some((true, true)); 3]);
    client.purge().unwrap();
    assert_eq!(keepers.map(kept), [Some((false, false)); 3]);
    assert_eq!(marked(folder.path()), Vec::<String>::new());
    assert!(document.undo().unwrap().is_none());
    assert!(document.checkpoints().unwrap().is_empty());
    // What is changed from here on can be undone again.
    let (id, _written) = notes.insert([("title", "new".into())]).unwrap();
    document.undo().unwrap().unwrap().wait_disk().unwrap();
    assert!(notes.get(&id).unwrap().is_none());
}
