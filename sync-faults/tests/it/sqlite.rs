//! Rows that are committed one by one while the power fails, with each of SQLite's promises.

use std::path::Path;

use rusqlite::Connection;
use sync_faults::{Disk, Fault, Random, Syncs};

/// What became of committed rows in many power cuts.
#[derive(Debug, Default)]
struct Tally {
    cuts: usize,
    /// Cuts after which a committed row was missing.
    lost: usize,
    /// Cuts after which the file was no whole database.
    broken: usize,
    /// Cuts after which a row was there whose commit had failed.
    surprising: usize,
}

fn open(folder: &Path, journal: &str, synchronous: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(folder.join("a.db"))?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 8)?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)")?;
    Ok(connection)
}

/// Commits rows from a number on until something fails. Gives the first that was not committed.
fn commit(connection: &Connection, from: i64, random: &mut Random) -> i64 {
    for id in from..from + 30 {
        let row = (id, vec![id as u8; random.below(6_000) as usize]);
        if connection.execute("INSERT INTO t VALUES (?1, ?2)", row).is_err() {
            return id;
        }
    }
    from + 30
}

/// The rows of a whole database, which are without a gap.
fn count(connection: &Connection) -> rusqlite::Result<i64> {
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let sql = "SELECT count(*), ifnull(max(id), 0), sum(x <> zeroblob(0)) FROM t";
    let (count, last): (i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if check == "ok" && count == last { Ok(count) } else { Err(rusqlite::Error::InvalidQuery) }
}

fn cut(journal: &str, synchronous: &str, syncs: Syncs, rounds: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..rounds {
        let mut random = Random(seed);
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        disk.set_syncs(syncs);
        let mut safe = 0;
        for life in 0..4 {
            disk.cut_at(1 + random.below(250));
            let mut next = safe + 1;
            if let Ok(connection) = open(folder.path(), journal, synchronous) {
                next = commit(&connection, safe + 1, &mut random);
            }
            tally.cuts += 1;
            disk.restart(seed * 10 + life);
            let found = open(folder.path(), journal, synchronous).and_then(|found| count(&found));
            match found {
                Ok(found) if found >= next - 1 => {
                    tally.surprising += usize::from(found > next - 1);
                    safe = found;
                }
                Ok(_) => {
                    tally.lost += 1;
                    break;
                }
                Err(_) => {
                    tally.broken += 1;
                    break;
                }
            }
        }
    }
    tally
}

#[test]
fn full_loses_nothing_and_normal_and_off_are_caught() {
    for journal in ["WAL", "DELETE"] {
        let full = cut(journal, "FULL", Syncs::All, 60);
        println!("{journal} FULL: {full:?}");
        assert_eq!((full.lost, full.broken), (0, 0));
        assert!(full.cuts == 240 && full.surprising > 0, "{full:?}");
        let off = cut(journal, "OFF", Syncs::All, 60);
        println!("{journal} OFF: {off:?}");
        assert!(off.lost + off.broken > 30, "{off:?}");
    }
    let normal = cut("WAL", "NORMAL", Syncs::All, 60);
    println!("WAL NORMAL: {normal:?}");
    assert!(normal.lost > 20 && normal.broken == 0, "{normal:?}");
}

#[test]
fn a_disk_that_leaves_out_syncs_is_as_if_sqlite_had_not_asked() {
    let normal = cut("WAL", "FULL", Syncs::Normal, 60);
    println!("{normal:?}");
    assert!(normal.lost > 20 && normal.broken == 0, "{normal:?}");
    let off = cut("WAL", "FULL", Syncs::Off, 60);
    println!("{off:?}");
    assert!(off.broken > 0 && off.lost + off.broken > 30, "{off:?}");
}

#[test]
fn each_fault_comes_at_its_call_once_or_for_ever() {
    for (fault, is_lasting) in [Fault::SyncFails, Fault::DiskFull, Fault::HalfWritten]
        .into_iter()
        .flat_map(|fault| [(fault, false), (fault, true)])
    {
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        let connection = open(folder.path(), "WAL", "FULL").unwrap();
        connection.execute("INSERT INTO t VALUES (1, 'x')", []).unwrap();
        let calls = disk.calls();
        let next = if fault == Fault::SyncFails { calls.syncs } else { calls.writes } + 1;
        disk.fail(fault, next, is_lasting);
        let error = connection.execute("INSERT INTO t VALUES (2, 'x')", []).unwrap_err();
        let code = error.sqlite_error().unwrap().extended_code;
        let expected = match fault {
            Fault::SyncFails => rusqlite::ffi::SQLITE_IOERR_FSYNC,
            Fault::DiskFull => rusqlite::ffi::SQLITE_FULL,
            Fault::HalfWritten => rusqlite::ffi::SQLITE_IOERR_WRITE,
        };
        assert_eq!(code, expected);
        let again = connection.execute("INSERT INTO t VALUES (3, 'x')", []);
        assert_eq!(again.is_err(), is_lasting, "{fault:?}");
        disk.mend();
        connection.execute("INSERT INTO t VALUES (4, 'x')", []).unwrap();
    }
}

#[test]
fn files_elsewhere_are_the_platforms() {
    let [mounted, plain] = [sync_faults::folder(), sync_faults::folder()];
    let disk = Disk::mount(mounted.path());
    disk.cut();
    assert!(Connection::open(mounted.path().join("a.db")).is_err());
    // Shared memory, which this VFS does not have.
    let elsewhere = Connection::open(plain.path().join("a.db")).unwrap();
    let mode: String =
        elsewhere.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(disk.calls().all, 0);
}
