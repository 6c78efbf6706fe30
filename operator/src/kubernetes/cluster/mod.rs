//! The controller of MqttClusters: dereference, validate, build, apply, act, status. IO.
//!
//! Every pass derives all anew from what is found and takes at most one step that disturbs a
//! broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use operator_api::{MqttCluster, MqttClusterStatus};
use operator_core::cluster::build::{self, BuildFacts, TrustAnchors};
use operator_core::cluster::configuration::{Placement, render};
use operator_core::cluster::refused;
use operator_core::membership;
use operator_pki::Purpose;

use super::apply::Applied;
use super::error::Error;
use super::scope::{ClusterKey, Scope};

mod act;
mod apply;
pub(super) mod brokers;
mod certificates;
mod dereference;
mod identity;
mod in_force;
mod observe;
mod plan;
mod report;

use act::Acted;
use brokers::Prepared;
pub(super) use certificates::data_of;
use in_force::InForce;
use plan::Plan;

/// How soon a cluster is looked at again after a step: the caches need a moment.
const NEXT_STEP: Duration = Duration::from_millis(100);
/// How soon a cluster that is not at rest is looked at again.
const BUSY: Duration = Duration::from_secs(1);
/// How soon a cluster at rest is looked at again: its brokers are asked, the API server is not.
const AT_REST: Duration = Duration::from_secs(10);
/// How soon a cluster that can't be acted upon is looked at again, beside when it changes.
const INVALID: Duration = Duration::from_mins(5);
/// How soon, at the latest, brokers that something is under way with are looked at again although
/// the API server refuses something.
const BUSY_REFUSED: Duration = Duration::from_secs(5);

/// Brings one cluster a step nearer to what its spec says.
pub(super) async fn reconcile(
    cluster: Arc<MqttCluster>,
    scope: Arc<Scope>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let outcome = pass(&cluster, &scope).await;
    if let Err(error) = &outcome {
        report::failed(&scope, &cluster, error).await;
    }
    let took = started.elapsed().as_secs_f64();
    scope.metrics.reconcile_seconds.with_label_values(&["cluster"]).observe(took);
    outcome
}

async fn pass(cluster: &MqttCluster, scope: &Scope) -> Result<Action, Error> {
    let Some(key) = ClusterKey::of(cluster) else {
        let name = cluster.name_any();
        return Err(Error::NoNamespace { kind: "MqttCluster".into(), name });
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        // What it owns goes with it, by owner references and the volumes' retention policy.
        scope.forget(&key);
        scope.rights.wake(&key);
        return Ok(Action::await_change());
    }
    let before = cluster.status.clone().unwrap_or_default();
    let Some(cluster_id) = before.cluster_id.clone() else {
        return identity::issue(scope, cluster).await;
    };
    let now = Timestamp::now();
    let in_force = match in_force::find(scope, &key, cluster, cluster_id) {
        Ok(in_force) => in_force,
        Err(problems) => {
            let after = refused::invalid(cluster, &problems, now);
            report::write(scope, cluster, &before, &after).await?;
            scope.backoff.succeeded(&key.to_string());
            return Ok(Action::requeue(INVALID));
        }
    };
    let certificates = certificates::ensure(scope, &key, &in_force.cluster, now).await;
    let prepared = match scope.brokers.prepare(&key, &in_force.cluster, &certificates) {
        Ok(prepared) => prepared,
        Err(problem) => {
            let mut after = before.clone();
            let problems = report::messages(&certificates.problems, Some(&problem));
            let generation = cluster.metadata.generation;
            refused::refuse_certificates(&mut after, &problems, generation, now);
            report::write(scope, cluster, &before, &after).await?;
            return Ok(Action::requeue(scope.backoff.next(&key.to_string())));
        }
    };
    let brokers = observe::observe(scope, &key, &prepared).await;
    let applied = apply_objects(scope, &prepared, &in_force, &before, &brokers).await;
    scope.rights.wake_if_new(&key, &in_force.cluster);
    let plan = Plan::make(scope, &key, &in_force.cluster, &before, brokers, now);
    let founded = before.founded || plan.membership == membership::Step::RecordFounded;
    let acted = act::act(scope, cluster, &prepared, &plan).await;
    let problems = report::Problems { in_force, certificates: certificates.problems, applied };
    let base = MqttClusterStatus { founded, ..before.clone() };
    let after = problems.status(&plan, cluster, &base, now);
    report::write(scope, cluster, &before, &after).await?;
    let is_ready =
        operator_core::condition::is_true(&after.conditions, "Ready", cluster.metadata.generation);
    let is_written = problems.applied.applied == Applied::Written || founded != before.founded;
    let is_at_rest = is_ready || plan.is_settled() && problems.are_any();
    let pass = Pass {
        acted,
        is_refused: problems.are_of_api_server(),
        is_settled: plan.is_settled(),
        is_written,
        is_at_rest,
    };
    Ok(Action::requeue(pass.pause(scope, &key.to_string())))
}

