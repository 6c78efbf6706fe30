//! A cluster that exists only in memory: brokers with disks, a membership, elections. For tests.

use broker_admin_api::{
    BrokerState, BrokerStatus, CertificateStatus, DrainRequest, DrainStatus, Member, NodeId,
    PeerLink, PolicyCounts, PolicyStatus, RaftStatus, Role,
};
use jiff::SignedDuration;

use super::{ObservedBroker, Step, planner::majority};

pub(crate) const CLUSTER_ID: &str = "01K";
const LAST_LOG_INDEX: u64 = 500;

/// One broker: its process and its disk.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedBroker {
    pub(crate) name: String,
    pub(crate) node_id: NodeId,
    pub(crate) is_up: bool,
    /// Whether its disk holds consensus state.
    pub(crate) has_state: bool,
    pub(crate) matched: u64,
    pub(crate) connections: u64,
    pub(crate) is_draining: bool,
    /// For how long it has been down.
    pub(crate) down_for: SignedDuration,
}

impl SimulatedBroker {
    fn new(name: String, node_id: NodeId) -> Self {
        Self {
            name,
            node_id,
            is_up: true,
            has_state: false,
            matched: 0,
            connections: 0,
            is_draining: false,
            down_for: SignedDuration::ZERO,
        }
    }
}

/// The brokers and what their group has committed.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedCluster {
    pub(crate) brokers: Vec<SimulatedBroker>,
    pub(crate) members: Vec<Member>,
    pub(crate) membership_log_index: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: u64,
    pub(crate) foundings: usize,
    /// As brokers report it: 0 is an older broker.
    pub(crate) feature_level: u32,
    next_node_id: u64,
}

impl SimulatedCluster {
    /// Brokers `b-0`, `b-1`, … with empty disks, all up.
    pub(crate) fn new(count: usize) -> Self {
        let mut cluster = Self {
            brokers: Vec::new(),
            members: Vec::new(),
            membership_log_index: 0,
            leader: None,
            term: 0,
            foundings: 0,
            feature_level: 1,
            next_node_id: 1,
        };
        (0..count).for_each(|_| cluster.add_broker());
        cluster
    }

    /// As [`SimulatedCluster::new`], founded, every broker with its vote.
    pub(crate) fn formed(count: usize) -> Self {
        let mut cluster = Self::new(count);
        for broker in &mut cluster.brokers {
            broker.has_state = true;
            broker.matched = LAST_LOG_INDEX;
            let (node_id, name) = (broker.node_id, broker.name.clone());
            cluster.members.push(Member { node_id, name, voter: true, matched_index: None });
        }
        cluster.foundings = 1;
        cluster.membership_log_index = 7;
        cluster.elect();
        cluster
    }

    pub(crate) fn add_broker(&mut self) {
        let name = format!("b-{}", self.brokers.len());
        let node_id = self.fresh_node_id();
        self.brokers.push(SimulatedBroker::new(name, node_id));
    }

    fn fresh_node_id(&mut self) -> NodeId {
        self.next_node_id += 1;
        NodeId(self.next_node_id)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.brokers.iter().map(|broker| broker.name.clone()).collect()
    }

    /// The broker comes back with an empty disk, so under a new identity.
    pub(crate) fn lose_disk(&mut self, index: usize) {
        let node_id = self.fresh_node_id();
        let broker = &mut self.brokers[index];
        *broker = SimulatedBroker {
            is_up: broker.is_up,
            ..SimulatedBroker::new(broker.name.clone(), node_id)
        };
        self.elect();
    }

    pub(crate) fn alive_voters(&self) -> usize {
        let is_alive = |member: &&Member| {
            member.voter
                && self
                    .brokers
                    .iter()
                    .any(|b| b.node_id == member.node_id && b.is_up && b.has_state)
        };
        self.members.iter().filter(is_alive).count()
    }

    pub(crate) fn voters(&self) -> usize {
        self.members.iter().filter(|member| member.voter).count()
    }

    pub(crate) fn has_quorum(&self) -> bool {
        self.voters() > 0 && self.alive_voters() >= majority(self.voters())
    }

    /// A quorum keeps its leader while it is up, and otherwise elects the first voter that is.
    pub(crate) fn elect(&mut self) {
        let stands = |id: &NodeId| {
            self.members.iter().any(|m| m.voter && m.node_id == *id)
                && self.brokers.iter().any(|b| b.node_id == *id && b.is_up && b.has_state)
        };
        let leader = if self.has_quorum() {
            let ids = self.leader.into_iter().chain(self.members.iter().map(|m| m.node_id));
            ids.into_iter().find(stands)
        } else {
            None
        };
        if leader.is_some() && leader != self.leader {
            self.term += 1;
        }
        self.leader = leader;
    }

    /// Replication: everyone who is up and a member has the whole log.
    pub(crate) fn replicate(&mut self) {
        if self.leader.is_none() {
            return;
        }
        for broker in &mut self.brokers {
            if broker.is_up && self.members.iter().any(|m| m.node_id == broker.node_id) {
                broker.matched = LAST_LOG_INDEX;
                broker.has_state = true;
            }
        }
    }

