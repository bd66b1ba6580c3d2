//! Two sessions and their hub, in any order of events: in the end one state everywhere.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::error::Sure;
use sync_core::session::{ChunkSize, HubStore as _};
use sync_core::types::{Field, RecordId, Value};

use crate::source::Source;
use crate::world::{DOCUMENT, World};

/// How many events there are at most.
const STEPS_MAX: usize = 400;

/// Runs two clients and a hub: each byte chooses what happens next.
pub fn pair(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let size = ChunkSize { bytes: 1 << source.below(12), items: 1 + source.below(6) };
    let mut world = World::with_chunk_size(1, 2, size).packed();
    let mut backup = None;
    for step in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        let choice = source.byte();
        let at = usize::from(choice % 2);
        match choice / 2 % 32 {
            0..9 => change(&mut world, at, step, &mut source),
            9..13 => {
                world.store_one(at);
            }
            13..17 => {
                world.carry(at, true);
            }
            17..21 => {
                world.carry(at, false);
            }
            21 => (0..16).for_each(|_| {
                world.store_one(at);
                world.carry(at, true);
                world.carry(at, false);
            }),
            22 | 23 => world.connect(at),
            24 => world.disconnect(at),
            25 => world.drop_line(at),
            26 => world.crash(at),
            27 => {
                let store = world.store.clone();
                world.restart_hub(store);
            }
            28 => backup = Some(world.store.clone()),
            29 => {
                if let Some(store) = backup.clone() {
                    world.restart_hub(store);
                }
            }
            30 => {
                let empty = world.empty_hub();
                world.restart_hub(empty);
            }
            _ => {
                let seq = world.store.seq();
                world.store.forget_removals(seq);
            }
        }
    }
    world.heal();
    let document = world.devices[0].client.document(DOCUMENT).expect("the document is open");
    document.conflicts().sure();
}

/// Makes a change; one that cannot be made there changes nothing.
fn change(world: &mut World, at: usize, step: usize, source: &mut Source<'_>) {
    let choice = source.byte();
    let id = RecordId::new(["n0", "n1", "n2"][usize::from(choice % 3)]).expect("it is an id");
    let number = Value::Int((step % 4) as i64);
    let is_done = world.change(at, |edit| match choice / 3 % 12 {
        0 => edit.remove("notes", &id),
        1 => edit.insert("notes", &id, &fields(step)),
        2 => edit.set_add("tags", &number),
        3 => edit.set_remove("tags", &number),
        4 => edit.count_value("count", 1),
        5 => edit.set_value("state", &Field::Latest(number)),
        6 => edit.update("notes", &id, [("tags", &set(step))]),
        7 => edit.update("notes", &id, [("body", &Field::from("b"))]),
        8 => edit.count("notes", &id, &["count"], 1),
        9 => edit.put("notes", &id, &["map", "x"], &Field::from(step.to_string())),
        10 => edit.unset("notes", &id, &["body"]),
        _ => edit.update("notes", &id, [("title", &Field::from(step.to_string()))]),
    });
    // A record that is not there is not changed, and one that is there is not made.
    let _ = is_done;
}

fn set(step: usize) -> Field {
    Field::Set(BTreeSet::from([Value::Int(1), Value::Int((step % 5) as i64)]))
}

fn fields(step: usize) -> BTreeMap<String, Field> {
    let title = Field::from(step.to_string());
    BTreeMap::from([("title".to_owned(), title), ("tags".to_owned(), set(step))])
}
