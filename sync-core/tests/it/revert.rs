//! Taking back what some replicas wrote, by a record of what was joined.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::causal::{Delta, ReplicaId};
use sync_core::document::{Author, Document, Edit, Refused, Reverting, Undo};
use sync_core::error::Sure;
use sync_core::pack::Reader;
use sync_core::session::Recorded;
use sync_core::time::Stamp;
use sync_core::types::{Field, Place, RecordId, Value};

use crate::undo::{insert, set, write};

/// One replica with a tape.
struct Device {
    document: Document,
    tape: Vec<(Delta, Undo)>,
    replica: ReplicaId,
    now: u64,
}

impl Device {
    fn new(number: u8) -> Self {
        let replica = ReplicaId::from_bytes([number; 16]);
        Self { document: Document::default(), tape: Vec::new(), replica, now: u64::from(number) }
    }

    fn author(&mut self) -> Author {
        self.now += 10;
        Author { replica: self.replica, stamp: Stamp::from_ms(self.now) }
    }

    fn try_change(
        &mut self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<(), Refused>,
    ) -> Option<Delta> {
        let author = self.author();
        let edited = self.document.edit(author, usize::MAX, change).ok()?;
        self.tape.push((edited.delta.clone(), edited.undo));
        Some(edited.delta)
    }

