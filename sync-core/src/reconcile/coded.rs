//! The rateless invertible Bloom lookup table (Yang, Gilad, Alizadeh, *Practical Rateless Set
//! Reconciliation*, SIGCOMM 2024).
//!
//! A set is an endless sequence of coded symbols. An element is in the symbol of index `i` with
//! probability `1 / (1 + i/2)`, so the first symbols hold everything and later ones ever less. The
//! difference of two sets' symbols is the symbols of the sets' difference, and about 1.35 to 1.7
//! symbols for each differing element are enough to peel it out, whatever the size of the sets. The
//! indices are drawn in floating point with operations that IEEE 754 rounds in one way only, so every
//! machine draws the same.

use super::codec::{Reader, broken};
use crate::causal::mix;
use crate::error::Malformed;
use crate::pack::varint;

/// The most symbols of one table: 2 MiB of memory. Arbitrary; a list is cheaper long before.
pub(super) const SYMBOLS_MAX: usize = 1 << 16;

/// An element: a position and its element hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Item {
    pub(super) position: u64,
    pub(super) hash: u64,
}

impl Item {
    /// A word that depends on all of the item: its upper half is the checksum, and all of it is where
    /// the indices start from.
    fn word(self, salt: u64) -> u64 {
        mix(salt, self.position, self.hash)
    }
}

/// A coded symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cell {
    /// Exclusive or of the items.
    item: Item,
    /// Exclusive or of their checksums.
    check: u32,
    /// Items of the sender less items of the receiver.
    count: i64,
}

impl Cell {
    fn add(&mut self, item: Item, check: u32, sign: i64) {
        self.item.position ^= item.position;
        self.item.hash ^= item.hash;
        self.check ^= check;
        self.count = self.count.wrapping_add(sign);
    }

    /// Whether it surely holds exactly one item. The checksum is 32 bits, so one in 2³² others passes
    /// as well, and the sums that are compared in the end find it.
    fn is_pure(&self, salt: u64) -> bool {
        (self.count == 1 || self.count == -1) && (self.item.word(salt) >> 32) as u32 == self.check
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// The indices of the symbols that an element is in: 0, then ever farther apart.
struct Indices {
    state: u64,
    next: u64,
}

impl Indices {
    fn of(word: u64) -> Self {
        Self { state: word | 1, next: 0 }
    }

    /// The next index below `end`. After the one at `i` comes
    /// `i + ⌈(i + 3/2) · (1/√u − 1)⌉` for a random `u` in (0, 1], as in section 4.2 of the paper.
    fn next_below(&mut self, end: usize) -> Option<usize> {
        let index = usize::try_from(self.next).ok().filter(|index| *index < end)?;
        self.state = self.state.wrapping_mul(0xDA94_2042_E4DD_58B5);
        let u = (self.state >> 11) as f64 + 1.0;
        // 2²⁶·⁵ squared is 2⁵³, the number of values of `u`.
        let step = (self.next as f64 + 1.5) * (94_906_265.624_251_56 / u.sqrt() - 1.0);
        self.next = self.next.saturating_add((step.ceil() as u64).max(1));
        Some(index)
    }
}

/// The symbols of indices `from..from + cells.len()` of a set that is given item by item.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub(super) salt: u64,
    pub(super) from: usize,
    pub(super) cells: Vec<Cell>,
}

impl Encoder {
    pub(super) fn new(salt: u64, from: usize, count: usize) -> Self {
        Self { salt, from, cells: vec![Cell::default(); count] }
    }

