//! Undo and redo of what was changed here, also after a restart.

#[cfg(test)]
mod renamed;

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;

use sync_core::causal::Dot;
use sync_core::document::{Again, Undo};
use sync_core::session::{OutboxItem, Rewritten};
use sync_core::types::Renaming;

use crate::Document;
use crate::clock::AgeClock;
use crate::document::DocumentHandle;
use crate::error::Error;
use crate::shared::{Shared, State};
use crate::store::{Limits, StoreError, UndoRow};
use crate::written::Written;

/// What can be undone and redone, of all documents.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    by_name: BTreeMap<String, History>,
    next: i64,
    news: Vec<(String, News)>,
    ages: AgeClock,
}

/// What is to be written of a history.
#[derive(Debug)]
pub(crate) enum News {
    /// Put a row, in place of the one with its number.
    Put(Box<UndoRow>),
    /// Take a row out.
    Drop(i64),
}

#[derive(Debug)]
struct History {
    limits: Limits,
    /// The oldest first, as they were made.
    done: VecDeque<UndoRow>,
    /// The one that is redone first comes last.
    undone: Vec<UndoRow>,
    bytes: u64,
    /// How many renamings of the session are in it.
    renamings: usize,
}

impl Histories {
    pub(crate) fn new(next: i64, ages: AgeClock) -> Self {
        Self { next, ages, ..Self::default() }
    }

    /// Keeps a history of a document, of which these rows are known, in order.
    pub(crate) fn keep(&mut self, name: &str, limits: Limits, rows: Vec<UndoRow>) {
        let (undone, done): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_undone);
        let bytes = done.iter().chain(&undone).map(bytes_of).sum();
        let history = History { limits, done: done.into(), undone, bytes, renamings: 0 };
        self.by_name.insert(name.to_owned(), history);
        self.trim(name);
    }

    /// Notes a change. What was undone before can no longer be redone.
    fn record(&mut self, name: &str, undo: Undo, unix_ms: u64) {
        let Some(history) = self.by_name.get_mut(name) else { return };
        for gone in take(&mut history.undone) {
            history.bytes -= bytes_of(&gone);
            self.news.push((name.to_owned(), News::Drop(gone.number)));
        }
        self.push(name, undo, unix_ms, false);
    }

    fn push(&mut self, name: &str, undo: Undo, unix_ms: u64, is_undone: bool) {
        let Some(history) = self.by_name.get_mut(name) else { return };
        let row = UndoRow { number: self.next, unix_ms, is_undone, undo };
        self.next += 1;
        history.bytes += bytes_of(&row);
        self.news.push((name.to_owned(), News::Put(Box::new(row.clone()))));
        if is_undone {
            history.undone.push(row);
        } else {
            history.done.push_back(row);
        }
        self.trim(name);
    }

    /// Lets go what is too old or too much, the oldest first.
    fn trim(&mut self, name: &str) {
        let Some(history) = self.by_name.get_mut(name) else { return };
        let History { limits, done, undone, bytes, .. } = history;
        let oldest_ms = limits.oldest_ms(self.ages.now_ms());
        let is_over = |row: &UndoRow, bytes| row.unix_ms < oldest_ms || bytes > limits.bytes_max;
        let mut gone = Vec::new();
        while let Some(row) = done.pop_front_if(|row| is_over(row, *bytes)) {
            *bytes -= bytes_of(&row);
            gone.push(row.number);
        }
        while let Some(row) = undone.first().filter(|row| is_over(row, *bytes)) {
            *bytes -= bytes_of(row);
            gone.push(undone.remove(0).number);
        }
        let gone = gone.into_iter().map(|number| (name.to_owned(), News::Drop(number)));
        self.news.extend(gone);
    }

    /// What is undone or redone next.
    fn next_of(&self, name: &str, is_redo: bool) -> Option<UndoRow> {
        let history = self.by_name.get(name)?;
        if is_redo { history.undone.last().cloned() } else { history.done.back().cloned() }
    }

    /// Notes that a change was undone or redone, by which some dots stand under others, and how to take
    /// that back, if it did anything.
    fn turn(
        &mut self,
        name: &str,
        is_redo: bool,
        again: &[Again],
        undo: Option<Undo>,
        now_ms: u64,
    ) {
        let Some(history) = self.by_name.get_mut(name) else { return };
        let gone = if is_redo { history.undone.pop() } else { history.done.pop_back() };
        if let Some(gone) = gone {
            history.bytes -= bytes_of(&gone);
            self.news.push((name.to_owned(), News::Drop(gone.number)));
        }
        for row in history.done.iter_mut().chain(&mut history.undone) {
            let before = bytes_of(row);
            if row.undo.follow(again) {
                history.bytes = history.bytes - before + bytes_of(row);
                self.news.push((name.to_owned(), News::Put(Box::new(row.clone()))));
            }
        }
        if let Some(undo) = undo {
            self.push(name, undo, now_ms, !is_redo);
        }
    }

    /// Takes what changes of a document stand for from here on. A change of which this says so is stored
    /// anew.
    fn restate(&mut self, name: &str, mut restate: impl FnMut(&mut Undo) -> bool) {
        let Some(history) = self.by_name.get_mut(name) else { return };
        for row in history.done.iter_mut().chain(&mut history.undone) {
            let before = bytes_of(row);
            if restate(&mut row.undo) {
                history.bytes = history.bytes - before + bytes_of(row);
                self.news.push((name.to_owned(), News::Put(Box::new(row.clone()))));
            }
        }
    }

    /// Lets a part of a replica's history stand under another one, where the session does so.
    fn rename(&mut self, name: &str, renamings: &[Renaming]) {
        let Some(history) = self.by_name.get_mut(name) else { return };
        let known = std::mem::replace(&mut history.renamings, renamings.len());
        for renaming in &renamings[known..] {
            self.restate(name, |undo| {
                *undo = take(undo).renamed(renaming);
                true
            });
        }
    }

    /// Takes note that an item of the outbox was written anew: its changes are what stands for it.
    pub(crate) fn rewrite(&mut self, name: &str, rewritten: &Rewritten) {
        let Rewritten { was, again, key } = rewritten;
        self.restate(name, |undo| undo.follow_rewritten(was, again, *key));
    }

    /// Takes note that an item of the outbox was given up: its changes are undone, for ever.
    pub(crate) fn give_up(
        &mut self,
        name: &str,
        item: &OutboxItem,
        document: &Document,
    ) -> Result<(), StoreError> {
        let mut gone = item.delta.live();
        gone.insert_range(item.replica, item.first, item.last);
        let mut left = Ok(());
        let mut over = Vec::new();
        self.restate(name, |undo| {
            let is_hit = undo.give_up(&gone);
            if is_hit && left.is_ok() {
                match undo.is_left(document) {
                    Ok(is_left) => over.extend((!is_left).then(|| undo.clone())),
                    Err(failure) => left = Err(failure),
                }
            }
            is_hit
        });
        left?;
        let Some(history) = self.by_name.get_mut(name) else { return Ok(()) };
        let History { done, undone, bytes, .. } = history;
        let mut gone = Vec::new();
        let mut stays = |row: &UndoRow| {
            let is_over = over.contains(&row.undo);
            if is_over {
                *bytes -= bytes_of(row);
                gone.push((name.to_owned(), News::Drop(row.number)));
            }
            !is_over
        };
        done.retain(&mut stays);
        undone.retain(&mut stays);
        self.news.extend(gone);
        Ok(())
    }

    /// What is to be written since this was asked last.
    pub(crate) fn take_news(&mut self) -> Vec<(String, News)> {
        take(&mut self.news)
    }

    /// Forgets everything of a document.
    pub(crate) fn purge(&mut self, name: &str) {
        if let Some(history) = self.by_name.get_mut(name) {
            (history.done, history.undone, history.bytes) = (VecDeque::new(), Vec::new(), 0);
        }
        self.news.retain(|(of, _)| of != name);
    }
}

