//! What the simulator found, as small as it comes.

use std::collections::BTreeMap;

use sync_core::causal::{Delta, Few, MemoryStore};
use sync_core::error::Sure;
use sync_core::session::ChunkSize;
use sync_core::types::{Conflict, Field, RecordId, Value};

use crate::documents::{Device, id};
use crate::world::{DOCUMENT, World};

fn field(value: &str) -> Field {
    Field::from(value)
}

#[test]
fn what_is_written_before_a_device_hears_that_its_replica_is_in_use_reaches_everyone() {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "a", &[("title", "one")]);
    world.settle();
    // The process ends, and the hub does not hear of it.
    world.drop_line(0);
    world.crash(0);
    world.connect(0);
    world.carry(0, true);
    world.carry(0, true);
    world.write(0, "b", &[("title", "two")]);
    world.heal();
    assert_eq!(world.fields(1, "b").unwrap()["title"], "two");
}

#[test]
fn an_item_begins_at_the_first_dot_of_its_change_even_where_that_died_in_it() {
    let mut world = World::new(1, 1);
    let (gone, id) = (RecordId::new("gone").unwrap(), RecordId::new("id").unwrap());
    let fields = BTreeMap::from([("title".to_owned(), field("t"))]);
    let change = world.change(0, |edit| {
        edit.insert("notes", &gone, &fields)?;
        edit.remove("notes", &gone)?;
        edit.insert("notes", &id, &fields)
    });
    change.unwrap();
    let items: Vec<_> = world.devices[0].client.outbox(DOCUMENT).unwrap().collect();
    assert_eq!((items[0].first, items[0].last, items.len()), (1, 6, 1));
}

#[test]
fn a_set_or_value_of_the_document_is_no_part_of_a_record() {
    let mut a = Device::<MemoryStore>::new(1);
    let mut b = Device::<MemoryStore>::new(2);
    let set = a.change(|edit| {
        edit.set_add("favourites", &Value::from("x"))?;
        edit.count_value("visits", 3)
    });
    b.hear(&[&set]);
    for document in [&a.document, &b.document] {
        assert_eq!(document.conflicts().sure(), []);
    }
}

#[test]
fn a_record_that_was_asserted_again_is_whole_after_another_delete() {
    let mut devices: Vec<_> = (1..=4).map(Device::<MemoryStore>::new).collect();
    let [remover, asserter, editor, other] = &mut devices[..] else { panic!("four devices") };
    let insert = remover.write(&[("title", field("t")), ("done", field("no"))]);
    for device in [&mut *asserter, &mut *editor, &mut *other] {
        device.hear(&[&insert]);
    }
    let done = editor.write(&[("done", field("yes"))]);
    let title = other.write(&[("title", field("u"))]);
    asserter.hear(&[&done]);
    let first = remover.remove();
    // One holds the edit of `done` as the first delete comes, and asserts the record.
    let asserted = asserter.hear(&[&first]);
    assert_eq!(asserted.len(), 1);
    // The editor removes the record without having heard of any of that.
    let second = editor.remove();
    let all: Vec<_> = [&first, &second].into_iter().chain(&asserted).chain([&title]).collect();
    for device in &mut devices {
        let more = device.hear(&all);
        assert!(more.len() <= 1);
        let record = device.document.record("notes", &crate::documents::id()).sure();
        let record = record.expect("an edit of its title keeps it");
        assert!(record.value("done").is_some() && record.value("title").is_some());
    }
}

#[test]
fn a_copy_stands_back_where_somebody_edits_what_it_is_of() {
    let mut devices: Vec<_> = (1..=3).map(Device::<MemoryStore>::new).collect();
    let [remover, asserter, editor] = &mut devices[..] else { panic!("three devices") };
    let insert = remover.write(&[("title", field("t")), ("done", field("no"))]);
    for device in [&mut *asserter, &mut *editor] {
        device.hear(&[&insert]);
    }
    let done = editor.write(&[("done", field("yes"))]);
    asserter.hear(&[&done]);
    let removal = remover.remove();
    let asserted = asserter.hear(&[&removal]);
    // The field is edited again by somebody who has not seen its copy.
    let again = editor.write(&[("done", field("maybe"))]);
    let all: Vec<_> = [&removal, &again].into_iter().chain(&asserted).collect();
    for device in &mut devices {
        device.hear(&all);
        let record = device.document.record("notes", &crate::documents::id()).sure().unwrap();
        assert_eq!(record.values("done").len(), 1, "a copy never clashes with a real edit");
        assert_eq!(record.value("done"), Some(Value::from("maybe")));
        assert_eq!(record.value("title"), Some(Value::from("t")));
    }
}