    fn change(&mut self, change: impl FnOnce(&mut Edit<'_>) -> Result<(), Refused>) -> Delta {
        self.try_change(change).unwrap()
    }

    fn hear(&mut self, delta: &Delta) {
        let (change, undo) = self.document.join_and_record(delta).sure();
        if change.is_new {
            self.tape.push((delta.clone(), undo));
        }
        for orphan in change.orphans {
            let author = self.author();
            for edited in self.document.assert(author, usize::MAX, &orphan).sure() {
                self.tape.push((edited.delta, edited.undo));
            }
        }
    }

    /// Takes back what authors wrote since a place of the tape.
    fn revert(&mut self, since: usize, is_wanted: impl Fn(ReplicaId) -> bool) -> Delta {
        let mut reverting = Reverting::default();
        for (delta, undo) in &self.tape[since..] {
            reverting.add(delta, undo, &is_wanted);
        }
        let reversal = reverting.reversal(&self.document).sure();
        self.change(|edit| edit.revert(&reversal, 0..reversal.len()))
    }

    fn unclear(&self, is_wanted: impl Fn(ReplicaId) -> bool) -> Vec<Place> {
        let mut reverting = Reverting::default();
        self.tape.iter().for_each(|(delta, undo)| reverting.add(delta, undo, &is_wanted));
        reverting.unclear().cloned().collect()
    }

    fn fields(&self, record: &str) -> Option<BTreeMap<String, Field>> {
        Some(self.document.record("notes", &id(record)).sure()?.fields())
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.fields("n")?.get(name)? {
            Field::Register(value) => value.as_str().map(str::to_owned),
            other => panic!("{name} is {other:?}"),
        }
    }

    /// All that is shown. A counter that stands at zero is as one that never was.
    fn shown(&self) -> BTreeMap<String, BTreeMap<String, Field>> {
        let records = self.document.records("notes").sure().into_iter();
        let mut all: BTreeMap<_, _> =
            records.map(|(id, record)| (id.to_string(), record.fields())).collect();
        for name in ["s", "v", "c"] {
            for place in
                [Place::Set { name: name.to_owned() }, Place::Value { name: name.to_owned() }]
            {
                all.insert(format!("{place:?}"), self.document.elements(&place).sure().fields());
            }
        }
        for fields in all.values_mut() {
            fields.retain(|_, field| *field != Field::Counter(0));
        }
        all
    }
}

fn id(name: &str) -> RecordId {
    RecordId::new(name).unwrap()
}

type Step = Box<dyn Fn(&mut Edit<'_>) -> Result<(), Refused>>;

fn steps() -> Vec<(&'static str, Step)> {
    vec![
        ("a register", Box::new(|edit| write("title", "other")(edit))),
        ("a new register", Box::new(|edit| write("new", "n")(edit))),
        ("a set", Box::new(|edit| write("tags", set(&["y", "z"]))(edit))),
        ("a counter", Box::new(|edit| edit.count("notes", &id("n"), &["count"], -7))),
        ("a latest", Box::new(|edit| write("at", Field::Latest(2i64.into()))(edit))),
        ("a map", Box::new(|edit| edit.put("notes", &id("n"), &["place", "zip"], &"z".into()))),
        (
            "a map's field",
            Box::new(|edit| edit.put("notes", &id("n"), &["place", "city"], &"d".into())),
        ),
        ("an unset", Box::new(|edit| edit.unset("notes", &id("n"), &["place"]))),
        ("an unset counter", Box::new(|edit| edit.unset("notes", &id("n"), &["count"]))),
        ("a removal", Box::new(|edit| edit.remove("notes", &id("n")))),
        (
            "a new record",
            Box::new(|edit| edit.insert("notes", &id("m"), [("title", &Field::from("m"))])),
        ),
        (
            "a set of the document",
            Box::new(|edit| {
                edit.set_add("s", &"new".into())?;
                edit.set_remove("s", &"old".into())
            }),
        ),
        ("a value", Box::new(|edit| edit.set_value("v", &"new".into()))),
        ("a counter of the document", Box::new(|edit| edit.count_value("c", 4))),
        (
            "several",
            Box::new(|edit| {
                write("title", "1")(edit)?;
                write("title", "2")(edit)?;
                edit.remove("notes", &id("n"))?;
                insert(edit)?;
                write("title", "3")(edit)
            }),
        ),
    ]
}

/// Two devices with the same document.
fn pair() -> (Device, Device) {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let base = b.change(|edit| {
        insert(edit)?;
        edit.set_add("s", &"old".into())?;
        edit.set_value("v", &"old".into())?;
        edit.count_value("c", 3)
    });
    a.hear(&base);
    (a, b)
}

#[test]
fn every_kind_of_change_of_somebody_else_can_be_taken_back() {
    for (what, step) in steps() {
        let (mut a, mut b) = pair();
        let (before, since) = (b.shown(), b.tape.len());
        let delta = a.change(|edit| step(edit));
        let after = a.shown();
        assert_ne!(after, before, "{what}");
        b.hear(&delta);
        let back = b.revert(since, |replica| replica == a.replica);
        a.hear(&back);
        for device in [&b, &a] {
            assert_eq!(device.shown(), before, "{what}");
            assert!(device.document.conflicts().sure().is_empty(), "{what}");
        }
        assert_eq!(a.document.store(), b.document.store(), "{what}");
        // And the taking back, in turn.
        let since = a.tape.len() - 1;
        let again = a.revert(since, |replica| replica == b.replica);
        b.hear(&again);
        for device in [&a, &b] {
            assert_eq!(device.shown(), after, "{what}, again");
        }
    }
}

#[test]
fn what_was_written_here_can_be_taken_back_as_well() {
    for (what, step) in steps() {
        let (_, mut b) = pair();
        let (before, since, own) = (b.shown(), b.tape.len(), b.replica);
        b.change(|edit| step(edit));
        b.revert(since, |replica| replica == own);
        assert_eq!(b.shown(), before, "{what}");
    }
}

#[test]
fn what_others_wrote_since_stays_and_what_they_wrote_between_comes_again() {
    let (mut a, mut b) = pair();
    let since = b.tape.len();
    for (by_a, text) in [(true, "1"), (false, "2"), (true, "3")] {
        let (writer, reader) = if by_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let delta = writer.change(write("title", text));
        reader.hear(&delta);
        let delta = writer.change(write("body", if by_a { text } else { "theirs" }));
        reader.hear(&delta);
    }
    let delta = b.change(write("body", "last"));
    a.hear(&delta);
    let author = a.replica;
    let back = b.revert(since, |replica| replica == author);
    a.hear(&back);
    for device in [&a, &b] {
        assert_eq!(device.text("title").as_deref(), Some("2"));
        assert_eq!(device.text("body").as_deref(), Some("last"));
        assert!(device.document.conflicts().sure().is_empty());
    }
}

#[test]
fn a_record_that_somebody_else_removed_since_stays_removed() {
    let (mut a, mut b) = pair();
    let since = b.tape.len();
    let delta = a.change(write("title", "edited"));
    b.hear(&delta);
    b.change(|edit| edit.remove("notes", &id("n")));
    let author = a.replica;
    assert!(b.revert(since, |replica| replica == author).is_empty());
    assert_eq!(b.fields("n"), None);
}

#[test]
fn what_three_take_back_at_once_is_taken_back_once_while_a_fourth_writes() {
    let (mut a, mut b) = pair();
    let base = b.document.store().to_delta();
    let (mut c, mut d) = (Device::new(3), Device::new(4));
    c.hear(&base);
    d.hear(&base);
    let before = b.shown();
    let tapes = [b.tape.len(), c.tape.len(), d.tape.len()];
    let author = a.replica;
    let mut written = Vec::new();
    for (_, step) in steps() {
        written.extend(a.try_change(|edit| step(edit)));
        if a.fields("n").is_none() {
            written.push(a.change(insert));
        }
    }
    for delta in &written {
        [&mut b, &mut c, &mut d].into_iter().for_each(|device| device.hear(delta));
    }
    let fourth = |edit: &mut Edit<'_>| {
        edit.insert("notes", &id("theirs"), [("title", &Field::from("d"))])?;
        edit.count_value("c", 100)
    };
    let mut e = Device::new(5);
    written.iter().chain([&base]).for_each(|delta| e.hear(delta));
    let meanwhile = e.change(fourth);
    let backs = [(&mut b, tapes[0]), (&mut c, tapes[1]), (&mut d, tapes[2])]
        .map(|(device, since)| device.revert(since, |replica| replica == author));
    for device in [&mut a, &mut b, &mut c, &mut d, &mut e] {
        backs.iter().chain([&meanwhile]).for_each(|delta| device.hear(delta));
    }
    let mut expected = before;
    expected.insert("theirs".to_owned(), BTreeMap::from([("title".to_owned(), "d".into())]));
    let count = format!("{:?}", Place::Value { name: "c".to_owned() });
    expected.insert(count, BTreeMap::from([(String::new(), Field::Counter(103))]));
    for device in [&a, &b, &c, &d, &e] {
        assert_eq!(device.shown(), expected);
        assert_eq!(device.document.store(), a.document.store());
    }
}

#[test]
fn of_changes_that_come_as_one_only_what_the_author_took_comes_again() {
    let (mut a, mut b) = pair();
    let mut c = Device::new(3);
    c.hear(&b.document.store().to_delta());
    let mut both = a.change(|edit| {
        write("title", "a")(edit)?;
        edit.remove("notes", &id("n"))?;
        insert(edit)
    });
    both.join(a.change(write("title", "a")));
    let other = c.change(|edit| {
        write("body", "c")(edit)?;
        edit.set_remove("s", &"old".into())
    });
    both.join(other);
    let since = b.tape.len();
    b.hear(&both);
    let author = a.replica;
    b.revert(since, |replica| replica == author);
    assert!(b.document.set("s").sure().is_empty(), "nobody knows whether A took it");
    let set = Place::Set { name: "s".to_owned() };
    assert!(b.unclear(|replica| replica == author).contains(&set));
    assert_eq!(b.text("title").as_deref(), Some("t"));
}

#[test]
fn what_is_recorded_is_stored() {
    let (mut a, mut b) = pair();
    for (_, step) in steps() {
        if let Some(delta) = a.try_change(|edit| step(edit)) {
            b.hear(&delta);
        }
    }
    for (delta, undo) in a.tape.into_iter().chain(b.tape) {
        let recorded = Recorded { delta, undo, unix_ms: 7, changes: Vec::new() };
        let mut bytes = Vec::new();
        recorded.encode_into(&mut bytes);
        assert_eq!(Recorded::decode(&mut Reader::new(&bytes)).unwrap(), recorded);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever two write to the same records in turn, taking back all of it gives what was before; and
    /// where they write to records of their own, taking back what one wrote leaves the other's.
    #[test]
    fn taking_everything_back_gives_what_was_before(
        before in 0usize..8,
        is_apart in any::<bool>(),
        steps in proptest::collection::vec((any::<bool>(), 0u8..3, 0u8..8, any::<u8>()), 8..32),
    ) {
        let (mut a, mut b) = (Device::new(1), Device::new(2));
        let (mut since, mut then) = (0, b.shown());
        for (at, (by_a, number, what, value)) in steps.into_iter().enumerate() {
            if at == before {
                (since, then) = (b.tape.len(), b.shown());
            }
            let apart = if is_apart && by_a { "a" } else { "" };
            let id = id(&format!("r{apart}{number}"));
            let member = Value::from(format!("{apart}{value}"));
            let text = Field::from(i64::from(value));
            let tags = Field::Set((0..4).filter(|bit| value >> bit & 1 == 1).map(Value::Int).collect());
            let (writer, reader) = if by_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let delta = writer.try_change(|edit| match what {
                0 => edit.insert("notes", &id, [("f", &text), ("tags", &tags)]),
                1 => edit.remove("notes", &id),
                2 => edit.update("notes", &id, [("tags", &tags)]),
                3 => edit.count("notes", &id, &["n"], i64::from(value) - 128),
                4 => edit.put("notes", &id, &["m", "x"], &text),
                5 => edit.unset("notes", &id, &[["m", "n"][usize::from(value % 2)]]),
                6 => edit.set_add("s", &member),
                _ => edit.update("notes", &id, [("f", &text)]),
            });
            if let Some(delta) = delta {
                reader.hear(&delta);
            }
        }
        let author = a.replica;
        let mut expected = then;
        let is_of_a = |name: &String| name.starts_with("ra");
        if is_apart {
            let mut now = b.shown();
            now.retain(|name, _| !is_of_a(name));
            expected.retain(|name, _| is_of_a(name));
            expected.extend(now);
        }
        let set = format!("{:?}", Place::Set { name: "s".to_owned() });
        let back = b.revert(since, |replica| !is_apart || replica == author);
        a.hear(&back);
        for device in [&a, &b] {
            let mut shown = device.shown();
            if is_apart {
                // Members of both stand in it.
                let of_a = |fields: &BTreeMap<String, Field>| match fields.get("") {
                    Some(Field::Set(members)) => {
                        let of_a = members.iter().filter(|one| one.as_str().unwrap().starts_with('a'));
                        of_a.count()
                    }
                    _ => 0,
                };
                let after = shown.remove(&set).unwrap();
                expected.remove(&set);
                prop_assert!(of_a(&after) <= before);
            }
            prop_assert_eq!(&shown, &expected);
            prop_assert!(device.document.conflicts().sure().is_empty());
        }
        prop_assert_eq!(a.document.store(), b.document.store());
    }
}
