//! The one file that knows how `sync-core` represents entries, deltas and frames. Everything else in
//! this crate speaks of dots, places and changes.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{
    CausalContext, Delta, Dot, DotRanges, EntryView, Label, MemoryStore, Note, PlaceId, ReplicaId,
};
use sync_core::document::Document;
use sync_core::error::Sure;
use sync_core::session::{OutboxItem, SavedDocument, Step};
use sync_core::types::{Content, Element, Place, RecordId, Renaming, Share};
use sync_core::wire::{
    ClientMessage, Cursor, Dictionary, HubMessage, Objects, decode_client, decode_hub, read_delta,
};

/// One live dot that a change brought: what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brought {
    /// Its counter.
    pub(crate) counter: u64,
    /// A hash of its bytes.
    pub(crate) content: u64,
    /// Where it belongs.
    pub(crate) place: String,
    /// The field that it is a value or a member of; empty for what has no name.
    pub(crate) field: String,
    /// Whether it is a member of a set.
    pub(crate) is_member: bool,
    /// What it says of a counter.
    pub(crate) share: Option<Share>,
    /// What it is a copy of, where it was asserted again.
    pub(crate) copy_of: Option<Dot>,
}

/// A change that a device accepted, as it goes to its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Who wrote it.
    pub(crate) replica: ReplicaId,
    /// The first of its new counters.
    pub(crate) first: u64,
    /// The last of them.
    pub(crate) last: u64,
    /// Its new dots that are live.
    pub(crate) live: Vec<Brought>,
    /// The places of its removals.
    pub(crate) removed: Vec<String>,
    /// The dots that it takes the place of, or removes.
    pub(crate) kills: Vec<Dot>,
    /// Whether it was joined into an item that waited.
    pub(crate) is_joined: bool,
}

/// Finds the changes of the device itself among the steps of a batch: each is a join, then an item
/// of the outbox that has it.
pub(crate) fn accepted(steps: &[Step]) -> Vec<Accepted> {
    let pairs = steps.windows(2);
    let own = pairs.filter_map(|pair| match pair {
        [Step::Join(delta), Step::Enqueue { item, replaces }] => {
            Some(accepted_of(delta, item, *replaces))
        }
        _ => None,
    });
    own.collect()
}

/// The parts of histories that stand under other replicas once a batch is stored.
pub(crate) fn renamings(steps: &[Step]) -> Vec<Renaming> {
    let mut renamings = Vec::new();
    for step in steps {
        if let Step::Rename(renaming) = step {
            renamings.push(*renaming);
        }
    }
    renamings
}

/// What a live dot stands for in a state.
pub(crate) fn content_in(store: &MemoryStore, dot: Dot) -> Option<u64> {
    content_of(store.entry_of(dot)?, dot)
}

/// What a dot stands for on a disk: it may have died there, and wait to be sent.
pub(crate) fn content_on(saved: &SavedDocument, dot: Dot) -> Option<u64> {
    let mut waiting = saved.outbox.iter().flat_map(|item| &item.delta.entries);
    content_in(&saved.store, dot).or_else(|| {
        waiting.find_map(|entry| {
            let is_of_it = entry.replica() == dot.replica;
            is_of_it.then(|| content_of(entry.view(), dot)).flatten()
        })
    })
}

/// The dots of a delta that are of other incarnations of a replica.
pub(crate) fn of_kin(delta: &Delta, replica: ReplicaId) -> CausalContext {
    let mut kin = delta.context();
    let others: Vec<_> = kin.iter().map(|(other, _)| other).collect();
    for other in others {
        if other == replica || !other.is_kin(&replica) {
            kin.remove_range(other, 1, u64::MAX);
        }
    }
    kin
}

fn accepted_of(delta: &Delta, item: &OutboxItem, replaces: Option<Dot>) -> Accepted {
    let first = replaces.map_or(item.first, |key| key.counter + 1);
    let (replica, last) = (item.replica, item.last);
    let mut live = Vec::new();
    for entry in &delta.entries {
        let place = Place::of(entry.label.space(), &entry.id);
        let place = place.as_ref().map(name_of).unwrap_or_default();
        let contents = entry.view().hashes();
        for ((dot, slot), (_, content)) in entry.live().zip(contents) {
            let at = (dot.counter - entry.first.counter) as usize;
            let element = Element::decode(dot, entry.stamp, &entry.label, at, slot).ok();
            live.push(Brought {
                counter: dot.counter,
                content,
                place: place.clone(),
                field: element.as_ref().map(field_of).unwrap_or_default(),
                is_member: element
                    .as_ref()
                    .is_some_and(|element| matches!(element.content, Content::Member(_))),
                share: element.as_ref().and_then(share_of),
                copy_of: element.and_then(|element| Some(element.claim.copy?.origin)),
            });
        }
    }
    let notes = delta.notes.iter().filter_map(|note| Place::of(note.label.space(), &note.id));
    let removed = notes.map(|place| name_of(&place)).collect();
    let is_old = |dot: &Dot| dot.replica != replica || dot.counter < first;
    let kills = dots(&delta.dead).filter(is_old).collect();
    Accepted { replica, first, last, live, removed, kills, is_joined: replaces.is_some() }
}

