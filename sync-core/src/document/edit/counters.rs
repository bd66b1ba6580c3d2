//! Changes of counters: each opening of a replica replaces a share of its own.

use super::{Edit, Step};
use crate::causal::{CausalContext, Dot, PlaceId, PlaceStore, ReplicaId};
use crate::document::target::Targets;
use crate::document::undo::Count;
use crate::small::SmallVec;
use crate::sort::sort_by;
use crate::types::element::SEPARATOR_TEXT;
use crate::types::place::Space;
use crate::types::{Content, Field, Share};

impl<S: PlaceStore> Edit<'_, S> {
    /// Puts counters of a new record where they are wanted.
    pub(super) fn push_counters(
        &self,
        targets: &mut Targets,
        fields: &[(&str, &Field)],
    ) -> Step<S> {
        fn walk<'f>(
            targets: &mut Targets,
            owner: ReplicaId,
            path: &mut SmallVec<[&'f str; 4]>,
            field: &'f Field,
        ) {
            match field {
                Field::Counter(sum) => targets.push_share(path, share(owner, (0, 0), *sum)),
                Field::Map(fields) => {
                    for (name, field) in fields {
                        path.push(name);
                        walk(targets, owner, path, field);
                        path.pop();
                    }
                }
                Field::Register(_) | Field::Latest(_) | Field::Set(_) => {}
            }
        }
        if !fields.iter().any(|(_, field)| may_count(field)) {
            return Ok(());
        }
        let owner = self.owner()?;
        for (name, field) in fields.iter().filter(|(_, field)| may_count(field)) {
            walk(targets, owner, &mut SmallVec::from_slice(&[*name]), field);
        }
        Ok(())
    }

    /// Brings the counters of a field to where they are wanted.
    pub(super) fn count_to<'f>(
        &mut self,
        space: &Space,
        id: &PlaceId,
        path: &mut SmallVec<[&'f str; 4]>,
        field: &'f Field,
    ) -> Step<S> {
        match field {
            Field::Counter(sum) => {
                let joined = path.join(SEPARATOR_TEXT);
                let at = self.record_at(space, id)?.count(&joined);
                self.add_share(space, id, path, sum.saturating_sub(at))
            }
            Field::Map(fields) => fields.iter().try_for_each(|(name, field)| {
                path.push(name);
                self.count_to(space, id, path, field)?;
                path.pop();
                Ok(())
            }),
            Field::Register(_) | Field::Latest(_) | Field::Set(_) => Ok(()),
        }
    }

    /// Notes that shares of counters go with these dots, for an undo: what they counted is counted again.
    pub(super) fn note_gone_shares(
        &mut self,
        space: &Space,
        id: &PlaceId,
        gone: &CausalContext,
    ) -> Step<S> {
        let record = self.record_at(space, id)?;
        let mut elements: Vec<_> =
            record.elements().iter().filter(|one| gone.contains(one.claim.dot)).collect();
        // A store gives elements in no order; what is noted of them must be the same from each.
        sort_by(&mut elements, |a, b| a.claim.dot.cmp(&b.claim.dot));
        for element in elements {
            let Content::Share(Share { owner, up, down }) = element.content else { continue };
            let amount = down.wrapping_sub(up).cast_signed();
            let (space, id, path) = (space.clone(), id.clone(), element.path().to_owned());
            let by = self.author.replica;
            self.made.undo.counts.push(Count { space, id, path, amount, owner, by });
        }
        Ok(())
    }

    /// Replaces this opening's share of a counter.
    pub(in crate::document) fn add_share(
        &mut self,
        space: &Space,
        id: &PlaceId,
        path: &[&str],
        amount: i64,
    ) -> Step<S> {
        let owner = self.owner()?;
        self.add_share_of(owner, space, id, path, amount)
    }

    /// Replaces an owner's share of a counter.
    pub(in crate::document) fn add_share_of(
        &mut self,
        owner: ReplicaId,
        space: &Space,
        id: &PlaceId,
        path: &[&str],
        amount: i64,
    ) -> Step<S> {
        let joined = path.join(SEPARATOR_TEXT);
        let record = self.record_at(space, id)?;
        let elements = record.elements().iter().filter(|element| element.path() == joined);
        let shares = elements.filter_map(|element| match element.content {
            Content::Share(share) => Some((element.claim.dot, share)),
            Content::Exists | Content::Register(_) | Content::Latest(_) | Content::Member(_) => {
                None
            }
        });
        let shares: Vec<(Dot, Share)> = shares.collect();
        if amount == 0 && !shares.is_empty() {
            return Ok(());
        }
        let mut gone = CausalContext::default();
        let sums = sums_of(&shares, owner, &mut gone);
        let mut targets = Targets::default();
        targets.push_share(path, share(owner, sums, amount));
        // What earlier openings counted becomes one where there is too much of it.
        let owners = self.earlier_owners()?;
        let mut earlier =
            owners.iter().filter(|one| shares.iter().any(|(_, of)| of.owner == **one));
        if earlier.clone().count() >= SHARES_MAX
            && let (Some(oldest), Some(next)) = (earlier.next(), earlier.next())
        {
            let (one, other) =
                (sums_of(&shares, *oldest, &mut gone), sums_of(&shares, *next, &mut gone));
            let (up, down) = (one.0.saturating_add(other.0), one.1.saturating_add(other.1));
            targets.push_share(path, Share { owner: *oldest, up, down });
        }
        self.made.undo.counts.push(Count {
            space: space.clone(),
            id: id.clone(),
            path: joined,
            amount,
            owner,
            by: self.author.replica,
        });
        self.write(space, id, &mut targets, gone)
    }
}

/// How many shares of earlier openings of one replica are added up in a counter. Arbitrary: where a copy
/// goes on with an opening before all of these, unknown to the others, what it counts may be lost in what
/// was added up since, or that counts twice. A share of an opening whose mark is forgotten is nobody's, and stays: one for every 25 openings
/// that count.
const SHARES_MAX: usize = 8;

/// Whether a field is a counter, or may hold one.
pub(super) fn may_count(field: &Field) -> bool {
    matches!(field, Field::Counter(_) | Field::Map(_))
}

/// The paths of the counters in a field that stands at a path.
pub(super) fn push_counter_paths(paths: &mut Vec<String>, path: &str, field: &Field) {
    match field {
        Field::Counter(_) => paths.push(path.to_owned()),
        Field::Map(fields) => fields.iter().for_each(|(name, field)| {
            if matches!(field, Field::Counter(_) | Field::Map(_)) {
                push_counter_paths(paths, &[path, name].join(SEPARATOR_TEXT), field);
            }
        }),
        Field::Register(_) | Field::Latest(_) | Field::Set(_) => {}
    }
}

fn share(owner: ReplicaId, (up, down): (u64, u64), amount: i64) -> Share {
    let by = amount.unsigned_abs();
    if amount < 0 {
        Share { owner, up, down: down.saturating_add(by) }
    } else {
        Share { owner, up: up.saturating_add(by), down }
    }
}

/// What an owner added and took away, and the dots that say so.
fn sums_of(shares: &[(Dot, Share)], owner: ReplicaId, dots: &mut CausalContext) -> (u64, u64) {
    let own = shares.iter().filter(|(_, share)| share.owner == owner);
    own.fold((0, 0), |sums, (dot, share)| {
        dots.insert(*dot);
        (sums.0.max(share.up), sums.1.max(share.down))
    })
}
