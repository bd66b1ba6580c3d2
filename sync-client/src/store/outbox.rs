//! The outbox as it is stored: a row for each change, and one for each item that is not added to any more.
//!
//! What is added to an item that waits is a row of its own, which names the row before it, so that a change
//! writes only itself. The rows of an item become one when it is about to be sent, and when they are many:
//! what they have in common then takes no room.

use rusqlite::{Connection, OptionalExtension, params};

use sync_core::causal::Dot;
use sync_core::session::{ItemHead, ItemSpan, OutboxItem, OutboxState};
use sync_core::types::Renaming;

use super::StoreError;
use super::rows::{self, OutboxHead, OutboxRow, counter};

/// How many rows an item has before they become one. Arbitrary: a row that is one of many costs little, and
/// together they have few kilobytes.
pub(super) const ITEM_ROWS_MAX: usize = 64;

/// What is known of the outbox of an open document.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The last position.
    position: i64,
    /// About how many rows the last item has.
    rows: usize,
}

/// Reads what there is, in order, without the bodies.
pub(super) fn load(
    connection: &Connection,
    document: i64,
) -> Result<(Vec<ItemHead>, Tail), StoreError> {
    // The rows of an item follow each other by their counters.
    let sql = "SELECT replica, last, CASE WHEN length(head) = 0 THEN body END, position, head
               FROM outbox WHERE document = ?1 ORDER BY replica, last";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([document])?;
    let mut items: Vec<Placed> = Vec::new();
    let mut last = 0;
    while let Some(row) = found.next()? {
        let position: i64 = row.get(3)?;
        last = position.max(last);
        let OutboxHead { head, added_to } = rows::read_outbox_head(row)?;
        let is_it = |known: &&mut Placed| {
            Some(known.head.key()) == added_to && known.head.state == OutboxState::Pending
        };
        match items.last_mut().filter(is_it) {
            Some(known) => {
                known.head.add(&head);
                known.rows += 1;
            }
            // What it was added to may have been taken out as damaged.
            None => items.push(Placed { position, head, rows: 1 }),
        }
    }
    items.sort_unstable_by_key(|item| item.position);
    let rows = items.last().map_or(0, |item| item.rows);
    let heads = items.into_iter().map(|item| item.head).collect();
    Ok((heads, Tail { position: last, rows }))
}

/// An item where it stands in order.
struct Placed {
    position: i64,
    head: ItemHead,
    rows: usize,
}

/// Reads an item, all of which must be there.
pub(super) fn item(
    connection: &Connection,
    document: i64,
    span: ItemSpan,
) -> Result<OutboxItem, StoreError> {
    let found = read(connection, document, span.key())?.map(|found| found.item);
    found.filter(|item| item.first == span.first).ok_or_else(|| missing(span.key()))
}

/// An item as it is found.
struct Found {
    item: OutboxItem,
    position: i64,
    /// The keys of its rows.
    keys: Vec<Dot>,
}

fn missing(key: Dot) -> StoreError {
    StoreError::Missing { table: "outbox", row: key.to_string() }
}

/// Reads an item, as far as it is there.
fn read(connection: &Connection, document: i64, key: Dot) -> Result<Option<Found>, StoreError> {
    let sql = "SELECT replica, last, body, position FROM outbox
               WHERE document = ?1 AND replica = ?2 AND last = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut parts, mut keys, mut position, mut next) = (Vec::new(), Vec::new(), 0, Some(key));
    while let Some(key) = next {
        let at = params![document, key.replica.as_bytes(), counter(key.counter)];
        let found = statement.query_row(at, |row| {
            position = row.get(3)?;
            Ok(rows::read_outbox_row(row))
        });
        // What it was added to may have been taken out as damaged.
        let Some(row) = found.optional()? else { break };
        let OutboxRow { item, added_to } = row?;
        parts.push(item);
        keys.push(key);
        next = added_to;
    }
    let Some(mut item) = parts.pop() else { return Ok(None) };
    parts.into_iter().rev().for_each(|part| item.add(part));
    Ok(Some(Found { item, position, keys }))
}

/// Puts an item last, or adds it to one.
pub(super) fn enqueue(
    connection: &Connection,
    document: i64,
    tail: &mut Tail,
    item: &OutboxItem,
    added_to: Option<Dot>,
) -> Result<(), StoreError> {
    tail.position += 1;
    insert(connection, document, tail.position, item, added_to)?;
    tail.rows = if added_to.is_some() { tail.rows + 1 } else { 1 };
    if tail.rows > ITEM_ROWS_MAX {
        tail.rows = 1;
        change(connection, document, item.key(), |_| {})?;
    }
    Ok(())
}

pub(super) fn set_state(
    connection: &Connection,
    document: i64,
    key: Dot,
    state: OutboxState,
) -> Result<(), StoreError> {
    change(connection, document, key, |item| item.state = state)
}