/// A counter: its place and its path there.
pub(crate) type Counter = (String, String);

/// What every counter of a document stands at.
pub(crate) fn counts(document: &Document) -> BTreeMap<Counter, i64> {
    let mut counts = BTreeMap::new();
    for entry in document.store().iter() {
        let Some(place) = Place::of(entry.label.space(), entry.id) else { continue };
        let elements = entry.live().filter_map(|(dot, slot)| {
            let at = (dot.counter - entry.first.counter) as usize;
            Element::decode(dot, entry.stamp, entry.label, at, slot).ok()
        });
        for element in elements.filter(|element| share_of(element).is_some()) {
            let key = (name_of(&place), element.path().to_owned());
            counts
                .entry(key)
                .or_insert_with(|| document.elements(&place).sure().count(element.path()));
        }
    }
    counts
}

/// A register of a record: its place and its path there.
pub(crate) type Register = (String, String);

/// The registers that the records of a document show.
pub(crate) fn registers(document: &Document) -> BTreeSet<Register> {
    let mut registers = BTreeSet::new();
    for collection in document.collections().sure() {
        for (id, record) in document.records(&collection).sure() {
            let elements = record.elements().iter();
            let paths = elements.map(Element::path).filter(|path| record.value(path).is_some());
            registers.extend(paths.map(|path| (format!("{collection}/{id}"), path.to_owned())));
        }
    }
    registers
}

/// Of the registers that were there those that a record lacks which is there still.
pub(crate) fn taken_out(document: &Document, had: BTreeSet<Register>) -> BTreeSet<Register> {
    let has = registers(document);
    had.into_iter().filter(|one| !has.contains(one) && is_shown(document, &one.0)).collect()
}

/// How what says that a record is there is called in a report.
pub(crate) const EXISTENCE: &str = "existence";

/// Whether anything says that a record is there, by how it is called in a report.
pub(crate) fn exists(document: &Document, place: &str) -> bool {
    let Some((collection, id)) = record_of(place) else { return false };
    let place = Place::Record { collection, id };
    document.elements(&place).sure().existence().next().is_some()
}

/// Of the records that a change asserts something of, those of which no existence is original.
pub(crate) fn by_copies(document: &Document, accepted: &Accepted) -> BTreeSet<String> {
    let copies = accepted.live.iter().filter(|brought| brought.copy_of.is_some());
    let is_by_copies = |place: &&String| {
        let Some((collection, id)) = record_of(place) else { return false };
        let elements = document.elements(&Place::Record { collection, id }).sure();
        elements.existence().all(|claim| claim.copy.is_some())
    };
    copies.map(|brought| &brought.place).filter(is_by_copies).cloned().collect()
}

fn is_shown(document: &Document, place: &str) -> bool {
    let Some((collection, id)) = record_of(place) else { return false };
    document.record(&collection, &id).sure().is_some()
}

fn record_of(place: &str) -> Option<(String, RecordId)> {
    let (collection, id) = place.split_once('/')?;
    Some((collection.to_owned(), RecordId::new(id).ok()?))
}

fn field_of(element: &Element) -> String {
    match &element.content {
        Content::Exists => EXISTENCE.to_owned(),
        Content::Register(_) | Content::Latest(_) | Content::Member(_) | Content::Share(_) => {
            element.path().to_owned()
        }
    }
}

fn share_of(element: &Element) -> Option<Share> {
    match element.content {
        Content::Share(share) => Some(share),
        Content::Exists | Content::Register(_) | Content::Latest(_) | Content::Member(_) => None,
    }
}

/// How a place is called in a report.
pub(crate) fn name_of(place: &Place) -> String {
    match place {
        Place::Record { collection, id } => format!("{collection}/{id}"),
        Place::Set { name } => format!("set {name}"),
        Place::Value { name } => format!("value {name}"),
    }
}

/// A hash of what a live dot of an entry stands for.
fn content_of(entry: EntryView<'_>, dot: Dot) -> Option<u64> {
    entry.hashes().find(|(counter, _)| *counter == dot.counter).map(|(_, content)| content)
}

