//! One broker: its disk, and the processes that run on it one after the other.

use std::sync::Arc;
use std::time::Duration;

use broker::cluster::meta::{
    COMMAND_BYTES_MAX, MetaConfig, MetaGroup, MetaParts, MetaRole, MetaTiming,
};
use broker::hub::{Hub, HubParts};
use broker::node::{
    Gate, GateHandle, HUB_QUEUE_MESSAGES_MAX, ToHub, WORKER_QUEUE_MESSAGES_MAX, WorkerHandle,
    WorkerId,
};
use broker_config::Config;
use broker_core::cluster_state::{FEATURE_LEVEL_MAX, RetainedLimits};
use broker_core::shard::SessionLimits;
use broker_core::stored::InMemory;
use broker_core::types::NodeId;
use tokio::sync::mpsc;

use crate::cluster::Cluster;
use crate::count::Count;
use crate::disk::Disk;
use crate::environment::{SimClock, Simulated, elapsed, sleep, spawn};
use crate::event::Event;
use crate::life::Life;
use crate::random::Random;
use crate::worker::{self, FromClient, WorkerParts};

/// Workers of a broker.
pub(crate) const WORKERS: u8 = 2;

/// Bytes of clients, in pieces, that wait for a worker.
const CLIENT_QUEUE_MAX: usize = 4096;

/// How often a node's own state is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// What the hub reads of it.
const CONFIGURATION: &str = "data_dir = '/simulated'\n[policy]\n[[listeners]]\nname = 'a'\n\
     protocol = 'mqtt'\nport = 1\nacknowledge_plaintext = true\n";

/// A broker's place in the cluster: what stays when its process ends.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) disk: Disk,
    pub(crate) clock: SimClock,
    pub(crate) random: Random,
    pub(crate) node: Option<Arc<Node>>,
    /// When the next process starts, where none runs.
    pub(crate) starts_at: Duration,
    /// Whether its first disk was lost.
    pub(crate) is_replaced: bool,
}

/// A running process of a broker.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) life: Life,
    pub(crate) disk: Disk,
    pub(crate) meta: MetaGroup<Simulated>,
    pub(crate) hub: Hub<Simulated>,
    pub(crate) gate: Gate,
    /// Where clients' bytes go, by worker.
    pub(crate) workers: Vec<mpsc::Sender<FromClient>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Place {
    /// An empty disk, a new node id, a clock that is off by up to five seconds.
    pub(crate) fn new(number: usize, mut random: Random) -> Self {
        Self {
            name: format!("sim-{number}"),
            id: NodeId(random.number()),
            disk: Disk::new(Random::new(random.number(), "disk")),
            clock: SimClock { ahead: random.below(5000) },
            random,
            node: None,
            starts_at: Duration::ZERO,
            is_replaced: false,
        }
    }

    /// The disk is lost: the next process begins with an empty one, as another node.
    pub(crate) fn lose_disk(&mut self) {
        self.disk = Disk::new(Random::new(self.random.number(), "disk"));
        self.id = NodeId(self.random.number());
        self.is_replaced = true;
    }
}

/// Starts the broker of a place.
pub(crate) async fn start(cluster: &Cluster, place: usize) {
    let life = Life::default();
    let (name, id, disk, clock, mut random) = cluster.place(place, |place| {
        let random = Random::new(place.random.number(), "process");
        (place.name.clone(), place.id, place.disk.clone(), place.clock, random)
    });
    let links = cluster.network.join(id, &name, &life);
    let (writer, recovered, snapshots, start) = disk.open();
    cluster.history.note(Event::Started { node: id, start });
    if start == 1 && cluster.place(place, |place| place.is_replaced) {
        cluster.history.count(Count::StartedEmpty);
    }
    let seed = random.number();
    let messages = InMemory;
    let parts = MetaParts {
        links: links.clone(),
        writer,
        recovered,
        snapshots,
        messages,
        clock,
        start,
        seed,
    };
    let meta = match MetaGroup::start_with(meta_config(&mut random), parts).await {
        Ok(meta) => meta,
        Err(error) => return cluster.history.violate(format!("{id} does not start: {error}")),
    };
    let (to_hub, queue) = mpsc::channel(HUB_QUEUE_MESSAGES_MAX);
    let (gate_handle, gate) = GateHandle::closed("the broker starts");
    let process = (id, &life, clock);
    let (handles, workers) = start_workers(cluster, process, &meta, &to_hub, &mut random);
    let Ok(config) = Config::parse(CONFIGURATION) else {
        return cluster.history.violate("the hub's configuration can't be read".to_owned());
    };
    let hub = Hub::start(HubParts {
        config: Arc::new(config),
        links,
        meta: meta.clone(),
        clock,
        workers: handles,
        queue,
        gate: gate_handle,
    });
    let node = Arc::new(Node { id, name, life, disk, meta, hub, gate, workers });
    cluster.place(place, |place| place.node = Some(Arc::clone(&node)));
    cluster.network.open(id);
    spawn(watch(cluster.clone(), place, node));
}

