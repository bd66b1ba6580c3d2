//! What a hub takes in: a causal context cannot forget, so the limits stand here.

use std::collections::BTreeMap;

use crate::causal::{CausalContext, Delta, DotRanges, DotStore, RUN_DOTS_MAX, ReplicaId};
use crate::session::hub_store::{DocumentId, HubStore};
use crate::wire::{DELTA_BYTES_MAX, Fault, REPLICAS_MAX};

/// Refuses a client whose replicas would not fit into the document beside those that are there.
pub(super) fn check_replica_count(
    own: &CausalContext,
    theirs: &CausalContext,
) -> Result<(), Fault> {
    let new = theirs.iter().filter(|(replica, _)| own.of(*replica).is_none()).count();
    let found = own.replica_count() + new;
    if found > REPLICAS_MAX {
        let (found, limit) = (found as u64, REPLICAS_MAX as u64);
        return Err(Fault::TooLarge {
            what: "the number of replicas of the document",
            found,
            limit,
        });
    }
    Ok(())
}

/// Admits a delta whose new dots are of claimed replicas and follow on without a gap, or were asked
/// for. Gives a reason to refuse it, or a fault.
pub(super) fn admit<S: HubStore>(
    store: &mut S,
    document: DocumentId,
    claims: &BTreeMap<ReplicaId, u64>,
    wanted: &CausalContext,
    delta: &Delta,
) -> Result<Result<Option<String>, Fault>, S::Error> {
    let seq = store.seq();
    let view = store.document(document, seq);
    let mut new_replicas = false;
    let context = delta.context();
    for (replica, ranges) in context.iter() {
        let seen = view.seen(replica)?.into_owned();
        new_replicas |= seen.is_empty();
        let mut new = ranges.difference(&seen);
        if new.is_empty() {
            continue;
        }
        if let Some(asked) = wanted.of(replica) {
            new = new.difference(asked);
        }
        if new.is_empty() {
            continue;
        }
        if !claims.contains_key(&replica) {
            let reason = format!("replica {replica} is not claimed on this connection");
            return Ok(Ok(Some(reason)));
        }
        let mut known = seen;
        known.union(ranges);
        if !follows_on(&known, &new) {
            return Ok(Err(Fault::OutOfOrder("the counters of a replica have a gap".into())));
        }
    }
    if let Some(fault) = outgrown(&view, delta)? {
        return Ok(Err(fault));
    }
    drop(view);
    if new_replicas {
        let own = store.context(document)?;
        if let Err(fault) = check_replica_count(&own, &context) {
            return Ok(Err(fault));
        }
    }
    Ok(Ok(None))
}

/// The fault of a delta that adds to a run until it does not fit into a message. A run that is written
/// as one, and comes in parts as it is found in different places, never does.
fn outgrown<S: DotStore>(store: &S, delta: &Delta) -> Result<Option<Fault>, S::Error> {
    let mut of_replica: Option<(ReplicaId, DotRanges)> = None;
    for entry in &delta.entries {
        let (replica, first) = (entry.replica(), entry.first.counter);
        let seen = match of_replica.take() {
            Some((of, seen)) if of == replica => seen,
            Some(_) | None => store.seen(replica)?.into_owned(),
        };
        if seen.overlaps(first, first.saturating_add(RUN_DOTS_MAX as u64 - 1)) {
            let known = store.overlapping(replica, first, first)?;
            if let Some(known) = known.into_iter().find(|known| known.first == entry.first) {
                let new = entry.live().filter(|(dot, _)| !seen.contains(dot.counter));
                let found = known.byte_count() + new.map(|(_, slot)| slot.len()).sum::<usize>();
                if found > DELTA_BYTES_MAX {
                    let (found, limit) = (found as u64, DELTA_BYTES_MAX as u64);
                    return Ok(Some(Fault::TooLarge { what: "an entry", found, limit }));
                }
            }
        }
        of_replica = Some((replica, seen));
    }
    Ok(None)
}

/// Whether the new counters stand at the end of what is known then, in one piece with it.
fn follows_on(known: &DotRanges, new: &DotRanges) -> bool {
    let Some((start, end)) = known.iter().next_back() else { return true };
    let Some((first, _)) = new.iter().next() else { return true };
    let alone = start == first && start > 1;
    new.max() == end && first >= start && !alone
}
