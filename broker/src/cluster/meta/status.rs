//! The meta group as one node sees it. Pure reading of openraft's metrics.

use std::time::Duration;

use broker_core::types::NodeId;
use openraft::{Instant, ServerState};

use super::type_config::{StoredMembership, TypeConfig};
use crate::cluster::environment::Environment;

type RaftMetrics<E> = openraft::RaftMetrics<TypeConfig<E>>;

/// This node's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaRole {
    /// Elected.
    Leader,
    /// A voter that follows or stands for election.
    Follower,
    /// A member without a vote.
    Learner,
    /// Not a member.
    None,
}

/// How far this node is in becoming of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaPhase {
    /// Empty disk: waits to be bootstrapped or added.
    Uninitialised,
    /// Has state, but is no member, or has not heard and applied all yet: serves no clients.
    Joining,
    /// A member that has caught up with a leader.
    Serving,
}

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaMember {
    /// The node.
    pub node: NodeId,
    /// Its broker's name when it was added.
    pub name: String,
    /// Whether it votes.
    pub is_voter: bool,
    /// On the leader: index of the last entry known to be in its log.
    pub matched_index: Option<u64>,
}

/// The group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaStatus {
    /// This node's part.
    pub role: MetaRole,
    /// How far this node is.
    pub phase: MetaPhase,
    /// Current term; 0 before the first.
    pub term: u64,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// On the leader: since a quorum last acknowledged it.
    pub quorum_acknowledged: Option<Duration>,
    /// The membership in force here, sorted by node id.
    pub members: Vec<MetaMember>,
    /// Log index of that membership.
    pub membership_log_index: Option<u64>,
    /// Whether it is committed and uniform.
    pub is_membership_settled: bool,
    /// Index of the last entry in the log.
    pub last_log_index: Option<u64>,
    /// Index of the last applied entry.
    pub last_applied_index: Option<u64>,
    /// Index of the last entry that is in the snapshot alone.
    pub purged_index: Option<u64>,
    /// Whether a leader is heard, or this node leads and a quorum follows it.
    pub hears_leader: bool,
    /// Whether all that is known to be committed is applied, and a leader is heard.
    pub is_caught_up: bool,
    /// Why consensus has stopped for good, when it has: this broker must be restarted.
    pub failure: Option<String>,
}

impl MetaStatus {
    /// Reads the metrics. `is_heard` says whether another node has sent heartbeats within
    /// `silence_max` and leads for sure; this one must have been acknowledged by a quorum within it to lead.
    pub(super) fn read<E: Environment>(
        metrics: &RaftMetrics<E>,
        silence_max: Duration,
        is_heard: impl Fn(NodeId) -> bool,
    ) -> Self {
        let this = metrics.id;
        let membership = &metrics.membership_config;
        let is_member = membership.get_node(&this).is_some();
        let members = members(metrics, membership);
        let role = match metrics.state {
            ServerState::Leader => MetaRole::Leader,
            _ if !is_member => MetaRole::None,
            ServerState::Learner => MetaRole::Learner,
            _ => MetaRole::Follower,
        };
        let leader = metrics.current_leader.map(NodeId);
        let quorum_acknowledged = match role {
            // A quorum of one needs no messages, so nothing refreshes its time.
            MetaRole::Leader if membership.voter_ids().all(|voter| voter == this) => {
                Some(Duration::ZERO)
            }
            MetaRole::Leader => metrics.last_quorum_acked.map(|instant| instant.elapsed()),
            MetaRole::Follower | MetaRole::Learner | MetaRole::None => None,
        };
        let hears_leader = match role {
            MetaRole::Leader => quorum_acknowledged.is_some_and(|ago| ago <= silence_max),
            _ => leader.is_some_and(is_heard),
        };
        let applied = metrics.last_applied.map(|id| id.index);
        let committed = metrics.cluster_committed.map(|id| id.index);
        let is_caught_up = hears_leader && committed.is_some() && applied >= committed;
        let committed_membership = &metrics.committed_membership_config;
        let is_settled = membership.log_id() == committed_membership.log_id()
            && membership.get_joint_config().len() == 1;
        let has_state = metrics.last_log_index.is_some() || metrics.current_term > 0;
        let phase = match (has_state, is_member && is_caught_up) {
            (false, _) => MetaPhase::Uninitialised,
            (true, false) => MetaPhase::Joining,
            (true, true) => MetaPhase::Serving,
        };
        Self {
            role,
            phase,
            term: metrics.current_term,
            leader,
            quorum_acknowledged,
            members,
            membership_log_index: membership.log_id().map(|id| id.index),
            is_membership_settled: is_settled,
            last_log_index: metrics.last_log_index,
            last_applied_index: applied,
            purged_index: metrics.purged.map(|id| id.index),
            hears_leader,
            is_caught_up,
            failure: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }

    /// The member with this id.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&MetaMember> {
        self.members.iter().find(|member| member.node == node)
    }
}

fn members<E: Environment>(
    metrics: &RaftMetrics<E>,
    membership: &StoredMembership,
) -> Vec<MetaMember> {
    let voters: Vec<u64> = membership.voter_ids().collect();
    let matched = |node: u64| -> Option<u64> {
        if metrics.state != ServerState::Leader {
            return None;
        }
        if node == metrics.id {
            return metrics.last_log_index;
        }
        metrics.replication.as_ref()?.get(&node)?.as_ref().map(|id| id.index)
    };
    let mut members: Vec<MetaMember> = membership
        .nodes()
        .map(|(&node, member)| MetaMember {
            node: NodeId(node),
            name: member.name.clone(),
            is_voter: voters.contains(&node),
            matched_index: matched(node),
        })
        .collect();
    members.sort_by_key(|member| member.node);
    members
}
