//! Copies of a database that nobody noticed: what is written on either side reaches everyone, once.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{Dot, ReplicaId};
use sync_core::error::Sure;
use sync_core::session::{HubStore, OutboxItem, OutboxState};
use sync_core::types::{Field, MARKS_MAX, Opening, RecordId, Renaming, Value};

use crate::world::{DOCUMENT, World};

/// A device with a document, another one, and a copy of the first, in this order. Nobody is connected.
fn copied(seed: u64) -> World {
    let mut world = World::new(seed, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "t"), ("body", "b")]);
    count(&mut world, 0, 5);
    add(&mut world, 0, "first");
    world.settle();
    (0..2).for_each(|at| world.disconnect(at));
    assert_eq!(world.copy_device(0), 2);
    world
}

fn count(world: &mut World, at: usize, amount: i64) {
    world.change(at, |edit| edit.count_value("visits", amount)).unwrap();
    while world.store_one(at) {}
}

fn add(world: &mut World, at: usize, member: &str) {
    world.change(at, |edit| edit.set_add("tags", &Value::from(member))).unwrap();
    while world.store_one(at) {}
}

fn write(world: &mut World, at: usize, id: &str, fields: &[(&str, &str)]) {
    world.write(at, id, fields);
    while world.store_one(at) {}
}

fn remove(world: &mut World, at: usize, id: &str) {
    assert!(world.remove(at, id));
    while world.store_one(at) {}
}

fn visits(world: &World, at: usize) -> i64 {
    world.devices[at].client.document(DOCUMENT).unwrap().counter("visits").sure()
}

fn tags(world: &World, at: usize) -> BTreeSet<Value> {
    world.devices[at].client.document(DOCUMENT).unwrap().set("tags").sure()
}

/// Lets one device after the other come, and everyone in the end.
fn meet(world: &mut World, order: [usize; 2]) {
    for at in order {
        for _ in 0..4 {
            world.connect(at);
            world.settle();
        }
    }
    world.heal();
}

#[test]
fn what_is_written_on_either_side_of_a_copy_reaches_everyone_once() {
    for order in [[0, 2], [2, 0]] {
        let mut world = copied(1);
        for (at, name) in [(0, "original"), (2, "copy")] {
            write(&mut world, at, name, &[("title", name)]);
            add(&mut world, at, name);
            count(&mut world, at, 1 + at as i64);
            write(&mut world, at, "gone", &[("title", name)]);
            remove(&mut world, at, "gone");
        }
        write(&mut world, 0, "n", &[("title", "of the original")]);
        write(&mut world, 2, "n", &[("body", "of the copy")]);
        meet(&mut world, order);
        for at in 0..3 {
            assert_eq!(world.fields(at, "original").unwrap()["title"], "original", "{order:?}");
            assert_eq!(world.fields(at, "copy").unwrap()["title"], "copy", "{order:?}");
            let note = world.fields(at, "n").unwrap();
            assert_eq!((&*note["title"], &*note["body"]), ("of the original", "of the copy"));
            assert_eq!(tags(&world, at).len(), 3, "{order:?}");
            assert_eq!(visits(&world, at), 5 + 1 + 3, "{order:?}");
            assert_eq!(world.fields(at, "gone"), None);
        }
    }
}

#[test]
fn what_others_deleted_since_does_not_hide_what_a_copy_wrote() {
    let mut world = copied(2);
    write(&mut world, 0, "own", &[("title", "t")]);
    write(&mut world, 2, "other", &[("title", "t")]);
    world.connect(0);
    world.connect(1);
    world.settle();
    // All dots of the original that are also the copy's are dead at the hub.
    assert!(world.remove(1, "own"));
    world.settle();
    meet(&mut world, [2, 0]);
    for at in 0..3 {
        assert!(world.fields(at, "other").is_some() && world.fields(at, "own").is_none());
    }
}

#[test]
fn what_waited_before_the_copy_was_made_is_not_written_again() {
    let mut world = copied(3);
    world.crash(0);
    write(&mut world, 0, "old", &[("title", "t")]);
    count(&mut world, 0, 10);
    assert_eq!(world.copy_device(0), 3);
    write(&mut world, 0, "new", &[("title", "t")]);
    write(&mut world, 3, "newer", &[("title", "t")]);
    count(&mut world, 3, 100);
    world.connect(0);
    world.connect(1);
    world.settle();
    assert!(world.remove(1, "old"), "it has come");
    world.settle();
    meet(&mut world, [3, 2]);
    for at in 0..4 {
        assert_eq!(world.fields(at, "old"), None, "deleted means deleted");
        assert!(world.fields(at, "new").is_some() && world.fields(at, "newer").is_some());
        assert_eq!(visits(&world, at), 115);
    }
}

