//! Which fields a change of any replica changed, with what they held before and hold now.

use super::Document;
use super::undo::Undo;
use crate::causal::{Delta, Dot, Entry, EntryView, PlaceId, PlaceStore};
use crate::error::Malformed;
use crate::pack::{self, Reader};
use crate::small::{BTreeMap, BTreeSet};
use crate::types::element::SEPARATOR_TEXT;
use crate::types::place::{Space, is_collection};
use crate::types::{Element, Field, Place, Record, RecordId, VALUE_DEPTH_MAX, Value};

/// A field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Which record, set or value. Of a set of the document there is one change for each member.
    pub place: Place,
    /// The names of nested maps, then of the field. Empty where a record came or went, which has all its
    /// fields as a map; and of sets and values.
    pub path: Vec<String>,
    /// What it held.
    pub old: Option<Field>,
    /// What it holds.
    pub new: Option<Field>,
    /// The dot that changed it; none where several replicas' changes came as one, and it is not known
    /// whose it was.
    pub by: Option<Dot>,
}

impl FieldChange {
    /// Writes it to the end of some bytes, for storage.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        pack::array(out, 5);
        let (kind, name, id) = match &self.place {
            Place::Record { collection, id } => (0, collection, Some(id)),
            Place::Set { name } => (1, name, None),
            Place::Value { name } => (2, name, None),
        };
        pack::array(out, 3);
        pack::uint(out, kind);
        pack::str(out, name);
        match id {
            Some(id) => pack::bytes(out, id.as_place_id()),
            None => pack::nil(out),
        }
        pack::array(out, self.path.len());
        self.path.iter().for_each(|name| pack::str(out, name));
        for side in [&self.old, &self.new] {
            match side {
                Some(field) => encode_field(field, out),
                None => pack::nil(out),
            }
        }
        match self.by {
            Some(dot) => dot.encode_into(out),
            None => pack::nil(out),
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.exactly(5)?;
        reader.exactly(3)?;
        let (kind, name) = (reader.uint()?, reader.str()?.to_owned());
        let id = reader.option(Reader::bytes)?;
        let id = id.and_then(|id| RecordId::from_place_id(&PlaceId::new(id)));
        let place = match (kind, id) {
            (0, Some(id)) => Place::Record { collection: name, id },
            (1, None) => Place::Set { name },
            (2, None) => Place::Value { name },
            _ => return Err(Malformed::Inconsistent { what: "a change is of a place" }),
        };
        let path = (0..reader.array()?).map(|_| Ok(reader.str()?.to_owned()));
        let path = path.collect::<Result<_, Malformed>>()?;
        let field = |reader: &mut Reader<'_>| decode_field(reader, FIELD_DEPTH_MAX);
        let (old, new) = (reader.option(field)?, reader.option(field)?);
        Ok(Self { place, path, old, new, by: reader.option(Dot::decode)? })
    }
}

/// How deep maps of fields nest. A name has room for no more.
const FIELD_DEPTH_MAX: usize = 8 * VALUE_DEPTH_MAX;

fn encode_field(field: &Field, out: &mut Vec<u8>) {
    pack::array(out, 2);
    match field {
        Field::Register(value) => {
            pack::uint(out, 0);
            value.encode_into(out);
        }
        Field::Latest(value) => {
            pack::uint(out, 1);
            value.encode_into(out);
        }
        Field::Set(members) => {
            pack::uint(out, 2);
            pack::array(out, members.len());
            members.iter().for_each(|member| member.encode_into(out));
        }
        Field::Counter(sum) => {
            pack::uint(out, 3);
            pack::int(out, *sum);
        }
        Field::Map(fields) => {
            pack::uint(out, 4);
            pack::map(out, fields.len());
            for (name, field) in fields {
                pack::str(out, name);
                encode_field(field, out);
            }
        }
    }
}

fn decode_field(reader: &mut Reader<'_>, depth: usize) -> Result<Field, Malformed> {
    let Some(depth) = depth.checked_sub(1) else {
        let limit = FIELD_DEPTH_MAX as u64;
        return Err(Malformed::limit("the depth of a field", limit + 1, limit));
    };
    reader.exactly(2)?;
    Ok(match reader.uint()? {
        0 => Field::Register(Value::decode(reader)?),
        1 => Field::Latest(Value::decode(reader)?),
        2 => {
            let members = (0..reader.array()?).map(|_| Value::decode(reader));
            Field::Set(members.collect::<Result<_, _>>()?)
        }
        3 => Field::Counter(reader.int()?),
        4 => {
            let fields = (0..reader.map()?).map(|_| {
                let name = reader.str()?.to_owned();
                Ok((name, decode_field(reader, depth)?))
            });
            Field::Map(fields.collect::<Result<_, Malformed>>()?)
        }
        _ => return Err(Malformed::Inconsistent { what: "a field is of a known type" }),
    })
}

type Fields = BTreeMap<String, Field>;

/// One place that a change touched.
struct Touched<'a> {
    place: Place,
    /// What the change took of it.
    killed: Vec<EntryView<'a>>,
    /// What it wrote there that was new.
    new: Record,
}

