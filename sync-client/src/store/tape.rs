//! Checkpoints of documents, and the tape: everything that was joined since the first of them.

use rusqlite::{Connection, OptionalExtension, params};

use sync_core::causal::{MemoryStore, join};
use sync_core::error::Malformed;
use sync_core::pack::{self, Reader};
use sync_core::session::Recorded;
use sync_core::types::Renaming;
use sync_sqlite::{seal, unseal};

use super::past::{self, Numbered, Past};
use super::rows::{Key, counter};
use super::{Store, StoreError};

const TAPE: &str = "tape";
const CHECKPOINTS: &str = "checkpoints";

/// A state of a document that is kept, to look at it, to compare with it and to come back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names it, for ever.
    pub number: u64,
    /// What the application calls it.
    pub label: String,
    /// When it was made, by this device's clock: milliseconds since 1970.
    pub unix_ms: u64,
    /// The bytes of its snapshot in the file.
    pub bytes: u64,
    /// Whether the tape has everything since then. If not, because of its limits or of a repair, the
    /// checkpoint can still be read and compared with, but nothing since then can be replayed.
    pub is_whole: bool,
}

/// What the tape has at one position.
#[derive(Debug, Clone)]
pub(crate) enum Taped {
    Change(Box<Recorded>),
    Renaming(Renaming),
}

impl Taped {
    /// Does it again in a store.
    pub(crate) fn replay(&self, store: &mut MemoryStore) {
        let Ok(()) = match self {
            Self::Change(recorded) => join(store, &recorded.delta).map(|_| ()),
            Self::Renaming(renaming) => renaming.apply(store),
        };
    }

    pub(super) fn write_change(out: &mut Vec<u8>, recorded: &Recorded) {
        pack::array(out, 2);
        pack::uint(out, 0);
        recorded.encode_into(out);
    }

    pub(super) fn write_renaming(out: &mut Vec<u8>, renaming: &Renaming) {
        pack::array(out, 2);
        pack::uint(out, 1);
        renaming.encode_into(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(2)?;
        match reader.uint()? {
            0 => Recorded::decode(reader).map(Box::new).map(Self::Change),
            1 => Renaming::decode(reader).map(Self::Renaming),
            _ => Err(Malformed::Inconsistent { what: "the tape has changes and renamings" }),
        }
    }
}

/// What the body of a checkpoint says.
#[derive(Debug, Clone)]
struct Head {
    label: String,
    /// Behind which position of the tape it stands.
    after: i64,
    is_whole: bool,
}

impl Head {
    fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 3);
        pack::str(out, &self.label);
        pack::int(out, self.after);
        pack::bool(out, self.is_whole);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(3)?;
        let (label, after) = (reader.str()?.to_owned(), reader.int()?);
        Ok(Self { label, after, is_whole: reader.bool()? })
    }
}

/// A checkpoint with its state, as it is stored.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) after: i64,
    pub(crate) bytes: Vec<u8>,
}

impl Past {
    /// Looks whether a document has a tape.
    pub(super) fn find_tape(
        &mut self,
        connection: &Connection,
        document: i64,
    ) -> Result<(), StoreError> {
        let sql = "SELECT 1 FROM checkpoints WHERE document = ?1";
        if connection.prepare_cached(sql)?.exists([document])? {
            let bytes = past::bytes_of(connection, TAPE, document)?;
            self.tapes.insert(document, bytes);
        }
        Ok(())
    }

