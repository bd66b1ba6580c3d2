//! The side that was sent sums of parts: it says which differ, and gives of these what costs least.

use super::codec::{Reader, broken, put_sum, take_places, take_sum};
use super::coded::{Decoder, Encoder, Item, SYMBOLS_MAX, cell_bytes, put_cells};
use super::found::Found;
use super::list::{ListWriter, Offsets};
use super::reconciler::{Reconciler, State, kind};
use super::space::{Places, View};
use super::summary::Summary;
use super::{Limits, ReconcileError};
use crate::causal::{Sum, mix};
use crate::pack::varint;

/// Into how many parts a domain is cut: enough to see how many differ up to some 200, and few enough
/// that their hashes cost little. Calculated: 100 differences hit all of 16 parts, which tells nothing
/// of their number, and the hashes of 256 parts would cost them 8 bytes each more.
const PARTS: u64 = 64;
/// The fewest positions of a part. Arbitrary.
const PART_LENGTH_MIN: u64 = 16;
/// Up to this many bytes symbols are sent even where a list is shorter: they find contents that
/// differ as well, which a list does not in the same pass. Arbitrary.
const SMALL: u64 = 640;
/// Symbols beyond those that the estimate asks for. Calculated from the probabilities of the indices:
/// two items are in the same symbols, so that nothing is peeled, once in 30 times with 7 symbols and
/// once in 2,000 with 18.
const SPARE_SYMBOLS: u64 = 16;
/// Bytes of a message besides its list or symbols.
const OVERHEAD: usize = 128;

