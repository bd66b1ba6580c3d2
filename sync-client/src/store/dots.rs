//! One document's context and entries in SQLite, as the kernel's join and a session work on them.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::{Connection, Params, params};

use sync_core::causal::{
    CausalContext, Dot, DotRanges, DotStore, Entry, Fingerprints, MemoryStore, RUN_DOTS_MAX,
    ReplicaId,
};
use sync_core::reconcile::{Indexed, LiveDots, Summary};
use sync_core::session::{ClientStore, ItemHead, ItemSpan, OutboxItem};

use super::StoreError;
use super::file::File;
use super::outbox;
use super::rows::{self, counter};

/// One document's entries and context in the client's file: an entry is read when it is asked for.
#[derive(Debug)]
pub struct DocumentStore {
    pub(super) file: Arc<File>,
    pub(super) document: i64,
    /// As in the file once the transaction is committed.
    context: CausalContext,
    /// How many places stand open.
    pub(super) open_count: u64,
    is_settled: bool,
    /// What the outbox had when the document was opened.
    pub(super) heads: Vec<ItemHead>,
    /// Of the live dots, while `is_summed`.
    sums: Fingerprints,
    is_summed: bool,
}

impl DocumentStore {
    /// Every dot seen.
    #[must_use]
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// How many places clash, or are left of what was deleted.
    pub(crate) fn open_count(&self) -> u64 {
        self.open_count
    }

    /// Lets something be done with a document that is as this one, and leaves nothing of it behind.
    pub(crate) fn try_out<T>(
        &self,
        work: impl FnOnce(crate::Document) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (file, context) = (self.file.clone(), self.context.clone());
        let trial = Self {
            file,
            context,
            document: self.document,
            open_count: self.open_count,
            is_settled: true,
            heads: Vec::new(),
            sums: Fingerprints::default(),
            is_summed: false,
        };
        self.file.try_out(|| work(crate::Document::new(trial)))
    }

    /// All that is here, as a store in memory; or how many bytes of entries there are, where these are more
    /// than a limit.
    pub(crate) fn to_memory(
        &self,
        bytes_max: usize,
    ) -> Result<Result<MemoryStore, u64>, StoreError> {
        let sql = "SELECT coalesce(sum(length(body)), 0) FROM entries WHERE document = ?1";
        let bytes: i64 = self.file.read(|connection| {
            Ok(connection.prepare_cached(sql)?.query_row([self.document], |row| row.get(0))?)
        })?;
        if bytes.unsigned_abs() > bytes_max as u64 {
            return Ok(Err(bytes.unsigned_abs()));
        }
        let mut entries = Vec::new();
        self.show_all(|entry| entries.push(entry))?;
        Ok(Ok(MemoryStore::load(self.context.clone(), entries)))
    }

    /// Whether what was written is not to be committed any more.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.file.is_spoiled()
    }

    /// How many reads and writes of the file have failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.file.failures()
    }

    /// Opens a document, of which the context is read. Whether it says which places stand open, its row
    /// tells.
    pub(super) fn open(
        file: Arc<File>,
        document: i64,
        is_settled: bool,
    ) -> Result<Self, StoreError> {
        let (context, open_count) = file.read(|connection| {
            let count = "SELECT count(*) FROM open_places WHERE document = ?1";
            let open_count: i64 = connection.query_row(count, [document], |row| row.get(0))?;
            Ok((read_context(connection, document, Err)?, open_count.unsigned_abs()))
        })?;
        let (heads, sums, is_summed) = (Vec::new(), Fingerprints::default(), false);
        Ok(Self { file, document, context, open_count, is_settled, heads, sums, is_summed })
    }

    /// An item of the outbox, also one that is not committed yet.
    pub(super) fn item_of(&self, span: ItemSpan) -> Result<OutboxItem, StoreError> {
        self.file.read(|connection| outbox::item(connection, self.document, span))
    }

    /// Shows entries that a statement finds: with the columns replica, first, last, space, place, body.
    /// Ends when that says so.
    pub(super) fn show(
        &self,
        sql: &str,
        params: impl Params,
        mut show: impl FnMut(Entry) -> bool,
    ) -> Result<(), StoreError> {
        self.file.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query(params)?;
            while let Some(row) = found.next()? {
                if !show(rows::read_entry(row)?) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn show_overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        show: impl FnMut(Entry) -> bool,
    ) -> Result<(), StoreError> {
        if start > self.context.max_of(replica) {
            return Ok(());
        }
        // Only runs that start up to one run's length earlier can overlap.
        let from = start.saturating_sub(RUN_DOTS_MAX as u64 - 1);
        let sql = "SELECT replica, first, last, space, place, body FROM entries
                   WHERE document = ?1 AND replica = ?2 AND first BETWEEN ?3 AND ?4 AND last >= ?5
                   ORDER BY first";
        let (from, start, end) = (counter(from), counter(start), counter(end));
        self.show(sql, params![self.document, replica.as_bytes(), from, end, start], show)
    }

    fn show_all(&self, mut show: impl FnMut(Entry)) -> Result<(), StoreError> {
        let sql = "SELECT replica, first, last, space, place, body FROM entries
                   WHERE document = ?1";
        self.show(sql, [self.document], |entry| {
            show(entry);
            true
        })
    }

    /// Adds an entry of which nothing is here.
    pub(super) fn insert(&self, entry: &Entry) -> Result<(), StoreError> {
        self.file.insert(self.document, entry)
    }

    /// Writes an entry anew of which some dots were taken out, or came.
    fn update(&self, entry: &Entry) -> Result<(), StoreError> {
        let sql = "UPDATE entries SET body = ?4
                   WHERE document = ?1 AND replica = ?2 AND first = ?3";
        let (replica, first) = (entry.replica(), counter(entry.first.counter));
        let row = params![self.document, replica.as_bytes(), first, rows::write_entry(entry)];
        self.file.write(|connection| {
            connection.prepare_cached(sql)?.execute(row)?;
            Ok(())
        })
    }

    fn delete(&self, first: Dot) -> Result<(), StoreError> {
        let sql = "DELETE FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3";
        let key = params![self.document, first.replica.as_bytes(), counter(first.counter)];
        self.file.write(|connection| {
            connection.prepare_cached(sql)?.execute(key)?;
            Ok(())
        })
    }

    /// Takes note of counters that the file knows to be seen.
    pub(super) fn saw(&mut self, replica: ReplicaId, ranges: &DotRanges) {
        for (start, end) in ranges.iter() {
            self.context.insert_range(replica, start, end);
        }
    }

    pub(super) fn count_in(&mut self, entry: &Entry) {
        if self.is_summed {
            self.sums.add(entry.view());
        }
    }

    fn count_out(&mut self, entry: &Entry) {
        if self.is_summed {
            for (counter, content) in entry.view().hashes() {
                self.sums.remove(Dot::new(entry.replica(), counter), content);
            }
        }
    }
}

