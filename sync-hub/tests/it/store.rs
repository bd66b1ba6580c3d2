//! The storage in SQLite against the one in memory: the same questions, the same answers.

use std::fmt::Debug;
use std::path::Path;

use sync_core::causal::{
    CausalContext, Delta, Dot, Entry, Label, MemoryStore, Note, PlaceId, ReplicaId, Slots, Sum,
    Total, join,
};
use sync_core::session::{Buried, DocumentId, HubStore, MemoryHub, Page};
use sync_core::time::Stamp;
use sync_core::types::{MARKS_MAX, Opening};
use sync_core::wire::Cursor;
use sync_faults::Random;
use sync_hub::{BOOTS_MAX, SqliteHub, StoreError};
use tempfile::TempDir;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn open(folder: &Path) -> SqliteHub {
    SqliteHub::open(&folder.join("hub.db"), 100_000).unwrap()
}

/// Makes deltas of a few writers that see each other's dots.
#[derive(Default)]
struct Writers {
    counters: [u64; 3],
    made: Vec<Delta>,
}

impl Writers {
    fn delta(&mut self, random: &mut Random) -> Delta {
        let who = random.index(3);
        match random.index(10) {
            0..2 => self.insert(who, random),
            2..5 => part(self.insert(who, random), random),
            5..8 => self.removal(who, random),
            // Again, or several at once, or a part of one: what reconnects and refills bring.
            _ => {
                let mut delta = Delta::default();
                for _ in 0..=random.index(3) {
                    if let Some(other) = self.made.get(random.index(self.made.len())) {
                        delta.join(other.clone());
                    }
                }
                delta
            }
        }
    }

    fn insert(&mut self, who: usize, random: &mut Random) -> Delta {
        let first = Dot::new(replica(who as u8), self.counters[who] + 1);
        let slots: Vec<_> = (0..1 + random.index(64))
            .map(|_| vec![random.draw() as u8; random.index(40)])
            .collect();
        let names: Vec<_> = slots.iter().map(|_| vec![b'n'; random.index(4)]).collect();
        let whole = Entry {
            first,
            stamp: Stamp::from_bits(random.draw()),
            label: Label::new(b"space", names.iter().map(|name| &name[..])),
            id: PlaceId::new(&vec![7; random.index(50)]),
            slots: Slots::new(slots.iter().map(|slot| Some(&slot[..]))),
        };
        let entry = whole.only(1 | random.draw() | random.draw());
        self.counters[who] = entry.last();
        let mut delta = Delta::default();
        delta.dead.insert_range(first.replica, first.counter, entry.last());
        for (dot, _) in entry.live() {
            delta.dead.remove_range(dot.replica, dot.counter, dot.counter);
        }
        delta.entries.push(entry);
        self.made.push(delta.clone());
        delta
    }

    fn removal(&mut self, who: usize, random: &mut Random) -> Delta {
        let mut delta = Delta::default();
        for _ in 0..=random.index(2) {
            let of = random.index(3);
            let start = 1 + random.index(self.counters[of] as usize) as u64;
            let end = start + random.index(30) as u64;
            delta.dead.insert_range(replica(of as u8), start, end.min(self.counters[of]));
        }
        self.counters[who] += 1;
        let dot = Dot::new(replica(who as u8), self.counters[who]);
        delta.dead.insert(dot);
        let (stamp, label) = (Stamp::from_ms(9), Label::new(b"space", []));
        delta.notes.push(Note { dot, stamp, label, id: PlaceId::new(b"object") });
        self.made.push(delta.clone());
        delta
    }
}

/// A delta without some of its live dots, which come later.
fn part(mut delta: Delta, random: &mut Random) -> Delta {
    for entry in &mut delta.entries {
        *entry = entry.only(entry.slots.live() & (1 | random.draw() | random.draw()));
    }
    Delta { dead: CausalContext::default(), ..delta }
}

/// What a hub does with a push.
fn push<S: HubStore<Error: Debug>>(store: &mut S, document: DocumentId, delta: &Delta) {
    let seq = store.seq() + 1;
    let joined = join(&mut store.document(document, seq), delta).unwrap();
    if !joined.is_empty() {
        let buried = joined.buried();
        let notes = delta.notes.iter().filter(|note| buried.contains(note.dot)).cloned().collect();
        store.record(document, seq, Buried { dots: buried, notes }).unwrap();
    }
}