    /// Puts something on the tape of a document, if there is one.
    pub(super) fn tape(
        &mut self,
        connection: &Connection,
        document: i64,
        unix_ms: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StoreError> {
        let Some(bytes) = self.tapes.get_mut(&document) else { return Ok(()) };
        *bytes += past::append(connection, TAPE, document, unix_ms, write)?;
        if *bytes > self.keeping.tape.bytes_max {
            let now_ms = self.ages.now_ms();
            self.trim_tape(connection, document, now_ms)?;
        }
        Ok(())
    }

    /// Lets go what of a tape is beyond its limits: what stood before is no longer whole.
    pub(super) fn trim_tape(
        &mut self,
        connection: &Connection,
        document: i64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(bytes) = self.tapes.get_mut(&document) else { return Ok(()) };
        let limits = (self.keeping.tape, now_ms);
        let Some(gone) = past::trim(connection, TAPE, document, bytes, limits)? else {
            return Ok(());
        };
        cut(connection, document, gone)
    }

    /// Lets go the checkpoints that are beyond their limits, and with the last one the tape.
    pub(super) fn trim_checkpoints(
        &mut self,
        connection: &Connection,
        document: i64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let limits = self.keeping.checkpoints;
        let oldest_ms = counter(limits.oldest_ms(now_ms));
        let mut bytes = 0;
        let mut gone = Vec::new();
        let sql = "SELECT position, unix_ms, length(snapshot) FROM checkpoints
                   WHERE document = ?1 ORDER BY position DESC";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([document])?;
        while let Some(row) = rows.next()? {
            let (position, unix_ms, len): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            bytes += len.unsigned_abs();
            if unix_ms < oldest_ms || bytes > limits.bytes_max {
                gone.push(position);
            }
        }
        for position in gone {
            self.drop_checkpoint(connection, document, position)?;
        }
        Ok(())
    }

    /// Lets a checkpoint go, and what of the tape no other one needs. Gives whether there was one.
    fn drop_checkpoint(
        &mut self,
        connection: &Connection,
        document: i64,
        position: i64,
    ) -> Result<bool, StoreError> {
        let sql = "DELETE FROM checkpoints WHERE document = ?1 AND position = ?2";
        let is_gone = connection.prepare_cached(sql)?.execute([document, position])? > 0;
        let first = heads(connection, document)?.into_iter().next();
        let Some((_, Head { after, .. }, _)) = first else {
            self.tapes.remove(&document);
            past::clear(connection, TAPE, document)?;
            return Ok(is_gone);
        };
        let sql = "DELETE FROM tape WHERE document = ?1 AND position <= ?2";
        connection.prepare_cached(sql)?.execute([document, after])?;
        let bytes = past::bytes_of(connection, TAPE, document)?;
        self.tapes.insert(document, bytes);
        Ok(is_gone)
    }
}

/// Notes that a tape has not everything any more, up to a position.
pub(super) fn cut(connection: &Connection, document: i64, gone: i64) -> Result<(), StoreError> {
    for (row, head, _) in heads(connection, document)? {
        if head.is_whole && head.after < gone {
            let head = Head { is_whole: false, ..head };
            let body = row.body(|out| head.encode_into(out));
            let sql = "UPDATE checkpoints SET body = ?2 WHERE position = ?1";
            connection.prepare_cached(sql)?.execute(params![row.position, body])?;
        }
    }
    Ok(())
}

/// Notes that no tape has everything: something was taken out of the file.
pub(super) fn cut_all(connection: &Connection) -> Result<(), StoreError> {
    let mut documents = connection.prepare("SELECT DISTINCT document FROM checkpoints")?;
    let mut rows = documents.query([])?;
    while let Some(row) = rows.next()? {
        cut(connection, row.get(0)?, i64::MAX)?;
    }
    Ok(())
}

/// The heads of a document's checkpoints, the oldest first, and the lengths of their snapshots.
fn heads(connection: &Connection, document: i64) -> Result<Vec<(Numbered, Head, u64)>, StoreError> {
    let sql = "SELECT position, document, unix_ms, body, length(snapshot) FROM checkpoints
               WHERE document = ?1 ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([document])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        let number = Numbered::of(row)?;
        let head = number.read(CHECKPOINTS, row.get_ref(3)?.as_blob()?, Head::decode)?;
        let len: i64 = row.get(4)?;
        heads.push((number, head, len.unsigned_abs()));
    }
    Ok(heads)
}

/// Looks at a row of the columns position, document, unix_ms, body, snapshot.
pub(super) fn look_at_checkpoint(row: &rusqlite::Row<'_>) -> Result<(), StoreError> {
    let number = Numbered::of(row)?;
    number.read(CHECKPOINTS, row.get_ref(3)?.as_blob()?, Head::decode)?;
    let at = Key { table: CHECKPOINTS, key: &number.position };
    unseal(row.get_ref(4)?.as_blob()?).map(|_| ()).map_err(|_| at.damaged())
}

/// Looks at a row of the columns position, document, unix_ms, body.
pub(super) fn look_at_tape(row: &rusqlite::Row<'_>) -> Result<(), StoreError> {
    let body = row.get_ref(3)?.as_blob()?;
    Numbered::of(row)?.read(TAPE, body, Taped::decode).map(|_| ())
}

impl Checkpoint {
    fn of((number, head, bytes): (Numbered, Head, u64)) -> Self {
        Self {
            number: number.position.unsigned_abs(),
            label: head.label,
            unix_ms: number.unix_ms.unsigned_abs(),
            bytes,
            is_whole: head.is_whole,
        }
    }
}

