//! Brings the compiled policy to the brokers, and learns how far they are. IO.

use std::cmp::Reverse;
use std::time::Duration;

use broker_admin_api::{BrokerStatus, Role};
use broker_policy::Revision;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use operator_core::cluster::names::REPLICAS_MAX;
use operator_core::policy::CompiledPolicy;
use tokio::time::Instant;

use super::super::cluster::brokers::{Prepared, endpoint};
use super::super::scope::Scope;
use super::worker::Worker;
use crate::broker_admin::BrokerEndpoint;
use crate::policy_sync::{Enforcement, Pushed, SyncError, enforcement, wait_until_enforced};

/// How long the brokers get for enforcing a change before it is said that they don't yet.
const ENFORCE_WITHIN: Duration = Duration::from_secs(2);

/// How far the brokers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Every serving broker enforces what is wanted.
    Enforced,
    /// It is on its way.
    OnItsWay,
    /// It is not: the push failed.
    NotPushed {
        /// How long at most until the next try: what may pass by itself is tried sooner.
        retry_within: Duration,
    },
    /// Something changed meanwhile and is to be looked at first.
    Interrupted,
}

/// Why what is wanted is not enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// As one word.
    pub(super) reason: &'static str,
    /// In words, for each object that waits.
    pub(super) message: String,
    /// In words, for the cluster; `None`: nothing is wrong.
    pub(super) problem: Option<String>,
}

impl Waiting {
    fn for_brokers(found: &Enforcement) -> Self {
        let (reason, message) = match serving(found) {
            0 => ("NoBrokerServes", "no broker serves yet".to_owned()),
            _ => ("Propagating", found.waits_for()),
        };
        Self { reason, message, problem: None }
    }

    fn because(error: &SyncError) -> Self {
        let (reason, message) = (error.reason(), error.summary());
        Self { reason, message, problem: Some(error.chain()) }
    }
}

/// How soon at least a policy is tried again that the brokers refused; an edit is tried at once.
const REFUSED_RETRY: Duration = Duration::from_mins(2);
/// The same of one that no broker took: a leader may be there any moment.
const UNREACHED_RETRY: Duration = Duration::from_secs(5);

impl Worker {
    /// Pushes what differs and waits for the brokers.
    pub(super) async fn enforce(&mut self, prepared: &Prepared) -> Reached {
        let Some(compiled) = self.compiled.take() else { return Reached::OnItsWay };
        let reached = self.bring(prepared, &compiled).await;
        if reached == Reached::Enforced {
            self.enforced.note(&compiled.records, true);
            self.waiting = Waiting::default();
            if let Some(since) = self.behind_since.take() {
                let took = since.elapsed().as_secs_f64();
                self.scope.metrics.policy_push_seconds.observe(took);
                self.scope.rights.tell_cluster(&self.key);
            }
        }
        self.compiled = Some(compiled);
        reached
    }

    async fn bring(&mut self, prepared: &Prepared, compiled: &CompiledPolicy) -> Reached {
        let endpoints = endpoints(&self.scope, prepared);
        let statuses = ask(prepared, &endpoints).await;
        let revision = compiled.revision();
        let must_answer = |name: &str| is_ready(&self.scope, prepared, name);
        let silent: Vec<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.name.as_str())
            .filter(|name| !statuses.iter().any(|(answering, _)| answering.name == **name))
            .filter(|name| must_answer(name))
            .collect();
        let of = |revision| {
            let answers = statuses.iter().map(|(_, status)| status);
            enforcement(revision, answers).with_silent(silent.iter().copied())
        };
        let found = of(revision);
        self.enforced.note(&compiled.records, false);
        if found.is_complete() {
            return Reached::Enforced;
        }
        if statuses.is_empty() {
            self.waiting = Waiting::for_brokers(&found);
            return Reached::OnItsWay;
        }
        self.behind_since.get_or_insert_with(Instant::now);
        let (order, applied) = order(&statuses);
        let pushed = {
            let _permit = self.permit().await;
            self.sync.push(&*prepared.admin, &order, &compiled.records, applied).await
        };
        // They differ in nothing but what is sent if they all enforced what it is compared with.
        if applied.is_some_and(|applied| of(applied).is_complete())
            && let Some(differing) = self.sync.differing()
        {
            self.enforced.note_differing(differing);
        }
        match pushed {
            Ok(pushed) => self.pushed(pushed, revision),
            // Brokers that don't serve yet take no policy either: that is said, not this.
            Err(SyncError::NoBroker { .. }) if serving(&found) == 0 => {
                self.waiting = Waiting::for_brokers(&found);
                return Reached::NotPushed { retry_within: UNREACHED_RETRY };
            }
            Err(error) => return self.not_pushed(&error),
        }
        self.waiting = Waiting::for_brokers(&found);
        let deadline = Instant::now() + ENFORCE_WITHIN;
        let scope = std::sync::Arc::clone(&self.scope);
        let must_answer = |name: &str| is_ready(&scope, prepared, name);
        let admin = &*prepared.admin;
        tokio::select! {
            found = wait_until_enforced(admin, &endpoints, revision, deadline, &must_answer) => {
                if found.is_complete() {
                    return Reached::Enforced;
                }
                self.waiting = Waiting::for_brokers(&found);
                Reached::OnItsWay
            }
            // Something changed meanwhile: it must not wait for this. The wake-up is kept.
            () = self.wake.notified() => {
                self.wake.notify_one();
                Reached::Interrupted
            }
        }
    }

    fn pushed(&self, pushed: Pushed, revision: Revision) {
        if pushed.records() == 0 {
            return;
        }
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

    fn not_pushed(&mut self, error: &SyncError) -> Reached {
        let reason = "PolicyNotApplied";
        self.scope.metrics.reconcile_errors.with_label_values(&["rights", reason]).inc();
        tracing::warn!(
            namespace = self.key.namespace,
            name = self.key.name,
            reason = error.reason(),
            error = error.chain(),
            "the policy was not pushed"
        );
        self.waiting = Waiting::because(error);
        let retry_within = match error {
            SyncError::Refused { .. } => REFUSED_RETRY,
            SyncError::NoBroker { .. } | SyncError::Contended => UNREACHED_RETRY,
        };
        Reached::NotPushed { retry_within }
    }
}

/// How many brokers serve as far as is known.
fn serving(found: &Enforcement) -> usize {
    found.enforced.len() + found.pending.len() + found.silent.len()
}

/// Whether clients may be connected to a broker although the operator gets no answer from it: its
/// pod is ready. Kubernetes says that it isn't soon after the broker or its node is gone.
fn is_ready(scope: &Scope, prepared: &Prepared, name: &str) -> bool {
    let at = ObjectRef::<Pod>::new(name).within(&prepared.cluster.namespace);
    let pod = scope.caches.pods.get(&at);
    let conditions = pod.as_ref().and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
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
    order.sort_by_key(|(_, status)| (!is_leader(status), Reverse(status.raft.term)));
    let applied = order
        .first()
        .filter(|(_, status)| is_leader(status))
        .and_then(|(_, status)| status.policy.applied_revision.parse().ok());
    (order.into_iter().map(|(endpoint, _)| endpoint.clone()).collect(), applied)
}
