//! One file as the disk has it, and what was written to it since the last sync.

use std::collections::BTreeMap;

use crate::random::Random;

/// What a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// A change that no sync has brought to the disk.
#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// A file on a disk.
#[derive(Debug, Default)]
pub(crate) struct Image {
    durable: Vec<u8>,
    changes: Vec<Change>,
    /// Whether a sync failed: then the file shows more than will ever be durable.
    has_lost: bool,
    /// Whether a frame of a write-ahead log came after the last sync that was asked for.
    pub(crate) has_fresh_frames: bool,
}

/// How much of what was not synced is on the disk when the power fails.
enum Luck {
    Nothing,
    Everything,
    /// All changes up to one, which is torn.
    InOrder(usize),
    /// Each sector as it happens to be.
    Each,
    /// All but a few sectors.
    Nearly,
    /// A few sectors.
    Hardly,
}

impl Luck {
    fn draw(random: &mut Random, changes: usize) -> Self {
        match random.below(8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::InOrder(random.below(changes as u64 + 1) as usize),
            4 | 5 => Self::Each,
            6 => Self::Nearly,
            _ => Self::Hardly,
        }
    }

    /// After how many of the changes something is as it is found.
    fn moment(&self, random: &mut Random, changes: usize) -> usize {
        let any = random.below(changes as u64 + 1) as usize;
        let is_rare = random.once_in(16);
        match self {
            Self::Nothing => 0,
            Self::Everything => changes,
            Self::InOrder(last) => last.saturating_sub(usize::from(any.is_multiple_of(2))),
            Self::Each => any,
            Self::Nearly => {
                if is_rare {
                    any
                } else {
                    changes
                }
            }
            Self::Hardly => {
                if is_rare {
                    any
                } else {
                    0
                }
            }
        }
    }
}

impl Image {
    /// A file that was there before the disk was looked at.
    pub(crate) fn of(durable: Vec<u8>) -> Self {
        Self { durable, ..Self::default() }
    }

    /// Whether the file may show something else than the disk has.
    pub(crate) fn is_unsure(&self) -> bool {
        self.has_lost || !self.changes.is_empty()
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.changes.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.changes.push(Change::Truncate(len));
    }

    pub(crate) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Write { at, bytes } => put(&mut self.durable, at, &bytes, 0),
                Change::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// What was to be synced is on the disk as it happens to be, and is not tried again.
    pub(crate) fn fail_sync(&mut self, random: &mut Random) {
        self.durable = self.survive(random);
        self.changes.clear();
        self.has_lost = true;
    }

    /// What is left of the file without power.
    pub(crate) fn survive(&self, random: &mut Random) -> Vec<u8> {
        let count = self.changes.len();
        let luck = Luck::draw(random, count);
        let fill = if random.once_in(2) { 0 } else { random.draw() as u8 };
        // A length changes in one, with what it cuts off.
        let of_length = luck.moment(random, count);
        let mut moments: BTreeMap<usize, usize> = BTreeMap::new();
        let (mut bytes, mut len, mut reach) =
            (self.durable.clone(), self.durable.len(), usize::MAX);
        for (number, change) in self.changes.iter().enumerate() {
            let is_in_length = number < of_length;
            match change {
                Change::Write { at, bytes: written } => {
                    for (at, piece) in by_sector(*at, written) {
                        let sector = at / SECTOR_BYTES;
                        let draw = || luck.moment(random, count);
                        let is_there = number < *moments.entry(sector).or_insert_with(draw);
                        if is_there && at < reach {
                            put(&mut bytes, at, piece, fill);
                        }
                    }
                    if is_in_length {
                        len = len.max(at + written.len());
                    }
                }
                Change::Truncate(to) if is_in_length => {
                    bytes.truncate(*to);
                    len = *to;
                }
                // What was written behind it since does not belong to the file that is left.
                Change::Truncate(to) => reach = reach.min(*to),
            }
        }
        bytes.resize(len, fill);
        bytes
    }
}

/// Writes into a file that grows as needed; what lies between is filled.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8], fill: u8) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, fill);
    }
    file[at..end].copy_from_slice(bytes);
}

/// The parts of a write that lie in one sector each.
fn by_sector(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (SECTOR_BYTES - at % SECTOR_BYTES).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let rest = rest.chunks(SECTOR_BYTES).enumerate();
    let head = (!head.is_empty()).then_some((at, head));
    head.into_iter().chain(rest.map(move |(n, piece)| (at + first + n * SECTOR_BYTES, piece)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: usize = 2 * SECTOR_BYTES;

    /// Every outcome for one byte of each of three sectors, and the length, over many seeds.
    fn outcomes(image: &Image) -> BTreeMap<(Option<u8>, Option<u8>, usize), usize> {
        let mut found = BTreeMap::new();
        for seed in 0..2_000 {
            let left = image.survive(&mut Random(seed));
            let key = (left.first().copied(), left.get(SECTOR_BYTES).copied(), left.len());
            *found.entry(key).or_default() += 1;
        }
        found
    }

    #[test]
    fn what_was_synced_is_there_and_what_was_not_is_there_in_part() {
        let mut image = Image::default();
        image.write(0, &[1; TWO]);
        image.sync();
        assert_eq!(outcomes(&image).into_keys().collect::<Vec<_>>(), [(Some(1), Some(1), TWO)]);
        image.write(0, &[2; TWO]);
        image.write(0, &[3; TWO]);
        let found = outcomes(&image);
        for first in 1..=3 {
            for second in 1..=3 {
                assert!(found.contains_key(&(Some(first), Some(second), TWO)), "{first} {second}");
            }
        }
        assert_eq!(found.len(), 9);
    }

    #[test]
    fn a_length_and_what_it_holds_come_apart() {
        let mut image = Image::of(vec![1; SECTOR_BYTES]);
        image.write(SECTOR_BYTES, &[2; SECTOR_BYTES]);
        let found = outcomes(&image);
        let grown = found.keys().filter(|(_, _, len)| *len == TWO);
        let second: Vec<_> = grown.map(|(_, second, _)| second.unwrap()).collect();
        assert!(second.contains(&2) && second.contains(&0) && second.len() > 2, "{second:?}");
        assert!(found.contains_key(&(Some(1), None, SECTOR_BYTES)));
        let mut image = Image::of(vec![1; TWO]);
        image.truncate(0);
        let found: Vec<_> = outcomes(&image).into_keys().collect();
        assert_eq!(found, [(None, None, 0), (Some(1), Some(1), TWO)], "it is cut off in one");
    }

    #[test]
    fn what_a_failed_sync_was_for_is_not_synced_later() {
        let mut kept = 0;
        for seed in 0..200 {
            let mut image = Image::of(vec![1; SECTOR_BYTES]);
            image.write(0, &[2; SECTOR_BYTES]);
            image.fail_sync(&mut Random(seed));
            image.sync();
            assert!(image.is_unsure());
            kept += usize::from(image.survive(&mut Random(seed)) == [2; SECTOR_BYTES]);
            image.write(0, &[3; SECTOR_BYTES]);
            image.sync();
            assert_eq!(image.survive(&mut Random(seed)), [3; SECTOR_BYTES]);
        }
        assert!((20..180).contains(&kept), "{kept}");
    }
}
