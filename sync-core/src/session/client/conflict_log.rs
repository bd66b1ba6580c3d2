//! Entries of the conflict log: what clashed, both sides, who and when.

use crate::small::BTreeSet;

use super::{Client, ClientEvent, ClientOutput, ClientStore, Step};
use crate::causal::{PlaceStore, ReplicaId};
use crate::document::Document;
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::session::Now;
use crate::session::limits::LOG_ENTRIES_MAX;
use crate::time::Stamp;
use crate::types::{Conflict, Content, Element, Place, Record, RecordId, Value};

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Who.
    pub author: ReplicaId,
    /// When, by the author's clock, where that is known.
    pub at: Option<Stamp>,
    /// Whether this side deleted the record.
    pub is_delete: bool,
    /// What this side wrote.
    pub value: Option<Value>,
}

/// Something that two replicas did without knowing of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The collection.
    pub collection: String,
    /// The record's id.
    pub record: String,
    /// The clashing field; none for an edit against a delete.
    pub field: Option<String>,
    /// Every side that is known.
    pub sides: Vec<Side>,
    /// When it was seen here, in milliseconds since 1970.
    pub seen_ms: u64,
}

impl LogEntry {
    /// Names the entry: what clashed. A later clash of the same thing takes its place.
    #[must_use]
    pub fn key(&self) -> String {
        let field = self.field.as_deref().unwrap_or("");
        [&self.collection[..], &self.record, field].join("\u{1f}")
    }

    /// Whether it still clashes.
    pub fn is_open<S: PlaceStore>(&self, document: &Document<S>) -> Result<bool, S::Error> {
        let Ok(id) = RecordId::new(self.record.clone()) else { return Ok(false) };
        let place = Place::Record { collection: self.collection.clone(), id };
        let record = document.elements(&place)?;
        Ok(record.conflicts().iter().any(|conflict| match conflict {
            Conflict::Field { name, .. } => self.field.as_ref() == Some(name),
            Conflict::EditKept { .. } | Conflict::Partial { .. } => self.field.is_none(),
        }))
    }
}

/// The log of one document: entries with their keys, in the order of keys. It is short, and a map of
/// one more type would be larger code than all else here.
#[derive(Debug, Default)]
pub(super) struct ConflictLog(Vec<(String, LogEntry)>);

