//! Files that are joined: of copies of a database, which wrote the same dots, and of others.

use sync_core::causal::MemoryStore;
use sync_core::document::Document;
use sync_core::error::Sure;
use sync_core::types::MARKS_MAX;

use crate::world::{DOCUMENT, World};

/// A device with a record, another one, and a copy of the first, in this order. Each of the first and its
/// copy has written since, and nobody is connected.
fn copied(seed: u64) -> World {
    let mut world = World::new(seed, 2);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "n", &[("title", "t"), ("body", "b")]);
    world.settle();
    (0..2).for_each(|at| world.disconnect(at));
    assert_eq!(world.copy_device(0), 2);
    for (at, name) in [(0, "own"), (2, "other")] {
        write(&mut world, at, name);
        world.change(at, |edit| edit.count_value("visits", 1 + at as i64)).unwrap();
        write(&mut world, at, "gone");
        assert!(world.remove(at, "gone"));
        while world.store_one(at) {}
    }
    world
}

fn write(world: &mut World, at: usize, id: &str) {
    world.write(at, id, &[("title", id)]);
    while world.store_one(at) {}
}

fn export(world: &World, at: usize) -> MemoryStore {
    world.devices[at].client.document(DOCUMENT).unwrap().store().clone()
}

/// Joins a file, as a driver does, and stores what follows.
fn import(world: &mut World, at: usize, file: MemoryStore) {
    let mut file = Document::new(file);
    world.with_client(at, |client, now| {
        let parting = client.parting(DOCUMENT, &file).unwrap();
        parting.there.iter().for_each(|renaming| file.rename(renaming).sure());
        client.part(DOCUMENT, &file, &parting.here).unwrap();
        client.import(now, DOCUMENT, &file.store().to_delta()).unwrap();
    });
    while world.store_one(at) {}
}

fn assert_both(world: &World, devices: std::ops::Range<usize>) {
    for at in devices {
        let has = |id| world.fields(at, id).is_some();
        assert!(has("n") && has("own") && has("other") && !has("gone"), "device {at}");
        let document = world.devices[at].client.document(DOCUMENT).unwrap();
        assert_eq!(document.counter("visits").sure(), 1 + 3, "device {at}");
    }
}

fn replicas(world: &World) -> usize {
    world.store.state(DOCUMENT).unwrap().context().replica_count()
}

#[test]
fn what_a_copy_wrote_and_another_one_imports_is_told_from_what_the_hub_has() {
    for is_opened_again in [false, true] {
        let mut world = copied(1);
        world.connect(0);
        world.settle();
        let file = export(&world, 2);
        import(&mut world, 1, file);
        if is_opened_again {
            world.crash(1);
        }
        // The copy itself is not there.
        let copy = world.devices.pop().unwrap();
        world.heal();
        assert_both(&world, 0..2);
        world.devices.push(copy);
        world.heal();
        assert_both(&world, 0..3);
        assert!(replicas(&world) <= 4, "what it wrote stands under one name: {}", replicas(&world));
    }
}

#[test]
fn what_a_copy_wrote_is_told_from_what_is_here_before_it_is_joined() {
    let mut world = copied(2);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    world.disconnect(1);
    // It goes on behind what the other one wrote.
    write(&mut world, 2, "later");
    let file = export(&world, 2);
    import(&mut world, 1, file.clone());
    assert_both(&world, 1..2);
    write(&mut world, 0, "of the first");
    world.heal();
    assert_both(&world, 0..3);
    // Again it brings nothing.
    let (before, count) = (export(&world, 1), world.connection_count());
    import(&mut world, 1, file);
    world.heal();
    assert_eq!(export(&world, 1), before);
    assert_eq!(world.connection_count(), count);
    for at in 0..3 {
        assert!(world.fields(at, "later").is_some() && world.fields(at, "of the first").is_some());
    }
}

#[test]
fn a_copy_that_imports_what_its_original_wrote_has_both_whoever_comes_first() {
    for order in [[0, 2], [2, 0]] {
        let mut world = copied(3);
        let file = export(&world, 0);
        import(&mut world, 2, file);
        assert_both(&world, 2..3);
        for at in order {
            world.connect(at);
            world.settle();
        }
        world.heal();
        assert_both(&world, 0..3);
    }
}

#[test]
fn nobody_is_taken_for_a_copy_who_is_none() {
    let mut world = World::new(4, 2);
    (0..2).for_each(|at| world.connect(at));
    write(&mut world, 0, "n");
    world.settle();
    let early = export(&world, 0);
    world.disconnect(1);
    // Of so many openings the first marks are not kept.
    for opening in 0..=MARKS_MAX {
        world.crash(0);
        write(&mut world, 0, &format!("n{opening}"));
    }
    let late = export(&world, 0);
    for (connected, file) in [(false, &late), (true, &early), (true, &late)] {
        if connected {
            world.connect(0);
            world.settle();
        }
        import(&mut world, 1, file.clone());
        world.connect(1);
        world.settle();
        let count = world.connection_count();
        world.heal();
        assert!(world.connection_count() <= count + 1, "nobody opens again but who was away");
        assert_eq!(replicas(&world), 1);
        world.disconnect(1);
    }
}