/// Two insert one record, somebody who saw both writes a field, and it is removed by one who saw the
/// first insert and the write, but not the second insert.
fn torn() -> ([Device<MemoryStore>; 4], Delta) {
    let [mut first, mut second, mut editor, mut remover] =
        [1, 2, 3, 4].map(Device::<MemoryStore>::new);
    let a = first.write(&[("title", field("a")), ("done", field("no"))]);
    let b = second.write(&[("title", field("b")), ("done", field("no"))]);
    editor.hear(&[&a, &b]);
    let done = editor.write(&[("done", field("yes"))]);
    first.hear(&[&b, &done]);
    second.hear(&[&a, &done]);
    remover.hear(&[&a, &done]);
    remover.now += 10;
    let removal = remover.remove();
    assert!(remover.document.record("notes", &id()).sure().is_none());
    ([first, second, editor, remover], removal)
}

fn is_whole(device: &Device<MemoryStore>) -> bool {
    let record = device.document.record("notes", &id()).sure().unwrap();
    record.value("title") == Some(Value::from("b"))
        && record.value("done") == Some(Value::from("yes"))
}

#[test]
fn a_removal_leaves_no_holes_in_a_record_that_it_did_not_see() {
    for has_note in [true, false] {
        let ([mut first, mut second, mut editor, _], mut removal) = torn();
        if !has_note {
            removal.notes = Few::new();
        }
        let asserted = editor.hear(&[&removal]);
        let other = first.hear(&[&removal]);
        assert_eq!((asserted.len(), other.len()), (1, 1));
        let all: Vec<_> = asserted.iter().chain(&other).chain([&removal]).collect();
        for device in [&mut first, &mut second, &mut editor] {
            assert!(device.hear(&all).is_empty());
            assert!(is_whole(device));
        }
    }
}

#[test]
fn what_is_inserted_after_a_removal_keeps_nothing_of_what_was_removed() {
    let mut devices: Vec<_> = (1..=3).map(Device::<MemoryStore>::new).collect();
    let [remover, holder, inserter] = &mut devices[..] else { panic!("three devices") };
    let insert = remover.write(&[("title", field("t")), ("done", field("no"))]);
    for device in [&mut *holder, &mut *inserter] {
        device.hear(&[&insert]);
    }
    let mut removal = remover.remove();
    inserter.hear(&[&removal]);
    inserter.now += 10;
    let again = inserter.write(&[("title", field("u"))]);
    assert!(remover.hear(&[&again]).is_empty());
    // Removed and inserted in one item of an outbox.
    removal.join(again);
    assert!(holder.hear(&[&removal]).is_empty());
    for device in [remover, holder] {
        let record = device.document.record("notes", &id()).sure().unwrap();
        assert_eq!((record.value("title"), record.value("done")), (Some(Value::from("u")), None));
    }
}

#[test]
fn a_record_kept_by_an_edit_stays_whole_beside_another_insert_of_its_id() {
    let [mut remover, mut editor, mut other, mut late] =
        [1, 2, 3, 4].map(Device::<MemoryStore>::new);
    let insert = remover.write(&[("title", field("t")), ("done", field("no"))]);
    editor.hear(&[&insert]);
    let edit = editor.write(&[("title", field("u"))]);
    let removal = remover.remove();
    let kept = editor.hear(&[&removal]);
    assert_eq!(kept.len(), 1);
    // Of the other insert, somebody has taken `done` meanwhile.
    let mut beside = other.write(&[("title", field("b"))]);
    let mended = editor.hear(&[&beside]);
    assert_eq!(mended.len(), 1);
    let all = [&insert, &edit, &removal, &kept[0], &mended[0], &beside];
    for device in [&mut late, &mut editor, &mut other] {
        device.hear(&all);
        let record = device.document.record("notes", &id()).sure().unwrap();
        assert_eq!(record.value("done"), Some(Value::from("no")));
    }
    // What mends a record goes with it.
    beside = editor.remove();
    for device in [&mut late, &mut other] {
        device.hear(&[&beside]);
        assert!(device.document.record("notes", &id()).sure().is_none());
    }
}