#[test]
fn copies_of_copies_find_where_each_parts() {
    let mut world = copied(4);
    write(&mut world, 0, "of 0", &[("title", "t")]);
    write(&mut world, 2, "of 2", &[("title", "t")]);
    count(&mut world, 2, 1);
    assert_eq!(world.copy_device(2), 3);
    for at in [2, 3] {
        write(&mut world, at, &format!("later {at}"), &[("title", "t")]);
        count(&mut world, at, 10);
    }
    world.connect(0);
    world.settle();
    meet(&mut world, [3, 2]);
    let replicas = |world: &World| world.store.state(DOCUMENT).unwrap().context().replica_count();
    for at in 0..4 {
        for id in ["of 0", "of 2", "later 2", "later 3"] {
            assert!(world.fields(at, id).is_some(), "{id} at {at}");
        }
        assert_eq!(visits(&world, at), 5 + 1 + 10 + 10);
    }
    assert!(replicas(&world) <= 5, "{}", replicas(&world));
}

#[test]
fn what_a_hub_acknowledged_and_lost_is_written_again_as_well() {
    let mut world = copied(5);
    let backup = world.store.clone();
    write(&mut world, 0, "own", &[("title", "t")]);
    count(&mut world, 0, 1);
    world.connect(0);
    world.settle();
    world.restart_hub(backup);
    write(&mut world, 2, "other", &[("title", "t")]);
    count(&mut world, 2, 2);
    meet(&mut world, [2, 0]);
    for at in 0..3 {
        assert!(world.fields(at, "own").is_some() && world.fields(at, "other").is_some());
        assert_eq!(visits(&world, at), 8);
    }
}

#[test]
fn a_database_that_was_put_back_goes_on_beside_what_it_wrote_before() {
    let mut world = copied(6);
    // The copy stands for the backup: the first goes on, and then its process is no more.
    write(&mut world, 0, "lost here", &[("title", "t")]);
    count(&mut world, 0, 1);
    world.connect(0);
    world.settle();
    world.disconnect(0);
    world.devices.swap(0, 2);
    world.devices.truncate(2);
    write(&mut world, 0, "after", &[("title", "t")]);
    count(&mut world, 0, 2);
    meet(&mut world, [0, 1]);
    for at in 0..2 {
        assert!(world.fields(at, "lost here").is_some() && world.fields(at, "after").is_some());
        assert_eq!(visits(&world, at), 8);
    }
}

#[test]
fn an_edit_by_a_copy_meets_a_delete_as_any_other() {
    for order in [[0, 2], [2, 0]] {
        let mut world = copied(7);
        write(&mut world, 0, "own", &[("title", "t")]);
        write(&mut world, 2, "n", &[("title", "edited")]);
        world.connect(1);
        world.settle();
        assert!(world.remove(1, "n"));
        world.settle();
        meet(&mut world, order);
        for at in 0..3 {
            let note = world.fields(at, "n").expect("an edit keeps it");
            assert_eq!((&*note["title"], &*note["body"]), ("edited", "b"));
        }
    }
}

#[test]
fn a_removal_by_a_copy_takes_what_it_saw() {
    for order in [[0, 2], [2, 0]] {
        let mut world = copied(8);
        write(&mut world, 0, "own", &[("title", "t")]);
        remove(&mut world, 2, "n");
        meet(&mut world, order);
        assert!((0..3).all(|at| world.fields(at, "n").is_none()), "{order:?}");
        assert!((0..3).all(|at| world.fields(at, "own").is_some()), "{order:?}");
    }
}

#[test]
fn a_receipt_follows_what_is_written_again() {
    let mut world = copied(9);
    write(&mut world, 0, "own", &[("title", "t")]);
    world.connect(0);
    world.settle();
    write(&mut world, 2, "other", &[("title", "t")]);
    let dot = world.last_dot(2);
    let receipt = |world: &World| world.devices[2].client.receipt(DOCUMENT, dot).unwrap();
    world.disconnect(0);
    world.connect(2);
    // The hub's answer makes another replica of it, which the hub has not heard of.
    while receipt(&world).disk && world.devices[2].replica.incarnation() == 0 {
        assert!(!receipt(&world).hub);
        assert!(world.carry(2, true) | world.carry(2, false) | world.store_one(2));
    }
    assert_ne!(world.devices[2].client.replica(DOCUMENT).unwrap(), dot.replica);
    assert!(receipt(&world).disk && !receipt(&world).hub);
    meet(&mut world, [2, 0]);
    assert!(receipt(&world).hub);
}

