//! Each error at the level of the file's bytes, creation and migration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use sync_sqlite::{OpenError, Schema, open};
use tempfile::TempDir;

pub(crate) const ID: u32 = 0xA1B2_C3D4;
const FIRST: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;";
const SECOND: &str = "ALTER TABLE notes ADD COLUMN tags TEXT; CREATE TABLE tags (tag TEXT) STRICT;";
pub(crate) const ONE: Schema<'static> =
    Schema { application_id: ID, version: 1, migrations: &[FIRST] };
const TWO: Schema<'static> =
    Schema { application_id: ID, version: 2, migrations: &[FIRST, SECOND] };

/// Every file of a folder with its bytes.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap_or_default())).collect()
}

/// Opens a file that must be refused, and holds the folder to what it was.
fn refuse(folder: &Path, schema: &Schema<'_>) -> OpenError {
    let before = files(folder);
    let error = open(folder.join("a.db"), schema).expect_err("it must be refused");
    assert_eq!(files(folder), before, "{error}");
    error
}

fn number_at(path: &Path, at: usize) -> u32 {
    u32::from_be_bytes(fs::read(path).unwrap()[at..at + 4].try_into().unwrap())
}

#[test]
fn a_new_file_has_its_id_and_version_in_its_header_while_it_is_open() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let database = open(&path, &ONE).unwrap();
    assert_eq!((number_at(&path, 68), number_at(&path, 60)), (ID, 1));
    let pragma = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(pragma("synchronous").unwrap(), 2);
    assert_eq!(pragma("secure_delete").unwrap(), 1);
    assert_eq!(pragma("foreign_keys").unwrap(), 1);
    assert_eq!(pragma("busy_timeout").unwrap(), 2_000);
    let mode: String = database.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    drop(database);
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(names, ["a.db", "a.db.lock"]);
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let database = open(&path, &ONE).unwrap();
    database.execute("INSERT INTO notes (text) VALUES ('hello')", []).unwrap();
    drop(database);
    let database = open(&path, &ONE).unwrap();
    let text: String = database.query_row("SELECT text FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn a_file_of_no_bytes_counts_as_new() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    fs::write(&path, []).unwrap();
    open(&path, &ONE).unwrap().execute("INSERT INTO notes (text) VALUES ('x')", []).unwrap();
    assert_eq!(number_at(&path, 60), 1);
}

#[test]
fn the_leftover_of_an_interrupted_creation_is_replaced() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.db.new"), b"half a database").unwrap();
    fs::write(folder.path().join("a.db.new-journal"), b"half a journal").unwrap();
    drop(open(folder.path().join("a.db"), &ONE).unwrap());
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(names, ["a.db", "a.db.lock"]);
}

#[test]
fn something_else_is_not_a_database() {
    let long = [b'x'; 4096];
    let cases: [&[u8]; 4] = [b"x", b"SQLite format 3\0", &long, &[0; 4096]];
    for bytes in cases {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.db"), bytes).unwrap();
        let error = refuse(folder.path(), &ONE);
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
        assert!(error.to_string().contains("not a database; choose another path"), "{error}");
    }
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("a.db")).unwrap();
    let error = refuse(folder.path(), &ONE);
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
}

#[test]
fn a_database_of_another_application_is_foreign() {
    for id in [0, 7] {
        let folder = TempDir::new().unwrap();
        let other = Connection::open(folder.path().join("a.db")).unwrap();
        other.pragma_update(None, "application_id", id).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        let error = refuse(folder.path(), &ONE);
        assert!(matches!(error, OpenError::Foreign { found, expected: ID, .. } if found == id));
    }
}

#[test]
fn a_newer_file_is_refused_also_with_a_write_ahead_log_beside_it() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path().join("a.db"), &TWO).unwrap());
    fs::remove_file(folder.path().join("a.db.lock")).unwrap();
    let error = refuse(folder.path(), &ONE);
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("update the program"), "{error}");
    fs::write(folder.path().join("a.db-wal"), b"of another day").unwrap();
    assert!(matches!(refuse(folder.path(), &ONE), OpenError::Newer { .. }));
}

#[test]
fn a_second_handle_finds_it_in_use_and_the_first_goes_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let database = open(&path, &ONE).unwrap();
    database.execute("INSERT INTO notes (text) VALUES ('one')", []).unwrap();
    let error = refuse(folder.path(), &ONE);
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    #[cfg(unix)]
    {
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(open(&link, &ONE), Err(OpenError::InUse { .. })));
    }
    database.execute("INSERT INTO notes (text) VALUES ('two')", []).unwrap();
    drop(database);
    let count = open(&path, &ONE)
        .unwrap()
        .query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, i64>(0));
    assert_eq!(count.unwrap(), 2);
}

