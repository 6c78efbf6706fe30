//! The status of a cluster, from what was found. Pure.

use broker_policy::digest::REVISION_DIGITS_SHOWN;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::MqttClusterStatus;
use operator_api::cluster::{BrokerReport, Endpoint, PlannedStep};

use super::findings::Found;
use super::names::ClusterNames;
use super::validate::ValidatedCluster;
use crate::condition::set_conditions;
use crate::membership::Step;
use crate::rollout::{NextStep, Observed, Wanted};

/// The short form of a policy revision, as statuses show it.
#[must_use]
pub fn short_revision(revision: &str) -> String {
    revision.chars().take(REVISION_DIGITS_SHOWN).collect()
}

/// What is known of a cluster's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyState {
    /// The revision that shall be in force; `None` while it isn't known.
    pub wanted_revision: Option<String>,
    /// How many users it holds.
    pub users: usize,
    /// How many rules it holds.
    pub rules: usize,
    /// Why it can't be brought to the brokers; `None` when nothing is wrong.
    pub problem: Option<String>,
}

impl PolicyState {
    /// Whether the policy was compiled since the operator started.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.wanted_revision.is_some() || self.problem.is_some()
    }
}

/// All that a cluster's status is made from.
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    /// The cluster.
    pub cluster: &'a ValidatedCluster,
    /// Its status before.
    pub before: &'a MqttClusterStatus,
    /// Every broker that runs or should run, by ordinal.
    pub brokers: &'a [Observed],
    /// What every broker shall run.
    pub wanted: &'a Wanted,
    /// What the membership planner said.
    pub membership: &'a Step,
    /// What the rollout planner said.
    pub rollout: &'a NextStep,
    /// What will be done next.
    pub plan: &'a [PlannedStep],
    /// The policy.
    pub policy: &'a PolicyState,
    /// What is wrong with certificates, each in words; empty when nothing is.
    pub certificate_problems: &'a [String],
    /// Where clients connect.
    pub endpoints: &'a [Endpoint],
    /// The time.
    pub now: Timestamp,
}

/// Where clients connect inside Kubernetes.
#[must_use]
pub fn kubernetes_endpoints(cluster: &ValidatedCluster) -> Vec<Endpoint> {
    let endpoint = |listener| Endpoint {
        listener: operator_api::cluster::Listener::clone(listener).name,
        address: cluster.listener_address(listener),
    };
    cluster.listeners.iter().map(endpoint).collect()
}

/// The status of a cluster.
#[must_use]
pub fn build(input: &StatusInput<'_>) -> MqttClusterStatus {
    let StatusInput { cluster, before, brokers, wanted, .. } = *input;
    let found = Found::of(input);
    let mut status = before.clone();
    let generation = cluster.generation;
    status.observed_generation = generation;
    status.cluster_id = Some(cluster.cluster_id.clone());
    status.founded = before.founded;
    if let Some(version) = found.common_version() {
        status.version = Some(version);
    }
    let is_reached = status.version.as_deref() == Some(&*wanted.version) && found.all_current();
    status.target_version = (!is_reached).then(|| wanted.version.clone());
    status.replicas = i32::try_from(brokers.iter().filter(|b| b.instance.is_some()).count()).ok();
    status.ready_brokers = Some(format!("{}/{}", found.ready_count(), cluster.replicas));
    status.selector = Some(cluster.names.selector());
    let connections: u64 = found.answers().map(|answer| answer.connections).sum();
    status.connections = i64::try_from(connections).ok();
    status.brokers = brokers.iter().map(report).collect();
    let mut policy = before.policy.clone().unwrap_or_default();
    policy.revision = found.common_revision().map(|revision| short_revision(&revision));
    if input.policy.is_known() {
        policy.users = i64::try_from(input.policy.users).unwrap_or(i64::MAX);
        policy.rules = i64::try_from(input.policy.rules).unwrap_or(i64::MAX);
    }
    status.policy = Some(policy);
    status.endpoints = input.endpoints.to_vec();
    status.ca_secret_name = Some(ClusterNames::new(&*cluster.name).ca_bundle_secret());
    status.plan = input.plan.to_vec();
    set_conditions(&mut status.conditions, &found.findings(), generation, input.now);
    status
}

/// Whether two statuses differ in more than in how many clients are connected.
#[must_use]
pub fn differs_beyond_counters(before: &MqttClusterStatus, after: &MqttClusterStatus) -> bool {
    let without_counters = |status: &MqttClusterStatus| {
        let mut status = status.clone();
        status.connections = None;
        status.brokers.iter_mut().for_each(|broker| broker.connections = None);
        status
    };
    without_counters(before) != without_counters(after)
}

fn report(broker: &Observed) -> BrokerReport {
    let name = broker.name.clone();
    let Ok(status) = &broker.status else {
        return BrokerReport { name, role: Some("Unreachable".into()), ..BrokerReport::default() };
    };
    let served = status.certificates.server.as_ref();
    let not_after = served.and_then(|served| Timestamp::from_second(served.not_after).ok());
    BrokerReport {
        name,
        node_id: Some(status.node_id.to_string()),
        role: Some(status.raft.role.as_str().to_owned()),
        state: Some(status.state.as_str().to_owned()),
        version: Some(status.version.clone()),
        policy_revision: (!status.policy.enforced_revision.is_empty())
            .then(|| short_revision(&status.policy.enforced_revision)),
        connections: i64::try_from(status.connections).ok(),
        certificate_not_after: not_after.map(Time),
    }
}