#[test]
fn whoever_writes_while_a_copy_is_connected_loses_nothing() {
    let mut world = copied(10);
    world.connect(2);
    world.settle();
    write(&mut world, 0, "own", &[("title", "t")]);
    count(&mut world, 0, 1);
    // The hub does not take the original's replica, and what both write crosses on the way.
    world.connect(0);
    for _ in 0..4 {
        world.carry(0, true);
        world.carry(0, false);
    }
    write(&mut world, 2, "other", &[("title", "t")]);
    count(&mut world, 2, 2);
    meet(&mut world, [0, 2]);
    for at in 0..3 {
        assert!(world.fields(at, "own").is_some() && world.fields(at, "other").is_some());
        assert_eq!(visits(&world, at), 8);
    }
}

#[test]
fn an_opening_that_writes_is_marked_once() {
    let mut world = World::new(11, 1);
    let document = |world: &World| {
        let client = &world.devices[0].client;
        let replica = client.replica(DOCUMENT).unwrap();
        client.document(DOCUMENT).unwrap().openings(replica).sure()
    };
    assert_eq!(document(&world), []);
    // What changes nothing is not marked.
    assert_eq!(world.change(0, |edit| edit.set_remove("tags", &Value::from("none"))), Ok(()));
    assert_eq!(world.last_dot(0).counter, 0);
    write(&mut world, 0, "a", &[("title", "t")]);
    write(&mut world, 0, "b", &[("title", "t")]);
    let first = document(&world);
    assert_eq!((first.len(), first[0].first), (1, 1));
    for openings in 2..=MARKS_MAX + 2 {
        world.crash(0);
        write(&mut world, 0, "a", &[("title", &openings.to_string())]);
        let marks = document(&world);
        assert_eq!(marks.len(), openings.min(MARKS_MAX), "the oldest go");
        assert_eq!(marks.contains(&first[0]), openings <= MARKS_MAX);
    }
    let marks = document(&world);
    assert!(marks.is_sorted());
    // The hub tells of them whoever writes as this replica.
    world.connect(0);
    world.settle();
    let replica = world.devices[0].replica;
    let hub = world.store.open(DOCUMENT).sure();
    assert_eq!(world.store.openings(hub, replica).sure(), marks);
    world.heal();
}

#[test]
fn what_openings_counted_is_added_up_and_stays_exact() {
    let mut world = World::new(12, 1);
    world.connect(0);
    let place = sync_core::types::Place::Value { name: "visits".into() };
    for openings in 1..70usize {
        world.crash(0);
        count(&mut world, 0, 3);
        count(&mut world, 0, -1);
        assert_eq!(visits(&world, 0), 2 * openings as i64);
        let client = &world.devices[0].client;
        let record = client.document(DOCUMENT).unwrap().elements(&place).sure();
        // Whoever finds 8 of earlier openings adds two of them up, and counts for itself. One stays for
        // good each time that its mark is forgotten, since nobody knows then whose it is.
        let forgotten = openings.saturating_sub(8) / (MARKS_MAX - 7);
        assert_eq!(record.elements().len(), openings.min(8) + forgotten, "after {openings}");
    }
}

#[test]
fn an_item_that_spans_the_place_where_histories_part_keeps_what_is_older() {
    let replica = ReplicaId::from_fingerprint([1; 12]);
    let to = replica.with_incarnation(9);
    let mut delta = sync_core::causal::Delta::default();
    delta.dead.insert_range(replica, 3, 8);
    let item =
        OutboxItem { replica, first: 3, last: 8, changes: 2, state: OutboxState::Frozen, delta };
    let renaming = Renaming { from: replica, first: 6, last: Dot::COUNTER_MAX, to, mark: Some(7) };
    let renamed = item.clone().renamed(&renaming);
    assert_eq!(renamed.key(), Dot::new(to, 4));
    assert_eq!((renamed.first, &renamed.state), (1, &OutboxState::Pending));
    let expected: Vec<_> = [(replica, 3), (replica, 4), (replica, 5), (to, 2), (to, 3), (to, 4)]
        .map(|(replica, counter)| Dot::new(replica, counter))
        .into();
    assert_eq!(renamed.delta.dead, expected.into_iter().collect());
    let mark = Opening { first: 1, opening: 7 }.mark(to);
    assert_eq!(renamed.delta.entries[..], [mark]);
    // What ends before that place is as it was.
    let older = OutboxItem { last: 5, ..item };
    assert_eq!(older.clone().renamed(&Renaming { first: 9, ..renaming }), older);
}

