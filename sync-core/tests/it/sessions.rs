//! Clients and a hub: the real state machines, a queue for the network, and no socket.

use std::collections::BTreeSet;

use crate::world::{DOCUMENT, World};
use sync_core::causal::ReplicaId;
use sync_core::error::Sure;
use sync_core::session::{
    ChunkSize, Client, ClientConfig, ClientInput, ClientOutput, Now, Phase, Receipt, SavedDocument,
};
use sync_core::types::{Field, RecordId};
use sync_core::wire::{self, HubMessage, Welcome};

fn two() -> World {
    let mut world = World::new(1, 2);
    (0..2).for_each(|at| world.connect(at));
    world.settle();
    world
}

#[test]
fn a_change_reaches_the_other_device() {
    let mut world = two();
    world.write(0, "n", &[("title", "hello")]);
    world.settle();
    assert_eq!(world.fields(1, "n").unwrap()["title"], "hello");
    world.heal();
}

#[test]
fn nothing_is_sent_before_it_is_on_disk_and_a_receipt_is_never_early() {
    let mut world = two();
    world.write(0, "n", &[("title", "hello")]);
    let dot = world.last_dot(0);
    let receipt = |world: &World| world.devices[0].client.receipt(DOCUMENT, dot).unwrap();
    let none = Receipt { disk: false, hub: false, parked: false };
    assert_eq!(receipt(&world), none);
    assert!(!world.carry(0, true), "nothing to send while the disk has not confirmed");
    assert!(world.store_one(0));
    assert_eq!(receipt(&world), Receipt { disk: true, ..none });
    assert!(!world.carry(0, true), "nor before the item is frozen on disk");
    assert!(world.store_one(0));
    assert!(world.carry(0, true));
    assert_eq!(receipt(&world), Receipt { disk: true, ..none }, "the hub's word has not arrived");
    assert!(world.carry(0, false) && world.carry(0, false), "the names in it, and the hub's word");
    assert_eq!(receipt(&world), Receipt { disk: true, hub: true, parked: false });
}

#[test]
fn typing_offline_sends_the_net_result() {
    let mut world = two();
    world.disconnect(0);
    for length in 1..=200 {
        world.write(0, "n", &[("title", &"x".repeat(length))]);
        world.store_one(0);
    }
    let items: Vec<_> = world.devices[0].client.outbox(DOCUMENT).unwrap().cloned().collect();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].changes, 200);
    assert_eq!(items[0].delta.live().range_count(), 2, "the existence, and the last title");
    world.heal();
    assert_eq!(world.fields(1, "n").unwrap()["title"].len(), 200);
}

#[test]
fn catching_up_costs_the_net_difference() {
    let mut world = two();
    world.write(0, "keep", &[("title", "kept"), ("body", &"b".repeat(1_000))]);
    world.settle();
    world.disconnect(1);
    let before = world.sent_down.get(&1).copied().unwrap_or(0);
    for round in 0..300 {
        let id = format!("gone-{round}");
        world.write(0, &id, &[("body", &"x".repeat(1_000))]);
        world.settle();
        world.remove(0, &id);
        world.settle();
    }
    world.write(0, "keep", &[("title", "new")]);
    world.settle();
    world.connect(1);
    world.settle();
    let cost = world.sent_down[&1] - before;
    assert!(cost < 300 * 100, "{cost} bytes for 300 notes written and deleted meanwhile");
    assert_eq!(world.fields(1, "keep").unwrap()["title"], "new");
    world.heal();
}

#[test]
fn a_catch_up_says_of_each_object_when_it_was_last_removed() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    world.disconnect(1);
    world.disconnect(0);
    let before = world.sent_down.get(&1).copied().unwrap_or(0);
    for _ in 0..100 {
        world.remove(0, "n");
        world.write(0, "n", &[("title", "t")]);
        while world.store_one(0) {}
    }
    world.connect(0);
    world.settle();
    world.connect(1);
    world.settle();
    let cost = world.sent_down[&1] - before;
    assert!(cost < 600, "{cost} bytes for a note that was removed and written 100 times");
    world.heal();
}

#[test]
fn a_hub_that_lost_everything_is_filled_again() {
    let mut world = World::new(2, 3);
    (0..3).for_each(|at| world.connect(at));
    for at in 0..3 {
        world.write(at, &format!("n{at}"), &[("title", "t"), ("body", "b")]);
    }
    world.write(0, "gone", &[("title", "t")]);
    world.settle();
    world.remove(1, "gone");
    world.settle();
    let empty = world.empty_hub();
    world.restart_hub(empty);
    world.heal();
    for at in 0..3 {
        assert!((0..3).all(|n| world.fields(at, &format!("n{n}")).is_some()));
        assert!(world.fields(at, "gone").is_none());
    }
}

