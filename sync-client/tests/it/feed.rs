//! The change feed: what it tells, across restarts and crashes, and its limits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sync_client::{
    Client, DocumentHandle, FeedCursor, FeedEntry, FeedError, Field, Limits, Place, RecordId,
    Value, members,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::TestHub;
use crate::sync::PATIENCE;
use crate::tape::{Random, change};

fn open(folder: &Path) -> (Client, DocumentHandle) {
    let builder = Client::builder(folder).document("notes").keep_feed(Limits::FEED);
    let client = builder.open().unwrap();
    let document = client.document("notes").unwrap();
    (client, document)
}

/// What an entry says: path, old and new.
fn said(entry: &FeedEntry) -> (Vec<&str>, Option<&Field>, Option<&Field>) {
    (entry.path.iter().map(String::as_str).collect(), entry.old.as_ref(), entry.new.as_ref())
}

#[test]
fn each_field_is_told_with_what_it_held_and_holds() {
    let folder = TempDir::new().unwrap();
    let (_client, document) = open(folder.path());
    let notes = document.collection("notes");
    let begin = document.feed_begin().unwrap();
    assert_eq!(document.feed_end().unwrap(), begin);
    let place = BTreeMap::from([("city".to_owned(), Field::from("a"))]);
    let fields = [("title", "a".into()), ("tags", members(["x"])), ("n", Field::Counter(2))];
    let (id, inserted) = notes.insert(fields.clone()).unwrap();
    let other = document.collection("other").insert([("title", "o".into())]).unwrap().0;
    let changed = [("title", "b".into()), ("tags", members(["x", "y"]))];
    let updated = notes.update(&id, changed).unwrap();
    let _ = notes.count(&id, &["n"], 5).unwrap();
    let _ = notes.put(&id, &["place"], Field::Map(place.clone())).unwrap();
    let _ = notes.put(&id, &["place", "city"], "b".into()).unwrap();
    let _ = notes.unset(&id, &["title"]).unwrap();
    let _ = document.set_add("seen", "m").unwrap();
    let _ = document.set_remove("seen", "m").unwrap();
    let _ = notes.remove(&id).unwrap();

    let map = |fields: &[(&str, Field)]| {
        Field::Map(fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect())
    };
    let (first, member) = (map(&fields), members(["m"]));
    let last = map(&[
        ("tags", members(["x", "y"])),
        ("n", Field::Counter(7)),
        ("place", map(&[("city", "b".into())])),
    ]);
    let text = |text: &str| Field::from(text);
    let (a, b, o) = (text("a"), text("b"), map(&[("title", text("o"))]));
    let (x, xy) = (members(["x"]), members(["x", "y"]));
    let (two, seven, place) = (Field::Counter(2), Field::Counter(7), Field::Map(place));
    let expected: Vec<(Vec<&str>, _, _)> = vec![
        (vec![], None, Some(&first)),
        (vec![], None, Some(&o)),
        (vec!["tags"], Some(&x), Some(&xy)),
        (vec!["title"], Some(&a), Some(&b)),
        (vec!["n"], Some(&two), Some(&seven)),
        (vec!["place"], None, Some(&place)),
        (vec!["place", "city"], Some(&a), Some(&b)),
        (vec!["title"], Some(&b), None),
        (vec![], None, Some(&member)),
        (vec![], Some(&member), None),
        (vec![], Some(&last), None),
    ];
    let page = document.feed(begin, &[], 100).unwrap();
    assert_eq!(page.entries.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!((page.next, page.has_more), (document.feed_end().unwrap(), false));
    let replica = document.status().replica;
    assert!(page.entries.iter().all(|entry| entry.author == Some(replica)));
    assert_eq!(page.entries[0].change, inserted.dot());
    assert_eq!(page.entries[2].change, updated.dot());
    assert_eq!(page.entries[3].change, updated.dot());
    // In pages, and of one collection.
    let mut after = begin;
    for entry in &page.entries {
        let one = document.feed(after, &[], 1).unwrap();
        assert_eq!(one.entries, std::slice::from_ref(entry));
        after = one.next;
    }
    let one = document.feed(begin, &["other"], 100).unwrap();
    let place = Place::Record { collection: "other".to_owned(), id: other };
    assert_eq!(one.entries.iter().map(|entry| &entry.place).collect::<Vec<_>>(), [&place]);
    assert_eq!(one.next, page.next);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_changed_is_told_once_it_arrives_with_who_it_was() {
    let hub = TestHub::start();
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    let clients = folders.each_ref().map(|folder| {
        let builder = Client::builder(folder.path()).document("notes").hub(hub.address());
        builder.keep_feed(Limits::FEED).open().unwrap()
    });
    let [ours, theirs] = clients.each_ref().map(|client| client.document("notes").unwrap());
    let author = theirs.status().replica;
    let mut after = ours.feed_end().unwrap();
    let notes = theirs.collection("notes");
    let (id, _) = notes.insert([("title", "a".into())]).unwrap();
    let page = timeout(PATIENCE, ours.next_feed(after, &[], 100)).await.unwrap().unwrap();
    assert_eq!(page.entries[0].author, Some(author));
    after = page.next;
    let written = notes.update(&id, [("title", "b".into())]).unwrap();
    let own = ours.clone();
    let waited = move || own.wait_feed(after, &["notes"], 100, PATIENCE).unwrap();
    let page = tokio::task::spawn_blocking(waited).await.unwrap();
    let entry = &page.entries[0];
    let (a, b) = (Field::from("a"), Field::from("b"));
    assert_eq!(said(entry), (vec!["title"], Some(&a), Some(&b)));
    assert_eq!((entry.change, entry.author), (written.dot(), Some(author)));
    let nothing = ours.wait_feed(page.next, &[], 100, Duration::from_millis(1)).unwrap();
    assert_eq!(nothing.entries, []);
}

/// What somebody makes of a feed, with the cursor: kept apart from the client.
#[derive(Default)]
struct Follower {
    after: Option<FeedCursor>,
    records: BTreeMap<RecordId, BTreeMap<String, Field>>,
    told: usize,
}

impl Follower {
    fn follow(&mut self, document: &DocumentHandle, limit: usize) {
        let after = self.after.unwrap_or_else(|| document.feed_begin().unwrap());
        let page = document.feed(after, &["notes"], limit).unwrap();
        for entry in &page.entries {
            let Place::Record { id, .. } = &entry.place else { panic!("{entry:?}") };
            self.told += 1;
            match (entry.path.split_first(), &entry.new) {
                (None, Some(Field::Map(fields))) => {
                    self.records.insert(id.clone(), fields.clone());
                }
                (None, _) => drop(self.records.remove(id)),
                (Some((name, path)), new) => {
                    put(self.records.get_mut(id).unwrap(), name, path, new.as_ref());
                }
            }
        }
        self.after = Some(page.next);
    }
}

fn put(fields: &mut BTreeMap<String, Field>, name: &str, path: &[String], new: Option<&Field>) {
    match (path.split_first(), new) {
        (None, Some(field)) => drop(fields.insert(name.to_owned(), field.clone())),
        (None, None) => drop(fields.remove(name)),
        (Some((next, path)), new) => {
            let Some(Field::Map(below)) = fields.get_mut(name) else { panic!("{name}") };
            put(below, next, path, new);
        }
    }
}

/// The files of a client as a crash would leave them: what is on disk, and no goodbye.
fn crash(from: &Path, to: &Path) {
    for name in ["client.db", "client.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn nothing_is_missed_across_restarts_and_crashes() {
    for seed in 0..20 {
        let random = &mut Random(seed);
        let mut folder = TempDir::new().unwrap();
        let (mut client, mut document) = open(folder.path());
        let mut follower = Follower::default();
        for _ in 0..12 {
            for _ in 0..random.below(6) {
                change(&document, random);
                if random.below(2) == 0 {
                    follower.follow(&document, 1 + random.below(4) as usize);
                }
            }
            match random.below(3) {
                0 => {
                    client.shutdown().unwrap();
                    drop((client, document));
                    (client, document) = open(folder.path());
                }
                1 => {
                    let left = TempDir::new().unwrap();
                    let marked = document.set_add("marks", random.below(1 << 30) as i64).unwrap();
                    marked.wait_disk().unwrap();
                    crash(folder.path(), left.path());
                    drop((client, document));
                    (client, document) = open(left.path());
                    folder = left;
                }
                _ => {}
            }
        }
        let end = document.feed_end().unwrap();
        while follower.after.is_none_or(|after| after < end) {
            follower.follow(&document, 3);
        }
        let items = document.collection("notes").list().unwrap();
        let expected: BTreeMap<_, _> =
            items.into_iter().map(|item| (item.id, item.fields)).collect();
        assert_eq!(follower.records, expected, "seed {seed}");
        drop((client, document));
    }
}

#[test]
fn a_cursor_that_is_too_old_is_told_so_and_nothing_is_kept_unasked() {
    let folder = TempDir::new().unwrap();
    let is_gone = |document: &DocumentHandle, after| {
        matches!(document.feed(after, &[], 1), Err(FeedError::Gone))
    };
    let (client, document) = open(folder.path());
    let _ = document.set_add("seen", "a").unwrap();
    let end = document.feed_end().unwrap();
    assert!(document.feed(FeedCursor::from_u64(end.to_u64()), &[], 1).is_ok());
    assert!(is_gone(&document, FeedCursor::from_u64(end.to_u64() + 1)));
    client.shutdown().unwrap();
    drop((client, document));
    // A time without a feed.
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    assert!(matches!(document.feed(end, &[], 1), Err(FeedError::NotKept)));
    assert!(matches!(document.feed_end(), Err(FeedError::NotKept)));
    document.set_add("seen", "b").unwrap().wait_disk().unwrap();
    client.shutdown().unwrap();
    drop((client, document));
    let file = rusqlite::Connection::open(folder.path().join("client.db")).unwrap();
    for table in ["feed", "feeds"] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(file.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
    drop(file);
    let (client, document) = open(folder.path());
    assert!(is_gone(&document, end));
    // And where it is emptied.
    let follow = |document: &DocumentHandle| {
        let after = document.feed_end().unwrap();
        let _ = document.set_add("seen", after.to_u64() as i64).unwrap();
        assert_eq!(document.feed(after, &[], 1).unwrap().entries.len(), 1);
        after
    };
    let after = follow(&document);
    document.purge_feed().unwrap();
    assert!(is_gone(&document, after));
    let after = follow(&document);
    client.purge().unwrap();
    assert!(is_gone(&document, after));
    follow(&document);
}

#[test]
fn the_bytes_and_the_age_of_a_feed_are_limited_and_the_oldest_go() {
    const LARGE: u64 = 1 << 20;
    let folder = TempDir::new().unwrap();
    let time = Arc::new(AtomicU64::new(1_000));
    let open = |bytes_max: u64, age_ms: u64| {
        let own = time.clone();
        let limits = Limits { bytes_max, age_max: Duration::from_millis(age_ms) };
        let builder = Client::builder(folder.path()).document("notes").keep_feed(limits);
        let client = builder.time_of_day(move || own.load(Ordering::Relaxed)).open().unwrap();
        let document = client.document("notes").unwrap();
        (client, document)
    };
    let (client, document) = open(LARGE, 1_000);
    let begin = document.feed_begin().unwrap();
    for number in 1..=3i64 {
        let _ = document.set_add("seen", number).unwrap();
    }
    let first = document.feed(begin, &[], 1).unwrap().next;
    let bytes = document.kept().unwrap().last().unwrap().bytes;
    client.shutdown().unwrap();
    drop((client, document));
    let told = |bytes_max: u64, age_ms: u64, after: FeedCursor| {
        let (client, document) = open(bytes_max, age_ms);
        let page = document.feed(after, &[], 10);
        client.shutdown().unwrap();
        page.map(|page| page.entries.len())
    };
    for limit in [bytes + 1, bytes] {
        assert_eq!(told(limit, 1_000, begin).unwrap(), 3);
    }
    time.store(2_000, Ordering::Relaxed);
    assert_eq!(told(bytes, 1_001, begin).unwrap(), 3);
    assert_eq!(told(bytes, 1_000, begin).unwrap(), 3);
    assert!(matches!(told(bytes - 1, 1_000, begin), Err(FeedError::Gone)));
    assert_eq!(told(bytes - 1, 1_000, first).unwrap(), 2);
    assert!(matches!(told(bytes, 999, first), Err(FeedError::Gone)));
    // Also as more comes.
    let (_client, document) = open(bytes - 1, 1_000);
    let begin = document.feed_begin().unwrap();
    for number in 4..=6i64 {
        let _ = document.set_add("seen", Value::Int(number)).unwrap();
    }
    assert!(matches!(document.feed(begin, &[], 10), Err(FeedError::Gone)));
    let left = document.feed(document.feed_begin().unwrap(), &[], 10).unwrap();
    assert_eq!(left.entries.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_feed_hears_that_it_begins_anew() {
    type Anew = fn(&Client, &DocumentHandle);
    let given_up = |client: &Client, _: &DocumentHandle| {
        let key = client.outbox_page(None, 1).unwrap().items.remove(0).key;
        client.park_item(&key, "to be given up").unwrap();
        client.drop_item(&key).unwrap();
    };
    let cases: [(&str, Anew); 3] = [
        ("a purge", |client, _| client.purge().unwrap()),
        ("a purge of the feed", |_, document| document.purge_feed().unwrap()),
        ("an item that is given up", given_up),
    ];
    for (name, begins_anew) in cases {
        let folder = TempDir::new().unwrap();
        let builder = Client::builder(folder.path()).document("notes").keep_feed(Limits::FEED);
        let client = builder.open().unwrap();
        let document = client.document("notes").unwrap();
        document.set_add("s", "x").unwrap().wait_disk().unwrap();
        let after = document.feed_end().unwrap();
        let mut next = std::pin::pin!(document.next_feed(after, &[], 100));
        assert!(futures::poll!(next.as_mut()).is_pending(), "it waits");
        begins_anew(&client, &document);
        let heard = timeout(PATIENCE, next).await.expect("it is woken");
        assert!(matches!(heard, Err(FeedError::Gone)), "{name}: {heard:?}");
    }
}