fn bytes_of(row: &UndoRow) -> u64 {
    row.undo.byte_count() as u64
}

impl State {
    /// Lets histories follow what the session has found of copies of this file.
    pub(crate) fn follow_renamings(&mut self) {
        let Self { session, histories, .. } = self;
        for name in session.names() {
            if let Ok(renamings) = session.renamings(name) {
                histories.rename(name, renamings);
            }
        }
    }

    /// Notes the last change of a document for its history.
    pub(crate) fn note_change(&mut self, name: &str, now_ms: u64) {
        if let Ok(Some(undo)) = self.session.take_undo(name)
            && !undo.is_empty()
        {
            self.histories.record(name, undo, now_ms);
        }
    }
}

impl DocumentHandle {
    /// Undoes the last change that was made here and not undone, as an ordinary change: what it wrote and is
    /// still there goes, what it replaced comes again where nobody has written anything else since. A change
    /// of which nothing is left to undo is passed over. Gives none where there is none, and where
    /// [`Builder::keep_undo`](crate::Builder::keep_undo) did not ask for a history.
    ///
    /// # Errors
    ///
    /// As [`Self::change`].
    pub fn undo(&self) -> Result<Option<Written>, Error> {
        self.turn(false)
    }

    /// Does again what was undone last and nothing was changed here since.
    ///
    /// # Errors
    ///
    /// As [`Self::change`].
    pub fn redo(&self) -> Result<Option<Written>, Error> {
        self.turn(true)
    }

