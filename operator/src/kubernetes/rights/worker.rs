//! The worker of one cluster's users and rules. IO.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use broker_admin_api::{BrokerStatus, Role};
use broker_policy::Revision;
use futures::future::join_all;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use operator_api::{MqttAcl, MqttCluster, MqttUser};
use operator_core::cluster::names::REPLICAS_MAX;
use operator_core::cluster::status::PolicyState;
use operator_core::policy::{CompiledPolicy, PolicyInput, Problem, UserInput, compile};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::super::cluster::brokers::{Prepared, endpoint};
use super::super::scope::{ClusterKey, Scope};
use super::credentials::{AllCredentials, ensure_all};
use super::finalizer;
use super::statuses::{self, Progress};
use crate::broker_admin::BrokerEndpoint;
use crate::policy_sync::{
    EnforcedRecords, Enforcement, PolicySync, enforcement, wait_until_enforced,
};

/// How long changes are collected before they are compiled together.
const DEBOUNCE: Duration = Duration::from_millis(30);
/// How long the brokers get for enforcing a change before others are looked at.
const ENFORCE_WITHIN: Duration = Duration::from_secs(5);
/// How soon a policy that is not enforced is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the brokers are asked whether they still enforce the policy.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// How often everything is looked at anew, as certificates end.
const RENEW_EVERY: Duration = Duration::from_mins(10);

/// The worker of one cluster's users and rules.
pub(super) struct Worker {
    scope: Arc<Scope>,
    key: ClusterKey,
    wake: Arc<Notify>,
    permits: Arc<Semaphore>,
    credentials: AllCredentials,
    sync: PolicySync,
    enforced: EnforcedRecords,
    compiled: Option<CompiledPolicy>,
}

/// What a pass came to.
enum Outcome {
    /// Nothing is left to do until something changes.
    AtRest,
    /// Something is still to be done.
    Unfinished,
    /// There is no cluster and nothing that names it.
    Over,
}

/// Whether there is anything that names a cluster.
pub(super) fn has_work(scope: &Scope, key: &ClusterKey) -> bool {
    let (users, acls) = objects(scope, key);
    !users.is_empty() || !acls.is_empty() || cluster_of(scope, key).is_some()
}

fn cluster_of(scope: &Scope, key: &ClusterKey) -> Option<Arc<MqttCluster>> {
    scope
        .caches
        .clusters
        .get(&ObjectRef::new(&key.name).within(&key.namespace))
        .filter(|cluster| cluster.metadata.deletion_timestamp.is_none())
}

/// The users and rules that name a cluster, by name.
fn objects(scope: &Scope, key: &ClusterKey) -> (Vec<Arc<MqttUser>>, Vec<Arc<MqttAcl>>) {
    let mut users: Vec<_> =
        scope.caches.users.state_filter(|user| ClusterKey::of_user(user).as_ref() == Some(key));
    users.sort_by_key(|user| user.name_any());
    let mut acls: Vec<_> =
        scope.caches.acls.state_filter(|acl| ClusterKey::of_acl(acl).as_ref() == Some(key));
    acls.sort_by_key(|acl| acl.name_any());
    (users, acls)
}

impl Worker {
    pub(super) fn new(
        scope: Arc<Scope>,
        key: ClusterKey,
        wake: Arc<Notify>,
        permits: Arc<Semaphore>,
    ) -> Self {
        Self {
            scope,
            key,
            wake,
            permits,
            credentials: AllCredentials::default(),
            sync: PolicySync::default(),
            enforced: EnforcedRecords::default(),
            compiled: None,
        }
    }

    /// Works until there is neither a cluster nor anything that names it.
    pub(super) async fn run(mut self) {
        let mut pause = None;
        let mut renewed = Instant::now();
        loop {
            let is_woken = match pause {
                None => {
                    self.wake.notified().await;
                    true
                }
                Some(pause) => tokio::time::timeout(pause, self.wake.notified()).await.is_ok(),
            };
            if is_woken {
                tokio::time::sleep(DEBOUNCE).await;
            }
            let is_whole = is_woken || self.compiled.is_none() || renewed.elapsed() > RENEW_EVERY;
            if is_whole {
                renewed = Instant::now();
            }
            let started = Instant::now();
            let outcome = self.pass(is_whole).await;
            let took = started.elapsed().as_secs_f64();
            self.scope.metrics.reconcile_seconds.with_label_values(&["rights"]).observe(took);
            pause = Some(match outcome {
                Outcome::AtRest => CHECK_EVERY,
                Outcome::Unfinished => RETRY,
                Outcome::Over => {
                    self.scope.rights.forget(&self.key);
                    return;
                }
            });
        }
    }

