//! The links as a node's consensus and hub use them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use broker::cluster::{LinkError, PeerHandler, PeerLinks};
use broker_core::types::NodeId;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Network;
use super::link::{Answer, End, Frame};
use crate::life::Life;

/// The links of one process of a node. A clone has the same ones; when the process is over it has
/// none.
#[derive(Clone)]
pub(crate) struct SimLinks {
    pub(super) network: Network,
    pub(super) node: NodeId,
    pub(super) name: Arc<str>,
    pub(super) life: Life,
}

impl SimLinks {
    fn link_to(&self, node: NodeId) -> Result<u64, LinkError> {
        let found = match self.life.is_over() {
            true => None,
            false => self.network.with(|state| state.dialled(self.node, node)),
        };
        found.ok_or(LinkError::NoLink { node })
    }

    fn call(
        &self,
        node: NodeId,
        kind: u8,
        body: &[u8],
    ) -> Result<oneshot::Receiver<Answer>, LinkError> {
        let serial = self.link_to(node)?;
        let (sender, receiver) = oneshot::channel();
        let call = self.network.with(|state| {
            let link = state.links.get_mut(&serial)?;
            link.last_call += 1;
            link.calls.insert(link.last_call, sender);
            Some(link.last_call)
        });
        let call = call.ok_or(LinkError::NoLink { node })?;
        let body = Bytes::copy_from_slice(body);
        self.network.push(serial, End::Dialler, Frame::Message { kind, call, body });
        Ok(receiver)
    }
}

impl PeerLinks for SimLinks {
    fn node_id(&self) -> NodeId {
        self.node
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn serve(&self, kinds: RangeInclusive<u8>, handler: Arc<dyn PeerHandler>) {
        self.network.with(|state| {
            if let Some(port) = state.nodes.get_mut(&self.node) {
                port.handlers.push((kinds, handler));
            }
        });
    }

    fn request(
        &self,
        node: NodeId,
        kind: u8,
        body: &[u8],
    ) -> impl Future<Output = Result<Bytes, LinkError>> + Send + use<> {
        let call = self.call(node, kind, body);
        async move {
            match call?.await {
                Ok(Ok(body)) => Ok(body),
                Ok(Err(reason)) => Err(LinkError::Refused { node, reason }),
                Err(_) => Err(LinkError::Closed { node }),
            }
        }
    }

    fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        let serial = self.link_to(node)?;
        let body = Bytes::copy_from_slice(body);
        match self.network.push(serial, End::Dialler, Frame::Message { kind, call: 0, body }) {
            true => Ok(()),
            false => Err(LinkError::Closed { node }),
        }
    }

    fn send_droppable(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<bool, LinkError> {
        self.send(node, kind, body).map(|()| true)
    }

    fn is_live(&self, node: NodeId) -> bool {
        self.link_to(node).is_ok()
    }

    fn live(&self) -> Vec<NodeId> {
        let mut nodes = self.linked(End::Dialler);
        nodes.dedup();
        nodes
    }

    fn accepted(&self) -> Vec<NodeId> {
        let mut nodes = self.linked(End::Acceptor);
        nodes.dedup();
        nodes
    }
}

impl SimLinks {
    /// The nodes at the other ends of open links of which this node has such an end, sorted.
    fn linked(&self, own: End) -> Vec<NodeId> {
        if self.life.is_over() {
            return Vec::new();
        }
        let mut nodes: Vec<NodeId> = self.network.with(|state| {
            let links = state.links.values();
            let open = links.filter(|link| link.node(own) == self.node && link.is_open(own));
            open.map(|link| link.node(own.other())).collect()
        });
        nodes.sort_unstable();
        nodes
    }
}