#[test]
fn an_old_device_does_not_bring_back_what_was_deleted() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    world.disconnect(1);
    world.remove(0, "n");
    world.settle();
    let seq = sync_core::session::HubStore::seq(&world.store);
    world.store.forget_removals(seq);
    world.heal();
    assert!(world.fields(1, "n").is_none());
}

#[test]
fn an_edit_against_a_delete_is_kept_through_the_hub() {
    let mut world = World::new(3, 4);
    (0..4).for_each(|at| world.connect(at));
    world.write(1, "n", &[("title", "t"), ("body", "b")]);
    world.settle();
    world.disconnect(0);
    world.write(0, "n", &[("title", "edited")]);
    world.remove(1, "n");
    world.settle();
    assert!(world.fields(2, "n").is_none());
    world.heal();
    for at in 0..4 {
        let fields = world.fields(at, "n").expect("the note is listed");
        assert_eq!((fields["title"].as_str(), fields["body"].as_str()), ("edited", "b"));
        let log = world.devices[at].client.conflict_log(DOCUMENT).unwrap();
        assert_eq!(log.len(), 1, "device {at}: {log:?}");
        let (entry, is_open) = log[0];
        assert!(is_open && entry.field.is_none());
        let sides: BTreeSet<_> =
            entry.sides.iter().map(|side| (side.author, side.is_delete)).collect();
        let (editor, deleter) = (world.devices[0].replica, world.devices[1].replica);
        assert_eq!(sides, BTreeSet::from([(editor, false), (deleter, true)]), "device {at}");
        assert_eq!(world.devices[at].disk.log.len(), 1, "and on disk");
    }
}

#[test]
fn a_copied_device_writes_under_a_fresh_incarnation() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    // A second device starts from a copy of the first one's disk, while the first is online.
    let replica = world.devices[0].replica;
    assert_eq!(world.copy_device(0), 2);
    world.connect(2);
    world.settle();
    world.write(2, "copy", &[("title", "by the copy")]);
    world.write(0, "own", &[("title", "by the first")]);
    world.heal();
    assert_ne!(world.devices[2].replica, replica);
    assert!(
        (0..3).all(|at| world.fields(at, "copy").is_some() && world.fields(at, "own").is_some())
    );
}

#[test]
fn a_large_document_comes_in_chunks_and_goes_on_after_cuts() {
    let mut world = two();
    world.disconnect(1);
    for number in 0..200 {
        world.write(0, &format!("n{number}"), &[("body", &"x".repeat(4_000))]);
        world.settle();
    }
    // The line is cut after every few frames; what was confirmed is not sent again.
    for _ in 0..60 {
        world.connect(1);
        for _ in 0..4 {
            world.carry(1, true);
            world.carry(1, false);
            world.store_one(1);
        }
        world.disconnect(1);
    }
    let sent = world.sent_down[&1];
    world.heal();
    assert!(world.fields(1, "n199").is_some());
    assert!(sent < 3 * 200 * 4_000, "{sent} bytes");
}

#[test]
fn a_record_too_large_for_one_change_is_asserted_in_parts() {
    let mut world = two();
    let id = RecordId::new("n").unwrap();
    let large = "x".repeat(60_000);
    world.write(0, "n", &[("title", "t")]);
    for field in ["a", "b", "c", "d", "e"] {
        world.write(0, "n", &[(field, &large)]);
        world.settle();
    }
    world.disconnect(0);
    world.write(0, "n", &[("title", "edited")]);
    world.remove(1, "n");
    world.settle();
    world.heal();
    let document = world.devices[1].client.document(DOCUMENT).unwrap();
    let fields = document.record("notes", &id).sure().unwrap().fields();
    assert_eq!(fields.len(), 6);
    assert_eq!(fields["e"], Field::from(large));
}

#[test]
fn a_first_sync_that_is_cut_goes_on_where_it_was() {
    let size = ChunkSize { bytes: 2_000, items: 20 };
    let mut world = World::with_chunk_size(4, 1, size);
    world.connect(0);
    for number in 0..300 {
        world.write(0, &format!("n{number}"), &[("body", &"x".repeat(300))]);
        if number % 3 == 0 {
            world.remove(0, &format!("n{number}"));
        }
        world.settle();
    }
    world.add_device();
    let mut cuts = 0;
    while world.fields(1, "n299").is_none() {
        world.connect(1);
        for _ in 0..7 {
            world.carry(1, true);
            world.carry(1, false);
            world.store_one(1);
        }
        let context = world.devices[1].client.document(DOCUMENT).unwrap().context();
        assert!(context.range_count() <= 2, "the context stays in one piece");
        world.disconnect(1);
        cuts += 1;
        assert!(cuts < 200, "each connection makes progress");
    }
    assert!(cuts > 5, "{cuts} cuts");
    let sent = world.sent_down[&1];
    assert!(sent < 2 * 200 * 450, "{sent} bytes for 200 records of 400, over {cuts} cuts");
    world.heal();
}

