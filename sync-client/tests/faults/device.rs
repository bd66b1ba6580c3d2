//! One data directory on a disk that fails, and what must be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sync_client::{
    Builder, Client, DocumentHandle, Dot, Error, FeedError, Field, Limits, OpenError, Place,
    RecordId, TapeError, Written,
};
use sync_faults::{Disk, Random};
use tempfile::TempDir;

pub(crate) const DOCUMENTS: [&str; 2] = ["one", "two"];
const COLLECTION: &str = "notes";

/// The most bytes of a value: more than SQLite has on one page.
const VALUE_BYTES_MAX: u64 = 6_000;

/// The records of a document by id.
type Records = BTreeMap<RecordId, String>;

/// A document as it was accepted, step by step.
#[derive(Debug, Default)]
struct Model {
    /// After each change that was accepted since the last opening; the first is what was found.
    states: Vec<Records>,
    /// The handle of each change, while the client is there.
    written: Vec<Written>,
    /// The last dot of each change.
    dots: Vec<Dot>,
    /// The last state that was said to be on disk.
    safe: usize,
    /// Whether something was undone, and the power failed before it could be looked at.
    is_unread: bool,
}

/// What a device must never take back.
#[derive(Debug, Default)]
struct Kept {
    /// What a dot on disk held, by document.
    contents: BTreeMap<(usize, Dot), Vec<u8>>,
    /// Dots of changes that were found on disk, or said to be there.
    dots: BTreeMap<(usize, Dot), String>,
}

/// Opens the documents in a folder.
pub(crate) fn builder(folder: &Path) -> Builder {
    DOCUMENTS.iter().fold(Client::builder(folder), |builder, name| builder.document(*name))
}

pub(crate) struct Device {
    pub(crate) folder: TempDir,
    pub(crate) disk: Disk,
    client: Option<Client>,
    models: Vec<Model>,
    kept: Kept,
    /// Whether tape, undo and feed are kept.
    records: bool,
    values: u64,
    /// The first thing that must not be.
    wrong: Option<String>,
}

impl Device {
    pub(crate) fn new(records: bool) -> Self {
        let folder = sync_faults::folder();
        let disk = Disk::mount(folder.path());
        let mut models: Vec<Model> = Vec::new();
        for _ in DOCUMENTS {
            models.push(Model { states: vec![Records::new()], ..Model::default() });
        }
        let (kept, values, wrong) = (Kept::default(), 0, None);
        Self { folder, disk, client: None, models, kept, records, values, wrong }
    }