#[test]
fn whoever_holds_a_part_of_a_record_does_not_assert_it() {
    for is_whole in [true, false] {
        let [mut remover, mut editor] = [1, 2].map(Device::<MemoryStore>::new);
        let insert = remover.write(&[("done", field("no")), ("title", field("t"))]);
        let done = remover.write(&[("done", field("yes"))]);
        if is_whole {
            editor.hear(&[&insert, &done]);
        } else {
            // A catch-up brought the record without what was replaced in it, and was cut.
            let mut part = insert;
            part.entries = part.entries.iter().map(|run| run.only(0b101)).collect();
            editor.hear(&[&part]);
        }
        assert_eq!(editor.text("done").is_some(), is_whole);
        editor.write(&[("title", field("u"))]);
        let asserted = editor.hear(&[&remover.remove()]);
        assert_eq!(asserted.len(), usize::from(is_whole));
        let is_listed = editor.document.record("notes", &id()).sure().is_some();
        assert_eq!(is_listed, is_whole, "an edit of what nobody has stands among the conflicts");
        let is_part = |conflict: &Conflict| matches!(conflict, Conflict::Partial { .. });
        assert_eq!(editor.conflicts().iter().any(is_part), !is_whole);
    }
}

/// Lets a first sync go on step by step until a record is shown, and cuts it there.
fn cut_once_it_is_shown(world: &mut World, at: usize, id: &str) {
    while world.fields(at, id).is_none() {
        world.carry(at, true);
        world.carry(at, false);
        world.store_one(at);
    }
    world.disconnect(at);
}

#[test]
fn a_first_sync_that_is_cut_leaves_nobody_to_list_a_record_without_a_field() {
    let size = ChunkSize { bytes: 100, items: 20 };
    let mut world = World::with_chunk_size(3, 1, size);
    world.connect(0);
    world.write(0, "n", &[("done", "no"), ("title", "t")]);
    for number in 0..20 {
        world.write(0, &format!("other {number}"), &[("title", "t")]);
    }
    world.write(0, "n", &[("done", "yes")]);
    world.settle();
    world.add_device();
    world.connect(1);
    cut_once_it_is_shown(&mut world, 1, "n");
    assert!(!world.fields(1, "n").unwrap().contains_key("done"), "its value is yet to come");
    world.write(1, "n", &[("title", "u")]);
    while world.store_one(1) {}
    world.remove(0, "n");
    world.settle();
    // What it removed, it forgets with its process.
    world.disconnect(0);
    world.crash(0);
    world.heal();
    for at in 0..2 {
        assert_eq!(world.fields(at, "n"), None);
        let conflicts = world.devices[at].client.document(DOCUMENT).unwrap().conflicts().sure();
        assert!(matches!(conflicts[..], [(_, Conflict::Partial { .. })]));
    }
}

#[test]
fn the_end_of_a_run_that_nothing_follows_is_missed_where_it_is_yet_to_come() {
    let size = ChunkSize { bytes: 100, items: 20 };
    let mut world = World::with_chunk_size(3, 2, size);
    (0..2).for_each(|at| world.connect(at));
    // The record is the last that replica 0 writes, and its last field is replaced by replica 1.
    world.write(0, "n", &[("done", "no"), ("title", "t")]);
    world.settle();
    for number in 0..20 {
        world.write(1, &format!("other {number}"), &[("title", "t")]);
    }
    world.write(1, "n", &[("title", "new")]);
    world.settle();
    world.add_device();
    world.connect(2);
    cut_once_it_is_shown(&mut world, 2, "n");
    assert!(!world.fields(2, "n").unwrap().contains_key("title"), "its value is yet to come");
    world.write(2, "n", &[("done", "maybe")]);
    while world.store_one(2) {}
    world.remove(1, "n");
    world.settle();
    for at in 0..2 {
        world.disconnect(at);
        world.crash(at);
    }
    world.heal();
    for at in 0..3 {
        assert_eq!(world.fields(at, "n"), None);
    }
}