/// The dots of a context, in order.
pub(crate) fn dots(context: &CausalContext) -> impl Iterator<Item = Dot> + '_ {
    context.iter().flat_map(|(replica, ranges)| {
        ranges.iter().flat_map(move |(start, end)| {
            (start..=end).map(move |counter| Dot::new(replica, counter))
        })
    })
}

/// The live dots of a state, with a hash of what each stands for.
pub(crate) fn live(store: &MemoryStore) -> BTreeMap<Dot, u64> {
    let live = store.iter().flat_map(|entry| {
        let replica = entry.first.replica;
        entry.hashes().map(move |(counter, content)| (Dot::new(replica, counter), content))
    });
    live.collect()
}

/// Whether a state has seen these dots of a replica.
pub(crate) fn has_seen(store: &MemoryStore, replica: ReplicaId, first: u64, last: u64) -> bool {
    let seen = store.context().of(replica);
    seen.is_some_and(|seen| seen.covers(&DotRanges::of(first..=last)))
}

/// What a frame from a client is, as far as the simulation looks into it.
pub(crate) enum Upward {
    /// It opens a document.
    Open {
        /// The channel.
        channel: u32,
        /// The document's name.
        document: String,
        /// What is said to be here.
        context: CausalContext,
        /// As whom it is to write.
        claims: Vec<ReplicaId>,
        /// Whether it has a cursor.
        has_cursor: bool,
    },
    /// It is to write as others too.
    Claim {
        /// The channel.
        channel: u32,
        /// As whom.
        claims: Vec<ReplicaId>,
    },
    /// It hands over a delta.
    Push {
        /// The channel.
        channel: u32,
        /// Its number.
        id: u64,
        /// The delta, as the hub is to read it.
        delta: Vec<u8>,
    },
    /// It says what is on its disk.
    Held {
        /// The channel.
        channel: u32,
        /// As whom it writes.
        replica: ReplicaId,
        /// Up to which number of its hub.
        seq: u64,
    },
    /// Anything else.
    Other,
}

/// The message types of the protocol that are looked into; the byte behind checksum and array.
const OPEN: u8 = 2;
const CLAIM: u8 = 3;
const PUSH: u8 = 5;
const CLIENT_PACKED: u8 = 11;
const CLIENT_HELD: u8 = 12;
const OPENED: u8 = 66;
const CHUNK: u8 = 67;
const DELTA: u8 = 68;
const REFUSED: u8 = 70;
const STORED: u8 = 69;
const IN_USE: u8 = 71;
const NAMES: u8 = 75;
const UNRESOLVED: u8 = 76;
const HUB_PACKED: u8 = 77;

fn type_of(frame: &[u8]) -> u8 {
    frame.get(5).copied().unwrap_or(0)
}

/// Whether the frame is a packed one.
pub(crate) fn is_packed(frame: &[u8]) -> bool {
    matches!(type_of(frame), CLIENT_PACKED | HUB_PACKED)
}

/// The bytes of a frame from a hub if it were not packed.
pub(crate) fn plain_len(frame: &[u8]) -> usize {
    if is_packed(frame) {
        decode_hub(frame).map_or(0, |message| message.encode().len())
    } else {
        frame.len()
    }
}

/// The frame's own checksum, to tell frames apart.
pub(crate) fn digest(frame: &[u8]) -> u64 {
    frame.iter().take(4).fold(u64::from(type_of(frame)), |sum, byte| sum << 8 | u64::from(*byte))
}

/// Reads a frame from a client.
pub(crate) fn upward(frame: &[u8]) -> Upward {
    if !matches!(type_of(frame), OPEN | CLAIM | PUSH | CLIENT_PACKED | CLIENT_HELD) {
        return Upward::Other;
    }
    match decode_client(frame) {
        Ok(ClientMessage::Open { channel, document, cursor, context, claims, .. }) => {
            let claims = claims.iter().map(|claim| claim.replica).collect();
            Upward::Open { channel, document, context, claims, has_cursor: cursor.is_some() }
        }
        Ok(ClientMessage::Claim { channel, claims }) => {
            Upward::Claim { channel, claims: claims.iter().map(|claim| claim.replica).collect() }
        }
        Ok(ClientMessage::Push(push)) => {
            Upward::Push { channel: push.channel, id: push.id, delta: push.delta }
        }
        Ok(ClientMessage::Held { channel, replica, seq, .. }) => {
            Upward::Held { channel, replica, seq }
        }
        Ok(_) | Err(_) => Upward::Other,
    }
}

