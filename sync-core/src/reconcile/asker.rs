//! The side that sent sums of parts: it works out what differs, and tells it.

use super::ReconcileError;
use super::answerer::encode;
use super::codec::{Reader, broken, put_places, put_sum, take_sum};
use super::coded::{Decoder, Encoder, take_cells};
use super::found::Found;
use super::list::{List, Offsets};
use super::reconciler::{Reconciler, State, kind};
use super::space::Places;
use super::summary::Summary;
use crate::causal::Sum;
use crate::pack::varint;

/// Bytes of a message besides its positions.
const OVERHEAD: usize = 128;

impl Reconciler {
    /// Takes coded symbols, and tells what differs or asks for more.
    pub(super) fn on_coded<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        match (self.state, reader.byte()?) {
            (State::Asked, 1) => {
                self.narrow(&mut reader)?;
                self.peer_sum = Some(take_sum(&mut reader)?);
                self.coded_count = reader.number()?;
                self.decoder = Some(Decoder::new(self.salt()));
            }
            (State::AwaitMore, 0) if self.decoder.is_some() && self.listed == 0 => {}
            _ => return Err(ReconcileError::Unexpected { kind: kind::CODED }),
        }
        let Some(mut decoder) = self.decoder.take() else {
            return Err(ReconcileError::Unexpected { kind: kind::CODED });
        };
        let from = decoder.symbol_count();
        let cells = take_cells(&mut reader, from, self.width(), self.coded_count)?;
        reader.end()?;
        if cells.is_empty() {
            return Err(broken("an answer without symbols").into());
        }
        let settled = self.settled();
        let own = Encoder::new(self.salt(), from, cells.len());
        let own = encode(&self.view(store, &settled), &self.domain, own);
        let is_done = decoder.extend(cells, &own.map_err(ReconcileError::Store)?)?;
        if !is_done {
            let mut more = vec![kind::MORE];
            varint::write(&mut more, decoder.estimate());
            self.decoder = Some(decoder);
            self.state = State::AwaitMore;
            return Ok(more);
        }
        let mut theirs = Sum::default();
        let mut items: Vec<_> = decoder.items().collect();
        items.sort_unstable();
        for (item, sign) in items {
            if !self.domain.contains(item.position) {
                return Err(broken("a symbol of a position that is not in question").into());
            }
            let end = item.position + 1;
            if sign == 1 {
                theirs = theirs.plus(Sum { hash: item.hash, count: 1 });
                self.fresh.there.insert(item.position, end);
            } else {
                self.fresh.here.insert(item.position, end);
            }
        }
        let rest = self.peer_sum.map(|sum| sum.minus(theirs));
        self.conclude(store, rest)
    }

    /// Takes a piece of a list, and asks for the next or tells what differs.
    pub(super) fn on_listed<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let flags = reader.byte()?;
        match (self.state, flags & !2) {
            (State::Asked, 1) => self.narrow(&mut reader)?,
            (State::AwaitMore, 0) => {}
            _ => return Err(ReconcileError::Unexpected { kind: kind::LISTED }),
        }
        self.decoder = None;
        let length = self.domain.length();
        let list = List::take(&mut reader, self.listed, length, flags & 2 != 0)?;
        reader.end()?;
        self.compare(store, list)?;
        self.listed = list.until;
        if self.listed < length {
            self.state = State::AwaitMore;
            return Ok(vec![kind::MORE, 0]);
        }
        self.conclude(store, None)
    }

    /// Compares a piece of the peer's list with this side's live dots.
    fn compare<S: Summary>(
        &mut self,
        store: &S,
        list: List<'_>,
    ) -> Result<(), ReconcileError<S::Error>> {
        let settled = self.settled();
        let offsets = Offsets::of(&self.domain);
        let slice = self.domain.slice(self.listed, list.until);
        let room = self.limits.ranges_max;
        let mut found = Found::default();
        let mut runs = list.runs();
        let mut run = runs.next();
        // How many live offsets of the list come before the run.
        let mut before = 0u64;
        // Up to where the run was dealt with.
        let mut dealt = 0;
        let there = |there: &mut Places, start: u64, end: u64| {
            if start < end {
                let places = self.domain.slice(start, end);
                places.iter().for_each(|(start, end)| there.insert(start, end));
            }
        };
        let is_over = |found: &Found| found.range_count() > room;
        self.view(store, &settled)
            .each(&slice, |position, hash| {
                let offset = offsets.offset(position);
                while let Some((start, end)) = run.filter(|(_, end)| *end <= offset) {
                    there(&mut found.there, start.max(dealt), end);
                    before += end - start;
                    run = runs.next();
                }
                match run {
                    Some((start, _)) if start <= offset => {
                        there(&mut found.there, start.max(dealt), offset);
                        dealt = offset + 1;
                        let theirs = list.hash(before + (offset - start));
                        if theirs.is_some_and(|theirs| theirs != hash) {
                            found.conflicting.insert(position, position + 1);
                        }
                    }
                    Some(_) | None => found.here.insert(position, position + 1),
                }
                !is_over(&found)
            })
            .map_err(ReconcileError::Store)?;
        while let Some((start, end)) = run.filter(|_| !is_over(&found)) {
            there(&mut found.there, start.max(dealt), end);
            run = runs.next();
        }
        self.fresh.merge(&found);
        self.check_found(0)
    }

    /// All is worked out: tells it, or is done when the other side need not know.
    fn conclude<S: Summary>(
        &mut self,
        store: &S,
        rest: Option<Sum>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let Found { here, there, .. } = &self.fresh;
        let both = here.intersection(there);
        let (here, there) = (here.difference(&both), there.difference(&both));
        let mut conflicting = both;
        conflicting.union(&self.fresh.conflicting);
        self.fresh = Found { here, there, conflicting };
        self.check_found(0)?;
        if rest.is_some() && !self.peer_learns() && rest == Some(self.rest(store)?) {
            self.knows_live = true;
            self.finish();
            return Ok(vec![kind::DONE]);
        }
        self.untold = self.fresh.clone();
        self.tell(store)
    }

    /// The sum of what is live here and not found to differ.
    fn rest<S: Summary>(&self, store: &S) -> Result<Sum, ReconcileError<S::Error>> {
        let mut settled = self.found.own();
        settled.union(&self.fresh.own());
        self.view(store, &settled).sum(&self.all).map_err(ReconcileError::Store)
    }

    /// Tells what differs, as much as fits into a message.
    pub(super) fn tell<S: Summary>(
        &mut self,
        store: &S,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let sum = self.rest(store)?;
        let mut room = self.limits.message_bytes_max.saturating_sub(OVERHEAD);
        let Found { here, there, conflicting } = &mut self.untold;
        let told = [here, there, conflicting].map(|places| take_front(places, &mut room));
        let is_last = self.untold.range_count() == 0;
        let mut bytes = vec![kind::DIFFERENCE, u8::from(is_last)];
        put_sum(&mut bytes, sum);
        told.iter().for_each(|places| put_places(&mut bytes, places));
        self.state = if is_last { State::Told } else { State::Telling };
        Ok(bytes)
    }
}

/// Takes the first ranges that fit into some bytes.
fn take_front(places: &mut Places, room: &mut usize) -> Places {
    let mut front = Places::default();
    let mut last = None;
    for (start, end) in places.iter() {
        let gap = last.map_or(start, |last| start - last - 1);
        let length = super::codec::range_length(gap, end - start);
        if length > *room {
            *room = 0;
            break;
        }
        *room -= length;
        front.insert(start, end);
        last = Some(end);
    }
    *places = places.difference(&front);
    front
}