/// Takes an item out. Gives it, with its position.
pub(super) fn take(
    connection: &Connection,
    document: i64,
    key: Dot,
) -> Result<Option<(OutboxItem, i64)>, StoreError> {
    let Some(Found { item, position, keys }) = read(connection, document, key)? else {
        return Ok(None);
    };
    let sql = "DELETE FROM outbox WHERE document = ?1 AND replica = ?2 AND last = ?3";
    let mut delete = connection.prepare_cached(sql)?;
    for Dot { replica, counter: last } in keys {
        delete.execute(params![document, replica.as_bytes(), counter(last)])?;
    }
    Ok(Some((item, position)))
}

/// Lets a part of a replica's history stand under another one, as it does in the document.
pub(super) fn rename(
    connection: &Connection,
    document: i64,
    tail: &mut Tail,
    renaming: &Renaming,
) -> Result<(), StoreError> {
    for head in load(connection, document)?.0 {
        let key = head.key();
        let (item, _) = take(connection, document, key)?.ok_or_else(|| missing(key))?;
        enqueue(connection, document, tail, &item.renamed(renaming), None)?;
    }
    Ok(())
}

/// Makes each item one row.
pub(super) fn gather(connection: &Connection, document: i64) -> Result<(), StoreError> {
    let (heads, _) = load(connection, document)?;
    heads.iter().try_for_each(|head| change(connection, document, head.key(), |_| {}))
}

impl Tail {
    /// Takes note that each item is one row.
    pub(super) fn gathered(&mut self) {
        self.rows = self.rows.min(1);
    }
}

/// Makes an item one row, with a change to it. An item that is not there is an error: what was to be said of it
/// would be lost.
fn change(
    connection: &Connection,
    document: i64,
    key: Dot,
    change: impl FnOnce(&mut OutboxItem),
) -> Result<(), StoreError> {
    let Some((mut item, position)) = take(connection, document, key)? else {
        return Err(missing(key));
    };
    change(&mut item);
    insert(connection, document, position, &item, None)
}