/// What a frame from a hub is, as far as the simulation looks into it.
pub(crate) enum Downward {
    /// A document is open.
    Opened {
        /// The channel.
        channel: u32,
        /// Whether the catch-up starts from the cursor.
        resumed: bool,
    },
    /// A part of a catch-up.
    Chunk {
        /// The channel.
        channel: u32,
        /// Whether it is the last.
        is_last: bool,
        /// What it brings.
        delta: Vec<u8>,
    },
    /// A change of another device.
    Delta {
        /// The channel.
        channel: u32,
    },
    /// A push is on disk.
    Stored {
        /// The channel.
        channel: u32,
        /// The push.
        id: u64,
    },
    /// A push was refused.
    Refused,
    /// Another connection writes as a replica.
    InUse {
        /// The channel.
        channel: u32,
        /// As which.
        replica: ReplicaId,
    },
    /// Things have numbers.
    Names {
        /// The channel.
        channel: u32,
        /// Which.
        names: Vec<u8>,
    },
    /// A push names something that the hub does not have.
    Unresolved,
    /// Anything else.
    Other,
}

/// Reads the delta of a chunk: the bytes of what it says of removals.
pub(crate) fn note_bytes(delta: &[u8], names: &mut Dictionary) -> usize {
    let notes = names.read_chunk(delta).map(|delta| delta.notes).unwrap_or_default();
    notes.iter().map(|note| note.label.byte_count() + note.id.len()).sum()
}

/// Reads a frame from a hub.
pub(crate) fn downward(frame: &[u8]) -> Downward {
    let is_looked_into = matches!(
        type_of(frame),
        OPENED | CHUNK | DELTA | STORED | REFUSED | IN_USE | NAMES | UNRESOLVED | HUB_PACKED
    );
    if !is_looked_into {
        return Downward::Other;
    }
    match decode_hub(frame) {
        Ok(HubMessage::Opened { channel, resumed, .. }) => Downward::Opened { channel, resumed },
        Ok(HubMessage::Chunk { channel, cursor, delta, .. }) => {
            Downward::Chunk { channel, is_last: cursor.is_some(), delta }
        }
        Ok(HubMessage::Delta { channel, .. }) => Downward::Delta { channel },
        Ok(HubMessage::Stored { channel, id, .. }) => Downward::Stored { channel, id },
        Ok(HubMessage::Refused { .. }) => Downward::Refused,
        Ok(HubMessage::InUse { channel, replica }) => Downward::InUse { channel, replica },
        Ok(HubMessage::Names { channel, names }) => Downward::Names { channel, names },
        Ok(HubMessage::Unresolved { .. }) => Downward::Unresolved,
        Ok(_) | Err(_) => Downward::Other,
    }
}

/// Which object each dot of a document is about, as a disk has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(BTreeMap<Dot, (Label, PlaceId)>);

impl Written {
    /// Takes what a delta brings. What a dot is about never changes, but by a renaming.
    pub(crate) fn take(&mut self, delta: &Delta) {
        for entry in &delta.entries {
            for counter in entry.first.counter..=entry.last() {
                let dot = Dot::new(entry.replica(), counter);
                self.0.entry(dot).or_insert_with(|| (entry.label.clone(), entry.id.clone()));
            }
        }
    }

    /// What stands under other dots from here on. Others name something else by the old ones.
    pub(crate) fn rename(&mut self, renaming: &Renaming) {
        let named = std::mem::take(&mut self.0).into_iter();
        self.0 = named.map(|(dot, object)| (renaming.dot(dot), object)).collect();
        let entries = renaming.mark().into_iter().collect();
        self.take(&Delta { entries, ..Delta::default() });
    }
}

/// What a device knows of dots: by what it shows, and by what was ever on its disk.
pub(crate) struct Known<'a> {
    pub(crate) shown: &'a MemoryStore,
    pub(crate) written: &'a Written,
}

impl Objects for Known<'_> {
    fn object_of(&self, dot: Dot) -> Option<(Label, PlaceId)> {
        let shown = self.shown.entry_of(dot);
        let shown = shown.map(|entry| (entry.label.clone(), entry.id.clone()));
        shown.or_else(|| self.written.0.get(&dot).cloned())
    }
}

impl Known<'_> {
    /// Reads the delta of a push, with what the hub has numbered.
    pub(crate) fn read(&self, bytes: &[u8], dictionary: &Dictionary) -> Option<Delta> {
        read_delta(bytes, dictionary, self).ok()
    }
}

