//! Changes: each is one of these, made at once or with others in a batch.

use std::collections::VecDeque;

use sync_client::{DocumentHandle, Edit, Field, RecordId, Refused, ReplicaId, Value, Written};

use crate::failure::Failure;

/// How many changes a batch may have. Arbitrary: more than fit into one change as a hub takes it.
pub(crate) const BATCH_CHANGES_MAX: usize = 16_384;

/// How many bytes of JSON the changes of a batch may have, together. A change that a hub takes has far
/// less, in whatever way its JSON is written.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 20;

/// Of how many changes a handle of a document remembers where they are. Arbitrary.
pub(crate) const RECEIPTS_MAX: usize = 16_384;

/// Something to do to a document.
#[derive(Debug)]
pub(crate) enum Write {
    Insert { collection: String, id: RecordId, fields: Vec<(String, Field)> },
    Update { collection: String, id: RecordId, fields: Vec<(String, Field)> },
    Put { collection: String, id: RecordId, path: Vec<String>, field: Field },
    Unset { collection: String, id: RecordId, path: Vec<String> },
    Count { collection: String, id: RecordId, path: Vec<String>, amount: i64 },
    Remove { collection: String, id: RecordId },
    Keep { collection: String, id: RecordId, author: ReplicaId },
    Adopt { collection: String, id: RecordId },
    Restore { collection: String, id: RecordId },
    Dismiss { collection: String, id: RecordId },
    AddMember { set: String, member: Value },
    RemoveMember { set: String, member: Value },
    SetValue { name: String, field: Field },
    CountValue { name: String, amount: i64 },
}

impl Write {
    fn apply(&self, edit: &mut Edit<'_>) -> Result<(), Refused> {
        fn names(path: &[String]) -> Vec<&str> {
            path.iter().map(String::as_str).collect()
        }
        fn named(fields: &[(String, Field)]) -> impl Iterator<Item = (&str, &Field)> {
            fields.iter().map(|(name, field)| (&name[..], field))
        }
        match self {
            Self::Insert { collection, id, fields } => edit.insert(collection, id, named(fields)),
            Self::Update { collection, id, fields } => edit.update(collection, id, named(fields)),
            Self::Put { collection, id, path, field } => {
                edit.put(collection, id, &names(path), field)
            }
            Self::Unset { collection, id, path } => edit.unset(collection, id, &names(path)),
            Self::Count { collection, id, path, amount } => {
                edit.count(collection, id, &names(path), *amount)
            }
            Self::Remove { collection, id } => edit.remove(collection, id),
            Self::Keep { collection, id, author } => edit.keep(collection, id, *author),
            Self::Adopt { collection, id } => edit.adopt(collection, id),
            Self::Restore { collection, id } => edit.restore(collection, id),
            Self::Dismiss { collection, id } => edit.dismiss(collection, id),
            Self::AddMember { set, member } => edit.set_add(set, member),
            Self::RemoveMember { set, member } => edit.set_remove(set, member),
            Self::SetValue { name, field } => edit.set_value(name, field),
            Self::CountValue { name, amount } => edit.count_value(name, *amount),
        }
    }
}

/// Makes changes as one, and gives the change. Of several the message says which was refused.
pub(crate) fn make(document: &DocumentHandle, writes: &[Write]) -> Result<Written, Failure> {
    let mut refused = None;
    let made = document.change(|edit| {
        writes
            .iter()
            .enumerate()
            .try_for_each(|(at, write)| write.apply(edit).inspect_err(|_| refused = Some(at + 1)))
    });
    made.map(|((), written)| written).map_err(|error| {
        let failure = Failure::from(error);
        match (refused, writes.len()) {
            (Some(number), count @ 2..) => {
                let text = &failure.text;
                let text = format!("change {number} of {count}, and so none is made: {text}");
                Failure { text, ..failure }
            }
            _ => failure,
        }
    })
}

/// Changes that wait to be made as one.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

impl Batch {
    /// Takes a change whose JSON has so many bytes.
    pub(crate) fn push(&mut self, write: Write, bytes: usize) -> Result<(), Failure> {
        if self.writes.len() >= BATCH_CHANGES_MAX {
            let text = format!("the batch has {BATCH_CHANGES_MAX} changes; commit it first");
            return Err(Failure::misuse(text));
        }
        if bytes > BATCH_BYTES_MAX - self.bytes {
            let text = format!("the batch has {BATCH_BYTES_MAX} bytes of JSON; commit it first");
            return Err(Failure::misuse(text));
        }
        self.writes.push(write);
        self.bytes += bytes;
        Ok(())
    }

