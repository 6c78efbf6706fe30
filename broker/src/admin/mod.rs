//! The admin API: HTTPS for the operator, for probes and for Prometheus.
//!
//! Layer: top. IO, on the main thread. What it reads are shared handles (the meta group, the links, counters); what it changes
//! goes through the meta group's log or a worker's queue. Paths and bodies are those of `broker_admin_api`.

mod refusal;
mod routes;
mod serve;
mod status;

use std::sync::Arc;
use std::time::Instant;

use broker_policy::Revision;
use tokio::sync::watch;

use crate::cluster::Links;
use crate::cluster::meta::MetaGroup;
use crate::node::{Gate, WorkerHandle};
use crate::tls::TlsStore;

pub use serve::{ADMIN_CONNECTIONS_MAX, serve};

/// What does not change while the process lives.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The cluster this broker belongs to.
    pub cluster_id: String,
    /// Version of the binary.
    pub version: String,
    /// SHA-256 of the configuration file, lower-case hexadecimal.
    pub config_digest: String,
    /// When the process started, Unix seconds.
    pub started_at: i64,
    /// The same moment by the monotonic clock.
    pub started: Instant,
}

/// Writes `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct AdminContext {
    /// What does not change.
    pub facts: Arc<NodeFacts>,
    /// Consensus.
    pub meta: MetaGroup,
    /// The other brokers.
    pub links: Links,
    /// The workers, for counters and for draining.
    pub workers: Arc<[WorkerHandle]>,
    /// Whether clients may come in.
    pub gate: Gate,
    /// The revision that every worker enforces; `None` before the first.
    pub enforced: watch::Receiver<Option<Revision>>,
    /// Clients moved away a second while draining; `None` when not draining.
    pub drain: watch::Sender<Option<u32>>,
    /// Certificates in use.
    pub tls: Arc<TlsStore>,
    /// `/metrics`.
    pub metrics: MetricsText,
}
