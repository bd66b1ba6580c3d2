//! What of a delta merely takes the place of something: nothing clashes by that, and nothing is left in
//! part.

use super::Document;
use crate::causal::{Delta, Entry, Joined, PlaceStore, join_over};
use crate::types::element::kind;

impl<S: PlaceStore> Document<S> {
    /// Joins a delta, its entries in one go where they merely take the place of what it declares dead.
    /// Gives what the others changed, those entries by their places, and what they took the place of.
    pub(super) fn join_in_part(
        &mut self,
        delta: &Delta,
        killed: Vec<Entry>,
    ) -> Result<(Joined, Vec<usize>, Vec<Entry>), S::Error> {
        let is_broken = broken!(JoinKeepsDead) || broken!(JoinForgetsUnseen);
        let mut taken = Vec::new();
        if crate::small::HAS_SHORTCUTS {
            taken.reserve_exact(delta.entries.len().min(delta.dead.range_count()));
        }
        let (joined, overwritten) = join_over(&mut self.store, delta, killed, |store, entry| {
            if is_broken || delta.dead.is_empty() {
                return Ok(None);
            }
            store.overwrite_one_of(entry, &delta.dead, &mut taken, kind::EXISTS)
        })?;
        for at in &overwritten {
            let Entry { label, id, .. } = &delta.entries[*at];
            self.kept.forget(label.space(), id);
        }
        Ok((joined, overwritten, taken))
    }
}