fn insert(
    connection: &Connection,
    document: i64,
    position: i64,
    item: &OutboxItem,
    added_to: Option<Dot>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (document, replica, last, position, head, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (replica, last) = (item.replica, counter(item.last));
    let head = rows::write_outbox_head(item, added_to, position);
    let body = rows::write_outbox_row(item, added_to, position);
    let row = params![document, replica.as_bytes(), last, position, head, body];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sync_core::causal::{Delta, ReplicaId};
    use tempfile::TempDir;

    use super::*;
    use crate::store::{FILE, memory};
    use crate::{Client, Error};

    /// How many rows a closed file has, and the bytes of the longest.
    fn rows(folder: &TempDir) -> (i64, i64) {
        let file = Connection::open(folder.path().join(FILE)).unwrap();
        let sql = "SELECT count(*), ifnull(max(length(body)), 0) FROM outbox";
        file.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    #[test]
    fn a_change_writes_only_itself_until_an_item_has_too_many_rows() {
        for changes in [ITEM_ROWS_MAX - 1, ITEM_ROWS_MAX, ITEM_ROWS_MAX + 1] {
            let folder = TempDir::new().unwrap();
            let client = Client::open(folder.path(), "notes").unwrap();
            let document = client.document("notes").unwrap();
            let notes = document.collection("notes");
            let (id, _) = notes.insert([("text", "first".into())]).unwrap();
            for change in 1..changes {
                let text = format!("{change:0>400}");
                let _ = notes.update(&id, [("text", text.into())]).unwrap();
            }
            let waits = document.outbox().unwrap();
            client.shutdown().unwrap();
            drop((client, document, notes));
            let (count, longest) = rows(&folder);
            assert_eq!(count, if changes <= ITEM_ROWS_MAX { changes as i64 } else { 1 });
            assert!(longest < 800, "{longest} bytes: what was overwritten is not there");
            let client = Client::open(folder.path(), "notes").unwrap();
            let document = client.document("notes").unwrap();
            assert_eq!((document.outbox().unwrap(), waits.len()), (waits, 1));
        }
    }

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([1; 16]), counter)
    }

    /// What one change brings.
    fn change_of(counter: u64) -> OutboxItem {
        let Dot { replica, .. } = dot(counter);
        let delta = Delta { dead: [dot(counter)].into_iter().collect(), ..Delta::default() };
        let (changes, state) = (1, OutboxState::Pending);
        OutboxItem { replica, first: counter, last: counter, changes, state, delta }
    }

    /// Two documents with an item of three rows and another one.
    fn filled() -> Connection {
        let connection = memory();
        let rows = [(1, None), (2, Some(1)), (3, Some(2)), (4, None)];
        let mut tails = [Tail::default(), Tail::default()];
        for (counter, added_to) in rows {
            for (document, tail) in (1..).zip(&mut tails) {
                let to = added_to.map(dot);
                enqueue(&connection, document, tail, &change_of(counter), to).unwrap();
            }
        }
        connection
    }

    /// First and last counter, changes and state of each item, with the rows of all.
    fn found(connection: &Connection, document: i64) -> (Vec<(u64, u64, u32, OutboxState)>, i64) {
        let (heads, _) = load(connection, document).unwrap();
        for head in &heads {
            let item = item(connection, document, head.span()).unwrap();
            assert_eq!((&item.state, item.changes), (&head.state, head.changes));
            let counters = (item.first..=item.last).map(dot);
            assert_eq!(item.delta.dead, counters.collect());
        }
        let items = heads.into_iter();
        let items = items.map(|item| (item.first, item.last, item.changes, item.state)).collect();
        let sql = "SELECT count(*) FROM outbox WHERE document = ?1";
        (items, connection.query_row(sql, [document], |row| row.get(0)).unwrap())
    }

    #[test]
    fn rows_of_an_item_are_one_once_it_is_not_added_to_any_more_and_go_together() {
        let (pending, frozen) = (OutboxState::Pending, OutboxState::Frozen);
        let parked = OutboxState::Parked { reason: "large".to_owned() };
        let connection = filled();
        let untouched = (vec![(1, 3, 3, pending.clone()), (4, 4, 1, pending.clone())], 4);
        assert_eq!(found(&connection, 1), untouched);
        set_state(&connection, 1, dot(3), frozen.clone()).unwrap();
        assert_eq!(found(&connection, 1).0, [(1, 3, 3, frozen), (4, 4, 1, pending.clone())]);
        assert_eq!(found(&connection, 1).1, 2);
        set_state(&connection, 1, dot(3), parked.clone()).unwrap();
        assert_eq!(found(&connection, 1).0, [(1, 3, 3, parked), (4, 4, 1, pending.clone())]);
        assert_eq!(found(&connection, 2), untouched);
        assert!(take(&connection, 2, dot(3)).unwrap().is_some());
        assert_eq!(found(&connection, 2), (vec![(4, 4, 1, pending)], 1));
        assert!(take(&connection, 2, dot(3)).unwrap().is_none());
    }

    #[test]
    fn what_was_added_to_a_row_that_is_gone_is_an_item_of_its_own() {
        let pending = OutboxState::Pending;
        for (gone, rest) in [(1, vec![(2, 3, 2)]), (2, vec![(1, 1, 1), (3, 3, 1)])] {
            let connection = filled();
            let sql = "DELETE FROM outbox WHERE document = 1 AND last = ?1";
            connection.execute(sql, [gone]).unwrap();
            let mut expected: Vec<_> = rest
                .iter()
                .map(|(first, last, of)| (*first, *last, *of, pending.clone()))
                .collect();
            expected.push((4, 4, 1, pending.clone()));
            assert_eq!(found(&connection, 1), (expected, 3));
            set_state(&connection, 1, dot(3), OutboxState::Frozen).unwrap();
            let (items, _) = found(&connection, 1);
            assert_eq!(items[items.len() - 2].3, OutboxState::Frozen);
            assert_eq!(items.len(), rest.len() + 1);
            let whole = ItemSpan { replica: dot(1).replica, first: 1, last: 3 };
            let Err(StoreError::Missing { table: "outbox", row }) = item(&connection, 1, whole)
            else {
                panic!("a part is given for the whole")
            };
            assert_eq!(row, dot(3).to_string());
        }
    }

    #[test]
    fn who_says_something_of_an_item_that_is_missing_in_the_file_hears_so_and_keeps_the_change() {
        let folder = TempDir::new().unwrap();
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        document.set_add("s", "x").unwrap().wait_disk().unwrap();
        let lose = client.inner.shared.with_store(|_, store| {
            store.file.write(|connection| Ok(connection.execute("DELETE FROM outbox", [])?))?;
            Ok(store.file.commit()?)
        });
        lose.unwrap();
        let key = client.outbox_page(None, 1).unwrap().items.remove(0).key;
        client.park_item(&key, "to be seen to").unwrap();
        let Err(Error::Store(failure)) =
            document.set_add("s", "y").map(|made| made.wait_disk()).unwrap_or_else(Err)
        else {
            panic!("nothing is said")
        };
        let is_it = matches!(&*failure, StoreError::Missing { table: "outbox", row } if *row == key.dot.to_string());
        assert!(is_it && failure.to_string().contains("start again"), "{failure}");
        assert!(client.shutdown().is_err());
        drop((client, document));
        let client = Client::open(folder.path(), "notes").unwrap();
        let document = client.document("notes").unwrap();
        assert_eq!(document.set("s").unwrap().len(), 1);
        document.set_add("s", "z").unwrap().wait_disk().unwrap();
    }
}
