//! Lists of live positions: as ranges or as bits, whichever is shorter, with or without hashes.

use super::codec::{Reader, broken, put_range, range_length, take_range};
use super::space::Places;
use crate::error::Malformed;
use crate::pack::varint;

/// The most runs of one list: 1 MiB of memory. Arbitrary.
const RUNS_MAX: usize = 1 << 16;

const FORM_RANGES: u8 = 0;
const FORM_BITS: u8 = 1;

/// Turns positions into offsets within some places.
pub(super) struct Offsets {
    /// First position and its offset, of each range.
    starts: Vec<(u64, u64)>,
}

impl Offsets {
    pub(super) fn of(places: &Places) -> Self {
        let mut before = 0;
        let starts = places.iter().map(|(start, end)| {
            let offset = before;
            before += end - start;
            (start, offset)
        });
        Self { starts: starts.collect() }
    }

    /// The offset of a position that is in the places.
    pub(super) fn offset(&self, position: u64) -> u64 {
        let at = self.starts.partition_point(|(start, _)| *start <= position).saturating_sub(1);
        let (start, before) = self.starts.get(at).copied().unwrap_or_default();
        before + position.saturating_sub(start)
    }
}

/// A list in the making, of the offsets from `from` on.
pub(super) struct ListWriter {
    from: u64,
    byte_count_max: usize,
    runs: Vec<(u64, u64)>,
    ranges_length: usize,
    hashes: Option<Vec<u8>>,
}

impl ListWriter {
    pub(super) fn new(from: u64, byte_count_max: usize, has_hashes: bool) -> Self {
        let hashes = has_hashes.then(Vec::new);
        Self { from, byte_count_max, runs: Vec::new(), ranges_length: 0, hashes }
    }

    /// Adds a live offset beyond all before it; `false` when there is no room.
    pub(super) fn push(&mut self, offset: u64, hash: u64) -> bool {
        let (gap, start) = match self.runs.last() {
            Some((start, end)) if *end == offset => {
                // The run grows: what it takes may grow by a byte or so.
                (0, *start)
            }
            Some((_, end)) => (offset - end - 1, offset),
            None => (offset - self.from, offset),
        };
        let is_longer = start != offset;
        let added = if is_longer {
            let length = offset - start;
            range_length(0, length + 1) - range_length(0, length)
        } else {
            range_length(gap, 1)
        };
        let hash_bytes = self.hashes.as_ref().map_or(0, |hashes| hashes.len() + 8);
        let bits = usize::try_from((offset - self.from) / 8 + 1).unwrap_or(usize::MAX);
        let shorter = (self.ranges_length + added).min(bits);
        if shorter.saturating_add(hash_bytes) > self.byte_count_max || self.runs.len() >= RUNS_MAX {
            return false;
        }
        self.ranges_length += added;
        match self.runs.last_mut() {
            Some((_, end)) if is_longer => *end += 1,
            Some(_) | None => self.runs.push((offset, offset + 1)),
        }
        if let Some(hashes) = &mut self.hashes {
            hashes.extend_from_slice(&hash.to_le_bytes());
        }
        true
    }

    /// Appends the list. It reaches up to `until`, or less far when bits are needed and `until` is
    /// farther than they reach; gives how far.
    pub(super) fn finish(self, bytes: &mut Vec<u8>, until: u64) -> u64 {
        let hash_bytes = self.hashes.as_ref().map_or(0, Vec::len);
        let room = self.byte_count_max.saturating_sub(hash_bytes);
        let bits = |until: u64| usize::try_from((until - self.from).div_ceil(8)).ok();
        let last = self.runs.last().map_or(self.from, |(_, end)| *end);
        let is_bits = |until| bits(until).is_some_and(|bits| bits < self.ranges_length);
        let until = if self.ranges_length <= room || bits(until).is_some_and(|bits| bits <= room) {
            until
        } else {
            last
        };
        varint::write(bytes, until - self.from);
        if is_bits(until) {
            bytes.push(FORM_BITS);
            let at = bytes.len();
            bytes.resize(at + bits(until).unwrap_or_default(), 0);
            for offset in self.runs.iter().flat_map(|(start, end)| *start..*end) {
                let index = (offset - self.from) as usize;
                bytes[at + index / 8] |= 1 << (index % 8);
            }
        } else {
            bytes.push(FORM_RANGES);
            varint::write(bytes, self.runs.len() as u64);
            let mut next = self.from;
            for (at, (start, end)) in self.runs.iter().enumerate() {
                put_range(bytes, start - next - u64::from(at > 0), end - start);
                next = *end;
            }
        }
        bytes.extend(self.hashes.unwrap_or_default());
        until
    }
}