    pub(crate) fn into_writes(self) -> Vec<Write> {
        self.writes
    }
}

/// The last changes of a handle, by number.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    last: u64,
    kept: VecDeque<Written>,
}

impl Receipts {
    /// Takes a change, and gives its number: the first is 1.
    pub(crate) fn keep(&mut self, written: Written) -> u64 {
        if self.kept.len() == RECEIPTS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(written);
        self.last += 1;
        self.last
    }

    /// The change of a number; 0 is the last one.
    pub(crate) fn get(&self, number: u64) -> Result<Written, Failure> {
        if self.last == 0 {
            return Err(Failure::misuse("nothing was changed through this handle"));
        }
        let number = if number == 0 { self.last } else { number };
        let back = self.last.checked_sub(number).ok_or_else(|| {
            Failure::misuse(format!("{number} is no number of a change of this handle"))
        })?;
        let kept = usize::try_from(back).ok().and_then(|back| self.kept.iter().rev().nth(back));
        kept.cloned().ok_or_else(|| {
            Failure::misuse(format!(
                "{number} is too long ago: a handle remembers its last {RECEIPTS_MAX} changes; \
                 look at the status of the document"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use sync_client::Client;

    use super::*;

    fn count() -> Write {
        Write::CountValue { name: "n".to_owned(), amount: 1 }
    }

    #[test]
    fn a_batch_is_limited_in_changes_and_in_bytes() {
        let mut batch = Batch::default();
        for _ in 0..BATCH_CHANGES_MAX {
            batch.push(count(), 0).unwrap();
        }
        assert!(batch.push(count(), 0).is_err());
        assert_eq!(batch.into_writes().len(), BATCH_CHANGES_MAX);

        let mut batch = Batch::default();
        batch.push(count(), BATCH_BYTES_MAX - 1).unwrap();
        assert!(batch.push(count(), 2).is_err());
        batch.push(count(), 1).unwrap();
        assert!(batch.push(count(), 1).is_err());
        assert!(batch.push(count(), usize::MAX).is_err());
        batch.push(count(), 0).unwrap();
        assert_eq!(batch.into_writes().len(), 3);
    }

    #[test]
    fn changes_are_remembered_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(folder.path(), "d").unwrap();
        let document = client.document("d").unwrap();
        let mut receipts = Receipts::default();
        assert!(receipts.get(0).is_err(), "there is none");
        let first = make(&document, &[count()]).unwrap();
        let others = make(&document, &[count(), count()]).unwrap();
        assert_eq!(receipts.keep(first.clone()), 1);
        for number in 2..=RECEIPTS_MAX as u64 {
            assert_eq!(receipts.keep(others.clone()), number);
        }
        assert_eq!(receipts.get(1).unwrap().dot(), first.dot());
        assert_eq!(receipts.get(0).unwrap().dot(), others.dot());
        assert!(receipts.get(RECEIPTS_MAX as u64 + 1).is_err(), "not yet");
        receipts.keep(others.clone());
        assert!(receipts.get(1).is_err(), "too long ago");
        assert_eq!(receipts.get(2).unwrap().dot(), others.dot());
        assert_eq!(document.read(|document| document.counter("n")).unwrap(), 3);
    }

    #[test]
    fn of_several_changes_the_message_says_which_was_refused_and_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(folder.path(), "d").unwrap();
        let document = client.document("d").unwrap();
        let collection = || "c".to_owned();
        let id = || RecordId::new("x").unwrap();
        let insert = Write::Insert { collection: collection(), id: id(), fields: Vec::new() };
        let other = RecordId::new("y").unwrap();
        let remove = Write::Remove { collection: collection(), id: other };
        let failure = make(&document, &[insert, remove, count()]).unwrap_err();
        assert_eq!(failure.code, crate::code::Code::NotFound);
        assert!(failure.text.starts_with("change 2 of 3"), "{}", failure.text);
        assert_eq!(document.collection("c").get(&id()).unwrap(), None);
    }
}
