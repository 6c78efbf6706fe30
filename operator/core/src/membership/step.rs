//! What the membership planner is told and what it answers. Pure.

use broker_admin_api::{BrokerStatus, NodeId};
use jiff::SignedDuration;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The cluster's identity, as issued once.
    pub cluster_id: String,
    /// The brokers' names by ordinal; all of them shall have a copy of the state.
    pub brokers: Vec<String>,
    /// How many of them shall have a vote: an odd number.
    pub voters: u16,
    /// Whether it is recorded that the cluster was founded.
    pub is_founded: bool,
    /// Whether it shall be founded from a backup, by a person, and not anew.
    pub awaits_backup: bool,
}

/// A broker that should run, and what it said of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedBroker {
    /// The name under which it was asked.
    pub name: String,
    /// Its status, or why there is none, in words.
    pub status: Result<BrokerStatus, String>,
    /// For how long the platform has known it not to be ready; zero when it is, or when that isn't
    /// known.
    pub unready_for: SignedDuration,
}

/// The next act, at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Found the cluster on this broker.
    Bootstrap {
        /// The founding broker.
        broker: String,
        /// Its identity.
        node_id: NodeId,
    },
    /// Brokers report a membership though no founding is recorded: record it.
    RecordFounded,
    /// Add a broker without a vote.
    AddLearner {
        /// Who is asked: the leader.
        leader: String,
        /// The broker to add.
        broker: String,
        /// Its identity.
        node_id: NodeId,
        /// The membership that this was planned on.
        expected_membership_log_index: Option<u64>,
    },
    /// Give a learner its vote.
    Promote {
        /// Who is asked: the leader.
        leader: String,
        /// The learner.
        broker: String,
        /// Its identity.
        node_id: NodeId,
        /// The membership that this was planned on.
        expected_membership_log_index: Option<u64>,
    },
    /// Take a voter's vote; it goes on following.
    Demote {
        /// Who is asked: the leader.
        leader: String,
        /// The voter.
        broker: String,
        /// Its identity.
        node_id: NodeId,
        /// Why: there are more voters than wanted, or it has been away for too long.
        reason: &'static str,
        /// The membership that this was planned on.
        expected_membership_log_index: Option<u64>,
    },
    /// Have a broker that is to go move its clients to the others.
    Drain {
        /// The broker.
        broker: String,
    },
    /// Hand leadership over, so that the leader can be removed.
    TransferLeadership {
        /// Who is asked: the leader.
        leader: String,
        /// Who shall lead.
        to: NodeId,
    },
    /// Take a member out.
    Remove {
        /// Who is asked: the leader.
        leader: String,
        /// The member's name.
        broker: String,
        /// Its identity.
        node_id: NodeId,
        /// Why: a lost disk, or a broker that is not wanted any more.
        reason: &'static str,
        /// The membership that this was planned on.
        expected_membership_log_index: Option<u64>,
    },
    /// Nothing can be done now.
    Wait {
        /// Why, as one word.
        reason: WaitReason,
        /// What is waited for, in words.
        message: String,
    },
    /// Every wanted broker is a member, as many as wanted vote, and nobody else is a member.
    Aligned,
    /// Nothing will be done until a person has acted.
    Refuse {
        /// Why, as one word.
        reason: RefuseReason,
        /// What to do, in words.
        message: String,
    },
}

/// Why the planner waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Too few brokers answer for the founding.
    BrokersStarting,
    /// No broker leads.
    NoLeader,
    /// A change of the membership is not settled yet.
    MembershipUnsettled,
    /// A learner has not caught up.
    LearnerCatchingUp,
    /// A wanted broker that is not a member does not answer, or has no link to the leader.
    BrokerUnreachable,
    /// The change would leave no majority of voters alive.
    QuorumAtRisk,
    /// A broker that is to go still has clients.
    Draining,
    /// A broker that is to go has a vote, and nobody can have it yet.
    NoSuccessor,
    /// The cluster is to be founded from a backup.
    BackupAwaited,
}

impl WaitReason {
    /// The reason as conditions, Events and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BrokersStarting => "BrokersStarting",
            Self::NoLeader => "NoLeader",
            Self::MembershipUnsettled => "MembershipUnsettled",
            Self::LearnerCatchingUp => "LearnerCatchingUp",
            Self::BrokerUnreachable => "BrokerUnreachable",
            Self::QuorumAtRisk => "QuorumAtRisk",
            Self::Draining => "Draining",
            Self::NoSuccessor => "NoSuccessor",
            Self::BackupAwaited => "BackupAwaited",
        }
    }
}

/// Why the planner refuses to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefuseReason {
    /// A broker belongs to another cluster.
    ClusterIdMismatch,
    /// Most voters have lost their disks.
    QuorumLost,
}

impl RefuseReason {
    /// The reason as conditions, Events and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIdMismatch => "ClusterIDMismatch",
            Self::QuorumLost => "QuorumLost",
        }
    }
}

impl Step {
    /// The step as plans, Events and metrics name it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Bootstrap { .. } => "Bootstrap",
            Self::RecordFounded => "RecordFounded",
            Self::AddLearner { .. } => "AddLearner",
            Self::Promote { .. } => "Promote",
            Self::Demote { .. } => "Demote",
            Self::Drain { .. } => "Drain",
            Self::TransferLeadership { .. } => "TransferLeadership",
            Self::Remove { .. } => "Remove",
            Self::Wait { .. } => "Wait",
            Self::Aligned => "Aligned",
            Self::Refuse { .. } => "Refuse",
        }
    }

    /// Whether a broker is asked to do something.
    #[must_use]
    pub fn is_act(&self) -> bool {
        matches!(
            self,
            Self::Bootstrap { .. }
                | Self::AddLearner { .. }
                | Self::Promote { .. }
                | Self::Demote { .. }
                | Self::Drain { .. }
                | Self::TransferLeadership { .. }
                | Self::Remove { .. }
        )
    }
}