impl Store {
    /// Keeps a snapshot of an open document as it stands, of which everything before is on the tape.
    pub(crate) fn add_checkpoint(
        &mut self,
        name: &str,
        label: &str,
        unix_ms: u64,
        snapshot: &[u8],
    ) -> Result<Checkpoint, StoreError> {
        let document = self.document(name)?;
        let Self { file, past, .. } = self;
        file.write(|connection| {
            let after = past::next(connection, TAPE)? - 1;
            let head = Head { label: label.to_owned(), after, is_whole: true };
            let position = past::next(connection, CHECKPOINTS)?;
            let row = Numbered { position, document, unix_ms: counter(unix_ms) };
            let (body, snapshot) = (row.body(|out| head.encode_into(out)), seal(snapshot));
            let sql = "INSERT INTO checkpoints (position, document, unix_ms, body, snapshot)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![position, document, row.unix_ms, body, snapshot];
            connection.prepare_cached(sql)?.execute(values)?;
            past.tapes.entry(document).or_default();
            past.trim_checkpoints(connection, document, past.ages.now_ms())?;
            Ok(Checkpoint::of((row, head, snapshot.len() as u64)))
        })
    }

    /// The most bytes that a checkpoint may take in the file.
    pub(crate) fn checkpoint_bytes_max(&self) -> u64 {
        self.past.keeping.checkpoints.bytes_max
    }

    /// The checkpoints of an open document, the oldest first.
    pub(crate) fn checkpoints(&self, name: &str) -> Result<Vec<Checkpoint>, StoreError> {
        let document = self.document(name)?;
        let heads = self.file.read(|connection| heads(connection, document))?;
        Ok(heads.into_iter().map(Checkpoint::of).collect())
    }

    /// Lets a checkpoint go, and what of the tape no other one needs. Gives whether there was one.
    pub(crate) fn drop_checkpoint(&mut self, name: &str, number: u64) -> Result<bool, StoreError> {
        let document = self.document(name)?;
        let Self { file, past, .. } = self;
        file.write(|connection| past.drop_checkpoint(connection, document, counter(number)))
    }

    /// Lets all checkpoints of an open document go, and its tape.
    pub(crate) fn purge_checkpoints(&mut self, name: &str) -> Result<(), StoreError> {
        let document = self.document(name)?;
        let Self { file, past, .. } = self;
        past.tapes.remove(&document);
        file.write(|connection| {
            past::clear(connection, CHECKPOINTS, document)?;
            past::clear(connection, TAPE, document)
        })
    }

    /// A checkpoint of an open document with its state.
    pub(crate) fn snapshot(&self, name: &str, number: u64) -> Result<Option<Snapshot>, StoreError> {
        let document = self.document(name)?;
        self.file.read(|connection| {
            let heads = heads(connection, document)?;
            let found = heads.into_iter().find(|(row, ..)| row.position == counter(number));
            let Some((row, head, len)) = found else { return Ok(None) };
            let after = head.after;
            let sql = "SELECT snapshot FROM checkpoints WHERE position = ?1";
            let sealed: Option<Vec<u8>> = connection
                .prepare_cached(sql)?
                .query_row([row.position], |row| row.get(0))
                .optional()?;
            let at = Key { table: CHECKPOINTS, key: &row.position };
            let bytes = unseal(&sealed.unwrap_or_default()).map_err(|_| at.damaged())?.to_vec();
            Ok(Some(Snapshot { checkpoint: Checkpoint::of((row, head, len)), after, bytes }))
        })
    }

    /// What is on the tape of an open document behind a position, in order; none where it has no tape.
    pub(crate) fn tape(&self, name: &str, after: i64) -> Result<Option<Vec<Taped>>, StoreError> {
        let document = self.document(name)?;
        if !self.past.tapes.contains_key(&document) {
            return Ok(None);
        }
        self.file.read(|connection| {
            let sql = "SELECT position, document, unix_ms, body FROM tape
                       WHERE document = ?1 AND position > ?2 ORDER BY position";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([document, after])?;
            let mut tape = Vec::new();
            while let Some(row) = rows.next()? {
                let body = row.get_ref(3)?.as_blob()?;
                tape.push(Numbered::of(row)?.read(TAPE, body, Taped::decode)?);
            }
            Ok(Some(tape))
        })
    }
}