/// A list as it came: checked, and read run by run.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    from: u64,
    /// Up to where it tells.
    pub(super) until: u64,
    form: u8,
    body: Reader<'a>,
    run_count: usize,
    hashes: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    /// Takes a list of offsets from `from` on, all below `length`.
    pub(super) fn take(
        reader: &mut Reader<'a>,
        from: u64,
        length: u64,
        has_hashes: bool,
    ) -> Result<Self, Malformed> {
        let span = reader.number()?;
        let until = from.checked_add(span).filter(|until| *until <= length && span > 0);
        let until = until.ok_or_else(|| broken("a list reaches too far or nowhere"))?;
        let form = reader.byte()?;
        let (body, run_count) = match form {
            FORM_BITS => {
                let count = usize::try_from(span.div_ceil(8));
                let bits = reader.bytes(count.map_err(|_| broken("too many bits"))?)?;
                let beyond =
                    (span % 8 != 0).then(|| bits.last().map_or(0, |last| last >> (span % 8)));
                if beyond.is_some_and(|beyond| beyond != 0) {
                    return Err(broken("bits beyond the end of a list"));
                }
                (Reader::new(bits), 0)
            }
            FORM_RANGES => {
                let run_count = reader.count(1)?;
                let body = *reader;
                let mut last = None;
                for _ in 0..run_count {
                    last = Some(take_range(reader, last, span)?.1);
                }
                (body, run_count)
            }
            _ => return Err(broken("a list of unknown form")),
        };
        let mut list = Self { from, until, form, body, run_count, hashes: None };
        if has_hashes {
            let live = list.runs().fold(0u64, |sum, (start, end)| sum.saturating_add(end - start));
            let count = usize::try_from(live).ok().and_then(|live| live.checked_mul(8));
            list.hashes = Some(reader.bytes(count.unwrap_or(usize::MAX))?);
        }
        Ok(list)
    }

    /// The hash of the `index`-th live offset, where hashes were sent.
    pub(super) fn hash(&self, index: u64) -> Option<u64> {
        let (hashes, _) = self.hashes?.as_chunks::<8>();
        hashes.get(usize::try_from(index).ok()?).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The runs `start..end` of live offsets.
    pub(super) fn runs(&self) -> Runs<'a> {
        let Self { from, until, form, body, run_count, .. } = *self;
        Runs {
            base: from,
            span: until - from,
            is_bits: form == FORM_BITS,
            body,
            run_count,
            next: None,
        }
    }
}

/// Iterates over the runs of a [`List`].
pub(super) struct Runs<'a> {
    base: u64,
    span: u64,
    is_bits: bool,
    body: Reader<'a>,
    run_count: usize,
    next: Option<u64>,
}

impl Runs<'_> {
    fn bit(&self, at: u64) -> bool {
        let byte = usize::try_from(at / 8).ok().and_then(|index| self.body.peek(index));
        byte.is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }
}

