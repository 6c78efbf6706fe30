//! The worker of one cluster's users and rules. IO.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use operator_api::cluster::PolicySettings;
use operator_api::{MqttCluster, MqttUser};
use operator_core::cluster::status::PolicyState;
use operator_core::policy::{
    CompiledPolicy, Compiler, EnforcedRecords, PolicyInput, Problem, ProblemReason, Progress,
    UserCredential, UserInput,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::cluster::brokers::Prepared;
use super::super::scope::{ClusterKey, Scope};
use super::credentials::{AllCredentials, ensure_all};
use super::enforce::{Reached, Waiting};
use super::finalizer;
use super::statuses::{Objects, Statuses};
use crate::policy_sync::PolicySync;

/// How long changes are collected before they are compiled together.
const DEBOUNCE: Duration = Duration::from_millis(30);
/// How soon the brokers are asked again while a policy is on its way to them.
const RETRY: Duration = Duration::from_secs(1);
/// How soon at most it is looked again whether the cluster's own controller has got ready.
const UNPREPARED_RETRY: Duration = Duration::from_secs(30);
/// How often the brokers are asked whether they still enforce the policy.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// For how long a change that was interrupted by the next one is not told to be on its way.
const FRESH: Duration = Duration::from_secs(2);

/// The worker of one cluster's users and rules.
pub(super) struct Worker {
    pub(super) scope: Arc<Scope>,
    pub(super) key: ClusterKey,
    pub(super) wake: Arc<Notify>,
    permits: Arc<Semaphore>,
    credentials: AllCredentials,
    compiler: Compiler,
    pub(super) compiled: Option<CompiledPolicy>,
    /// From which objects and settings.
    compiled_from: Option<(Objects, PolicySettings)>,
    pub(super) sync: PolicySync,
    pub(super) enforced: EnforcedRecords,
    /// Why what was compiled is not enforced.
    pub(super) waiting: Waiting,
    /// Since when brokers that answer are behind; `None`: they aren't.
    pub(super) behind_since: Option<Instant>,
    statuses: Statuses,
}

/// What a pass came to.
enum Outcome {
    /// Nothing is left to do until something changes.
    AtRest,
    /// The brokers are about to enforce it.
    OnItsWay,
    /// It did not work; the next try comes the later the more often that happens in a row.
    Failed {
        /// But not later than this.
        retry_within: Duration,
    },
    /// There is no cluster and nothing that names it.
    Over,
}

/// Whether there is anything that names a cluster.
pub(super) fn has_work(scope: &Scope, key: &ClusterKey) -> bool {
    let objects = objects(scope, key);
    !objects.users.is_empty() || !objects.acls.is_empty() || cluster_of(scope, key).is_some()
}

fn cluster_of(scope: &Scope, key: &ClusterKey) -> Option<Arc<MqttCluster>> {
    scope
        .caches
        .clusters
        .get(&ObjectRef::new(&key.name).within(&key.namespace))
        .filter(|cluster| cluster.metadata.deletion_timestamp.is_none())
}

/// The users and rules that name a cluster, by name.
fn objects(scope: &Scope, key: &ClusterKey) -> Objects {
    let is_here = |namespace: &Option<String>| namespace.as_ref() == Some(&key.namespace);
    let mut users = scope.caches.users.state_filter(|user| {
        user.spec.cluster_ref.name == key.name && is_here(&user.metadata.namespace)
    });
    users.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    let mut acls = scope.caches.acls.state_filter(|acl| {
        acl.spec.cluster_ref.name == key.name && is_here(&acl.metadata.namespace)
    });
    acls.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    Objects { users, acls }
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
            compiler: Compiler::default(),
            compiled: None,
            compiled_from: None,
            sync: PolicySync::default(),
            enforced: EnforcedRecords::default(),
            waiting: Waiting::default(),
            behind_since: None,
            statuses: Statuses::default(),
        }
    }

    /// Works until there is neither a cluster nor anything that names it.
    pub(super) async fn run(mut self) {
        let mut pause = None;
        let failures = format!("rights of {}", self.key);
        loop {
            let is_woken = match pause {
                None => {
                    self.wake.notified().await;
                    true
                }
                Some(pause) => tokio::time::timeout(pause, self.wake.notified()).await.is_ok(),
            };
            if is_woken {
                // What failed may work now.
                self.scope.backoff.succeeded(&failures);
                tokio::time::sleep(DEBOUNCE).await;
            }
            let started = Instant::now();
            let outcome = self.pass().await;
            let took = started.elapsed().as_secs_f64();
            self.scope.metrics.reconcile_seconds.with_label_values(&["rights"]).observe(took);
            pause = Some(match outcome {
                Outcome::Failed { retry_within } => {
                    self.scope.backoff.next_within(&failures, retry_within)
                }
                Outcome::AtRest | Outcome::OnItsWay | Outcome::Over => {
                    self.scope.backoff.succeeded(&failures);
                    if matches!(outcome, Outcome::AtRest) { CHECK_EVERY } else { RETRY }
                }
            });
            if matches!(outcome, Outcome::Over) {
                self.scope.rights.forget(&self.key);
                return;
            }
        }
    }

    async fn pass(&mut self) -> Outcome {
        let objects = objects(&self.scope, &self.key);
        let Some(cluster) = cluster_of(&self.scope, &self.key) else {
            return self.without_cluster(objects).await;
        };
        let Some(prepared) = self.scope.brokers.get(&self.key) else {
            self.not_prepared(&cluster, &objects).await;
            return Outcome::Failed { retry_within: UNPREPARED_RETRY };
        };
        self.compile(&prepared, &objects).await;
        self.tell_cluster(&objects);
        let reached = self.enforce(&prepared).await;
        self.tell_cluster(&objects);
        let is_fresh = self.behind_since.is_some_and(|since| since.elapsed() < FRESH);
        if !(reached == Reached::Interrupted && is_fresh) {
            self.report(&cluster, &objects).await;
        }
        // A cluster that was never founded has no broker that could know a user.
        let founded = cluster.status.as_ref().is_some_and(|status| status.founded);
        if reached == Reached::Enforced || !founded {
            let _permit = self.permit().await;
            finalizer::remove(&self.scope, &objects.users).await;
        }
        match reached {
            Reached::Enforced => Outcome::AtRest,
            Reached::OnItsWay | Reached::Interrupted => Outcome::OnItsWay,
            Reached::NotPushed { retry_within } => Outcome::Failed { retry_within },
        }
    }

    /// The right to load the machine, the API server or the brokers: few workers have it at a
    /// time. Not to be held while brokers are waited for.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// There is no cluster: users that are being deleted may go, the others are told, and it is
    /// waited for a change.
    async fn without_cluster(&mut self, mut objects: Objects) -> Outcome {
        let _permit = self.permit().await;
        finalizer::remove(&self.scope, &objects.users).await;
        objects.users.retain(|user| user.metadata.deletion_timestamp.is_none());
        let problem = Problem::unknown_cluster(&self.key.name);
        self.statuses.refuse(&self.scope, None, &objects, &problem).await;
        // What is there now, not what was: a worker that ends while objects remain is started again.
        if has_work(&self.scope, &self.key) {
            return Outcome::Failed { retry_within: UNPREPARED_RETRY };
        }
        Outcome::Over
    }

    /// The cluster's spec can't be acted upon, or has not been yet: users may go, and are told.
    async fn not_prepared(&mut self, cluster: &Arc<MqttCluster>, objects: &Objects) {
        let _permit = self.permit().await;
        let status = cluster.status.as_ref();
        if status.is_none_or(|status| !status.founded) {
            finalizer::remove(&self.scope, &objects.users).await;
        }
        let ready = status
            .filter(|status| status.observed_generation == cluster.metadata.generation)
            .and_then(|status| status.conditions.iter().find(|c| c.type_ == "Ready"));
        let Some(ready) = ready.filter(|ready| ready.status == "False") else { return };
        let message = format!("MqttCluster {} is not ready: {}", self.key.name, ready.message);
        let problem = Problem { reason: ProblemReason::UnknownCluster, message };
        self.statuses.refuse(&self.scope, Some(cluster), objects, &problem).await;
    }

    /// Brings credentials up to date and compiles all into records.
    async fn compile(&mut self, prepared: &Prepared, objects: &Objects) {
        let _permit = self.permit().await;
        finalizer::add(&self.scope, &objects.users).await;
        let users = &objects.users;
        let is_new = ensure_all(&self.scope, prepared, users, &mut self.credentials).await;
        let settings = &prepared.cluster.policy;
        let is_same =
            |(before, known): &(Objects, PolicySettings)| before.are(objects) && known == settings;
        if !is_new && self.compiled_from.as_ref().is_some_and(is_same) {
            return;
        }
        let credential = |user: &MqttUser| {
            let known = user.metadata.name.as_ref().and_then(|name| self.credentials.get(name));
            known.map_or(UserCredential::Missing, |known| known.credential.clone())
        };
        let users = objects.users.iter();
        self.compiled = Some(self.compiler.compile(&PolicyInput {
            namespace: &self.key.namespace,
            cluster: &self.key.name,
            settings,
            users: users.map(|user| UserInput { user, credential: credential(user) }).collect(),
            acls: objects.acls.iter().map(|acl| &**acl).collect(),
        }));
        self.compiled_from = Some((objects.clone(), settings.clone()));
    }

    /// Tells what the cluster's own status says of the policy.
    fn tell_cluster(&self, objects: &Objects) {
        let Some(compiled) = &self.compiled else { return };
        let own = compiled.problems.first().map(|problem| problem.message.clone());
        let state = PolicyState {
            wanted_revision: Some(compiled.revision().to_string()),
            users: objects.users.len(),
            rules: objects.acls.iter().map(|acl| acl.spec.rules.len()).sum(),
            problem: self.waiting.problem.clone().or(own),
        };
        self.scope.rights.set_policy_state(&self.key, state);
    }

    async fn report(&mut self, cluster: &Arc<MqttCluster>, objects: &Objects) {
        let Some(compiled) = &self.compiled else { return };
        let progress = Progress {
            pending: self.enforced.pending(),
            revision: compiled.revision().short(),
            reason: self.waiting.reason,
            message: self.waiting.message.clone(),
        };
        let _permit = self.permit().await;
        let known = (compiled, &self.credentials);
        self.statuses.write(&self.scope, cluster, objects, known, &progress).await;
    }
}
