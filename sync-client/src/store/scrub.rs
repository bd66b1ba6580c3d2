//! Looking at the file in the background, a little at a time: what has rotted is told before it is missed.
//!
//! A row that SQLite does not find, since its key or an index is damaged, has no checksum that tells. So
//! the structure of each table is looked at too. In a large file that takes long, and is given up as soon
//! as somebody waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rusqlite::{Connection, params};

use sync_core::causal::{DotRanges, ReplicaId};

use super::check::{self, Damage, ItemKey, TABLES};
use super::{File, StoreError, file, rows};

/// How many rows are looked at in one go. Arbitrary: some milliseconds.
const ROWS: i64 = 512;

/// How many damages of one pass are told. Arbitrary: one is enough to act on.
pub(crate) const DAMAGE_MAX: usize = 100;

/// A pass over the file.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    is_begun: bool,
    left: VecDeque<Part>,
    damage: Vec<Damage>,
}

/// What is looked at in one go.
#[derive(Debug, Clone)]
enum Part {
    /// How a table and its indexes stand in the file.
    Structure(String),
    /// The rows of a table behind one.
    Rows {
        table: usize,
        after: i64,
    },
    Contexts,
    /// The rows of outboxes behind one.
    Items(Option<ItemKey>),
}

/// How far a pass is.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There is more to look at.
    More,
    /// Somebody is writing or waits, so it is to be done later.
    Later,
    /// All was looked at, and this is damaged.
    Over(Vec<Damage>),
}

impl Scrub {
    /// Looks at a little more. Gives up where `waiting` is not 0.
    pub(crate) fn step(&mut self, file: &File, waiting: &Arc<AtomicUsize>) -> Progress {
        if !self.is_begun {
            match file.scrub(waiting, parts) {
                None => return Progress::Later,
                Some(Ok(parts)) => self.left = parts,
                Some(Err(failure)) => self.note([no_table(&failure)]),
            }
            self.is_begun = true;
        }
        if let Some(part) = self.left.front().cloned() {
            match file.scrub(waiting, |connection| look(connection, &part)) {
                None => return Progress::Later,
                Some(Err(failure)) => {
                    self.left.pop_front();
                    self.note([no_table(&failure)]);
                }
                Some(Ok((damage, next))) => {
                    self.left.pop_front();
                    self.left.extend(next);
                    self.note(damage);
                }
            }
        }
        if !self.left.is_empty() {
            return Progress::More;
        }
        self.is_begun = false;
        Progress::Over(std::mem::take(&mut self.damage))
    }

    fn note(&mut self, damage: impl IntoIterator<Item = Damage>) {
        let room = DAMAGE_MAX - self.damage.len();
        self.damage.extend(damage.into_iter().take(room));
    }
}

fn no_table(failure: &StoreError) -> Damage {
    Damage { table: None, row: failure.to_string() }
}

/// Everything that there is to look at.
fn parts(connection: &Connection) -> Result<VecDeque<Part>, StoreError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    let structures = names.map(|name| name.map(Part::Structure));
    let mut parts = structures.collect::<rusqlite::Result<VecDeque<_>>>()?;
    parts.extend((0..TABLES.len()).map(|table| Part::Rows { table, after: i64::MIN }));
    parts.extend([Part::Contexts, Part::Items(None)]);
    Ok(parts)
}

/// Looks at a part. Gives what is damaged, and the next part of the same.
fn look(connection: &Connection, part: &Part) -> Result<(Vec<Damage>, Option<Part>), StoreError> {
    match part {
        Part::Structure(table) => Ok((check::structure(connection, Some(table))?, None)),
        Part::Contexts => {
            let found = check::damaged_contexts(connection)?;
            Ok((found.into_iter().map(|found| found.damage).collect(), None))
        }
        Part::Items(after) => {
            let (found, last) = check::damaged_items(connection, after.as_ref(), ROWS)?;
            let damage = found.into_iter().map(|found| found.damage).collect();
            Ok((damage, last.map(|last| Part::Items(Some(last)))))
        }
        Part::Rows { table, after } => {
            let (mut damage, last) = look_at_rows(connection, *table, *after)?;
            let (name, ..) = TABLES[*table];
            if name == "entries" {
                damage.extend(unseen(connection, *after, last.unwrap_or(i64::MAX))?);
            }
            let next = last.filter(|last| last > after);
            Ok((damage, next.map(|after| Part::Rows { table: *table, after })))
        }
    }
}

