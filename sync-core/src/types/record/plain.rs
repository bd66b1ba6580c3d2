//! Reading a record in which every slot stands for itself: no copies, and every path once. Most are so.

use super::{Part, Record, put};
use crate::causal::{EntryView, Label, Slots};
use crate::pack::Reader;
use crate::small::BTreeMap;
use crate::types::element::kind;
use crate::types::{Field, Value, ValueRef};

/// Shows every register of a record of these entries with the value that reading it gives, in no particular
/// order. Says whether the record is there: otherwise it shows nothing.
pub(crate) fn read(entries: &[EntryView<'_>], show: &mut dyn FnMut(&str, ValueRef<'_>)) -> bool {
    if crate::small::HAS_SHORTCUTS && are_plain(entries) {
        let is_shown = entries.iter().any(|entry| exists(entry.label, entry.slots));
        if is_shown {
            let parts = entries.iter().map(|entry| (entry.label, entry.slots));
            each_of(parts, |_, path, value| show(path, value));
        }
        return is_shown;
    }
    let mut record = Record::default();
    entries.iter().for_each(|entry| record.add(*entry));
    let is_shown = record.is_shown();
    if is_shown {
        record.read(show);
    }
    is_shown
}

fn are_plain(entries: &[EntryView<'_>]) -> bool {
    entries.iter().enumerate().all(|(at, entry)| {
        is_alone(entry.label)
            && !entries[..at].iter().any(|known| known.label.shares_text(entry.label))
    })
}

/// Whether each slot of an entry of this label stands for itself.
#[inline]
fn is_alone(label: &Label) -> bool {
    let tags = label.tags();
    !tags.has_high() && !tags.has(kind::MEMBER) && !tags.has(kind::COUNTER) && !label.repeats_text()
}

/// Whether an entry says that the record exists.
#[inline]
fn exists(label: &Label, slots: &Slots) -> bool {
    let says = |slot| label.tag(slot) == Some((kind::EXISTS, 0, true));
    // Mostly the first slot does.
    let is_first = matches!(slots.as_packed(), [_, 1, ..]) && says(0);
    let is_empty = |bytes: Option<&[u8]>| bytes.is_some_and(<[u8]>::is_empty);
    let any = || slots.iter().enumerate().any(|(slot, bytes)| is_empty(bytes) && says(slot));
    is_first || (label.tags().has_plainly(kind::EXISTS) && any())
}

/// Shows every register that can be read: how its name begins, its path, and its value.
#[inline]
fn each_of<'a>(
    parts: impl Iterator<Item = (&'a Label, &'a Slots)>,
    mut show: impl FnMut(u8, &str, ValueRef<'_>),
) {
    for (label, slots) in parts {
        for (name, slot) in label.tagged().zip(slots.iter()) {
            if let (Some((tag, path)), Some(bytes)) = (name, slot)
                && is_register(tag)
            {
                if let Some(value) = ValueRef::common(bytes) {
                    show(tag, path, value);
                } else if let Some(value) = decode(bytes) {
                    show(tag, path, value.lent());
                }
            }
        }
    }
}

impl Record {
    /// Whether a record that is plain stays so with an entry of this label.
    pub(super) fn stays_plain_with(&self, label: &Label) -> bool {
        is_alone(label) && !self.parts.iter().any(|known| known.label.shares_text(label))
    }

    /// Whether a plain record exists.
    pub(super) fn exists_plainly(&self) -> bool {
        self.is_plain() && self.parts.iter().any(|part| exists(&part.label, &part.slots))
    }

    pub(super) fn plain_value(&self, path: &str) -> Option<Value> {
        for part in &self.parts {
            for (slot, tag) in part.label.slots_at(path) {
                if is_register(tag)
                    && let Some(bytes) = part.slots.get(slot)
                {
                    return decode(bytes);
                }
            }
        }
        None
    }

    pub(super) fn plain_fields(&self) -> BTreeMap<String, Field> {
        let mut fields = BTreeMap::new();
        self.each_plain(|tag, path, value| {
            let field = match tag {
                kind::LATEST => Field::Latest(value.into()),
                _ => Field::Register(value.into()),
            };
            put(&mut fields, path, field);
        });
        fields
    }

    /// Shows every register that can be read: how its name begins, its path, and its value.
    #[inline]
    pub(super) fn each_plain(&self, show: impl FnMut(u8, &str, ValueRef<'_>)) {
        each_of(self.parts.iter().map(|Part { label, slots, .. }| (label, slots)), show);
    }
}

fn is_register(tag: u8) -> bool {
    tag == kind::REGISTER || tag == kind::LATEST
}

#[inline(never)]
fn decode(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader::new(bytes);
    let Ok(value) = Value::decode(&mut reader) else { return None };
    if reader.rest_len() == 0 { Some(value) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, Entry, PlaceId, ReplicaId, Slots};
    use crate::time::Stamp;
    use crate::types::element::{Content, CopyOf, Share, Written};
    use proptest::prelude::*;
    use proptest::sample::select;

    const PATHS: [&str; 5] = ["", "a", "b", "a\u{1f}b", "c"];

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([7; 16]), counter)
    }

    type Slot = (Vec<u8>, Option<Vec<u8>>);

    /// The name and the bytes of a slot: mostly a register, sometimes what cannot be read.
    fn slot() -> impl Strategy<Value = Slot> {
        let share = Share { owner: dot(1).replica, up: 5, down: 2 };
        let content = prop_oneof![
            2 => Just(Content::Exists),
            4 => (0i64..3).prop_map(|number| Content::Register(number.into())),
            2 => (0i64..3).prop_map(|number| Content::Latest(number.into())),
            1 => Just(Content::Member("m".into())),
            1 => Just(Content::Share(share)),
        ];
        let copy =
            CopyOf { origin: dot(90), stamp: Stamp::from_bits(3), edit: dot(1), removal: None };
        let copy = prop_oneof![8 => Just(None), 1 => Just(Some(copy))];
        let damage = prop_oneof![8 => Just(0), 1 => 1u8..6];
        (content, copy, select(&PATHS[..]), damage).prop_map(|(content, copy, path, damage)| {
            let path = if content == Content::Exists { "" } else { path };
            let Written { mut name, mut bytes } = Written::new(path, &content, copy.as_ref());
            match damage {
                1 => bytes.push(0),
                2 => name.push(0xff),
                3 => name.clear(),
                4 => name[0] |= 0x40,
                5 => return (name, None),
                _ => {}
            }
            (name, Some(bytes))
        })
    }

    fn record(entries: Vec<Vec<Slot>>) -> Record {
        let mut record = Record::default();
        for (at, slots) in entries.into_iter().enumerate() {
            let names = slots.iter().map(|(name, _)| &name[..]);
            let entry = Entry {
                first: dot(1 + 10 * at as u64),
                stamp: Stamp::from_bits(10 - at as u64),
                label: Label::new(b"\x01s", names),
                id: PlaceId::default(),
                slots: Slots::new(slots.iter().map(|(_, bytes)| bytes.as_deref())),
            };
            record.add(entry.view());
        }
        record
    }

    fn read(record: &Record) -> BTreeMap<String, Value> {
        let mut read = BTreeMap::new();
        record.read(&mut |path, value| {
            assert_eq!(read.insert(path.to_owned(), value.into()), None, "{path} is shown once");
        });
        read
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_plain_record_reads_as_its_elements_do(
            entries in proptest::collection::vec(proptest::collection::vec(slot(), 1..5), 0..4),
        ) {
            let plain = record(entries);
            let general = Record::of(plain.elements().to_vec());
            for path in PATHS {
                prop_assert_eq!(plain.value(path), general.value(path), "{}", path);
            }
            prop_assert_eq!(read(&plain), read(&general));
            prop_assert_eq!(plain.fields(), general.fields());
            prop_assert_eq!(plain.is_shown(), general.is_shown());
            for is_record in [false, true] {
                prop_assert_eq!(plain.conflicts_of(is_record), general.conflicts_of(is_record));
            }
        }
    }

    #[test]
    fn a_record_with_an_edit_is_plain_and_one_with_two_values_is_not() {
        let written = |path, content: &Content| {
            let Written { name, bytes } = Written::new(path, content, None);
            (name, Some(bytes))
        };
        let (one, other) = (Content::Register(1i64.into()), Content::Latest(2i64.into()));
        let first = vec![written("", &Content::Exists), written("a", &one)];
        for (edit, is_plain) in [
            (written("b", &one), true),
            (written("b", &other), true),
            (written("a", &one), false),
            (written("a", &other), false),
        ] {
            let found = record(vec![first.clone(), vec![edit.clone()]]);
            assert_eq!(!found.is_mixed, is_plain, "{edit:?}");
            let run = record(vec![first.iter().cloned().chain([edit]).collect()]);
            assert_eq!(!run.is_mixed, is_plain);
        }
    }
}
