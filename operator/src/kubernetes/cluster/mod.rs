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
use operator_core::cluster::{status, validate};
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
mod observe;
mod plan;
mod report;

use act::Acted;
use brokers::Prepared;
pub(super) use certificates::data_of;
use plan::Plan;

/// How soon a cluster is looked at again after a step: the caches need a moment.
const NEXT_STEP: Duration = Duration::from_millis(100);
/// How soon a cluster that is not at rest is looked at again.
const BUSY: Duration = Duration::from_secs(1);
/// How soon a cluster at rest is looked at again: its brokers are asked, the API server is not.
const AT_REST: Duration = Duration::from_secs(10);
/// How soon a cluster that can't be acted upon is looked at again, beside when it changes.
const INVALID: Duration = Duration::from_mins(5);

/// Brings one cluster a step nearer to what its spec says.
pub(super) async fn reconcile(
    cluster: Arc<MqttCluster>,
    scope: Arc<Scope>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let outcome = pass(&cluster, &scope).await;
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
        scope.brokers.forget(&key);
        scope.rights.wake(&key);
        return Ok(Action::await_change());
    }
    let before = cluster.status.clone().unwrap_or_default();
    let Some(cluster_id) = before.cluster_id.clone() else {
        return identity::issue(scope, cluster).await;
    };
    let now = Timestamp::now();
    let facts = dereference::facts(scope, cluster, cluster_id);
    let validated = match validate(cluster, &facts) {
        Ok(validated) => Arc::new(validated),
        Err(problems) => {
            let after = status::invalid(cluster, &problems, now);
            report::write(scope, cluster, &before, &after).await?;
            return Ok(Action::requeue(INVALID));
        }
    };
    let certificates = certificates::ensure(scope, &key, &validated, now).await?;
    let prepared = scope.brokers.prepare(&key, &validated, &certificates)?;
    let brokers = observe::observe(scope, &key, &prepared).await;
    let applied = apply_objects(scope, &prepared, &before, &brokers).await?;
    scope.rights.wake_if_new(&key, &validated);
    let plan = Plan::make(scope, &key, &validated, &before, brokers, now);
    let founded = before.founded || plan.membership == membership::Step::RecordFounded;
    let acted = act::act(scope, cluster, &prepared, &plan).await;
    let base = MqttClusterStatus { founded, ..before.clone() };
    let after = plan.status(&validated, &base, &certificates.problems, now);
    report::write(scope, cluster, &before, &after).await?;
    let is_ready =
        operator_core::condition::is_true(&after.conditions, "Ready", cluster.metadata.generation);
    let is_unchanged = applied == Applied::Unchanged && founded == before.founded;
    Ok(Action::requeue(match acted {
        Acted::Step => NEXT_STEP,
        Acted::Nothing if !is_unchanged => NEXT_STEP,
        Acted::Nothing if is_ready => AT_REST,
        Acted::Nothing | Acted::Failed => BUSY,
    }))
}

async fn apply_objects(
    scope: &Scope,
    prepared: &Prepared,
    before: &MqttClusterStatus,
    brokers: &[operator_core::rollout::Observed],
) -> Result<Applied, Error> {
    let cluster = &prepared.cluster;
    let configuration = render(cluster, &Placement::kubernetes(cluster)).map_err(|problem| {
        Error::Configuration { cluster: cluster.name.clone(), problem: problem.message }
    })?;
    let authority = &prepared.authority;
    let facts = BuildFacts {
        replicas: dereference::replicas(scope, cluster, before, brokers),
        configuration,
        trust: TrustAnchors {
            root: authority.root_pem().to_owned(),
            client: authority.trust_anchor_pem(Purpose::Client).to_owned(),
            admin: authority.trust_anchor_pem(Purpose::Admin).to_owned(),
        },
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
