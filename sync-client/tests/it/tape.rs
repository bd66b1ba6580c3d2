//! Checkpoints, replaying from them, and taking back, on real files and with a hub.

use std::path::Path;
use std::time::Duration;

use sync_client::{
    Client, Connection, DocumentHandle, Edit, Error, Field, Limits, Misuse, OfflineReason,
    RecordId, Refused, ReplicaId, TapeError, Value, Which, members,
};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::PATIENCE;

/// A small generator (SplitMix64, Steele et al. 2014), so that a seed replays a run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn record(number: u64) -> RecordId {
    RecordId::new(format!("r{number}")).unwrap()
}

/// Makes some change or other; what cannot be done is left.
pub(crate) fn change(document: &DocumentHandle, random: &mut Random) {
    let steps = 1 + random.below(3);
    let mut draws: Vec<[u64; 3]> = Vec::new();
    for _ in 0..steps {
        draws.push([random.below(10), random.below(4), random.below(256)]);
    }
    let made = document.change(|edit| draws.iter().try_for_each(|draw| step(edit, *draw)));
    drop(made);
}

fn step(edit: &mut Edit<'_>, [what, number, value]: [u64; 3]) -> Result<(), Refused> {
    let id = record(number);
    let value = value as i64;
    let tags = Field::Set((0..4).filter(|bit| value >> bit & 1 == 1).map(Value::Int).collect());
    match what {
        0 | 1 => edit.insert("notes", &id, [("title", &Field::from(value)), ("tags", &tags)]),
        2 => edit.remove("notes", &id),
        3 => edit.update("notes", &id, [("tags", &tags)]),
        4 => edit.count("notes", &id, &["n"], value - 128),
        5 => edit.put("notes", &id, &["place", "city"], &Field::from(value)),
        6 => edit.set_add("seen", &Value::Int(value % 8)),
        7 => edit.set_remove("seen", &Value::Int(value % 8)),
        8 => edit.count_value("total", value),
        _ => edit.update("notes", &id, [("title", &Field::from(value))]),
    }
}

const DOCUMENTS: u64 = 40;

fn open(folder: &Path, hub: &TestHub) -> Client {
    let builder = Client::builder(folder).hub(hub.address());
    let names = (0..DOCUMENTS).map(|number| format!("d{number}"));
    names.fold(builder, |builder, name| builder.document(name)).open().unwrap()
}

pub(crate) fn switch_on(client: &Client) {
    client.set_offline(false);
    let is_off = |connection: &Connection| {
        matches!(connection, Connection::Offline(OfflineReason::SwitchedOff))
    };
    client.wait_connection(PATIENCE, |connection| !is_off(connection));
}

fn documents(client: &Client) -> Vec<DocumentHandle> {
    (0..DOCUMENTS).map(|number| client.document(&format!("d{number}")).unwrap()).collect()
}

/// Two devices write in as many documents as a connection has room for, one of them is switched off now and
/// then or started again; each document is a history of its own, with a checkpoint somewhere.
#[tokio::test(flavor = "multi_thread")]
async fn replaying_gives_the_same_bytes_on_random_histories() {
    let histories = std::env::var("SYNC_HISTORIES").map_or(120, |text| text.parse().unwrap());
    let mut replayed = 0;
    for round in 0..histories / DOCUMENTS {
        let random = &mut Random(round);
        let hub = TestHub::start();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let [mut a, b] = [0, 1].map(|at: usize| open(folders[at].path(), &hub));
        let (mut ours, theirs) = (documents(&a), documents(&b));
        let mut checkpoints = vec![0; DOCUMENTS as usize];
        let turns = 12;
        for turn in 0..turns {
            a.set_offline(random.below(3) == 0);
            for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                change(ours, random);
                change(theirs, random);
                if turn == at % (turns / 2) {
                    checkpoints[at] = ours.checkpoint(format!("at {turn}")).unwrap().number;
                }
            }
            if turn == turns / 2 && random.below(2) == 0 {
                drop(ours);
                a.shutdown().unwrap();
                a = open(folders[0].path(), &hub);
                ours = documents(&a);
            }
            if random.below(3) == 0 {
                b.sync(PATIENCE).await.unwrap();
            }
        }
        switch_on(&a);
        a.sync(PATIENCE).await.unwrap();
        for (document, checkpoint) in ours.iter().zip(checkpoints) {
            let rewound = document.rewind(checkpoint).unwrap();
            replayed += rewound.changes;
            assert!(rewound.bytes > 0);
        }
    }
    println!("{histories} histories, {replayed} changes replayed");
    assert!(replayed as u64 > 4 * histories, "{replayed}");
}

