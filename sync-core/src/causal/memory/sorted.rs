//! Row numbers in the order of a key of 64 bits: a list of small sorted lists.
//!
//! Finding takes a binary search, mostly over numbers alone; inserting and removing move at most one
//! small list. Where keys are equal, the caller says how the rows stand to each other.

use std::cmp::Ordering;

/// The most rows of one list. Arbitrary: one and a half kilobytes.
pub(super) const CHUNK_MAX: usize = 128;

/// Below this many rows a list is joined with a neighbour that has room.
const CHUNK_MIN: usize = 24;

/// Row numbers in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorted {
    /// The first key of each list.
    firsts: Vec<u64>,
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    keys: Vec<u64>,
    rows: Vec<u32>,
}

impl Chunk {
    fn with_capacity(rows: usize) -> Self {
        Self { keys: Vec::with_capacity(rows), rows: Vec::with_capacity(rows) }
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::with_capacity(CHUNK_MAX);
        rest.keys.extend(self.keys.drain(at..));
        rest.rows.extend(self.rows.drain(at..));
        rest
    }
}

/// Where a row stands, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    chunk: usize,
    at: usize,
}

impl Position {
    pub(super) fn to_bits(self) -> u64 {
        (self.chunk as u64) << 32 | self.at as u64
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self { chunk: (bits >> 32) as usize, at: (bits & 0xffff_ffff) as usize }
    }

    /// The one behind it.
    pub(super) fn next(self) -> Self {
        Self { at: self.at + 1, ..self }
    }
}

impl Sorted {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Finds a row by its key; `compare` says how a row of this key stands to what is sought. Gives
    /// where it would stand if it is not there.
    #[inline]
    pub(super) fn find(
        &self,
        key: u64,
        compare: impl Fn(u32) -> Ordering,
    ) -> Result<Position, Position> {
        let Some((last, known, row)) = self.last_upto(key) else { return Err(Position::default()) };
        if known != key {
            return Err(last.next());
        }
        // Mostly one row has the key.
        match compare(row) {
            Ordering::Equal => Ok(last),
            Ordering::Less => Err(last.next()),
            Ordering::Greater => self.find_among(key, &compare),
        }
    }

    /// As [`find`](Self::find), where several rows may have the key.
    #[cold]
    fn find_among(
        &self,
        key: u64,
        compare: &dyn Fn(u32) -> Ordering,
    ) -> Result<Position, Position> {
        let lower = self.firsts.partition_point(|first| *first < key);
        let equal = self.firsts[lower..].partition_point(|first| *first == key);
        let begins = |chunk: &Chunk| compare(chunk.rows[0]) != Ordering::Greater;
        let begin = lower + self.chunks[lower..lower + equal].partition_point(begins);
        // The last list that does not begin behind what is sought.
        let chunk = begin.saturating_sub(1);
        let Chunk { keys, rows } = &self.chunks[chunk];
        let from = keys.partition_point(|other| *other < key);
        let end = from + keys[from..].partition_point(|other| *other == key);
        match rows[from..end].binary_search_by(|row| compare(*row)) {
            Ok(at) => Ok(Position { chunk, at: from + at }),
            Err(at) => Err(Position { chunk, at: from + at }),
        }
    }

    /// The last row of a key or of one before it: where it stands, its key and the row.
    #[inline]
    pub(super) fn last_upto(&self, key: u64) -> Option<(Position, u64, u32)> {
        let chunk = count_upto(&self.firsts, key).checked_sub(1)?;
        let Chunk { keys, rows } = self.chunks.get(chunk)?;
        let at = count_upto(keys, key).checked_sub(1)?;
        Some((Position { chunk, at }, *keys.get(at)?, *rows.get(at)?))
    }

    /// The end, if every key is lower: rows of one replica mostly come in order.
    #[inline]
    pub(super) fn end_above(&self, key: u64) -> Option<Position> {
        let Some(Chunk { keys, .. }) = self.chunks.last() else { return Some(Position::default()) };
        let is_above = keys.last().is_some_and(|last| *last < key);
        is_above.then(|| Position { chunk: self.chunks.len() - 1, at: keys.len() })
    }

    /// The end, and the last row.
    #[inline]
    pub(super) fn end(&self) -> Option<(Position, u32)> {
        let Chunk { rows, .. } = self.chunks.last()?;
        Some((Position { chunk: self.chunks.len() - 1, at: rows.len() }, *rows.last()?))
    }