    async fn pass(&mut self, is_whole: bool) -> Outcome {
        let (users, acls) = objects(&self.scope, &self.key);
        let Some(cluster) = cluster_of(&self.scope, &self.key) else {
            return self.without_cluster(&users, &acls).await;
        };
        let Some(prepared) = self.scope.brokers.get(&self.key) else {
            self.not_prepared(&cluster, &users, &acls).await;
            return Outcome::Unfinished;
        };
        if is_whole {
            self.compile(&prepared, &users, &acls).await;
        }
        let is_complete = self.enforce(&prepared).await;
        self.report(&users, &acls, is_complete).await;
        // A cluster that was never founded has no broker that could know a user.
        let founded = cluster.status.as_ref().is_some_and(|status| status.founded);
        if is_complete || !founded {
            finalizer::remove(&self.scope, &users).await;
        }
        if is_complete { Outcome::AtRest } else { Outcome::Unfinished }
    }

    /// There is no cluster: users that are being deleted may go, the others are told.
    async fn without_cluster(&mut self, users: &[Arc<MqttUser>], acls: &[Arc<MqttAcl>]) -> Outcome {
        finalizer::remove(&self.scope, users).await;
        let users: Vec<_> =
            users.iter().filter(|u| u.metadata.deletion_timestamp.is_none()).cloned().collect();
        let problem = Problem::unknown_cluster(&self.key.name);
        statuses::refuse(&self.scope, (&users, acls), &problem).await;
        Outcome::Over
    }

    /// The cluster's spec can't be acted upon, or has not been yet: users may go, and are told.
    async fn not_prepared(
        &mut self,
        cluster: &MqttCluster,
        users: &[Arc<MqttUser>],
        acls: &[Arc<MqttAcl>],
    ) {
        let status = cluster.status.as_ref();
        if status.is_none_or(|status| !status.founded) {
            finalizer::remove(&self.scope, users).await;
        }
        let ready = status
            .filter(|status| status.observed_generation == cluster.metadata.generation)
            .and_then(|status| status.conditions.iter().find(|c| c.type_ == "Ready"));
        let Some(ready) = ready.filter(|ready| ready.status == "False") else { return };
        let message = format!("MqttCluster {} is not ready: {}", self.key.name, ready.message);
        let reason = operator_core::policy::ProblemReason::UnknownCluster;
        statuses::refuse(&self.scope, (users, acls), &Problem { reason, message }).await;
    }

    /// Brings credentials up to date and compiles all into records.
    async fn compile(
        &mut self,
        prepared: &Prepared,
        users: &[Arc<MqttUser>],
        acls: &[Arc<MqttAcl>],
    ) {
        finalizer::add(&self.scope, users).await;
        {
            let _permit = self.permits.acquire().await;
            ensure_all(&self.scope, prepared, users, &mut self.credentials).await;
        }
        let credential = |user: &MqttUser| {
            let known = self.credentials.get(&user.name_any());
            known.map_or(operator_core::policy::UserCredential::Missing, |known| {
                known.credential.clone()
            })
        };
        let compiled = compile(&PolicyInput {
            namespace: &self.key.namespace,
            cluster: &self.key.name,
            settings: &prepared.cluster.policy,
            users: users
                .iter()
                .map(|user| UserInput { user, credential: credential(user) })
                .collect(),
            acls: acls.iter().map(|acl| &**acl).collect(),
        });
        let rules = acls.iter().map(|acl| acl.spec.rules.len()).sum();
        self.note(&compiled, users.len(), rules, None);
        self.compiled = Some(compiled);
    }

    fn note(&self, compiled: &CompiledPolicy, users: usize, rules: usize, problem: Option<String>) {
        let problem =
            problem.or_else(|| compiled.problems.first().map(|problem| problem.message.clone()));
        let wanted_revision = Some(compiled.revision().to_string());
        let state = PolicyState { wanted_revision, users, rules, problem };
        self.scope.rights.set_policy_state(&self.key, state);
    }

