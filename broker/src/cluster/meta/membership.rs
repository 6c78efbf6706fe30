//! Steps of the membership and of leadership, each refused when its precondition fails.

use std::collections::{BTreeMap, BTreeSet};

use broker_core::types::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::raft::Precondition;
use openraft::{AsyncRuntime, ChangeMembers};

use super::MetaGroup;
use super::status::{MetaMember, MetaRole, MetaStatus};
use super::type_config::{MemberNode, TypeConfig};
use crate::cluster::environment::{Environment, PeerLinks};

/// Entries that a learner may lag behind the leader and still be given a vote.
const PROMOTION_LAG_MAX: u64 = 100;

/// Names the type in errors.
type WriteError<E> = RaftError<TypeConfig<E>, ClientWriteError<TypeConfig<E>>>;

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader takes steps.
    #[error("this broker does not lead the cluster")]
    NotLeader {
        /// Who does, where it is known.
        leader: Option<MetaMember>,
    },
    /// The node has consensus state: it was bootstrapped before, or has been a member.
    #[error("this broker has consensus state already: a cluster is founded once")]
    AlreadyInitialised,
    /// The membership has moved since the step was planned.
    #[error("the membership is that of log index {current:?}, the step was planned on {expected}")]
    Changed {
        /// Log index of the membership that the step was planned on.
        expected: u64,
        /// Log index of the current one.
        current: Option<u64>,
    },
    /// Another step is under way.
    #[error("another membership step is not settled yet")]
    Unsettled,
    /// The node is not a member, or not one in the role that the step needs.
    #[error("node {node} is not {role}")]
    NotMember {
        /// The node.
        node: NodeId,
        /// What it should be, with its article.
        role: &'static str,
    },
    /// The leader has no link to the node.
    #[error("node {node} has no link to the leader")]
    NotLinked {
        /// The node.
        node: NodeId,
    },
    /// The node can't read what the cluster writes.
    #[error(
        "node {node} knows feature levels up to {known}, the cluster is at {level}: run the version \
         there that the other brokers run"
    )]
    TooOld {
        /// The node.
        node: NodeId,
        /// Highest level that it knows.
        known: u16,
        /// The cluster's level.
        level: u16,
    },
    /// The node's log is too far behind.
    #[error("node {node} is {lag} entries behind")]
    NotCaughtUp {
        /// The node.
        node: NodeId,
        /// By how many entries.
        lag: u64,
    },
    /// The cluster would be left without a voter, or without a quorum that can be reached.
    #[error("without node {node} too few voters could be reached")]
    WouldLoseQuorum {
        /// The node.
        node: NodeId,
    },
    /// The node leads.
    #[error("node {node} leads the cluster: transfer leadership first")]
    IsLeader {
        /// The node.
        node: NodeId,
    },
    /// No quorum confirmed the step in time; it may still take effect.
    #[error("the step was not confirmed in time; it may still take effect")]
    TimedOut,
    /// Consensus has stopped on this node.
    #[error("consensus has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

type Change = ChangeMembers<u64, MemberNode>;

impl<E: Environment> MetaGroup<E> {
    /// Founds the cluster with this node as its only voter.
    ///
    /// # Errors
    /// `AlreadyInitialised` when the node has ever voted or written a log entry.
    pub async fn bootstrap(&self) -> Result<MetaStatus, MembershipError> {
        let _alone = self.steps.lock().await;
        if !self.log.is_pristine() {
            return Err(MembershipError::AlreadyInitialised);
        }
        let node = MemberNode { name: self.links.name().to_owned() };
        let members = BTreeMap::from([(self.links.node_id().0, node)]);
        match self.raft.initialize(members).await {
            Ok(()) => Ok(self.status()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                Err(MembershipError::AlreadyInitialised)
            }
            Err(error) => Err(MembershipError::Stopped { reason: error.to_string() }),
        }
    }