/// Looks at some rows behind one. Gives what is damaged, and the last of them where there may be more.
fn look_at_rows(
    connection: &Connection,
    table: usize,
    after: i64,
) -> Result<(Vec<Damage>, Option<i64>), StoreError> {
    let (name, sql, look) = TABLES[table];
    let key =
        connection.prepare_cached(sql)?.column_names().next_back().unwrap_or_default().to_owned();
    let sql = format!("{sql} WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let at = statement.column_count() - 1;
    let mut found = statement.query(params![after, ROWS])?;
    let (mut damage, mut last, mut count) = (Vec::new(), after, 0);
    while let Some(row) = found.next()? {
        (last, count) = (row.get(at)?, count + 1);
        damage.extend(check::damage_of(name, last, look(row)));
    }
    Ok((damage, (count == ROWS).then_some(last)))
}

/// The documents of which entries among these rows are not in the context.
fn unseen(connection: &Connection, after: i64, last: i64) -> Result<Vec<Damage>, StoreError> {
    let sql = "SELECT replica, first, last, space, place, body, document FROM entries
               WHERE rowid > ?1 AND rowid <= ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([after, last])?;
    let mut live: BTreeMap<(i64, ReplicaId), DotRanges> = BTreeMap::new();
    while let Some(row) = found.next()? {
        // What can't be read is told already.
        if let Ok(entry) = rows::read_entry(row) {
            let of_it = live.entry((row.get(6)?, entry.replica())).or_default();
            of_it.union(&entry.live_ranges());
        }
    }
    let mut damage = Vec::new();
    for ((document, replica), live) in live {
        match file::read_seen(connection, document, replica) {
            Ok(seen) if live.difference(&seen).is_empty() => {}
            // A context that can't be read is told by itself.
            Err(StoreError::Damaged { .. }) => {}
            Ok(_) => damage.push(Damage { table: Some("contexts"), row: document.to_string() }),
            Err(failure) => return Err(failure),
        }
    }
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use super::*;
    use sync_core::types::RecordId;

    use crate::Client;
    use crate::store::{FILE, Store, open_file};

    /// A file with so many records, in which so many of their rows are damaged.
    fn damaged(folder: &Path, records: usize, damages: usize) {
        let client = Client::open(folder, "notes").unwrap();
        let document = client.document("notes").unwrap();
        let insert = |edit: &mut crate::Edit<'_>| {
            (0..records).try_for_each(|number| {
                let id = RecordId::new(format!("n{number}")).unwrap();
                edit.insert("notes", &id, [("number", &(number as i64).into())])
            })
        };
        drop(document.change(insert).unwrap());
        client.shutdown().unwrap();
        drop((client, document));
        let file = Connection::open(folder.join(FILE)).unwrap();
        let sql = "UPDATE entries SET body = x'00' WHERE rowid IN (
                       SELECT rowid FROM entries ORDER BY rowid DESC LIMIT ?1)";
        file.execute(sql, [damages as i64]).unwrap();
    }

    /// Goes through a whole pass. Gives what is damaged, and in how many steps.
    fn pass(file: &File, scrub: &mut Scrub) -> (Vec<Damage>, usize) {
        for steps in 1.. {
            match scrub.step(file, &Arc::default()) {
                Progress::More => {}
                Progress::Later => panic!("nobody writes or waits"),
                Progress::Over(damage) => return (damage, steps),
            }
        }
        unreachable!()
    }

    #[test]
    fn rows_are_looked_at_so_many_at_a_time_and_so_many_damages_are_told() {
        let mut steps = Vec::new();
        // One entry more says when the document was opened.
        for (rows, damages) in [-1, 0, 1].map(|by| (ROWS + by, DAMAGE_MAX as i64 + by)) {
            let folder = tempfile::tempdir().unwrap();
            damaged(folder.path(), rows as usize - 1, damages as usize);
            let store = Store::new(open_file(folder.path()).unwrap()).unwrap();
            let mut scrub = Scrub::default();
            let first = pass(&store.file(), &mut scrub);
            assert_eq!(first.0.len() as i64, damages.min(DAMAGE_MAX as i64));
            assert!(first.0.iter().all(|damage| damage.table == Some("entries")), "{first:?}");
            assert_eq!(pass(&store.file(), &mut scrub), first, "a pass begins anew");
            steps.push(first.1);
        }
        assert_eq!(steps[1..], [steps[0] + 1; 2]);
    }

    #[test]
    fn who_waits_or_writes_is_let_alone_and_the_pass_goes_on_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        damaged(folder.path(), 1_800, 1);
        let mut store = Store::new(open_file(folder.path()).unwrap()).unwrap();
        let loaded = store.load("notes").unwrap();
        let file = store.file();
        let (mut scrub, waiting) = (Scrub::default(), Arc::<AtomicUsize>::default());
        let mut over = Vec::new();
        let mut later = 0;
        while over.is_empty() {
            waiting.fetch_add(1, Ordering::Relaxed);
            let is_later = matches!(scrub.step(&file, &waiting), Progress::Later);
            later += usize::from(is_later);
            waiting.fetch_sub(1, Ordering::Relaxed);
            file.write(|_| Ok(())).unwrap();
            assert!(matches!(scrub.step(&file, &waiting), Progress::Later), "somebody writes");
            file.commit().unwrap();
            if let Progress::Over(damage) = scrub.step(&file, &waiting) {
                over = damage;
            }
        }
        assert!(later > 0, "what takes long is given up");
        assert_eq!(over.len(), 1);
        drop(loaded);
    }
}
