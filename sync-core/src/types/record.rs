//! A record as it is read: from the live elements of its place, by the rules of the types.

use std::collections::{BTreeMap, BTreeSet};

use litemap::LiteMap;

use super::element::{Claim, Content, CopyOf, Element, SEPARATOR};
use super::{Field, Value};
use crate::causal::{Dot, EntryView, ReplicaId};
use crate::sort::sort_by;
use crate::time::Stamp;

/// One live value of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Who and when.
    pub claim: Claim,
    /// What.
    pub value: Value,
}

/// What one author wrote into the fields of a record that clash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Names this version: the author.
    pub author: ReplicaId,
    /// The latest of its stamps.
    pub stamp: Stamp,
    /// The clashing fields that this author wrote, by path.
    pub fields: BTreeMap<String, Value>,
}

impl Version {
    /// The fields as a record shows them: those of nested maps below these.
    #[must_use]
    pub fn nested(&self) -> BTreeMap<String, Field> {
        let mut fields = BTreeMap::new();
        for (path, value) in &self.fields {
            put(&mut fields, path, Field::Register(value.clone()));
        }
        fields
    }
}

/// Something that two replicas did without knowing of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// A register has several values. The one that reading gives stands first.
    Field {
        /// The field's path.
        name: String,
        /// Every distinct value.
        values: Vec<Written>,
    },
    /// The record was edited here and deleted there, and is kept with the edit.
    EditKept {
        /// The edit.
        edit: Dot,
        /// The removal, where it is known.
        removal: Option<Dot>,
    },
    /// An edit whose record was deleted, and nobody has asserted the whole record again.
    Partial {
        /// What is left: the edits.
        edits: Vec<Dot>,
    },
}

/// The live elements of one place, in no particular order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    elements: Vec<Element>,
    /// Whether an original says that the record exists. Copies were made for a record that is no more
    /// then, and count for nothing, but for those that mend this one.
    is_original: bool,
}

impl Record {
    /// Takes the live elements of an entry. Those that this version cannot read are left out.
    pub fn add(&mut self, entry: EntryView<'_>) {
        let EntryView { first, stamp, label, slots, .. } = entry;
        let room = if self.elements.is_empty() { EDITS_ROOM } else { 0 };
        self.elements.reserve(slots.live().count_ones() as usize + room);
        for (slot, bytes) in slots.iter().enumerate() {
            let Some(bytes) = bytes else { continue };
            let dot = Dot::new(first.replica, first.counter + slot as u64);
            if let Ok(element) = Element::decode(dot, stamp, label, slot, bytes) {
                self.is_original |=
                    matches!(element.content, Content::Exists) && element.claim.copy.is_none();
                self.elements.push(element);
            }
        }
    }

