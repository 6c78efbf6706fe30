//! The PodDisruptionBudget: node drains take one broker at a time. Pure.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::cluster::ValidatedCluster;

/// `None` for a single broker: a budget would only keep its node from ever being drained.
pub(super) fn build(cluster: &ValidatedCluster) -> Option<PodDisruptionBudget> {
    (cluster.replicas >= 3).then(|| PodDisruptionBudget {
        metadata: metadata(cluster, cluster.names.stateful_set()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(cluster.names.selector_labels()),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
