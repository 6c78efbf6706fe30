//! The Kubernetes objects of a cluster. Pure.
//!
//! Secrets are not among them: they hold keys, which the certificate plan makes; their names stand
//! in [`super::ClusterNames`].

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::configuration::Configuration;
use super::validate::ValidatedCluster;

mod config_map;
mod container;
mod network_policy;
mod peer_discovery;
mod pod_disruption_budget;
pub mod pod_template;
mod service;
mod service_account;
mod stateful_set;

#[cfg(test)]
mod build_test;

pub use config_map::{ACCEPTED, TrustAnchors};
pub(super) use peer_discovery::TOKEN_FOLDER;
pub use peer_discovery::{PeerDiscoveryRights, has_token};

/// What the objects depend on beside the cluster itself.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildFacts {
    /// How many brokers there shall be now; the membership planner decides when it changes.
    pub replicas: u16,
    /// The brokers' configuration file.
    pub configuration: Configuration,
    /// The certificates that brokers and devices trust.
    pub trust: TrustAnchors,
    /// The spec that all this is built from, as [`super::accepted::record`] gives it.
    pub accepted: String,
    /// The volume size in the StatefulSet that is there; its volume templates can't change.
    pub existing_volume_size: Option<String>,
}

/// All objects of a cluster beside its Secrets, in no order.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterResources {
    /// The identity of the brokers' pods, without any right but the next.
    pub service_account: ServiceAccount,
    /// What brokers may read of Kubernetes; `None` for nothing.
    pub peer_discovery: Option<PeerDiscoveryRights>,
    /// Configuration and trust anchors.
    pub config_map: ConfigMap,
    /// The Service by which brokers find each other.
    pub headless_service: Service,
    /// A Service for each listener.
    pub listener_services: Vec<Service>,
    /// Keeps a quorum while nodes are drained; `None` where there is none to keep.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// Who may connect to the brokers.
    pub network_policy: NetworkPolicy,
    /// The brokers.
    pub stateful_set: StatefulSet,
}

/// Builds all objects of a cluster beside its Secrets.
#[must_use]
pub fn build(cluster: &ValidatedCluster, facts: &BuildFacts) -> ClusterResources {
    ClusterResources {
        service_account: service_account::build(cluster),
        peer_discovery: peer_discovery::build(cluster),
        config_map: config_map::build(cluster, facts),
        headless_service: service::build_headless(cluster),
        listener_services: cluster
            .listeners
            .iter()
            .map(|listener| service::build_for_listener(cluster, listener))
            .collect(),
        pod_disruption_budget: pod_disruption_budget::build(cluster),
        network_policy: network_policy::build(cluster),
        stateful_set: stateful_set::build(cluster, facts),
    }
}

/// The metadata of an object of a cluster.
#[must_use]
pub fn metadata(cluster: &ValidatedCluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(cluster.names.labels()),
        owner_references: Some(vec![owner_reference(cluster)]),
        ..ObjectMeta::default()
    }
}

/// The reference by which an object belongs to its cluster.
#[must_use]
pub fn owner_reference(cluster: &ValidatedCluster) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", operator_api::GROUP, operator_api::VERSION),
        kind: "MqttCluster".into(),
        name: cluster.name.clone(),
        uid: cluster.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
