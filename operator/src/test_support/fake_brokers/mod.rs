//! Brokers that exist only in memory, for tests of what is written against
//! [`BrokerAdmin`](crate::broker_admin::BrokerAdmin): they form a cluster as they are told,

mod admin;
mod state;

use std::sync::{Mutex, MutexGuard};

use broker_admin_api::{DrainStatus, ErrorBody, Member, MembershipChanged, NodeId, Reason};
use broker_policy::RecordSet;

use self::state::{Broker, State};
use crate::broker_admin::{AdminError, Answer, BrokerEndpoint};

/// A cluster of brokers in memory; the lowest voter that is up leads unless leadership was transferred.
#[derive(Debug)]
pub struct FakeBrokers {
    state: Mutex<State>,
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
            connections: 0,
            drain: DrainStatus::default(),
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
                is_policy_refused: false,
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
            if !is_up {
                broker.connections = 0;
                broker.drain = DrainStatus::default();
            }
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

    /// So many clients are connected to a broker, until they are moved or it is restarted.
    pub fn set_connections(&self, name: &str, connections: u64) {
        if let Some(broker) = self.lock().brokers.get_mut(name) {
            broker.connections = connections;
        }
    }

    /// Founds the cluster from a backup, as a person does.
    pub fn restore(&self, name: &str) {
        let mut state = self.lock();
        if let Some(node_id) = state.brokers.get(name).map(|broker| broker.node_id) {
            state.set_member(node_id, true);
            state.membership();
        }
    }

    /// Starts a broker anew, in a version.
    pub fn set_version(&self, name: &str, version: &str) {
        if let Some(broker) = self.lock().brokers.get_mut(name) {
            version.clone_into(&mut broker.version);
            broker.connections = 0;
            broker.drain = DrainStatus::default();
        }
    }

    /// Lets a broker enforce changes only after its status was asked for this many times more; of
    /// the change that it is behind with, too, where that is sooner.
    pub fn set_lag(&self, name: &str, status_calls: usize) {
        if let Some(broker) = self.lock().brokers.get_mut(name) {
            broker.lag_after_change = status_calls;
            broker.lag = broker.lag.min(status_calls);
        }
    }

    /// Lets the brokers refuse changes of the policy as wrong in themselves, or take them again.
    pub fn refuse_policy(&self, is_refused: bool) {
        self.lock().is_policy_refused = is_refused;
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
