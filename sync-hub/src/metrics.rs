//! What the hub says of itself to Prometheus (OpenMetrics 1.0).

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use sync_core::session::Counts;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

type Counters = Family<Label, Counter>;

/// All that is counted. Clones count into the same.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    pub(crate) connections: Gauge,
    pub(crate) documents: Gauge,
    pub(crate) seq: Gauge,
    pub(crate) commit_inputs: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) storage_failures: Counter,
    closes: Family<[(&'static str, u16); 1], Counter>,
    turned_away: Counters,
    pub(crate) heard: Traffic,
    pub(crate) said: Traffic,
    deltas: Counters,
    refusals: Counters,
    catch_ups: Counters,
    chunks: Counter,
    chunk_bytes: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Why a connection was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    Connections,
    ConnectionsPerAddress,
    Origin,
}

impl TurnedAway {
    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Origin => "origin",
        }
    }
}

/// Where messages and deltas go.
const IN: &str = "in";
const OUT: &str = "out";

/// Messages in one direction.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    count: Counter,
    bytes: Counter,
}

impl Traffic {
    /// Counts one more.
    pub(crate) fn add(&self, frame: &[u8]) {
        self.count.inc();
        self.bytes.inc_by(frame.len() as u64);
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let commit_inputs = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        let commit_seconds = Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        let (messages, bytes) = (Counters::default(), Counters::default());
        let traffic = |direction| {
            let label = [("direction", direction)];
            let count = messages.get_or_create_owned(&label);
            Traffic { count, bytes: bytes.get_or_create_owned(&label) }
        };
        let mut metrics = Self {
            registry: Arc::default(),
            connections: Gauge::default(),
            documents: Gauge::default(),
            seq: Gauge::default(),
            commit_inputs,
            commit_seconds,
            storage_failures: Counter::default(),
            closes: Family::default(),
            turned_away: Family::default(),
            heard: traffic(IN),
            said: traffic(OUT),
            deltas: Family::default(),
            refusals: Family::default(),
            catch_ups: Family::default(),
            chunks: Counter::default(),
            chunk_bytes: Counter::default(),
        };
        metrics.registry = Arc::new(metrics.registered(messages, bytes));
        metrics
    }

    fn registered(&self, messages: Counters, bytes: Counters) -> Registry {
        let mut all = Registry::with_prefix("sync_hub");
        all.register(
            "connections",
            "WebSocket connections that are open",
            self.connections.clone(),
        );
        all.register("documents_open", "Documents that somebody has open", self.documents.clone());
        all.register("sequence", "The last sequence number that is on disk", self.seq.clone());
        let (inputs, seconds) = (self.commit_inputs.clone(), self.commit_seconds.clone());
        all.register("commit_inputs", "Inputs that one transaction took", inputs);
        let help = "From the first input of a transaction to its end on disk";
        all.register_with_unit("commit_duration", help, Unit::Seconds, seconds);
        let failures = self.storage_failures.clone();
        all.register("storage_failures", "Transactions that failed", failures);
        all.register("closes", "Connections that the hub closed, by code", self.closes.clone());
        let help = "Connections that were not accepted, by the limit that acted";
        all.register("turned_away", help, self.turned_away.clone());
        all.register("messages", "Messages of the protocol", messages);
        all.register_with_unit("messages", "Bytes of these messages", Unit::Bytes, bytes);
        all.register("deltas", "Deltas that were taken, and sent on", self.deltas.clone());
        all.register("refusals", "Deltas that were refused", self.refusals.clone());
        all.register("catch_ups", "Documents that were opened", self.catch_ups.clone());
        all.register("catch_up_chunks", "Chunks of catch-ups", self.chunks.clone());
        let help = "Bytes of these chunks";
        all.register_with_unit("catch_up_chunks", help, Unit::Bytes, self.chunk_bytes.clone());
        all
    }

    pub(crate) fn closed(&self, code: u16) {
        self.closes.get_or_create(&[("code", code)]).inc();
    }

    pub(crate) fn turned_away(&self, limit: TurnedAway) {
        self.turned_away.get_or_create(&[("limit", limit.name())]).inc();
    }

    /// Adds what a hub has done between two of its counts.
    pub(crate) fn add(&self, before: &Counts, after: &Counts) {
        let of = |get: fn(&Counts) -> u64| get(after).saturating_sub(get(before));
        let families = [
            (&self.deltas, "direction", IN, of(|counts| counts.taken)),
            (&self.deltas, "direction", OUT, of(|counts| counts.relayed)),
            (&self.refusals, "reason", "read_only", of(|counts| counts.refused_read_only)),
            (&self.refusals, "reason", "unclaimed", of(|counts| counts.refused_unclaimed)),
            (&self.refusals, "reason", "clock", of(|counts| counts.refused_clock)),
            (&self.refusals, "reason", "copy", of(|counts| counts.refused_copy)),
            (&self.catch_ups, "kind", "resumed", of(|counts| counts.resumed)),
            (&self.catch_ups, "kind", "whole", of(|counts| counts.caught_up_whole)),
            (&self.catch_ups, "kind", "compared", of(|counts| counts.compared)),
        ];
        for (family, name, value, count) in families {
            family.get_or_create(&[(name, value)]).inc_by(count);
        }
        self.chunks.inc_by(of(|counts| counts.chunks));
        self.chunk_bytes.inc_by(of(|counts| counts.chunk_bytes));
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
