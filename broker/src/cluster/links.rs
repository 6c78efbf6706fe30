//! The registry of peer links and what the rest of the broker may do with them.
//!
//! A node dials every peer it discovers and sends its requests on the link that it dialled; it
//! serves requests on the links that it accepted. So two nodes share two connections, and an
//! answer travels on the connection of its request.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_core::types::NodeId;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::connection::{Connection, Handlers, Replier};
use super::discovery::Discovery;
use super::frame::FRAME_BODY_BYTES_MAX;
use super::peer_tls::PeerTls;
use super::sync::lock;
use super::{accept, dial};

/// Refusals kept for the status report, newest last.
const REFUSALS_KEPT: usize = 16;

/// Most connections accepted from one node at a time (an old one may be dying yet).
const ACCEPTED_PER_NODE_MAX: usize = 4;

/// Who this node is to its peers, and how it reaches them.
#[derive(Debug, Clone)]
pub struct LinksConfig {
    /// This node.
    pub node_id: NodeId,
    /// This broker's name, which its peer certificate carries as common name.
    pub name: String,
    /// The cluster's identity; a peer of another is refused.
    pub cluster_id: String,
    /// Where peers may be found.
    pub discovery: Discovery,
    /// Intervals; the default is the production setting.
    pub timing: LinkTiming,
}

/// Intervals of the links.
#[derive(Debug, Clone, Copy)]
pub struct LinkTiming {
    /// Between two PINGs on a dialled link.
    pub ping_interval: Duration,
    /// Ping intervals in a row without a byte received after which a link counts as dead.
    pub silent_intervals_max: u32,
    /// From the connect to the end of the handshake.
    pub handshake_timeout: Duration,
    /// First wait before a dial is tried again; doubles up to `backoff_max`, with jitter.
    pub backoff_min: Duration,
    /// Longest wait before a dial is tried again.
    pub backoff_max: Duration,
    /// Between two rounds of discovery.
    pub discovery_interval: Duration,
}

impl Default for LinkTiming {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_millis(500),
            silent_intervals_max: 4,
            handshake_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(3),
            discovery_interval: Duration::from_secs(2),
        }
    }
}

/// Why a frame did not reach a peer, or its answer did not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no link to this node now.
    #[error("no link to node {node}")]
    NoLink {
        /// The node.
        node: NodeId,
    },
    /// The link closed before the answer came; the request may have been served.
    #[error("link to node {node} closed")]
    Closed {
        /// The node.
        node: NodeId,
    },
    /// The peer answered that it can't serve this.
    #[error("node {node} refused: {reason}")]
    Refused {
        /// The node.
        node: NodeId,
        /// What it said.
        reason: String,
    },
    /// The link has as many unanswered requests, or as many unsent bytes, as it may.
    #[error("link to node {node} is overloaded")]
    Overloaded {
        /// The node.
        node: NodeId,
    },
    /// The body is longer than a frame's may be.
    #[error("frame body of {bytes} bytes is longer than {FRAME_BODY_BYTES_MAX}")]
    TooLong {
        /// The body's length.
        bytes: usize,
    },
}

/// What happened to a link. Events of one node come in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link that this node dialled is up: requests to the node can be made.
    Up {
        /// The node.
        node: NodeId,
        /// Its broker's name.
        name: String,
    },
    /// The link that this node dialled is gone; all its requests failed.
    Down {
        /// The node.
        node: NodeId,
        /// Its broker's name.
        name: String,
    },
    /// The node has dialled here (its first such link): its requests may come.
    Accepted {
        /// The node.
        node: NodeId,
        /// Its broker's name.
        name: String,
    },
    /// The last link that the node dialled here is gone.
    AcceptedClosed {
        /// The node.
        node: NodeId,
        /// Its broker's name.
        name: String,
    },
}

/// Serves what peers send. Called on the cluster thread, between two reads of a link: must not
/// block and should be brief; what takes longer goes to a task that holds the [`Replier`].
pub trait PeerHandler: Send + Sync + 'static {
    /// A frame of a kind that this handler serves. `replier` of a one-way frame does nothing.
    /// Frames of one link come in the order in which the peer sent them.
    fn peer_frame(&self, from: NodeId, kind: u8, body: Bytes, replier: Replier);

    /// A link came or went.
    fn link_event(&self, event: &LinkEvent);
}

/// A peer that was turned away, or that turned this node away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its address.
    pub address: SocketAddr,
    /// Common name of its certificate, where one was seen.
    pub common_name: Option<String>,
    /// The cluster it says, or its certificate says, that it is of.
    pub cluster_id: Option<String>,
    /// Why.
    pub reason: String,
}

/// A node to which requests can be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveNode {
    /// The node.
    pub node: NodeId,
    /// Its broker's name.
    pub name: String,
    /// Where it was dialled.
    pub address: SocketAddr,
}