    /// Leaves out the elements of other dots.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(Dot) -> bool) {
        self.elements.retain(|element| is_wanted(element.claim.dot));
        let is_original = self.existence().any(|claim| claim.copy.is_none());
        self.is_original = is_original;
    }

    /// Every distinct thing that the record holds, but that it exists: each value of a register, the
    /// winner last, so that it wins as well when all are written at once.
    pub(crate) fn distinct(&self) -> Vec<(&str, Content)> {
        let mut distinct: Vec<(&str, Content)> = Vec::new();
        for path in self.registers() {
            let values = self.values(path).into_iter().rev();
            distinct.extend(values.map(|written| (path, Content::Register(written.value))));
        }
        // A store gives elements in no order; what is written of them must be the same from each.
        let mut counted: Vec<_> = self.counted().collect();
        sort_by(&mut counted, |a, b| a.claim.dot.cmp(&b.claim.dot));
        for element in counted {
            let path = element.path();
            let content = match &element.content {
                Content::Exists | Content::Register(_) => continue,
                Content::Latest(value) => {
                    let latest = self.counted().filter(|other| {
                        other.path() == path && matches!(other.content, Content::Latest(_))
                    });
                    let order = |claim: &Claim| (claim.copy.is_none(), rank(claim));
                    let is_latest = latest.map(|other| order(&other.claim)).max();
                    if is_latest != Some(order(&element.claim)) {
                        continue;
                    }
                    Content::Latest(value.clone())
                }
                Content::Member(_) | Content::Share(_) => element.content.clone(),
            };
            if !distinct.iter().any(|known| *known == (path, content.clone())) {
                distinct.push((path, content));
            }
        }
        distinct
    }

    /// The live elements.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// Takes elements of one place.
    pub(crate) fn of(elements: Vec<Element>) -> Self {
        let mut record = Self { elements, is_original: false };
        record.retain(|_| true);
        record
    }

    /// The live elements that count for readers.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Element> {
        let counts = |element: &&Element| match &element.claim.copy {
            Some(copy) if self.is_original => self.is_mended_by(copy),
            Some(_) | None => true,
        };
        self.elements.iter().filter(counts)
    }

    /// Whether a copy was made for the very record that an original says is there.
    fn is_mended_by(&self, copy: &CopyOf) -> bool {
        self.existence().any(|claim| claim.copy.is_none() && claim.dot == copy.edit)
    }

    /// Every live element's claim.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.elements.iter().map(|element| &element.claim)
    }

    /// The claims that the record exists.
    pub fn existence(&self) -> impl Iterator<Item = &Claim> {
        let exists =
            self.elements.iter().filter(|element| matches!(element.content, Content::Exists));
        exists.map(|element| &element.claim)
    }

    /// Whether an element is live that is no copy. Copies alone count for nothing.
    #[must_use]
    pub fn has_original(&self) -> bool {
        broken!(CopiesCount) || self.claims().any(|claim| claim.copy.is_none())
    }

    /// Whether the record is there for its readers.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.existence().next().is_some() && self.has_original()
    }

    /// The value that reading a register gives.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&Value> {
        match self.winner(path) {
            Some(Content::Register(value) | Content::Latest(value)) => Some(value),
            Some(Content::Exists | Content::Member(_) | Content::Share(_)) | None => None,
        }
    }

    /// Of the registers of either kind at a path the one that is read: a copy only where there is no
    /// original.
    fn winner(&self, path: &str) -> Option<&Content> {
        let is_register = |element: &&Element| {
            element.is_at(path)
                && matches!(element.content, Content::Register(_) | Content::Latest(_))
        };
        let mut elements = self.elements.iter().filter(is_register);
        let mut winner = elements.next()?;
        // Mostly there is one.
        for element in elements {
            let order = |claim: &Claim| (claim.copy.is_none(), rank(claim));
            if order(&element.claim) > order(&winner.claim) {
                winner = element;
            }
        }
        Some(&winner.content)
    }

    /// The members of a set.
    #[must_use]
    pub fn members(&self, path: &str) -> BTreeSet<&Value> {
        let members = self.counted().filter_map(|element| match &element.content {
            Content::Member(value) if element.path() == path => Some(value),
            Content::Exists
            | Content::Register(_)
            | Content::Latest(_)
            | Content::Member(_)
            | Content::Share(_) => None,
        });
        members.collect()
    }

    /// What a counter stands at: for each owner the largest share counts.
    #[must_use]
    pub fn count(&self, path: &str) -> i64 {
        let at_path = self.counted().filter(|element| element.path() == path);
        let shares = at_path.filter_map(|element| match &element.content {
            Content::Share(share) => Some(share),
            Content::Exists | Content::Register(_) | Content::Latest(_) | Content::Member(_) => {
                None
            }
        });
        let mut shares: Vec<_> = shares.collect();
        sort_by(&mut shares, |a, b| a.owner.cmp(&b.owner));
        let mut sum = 0;
        for of_owner in shares.chunk_by(|a, b| a.owner == b.owner) {
            let up = of_owner.iter().map(|share| share.up).max().unwrap_or(0);
            let down = of_owner.iter().map(|share| share.down).max().unwrap_or(0);
            sum += i128::from(up) - i128::from(down);
        }
        i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
    }

    /// The fields as they are read: the winner of each register, the members of each set, the sum of
    /// each counter, nested maps. Where one name holds fields of several types, a map is shown before a
    /// set, a set before a counter, a counter before a register.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, Field> {
        // Sorted as a vector: to look for the winner of each path takes longer than to insert it.
        let mut by_path: LiteMap<&str, Field> = LiteMap::new();
        for element in self.counted() {
            let path = element.path();
            let field = match (&element.content, by_path.get_mut(path)) {
                (Content::Exists, _)
                | (Content::Share(_), Some(Field::Set(_)))
                | (
                    Content::Register(_) | Content::Latest(_),
                    Some(Field::Set(_) | Field::Counter(_)),
                ) => continue,
                (Content::Member(value), Some(Field::Set(members))) => {
                    members.insert(value.clone());
                    continue;
                }
                (Content::Member(value), _) => {
                    let mut members = BTreeSet::new();
                    members.insert(value.clone());
                    Field::Set(members)
                }
                (Content::Share(_), _) => Field::Counter(self.count(path)),
                (Content::Register(_) | Content::Latest(_), Some(_)) => continue,
                (register, None) => match self.winner(path).unwrap_or(register) {
                    Content::Latest(value) => Field::Latest(value.clone()),
                    Content::Register(value) => Field::Register(value.clone()),
                    Content::Exists | Content::Member(_) | Content::Share(_) => continue,
                },
            };
            by_path.insert(path, field);
        }
        let mut fields = BTreeMap::new();
        for (path, field) in by_path {
            put(&mut fields, path, field);
        }
        fields
    }

    /// The distinct values of a register, the winner first: by stamp, then by replica and counter of
    /// the dot as which it was first written. Equal values are one, whoever wrote them.
    #[must_use]
    pub fn values(&self, path: &str) -> Vec<Written> {
        let registers = self.counted().filter_map(|element| match &element.content {
            Content::Register(value) if element.path() == path => {
                Some(Written { claim: element.claim.clone(), value: value.clone() })
            }
            Content::Exists
            | Content::Register(_)
            | Content::Latest(_)
            | Content::Member(_)
            | Content::Share(_) => None,
        });
        let mut values: Vec<_> = registers.collect();
        // A copy stands back where there is an original: it never clashes with a real edit.
        if values.iter().any(|written| written.claim.copy.is_none()) {
            values.retain(|written| written.claim.copy.is_none());
        }
        sort_by(&mut values, |a, b| rank(&b.claim).cmp(&rank(&a.claim)));
        let mut distinct: Vec<Written> = Vec::new();
        for written in values {
            let same = |other: &Written| {
                other.value == written.value || other.claim.origin() == written.claim.origin()
            };
            if !distinct.iter().any(same) {
                distinct.push(written);
            }
        }
        distinct
    }

    /// The paths of the registers that keep every value, in order.
    fn registers(&self) -> Vec<&str> {
        let registers = self.counted().filter_map(|element| match element.content {
            Content::Register(_) => Some(element.path()),
            Content::Exists | Content::Latest(_) | Content::Member(_) | Content::Share(_) => None,
        });
        let mut registers: Vec<_> = registers.collect();
        sort_by(&mut registers, Ord::cmp);
        registers.dedup();
        registers
    }

    /// What clashes in this record.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.conflicts_of(true)
    }

    /// What clashes in a place; only a record needs to exist.
    pub(crate) fn conflicts_of(&self, is_record: bool) -> Vec<Conflict> {
        if !self.has_original() {
            return Vec::new();
        }
        if is_record && self.existence().next().is_none() {
            let edits = self.claims().filter(|claim| claim.copy.is_none()).map(|claim| claim.dot);
            let mut edits: Vec<_> = edits.collect();
            sort_by(&mut edits, Dot::cmp);
            return vec![Conflict::Partial { edits }];
        }
        let fields = self.registers().into_iter().filter_map(|path| {
            let values = self.values(path);
            (values.len() > 1).then(|| Conflict::Field { name: path.to_owned(), values })
        });
        fields.chain(self.edit_kept()).collect()
    }

    /// Whether the record is there as copies for an edit.
    pub(crate) fn is_kept_by_copies(&self) -> bool {
        self.is_shown() && !self.is_original
    }

    /// The edit that kept the record alive, while only copies say that it exists.
    fn edit_kept(&self) -> Option<Conflict> {
        let copies = self.existence().map(|claim| claim.copy.as_deref());
        let copy = copies
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .max_by_key(|copy| (copy.edit, copy.removal))?;
        Some(Conflict::EditKept { edit: copy.edit, removal: copy.removal })
    }

    /// The clashing fields by author, the author whose values are shown first.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let mut versions: LiteMap<ReplicaId, Version> = LiteMap::new();
        for path in self.registers() {
            let values = self.values(path);
            if values.len() < 2 {
                continue;
            }
            for Written { claim, value } in values {
                let author = claim.origin().replica;
                let version = versions.entry(author).or_insert_with(|| Version {
                    author,
                    stamp: claim.stamp,
                    fields: BTreeMap::new(),
                });
                version.stamp = version.stamp.max(claim.stamp);
                version.fields.entry(path.to_owned()).or_insert(value);
            }
        }
        let mut versions: Vec<_> = versions.into_iter().map(|(_, version)| version).collect();
        sort_by(&mut versions, |a, b| (b.stamp, b.author).cmp(&(a.stamp, a.author)));
        versions
    }
}

/// For how many elements there is room beyond those of a record's first entry: an edit or two.
const EDITS_ROOM: usize = 2;

/// The order of concurrent values: the highest wins.
fn rank(claim: &Claim) -> (Stamp, Dot, Dot) {
    (claim.stamp, claim.origin(), claim.dot)
}

/// Puts a field at its path, below maps for all but the last name. What stands in the way of a map
/// gives way to it.
fn put(fields: &mut BTreeMap<String, Field>, path: &str, field: Field) {
    match path.split_once(SEPARATOR) {
        None => {
            fields.entry(path.to_owned()).or_insert(field);
        }
        Some((name, rest)) => {
            let below =
                fields.entry(name.to_owned()).or_insert_with(|| Field::Map(BTreeMap::new()));
            if !matches!(below, Field::Map(_)) {
                *below = Field::Map(BTreeMap::new());
            }
            if let Field::Map(inner) = below {
                put(inner, rest, field);
            }
        }
    }
}
