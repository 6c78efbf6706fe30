//! openraft's types as the meta group uses them. Layer: consensus; knows no MQTT.

use std::marker::PhantomData;

use broker_core::cluster_state::{CommandBatch, Outcome};
use openraft::impls::leader_id_std::LeaderId;
use openraft::impls::{BoxedErrorSource, InlineBatch, ProgressResponder};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use serde::{Deserialize, Serialize};

use crate::cluster::environment::{Environment, Process};

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

/// The meta group's types. One leader a term (`leader_id_std`): the term alone names the
/// arbiter that granted a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TypeConfig<E: Environment = Process>(PhantomData<E>);

impl<E: Environment> RaftTypeConfig for TypeConfig<E> {
    type D = CommandBatch;
    type R = BatchOutcome;
    type NodeId = u64;
    type Node = MemberNode;
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<CommandBatch, u64, MemberNode>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = E::Runtime;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(super) type Raft<E> = openraft::Raft<TypeConfig<E>, super::state_machine::StateMachine<E>>;

// The same whatever the environment.
pub(super) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(super) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(super) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(super) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, crate::storage::SnapshotContent>;