fn one(folder: &Path) -> (Client, DocumentHandle) {
    let client = Client::open(folder, "notes").unwrap();
    let document = client.document("notes").unwrap();
    (client, document)
}

#[test]
fn nothing_is_kept_before_it_is_asked_for_and_after_the_last_checkpoint_went() {
    let folder = TempDir::new().unwrap();
    let (client, document) = one(folder.path());
    let notes = document.collection("notes");
    let rows = || {
        let file = rusqlite::Connection::open(folder.path().join("client.db")).unwrap();
        ["checkpoints", "tape", "undo", "feed"].map(|table| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            file.query_row(&sql, [], |row| row.get(0)).unwrap()
        })
    };
    let (id, _) = notes.insert([("title", "first".into())]).unwrap();
    assert!(matches!(document.revert(&Which::default()), Err(TapeError::NoTape)));
    let checkpoint = document.checkpoint("here").unwrap();
    notes.update(&id, [("title", "second".into())]).unwrap().wait_disk().unwrap();
    assert_eq!(document.checkpoints().unwrap(), std::slice::from_ref(&checkpoint));
    let other = document.checkpoint("there").unwrap();
    notes.update(&id, [("title", "third".into())]).unwrap().wait_disk().unwrap();
    assert!(document.drop_checkpoint(checkpoint.number).unwrap());
    assert!(!document.drop_checkpoint(checkpoint.number).unwrap());
    let past = document.past(other.number).unwrap();
    let Ok(record) = past.record("notes", &id);
    assert_eq!(record.unwrap().value("title"), Some("second".into()));
    assert_eq!(document.rewind(other.number).unwrap().changes, 1);
    client.shutdown().unwrap();
    drop((client, document, notes));
    assert_eq!(rows(), [1, 1, 0, 0]);
    let (client, document) = one(folder.path());
    assert!(document.drop_checkpoint(other.number).unwrap());
    let notes = document.collection("notes");
    notes.update(&id, [("title", "fourth".into())]).unwrap().wait_disk().unwrap();
    let number = other.number;
    assert!(matches!(
        document.past(number),
        Err(TapeError::NoSuchCheckpoint { number: of }) if of == number
    ));
    client.shutdown().unwrap();
    drop((client, document, notes));
    assert_eq!(rows(), [0; 4]);
}

#[test]
fn what_differs_from_a_checkpoint_is_told_by_place_and_taken_back() {
    let folder = TempDir::new().unwrap();
    let (_client, document) = one(folder.path());
    let notes = document.collection("notes");
    let insert = |title: &str| {
        let fields = [("title", title.into()), ("tags", members(["x"])), ("n", Field::Counter(2))];
        notes.insert(fields).unwrap().0
    };
    let [edited, removed, same] = ["edited", "removed", "same"].map(insert);
    let _ = document.set_add("seen", "old").unwrap();
    let checkpoint = document.checkpoint("here").unwrap().number;
    assert_eq!(document.diff(checkpoint).unwrap(), []);
    let _ = notes.update(&edited, [("title", "other".into()), ("tags", members(["y"]))]).unwrap();
    let _ = notes.put(&edited, &["place", "city"], "c".into()).unwrap();
    let _ = notes.count(&edited, &["n"], 5).unwrap();
    let _ = notes.remove(&removed).unwrap();
    let _ = notes.update(&same, [("title", "other".into())]).unwrap();
    let _ = notes.update(&same, [("title", "same".into())]).unwrap();
    let _ = document.set_add("seen", "new").unwrap();
    let new = insert("new");
    let found = document.diff(checkpoint).unwrap();
    let sides = |id: &RecordId| {
        let of = found.iter().find(
            |one| matches!(&one.place, sync_client::Place::Record { id: of, .. } if of == id),
        );
        of.map(|one| {
            [&one.old, &one.new].map(|fields| fields.clone().map(|all| all["title"].clone()))
        })
    };
    let text = |text: &str| Some(Field::from(text));
    assert_eq!(sides(&edited), Some([text("edited"), text("other")]));
    assert_eq!(sides(&removed), Some([text("removed"), None]));
    assert_eq!(sides(&new), Some([None, text("new")]));
    assert_eq!((sides(&same), found.len()), (None, 4), "{found:?}");

    let reverted = document.revert(&Which::since(checkpoint)).unwrap();
    assert_eq!((reverted.written.len(), reverted.unclear), (1, Vec::new()));
    assert_eq!(document.diff(checkpoint).unwrap(), []);
    assert_eq!(notes.conflicts().unwrap(), []);
    document.rewind(checkpoint).unwrap();
}

