//! What a hub takes in: a causal context cannot forget, so the limits stand here.

use std::collections::BTreeMap;

use super::counts::Counts;
use crate::causal::{CausalContext, Delta, DotRanges, DotStore, Entry, RUN_DOTS_MAX, ReplicaId};
use crate::session::hub_store::{DocumentId, HubStore};
use crate::time::Stamp;
use crate::wire::{CONTEXT_RANGES_MAX, DELTA_BYTES_MAX, Fault, REPLICAS_MAX};

/// What a push is held against.
pub(super) struct Terms<'a> {
    /// Whether the token lets anything be written.
    pub(super) writes: bool,
    /// For whom the connection writes.
    pub(super) claims: &'a BTreeMap<ReplicaId, u64>,
    /// What was asked for.
    pub(super) wanted: &'a CausalContext,
    /// Whether counters before it may be lacking.
    pub(super) skips: bool,
    /// The latest stamp.
    pub(super) latest: Stamp,
}

/// Why a delta is not taken, though it breaks no rule of the protocol.
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Whether that is about what stands in the delta, and not about who wrote it.
    pub(super) goes_on: bool,
    /// Where it is counted.
    pub(super) count: fn(&mut Counts) -> &mut u64,
}

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

/// Admits a delta whose new dots are of claimed replicas and follow on without a gap but for a declared
/// one, or were asked for. Gives the gap, a reason to refuse it, or a fault.
pub(super) fn admit<S: HubStore>(
    store: &mut S,
    document: DocumentId,
    terms: &Terms<'_>,
    delta: &Delta,
) -> Result<Result<Result<CausalContext, Refusal>, Fault>, S::Error> {
    if !terms.writes {
        let reason = "the token lets this document be read, not written".to_owned();
        return Ok(Ok(Err(Refusal {
            reason,
            goes_on: true,
            count: |counts| &mut counts.refused_read_only,
        })));
    }
    let seq = store.seq();
    let view = store.document(document, seq);
    let mut new_replicas = false;
    let (context, mut fresh) = (delta.context(), CausalContext::default());
    let mut gaps = CausalContext::default();
    for (replica, ranges) in context.iter() {
        let seen = view.seen(replica)?.into_owned();
        new_replicas |= seen.is_empty();
        let mut new = ranges.difference(&seen);
        if new.is_empty() {
            continue;
        }
        fresh.insert_ranges(replica, &new);
        if let Some(asked) = terms.wanted.of(replica) {
            new = new.difference(asked);
        }
        if new.is_empty() {
            continue;
        }
        if !terms.claims.contains_key(&replica) {
            let reason = format!("replica {replica} is not claimed on this connection");
            return Ok(Ok(Err(Refusal {
                reason,
                goes_on: false,
                count: |counts| &mut counts.refused_unclaimed,
            })));
        }
        let last = seen.max();
        let mut known = seen;
        known.union(ranges);
        if follows_on(&known, &new) {
            continue;
        }
        let gap = DotRanges::of(last + 1..=new.max()).difference(&new);
        let is_ahead = new.iter().next().is_some_and(|(first, _)| first > last);
        if !terms.skips || !is_ahead {
            return Ok(Err(Fault::OutOfOrder("the counters of a replica have a gap".into())));
        }
        gaps.insert_ranges(replica, &gap);
    }
    let found = terms.wanted.range_count() + gaps.range_count();
    if !gaps.is_empty() && found > CONTEXT_RANGES_MAX {
        let (found, limit) = (found as u64, CONTEXT_RANGES_MAX as u64);
        return Ok(Err(Fault::TooLarge { what: "the gaps of a channel", found, limit }));
    }
    if let Some(stamp) = too_late(delta, &fresh, terms.latest) {
        let ahead = stamp.ms().saturating_sub(terms.latest.ms()) / 1_000;
        let reason = format!(
            "a stamp of it lies {ahead} seconds beyond what this hub takes: the clock was wrong"
        );
        return Ok(Ok(Err(Refusal {
            reason,
            goes_on: true,
            count: |counts| &mut counts.refused_clock,
        })));
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
    Ok(Ok(Ok(gaps)))
}

/// The latest stamp of what is new in a delta, where that lies too far in the future.
fn too_late(delta: &Delta, fresh: &CausalContext, latest: Stamp) -> Option<Stamp> {
    let is_fresh = |entry: &&Entry| {
        let new = fresh.of(entry.replica());
        new.is_some_and(|new| !new.intersection(&entry.live_ranges()).is_empty())
    };
    let late_entries = delta.entries.iter().filter(|entry| entry.stamp > latest);
    let entries = late_entries.filter(is_fresh).map(|entry| entry.stamp);
    let notes = delta.notes.iter().filter(|note| fresh.contains(note.dot)).map(|note| note.stamp);
    entries.chain(notes).filter(|stamp| *stamp > latest).max()
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