/// The links as the status report and the metrics show them.
#[derive(Debug, Clone, Default)]
pub struct LinksStatus {
    /// Nodes with a link dialled from here.
    pub live: Vec<LiveNode>,
    /// Nodes with a link accepted here.
    pub accepted: Vec<NodeId>,
    /// The last refusals, newest last.
    pub refusals: Vec<Refusal>,
    /// Droppable frames that were dropped because a peer read too slowly, since the start.
    pub frames_dropped: u64,
    /// Links closed because a peer read too slowly, since the start.
    pub links_overloaded: u64,
}

/// Counters of all links together.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames_dropped: AtomicU64,
    pub(super) links_overloaded: AtomicU64,
}

pub(super) struct Shared {
    pub(super) config: LinksConfig,
    pub(super) tls: Arc<ArcSwap<PeerTls>>,
    pub(super) counters: Arc<Counters>,
    pub(super) discovery: Mutex<Discovery>,
    pub(super) discovery_changed: Notify,
    pub(super) stop: watch::Sender<bool>,
    handlers: Mutex<Handlers>,
    registry: Mutex<Registry>,
    refusals: Mutex<VecDeque<Refusal>>,
}

#[derive(Default)]
struct Registry {
    dialled: BTreeMap<NodeId, Arc<Connection>>,
    accepted: BTreeMap<NodeId, Vec<Arc<Connection>>>,
}

/// All peer links of this node. Cheap to clone; dropping it stops nothing, [`Links::stop`] does.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

impl Links {
    /// Prepares the links; nothing is dialled or accepted before [`Links::start`].
    /// `tls` is read at each new connection, so storing into it is how certificates change.
    #[must_use]
    pub fn new(config: LinksConfig, tls: Arc<ArcSwap<PeerTls>>) -> Self {
        let shared = Shared {
            discovery: Mutex::new(config.discovery.clone()),
            config,
            tls,
            counters: Arc::default(),
            discovery_changed: Notify::new(),
            stop: watch::Sender::new(false),
            handlers: Mutex::default(),
            registry: Mutex::default(),
            refusals: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Has `handler` serve the frames of `kinds`, and hear of links. Call before [`Links::start`].
    pub fn serve(&self, kinds: RangeInclusive<u8>, handler: Arc<dyn PeerHandler>) {
        lock(&self.shared.handlers).push((kinds, handler));
    }

    /// Starts accepting on `listener` (already bound) and dialling. Runs on the current runtime.
    pub fn start(&self, listener: tokio::net::TcpListener) {
        tokio::spawn(accept::run(Arc::clone(&self.shared), listener));
        tokio::spawn(dial::run(Arc::clone(&self.shared)));
    }

    /// Closes every link and stops accepting and dialling. Waiting requests fail.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
        let registry = lock(&self.shared.registry);
        for connection in registry.dialled.values().chain(registry.accepted.values().flatten()) {
            connection.close();
        }
    }

    /// Replaces where peers are looked for; links that stand are kept.
    pub fn set_discovery(&self, discovery: Discovery) {
        *lock(&self.shared.discovery) = discovery;
        self.shared.discovery_changed.notify_one();
    }

    /// Asks `node` and waits for its answer. The frame is queued at once, so requests made one
    /// after another arrive in that order, awaited or not. Waits as long as the link lives: bound
    /// it with a timeout. Dropping the future gives the answer up.
    pub fn request(
        &self,
        node: NodeId,
        kind: u8,
        body: &[u8],
    ) -> impl Future<Output = Result<Bytes, LinkError>> + Send + use<> {
        let call = self.link(node).and_then(|connection| connection.call(kind, body));
        async move { call?.await }
    }

    /// Sends one way. `Ok` means queued, not received.
    ///
    /// # Errors
    /// `NoLink`, `Closed`, `TooLong`; `Overloaded` when the peer reads so slowly that the link had
    /// to be closed.
    pub fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        self.link(node)?.send(kind, body)
    }

    /// Sends one way what may be lost (QoS 0): dropped and counted while the peer reads too
    /// slowly. `Ok(false)` means dropped.
    ///
    /// # Errors
    /// `NoLink`, `Closed`, `TooLong`.
    pub fn send_droppable(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<bool, LinkError> {
        self.link(node)?.send_droppable(kind, body)
    }

    /// Nodes with a link dialled from here, in the order of their ids.
    #[must_use]
    pub fn live_nodes(&self) -> Vec<NodeId> {
        lock(&self.shared.registry).dialled.keys().copied().collect()
    }

    /// Whether requests can be made to `node` now.
    #[must_use]
    pub fn is_live(&self, node: NodeId) -> bool {
        lock(&self.shared.registry).dialled.contains_key(&node)
    }

    /// This node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.config.node_id
    }

