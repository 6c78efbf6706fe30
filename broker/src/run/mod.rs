//! Puts the broker together, watches over it, and takes it apart again.
//!
//! Order of the start: configuration, identity, certificates, the ports of the listeners, cluster
//! thread (log, consensus, links, hub), workers, admin API. The listeners accept once the hub opens
//! the gate: when this node is a member that has caught up and every worker enforces the policy. A
//! broker that stands alone has no admin API: it founds its cluster of one and puts the policy of
//! its files into force before it lets the listeners look at the gate.

mod admin;
mod alone;
mod cluster_thread;
mod config;
mod error;
mod limits;
mod listeners;
mod memory;
mod mend;
mod mosquitto;
mod pid_file;
mod policy_files;
mod scram_line;
mod stop;
mod sys;
mod workers;

use std::sync::Arc;
use std::time::Instant;

use broker_config::Config;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::RunArgs;
use crate::identity::Identity;
use crate::listener::{self, BoundListener};
use crate::node::{
    Admission, Clock, Gate, GateHandle, HUB_QUEUE_MESSAGES_MAX, ListenerId, MemoryCounters,
};
use crate::shutdown::{Request, Signals};
use crate::storage::{DataDirectory, count_set_aside};
use crate::telemetry::{self, Chain};
use crate::tls::{TlsFiles, TlsStore};

use cluster_thread::{Cluster, ClusterParts};
use pid_file::PidFile;
use policy_files::PolicyFiles;
use workers::Workers;

pub use alone::AloneError;
pub use config::{LoadError, LoadedConfig, load, load_mosquitto};
pub use error::{RunError, StartError};
pub use mosquitto::{Imported, import_mosquitto};
pub use scram_line::{ScramLineError, scram_line};
pub use stop::STOP_TIMEOUT;

