//! Row numbers in an order that the caller knows: a list of small sorted lists.
//!
//! It keeps no keys, since the rows have them, so it takes four bytes a row and a little. Finding takes
//! a binary search, inserting and removing move at most one small list.

use std::cmp::Ordering;

/// The most rows of one list. Arbitrary: a kilobyte.
const CHUNK_MAX: usize = 256;

/// Below this many rows a list is joined with a neighbour that has room.
const CHUNK_MIN: usize = 48;

/// Row numbers in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorted {
    chunks: Vec<Vec<u32>>,
}

/// Where a row stands, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    chunk: usize,
    at: usize,
}

impl Sorted {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Finds a row: `compare` says how a row stands to what is sought. Gives where it would stand if
    /// it is not there.
    #[inline]
    pub(super) fn find(&self, compare: impl Fn(u32) -> Ordering) -> Result<Position, Position> {
        let after = self
            .chunks
            .partition_point(|rows| rows.first().is_some_and(|row| compare(*row).is_le()));
        let Some(chunk) = after.checked_sub(1) else {
            return Err(Position { chunk: 0, at: 0 });
        };
        match self.chunks[chunk].binary_search_by(|row| compare(*row)) {
            Ok(at) => Ok(Position { chunk, at }),
            Err(at) => Err(Position { chunk, at }),
        }
    }

    pub(super) fn row(&self, position: Position) -> Option<u32> {
        self.chunks.get(position.chunk)?.get(position.at).copied()
    }

    pub(super) fn set(&mut self, position: Position, row: u32) {
        self.chunks[position.chunk][position.at] = row;
    }

    /// Puts a row where [`find`](Self::find) said that it would stand.
    pub(super) fn insert(&mut self, position: Position, row: u32) {
        let Position { mut chunk, mut at } = position;
        if self.chunks.is_empty() {
            self.chunks.push(vec![row]);
            return;
        }
        if self.chunks[chunk].len() >= CHUNK_MAX {
            let is_end = at == CHUNK_MAX;
            // Rows mostly come in order, so a list that grows at its end stays full.
            let cut = if is_end { CHUNK_MAX } else { CHUNK_MAX / 2 };
            let mut rest = Vec::with_capacity(CHUNK_MAX);
            rest.extend_from_slice(&self.chunks[chunk][cut..]);
            self.chunks[chunk].truncate(cut);
            self.chunks.insert(chunk + 1, rest);
            if is_end || at > cut {
                chunk += 1;
                at -= cut;
            }
        }
        self.chunks[chunk].insert(at, row);
    }

    pub(super) fn remove(&mut self, position: Position) {
        let Position { chunk, at } = position;
        self.chunks[chunk].remove(at);
        let len = self.chunks[chunk].len();
        if len == 0 {
            self.chunks.remove(chunk);
            if self.chunks.is_empty() {
                self.chunks = Vec::new();
            }
        } else if len < CHUNK_MIN {
            self.melt(chunk);
        }
    }

    /// Joins a short list with a neighbour, if both fit well into one.
    fn melt(&mut self, chunk: usize) {
        let left = chunk.saturating_sub(1);
        for left in [left, chunk] {
            let Some([a, b]) = self.chunks.get_mut(left..left + 2) else { continue };
            if a.len() + b.len() <= CHUNK_MAX / 2 {
                a.append(b);
                self.chunks.remove(left + 1);
                return;
            }
        }
    }

    /// The rows from a position on.
    pub(super) fn iter_from(&self, position: Position) -> impl Iterator<Item = u32> {
        let first = self.chunks.get(position.chunk).map_or(&[][..], |rows| &rows[position.at..]);
        let rest = self.chunks.get(position.chunk + 1..).unwrap_or_default();
        first.iter().chain(rest.iter().flatten()).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.chunks.iter().flatten().copied()
    }

    /// The position before, if any.
    pub(super) fn before(&self, position: Position) -> Option<Position> {
        let Position { chunk, at } = position;
        match at.checked_sub(1) {
            Some(at) => Some(Position { chunk, at }),
            None => {
                let chunk = chunk.checked_sub(1)?;
                Some(Position { chunk, at: self.chunks[chunk].len() - 1 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_a_set(steps in proptest::collection::vec((0u32..2_000, 0u8..4), 0..3_000)) {
            let (mut sorted, mut model) = (Sorted::default(), BTreeSet::new());
            for (row, action) in steps {
                let found = sorted.find(|other| other.cmp(&row));
                prop_assert_eq!(found.is_ok(), model.contains(&row));
                match (found, action) {
                    (Err(at), 1..) => {
                        sorted.insert(at, row);
                        model.insert(row);
                    }
                    (Ok(at), 0..2) => {
                        sorted.remove(at);
                        model.remove(&row);
                    }
                    _ => {}
                }
                let (Ok(from) | Err(from)) = sorted.find(|other| other.cmp(&row));
                prop_assert!(sorted.iter_from(from).take(3).eq(model.range(row..).copied().take(3)));
                let before = sorted.before(from).and_then(|before| sorted.row(before));
                prop_assert_eq!(before, model.range(..row).next_back().copied());
            }
            prop_assert!(sorted.iter().eq(model.iter().copied()));
            prop_assert_eq!(sorted.is_empty(), model.is_empty());
        }
    }
}
