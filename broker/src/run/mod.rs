//! Puts the broker together, watches over it, and takes it apart again.
//!
//! Order of the start: configuration, identity, certificates, the ports of the listeners, cluster
//! thread (log, consensus, links, hub), workers, admin API. The listeners accept once the hub opens
//! the gate: when this node is a member that has caught up and every worker enforces the policy.

mod cluster_thread;
mod config;
mod limits;
mod stop;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin::{self, AdminParts};
use crate::args::RunArgs;
use crate::cluster::meta::MetaError;
use crate::identity::{Identity, IdentityError};
use crate::listener::{self, BindError, BoundListener};
use crate::node::{Clock, GateHandle, HUB_QUEUE_MESSAGES_MAX, ListenerId};
use crate::shutdown::{Request, Signals};
use crate::storage::{DataDirectory, DataDirectoryError};
use crate::telemetry::{self, Chain};
use crate::tls::{TlsError, TlsFiles, TlsStore};

use cluster_thread::{Cluster, ClusterParts};
use workers::Workers;

pub use config::{LoadError, LoadedConfig, load};
pub use stop::STOP_TIMEOUT;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration can't be used.
    #[error("load the configuration")]
    Config {
        /// Why.
        source: LoadError,
    },
    /// The paths of the peer files need an ordinal.
    #[error(
        "the configuration's peer files are named by ordinal, but the broker's name {name:?} does \
         not end in \"-\" and a number: start it as {name}-0, or name the files without {{ordinal}}"
    )]
    NoOrdinal {
        /// The name.
        name: String,
    },
    /// The data directory can't be used.
    #[error("open the data directory")]
    DataDirectory {
        /// Why.
        source: DataDirectoryError,
    },
    /// The data directory is not this broker's.
    #[error("take up the identity of the data directory")]
    Identity {
        /// Why.
        source: IdentityError,
    },
    /// The TLS files can't be used.
    #[error("load TLS files")]
    Tls {
        /// Why.
        source: TlsError,
    },
    /// A listener's port can't be had.
    #[error("open a listener")]
    Listener {
        /// Which, and why.
        source: BindError,
    },
    /// Another port can't be had.
    #[error("{what}: bind {address}")]
    Bind {
        /// The key in the configuration.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The meta group can't start.
    #[error("start consensus in {}", path.display())]
    Meta {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: MetaError,
    },
    /// The system gives no thread, or the thread no runtime.
    #[error("start the thread {name:?}")]
    Thread {
        /// The thread.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread ended before it was ready.
    #[error("the thread {name:?} ended while it was starting")]
    Ended {
        /// The thread.
        name: &'static str,
    },
    /// Signals can't be taken over.
    #[error("listen to signals")]
    Signals {
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a broker that ran has ended, other than by a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Consensus has stopped: the disk failed, or there is a bug. Nothing can be kept any more.
    #[error("consensus has stopped: {reason}")]
    Consensus {
        /// Why.
        reason: String,
    },
    /// A listener, the admin API or the watch over TLS files has ended by itself.
    #[error("a task of the main thread has ended")]
    Task,
    /// A worker has ended by itself.
    #[error("a worker has ended: {reason}")]
    Worker {
        /// Why.
        reason: String,
    },
}

/// Runs a broker until a signal stops it. `version` is what it reports of itself.
///
/// # Errors
/// [`RunError`]: why it did not start, or what it can't go on without.
pub fn run(args: &RunArgs, version: &'static str) -> Result<(), RunError> {
    let loaded = load(&args.config).map_err(|source| StartError::Config { source })?;
    telemetry::start(loaded.config.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Thread { name: "main", source })?;
    let result = runtime.block_on(serve(loaded, &args.name, version));
    runtime.shutdown_background();
    result
}

/// A broker whose threads run.
struct Broker {
    tls: Arc<TlsStore>,
    cluster: Cluster,
    workers: Workers,
    /// Acceptors, the admin API and the watch over TLS files.
    tasks: JoinSet<()>,
}

async fn serve(loaded: LoadedConfig, name: &str, version: &'static str) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(|source| StartError::Signals { source })?;
    let mut broker = start(loaded, name, version).await?;
    let result = loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Reload => broker.tls.reload(true),
                Request::Stop => break Ok(()),
            },
            reason = broker.cluster.meta.failure() => break Err(RunError::Consensus { reason }),
            reason = broker.workers.failure() => break Err(RunError::Worker { reason }),
            Some(_) = broker.tasks.join_next() => break Err(RunError::Task),
        }
    };
    if let Err(error) = &result {
        tracing::error!(error = %Chain(error), "the broker can't go on");
    }
    stop::stop(broker).await;
    result
}

