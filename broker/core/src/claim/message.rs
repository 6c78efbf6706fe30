//! What nodes and the arbiter say to each other about claims. Pure data.

use serde::{Deserialize, Serialize};

use super::Claim;
use crate::types::{ClientId, NodeId};

/// Numbers the requests of one node; never used twice, not even after a restart.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RequestId(pub u64);

/// One identifier in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The identifier.
    pub client_id: ClientId,
    /// The claim it is held under.
    pub claim: Claim,
    /// Whether the take-over from earlier holders is over.
    pub settled: bool,
}

/// From a node to the arbiter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToArbiter {
    /// All that the node holds, in parts of at most [`super::REPORT_PART_MAX`].
    Report {
        /// The term that the report is for; another arbiter ignores it.
        term: u64,
        /// Starts the report; what an unfinished one said stays true.
        first: bool,
        /// Ends it: what this node held and does not name any more is gone.
        last: bool,
        /// Grants to requests below this number are refused by the node from now on.
        requests_below: RequestId,
        /// This part.
        held: Vec<Holding>,
    },
    /// A connection asks for an identifier.
    Request {
        /// The term of the arbiter that is asked.
        term: u64,
        /// Names the request in the answer.
        request: RequestId,
        /// What is claimed.
        client_id: ClientId,
    },
    /// The node holds nothing under this claim.
    Release {
        /// The identifier.
        client_id: ClientId,
        /// The claim.
        claim: Claim,
    },
    /// The take-over is over; the connection is live.
    Settled {
        /// The identifier.
        client_id: ClientId,
        /// The claim.
        claim: Claim,
        /// Nodes that hold nothing older any more.
        cleared: Vec<NodeId>,
    },
}

/// From the arbiter to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromArbiter {
    /// Report what you hold.
    AskReport {
        /// The arbiter's term.
        term: u64,
    },
    /// The identifier is the node's, once those before have let go.
    Granted {
        /// The request.
        request: RequestId,
        /// The identifier.
        client_id: ClientId,
        /// The claim.
        claim: Claim,
        /// Nodes that may hold it under an earlier claim, the receiver itself perhaps among them.
        previous: Vec<NodeId>,
    },
    /// The request is not granted.
    Denied {
        /// The arbiter's term.
        term: u64,
        /// The request.
        request: RequestId,
        /// The identifier.
        client_id: ClientId,
        /// Why.
        denial: Denial,
    },
    /// The identifier is live elsewhere under this claim: let go of anything older.
    Revoke {
        /// The identifier.
        client_id: ClientId,
        /// The newer claim.
        claim: Claim,
    },
}

/// Why a request is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// The node must report before it may ask.
    NotReported,
    /// Too many requests wait for the recovery to end.
    Overloaded,
}

/// From node to node. `S` is the session's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPeer<S> {
    /// Let go of the identifier and hand over its session.
    TakeOver {
        /// The identifier.
        client_id: ClientId,
        /// The sender's claim: what is held under an earlier one is meant.
        claim: Claim,
        /// The session is not wanted: discard it.
        clean_start: bool,
    },
    /// Nothing is held under an earlier claim any more.
    TakenOver {
        /// The identifier.
        client_id: ClientId,
        /// The claim of the request.
        claim: Claim,
        /// The session, where there was one.
        session: Option<S>,
    },
}
