//! Comparing with a hub that the client has no valid cursor of, in place of receiving everything.
//!
//! The client begins. Until the comparison is over it pushes nothing, and keeps what others write for
//! the end of the catch-up, so that what it says of its live dots stays true. Where the two do not come
//! to an end, the hub sends everything.

use super::connection::{Broken, Heard, IN_USE, Refill};
use super::{Client, ClientStore, Opened};
use crate::causal::{CausalContext, ReplicaId};
use crate::reconcile::{Difference, Mode, ReconcileError, Reconciler};
use crate::session::hub::LIMITS;
use crate::wire::{ClientMessage, SYNC_TRIES_MAX};

/// A comparison that is under way.
#[derive(Debug)]
pub(super) struct Compare {
    reconciler: Box<Reconciler>,
    /// What the hub lacks, as far as the contexts of the opening say.
    lacking: CausalContext,
    tries: u32,
}

impl Compare {
    /// Whether clients compare. Where not, all of this is left out of the program.
    pub(super) const IS_BUILT: bool = cfg!(feature = "compare");
}

/// How many replicas the hub is asked about at a time, since it has other bytes of theirs: so many that it
/// tells all marks of each.
#[cfg(feature = "compare")]
const ASKED_MAX: usize = crate::wire::OPENINGS_MAX / crate::types::MARKS_MAX / 2;

/// The replicas of which the hub was found to have other bytes than there are here, each once: those last
/// found come last, and the hub is asked for their marks.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    #[cfg(feature = "compare")]
    found: Vec<ReplicaId>,
}

impl Doubts {
    /// Whose marks the hub is asked for.
    #[cfg(feature = "compare")]
    pub(super) fn asked(&self) -> &[ReplicaId] {
        &self.found[self.found.len().saturating_sub(ASKED_MAX)..]
    }

    #[cfg(not(feature = "compare"))]
    pub(super) fn asked(&self) -> &[ReplicaId] {
        &[]
    }

    /// Takes what differs. Says whether the hub is to be asked about more of it.
    #[cfg(feature = "compare")]
    fn add(&mut self, conflicting: &CausalContext) -> bool {
        let replicas = conflicting.iter().map(|(replica, _)| replica);
        let fresh: Vec<_> = replicas.filter(|replica| !self.found.contains(replica)).collect();
        self.found.extend(fresh.iter().take(ASKED_MAX));
        !fresh.is_empty()
    }

    #[cfg(not(feature = "compare"))]
    fn add(&mut self, _: &CausalContext) -> bool {
        false
    }
}

/// What follows from a message.
enum Outcome {
    Say(Vec<u8>),
    Wait,
    Over,
    Broken,
}

impl<S: ClientStore> Client<S> {
    /// Begins to compare. `lacking` is what the hub lacks in any case.
    pub(super) fn begin_compare(
        &mut self,
        name: &str,
        lacking: CausalContext,
    ) -> Result<(), S::Error> {
        self.compare(name, lacking, 1)
    }

    fn compare(&mut self, name: &str, lacking: CausalContext, tries: u32) -> Result<(), S::Error> {
        let Some(opened) = self.documents.get_mut(name) else { return Ok(()) };
        opened.document.store_mut().sum_up()?;
        let store = opened.document.store();
        let context = store.context().clone();
        let reconciler = Reconciler::initiator(context, Mode::PushPull, LIMITS);
        let mut compare = Compare { reconciler: Box::new(reconciler), lacking, tries };
        let first = match compare.reconciler.start(&store.summary()) {
            Err(ReconcileError::Store(failed)) => return Err(failed),
            first => first.unwrap_or_default(),
        };
        opened.link.compare = Some(compare);
        self.say_sync(name, first);
        Ok(())
    }