    /// Opens the client and holds it to what must be there. Fails where the disk does.
    pub(crate) fn open(&mut self) -> Result<(), String> {
        let mut builder = builder(self.folder.path());
        if self.records {
            builder = builder.keep_undo(Limits::UNDO).keep_feed(Limits::FEED);
        }
        let client = builder.open().inspect_err(check_open_error);
        let client = client.map_err(|error| error.to_string())?;
        for (number, name) in DOCUMENTS.iter().enumerate() {
            let document = client.document(name).unwrap();
            let text = |record: &sync_client::Item| record.text("text").unwrap().to_owned();
            let unread = |error: Error| {
                assert!(matches!(error, Error::Read(_)), "{error}");
                error.to_string()
            };
            let items = document.collection(COLLECTION).list().map_err(unread)?;
            let found: Records = items.iter().map(|item| (item.id.clone(), text(item))).collect();
            let outbox = document.outbox().map_err(unread)?;
            let entries = outbox.iter().flat_map(|item| item.delta.entries.iter());
            for (dot, bytes) in entries.flat_map(|entry| entry.live()) {
                let known = self.kept.contents.entry((number, dot)).or_insert(bytes.to_vec());
                if known != bytes {
                    self.wrong.get_or_insert(format!("{dot:?} of {name} has two contents"));
                }
            }
            self.settle(number, found);
            if self.records {
                self.look_at_past(&document)?;
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Holds what is kept of the past to what is there. Begins a tape where there is none.
    fn look_at_past(&mut self, document: &DocumentHandle) -> Result<(), String> {
        let failed = |error: Error| error.to_string();
        let name = document.name().to_owned();
        match document.checkpoints().map_err(failed)?.first() {
            None => drop(document.checkpoint("first").map_err(failed)?),
            Some(first) => match document.rewind(first.number) {
                Ok(_) => {}
                Err(TapeError::Client(error)) => return Err(error.to_string()),
                Err(wrong) => {
                    self.wrong.get_or_insert(format!("the tape of {name}: {wrong}"));
                }
            },
        }
        let mut cursor = match document.feed_begin() {
            Ok(begin) => begin,
            Err(FeedError::Client(error)) => return Err(error.to_string()),
            Err(wrong) => panic!("{wrong}"),
        };
        let mut told = BTreeMap::new();
        loop {
            match document.feed(cursor, &[COLLECTION], 100) {
                Ok(page) => {
                    cursor = page.next;
                    for entry in page.entries {
                        let (Place::Record { id, .. }, []) = (&entry.place, &entry.path[..]) else {
                            continue;
                        };
                        told.insert(id.clone(), entry.new.is_some());
                    }
                    if !page.has_more {
                        break;
                    }
                }
                Err(FeedError::Client(error)) => return Err(error.to_string()),
                Err(wrong) => panic!("{wrong}"),
            }
        }
        // All of the feed is there: each record that came or went did so in it last.
        let items = document.collection(COLLECTION).list().map_err(failed)?;
        let found: BTreeSet<_> = items.into_iter().map(|item| item.id).collect();
        let of_feed = told.into_iter().filter(|(_, is_there)| *is_there).map(|(id, _)| id);
        if of_feed.collect::<BTreeSet<_>>() != found {
            self.wrong.get_or_insert(format!("the feed of {name} has other records"));
        }
        Ok(())
    }

    /// Undoes or redoes a change. Gives none where there was nothing to do.
    fn turn(&mut self, random: &mut Random, number: usize) -> Result<Option<Written>, Error> {
        let client = self.client.as_ref().expect("it is open");
        let document = client.document(DOCUMENTS[number]).unwrap();
        let turned = if random.once_in(3) { document.redo() } else { document.undo() };
        let Some(written) = turned.inspect_err(check_error)? else { return Ok(None) };
        let text = |record: &sync_client::Item| record.text("text").unwrap().to_owned();
        let listed = document.collection(COLLECTION).list();
        // It may reach the disk all the same.
        self.models[number].is_unread |= listed.is_err();
        let items = listed?;
        let state = items.iter().map(|item| (item.id.clone(), text(item))).collect();
        self.models[number].states.push(state);
        Ok(Some(written))
    }

    /// Takes what was found for the state from here on, if it is one that may be.
    fn settle(&mut self, number: usize, found: Records) {
        let model = &mut self.models[number];
        let may_be = (model.safe..model.states.len()).find(|at| model.states[*at] == found);
        // Undoing takes back what one change did to one record.
        let is_near = |state: &Records| {
            let ids: BTreeSet<_> = state.keys().chain(found.keys()).collect();
            ids.into_iter().filter(|id| state.get(*id) != found.get(*id)).count() <= 1
        };
        let is_unread = std::mem::take(&mut model.is_unread);
        let is_undone = is_unread && model.states.last().is_some_and(is_near);
        let unread = is_undone.then_some(model.states.len());
        let at = may_be.or(unread).unwrap_or_else(|| {
            let (name, count, safe) = (DOCUMENTS[number], found.len(), model.safe);
            self.wrong.get_or_insert(format!(
                "the {count} records of {name} are nothing that was there from change {safe} on, \
                 which was on disk"
            ));
            0
        });
        for dot in model.dots.drain(..).take(at) {
            self.kept.dots.insert((number, dot), "found on disk".to_owned());
        }
        (model.states, model.safe) = (vec![found], 0);
    }

    /// Makes a change and waits until it is on disk, or does not.
    pub(crate) fn change(&mut self, random: &mut Random, waits: bool) -> Result<(), Error> {
        let number = random.index(DOCUMENTS.len());
        if self.records
            && random.once_in(4)
            && let Some(written) = self.turn(random, number)?
        {
            return self.made(number, written, waits);
        }
        let client = self.client.as_ref().expect("it is open");
        let notes = client.document(DOCUMENTS[number]).unwrap().collection(COLLECTION);
        let model = &mut self.models[number];
        let mut state = model.states.last().cloned().unwrap_or_default();
        self.values += 1;
        let id = match random.below(state.len() as u64 + 2) {
            at if (at as usize) < state.len() => state.keys().nth(at as usize).cloned().unwrap(),
            _ => RecordId::new(format!("r{}", self.values)).unwrap(),
        };
        let size = if random.once_in(4) { VALUE_BYTES_MAX } else { 200 };
        let text = format!("{}:{}", self.values, "x".repeat(random.below(size) as usize));
        let fields = [("text", Field::from(text.as_str()))];
        let written = if !state.contains_key(&id) {
            state.insert(id.clone(), text);
            notes.insert_with_id(&id, fields)
        } else if random.once_in(4) {
            state.remove(&id);
            notes.remove(&id)
        } else {
            state.insert(id.clone(), text);
            notes.update(&id, fields)
        };
        let written = written.inspect_err(check_error)?;
        model.states.push(state);
        self.made(number, written, waits)
    }

    /// Takes note of a change, whose state is noted.
    fn made(&mut self, number: usize, written: Written, waits: bool) -> Result<(), Error> {
        if let Some(why) = self.kept.dots.get(&(number, written.dot())) {
            let dot = written.dot();
            self.wrong.get_or_insert(format!("{dot:?} is given again, though it was {why}"));
        }
        let model = &mut self.models[number];
        model.written.push(written.clone());
        model.dots.push(written.dot());
        if waits {
            written.wait_disk().inspect_err(check_error)?;
            assert!(written.is_on_disk());
            model.safe = model.dots.len();
            self.kept.dots.insert((number, written.dot()), "said to be on disk".to_owned());
        }
        Ok(())
    }

    /// Ends the client; everything is on disk where that goes well.
    pub(crate) fn shut_down(&mut self) -> Result<(), Error> {
        let Some(client) = self.client.take() else { return Ok(()) };
        let ended = client.shutdown().inspect_err(check_error);
        for model in &mut self.models {
            for (at, written) in (1..).zip(model.written.drain(..)) {
                if ended.is_ok() || written.is_on_disk() {
                    model.safe = at;
                }
            }
        }
        ended
    }

    /// Whether all was as it must be.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.client.is_some()
    }

    /// How many records are there, as long as the client is.
    pub(crate) fn read(&self) -> usize {
        let client = self.client.as_ref().expect("it is open");
        let count = |name: &&str| {
            let document = client.document(name).unwrap();
            document.collection(COLLECTION).list().unwrap().len()
        };
        DOCUMENTS.iter().map(count).sum()
    }

    /// Ends the process, as it were: nothing more reaches the disk.
    pub(crate) fn die(&mut self) {
        self.disk.cut();
        // What could not be stored any more is not claimed to be.
        let _ = self.shut_down();
    }
}

/// What a reader of an error can do is among these.
fn says_what_to_do(text: &str) -> bool {
    let advice = ["free space", "repair the disk", "restore ", "check ", "opened again", "move it"];
    advice.iter().any(|advice| text.contains(advice))
}

fn check_error(error: &Error) {
    let text = error.to_string();
    assert!(matches!(error, Error::Store(_)) && says_what_to_do(&text), "{text}");
}

pub(crate) fn check_open_error(error: &OpenError) {
    let text = error.to_string();
    let is_typed = matches!(error, OpenError::File(_) | OpenError::Store { .. });
    assert!(is_typed && says_what_to_do(&text), "{text}");
}
