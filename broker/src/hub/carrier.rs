//! How frames get to peers: by the links, or by whatever a test puts there.

use broker_core::types::NodeId;

use crate::cluster::PeerLinks;

/// Carries frames to peers. What one call after another hands over for the same node arrives in
/// that order, or the link breaks.
pub(super) trait Carrier: Send {
    /// Queues a frame; false when there is no way to the node.
    fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> bool;

    /// Queues a frame unless the node is behind.
    fn send_unless_behind(&self, node: NodeId, kind: u8, body: &[u8]) -> Carried;
}

/// What became of a frame that may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    Queued,
    /// The node reads too slowly.
    Behind,
    NoLink,
}

impl<L: PeerLinks> Carrier for L {
    fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> bool {
        PeerLinks::send(self, node, kind, body).is_ok()
    }

    fn send_unless_behind(&self, node: NodeId, kind: u8, body: &[u8]) -> Carried {
        match self.send_droppable(node, kind, body) {
            Ok(true) => Carried::Queued,
            Ok(false) => Carried::Behind,
            Err(_) => Carried::NoLink,
        }
    }
}
