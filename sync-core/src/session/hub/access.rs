//! Who may read and write which documents.
//!
//! The hub does not know what a token is: its driver looks at it, and says what it grants.

use std::borrow::Cow;

use super::{Connection, ConnectionId, Hub};
use crate::session::Now;
use crate::wire::Fault;

/// What is said to whoever opens what the token does not name.
pub(super) const NOT_FOR_THIS: Fault =
    Fault::Forbidden(Cow::Borrowed("the token is not for this document"));

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, for the log.
    pub subject: String,
    /// Which documents, of which all that fit count.
    pub rules: Vec<Rule>,
    /// When it ends, in milliseconds since 1970 by the hub's clock; never, where it is left out.
    pub ends_ms: Option<u64>,
}

/// Documents that somebody may read, or read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which.
    pub documents: Documents,
    /// Whether they may be written too.
    pub writes: bool,
}

/// Some of the documents of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Documents {
    /// The one of this name.
    Named(String),
    /// Those whose names begin so; all, where this is empty.
    StartingWith(String),
}

impl Documents {
    fn has(&self, document: &str) -> bool {
        match self {
            Self::Named(name) => name == document,
            Self::StartingWith(start) => document.starts_with(start.as_str()),
        }
    }
}

impl Grant {
    /// Whether a document may be read.
    #[must_use]
    pub fn reads(&self, document: &str) -> bool {
        self.rules.iter().any(|rule| rule.documents.has(document))
    }

    /// Whether a document may be written.
    #[must_use]
    pub fn writes(&self, document: &str) -> bool {
        self.rules.iter().any(|rule| rule.writes && rule.documents.has(document))
    }

    /// When it ends by the monotonic clock, in milliseconds.
    fn ends_monotonic_ms(&self, now: Now) -> Option<u64> {
        let left_ms = self.ends_ms?.saturating_sub(now.unix_ms);
        Some(now.monotonic_ms.saturating_add(left_ms))
    }
}

impl Connection {
    /// Whether it may read a document, and whether it may write it.
    pub(super) fn may(&self, document: &str) -> (bool, bool) {
        let may = |grant: &Grant| (grant.reads(document), grant.writes(document));
        self.grant.as_ref().map_or((true, true), may)
    }

    /// When it is given up, by the monotonic clock in milliseconds, and why.
    pub(super) fn end(&self) -> (u64, Fault) {
        match self.ends_ms {
            Some(ends_ms) if ends_ms <= self.deadline_ms => {
                (ends_ms, Fault::Unauthorized("it has ended".into()))
            }
            _ => (self.deadline_ms, Fault::Timeout("the connection was silent".into())),
        }
    }
}

impl Hub {
    /// Takes what a connection may do from here on. What it has open and may not read any more ends it, and
    /// so does another subject.
    pub(super) fn grant(&mut self, now: Now, connection: ConnectionId, grant: Grant) {
        // It may have gone meanwhile.
        let Some(state) = self.connections.get_mut(&connection) else { return };
        let before = state.grant.replace(grant);
        let Some(grant) = &state.grant else { return };
        state.ends_ms = grant.ends_monotonic_ms(now);
        let mut fault = before
            .filter(|before| before.subject != grant.subject)
            .map(|_| Fault::Unauthorized("it is of another subject than before".into()));
        for channel in state.channels.values_mut() {
            channel.writes = grant.writes(&channel.name);
            if !grant.reads(&channel.name) {
                fault = fault.or(Some(NOT_FOR_THIS));
            }
        }
        if let Some(fault) = fault {
            self.close(connection, fault);
        }
    }
}
