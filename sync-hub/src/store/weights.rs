//! About how many bytes the entries of each document cost: what a first sync has before it.
//!
//! A number of each document follows the rows that are written and deleted; adding them up would take as long
//! as reading all of them.

use std::cell::RefCell;

use rusqlite::params;
use sync_core::session::DocumentId;

use super::rows::StoredEntry;
use super::{SqliteHub, StoreError, signed};

/// Of how many documents the change is kept for later, at most. Arbitrary: what one commit mostly touches.
const WEIGHED_MAX: usize = 64;

/// By how much documents have changed since that was written.
#[derive(Debug, Default)]
pub(super) struct Weighed(RefCell<Vec<(DocumentId, i64)>>);

impl Weighed {
    /// Takes note of a change. Gives whether all of them are to be written.
    fn add(&self, document: DocumentId, by: i64) -> bool {
        let mut weighed = self.0.borrow_mut();
        match weighed.iter_mut().find(|(of, _)| *of == document) {
            Some((_, change)) => *change = change.saturating_add(by),
            None => weighed.push((document, by)),
        }
        weighed.len() > WEIGHED_MAX
    }
}

impl StoredEntry {
    /// What its row costs with a body of so many bytes: by what it says beside its entry, and what an entry
    /// costs beside its bytes.
    fn weight(&self, body: usize) -> i64 {
        // Both are limited far below.
        (body as u64 + 2 * (self.entry.last() - self.entry.first.counter)).cast_signed()
    }

    /// How much more its row costs with another body, none where it is deleted.
    pub(super) fn weight_change(&self, body: Option<usize>) -> i64 {
        let before = if self.bytes > 0 { self.weight(self.bytes) } else { 0 };
        body.map_or(0, |bytes| self.weight(bytes)) - before
    }
}

impl SqliteHub {
    /// Takes note that a document costs so much more, or less.
    pub(super) fn weigh(&self, document: DocumentId, by: i64) -> Result<(), StoreError> {
        if self.weighed.add(document, by) { self.write_weights() } else { Ok(()) }
    }

    /// Writes what is pending.
    pub(super) fn write_weights(&self) -> Result<(), StoreError> {
        let sql = "UPDATE documents SET bytes = bytes + ?2 WHERE id = ?1";
        for (document, by) in self.weighed.0.take() {
            self.prepare(sql)?.execute(params![signed(document)?, by])?;
        }
        Ok(())
    }

    /// Adds up a document of which a row was taken out that may say anything of itself.
    pub(super) fn weigh_anew(&self, document: DocumentId) -> Result<(), StoreError> {
        self.write_weights()?;
        let sql = "UPDATE documents SET bytes =
                       (SELECT coalesce(sum(length(body) + 2 * min(max(last - first, 0), 63)), 0)
                        FROM entries WHERE document = ?1)
                   WHERE id = ?1";
        self.prepare(sql)?.execute([signed(document)?])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_whose_change_waits_are_limited() {
        let weighed = Weighed::default();
        for document in 1..=WEIGHED_MAX as u64 {
            assert!(!weighed.add(document, 1) && !weighed.add(document, -3), "{document}");
        }
        assert!(weighed.0.borrow().iter().all(|(_, change)| *change == -2));
        assert!(weighed.add(0, 1));
    }
}