/// What a pass came to, as far as it decides about the next one.
#[derive(Clone, Copy)]
struct Pass {
    acted: Acted,
    /// The API server refused something.
    is_refused: bool,
    /// Nothing is under way with the brokers.
    is_settled: bool,
    /// Something was written that the caches may not show yet.
    is_written: bool,
    /// Nothing changes until something else does.
    is_at_rest: bool,
}

impl Pass {
    /// How soon the cluster is looked at again.
    fn pause(self, scope: &Scope, key: &str) -> Duration {
        if self.acted != Acted::Failed && !self.is_refused {
            scope.backoff.succeeded(key);
        }
        match self.acted {
            Acted::Step => NEXT_STEP,
            Acted::Failed => scope.backoff.next(key),
            Acted::Nothing if self.is_refused && self.is_settled => scope.backoff.next(key),
            Acted::Nothing if self.is_refused => scope.backoff.next(key).min(BUSY_REFUSED),
            Acted::Nothing if self.is_written => NEXT_STEP,
            Acted::Nothing if self.is_at_rest => AT_REST,
            Acted::Nothing => BUSY,
        }
    }
}

async fn apply_objects(
    scope: &Scope,
    prepared: &Prepared,
    in_force: &InForce,
    before: &MqttClusterStatus,
    brokers: &[operator_core::rollout::Observed],
) -> apply::Outcome {
    let cluster = &prepared.cluster;
    let configuration = match render(cluster, &Placement::kubernetes(cluster)) {
        Ok(configuration) => configuration,
        Err(problem) => {
            let (cluster, problem) = (cluster.name.clone(), problem.message);
            let mut outcome = apply::Outcome::new();
            outcome.note(Err(Error::Configuration { cluster, problem }));
            return outcome;
        }
    };
    let authority = &prepared.authority;
    let anchor = |purpose| authority.trust_anchor_pem(purpose).to_owned();
    let facts = BuildFacts {
        replicas: dereference::replicas(scope, cluster, before, brokers),
        configuration,
        trust: TrustAnchors {
            root: authority.root_pem().to_owned(),
            client: anchor(Purpose::Client),
            admin: anchor(Purpose::Admin),
            peer: anchor(Purpose::Peer),
            server: anchor(Purpose::Server),
        },
        accepted: in_force.record.clone(),
        existing_volume_size: dereference::volume_size(scope, cluster),
    };
    apply::apply(scope, cluster, build::build(cluster, &facts)).await
}

/// What is done after a failed pass: the API server and the brokers get time to recover.
pub(super) fn on_error(cluster: Arc<MqttCluster>, error: &Error, scope: Arc<Scope>) -> Action {
    let name = cluster.name_any();
    let namespace = cluster.namespace().unwrap_or_default();
    let reason = error.as_str();
    scope.metrics.reconcile_errors.with_label_values(&["cluster", reason]).inc();
    let delay = scope.backoff.next(&format!("{namespace}/{name}"));
    tracing::warn!(
        namespace,
        name,
        kind = "MqttCluster",
        reason,
        error = error.chain(),
        retry_seconds = delay.as_secs(),
        "reconcile failed"
    );
    Action::requeue(delay)
}