impl<S: PlaceStore> Document<S> {
    /// Which fields a change changed that was just made or joined.
    pub(crate) fn field_changes(
        &self,
        delta: &Delta,
        undo: &Undo,
    ) -> Result<Vec<FieldChange>, S::Error> {
        let mut places: BTreeMap<(Space, PlaceId), Touched<'_>> = BTreeMap::new();
        for (entry, is_new) in undo
            .replaced()
            .iter()
            .map(|entry| (entry, false))
            .chain(delta.entries.iter().map(|entry| (entry, true)))
        {
            if is_new && !has_any(entry, undo) {
                continue;
            }
            let Some(place) = Place::of(entry.label.space(), &entry.id) else { continue };
            let key = (Space::from_slice(entry.label.space()), entry.id.clone());
            let empty = || Touched { place, killed: Vec::new(), new: Record::default() };
            let touched = places.entry(key).or_insert_with(empty);
            if is_new {
                touched.new.add(entry.view());
            } else {
                touched.killed.push(entry.view());
            }
        }
        let mut changes = Vec::new();
        for ((space, id), touched) in places {
            let after = self.record_at(&space, &id)?;
            let kept = after.elements().iter();
            let kept = kept.filter(|element| !undo.added().contains(element.claim.dot));
            let mut elements: Vec<Element> = kept.cloned().collect();
            let mut killed = Record::default();
            touched.killed.iter().for_each(|entry| killed.add(*entry));
            elements.extend_from_slice(killed.elements());
            let before = Record::of(elements);
            let is_record = is_collection(&space);
            let shown =
                |record: &Record| (!is_record || record.is_shown()).then(|| record.fields());
            let by = |path: &[&str]| author(&touched, path, delta, undo, (&space, &id));
            let place = &touched.place;
            compare(place, shown(&before), shown(&after), is_record, &by, &mut changes);
        }
        Ok(changes)
    }
}

fn has_any(entry: &Entry, undo: &Undo) -> bool {
    let added = undo.added().of(entry.replica());
    added.is_some_and(|added| !added.intersection(&entry.live_ranges()).is_empty())
}

/// Whose change it was that a field changed.
fn author(
    touched: &Touched<'_>,
    path: &[&str],
    delta: &Delta,
    undo: &Undo,
    (space, id): (&Space, &PlaceId),
) -> Option<Dot> {
    let path = path.join(SEPARATOR_TEXT);
    let new = touched.new.elements().iter();
    let new = new.filter(|element| undo.added().contains(element.claim.dot));
    let here = new.filter(|element| path.is_empty() || element.path() == path);
    let last = here.map(|element| element.claim.dot).max();
    last.or_else(|| {
        let notes = delta.notes.iter();
        let here = notes.filter(|note| note.label.space() == &**space && note.id == *id);
        here.map(|note| note.dot).max()
    })
    .or_else(|| {
        let mut writers = undo.added().iter();
        let (replica, ranges) = writers.next()?;
        writers.next().is_none().then(|| Dot::new(replica, ranges.max()))
    })
}

/// Notes what differs between two states of a place.
fn compare(
    place: &Place,
    old: Option<Fields>,
    new: Option<Fields>,
    is_record: bool,
    by: &dyn Fn(&[&str]) -> Option<Dot>,
    changes: &mut Vec<FieldChange>,
) {
    let change = |path: &[&str], old: Option<Field>, new: Option<Field>| FieldChange {
        place: place.clone(),
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        old,
        new,
        by: by(path),
    };
    match (old, new) {
        (Some(mut old), Some(mut new)) if !is_record => {
            let (old, new) = (old.remove(""), new.remove(""));
            if old != new {
                changes.push(change(&[], old, new));
            }
        }
        (Some(old), Some(new)) => {
            let mut path = Vec::new();
            let note = &mut |path: &[&str], old: Option<&Field>, new: Option<&Field>| {
                changes.push(change(path, old.cloned(), new.cloned()));
            };
            compare_fields(&old, &new, &mut path, note);
        }
        (None, None) => {}
        (old, new) => {
            changes.push(change(&[], old.map(Field::Map), new.map(Field::Map)));
        }
    }
}

type Note<'n> = dyn FnMut(&[&str], Option<&Field>, Option<&Field>) + 'n;

fn compare_fields<'f>(
    old: &'f Fields,
    new: &'f Fields,
    path: &mut Vec<&'f str>,
    note: &mut Note<'_>,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        path.push(name);
        match (old.get(name), new.get(name)) {
            (Some(Field::Map(old)), Some(Field::Map(new))) => {
                compare_fields(old, new, path, note);
            }
            (old, new) if old != new => note(path, old, new),
            _ => {}
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_of_a_field_is_limited() {
        for (depth, is_read) in
            [(FIELD_DEPTH_MAX - 1, true), (FIELD_DEPTH_MAX, true), (FIELD_DEPTH_MAX + 1, false)]
        {
            let deepest = Field::Counter(1);
            let field = (1..depth).fold(deepest, |inner, _| {
                Field::Map(BTreeMap::from_iter([("a".to_owned(), inner)]))
            });
            let mut bytes = Vec::new();
            encode_field(&field, &mut bytes);
            let read = decode_field(&mut Reader::new(&bytes), FIELD_DEPTH_MAX);
            assert_eq!(read.is_ok_and(|read| read == field), is_read, "{depth}");
        }
    }
}
