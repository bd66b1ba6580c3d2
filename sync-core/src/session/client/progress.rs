//! How far a document is behind its hub, as far as the hub has said; and what comes from elsewhere.

use super::compare::Doubts;
use super::parked::NOWHERE;
use super::{Client, ClientStore, Phase, Step, Then};
use crate::causal::Delta;
use crate::document::Refused;
use crate::error::Misuse;
use crate::session::Now;

/// How far a catch-up is, in bytes of entries as [`Page::cost`](crate::session::Page::cost) counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What has come on this connection.
    pub received: u64,
    /// That, and about what is still to come; none before the hub has said it.
    pub total: Option<u64>,
}

impl<S: ClientStore> Client<S> {
    /// How many dots the hub had when it opened the document that are not here, or more where it has
    /// seen so much that it told a part; none while it has said nothing on this connection.
    pub fn lag(&self, document: &str) -> Result<Option<u64>, Misuse> {
        let opened = self.opened(document)?;
        let is_told = matches!(opened.link.phase, Phase::CatchingUp | Phase::Live);
        let lacking = || opened.link.told.difference(opened.document.store().context()).len();
        Ok(is_told.then(lacking))
    }

    /// How far the catch-up is that is under way.
    pub fn progress(&self, document: &str) -> Result<Option<Progress>, Misuse> {
        let link = &self.opened(document)?.link;
        let received = link.received;
        let total = (link.left > 0).then(|| received.saturating_add(link.left));
        Ok((link.phase == Phase::CatchingUp).then_some(Progress { received, total }))
    }

    /// Whether the hub has not yet confirmed what it lacks beside the outbox, also where the connection was
    /// lost over that. Before the first connection it is not known.
    pub fn is_refilling(&self, document: &str) -> Result<bool, Misuse> {
        let opened = self.opened(document)?;
        let is_told = matches!(opened.link.phase, Phase::CatchingUp | Phase::Live);
        Ok(opened.is_refilling() || (opened.is_cut && !is_told))
    }

    /// Joins what came neither from here nor from the hub, as from a file, once [`part`](Self::part) has told
    /// apart what clashes. It stands for itself: of what it speaks of, the entries come first and the
    /// removals last. The hub is given what it lacks of that when the document is opened the next time: see
    /// [`reopen`](Self::reopen). The two are compared then, since what came may be known to the hub as
    /// something else.
    ///
    /// # Errors
    ///
    /// That of the store; this is not to be used any more then.
    pub fn import(
        &mut self,
        now: Now,
        document: &str,
        delta: &Delta,
    ) -> Result<(), Refused<S::Error>> {
        let opened = self.opened_mut(document)?;
        let mut steps = Vec::new();
        opened.is_cut = true;
        opened.lacked.union(&delta.context().difference(&opened.link.told));
        opened.doubts = Doubts::default();
        if opened.cursor.is_some_and(|cursor| cursor != NOWHERE) {
            opened.cursor = Some(NOWHERE);
            steps.push(Step::Follow(NOWHERE));
        }
        let joined = opened.join_remote(now, delta, &mut steps);
        let (change, renewed) = joined.map_err(Refused::Store)?;
        if let Some(author) = renewed {
            self.renew(document, author);
        }
        self.observe(now, delta);
        self.accept_remote(now, document, change, steps, Then::default()).map_err(Refused::Store)
    }

    /// Ends the connection, so that all documents are opened again.
    pub fn reopen(&mut self, reason: &str) {
        if self.is_connected() {
            self.disconnect(reason);
        }
    }

    /// Forgets the conflict log of a document; what clashes goes on to do so.
    pub fn forget_conflicts(&mut self, document: &str) -> Result<(), Misuse> {
        self.opened_mut(document)?.log.clear();
        Ok(())
    }
}
