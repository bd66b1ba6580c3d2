//! The change feed of documents, as it is stored: a row for each field that changed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use sync_core::causal::Dot;
use sync_core::document::FieldChange;
use sync_core::error::Malformed;
use sync_core::pack::{self, Reader};
use sync_core::session::Recorded;

use super::past::{self, Numbered, Past};
use super::rows::{self, Key};
use super::{Store, StoreError};

const FEED: &str = "feed";

/// How many rows are read in one go, whether they are wanted or not. Arbitrary.
const ROWS_MAX: i64 = 1_024;

/// The feed of an open document.
#[derive(Debug, Default)]
pub(super) struct Feed {
    bytes: u64,
    /// Up to which row all are gone.
    gone: i64,
    /// The last row that there ever was.
    last: i64,
}

/// A row of a feed.
#[derive(Debug)]
pub(crate) struct FeedRow {
    pub(crate) position: u64,
    pub(crate) unix_ms: u64,
    pub(crate) change: Dot,
    pub(crate) field: FieldChange,
}

fn decode(reader: &mut Reader<'_>) -> Result<(Dot, FieldChange), Malformed> {
    reader.exactly(2)?;
    Ok((Dot::decode(reader)?, FieldChange::decode(reader)?))
}

/// Looks at a row of the columns position, document, unix_ms, body.
pub(super) fn look(row: &Row<'_>) -> Result<(), StoreError> {
    Numbered::of(row)?.read(FEED, row.get_ref(3)?.as_blob()?, decode).map(|_| ())
}

/// Looks at a row of the columns document, body.
pub(super) fn look_at_head(row: &Row<'_>) -> Result<(), StoreError> {
    read_head(row.get(0)?, row.get_ref(1)?.as_blob()?).map(|_| ())
}

fn read_head(document: i64, body: &[u8]) -> Result<i64, StoreError> {
    let at = Key { table: "feeds", key: &document };
    let (of, gone) = rows::read(at, body, 2, |reader| Ok((reader.int()?, reader.int()?)))?;
    if of == document { Ok(gone) } else { Err(at.damaged()) }
}

fn write_head(connection: &Connection, document: i64, gone: i64) -> Result<(), StoreError> {
    let body = rows::body(2, |out| {
        pack::int(out, document);
        pack::int(out, gone);
    });
    let sql = "INSERT OR REPLACE INTO feeds (document, body) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![document, body])?;
    Ok(())
}

/// The last dot of a change, by whoever wrote it.
fn last_dot(recorded: &Recorded, by: Option<Dot>) -> Option<Dot> {
    let added = recorded.undo.added();
    match by {
        Some(Dot { replica, counter }) => {
            Some(Dot::new(replica, added.max_of(replica).max(counter)))
        }
        None => added.iter().map(|(replica, ranges)| Dot::new(replica, ranges.max())).max(),
    }
}

impl Past {
    /// Finds the feed of a document that was opened, or begins one; or forgets it where none is kept.
    pub(super) fn find_feed(
        &mut self,
        connection: &Connection,
        document: i64,
    ) -> Result<(), StoreError> {
        if self.keeping.feed.is_none() {
            past::clear(connection, FEED, document)?;
            return past::clear(connection, "feeds", document);
        }
        let sql = "SELECT body FROM feeds WHERE document = ?1";
        let row = |row: &Row<'_>| row.get::<_, Vec<u8>>(0);
        let head = connection.prepare_cached(sql)?.query_row([document], row).optional()?;
        let Some(head) = head else { return self.begin_feed(connection, document) };
        let bytes = past::bytes_of(connection, FEED, document)?;
        let (gone, last) = (read_head(document, &head)?, past::next(connection, FEED)? - 1);
        self.feeds.insert(document, Feed { bytes, gone, last });
        Ok(())
    }

