//! Limits of what is read in one go: below each, at its value, and one above.

use sync_client::{Client, DocumentHandle, FeedCursor, Limits, PAGE_ITEMS_MAX, RecordId};
use tempfile::TempDir;

/// How many rows of a feed are read in one go.
const FEED_ROWS: usize = 1_024;

fn open(folder: &TempDir) -> DocumentHandle {
    let builder = Client::builder(folder.path()).document("notes").keep_feed(Limits::FEED);
    builder.open().unwrap().document("notes").unwrap()
}

#[test]
fn the_items_of_a_page_of_the_outbox_are_limited() {
    let folder = TempDir::new().unwrap();
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    // Larger than what is joined with what was changed before.
    let text = "x".repeat(9_000);
    for count in 1..=PAGE_ITEMS_MAX + 1 {
        let _ = document.collection("notes").insert([("text", text.as_str().into())]).unwrap();
        if count + 1 < PAGE_ITEMS_MAX {
            continue;
        }
        for limit in [PAGE_ITEMS_MAX, usize::MAX] {
            let page = client.outbox_page(None, limit).unwrap();
            assert_eq!(page.items.len(), count.min(PAGE_ITEMS_MAX));
            assert_eq!(page.next.is_some(), count > PAGE_ITEMS_MAX, "{count}");
            if let Some(next) = page.next {
                assert_eq!(client.outbox_page(Some(&next), limit).unwrap().items.len(), 1);
            }
        }
    }
}

#[test]
fn what_a_feed_passes_over_in_one_go_is_limited() {
    for count in [FEED_ROWS - 1, FEED_ROWS, FEED_ROWS + 1] {
        let folder = TempDir::new().unwrap();
        let document = open(&folder);
        let begin = document.feed_begin().unwrap();
        let ids = (0..count).map(|number| RecordId::new(number.to_string()).unwrap());
        let ids: Vec<_> = ids.collect();
        let made = document.change(|edit| {
            ids.iter().try_for_each(|id| edit.insert("notes", id, [("title", &"x".into())]))
        });
        made.unwrap().1.wait_disk().unwrap();
        let page = |after: FeedCursor| document.feed(after, &["others"], 1).unwrap();
        let first = page(begin);
        assert!(first.entries.is_empty());
        assert_eq!(first.has_more, count >= FEED_ROWS, "{count}");
        let end = document.feed_end().unwrap();
        assert_eq!(first.next == end, count <= FEED_ROWS, "{count}");
        let second = page(first.next);
        assert!(second.next == end && !second.has_more);
        // What is wanted is not limited by that, but by what was asked for.
        for limit in [count - 1, count, count + 1] {
            let (mut found, mut after) = (0, begin);
            loop {
                let page = document.feed(after, &["notes"], limit).unwrap();
                assert!(page.entries.len() <= limit.min(FEED_ROWS));
                found += page.entries.len();
                after = page.next;
                if !page.has_more {
                    break;
                }
            }
            assert_eq!(found, count);
        }
    }
}