/// Runs a broker until a signal stops it. `version` is what it reports of itself.
///
/// # Errors
/// [`RunError`]: why it did not start, or what it can't go on without.
pub fn run(args: &RunArgs, version: &'static str) -> Result<(), RunError> {
    let loaded = match &args.config {
        _ if args.mosquitto.is_given() => load_mosquitto(&args.mosquitto),
        Some(path) => load(path),
        None => Err(LoadError::NoFile),
    };
    let mut loaded = loaded.map_err(|source| StartError::Config { source })?;
    let transient = loaded.transient.take();
    telemetry::start(loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let name = match &args.name {
        Some(name) => name,
        None if loaded.config.cluster.is_none() => ALONE_NAME,
        None => return Err(StartError::NoName.into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Thread { name: "main", source })?;
    let result = runtime.block_on(serve(loaded, name, version));
    runtime.shutdown_background();
    drop(transient);
    result
}

/// Name of a broker that stands alone and is given none.
const ALONE_NAME: &str = "alone";

/// A broker whose threads run.
struct Broker {
    tls: Arc<TlsStore>,
    cluster: Cluster,
    workers: Workers,
    /// Where the policy comes from, if not from an operator.
    policy: Option<PolicyFiles>,
    /// Acceptors, the admin API and the watch over TLS files.
    tasks: JoinSet<()>,
}

async fn serve(loaded: LoadedConfig, name: &str, version: &'static str) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(|source| StartError::Signals { source })?;
    let pid_file = loaded.config.pid_file.clone();
    let mut broker = start(loaded, name, version).await?;
    // Until the end.
    let _pid_file = pid_file.and_then(PidFile::write);
    let result = loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Reload => reload(&broker).await,
                Request::Stop => break Ok(()),
            },
            reason = broker.cluster.meta.failure() => break Err(RunError::Consensus { reason }),
            reason = broker.cluster.meta.messages().failure() => {
                break Err(RunError::MessageLost { reason });
            }
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

async fn reload(broker: &Broker) {
    broker.tls.reload(true);
    if let Some(policy) = &broker.policy {
        policy.reload(&broker.cluster.meta).await;
    }
}

async fn start(
    loaded: LoadedConfig,
    name: &str,
    version: &'static str,
) -> Result<Broker, StartError> {
    let started = Instant::now();
    let clock = Clock::start();
    let budget = memory::budget(loaded.config.limits.memory_bytes_max);
    let config = Arc::new(config::within(loaded.config, budget));
    // Before anything is touched: a file that is wrong ends the start at once.
    let policy = PolicyFiles::of(&config);
    let records = policy.as_ref().map(PolicyFiles::read).transpose();
    let records = records.map_err(|faults| StartError::Alone { source: faults.into() })?;
    let files = tls_files(&config, name)?;
    let (directory, identity) = open(&config, name)?;
    let facts = Facts { version, identity, config_digest: loaded.digest };
    facts.announce(name, &config);
    let watch = Watch::new(&config, budget);
    let tls = Arc::new(TlsStore::load(files).map_err(|source| StartError::Tls { source })?);
    let listeners = bind(&config)?;
    let counters: Vec<_> = listeners.iter().map(BoundListener::published).collect();
    let accepted = counters.iter().map(|(_, counters)| Arc::clone(counters)).collect();

    let (hub_sender, hub_queue) = mpsc::channel(HUB_QUEUE_MESSAGES_MAX);
    let (handles, inboxes) = workers::queues(config::workers(&config));
    let (gate_handle, gate) = GateHandle::closed("the broker is starting");
    let cluster = cluster_thread::start(ClusterParts {
        config: Arc::clone(&config),
        identity: facts.identity.clone(),
        version,
        directory,
        tls: Arc::clone(&tls),
        clock,
        workers: Arc::clone(&handles),
        hub_queue,
        gate: gate_handle,
    })
    .await?;
    let mut shared = workers::shared(&config, clock, &tls, &cluster.meta, hub_sender, &handles)?;
    shared.engine.node = facts.identity.node_id;
    let sys_tree = sys::place(&config, &mut shared);
    let workers = Workers::start(shared, handles, inboxes)?;
    let mut broker = Broker { tls, cluster, workers, policy, tasks: JoinSet::new() };
    let parts = admin::parts(&broker, facts, counters, gate.clone(), &watch);
    watch.counters.set_damaged_set_aside(count_set_aside(&config.data_dir));
    let admin = admin::start(&mut broker, &config, parts).await?;
    if let Some(records) = records {
        let Cluster { meta, hub, .. } = &broker.cluster;
        if let Err(source) = alone::start(meta, hub, &records).await {
            stop::stop(broker).await;
            return Err(StartError::Alone { source });
        }
    }
    broker.tasks.spawn(crate::tls::watch(Arc::clone(&broker.tls)));
    watch.start(&mut broker);
    if config.cluster.is_some() {
        let Cluster { totals, links, .. } = &broker.cluster;
        broker.tasks.spawn(crate::totals::run(totals.clone(), links.clone()));
    }
    sys::start(&mut broker, &config, sys_tree, (version, started), accepted);
    accept_clients(&mut broker, listeners, &watch, &gate);
    tracing::info!(
        admin = admin.api.map(tracing::field::display),
        metrics = admin.metrics.map(tracing::field::display),
        peers = broker.cluster.peer_address.map(tracing::field::display),
        workers = broker.workers.count(),
        milliseconds = started.elapsed().as_millis() as u64,
        "started"
    );
    Ok(broker)
}

/// What is told of this broker.
struct Facts {
    version: &'static str,
    identity: Identity,
    config_digest: String,
}

impl Facts {
    fn announce(&self, name: &str, config: &Config) {
        tracing::info!(
            version = self.version,
            name,
            node_id = %self.identity.node_id,
            cluster_id = self.identity.cluster_id,
            cluster = config.cluster.as_ref().map(|cluster| cluster.name.as_str()),
            "starting"
        );
    }
}

fn accept_clients(broker: &mut Broker, listeners: Vec<BoundListener>, watch: &Watch, gate: &Gate) {
    for listener in listeners {
        let admission = Arc::clone(&watch.admission);
        let run = listener::run(listener, broker.workers.handles(), admission, gate.clone());
        broker.tasks.spawn(run);
    }
}

/// What is watched over of the whole process: connections, open files, memory.
struct Watch {
    admission: Arc<Admission>,
    counters: Arc<MemoryCounters>,
    /// What the process may use of memory, in bytes; `None`: nobody knows.
    budget: Option<u64>,
}

impl Watch {
    fn new(config: &Config, budget: Option<u64>) -> Self {
        let counters = Arc::<MemoryCounters>::default();
        let open_files = limits::raise_open_files(config);
        counters.set_open_files(open_files.unwrap_or(0));
        let admission = Admission::new(limits::admission(config, open_files));
        Self { admission, counters, budget }
    }

    fn start(&self, broker: &mut Broker) {
        let Some(budget) = self.budget else {
            return tracing::warn!(
                "neither the system nor limits.memory_bytes_max says how much memory there is: it \
                 is not watched over"
            );
        };
        let (admission, counters) = (Arc::clone(&self.admission), Arc::clone(&self.counters));
        let (workers, meta) = (broker.workers.handles(), &broker.cluster.meta);
        let spill = Arc::clone(meta.messages().stats());
        let kept = memory::Kept { retained: meta.retained(), sessions: meta.sessions(), spill };
        broker.tasks.spawn(memory::watch(budget, workers, kept, admission, counters));
    }
}

/// The data directory, and who it is.
fn open(config: &Config, name: &str) -> Result<(DataDirectory, Identity), StartError> {
    let directory = DataDirectory::open(&config.data_dir)
        .map_err(|source| StartError::DataDirectory { source })?;
    let identity = match &config.cluster {
        Some(cluster) => Identity::open(&directory, &cluster.id, name)
            .map_err(|source| StartError::Identity { source })?,
        None => mend::open(&directory, name)?,
    };
    Ok((directory, identity))
}

fn tls_files(config: &Config, name: &str) -> Result<TlsFiles, StartError> {
    let cluster = config.cluster.as_ref().map(|cluster| &cluster.tls);
    let own = (0u8..).zip(&config.listeners);
    let own = own.filter_map(|(number, listener)| Some((number, listener.tls.clone()?)));
    TlsFiles::new(config.tls.as_ref(), cluster, name)
        .map(|files| files.with_own(own))
        .ok_or_else(|| StartError::NoOrdinal { name: name.to_owned() })
}

fn bind(config: &Config) -> Result<Vec<BoundListener>, StartError> {
    (0u8..)
        .zip(&config.listeners)
        .map(|(id, listener)| BoundListener::bind(ListenerId(id), listener.clone()))
        .collect::<Result<_, _>>()
        .map_err(|source| StartError::Listener { source })
}
