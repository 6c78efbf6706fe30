//! The broker's container: command, probes and what it may not do. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use operator_api::cluster::Discovery;

use super::peer_discovery::{TOKEN_FOLDER, TOKEN_VOLUME};
use crate::cluster::ValidatedCluster;
use crate::cluster::configuration::Placement;
use crate::cluster::names::{ADMIN_PORT, PEER_PORT};

/// The name of the container in a broker's pod.
pub(super) const CONTAINER_NAME: &str = "broker";
/// The name of the volume with state.
pub(super) const DATA_VOLUME: &str = "data";
/// The name of the volume with configuration, certificates and trust.
pub(super) const SETTINGS_VOLUME: &str = "settings";

pub(super) fn build(cluster: &ValidatedCluster) -> Container {
    let config = format!("{}/broker.toml", Placement::KUBERNETES_FOLDER);
    let args = ["run", "--config", &config, "--name", "$(POD_NAME)"];
    Container {
        name: CONTAINER_NAME.into(),
        image: Some(cluster.image.clone()),
        image_pull_policy: Some(cluster.pull_policy.as_str().into()),
        args: Some(args.map(str::to_owned).to_vec()),
        env: Some(vec![pod_name()]),
        ports: Some(ports(cluster)),
        startup_probe: Some(probe("/healthz", 2, 150)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        resources: resources(cluster),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(cluster)),
        ..Container::default()
    }
}

fn mounts(cluster: &ValidatedCluster) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount(DATA_VOLUME, Placement::KUBERNETES_DATA_FOLDER, false),
        mount(SETTINGS_VOLUME, Placement::KUBERNETES_FOLDER, true),
    ];
    if cluster.discovery == Discovery::Kubernetes {
        mounts.push(mount(TOKEN_VOLUME, TOKEN_FOLDER, true));
    }
    mounts
}

fn pod_name() -> EnvVar {
    EnvVar {
        name: "POD_NAME".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".into()),
                field_path: "metadata.name".into(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn ports(cluster: &ValidatedCluster) -> Vec<ContainerPort> {
    let listeners = cluster.listeners.iter().map(|l| (l.name.as_str(), l.port));
    let own = [("peer", i32::from(PEER_PORT)), ("admin", i32::from(ADMIN_PORT))];
    own.into_iter()
        .chain(listeners)
        .map(|(name, container_port)| ContainerPort {
            name: Some(name.to_owned()),
            container_port,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        })
        .collect()
}

/// A probe of the admin API: these paths need no client certificate.
fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(ADMIN_PORT.into()),
            scheme: Some("HTTPS".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn resources(cluster: &ValidatedCluster) -> Option<ResourceRequirements> {
    let amounts =
        |amounts: &BTreeMap<String, Quantity>| (!amounts.is_empty()).then(|| amounts.clone());
    let (requests, limits) =
        (amounts(&cluster.resources.requests), amounts(&cluster.resources.limits));
    (requests.is_some() || limits.is_some()).then_some(ResourceRequirements {
        requests,
        limits,
        claims: None,
    })
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}