    /// This broker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// The links for status report and metrics.
    #[must_use]
    pub fn status(&self) -> LinksStatus {
        let registry = lock(&self.shared.registry);
        let live = registry.dialled.values().map(|connection| LiveNode {
            node: connection.peer().node,
            name: connection.peer().name.clone(),
            address: connection.peer().address,
        });
        LinksStatus {
            live: live.collect(),
            accepted: registry.accepted.keys().copied().collect(),
            refusals: lock(&self.shared.refusals).iter().cloned().collect(),
            frames_dropped: self.shared.counters.frames_dropped.load(Ordering::Relaxed),
            links_overloaded: self.shared.counters.links_overloaded.load(Ordering::Relaxed),
        }
    }

    fn link(&self, node: NodeId) -> Result<Arc<Connection>, LinkError> {
        lock(&self.shared.registry).dialled.get(&node).cloned().ok_or(LinkError::NoLink { node })
    }
}

impl Shared {
    /// Who serves which kinds.
    pub(super) fn handlers(&self) -> Handlers {
        lock(&self.handlers).clone()
    }

    /// Keeps a refusal for the status report, and logs it when it is a new one.
    pub(super) fn refuse(&self, what: &str, refusal: Refusal) {
        let logged = refusal.clone();
        if self.note_refusal(refusal) {
            tracing::warn!(
                address = %logged.address,
                common_name = logged.common_name.as_deref().unwrap_or(""),
                cluster_id = logged.cluster_id.as_deref().unwrap_or(""),
                reason = logged.reason,
                "{what}"
            );
        }
    }

    /// Takes a dialled connection in; false when the node already has one that lives.
    pub(super) fn add_dialled(&self, connection: &Arc<Connection>) -> bool {
        let peer = connection.peer();
        {
            let mut registry = lock(&self.registry);
            if registry.dialled.contains_key(&peer.node) {
                return false;
            }
            registry.dialled.insert(peer.node, Arc::clone(connection));
        }
        self.tell(&LinkEvent::Up { node: peer.node, name: peer.name.clone() });
        true
    }

    /// Takes a dialled connection out again.
    pub(super) fn remove_dialled(&self, connection: &Arc<Connection>) {
        let peer = connection.peer();
        {
            let mut registry = lock(&self.registry);
            let is_ours =
                registry.dialled.get(&peer.node).is_some_and(|c| Arc::ptr_eq(c, connection));
            if !is_ours {
                return;
            }
            registry.dialled.remove(&peer.node);
        }
        self.tell(&LinkEvent::Down { node: peer.node, name: peer.name.clone() });
    }

    /// Takes an accepted connection in. The newest of a node is the one it uses, so the oldest
    /// beyond the limit is closed.
    pub(super) fn add_accepted(&self, connection: &Arc<Connection>) {
        let peer = connection.peer();
        let is_first = {
            let mut registry = lock(&self.registry);
            let connections = registry.accepted.entry(peer.node).or_default();
            connections.push(Arc::clone(connection));
            if connections.len() > ACCEPTED_PER_NODE_MAX {
                connections[0].close();
            }
            connections.len() == 1
        };
        if is_first {
            self.tell(&LinkEvent::Accepted { node: peer.node, name: peer.name.clone() });
        }
    }

    /// Takes an accepted connection out again.
    pub(super) fn remove_accepted(&self, connection: &Arc<Connection>) {
        let peer = connection.peer();
        let was_last = {
            let mut registry = lock(&self.registry);
            let Some(connections) = registry.accepted.get_mut(&peer.node) else { return };
            connections.retain(|c| !Arc::ptr_eq(c, connection));
            let was_last = connections.is_empty();
            if was_last {
                registry.accepted.remove(&peer.node);
            }
            was_last
        };
        if was_last {
            self.tell(&LinkEvent::AcceptedClosed { node: peer.node, name: peer.name.clone() });
        }
    }

    /// Keeps a refusal for the status report; true when it differs from the last one of its
    /// address, so that a peer that tries for ever fills no log.
    fn note_refusal(&self, refusal: Refusal) -> bool {
        let mut refusals = lock(&self.refusals);
        // A dialling peer has a new port each time.
        let same = |other: &Refusal| {
            other.address.ip() == refusal.address.ip()
                && other.common_name == refusal.common_name
                && other.cluster_id == refusal.cluster_id
                && other.reason == refusal.reason
        };
        if refusals.iter().any(same) {
            return false;
        }
        if refusals.len() == REFUSALS_KEPT {
            refusals.pop_front();
        }
        refusals.push_back(refusal);
        true
    }

    fn tell(&self, event: &LinkEvent) {
        let handlers: Vec<_> =
            lock(&self.handlers).iter().map(|(_, handler)| Arc::clone(handler)).collect();
        for handler in handlers {
            handler.link_event(event);
        }
    }
}
