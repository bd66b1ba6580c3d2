//! A change that the hub refuses, among many that it takes.

use sync_core::causal::Dot;
use sync_core::session::limits::STAMP_AHEAD_MS_MAX;
use sync_core::session::{ItemError, Standing};

use crate::world::{DOCUMENT, World};

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Makes a change while the clock is wrong by a year.
fn poisoned(world: &mut World, at: usize, change: impl FnOnce(&mut World)) -> Dot {
    world.now.unix_ms += YEAR_MS;
    change(world);
    world.now.unix_ms -= YEAR_MS;
    world.last_dot(at)
}

fn standings(world: &World, at: usize) -> Vec<(Dot, String)> {
    let standings = world.devices[at].client.standings(DOCUMENT).unwrap();
    let named = standings.map(|(item, standing)| {
        let standing = match standing {
            Standing::Parked { reason } => format!("parked: {reason}"),
            other => format!("{other:?}"),
        };
        (item.key(), standing)
    });
    named.collect()
}

/// Two devices and a hub with a right clock; the first has written a thousand records offline, one of them
/// with a wrong clock, and edited that one since. Gives the key of what is poison.
fn thousand() -> (World, Dot) {
    let mut world = World::new(1, 2).with_stamp_ahead(STAMP_AHEAD_MS_MAX);
    let mut poison = None;
    for number in 0..1_000 {
        let id = format!("r{number}");
        if number == 500 {
            poison = Some(poisoned(&mut world, 0, |world| world.write(0, &id, &[("title", "x")])));
        } else {
            world.write(0, &id, &[("title", &id)]);
        }
    }
    // What is joined is one delta, and waits as one: changes that are hours apart are not.
    world.now.unix_ms += 2 * STAMP_AHEAD_MS_MAX;
    world.write(0, "r500", &[("body", "depends")]);
    world.now.unix_ms += 2 * STAMP_AHEAD_MS_MAX;
    world.write(0, "last", &[("title", "depends on nothing")]);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    (world, poison.unwrap())
}

fn count(world: &World, at: usize) -> usize {
    let numbers = (0..1_000).filter(|number| world.fields(at, &format!("r{number}")).is_some());
    numbers.count()
}

#[test]
fn of_a_thousand_changes_999_arrive_and_the_one_that_is_refused_waits_with_what_depends_on_it() {
    let (mut world, poison) = thousand();
    assert_eq!(count(&world, 1), 999);
    assert!(world.fields(1, "last").is_some());
    let stand = standings(&world, 0);
    let [(key, reason), (_, waiting)] = &stand[..] else { panic!("{stand:?}") };
    assert_eq!((*key, waiting.as_str()), (poison, "Waiting"));
    assert!(reason.starts_with("parked: a stamp of it lies"), "{reason}");
    let at_hub = world.store.state(DOCUMENT).unwrap();
    assert!(!at_hub.context().contains(poison));
    assert!(world.devices[1].client.document(DOCUMENT).unwrap().conflicts().unwrap().is_empty());
    assert_eq!(world.fields(0, "r500").unwrap().len(), 2, "nothing is lost here");
    // What comes later goes its way, on the same connection; what depends on it waits too.
    world.write(0, "r500", &[("more", "depends")]);
    world.write(0, "later", &[("title", "depends on nothing")]);
    let receipt =
        |world: &World| world.devices[0].client.receipt(DOCUMENT, world.last_dot(0)).unwrap();
    world.settle();
    assert!(receipt(&world).hub && world.fields(1, "later").is_some());
    world.write(0, "r500", &[("more", "still")]);
    world.settle();
    assert!(receipt(&world).parked && !receipt(&world).hub);
    assert_eq!((world.closed.len(), world.connection_count()), (0, 2), "nobody had to come back");

    world.with_client(0, |client, now| client.rewrite_item(now, DOCUMENT, poison)).unwrap();
    world.settle();
    assert_eq!((standings(&world, 0), world.connection_count()), (vec![], 2));
    world.heal();
    assert_eq!(count(&world, 1), 1_000);
    let fields = world.fields(1, "r500").unwrap();
    let expected = [("body", "depends"), ("more", "still"), ("title", "x")];
    assert_eq!(fields, expected.map(|(name, text)| (name.into(), text.into())).into());
}

