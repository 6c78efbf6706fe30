//! Takes the one step that the planners chose: asks a broker, or replaces its pod. IO.

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use operator_api::MqttCluster;
use operator_core::membership::Step;
use operator_core::rollout::NextStep;

use super::super::apply::delete;
use super::super::events;
use super::super::scope::Scope;
use super::brokers::{Prepared, endpoint};
use super::plan::Plan;
use crate::broker_admin::BrokerEndpoint;
use crate::membership_change::{self, Changed};

/// What came of acting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acted {
    /// Nothing was to be done.
    Nothing,
    /// A step was taken: the next pass sees what came of it.
    Step,
    /// A step failed.
    Failed,
}

/// Takes one step at most.
pub(super) async fn act(
    scope: &Scope,
    cluster: &MqttCluster,
    prepared: &Prepared,
    plan: &Plan,
) -> Acted {
    let step = match &plan.membership {
        step if step.is_act() => Some((step.as_str(), change(scope, prepared, step).await)),
        _ => replace(scope, prepared, plan).await,
    };
    let Some((name, outcome)) = step else { return Acted::Nothing };
    let pod = subject(plan).map(|pod| events::reference::<Pod>(&prepared.cluster.namespace, pod));
    match outcome {
        Ok(note) => {
            if is_disruption(plan) {
                scope.metrics.disruptions.with_label_values(&[name]).inc();
            }
            events::normal(scope, cluster, pod, name, &note).await;
            tracing::info!(
                namespace = prepared.cluster.namespace,
                name = prepared.cluster.name,
                step = name,
                "{note}"
            );
            Acted::Step
        }
        Err(problem) => {
            events::warning(scope, cluster, pod, name, &problem).await;
            tracing::warn!(
                namespace = prepared.cluster.namespace,
                name = prepared.cluster.name,
                step = name,
                "{problem}"
            );
            Acted::Failed
        }
    }
}

/// The broker that the step is about.
fn subject(plan: &Plan) -> Option<&str> {
    match &plan.membership {
        Step::Bootstrap { broker, .. }
        | Step::AddLearner { broker, .. }
        | Step::Promote { broker, .. }
        | Step::Demote { broker, .. }
        | Step::Drain { broker }
        | Step::Remove { broker, .. }
        | Step::TransferLeadership { leader: broker, .. } => return Some(broker),
        Step::RecordFounded | Step::Wait { .. } | Step::Aligned | Step::Refuse { .. } => {}
    }
    match &plan.rollout {
        NextStep::TransferLeadership { broker, .. }
        | NextStep::Drain { broker }
        | NextStep::EndDrain { broker }
        | NextStep::Restart { broker, .. } => Some(broker),
        NextStep::Done | NextStep::Wait { .. } | NextStep::Halt { .. } => None,
    }
}

/// Whether the step that is taken restarts a broker or takes one out.
fn is_disruption(plan: &Plan) -> bool {
    match &plan.membership {
        Step::Remove { .. } => true,
        step if step.is_act() => false,
        _ => matches!(plan.rollout, NextStep::Restart { .. }),
    }
}

type Outcome = Result<String, String>;

/// Changes who belongs to the brokers' group.
async fn change(scope: &Scope, prepared: &Prepared, step: &Step) -> Outcome {
    let at = |broker: &str| at(scope, prepared, broker);
    let changed = membership_change::change(&*prepared.admin, at, &prepared.cluster, step).await?;
    Ok(changed.map_or_else(String::new, |changed| note(&changed)))
}

fn note(changed: &Changed) -> String {
    format!("{} {}", changed.broker, changed.what)
}

/// Replaces the pod that is next, or has its clients moved and its leadership handed over first; ends
/// the drain of one that is not to be replaced any more.
async fn replace(
    scope: &Scope,
    prepared: &Prepared,
    plan: &Plan,
) -> Option<(&'static str, Outcome)> {
    let name = plan.rollout.as_str();
    match &plan.rollout {
        NextStep::TransferLeadership { .. }
        | NextStep::Drain { .. }
        | NextStep::EndDrain { .. } => {}
        NextStep::Restart { broker, .. } => {
            let at = ObjectRef::<Pod>::new(broker).within(&prepared.cluster.namespace);
            let pod = scope.caches.pods.get(&at)?;
            let outcome = delete(scope, &*pod).await;
            let outcome = outcome.map(|()| format!("{broker} is replaced: {name}"));
            return Some((name, outcome.map_err(|error| error.chain())));
        }
        NextStep::Done | NextStep::Wait { .. } | NextStep::Halt { .. } => return None,
    }
    let at = |broker: &str| at(scope, prepared, broker);
    let (admin, cluster) = (&*prepared.admin, &prepared.cluster);
    let made = membership_change::make_way(admin, at, cluster, &plan.rollout).await;
    Some((name, made.map(|changed| changed.map_or_else(String::new, |changed| note(&changed)))))
}

fn at(scope: &Scope, prepared: &Prepared, broker: &str) -> Result<BrokerEndpoint, String> {
    let ordinal = prepared.cluster.names.ordinal(broker);
    let found = ordinal.and_then(|ordinal| endpoint(scope, &prepared.cluster, ordinal));
    found.ok_or_else(|| format!("{broker} has no address"))
}