#[test]
fn whoever_removed_a_part_of_a_record_does_not_assert_it() {
    for is_whole in [true, false] {
        let [mut owner, mut remover, mut editor, mut other] =
            [1, 2, 3, 4].map(Device::<MemoryStore>::new);
        let insert =
            owner.write(&[("a", field("a")), ("done", field("no")), ("title", field("t"))]);
        editor.hear(&[&insert]);
        other.hear(&[&insert]);
        let done = other.write(&[("done", field("yes"))]);
        if is_whole {
            remover.hear(&[&insert, &done]);
        } else {
            // A catch-up brought the record without what was replaced in it, and was cut.
            let mut part = insert.clone();
            part.entries = part.entries.iter().map(|run| run.only(0b1011)).collect();
            remover.hear(&[&part]);
        }
        remover.remove();
        let removal = other.remove();
        // The rest of the catch-up: what replaced the field is dead everywhere.
        let mut rest = Delta::default();
        for dead in [&removal.dead, &done.dead, &done.context()] {
            rest.dead.union(dead);
        }
        assert!(remover.hear(&[&rest]).is_empty());
        let edit = editor.write(&[("a", field("b"))]);
        assert_eq!(remover.hear(&[&edit]).len(), usize::from(is_whole));
        assert_eq!(remover.text("done"), is_whole.then(|| "yes".to_owned()));
    }
}

