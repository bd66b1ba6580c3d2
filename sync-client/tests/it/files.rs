//! Files that are not to be opened: each gives an error that helps, and stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use sync_client::{Client, Limits, OpenError, OutboxState};
use tempfile::TempDir;

use crate::notes::Notes;

type Files = BTreeMap<String, Vec<u8>>;

/// Every file in a folder with its bytes.
fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), fs::read(entry.path()).unwrap_or_default())).collect()
}

/// A folder with a store of one note.
fn store() -> TempDir {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    notes.insert([("title", "x".into())]).unwrap().1.wait_disk().unwrap();
    folder
}

/// Opens a store that was changed, by the library and by the program: both must refuse with a text and
/// leave every file as it is.
fn check_refused(folder: &Path, text: &str) -> OpenError {
    let before = files(folder);
    let error = Client::open(folder, "notes").unwrap_err();
    assert!(error.to_string().contains(text), "{error}");
    for command in [&["ls"][..], &["add", "more"], &["status"], &["sync"]] {
        let output = Notes::at(folder).output(command);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
    }
    assert!(before == files(folder), "the files are as they were");
    error
}

#[test]
fn something_that_is_no_database() {
    for content in [&b"my shopping list"[..], &[0; 5000], b"SQLite format 3\0"] {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("client.db"), content).unwrap();
        check_refused(folder.path(), "is not a database");
    }
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("client.db")).unwrap();
    check_refused(folder.path(), "is not a database");
}

#[test]
fn a_database_of_another_application_or_of_a_newer_version() {
    let folder = TempDir::new().unwrap();
    let other = Connection::open(folder.path().join("client.db")).unwrap();
    other.execute_batch("CREATE TABLE photos (id INTEGER)").unwrap();
    other.close().unwrap();
    check_refused(folder.path(), "belongs to another application");

    let folder = store();
    let newer = Connection::open(folder.path().join("client.db")).unwrap();
    newer.pragma_update(None, "journal_mode", "DELETE").unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    check_refused(folder.path(), "update the program");
}

#[test]
fn a_store_that_is_open() {
    let folder = store();
    let client = Client::open(folder.path(), "notes").unwrap();
    check_refused(folder.path(), "is already in use");
    drop(client);
    Client::open(folder.path(), "notes").unwrap();
}

#[test]
fn a_directory_that_is_a_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Client::open(&file, "notes"), Err(OpenError::Directory { .. })));
    let output = Notes::at(&file).output(&["ls"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_damaged_row_is_named() {
    let bodies = ["identity", "documents", "contexts", "entries", "outbox"];
    let columns = bodies.map(|table| (table, "body")).into_iter().chain([("outbox", "head")]);
    for (table, column) in columns {
        let folder = store();
        let file = Connection::open(folder.path().join("client.db")).unwrap();
        let sql = format!("SELECT {column} FROM {table}");
        let mut body: Vec<u8> = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        file.execute(&format!("UPDATE {table} SET {column} = ?1"), [body]).unwrap();
        file.close().unwrap();
        let opened = Client::open(folder.path(), "notes");
        let error = match opened {
            // An entry is read when it is asked for.
            Ok(client) if table == "entries" => {
                let notes = client.document("notes").unwrap().collection("notes");
                notes.list().unwrap_err().to_string()
            }
            // So is what waits.
            Ok(client) if (table, column) == ("outbox", "body") => {
                client.document("notes").unwrap().outbox().unwrap_err().to_string()
            }
            Ok(_) => panic!("{table}: opened"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("client.db"), "{error}");
                error
            }
        };
        assert!(error.contains(&format!("of table {table}")), "{error}");
        assert!(error.contains("open it with repair"), "{error}");
    }
}

#[test]
fn a_file_of_the_first_version_is_migrated_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/version-1.db");
    fs::copy(kept, folder.path().join("client.db")).unwrap();
    for round in 0..2 {
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        let notes = document.collection("notes");
        let listed = notes.list().unwrap();
        let titles: Vec<_> = listed.iter().filter_map(|note| note.text("title")).collect();
        let shown = listed.iter().map(|note| note.is_in_conflict);
        assert_eq!(titles[..2], ["Buy soy milk", "Not yet sent"]);
        assert_eq!(shown.take(2).collect::<Vec<_>>(), [true, false]);
        // That version did not note which places stand open.
        assert_eq!(notes.conflicts().unwrap().len(), 2);
        assert_eq!(
            document.conflict_log().unwrap().iter().filter(|entry| entry.is_open).count(),
            2
        );
        // What is written much later is an item of its own.
        assert_eq!((document.outbox().unwrap().len(), titles.len()), (1 + round, 2 + round));
        notes.insert([("title", "Later".into())]).unwrap().1.wait_disk().unwrap();
    }
}

