//! What is known of the past where a part of it stands under another replica: a copy of the file wrote
//! elsewhere, and the hub had that first.

use std::path::Path;

use sync_client::{
    Client, DocumentHandle, Edit, Field, Item, Limits, Phase, RecordId, Refused, Value, Which,
};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, until};
use crate::tape::Random;

/// Each side writes in places of its own, but for one counter.
fn change(document: &DocumentHandle, side: &str, random: &mut Random) -> bool {
    let steps = 1 + random.below(3);
    let mut draws: Vec<[u64; 3]> = Vec::new();
    for _ in 0..steps {
        draws.push([random.below(9), random.below(4), random.below(256)]);
    }
    let change = |edit: &mut Edit<'_>| draws.iter().try_for_each(|draw| step(edit, side, *draw));
    let before = document.undo_depth().0;
    drop(document.change(change));
    document.undo_depth().0 > before
}

fn step(edit: &mut Edit<'_>, side: &str, [what, number, value]: [u64; 3]) -> Result<(), Refused> {
    let id = RecordId::new(format!("r{number}")).unwrap();
    let value = value as i64;
    let tags = Field::Set((0..4).filter(|bit| value >> bit & 1 == 1).map(Value::Int).collect());
    match what {
        0 | 1 => edit.insert(side, &id, [("title", &Field::from(value)), ("tags", &tags)]),
        2 => edit.remove(side, &id),
        3 => edit.update(side, &id, [("tags", &tags)]),
        4 => edit.count(side, &id, &["n"], value - 128),
        5 => edit.put(side, &id, &["place", "city"], &Field::from(value)),
        6 => edit.set_add(side, &Value::Int(value % 8)),
        7 => edit.count_value("both", value),
        _ => edit.update(side, &id, [("title", &Field::from(value))]),
    }
}

type Shown = (Vec<Item>, Vec<Value>);

/// What a side shows. A counter that stands at zero is as one that never was.
fn shown(document: &DocumentHandle, side: &str) -> Shown {
    let mut items = document.collection(side).list().unwrap();
    let zero = Field::Counter(0);
    items.iter_mut().for_each(|item| item.fields.retain(|_, field| *field != zero));
    (items, document.set(side).unwrap().into_iter().collect())
}

fn both(document: &DocumentHandle) -> i64 {
    document.read(|document| document.counter("both")).unwrap()
}

fn open(folder: &Path, hub: Option<&TestHub>) -> (Client, DocumentHandle) {
    let builder = Client::builder(folder).document("notes").keep_undo(Limits::UNDO);
    let client = match hub {
        Some(hub) => builder.hub(hub.address()),
        None => builder,
    };
    let client = client.keep_feed(Limits::FEED).open().unwrap();
    let document = client.document("notes").unwrap();
    (client, document)
}

/// What a side has shown after each of its changes and added to the counter, and at which of these it is.
struct Model {
    states: Vec<(Shown, i64)>,
    at: usize,
}

impl Model {
    fn note(&mut self, document: &DocumentHandle, side: &str, random: &mut Random) {
        let before = both(document);
        if change(document, side, random) {
            self.states.truncate(self.at + 1);
            let counted = self.states[self.at].1 + both(document) - before;
            self.states.push((shown(document, side), counted));
            self.at += 1;
            // What changed nothing in the end would be passed over.
            if self.states[self.at] == self.states[self.at - 1] {
                document.purge_undo().unwrap();
                *self = Self { states: vec![self.states[self.at].clone()], at: 0 };
            }
        }
    }

    /// Undoes or redoes, and looks at what is there then.
    fn turn(&mut self, document: &DocumentHandle, side: &str, random: &mut Random, seed: &str) {
        let before = both(document);
        let is_redo = random.below(2) == 0;
        let at = self.at;
        if is_redo && at + 1 < self.states.len() {
            assert!(document.redo().unwrap().is_some(), "seed {seed}");
            self.at += 1;
        } else if !is_redo && at > 0 {
            assert!(document.undo().unwrap().is_some(), "seed {seed}");
            self.at -= 1;
        }
        let (state, count) = &self.states[self.at];
        assert_eq!(&shown(document, side), state, "seed {seed}, at {} of {at}", self.at);
        // What the other side adds comes at some time.
        let came = both(document) - before - (count - self.states[at].1);
        assert!(came >= 0, "seed {seed}, at {} of {at}: {came}", self.at);
        assert!(!seed.ends_with("alone") || came == 0, "seed {seed}: {came}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_wrote_is_undone_redone_replayed_and_taken_back_after_it_was_renamed() {
    let seeds = std::env::var("SYNC_RENAMES").map_or(12, |text| text.parse().unwrap());
    let mut renamed = 0;
    for seed in 0..seeds {
        let random = &mut Random(seed);
        let hub = TestHub::start();
        let [original, copy] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let (client, document) = open(original.path(), Some(&hub));
        for _ in 0..3 {
            change(&document, "shared", random);
        }
        client.sync(PATIENCE).await.unwrap();
        let checkpoint = document.checkpoint("before the copy").unwrap().number;
        client.shutdown().unwrap();
        drop((client, document));
        std::fs::copy(original.path().join("client.db"), copy.path().join("client.db")).unwrap();

        let (client, document) = open(original.path(), None);
        for _ in 0..1 + random.below(4) {
            change(&document, "original", random);
        }
        client.shutdown().unwrap();
        drop((client, document));
        let (client, document) = open(copy.path(), None);
        document.purge_undo().unwrap();
        let copied = document.checkpoint("copied").unwrap().number;
        let first = (shown(&document, "copy"), both(&document));
        let mut model = Model { states: vec![(first.0.clone(), 0)], at: 0 };
        for _ in 0..2 + random.below(6) {
            model.note(&document, "copy", random);
            if random.below(3) == 0 {
                model.turn(&document, "copy", random, &format!("{seed}, alone"));
            }
        }
        let before = document.status().replica;
        client.shutdown().unwrap();
        drop((client, document));

        let (one, _) = open(original.path(), Some(&hub));
        one.sync(PATIENCE).await.unwrap();
        let (client, document) = open(copy.path(), Some(&hub));
        // Also while it happens.
        let is_over = || document.status().phase == Phase::Live;
        while document.status().replica == before && !is_over() {
            model.turn(&document, "copy", random, &format!("{seed}, meanwhile"));
        }
        client.sync(PATIENCE).await.unwrap();
        renamed += u64::from(document.status().replica != before);
        for _ in 0..6 {
            model.turn(&document, "copy", random, &format!("{seed}, then alone"));
            if random.below(4) == 0 {
                model.note(&document, "copy", random);
            }
        }
        document.rewind(checkpoint).unwrap();
        client.sync(PATIENCE).await.unwrap();
        let other = one.document("notes").unwrap();
        until(&one, || both(&other) == both(&document)).await;
        // Everything since is taken back, whoever wrote it.
        for written in document.revert(&Which::since(copied)).unwrap().written {
            written.wait_disk().unwrap();
        }
        assert_eq!((shown(&document, "copy"), both(&document)), first, "seed {seed}");
        assert_eq!(shown(&document, "original"), (Vec::new(), Vec::new()), "seed {seed}");
        document.rewind(checkpoint).unwrap();
        client.sync(PATIENCE).await.unwrap();
    }
    assert!(renamed * 2 > seeds, "{renamed} of {seeds} were renamed");
}
