//! What the registry remembers of one identifier. Pure.

use super::action::{Place, WorkerIndex};
use crate::claim::Claim;
use crate::claim::message::RequestId;
use crate::claim::taking::Taking;
use crate::types::{ClientId, Millis, NodeId};

#[derive(Debug)]
pub(super) struct Entry<S> {
    pub(super) held: Option<Held>,
    /// Boxed: few identifiers have one, and every one has an entry.
    pub(super) pending: Option<Box<Pending<S>>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) worker: WorkerIndex,
    pub(super) claim: Claim,
}

#[derive(Debug)]
pub(super) struct Pending<S> {
    pub(super) place: Place,
    pub(super) clean_start: bool,
    pub(super) phase: Phase<S>,
    /// Grants below this one come too late: another node has taken the identifier over since.
    pub(super) fence: Claim,
}

#[derive(Debug)]
pub(super) enum Phase<S> {
    /// Waits for the arbiter's answer.
    Asked { request: RequestId, deadline: Millis },
    /// Granted; waits for those before to let go.
    Taking(Taking<S>),
}

#[derive(Debug)]
pub(super) struct Extraction {
    pub(super) client_id: ClientId,
    pub(super) claim: Claim,
    pub(super) whom: Whom,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    /// A connection of this node.
    Here,
    /// Another node.
    Peer(NodeId),
    /// Nobody; the claim that was held is released.
    Nobody { held: Claim },
}

impl<S> Entry<S> {
    pub(super) const fn empty() -> Self {
        Self { held: None, pending: None }
    }

    /// A grant below `claim` that is still on its way must not make a connection live.
    pub(super) fn fence_pending(&mut self, claim: Claim) {
        if let Some(pending) = &mut self.pending {
            pending.fence = pending.fence.max(claim);
        }
    }

    pub(super) fn taking_mut(&mut self) -> Option<&mut Taking<S>> {
        match self.pending.as_deref_mut() {
            Some(Pending { phase: Phase::Taking(taking), .. }) => Some(taking),
            _ => None,
        }
    }
}