/// The workers of a process, and where the bytes of their clients go.
fn start_workers(
    cluster: &Cluster,
    (node, life, clock): (NodeId, &Life, SimClock),
    meta: &MetaGroup<Simulated>,
    hub: &mpsc::Sender<ToHub>,
    random: &mut Random,
) -> (Arc<[WorkerHandle]>, Vec<mpsc::Sender<FromClient>>) {
    let (handles, inboxes): (Vec<_>, Vec<_>) = (0..WORKERS)
        .map(|number| {
            let (inbox, queue) = mpsc::channel(WORKER_QUEUE_MESSAGES_MAX);
            (WorkerHandle { id: WorkerId(number), inbox, counters: Arc::default() }, queue)
        })
        .unzip();
    let handles: Arc<[WorkerHandle]> = handles.into();
    let policy = meta.policy().borrow().policy.clone();
    let mut workers = Vec::new();
    for (handle, inbox) in handles.iter().zip(inboxes) {
        let (sender, clients) = mpsc::channel(CLIENT_QUEUE_MAX);
        workers.push(sender);
        worker::start(WorkerParts {
            node,
            worker: handle.id,
            life: life.clone(),
            clock,
            random: Random::new(random.number(), "worker"),
            history: cluster.history.clone(),
            policy: Arc::clone(&policy),
            retained: meta.retained(),
            sessions: meta.sessions(),
            hub: hub.clone(),
            workers: Arc::clone(&handles),
            inbox,
            clients,
        });
    }
    (handles, workers)
}

fn meta_config(random: &mut Random) -> MetaConfig {
    let timing = MetaTiming {
        // Few, so that nodes that were away need a snapshot.
        snapshot_entries: 20 + random.below(100),
        kept_entries: random.below(20),
        ..MetaTiming::default()
    };
    MetaConfig {
        cluster_id: "simulated".to_owned(),
        retained_limits: RetainedLimits::default(),
        session_limits: SessionLimits::default(),
        cache_bytes_max: u64::MAX,
        feature_level_max: FEATURE_LEVEL_MAX,
        command_bytes_max: COMMAND_BYTES_MAX,
        is_view_followed: true,
        timing,
    }
}

/// Ends the process in a place without a word: what it had not synced is lost.
/// It starts again after `pause`.
pub(crate) fn crash(
    cluster: &Cluster,
    place: usize,
    are_peers_told: bool,
    why: &'static str,
    pause: Duration,
) {
    let node = cluster.place(place, |place| {
        place.starts_at = elapsed() + pause;
        place.node.take()
    });
    let Some(node) = node else { return };
    node.life.end();
    node.disk.crash();
    cluster.network.leave(node.id, are_peers_told);
    cluster.history.note(Event::Ended { node: node.id, why });
    // What is left of it winds down; nothing of that gets out.
    spawn(async move { node.meta.abandon().await });
}

/// Notes when the node leads, and ends it when its consensus has stopped.
async fn watch(cluster: Cluster, place: usize, node: Arc<Node>) {
    let mut last_term = 0;
    while !node.life.is_over() {
        let status = node.meta.status();
        if status.role == MetaRole::Leader && status.term != last_term {
            last_term = status.term;
            cluster.history.note(Event::Leads { node: node.id, term: status.term });
        }
        if status.failure.is_some() {
            // By then its disk has been seen to.
            cluster.history.count(Count::ConsensusStopped);
            crash(&cluster, place, true, "its consensus has stopped", Duration::from_secs(1));
            return;
        }
        sleep(LOOK).await;
    }
}

/// Starts what has ended, as a service manager does.
pub(crate) async fn keep_running(cluster: Cluster) {
    loop {
        for place in 0..cluster.size() {
            let is_due = |place: &mut Place| place.node.is_none() && place.starts_at <= elapsed();
            if cluster.place(place, is_due) {
                start(&cluster, place).await;
            }
        }
        sleep(LOOK).await;
    }
}
