//! Which places a change touched.

use smallvec::SmallVec;
use std::collections::BTreeSet;

use crate::causal::{Delta, Joined, Label, PlaceId};
use crate::types::Place;

/// Places as the kernel names them, in the order in which they were touched, each once in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched(SmallVec<[(Label, PlaceId); 1]>);

impl Touched {
    /// The places that a join of this delta touched.
    pub(super) fn by(joined: &Joined, delta: &Delta) -> Self {
        let mut touched = Self::default();
        for killed in &joined.killed {
            touched.push(&killed.label, &killed.id);
        }
        for (at, _) in &joined.added {
            let added = &delta.entries[*at];
            touched.push(&added.label, &added.id);
        }
        touched
    }

    pub(super) fn push(&mut self, label: &Label, id: &PlaceId) {
        let is_known =
            |(known, other): &(Label, PlaceId)| other == id && known.is_in_space_of(label);
        // A change that touches many places mostly touches each in one go.
        let last = self.0.len().saturating_sub(4);
        if !self.0[last..].iter().any(is_known) {
            self.0.push((label.clone(), id.clone()));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Label, PlaceId)> {
        self.0.iter()
    }

    /// Whether nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what another change touched.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The places as applications name them, each once. What is written as no place is left out.
    #[must_use]
    pub fn places(&self) -> BTreeSet<Place> {
        self.0.iter().filter_map(|(label, id)| Place::of(label.space(), id)).collect()
    }
}
