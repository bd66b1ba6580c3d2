//! What is taken in only if the document is as it should be with it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sync_client::{Client, Document, DocumentHandle, Error, Limits, StoreError, TransferError};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::PATIENCE;
use crate::tape::{Random, change};

fn open(folder: &Path) -> (Client, DocumentHandle) {
    let builder = Client::builder(folder).document("notes");
    let client = builder.keep_feed(Limits::FEED).keep_undo(Limits::UNDO).open().unwrap();
    let document = client.document("notes").unwrap();
    (client, document)
}

/// Whether there are at most so many notes.
fn at_most(count: usize) -> impl FnOnce(&Document) -> Result<bool, StoreError> {
    move |document| Ok(document.records("notes")?.len() <= count)
}

fn insert(document: &DocumentHandle, id: &str) {
    let id = sync_client::RecordId::new(id).unwrap();
    let notes = document.collection("notes");
    let _ = notes.insert_with_id(&id, [("title", "t".into())]).unwrap();
}

/// Everything that can be told from outside of a document.
fn told(document: &DocumentHandle) -> impl PartialEq + std::fmt::Debug + use<> {
    let seen = document.read(|document| {
        let context = document.store().context().iter();
        Ok(context.map(|(replica, ranges)| (replica, ranges.clone())).collect::<Vec<_>>())
    });
    let bytes = document.export().unwrap();
    let feed = document.feed(document.feed_begin().unwrap(), &[], 100).unwrap();
    let outbox = document.outbox().unwrap();
    (seen.unwrap(), bytes, feed, outbox, document.undo_depth(), document.conflict_log().unwrap())
}

#[test]
fn an_import_that_breaks_a_rule_leaves_nothing_behind() {
    for seed in 0..20 {
        let folders = [(); 2].map(|()| TempDir::new().unwrap());
        let [(from, source), (client, document)] =
            folders.each_ref().map(|folder| open(folder.path()));
        let random = &mut Random(seed);
        // Both know the same at first, so that there is something to clash and to be removed.
        (0..4).for_each(|number| insert(&source, &format!("r{number}")));
        document.import(&source.export().unwrap()).unwrap();
        for _ in 0..12 {
            change(&source, random);
            change(&document, random);
        }
        insert(&source, "theirs");
        insert(&document, "mine");
        let bytes = source.export().unwrap();
        let before = told(&document);
        // What is not on disk yet stays, too.
        let refused = document.import_guarded(&bytes, |document| {
            let theirs = sync_client::RecordId::new("theirs").unwrap();
            assert!(document.record("notes", &theirs)?.is_some(), "the check sees what would be");
            Ok(false)
        });
        assert!(matches!(refused, Err(TransferError::Client(Error::Violated))), "{refused:?}");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            document.import_guarded(&bytes, |_| panic!("a check of the application"))
        }));
        assert!(panicked.is_err());
        let failed = document.import_guarded(&bytes, |_| Err(StoreError::Closed));
        assert!(failed.is_err());
        assert_eq!(told(&document), before, "seed {seed}");
        // Nor is anything of it written with what comes next.
        insert(&document, "later");
        let before = told(&document);
        assert_eq!(client.verify().unwrap(), []);
        client.shutdown().unwrap();
        drop((client, document));
        let (client, document) = open(folders[1].path());
        assert_eq!(told(&document), before, "seed {seed}, opened again");
        // And with a rule that holds it is as without one.
        let other = TempDir::new().unwrap();
        client.shutdown().unwrap();
        drop((client, document));
        fs::copy(folders[1].path().join("client.db"), other.path().join("client.db")).unwrap();
        let [(_one, guarded), (_other, plain)] = [folders[1].path(), other.path()].map(open);
        let brought = guarded.import_guarded(&bytes, |_| Ok(true)).unwrap();
        assert_eq!(brought, plain.import(&bytes).unwrap());
        let shown = |document: &DocumentHandle| document.collection("notes").list().unwrap();
        assert_eq!(shown(&guarded), shown(&plain), "seed {seed}");
        from.shutdown().unwrap();
    }
}

#[test]
fn a_change_that_breaks_a_rule_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let (_client, document) = open(folder.path());
    let id = |number: usize| sync_client::RecordId::new(format!("n{number}")).unwrap();
    let insert = |number: usize, count: usize| {
        let title = sync_client::Field::from("t");
        document.change_guarded(
            |edit| edit.insert("notes", &id(number), [("title", &title)]),
            at_most(count),
        )
    };
    insert(1, 2).unwrap().1.wait_disk().unwrap();
    insert(2, 2).unwrap().1.wait_disk().unwrap();
    let before = told(&document);
    assert!(matches!(insert(3, 2), Err(Error::Violated)));
    assert!(matches!(insert(2, 9), Err(Error::Misuse(_))), "it is there already");
    assert_eq!(told(&document), before);
    insert(3, 3).unwrap().1.wait_disk().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_reaches_the_hub() {
    let hub = TestHub::start();
    let folders = [(); 3].map(|()| TempDir::new().unwrap());
    let (_from, source) = open(folders[0].path());
    insert(&source, "theirs");
    let clients = [1, 2].map(|at: usize| {
        let builder = Client::builder(folders[at].path()).document("notes");
        builder.hub(hub.address()).open().unwrap()
    });
    let [ours, other] = clients.each_ref().map(|client| client.document("notes").unwrap());
    clients[0].sync(PATIENCE).await.unwrap();
    ours.import_guarded(&source.export().unwrap(), at_most(1)).unwrap();
    crate::sync::until(&clients[1], || other.collection("notes").list().unwrap().len() == 1).await;
    insert(&source, "more");
    let refused = ours.import_guarded(&source.export().unwrap(), at_most(1));
    assert!(matches!(refused, Err(TransferError::Client(Error::Violated))));
    assert_eq!(ours.collection("notes").list().unwrap().len(), 1);
}
