//! What brokers need that find each other by the API server: a token, and the one right that goes with
//! it. Pure.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use operator_api::cluster::Discovery;

use super::metadata;
use crate::cluster::ValidatedCluster;

/// The name of the volume with the token.
pub(super) const TOKEN_VOLUME: &str = "api-token";
/// Where a program in a pod looks for a token, and for the API server's authority; the brokers'
/// configuration names it.
pub(in crate::cluster) const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Token and trust are readable by the broker's group and nobody else.
const FILE_MODE: i32 = 0o440;
/// How long a token holds; the kubelet writes the next one in time.
const TOKEN_SECONDS: i64 = 3_607;

/// The right to read where the brokers are.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerDiscoveryRights {
    /// What may be read.
    pub role: Role,
    /// That the brokers' ServiceAccount may.
    pub binding: RoleBinding,
}

/// `None` where brokers do not ask the API server.
pub(super) fn build(cluster: &ValidatedCluster) -> Option<PeerDiscoveryRights> {
    if cluster.discovery != Discovery::Kubernetes {
        return None;
    }
    let name = cluster.names.peer_discovery_role();
    let role = Role {
        metadata: metadata(cluster, name.clone()),
        // By name is not possible: Kubernetes makes the names up.
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec!["discovery.k8s.io".into()]),
            resources: Some(vec!["endpointslices".into()]),
            verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
            ..PolicyRule::default()
        }]),
    };
    let binding = RoleBinding {
        metadata: metadata(cluster, name.clone()),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "Role".into(),
            name,
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: cluster.names.stateful_set(),
            namespace: Some(cluster.namespace.clone()),
            api_group: None,
        }]),
    };
    Some(PeerDiscoveryRights { role, binding })
}

/// Whether a pod asks the API server where the others are: it needs the right until it is gone.
#[must_use]
pub fn has_token(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    volumes.into_iter().flatten().any(|volume| volume.name == TOKEN_VOLUME)
}

/// The token, for the broker's container alone: what `podTemplate` puts beside it has none.
pub(super) fn token_volume(cluster: &ValidatedCluster) -> Option<Volume> {
    if cluster.discovery != Discovery::Kubernetes {
        return None;
    }
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: None,
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".into(),
        }),
        ..VolumeProjection::default()
    };
    let trust = VolumeProjection {
        // Kubernetes puts it into each namespace.
        config_map: Some(ConfigMapProjection {
            name: "kube-root-ca.crt".into(),
            items: Some(vec![KeyToPath {
                key: "ca.crt".into(),
                path: "ca.crt".into(),
                mode: None,
            }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    Some(Volume {
        name: TOKEN_VOLUME.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(FILE_MODE),
            sources: Some(vec![token, trust]),
        }),
        ..Volume::default()
    })
}
