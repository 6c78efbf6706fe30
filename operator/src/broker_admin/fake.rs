//! Brokers that exist only in memory, for tests of what is written against [`BrokerAdmin`]: they form a cluster as they are told,
//! commit policy changes on all brokers that are up, and log what they were asked to change.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerState, BrokerStatus, CertificateStatus,
    DrainRequest, DrainStatus, ErrorBody, Member, MembershipChanged, NodeId, PeerLink,
    PolicyChangeApplied, PolicyCounts, PolicyStatus, PromoteRequest, RaftStatus, Reason,
    RemoveRequest, Role, TransferAccepted, TransferRequest,
};
use broker_policy::{BucketIndex, BucketKeys, PolicyChange, PolicyDigests, RecordSet};

use super::{AdminError, Answer, BrokerAdmin, BrokerEndpoint};

/// A cluster of brokers in memory; the lowest voter that is up leads unless leadership was transferred.
#[derive(Debug)]
pub struct FakeBrokers {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cluster_id: String,
    brokers: BTreeMap<String, Broker>,
    members: Vec<Member>,
    log_index: u64,
    leader: Option<NodeId>,
    policy: RecordSet,
    changes: Vec<String>,
}

#[derive(Debug)]
struct Broker {
    node_id: NodeId,
    is_up: bool,
    version: String,
    applied: RecordSet,
    /// Status calls until the applied revision counts as enforced.
    lag: usize,
    lag_after_change: usize,
    enforced: RecordSet,
    is_draining: bool,
}

impl FakeBrokers {
    /// Brokers of these names, up, with empty disks.
    #[must_use]
    pub fn new(cluster_id: &str, names: &[&str]) -> Self {
        let broker = |at: usize| Broker {
            node_id: NodeId(at as u64 + 1),
            is_up: true,
            version: "0.1.0".to_owned(),
            applied: RecordSet::default(),
            lag: 0,
            lag_after_change: 0,
            enforced: RecordSet::default(),
            is_draining: false,
        };
        let brokers =
            names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), broker(at))).collect();
        Self {
            state: Mutex::new(State {
                cluster_id: cluster_id.to_owned(),
                brokers,
                members: Vec::new(),
                log_index: 0,
                leader: None,
                policy: RecordSet::default(),
                changes: Vec::new(),
            }),
        }
    }

    /// As [`FakeBrokers::new`], with every broker a voter already.
    #[must_use]
    pub fn formed(cluster_id: &str, names: &[&str]) -> Self {
        let fake = Self::new(cluster_id, names);
        let mut state = fake.lock();
        let members = state.brokers.iter().map(|(name, broker)| Member {
            node_id: broker.node_id,
            name: name.clone(),
            voter: true,
            matched_index: None,
        });
        state.members = members.collect();
        state.elect();
        drop(state);
        fake
    }

    /// Endpoints of all brokers, by name.
    #[must_use]
    pub fn endpoints(&self) -> Vec<BrokerEndpoint> {
        let endpoint = |name: &String| BrokerEndpoint {
            name: name.clone(),
            host: "fake".to_owned(),
            port: 0,
            server_name: name.clone(),
        };
        self.lock().brokers.keys().map(endpoint).collect()
    }

    /// Gives all brokers the identity of a cluster, as their configuration does.
    pub fn set_cluster_id(&self, cluster_id: &str) {
        cluster_id.clone_into(&mut self.lock().cluster_id);
    }

    /// Lets a broker crash or come back.
    pub fn set_up(&self, name: &str, is_up: bool) {
        let mut state = self.lock();
        let policy = state.policy.clone();
        if let Some(broker) = state.brokers.get_mut(name) {
            broker.is_up = is_up;
            broker.applied = policy;
        }
        state.elect();
    }

    /// Lets a broker lose its disk: it comes back empty under another identity.
    pub fn lose_disk(&self, name: &str) {
        let mut state = self.lock();
        let fresh = NodeId(state.log_index + 1_000);
        if let Some(broker) = state.brokers.get_mut(name) {
            broker.node_id = fresh;
            broker.applied = RecordSet::default();
            broker.enforced = RecordSet::default();
        }
        state.elect();
    }

    /// Lets a broker run another version.
    pub fn set_version(&self, name: &str, version: &str) {
        if let Some(broker) = self.lock().brokers.get_mut(name) {
            version.clone_into(&mut broker.version);
        }
    }

    /// Lets a broker enforce changes only after its status was asked for this many times more.
    pub fn set_lag(&self, name: &str, status_calls: usize) {
        if let Some(broker) = self.lock().brokers.get_mut(name) {
            broker.lag_after_change = status_calls;
        }
    }

    /// Puts a policy into force behind everyone's back.
    pub fn set_policy(&self, records: &RecordSet) {
        let mut state = self.lock();
        state.commit(records.clone());
    }

    /// The policy that is committed.
    #[must_use]
    pub fn policy(&self) -> RecordSet {
        self.lock().policy.clone()
    }

    /// What was changed, in order, each as `policy +2 -1`, `learner b`, `voter b`, `remove b`, `transfer b`, `bootstrap b`.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        self.lock().changes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answer<'a, T: Send + 'a>(
        &self,
        broker: &BrokerEndpoint,
        act: impl FnOnce(&mut State) -> Result<T, ErrorBody>,
    ) -> Answer<'a, T> {
        let mut state = self.lock();
        let outcome = match state.brokers.get(&broker.name) {
            Some(found) if found.is_up => act(&mut state).map_err(|body| AdminError::Refused {
                broker: broker.name.clone(),
                path: "/v1".to_owned(),
                body: Box::new(body),
            }),
            _ => Err(AdminError::Connect {
                broker: broker.name.clone(),
                source: std::io::ErrorKind::ConnectionRefused.into(),
            }),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn change_members(
        &self,
        broker: &BrokerEndpoint,
        log: String,
        act: impl FnOnce(&mut State),
    ) -> Answer<'static, MembershipChanged> {
        let name = broker.name.clone();
        self.answer(broker, |state| {
            if state.brokers.get(&name).map(|b| b.node_id) != state.leader {
                return Err(ErrorBody::new(Reason::NotLeader, "ask the leader"));
            }
            act(state);
            state.changes.push(log);
            Ok(state.membership())
        })
    }
}