#[test]
fn what_is_too_large_for_one_change_is_taken_back_in_several() {
    let folder = TempDir::new().unwrap();
    let (_client, document) = one(folder.path());
    let notes = document.collection("notes");
    let ids: Vec<_> =
        (0..8).map(|_| notes.insert([("body", "x".repeat(60_000).into())]).unwrap().0).collect();
    let checkpoint = document.checkpoint("here").unwrap().number;
    for id in &ids {
        let _ = notes.remove(id).unwrap();
    }
    let reverted = document.revert(&Which::since(checkpoint)).unwrap();
    assert_eq!(reverted.written.len(), 4);
    assert_eq!(document.diff(checkpoint).unwrap(), []);
}

#[test]
fn changes_are_taken_back_by_the_time_at_which_they_were_made() {
    let folder = TempDir::new().unwrap();
    let time = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let own = time.clone();
    let read = move || own.load(std::sync::atomic::Ordering::Relaxed);
    let builder = Client::builder(folder.path()).document("notes").time_of_day(read);
    let client = builder.open().unwrap();
    let document = client.document("notes").unwrap();
    let _ = document.checkpoint("here").unwrap();
    for (at, member) in [(1_999, "before"), (2_000, "first"), (2_999, "last"), (3_000, "after")] {
        time.store(at, std::sync::atomic::Ordering::Relaxed);
        let _ = document.set_add("seen", member).unwrap();
    }
    let _ = document.revert(&Which::between(2_000..3_000)).unwrap();
    let left = document.set("seen").unwrap();
    assert_eq!(left.iter().filter_map(Value::as_str).collect::<Vec<_>>(), ["after", "before"]);
}

/// The bytes of rows in a closed file.
fn lengths(folder: &Path, sql: &str) -> Vec<u64> {
    let file = rusqlite::Connection::open(folder.join("client.db")).unwrap();
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    rows.map(|len| len.unwrap().unsigned_abs()).collect()
}

/// Opens a folder, where so many bytes of checkpoints and of the tape may be kept, and does something. Gives
/// which checkpoints are left then and whether each is whole, and the bytes of each and on the tape.
fn left(
    folder: &Path,
    [checkpoints, tape]: [u64; 2],
    work: impl FnOnce(&DocumentHandle),
) -> (Vec<(u64, bool)>, Vec<u64>, Vec<u64>) {
    let age_max = Duration::from_secs(3600);
    let [checkpoints, tape] = [checkpoints, tape].map(|bytes_max| Limits { bytes_max, age_max });
    let builder = Client::builder(folder).document("notes");
    let client = builder.keep_checkpoints(checkpoints, tape).open().unwrap();
    let document = client.document("notes").unwrap();
    work(&document);
    let found = document.checkpoints().unwrap();
    let found: Vec<_> = found.into_iter().map(|one| (one.number, one.is_whole)).collect();
    for (number, is_whole) in &found {
        assert!(document.past(*number).is_ok());
        assert_eq!(document.rewind(*number).is_ok(), *is_whole);
        let nobody = Which::by(ReplicaId::from_bytes([9; 16]));
        let reverted = document.revert(&Which { since: Some(*number), ..nobody });
        let is_cut = matches!(reverted, Err(TapeError::Cut { number: of }) if of == *number);
        assert_eq!((reverted.is_ok(), is_cut), (*is_whole, !*is_whole));
    }
    client.shutdown().unwrap();
    drop((client, document));
    let snapshots = lengths(folder, "SELECT length(snapshot) FROM checkpoints");
    (found, snapshots, lengths(folder, "SELECT length(body) FROM tape"))
}

/// Three checkpoints, with a change behind each.
fn three(document: &DocumentHandle) {
    for number in 1..=3i64 {
        let _ = document.checkpoint("c").unwrap();
        let _ = document.set_add("seen", number).unwrap();
    }
}