#[test]
fn what_was_refused_is_taken_later_where_the_hub_takes_it_then() {
    let (mut world, poison) = thousand();
    // A device that starts again knows what waits, and for what.
    world.crash(0);
    world.connect(0);
    world.settle();
    assert_eq!(standings(&world, 0).len(), 2);
    world.with_client(0, |client, _| client.retry_item(DOCUMENT, poison)).unwrap();
    world.settle();
    assert_eq!(standings(&world, 0).len(), 2, "the hub's clock says the same");
    world.now.unix_ms += YEAR_MS;
    world.with_client(0, |client, _| client.retry_item(DOCUMENT, poison)).unwrap();
    world.settle();
    assert_eq!(standings(&world, 0), []);
    world.heal();
    assert_eq!(count(&world, 1), 1_000);
}

#[test]
fn how_far_ahead_a_stamp_may_be_is_limited() {
    for (ahead, is_taken) in [(-1, true), (0, true), (1, false)] {
        let mut world = World::new(1, 1).with_stamp_ahead(STAMP_AHEAD_MS_MAX);
        let now = world.now.unix_ms;
        world.now.unix_ms = (now + STAMP_AHEAD_MS_MAX).checked_add_signed(ahead - 1).unwrap();
        world.write(0, "r", &[("title", "x")]);
        world.now.unix_ms = now;
        world.connect(0);
        world.settle();
        assert_eq!(standings(&world, 0).is_empty(), is_taken, "{ahead}");
    }
}

#[test]
fn a_removal_that_is_refused_leaves_the_record_elsewhere_until_it_is_written_anew() {
    let mut world = World::new(3, 2).with_stamp_ahead(STAMP_AHEAD_MS_MAX);
    world.write(0, "r", &[("title", "x")]);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    let poison = poisoned(&mut world, 0, |world| assert!(world.remove(0, "r")));
    world.write(0, "other", &[("title", "x")]);
    world.settle();
    assert!(world.fields(1, "r").is_some() && world.fields(0, "r").is_none());
    assert!(world.fields(1, "other").is_some());
    world.with_client(0, |client, now| client.rewrite_item(now, DOCUMENT, poison)).unwrap();
    world.settle();
    assert_eq!((world.fields(1, "r"), world.closed.len()), (None, 0));
    assert_eq!(world.connection_count(), 2);
    world.heal();
}

#[test]
fn an_item_is_set_aside_and_sent_again_as_the_application_says() {
    let mut world = World::new(4, 2);
    world.write(0, "a", &[("title", "x")]);
    let park = |world: &mut World, key, reason: &str| {
        world.with_client(0, |client, _| client.park_item(DOCUMENT, key, reason))
    };
    let first = world.last_dot(0);
    park(&mut world, first, "not yet").unwrap();
    world.write(0, "b", &[("title", "x")]);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    assert_eq!(standings(&world, 0), [(first, "parked: not yet".to_owned())]);
    assert!(world.fields(1, "a").is_none() && world.fields(1, "b").is_some());
    let gone = world.last_dot(0);
    assert_eq!(park(&mut world, gone, "too late"), Err(ItemError::NoSuchItem));
    // On a live connection, with others behind it.
    world.write(0, "c", &[("title", "x")]);
    let second = world.last_dot(0);
    while world.store_one(0) {}
    assert_eq!(park(&mut world, second, "too late"), Err(ItemError::InFlight));
    let retry =
        |world: &mut World, key| world.with_client(0, |client, _| client.retry_item(DOCUMENT, key));
    assert_eq!(retry(&mut world, second), Err(ItemError::NotParked));
    retry(&mut world, first).unwrap();
    world.settle();
    assert_eq!((standings(&world, 0), world.closed.len()), (vec![], 0));
    world.heal();
}
