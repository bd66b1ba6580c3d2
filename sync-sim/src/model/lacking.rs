//! What records may lack: fields that were taken out, or torn.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::{CausalContext, Dot};

use super::{Change, Model};
use crate::invariant::{Invariant, Violation};
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

    /// Whoever knows that a field was taken out, and that a record was asserted again without it by somebody
    /// who knew that as well, does not write the field into that record again.
    pub(super) fn check_mends(
        &self,
        change: &Change,
        by_copies: &BTreeSet<String>,
    ) -> Result<(), Violation> {
        let Some(seen) = &change.seen else { return Ok(()) };
        let has = |change: &Change, place: &str, field: &str| {
            change.live.iter().any(|brought| (&*brought.place, &*brought.field) == (place, field))
        };
        let knows = |seen: &CausalContext, other: &Change| {
            seen.contains(Dot::new(other.replica, other.last)) && !other.is_void
        };
        for Brought { place, field, copy_of, .. } in &change.live {
            let is_mend = by_copies.contains(place) && !has(change, place, EXISTENCE);
            let Some(origin) = copy_of.filter(|_| is_mend) else { continue };
            let is_of_it = |dot: &Dot| {
                let copied = self.brought(change.document, *dot).and_then(|known| known.copy_of);
                *dot == origin || copied == Some(origin)
            };
            let register = (place.clone(), field.clone());
            let known = self.changes.iter().filter(|other| other.document == change.document);
            let known = known.filter(|other| knows(seen, other));
            let mut taken_out = known.clone().filter(|other| {
                other.effects.taken_out.contains(&register) && other.kills.iter().any(is_of_it)
            });
            let is_asserted_without = |took: &Change| {
                known.clone().any(|other| {
                    let is_it = has(other, place, EXISTENCE) && !has(other, place, field);
                    is_it && other.seen.as_ref().is_some_and(|seen| knows(seen, took))
                })
            };
            if taken_out.any(is_asserted_without) {
                let detail = format!("{field} of {place} was taken out, and is written again");
                return Err(Violation { invariant: Invariant::NoResurrection, detail });
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use sync_core::causal::ReplicaId;

    use super::*;
    use crate::kernel::Accepted;
    use crate::model::{Effects, Maker};

    const PLACE: &str = "record notes n1";

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16])
    }

    fn brought(counter: u64, field: &str, copy_of: Option<Dot>) -> Brought {
        let (place, field) = (PLACE.to_owned(), field.to_owned());
        Brought { counter, content: 1, place, field, is_member: false, share: None, copy_of }
    }

    fn accepted(writer: ReplicaId, first: u64, live: Vec<Brought>, kills: Vec<Dot>) -> Accepted {
        let last = live.iter().map(|brought| brought.counter).max().unwrap_or(first);
        let (removed, is_joined) = (Vec::new(), false);
        Accepted { replica: writer, first, last, live, removed, kills, is_joined }
    }

    #[test]
    fn who_knows_that_a_field_was_taken_out_does_not_write_it_again() {
        let [one, two, three] = [1, 2, 3].map(replica);
        let title = Dot::new(one, 2);
        let everything: CausalContext = [Dot::new(one, 3), Dot::new(two, 1)].into_iter().collect();
        // Who mends has seen everything, or not that the record was asserted without the field.
        for (seen, is_refused) in [(everything.clone(), true), (CausalContext::default(), false)] {
            let mut model = Model::new(1);
            let both = vec![brought(1, EXISTENCE, None), brought(2, "title", None)];
            let insert = accepted(one, 1, both, Vec::new());
            model.accept(0, insert, Effects::default(), Maker::default()).unwrap();
            let taken_out = BTreeSet::from([(PLACE.to_owned(), "title".to_owned())]);
            let takes = accepted(one, 3, Vec::new(), vec![title]);
            let effects = Effects { taken_out, ..Effects::default() };
            model.accept(0, takes, effects, Maker::default()).unwrap();
            let again = vec![brought(1, EXISTENCE, Some(Dot::new(one, 1)))];
            let again = accepted(two, 1, again, Vec::new());
            let maker = Maker { seen: everything.clone(), ..Maker::default() };
            model.accept(0, again, Effects::default(), maker).unwrap();
            let mend = accepted(three, 1, vec![brought(1, "title", Some(title))], Vec::new());
            let by_copies = BTreeSet::from([PLACE.to_owned()]);
            let maker = Maker { seen, by_copies, ..Maker::default() };
            let outcome = model.accept(0, mend, Effects::default(), maker);
            let found = outcome.map(|_| ()).map_err(|violation| violation.invariant);
            assert_eq!(found, if is_refused { Err(Invariant::NoResurrection) } else { Ok(()) });
        }
    }
}