    /// Begins a feed: whoever followed an earlier one has missed something.
    pub(super) fn begin_feed(
        &mut self,
        connection: &Connection,
        document: i64,
    ) -> Result<(), StoreError> {
        // A number that no row has, nor will have.
        let gone = past::next(connection, FEED)?;
        let sql = "INSERT INTO feed (position, document, unix_ms, body) VALUES (?1, ?2, 0, x'')";
        connection.execute(sql, [gone, document])?;
        connection.execute("DELETE FROM feed WHERE position = ?1", [gone])?;
        write_head(connection, document, gone)?;
        self.feeds.insert(document, Feed { bytes: 0, gone, last: gone });
        Ok(())
    }

    /// Puts the fields that a change changed into the feed of a document, if there is one.
    pub(super) fn feed(
        &mut self,
        connection: &Connection,
        document: i64,
        recorded: &Recorded,
    ) -> Result<(), StoreError> {
        let Some(feed) = self.feeds.get_mut(&document) else { return Ok(()) };
        for field in &recorded.changes {
            let Some(change) = last_dot(recorded, field.by) else { continue };
            feed.last = past::next(connection, FEED)?;
            feed.bytes += past::append(connection, FEED, document, recorded.unix_ms, |out| {
                pack::array(out, 2);
                change.encode_into(out);
                field.encode_into(out);
            })?;
        }
        let limit = self.keeping.feed.map_or(0, |limits| limits.bytes_max);
        if feed.bytes > limit {
            self.trim_feed(connection, document, self.ages.now_ms())?;
        }
        Ok(())
    }

    /// Lets go what of a feed is beyond its limits.
    pub(super) fn trim_feed(
        &mut self,
        connection: &Connection,
        document: i64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let (Some(feed), Some(limits)) = (self.feeds.get_mut(&document), self.keeping.feed) else {
            return Ok(());
        };
        let limits = (limits, now_ms);
        if let Some(gone) = past::trim(connection, FEED, document, &mut feed.bytes, limits)? {
            feed.gone = gone;
            write_head(connection, document, gone)?;
        }
        Ok(())
    }
}

impl Store {
    /// The last row of the feed of each open document that has one, by name.
    pub(crate) fn feed_ends(&self) -> impl Iterator<Item = (&str, u64)> {
        self.documents.iter().filter_map(|(name, held)| {
            let feed = self.past.feeds.get(&held.number)?;
            Some((name.as_str(), feed.last.unsigned_abs()))
        })
    }

    /// Up to which row the feed of an open document is gone, and its last one; none where it has no feed.
    pub(crate) fn feed_bounds(&self, name: &str) -> Result<Option<(u64, u64)>, StoreError> {
        let feed = self.past.feeds.get(&self.document(name)?);
        Ok(feed.map(|feed| (feed.gone.unsigned_abs(), feed.last.unsigned_abs())))
    }

    /// Shows the rows of a feed behind one, in order, while they are taken. Gives whether there may be more
    /// behind the last.
    pub(crate) fn feed(
        &self,
        name: &str,
        after: u64,
        mut take: impl FnMut(FeedRow) -> bool,
    ) -> Result<bool, StoreError> {
        let document = self.document(name)?;
        self.file.read(|connection| {
            let sql = "SELECT position, document, unix_ms, body FROM feed
                       WHERE document = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([document, rows::counter(after), ROWS_MAX])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                let at = Numbered::of(row)?;
                let (change, field) = at.read(FEED, row.get_ref(3)?.as_blob()?, decode)?;
                let (position, unix_ms) = (at.position.unsigned_abs(), at.unix_ms.unsigned_abs());
                count += 1;
                if !take(FeedRow { position, unix_ms, change, field }) {
                    return Ok(true);
                }
            }
            Ok(count == ROWS_MAX)
        })
    }

    /// Lets the feed of an open document go, and begins another where one is kept.
    pub(crate) fn purge_feed(&mut self, name: &str) -> Result<(), StoreError> {
        let document = self.document(name)?;
        let Self { file, past, .. } = self;
        file.write(|connection| {
            past::clear(connection, FEED, document)?;
            past::clear(connection, "feeds", document)?;
            past.find_feed(connection, document)
        })
    }
}
