//! What the registry asks of the hub. Pure data.

use crate::claim::Claim;
use crate::claim::message::{ToArbiter, ToPeer};
use crate::types::{ClientId, ConnectionId, NodeId};

/// A worker of this node, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerIndex(pub u8);

/// A connection of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its worker.
    pub worker: WorkerIndex,
    /// Its number there.
    pub connection: ConnectionId,
}

/// Names a [`NodeAction::TakeOver`] in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a connection is told on its claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer<S> {
    /// The identifier is its own.
    Granted {
        /// The claim.
        claim: Claim,
        /// The earlier session, where there was one.
        session: Option<S>,
    },
    /// A newer connection wants it.
    Superseded,
    /// It has gone itself, before the arbiter answered.
    Withdrawn,
    /// There is no arbiter to ask, or it did not answer in time.
    Unavailable,
}

/// What the hub is to do. Actions are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAction<S> {
    /// Send to the arbiter, on this node or another.
    ToArbiter {
        /// The arbiter's node.
        leader: NodeId,
        /// What to send.
        message: ToArbiter,
    },
    /// Send to another node.
    ToPeer {
        /// The node.
        node: NodeId,
        /// What to send.
        message: ToPeer<S>,
    },
    /// Have a worker let go of the identifier, then call [`NodeClaims::extracted`](super::NodeClaims::extracted).
    TakeOver {
        /// The worker.
        worker: WorkerIndex,
        /// The identifier.
        client_id: ClientId,
        /// The newer claim.
        claim: Claim,
        /// Whether the session is to be discarded.
        clean_start: bool,
        /// Names it in the answer.
        ticket: Ticket,
    },
    /// Answer a connection's claim.
    Answer {
        /// The connection.
        place: Place,
        /// What it claimed.
        client_id: ClientId,
        /// What came of it.
        answer: ClaimAnswer<S>,
    },
}