async fn start(
    loaded: LoadedConfig,
    name: &str,
    version: &'static str,
) -> Result<Broker, StartError> {
    let started = Instant::now();
    let clock = Clock::start();
    let config = Arc::new(loaded.config);
    let files = TlsFiles::new(&config.tls, name)
        .ok_or_else(|| StartError::NoOrdinal { name: name.to_owned() })?;
    let directory = DataDirectory::open(&config.data_dir)
        .map_err(|source| StartError::DataDirectory { source })?;
    let identity = Identity::open(&directory, &config.cluster.id, name)
        .map_err(|source| StartError::Identity { source })?;
    tracing::info!(
        version,
        name,
        node_id = %identity.node_id,
        cluster_id = identity.cluster_id,
        cluster = config.cluster.name,
        "starting"
    );
    limits::raise_open_files(&config);
    let tls = TlsStore::load(files).map_err(|source| StartError::Tls { source })?;
    let tls = Arc::new(tls);
    let listeners = bind(&config)?;
    let counters = listeners.iter().map(BoundListener::published).collect();

    let (hub_sender, hub_queue) = mpsc::channel(HUB_QUEUE_MESSAGES_MAX);
    let (handles, inboxes) = workers::queues(config::workers(&config));
    let (gate_handle, gate) = GateHandle::closed("the broker is starting");
    let cluster = cluster_thread::start(ClusterParts {
        config: Arc::clone(&config),
        identity: identity.clone(),
        directory,
        tls: Arc::clone(&tls),
        clock,
        workers: Arc::clone(&handles),
        hub_queue,
        gate: gate_handle,
    })
    .await?;
    let mut shared = workers::shared(&config, clock, &tls, &cluster.meta, hub_sender, &handles)?;
    shared.engine.node = identity.node_id;
    let workers = Workers::start(shared, handles, inboxes)?;

    let mut tasks = JoinSet::new();
    let parts = AdminParts {
        version,
        identity,
        config: Arc::clone(&config),
        config_digest: loaded.digest,
        tls: Arc::clone(&tls),
        meta: cluster.meta.clone(),
        links: cluster.links.clone(),
        hub: cluster.hub.clone(),
        workers: workers.handles(),
        listeners: counters,
        gate: gate.clone(),
    };
    let address = config.admin_listen;
    let bound = |source| StartError::Bind { what: "admin.listen", address, source };
    let admin_address = admin::start(&mut tasks, parts).await.map_err(bound)?;
    tasks.spawn(crate::tls::watch(Arc::clone(&tls)));
    for listener in listeners {
        tasks.spawn(listener::run(listener, workers.handles(), gate.clone()));
    }
    tracing::info!(
        admin = %admin_address,
        peers = %cluster.peer_address,
        workers = workers.count(),
        milliseconds = started.elapsed().as_millis() as u64,
        "started"
    );
    Ok(Broker { tls, cluster, workers, tasks })
}

fn bind(config: &broker_config::Config) -> Result<Vec<BoundListener>, StartError> {
    (0u8..)
        .zip(&config.listeners)
        .map(|(id, listener)| BoundListener::bind(ListenerId(id), listener.clone()))
        .collect::<Result<_, _>>()
        .map_err(|source| StartError::Listener { source })
}
