//! Membership, leadership and drain: one step a request, each refused when its precondition fails.
//!
//! The operator's planner decides from a status it has read. `expected_membership_log_index` names
//! that reading ([`crate::RaftStatus::membership_log_index`]); when the membership has moved since, the
//! leader refuses with `MembershipChanged` and the planner looks again.

use serde::{Deserialize, Serialize};

use crate::{Member, NodeId};

/// Founds the cluster with this broker as its only voter. Refused with `AlreadyInitialised` when
/// the data directory holds any consensus state, and with `InvalidField` for a foreign cluster id
/// or node id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapRequest {
    /// Must be the cluster id that the broker is configured with.
    pub cluster_id: String,
    /// Must be the broker's own id: a request meant for the disk before this one is refused.
    pub node_id: NodeId,
}

/// Adds a broker without a vote. It must be linked to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddLearnerRequest {
    /// The broker's identity, from its own status.
    pub node_id: NodeId,
    /// Its name, from its own status.
    pub name: String,
    /// Log index of the membership that the step was planned on.
    #[serde(default)]
    pub expected_membership_log_index: Option<u64>,
}

/// Gives a learner its vote. Refused with `NotCaughtUp` while its log lags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The learner.
    pub node_id: NodeId,
    /// Log index of the membership that the step was planned on.
    #[serde(default)]
    pub expected_membership_log_index: Option<u64>,
}

/// Takes a member out, voter or learner. Refused with `WouldLoseQuorum` for the last voter and
/// with `IsLeader` for the leader itself: transfer first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// The member.
    pub node_id: NodeId,
    /// Log index of the membership that the step was planned on.
    #[serde(default)]
    pub expected_membership_log_index: Option<u64>,
}

/// Hands leadership to another voter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// Who shall lead; `None`: the voter whose log is furthest.
    #[serde(default)]
    pub to: Option<NodeId>,
}

/// A membership step is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipChanged {
    /// Log index of the new membership.
    pub membership_log_index: u64,
    /// The new membership, sorted by node id.
    pub members: Vec<Member>,
}

/// A transfer is under way; who leads shows in the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferAccepted {
    /// The voter that was asked to stand for election.
    pub to: NodeId,
}

/// Stops new connections, makes `/readyz` answer 503 and moves the clients away at a paced rate.
/// `enabled: false` takes it back: clients that have gone are not called back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Whether to drain.
    pub enabled: bool,
    /// Clients disconnected a second, 1 to 100,000, over all workers.
    #[serde(default = "DrainRequest::default_rate")]
    pub clients_per_second: u32,
}

impl DrainRequest {
    /// Rate when none is given: what `rollout.clientsMovedPerSecond` defaults to.
    pub const CLIENTS_PER_SECOND_DEFAULT: u32 = 200;
    /// Highest rate taken.
    pub const CLIENTS_PER_SECOND_MAX: u32 = 100_000;

    const fn default_rate() -> u32 {
        Self::CLIENTS_PER_SECOND_DEFAULT
    }
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Whether the broker drains.
    pub draining: bool,
    /// Client connections still open.
    pub connections: u64,
}