impl State {
    fn elect(&mut self) {
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

    fn commit(&mut self, policy: RecordSet) {
        self.log_index += 1;
        self.policy = policy;
        for broker in self.brokers.values_mut().filter(|broker| broker.is_up) {
            broker.applied = self.policy.clone();
            broker.lag = broker.lag_after_change;
        }
    }

    fn name_of(&self, node_id: NodeId) -> String {
        let found = self.brokers.iter().find(|(_, broker)| broker.node_id == node_id);
        found.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    fn membership(&mut self) -> MembershipChanged {
        self.log_index += 1;
        self.elect();
        let (membership_log_index, members) = (self.log_index, self.members.clone());
        MembershipChanged { membership_log_index, members }
    }

    fn set_member(&mut self, node_id: NodeId, voter: bool) {
        let name = self.name_of(node_id);
        self.members.retain(|member| member.node_id != node_id);
        self.members.push(Member { node_id, name, voter, matched_index: None });
    }

    fn status(&mut self, name: &str) -> Option<BrokerStatus> {
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
            Some(_) if broker.is_draining => BrokerState::Draining,
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
            state,
            ready: state == BrokerState::Serving,
            ready_message: String::new(),
            raft: self.raft(role, members),
            policy: PolicyStatus {
                enforced_revision: broker.enforced.revision().to_string(),
                applied_revision: broker.applied.revision().to_string(),
                counts: PolicyCounts::default(),
            },
            connections: 0,
            sessions: 0,
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

impl BrokerAdmin for FakeBrokers {
    fn status<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, BrokerStatus> {
        self.answer(broker, |state| {
            let missing = || ErrorBody::new(Reason::NotFound, "no such broker");
            state.status(&broker.name).ok_or_else(missing)
        })
    }

    fn policy_digests<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, PolicyDigests> {
        self.answer(broker, |state| Ok(state.policy.digests()))
    }

    fn policy_bucket<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        bucket: BucketIndex,
    ) -> Answer<'a, BucketKeys> {
        self.answer(broker, |state| Ok(state.policy.bucket_keys(bucket)))
    }

    fn change_policy<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        change: &'a PolicyChange,
    ) -> Answer<'a, PolicyChangeApplied> {
        self.answer(broker, |state| {
            if state.leader.is_none() {
                return Err(ErrorBody::new(Reason::Unavailable, "no leader; try again"));
            }
            let applied = state.policy.apply(change).map_err(|error| {
                let revision = Some(state.policy.revision().to_string());
                ErrorBody {
                    revision,
                    ..ErrorBody::new(Reason::RevisionMismatch, error.to_string())
                }
            })?;
            state.commit(applied);
            state.changes.push(format!(
                "policy +{} -{}",
                change.upserts.len(),
                change.removals.len()
            ));
            Ok(PolicyChangeApplied {
                revision: state.policy.revision().to_string(),
                log_index: state.log_index,
            })
        })
    }

    fn bootstrap<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a BootstrapRequest,
    ) -> Answer<'a, MembershipChanged> {
        self.answer(broker, |state| {
            if !state.members.is_empty() {
                return Err(ErrorBody::new(Reason::AlreadyInitialised, "there is a cluster"));
            }
            state.set_member(request.node_id, true);
            state.changes.push(format!("bootstrap {}", broker.name));
            Ok(state.membership())
        })
    }

    fn add_learner<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a AddLearnerRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("learner {}", request.name);
        self.change_members(broker, log, |state| state.set_member(request.node_id, false))
    }

    fn promote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a PromoteRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("voter {}", self.lock().name_of(request.node_id));
        self.change_members(broker, log, |state| {
            state.set_member(request.node_id, true);
            let policy = state.policy.clone();
            state.commit(policy);
        })
    }

    fn remove<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a RemoveRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("remove {}", request.node_id);
        self.change_members(broker, log, |state| {
            state.members.retain(|member| member.node_id != request.node_id);
        })
    }

    fn transfer<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a TransferRequest,
    ) -> Answer<'a, TransferAccepted> {
        self.answer(broker, |state| {
            let to = request.to.unwrap_or_default();
            state.leader = Some(to);
            let name = state.name_of(to);
            state.changes.push(format!("transfer {name}"));
            Ok(TransferAccepted { to })
        })
    }

    fn drain<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DrainRequest,
    ) -> Answer<'a, DrainStatus> {
        self.answer(broker, |state| {
            if let Some(found) = state.brokers.get_mut(&broker.name) {
                found.is_draining = request.enabled;
            }
            Ok(DrainStatus { draining: request.enabled, connections: 0 })
        })
    }
}