/// A frame in a few words, for a trace.
pub(crate) fn describe(up: bool, frame: &[u8]) -> String {
    let text = if up {
        decode_client(frame).map(|message| format!("{message:?}"))
    } else {
        decode_hub(frame).map(|message| format!("{message:?}"))
    };
    let mut text = text.unwrap_or_else(|error| error.to_string());
    if let Some((at, _)) = text.char_indices().nth(800) {
        text.truncate(at);
    }
    text
}

/// The bytes of one message with everything that a client lacks and nothing else: entries that it
/// never saw, dots that died and that it does not know as dead, and who last removed when what it still shows.
pub(crate) fn lacking_bytes<'a>(
    hub: &MemoryStore,
    notes: impl Iterator<Item = &'a Note>,
    client: &MemoryStore,
) -> usize {
    let seen = client.context();
    let missing = hub.context().difference(seen);
    let mut delta = hub.part(&missing);
    // What the client still shows and the hub knows as dead.
    let died = client.live().intersection(hub.context()).difference(&hub.live());
    let took = client.part(&died).entries;
    let places: BTreeSet<_> = took.iter().map(|entry| (entry.label.space(), &entry.id)).collect();
    // One note says that an object was removed as well as many do.
    let mut latest: BTreeMap<_, &Note> = BTreeMap::new();
    for note in notes.filter(|note| !seen.contains(note.dot)) {
        let place = (note.label.space(), &note.id);
        if places.contains(&place) {
            let known = latest.entry(place).or_insert(note);
            *known = if note.stamp > known.stamp { note } else { known };
        }
    }
    delta.notes = latest.into_values().cloned().collect();
    delta.dead.union(&died);
    let cursor = Some(Cursor { boot: u64::MAX, seq: hub.context().range_count() as u64 });
    let delta = Dictionary::new().write_chunk(&delta);
    HubMessage::Chunk { channel: 1, number: 1, delta, cursor, left: 0 }.encode().len()
}

/// A dot of a delta that a state has not seen, or that is live there as something else.
pub(crate) fn stranger(delta: &Delta, store: &MemoryStore) -> Option<Dot> {
    let unseen = delta.context().difference(store.context());
    let is_other = |dot: Dot, content: u64| {
        let known = store.entry_of(dot).and_then(|known| content_of(known, dot));
        known.is_some_and(|known| known != content)
    };
    let live = delta.entries.iter().flat_map(|entry| {
        let replica = entry.replica();
        entry.view().hashes().map(move |(counter, content)| (Dot::new(replica, counter), content))
    });
    let other = live.filter(|(dot, content)| is_other(*dot, *content)).map(|(dot, _)| dot);
    dots(&unseen).chain(other).next()
}

/// The dots below the last one of their replica that were never seen.
pub(crate) fn gaps(context: &CausalContext) -> CausalContext {
    let mut all = CausalContext::default();
    for (replica, ranges) in context.iter() {
        all.insert_range(replica, 1, ranges.max());
    }
    all.difference(context)
}

/// The places of which a run has a dot that was never seen: what they hold is here in part.
pub(crate) fn in_part(store: &MemoryStore) -> BTreeSet<String> {
    let has_gap = |entry: &EntryView<'_>| {
        let Dot { replica, counter: first } = entry.first;
        let last = first + (entry.slots.len() as u64).saturating_sub(1);
        !has_seen(store, replica, first, last)
    };
    let entries = store.iter().filter(has_gap);
    let places = entries.filter_map(|entry| Place::of(entry.label.space(), entry.id));
    places.map(|place| name_of(&place)).collect()
}

/// What a state has of a place: its live dots, and what each is called.
pub(crate) fn fields(store: &MemoryStore, place: &str) -> Vec<(Dot, String)> {
    let is_it = |entry: &EntryView<'_>| {
        Place::of(entry.label.space(), entry.id).is_some_and(|of| name_of(&of) == place)
    };
    let elements = store.iter().filter(is_it).flat_map(|entry| {
        entry.live().filter_map(move |(dot, slot)| {
            let at = (dot.counter - entry.first.counter) as usize;
            Element::decode(dot, entry.stamp, entry.label, at, slot).ok()
        })
    });
    elements.map(|element| (element.claim.dot, field_of(&element))).collect()
}

/// The removals that a batch of steps tells of: their dots and their places, and what died with them.
pub(crate) fn removals(steps: &[Step]) -> Vec<(Dot, String, CausalContext)> {
    let mut removals = Vec::new();
    for step in steps {
        if let Step::Join(delta) = step {
            let places = delta.notes.iter().filter_map(|note| {
                let place = name_of(&Place::of(note.label.space(), &note.id)?);
                Some((note.dot, place, delta.dead.clone()))
            });
            removals.extend(places);
        }
    }
    removals
}
