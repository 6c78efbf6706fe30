//! One node of a test cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use broker::cluster::meta::{COMMAND_BYTES_MAX, MetaConfig, MetaGroup, MetaStatus, MetaTiming};
use broker::cluster::{Discovery, LinkTiming, Links, LinksConfig, NodeId, Speaks};
use broker::identity::Identity;
use broker::node::Clock;
use broker::storage::DataDirectory;
use broker::tls::PeerTls;
use broker_core::cluster_state::RetainedLimits;
use broker_core::shard::SessionLimits;

use crate::certificates::PeerCa;

pub(crate) const CLUSTER_ID: &str = "01KTEST";

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Addresses, disks and certificates of a cluster whose nodes come and go.
pub(crate) struct Cluster {
    pub(crate) ca: PeerCa,
    pub(crate) addresses: Vec<SocketAddr>,
    disks: tempfile::TempDir,
    timing: MetaTiming,
}

impl Cluster {
    pub(crate) fn new(size: usize) -> Self {
        Self::with_timing(size, MetaTiming::default())
    }

    pub(crate) fn with_timing(size: usize, timing: MetaTiming) -> Self {
        // Reserved by binding all at once, then released for the nodes.
        let held: Vec<_> =
            (0..size).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = held.iter().map(|listener| listener.local_addr().unwrap()).collect();
        Self { ca: PeerCa::new(), addresses, disks: tempfile::tempdir().unwrap(), timing }
    }

    pub(crate) fn path(&self, ordinal: usize) -> PathBuf {
        self.disks.path().join(format!("fleet-{ordinal}"))
    }

    pub(crate) fn discovery(&self) -> Discovery {
        Discovery::Static { peers: self.addresses.iter().map(ToString::to_string).collect() }
    }

    pub(crate) async fn start(&self, ordinal: usize) -> Node {
        let name = format!("fleet-{ordinal}");
        let tls = self.ca.tls(CLUSTER_ID, &name);
        self.start_as(ordinal, CLUSTER_ID, &name, tls).await
    }

    pub(crate) async fn start_as(
        &self,
        ordinal: usize,
        cluster_id: &str,
        name: &str,
        tls: PeerTls,
    ) -> Node {
        self.start_with(ordinal, cluster_id, name, tls, Speaks::default()).await
    }

    /// A node of another version, as far as its peers can tell.
    pub(crate) async fn start_speaking(&self, ordinal: usize, speaks: Speaks) -> Node {
        let name = format!("fleet-{ordinal}");
        let tls = self.ca.tls(CLUSTER_ID, &name);
        self.start_with(ordinal, CLUSTER_ID, &name, tls, speaks).await
    }

    async fn start_with(
        &self,
        ordinal: usize,
        cluster_id: &str,
        name: &str,
        tls: PeerTls,
        speaks: Speaks,
    ) -> Node {
        let listener = bind(self.addresses[ordinal]).await;
        let config = LinksConfig {
            node_id: NodeId(0),
            name: name.to_owned(),
            cluster_id: cluster_id.to_owned(),
            speaks,
            discovery: self.discovery(),
            timing: LinkTiming {
                backoff_min: Duration::from_millis(20),
                backoff_max: Duration::from_millis(200),
                ..LinkTiming::default()
            },
        };
        Node::start(&self.path(ordinal), listener, config, self.timing, tls).await
    }
}

/// The port may be held for a moment yet by the node before.
async fn bind(address: SocketAddr) -> tokio::net::TcpListener {
    let started = Instant::now();
    loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if started.elapsed() > DEADLINE => panic!("bind {address}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A running node. Dropped without `stop`, it ends as if its process had been killed, save for
/// what the log's writer still has queued.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) links: Links,
    pub(crate) meta: MetaGroup,
    _directory: Arc<DataDirectory>,
}

impl Node {
    async fn start(
        path: &Path,
        listener: tokio::net::TcpListener,
        mut config: LinksConfig,
        timing: MetaTiming,
        tls: PeerTls,
    ) -> Self {
        let directory = DataDirectory::open(path).unwrap();
        let identity = Identity::open(&directory, &config.cluster_id, &config.name).unwrap();
        config.node_id = identity.node_id;
        let meta_config = MetaConfig {
            cluster_id: config.cluster_id.clone(),
            retained_limits: RetainedLimits::default(),
            session_limits: SessionLimits::default(),
            cache_bytes_max: 1 << 20,
            feature_level_max: config.speaks.feature_level_max,
            command_bytes_max: COMMAND_BYTES_MAX,
            is_view_followed: true,
            timing,
        };
        let links = Links::new(config, Arc::new(ArcSwap::from_pointee(tls)));
        let meta =
            MetaGroup::start(meta_config, links.clone(), &directory, Clock::start()).await.unwrap();
        links.start(listener);
        Self { id: identity.node_id, links, meta, _directory: Arc::new(directory) }
    }

    /// Leaves in good order.
    pub(crate) async fn stop(self) {
        self.meta.shutdown().await;
        self.links.stop();
    }

    /// Vanishes without a word to the others.
    pub(crate) async fn kill(self) {
        self.links.stop();
        self.meta.abandon().await;
    }

    pub(crate) async fn wait_for(&self, what: &str, is_met: impl Fn(&MetaStatus) -> bool) {
        if !self.meta.wait_for(DEADLINE, is_met).await {
            panic!("{}: not in time: {what}; status {:?}", self.links.name(), self.meta.status());
        }
    }

    pub(crate) async fn wait_linked(&self, others: &[&Node]) {
        for other in others {
            eventually("link", || self.links.is_live(other.id)).await;
        }
    }
}

/// Polls until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
