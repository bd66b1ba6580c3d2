//! How much memory a client takes for what waits for a hub: a little of each record, since what was written
//! stands in the file.

#![allow(clippy::unwrap_used, reason = "in a test, what is not expected is a failure")]

#[path = "../../../sync-core/tests/heap/meter.rs"]
mod meter;

use std::path::Path;

use sync_client::{Client, Edit, RecordId, Refused};
use tempfile::TempDir;

use crate::meter::Meter;

/// How many bytes of text a record has: some 245 with its id and names.
const TEXT_BYTES: usize = 200;

/// How many records are written in one change.
const CHANGE_RECORDS: usize = 50;

/// The most bytes of heap for each record that waits, whatever is done. Measured with a million: 22 after
/// writing, 28 while all that waits is listed.
const RECORD_BYTES_MAX: i64 = 40;

/// Writes records without a line.
fn write(client: &Client, from: usize, to: usize) {
    let document = client.document("notes").unwrap();
    for first in (from..to).step_by(CHANGE_RECORDS) {
        let insert = |edit: &mut Edit<'_>| -> Result<(), Refused> {
            (first..first + CHANGE_RECORDS).try_for_each(|number| {
                let id = RecordId::new(format!("record-{number:0>16}")).unwrap();
                let text = format!("{number:0>TEXT_BYTES$}");
                edit.insert("notes", &id, [("text", &text.into())])
            })
        };
        let ((), written) = document.change(insert).unwrap();
        written.wait_disk().unwrap();
    }
}

/// What is held after writing so many records, and at most while the client is opened again, lists them and
/// looks at what waits, and held after that.
fn held(meter: &Meter, folder: &Path, records: usize) -> [i64; 3] {
    let count = meter.start();
    let client = Client::open(folder, "notes").unwrap();
    write(&client, 0, records);
    let after_writing = count.held();
    client.shutdown().unwrap();
    drop(client);
    let count = meter.start();
    let client = Client::open(folder, "notes").unwrap();
    let mut after = None;
    let mut changes = 0;
    loop {
        let page = client.outbox_page(after.as_ref(), 10).unwrap();
        changes += page.items.iter().map(|item| item.changes as usize).sum::<usize>();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(changes, records / CHANGE_RECORDS);
    write(&client, records, records + CHANGE_RECORDS);
    let found = [after_writing, count.peak() as i64, count.held()];
    client.shutdown().unwrap();
    found
}

#[test]
fn what_waits_for_a_hub_takes_little_memory_of_each_record() {
    let meter = Meter::new();
    // A million takes minutes.
    let many = std::env::var("SYNC_RECORDS").map_or(22_000, |text| text.parse().unwrap());
    let few = 2_000;
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let of_few = held(&meter, folders[0].path(), few);
    let of_many = held(&meter, folders[1].path(), many);
    for at in 0..3 {
        let each = (of_many[at] - of_few[at]) / (many - few) as i64;
        println!("{each} bytes for each record: {} and {}", of_few[at], of_many[at]);
        assert!(each <= RECORD_BYTES_MAX, "{each} bytes for each record, at {at}");
    }
}