    /// Adds an item, `sign` 1, or takes it out, -1. Costs the number of its indices: about twice the
    /// logarithm of the last.
    pub(super) fn add(&mut self, item: Item, sign: i64) {
        let word = item.word(self.salt);
        let mut indices = Indices::of(word);
        while let Some(index) = indices.next_below(self.from + self.cells.len()) {
            if let Some(cell) = index.checked_sub(self.from).and_then(|at| self.cells.get_mut(at)) {
                cell.add(item, (word >> 32) as u32, sign);
            }
        }
    }
}

/// How many of `count` items are expected in the symbol of an index.
fn expected(count: u64, index: usize) -> i64 {
    (2 * u128::from(count) / (index as u128 + 2)) as i64
}

/// Appends symbols: position in `width` bytes, hash, checksum, and the count's difference from what is
/// expected of a set of `count` items.
pub(super) fn put_cells(bytes: &mut Vec<u8>, encoder: &Encoder, width: usize, count: u64) {
    varint::write(bytes, encoder.cells.len() as u64);
    for (index, cell) in (encoder.from..).zip(&encoder.cells) {
        let position = cell.item.position.to_le_bytes();
        bytes.extend_from_slice(&position[..width.min(8)]);
        bytes.extend_from_slice(&cell.item.hash.to_le_bytes());
        bytes.extend_from_slice(&cell.check.to_le_bytes());
        let off = cell.count.wrapping_sub(expected(count, index));
        varint::write(bytes, varint::zigzag(off));
    }
}

/// At least as many bytes as [`put_cells`] takes for one symbol of a set of that size.
pub(super) fn cell_bytes(width: usize, count: u64) -> usize {
    // The difference from the expectation is seldom more than four times its root.
    width + 12 + varint::len(count.isqrt().saturating_mul(8))
}

/// Reads what [`put_cells`] wrote, of indices from `from` on.
pub(super) fn take_cells(
    reader: &mut Reader<'_>,
    from: usize,
    width: usize,
    count: u64,
) -> Result<Vec<Cell>, Malformed> {
    let number = reader.count(width + 13)?;
    if from + number > SYMBOLS_MAX {
        let (found, limit) = ((from + number) as u64, SYMBOLS_MAX as u64);
        return Err(Malformed::limit("coded symbols", found, limit));
    }
    let mut cells = Vec::with_capacity(number);
    for index in from..from + number {
        let position = reader.fixed(width)?;
        let hash = u64::from_le_bytes(reader.array()?);
        let check = u32::from_le_bytes(reader.array()?);
        let count = reader.signed()?.wrapping_add(expected(count, index));
        cells.push(Cell { item: Item { position, hash }, check, count });
    }
    Ok(cells)
}

/// Peels the difference out of two sets' symbols.
#[derive(Debug, Clone, Default)]
pub(super) struct Decoder {
    salt: u64,
    cells: Vec<Cell>,
    /// What was peeled: item, its word, 1 for the sender's and -1 for the receiver's.
    peeled: Vec<(Item, u64, i64)>,
}

impl Decoder {
    pub(super) fn new(salt: u64) -> Self {
        Self { salt, ..Self::default() }
    }

    /// How many symbols it has.
    pub(super) fn symbol_count(&self) -> usize {
        self.cells.len()
    }

    /// Takes the sender's next symbols and the receiver's own of the same indices, and tells whether
    /// all is peeled.
    pub(super) fn extend(&mut self, cells: Vec<Cell>, own: &Encoder) -> Result<bool, Malformed> {
        let from = self.cells.len();
        for (mut cell, own) in cells.into_iter().zip(&own.cells) {
            cell.add(own.item, own.check, own.count.wrapping_neg());
            self.cells.push(cell);
        }
        for (item, word, sign) in &self.peeled {
            let mut indices = Indices::of(*word);
            while let Some(index) = indices.next_below(self.cells.len()) {
                if index >= from {
                    self.cells[index].add(*item, (word >> 32) as u32, -sign);
                }
            }
        }
        self.peel(from)?;
        Ok(!self.cells.is_empty() && self.cells.iter().all(Cell::is_zero))
    }

