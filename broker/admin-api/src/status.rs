//! What a broker says about itself: enough for the operator to plan and to report truthfully.

use serde::{Deserialize, Serialize};

use crate::{DrainStatus, NodeId};

/// Answer to `GET /v1/status`. Facts of one moment, as this broker sees them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// Name of the broker, e.g. `fleet-0`; the common name of its peer certificate.
    pub name: String,
    /// Identity of its data directory.
    pub node_id: NodeId,
    /// The cluster it belongs to, as issued by the operator and kept in the data directory.
    pub cluster_id: String,
    /// Version of the running binary, e.g. `0.1.0`.
    pub version: String,
    /// Highest feature level that this binary knows: what it can read of log, snapshots and links.
    pub feature_level: u32,
    /// The cluster's feature level, what its brokers write; 0: an older broker that does not say.
    #[serde(default)]
    pub cluster_feature_level: u32,
    /// Where the broker stands in its life.
    pub state: BrokerState,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// Why it isn't ready, in words; empty when it is.
    pub ready_message: String,
    /// Consensus as this broker sees it.
    pub raft: RaftStatus,
    /// The rights in force.
    pub policy: PolicyStatus,
    /// Network connections of MQTT clients that are open now.
    pub connections: u64,
    /// Sessions held here, connected or not.
    pub sessions: u64,
    /// How far a drain has come.
    #[serde(default)]
    pub drain: DrainStatus,
    /// SHA-256 of the configuration file in force, as the operator rendered it.
    pub config_digest: String,
    /// Certificates and trust in force.
    pub certificates: CertificateStatus,
    /// Links to the other brokers; none to itself.
    pub peers: Vec<PeerLink>,
    /// When the process started, Unix seconds.
    pub started_at: i64,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
}

/// Where a broker stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BrokerState {
    /// Empty disk: waits to be bootstrapped or to be added as a learner.
    Uninitialised,
    /// Has consensus state, but is not (or no longer) a member that has caught up.
    Joining,
    /// A member that has caught up and enforces a policy.
    Serving,
    /// Moves its clients away and takes no new ones.
    Draining,
    /// A state that a newer broker knows.
    #[serde(other)]
    Unknown,
}

impl BrokerStatus {
    /// Whether this broker is of the version before feature levels: it can't take a vote away
    /// without removing the member, and does not say who drains it.
    #[must_use]
    pub const fn is_of_first_version(&self) -> bool {
        self.cluster_feature_level == 0
    }
}

impl BrokerState {
    /// The state's name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uninitialised => "Uninitialised",
            Self::Joining => "Joining",
            Self::Serving => "Serving",
            Self::Draining => "Draining",
            Self::Unknown => "Unknown",
        }
    }
}

/// A broker's part in the meta group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Elected and acknowledged by a quorum.
    Leader,
    /// A voter that follows, or that stands for election.
    Follower,
    /// Receives the log, has no vote.
    Learner,
    /// Not a member.
    None,
    /// A role that a newer broker knows.
    #[serde(other)]
    Unknown,
}

impl Role {
    /// The role's name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "Leader",
            Self::Follower => "Follower",
            Self::Learner => "Learner",
            Self::None => "None",
            Self::Unknown => "Unknown",
        }
    }
}

/// Consensus as one broker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftStatus {
    /// The broker's part.
    pub role: Role,
    /// Current term; 0 before the first.
    pub term: u64,
    /// Who leads, as far as this broker knows.
    pub leader: Option<NodeId>,
    /// The leader: milliseconds since a quorum last acknowledged it. Others: `None`.
    pub quorum_acknowledged_ms_ago: Option<u64>,
    /// The membership in force on this broker, sorted by node id; empty when uninitialised.
    pub members: Vec<Member>,
    /// Log index of that membership; the precondition of the next membership request.
    pub membership_log_index: Option<u64>,
    /// Whether that membership is committed and uniform (no joint configuration).
    pub membership_settled: bool,
    /// Index of the last entry in its log.
    pub last_log_index: Option<u64>,
    /// Index of the last entry that its state machine has applied.
    pub last_applied_index: Option<u64>,
    /// Whether it has applied all that it knows to be committed, and hears a leader.
    pub caught_up: bool,
}

/// One member of the meta group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub node_id: NodeId,
    /// Its name when it was added.
    pub name: String,
    /// Whether it has a vote; a learner has none.
    pub voter: bool,
    /// On the leader: index of the last entry known to be in this member's log. Elsewhere `None`.
    pub matched_index: Option<u64>,
}

/// The rights in force on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The policy revision that *every* worker of this broker enforces; what counts as in force.
    /// Empty before the first.
    pub enforced_revision: String,
    /// The revision that the state machine has applied; ahead of the enforced one for moments.
    pub applied_revision: String,
    /// What the applied revision holds.
    pub counts: PolicyCounts,
}

/// Numbers of records by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCounts {
    /// Users.
    pub clients: u64,
    /// Groups.
    pub groups: u64,
    /// Roles.
    pub roles: u64,
    /// Rules over all roles.
    pub rules: u64,
}

/// Certificates that a broker presents and the trust it applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Presented to MQTT clients and on the admin API.
    pub server: Option<ServedCertificate>,
    /// Presented to the other brokers.
    pub peer: Option<ServedCertificate>,
    /// SHA-256 of the trusted client authorities' file in force; `None` when clients need none.
    pub client_trust_digest: Option<String>,
    /// SHA-256 of the trusted admin authorities' file in force.
    pub admin_trust_digest: Option<String>,
    /// SHA-256 of the trusted peer authorities' file in force.
    pub peer_trust_digest: Option<String>,
    /// Why the newest files are not in force; `None` when they are.
    pub last_reload_error: Option<ReloadError>,
}

/// A certificate in use, by facts that a TLS handshake can confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCertificate {
    /// SHA-256 over the leaf's DER.
    pub fingerprint: String,
    /// End of validity, Unix seconds.
    pub not_after: i64,
}

/// A reload of certificate files that was refused; the files before stay in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadError {
    /// What was wrong and with which file.
    pub message: String,
    /// When, Unix seconds.
    pub at: i64,
}

/// The links to one other broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    /// Its identity, once it has said hello.
    pub node_id: Option<NodeId>,
    /// Its name, from its certificate; or the address, before the first handshake.
    pub name: String,
    /// Whether the link that this broker dialled is up.
    pub outbound: bool,
    /// Whether the link that the other one dialled is up.
    pub inbound: bool,
    /// Why the last attempt failed; `None` after a success.
    pub last_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_roles_are_named_as_in_json() {
        use BrokerState::{Draining, Joining, Serving, Uninitialised, Unknown};
        for state in [Uninitialised, Joining, Serving, Draining, Unknown] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for role in [Role::Leader, Role::Follower, Role::Learner, Role::None, Role::Unknown] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
