//! What the peer links are told, what they tell, and who serves them. Types only.

use std::net::SocketAddr;
use std::time::Duration;

use broker_core::types::NodeId;
use bytes::Bytes;

use super::discovery::Discovery;
use super::frame::FRAME_BODY_BYTES_MAX;
use super::replier::Replier;
use super::version::Speaks;

/// Who this node is to its peers, and how it reaches them.
#[derive(Debug, Clone)]
pub struct LinksConfig {
    /// This node.
    pub node_id: NodeId,
    /// This broker's name, which its peer certificate carries as common name.
    pub name: String,
    /// The cluster's identity; a peer of another is refused.
    pub cluster_id: String,
    /// What this broker speaks; the default is all that it can.
    pub speaks: Speaks,
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
    /// The node has dialled here, perhaps again: its requests may come. What an older link of it
    /// left half said is not said on.
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
    /// The node that it says it is.
    pub node_id: Option<NodeId>,
    /// The name that it gives itself.
    pub name: Option<String>,
    /// Why, as the metric names it.
    pub kind: RefusalKind,
    /// Why, in words.
    pub reason: String,
}

/// Why a peer is refused, as the metric `peer_refusals_total` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalKind {
    /// Its certificate, or this broker's in its eyes.
    Certificate,
    /// It begins with something else than a HELLO.
    Hello,
    /// It is of another cluster.
    Cluster,
    /// Its name is not that of its certificate.
    Name,
    /// Its node id is another broker's.
    NodeId,
    /// It speaks no version that this broker speaks.
    Version,
    /// It can't read what the cluster writes.
    FeatureLevel,
    /// A frame is too long, or of another version than the link.
    Frame,
    /// It is the one that refuses this broker.
    TurnedAway,
}

impl RefusalKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Certificate,
        Self::Hello,
        Self::Cluster,
        Self::Name,
        Self::NodeId,
        Self::Version,
        Self::FeatureLevel,
        Self::Frame,
        Self::TurnedAway,
    ];

    /// The metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Hello => "hello",
            Self::Cluster => "cluster",
            Self::Name => "name",
            Self::NodeId => "node_id",
            Self::Version => "version",
            Self::FeatureLevel => "feature_level",
            Self::Frame => "frame",
            Self::TurnedAway => "turned_away",
        }
    }
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
    /// Version of the link.
    pub version: u16,
}

/// The links as the status report and the metrics show them.
#[derive(Debug, Clone, Default)]
pub struct LinksStatus {
    /// Nodes with a link dialled from here.
    pub live: Vec<LiveNode>,
    /// Nodes with a link accepted here.
    pub accepted: Vec<NodeId>,
    /// The last refusals, newest last; one that repeats stands once.
    pub refusals: Vec<Refusal>,
    /// How often each kind was met, since the start, in the order of [`RefusalKind::ALL`].
    pub refused: [u64; RefusalKind::ALL.len()],
    /// Names, or watches, that the last round of discovery got nothing from.
    pub discovery_problems: u64,
    /// Droppable frames that were dropped because a peer read too slowly, since the start.
    pub frames_dropped: u64,
    /// Links closed because a peer read too slowly, since the start.
    pub links_overloaded: u64,
}