    fn peel(&mut self, from: usize) -> Result<(), Malformed> {
        let mut pure: Vec<usize> = (from..self.cells.len()).collect();
        while let Some(index) = pure.pop() {
            let cell = self.cells[index];
            if !cell.is_pure(self.salt) {
                continue;
            }
            // Each item empties a symbol of an honest table for good.
            if self.peeled.len() >= self.cells.len() {
                return Err(broken("coded symbols give more items than there are symbols"));
            }
            let (item, sign) = (cell.item, cell.count);
            let word = item.word(self.salt);
            self.peeled.push((item, word, sign));
            let mut indices = Indices::of(word);
            while let Some(index) = indices.next_below(self.cells.len()) {
                self.cells[index].add(item, (word >> 32) as u32, -sign);
                if self.cells[index].is_pure(self.salt) {
                    pure.push(index);
                }
            }
        }
        Ok(())
    }

    /// About how many items differ in all, from symbols that are not enough to peel them out.
    ///
    /// What is left in the symbol of an index is a sum of signs, each there with the probability of the
    /// index, so its variance tells their number. The estimate of 100 symbols is off by 14 % (one
    /// standard deviation).
    pub(super) fn estimate(&self) -> u64 {
        // Symbol 0 holds every item, so its count is that of the signs.
        let whole = self.cells.first().map_or(0, |cell| cell.count);
        let (mut sum, mut weight) = (0f64, 0f64);
        for (index, cell) in self.cells.iter().enumerate().skip(1) {
            let share = 2.0 / (index as f64 + 2.0);
            let off = cell.count as f64 - whole as f64 * share;
            sum += off * off / (share * (1.0 - share));
            weight += 1.0;
        }
        let left = if weight == 0.0 { 0 } else { (sum / weight) as u64 };
        left.max(whole.unsigned_abs()).saturating_add(self.peeled.len() as u64)
    }

