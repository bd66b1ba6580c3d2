//! A record as it is read: from the live elements of its place, by the rules of the types.

use std::collections::{BTreeMap, BTreeSet};

use super::{CopyOf, Element, Kind, Value};
use crate::causal::{Dot, ReplicaId};
use crate::time::Stamp;

/// One live element: who wrote it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The live dot.
    pub dot: Dot,
    /// When the element was first written.
    pub stamp: Stamp,
    /// Set when it was asserted again.
    pub copy: Option<CopyOf>,
}

impl Claim {
    /// The dot as which it was first written. Copies of one element share it.
    #[must_use]
    pub fn origin(&self) -> Dot {
        self.copy.map_or(self.dot, |copy| copy.origin)
    }
}

/// One live value of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Who and when.
    pub claim: Claim,
    /// What.
    pub value: Value,
}

/// A field as it is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A register: concurrent writes are all kept.
    Register(Value),
    /// A set: an add wins over a concurrent remove.
    Set(BTreeSet<Value>),
}

impl<V: Into<Value>> From<V> for Field {
    fn from(value: V) -> Self {
        Self::Register(value.into())
    }
}

/// What one author wrote into the fields of a record that clash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Names this version: the author.
    pub author: ReplicaId,
    /// The latest of its stamps.
    pub stamp: Stamp,
    /// The clashing fields that this author wrote.
    pub fields: BTreeMap<String, Value>,
}

/// Something that two replicas did without knowing of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// A register has several values. The one that reading gives stands first.
    Field {
        /// The field's name.
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

/// The live elements of one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The existence dots.
    pub existence: Vec<Claim>,
    /// Every live value of each register; never empty.
    pub registers: BTreeMap<String, Vec<Written>>,
    /// The dots of each member of each set.
    pub sets: BTreeMap<String, BTreeMap<Value, Vec<Claim>>>,
}

impl Record {
    /// Takes one live element.
    pub fn add(&mut self, dot: Dot, stamp: Stamp, element: Element) {
        let Element { kind, copy } = element;
        let claim = Claim { dot, stamp: copy.map_or(stamp, |copy| copy.stamp), copy };
        match kind {
            Kind::Exists => self.existence.push(claim),
            Kind::Field { name, value } => {
                self.registers.entry(name).or_default().push(Written { claim, value });
            }
            Kind::Member { name, value } => {
                self.sets.entry(name).or_default().entry(value).or_default().push(claim);
            }
        }
    }

    /// Every live element's claim.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        let registers = self.registers.values().flatten().map(|written| &written.claim);
        let members = self.sets.values().flat_map(BTreeMap::values).flatten();
        self.existence.iter().chain(registers).chain(members)
    }

    /// Whether an element is live that is no copy. Copies alone count for nothing.
    #[must_use]
    pub fn has_original(&self) -> bool {
        self.claims().any(|claim| claim.copy.is_none())
    }

    /// Whether the record is there for its readers.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !self.existence.is_empty() && self.has_original()
    }

    /// The fields as they are read: the winner of each register, the members of each set.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, Field> {
        // Items are put in one by one: collecting would bring in a sort for each type.
        let mut fields = BTreeMap::new();
        for (name, members) in &self.sets {
            let mut set = BTreeSet::new();
            set.extend(members.keys().cloned());
            fields.insert(name.clone(), Field::Set(set));
        }
        for name in self.registers.keys() {
            if let Some(shown) = self.values(name).into_iter().next() {
                fields.insert(name.clone(), Field::Register(shown.value));
            }
        }
        fields
    }

    /// The distinct values of a register, the winner first: by stamp, then by replica and counter of
    /// the dot as which it was first written. Equal values are one, whoever wrote them.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<Written> {
        let rank = |written: &Written| {
            let claim = &written.claim;
            (claim.stamp, claim.origin(), claim.dot)
        };
        let mut values: Vec<&Written> = Vec::new();
        for written in self.registers.get(name).into_iter().flatten() {
            insert_descending(&mut values, written, |written| rank(written));
        }
        let mut distinct: Vec<Written> = Vec::new();
        for written in values {
            let same = |other: &Written| {
                other.value == written.value || other.claim.origin() == written.claim.origin()
            };
            if !distinct.iter().any(same) {
                distinct.push(written.clone());
            }
        }
        distinct
    }

    /// What clashes in this record.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        if !self.has_original() {
            return Vec::new();
        }
        if self.existence.is_empty() {
            let edits = self.claims().filter(|claim| claim.copy.is_none()).map(|claim| claim.dot);
            return vec![Conflict::Partial { edits: edits.collect() }];
        }
        let fields = self.registers.keys().filter_map(|name| {
            let values = self.values(name);
            (values.len() > 1).then(|| Conflict::Field { name: name.clone(), values })
        });
        fields.chain(self.edit_kept()).collect()
    }

    /// The edit that kept the record alive, while only copies say that it exists.
    fn edit_kept(&self) -> Option<Conflict> {
        let copies = self.existence.iter().map(|claim| claim.copy);
        let copy = copies.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|copy| copy.edit)?;
        Some(Conflict::EditKept { edit: copy.edit, removal: copy.removal })
    }

    /// The clashing fields by author, the author whose values are shown first.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let mut versions: Vec<Version> = Vec::new();
        for name in self.registers.keys() {
            let values = self.values(name);
            if values.len() < 2 {
                continue;
            }
            for Written { claim, value } in values {
                let author = claim.origin().replica;
                let at = versions.binary_search_by_key(&author, |version| version.author);
                let at = at.unwrap_or_else(|at| {
                    let (stamp, fields) = (claim.stamp, BTreeMap::new());
                    versions.insert(at, Version { author, stamp, fields });
                    at
                });
                let version = &mut versions[at];
                version.stamp = version.stamp.max(claim.stamp);
                version.fields.entry(name.clone()).or_insert(value);
            }
        }
        let mut sorted = Vec::new();
        for version in versions {
            insert_descending(&mut sorted, version, |version| (version.stamp, version.author));
        }
        sorted
    }
}

/// Puts an item behind those that rank no lower. For the few versions of one field; a sort of the
/// standard library is larger than all else here.
fn insert_descending<T, K: Ord>(items: &mut Vec<T>, item: T, rank: impl Fn(&T) -> K) {
    let at = items.partition_point(|other| rank(other) >= rank(&item));
    items.insert(at, item);
}