#[test]
fn whoever_holds_one_of_two_runs_of_a_record_does_not_assert_it() {
    // The existence counts too; a run has at most 64 dots.
    for count in [62, 63, 64, 80] {
        let names: Vec<String> = (0..count).map(|number| format!("f{number:02}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), field("v"))).collect();
        for is_whole in [true, false] {
            let [mut owner, mut editor] = [1, 2].map(Device::<MemoryStore>::new);
            let insert = owner.write(&fields);
            let runs = insert.entries.len();
            assert_eq!(runs, if count < 64 { 1 } else { 2 });
            let mut part = insert;
            let count_kept = if is_whole { 2 } else { 1 };
            part.entries = part.entries.into_vec().into_iter().take(count_kept).collect();
            editor.hear(&[&part]);
            editor.write(&[("f00", field("u"))]);
            let asserted = editor.hear(&[&owner.remove()]);
            assert_eq!(asserted.is_empty(), !is_whole && runs > 1, "{count} fields");
        }
    }
}

#[test]
fn whoever_holds_one_of_two_runs_misses_the_other_where_all_of_it_was_replaced() {
    let size = ChunkSize { bytes: 100, items: 20 };
    let mut world = World::with_chunk_size(3, 2, size);
    (0..2).for_each(|at| world.connect(at));
    let names: Vec<String> = (0..66).map(|number| format!("f{number:02}")).collect();
    let of = |value| names.iter().map(|name| (name.as_str(), value)).collect::<Vec<_>>();
    world.write(0, "n", &of("old"));
    world.write(0, "next", &[("title", "t")]);
    world.settle();
    for number in 0..20 {
        world.write(1, &format!("other {number}"), &[("title", "t")]);
    }
    // The last fields, which are those of the second run.
    world.write(1, "n", &of("new")[63..]);
    world.settle();
    world.add_device();
    world.connect(2);
    while world.fields(2, "next").is_none() {
        world.carry(2, true);
        world.carry(2, false);
        world.store_one(2);
    }
    world.disconnect(2);
    assert_eq!(world.fields(2, "n").unwrap().len(), 63, "their values are yet to come");
    world.write(2, "n", &[("f00", "edited")]);
    while world.store_one(2) {}
    world.remove(1, "n");
    world.settle();
    for at in 0..2 {
        world.disconnect(at);
        world.crash(at);
    }
    world.heal();
    for at in 0..3 {
        assert_eq!(world.fields(at, "n"), None);
    }
}

#[test]
fn without_a_note_a_removal_that_did_not_see_the_record_looks_as_if_one_field_was_taken_out() {
    // Somebody puts a title in the place of the first one. Another one takes it: as a field of a record
    // that it holds, or as all that it ever saw of that.
    let [mut owner, mut editor, mut holder] = [1, 2, 3].map(Device::<MemoryStore>::new);
    let insert = owner.write(&[("title", field("t")), ("done", field("no"))]);
    editor.hear(&[&insert]);
    holder.hear(&[&insert]);
    let title = editor.write(&[("title", field("u"))]);
    let [mut takes_field, mut removes] = [4, 4].map(Device::<MemoryStore>::new);
    takes_field.hear(&[&insert, &title]);
    let unset = takes_field.change(|edit| edit.unset("notes", &id(), &["title"]));
    removes.hear(&[&title]);
    let mut removal = removes.change(|edit| edit.dismiss("notes", &id()));
    assert_eq!((unset.notes.len(), removal.notes.len()), (0, 1));
    for is_told in [true, false] {
        if !is_told {
            removal.notes = Default::default();
            assert_eq!(removal, unset);
        }
        // Both come at once, as from a catch-up.
        let mut both = title.clone();
        both.join(removal.clone());
        let mut holder = holder.clone();
        assert_eq!(holder.hear(&[&both]).len(), usize::from(is_told));
        assert_eq!(holder.text("title"), is_told.then(|| "t".to_owned()));
    }
}

#[test]
fn what_is_asserted_again_of_a_torn_record_looks_as_if_a_field_was_taken_out_before() {
    let [mut owner, mut editor, mut holder] = [1, 2, 3].map(Device::<MemoryStore>::new);
    let insert = owner.write(&[("title", field("t")), ("done", field("no"))]);
    editor.hear(&[&insert]);
    holder.hear(&[&insert]);
    let done = editor.write(&[("done", field("yes"))]);
    // Somebody takes the field out; or removes all that it ever saw of the record, and nobody is told.
    let [mut takes_field, mut removes] = [4, 4].map(Device::<MemoryStore>::new);
    takes_field.hear(&[&insert, &done]);
    let unset = takes_field.change(|edit| edit.unset("notes", &id(), &["done"]));
    removes.hear(&[&done]);
    let mut removal = removes.change(|edit| edit.dismiss("notes", &id()));
    removal.notes = Few::new();
    assert_eq!(removal, unset, "from here on both are one history");
    assert!(owner.hear(&[&done, &removal]).is_empty());
    let title = holder.write(&[("title", field("u"))]);
    let removed = owner.remove();
    let asserted = owner.hear(&[&title]);
    assert_eq!((asserted.len(), owner.text("done")), (1, None));
    // Who held the field until then hears of all at once.
    let mut all = done;
    [removal, removed, asserted[0].clone()].into_iter().for_each(|one| all.join(one));
    assert!(holder.hear(&[&all]).is_empty());
    for device in [&owner, &holder] {
        assert_eq!((device.text("title"), device.text("done")), (Some("u".to_owned()), None));
    }
}

/// What the third of three devices knows of a record, once a removal met an edit of it after a change that the
/// others have seen.
fn returns_after(change: impl FnOnce(&mut World, &RecordId)) -> World {
    let mut world = World::new(1, 3);
    (0..3).for_each(|at| world.connect(at));
    world.write(0, "a", &[("title", "t"), ("done", "no")]);
    world.settle();
    world.disconnect(2);
    change(&mut world, &RecordId::new("a").unwrap());
    world.settle();
    world.disconnect(1);
    assert!(world.remove(0, "a"));
    world.settle();
    world.write(1, "a", &[("title", "u")]);
    world.connect(1);
    world.settle();
    world.connect(2);
    world.settle();
    world
}

#[test]
fn a_field_that_was_taken_out_stays_out_for_whoever_hears_of_all_at_once() {
    let world = returns_after(|world, id| {
        world.change(0, |edit| edit.unset("notes", id, &["done"])).unwrap();
    });
    for at in 0..3 {
        let expected = BTreeMap::from([("title".to_owned(), "u".to_owned())]);
        assert_eq!(world.fields(at, "a"), Some(expected), "device {at}");
    }
}

#[test]
fn a_register_that_became_a_set_is_not_written_again_under_it() {
    let world = returns_after(|world, id| {
        let set = crate::documents::tags(&["x"]);
        world.change(0, |edit| edit.update("notes", id, [("done", &set)])).unwrap();
    });
    for device in &world.devices {
        let document = device.client.document(DOCUMENT).unwrap();
        let record = document.record("notes", &RecordId::new("a").unwrap()).sure().unwrap();
        assert_eq!(record.values("done").len(), 0);
    }
}
