//! Membership and leadership: one step a request, each refused when its precondition fails.
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

/// Gives a learner its vote. Refused with `NotCaughtUp` while its log lags by more than
/// [`Self::LAG_MAX`] or it does not answer, and with `Unavailable` while it has no link to the leader
/// or too few voters have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The learner.
    pub node_id: NodeId,
    /// Log index of the membership that the step was planned on.
    #[serde(default)]
    pub expected_membership_log_index: Option<u64>,
}

impl PromoteRequest {
    /// Log entries that a learner may lag behind the leader and still be given its vote.
    pub const LAG_MAX: u64 = 100;
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

/// Takes a voter's vote away; it stays a member that follows. Refused with `WouldLoseQuorum` when of
/// the voters that stay too few are reached, and with `IsLeader` for the leader itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoteRequest {
    /// The voter.
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