#[test]
fn a_live_delta_that_overtakes_a_catch_up_does_not_move_the_cursor() {
    let size = ChunkSize { bytes: 200, items: 20 };
    let mut world = World::with_chunk_size(5, 2, size);
    (0..2).for_each(|at| world.connect(at));
    world.write(0, "first", &[("title", "t")]);
    world.settle();
    world.disconnect(1);
    for number in 0..40 {
        world.write(0, &format!("n{number}"), &[("title", "t")]);
        world.settle();
    }
    world.connect(1);
    assert!(world.carry(1, true) && world.carry(1, false) && world.carry(1, true), "hello, open");
    world.write(0, "live", &[("title", "t")]);
    while world.store_one(0) || world.carry(0, true) || world.carry(0, false) {}
    while world.carry(1, false) {}
    while world.store_one(1) {}
    assert!(world.fields(1, "live").is_some() && world.fields(1, "n39").is_none());
    world.disconnect(1);
    world.heal();
    assert!(world.fields(1, "n39").is_some());
}

#[test]
fn a_receipt_is_not_early_when_the_replica_is_renewed_meanwhile() {
    let replica = ReplicaId::from_fingerprint([1; 12]);
    let mut client = Client::new(ClientConfig::default());
    let now = Now::default();
    client.open(DOCUMENT, SavedDocument::default(), replica, 1);
    client.handle(now, ClientInput::Connected);
    let welcome = Welcome { version: wire::VERSION, hub: 1, boot: 1, now_ms: 0, packs: false };
    let add = |client: &mut Client, member: &str| {
        client.change(now, DOCUMENT, |edit| edit.set_add("s", &member.into())).unwrap().1
    };
    client.handle(now, ClientInput::Frame(HubMessage::Welcome(welcome).encode()));
    let mut old = add(&mut client, "old");
    for at in 0..5 {
        old = add(&mut client, &at.to_string());
    }
    client.handle(now, ClientInput::Frame(HubMessage::InUse { channel: 1, replica }.encode()));
    let new = add(&mut client, "new");
    assert_ne!(new.replica, old.replica);
    let is_on_disk =
        |client: &Client, dot| client.receipt(DOCUMENT, dot).map(|receipt| receipt.disk);
    assert_eq!(is_on_disk(&client, old), Ok(false));
    let mut batches = Vec::new();
    while let Some(output) = client.poll() {
        if let ClientOutput::Persist(batch) = output {
            batches.push(batch.id);
        }
    }
    let last = batches.pop().unwrap();
    for id in batches {
        client.handle(now, ClientInput::Persisted(id));
    }
    assert_eq!(is_on_disk(&client, old), Ok(true));
    assert_eq!(is_on_disk(&client, new), Ok(false));
    client.handle(now, ClientInput::Persisted(last));
    assert_eq!(is_on_disk(&client, new), Ok(true));
}

#[test]
fn a_document_is_opened_at_the_hub_only_with_what_is_on_disk() {
    let mut world = World::new(6, 1);
    world.write(0, "n", &[("title", "t")]);
    world.connect(0);
    assert!(world.carry(0, true) && world.carry(0, false), "hello, welcome");
    assert!(!world.carry(0, true), "the context would name a dot that a crash may take");
    assert!(world.store_one(0));
    assert!(world.carry(0, true), "open");
    world.heal();
}

#[test]
fn batches_may_be_stored_in_any_order() {
    let mut client = Client::new(ClientConfig::default());
    let now = Now::default();
    let replica = ReplicaId::from_fingerprint([1; 12]);
    client.open(DOCUMENT, SavedDocument::default(), replica, 1);
    for member in ["a", "b", "c"] {
        client.change(now, DOCUMENT, |edit| edit.set_add("s", &member.into())).unwrap();
    }
    client.handle(now, ClientInput::Connected);
    let welcome = Welcome { version: wire::VERSION, hub: 1, boot: 1, now_ms: 0, packs: false };
    client.handle(now, ClientInput::Frame(HubMessage::Welcome(welcome).encode()));
    let mut batches = Vec::new();
    let mut sent = |client: &mut Client| {
        let mut sent = 0;
        while let Some(output) = client.poll() {
            match output {
                ClientOutput::Persist(batch) => batches.push(batch.id),
                ClientOutput::Send(_) => sent += 1,
                ClientOutput::Disconnect { .. } | ClientOutput::Event(_) => {}
            }
        }
        (sent, batches.clone())
    };
    let (hello, batches) = sent(&mut client);
    assert_eq!((hello, batches.len()), (1, 3));
    // What is told twice was stored once.
    for id in [batches[1], batches[1], batches[0], batches[0]] {
        client.handle(now, ClientInput::Persisted(id));
        assert_eq!(sent(&mut client).0, 0, "the document is opened with what is on disk");
    }
    client.handle(now, ClientInput::Persisted(batches[2]));
    assert_ne!(sent(&mut client).0, 0);
}