    /// How many changes can be undone, and how many redone.
    #[must_use]
    pub fn undo_depth(&self) -> (usize, usize) {
        let state = self.inner.shared.lock();
        let history = state.histories.by_name.get(&*self.name);
        history.map_or((0, 0), |history| (history.done.len(), history.undone.len()))
    }

    /// Forgets what can be undone and redone. Blocks until that is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the file cannot be written: nothing more is written until the client is
    /// opened again. [`Error::Read`] where it cannot be read, and [`Error::Closed`] once the client is shut
    /// down.
    pub fn purge_undo(&self) -> Result<(), Error> {
        let name = self.name.clone();
        self.inner.shared.with_store(move |state, store| {
            state.histories.purge(&name);
            let purged = store.written(|store| store.purge_undo(&name));
            purged.map_err(|failure| state.fail(failure))
        })
    }

    fn turn(&self, is_redo: bool) -> Result<Option<Written>, Error> {
        let made = turn(&self.inner.shared, &self.name, is_redo)?;
        Ok(made.map(|dot| self.written(dot)))
    }
}

/// Undoes or redoes a change. Gives the last dot of what that wrote, if there was anything to do.
fn turn(shared: &Shared, name: &str, is_redo: bool) -> Result<Option<Dot>, Error> {
    loop {
        let next = |state: &State| state.histories.next_of(name, is_redo);
        let made = shared.change_by(
            name,
            next,
            |row, edit| row.as_ref().map(|row| edit.undo(&row.undo)).transpose(),
            |state, again, now| {
                let undo = state.session.take_undo(name).ok().flatten();
                let has_effect = undo.is_some();
                state.histories.turn(name, is_redo, &again?, undo, now.unix_ms);
                Some(has_effect)
            },
        )?;
        match made {
            (None, _) => return Ok(None),
            (Some(false), _) => {}
            (Some(true), dot) => return Ok(Some(dot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use sync_core::document::{Author, Document};
    use sync_core::time::Stamp;

    use super::*;
    use crate::clock::TimeOfDay;

    /// Changes that are as large as each other, and how large.
    fn undos(count: i64) -> (Vec<Undo>, u64) {
        let mut document = Document::default();
        let replica = sync_core::causal::ReplicaId::from_bytes([1; 16]);
        let undos: Vec<_> = (0..count)
            .map(|number| {
                let author = Author { replica, stamp: Stamp::from_ms(1) };
                let add =
                    document.edit(author, usize::MAX, |edit| edit.set_add("s", &number.into()));
                add.unwrap().undo
            })
            .collect();
        let bytes = undos[0].byte_count() as u64;
        (undos, bytes)
    }

    fn kept(limits: Limits, count: i64, times: impl Fn(i64) -> u64, now_ms: u64) -> Vec<i64> {
        let (time, trusted) = (Arc::new(AtomicU64::new(0)), u64::MAX);
        let own = time.clone();
        let ages = AgeClock::new(TimeOfDay::new(move || own.load(Ordering::Relaxed)));
        ages.trust(trusted);
        let mut histories = Histories::new(1, ages.clone());
        histories.keep("d", limits, Vec::new());
        for (number, undo) in (0..).zip(undos(count).0) {
            time.store(times(number), Ordering::Relaxed);
            histories.record("d", undo, times(number));
        }
        time.store(now_ms, Ordering::Relaxed);
        // What is written is what is kept.
        let mut rows: BTreeMap<i64, UndoRow> = BTreeMap::new();
        for (_, news) in histories.take_news() {
            match news {
                News::Put(row) => drop(rows.insert(row.number, *row)),
                News::Drop(number) => drop(rows.remove(&number)),
            }
        }
        histories.keep("d", limits, rows.into_values().collect());
        histories.by_name["d"].done.iter().map(|row| row.number).collect()
    }

    #[test]
    fn the_bytes_and_the_age_of_a_history_are_limited_and_the_oldest_go() {
        let age_max = Duration::from_millis(100);
        let bytes = undos(1).1;
        for (bytes_max, left) in [
            (3 * bytes - 1, vec![2, 3]),
            (3 * bytes, vec![1, 2, 3]),
            (3 * bytes + 1, vec![1, 2, 3]),
        ] {
            let limits = Limits { bytes_max, age_max };
            assert_eq!(kept(limits, 3, |_| 0, 0), left, "{bytes_max}");
        }
        let limits = Limits { bytes_max: 1 << 20, age_max };
        for (now_ms, left) in [(109, vec![1, 2]), (110, vec![1, 2]), (111, vec![2])] {
            assert_eq!(kept(limits, 2, |number| 10 + number as u64, now_ms), left, "{now_ms}");
        }
        // Also where nothing is opened anew.
        let times = |number: i64| [10, 111][number as usize];
        assert_eq!(kept(limits, 2, times, 111), [2]);
    }
}
