//! Services: one between the brokers, one in front of each listener. Pure.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use operator_api::cluster::Listener;

use super::metadata;
use crate::cluster::ValidatedCluster;
use crate::cluster::names::{ADMIN_PORT, PEER_PORT};

/// The headless Service: it names brokers before they are ready, as they become ready only once
/// they have found each other.
pub(super) fn build_headless(cluster: &ValidatedCluster) -> Service {
    Service {
        metadata: metadata(cluster, cluster.names.headless_service()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(cluster.names.selector_labels()),
            ports: Some(vec![port("peer", PEER_PORT.into()), port("admin", ADMIN_PORT.into())]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Service in front of a listener: ready brokers only.
pub(super) fn build_for_listener(cluster: &ValidatedCluster, listener: &Listener) -> Service {
    let mut metadata = metadata(cluster, cluster.names.listener_service(&listener.name));
    if !listener.service.annotations.is_empty() {
        metadata.annotations = Some(listener.service.annotations.clone());
    }
    let mut port = port(&listener.name, listener.port);
    port.node_port = listener.service.node_port;
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(listener.service.type_.as_str().into()),
            selector: Some(cluster.names.selector_labels()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(port)),
        ..ServicePort::default()
    }
}
