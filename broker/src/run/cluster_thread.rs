//! The `cluster` thread: peer links, consensus and the hub on one runtime, apart from the workers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use broker_config::{Config, DURABLE_CACHE_BYTES, PartitionPolicy};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::StartError;
use super::config::{command_bytes_max, discovery, durable_sessions, feature_level_max, retained};
use crate::cluster::meta::{MetaConfig, MetaGroup, MetaTiming};
use crate::cluster::{LinkTiming, Links, LinksConfig, Speaks};
use crate::hub::{Hub, HubParts};
use crate::identity::Identity;
use crate::node::{Clock, GateHandle, ToHub, WorkerHandle};
use crate::storage::DataDirectory;
use crate::tls::TlsStore;
use crate::totals::Totals;

/// What the thread needs.
pub(super) struct ClusterParts {
    pub(super) config: Arc<Config>,
    pub(super) identity: Identity,
    /// What this build reports as its version, for peers that are refused.
    pub(super) version: &'static str,
    pub(super) directory: DataDirectory,
    pub(super) tls: Arc<TlsStore>,
    pub(super) clock: Clock,
    pub(super) workers: Arc<[WorkerHandle]>,
    pub(super) hub_queue: mpsc::Receiver<ToHub>,
    pub(super) gate: GateHandle,
}

/// What the other threads may use of it.
pub(super) struct Cluster {
    pub(super) meta: MetaGroup,
    pub(super) links: Links,
    pub(super) hub: Hub,
    pub(super) totals: Totals,
    /// Where peers dial; `None`: this broker stands alone.
    pub(super) peer_address: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts the thread and waits until consensus has read its state.
pub(super) async fn start(parts: ClusterParts) -> Result<Cluster, StartError> {
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("cluster".to_owned())
        .spawn(move || run(parts, ready, stopped))
        .map_err(|source| StartError::Thread { name: "cluster", source })?;
    let started = started.await.unwrap_or(Err(StartError::Ended { name: "cluster" }));
    let Started { meta, links, hub, totals, peer_address } = started?;
    Ok(Cluster { meta, links, hub, totals, peer_address, stop, thread })
}

impl Cluster {
    /// Hands leadership over, stops consensus and closes the links; returns the thread.
    pub(super) fn stop(self) -> JoinHandle<()> {
        // A thread that has ended by itself has stopped already.
        let _ = self.stop.send(());
        self.thread
    }
}

struct Started {
    meta: MetaGroup,
    links: Links,
    hub: Hub,
    totals: Totals,
    peer_address: Option<SocketAddr>,
}

fn run(
    parts: ClusterParts,
    ready: oneshot::Sender<Result<Started, StartError>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = ready.send(Err(StartError::Thread { name: "cluster", source }));
            return;
        }
    };
    runtime.block_on(async {
        let directory = parts.directory;
        let started = open(
            &directory,
            parts.config,
            (parts.identity, parts.version),
            &parts.tls,
            HubWiring {
                clock: parts.clock,
                workers: parts.workers,
                queue: parts.hub_queue,
                gate: parts.gate,
            },
        )
        .await;
        let (meta, links) = match &started {
            Ok(started) => (started.meta.clone(), started.links.clone()),
            Err(_) => {
                let _ = ready.send(started);
                return;
            }
        };
        let _ = ready.send(started);
        // Also when the other threads are gone: then nobody needs this one.
        let _ = stopped.await;
        meta.shutdown().await;
        links.stop();
        drop(directory);
    });
    runtime.shutdown_background();
}

struct HubWiring {
    clock: Clock,
    workers: Arc<[WorkerHandle]>,
    queue: mpsc::Receiver<ToHub>,
    gate: GateHandle,
}

async fn open(
    directory: &DataDirectory,
    config: Arc<Config>,
    (identity, version): (Identity, &str),
    tls: &TlsStore,
    hub: HubWiring,
) -> Result<Started, StartError> {
    let listener = match &config.cluster {
        None => None,
        Some(cluster) => Some(bind(cluster.peers.listen).await?),
    };
    let links_config = LinksConfig {
        node_id: identity.node_id,
        discovery: discovery(&config, &identity.name),
        name: identity.name,
        cluster_id: identity.cluster_id.clone(),
        speaks: Speaks { program: version.to_owned(), ..Speaks::default() },
        timing: LinkTiming::default(),
    };
    let links = match tls.peer() {
        Some(tls) => Links::new(links_config, tls),
        None => Links::alone(links_config),
    };
    let meta_config = MetaConfig {
        cluster_id: identity.cluster_id,
        retained_limits: retained(&config),
        session_limits: durable_sessions(&config),
        cache_bytes_max: config.sessions.durable_cache_bytes.unwrap_or(DURABLE_CACHE_BYTES),
        feature_level_max: feature_level_max(&config),
        command_bytes_max: command_bytes_max(&config),
        // A broker alone has the only copy; one that is to serve while it is cut off can't ask.
        is_view_followed: config.cluster.is_some()
            && config.partition_policy == PartitionPolicy::Fence,
        timing: MetaTiming::default(),
    };
    let is_alone = config.cluster.is_none();
    let meta = start_meta(meta_config, &links, directory, (hub.clock, is_alone)).await?;
    let totals = Totals::new(Arc::clone(&hub.workers), &links);
    let hub = Hub::start(HubParts {
        config,
        links: links.clone(),
        meta: meta.clone(),
        clock: hub.clock,
        workers: hub.workers,
        queue: hub.queue,
        gate: hub.gate,
    });
    let peer_address = listener.map(|(listener, address)| {
        links.start(listener);
        address
    });
    Ok(Started { meta, links, hub, totals, peer_address })
}

/// Consensus, with what is on the disk. A broker that stands alone sets aside what is damaged and
/// begins anew, as nobody else can serve its clients; a member of a cluster gets its state from the
/// others, once somebody has seen to it that it may.
async fn start_meta(
    config: MetaConfig,
    links: &Links,
    directory: &DataDirectory,
    (clock, is_alone): (Clock, bool),
) -> Result<MetaGroup, StartError> {
    let started = match MetaGroup::start(config.clone(), links.clone(), directory, clock).await {
        Err(error) if is_alone && error.is_damage() => {
            let aside =
                directory.set_aside().map_err(|source| StartError::DataDirectory { source })?;
            let error = crate::telemetry::Chain(&error).to_string();
            tracing::error!(
                error,
                set_aside = %aside.display(),
                "what is on the disk is damaged and set aside: sessions and retained messages are lost"
            );
            MetaGroup::start(config, links.clone(), directory, clock).await
        }
        started => started,
    };
    started.map_err(|source| StartError::Meta { path: directory.path().to_owned(), source })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = |source| StartError::Bind { what: "peers.listen", address, source };
    let listener = TcpListener::bind(address).await.map_err(bound)?;
    let address = listener.local_addr().map_err(bound)?;
    Ok((listener, address))
}