    /// The items that only the sender has (1) and those that only the receiver has (-1).
    pub(super) fn items(&self) -> impl Iterator<Item = (Item, i64)> + '_ {
        self.peeled.iter().map(|(item, _, sign)| (*item, *sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn items(seed: u64, range: std::ops::Range<u64>) -> Vec<Item> {
        range.map(|position| Item { position, hash: mix(seed, position, 77) }).collect()
    }

    fn encode(salt: u64, items: &[Item], from: usize, count: usize) -> Encoder {
        let mut encoder = Encoder::new(salt, from, count);
        items.iter().for_each(|item| encoder.add(*item, 1));
        encoder
    }

    /// Sends symbols in batches until all is peeled, and gives their number and bytes.
    fn exchange(
        salt: u64,
        ours: &[Item],
        theirs: &[Item],
        first: usize,
        batch: usize,
    ) -> (usize, usize) {
        let mut decoder = Decoder::new(salt);
        let mut byte_count = 0;
        loop {
            let from = decoder.symbol_count();
            let batch = if from == 0 { first } else { batch };
            let mut bytes = Vec::new();
            let count = theirs.len() as u64;
            put_cells(&mut bytes, &encode(salt, theirs, from, batch), 3, count);
            byte_count += bytes.len();
            let mut reader = Reader::new(&bytes);
            let cells = take_cells(&mut reader, from, 3, count).unwrap();
            reader.end().unwrap();
            if decoder.extend(cells, &encode(salt, ours, from, batch)).unwrap() {
                break;
            }
        }
        let side = |wanted| {
            let items = decoder.items().filter(move |(_, sign)| *sign == wanted);
            items.map(|(item, _)| item).collect::<BTreeSet<_>>()
        };
        let (a, b): (BTreeSet<_>, BTreeSet<_>) =
            (ours.iter().copied().collect(), theirs.iter().copied().collect());
        assert_eq!(side(1), &b - &a);
        assert_eq!(side(-1), &a - &b);
        (decoder.symbol_count(), byte_count)
    }

    proptest! {
        #[test]
        fn the_difference_is_peeled_out(
            salt: u64, shared in 0u64..300, ours in 0u64..60, theirs in 0u64..60, batch in 1usize..20,
        ) {
            let mut a = items(1, 0..shared);
            let mut b = a.clone();
            a.extend(items(2, 1_000..1_000 + ours));
            // Half of them have the positions of ours and other content.
            b.extend(items(3, 1_000 + ours / 2..1_000 + ours / 2 + theirs));
            exchange(salt, &a, &b, batch, batch);
        }

        #[test]
        fn arbitrary_symbols_end(
            cells in proptest::collection::vec((0u64..4, 0u64..4, any::<bool>(), -2i64..3), 1..60),
        ) {
            let forged = cells.into_iter().map(|(position, hash, is_checked, count)| {
                let item = Item { position, hash };
                let check = if is_checked { (item.word(5) >> 32) as u32 } else { 0 };
                Cell { item, check, count }
            });
            let forged: Vec<_> = forged.collect();
            let own = Encoder::new(5, 0, forged.len());
            let _ = Decoder::new(5).extend(forged, &own);
        }
    }

    #[test]
    fn ten_thousand_differences_take_less_than_one_and_a_half_symbols_each() {
        let shared = items(1, 0..20_000);
        let ours = [shared.clone(), items(2, 100_000..105_000)].concat();
        let theirs = [shared, items(3, 200_000..205_000)].concat();
        let (symbols, bytes) = exchange(9, &ours, &theirs, 13_000, 250);
        assert!(symbols <= 14_500, "{symbols}");
        assert!(bytes <= 25 * 10_000, "{bytes}");
    }

    #[test]
    fn symbols_that_are_not_enough_tell_how_many_are_needed() {
        for (ours, theirs) in [(500, 500), (0, 1_000), (990, 10), (50, 50), (10_000, 0)] {
            for seed in 0..5 {
                let mut decoder = Decoder::new(seed);
                let own = encode(seed, &items(1, 0..ours), 0, 80);
                let cells = encode(seed, &items(2, 0..theirs), 0, 80).cells;
                assert!(!decoder.extend(cells, &own).unwrap());
                let (found, wanted) = (decoder.estimate(), ours + theirs);
                let range = wanted * 5 / 10..wanted * 16 / 10;
                assert!(range.contains(&found), "{found} in place of {wanted}");
            }
        }
    }

    #[test]
    fn an_index_is_hit_with_the_probability_of_the_paper() {
        let set = items(4, 0..20_000);
        let encoder = encode(3, &set, 0, 200);
        for index in [0usize, 1, 2, 10, 100, 199] {
            let (found, wanted) = (encoder.cells[index].count, expected(20_000, index));
            let off = (found - wanted).abs() as f64 / (wanted as f64).sqrt();
            assert!(off < 5.0, "index {index}: {found}, expected {wanted}");
        }
    }

    #[test]
    fn the_symbols_of_a_table_are_limited() {
        for (from, count) in [(0, SYMBOLS_MAX), (SYMBOLS_MAX - 9, 9), (SYMBOLS_MAX, 0)] {
            for (count, is_taken) in
                [(count.saturating_sub(1), true), (count, true), (count + 1, false)]
            {
                let mut bytes = Vec::new();
                put_cells(&mut bytes, &Encoder::new(1, from, count), 1, 0);
                let taken = take_cells(&mut Reader::new(&bytes), from, 1, 0);
                assert_eq!(
                    taken.map(|cells| cells.len()).ok(),
                    is_taken.then_some(count),
                    "{from}"
                );
            }
        }
    }

    #[test]
    fn symbols_are_the_same_on_every_machine() {
        let encoder = encode(1, &items(1, 0..1_000), 0, 400);
        let mut bytes = Vec::new();
        put_cells(&mut bytes, &encoder, 8, 1_000);
        assert_eq!(crc32fast::hash(&bytes), 953_639_198);
    }
}
