//! What a hub names by numbers and dots: a dictionary for each document, as long as somebody has it
//! open, and objects that those who are live have.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{ConnectionId, Hub};
use crate::causal::{Delta, Dot, Entry, Label, PlaceId};
use crate::error::Malformed;
use crate::session::hub_store::{DocumentId, HubStore};
use crate::session::names::{Dots, Runs};
use crate::wire::{
    DELTA_BYTES_MAX, Dictionary, Fault, HubMessage, Objects, encode_delta, read_delta,
};

/// Finds objects by dots in a document, and remembers them.
struct Finder<'a, S: HubStore> {
    store: &'a S,
    document: DocumentId,
    found: RefCell<Dots>,
    error: RefCell<Option<S::Error>>,
}

impl<S: HubStore> Objects for Finder<'_, S> {
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        let Dot { replica, counter } = dot;
        let page = self.store.overlapping(self.document, replica, counter, counter, 1);
        let page = page.map_err(|error| self.error.borrow_mut().replace(error)).ok()?;
        let (_, Entry { label, id, .. }) = page.entries.into_iter().next()?;
        self.found.borrow_mut().add(dot, &label, &id);
        Some((label, id))
    }
}

/// A delta as a client meant it, and the objects that it named by dots. None where such an object is
/// not here.
pub(super) type Meant = Option<(Delta, Dots)>;

/// Reads the delta of a push.
pub(super) fn read_push<S: HubStore>(
    store: &S,
    document: DocumentId,
    dictionary: &Dictionary,
    bytes: &[u8],
) -> Result<Result<Meant, Fault>, S::Error> {
    let (found, error) = (RefCell::default(), RefCell::new(None));
    let finder = Finder { store, document, found, error };
    let read = read_delta(bytes, dictionary, &finder);
    let Finder { found, error, .. } = finder;
    if let Some(error) = error.into_inner() {
        return Err(error);
    }
    Ok(match read {
        Ok(delta) => match outsized(&delta) {
            Some(fault) => Err(fault),
            None => Ok(Some((delta, found.into_inner()))),
        },
        Err(Malformed::Dangling) => Ok(None),
        Err(malformed) => Err(malformed.into()),
    })
}

/// The fault of a delta that would be too large for those who have no names.
fn outsized(delta: &Delta) -> Option<Fault> {
    let limit = DELTA_BYTES_MAX;
    let found = if delta.cost() > limit { encode_delta(delta).len() } else { 0 };
    let (what, found, limit) = ("a delta", found as u64, limit as u64);
    (found > limit).then_some(Fault::TooLarge { what, found, limit })
}

/// The dots by which those who are live find the objects of a delta: what it took, and what it named.
pub(super) fn dots_of(delta: &Delta, killed: &[Entry], named: Dots) -> Dots {
    let mut runs = Runs::default();
    killed.iter().for_each(|entry| runs.add(entry));
    let mut dots = runs.among(&delta.dead, |_| true);
    dots.extend(named);
    dots
}

impl Hub {
    /// Notes that a client keeps the dictionary, and whether it finds objects by dots.
    pub(super) fn handle_brief(
        &mut self,
        connection: ConnectionId,
        channel: u32,
        dots: bool,
    ) -> Result<(), Fault> {
        let state = self.channel(connection, channel)?;
        let is_first = state.brief.replace(dots).is_none();
        let document = state.document;
        let room = self.rooms.get(&document);
        if let Some(room) = room.filter(|room| is_first && room.dictionary.counts() != (0, 0)) {
            let names = room.dictionary.encode_since((0, 0));
            self.send(connection, &HubMessage::Names { channel, names });
        }
        Ok(())
    }

    /// Numbers what a delta names, and tells everyone who keeps the dictionary.
    pub(super) fn learn(&mut self, document: DocumentId, delta: &Delta) {
        let Some(room) = self.rooms.get_mut(&document) else { return };
        let before = room.dictionary.counts();
        room.dictionary.learn(delta);
        if room.dictionary.counts() == before {
            return;
        }
        let names = room.dictionary.encode_since(before);
        let mut frames: BTreeMap<u32, std::sync::Arc<[u8]>> = BTreeMap::new();
        for (connection, channel) in room.members.clone() {
            if self.brief_of(connection, channel).is_none() {
                continue;
            }
            let frame = frames.entry(channel).or_insert_with(|| {
                HubMessage::Names { channel, names: names.clone() }.encode().into()
            });
            self.send_frame(connection, frame.clone());
        }
    }

    fn brief_of(&self, connection: ConnectionId, channel: u32) -> Option<bool> {
        self.connections.get(&connection)?.channels.get(&channel)?.brief
    }

    /// Whether a client has every object that lives here, and finds it by a dot.
    pub(super) fn finds_by_dots(&self, (connection, channel): (ConnectionId, u32)) -> bool {
        let state = self.connections.get(&connection);
        let Some(state) = state.and_then(|state| state.channels.get(&channel)) else {
            return false;
        };
        let is_live = state.catch_up.is_none() && state.compare.is_none();
        state.brief.is_some_and(|dots| (dots && is_live) || broken!(DotsBeforeLive))
    }
}
