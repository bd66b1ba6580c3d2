//! What records may lack: fields that were taken out, or torn.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::Dot;

use super::{Change, Model};
use crate::kernel::{Brought, EXISTENCE};
use crate::workload::Lacking;

/// The values of a record since it was written with one existence.
struct Values {
    /// Those that it was written with, and what took their place.
    own: BTreeSet<Dot>,
    /// Copies of these, and what took the place of copies.
    copies: BTreeSet<Dot>,
}

impl Model {
    /// The fields that a record of a document may lack: of the values that what is live was written with, and
    /// of those that took their place, somebody took one out; or one went with a removal that had not seen the
    /// record, and of which nobody heard who held it with that field. So it is with what a record was written
    /// with that was asserted again, once or more often, or written as a whole anew: whoever did that may have
    /// lacked the field already.
    pub(crate) fn lacking(&self, document: usize, live: &BTreeMap<Dot, u64>) -> Lacking {
        let mut lacking = Lacking::default();
        let mut known: BTreeSet<Dot> = live.keys().copied().collect();
        let mut left: Vec<Dot> = live.keys().copied().collect();
        while let Some(dot) = left.pop() {
            let all = self.all_brought(document, dot);
            for (change, Brought { place, copy_of, .. }) in
                all.filter(|(_, brought)| brought.field == EXISTENCE)
            {
                self.add_lacking(change, dot, place, &mut lacking);
                // A record that is written as a whole anew lacks what it lacked before.
                let before = change.kills.iter().filter(|_| !change.removed.contains(place));
                let before = before.filter(|dot| self.is_existence_of(document, **dot, place));
                let again = self.asserted_again(document, dot);
                let all = before.chain(copy_of).copied().chain(again);
                left.extend(all.filter(|dot| known.insert(*dot)));
            }
        }
        lacking
    }

    /// What says that a record is there and was asserted again for this existence.
    fn asserted_again(&self, document: usize, existence: Dot) -> impl Iterator<Item = Dot> {
        let changes = self.changes.iter().filter(move |change| change.document == document);
        changes.filter(|change| !change.is_void).flat_map(move |change| {
            let is_it = move |brought: &&Brought| {
                brought.field == EXISTENCE && brought.copy_of == Some(existence)
            };
            let of_it = change.live.iter().filter(is_it);
            of_it.map(|brought| Dot::new(change.replica, brought.counter))
        })
    }

    /// Adds the fields that a record may lack since a change wrote it with this existence.
    fn add_lacking(&self, insert: &Change, existence: Dot, place: &str, lacking: &mut Lacking) {
        // Whoever writes a record anew may take a field out of it at once.
        let at_once = insert.effects.taken_out.iter().filter(|(of, _)| of == place);
        lacking.taken_out.extend(at_once.cloned());
        let own = dots_of(insert, place, |brought| brought.field != EXISTENCE).collect();
        let mut values = Values { own, copies: BTreeSet::new() };
        let changes = self.changes.iter().filter(|change| change.document == insert.document);
        for change in changes.filter(|change| !change.is_void) {
            let Values { own, copies } = &mut values;
            let is_copy = |brought: &Brought| brought.copy_of.is_some_and(|of| own.contains(&of));
            copies.extend(dots_of(change, place, is_copy));
            let is_removal =
                change.removed.iter().any(|of| of == place) && !change.kills.contains(&existence);
            for (field, is_own) in self.taken(change, place, &values) {
                let register = (place.to_owned(), field.clone());
                if change.effects.taken_out.contains(&register) {
                    lacking.taken_out.insert(register);
                } else if is_own && is_removal && !self.was_heard(change, field) {
                    lacking.torn.insert(register);
                }
                let Values { own, copies } = &mut values;
                let next = if is_own { own } else { copies };
                next.extend(dots_of(change, place, |brought| brought.field == *field));
            }
        }
    }

    /// The fields of which a change took values, and whether any of these was no copy.
    fn taken<'a>(
        &'a self,
        change: &Change,
        place: &str,
        values: &Values,
    ) -> BTreeMap<&'a String, bool> {
        let mut fields = BTreeMap::new();
        for dot in &change.kills {
            let is_own = values.own.contains(dot);
            if is_own || values.copies.contains(dot) {
                let all = self.all_brought(change.document, *dot);
                for (_, brought) in all.filter(|(_, brought)| brought.place == place) {
                    *fields.entry(&brought.field).or_default() |= is_own;
                }
            }
        }
        fields
    }

    /// Whether anybody heard of a removal who held the record with this field.
    fn was_heard(&self, removal: &Change, field: &str) -> bool {
        let heard = &self.documents[removal.document].heard;
        let mut dots = (removal.first..=removal.last).map(|at| Dot::new(removal.replica, at));
        dots.any(|dot| heard.contains(&(dot, field.to_owned())))
    }
}

/// The dots of a change that brought something of a place.
fn dots_of<'a>(
    change: &'a Change,
    place: &'a str,
    is_it: impl Fn(&Brought) -> bool + 'a,
) -> impl Iterator<Item = Dot> + 'a {
    let of_it = change.live.iter().filter(move |brought| brought.place == place && is_it(brought));
    of_it.map(|brought| Dot::new(change.replica, brought.counter))
}