    /// Takes the hub's part of a comparison.
    pub(super) fn handle_sync(&mut self, name: &str, message: &[u8]) -> Heard<S> {
        let opened = self.documents.get_mut(name).ok_or("the hub named an unknown document")?;
        let compare = if Compare::IS_BUILT { opened.link.compare.take() } else { None };
        let Some(mut compare) = compare else {
            return Err("the hub compares what was not asked for".into());
        };
        let answer = {
            let summary = opened.document.store().summary();
            compare.reconciler.handle(&summary, message)
        };
        let outcome = match answer {
            Ok(answer) => {
                match compare.reconciler.difference() {
                    // The hub is given nothing before it is known from where on its history is another one.
                    Some(found) if opened.doubts.add(&found.conflicting) => {
                        self.disconnect(IN_USE);
                        return Ok(());
                    }
                    Some(found) if found.knows_live => opened.refill_found(&found),
                    Some(_) => {
                        let lacking = std::mem::take(&mut compare.lacking);
                        opened.refill = Refill::Wanted(lacking, None);
                    }
                    None => {}
                }
                answer.map_or(Outcome::Wait, Outcome::Say)
            }
            Err(ReconcileError::Store(failed)) => return Err(Broken::Store(failed)),
            Err(ReconcileError::Unresolved | ReconcileError::Budget { .. }) => Outcome::Over,
            Err(_) => Outcome::Broken,
        };
        let is_over = compare.reconciler.is_finished();
        match outcome {
            Outcome::Say(message) => {
                if !is_over {
                    opened.link.compare = Some(compare);
                }
                self.say_sync(name, message);
            }
            Outcome::Wait => {}
            // The document changed meanwhile, or more differs than is worth it.
            Outcome::Over if compare.tries < SYNC_TRIES_MAX => {
                let again = self.compare(name, compare.lacking, compare.tries + 1);
                again.map_err(Broken::Store)?;
            }
            Outcome::Over => {
                opened.refill = Refill::Wanted(compare.lacking, None);
                self.say_sync(name, Vec::new());
            }
            Outcome::Broken => {
                return Err("the hub does not keep to the rules of a comparison".into());
            }
        }
        if is_over {
            if let Some(opened) = self.documents.get_mut(name) {
                opened.document.store_mut().drop_sums();
            }
            self.advance(name).map_err(Broken::Store)?;
        }
        Ok(())
    }

    fn say_sync(&mut self, name: &str, message: Vec<u8>) {
        if let Some(channel) = self.channel_of(name) {
            self.send(&ClientMessage::Sync { channel, message });
        }
    }
}

impl<S: ClientStore> Opened<S> {
    /// The hub sends everything: the comparison has failed on its side.
    pub(super) fn give_up_compare(&mut self) {
        if Compare::IS_BUILT
            && let Some(compare) = self.link.compare.take()
        {
            self.refill = Refill::Wanted(compare.lacking, None);
            self.document.store_mut().drop_sums();
        }
    }

    /// Gives the hub exactly what it lacks: what it has not seen, and what has died here.
    fn refill_found(&mut self, found: &Difference) {
        let said = &self.link.said;
        let lacking = self.settled(said).intersection(&found.unseen_there);
        let dead = said.intersection(&found.live_there);
        if !lacking.is_empty() || !dead.is_empty() {
            self.refill = Refill::Wanted(lacking, Some(dead));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Dot;

    #[test]
    fn a_hub_is_asked_about_so_many_replicas_at_a_time_and_about_each_once() {
        for count in [ASKED_MAX - 1, ASKED_MAX, ASKED_MAX + 1, 3 * ASKED_MAX] {
            let replica = |number| ReplicaId::from_bytes((number as u128).to_be_bytes());
            let conflicting: CausalContext =
                (0..count).map(|number| Dot::new(replica(number), 1)).collect();
            let (mut doubts, mut asked) = (Doubts::default(), Vec::new());
            assert!(doubts.asked().is_empty() && !doubts.add(&CausalContext::default()));
            while doubts.add(&conflicting) {
                assert!(doubts.asked().len() <= ASKED_MAX, "{count}");
                asked.extend_from_slice(doubts.asked());
            }
            asked.sort_unstable();
            asked.dedup();
            assert_eq!(asked, (0..count).map(replica).collect::<Vec<_>>());
        }
    }
}