#[test]
fn the_bytes_of_checkpoints_and_tape_are_limited_and_the_oldest_go() {
    const LARGE: u64 = 1 << 20;
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    let [one, other] = folders.each_ref().map(|folder| folder.path());
    let all = [(1, true), (2, true), (3, true)];
    let nothing = |_: &DocumentHandle| {};
    let (found, snapshots, taped) = left(one, [LARGE; 2], three);
    assert_eq!((&found[..], taped.len()), (&all[..], 3));
    let total: u64 = snapshots.iter().sum();
    for limit in [total + 1, total] {
        assert_eq!(left(one, [limit, LARGE], nothing).0, all);
    }
    let (found, _, rest) = left(one, [total - 1, LARGE], nothing);
    assert_eq!((found, rest), (vec![(2, true), (3, true)], taped[1..].to_vec()));
    // And by one more.
    let checkpoint = |document: &DocumentHandle| drop(document.checkpoint("c").unwrap());
    let (found, ..) = left(one, [total - 1, LARGE], checkpoint);
    assert_eq!(found.last(), Some(&(4, true)));
    assert!(!found.contains(&(2, true)), "{found:?}");

    let (_, _, taped) = left(other, [LARGE; 2], three);
    let total: u64 = taped.iter().sum();
    for limit in [total + 1, total] {
        assert_eq!(left(other, [LARGE, limit], nothing).0, all);
    }
    let (found, _, rest) = left(other, [LARGE, total - 1], nothing);
    assert_eq!((&found[..], rest), (&[(1, false), (2, true), (3, true)][..], taped[1..].to_vec()));
    let write = |document: &DocumentHandle| drop(document.set_add("seen", 4i64).unwrap());
    let (found, _, rest) = left(other, [LARGE, taped[1] + taped[2]], write);
    assert_eq!(&found[..2], [(1, false), (2, false)]);
    assert!(rest.iter().sum::<u64>() <= taped[1] + taped[2]);
}

#[test]
fn the_age_of_checkpoints_and_tape_is_limited() {
    const START_MS: u64 = 1_700_000_000_000;
    const AGE_MS: u64 = 3_600_000;
    for (later_ms, is_there) in [(AGE_MS - 1, true), (AGE_MS, true), (AGE_MS + 1, false)] {
        let folder = TempDir::new().unwrap();
        let open = |now_ms: u64| {
            let age_max = Duration::from_millis(AGE_MS);
            let limits = Limits { bytes_max: 1 << 20, age_max };
            let builder = Client::builder(folder.path()).document("notes");
            let builder = builder.keep_checkpoints(limits, limits).time_of_day(move || now_ms);
            let client = builder.open().unwrap();
            let document = client.document("notes").unwrap();
            (client, document)
        };
        let (client, document) = open(START_MS);
        let _ = document.checkpoint("old").unwrap();
        document.set_add("seen", "x").unwrap().wait_disk().unwrap();
        client.shutdown().unwrap();
        drop((client, document));
        let (client, document) = open(START_MS + later_ms);
        assert_eq!(document.checkpoints().unwrap().len(), usize::from(is_there));
        client.shutdown().unwrap();
        drop((client, document));
        let taped = lengths(folder.path(), "SELECT length(body) FROM tape");
        assert_eq!(taped.len(), usize::from(is_there));
    }
}

#[test]
fn the_label_and_the_size_of_a_checkpoint_are_limited() {
    let folder = TempDir::new().unwrap();
    let (client, document) = one(folder.path());
    for (bytes, is_taken) in [(255, true), (256, true), (257, false)] {
        let made = document.checkpoint("l".repeat(bytes));
        let is_refused = matches!(made, Err(Error::Misuse(Misuse::TooLarge { .. })));
        assert_eq!((made.is_ok(), is_refused), (is_taken, !is_taken));
    }
    let bytes = document.checkpoints().unwrap()[0].bytes;
    drop((document, client));
    for (limit, is_taken) in [(bytes + 1, true), (bytes, true), (bytes - 1, false)] {
        let folder = TempDir::new().unwrap();
        let limits = Limits { bytes_max: limit, ..Limits::CHECKPOINTS };
        let builder = Client::builder(folder.path()).document("notes");
        let client = builder.keep_checkpoints(limits, Limits::TAPE).open().unwrap();
        let made = client.document("notes").unwrap().checkpoint("c");
        let is_refused = matches!(made, Err(Error::Misuse(Misuse::TooLarge { .. })));
        assert_eq!((made.is_ok(), is_refused), (is_taken, !is_taken), "{limit}: {made:?}");
    }
}
