//! The registry of peer links and what the rest of the broker may do with them.
//!
//! A node dials every peer it discovers and sends its requests on the link that it dialled; it
//! serves requests on the links that it accepted. So two nodes share two connections, and an
//! answer travels on the connection of its request.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use broker_core::cluster_state::FEATURE_LEVEL_FIRST;
use broker_core::types::NodeId;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::connection::{Connection, Handlers, LinkEnd, Peer};
use super::discovery::Discovery;
use super::hello::Expected;
use super::link_types::{
    LinkError, LinkEvent, LinksConfig, LinksStatus, LiveNode, PeerHandler, Refusal, RefusalKind,
};
use super::refusals::Refusals;
use super::{accept, dial};
use crate::sync::lock;
use crate::tls::PeerTls;

/// Most connections accepted from one node at a time (an old one may be dying yet).
const ACCEPTED_PER_NODE_MAX: usize = 4;

/// Counters of all links together.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames_dropped: AtomicU64,
    pub(super) links_overloaded: AtomicU64,
}

pub(super) struct Shared {
    pub(super) config: LinksConfig,
    /// `None`: this node stands alone; nothing is dialled or accepted.
    pub(super) tls: Option<Arc<ArcSwap<PeerTls>>>,
    pub(super) counters: Arc<Counters>,
    pub(super) discovery: Mutex<Discovery>,
    pub(super) discovery_changed: Notify,
    /// What the last round of discovery could not look at.
    pub(super) discovery_problems: AtomicU64,
    pub(super) stop: watch::Sender<bool>,
    handlers: Mutex<Handlers>,
    registry: Mutex<Registry>,
    refusals: Mutex<Refusals>,
    /// The cluster's feature level, as far as this node knows.
    feature_level: AtomicU16,
    /// Members of the cluster, by name.
    members: Mutex<BTreeMap<NodeId, String>>,
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
        Self::prepared(config, Some(tls))
    }

    /// The links of a node that stands alone: there are none, ever.
    #[must_use]
    pub fn alone(config: LinksConfig) -> Self {
        Self::prepared(config, None)
    }

    fn prepared(config: LinksConfig, tls: Option<Arc<ArcSwap<PeerTls>>>) -> Self {
        let shared = Shared {
            discovery: Mutex::new(config.discovery.clone()),
            config,
            tls,
            counters: Arc::default(),
            discovery_changed: Notify::new(),
            discovery_problems: AtomicU64::new(0),
            stop: watch::Sender::new(false),
            handlers: Mutex::default(),
            registry: Mutex::default(),
            refusals: Mutex::default(),
            feature_level: AtomicU16::new(FEATURE_LEVEL_FIRST),
            members: Mutex::default(),
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

    /// Whether requests can be made to `node` now.
    #[must_use]
    pub fn is_live(&self, node: NodeId) -> bool {
        lock(&self.shared.registry).dialled.contains_key(&node)
    }

    /// The nodes to which requests can be made now.
    #[must_use]
    pub fn live(&self) -> Vec<NodeId> {
        lock(&self.shared.registry).dialled.keys().copied().collect()
    }

    /// The nodes that can make requests here now.
    #[must_use]
    pub fn accepted(&self) -> Vec<NodeId> {
        lock(&self.shared.registry).accepted.keys().copied().collect()
    }

    /// Highest feature level that a node knows to which requests can be made now, by its own word.
    #[must_use]
    pub fn feature_level_max(&self, node: NodeId) -> Option<u16> {
        let registry = lock(&self.shared.registry);
        registry.dialled.get(&node).map(|connection| connection.peer().feature_level_max)
    }

    /// Tells the cluster's feature level: peers that do not know it are refused from now on, and
    /// links with such peers closed.
    pub fn set_feature_level(&self, level: u16) {
        self.shared.feature_level.store(level, Ordering::Relaxed);
        let registry = lock(&self.shared.registry);
        for connection in registry.dialled.values().chain(registry.accepted.values().flatten()) {
            if connection.peer().feature_level_max < level {
                connection.close();
            }
        }
    }

    /// Tells who the members are: a peer that has the node id of another one is refused.
    pub fn set_members(&self, members: BTreeMap<NodeId, String>) {
        *lock(&self.shared.members) = members;
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
        let refusals = lock(&self.shared.refusals);
        let live = registry.dialled.values().map(|connection| LiveNode {
            node: connection.peer().node,
            name: connection.peer().name.clone(),
            address: connection.peer().address,
            version: connection.peer().version,
        });
        LinksStatus {
            live: live.collect(),
            accepted: registry.accepted.keys().copied().collect(),
            refusals: refusals.kept(),
            refused: refusals.counts(),
            discovery_problems: self.shared.discovery_problems.load(Ordering::Relaxed),
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

    /// What a peer that says that it is `node` is held against.
    pub(super) fn expected(&self, node: NodeId) -> Expected<'_> {
        let member = lock(&self.members).get(&node).cloned();
        let linked = || {
            let registry = lock(&self.registry);
            let accepted = registry.accepted.get(&node).and_then(|all| all.first());
            registry.dialled.get(&node).or(accepted).map(|link| link.peer().name.clone())
        };
        Expected {
            config: &self.config,
            feature_level: self.feature_level.load(Ordering::Relaxed),
            owner: member.or_else(linked),
        }
    }

    /// Keeps a refusal for the status report, and logs it when it is a new one.
    pub(super) fn refuse(&self, what: &str, refusal: Refusal) {
        let logged = refusal.clone();
        let Some(left_out) = lock(&self.refusals).note(Instant::now(), refusal) else { return };
        tracing::warn!(
            address = %logged.address,
            common_name = logged.common_name.as_deref().unwrap_or(""),
            node_id = logged.node_id.map(tracing::field::display),
            name = logged.name,
            cluster_id = logged.cluster_id.as_deref().unwrap_or(""),
            kind = logged.kind.as_str(),
            reason = logged.reason,
            lines_left_out = left_out,
            "{what}"
        );
    }

    /// Tells of the end of a link; one that a peer broke is a refusal.
    pub(super) fn ended(&self, peer: &Peer, end: LinkEnd) -> &'static str {
        match end {
            LinkEnd::Closed(reason) => reason,
            LinkEnd::BadFrame(error) => {
                let refusal = Refusal {
                    address: peer.address,
                    common_name: Some(peer.name.clone()),
                    cluster_id: Some(self.config.cluster_id.clone()),
                    node_id: Some(peer.node),
                    name: Some(peer.name.clone()),
                    kind: RefusalKind::Frame,
                    reason: error.to_string(),
                };
                self.refuse("closed the link with a peer", refusal);
                "bad frame"
            }
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
        {
            let mut registry = lock(&self.registry);
            let connections = registry.accepted.entry(peer.node).or_default();
            connections.push(Arc::clone(connection));
            if connections.len() > ACCEPTED_PER_NODE_MAX {
                connections[0].close();
            }
        }
        self.tell(&LinkEvent::Accepted { node: peer.node, name: peer.name.clone() });
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

    fn tell(&self, event: &LinkEvent) {
        let handlers: Vec<_> =
            lock(&self.handlers).iter().map(|(_, handler)| Arc::clone(handler)).collect();
        for handler in handlers {
            handler.link_event(event);
        }
    }
}
