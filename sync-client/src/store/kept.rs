//! What is kept of deleted and overwritten things because a user may want it: how much that is, its
//! limits, and its end.

use rusqlite::{Connection, params};

use sync_core::session::limits::LOG_ENTRIES_MAX;

use super::StoreError;
use super::rows::counter;

/// The most bytes of the conflict log of one document. Arbitrary; the oldest go first.
pub(crate) const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long an entry of the conflict log is kept, in milliseconds: 90 days. Arbitrary.
pub(crate) const LOG_AGE_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1_000;

/// Where something is kept of what was deleted or overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Keeper {
    /// The conflict log: every side of what clashed.
    ConflictLog,
    /// The checkpoints, each a whole state.
    Checkpoints,
    /// The tape: what was changed since the first checkpoint.
    Tape,
    /// What can be undone and redone.
    Undo,
    /// The change feed.
    Feed,
}

impl Keeper {
    /// Its name, as `conflict log`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConflictLog => "conflict log",
            Self::Checkpoints => "checkpoints",
            Self::Tape => "tape",
            Self::Undo => "undo",
            Self::Feed => "feed",
        }
    }
}

/// What is kept in one place of what was deleted or overwritten in a document.
/// [`Client::purge`](crate::Client::purge) empties it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub keeper: Keeper,
    /// How many entries there are.
    pub entries: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The most entries; the oldest go first. Of some only the bytes are limited.
    pub entries_max: u64,
    /// The most bytes; the oldest go first.
    pub bytes_max: u64,
    /// How old an entry gets, in milliseconds.
    pub age_ms_max: u64,
}

/// What the conflict log of a document keeps.
pub(super) fn log(connection: &Connection, document: i64) -> Result<Kept, StoreError> {
    let sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM conflicts WHERE document = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let (entries, bytes): (i64, i64) =
        statement.query_row([document], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Kept {
        keeper: Keeper::ConflictLog,
        entries: entries.unsigned_abs(),
        bytes: bytes.unsigned_abs(),
        entries_max: LOG_ENTRIES_MAX as u64,
        bytes_max: LOG_BYTES_MAX,
        age_ms_max: LOG_AGE_MS_MAX,
    })
}

/// Takes out of the conflict log of a document what is over its limits in number and bytes.
pub(super) fn limit_log(connection: &Connection, document: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM conflicts WHERE document = ?1 AND key IN (
                   SELECT key FROM (
                       SELECT key, row_number() OVER latest AS number,
                              sum(length(body)) OVER latest AS bytes
                       FROM conflicts WHERE document = ?1
                       WINDOW latest AS (
                           ORDER BY seen_ms DESC, key DESC ROWS UNBOUNDED PRECEDING))
                   WHERE number > ?2 OR bytes > ?3)";
    let limits = params![document, LOG_ENTRIES_MAX as i64, counter(LOG_BYTES_MAX)];
    connection.prepare_cached(sql)?.execute(limits)?;
    Ok(())
}

/// Takes out what is older than it may get.
pub(super) fn forget_old(connection: &Connection, unix_ms: u64) -> Result<(), StoreError> {
    let before = unix_ms.saturating_sub(LOG_AGE_MS_MAX);
    connection
        .prepare_cached("DELETE FROM conflicts WHERE seen_ms < ?1")?
        .execute([counter(before)])?;
    Ok(())
}

/// Takes out everything, of all documents.
pub(super) fn forget_all(connection: &Connection) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM conflicts")?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory;

    fn put(connection: &Connection, document: i64, seen_ms: u64, bytes: u64) {
        let sql = "INSERT INTO conflicts (document, key, seen_ms, body)
                   VALUES (?1, ?2, ?2, zeroblob(?3))";
        connection.execute(sql, params![document, counter(seen_ms), counter(bytes)]).unwrap();
    }

    fn left(connection: &Connection, document: i64) -> Vec<u64> {
        let sql = "SELECT seen_ms FROM conflicts WHERE document = ?1 ORDER BY seen_ms";
        let mut statement = connection.prepare(sql).unwrap();
        let seen = statement.query_map([document], |row| row.get::<_, i64>(0)).unwrap();
        seen.map(|ms| ms.unwrap().unsigned_abs()).collect()
    }

    #[test]
    fn the_bytes_of_a_conflict_log_are_limited_and_the_oldest_go() {
        for (beyond, expected) in [(-1i64, vec![1, 2, 3]), (0, vec![1, 2, 3]), (1, vec![2, 3])] {
            let connection = memory();
            put(&connection, 2, 1, LOG_BYTES_MAX);
            put(&connection, 1, 1, 1_000);
            put(&connection, 1, 3, 2_000);
            let rest = (LOG_BYTES_MAX - 3_000).checked_add_signed(beyond).unwrap();
            put(&connection, 1, 2, rest);
            limit_log(&connection, 1).unwrap();
            assert_eq!(left(&connection, 1), expected, "{beyond}");
            assert_eq!(left(&connection, 2), [1]);
            let kept = log(&connection, 1).unwrap();
            assert_eq!(kept.entries, expected.len() as u64);
            assert!(kept.bytes <= kept.bytes_max);
        }
    }

    #[test]
    fn the_age_of_what_is_kept_is_limited() {
        let connection = memory();
        let now = 2 * LOG_AGE_MS_MAX;
        for age in [LOG_AGE_MS_MAX - 1, LOG_AGE_MS_MAX, LOG_AGE_MS_MAX + 1] {
            put(&connection, 1, now - age, 10);
        }
        forget_old(&connection, now).unwrap();
        assert_eq!(left(&connection, 1), [now - LOG_AGE_MS_MAX, now - LOG_AGE_MS_MAX + 1]);
        forget_all(&connection).unwrap();
        assert!(left(&connection, 1).is_empty());
    }
}
