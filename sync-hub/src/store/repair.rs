//! Taking out a damaged row, so that it is filled in again and looks neither whole nor removed.

use std::fmt;

use rusqlite::{OptionalExtension, params};
use sync_core::causal::{DotRanges, DotStore, ReplicaId};
use sync_core::session::{DocumentId, HubStore};

use super::rows::{live_ranges, read_body, write_seen};
use super::{SqliteHub, StoreError, replica, signed};

/// A row that does not match its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// An entry.
    Entry {
        /// Its document.
        document: DocumentId,
        /// The replica under which it stands.
        replica: Vec<u8>,
        /// The counter under which it stands.
        first: u64,
    },
    /// What was seen of a replica.
    Context {
        /// The document.
        document: DocumentId,
        /// The replica.
        replica: Vec<u8>,
    },
    /// What was removed at a sequence number.
    Removal {
        /// The document.
        document: DocumentId,
        /// The sequence number.
        seq: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { document, replica, first } => {
                write!(f, "entry {}:{first} of document {document}", Hex(replica))
            }
            Self::Context { document, replica } => {
                write!(f, "the context of replica {} of document {document}", Hex(replica))
            }
            Self::Removal { document, seq } => {
                write!(f, "removal {seq} of document {document}")
            }
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl SqliteHub {
    /// Takes a damaged row out, in a transaction of its own.
    ///
    /// The dots of an entry leave the context with it, so that the clients that have them are asked
    /// for them. A context is made again from the live entries; the dots that were dead come back, as
    /// dead, from whoever knows that they died. A removal is forgotten as an old one is: who has not
    /// seen it compares everything.
    pub fn repair(&mut self, damage: &Damage) -> Result<(), StoreError> {
        self.begin()?;
        match damage {
            Damage::Entry { document, replica, first } => {
                self.drop_entry(*document, replica, *first)?;
            }
            Damage::Context { document, replica } => self.rebuild_seen(*document, replica)?,
            Damage::Removal { document, seq } => {
                let key = [signed(*document)?, signed(*seq)?];
                let mut gone =
                    self.prepare("DELETE FROM removals WHERE document = ?1 AND seq <= ?2")?;
                gone.execute(key)?;
                let mut raised = self.prepare(
                    "UPDATE documents SET horizon = max(horizon, ?2), removal_weight =
                     (SELECT coalesce(sum(weight), 0) FROM removals WHERE document = ?1)
                     WHERE id = ?1",
                )?;
                raised.execute(key)?;
            }
        }
        self.commit()
    }

    fn drop_entry(
        &mut self,
        document: DocumentId,
        key: &[u8],
        first: u64,
    ) -> Result<(), StoreError> {
        let at = params![signed(document)?, key, first.cast_signed()];
        let found = {
            let mut statement = self.prepare(
                "SELECT live, body FROM entries
                 WHERE document = ?1 AND replica = ?2 AND first = ?3",
            )?;
            let found = statement.query_row(at, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let gone = "DELETE FROM entries WHERE document = ?1 AND replica = ?2 AND first = ?3";
            self.prepare(gone)?.execute(at)?;
            found
        };
        self.weigh_anew(document)?;
        let Some((mask, body)): Option<(i64, Vec<u8>)> = found else { return Ok(()) };
        // One of the two may be wrong; asking for too much costs a little, for too little an entry.
        let by_columns =
            ReplicaId::from_slice(key).map(|replica| (replica, live_ranges(first, mask)));
        let by_body = read_body(&body).map(|(first, live)| (first.replica, live));
        let seq = self.seq();
        for (replica, live) in by_columns.into_iter().chain(by_body) {
            self.document(document, seq).unsee(replica, &live)?;
        }
        self.rebuild_sums(document, key)
    }

    fn rebuild_seen(&mut self, document: DocumentId, key: &[u8]) -> Result<(), StoreError> {
        let id = signed(document)?;
        self.prepare("DELETE FROM contexts WHERE document = ?1 AND replica = ?2")?
            .execute(params![id, key])?;
        let Some(damaged) = ReplicaId::from_slice(key) else { return Ok(()) };
        let mut seen = DotRanges::default();
        {
            let mut statement = self.prepare(
                "SELECT replica, first, live FROM entries WHERE document = ?1 AND replica = ?2",
            )?;
            let mut rows = statement.query(params![id, key])?;
            while let Some(row) = rows.next()? {
                let (first, mask) = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
                if replica(row, 0)? == Some(damaged) {
                    seen.union(&live_ranges(first.cast_unsigned(), mask));
                }
            }
        }
        if !seen.is_empty() {
            let body = write_seen(document, damaged, &seen);
            self.prepare("INSERT INTO contexts (document, replica, ranges) VALUES (?1, ?2, ?3)")?
                .execute(params![id, key, body])?;
        }
        Ok(())
    }
}
