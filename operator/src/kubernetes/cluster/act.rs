//! Takes the one step that the planners chose: asks a broker, or replaces its pod. IO.

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, NodeId, PromoteRequest, RemoveRequest, TransferRequest,
};
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
        | Step::Remove { broker, .. }
        | Step::TransferLeadership { leader: broker, .. } => return Some(broker),
        Step::RecordFounded | Step::Wait { .. } | Step::Aligned | Step::Refuse { .. } => {}
    }
    match &plan.rollout {
        NextStep::TransferLeadership { broker, .. } | NextStep::Restart { broker, .. } => {
            Some(broker)
        }
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
    let admin = &prepared.admin;
    let at = |broker: &str| at(scope, prepared, broker);
    match step {
        Step::Bootstrap { broker, node_id } => {
            let cluster_id = prepared.cluster.cluster_id.clone();
            let request = BootstrapRequest { cluster_id, node_id: *node_id };
            let answer = admin.bootstrap(&at(broker)?, &request).await;
            answer.map(|_| format!("{broker} founded the cluster")).map_err(|e| e.chain())
        }
        Step::AddLearner { leader, broker, node_id, expected_membership_log_index } => {
            let request = AddLearnerRequest {
                node_id: *node_id,
                name: broker.clone(),
                expected_membership_log_index: *expected_membership_log_index,
            };
            let answer = admin.add_learner(&at(leader)?, &request).await;
            answer.map(|_| format!("{broker} joins without a vote")).map_err(|e| e.chain())
        }
        Step::Promote { leader, broker, node_id, expected_membership_log_index } => {
            let request = PromoteRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            let answer = admin.promote(&at(leader)?, &request).await;
            answer.map(|_| format!("{broker} has a vote")).map_err(|e| e.chain())
        }
        Step::Remove { leader, broker, node_id, reason, expected_membership_log_index } => {
            let request = RemoveRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            let answer = admin.remove(&at(leader)?, &request).await;
            answer
                .map(|_| format!("{broker} ({node_id}) is no member any more: {reason}"))
                .map_err(|e| e.chain())
        }
        Step::TransferLeadership { leader, to } => transfer(scope, prepared, leader, *to).await,
        Step::RecordFounded | Step::Wait { .. } | Step::Aligned | Step::Refuse { .. } => {
            Ok(String::new())
        }
    }
}

/// Replaces the pod that is next, or has its leadership handed over first.
async fn replace(
    scope: &Scope,
    prepared: &Prepared,
    plan: &Plan,
) -> Option<(&'static str, Outcome)> {
    match &plan.rollout {
        NextStep::TransferLeadership { broker, to } => {
            Some(("TransferLeadership", transfer(scope, prepared, broker, *to).await))
        }
        NextStep::Restart { broker, reason } => {
            let at = ObjectRef::<Pod>::new(broker).within(&prepared.cluster.namespace);
            let pod = scope.caches.pods.get(&at)?;
            let outcome = delete(scope, &*pod).await;
            let reason = reason.as_str();
            let outcome = outcome.map(|()| format!("{broker} is replaced: {reason}"));
            Some((reason, outcome.map_err(|error| error.chain())))
        }
        NextStep::Done | NextStep::Wait { .. } | NextStep::Halt { .. } => None,
    }
}

async fn transfer(scope: &Scope, prepared: &Prepared, leader: &str, to: NodeId) -> Outcome {
    let request = TransferRequest { to: Some(to) };
    let answer = prepared.admin.transfer(&at(scope, prepared, leader)?, &request).await;
    answer.map(|_| format!("{leader} hands leadership over to {to}")).map_err(|e| e.chain())
}

fn at(scope: &Scope, prepared: &Prepared, broker: &str) -> Result<BrokerEndpoint, String> {
    let ordinal = prepared.cluster.names.ordinal(broker);
    let found = ordinal.and_then(|ordinal| endpoint(scope, &prepared.cluster, ordinal));
    found.ok_or_else(|| format!("{broker} has no address"))
}