/// Everything that a catch-up may ask, as one value.
type Answers = (u64, CausalContext, CausalContext, Vec<Page>, Vec<Page>, Buried, Vec<bool>);

fn answers<S: HubStore<Error: Debug>>(
    store: &S,
    document: DocumentId,
    since: u64,
    bytes: usize,
    cursors: &[Cursor],
) -> Answers {
    let (mut all, mut arrived) = (Vec::new(), Vec::new());
    let mut after = None;
    while all.last().is_none_or(|page: &Page| !page.is_last) {
        let page = store.entries(document, after, bytes).unwrap();
        after = page.entries.last().map(|(_, entry)| entry.first).or(after);
        all.push(page);
    }
    let mut after = None;
    while arrived.last().is_none_or(|page: &Page| !page.is_last) {
        let page = store.arrived(document, since, after, bytes).unwrap();
        after = page.entries.last().map(|(seq, entry)| (*seq, entry.first)).or(after);
        arrived.push(page);
    }
    let resumes = cursors.iter().map(|cursor| store.can_resume(document, *cursor).unwrap());
    (
        store.seq(),
        store.context(document).unwrap(),
        store.live(document).unwrap(),
        all,
        arrived,
        store.buried(document, since, &store.context(document).unwrap()).unwrap(),
        resumes.collect(),
    )
}

/// What a comparison may ask about a range, as one value.
fn compared<S: HubStore<Error: Debug>>(
    store: &S,
    document: DocumentId,
    (who, start, end): (u8, u64, u64),
    limit: usize,
) -> (Total, Sum, Vec<(u64, u64)>, Page) {
    let who = replica(who);
    (
        store.total(document).unwrap(),
        store.sum(document, who, start, end).unwrap(),
        store.items(document, who, start, end, limit).unwrap(),
        store.overlapping(document, who, start, end, 1 + limit * 50).unwrap(),
    )
}

/// What the rows of a document cost.
fn added_up(hub: &SqliteHub, document: DocumentId) -> u64 {
    let sql = "SELECT coalesce(sum(length(body) + 2 * (last - first)), 0) FROM entries
               WHERE document = ?1";
    let bytes = hub.connection().query_row(sql, [document.cast_signed()], |row| row.get(0));
    i64::cast_unsigned(bytes.unwrap())
}

#[test]
fn sqlite_and_memory_answer_alike_after_every_step() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let folder = TempDir::new().unwrap();
        let mut sqlite = open(folder.path());
        let mut memory = MemoryHub::new(sqlite.boot());
        let mut writers = [Writers::default(), Writers::default()];
        let mut boots = vec![sqlite.boot().boot];
        sqlite.begin().unwrap();
        for step in 0..120 {
            if random.index(10) == 0 {
                sqlite.commit().unwrap();
                if random.index(2) == 0 {
                    drop(sqlite);
                    sqlite = open(folder.path());
                }
                sqlite.begin().unwrap();
                if boots.last() != Some(&sqlite.boot().boot) {
                    boots.push(sqlite.boot().boot);
                    memory.restart(sqlite.boot().boot);
                }
            }
            let which = random.index(2);
            let name = ["one", "two"][which];
            let delta = writers[which].delta(&mut random);
            let document = sqlite.open(name).unwrap();
            push(&mut sqlite, document, &delta);
            let in_memory = memory.open(name).unwrap();
            push(&mut memory, in_memory, &delta);
            let since = random.index(memory.seq() as usize + 1) as u64;
            let bytes = 1 + random.index(4_000);
            let mut cursors: Vec<_> = boots.iter().map(|boot| (*boot, since)).collect();
            cursors.extend([
                (boots[0], u64::MAX),
                (1, 0),
                (boots[boots.len() - 1], memory.seq() + 1),
            ]);
            let cursors: Vec<_> =
                cursors.into_iter().map(|(boot, seq)| Cursor { boot, seq }).collect();
            let found = answers(&sqlite, document, since, bytes, &cursors);
            let expected = answers(&memory, in_memory, since, bytes, &cursors);
            assert!(found == expected, "the answers differ: seed {seed}, step {step}");
            assert_eq!(sqlite.bytes(document).unwrap(), added_up(&sqlite, document));
            for _ in 0..4 {
                let start = random.index(200) as u64;
                let end = [start + random.index(200) as u64, u64::MAX][random.index(8) / 7];
                let range = (random.index(4) as u8, start, end);
                let limit = 1 + random.index(40);
                let found = compared(&sqlite, document, range, limit);
                let expected = compared(&memory, in_memory, range, limit);
                assert_eq!(found, expected, "seed {seed}, step {step}, {range:?}");
            }
        }
    }
}