    /// Whether a key that is not there would stand here for sure.
    #[inline]
    pub(super) fn would_stand(&self, position: Position, key: u64) -> bool {
        let Position { chunk, at } = position;
        let Some(Chunk { keys, .. }) = self.chunks.get(chunk) else { return false };
        let is_above = at > 0 && keys.get(at - 1).is_some_and(|before| *before < key);
        is_above && keys.get(at).is_some_and(|next| key < *next)
    }

    /// The row at a position or, behind the end of a list, that at the front of the next; with its key.
    #[inline]
    pub(super) fn following(&self, position: Position) -> Option<(Position, u64, u32)> {
        let Position { chunk, at } = position;
        let Chunk { keys, rows } = self.chunks.get(chunk)?;
        if let (Some(key), Some(row)) = (keys.get(at), rows.get(at)) {
            return Some((position, *key, *row));
        }
        let Chunk { keys, rows } = self.chunks.get(chunk + 1)?;
        Some((Position { chunk: chunk + 1, at: 0 }, *keys.first()?, *rows.first()?))
    }

    /// The row at a position, if it has this key.
    #[inline]
    pub(super) fn row_of(&self, position: Position, key: u64) -> Option<u32> {
        let Chunk { keys, rows } = self.chunks.get(position.chunk)?;
        if *keys.get(position.at)? == key { rows.get(position.at).copied() } else { None }
    }

    #[inline]
    pub(super) fn row(&self, position: Position) -> Option<u32> {
        self.chunks.get(position.chunk)?.rows.get(position.at).copied()
    }

    pub(super) fn set(&mut self, position: Position, row: u32) {
        self.chunks[position.chunk].rows[position.at] = row;
    }

    /// Puts a row where [`find`](Self::find) said that it would stand.
    #[inline]
    pub(super) fn insert(&mut self, position: Position, key: u64, row: u32) {
        // Rows of one replica mostly come in order.
        if crate::small::HAS_SHORTCUTS
            && let Some(Chunk { keys, rows }) = self.chunks.get_mut(position.chunk)
            && position.at == keys.len()
            && (1..CHUNK_MAX).contains(&position.at)
        {
            keys.push(key);
            rows.push(row);
        } else {
            self.insert_anywhere(position, key, row);
        }
    }

    #[cfg_attr(not(target_arch = "wasm32"), inline(never))]
    fn insert_anywhere(&mut self, position: Position, key: u64, row: u32) {
        let Position { mut chunk, mut at } = position;
        if self.chunks.is_empty() {
            self.firsts.push(key);
            self.chunks.push(Chunk { keys: vec![key], rows: vec![row] });
            return;
        }
        if self.chunks[chunk].rows.len() >= CHUNK_MAX {
            let is_end = at == CHUNK_MAX;
            // Rows mostly come in order, so a list that grows at its end stays full.
            let cut = if is_end { CHUNK_MAX } else { CHUNK_MAX / 2 };
            let rest = self.chunks[chunk].split_off(cut);
            self.firsts.insert(chunk + 1, rest.keys.first().copied().unwrap_or(key));
            self.chunks.insert(chunk + 1, rest);
            if is_end || at > cut {
                chunk += 1;
                at -= cut;
            }
        }
        let Chunk { keys, rows } = &mut self.chunks[chunk];
        if at == keys.len() {
            keys.push(key);
            rows.push(row);
        } else {
            keys.insert(at, key);
            rows.insert(at, row);
        }
        if at == 0 {
            self.firsts[chunk] = key;
        }
    }

    /// Puts a row behind all others, in a list of its own if the last one has so many.
    pub(super) fn push(&mut self, key: u64, row: u32, len_max: usize) {
        if self.chunks.last().is_none_or(|chunk| chunk.rows.len() >= len_max) {
            self.firsts.push(key);
            self.chunks.push(Chunk::with_capacity(CHUNK_MAX));
        }
        if let Some(Chunk { keys, rows }) = self.chunks.last_mut() {
            keys.push(key);
            rows.push(row);
        }
    }

    pub(super) fn remove(&mut self, position: Position) {
        let Position { chunk, at } = position;
        let Chunk { keys, rows } = &mut self.chunks[chunk];
        keys.remove(at);
        rows.remove(at);
        match (keys.first(), keys.len()) {
            (None, _) => {
                self.firsts.remove(chunk);
                self.chunks.remove(chunk);
                if self.chunks.is_empty() {
                    *self = Self::default();
                }
            }
            (Some(first), len) => {
                self.firsts[chunk] = *first;
                if len < CHUNK_MIN {
                    self.melt(chunk);
                }
            }
        }
    }

