//! The hub's side of the peer links.

use std::sync::{Arc, Mutex};

use broker_core::types::NodeId;
use bytes::Bytes;

use super::core::Core;
use crate::cluster::{Environment, LinkEvent, PeerHandler, Replier};
use crate::sync::lock;

/// Hands frames and events of the links to the core.
pub(super) struct HubService<E: Environment> {
    pub(super) core: Arc<Mutex<Core<E>>>,
}

impl<E: Environment> PeerHandler for HubService<E> {
    fn peer_frame(&self, from: NodeId, kind: u8, body: Bytes, _replier: Replier) {
        lock(&self.core).peer_frame(from, kind, body);
    }

    fn link_event(&self, event: &LinkEvent) {
        let mut core = lock(&self.core);
        match event {
            LinkEvent::Up { node, .. } => core.link_up(*node),
            LinkEvent::Down { node, .. } => core.link_down(*node),
            LinkEvent::Accepted { node, .. } => core.begins_anew(*node),
            LinkEvent::AcceptedClosed { node, .. } => core.silent(*node),
        }
    }
}
