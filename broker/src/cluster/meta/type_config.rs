//! openraft's types as the meta group uses them. Layer: consensus; knows no MQTT.

use broker_core::cluster_state::{CommandBatch, Outcome};
use serde::{Deserialize, Serialize};

/// What the membership says of a node besides its id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberNode {
    /// The broker's name when it was added; for people and for logs.
    pub(super) name: String,
}

/// What became of a log entry's commands, in their order; empty for other entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BatchOutcome {
    /// One for each command.
    pub(super) outcomes: Vec<Outcome>,
}

openraft::declare_raft_types!(
    /// The meta group's types. One leader a term (`leader_id_std`): the term alone names the
    /// arbiter that granted a claim.
    pub(super) TypeConfig:
        D = CommandBatch,
        R = BatchOutcome,
        NodeId = u64,
        Node = MemberNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

pub(super) type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;
pub(super) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(super) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(super) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(super) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, bytes::Bytes>;
