//! The cluster and its shards, for people and their tools.

use serde::{Deserialize, Serialize};

use crate::{NodeId, Role};

/// Answer to `GET /v1/cluster`, on any broker; how far each member's log is, only the leader knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's identity.
    pub cluster_id: String,
    /// The broker that answers.
    pub answered_by: String,
    /// Current term.
    pub term: u64,
    /// Who leads, where that is known.
    pub leader: Option<NodeId>,
    /// Log index of the membership.
    pub membership_log_index: Option<u64>,
    /// Whether that membership is committed and uniform (no joint configuration).
    pub membership_settled: bool,
    /// Index of the last entry in the log of the broker that answers.
    pub last_log_index: Option<u64>,
    /// Index of the last entry that it has applied.
    pub last_applied_index: Option<u64>,
    /// The feature level that the cluster has agreed on.
    pub feature_level: u32,
    /// Voters that may be lost before nothing can be acknowledged any more.
    pub losses_tolerated: u64,
    /// The members, sorted by name.
    pub members: Vec<MemberView>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its identity.
    pub node_id: NodeId,
    /// Its broker's name.
    pub name: String,
    /// Leader, follower or learner.
    pub role: Role,
    /// Whether it has a vote.
    pub voter: bool,
    /// Whether the broker that answers has a link to it; true for itself.
    pub linked: bool,
    /// On the leader: index of the last entry known to be in its log.
    pub matched_index: Option<u64>,
    /// On the leader: how many entries that is behind.
    pub lag: Option<u64>,
}

/// Answer to `GET /v1/shards`: what the copy on this broker holds, shard by shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsView {
    /// The last log entry that the copy holds; where it goes on meanwhile, of the first shard.
    pub last_applied_index: Option<u64>,
    /// The shards, by number.
    pub shards: Vec<ShardView>,
}

/// One shard of the durable sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardView {
    /// Its number.
    pub shard: u16,
    /// The group that carries it.
    pub group: String,
    /// Who leads that group, where that is known.
    pub leader: Option<NodeId>,
    /// Durable sessions.
    pub sessions: u64,
    /// Of those, the ones whose client is connected, to whatever broker.
    pub connected: u64,
    /// Their Subscriptions.
    pub subscriptions: u64,
    /// Messages that wait for their clients or for their acknowledgements.
    pub queued_messages: u64,
    /// Bytes of those messages, each counted in every queue that it is in.
    pub queued_bytes: u64,
}
