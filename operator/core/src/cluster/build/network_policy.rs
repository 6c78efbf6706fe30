//! The NetworkPolicy: who may connect to which port of a broker. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::cluster::ValidatedCluster;
use crate::cluster::names::{ADMIN_PORT, PEER_PORT};

/// The label that Kubernetes puts on each namespace.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Clients reach the listeners, brokers reach brokers, the operator's namespace reaches the admin API.
/// The kubelet's probes are not subject to policies.
pub(super) fn build(cluster: &ValidatedCluster) -> NetworkPolicy {
    let listeners = cluster.listeners.iter().map(|listener| port(listener.port)).collect();
    let brokers = NetworkPolicyPeer {
        pod_selector: Some(selector(cluster.names.selector_labels())),
        ..NetworkPolicyPeer::default()
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(selector(BTreeMap::from([(
            NAMESPACE_NAME_LABEL.to_owned(),
            cluster.operator_namespace.clone(),
        )]))),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicy {
        metadata: metadata(cluster, cluster.names.stateful_set()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(cluster.names.selector_labels())),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: None, ports: Some(listeners) },
                NetworkPolicyIngressRule {
                    from: Some(vec![brokers]),
                    ports: Some(vec![port(PEER_PORT.into())]),
                },
                NetworkPolicyIngressRule {
                    from: Some(vec![operator]),
                    ports: Some(vec![port(ADMIN_PORT.into())]),
                },
            ]),
            egress: None,
        }),
    }
}

fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn port(port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".into()),
        end_port: None,
    }
}