    /// Pushes what differs and waits for the brokers. Returns whether every serving one enforces it.
    async fn enforce(&mut self, prepared: &Prepared) -> bool {
        let Some(compiled) = &self.compiled else { return false };
        let endpoints = endpoints(&self.scope, prepared);
        let statuses = ask(prepared, &endpoints).await;
        let revision = compiled.revision();
        let found = enforcement(revision, statuses.iter().map(|(_, status)| status));
        if found.is_complete() {
            self.enforced.note(&compiled.records, true);
            return true;
        }
        self.enforced.note(&compiled.records, false);
        if statuses.is_empty() {
            return false;
        }
        let started = Instant::now();
        let (order, applied) = order(&statuses);
        let pushed = self.sync.push(&*prepared.admin, &order, &compiled.records, applied).await;
        match pushed {
            Ok(pushed) if pushed.records() > 0 => {
                self.scope.metrics.records_sent(pushed.upserts, pushed.removals);
                tracing::info!(
                    namespace = self.key.namespace,
                    name = self.key.name,
                    revision = revision.short(),
                    upserts = pushed.upserts,
                    removals = pushed.removals,
                    "pushed the policy"
                );
            }
            Ok(_) => {}
            Err(error) => {
                let reason = "PolicyNotApplied";
                self.scope.metrics.reconcile_errors.with_label_values(&["rights", reason]).inc();
                tracing::warn!(
                    namespace = self.key.namespace,
                    name = self.key.name,
                    reason,
                    error = error.chain(),
                    "the policy was not pushed"
                );
                return false;
            }
        }
        let deadline = started + ENFORCE_WITHIN;
        let found: Enforcement = tokio::select! {
            found = wait_until_enforced(&*prepared.admin, &endpoints, revision, deadline) => found,
            // Something changed meanwhile: it must not wait for this. The wake-up is kept.
            () = self.wake.notified() => {
                self.wake.notify_one();
                return false;
            }
        };
        if found.is_complete() {
            self.enforced.note(&compiled.records, true);
            self.scope.metrics.policy_push_seconds.observe(started.elapsed().as_secs_f64());
            self.scope.rights.tell_cluster(&self.key);
        }
        found.is_complete()
    }

    async fn report(&self, users: &[Arc<MqttUser>], acls: &[Arc<MqttAcl>], is_complete: bool) {
        let Some(compiled) = &self.compiled else { return };
        let pending = self.enforced.pending().map(|keys| keys.into_iter().collect::<HashSet<_>>());
        let waiting = if is_complete {
            ("Enforced", String::new())
        } else {
            ("Propagating", "not every serving broker enforces it yet".to_owned())
        };
        let revision = compiled.revision().short();
        let progress = Progress { pending, revision, waiting };
        let objects = (users, acls);
        statuses::write(&self.scope, objects, compiled, &self.credentials, &progress).await;
    }
}

/// Where the brokers of a cluster are.
fn endpoints(scope: &Scope, prepared: &Prepared) -> Vec<BrokerEndpoint> {
    (0..REPLICAS_MAX).filter_map(|ordinal| endpoint(scope, &prepared.cluster, ordinal)).collect()
}

/// The answers of those brokers that give one.
async fn ask(
    prepared: &Prepared,
    endpoints: &[BrokerEndpoint],
) -> Vec<(BrokerEndpoint, BrokerStatus)> {
    let asked = endpoints.iter().map(|endpoint| async {
        let status = prepared.admin.status(endpoint).await.ok()?;
        Some((endpoint.clone(), status))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The leader first, and the revision that it has applied.
fn order(statuses: &[(BrokerEndpoint, BrokerStatus)]) -> (Vec<BrokerEndpoint>, Option<Revision>) {
    let is_leader = |status: &BrokerStatus| status.raft.role == Role::Leader;
    let mut order: Vec<_> = statuses.iter().collect();
    order.sort_by_key(|(_, status)| (!is_leader(status), std::cmp::Reverse(status.raft.term)));
    let applied = order
        .first()
        .filter(|(_, status)| is_leader(status))
        .and_then(|(_, status)| status.policy.applied_revision.parse().ok());
    (order.into_iter().map(|(endpoint, _)| endpoint.clone()).collect(), applied)
}