    /// Does what the planner says. Panics when a rule is broken.
    pub(crate) fn take(&mut self, step: &Step) {
        let had_quorum = self.has_quorum();
        match step {
            Step::Bootstrap { broker, node_id } => {
                assert_eq!(self.foundings, 0, "founded twice");
                let at = self.position(*node_id);
                assert!(self.brokers[at].name == *broker && !self.brokers[at].has_state);
                self.brokers[at].has_state = true;
                self.foundings += 1;
                self.set_member(*node_id, broker, true);
                self.elect();
                self.replicate();
                return;
            }
            Step::AddLearner { broker, node_id, .. } => self.set_member(*node_id, broker, false),
            Step::Promote { broker, node_id, .. } => {
                assert!(self.brokers[self.position(*node_id)].matched > 0, "promoted too early");
                self.set_member(*node_id, broker, true);
            }
            Step::Demote { node_id, broker, .. } => {
                assert_ne!(self.leader, Some(*node_id), "demoted the leader");
                self.set_member(*node_id, broker, false);
            }
            Step::Drain { broker } => {
                let at = self.brokers.iter().position(|b| b.name == *broker).expect("a broker");
                self.brokers[at].is_draining = true;
                return;
            }
            Step::Remove { node_id, .. } => {
                assert_ne!(self.leader, Some(*node_id), "removed the leader");
                self.members.retain(|member| member.node_id != *node_id);
                self.membership_log_index += 1;
            }
            Step::TransferLeadership { to, .. } => self.leader = Some(*to),
            Step::RecordFounded | Step::Wait { .. } | Step::Aligned | Step::Refuse { .. } => return,
        }
        assert!(had_quorum, "{step:?} without a majority before it");
        assert!(self.has_quorum(), "{step:?} leaves no majority: {self:?}");
        self.elect();
    }

    fn position(&self, node_id: NodeId) -> usize {
        self.brokers.iter().position(|broker| broker.node_id == node_id).expect("a known identity")
    }

    pub(crate) fn set_member(&mut self, node_id: NodeId, name: &str, voter: bool) {
        self.members.retain(|member| member.node_id != node_id);
        self.members.push(Member { node_id, name: name.to_owned(), voter, matched_index: None });
        self.membership_log_index += 1;
    }

    pub(crate) fn observe(&self) -> Vec<ObservedBroker> {
        self.brokers
            .iter()
            .map(|broker| ObservedBroker {
                name: broker.name.clone(),
                status: if broker.is_up {
                    Ok(self.status(broker))
                } else {
                    Err("connection refused".to_owned())
                },
                unready_for: broker.down_for,
            })
            .collect()
    }

    pub(crate) fn status(&self, broker: &SimulatedBroker) -> BrokerStatus {
        let is_leader = self.leader == Some(broker.node_id);
        let own = self.members.iter().find(|member| member.node_id == broker.node_id);
        let role = match own {
            _ if !broker.has_state => Role::None,
            _ if is_leader => Role::Leader,
            Some(member) if member.voter => Role::Follower,
            Some(_) => Role::Learner,
            None => Role::None,
        };
        let is_serving = broker.has_state && own.is_some() && self.leader.is_some();
        let mut members = if broker.has_state { self.members.clone() } else { Vec::new() };
        if is_leader {
            for member in &mut members {
                let known = self.brokers.iter().find(|b| b.node_id == member.node_id);
                member.matched_index = known.map(|b| b.matched).filter(|matched| *matched > 0);
            }
        }
        BrokerStatus {
            name: broker.name.clone(),
            node_id: broker.node_id,
            cluster_id: CLUSTER_ID.to_owned(),
            version: "0.1.0".to_owned(),
            feature_level: 1,
            cluster_feature_level: self.feature_level,
            state: match (broker.has_state, is_serving) {
                _ if broker.is_draining => BrokerState::Draining,
                (false, _) => BrokerState::Uninitialised,
                (true, false) => BrokerState::Joining,
                (true, true) => BrokerState::Serving,
            },
            ready: is_serving && !broker.is_draining,
            ready_message: if is_serving { String::new() } else { "no leader".to_owned() },
            raft: self.raft(broker, role, members),
            policy: PolicyStatus {
                enforced_revision: "r1".to_owned(),
                applied_revision: "r1".to_owned(),
                counts: PolicyCounts::default(),
            },
            connections: broker.connections,
            sessions: 0,
            drain: DrainStatus {
                draining: broker.is_draining,
                connections: broker.connections,
                requested_by: broker.is_draining.then(|| DrainRequest::BY_OPERATOR.to_owned()),
                ..DrainStatus::default()
            },
            config_digest: String::new(),
            certificates: CertificateStatus::default(),
            peers: self.links_of(broker),
            started_at: 0,
            uptime_seconds: 0,
        }
    }

    fn raft(&self, broker: &SimulatedBroker, role: Role, members: Vec<Member>) -> RaftStatus {
        RaftStatus {
            role,
            term: if broker.has_state { self.term } else { 0 },
            leader: self.leader.filter(|_| broker.has_state),
            quorum_acknowledged_ms_ago: (role == Role::Leader).then_some(5),
            membership_log_index: broker.has_state.then_some(self.membership_log_index),
            members,
            membership_settled: true,
            last_log_index: broker.has_state.then_some(LAST_LOG_INDEX),
            last_applied_index: Some(broker.matched),
            caught_up: self.leader.is_some() && broker.matched == LAST_LOG_INDEX,
        }
    }

    fn links_of(&self, broker: &SimulatedBroker) -> Vec<PeerLink> {
        let others = self.brokers.iter().filter(|other| other.name != broker.name);
        others
            .map(|other| PeerLink {
                node_id: Some(other.node_id),
                name: other.name.clone(),
                outbound: other.is_up,
                inbound: other.is_up,
                last_error: None,
            })
            .collect()
    }
}