impl ConflictLog {
    pub(super) fn new(entries: Vec<LogEntry>) -> Self {
        let mut log = Self::default();
        for entry in entries {
            log.put(entry);
        }
        log
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LogEntry> {
        self.0.iter().map(|(_, entry)| entry)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn place_of(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(key))
    }

    fn put(&mut self, entry: LogEntry) {
        let key = entry.key();
        match self.place_of(&key) {
            Ok(at) => self.0[at].1 = entry,
            Err(at) => self.0.insert(at, (key, entry)),
        }
        if self.0.len() > LOG_ENTRIES_MAX {
            let by_age = self.iter().enumerate().min_by_key(|(_, entry)| entry.seen_ms);
            if let Some((oldest, _)) = by_age {
                self.0.remove(oldest);
            }
        }
    }

    /// Takes an entry, with what an older one of the same key knows beyond it. Gives the entry to be
    /// stored, if it says anything new.
    fn take(&mut self, mut entry: LogEntry) -> Option<LogEntry> {
        if let Ok(at) = self.place_of(&entry.key()) {
            let known = &self.0[at].1;
            entry.seen_ms = known.seen_ms;
            for side in &mut entry.sides {
                let same = known
                    .sides
                    .iter()
                    .find(|other| (other.author, other.is_delete) == (side.author, side.is_delete));
                side.at = side.at.or(same.and_then(|same| same.at));
            }
            let deletes = known.sides.iter().filter(|side| side.is_delete);
            let unknown = deletes.filter(|side| {
                !entry.sides.iter().any(|own| own.is_delete && own.author == side.author)
            });
            let unknown: Vec<_> = unknown.cloned().collect();
            entry.sides.extend(unknown);
            if *known == entry {
                return None;
            }
        }
        self.put(entry.clone());
        Some(entry)
    }
}

/// Writes an entry for storage.
#[must_use]
pub fn encode_log(entry: &LogEntry) -> Vec<u8> {
    let LogEntry { collection, record, field, sides, seen_ms } = entry;
    let mut out = Vec::new();
    pack::array(&mut out, 5);
    pack::str(&mut out, collection);
    pack::str(&mut out, record);
    match field {
        Some(field) => pack::str(&mut out, field),
        None => pack::nil(&mut out),
    }
    pack::array(&mut out, sides.len());
    for side in sides {
        side.encode_into(&mut out);
    }
    pack::uint(&mut out, *seen_ms);
    out
}

/// Reads what [`encode_log`] wrote.
pub fn decode_log(bytes: &[u8]) -> Result<LogEntry, Malformed> {
    let mut reader = Reader::new(bytes);
    let beyond = reader.at_least(5)?;
    let collection = reader.str()?.to_owned();
    let record = reader.str()?.to_owned();
    let field = reader.option(Reader::str)?.map(str::to_owned);
    let mut sides = Vec::new();
    for _ in 0..reader.array()? {
        sides.push(Side::decode(&mut reader)?);
    }
    let seen_ms = reader.uint()?;
    reader.skip_all(beyond)?;
    reader.end()?;
    Ok(LogEntry { collection, record, field, sides, seen_ms })
}

impl Side {
    fn encode_into(&self, out: &mut Vec<u8>) {
        let Self { author, at, is_delete, value } = self;
        pack::array(out, 4);
        author.encode_into(out);
        match at {
            Some(at) => at.encode_into(out),
            None => pack::nil(out),
        }
        pack::bool(out, *is_delete);
        match value {
            Some(value) => value.encode_into(out),
            None => pack::nil(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let beyond = reader.at_least(4)?;
        let side = Self {
            author: ReplicaId::decode(reader)?,
            at: reader.option(Stamp::decode)?,
            is_delete: reader.bool()?,
            value: reader.option(Value::decode)?,
        };
        reader.skip_all(beyond)?;
        Ok(side)
    }
}

impl<S: ClientStore> Client<S> {
    /// Writes what clashes at these places into the log.
    pub(super) fn log_conflicts(
        &mut self,
        now: Now,
        document: &str,
        places: &BTreeSet<Place>,
        removed_at: &[(Place, Stamp)],
        steps: &mut Vec<Step>,
    ) -> Result<(), S::Error> {
        let Some(opened) = self.documents.get_mut(document) else { return Ok(()) };
        for place in places {
            let Place::Record { collection, id } = place else { continue };
            if !opened.document.clashes(collection, id)? {
                continue;
            }
            let record = opened.document.elements(place)?;
            for conflict in record.conflicts() {
                let removal = removed_at.binary_search_by(|(other, _)| other.cmp(place)).ok();
                let removed_at = removal.map(|at| removed_at[at].1);
                let (field, sides) = sides(&record, conflict, removed_at);
                let (collection, id) = (collection.clone(), id.text());
                let entry = LogEntry { collection, record: id, field, sides, seen_ms: now.unix_ms };
                let Some(entry) = opened.log.take(entry) else { continue };
                steps.push(Step::Log(entry.clone()));
                let document = document.to_owned();
                let event = ClientEvent::Conflict { document, entry };
                self.outputs.push_back(ClientOutput::Event(event));
            }
        }
        Ok(())
    }
}

/// The clashing field, if it is one, and its sides.
fn sides(
    record: &Record,
    conflict: Conflict,
    removed_at: Option<Stamp>,
) -> (Option<String>, Vec<Side>) {
    let edits = |edits: &[crate::causal::Dot]| -> Vec<Side> {
        let elements = record.elements().iter();
        let elements = elements.filter(|element| edits.contains(&element.claim.dot));
        let side = |element: &Element| Side {
            author: element.claim.origin().replica,
            at: Some(element.claim.stamp),
            is_delete: false,
            value: match &element.content {
                Content::Register(value) | Content::Latest(value) => Some(value.clone()),
                Content::Exists | Content::Member(_) | Content::Share(_) => None,
            },
        };
        elements.map(side).collect()
    };
    match conflict {
        Conflict::Field { name, values } => {
            let side = |written: crate::types::Written| Side {
                author: written.claim.origin().replica,
                at: Some(written.claim.stamp),
                is_delete: false,
                value: Some(written.value),
            };
            (Some(name), values.into_iter().map(side).collect())
        }
        Conflict::EditKept { edit, removal } => {
            let mut sides = edits(&[edit]);
            sides.extend(removal.map(|dot| Side {
                author: dot.replica,
                at: removed_at,
                is_delete: true,
                value: None,
            }));
            (None, sides)
        }
        Conflict::Partial { edits: dots } => (None, edits(&dots)),
    }
}
