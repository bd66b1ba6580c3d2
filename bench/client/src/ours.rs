//! The client's side.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use sync_client::{Client, Collection, Field, RecordId};
use sync_core::wire::encode_delta;

use crate::data::Record;

const DOCUMENT: &str = "d";
const COLLECTION: &str = "records";

/// How many records are one change of an import: about as many as a change may have bytes of.
const IMPORTED_AT_ONCE: usize = 400;

fn open(folder: &Path) -> Result<(Client, Collection)> {
    let client = Client::open(folder, DOCUMENT)?;
    let records = client.document(DOCUMENT)?.collection(COLLECTION);
    Ok((client, records))
}

fn fields(record: &Record) -> [(&'static str, Field); 4] {
    [
        ("title", record.title.as_str().into()),
        ("body", record.body.as_str().into()),
        ("flag", Field::Register(record.flag.into())),
        ("time", Field::Register(record.time.into())),
    ]
}

/// How long an import took until all is on disk, and until the file is closed too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Import {
    pub(crate) on_disk: Duration,
    pub(crate) closed: Duration,
}

/// Imports records.
pub(crate) fn import(folder: &Path, records: &[Record]) -> Result<Import> {
    let client = Client::open(folder, DOCUMENT)?;
    let document = client.document(DOCUMENT)?;
    let start = Instant::now();
    let mut last = None;
    for some in records.chunks(IMPORTED_AT_ONCE) {
        let (_, written) = document.change(|edit| {
            for record in some {
                let id = RecordId::new(&*record.id)?;
                let fields = fields(record);
                let fields = fields.iter().map(|(name, field)| (*name, field));
                edit.insert(COLLECTION, &id, fields)?;
            }
            Ok(())
        })?;
        last = Some(written);
    }
    if let Some(last) = last {
        last.wait_disk()?;
    }
    let on_disk = start.elapsed();
    client.shutdown()?;
    Ok(Import { on_disk, closed: start.elapsed() })
}

/// Takes the outbox of a closed file away, as if a hub had everything.
pub(crate) fn forget_outbox(folder: &Path) -> Result<()> {
    let file = rusqlite::Connection::open(folder.join("client.db"))?;
    file.execute("DELETE FROM outbox", [])?;
    Ok(())
}

/// A client with records that writes more.
pub(crate) struct Writer {
    client: Client,
    records: Collection,
}

impl Writer {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let (client, records) = open(folder)?;
        Ok(Self { client, records })
    }

    /// Writes records one by one, each on disk before the next.
    pub(crate) fn write_each(&self, records: &[Record]) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for record in records {
            let start = Instant::now();
            let id = RecordId::new(&*record.id)?;
            self.records.insert_with_id(&id, fields(record))?.wait_disk()?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    /// Lets several threads write at the same time, each its part one by one.
    pub(crate) fn write_together(&self, records: &[Record], threads: usize) -> Result<Duration> {
        let start = Instant::now();
        thread::scope(|scope| {
            let parts = records.chunks(records.len().div_ceil(threads));
            let writers: Vec<_> =
                parts.map(|part| scope.spawn(|| self.write_each(part).map(|_| ()))).collect();
            for writer in writers {
                writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            }
            anyhow::Ok(())
        })?;
        Ok(start.elapsed())
    }

    /// Edits the titles of records, and gives the bytes that wait for the hub by that.
    pub(crate) fn edit(&self, edits: &[(&Record, String)]) -> Result<usize> {
        for (record, title) in edits {
            let id = RecordId::new(&*record.id)?;
            let _ = self.records.update(&id, [("title", title.as_str().into())])?;
        }
        let outbox = self.client.outbox()?;
        Ok(outbox.iter().map(|(_, item)| encode_delta(&item.delta).len()).sum())
    }

    pub(crate) fn get(&self, record: &Record) -> Result<Duration> {
        let id = RecordId::new(&*record.id)?;
        let start = Instant::now();
        let found = self.records.get(&id)?;
        let took = start.elapsed();
        anyhow::ensure!(found.is_some_and(|found| found.text("body") == Some(&record.body)));
        Ok(took)
    }

    /// Reads everything in pages.
    pub(crate) fn read_pages(&self) -> Result<usize> {
        let (mut count, mut after) = (0, None);
        loop {
            let document = self.client.document(DOCUMENT)?;
            let page =
                document.read(|document| document.page(COLLECTION, after.as_ref(), 1_000))?;
            count += page.records.len();
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What was measured is over.
        let _ = self.client.shutdown();
    }
}

/// Opens the file and reads one record.
pub(crate) fn open_and_read(folder: &Path, record: &Record) -> Result<Duration> {
    let start = Instant::now();
    let (client, records) = open(folder)?;
    let found = records.get(&RecordId::new(&*record.id)?)?;
    let took = start.elapsed();
    anyhow::ensure!(found.is_some());
    client.shutdown()?;
    Ok(took)
}