    /// Adds a linked node without a vote. Adding a member again changes nothing.
    ///
    /// # Errors
    /// `NotLeader`, `NotLinked`, `TooOld`, `Changed`, `Unsettled`, `TimedOut`, `Stopped`.
    pub async fn add_learner(
        &self,
        node: NodeId,
        name: &str,
        expected: Option<u64>,
    ) -> Result<MetaStatus, MembershipError> {
        let _step = self.steps.lock().await;
        let status = self.check_leading(expected)?;
        if status.member(node).is_some() {
            return Ok(status);
        }
        let Some(known) = self.links.feature_level_max(node) else {
            return Err(MembershipError::NotLinked { node });
        };
        let level = *self.feature_level().borrow();
        if known < level {
            return Err(MembershipError::TooOld { node, known, level });
        }
        let member = MemberNode { name: name.to_owned() };
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)])), false).await
    }

    /// Gives a learner its vote.
    ///
    /// # Errors
    /// As `add_learner`, with `NotMember` for `NotLinked`; `NotCaughtUp` while its log lags.
    pub async fn promote(
        &self,
        node: NodeId,
        expected: Option<u64>,
    ) -> Result<MetaStatus, MembershipError> {
        let status = self.check_leading(expected)?;
        let Some(member) = status.member(node) else {
            return Err(MembershipError::NotMember { node, role: "a member" });
        };
        if member.is_voter {
            return Ok(status);
        }
        let last = status.last_log_index.unwrap_or(0);
        let lag = last.saturating_sub(member.matched_index.unwrap_or(0));
        if lag > PROMOTION_LAG_MAX {
            return Err(MembershipError::NotCaughtUp { node, lag });
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node.0])), false).await
    }

    /// Takes a member out, voter or learner. Removing what is no member changes nothing.
    ///
    /// # Errors
    /// `NotLeader`, `IsLeader`, `WouldLoseQuorum` when of the voters that stay too few are
    /// linked, `Changed`, `Unsettled`, `TimedOut`, `Stopped`.
    pub async fn remove(
        &self,
        node: NodeId,
        expected: Option<u64>,
    ) -> Result<MetaStatus, MembershipError> {
        let status = self.check_leading(expected)?;
        let Some(member) = status.member(node) else { return Ok(status) };
        if node == self.links.node_id() {
            return Err(MembershipError::IsLeader { node });
        }
        if !member.is_voter {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node.0])), false).await;
        }
        self.check_quorum_without(&status, node)?;
        // Not retained as a learner: it is out once this is committed.
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node.0])), false).await
    }

    /// Takes a voter's vote; it goes on as a learner. A learner is left as it is.
    ///
    /// # Errors
    /// As `remove`, with `NotMember` for a node that is none.
    pub async fn demote(
        &self,
        node: NodeId,
        expected: Option<u64>,
    ) -> Result<MetaStatus, MembershipError> {
        let status = self.check_leading(expected)?;
        let Some(member) = status.member(node) else {
            return Err(MembershipError::NotMember { node, role: "a member" });
        };
        if node == self.links.node_id() {
            return Err(MembershipError::IsLeader { node });
        }
        if !member.is_voter {
            return Ok(status);
        }
        self.check_quorum_without(&status, node)?;
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node.0])), true).await
    }

    /// Of the voters that stay, a quorum must be linked.
    fn check_quorum_without(
        &self,
        status: &MetaStatus,
        node: NodeId,
    ) -> Result<(), MembershipError> {
        let staying: Vec<_> =
            status.members.iter().filter(|m| m.is_voter && m.node != node).collect();
        let this = self.links.node_id();
        let is_reachable = |node| node == this || self.links.is_live(node);
        let reachable = staying.iter().filter(|m| is_reachable(m.node)).count();
        if reachable * 2 <= staying.len() {
            return Err(MembershipError::WouldLoseQuorum { node });
        }
        Ok(())
    }

    /// Asks a voter to stand for election: `to`, or the one whose log is furthest. Who leads
    /// shows in the status.
    ///
    /// # Errors
    /// `NotLeader`, `NotMember` without such a voter, `NotLinked`, `Stopped`.
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<NodeId, MembershipError> {
        let status = self.check_leading(None)?;
        let this = self.links.node_id();
        let to = match to {
            Some(to) => to,
            None => self.best_successor(&status).ok_or(MembershipError::NotMember {
                node: this,
                role: "one of several linked voters",
            })?,
        };
        if !status.member(to).is_some_and(|member| member.is_voter) {
            return Err(MembershipError::NotMember { node: to, role: "a voter" });
        }
        if to == this {
            return Ok(to);
        }
        if !self.links.is_live(to) {
            return Err(MembershipError::NotLinked { node: to });
        }
        match self.raft.trigger().transfer_leader(to.0).await {
            Ok(()) => Ok(to),
            Err(error) => Err(MembershipError::Stopped { reason: error.to_string() }),
        }
    }

    /// The linked voter with the longest log besides this node.
    pub(super) fn best_successor(&self, status: &MetaStatus) -> Option<NodeId> {
        let this = self.links.node_id();
        let others = status.members.iter().filter(|m| m.is_voter && m.node != this);
        let linked = others.filter(|member| self.links.is_live(member.node));
        linked.max_by_key(|member| member.matched_index).map(|member| member.node)
    }

    fn check_leading(&self, expected: Option<u64>) -> Result<MetaStatus, MembershipError> {
        let status = self.status();
        if let Some(reason) = status.failure {
            return Err(MembershipError::Stopped { reason });
        }
        if status.role != MetaRole::Leader {
            let leader = status.leader.and_then(|leader| status.member(leader).cloned());
            return Err(MembershipError::NotLeader { leader });
        }
        match expected {
            Some(expected) if status.membership_log_index != Some(expected) => {
                let current = status.membership_log_index;
                Err(MembershipError::Changed { expected, current })
            }
            _ if !status.is_membership_settled => Err(MembershipError::Unsettled),
            _ => Ok(status),
        }
    }

    async fn change(
        &self,
        change: Change,
        is_retained: bool,
    ) -> Result<MetaStatus, MembershipError> {
        let last_membership_log_id =
            *self.raft.metrics().borrow_watched().membership_config.log_id();
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id };
        let changed = self.raft.change_membership_if(change, is_retained, [unchanged]);
        match E::Runtime::timeout(super::proposals::PROPOSE_TIMEOUT, changed).await {
            Ok(Ok(_)) => Ok(self.status()),
            Ok(Err(error)) => Err(self.explain(error)),
            Err(_) => Err(MembershipError::TimedOut),
        }
    }

    fn explain(&self, error: WriteError<E>) -> MembershipError {
        let status = self.status();
        match error {
            RaftError::APIError(
                ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_),
            ) => {
                let leader = status.leader.and_then(|leader| status.member(leader).cloned());
                MembershipError::NotLeader { leader }
            }
            RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => {
                MembershipError::Unsettled
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
                ChangeMembershipError::LearnerNotFound(error) => {
                    MembershipError::NotMember { node: NodeId(error.node_id), role: "a learner" }
                }
                ChangeMembershipError::EmptyMembership(_) => {
                    MembershipError::WouldLoseQuorum { node: self.links.node_id() }
                }
                error => {
                    tracing::debug!(%error, "membership step refused");
                    MembershipError::Unsettled
                }
            },
            RaftError::Fatal(error) => MembershipError::Stopped { reason: error.to_string() },
        }
    }
}