impl Iterator for Runs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let (start, end) = if self.is_bits {
            let start = (self.next.unwrap_or(0)..self.span).find(|at| self.bit(*at))?;
            let end = (start..self.span).find(|at| !self.bit(*at)).unwrap_or(self.span);
            (start, end)
        } else {
            self.run_count = self.run_count.checked_sub(1)?;
            // It was read once before, so it does not fail.
            take_range(&mut self.body, self.next, self.span).ok()?
        };
        self.next = Some(end);
        Some((self.base + start, self.base + end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_come_back(
            steps in proptest::collection::vec(prop_oneof![3 => 1u64..2, 1 => 2u64..40, 1 => 40u64..9_000], 0..300),
            byte_count_max in 40usize..200, has_hashes: bool, tail in 0u64..3_000,
        ) {
            let live: Vec<u64> = steps
                .iter()
                .scan(0, |at, step| { *at += step; Some(*at - 1) })
                .collect();
            let length = live.last().map_or(1, |last| last + 1) + tail;
            let (mut from, mut found) = (0, Vec::new());
            while from < length {
                let mut writer = ListWriter::new(from, byte_count_max, has_hashes);
                let mut rest = live.iter().filter(|offset| **offset >= from);
                let full = rest.find(|offset| !writer.push(**offset, **offset * 3));
                let mut bytes = Vec::new();
                let until = writer.finish(&mut bytes, full.copied().unwrap_or(length));
                prop_assert!(bytes.len() <= byte_count_max + 24, "{}", bytes.len());
                let mut reader = Reader::new(&bytes);
                let list = List::take(&mut reader, from, length, has_hashes).unwrap();
                prop_assert!(reader.end().is_ok());
                prop_assert_eq!(list.until, until);
                let offsets = list.runs().flat_map(|(start, end)| start..end);
                for (index, offset) in offsets.enumerate() {
                    prop_assert_eq!(list.hash(index as u64), has_hashes.then_some(offset * 3));
                    found.push(offset);
                }
                from = until;
            }
            prop_assert_eq!(found, live);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), has_hashes: bool,
        ) {
            if let Ok(list) = List::take(&mut Reader::new(&bytes), 5, 300, has_hashes) {
                let mut last = 5;
                for (start, end) in list.runs() {
                    prop_assert!(last <= start && start < end && end <= list.until);
                    last = end;
                }
            }
        }
    }

    #[test]
    fn the_runs_of_a_list_are_limited_and_the_rest_comes_with_the_next() {
        let most = RUNS_MAX as u64;
        for count in [most - 1, most, most + 1] {
            let length = count * 2;
            let (mut from, mut found, mut lists) = (0, Vec::new(), 0);
            while from < length {
                let mut writer = ListWriter::new(from, usize::MAX, false);
                let mut rest = (from.div_ceil(2)..count).map(|at| at * 2);
                let full = rest.find(|offset| !writer.push(*offset, 0));
                let mut bytes = Vec::new();
                let until = writer.finish(&mut bytes, full.unwrap_or(length));
                let list = List::take(&mut Reader::new(&bytes), from, length, false).unwrap();
                found.extend(list.runs().map(|(start, _)| start));
                (from, lists) = (until, lists + 1);
            }
            assert_eq!(lists, if count > most { 2 } else { 1 }, "{count}");
            assert!(found.into_iter().eq((0..count).map(|at| at * 2)), "{count}");
        }
    }

    #[test]
    fn a_list_has_one_form() {
        let take = |bytes: &[u8]| List::take(&mut Reader::new(bytes), 0, 100, false).is_ok();
        assert!(take(&[10, FORM_BITS, 0xFF, 0b11]));
        assert!(!take(&[10, FORM_BITS, 0xFF, 0b111]), "a bit beyond the end");
        assert!(!take(&[10, FORM_BITS, 0xFF]), "too short");
        assert!(take(&[10, FORM_RANGES, 1, 1, 8]));
        assert!(!take(&[10, FORM_RANGES, 1, 1, 9]), "a range beyond the end");
        assert!(!take(&[10, 2, 0]), "no such form");
        assert!(!take(&[0, FORM_RANGES, 0]), "no progress");
        assert!(!take(&[101, FORM_RANGES, 0]), "beyond the places");
    }
}
