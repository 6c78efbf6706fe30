//! The admin API: HTTPS for the operator, for probes and for Prometheus. Of a broker that stands
//! alone: numbers and health, in plain HTTP.
//!
//! Layer: top. IO, on the main thread. What it reads are shared handles (the meta group, the links,
//! counters); what it changes goes through the meta group's log or the hub. Paths and bodies are
//! those of `broker_admin_api`.

mod backup;
mod drain;
mod membership;
mod places;
mod refusal;
mod routes;
mod serve;
mod status;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use broker_policy::Revision;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::cluster::Links;
use crate::cluster::meta::MetaGroup;
use crate::hub::{Drain, Hub};
use crate::identity::Identity;
use crate::metrics::{Metrics, MetricsParts};
use crate::node::{Admission, Gate, ListenerCounters, MemoryCounters, WorkerHandle};
use crate::tls::TlsStore;
use crate::totals::Totals;

use serve::{serve, serve_open};

pub use serve::ADMIN_CONNECTIONS_MAX;

/// What the admin API is started with.
pub struct AdminParts {
    /// Version of the binary.
    pub version: &'static str,
    /// Who this broker is.
    pub identity: Identity,
    /// SHA-256 of the configuration file, lower-case hexadecimal.
    pub config_digest: String,
    /// Certificates in use.
    pub tls: Arc<TlsStore>,
    /// Consensus.
    pub meta: MetaGroup,
    /// The other brokers.
    pub links: Links,
    /// The hub.
    pub hub: Hub,
    /// What all brokers do together.
    pub totals: Totals,
    /// The workers.
    pub workers: Arc<[WorkerHandle]>,
    /// The listeners' counters.
    pub listeners: Vec<(String, Arc<ListenerCounters>)>,
    /// Connections of the process, by what limits them.
    pub admission: Arc<Admission>,
    /// The memory budget.
    pub memory: Arc<MemoryCounters>,
    /// Whether clients may come in.
    pub gate: Gate,
}

/// Binds the admin listener and serves in a task of `tasks`; gives the address.
///
/// # Errors
/// The address can't be bound.
pub async fn start(
    tasks: &mut JoinSet<()>,
    listen: SocketAddr,
    parts: AdminParts,
) -> io::Result<SocketAddr> {
    let (listener, address) = bind(listen).await?;
    tasks.spawn(serve(listener, context(parts)));
    Ok(address)
}

/// Binds a listener for numbers and health alone, in plain HTTP, and serves in a task of `tasks`;
/// gives the address.
///
/// # Errors
/// The address can't be bound.
pub async fn start_metrics(
    tasks: &mut JoinSet<()>,
    listen: SocketAddr,
    parts: AdminParts,
) -> io::Result<SocketAddr> {
    let (listener, address) = bind(listen).await?;
    tasks.spawn(serve_open(listener, context(parts)));
    Ok(address)
}

async fn bind(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn context(parts: AdminParts) -> AdminContext {
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let metrics = Metrics::new(MetricsParts {
        meta: parts.meta.clone(),
        links: parts.links.clone(),
        hub: parts.hub.clone(),
        totals: parts.totals,
        workers: Arc::clone(&parts.workers),
        listeners: parts.listeners,
        admission: parts.admission,
        memory: parts.memory,
        tls: Arc::clone(&parts.tls),
        version: parts.version,
    });
    AdminContext {
        facts: Arc::new(NodeFacts {
            cluster_id: parts.identity.cluster_id,
            version: parts.version.to_owned(),
            config_digest: parts.config_digest,
            started_at: i64::try_from(started_at).unwrap_or(i64::MAX),
            started: Instant::now(),
        }),
        meta: parts.meta,
        links: parts.links,
        workers: parts.workers,
        gate: parts.gate,
        enforced: parts.hub.enforced(),
        drain: parts.hub.drain().clone(),
        hub: parts.hub,
        tls: parts.tls,
        backups: Arc::new(Semaphore::new(1)),
        metrics: Arc::new(move || metrics.text()),
    }
}

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
    /// How the broker is drained; `None` when it is not.
    pub drain: watch::Sender<Option<Drain>>,
    /// The hub.
    pub hub: Hub,
    /// Certificates in use.
    pub tls: Arc<TlsStore>,
    /// Taken by the one backup or restore that is under way.
    pub backups: Arc<Semaphore>,
    /// `/metrics`.
    pub metrics: MetricsText,
}
