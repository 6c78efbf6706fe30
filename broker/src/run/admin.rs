//! Starts the admin API of a member of a cluster, or the metrics of a broker that stands alone.

use std::net::SocketAddr;
use std::sync::Arc;

use broker_config::Config;

use super::{Broker, Facts, StartError, Watch};
use crate::admin::{self, AdminParts};
use crate::node::{Gate, ListenerCounters};

/// Where the main thread answers HTTP.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addresses {
    /// The admin API, in a cluster.
    pub(super) api: Option<SocketAddr>,
    /// Numbers and health alone, of a broker that stands alone.
    pub(super) metrics: Option<SocketAddr>,
}

/// Starts what the configuration names.
pub(super) async fn start(
    broker: &mut Broker,
    config: &Config,
    parts: AdminParts,
) -> Result<Addresses, StartError> {
    let tasks = &mut broker.tasks;
    let bound = |what, address| move |source| StartError::Bind { what, address, source };
    match (&config.cluster, config.metrics) {
        (Some(cluster), _) => {
            let listen = cluster.admin_listen;
            let api =
                admin::start(tasks, listen, parts).await.map_err(bound("admin.listen", listen))?;
            Ok(Addresses { api: Some(api), metrics: None })
        }
        (None, Some(listen)) => {
            let started = admin::start_metrics(tasks, listen, parts).await;
            let metrics = started.map_err(bound("metrics.address", listen))?;
            Ok(Addresses { api: None, metrics: Some(metrics) })
        }
        (None, None) => Ok(Addresses::default()),
    }
}

/// What the admin API reads and changes.
pub(super) fn parts(
    broker: &Broker,
    facts: Facts,
    listeners: Vec<(String, Arc<ListenerCounters>)>,
    gate: Gate,
    watch: &Watch,
) -> AdminParts {
    AdminParts {
        version: facts.version,
        identity: facts.identity,
        config_digest: facts.config_digest,
        tls: Arc::clone(&broker.tls),
        meta: broker.cluster.meta.clone(),
        links: broker.cluster.links.clone(),
        hub: broker.cluster.hub.clone(),
        totals: broker.cluster.totals.clone(),
        workers: broker.workers.handles(),
        listeners,
        admission: Arc::clone(&watch.admission),
        memory: Arc::clone(&watch.counters),
        gate,
    }
}