    /// Joins a short list with a neighbour, if both fit well into one.
    fn melt(&mut self, chunk: usize) {
        for left in [chunk.saturating_sub(1), chunk] {
            let Some([a, b]) = self.chunks.get_mut(left..left + 2) else { continue };
            if a.rows.len() + b.rows.len() <= CHUNK_MAX / 2 {
                a.keys.append(&mut b.keys);
                a.rows.append(&mut b.rows);
                self.chunks.remove(left + 1);
                self.firsts.remove(left + 1);
                return;
            }
        }
    }

    /// The rows from a position on.
    pub(super) fn iter_from(&self, position: Position) -> impl Iterator<Item = u32> {
        let first =
            self.chunks.get(position.chunk).map_or(&[][..], |list| &list.rows[position.at..]);
        let rest = self.chunks.get(position.chunk + 1..).unwrap_or_default();
        first.iter().chain(rest.iter().flat_map(|list| &list.rows)).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.chunks.iter().flat_map(|list| &list.rows).copied()
    }

    /// The position before, if any.
    #[inline]
    pub(super) fn before(&self, position: Position) -> Option<Position> {
        let Position { chunk, at } = position;
        match at.checked_sub(1) {
            Some(at) => Some(Position { chunk, at }),
            None => {
                let chunk = chunk.checked_sub(1)?;
                Some(Position { chunk, at: self.chunks[chunk].rows.len() - 1 })
            }
        }
    }
}

/// How far from where a key should stand it is looked for one by one. Arbitrary.
const STEPS_MAX: usize = 12;