#[test]
fn a_copied_element_goes_on_saying_where_it_comes_from() {
    // The copy edits a record that somebody deletes, and asserts it again before it hears of the fork.
    let mut world = copied(13);
    write(&mut world, 0, "own", &[("title", "t")]);
    world.connect(0);
    world.connect(1);
    world.settle();
    let id = RecordId::new("n").unwrap();
    let fields = BTreeMap::from([("title".to_owned(), Field::from("edited"))]);
    world.change(2, |edit| edit.update("notes", &id, &fields)).unwrap();
    while world.store_one(2) {}
    assert!(world.remove(1, "n"));
    world.settle();
    meet(&mut world, [2, 0]);
    world.write(2, "n", &[("title", "again")]);
    world.heal();
    for at in 0..3 {
        assert_eq!(world.fields(at, "n").unwrap()["title"], "again");
    }
}

#[test]
fn what_a_copy_wrote_under_a_name_that_was_used_is_written_again_and_not_early_called_stored() {
    let mut world = World::new(31, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    assert_eq!(world.copy_device(0), 2);
    // The copy writes before the hub can tell it that its original is here, which writes as well.
    world.connect(2);
    assert!(world.carry(2, true) && world.carry(2, false), "hello, welcome");
    world.write(2, "copy", &[("title", "by the copy")]);
    let dot = world.last_dot(2);
    world.write(0, "own", &[("title", "by the first")]);
    for _ in 0..4 {
        world.settle();
        let receipt = world.devices[2].client.receipt(DOCUMENT, dot).unwrap();
        let is_there = world.fields(1, "copy").is_some();
        assert!(receipt.disk && !receipt.parked && receipt.hub == is_there, "{receipt:?}");
        assert!(world.fields(2, "copy").is_some(), "nothing is erased here");
        world.connect(2);
    }
    world.heal();
    assert!((0..3).all(|at| world.fields(at, "own").is_some()));
    assert!((0..3).all(|at| world.fields(at, "copy").is_some()));
}

#[test]
fn a_copy_that_was_opened_more_often_since_than_marks_are_kept_finds_where_it_parted() {
    for run in [1, 2] {
        let mut world = copied(16);
        // What the original wrote under the opening that the copy was made in has no mark of its own.
        (0..run).for_each(|at| write(&mut world, 0, &format!("own {at}"), &[("title", "t")]));
        write(&mut world, 2, "other", &[("title", "t")]);
        for opening in 0..=MARKS_MAX {
            world.crash(0);
            write(&mut world, 0, "often", &[("title", &opening.to_string())]);
        }
        meet(&mut world, [2, 0]);
        for at in 0..3 {
            assert!(world.fields(at, "own 0").is_some(), "{at}");
            assert!(world.fields(at, "other").is_some(), "{at}");
            assert_eq!(world.fields(at, "often").unwrap()["title"], MARKS_MAX.to_string(), "{at}");
        }
    }
}

#[test]
fn a_run_is_never_parted() {
    let mut world = World::new(1, 1);
    world.connect(0);
    write(&mut world, 0, "a", &[("title", "t")]);
    world.settle();
    write(&mut world, 0, "n", &[("body", "b"), ("done", "no"), ("title", "t")]);
    let replica = world.devices[0].client.replica(DOCUMENT).unwrap();
    let document = world.devices[0].client.document(DOCUMENT).unwrap();
    let run = document.store().iter().last().unwrap().first.counter;
    assert!(run > 2);
    for is_removed in [false, true] {
        if is_removed {
            // What was sent stays as it is until the hub has it.
            assert!(world.remove(0, "n"));
        }
        let client = &world.devices[0].client;
        let waits = |counter: u64| {
            let mut runs = client.outbox(DOCUMENT).unwrap().flat_map(|item| &item.delta.entries);
            let run = runs.find(|run| (run.first.counter..=run.last()).contains(&counter));
            run.filter(|run| run.replica() == replica).map(|run| run.first.counter)
        };
        let document = client.document(DOCUMENT).unwrap();
        for first in run..run + 4 {
            let renamings = document.renamings(replica, first, &waits).sure();
            assert_eq!(renamings.len(), 1);
            assert_eq!(renamings[0].first, run);
        }
    }
}