#[test]
fn a_file_of_the_second_version_is_migrated_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/version-2.db");
    fs::copy(kept, folder.path().join("client.db")).unwrap();
    let parked = OutboxState::Parked { reason: "too much".to_owned() };
    let mut expected = vec![
        (14, 22, 3, parked),
        (23, 25, 1, OutboxState::Frozen),
        (26, 32, 3, OutboxState::Pending),
    ];
    for round in 0..2 {
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        let notes = document.collection("notes");
        let listed = notes.list().unwrap();
        let titles = listed.iter().filter_map(|note| note.text("title"));
        let mut titles: Vec<_> = titles.map(str::to_owned).collect();
        titles.retain(|title| title != "Later");
        let sent = ["Sent", "Refused", "Under way", "Third", "Fourth", "Fifth"];
        assert_eq!(titles[..2], ["Buy soy milk", "Not yet sent"]);
        assert_eq!((&titles[2..], listed.len()), (&sent.map(str::to_owned)[..], 8 + round));
        assert_eq!(notes.conflicts().unwrap().len(), 2);
        assert_eq!(document.conflict_log().unwrap().len(), 2);
        let outbox = document.outbox().unwrap().into_iter();
        let found: Vec<_> =
            outbox.map(|item| (item.first, item.last, item.changes, item.state)).collect();
        assert_eq!(found, expected);
        // What is written much later is an item of its own.
        notes.insert([("title", "Later".into())]).unwrap().1.wait_disk().unwrap();
        let last = document.outbox().unwrap().pop().unwrap();
        assert!(last.first > expected[2].1);
        expected.push((last.first, last.last, last.changes, last.state));
    }
}

#[test]
fn a_file_of_the_third_version_is_migrated_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/version-3.db");
    fs::copy(kept, folder.path().join("client.db")).unwrap();
    for round in 0..2 {
        let builder = Client::builder(folder.path()).document("notes");
        let client = builder.keep_undo(Limits::UNDO).keep_feed(Limits::FEED).open().unwrap();
        let document = client.document("notes").unwrap();
        let notes = document.collection("notes");
        let listed = notes.list().unwrap();
        let of_it = listed.iter().filter(|note| note.text("title") == Some("Of the third version"));
        assert_eq!((of_it.count(), listed.len()), (1, 9 + round));
        // What is written much later is an item of its own, and soon after, it is not.
        assert!(document.outbox().unwrap().len() >= 4);
        assert_eq!(notes.conflicts().unwrap().len(), 2);
        assert_eq!(document.checkpoints().unwrap().len(), 1);
        assert!(document.devices().is_empty());
        assert!(client.verify().unwrap().is_empty());
        notes.insert([("title", "Later".into())]).unwrap().1.wait_disk().unwrap();
    }
}

#[test]
fn a_file_of_the_fourth_version_is_migrated_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/version-4.db");
    fs::copy(kept, folder.path().join("client.db")).unwrap();
    let parked = |reason: &str| OutboxState::Parked { reason: reason.to_owned() };
    let expected = [
        (14, 22, 3, parked("too much")),
        (23, 25, 1, OutboxState::Frozen),
        (26, 32, 3, OutboxState::Pending),
        (33, 35, 1, parked("to be seen to")),
        // It has two rows.
        (36, 43, 2, OutboxState::Pending),
    ];
    for round in 0..2 {
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        let notes = document.collection("notes");
        let found = document.outbox().unwrap().into_iter();
        let found: Vec<_> =
            found.map(|item| (item.first, item.last, item.changes, item.state)).collect();
        // What is written soon after is in the last one, and much later it is an item of its own.
        let (known, last) = if round == 0 { (5, None) } else { (4, found.last()) };
        assert_eq!(found[..known], expected[..known]);
        assert!(last.is_none_or(|last| last.1 > 43), "{last:?}");
        let listed = notes.list().unwrap();
        let of_it =
            listed.iter().filter(|note| note.text("title") == Some("Of the fourth version"));
        assert_eq!((of_it.count(), listed.len()), (1, 11 + round));
        assert!(client.verify().unwrap().is_empty());
        notes.insert([("title", "Later".into())]).unwrap().1.wait_disk().unwrap();
    }
}

#[test]
fn names_that_cannot_be_used() {
    let folder = TempDir::new().unwrap();
    for name in ["", "a\nb", &"x".repeat(129)] {
        assert!(matches!(Client::open(folder.path(), name), Err(OpenError::Misuse(_))));
    }
    assert!(matches!(Client::builder(folder.path()).open(), Err(OpenError::Misuse(_))));
    let builder = Client::builder(folder.path()).document("notes").hub("nowhere");
    assert!(matches!(builder.open(), Err(OpenError::Address(_))));
    assert!(files(folder.path()).is_empty());
}