#[test]
fn marks_of_openings_are_found_as_in_memory() {
    let folder = TempDir::new().unwrap();
    let mut hub = open(folder.path());
    let mut memory = MemoryHub::new(hub.boot());
    let (document, other) = (hub.open("d").unwrap(), hub.open("e").unwrap());
    assert_eq!((memory.open("d").unwrap(), memory.open("e").unwrap()), (document, other));
    let one = |at: u64| Opening { first: 3 * at, opening: u64::MAX - at };
    let mut delta = Delta::default();
    delta.entries.extend((1..=40).map(|at| one(at).mark(replica(1))));
    // Neither another replica's, nor what stands in the space of marks and is none, nor what is dead.
    delta.entries.push(one(5).mark(replica(2)));
    let foreign = Entry { id: PlaceId::new(b"n"), ..one(41).mark(replica(1)) };
    delta.entries.push(foreign);
    let mut dead = Delta::default();
    dead.dead.insert(Dot::new(replica(1), one(40).first));
    for delta in [&delta, &dead] {
        push(&mut hub, document, delta);
        push(&mut memory, document, delta);
    }
    let last: Vec<_> = (40 - MARKS_MAX as u64..40).map(one).collect();
    for _ in 0..2 {
        assert_eq!(hub.openings(document, replica(1)).unwrap(), last);
        assert_eq!(hub.openings(document, replica(2)).unwrap(), [one(5)]);
        assert_eq!(hub.openings(document, replica(3)).unwrap(), []);
        assert_eq!(hub.openings(other, replica(1)).unwrap(), []);
        drop(hub);
        hub = open(folder.path());
    }
    for of in [1, 2, 3] {
        let found = memory.openings(document, replica(of)).unwrap();
        assert_eq!(found, hub.openings(document, replica(of)).unwrap());
    }
}

#[test]
fn what_was_not_committed_is_gone_and_its_cursors_are_not_taken() {
    let folder = TempDir::new().unwrap();
    let mut hub = open(folder.path());
    let mut random = Random(1);
    let mut writers = Writers::default();
    let document = hub.open("d").unwrap();
    push(&mut hub, document, &writers.insert(0, &mut random));
    let lost = hub.boot().boot;
    hub.begin().unwrap();
    push(&mut hub, document, &writers.insert(0, &mut random));
    assert!(hub.can_resume(document, Cursor { boot: lost, seq: 2 }).unwrap());
    drop(hub);
    let mut hub = open(folder.path());
    assert_eq!(hub.seq(), 1);
    // Also once the hub has grown past it.
    push(&mut hub, document, &writers.insert(1, &mut random));
    push(&mut hub, document, &writers.insert(1, &mut random));
    assert!(!hub.can_resume(document, Cursor { boot: lost, seq: 2 }).unwrap());
    assert!(hub.can_resume(document, Cursor { boot: lost, seq: 1 }).unwrap());
}

#[test]
fn the_bytes_of_a_document_are_about_what_its_entries_cost() {
    let (folder, mut random) = (TempDir::new().unwrap(), Random(7));
    let mut hub = open(folder.path());
    hub.begin().unwrap();
    let document = hub.open("d").unwrap();
    assert_eq!(hub.bytes(document).unwrap(), 0);
    let mut cost = 0;
    for counter in 1..=1_500u64 {
        let slots = [vec![1; 20], vec![2; random.index(300)], Vec::new()];
        let entry = Entry {
            first: Dot::new(replica(1), counter * 3),
            stamp: Stamp::from_bits(random.draw()),
            label: Label::new(b"\x01notes", [&b"\x01title"[..], b"\x01body", b"\x00"]),
            id: PlaceId::new(&[7; 16]),
            slots: Slots::new(slots.iter().map(|slot| Some(&slot[..]))),
        };
        cost += Page::cost(&entry) as u64;
        let mut delta = Delta::default();
        delta.entries.push(entry);
        push(&mut hub, document, &delta);
        assert_eq!(hub.bytes(document).unwrap(), added_up(&hub, document));
    }
    hub.commit().unwrap();
    drop(hub);
    let bytes = open(folder.path()).bytes(document).unwrap();
    assert!((cost * 9 / 10..cost * 11 / 10).contains(&bytes), "{bytes} of {cost}");
}