/// What a message of parts is about; what it begins with.
#[derive(Debug, Clone, Copy)]
pub(super) enum About<'a> {
    /// Everything, after the change of context in these bytes.
    Context(&'a [u8]),
    /// The parts of the other side's message whose bits are set here.
    Differing(&'a [u8]),
    /// The domain as it stands, in place of more symbols.
    Same,
    /// Everything but what is settled.
    Again,
}

const CONTEXT: u8 = 0;
const DIFFERING: u8 = 1;
const SAME: u8 = 2;
const AGAIN: u8 = 3;

/// Hash of one part, 32 bits: what they mistake is found by the sum over everything.
pub(super) fn part_hash(salt: u64, sum: Sum) -> [u8; 4] {
    ((mix(salt, sum.hash, sum.count) >> 32) as u32).to_le_bytes()
}

/// Into how many parts a domain of so many positions is cut.
fn part_count(length: u64) -> usize {
    (length / PART_LENGTH_MIN).clamp(1, PARTS) as usize
}

/// How a domain is answered.
enum Answer {
    Coded(usize),
    Listed,
    Parts,
}

impl Reconciler {
    /// Cuts the domain into parts and gives their hashes; this side is the asker from here on.
    pub(super) fn ask<S: Summary>(
        &mut self,
        store: &S,
        about: About<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let (tag, before) = match about {
            About::Context(change) => (CONTEXT, change),
            About::Differing(bits) => (DIFFERING, bits),
            About::Same => (SAME, [].as_slice()),
            About::Again => (AGAIN, [].as_slice()),
        };
        let settled = self.settled();
        let view = self.view(store, &settled);
        let part_count = part_count(self.domain.length());
        let mut bytes = vec![kind::PARTS, tag];
        bytes.extend_from_slice(before);
        put_sum(&mut bytes, view.sum(&self.all).map_err(ReconcileError::Store)?);
        let mut count = 0u64;
        let mut hashes = Vec::with_capacity(part_count * 4);
        for index in 0..part_count {
            let part = self.domain.part(index, part_count);
            let sum = view.sum(&part).map_err(ReconcileError::Store)?;
            count = count.wrapping_add(sum.count);
            hashes.extend_from_slice(&part_hash(self.salt(), sum));
        }
        varint::write(&mut bytes, count);
        varint::write(&mut bytes, part_count as u64);
        bytes.extend_from_slice(&hashes);
        self.part_count = part_count;
        self.decoder = None;
        self.peer_sum = None;
        self.listed = 0;
        self.state = State::Asked;
        Ok(bytes)
    }

    /// Compares the asker's parts with this side's.
    pub(super) fn on_parts<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        match (self.state, reader.byte()?) {
            (State::AwaitParts, CONTEXT) => self.take_peer_context(&mut reader)?,
            (State::Asked, DIFFERING) => self.narrow(&mut reader)?,
            (State::AwaitMore, SAME) => {
                let decoder = self.decoder.as_ref();
                self.too_few = decoder.map_or(0, Decoder::symbol_count);
            }
            (State::Told, AGAIN) => self.next_pass()?,
            _ => return Err(ReconcileError::Unexpected { kind: kind::PARTS }),
        }
        // A list that was begun is forgotten, as its part of the domain is asked for again.
        self.fresh = Found::default();
        let their_sum = take_sum(&mut reader)?;
        let their_count = reader.number()?;
        let part_count = reader.count(4)?;
        if part_count == 0 || part_count as u64 > PARTS {
            return Err(broken("parts are at least one and not too many").into());
        }
        let hashes = reader.bytes(part_count * 4)?;
        reader.end()?;
        let settled = self.settled();
        let view = self.view(store, &settled);
        let sum = view.sum(&self.all).map_err(ReconcileError::Store)?;
        if sum == their_sum {
            self.knows_live = true;
            self.finish();
            return Ok(vec![kind::DONE]);
        }
        let (mut bits, mut differing, mut domain) =
            (vec![0u8; part_count.div_ceil(8)], 0u64, Places::default());
        let mut count = 0u64;
        let (theirs, _) = hashes.as_chunks::<4>();
        for (index, their_hash) in theirs.iter().enumerate() {
            let part = self.domain.part(index, part_count);
            let own = view.sum(&part).map_err(ReconcileError::Store)?;
            count = count.wrapping_add(own.count);
            if part_hash(self.salt(), own) != *their_hash {
                bits[index / 8] |= 1 << (index % 8);
                differing += 1;
                domain.union(&part);
            }
        }
        if differing == 0 {
            // The sums differ, so a hash was mistaken: all parts are looked at.
            differing = part_count as u64;
            domain = self.domain.clone();
            for index in 0..part_count {
                bits[index / 8] |= 1 << (index % 8);
            }
        }
        let unbalanced = count.abs_diff(their_count);
        let live = view.sum(&domain).map_err(ReconcileError::Store)?.count;
        self.domain = domain;
        self.part_count = part_count;
        self.symbols_sent = 0;
        self.listed = 0;
        self.coded_count = live;
        // As many are live on both sides, and only in a few places something differs: contents do.
        let is_few = differing * 4 <= part_count as u64;
        self.has_hashes = self.pass > 0 || (unbalanced == 0 && is_few);
        match self.choose(differing, unbalanced) {
            Answer::Coded(count) => self.send_coded(store, Some(&bits), count),
            Answer::Listed => self.send_list(store, Some(&bits)),
            Answer::Parts => self.ask(store, About::Differing(&bits)),
        }
    }

    /// Reads which parts differ, and makes them the domain.
    pub(super) fn narrow<E>(&mut self, reader: &mut Reader<'_>) -> Result<(), ReconcileError<E>> {
        let bits = reader.bytes(self.part_count.div_ceil(8))?;
        let mut domain = Places::default();
        for index in 0..bits.len() * 8 {
            if bits[index / 8] >> (index % 8) & 1 == 0 {
                continue;
            }
            if index >= self.part_count {
                return Err(broken("a part that does not exist differs").into());
            }
            domain.union(&self.domain.part(index, self.part_count));
        }
        if domain.is_empty() {
            return Err(broken("no part differs").into());
        }
        self.domain = domain;
        Ok(())
    }

    /// What costs least: coded symbols for scattered differences, a list for many or where nearly
    /// everything is live or dead, and a closer look where few parts hold much.
    fn choose(&self, differing: u64, unbalanced: u64) -> Answer {
        let part_count = self.part_count as u64;
        // So many balls are thrown into as many bins until so many are hit, on average.
        let hits = (0..differing).map(|hit| part_count * 16 / (part_count - hit));
        let expected = hits.sum::<u64>().div_ceil(16).max(unbalanced);
        let symbols = symbols_for(expected).max(self.too_few as u64 * 2);
        let coded = symbols.saturating_mul(self.symbol_bytes() as u64);
        let listed = self.list_bytes();
        if self.too_few > 0 && listed <= 8 * SMALL {
            Answer::Listed
        } else if symbols <= SYMBOLS_MAX as u64 / 2 && (coded <= SMALL || coded < listed) {
            Answer::Coded(symbols as usize)
        } else if self.is_worth_a_closer_look(differing) {
            Answer::Parts
        } else {
            Answer::Listed
        }
    }

    /// Whether few parts differ and their list is large.
    fn is_worth_a_closer_look(&self, differing: u64) -> bool {
        let is_cut = self.domain.length() / PART_LENGTH_MIN >= PARTS;
        differing * 4 <= self.part_count as u64 && is_cut && self.list_bytes() > 2 * SMALL
    }

    fn symbol_bytes(&self) -> usize {
        cell_bytes(self.width(), self.coded_count)
    }

    /// About the bytes of a list of the domain, were its live dots strewn at random.
    fn list_bytes(&self) -> u64 {
        let length = self.domain.length();
        let rare = self.coded_count.min(length.saturating_sub(self.coded_count));
        let hashes = if self.has_hashes { self.coded_count.saturating_mul(8) } else { 0 };
        (length / 8).min(rare.saturating_mul(2)).saturating_add(hashes).saturating_add(8)
    }

    /// Goes on with an answer, or with telling what differs.
    pub(super) fn on_more<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let expected = reader.number()?;
        reader.end()?;
        if self.state == State::Telling {
            return self.tell(store);
        }
        if self.listed >= self.domain.length() {
            return Err(ReconcileError::Unexpected { kind: kind::MORE });
        }
        if self.listed > 0 {
            return self.send_list(store, None);
        }
        // The number of differences was underestimated. Where a fraction of the document hides more
        // than was thought, it is not scattered; else as many symbols as the asker's estimate needs.
        let sent = self.symbols_sent as u64;
        let wanted = symbols_for(expected).min(sent.saturating_mul(64)).max(sent + sent / 4 + 4);
        let cost = (wanted - sent).saturating_mul(self.symbol_bytes() as u64);
        let is_fraction = self.domain.length().saturating_mul(4) <= self.all.length();
        let listed = self.list_bytes();
        if cost.max(4 * SMALL) >= listed || wanted > SYMBOLS_MAX as u64 {
            self.send_list(store, None)
        } else if is_fraction && self.is_worth_a_closer_look(0) {
            self.too_few = self.symbols_sent;
            self.ask(store, About::Same)
        } else {
            self.send_coded(store, None, (wanted - sent) as usize)
        }
    }

    fn send_coded<S: Summary>(
        &mut self,
        store: &S,
        narrowed: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let settled = self.settled();
        let view = self.view(store, &settled);
        let mut bytes = vec![kind::CODED, u8::from(narrowed.is_some())];
        if let Some(bits) = narrowed {
            bytes.extend_from_slice(bits);
            put_sum(&mut bytes, view.sum(&self.all).map_err(ReconcileError::Store)?);
            varint::write(&mut bytes, self.coded_count);
        }
        let room =
            self.limits.message_bytes_max.saturating_sub(OVERHEAD) / (self.symbol_bytes() + 2);
        let count = count.clamp(1, room.max(1));
        let encoder =
            encode(&view, &self.domain, Encoder::new(self.salt(), self.symbols_sent, count));
        let encoder = encoder.map_err(ReconcileError::Store)?;
        put_cells(&mut bytes, &encoder, self.width(), self.coded_count);
        self.symbols_sent += count;
        self.state = State::Answered;
        Ok(bytes)
    }

    fn send_list<S: Summary>(
        &mut self,
        store: &S,
        narrowed: Option<&[u8]>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let settled = self.settled();
        let view = self.view(store, &settled);
        let flags = u8::from(narrowed.is_some()) | u8::from(self.has_hashes) << 1;
        let mut bytes = vec![kind::LISTED, flags];
        bytes.extend_from_slice(narrowed.unwrap_or_default());
        let length = self.domain.length();
        let offsets = Offsets::of(&self.domain);
        let Limits { message_bytes_max, .. } = self.limits;
        let room = message_bytes_max.saturating_sub(OVERHEAD);
        let mut list = ListWriter::new(self.listed, room, self.has_hashes);
        let mut until = length;
        let rest = self.domain.slice(self.listed, length);
        view.each(&rest, |position, hash| {
            let offset = offsets.offset(position);
            let has_room = list.push(offset, hash);
            if !has_room {
                until = offset;
            }
            has_room
        })
        .map_err(ReconcileError::Store)?;
        self.listed = list.finish(&mut bytes, until);
        self.state = State::Answered;
        Ok(bytes)
    }

    /// Takes what the asker found, and compares what it says of the rest.
    pub(super) fn on_difference<S: Summary>(
        &mut self,
        store: &S,
        mut reader: Reader<'_>,
    ) -> Result<Vec<u8>, ReconcileError<S::Error>> {
        let is_last = reader.byte()? == 1;
        let sum = take_sum(&mut reader)?;
        let length = self.space.length();
        // What is here for the asker is there for this side.
        let there = take_places(&mut reader, length)?;
        let here = take_places(&mut reader, length)?;
        let conflicting = take_places(&mut reader, length)?;
        reader.end()?;
        let told = Found { here, there, conflicting };
        if !is_last && told.range_count() == 0 {
            return Err(broken("nothing was told").into());
        }
        self.check_found(told.range_count())?;
        self.fresh.merge(&told);
        if !is_last {
            return Ok(vec![kind::MORE, 0]);
        }
        self.settle()?;
        let settled = self.found.own();
        let own = self.view(store, &settled).sum(&self.all).map_err(ReconcileError::Store)?;
        if own == sum {
            self.knows_live = true;
            self.finish();
            return Ok(vec![kind::DONE]);
        }
        self.next_pass()?;
        self.ask(store, About::Again)
    }
}

/// Symbols for a number of items: what is enough nearly always.
fn symbols_for(items: u64) -> u64 {
    items.saturating_add(items / 2).saturating_add(SPARE_SYMBOLS)
}

/// Adds the live dots of some places to symbols.
pub(super) fn encode<S: Summary>(
    view: &View<'_, S>,
    places: &Places,
    mut encoder: Encoder,
) -> Result<Encoder, S::Error> {
    view.each(places, |position, hash| {
        encoder.add(Item { position, hash }, 1);
        true
    })?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_a_least_length_and_there_are_so_many_and_no_more() {
        for (length, count) in [(0, 1), (15, 1), (16, 1), (17, 1), (31, 1), (32, 2), (33, 2)] {
            assert_eq!(part_count(length), count, "{length}");
        }
        for (length, count) in [(1023, 63), (1024, 64), (1025, 64), (u64::MAX, 64)] {
            assert_eq!(part_count(length), count, "{length}");
        }
    }
}
