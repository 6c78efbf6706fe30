//! What brokers in memory have in common. Pure.

use std::collections::BTreeMap;

use broker_admin_api::{
    BrokerState, BrokerStatus, CertificateStatus, DrainStatus, Member, MembershipChanged, NodeId,
    PeerLink, PolicyCounts, PolicyStatus, RaftStatus, Role,
};
use broker_policy::RecordSet;

#[derive(Debug)]
pub(super) struct State {
    pub(super) cluster_id: String,
    pub(super) brokers: BTreeMap<String, Broker>,
    pub(super) members: Vec<Member>,
    pub(super) log_index: u64,
    pub(super) leader: Option<NodeId>,
    pub(super) policy: RecordSet,
    pub(super) changes: Vec<String>,
    pub(super) is_policy_refused: bool,
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) node_id: NodeId,
    pub(super) is_up: bool,
    pub(super) version: String,
    pub(super) applied: RecordSet,
    /// Status calls until the applied revision counts as enforced.
    pub(super) lag: usize,
    pub(super) lag_after_change: usize,
    pub(super) enforced: RecordSet,
    pub(super) connections: u64,
    pub(super) drain: DrainStatus,
}

impl State {
    pub(super) fn elect(&mut self) {
        let is_up = |id: NodeId| self.brokers.values().any(|b| b.node_id == id && b.is_up);
        let alive: Vec<NodeId> = self
            .members
            .iter()
            .filter(|m| m.voter)
            .map(|m| m.node_id)
            .filter(|id| is_up(*id))
            .collect();
        let voters = self.members.iter().filter(|member| member.voter).count();
        let has_quorum = voters > 0 && alive.len() > voters / 2;
        let stays = self.leader.filter(|leader| alive.contains(leader));
        self.leader = if has_quorum { stays.or_else(|| alive.first().copied()) } else { None };
    }

    pub(super) fn commit(&mut self, policy: RecordSet) {
        self.log_index += 1;
        self.policy = policy;
        for broker in self.brokers.values_mut().filter(|broker| broker.is_up) {
            broker.applied = self.policy.clone();
            broker.lag = broker.lag_after_change;
        }
    }

    pub(super) fn name_of(&self, node_id: NodeId) -> String {
        let found = self.brokers.iter().find(|(_, broker)| broker.node_id == node_id);
        found.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    pub(super) fn membership(&mut self) -> MembershipChanged {
        self.log_index += 1;
        self.elect();
        let (membership_log_index, members) = (self.log_index, self.members.clone());
        MembershipChanged { membership_log_index, members }
    }

    pub(super) fn set_member(&mut self, node_id: NodeId, voter: bool) {
        let name = self.name_of(node_id);
        self.members.retain(|member| member.node_id != node_id);
        self.members.push(Member { node_id, name, voter, matched_index: None });
    }

    pub(super) fn status(&mut self, name: &str) -> Option<BrokerStatus> {
        let broker = self.brokers.get_mut(name)?;
        if broker.lag == 0 {
            broker.enforced = broker.applied.clone();
        } else {
            broker.lag -= 1;
        }
        let broker = &self.brokers[name];
        let own = self.members.iter().find(|member| member.node_id == broker.node_id);
        let is_leader = self.leader == Some(broker.node_id);
        let state = match own {
            None => BrokerState::Uninitialised,
            Some(_) if broker.drain.draining => BrokerState::Draining,
            Some(_) if self.leader.is_some() => BrokerState::Serving,
            Some(_) => BrokerState::Joining,
        };
        let role = match own {
            None => Role::None,
            Some(_) if is_leader => Role::Leader,
            Some(member) if member.voter => Role::Follower,
            Some(_) => Role::Learner,
        };
        let mut members = if own.is_some() { self.members.clone() } else { Vec::new() };
        if is_leader {
            members.iter_mut().for_each(|member| member.matched_index = Some(self.log_index));
        }
        Some(BrokerStatus {
            name: name.to_owned(),
            node_id: broker.node_id,
            cluster_id: self.cluster_id.clone(),
            version: broker.version.clone(),
            feature_level: 1,
            cluster_feature_level: 1,
            state,
            ready: state == BrokerState::Serving,
            ready_message: String::new(),
            raft: self.raft(role, members),
            policy: PolicyStatus {
                enforced_revision: broker.enforced.revision().to_string(),
                applied_revision: broker.applied.revision().to_string(),
                counts: PolicyCounts::default(),
            },
            connections: broker.connections,
            sessions: 0,
            drain: broker.drain.clone(),
            config_digest: String::new(),
            certificates: CertificateStatus::default(),
            peers: self.links(name),
            started_at: 0,
            uptime_seconds: 1,
        })
    }

    fn raft(&self, role: Role, members: Vec<Member>) -> RaftStatus {
        let is_member = role != Role::None;
        RaftStatus {
            role,
            term: 1,
            leader: self.leader,
            quorum_acknowledged_ms_ago: (role == Role::Leader).then_some(1),
            members,
            membership_log_index: is_member.then_some(self.log_index),
            membership_settled: true,
            last_log_index: is_member.then_some(self.log_index),
            last_applied_index: is_member.then_some(self.log_index),
            caught_up: is_member && self.leader.is_some(),
        }
    }

    fn links(&self, name: &str) -> Vec<PeerLink> {
        let others = self.brokers.iter().filter(|(other, _)| *other != name);
        others
            .map(|(other, broker)| PeerLink {
                node_id: Some(broker.node_id),
                name: other.clone(),
                outbound: broker.is_up,
                inbound: broker.is_up,
                last_error: None,
            })
            .collect()
    }
}
