//! A record as it is read: from the live elements of its place, by the rules of the types.

mod clash;
mod plain;

use std::sync::OnceLock;

pub use self::clash::{Conflict, Version, Written};
pub(crate) use self::plain::read;
use super::element::{Claim, Content, CopyOf, Element, SEPARATOR};
use super::{Field, Value, ValueRef};
use crate::causal::{Dot, EntryView, Label, Slots};
use crate::small::{BTreeMap, BTreeSet, SmallVec, SortedMap};
use crate::sort::sort_by;
use crate::time::Stamp;

/// The live elements of one place, in no particular order.
///
/// It keeps the slots as they are stored, and decodes the elements once somebody asks for them. Where
/// every slot stands for itself, as in most records, values are read without that.
#[derive(Debug, Clone, Default)]
pub struct Record {
    parts: SmallVec<[Part; 2]>,
    /// Whether slots must be held against each other, or are not all that counts.
    is_mixed: bool,
    elements: OnceLock<Box<Elements>>,
}

/// What of an entry elements are decoded from.
#[derive(Debug, Clone)]
struct Part {
    first: Dot,
    stamp: Stamp,
    label: Label,
    slots: Slots,
}

#[derive(Debug, Clone, Default)]
struct Elements {
    all: Vec<Element>,
    /// Whether an original says that the record exists. Copies were made for a record that is no more
    /// then, and count for nothing, but for those that mend this one.
    is_original: bool,
}

impl Elements {
    /// Takes the live elements of an entry. Those that this version cannot read are left out.
    fn add(&mut self, first: Dot, stamp: Stamp, label: &Label, slots: &Slots) {
        self.all.reserve(slots.live().count_ones() as usize);
        for (slot, bytes) in slots.iter().enumerate() {
            let Some(bytes) = bytes else { continue };
            let dot = Dot::new(first.replica, first.counter + slot as u64);
            if let Ok(element) = Element::decode(dot, stamp, label, slot, bytes) {
                self.is_original |= is_original(&element);
                self.all.push(element);
            }
        }
    }
}

/// Whether it says that the record exists, and is no copy.
fn is_original(element: &Element) -> bool {
    matches!(element.content, Content::Exists) && element.claim.copy.is_none()
}

impl Record {
    /// Takes the live elements of an entry. Those that this version cannot read are left out.
    pub fn add(&mut self, entry: EntryView<'_>) {
        let EntryView { first, stamp, label, slots, .. } = entry;
        if let Some(elements) = self.elements.get_mut() {
            self.is_mixed = true;
            elements.add(first, stamp, label, slots);
        } else {
            self.is_mixed = !(self.is_plain() && self.stays_plain_with(label));
            let (label, slots) = (label.clone(), slots.clone());
            self.parts.push(Part { first, stamp, label, slots });
        }
    }

    /// Whether values are read without decoding the elements.
    #[inline]
    fn is_plain(&self) -> bool {
        crate::small::HAS_SHORTCUTS && !self.is_mixed
    }

    fn decoded(&self) -> &Elements {
        self.elements.get_or_init(|| {
            let mut elements = Box::<Elements>::default();
            for Part { first, stamp, label, slots } in &self.parts {
                elements.add(*first, *stamp, label, slots);
            }
            elements
        })
    }

    /// Leaves out the elements of other dots.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(Dot) -> bool) {
        self.decoded();
        self.is_mixed = true;
        if let Some(elements) = self.elements.get_mut() {
            elements.all.retain(|element| is_wanted(element.claim.dot));
            elements.is_original = elements.all.iter().any(is_original);
        }
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
        &self.decoded().all
    }

    /// Takes elements of one place.
    pub(crate) fn of(elements: Vec<Element>) -> Self {
        let is_original = elements.iter().any(is_original);
        let elements = Box::new(Elements { all: elements, is_original });
        Self { parts: SmallVec::new(), is_mixed: true, elements: elements.into() }
    }

    /// The live elements that count for readers.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Element> {
        let counts = |element: &&Element| match &element.claim.copy {
            Some(copy) if self.decoded().is_original => self.is_mended_by(copy),
            Some(_) | None => true,
        };
        self.elements().iter().filter(counts)
    }

    /// Whether a copy was made for the very record that an original says is there.
    fn is_mended_by(&self, copy: &CopyOf) -> bool {
        self.existence().any(|claim| claim.copy.is_none() && claim.dot == copy.edit)
    }

    /// Every live element's claim.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.elements().iter().map(|element| &element.claim)
    }

    /// The claims that the record exists.
    pub fn existence(&self) -> impl Iterator<Item = &Claim> {
        let exists =
            self.elements().iter().filter(|element| matches!(element.content, Content::Exists));
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
        self.exists_plainly() || (self.existence().next().is_some() && self.has_original())
    }

    /// The value that reading a register gives.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<Value> {
        if self.is_plain() {
            return self.plain_value(path);
        }
        match self.winner(path)? {
            Content::Register(value) | Content::Latest(value) => Some(value.clone()),
            Content::Exists | Content::Member(_) | Content::Share(_) => None,
        }
    }

    /// Shows every register with the value that reading it gives, in no particular order: the quickest
    /// way to read a whole record that is at hand.
    pub fn read(&self, show: &mut dyn FnMut(&str, ValueRef<'_>)) {
        if self.is_plain() {
            return self.each_plain(|_, path, value| show(path, value));
        }
        let registers = self
            .counted()
            .filter(|element| matches!(element.content, Content::Register(_) | Content::Latest(_)));
        for path in sorted(registers.map(Element::path).collect()) {
            if let Some(value) = self.value(path) {
                show(path, value.lent());
            }
        }
    }

    /// Of the registers of either kind at a path the one that is read: a copy only where there is no
    /// original.
    fn winner(&self, path: &str) -> Option<&Content> {
        let is_register = |element: &&Element| {
            element.is_at(path)
                && matches!(element.content, Content::Register(_) | Content::Latest(_))
        };
        let mut elements = self.elements().iter().filter(is_register);
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
        if self.is_plain() {
            return self.plain_fields();
        }
        // Sorted as a vector: to look for the winner of each path takes longer than to insert it.
        let mut by_path = self.sets();
        for element in self.counted() {
            let path = element.path();
            let field = match (&element.content, by_path.get_mut(path)) {
                (Content::Exists | Content::Member(_), _)
                | (Content::Share(_), Some(Field::Set(_)))
                | (
                    Content::Register(_) | Content::Latest(_),
                    Some(Field::Set(_) | Field::Counter(_)),
                ) => continue,
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

    /// The sets by their paths.
    fn sets(&self) -> SortedMap<&str, Field> {
        let members = self.counted().filter_map(|element| match &element.content {
            Content::Member(value) => Some((element.path(), value)),
            Content::Exists | Content::Register(_) | Content::Latest(_) | Content::Share(_) => None,
        });
        let mut members: Vec<(&str, &Value)> = members.collect();
        sort_by(&mut members, |(a, _), (b, _)| a.cmp(b));
        let of_paths = members.chunk_by(|(a, _), (b, _)| a == b);
        let set =
            |of_path: &[(&str, &Value)]| of_path.iter().map(|(_, one)| (*one).clone()).collect();
        let sets =
            of_paths.filter_map(|of_path| Some((of_path.first()?.0, Field::Set(set(of_path)))));
        sets.collect()
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
        sorted(registers.collect())
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.elements() == other.elements()
    }
}

impl Eq for Record {}

/// Paths in order, each once.
fn sorted(mut paths: Vec<&str>) -> Vec<&str> {
    sort_by(&mut paths, Ord::cmp);
    paths.dedup();
    paths
}

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