/// Reads the context of a document. Of what is damaged in it, `damaged` says whether that matters.
pub(super) fn read_context(
    connection: &Connection,
    document: i64,
    damaged: impl Fn(StoreError) -> Result<(), StoreError>,
) -> Result<CausalContext, StoreError> {
    let mut context = CausalContext::default();
    let mut statement =
        connection.prepare_cached("SELECT replica, body FROM contexts WHERE document = ?1")?;
    let mut found = statement.query([document])?;
    while let Some(row) = found.next()? {
        match rows::read_context_row(row) {
            Ok((replica, ranges)) => context.set(replica, ranges),
            Err(error) => damaged(error)?,
        }
    }
    Ok(context)
}

impl DotStore for DocumentStore {
    type Error = StoreError;

    fn seen(&self, replica: ReplicaId) -> Result<Cow<'_, DotRanges>, StoreError> {
        Ok(self.context.of(replica).map_or_else(Cow::default, Cow::Borrowed))
    }

    fn see(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), StoreError> {
        self.file.see(self.document, replica, ranges, true)?;
        self.saw(replica, ranges);
        Ok(())
    }

    fn unsee(&mut self, replica: ReplicaId, ranges: &DotRanges) -> Result<(), StoreError> {
        self.file.see(self.document, replica, ranges, false)?;
        let seen = self.seen(replica)?.difference(ranges);
        self.context.set(replica, seen);
        Ok(())
    }

    fn overlapping(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        self.show_overlapping(replica, start, end, |entry| {
            entries.push(entry);
            true
        })?;
        Ok(entries)
    }

    fn add(&mut self, entry: Entry) -> Result<bool, StoreError> {
        let known = self.overlapping(entry.replica(), entry.first.counter, entry.last())?;
        let summed = if self.is_summed { known.clone() } else { Vec::new() };
        let is_new = known.is_empty();
        let Some(laid) = entry.laid_over(known) else { return Ok(false) };
        summed.iter().for_each(|known| self.count_out(known));
        self.count_in(&laid);
        if is_new {
            self.insert(&laid)?;
        } else {
            self.update(&laid)?;
        }
        Ok(true)
    }

    fn kill(
        &mut self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        killed: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        for mut entry in self.overlapping(replica, start, end)? {
            let Some(taken) = entry.take(start, end) else { continue };
            self.count_out(&taken);
            if entry.slots.live() == 0 {
                self.delete(entry.first)?;
            } else {
                self.update(&entry)?;
            }
            killed.push(taken);
        }
        Ok(())
    }
}

impl ClientStore for DocumentStore {
    const IS_WRITTEN_THROUGH: bool = true;
    const RECORDS: bool = true;
    const HAS_OUTBOX: bool = true;

    fn is_settled(&self) -> bool {
        self.is_settled
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    fn live(&self) -> Result<CausalContext, StoreError> {
        let mut live = CausalContext::default();
        self.show_all(|entry| live.insert_ranges(entry.replica(), &entry.live_ranges()))?;
        Ok(live)
    }

    fn sum_up(&mut self) -> Result<(), StoreError> {
        if !self.is_summed {
            let mut sums = Fingerprints::default();
            self.show_all(|entry| sums.add(entry.view()))?;
            (self.sums, self.is_summed) = (sums, true);
        }
        Ok(())
    }

    fn summary(&self) -> impl Summary<Error = StoreError> {
        Indexed { fingerprints: &self.sums, live: self }
    }

    fn drop_sums(&mut self) {
        (self.sums, self.is_summed) = (Fingerprints::default(), false);
    }

    fn take_heads(&mut self) -> Vec<ItemHead> {
        std::mem::take(&mut self.heads)
    }

    fn item(&self, span: ItemSpan) -> Result<Option<OutboxItem>, StoreError> {
        self.item_of(span).map(Some)
    }
}

impl LiveDots for DocumentStore {
    type Error = StoreError;

    fn live(
        &self,
        replica: ReplicaId,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut hashes = Vec::new();
        self.show_overlapping(replica, start, end, |entry| {
            let within = entry.view().hashes().filter(|(at, _)| (start..=end).contains(at));
            hashes.extend(within.take(limit - hashes.len()));
            hashes.len() < limit
        })?;
        Ok(hashes)
    }
}