#[test]
fn what_many_documents_cost_is_known_after_one_commit() {
    let folder = TempDir::new().unwrap();
    let mut hub = open(folder.path());
    hub.begin().unwrap();
    let documents: Vec<_> = (0..200).map(|n| hub.open(&format!("d{n}")).unwrap()).collect();
    let delta = Writers::default().insert(0, &mut Random(1));
    documents.iter().for_each(|document| push(&mut hub, *document, &delta));
    hub.commit().unwrap();
    drop(hub);
    let hub = open(folder.path());
    for document in documents {
        let bytes = hub.bytes(document).unwrap();
        assert!(bytes > 0 && bytes == added_up(&hub, document));
    }
}

#[test]
fn a_file_of_the_first_version_opens_and_knows_what_its_documents_cost() {
    let folder = TempDir::new().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/version-1.db");
    std::fs::copy(kept, folder.path().join("hub.db")).unwrap();
    let mut hub = open(folder.path());
    for (name, entries, bytes) in [("notes", 23, 1_827), ("other", 2, 169)] {
        let document = hub.open(name).unwrap();
        assert_eq!(hub.bytes(document).unwrap(), bytes);
        assert_eq!(hub.entries(document, None, usize::MAX).unwrap().entries.len(), entries);
    }
    // What was removed is known as well.
    let document = hub.open("notes").unwrap();
    assert!(!hub.buried(document, 0, &CausalContext::default()).unwrap().dots.is_empty());
}

#[test]
fn the_starts_that_are_remembered_are_limited() {
    let folder = TempDir::new().unwrap();
    let mut hub = open(folder.path());
    let document = hub.open("d").unwrap();
    let cursor = Cursor { boot: hub.boot().boot, seq: 0 };
    // With this start, one less than the least of those below.
    let later = "WITH RECURSIVE later (number) AS
                     (SELECT 1 UNION ALL SELECT number + 1 FROM later WHERE number < ?1)
                 INSERT INTO boots (boot, first_seq) SELECT number, 0 FROM later";
    hub.connection().execute(later, [BOOTS_MAX - 3]).unwrap();
    drop(hub);
    for (starts, is_known) in [(BOOTS_MAX - 1, true), (BOOTS_MAX, true), (BOOTS_MAX + 1, false)] {
        let hub = open(folder.path());
        let resumes = hub.can_resume(document, cursor).unwrap();
        assert_eq!(resumes, is_known, "after {starts} starts");
    }
}

#[test]
fn removals_are_bounded_and_older_cursors_fall_back() {
    let folder = TempDir::new().unwrap();
    let mut hub = SqliteHub::open(&folder.path().join("hub.db"), 20).unwrap();
    let mut memory = MemoryHub::new(hub.boot());
    let document = hub.open("d").unwrap();
    memory.open("d").unwrap();
    let boot = hub.boot().boot;
    for counter in 1..=50 {
        let mut delta = Delta::default();
        delta.dead.insert(Dot::new(replica(1), counter));
        push(&mut hub, document, &delta);
        push(&mut memory, document, &delta);
        let horizon = hub.horizon(document).unwrap();
        assert_eq!(horizon, counter.saturating_sub(20));
        memory.forget_removals(horizon);
        for seq in 0..=counter {
            let cursor = Cursor { boot, seq };
            let resumes = hub.can_resume(document, cursor).unwrap();
            assert_eq!(resumes, memory.can_resume(document, cursor).unwrap());
            if resumes {
                let known = hub.context(document).unwrap();
                let buried = hub.buried(document, seq, &known).unwrap();
                assert_eq!(buried, memory.buried(document, seq, &known).unwrap());
            }
        }
    }
}

/// A hub with five entries of one replica, one of them with a dead dot, and a removal.
fn filled(folder: &Path) -> (SqliteHub, DocumentId) {
    let mut hub = open(folder);
    let mut random = Random(3);
    let mut writers = Writers::default();
    let document = hub.open("d").unwrap();
    for _ in 0..5 {
        push(&mut hub, document, &writers.insert(1, &mut random));
    }
    let mut removal = Delta::default();
    removal.dead.insert(Dot::new(replica(1), 1));
    removal.dead.insert(Dot::new(replica(2), 1));
    push(&mut hub, document, &removal);
    (hub, document)
}