/// How many of the keys, which are in order, are not above one. Most keys are as far apart as others,
/// counters of runs as well as ids drawn at random, so it is first looked for where it would stand then.
#[inline]
fn count_upto(keys: &[u64], key: u64) -> usize {
    if !crate::small::HAS_SHORTCUTS || keys.len() > 1 << 16 {
        return keys.partition_point(|other| *other <= key);
    }
    let ([first, ..], [.., last]) = (keys, keys) else { return 0 };
    if key >= *last {
        return keys.len();
    } else if key < *first {
        return 0;
    }
    // Neither product has more than 64 bits.
    let shift = if (last - first) >> 48 == 0 { 0 } else { 16 };
    let (ahead, span) = ((key - first) >> shift, (last - first) >> shift);
    let guess = (ahead * (keys.len() as u64 - 1) / span.max(1)) as usize;
    let mut at = guess.min(keys.len() - 1);
    if keys[at] <= key {
        for other in keys[at..].iter().take(STEPS_MAX) {
            if *other > key {
                return at;
            }
            at += 1;
        }
    } else {
        for other in keys[..at].iter().rev().take(STEPS_MAX) {
            if *other <= key {
                return at;
            }
            at -= 1;
        }
    }
    keys.partition_point(|other| *other <= key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_counted_however_far_they_are_apart() {
        let even = |count: u64, step: u64| (0..count).map(|at| 5 + at * step).collect::<Vec<_>>();
        let far = 1 << 63;
        for keys in [
            vec![],
            vec![7],
            even(200, 1),
            even(200, 5),
            even(200, u64::MAX / 201),
            even(1 << 16, 3),
            even((1 << 16) + 1, 3),
            even(1 << 16, u64::MAX / (1 << 17)),
            // All but one at an end, and many in one place.
            [&even(100, 1)[..], &[far]].concat(),
            [&[0][..], &even(100, 1), &[u64::MAX]].concat(),
            [&[0, 0, 9][..], &[9; 60], &[far, u64::MAX]].concat(),
            (0..63).map(|bit| 1 << bit).collect(),
        ] {
            let near = keys.iter().step_by(1 + keys.len() / 300);
            let near = near.flat_map(|key| [key.saturating_sub(1), *key, key.saturating_add(1)]);
            for key in near.chain([0, 1, far, u64::MAX]) {
                let expected = keys.partition_point(|other| *other <= key);
                assert_eq!(count_upto(&keys, key), expected, "{key} among {}", keys.len());
            }
        }
    }

    /// How long the lists are, which all begin with what is said to be first in them.
    fn lens(sorted: &Sorted) -> Vec<usize> {
        assert_eq!(sorted.firsts.len(), sorted.chunks.len());
        for (first, Chunk { keys, rows }) in sorted.firsts.iter().zip(&sorted.chunks) {
            assert_eq!((keys.first(), keys.len()), (Some(first), rows.len()));
            assert!(rows.len() <= CHUNK_MAX, "{}", rows.len());
        }
        sorted.chunks.iter().map(|chunk| chunk.rows.len()).collect()
    }

    fn insert(sorted: &mut Sorted, row: u32) {
        let (Ok(at) | Err(at)) = sorted.find(u64::from(row), |other| other.cmp(&row));
        sorted.insert(at, u64::from(row), row);
    }

    #[test]
    fn lists_are_full_at_first_and_melt_as_they_shrink() {
        let (max, count) = (CHUNK_MAX as u32, 8 * CHUNK_MAX as u32);
        let mut forward = Sorted::default();
        (0..count).for_each(|row| insert(&mut forward, row));
        assert_eq!(lens(&forward), [CHUNK_MAX; 8]);
        let mut backward = Sorted::default();
        (0..count).rev().for_each(|row| insert(&mut backward, row));
        assert!(lens(&backward)[1..].iter().all(|len| *len >= CHUNK_MAX / 2));
        let mut pushed = Sorted::default();
        (0..count).for_each(|row| pushed.push(u64::from(row), row, CHUNK_MAX - 1));
        assert_eq!(lens(&pushed), [&[CHUNK_MAX - 1; 8][..], &[8]].concat());

        // Of each list as many stay as are too few for one.
        for mut sorted in [forward, backward, pushed] {
            for row in (0..count).filter(|row| row % max > 8) {
                sorted.remove(sorted.find(u64::from(row), |other| other.cmp(&row)).unwrap());
                lens(&sorted);
            }
            assert!(sorted.iter().eq((0..count).filter(|row| row % max <= 8)));
            assert!(sorted.chunks.len() <= 2, "{:?}", lens(&sorted));
        }
    }

    #[test]
    fn behind_the_end_of_a_list_stands_the_front_of_the_next() {
        let count = 3 * CHUNK_MAX as u32;
        let mut sorted = Sorted::default();
        (0..count).for_each(|row| insert(&mut sorted, row));
        for row in 0..count {
            let (at, key, found) = sorted.last_upto(u64::from(row)).unwrap();
            assert_eq!((key, found), (u64::from(row), row));
            assert_eq!(sorted.following(at), Some((at, key, row)));
            let next = sorted.following(at.next());
            let expected = Some(row + 1).filter(|next| *next < count);
            assert_eq!(
                next.map(|(_, key, row)| (key, row)),
                expected.map(|row| (u64::from(row), row))
            );
            let rest = next.into_iter().flat_map(|(at, ..)| sorted.iter_from(at));
            assert!(rest.eq(row + 1..count), "behind {row}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_a_set(
            coarse in 0u32..8,
            steps in proptest::collection::vec((0u32..2_000, 0u8..4), 0..3_000),
        ) {
            // A coarse key makes many rows share one, across lists too.
            let key = |row: u32| u64::from(row >> (2 * coarse).min(11));
            let (mut sorted, mut model) = (Sorted::default(), BTreeSet::new());
            for (row, action) in steps {
                let found = sorted.find(key(row), |other| other.cmp(&row));
                prop_assert_eq!(found.is_ok(), model.contains(&row));
                match (found, action) {
                    (Err(at), 1..) => {
                        sorted.insert(at, key(row), row);
                        model.insert(row);
                    }
                    (Ok(at), 0..2) => {
                        sorted.remove(at);
                        model.remove(&row);
                    }
                    _ => {}
                }
                let (Ok(from) | Err(from)) = sorted.find(key(row), |other| other.cmp(&row));
                prop_assert!(sorted.iter_from(from).take(3).eq(model.range(row..).copied().take(3)));
                let next = sorted.following(from).map(|(_, _, row)| row);
                prop_assert_eq!(next, model.range(row..).next().copied());
                let before = sorted.before(from).and_then(|before| sorted.row(before));
                prop_assert_eq!(before, model.range(..row).next_back().copied());
            }
            prop_assert_eq!(lens(&sorted).iter().sum::<usize>(), model.len());
            prop_assert!(sorted.iter().eq(model.iter().copied()));
            prop_assert_eq!(sorted.is_empty(), model.is_empty());
        }
    }
}