#[test]
fn a_file_that_another_program_holds_without_our_lock_is_in_use() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    drop(open(&path, &ONE).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE; INSERT INTO notes (text) VALUES ('other')").unwrap();
    let before = fs::read(&path).unwrap();
    let error = open(&path, &ONE).expect_err("it must be refused");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_missing_folder_is_an_error_of_the_system() {
    let folder = TempDir::new().unwrap();
    let error = open(folder.path().join("no/such/a.db"), &ONE).expect_err("it must be refused");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(files(folder.path()).is_empty());
}

#[test]
fn an_older_file_is_migrated_and_keeps_its_rows() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let database = open(&path, &ONE).unwrap();
    database.execute("INSERT INTO notes (text) VALUES ('old')", []).unwrap();
    // Not closed in order: the row is only in the write-ahead log when the file is migrated.
    let copy = TempDir::new().unwrap();
    for name in ["a.db", "a.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join("a.db");
    let migrated = open(&path, &TWO).unwrap();
    assert_eq!(number_at(&path, 60), 2);
    let row = migrated.query_row("SELECT text, tags FROM notes", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
    });
    assert_eq!(row.unwrap(), ("old".to_owned(), None));
}

#[test]
fn a_full_disk_is_said_and_a_damaged_file_too() {
    let folder = TempDir::new().unwrap();
    let disk = sync_faults::Disk::mount(folder.path());
    let path = folder.path().join("a.db");
    let database = open(&path, &ONE).unwrap();
    database.execute("INSERT INTO notes (text) VALUES ('kept')", []).unwrap();
    drop(database);
    disk.fail(sync_faults::Fault::DiskFull, 1 + disk.calls().writes, true);
    let error = open(&path, &TWO).expect_err("a migration has no room");
    assert!(matches!(error, OpenError::DiskFull { .. }), "{error}");
    let error = open(folder.path().join("b.db"), &ONE).expect_err("a new file has no room");
    assert!(matches!(error, OpenError::DiskFull { .. }), "{error}");
    disk.mend();
    drop(open(&path, &TWO).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    // The kind of the first page, which is none that SQLite has.
    bytes[100] = 7;
    fs::write(&path, bytes).unwrap();
    let error = open(&path, &TWO).expect_err("it must be refused");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup, or move it away"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_log_that_was_left_is_written_anew_but_not_beside_another_program() {
    use std::os::unix::fs::MetadataExt;

    for is_shared in [false, true] {
        let folder = TempDir::new().unwrap();
        let database = open(folder.path().join("a.db"), &ONE).unwrap();
        database.execute("INSERT INTO notes (text) VALUES ('kept')", []).unwrap();
        let copy = TempDir::new().unwrap();
        for name in ["a.db", "a.db-wal"] {
            fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let log = copy.path().join("a.db-wal");
        let (inode, bytes) = (fs::metadata(&log).unwrap().ino(), fs::read(&log).unwrap());
        // As a program that crashed left the log of a commit behind.
        fs::write(copy.path().join("a.db-wal.new"), b"half a log").unwrap();
        if is_shared {
            fs::write(copy.path().join("a.db-shm"), []).unwrap();
        }
        let opened = open(copy.path().join("a.db"), &ONE).unwrap();
        assert_eq!(fs::metadata(&log).unwrap().ino() == inode, is_shared);
        assert_eq!(fs::read(&log).unwrap(), bytes);
        let text = opened.query_row("SELECT text FROM notes", [], |row| row.get::<_, String>(0));
        assert_eq!(text.unwrap(), "kept");
    }
}

#[test]
fn a_migration_that_fails_leaves_the_version_and_the_rows() {
    let broken = Schema { migrations: &[FIRST, "CREATE TABLE t (x); NO SUCH STATEMENT"], ..TWO };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let error = open(&path, &broken).expect_err("the second step fails");
    assert!(matches!(error, OpenError::Sqlite { .. }), "{error}");
    assert!(!path.exists(), "a file is made whole or not at all");
    let database = open(&path, &ONE).unwrap();
    database.execute("INSERT INTO notes (text) VALUES ('kept')", []).unwrap();
    drop(database);
    open(&path, &broken).expect_err("the second step fails");
    assert_eq!(number_at(&path, 60), 1);
    let database = open(&path, &TWO).unwrap();
    let text: String = database.query_row("SELECT text FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!(text, "kept");
}

#[test]
fn deleted_bytes_are_gone_from_every_file_after_a_checkpoint() {
    let folder = TempDir::new().unwrap();
    let database = open(folder.path().join("a.db"), &ONE).unwrap();
    let secret = "a secret that nobody must find";
    database.execute("INSERT INTO notes (text) VALUES (?1)", [secret]).unwrap();
    let holds = || {
        let found = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        files(folder.path()).values().any(found)
    };
    assert!(holds());
    database.execute("DELETE FROM notes", []).unwrap();
    database.checkpoint().unwrap();
    assert!(!holds());
}

#[test]
fn what_a_file_that_was_moved_away_left_behind_is_not_taken_for_the_new_ones() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let log = folder.path().join("a.db-wal");
    let database = open(&path, &ONE).unwrap();
    database.execute("INSERT INTO notes (text) VALUES ('old')", []).unwrap();
    let left = fs::read(&log).unwrap();
    assert!(!left.is_empty());
    drop(database);
    fs::rename(&path, folder.path().join("away.db")).unwrap();
    fs::write(&log, &left).unwrap();
    let database = open(&path, &ONE).unwrap();
    let count = database.query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, i64>(0));
    assert_eq!(count, Ok(0));
    assert_eq!(fs::read(folder.path().join("a.db-wal.left")).unwrap(), left, "nothing is lost");
}
