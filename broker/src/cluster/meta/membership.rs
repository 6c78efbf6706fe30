//! Steps of the membership and of leadership, each refused when its precondition fails.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin_api::PromoteRequest;
use broker_core::types::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::raft::Precondition;
use openraft::{AsyncRuntime, ChangeMembers};

use super::MetaGroup;
use super::status::{MetaMember, MetaRole, MetaStatus};
use super::type_config::{MemberNode, TypeConfig};
use crate::cluster::environment::{Environment, PeerLinks};

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
    #[error(
        "the membership is that of log index {current}, the step was planned on {expected}: read the \
         status and plan again"
    )]
    Changed {
        /// Log index of the membership that the step was planned on.
        expected: u64,
        /// Log index of the current one.
        current: u64,
    },
    /// Another step is under way.
    #[error("another membership step is not settled yet: wait and read the status again")]
    Unsettled,
    /// The node is not a member, or not one in the role that the step needs.
    #[error("node {node} is not {role}: read the status and plan again")]
    NotMember {
        /// The node.
        node: NodeId,
        /// What it should be, with its article.
        role: &'static str,
    },
    /// The leader has no link to the node.
    #[error(
        "the leader has no link to node {node}: check that it runs, and peers.discovery and the network \
         between them"
    )]
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
    #[error("node {node} is {lag} entries behind, or silent: wait until it has caught up")]
    NotCaughtUp {
        /// The node.
        node: NodeId,
        /// By how many entries.
        lag: u64,
    },
    /// The cluster would be left without a voter, or without a quorum that can be reached.
    #[error(
        "without node {node} too few voters could be reached: first bring back those that are away, or \
         give another broker a vote"
    )]
    WouldLoseQuorum {
        /// The node.
        node: NodeId,
    },
    /// Too few voters can be reached for any step to be confirmed.
    #[error("too few voters are linked to confirm the step: first bring back those that are away")]
    NoQuorum,
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
        let change = ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)]));
        self.change(change, false, &status).await
    }

    /// Gives a learner its vote.
    ///
    /// A vote that can't be asked for may leave the cluster without a quorum for good, so the learner
    /// answers first; and so that the step itself is confirmed, a quorum of the voters must be linked.
    ///
    /// # Errors
    /// As `add_learner`, with `NotMember` for a node that is none; `NotCaughtUp` while its log lags or
    /// it does not answer in time; `NoQuorum`.
    pub async fn promote(
        &self,
        node: NodeId,
        expected: Option<u64>,
    ) -> Result<MetaStatus, MembershipError> {
        let _step = self.steps.lock().await;
        let status = self.check_leading(expected)?;
        let member = member_of(&status, node)?;
        if member.is_voter {
            return Ok(status);
        }
        if !self.links.is_live(node) {
            return Err(MembershipError::NotLinked { node });
        }
        if !self.is_quorum_linked(&status, None) {
            return Err(MembershipError::NoQuorum);
        }
        let last = status.last_log_index.unwrap_or(0);
        let lag = last.saturating_sub(member.matched_index.unwrap_or(0));
        let has_lately = last.min(status.last_applied_index.unwrap_or(0));
        let has_lately = has_lately.saturating_sub(PromoteRequest::LAG_MAX);
        if lag > PromoteRequest::LAG_MAX || !self.views.has_applied_soon(node, has_lately).await {
            return Err(MembershipError::NotCaughtUp { node, lag });
        }
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([node.0]));
        self.change(change, false, &status).await
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
        let _step = self.steps.lock().await;
        let status = self.check_leading(expected)?;
        match status.member(node) {
            None => Ok(status),
            // Not retained as a learner: it is out once this is committed.
            Some(member) if member.is_voter => self.take_vote(&status, node, false).await,
            Some(_) if node == self.links.node_id() => Err(MembershipError::IsLeader { node }),
            Some(_) => {
                let change = ChangeMembers::RemoveNodes(BTreeSet::from([node.0]));
                self.change(change, false, &status).await
            }
        }
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
        let _step = self.steps.lock().await;
        let status = self.check_leading(expected)?;
        match member_of(&status, node)?.is_voter {
            true => self.take_vote(&status, node, true).await,
            false => Ok(status),
        }
    }

    /// Takes the vote of a voter other than this one, of whose company a quorum must be linked.
    async fn take_vote(
        &self,
        status: &MetaStatus,
        node: NodeId,
        is_retained: bool,
    ) -> Result<MetaStatus, MembershipError> {
        if node == self.links.node_id() {
            return Err(MembershipError::IsLeader { node });
        }
        if !self.is_quorum_linked(status, Some(node)) {
            return Err(MembershipError::WouldLoseQuorum { node });
        }
        let change = ChangeMembers::RemoveVoters(BTreeSet::from([node.0]));
        self.change(change, is_retained, status).await
    }

    /// Whether this node reaches a quorum of the voters, but for one.
    fn is_quorum_linked(&self, status: &MetaStatus, without: Option<NodeId>) -> bool {
        let this = self.links.node_id();
        let voters = || status.members.iter().filter(|m| m.is_voter && Some(m.node) != without);
        let linked = voters().filter(|m| m.node == this || self.links.is_live(m.node)).count();
        linked * 2 > voters().count()
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
        let current = status.membership_log_index.unwrap_or(0);
        match expected {
            Some(expected) if expected != current => {
                Err(MembershipError::Changed { expected, current })
            }
            _ if !status.is_membership_settled => Err(MembershipError::Unsettled),
            _ => Ok(status),
        }
    }

    /// Changes the membership that the step was checked against, and no other.
    async fn change(
        &self,
        change: Change,
        is_retained: bool,
        checked: &MetaStatus,
    ) -> Result<MetaStatus, MembershipError> {
        let last_membership_log_id =
            *self.raft.metrics().borrow_watched().membership_config.log_id();
        let current = last_membership_log_id.map(|id| id.index);
        if current != checked.membership_log_index {
            return Err(MembershipError::Changed {
                expected: checked.membership_log_index.unwrap_or(0),
                current: current.unwrap_or(0),
            });
        }
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

fn member_of(status: &MetaStatus, node: NodeId) -> Result<&MetaMember, MembershipError> {
    status.member(node).ok_or(MembershipError::NotMember { node, role: "a member" })
}
