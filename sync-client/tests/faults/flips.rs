//! A bit of the file flips: no value is read that was not written.
//!
//! What is read may be less than what was written: a row that SQLite does not find, since its key or
//! an index is damaged, has no checksum that tells. Looking at the file in the background tells that too.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_client::{Client, Dot, Error, Item, OutboxItem, Scrubbed};
use sync_faults::{Campaign, Random};
use tempfile::TempDir;

use crate::device::{DOCUMENTS, builder, check_open_error};

const FILE: &str = "client.db";

const FLIPS: Campaign = Campaign {
    package: "sync-client",
    target: "faults",
    test: "a_flipped_bit_gives_no_value_that_nobody_wrote_and_is_told_where_it_hides_one",
    unit: "flipped bits",
    variable: "SYNC_FLIPS",
    ordinary: 150,
};

/// Everything that a client gives to read.
type All = Vec<(Vec<Item>, Vec<OutboxItem>)>;

/// A folder with a copy of a file of which one bit is another, and which one.
fn flip(file: &[u8], seed: u64) -> (TempDir, usize) {
    let bit = Random(seed).index(file.len() * 8);
    let folder = sync_faults::folder();
    let mut flipped = file.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    fs::write(folder.path().join(FILE), flipped).unwrap();
    (folder, bit)
}

/// Holds that no counter is given again by which something was written.
fn check_counters(client: &Client, all: &All, bit: usize) {
    for (name, (_, outbox)) in DOCUMENTS.iter().zip(all) {
        let document = client.document(name).unwrap();
        let replica = document.status().replica;
        let last = outbox.iter().filter(|item| item.replica == replica).map(|item| item.last).max();
        let Some(last) = last.map(|last| Dot::new(replica, last)) else { continue };
        let is_seen = document.read(|document| Ok(document.store().context().contains(last)));
        assert!(is_seen.unwrap(), "bit {bit}: {last:?} is given again");
    }
}

fn read(client: &Client) -> Result<All, Error> {
    let all = DOCUMENTS.iter().map(|name| {
        let document = client.document(name).unwrap();
        Ok((document.collection("notes").list()?, document.outbox()?))
    });
    all.collect()
}

/// A file with records that were inserted, updated and removed, and everything that is in it.
fn fill(folder: &Path) -> All {
    let client = builder(folder).open().unwrap();
    for name in DOCUMENTS {
        let notes = client.document(name).unwrap().collection("notes");
        for number in 0..40 {
            let text = format!("{number} {}", "x".repeat(number * 20));
            let (id, _) = notes.insert([("text", text.as_str().into())]).unwrap();
            let _ = notes.update(&id, [("more", "y".into())]).unwrap();
            if number % 4 == 0 {
                let _ = notes.remove(&id).unwrap();
            }
        }
    }
    let all = read(&client).unwrap();
    client.shutdown().unwrap();
    all
}

/// Whether everything that is read was written as it is read.
fn is_part(now: &All, all: &All) -> bool {
    now.iter().zip(all).all(|((items, outbox), (all_items, all_outbox))| {
        let is_item = |item: &Item| {
            let written = all_items.iter().find(|written| written.id == item.id);
            let mut fields = item.fields.iter();
            written.is_some_and(|written| {
                fields.all(|(name, field)| written.fields.get(name) == Some(field))
            })
        };
        // An item is stored change by change: one that is hidden leaves those before and behind it.
        let is_of = |item: &OutboxItem| {
            all_outbox.iter().any(|written| {
                let of = |replica, counter| {
                    replica == written.replica && (written.first..=written.last).contains(&counter)
                };
                let entries = item.delta.entries.iter();
                let mut dots = entries.flat_map(|entry| entry.live().map(|(dot, _)| dot));
                of(item.replica, item.first)
                    && of(item.replica, item.last)
                    && dots.all(|dot| of(dot.replica, dot.counter))
            })
        };
        items.iter().all(is_item) && outbox.iter().all(is_of)
    })
}

/// What the first pass over the file finds, which nobody asked for.
fn scrubbed(client: &Client) -> Scrubbed {
    let mut events = client.subscribe();
    while client.scrubbed().passes == 0 {
        events.wait_next().expect("the client is open");
    }
    client.scrubbed()
}

#[test]
fn a_flipped_bit_gives_no_value_that_nobody_wrote_and_is_told_where_it_hides_one() {
    let origin = sync_faults::folder();
    let all = fill(origin.path());
    let file = fs::read(origin.path().join(FILE)).unwrap();
    let (flips, hiding) = (AtomicU64::new(0), AtomicU64::new(0));
    FLIPS.run(|seed| {
        let (folder, bit) = flip(&file, seed);
        match builder(folder.path()).open() {
            Ok(client) => match read(&client).inspect(|_| check_counters(&client, &all, bit)) {
                Ok(now) if now == all => {}
                Ok(now) => {
                    assert!(is_part(&now, &all), "bit {bit} gives data that nobody wrote");
                    let damage = scrubbed(&client).damage;
                    assert!(!damage.is_empty(), "bit {bit} hides something, and nothing tells");
                    let damage = client.verify().unwrap();
                    assert!(!damage.is_empty(), "bit {bit} hides something, and is not found");
                    hiding.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => assert!(matches!(error, Error::Read(_)), "{error}"),
            },
            Err(error) => check_open_error(&error),
        }
        flips.fetch_add(1, Ordering::Relaxed);
        1
    });
    let (flips, hiding) = (flips.into_inner(), hiding.into_inner());
    println!("{hiding} of {flips} hide something");
}

/// Two documents that a hub has everything of, and the last dot of each record by document.
fn fill_and_settle(folder: &Path) -> Vec<(&'static str, Item, Dot)> {
    let client = builder(folder).open().unwrap();
    let mut records = Vec::new();
    for name in DOCUMENTS {
        let notes = client.document(name).unwrap().collection("notes");
        for number in 0..12 {
            let text = format!("{name} {number}");
            let (id, written) = notes.insert([("text", text.as_str().into())]).unwrap();
            records.push((name, notes.get(&id).unwrap().unwrap(), written.dot()));
        }
    }
    client.shutdown().unwrap();
    drop(client);
    let file = rusqlite::Connection::open(folder.join(FILE)).unwrap();
    file.execute("DELETE FROM outbox", []).unwrap();
    file.close().unwrap();
    records
}

#[test]
fn after_a_repair_nothing_looks_removed_or_stands_elsewhere_and_no_counter_is_used_again() {
    let origin = sync_faults::folder();
    let records = fill_and_settle(origin.path());
    let file = fs::read(origin.path().join(FILE)).unwrap();
    let repairs = Campaign {
        test: "after_a_repair_nothing_looks_removed_or_stands_elsewhere_and_no_counter_is_used_again",
        ..FLIPS
    };
    repairs.run(|seed| {
        let (folder, bit) = flip(&file, seed);
        let Ok(client) = builder(folder.path()).repair().open() else { return 1 };
        for name in DOCUMENTS {
            let document = client.document(name).unwrap();
            let items = document.collection("notes").list().unwrap();
            let replica = document.status().replica;
            for (of, item, dot) in &records {
                let is_there = items.contains(item);
                if *of != name {
                    assert!(!is_there, "bit {bit}: a record of {of} stands in {name}");
                    continue;
                }
                let is_seen =
                    document.read(|document| Ok(document.store().context().contains(*dot)));
                let is_seen = is_seen.unwrap();
                assert!(is_there || !is_seen, "bit {bit}: a record of {name} looks removed");
                assert!(is_seen || replica != dot.replica, "bit {bit}: {dot:?} is given again");
            }
        }
        1
    });
}
