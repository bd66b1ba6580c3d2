//! What a hub is started with.

use std::path::PathBuf;

use sync_core::session::limits::STAMP_AHEAD_MS_MAX;

use crate::access::TokenKeys;
use crate::tls::Tls;

/// Where a hub keeps its data, what it serves beside the protocol, and its limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The folder of the database. It is made if there is none.
    pub data_dir: PathBuf,
    /// A folder of files to serve at `/`.
    pub static_dir: Option<PathBuf>,
    /// The keys of tokens. Without them, anybody may read and write everything.
    pub keys: Option<TokenKeys>,
    /// The certificate. Without one it does not speak TLS.
    pub tls: Option<Tls>,
    /// The origins of web pages that may connect, beside those that the hub serves itself, and on this
    /// machine alone all of this machine.
    pub origins: Vec<String>,
    /// What connections may cost.
    pub limits: Limits,
}

impl Options {
    /// A hub with the usual limits and nothing at `/`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            static_dir: None,
            keys: None,
            tls: None,
            origins: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Serves the files of a folder at `/`.
    #[must_use]
    pub fn with_static_dir(mut self, static_dir: impl Into<PathBuf>) -> Self {
        self.static_dir = Some(static_dir.into());
        self
    }

    /// Lets only those in who have a token that is signed with one of these keys.
    #[must_use]
    pub fn with_keys(mut self, keys: TokenKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Speaks TLS, and nothing else.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Lets web pages of this origin connect, as `https://app.example`.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// What connections and documents may cost. All defaults are arbitrary but for what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at a time. Those beyond are turned away.
    pub connections_max: usize,
    /// The most connections at a time of one address, or of one network of 64 bits in IPv6. This machine's
    /// own do not count: a proxy stands there.
    pub connections_per_address_max: usize,
    /// The most bytes that wait to be sent on one connection. Beyond them it is closed as too slow.
    pub outgoing_bytes_max: usize,
    /// The most bytes of one connection that wait to be handled; then it is read no further.
    pub incoming_bytes_max: usize,
    /// The most bytes of all connections that wait to be handled.
    pub incoming_bytes_max_in_all: usize,
    /// How many WebSocket frames a second are read from one connection over time, pings and empty
    /// fragments counted; beyond that it is read more slowly.
    pub frames_per_second: u32,
    /// How many frames may come at once before that rate holds.
    pub frames_burst: u32,
    /// The most ranges of removed dots that are kept for a document so that a client may resume from
    /// its cursor.
    pub removals_max: u64,
    /// How far ahead of this machine's clock the stamps of changes may lie, in milliseconds. What lies
    /// further is refused: the clock that it was written by is wrong.
    pub stamp_ahead_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address_max: 256,
            outgoing_bytes_max: 4 * 1024 * 1024,
            incoming_bytes_max: 1024 * 1024,
            incoming_bytes_max_in_all: 64 * 1024 * 1024,
            frames_per_second: 1_000,
            frames_burst: 10_000,
            removals_max: 100_000,
            stamp_ahead_ms_max: STAMP_AHEAD_MS_MAX,
        }
    }
}
