//! Collections of types of one's own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sync_client::{Client, Count, Field, Members, RecordId, TypedError, Value};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, open, until};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Mood {
    Fine,
    Said(String),
    At(i8, i8),
    Since { year: u16 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    title: String,
    body: Option<String>,
    done: bool,
    stars: u32,
    ratio: f32,
    letter: char,
    moods: Vec<Mood>,
    place: (i64, i64),
    nested: BTreeMap<String, Vec<Option<bool>>>,
    tags: Members<String>,
    seen: Count,
}

fn note() -> Note {
    Note {
        title: "Milk".into(),
        body: None,
        done: false,
        stars: u32::MAX,
        ratio: 0.5,
        letter: 'ß',
        moods: vec![Mood::Fine, Mood::Said("x".into()), Mood::At(-1, 2), Mood::Since { year: 7 }],
        place: (i64::MIN, i64::MAX),
        nested: [("a".to_owned(), vec![Some(true), None])].into(),
        tags: Members(["home".to_owned(), "shop".to_owned()].into()),
        seen: Count(3),
    }
}

#[test]
fn what_is_written_is_read_again_and_none_is_not_there() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let collection = client.document("notes").unwrap().collection("notes");
    let notes = collection.typed::<Note>();
    let (id, _written) = notes.insert(&note()).unwrap();
    assert_eq!(notes.get(&id).unwrap(), Some(note()));
    let empty = Note { tags: Members::default(), seen: Count(0), ..note() };
    let (second, _written) = notes.insert(&empty).unwrap();
    // In the order of their ids, which is not told of two of one millisecond.
    let mut both = [(id.clone(), note()), (second, empty)];
    both.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(notes.list().unwrap(), both);
    let item = collection.get(&id).unwrap().unwrap();
    assert_eq!(item.text("title"), Some("Milk"));
    assert_eq!((item.members("tags").count(), item.count("seen")), (2, 3));
    assert!(!item.fields.contains_key("body"));
    let _ = notes.update(&id, |note| note.body = Some("two".into())).unwrap();
    assert_eq!(collection.get(&id).unwrap().unwrap().text("body"), Some("two"));
    let _ = notes.update(&id, |note| note.body = None).unwrap();
    assert_eq!(notes.get(&id).unwrap(), Some(note()));
    assert!(!collection.get(&id).unwrap().unwrap().fields.contains_key("body"));
    notes.remove(&id).unwrap().wait_disk().unwrap();
    assert_eq!(notes.get(&id).unwrap(), None);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Short {
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[test]
fn fields_that_the_type_does_not_name_stay_and_only_what_changed_is_written() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    let collection = document.collection("notes");
    let (id, _written) = collection.typed::<Note>().insert(&note()).unwrap();
    let short = collection.typed::<Short>();
    let seen =
        |client: &Client| client.document("notes").unwrap().outbox().unwrap().last().unwrap().last;
    let before = seen(&client);
    let _ = short.update(&id, |note| note.title = "Oat milk".into()).unwrap();
    // One dot: no other field was written.
    assert_eq!(seen(&client), before + 1);
    let expected = Note { title: "Oat milk".into(), ..note() };
    assert_eq!(collection.typed::<Note>().get(&id).unwrap(), Some(expected));
    let _ = short.update(&id, |_| ()).unwrap();
    assert_eq!(seen(&client), before + 1, "nothing changed");
    let _ = short.update(&id, |note| note.body = Some("b".into())).unwrap();
    let _ = short.update(&id, |note| note.body = None).unwrap();
    assert!(!collection.get(&id).unwrap().unwrap().fields.contains_key("body"));
}

#[tokio::test]
async fn edits_of_other_fields_meet_and_sets_and_counters_add_up() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let clients = [0, 1].map(|at: usize| open(folders[at].path(), &hub));
    let notes = clients
        .each_ref()
        .map(|client| client.document("notes").unwrap().collection("notes").typed::<Note>());
    let (id, written) = notes[0].insert(&note()).unwrap();
    written.wait_hub(PATIENCE).unwrap();
    until(&clients[1], || notes[1].get(&id).unwrap().is_some()).await;
    clients.iter().for_each(|client| client.set_offline(true));
    let _ = notes[0]
        .update(&id, |note| {
            note.title = "from a".into();
            note.tags.0.insert("a".into());
            note.seen.0 += 2;
        })
        .unwrap();
    let _ = notes[1]
        .update(&id, |note| {
            note.done = true;
            note.tags.0.insert("b".into());
            note.tags.0.remove("home");
            note.seen.0 += 5;
        })
        .unwrap();
    for client in &clients {
        client.set_offline(false);
        client.sync(PATIENCE).await.unwrap();
    }
    let expected = Note {
        title: "from a".into(),
        done: true,
        tags: Members(["a", "b", "shop"].map(str::to_owned).into()),
        seen: Count(10),
        ..note()
    };
    for (client, notes) in clients.iter().zip(&notes) {
        until(client, || notes.get(&id).unwrap().as_ref() == Some(&expected)).await;
    }
    assert!(!notes[0].collection().get(&id).unwrap().unwrap().is_in_conflict);
}

#[test]
fn what_has_no_form_is_refused_with_its_field_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    let collection = document.collection("notes");
    fn refused<T>(outcome: Result<T, TypedError>) -> (String, String) {
        match outcome {
            Err(TypedError::NoForm { field, reason }) => (field, reason),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it has a form"),
        }
    }
    let large = BTreeMap::from([("n", u64::MAX)]);
    let large = large.into_iter().map(|(key, n)| (key.to_owned(), n)).collect();
    let numbers = collection.typed::<BTreeMap<String, u64>>();
    let (field, reason) = refused(numbers.insert(&large));
    assert_eq!(field, "n");
    assert!(reason.contains("64 bits signed"), "{reason}");
    let (_, reason) = refused(collection.typed::<Vec<u8>>().insert(&vec![1]));
    assert!(reason.contains("a list is no record"), "{reason}");
    let keys = BTreeMap::from([("m".to_owned(), BTreeMap::from([(1u8, 2u8)]))]);
    let maps = collection.typed::<BTreeMap<String, BTreeMap<u8, u8>>>();
    let (field, reason) = refused(maps.insert(&keys));
    assert_eq!((&field[..], &reason[..]), ("m", "a key of a map is text"));
    let slow = BTreeMap::from([("d".to_owned(), Duration::from_secs(1))]);
    let (id, _written) = collection.typed::<BTreeMap<String, Duration>>().insert(&slow).unwrap();
    assert_eq!(collection.typed::<BTreeMap<String, Duration>>().get(&id).unwrap(), Some(slow));
    // What is there and is not what the type says names the record.
    let short = collection.typed::<Short>();
    for outcome in [short.get(&id).map(|_| ()), short.update(&id, |_| ()).map(|_| ())] {
        match outcome {
            Err(TypedError::NotThis { id: found, reason }) => {
                assert_eq!(found, id);
                assert!(reason.contains("title"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    let _ = collection.update(&id, [("title", Field::Register(Value::Int(1)))]).unwrap();
    assert!(matches!(short.get(&id), Err(TypedError::NotThis { .. })));
    let none = RecordId::new("none").unwrap();
    assert!(matches!(short.update(&none, |_| ()), Err(TypedError::NoRecord { .. })));
    assert!(short.get(&none).unwrap().is_none());
    assert_eq!(collection.list().unwrap().len(), 1);
}