fn damage_of(error: StoreError) -> sync_hub::Damage {
    match error {
        StoreError::Damaged(damage) => damage,
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_entry_is_an_error_and_its_live_dots_leave_the_context() {
    let columns = [
        "body = zeroblob(length(body))",
        "body = substr(body, 1, length(body) - 1)",
        "live = live - 2",
        "seq = seq + 1",
        "last = last - 1",
    ];
    for column in columns {
        let folder = TempDir::new().unwrap();
        let (mut hub, document) = filled(folder.path());
        let (context, live) = (hub.context(document).unwrap(), hub.live(document).unwrap());
        let first = hub.entries(document, None, 1).unwrap().entries.remove(0).1;
        let broken = format!("UPDATE entries SET {column} WHERE first = 1");
        assert_eq!(hub.connection().execute(&broken, []).unwrap(), 1);
        let seq = hub.seq();
        let damage = damage_of(hub.entries(document, None, usize::MAX).unwrap_err());
        assert_eq!(damage, damage_of(hub.arrived(document, 0, None, usize::MAX).unwrap_err()));
        let overlapping = {
            use sync_core::causal::DotStore;
            hub.document(document, seq).overlapping(replica(1), 1, 1)
        };
        assert_eq!(damage, damage_of(overlapping.unwrap_err()));
        hub.repair(&damage).unwrap();
        let mut lost = CausalContext::default();
        lost.insert_ranges(replica(1), &first.live_ranges());
        assert_eq!(hub.context(document).unwrap(), context.difference(&lost), "{column}");
        assert!(
            hub.context(document).unwrap().contains(Dot::new(replica(1), 1)),
            "dead stays dead"
        );
        assert_eq!(hub.live(document).unwrap(), live.difference(&lost));
        assert_eq!(hub.bytes(document).unwrap(), added_up(&hub, document));
        let left = hub.entries(document, None, usize::MAX).unwrap().entries;
        assert_eq!(left.len(), 4);
        let left = left.into_iter().map(|(_, entry)| entry);
        let rebuilt = MemoryStore::load(hub.context(document).unwrap(), left);
        assert_eq!(hub.total(document).unwrap(), rebuilt.fingerprints().total());
        // Who has it fills it in.
        let refill = Delta { entries: [first].into(), ..Delta::default() };
        push(&mut hub, document, &refill);
        assert_eq!(hub.context(document).unwrap(), context);
        assert_eq!(hub.live(document).unwrap(), live);
    }
}

#[test]
fn a_damaged_context_is_made_again_from_what_is_live() {
    let folder = TempDir::new().unwrap();
    let (mut hub, document) = filled(folder.path());
    let live = hub.live(document).unwrap();
    let broken = "UPDATE contexts SET ranges = zeroblob(length(ranges)) WHERE replica = ?1";
    assert_eq!(hub.connection().execute(broken, [replica(1).as_bytes()]).unwrap(), 1);
    let damage = damage_of(hub.context(document).unwrap_err());
    hub.repair(&damage).unwrap();
    let context = hub.context(document).unwrap();
    assert_eq!(context.of(replica(1)), live.of(replica(1)));
    assert!(context.contains(Dot::new(replica(2), 1)));
}

#[test]
fn a_damaged_removal_is_forgotten_as_an_old_one_is() {
    let folder = TempDir::new().unwrap();
    let (mut hub, document) = filled(folder.path());
    let broken = "UPDATE removals SET body = zeroblob(length(body)) WHERE seq = 6";
    assert_eq!(hub.connection().execute(broken, []).unwrap(), 1);
    let damage = damage_of(hub.buried(document, 0, &CausalContext::default()).unwrap_err());
    hub.repair(&damage).unwrap();
    let boot = hub.boot().boot;
    assert!(!hub.can_resume(document, Cursor { boot, seq: 5 }).unwrap());
    assert!(hub.can_resume(document, Cursor { boot, seq: 6 }).unwrap());
    assert_eq!(hub.buried(document, 6, &CausalContext::default()).unwrap(), Buried::default());
}
