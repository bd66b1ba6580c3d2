//! What clashes in a record: what two replicas did without knowing of each other.

use crate::small::{BTreeMap, SortedMap};

use super::{Record, put};
use crate::causal::{Dot, ReplicaId};
use crate::sort::sort_by;
use crate::time::Stamp;
use crate::types::{Claim, Field, Value};

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

impl Record {
    /// What clashes in this record.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.conflicts_of(true)
    }

    /// What clashes in a place; only a record needs to exist.
    pub(crate) fn conflicts_of(&self, is_record: bool) -> Vec<Conflict> {
        if self.exists_plainly() || !self.has_original() {
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
        self.is_shown() && !self.decoded().is_original
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
        let mut versions: SortedMap<ReplicaId, Version> = SortedMap::new();
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