#[test]
fn a_restored_device_writes_under_a_fresh_incarnation_as_soon_as_the_hub_has_spoken() {
    let mut world = two();
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    let backup = world.devices[0].disk.clone();
    world.write(0, "n", &[("title", "after the backup")]);
    world.settle();
    let replica = world.devices[0].replica;
    world.devices[0].disk = backup;
    world.crash(0);
    world.connect(0);
    let opened = world.carry(0, true) && world.carry(0, false) && world.carry(0, true);
    assert!(opened && world.carry(0, false), "hello, welcome, open, opened");
    world.write(0, "new", &[("title", "after the restore")]);
    world.heal();
    assert_ne!(world.devices[0].replica, replica);
    for at in 0..2 {
        assert_eq!(world.fields(at, "n").unwrap()["title"], "after the backup");
        assert_eq!(world.fields(at, "new").unwrap()["title"], "after the restore");
    }
}

#[test]
fn a_chunk_is_confirmed_only_once_it_is_on_disk() {
    let mut world = World::new(7, 2);
    world.connect(0);
    world.write(0, "n", &[("title", "t")]);
    world.settle();
    world.connect(1);
    let opened = world.carry(1, true) && world.carry(1, false) && world.carry(1, true);
    assert!(opened && world.carry(1, false), "hello, welcome, open, opened");
    assert!(world.carry(1, false), "the chunk with the note");
    assert!(world.fields(1, "n").is_some());
    assert!(world.carry(1, true), "that it keeps names");
    assert!(!world.carry(1, true), "nothing is confirmed yet");
    assert!(world.store_one(1));
    assert!(world.carry(1, true), "the confirmation");
    world.heal();
}

#[test]
fn what_a_hub_is_known_to_lack_is_not_said_to_be_there_across_connections() {
    let mut cuts = 0;
    for cut in 0..14 {
        let mut world = World::new(8, 1);
        world.connect(0);
        world.write(0, "n", &[("title", "old"), ("body", "b")]);
        world.settle();
        let backup = world.store.clone();
        world.write(0, "m", &[("title", "t")]);
        world.settle();
        let dot = world.last_dot(0);
        let says = |world: &World| {
            let client = &world.devices[0].client;
            let receipt = client.receipt(DOCUMENT, dot).unwrap();
            (receipt.hub, client.is_refilling(DOCUMENT).unwrap(), client.phase(DOCUMENT).unwrap())
        };
        assert_eq!(says(&world), (true, false, Phase::Live));
        world.restart_hub(backup);
        world.connect(0);
        let is_there = |world: &World| world.store.state(DOCUMENT).unwrap().context().contains(dot);
        let mut is_told = false;
        let mut look = |world: &World| {
            let (is_on_hub, is_refilling, phase) = says(world);
            is_told |= matches!(phase, Phase::CatchingUp | Phase::Live);
            if is_told && !is_there(world) {
                assert_eq!((is_on_hub, is_refilling), (false, true), "cut after {cut}: {phase:?}");
            }
        };
        for _ in 0..cut {
            world.carry(0, true);
            look(&world);
            while world.carry(0, false) || world.store_one(0) {
                look(&world);
            }
        }
        let was = is_there(&world);
        world.disconnect(0);
        look(&world);
        cuts += usize::from(!was && says(&world).1);
        world.connect(0);
        loop {
            look(&world);
            if !(world.carry(0, true) | world.carry(0, false) | world.store_one(0)) {
                break;
            }
        }
        assert_eq!(says(&world), (true, false, Phase::Live), "cut after {cut}");
    }
    assert!(cuts > 1, "{cuts} came while the hub was being filled");
}

#[test]
fn a_refill_that_is_cut_goes_on_wherever_it_was_cut() {
    for cut in 0..12 {
        let mut world = World::new(8, 1);
        world.connect(0);
        world.write(0, "n", &[("title", "old"), ("body", "b")]);
        world.settle();
        let backup = world.store.clone();
        world.write(0, "n", &[("title", "new")]);
        world.write(0, "m", &[("title", "t")]);
        world.settle();
        world.restart_hub(backup);
        world.connect(0);
        for _ in 0..cut {
            world.carry(0, true);
            while world.carry(0, false) || world.store_one(0) {}
        }
        // Also where the process ends with the line.
        if cut % 2 == 0 {
            world.disconnect(0)
        } else {
            world.crash(0)
        }
        world.heal();
        let title = world.store.state(DOCUMENT).unwrap().live();
        assert_eq!(title.iter().map(|(_, dots)| dots.len()).sum::<u64>(), 6, "cut after {cut}");
    }
}
