//! Changes of counters: each replica replaces a share of its own.

use smallvec::SmallVec;

use super::{Edit, Step};
use crate::causal::{CausalContext, PlaceId, PlaceStore, ReplicaId};
use crate::document::target::Targets;
use crate::document::undo::Count;
use crate::types::element::SEPARATOR;
use crate::types::place::Space;
use crate::types::{Content, Field, Share};

impl<S: PlaceStore> Edit<'_, S> {
    /// Puts counters of a new record where they are wanted.
    pub(super) fn push_counters(&self, targets: &mut Targets, fields: &[(&str, &Field)]) {
        fn walk<'f>(
            targets: &mut Targets,
            owner: ReplicaId,
            path: &mut SmallVec<[&'f str; 4]>,
            field: &'f Field,
        ) {
            match field {
                Field::Counter(sum) => {
                    targets.push_share(path, share(owner, (0, 0), *sum));
                }
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
        for (name, field) in fields.iter().filter(|(_, field)| may_count(field)) {
            walk(targets, self.author.replica, &mut SmallVec::from_slice(&[*name]), field);
        }
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
                let joined = path.join("\u{1f}");
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

    /// Replaces this replica's share of a counter.
    pub(in crate::document) fn add_share(
        &mut self,
        space: &Space,
        id: &PlaceId,
        path: &[&str],
        amount: i64,
    ) -> Step<S> {
        let owner = self.author.replica;
        let joined = path.join("\u{1f}");
        let record = self.record_at(space, id)?;
        let mut sums = (0, 0);
        let mut gone = CausalContext::default();
        let mut is_there = false;
        for element in record.elements().iter().filter(|element| element.path() == joined) {
            if let Content::Share(known) = element.content {
                is_there = true;
                if known.owner == owner {
                    sums = (sums.0.max(known.up), sums.1.max(known.down));
                    gone.insert(element.claim.dot);
                }
            }
        }
        if amount == 0 && is_there {
            return Ok(());
        }
        let mut targets = Targets::default();
        targets.push_share(path, share(owner, sums, amount));
        self.counts.push(Count { space: space.clone(), id: id.clone(), path: joined, amount });
        self.write(space, id, &mut targets, gone)
    }
}

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
                push_counter_paths(paths, &format!("{path}{SEPARATOR}{name}"), field);
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
